"""What every warehouse shares: batches on their way into a temporary table, and what stands in the catalog."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from sqlglot import exp

from extract.column_types import arrow_type
from extract.errors import WarehouseError


@dataclass(frozen=True)
class Staged:
    """Rows that were read and stand in a temporary table, not landed yet."""

    table: str
    rows: int
    bytes: int


@dataclass(frozen=True)
class Sending:
    """Rows that were read and wait outside of the warehouse, where it loads them from."""

    name: str
    columns: Mapping[str, exp.DataType]
    rows: int
    bytes: int
    files: Any

    @property
    def table(self) -> str:
        """The temporary table that takes them."""
        return f"staged_{self.name}"

    def assert_all_loaded(self, loaded: int) -> None:
        """WarehouseError where the warehouse took in another number of rows than were read, or than the files hold."""
        if not loaded == self.files.rows == self.rows:
            raise WarehouseError(
                f"{self.rows:,} rows were read and {self.files.rows:,} sent, but COPY loaded {loaded:,}. Nothing of "
                f"{self.name} was landed. The files stand under {self.files.prefix} for inspection; run again."
            )


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
