"""Reconcile: which hours of event time does the source count differently? Only those are read again.

The same comparison resumes a first load that broke off (the hours that landed do not differ). Where nothing is held
nothing is counted.
"""

from __future__ import annotations

from sqlglot import exp

from extract.held import held_once
from extract.source import TimeRange
from extract.tables import Table
from extract.warehouse import Warehouse
from macros.sql import sql_from_template

HOUR = 3600
Counts = dict[int, tuple[int, int, int]]
Part = tuple[list[TimeRange], int]
"""What is read in one go: ranges, and about how many rows stand there."""


def hours_that_differ(source: Counts, warehouse: Counts) -> dict[int, int]:
    """Hour -> rows in the source, of the hours in which count or sums are not the same.

    The sum of the times tells a status that was renewed within the hour, where count and orders stay as they were.
    """
    return {hour: counts[0] for hour, counts in sorted(source.items()) if warehouse.get(hour) != counts}


def parts_of(hours: dict[int, int], most_rows: int) -> list[Part]:
    """The hours as ranges, gathered to parts of at most about so many rows.

    The last part also reads the rows that have no place in time.
    """
    parts: list[Part] = []
    ranges: list[TimeRange] = []
    rows = 0
    for hour, count in hours.items():
        if ranges and rows + count > most_rows:
            parts.append((ranges, rows))
            ranges, rows = [], 0
        start, end = hour * HOUR, (hour + 1) * HOUR
        if ranges and ranges[-1].end == start:
            ranges[-1] = TimeRange(ranges[-1].start, end)
        else:
            ranges.append(TimeRange(start, end))
        rows += count
    parts.append(([*ranges, TimeRange(0, 0, unplaceable=True)], rows))
    return parts


def warehouse_hourly_counts(warehouse: Warehouse, table: Table, since: int | None) -> Counts:
    """Epoch hour -> (COUNT(*), SUM(order_id), SUM(time)) of what is held: mart, history, and what has landed since."""
    counts = sql_from_template(
        """
        SELECT CAST(FLOOR(:time / 3600.0) AS BIGINT) AS hour, COUNT(*), SUM(CAST(order_id AS DECIMAL(38, 0))),
          SUM(CAST(:time AS DECIMAL(38, 0)))
        FROM held GROUP BY 1
        """,
        {"held": held_once(warehouse, table, since)},
        time=exp.column(table.time),
    )
    rows = warehouse.fetchall(counts)
    return {int(hour): (int(count), int(orders), int(times)) for hour, count, orders, times in rows}
