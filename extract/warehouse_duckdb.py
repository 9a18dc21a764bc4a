"""The embedded warehouse: one DuckDB file."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from sqlglot import exp, parse_one

from extract.crc32 import add_crc32
from extract.errors import LockHeld, WarehouseError, first_line
from extract.settings import warehouse_file
from extract.staging import CountedBatches, Sending, Staged, Standing, staged_schema, standing_objects
from macros.ownership import objects_query

CHECKPOINT_THRESHOLD = "256MB"
"""One checkpoint a cycle, when the file is closed; by default one comes between the statements every 16 MB."""

MEMORY_LIMIT = 4 << 30
"""Bytes; at most 4/5 of the machine's memory. A cycle needs a tenth of it, the daily checks at peak volume a quarter;
the rest is room (docs/performance.md, 'DuckDB')."""

EXTRACT_MEMORY_LIMIT = 160 << 20
"""Bytes, of DuckDB's buffers while an extract runs; it would otherwise keep what it wrote, up to the other limit."""

CHUNK_ROWS = 2 * 122_880
"""Two of DuckDB's row groups, whole: smaller ones are merged at the checkpoint, which takes half as much memory again.
Few enough that a table of a million rows lands while it is read."""

STORAGE_VERSION = "v1.4.0"
"""The format of a file that is made here. In DuckDB's default one, of v1.0, a checkpoint reads and writes the metadata
of every row group of a table that has changed; in this one only of those that have."""


PATIENCE = 5.0
"""Seconds that a command waits for one that only asks, say `order-tracking status`: both may start at one moment."""


class DuckDBWarehouse:
    is_redshift = False
    lands_together = False
    chunk_rows = CHUNK_ROWS

    def __init__(self, connection: duckdb.DuckDBPyConnection):
        self._connection = connection
        self._catalog = connection.execute("SELECT current_database()").fetchall()[0][0]

    @classmethod
    def open(cls, file: Path | None = None) -> DuckDBWarehouse:
        """Opens or creates the file; it belongs to one process at a time."""
        file = file or warehouse_file()
        try:
            if not file.exists():
                make_file(file)
            connection = connect(file, patience=PATIENCE)
            limit_resources(connection)
            return cls(connection)
        except (duckdb.Error, OSError) as error:
            raise WarehouseError(
                f"The warehouse file {file} cannot be opened; nothing was read or changed. Perhaps it cannot be "
                f"written: {first_line(error)}"
            ) from error

    @classmethod
    def open_to_read(cls, patience: float) -> DuckDBWarehouse:
        """Opens the file for questions alone, beside others that do the same. It takes no lock.

        While a process writes the file it waits, at most for `patience` seconds.
        """
        file = warehouse_file()
        try:
            return cls(connect(file, patience=patience, read_only=True))
        except duckdb.Error as error:
            raise WarehouseError(
                f"The warehouse file {file} cannot be read; nothing was asked: {first_line(error)}"
            ) from error

    def execute(self, sql: str | exp.Expr) -> int:
        try:
            result = self._connection.execute(self._duckdb_sql(sql)).fetchall()
        except duckdb.Error as error:
            raise failed(error) from error
        return int(result[0][0]) if result and isinstance(result[0][0], int) else -1

    def fetchall(self, sql: str | exp.Expr) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(self._duckdb_sql(sql)).fetchall()
        except duckdb.Error as error:
            raise failed(error) from error

    @contextmanager
    def transaction(self, locking: str | None = None) -> Iterator[None]:
        """As the protocol says. The file belongs to this process, and its landings take turns: nothing to lock."""
        try:
            self._connection.execute("BEGIN")
            yield
            self._connection.execute("COMMIT")
        except BaseException as error:
            with suppress(duckdb.Error):  # DuckDB has rolled back by itself, after a failed COMMIT
                self._connection.execute("ROLLBACK")
            if isinstance(error, duckdb.Error):
                raise failed(error) from error
            raise

    def change(self, statements: Sequence[str | exp.Expr]) -> None:
        with self.transaction():
            for statement in statements:
                self.execute(statement)

    @contextmanager
    def session(self) -> Iterator[DuckDBWarehouse]:
        cursor = self._connection.cursor()
        try:
            yield DuckDBWarehouse(cursor)
        finally:
            cursor.close()

    def stage(self, name: str, columns: Mapping[str, exp.DataType], batches: Iterable[pa.RecordBatch]) -> Staged:
        schema = staged_schema(columns)
        counted = CountedBatches(batches, schema)
        reader = pa.RecordBatchReader.from_batches(schema, counted)
        try:
            # As a capsule: for a reader DuckDB looks through pyarrow.dataset, which imports pandas for 0.3 s.
            self._connection.register("counted_batches", reader.__arrow_c_stream__())
            self._connection.execute(f"CREATE OR REPLACE TEMP TABLE staged_{name} AS SELECT * FROM counted_batches")
        except duckdb.Error as error:
            counted.raise_error()
            raise failed(error) from error
        finally:
            self._connection.unregister("counted_batches")
        return Staged(f"temp.staged_{name}", counted.rows, counted.bytes)

    def send(self, name: str, columns: Mapping[str, exp.DataType], batches: Iterable[pa.RecordBatch]) -> Sending:
        raise NotImplementedError("DuckDB stages what it reads; tables do not land together")

    def take(self, sending: Sending) -> Staged:
        raise NotImplementedError("DuckDB stages what it reads; tables do not land together")

    def load(self, sendings: Sequence[Sending]) -> list[Staged]:
        raise NotImplementedError("DuckDB stages what it reads; tables do not land together")

    def renew_statistics(self, table: str) -> None:
        """DuckDB keeps them itself."""

    @contextmanager
    def little_memory(self) -> Iterator[None]:
        limit_memory(self._connection, EXTRACT_MEMORY_LIMIT)
        try:
            yield
        finally:
            limit_memory(self._connection, MEMORY_LIMIT)

    def columns_of_schemas(self, schemas: Sequence[str]) -> dict[str, set[str]]:
        query = (
            exp.select("table_schema", "table_name", "column_name")
            .from_("information_schema.columns")
            .where(exp.column("table_schema").isin(*schemas))
            .where(exp.column("table_catalog").eq(self._catalog))
        )
        tables: dict[str, set[str]] = {}
        for schema, table, column in self._connection.execute(query.sql("duckdb")).fetchall():
            tables.setdefault(f"{schema}.{table}", set()).add(column)
        return tables

    def objects_of_schemas(self, schemas: Sequence[str]) -> dict[str, Standing]:
        rows = self._connection.execute(objects_query(schemas, redshift=False)).fetchall()
        return standing_objects(rows, self._catalog)

    def close(self) -> None:
        self._connection.close()

    def _duckdb_sql(self, sql: str | exp.Expr) -> str:
        """The statement in DuckDB's dialect, with every schema under the file's catalog.

        The file may bear a schema's name; DuckDB then takes `order_tracking.x` for ambiguous.
        """
        tree = parse_one(sql, dialect="redshift") if isinstance(sql, str) else sql.copy()
        for table in tree.find_all(exp.Table):
            schema = table.db
            if schema and schema != "temp" and not table.catalog:
                table.set("catalog", exp.to_identifier(self._catalog))
        return tree.sql("duckdb", copy=False)


