"""The warehouse as the extractor sees it: SQL in the Redshift dialect, transactions, and staging of Arrow batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import pyarrow as pa
from sqlglot import exp

from extract.column_types import arrow_type
from extract.errors import ConfigurationError, TransactionConflict, WarehouseError

Result = TypeVar("Result")


@dataclass(frozen=True)
class Staged:
    """Rows that were read and stand in a temporary table, not landed yet."""

    table: str
    rows: int
    bytes: int


@dataclass(frozen=True)
class Standing:
    """A table or view that stands in the warehouse. Names are in lower case: neither engine tells case apart."""

    name: str
    """schema.name"""
    kind: str
    """table, view or materialized view (or what else the engine has)"""
    columns: dict[str, str]
    """Of a table: column -> type, as the engine calls it."""
    definition: str
    """Of a view: its query, as the engine keeps it."""
    parts: tuple[str, ...]
    """Catalog (on DuckDB), schema and name as they are written."""
    of_redshift: bool = False

    @property
    def path(self) -> str:
        """The name as a statement must write it."""
        name = exp.Dot.build([exp.to_identifier(part) for part in self.parts])
        return name.sql("redshift" if self.of_redshift else "duckdb")


class Warehouse(Protocol):
    is_redshift: bool
    chunk_rows: int
    """How many rows of a long load land in one transaction, where nothing else is set."""

    def execute(self, sql: str | exp.Expr) -> int:
        """Runs one statement; gives the number of rows changed (-1 where the engine does not say)."""

    def fetchall(self, sql: str | exp.Expr) -> list[tuple[Any, ...]]: ...

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing; an exception inside rolls back and goes on."""

    def session(self) -> AbstractContextManager[Warehouse]:
        """A connection of its own, for a thread."""

    def stage(self, name: str, columns: Mapping[str, exp.DataType], batches: Iterable[pa.RecordBatch]) -> Staged:
        """Streams batches into a temporary table of this session, whose columns have these types."""

    def little_memory(self) -> AbstractContextManager[None]:
        """Inside, as little as reading and landing need: an extract hardly grows with its rows."""

    def columns_of_schemas(self, schemas: Sequence[str]) -> dict[str, set[str]]:
        """schema.table -> its column names, of every table and view in these schemas."""

    def objects_of_schemas(self, schemas: Sequence[str]) -> dict[str, Standing]:
        """schema.name -> every table and view in these schemas, whoever made it; one read of the catalog."""

    def close(self) -> None: ...


def open_warehouse(gateway: str = "local") -> Warehouse:
    """The warehouse behind a gateway of config.yaml, from the environment's settings."""
    return warehouse_class(gateway).open()


def warehouse_class(gateway: str) -> Any:
    """The kind of warehouse behind a gateway; what the other one needs is not loaded."""
    if gateway == "local":
        from extract.warehouse_duckdb import DuckDBWarehouse

        return DuckDBWarehouse
    if gateway == "redshift":
        from extract.warehouse_redshift import RedshiftWarehouse

        return RedshiftWarehouse
    raise ConfigurationError(f"No gateway '{gateway}'. There are: local, redshift.")


def staged_schema(columns: Mapping[str, exp.DataType]) -> pa.Schema:
    """What the batches that are staged must look like."""
    return pa.schema([(name, arrow_type(kind)) for name, kind in columns.items()])


def standing_objects(rows: Iterable[tuple[Any, ...]], catalog: str | None) -> dict[str, Standing]:
    """What `objects_query` found, by schema.name; a catalog where statements must name it, on DuckDB."""
    found: dict[str, Standing] = {}
    for schema, name, kind, definition, column, column_type in rows:
        key = f"{schema}.{name}".lower()
        if key not in found:
            if "create materialized view" in (definition or "").lower():  # to Redshift's catalog it is a view
                kind = "materialized view"
            parts = (schema, name) if catalog is None else (catalog, schema, name)
            found[key] = Standing(key, kind, {}, definition or "", parts, of_redshift=catalog is None)
        if column is not None:
            found[key].columns[column.lower()] = column_type
    return found


CONFLICT_PAUSES = (0.5, 2.0, 8.0)
"""Seconds between the attempts at a transaction that others come in between of."""


def again_after_conflicts(work: Callable[[], Result]) -> Result:
    """Does `work`, which must be safe to repeat, again when it ends in a TransactionConflict; a few times."""
    for pause in CONFLICT_PAUSES:
        try:
            return work()
        except TransactionConflict:
            time.sleep(pause)
    return work()


class CountedBatches:
    """Batches on their way into a temporary table: counts them, and keeps the error that ended them.

    An engine that pulls batches wraps such an error in one of its own; `raise_error` gives back the first. DuckDB takes
    a batch of another schema for one of its own, and dies: it gets none.
    """

    def __init__(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema):
        self.rows = 0
        self.bytes = 0
        self._schema = schema
        self._batches = batches
        self._error: BaseException | None = None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._batches:
                if not batch.schema.equals(self._schema):
                    raise WarehouseError(
                        f"A batch has the columns {_listed(batch.schema)}, but staged are {_listed(self._schema)}. "
                        "Nothing of its table was landed. This is a mistake in the program."
                    )
                self.rows += batch.num_rows
                self.bytes += batch.nbytes
                yield batch
        except GeneratorExit:  # the engine has ended the reading; why, it says itself
            raise
        except BaseException as error:
            self._error = error
            raise

    def raise_error(self) -> None:
        if self._error is not None:
            raise self._error


def _listed(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
