"""The production warehouse: Amazon Redshift through redshift_connector, loaded by COPY from S3."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

import pyarrow as pa
from sqlglot import exp

from extract import redshift_login
from extract.conflicts import again_after_conflicts
from extract.errors import TransactionConflict, WarehouseError, first_line
from extract.lock_postgres import assert_still_held
from extract.lock_waits import lock_watch
from extract.redshift_login import connect, fell_silent
from extract.s3_parts import S3Parts, Sent
from extract.settings import RedshiftSettings
from extract.staging import CountedBatches, Sending, Staged, Standing, staged_schema, standing_objects
from macros.ownership import objects_query
from macros.sql import DIALECT

CHUNK_ROWS = 16_000_000
"""A COPY and a transaction cost seconds, however many rows they bring; several reads of the source land in one."""


class RedshiftWarehouse:
    """One connection. Every statement stands for itself, except inside `transaction()`."""

    is_redshift = True
    lands_together = True
    chunk_rows = CHUNK_ROWS

    def __init__(self, settings: RedshiftSettings, *, connected: bool = True):
        """`connected`: at once; otherwise with the first statement, which a session that only sends never has."""
        self._settings = settings
        self._parts: S3Parts | None = None
        self._sent: list[Sent] = []
        self._staged: set[str] = set()
        self._open = False
        self._lost = True
        if connected:
            self._connect()

    @classmethod
    def open(cls, settings: RedshiftSettings | None = None) -> RedshiftWarehouse:
        """Connects with the environment's settings. Raises ConfigurationError or WarehouseError."""
        return cls(settings or RedshiftSettings.from_environment())

    # Statements

    def execute(self, sql: str | exp.Expr) -> int:
        return int(self._run(sql).rowcount)

    def fetchall(self, sql: str | exp.Expr) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self._run(sql).fetchall()]

    def _run(self, sql: str | exp.Expr) -> Any:
        if not self._lost:
            cursor = self._connection.cursor()
        elif self._open:
            raise self._gone("a statement", "The transaction it belonged to is rolled back")
        else:  # between transactions a lost connection is no reason to give up; temporary tables are gone with it
            self._connect()
            cursor = self._connection.cursor()
        text = sql if isinstance(sql, str) else sql.sql(dialect=DIALECT)
        try:
            return cursor.execute(text)
        except Exception as error:
            if server_fields(error):
                raise self._refused(error) from None
            self._lost = True
            what = f"'{text[:60].strip()} …' ({first_line(error)})"
            raise self._gone(what, "What it belonged to is rolled back") from error

    @contextmanager
    def transaction(self, locking: str | None = None) -> Iterator[None]:
        """As the protocol says. LOCK comes first: what a transaction sees is decided by its first other statement."""
        if self._open:
            raise WarehouseError("A transaction is open already; nothing was done. This is a mistake in the program.")
        if self._lost:
            self._connect()
        self._open = True
        self._connection.autocommit = False  # BEGIN goes before the first statement
        staged = set(self._staged)
        try:
            if locking:
                with lock_watch(self._settings, locking.split(".")[-1]):
                    self.execute(f"LOCK TABLE {locking}")
            yield
            assert_still_held()
            self._commit()
        except BaseException:
            self._staged &= staged
            with suppress(Exception):
                self._connection.rollback()
            raise
        finally:
            self._open = False
            self._connection.autocommit = True

    def change(self, statements: Sequence[str | exp.Expr]) -> None:
        with lock_watch(self._settings) as watch, self.transaction():
            ((pid,),) = self.fetchall("SELECT PG_BACKEND_PID()")
            watch.sessions.add(int(pid))
            for statement in statements:
                self.execute(statement)

    def _commit(self) -> None:
        if not self._connection.in_transaction:
            return
        try:
            self._connection.commit()
        except Exception as error:
            if server_fields(error):
                raise self._refused(error) from None
            self._lost = True
            raise self._gone(
                f"COMMIT ({first_line(error)})",
                "Whether the transaction took effect is unknown. Nothing is half-done, and running again lands nothing "
                "twice",
            ) from error

    # Connections

    @contextmanager
    def session(self) -> Iterator[RedshiftWarehouse]:
        """A connection of its own. The files that it sent are removed when it ends well, and kept when it fails."""
        session = RedshiftWarehouse(self._settings, connected=False)
        try:
            yield session
            session._remove_sent()
        finally:
            session.close()

    def close(self) -> None:
        with suppress(Exception):
            self._connection.close()

    def _connect(self) -> None:
        try:
            self._connection = connect(self._settings)
        except Exception as error:
            cause = self._server_message(error)
            if fell_silent(error):
                cause = f"it said nothing for {redshift_login.CONNECT_SECONDS} s, so the login was given up"
            raise WarehouseError(
                f"Redshift {self._settings.host}:{self._settings.port}/{self._settings.database} cannot be reached: "
                f"{cause}. Nothing was done. Check the REDSHIFT_ variables, the way through the "
                "network and, with IAM, this process's rights, then run again."
            ) from None
        self._connection.autocommit = True
        self._lost = False
        self._staged.clear()  # temporary tables are gone with the connection before

    # Staging

    def stage(self, name: str, columns: Mapping[str, exp.DataType], batches: Iterable[pa.RecordBatch]) -> Staged:
        return self.take(self.send(name, columns, batches))

    def take(self, sending: Sending) -> Staged:
        self._remove_sent()  # what was staged before has landed

        def load() -> Staged:
            with self.transaction():
                (staged,) = self.load([sending])
            return staged

        staged = again_after_conflicts(load)
        ((loaded,),) = self.fetchall(f"SELECT COUNT(*) FROM {staged.table}")
        sending.assert_all_loaded(loaded)
        return staged

    def send(self, name: str, columns: Mapping[str, exp.DataType], batches: Iterable[pa.RecordBatch]) -> Sending:
        prefix = f"{self._settings.s3_prefix}/{name}-{uuid.uuid4().hex[:16]}"
        schema = staged_schema(columns)
        counted = CountedBatches(batches, schema)
        if self._parts is None:
            self._parts = S3Parts(self._settings)
        sent = self._parts.send(prefix, schema, counted)
        return Sending(name, columns, counted.rows, counted.bytes, sent)

    def load(self, sendings: Sequence[Sending]) -> list[Staged]:
        try:
            for sending in sendings:
                if sending.table in self._staged:
                    self.execute(f"DROP TABLE {sending.table}")
                listed = ", ".join(f"{column} {kind.sql(DIALECT)}" for column, kind in sending.columns.items())
                physical = " DISTSTYLE KEY DISTKEY(order_id)" if "order_id" in sending.columns else ""
                self.execute(f"CREATE TEMPORARY TABLE {sending.table} ({listed}){physical}")
                self._staged.add(sending.table)
            for sending in sendings:
                self._copy(sending)
        except WarehouseError as error:
            rows = sum(sending.rows for sending in sendings)
            names = ", ".join(sending.table for sending in sendings)
            prefixes = ", ".join(sending.files.prefix for sending in sendings)
            raise type(error)(
                f"{error} This was the loading of {rows:,} rows into {names}: nothing of them was landed. The "
                f"files stand under {prefixes} for inspection; sys_load_error_detail says more."
            ) from error
        return [Staged(sending.table, sending.rows, sending.bytes) for sending in sendings]

    def _copy(self, sending: Sending) -> None:
        """One COPY of all files of a table."""
        if sending.files.entries:
            role = self._settings.copy_role
            role = role if role == "default" else f"'{role}'"
            manifest = sending.files.manifest
            self.execute(f"COPY {sending.table} FROM '{manifest}' IAM_ROLE {role} FORMAT AS PARQUET MANIFEST")
        if sending.files not in self._sent:
            self._sent.append(sending.files)

    def _remove_sent(self) -> None:
        while self._sent:
            if self._parts is None:
                self._parts = S3Parts(self._settings)
            self._parts.remove(self._sent.pop())

    # Catalog

    def renew_statistics(self, table: str) -> None:
        """A user who does not own the table may not, and is told so by no error; what else fails costs plans only."""
        try:
            self.execute(f"ANALYZE {table}")
        except WarehouseError as error:
            logging.getLogger(__name__).warning("ANALYZE %s was not done: %s", table, error)

    def little_memory(self) -> AbstractContextManager[None]:
        return nullcontext()

    def columns_of_schemas(self, schemas: Sequence[str]) -> dict[str, set[str]]:
        """As the protocol says. Only svv_columns knows the columns of late-binding views, and a view whose tables
        are out of reach has none there; pg_class knows that it stands.
        """
        standing = (
            exp.select("n.nspname", "c.relname")
            .from_("pg_catalog.pg_class AS c")
            .join("pg_catalog.pg_namespace AS n", on="n.oid = c.relnamespace")
            .where(exp.column("nspname", "n").isin(*schemas), exp.column("relkind", "c").isin("r", "v"))
        )
        columns = (
            exp.select("table_schema", "table_name", "column_name")
            .from_("svv_columns")
            .where(exp.column("table_schema").isin(*schemas))
        )
        found: dict[str, set[str]] = {f"{schema}.{table}": set() for schema, table in self.fetchall(standing)}
        for schema, table, column in self.fetchall(columns):
            found.setdefault(f"{schema}.{table}", set()).add(column)
        return found

    def objects_of_schemas(self, schemas: Sequence[str]) -> dict[str, Standing]:
        return standing_objects(self.fetchall(objects_query(schemas, redshift=True)), None)

    # Errors

    def _refused(self, error: Exception) -> WarehouseError:
        message = (
            f"Redshift refused a statement; what it belonged to was rolled back: {self._server_message(error)}. Run it "
            "again once the cause is mended."
        )
        return TransactionConflict(message) if is_conflict(error) else WarehouseError(message)

    def _gone(self, what: str, effect: str) -> WarehouseError:
        return WarehouseError(
            self._settings.without_secrets(f"The connection to Redshift was lost at {what}. {effect}. Run it again.")
        )

    def _server_message(self, error: Exception) -> str:
        fields = server_fields(error)
        if not fields:
            return self._settings.without_secrets(first_line(error))
        parts = [fields.get("M", ""), fields.get("D", "")]
        message = " - ".join(part for part in parts if part) or "it did not say why"
        return self._settings.without_secrets(f"{message} ({fields.get('C')})")


def server_fields(error: Exception) -> dict[str, str]:
    """The fields of the server's error (C code, M message, D detail), {} when it is of another kind."""
    first = error.args[0] if error.args else None
    return {str(key): str(value) for key, value in first.items()} if isinstance(first, dict) else {}


def is_conflict(error: Exception) -> bool:
    """Another transaction came in between: the same one, tried again, may pass. So it goes in staging, too.

    1023 and what SNAPSHOT isolation says instead; a table that was dropped or made anew meanwhile; a deadlock.
    """
    fields = server_fields(error)
    text = f"{fields.get('M', '')} {fields.get('D', '')}"
    return fields.get("C") in ("40001", "40P01") or text.startswith("1023") or any(mark in text for mark in CONFLICTS)


CONFLICTS = (
    "Serializable isolation violation",
    "conflict with concurrent transaction",
    "could not open relation with OID",
    "deadlock detected",
)
