"""Reading a source: what every source can do, and how one is opened from its URL.

The extractor sees only this contract. Two sources keep it: a MySQL server (`extract.source_mysql`) and an
embedded DuckDB file (`extract.source_duckdb`). Both give integers as int64 (as uint64 where a value needs it), floats
as such, bytes as binary and everything else as text, under lower-case names, exactly as the source holds them: judging
values is the business of `extract.values`. Of a longer text, or of longer bytes, the first LONGEST characters are
enough: no column can hold them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import pyarrow as pa

from extract.errors import SourceError, SourceUrlError
from extract.settings import in_project

BATCH_ROWS = 65_536
SECONDS_PER_HOUR = 3600
LONGEST = 65_536
"""Characters; one more than the bytes of the longest text that a column can hold."""

# Column name (lower case) -> the source's own spelling and whether it holds integers or decimals.
Columns = Mapping[str, tuple[str, bool]]


@dataclass(frozen=True)
class SourceTable:
    """One source table as configured; `columns` are lower-case warehouse names, in the order wanted."""

    name: str
    time_column: str
    columns: tuple[str, ...]
    key: str = "order_id"
    id_column: str | None = None

    def wanted(self) -> tuple[str, ...]:
        """Every column this table must have, once each."""
        names = (*self.columns, self.key, self.time_column, *((self.id_column,) if self.id_column else ()))
        return tuple(dict.fromkeys(name.lower() for name in names))


@dataclass(frozen=True)
class TimeRange:
    """Half-open range [start, end) of event time in epoch seconds; None is unbounded.

    A range holds only times above zero. `unplaceable` adds the rows whose time is NULL, zero or negative.
    """

    start: int | None
    end: int | None = None
    unplaceable: bool = False


class Source(Protocol):
    def clock(self) -> int | None:
        """The source server's own clock in epoch seconds; None for an embedded file, which has none."""

    def check(self, tables: Sequence[SourceTable]) -> None:
        """Raises one SourceError naming every missing table and column; letter case does not matter."""

    def hourly_counts(self, table: SourceTable, start: int | None) -> dict[int, tuple[int, int, int]]:
        """Epoch hour (time // 3600) -> (COUNT(*), SUM(key), SUM(time)) of the rows with time > 0 and time >= start.

        A NULL key counts as a row and adds nothing to the sum. Raises SourceError where the hours hold fewer rows
        than the source counts in all.
        """

    def about(self, table: SourceTable, ranges: Sequence[TimeRange]) -> int:
        """About how many rows stand in the ranges, at no cost: enough for a progress bar. 0 where it cannot be said."""

    def read(
        self, table: SourceTable, ranges: Sequence[TimeRange], *, since_id: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Streams the rows that stand in any of the ranges, each once, in batches: of at most BATCH_ROWS rows from a
        file, of what came in about 4 MB from a server.

        Columns: the table's, in order, then `source_id` (int64) where it has an id column. One consistent
        snapshot, opened when the first batch is asked for. With `since_id` only rows whose id is greater;
        `since_id` with no ranges asks nothing of the time. No ranges and no `since_id`: no rows.
        Safe to call from several threads. A source that dies half-way raises SourceError, always. So does, at its
        end, a read of which fewer rows came than the source itself counts in the same snapshot; where a table has
        no snapshots, fewer than it counts both before and after.
        """

    def close(self) -> None:
        """Frees the source's connections. Iterators still open end with SourceError."""


def open_source(url: str) -> Source:
    """Opens `mysql://user:password@host:port/database[?ssl-ca=FILE]` or `duckdb:///FILE`.

    Four slashes make the file's path absolute; with three it is relative to the project's folder. Raises SourceError,
    never showing the password.
    """
    scheme = url.split(":", 1)[0].lower() if ":" in url else ""
    if scheme == "duckdb":
        from extract.source_duckdb import DuckDBSource

        return DuckDBSource(duckdb_path(url))
    if scheme == "mysql":
        from extract.source_mysql import MySQLSource

        return MySQLSource(url)
    raise SourceUrlError(
        f"The source URL begins with no known scheme (it has {scheme or 'none'}); nothing was read. "
        "Give --source or ORDER_TRACKING_SOURCE as mysql://user:password@host:port/database or duckdb:///path/to/file."
    )


def duckdb_path(url: str) -> str:
    """The file of a duckdb URL: `duckdb:///a/b` is relative to the project's folder, `duckdb:////a/b` absolute."""
    path = urlsplit(url).path
    if not url.lower().startswith("duckdb:///") or len(path) < 2:
        raise SourceUrlError(
            "The source URL begins with neither mysql: nor duckdb:/// and a file; nothing was read. Write "
            "duckdb:///relative/file or duckdb:////absolute/file."
        )
    return str(in_project(url[len("duckdb:///") :]))


def merged(ranges: Sequence[TimeRange]) -> tuple[list[tuple[int, int | None]], bool]:
    """The ranges as disjoint ascending (start >= 1, end), and whether unplaceable rows are asked for.

    Disjoint, so that no row is read twice; merged, so that many adjacent hours make one index range.
    """
    spans = sorted(
        ((max(item.start or 1, 1), item.end) for item in ranges),
        key=lambda span: span[0],
    )
    joined: list[tuple[int, int | None]] = []
    for start, end in spans:
        if end is not None and end <= start:
            continue
        if joined and (joined[-1][1] is None or start <= joined[-1][1]):
            last_start, last_end = joined[-1]
            joined[-1] = (last_start, None if last_end is None or end is None else max(last_end, end))
        else:
            joined.append((start, end))
    return joined, any(item.unplaceable for item in ranges)


def row_filter(
    time: str, ranges: Sequence[TimeRange], identifier: str | None = None, since_id: int | None = None
) -> str:
    """The WHERE condition of a read; `time` and `identifier` are quoted column names.

    Bare comparisons of the column with literals, so that an index on the time column serves them.
    """
    spans, unplaceable = merged(ranges)
    parts = [
        f"{time} >= {start:d}" if end is None else f"({time} >= {start:d} AND {time} < {end:d})" for start, end in spans
    ]
    if unplaceable:
        parts += [f"{time} <= 0", f"{time} IS NULL"]
    if unplaceable and spans == [(1, None)]:
        condition = "1 = 1"
    elif parts:
        condition = f"({' OR '.join(parts)})"
    else:
        condition = "1 = 1" if since_id is not None and not ranges else "1 = 0"
    if since_id is None:
        return condition
    if identifier is None:
        raise SourceError("since_id was given for a table without an id column; nothing was read.")
    after = f"{identifier} > {since_id:d}"
    return after if condition == "1 = 1" else f"{condition} AND {after}"


def raise_unless_whole(where: str, what: str, came: int, counted: int, *, exact: bool = True) -> None:
    """Raises SourceError where fewer rows came than the source counts; or other than that many, if `exact`."""
    if came == counted or (came > counted and not exact):
        return
    raise SourceError(
        f"The source {where} gave {came} rows of {what}, but it counts {counted}. What was read last did not land, and "
        "the watermark did not move over it. Something cuts or changes what a SELECT returns: a limit that the server "
        "or a proxy sets, or a damaged index (CHECK TABLE tells). Mend that, then run again: what is missing is read."
    )


def missing(table: SourceTable, columns: Columns) -> list[str]:
    """What `table` lacks, in words; `columns` is empty when the source has no such table."""
    if not columns:
        return [f"table {table.name}"]
    return [f"column {table.name}.{name}" for name in table.wanted() if name not in columns]


def not_numeric(table: SourceTable, columns: Columns) -> list[str]:
    """Time and id must be exact numbers: ranges of them are asked for. A key need not be, it is judged row by row."""
    names = dict.fromkeys(name.lower() for name in (table.time_column, table.id_column) if name is not None)
    return [f"{table.name}.{name}" for name in names if name in columns and not columns[name][1]]


def raise_unless_complete(where: str, tables: Sequence[SourceTable], found: Mapping[str, Columns]) -> None:
    """Raises SourceError naming everything that `tables` want and `found` (by table name) lacks."""
    lacking = [item for table in tables for item in missing(table, found[table.name])]
    wrong = [item for table in tables for item in not_numeric(table, found[table.name])]
    if not lacking and not wrong:
        return
    said = []
    if lacking:
        said.append("has no " + ", no ".join(lacking))
    if wrong:
        said.append(
            "holds no integers in " + ", ".join(wrong) + ", but an event time is epoch seconds and an id a number"
        )
    raise SourceError(
        f"The source {where} {'; it '.join(said)}. Nothing was read. Mend the names in the extract "
        "configuration, or grant the source's user SELECT on these tables."
    )
