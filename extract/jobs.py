"""What an extract must read of a table: the ordinary window, the hours that differ, or certain orders."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from extract.errors import TooLong
from extract.extract_log import Seen, load_begun
from extract.reconcile import HOUR, STATEMENT_ROWS, Part, hours_that_differ, parts_of, warehouse_figures
from extract.settle import remembered, with_rejected_rows
from extract.source import Source, TimeRange
from extract.source_reads import Figures
from extract.tables import ExtractConfig, Table
from extract.values import YEAR_2100
from extract.warehouse import Warehouse

LONG_WINDOW = 86400
"""A window longer than this (seconds), after cycles were missed, is read by the hours that differ, in chunks."""

STATEMENT_CHUNKS = 8
"""So many chunks at most, of what is read by the hour, come in one statement: half land while the others come."""


@dataclass(frozen=True)
class Job:
    """One table's work: parts to read one after another."""

    table: Table
    kind: str
    parts: list[Part]
    window_start: int | None
    since_id: int | None = None
    orders: Sequence[int] | None = None
    moves_watermark: bool = True
    stamp_before: dt.datetime | None = None
    """The stamp of the last rows of the table that landed, or were rejected, before this run."""
    moves_id: bool = False
    """Once all is landed no row with a lower id is left, but for those that an extract by time misses as well."""
    most_id: int | None = None
    """Of what is read by the hour: the highest id from before the hours were counted. Lower ones may come later in an
    hour that was read already, so the log goes no further."""
    ids_anew: bool = False
    """The source's ids begin anew: what the log has noted of them counts no more, and `most_id` is noted."""
    counted: Mapping[int, Figures] = field(default_factory=dict)
    """The source's figures by the hour, where they were asked for."""
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Jobs:
    """What must be read of each table now.

    source_clock: the source's clock, or ours where that is earlier; epoch seconds
    """

    source: Source
    warehouse: Warehouse
    config: ExtractConfig
    source_clock: int

    def of(self, table: Table, seen: Seen, since: int | None, kind: str, orders: Sequence[int] | None) -> Job:
        """What must be read for a table now; `seen`: what the log says of it. The rest as `extract` takes it."""
        return replace(self._of(table, seen, since, kind, orders), stamp_before=seen.stamp)

    def _of(self, table: Table, seen: Seen, since: int | None, kind: str, orders: Sequence[int] | None) -> Job:
        watermark = seen.watermark
        if orders is not None:
            return Job(table, kind, [Part([], len(orders))], None, orders=orders, moves_watermark=False)
        if since is not None:
            # Where a load has begun further back and died, all of that is still to be read.
            first = watermark is None and kind == "since" and since <= load_begun(self.warehouse, since)
            since = since // HOUR * HOUR if kind == "reconcile" else since  # whole hours, the same every night
            return self._by_hours(table, kind, since, first)
        if watermark is None:
            return self._first_load(table)
        if table.id_overlap is not None and seen.watermark_id is not None:
            if job := self._ids_anew(table, seen.watermark_id):
                return job
            since_id = max(seen.watermark_id - table.id_overlap, 0)
            return Job(table, "extract", [Part([], 0)], None, since_id, moves_id=True)
        start = window_start(watermark, self.source_clock, self.config.buffer_seconds)
        if start < self.source_clock - LONG_WINDOW:
            most_id = self._highest_id(table)
            job = self._by_hours(table, "extract", start, True, seen_until=watermark)
            return replace(job, moves_id=True, most_id=most_id)
        return Job(table, "extract", [Part([TimeRange(start, unplaceable=True)], 0)], start, moves_id=True)

    def all_that_differs(self, table: Table) -> tuple[list[Part], int | None]:
        """All of a table by the hours that differ, where a read by its id takes too long: parts, and `most_id`."""
        most_id = self._highest_id(table)
        with self.warehouse.session() as session:
            return replace(self, warehouse=session)._by_hours(table, "extract", 0, True).parts, most_id

    def _ids_anew(self, table: Table, noted: int) -> Job | None:
        """All by the hours that differ, where the source's highest id is lower than where a read by id would begin.

        One that is a little lower is none: rows at the end were deleted, and what takes their ids is in the overlap.
        """
        try:
            highest = self._highest_id(table) or 0
        except TooLong:  # the read by id takes too long, too, and says so
            return None
        if highest >= noted - (table.id_overlap or 0):
            return None
        job = self._by_hours(table, "extract", 0, True)
        job.warnings.append(
            f"The ids of {table.source.name} begin anew: its highest is {highest:,}, and {noted:,} has been read. "
            "What differs by the hour is read instead, and the next cycle goes by the new ids. Was the table made "
            "again, or were its newest rows deleted? A table read by its id needs ids that ascend (docs/source.md)."
        )
        return replace(job, window_start=None, moves_id=True, most_id=highest, ids_anew=True)

    def _highest_id(self, table: Table) -> int | None:
        """0 while the table has no row: then no id counts as read."""
        return self.source.highest_id(table.source) or 0 if table.source.id_column else None

    def _first_load(self, table: Table) -> Job:
        most_id = self._highest_id(table)
        load = replace(self._by_hours(table, "since", 0, True), moves_id=True, most_id=most_id)
        if statement := self.source.missing_index(table.source):
            load.warnings.append(
                f"{table.source.name} has no index that begins with its event time, so every read goes through the "
                f"whole table. Let the source's owner run: {statement}"
            )
        return load

    def _by_hours(self, table: Table, kind: str, since: int, moves_watermark: bool, seen_until: int = 0) -> Job:
        """The hours that differ, in parts: for what may be long. A refresh reads every hour, and so does what comes
        before `seen_until`, as an ordinary window would: a status can change within its second.

        A reconcile compares the content too, and leaves out what it could not make equal before; but it tries rejected
        rows again, of the newest hours that one statement holds.
        """
        reconciles = kind == "reconcile"
        content = self.source.content_columns(table.source) if reconciles else []
        held = {} if kind == "refresh" else warehouse_figures(self.warehouse, table, since, content=content)
        counts = self.source.hourly_figures(table.source, since or None, content=reconciles)
        differ = hours_that_differ(counts, held)
        known = remembered(self.warehouse, table) if reconciles else {}
        hours = {hour: counts[hour].rows for hour, more in differ.items() if hour in counts and known.get(hour) != more}
        if reconciles:
            again = with_rejected_rows(self.warehouse, table) & differ.keys() & counts.keys()
            with_a_time = {hour: counts[hour].rows for hour in again if hour * HOUR < YEAR_2100}  # others always come
            hours |= _newest(with_a_time, STATEMENT_ROWS)
        hours |= {hour: counts[hour].rows for hour in counts if hour * HOUR <= seen_until}
        chunk_rows = self.config.chunk_rows or self.warehouse.chunk_rows
        parts = parts_of(hours, STATEMENT_CHUNKS * chunk_rows)
        return Job(table, kind, parts, since, moves_watermark=moves_watermark, counted=counts)


def _newest(hours: Mapping[int, int], most_rows: int) -> dict[int, int]:
    """Of the hours (hour -> rows) the newest that have at most so many rows together; one that has more is left out."""
    taken: dict[int, int] = {}
    for hour in sorted(hours, reverse=True):
        if hours[hour] <= most_rows:
            taken[hour] = hours[hour]
            most_rows -= hours[hour]
    return taken


def window_start(watermark: int, source_clock: int, buffer_seconds: int) -> int:
    """Where an ordinary read begins: the buffer before the newest row landed, or before the source's clock if earlier.

    All in epoch seconds. So a source whose clock was set back is read on.
    """
    return min(watermark, source_clock) - buffer_seconds
