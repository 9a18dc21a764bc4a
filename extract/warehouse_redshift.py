"""The production warehouse: Amazon Redshift through redshift_connector, loaded by COPY from S3."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

import pyarrow as pa
import redshift_connector
from sqlglot import exp

from extract.errors import TransactionConflict, WarehouseError, first_line
from extract.lock_postgres import assert_still_held
from extract.s3_parts import S3Parts, Sent
from extract.settings import RedshiftSettings
from extract.staging import CountedBatches, Staged, Standing, staged_schema, standing_objects
from macros.ownership import objects_query
from macros.sql import DIALECT

CHUNK_ROWS = 1_000_000
"""A COPY and a transaction cost seconds, however many rows they bring."""


class RedshiftWarehouse:
    """One connection. Every statement stands for itself, except inside `transaction()`."""

    is_redshift = True
    chunk_rows = CHUNK_ROWS

    def __init__(self, settings: RedshiftSettings):
        self._settings = settings
        self._parts: S3Parts | None = None
        self._sent: list[Sent] = []
        self._open = False
        self._lost = False
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
    def transaction(self) -> Iterator[None]:
        if self._open:
            raise WarehouseError("A transaction is open already; nothing was done. This is a mistake in the program.")
        if self._lost:
            self._connect()
        self._open = True
        self._connection.autocommit = False  # BEGIN goes before the first statement
        try:
            yield
            assert_still_held()
            self._commit()
        except BaseException:
            with suppress(Exception):
                self._connection.rollback()
            raise
        finally:
            self._open = False
            self._connection.autocommit = True

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
        session = RedshiftWarehouse(self._settings)
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
            self._connection = redshift_connector.connect(**self._settings.connection_arguments())
        except Exception as error:
            raise WarehouseError(
                f"Redshift {self._settings.host}:{self._settings.port}/{self._settings.database} cannot be reached: "
                f"{self._server_message(error)}. Nothing was done. Check the REDSHIFT_ variables, the way through the "
                "network and, with IAM, this process's rights, then run again."
            ) from None
        self._connection.autocommit = True
        self._lost = False

    # Staging

    def stage(self, name: str, columns: Mapping[str, exp.DataType], batches: Iterable[pa.RecordBatch]) -> Staged:
        self._remove_sent()  # what was staged before has landed
        if self._parts is None:
            self._parts = S3Parts(self._settings)
        prefix = f"{self._settings.s3_prefix}/{name}-{uuid.uuid4().hex[:16]}"
        schema = staged_schema(columns)
        counted = CountedBatches(batches, schema)
        sent = self._parts.send(prefix, schema, counted)
        self._sent.append(sent)
        table = f"staged_{name}"
        self._load(table, columns, sent)
        ((loaded,),) = self.fetchall(f"SELECT COUNT(*) FROM {table}")
        if not loaded == sent.rows == counted.rows:
            raise WarehouseError(
                f"{counted.rows:,} rows were read and {sent.rows:,} sent, but COPY loaded {loaded:,}. Nothing of "
                f"{name} was landed. The files stand under {prefix} for inspection; run again."
            )
        return Staged(table, counted.rows, counted.bytes)

    def _load(self, table: str, columns: Mapping[str, exp.DataType], sent: Sent) -> None:
        """One COPY of all files into a new temporary table."""
        listed = ", ".join(f"{column} {kind.sql(DIALECT)}" for column, kind in columns.items())
        physical = " DISTSTYLE KEY DISTKEY(order_id)" if "order_id" in columns else ""
        try:
            with self.transaction():
                self.execute(f"DROP TABLE IF EXISTS {table}")
                self.execute(f"CREATE TEMPORARY TABLE {table} ({listed}){physical}")
                if sent.entries:
                    role = self._settings.copy_role
                    role = role if role == "default" else f"'{role}'"
                    self.execute(f"COPY {table} FROM '{sent.manifest}' IAM_ROLE {role} FORMAT AS PARQUET MANIFEST")
        except WarehouseError as error:
            raise WarehouseError(
                f"{error} This was the loading of {sent.rows:,} rows into {table}: nothing of them was landed. The "
                f"files stand under {sent.prefix} for inspection; sys_load_error_detail says more."
            ) from error

    def _remove_sent(self) -> None:
        while self._sent and self._parts:
            self._parts.remove(self._sent.pop())

    # Catalog

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
        message = f"Redshift refused a statement; what it belonged to was rolled back: {self._server_message(error)}."
        return TransactionConflict(message) if is_conflict(error) else WarehouseError(message)

    def _gone(self, what: str, effect: str) -> WarehouseError:
        return WarehouseError(
            self._settings.without_secrets(f"The connection to Redshift was lost at {what}. {effect}.")
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
    """Another transaction came in between (1023): the same one, tried again, may pass."""
    fields = server_fields(error)
    message = fields.get("M", "")
    return (
        fields.get("C") == "40001"
        or message.startswith("1023")
        or "Serializable isolation violation" in fields.get("D", "") + message
        or "conflict with concurrent transaction" in message
    )
