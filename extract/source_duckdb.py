"""An embedded DuckDB file as a source: the same three tables without a server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from extract.errors import SourceError, first_line
from extract.source_reads import (
    BATCH_ROWS,
    LONGEST,
    SECONDS_PER_HOUR,
    Columns,
    SourceTable,
    TimeRange,
    raise_unless_complete,
    raise_unless_whole,
    row_filter,
)

_INTEGER_TYPES = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "BOOLEAN"})
_AS_THEY_ARE = frozenset({"UBIGINT", "FLOAT", "DOUBLE"})
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

    def clock(self) -> int | None:
        return None

    def check(self, tables: Sequence[SourceTable]) -> None:
        raise_unless_complete(self._path, tables, {table.name: self._columns(table) for table in tables})

    def hourly_counts(self, table: SourceTable, start: int | None) -> dict[int, tuple[int, int, int]]:
        time = _quoted(table.time_column)
        rows = self._counted(
            table,
            f"CAST(FLOOR({time}) AS HUGEINT) // {SECONDS_PER_HOUR}, COUNT(*), SUM({self._key(table)}), SUM({time})",
            f"{row_filter(time, [TimeRange(start)])} GROUP BY 1",
        )
        return {int(hour): (int(count), int(keys), int(times)) for hour, count, keys, times in rows}

    def about(self, table: SourceTable, ranges: Sequence[TimeRange]) -> int:
        try:
            ((count,),) = self._counted(table, "COUNT(*)", row_filter(_quoted(table.time_column), ranges))
        except SourceError:  # what is wrong the read will tell; a display fails nothing
            return 0
        return int(count)

    def _key(self, table: SourceTable) -> str:
        """The key as a number that can be summed up; what is none counts as 0."""
        kinds = self._kinds(table)
        if table.key.lower() not in kinds:
            return "0"  # told by the check that follows
        spelling, kind = kinds[table.key.lower()]
        key = _quoted(spelling)
        if kind not in _INTEGER_TYPES:
            key = f"TRY_CAST(CAST({key} AS VARCHAR) AS DECIMAL(20, 0))"
        return f"COALESCE({key}, 0)"

    def _counted(self, table: SourceTable, counts: str, condition: str) -> list[tuple[int, ...]]:
        self.check([table])
        with self._errors("be counted"), self._connection.cursor() as cursor:
            return cursor.execute(f"SELECT {counts} FROM {_quoted(table.name)} WHERE {condition}").fetchall()

    def read(
        self, table: SourceTable, ranges: Sequence[TimeRange], *, since_id: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        self.check([table])
        kinds = self._kinds(table)
        outputs = [_output(*kinds[name], name) for name in table.columns]
        if table.id_column:
            outputs.append(_output(*kinds[table.id_column.lower()], "source_id"))
        condition = row_filter(
            _quoted(table.time_column), ranges, table.id_column and _quoted(table.id_column), since_id
        )
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
            name: (spelling, kind in _INTEGER_TYPES | _WIDE_INTEGERS or kind.startswith("DECIMAL"))
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


def _output(spelling: str, kind: str, alias: str) -> str:
    """Integers, floats and bytes as they are, any other type as DuckDB's own text of it; a BIT is a number."""
    column = _quoted(spelling)
    if kind in _INTEGER_TYPES:
        column = f"CAST({column} AS BIGINT)"
    elif kind == "BLOB":
        column = f"{column}[:{LONGEST}]"
    elif kind == "BIT":
        number = f"CAST(CAST({column} AS UBIGINT) AS VARCHAR)"
        column = f"CASE WHEN bit_length({column}) <= 64 THEN {number} ELSE '0b' || CAST({column} AS VARCHAR) END"
    elif kind == "TIMESTAMP WITH TIME ZONE":  # its text would be of this machine's time zone
        column = f"CAST({column} AT TIME ZONE 'UTC' AS VARCHAR)"
    elif kind not in _AS_THEY_ARE:
        column = f"left(CAST({column} AS VARCHAR), {LONGEST})"
    return f"{column} AS {_quoted(alias)}"
