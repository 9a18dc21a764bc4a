"""An embedded DuckDB file as a source: the same three tables without a server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from extract.source import (
    BATCH_ROWS,
    SECONDS_PER_HOUR,
    Columns,
    SourceError,
    SourceTable,
    TimeRange,
    raise_unless_complete,
    raise_unless_whole,
    row_filter,
)

_INTEGER_TYPES = frozenset(
    {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"}
    | {"UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"}
)


class DuckDBSource:
    """Opened read-only; where this process already holds the file for writing, it shares that opening."""

    def __init__(self, path: str) -> None:
        """Raises SourceError when the file is missing, no database, or held by another process."""
        self._path = path
        if not Path(path).is_file():
            raise SourceError(
                f"The source file {path} does not exist; nothing was read. Create it with "
                f"`python -m scripts.simulate --source duckdb:///{path} --orders N --months M --seed S`, "
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
            f"{time} // {SECONDS_PER_HOUR}, COUNT(*), SUM(COALESCE({_quoted(table.key)}, 0)), SUM({time})",
            f"{row_filter(time, [TimeRange(start)])} GROUP BY 1",
        )
        return {int(hour): (int(count), int(keys), int(times)) for hour, count, keys, times in rows}

    def about(self, table: SourceTable, ranges: Sequence[TimeRange]) -> int:
        try:
            ((count,),) = self._counted(table, "COUNT(*)", row_filter(_quoted(table.time_column), ranges))
        except SourceError:  # what is wrong the read will tell; a display fails nothing
            return 0
        return int(count)

    def _counted(self, table: SourceTable, counts: str, condition: str) -> list[tuple[int, ...]]:
        self.check([table])
        with self._errors("be counted"), self._connection.cursor() as cursor:
            return cursor.execute(f"SELECT {counts} FROM {_quoted(table.name)} WHERE {condition}").fetchall()

    def read(
        self, table: SourceTable, ranges: Sequence[TimeRange], *, since_id: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        self.check([table])
        columns = self._columns(table)
        outputs = [_output(name, columns[name][1], name) for name in table.columns]
        if table.id_column:
            outputs.append(_output(table.id_column, True, "source_id"))
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
        with self._errors("be opened"), self._connection.cursor() as cursor:
            rows = cursor.execute(
                "SELECT column_name, data_type FROM duckdb_columns() "
                "WHERE database_name = current_database() "
                "AND schema_name = current_schema() AND lower(table_name) = lower(?)",
                [table.name],
            ).fetchall()
        return {name.lower(): (name, kind in _INTEGER_TYPES) for name, kind in rows}

    @contextmanager
    def _errors(self, action: str) -> Iterator[None]:
        try:
            yield
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise SourceError(
                f"The source file {self._path} could not {action}: {_first_line(error)}. What was read of it "
                "does not count. Make sure that it is an intact DuckDB file which no other process is "
                "writing, then run again."
            ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".!")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _output(name: str, integer: bool, alias: str) -> str:
    """CAST is checked: a value that does not fit into 64 bits raises, it never wraps."""
    return f"CAST({_quoted(name)} AS {'BIGINT' if integer else 'VARCHAR'}) AS {_quoted(alias)}"
