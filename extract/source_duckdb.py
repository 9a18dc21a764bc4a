"""An embedded DuckDB file as a source: the same three tables without a server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
from sqlglot import exp

from extract.content import canonical, fingerprint
from extract.crc32 import add_crc32
from extract.errors import SourceError, first_line
from extract.source_reads import (
    BATCH_ROWS,
    LONGEST,
    SECONDS_PER_HOUR,
    Batches,
    Columns,
    Figures,
    SourceTable,
    TimeColumn,
    TimeRange,
    moment_literal,
    raise_unless_complete,
    raise_unless_whole,
    row_filter,
)

_INTEGER_TYPES = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "BOOLEAN"})
_AS_THEY_ARE = frozenset({"UBIGINT", "FLOAT", "DOUBLE"})
_TEMPORAL_TYPES = frozenset({"DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"})
_WIDE_INTEGERS = frozenset({"UBIGINT", "HUGEINT", "UHUGEINT"})


class DuckDBSource:
    """Opened read-only; where this process already holds the file for writing, it shares that opening."""

    def __init__(self, path: str) -> None:
        """Raises SourceError when the file is missing, no database, or held by another process."""
        self._path = path
        if not Path(path).is_file():
            raise SourceError(
                f"The source file {path} does not exist; nothing was read. Create it with "
                f"`order-tracking simulate --source duckdb:///{path} --orders N --months M --seed S`, "
                "or name another --source."
            )
        with self._errors("be opened"):
            try:
                self._connection = duckdb.connect(path, read_only=True)
            except duckdb.ConnectionException:
                # DuckDB keeps one opening of a file per process; the one that is there may write.
                self._connection = duckdb.connect(path)
            add_crc32(self._connection)

    def clock(self) -> int | None:
        return None

    def check(self, tables: Sequence[SourceTable]) -> None:
        raise_unless_complete(self._path, tables, {table.name: self._columns(table) for table in tables})

    def holds_rows(self, table: SourceTable) -> bool:
        with self._errors("be read"), self._connection.cursor() as cursor:
            return bool(cursor.execute(f"SELECT 1 FROM {_quoted(table.name)} LIMIT 1").fetchall())

    def highest_id(self, table: SourceTable) -> int | None:
        with self._errors("be read"), self._connection.cursor() as cursor:
            rows = cursor.execute(f"SELECT MAX({_quoted(table.id_column or '')}) FROM {_quoted(table.name)}").fetchall()
        return None if rows[0][0] is None else int(rows[0][0])

    def missing_index(self, table: SourceTable, *, of_orders: bool = False) -> str | None:
        return None

    def hourly_figures(
        self, table: SourceTable, start: int | None, end: int | None = None, *, content: bool = False
    ) -> dict[int, Figures]:
        self.check([table])
        time = self._time(table)
        of_rows = self._fingerprint(table) if content else "0"
        rows = self._counted(
            table,
            f"CAST(FLOOR({time.seconds}) AS HUGEINT) // {SECONDS_PER_HOUR}, COUNT(*), SUM({self._key(table)}), "
            f"SUM({time.seconds}), SUM({of_rows})",
            f"{row_filter(time, [TimeRange(start, end)])} GROUP BY 1",
        )
        return {int(hour): Figures(*map(int, sums)) for hour, *sums in rows}

    def content_columns(self, table: SourceTable) -> list[str]:
        return list(table.types)

    def _fingerprint(self, table: SourceTable) -> str:
        """Each value as it is read, then as what it lands as, then as every engine writes it."""
        kinds, texts = self._kinds(table), []
        for name, landed in table.types.items():
            spelling, kind = kinds[table.source_name(name)]
            if table.is_event_time(name) and kind in _TEMPORAL_TYPES:
                value = self._time(table).seconds
            elif kind == "BLOB":
                value = f"TRY(DECODE({_quoted(spelling)}))"
            else:  # a DECIMAL as it is: the text 1.0 is no BOOLEAN
                value = _quoted(spelling) if kind.startswith("DECIMAL") else _value(spelling, kind)
            column: exp.Expr = exp.maybe_parse(value, dialect="duckdb")
            texts.append(canonical(exp.TryCast(this=column, to=landed.copy()), landed))
        return fingerprint(texts, redshift=False).sql("duckdb")

    def _time(self, table: SourceTable) -> TimeColumn:
        spelling, kind = self._kinds(table)[table.time_column.lower()]
        column = _quoted(spelling)
        if kind in _TEMPORAL_TYPES:
            return TimeColumn(column, moment_literal, "(EPOCH_US(CAST({} AS TIMESTAMP)) // 1000000)")
        return TimeColumn(column)

    def _key(self, table: SourceTable) -> str:
        """The key as a number that can be summed up; what is none counts as 0."""
        kinds = self._kinds(table)
        spelling, kind = kinds[table.source_name(table.key)]
        key = _quoted(spelling)
        if kind not in _INTEGER_TYPES:
            key = f"TRY_CAST(CAST({key} AS VARCHAR) AS DECIMAL(20, 0))"
        return f"COALESCE({key}, 0)"

    def _counted(self, table: SourceTable, counts: str, condition: str) -> list[tuple[int, ...]]:
        with self._errors("be counted"), self._connection.cursor() as cursor:
            return cursor.execute(f"SELECT {counts} FROM {_quoted(table.name)} WHERE {condition}").fetchall()

    def read(
        self,
        table: SourceTable,
        ranges: Sequence[TimeRange],
        *,
        since_id: int | None = None,
        orders: Sequence[int] | None = None,
    ) -> Batches:
        self.check([table])
        kinds, time = self._kinds(table), self._time(table)
        outputs = [
            f"{time.seconds} AS {_quoted(name)}"
            if table.is_event_time(name) and time.seconds != time.column
            else f"{_value(*kinds[table.source_name(name)])} AS {_quoted(name)}"
            for name in table.columns
        ]
        if table.id_column:
            outputs.append(f"{_value(*kinds[table.id_column.lower()])} AS source_id")
        if orders is None:
            condition = row_filter(time, ranges, table.id_column and _quoted(table.id_column), since_id)
        else:
            listed = ", ".join(f"{order:d}" for order in orders)
            key = f"TRY_CAST({_quoted(kinds[table.source_name(table.key)][0])} AS BIGINT)"
            condition = f"{key} IN ({listed})" if listed else "1 = 0"
        rows = f"FROM {_quoted(table.name)} WHERE {condition}"
        came = 0
        # A cursor is a connection of its own to the same database: its snapshot, its thread.
        with self._errors("be read to the end"), self._connection.cursor() as cursor:
            cursor.begin()
            for batch in cursor.execute(f"SELECT {', '.join(outputs)} {rows}").to_arrow_reader(BATCH_ROWS):
                came += batch.num_rows
                yield batch
            ((counted,),) = cursor.execute(f"SELECT COUNT(*) {rows}").fetchall()
        raise_unless_whole(self._path, table.name, came, counted)

    def close(self) -> None:
        self._connection.close()

    def _columns(self, table: SourceTable) -> Columns:
        return {
            name: (spelling, kind in _INTEGER_TYPES | _WIDE_INTEGERS | _TEMPORAL_TYPES or kind.startswith("DECIMAL"))
            for name, (spelling, kind) in self._kinds(table).items()
        }

    def _kinds(self, table: SourceTable) -> dict[str, tuple[str, str]]:
        """Lower-case column name -> the source's spelling and its type."""
        with self._errors("be opened"), self._connection.cursor() as cursor:
            rows = cursor.execute(
                "SELECT column_name, data_type FROM duckdb_columns() "
                "WHERE database_name = current_database() "
                "AND schema_name = current_schema() AND lower(table_name) = lower(?)",
                [table.name],
            ).fetchall()
        return {name.lower(): (name, kind) for name, kind in rows}

    @contextmanager
    def _errors(self, action: str) -> Iterator[None]:
        try:
            yield
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise SourceError(
                f"The source file {self._path} could not {action}: {first_line(error).rstrip('.!')}. What was read of "
                "it does not count. Make sure that it is an intact DuckDB file which no other process is "
                "writing, then run again."
            ) from error


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _value(spelling: str, kind: str) -> str:
    """Integers, floats and bytes as they are, any other type as DuckDB's own text of it; a BIT is a number."""
    column = _quoted(spelling)
    if kind in _INTEGER_TYPES:
        return f"CAST({column} AS BIGINT)"
    if kind == "BLOB":
        return f"{column}[:{LONGEST}]"
    if kind == "BIT":
        number = f"CAST(CAST({column} AS UBIGINT) AS VARCHAR)"
        return f"CASE WHEN bit_length({column}) <= 64 THEN {number} ELSE '0b' || CAST({column} AS VARCHAR) END"
    if kind == "TIMESTAMP WITH TIME ZONE":  # a mere cast would be in this machine's time zone
        return f"CAST({column} AT TIME ZONE 'UTC' AS VARCHAR)"
    return column if kind in _AS_THEY_ARE else f"left(CAST({column} AS VARCHAR), {LONGEST})"
