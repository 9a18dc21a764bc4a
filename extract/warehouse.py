"""The warehouse as the extractor sees it: SQL in the Redshift dialect, transactions, and staging of Arrow batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import pyarrow as pa
from sqlglot import exp

from extract.errors import ConfigurationError
from extract.staging import Sending, Staged, Standing
from macros.sql import table_node

ROWS_AT_ONCE = 200
"""Of the longest rows, a cycle's with all its warnings, so many stay below the 16 MB of a statement on Redshift."""


class Warehouse(Protocol):
    is_redshift: bool
    chunk_rows: int
    """How many rows of a long load land in one transaction, where nothing else is set."""

    def execute(self, sql: str | exp.Expr) -> int:
        """Runs one statement; gives the number of rows changed (-1 where the engine does not say)."""

    def fetchall(self, sql: str | exp.Expr) -> list[tuple[Any, ...]]: ...

    lands_together: bool
    """A transaction costs seconds here, however little it brings. So rows are sent first, and those of all tables land
    in one; else each table's are staged by themselves, while they are read."""

    def transaction(self, locking: str | None = None) -> AbstractContextManager[None]:
        """All or nothing; an exception inside rolls back and goes on.

        `locking`: a table that no other such transaction may hold meanwhile; it sees what they have committed.
        """

    def change(self, statements: Sequence[str | exp.Expr]) -> None:
        """Makes, changes or drops tables and views, all or none. Raises WarehouseError, also where that would wait for
        another session's lock too long.
        """

    def session(self) -> AbstractContextManager[Warehouse]:
        """A connection of its own, for a thread."""

    def stage(self, name: str, columns: Mapping[str, exp.DataType], batches: Iterable[pa.RecordBatch]) -> Staged:
        """Streams batches into a temporary table of this session, whose columns have these types."""

    def send(self, name: str, columns: Mapping[str, exp.DataType], batches: Iterable[pa.RecordBatch]) -> Sending:
        """Streams batches to where `load` takes them from. Only where tables land together."""

    def take(self, sending: Sending) -> Staged:
        """Stages what was sent, by itself."""

    def load(self, sendings: Sequence[Sending]) -> list[Staged]:
        """Takes what was sent into temporary tables of this session, inside a transaction. The caller compares counts.

        The files are removed when the session ends well.
        """

    def renew_statistics(self, table: str) -> None:
        """After a long load: what the engine's planner knows of a table, where it does not keep that by itself."""

    def little_memory(self) -> AbstractContextManager[None]:
        """Inside, as little as reading and landing need: an extract hardly grows with its rows."""

    def columns_of_schemas(self, schemas: Sequence[str]) -> dict[str, set[str]]:
        """schema.table -> its column names, of every table and view in these schemas."""

    def objects_of_schemas(self, schemas: Sequence[str]) -> dict[str, Standing]:
        """schema.name -> every table and view in these schemas, whoever made it; one read of the catalog."""

    def close(self) -> None: ...


def open_warehouse(gateway: str = "local") -> Warehouse:
    """The warehouse behind a gateway of config.yaml, by the settings; what the other one needs is not loaded."""
    if gateway == "local":
        from extract.warehouse_duckdb import DuckDBWarehouse

        return DuckDBWarehouse.open()
    if gateway == "redshift":
        from extract.warehouse_redshift import RedshiftWarehouse

        return RedshiftWarehouse.open()
    raise ConfigurationError(f"No gateway '{gateway}'. There are: local, redshift.")


def insert_rows(warehouse: Warehouse, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Enters rows (column -> value or node; all of the same columns), at most ROWS_AT_ONCE in a statement."""
    for first in range(0, len(rows), ROWS_AT_ONCE):
        values = exp.values([tuple(row.values()) for row in rows[first : first + ROWS_AT_ONCE]])
        warehouse.execute(exp.insert(values, table_node(table), columns=[exp.to_identifier(name) for name in rows[0]]))


def stands(warehouse: Warehouse, name: str) -> bool:
    """Whether there is a table or view of this name (schema.name); one read of the catalog."""
    return name in warehouse.columns_of_schemas([name.split(".")[0]])