def connect(file: Path, *, patience: float, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """A connection to the file. While another process holds it, it is tried for so many seconds; then LockHeld."""
    given_up = time.monotonic() + patience
    while True:
        try:
            connection = duckdb.connect(str(file), read_only=read_only)
            add_crc32(connection)
            return connection
        except duckdb.IOException as error:
            if "lock" not in str(error):
                raise
            if time.monotonic() > given_up:
                raise LockHeld(
                    f"Another process holds {file}{_holder(error)}; nothing was done. Wait for it to end, or end it if "
                    "it hangs; then run this again."
                ) from error
            time.sleep(0.1)


def _holder(error: duckdb.Error) -> str:
    """The program and the process that hold the file, as DuckDB's message has them; empty where it does not."""
    found = re.search(r"held in (\S.*? \(PID \d+\))", str(error))
    return f": {found[1]}" if found else ""


def make_file(file: Path) -> None:
    """An empty file of STORAGE_VERSION, which it keeps: the setting is not there for SQLMesh, which opens it too.

    It gets its name when it is whole: one that was broken off in the making could not be opened again.
    """
    file = file.resolve()
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    duckdb.connect(str(new), config={"storage_compatibility_version": STORAGE_VERSION}).close()
    new.replace(file)


def limit_resources(connection: duckdb.DuckDBPyConnection) -> None:
    """Sets them for the process while the file is open, so for SQLMesh too: a cycle holds it open to its end."""
    limit_memory(connection, MEMORY_LIMIT)
    connection.execute(f"SET GLOBAL checkpoint_threshold = '{CHECKPOINT_THRESHOLD}'")


def limit_memory(connection: duckdb.DuckDBPyConnection, limit: int) -> None:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    connection.execute(f"SET GLOBAL memory_limit = '{min(limit, physical * 4 // 5)} B'")


def failed(error: duckdb.Error) -> WarehouseError:
    return WarehouseError(
        f"The warehouse refused a statement; what it belonged to was rolled back: "
        f"{first_line(error).rstrip('.')}. Run it again once the cause is mended."
    )
