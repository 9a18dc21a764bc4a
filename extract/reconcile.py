"""Reconcile: which hours of event time does the source count differently? Only those are read again.

The same comparison resumes a first load that broke off: the hours that landed do not differ.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from extract.held import held_once
from extract.source import TimeRange
from extract.source_reads import SECONDS_PER_HOUR as HOUR
from extract.source_reads import Figures, halved
from extract.tables import Table
from extract.values import YEAR_2100
from extract.warehouse import Warehouse
from macros.sql import sql_from_template

NONE = Figures(0, 0, 0)
STATEMENT_ROWS = 2_000_000
"""What is read by the hour comes in statements of at most about so many rows: none may be long on the source."""
STATEMENT_RANGES = 500
"""Nor may one have more ranges: hours that lie scattered would make it longer than the source takes."""
MOST_HALVINGS = 6
"""So often a part that takes too long is halved; a source that is slower still has another fault."""


@dataclass(frozen=True)
class Part:
    """What is read in one statement: ranges of event time, and about how many rows stand there (0: unknown)."""

    ranges: list[TimeRange]
    rows: int
    halvings: int = 0

    def halves(self, now: int) -> list[Part]:
        """The part as two of half the time; nothing where it cannot be halved any more."""
        split = halved(self.ranges, now) if self.halvings < MOST_HALVINGS else None
        return [Part(ranges, self.rows // 2, self.halvings + 1) for ranges in split or ()]


def hours_that_differ(source: Mapping[int, Figures], warehouse: Mapping[int, Figures]) -> dict[int, Figures]:
    """Hour -> by how much the source's figures are more than the warehouse's, of the hours that are not the same.

    The sum of the times tells a status that was renewed within the hour, where count and orders stay as they were;
    that of the content a value that was changed without a new time.
    """
    hours = {hour: difference(source.get(hour, NONE), warehouse.get(hour, NONE)) for hour in {*source, *warehouse}}
    return {hour: hours[hour] for hour in sorted(hours) if any(hours[hour])}


def difference(source: Figures, warehouse: Figures) -> Figures:
    return Figures(*(a - b for a, b in zip(source, warehouse, strict=True)))


def parts_of(hours: Mapping[int, int], most_rows: int) -> list[Part]:
    """The hours (hour -> rows in the source) as ranges, gathered to parts of at most about so many rows.

    No part has more than `STATEMENT_ROWS` and `STATEMENT_RANGES`, because each is read in one statement. Nothing lands
    that is dated after 2100, so what lies between such hours need not be left out: times in milliseconds would make a
    range of every row. The last part also reads the rows that have no place in time.
    """
    most_rows = min(most_rows, STATEMENT_ROWS)
    parts: list[Part] = []
    ranges: list[TimeRange] = []
    rows = 0
    for hour, count in sorted(hours.items()):
        start, end = hour * HOUR, (hour + 1) * HOUR
        before = ranges[-1] if ranges else TimeRange(None)
        joins = before.end == start or (before.start or 0) >= YEAR_2100
        if ranges and (rows + count > most_rows or (len(ranges) == STATEMENT_RANGES and not joins)):
            parts.append(Part(ranges, rows))
            ranges, rows, joins = [], 0, False
        if joins:
            ranges[-1] = TimeRange(before.start, end)
        else:
            ranges.append(TimeRange(start, end))
        rows += count
    parts.append(Part([*ranges, TimeRange(0, 0, unplaceable=True)], rows))
    return parts


def gathered(waiting: deque[Part], most_rows: int) -> deque[Part]:
    """Takes from the left the parts that land together: one, and more as long as they are at most about so many rows.

    Example:
        >>> waiting = deque(Part([], rows) for rows in (4, 3, 9, 1))
        >>> [part.rows for part in gathered(waiting, 8)], [part.rows for part in waiting]
        ([4, 3], [9, 1])
    """
    taken = deque([waiting.popleft()])
    rows = taken[0].rows
    while waiting and rows + waiting[0].rows <= most_rows:
        rows += waiting[0].rows
        taken.append(waiting.popleft())
    return taken


def warehouse_figures(
    warehouse: Warehouse, table: Table, since: int | None, until: int | None = None, content: Sequence[str] = ()
) -> dict[int, Figures]:
    """Epoch hour -> figures of what is held: mart, history, and what has landed since.

    Args:
        since, until: Epoch seconds of event time, half-open.
        content: The columns of which a fingerprint is wanted.
    """
    sums = "SUM(CAST(row_content AS DECIMAL(38, 0)))" if content else "0"
    counts = sql_from_template(
        f"""
        SELECT CAST(FLOOR(:time / 3600.0) AS BIGINT) AS hour, COUNT(*), SUM(CAST(order_id AS DECIMAL(38, 0))),
          SUM(CAST(:time AS DECIMAL(38, 0))), {sums}
        FROM held WHERE :time < :until GROUP BY 1
        """,
        {"held": held_once(warehouse, table, since or 0, content=content)},
        time=exp.column(table.time),
        until=2**62 if until is None else until,
    )
    return {int(hour): Figures(*map(int, figures)) for hour, *figures in warehouse.fetchall(counts)}
