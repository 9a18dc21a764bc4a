"""Reconcile: which hours of event time does the source count differently? Only those are read again.

The same comparison resumes a first load that broke off (the hours that landed do not differ). Where nothing is held
nothing is counted.
"""

from __future__ import annotations

import datetime as dt
import typing as t

from sqlglot import exp

from extract.config import Table
from extract.settled import settled_rows
from extract.source import TimeRange
from extract.warehouse import Warehouse
from macros.sql import columns_of, statement, table_node, timestamp, union_all
from macros.versions import identical

HOUR = 3600
Counts = dict[int, tuple[int, int, int]]


def hours_that_differ(source: Counts, warehouse: Counts) -> dict[int, int]:
    """Hour -> rows in the source, of the hours in which count or sums are not the same.

    The sum of the times tells a status that was renewed within the hour, where count and orders stay as they were.
    """
    return {hour: counts[0] for hour, counts in sorted(source.items()) if warehouse.get(hour) != counts}


def chunks_of(hours: dict[int, int], chunk_rows: int) -> list[tuple[list[TimeRange], int]]:
    """The hours as ranges, gathered to chunks of at most about so many rows; with each chunk its rows.

    The last chunk also reads the rows that have no place in time.
    """
    chunks: list[tuple[list[TimeRange], int]] = []
    ranges: list[TimeRange] = []
    rows = 0
    for hour, count in hours.items():
        if ranges and rows + count > chunk_rows:
            chunks.append((ranges, rows))
            ranges, rows = [], 0
        start, end = hour * HOUR, (hour + 1) * HOUR
        if ranges and ranges[-1].end == start:
            ranges[-1] = TimeRange(ranges[-1].start, end)
        else:
            ranges.append(TimeRange(start, end))
        rows += count
    chunks.append(([*ranges, TimeRange(0, 0, unplaceable=True)], rows))
    return chunks


def warehouse_hourly_counts(warehouse: Warehouse, table: Table, since: int | None) -> Counts:
    """Epoch hour -> (COUNT(*), SUM(order_id), SUM(time)) of what is held: mart, history, and what has landed since."""
    counts = statement(
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


def held_once(warehouse: Warehouse, table: Table, since: int | None) -> exp.Query:
    """order_id and event time of every scan, or of the newest version of every order, that the warehouse holds."""
    columns = ["order_id", table.time] if table.mart.one_row_per_order else table.identity
    settled = union_all(settled_rows(warehouse, table, columns, since or 0))
    pending = _pending(warehouse, table, columns, since)
    if table.mart.one_row_per_order:
        newest = exp.func("MAX", exp.column(table.time)).as_(table.time)
        return exp.select("order_id", newest).from_(union_all([settled, pending]).subquery("held")).group_by("order_id")
    added = statement(
        """
        SELECT :columns FROM pending
        LEFT JOIN settled ON settled.order_id = pending.order_id AND :identical
        WHERE settled.order_id IS NULL
        """,
        {"settled": settled, "pending": pending},
        columns=columns_of(columns, "pending"),
        identical=identical("settled", "pending", columns[1:], table.columns),
    )
    return union_all([settled, t.cast(exp.Query, added)])


def _pending(warehouse: Warehouse, table: Table, columns: list[str], since: int | None) -> exp.Query:
    """What landed after the mart's newest row, less two quarter-hours: the mart may not have it yet."""
    query = exp.select(*columns_of(columns)).from_(table_node(table.raw)).where(exp.column(table.time) >= (since or 0))
    newest = None
    if table.mart.name in warehouse.columns_of_schemas([table.mart.name.split(".")[0]]):
        ((newest,),) = warehouse.fetchall(f"SELECT MAX(landed_at) FROM {table.mart.name}")
    if newest is not None:
        query = query.where(exp.column("landed_at") > timestamp(int(_epoch(newest)) - 1800))
    return query.distinct()


def _epoch(moment: dt.datetime) -> float:
    """Epoch seconds of a TIMESTAMP from the warehouse, which is UTC without saying so."""
    return moment.replace(tzinfo=dt.UTC).timestamp()
