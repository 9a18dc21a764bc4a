"""Reading a source: what every source can do, and how one is opened from its URL.

The extractor sees only this contract. Two sources keep it: a MySQL server (`extract.source_mysql`) and an
embedded DuckDB file (`extract.source_duckdb`). Both give integers as int64 (as uint64 where a value needs it), floats
as such, bytes as binary and everything else as text, under lower-case names, exactly as the source holds them: judging
values is the business of `extract.values`. Of a longer text, or of longer bytes, the first LONGEST characters are
enough: no column can hold them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from urllib.parse import urlsplit

from extract.errors import SourceUrlError
from extract.settings import in_project
from extract.source_reads import Batches, Figures, Limits, SourceTable, TimeRange


class Source(Protocol):
    def clock(self) -> int | None:
        """The source server's own clock in epoch seconds; None for an embedded file, which has none."""

    def check(self, tables: Sequence[SourceTable]) -> None:
        """Raises one SourceError naming every missing table and column; letter case does not matter."""

    def holds_rows(self, table: SourceTable) -> bool:
        """Whether the table has any row at all."""

    def highest_id(self, table: SourceTable) -> int | None:
        """The highest value of the table's id column; None for a table without a row."""

    def missing_index(self, table: SourceTable, *, of_orders: bool = False) -> str | None:
        """The statement that would make the index of the event time, or of the key (`of_orders`), where a table has
        none; None for a view."""

    def hourly_figures(
        self, table: SourceTable, start: int | None, end: int | None = None, *, content: bool = False
    ) -> dict[int, Figures]:
        """Epoch hour (time // 3600) -> figures of the rows with time > 0, time >= start and time < end.

        A NULL key counts as a row and adds nothing to the sum. `content`: with the fingerprint of the rows'
        `content_columns`. Raises SourceError where the hours hold fewer rows than the source counts in all, TooLong
        where an hour cannot be counted within the time that a statement may take.
        """

    def content_columns(self, table: SourceTable) -> list[str]:
        """The columns, of those whose types are given, that a fingerprint holds; the source cannot write the others
        exactly as the warehouse does."""

    def read(
        self,
        table: SourceTable,
        ranges: Sequence[TimeRange],
        *,
        since_id: int | None = None,
        orders: Sequence[int] | None = None,
    ) -> Batches:
        """Streams the rows that stand in any of the ranges, each once, in batches: of at most BATCH_ROWS rows from a
        file, of what came in about 4 MB from a server.

        Columns: the table's, in order, then `source_id` (int64) where it has an id column. One consistent
        snapshot, opened when the first batch is asked for. With `since_id` only rows whose id is greater;
        `since_id` with no ranges asks nothing of the time. No ranges and no `since_id`: no rows. `orders`: the rows of
        these keys instead, whatever their time.
        Safe to call from several threads. A source that dies half-way raises SourceError, always. So does, at its
        end, a read of which fewer rows came than the source itself counts in the same snapshot; where a table has
        no snapshots, fewer than it counts both before and after. One that takes longer than a statement may raises
        TooLong, also where it is the consumer that is slow. Whoever ends early closes the iterator: until then it
        holds its connection.
        """

    def close(self) -> None:
        """Frees the source's connections. Iterators still open end with SourceError."""


def open_source(url: str, limits: Limits | None = None) -> Source:
    """Opens `mysql://user:password@host:port/database[?option=value]` or `duckdb:///FILE`.

    Four slashes make the file's path absolute; with three it is relative to the project's folder. Raises SourceError,
    never showing the password.

    Args:
        limits: What the owner of a server allows; a file has no such owner.
    """
    scheme = url.split(":", 1)[0].lower() if ":" in url else ""
    if scheme == "duckdb":
        from extract.source_duckdb import DuckDBSource

        return DuckDBSource(duckdb_path(url))
    if scheme == "mysql":
        from extract.source_mysql import MySQLSource

        return MySQLSource(url, limits)
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
