"""Reconcile: which hours of event time does the source count differently? Only those are read again.

The same comparison carries a first load (every hour differs) and its resumption (the hours that landed do not).
"""

from __future__ import annotations

import datetime as dt

from sqlglot import exp

from extract.config import Table
from extract.settled import settled_rows
from extract.source import TimeRange
from extract.warehouse import Warehouse
from macros.marts import identity_columns
from macros.sql import columns_of, statement, table_node, timestamp, union_all
from macros.versions import identical, older

HOUR = 3600
Counts = dict[int, tuple[int, int]]


def hours_that_differ(source: Counts, warehouse: Counts) -> dict[int, int]:
    """Hour -> rows in the source, of the hours in which count or sum of order_id is not the same."""
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
    """Epoch hour -> (COUNT(*), SUM(order_id)) of what the warehouse holds: mart, history, and what has landed since."""
    counts = statement(
        """
        SELECT CAST(FLOOR(:time / 3600.0) AS BIGINT) AS hour, COUNT(*), SUM(CAST(order_id AS DECIMAL(38, 0)))
        FROM held GROUP BY 1
        """,
        {"held": held_once(warehouse, table, since)},
        time=exp.column(table.time),
    )
    return {int(hour): (int(count), int(total)) for hour, count, total in warehouse.fetchall(counts)}


def held_once(warehouse: Warehouse, table: Table, since: int | None) -> exp.Query:
    """order_id and event time of every scan, or of the newest version of every order, that the warehouse holds."""
    identity = identity_columns([*table.columns, "landed_at"], table.time, table.facts["versioned"])
    names = ["order_id", *identity]
    settled = union_all(settled_rows(warehouse, table, names, since or 0))
    pending = _pending(warehouse, table, names, since)
    if not table.facts["versioned"]:
        same = identical("settled", "pending", identity)
        kept = statement("SELECT :columns FROM settled", {"settled": settled}, columns=_two(table, "settled"))
    else:
        same = exp.not_(older("settled", "pending", identity))
        kept = statement(
            """
            SELECT :columns FROM settled
            LEFT JOIN pending ON pending.order_id = settled.order_id AND :superseded
            WHERE pending.order_id IS NULL
            """,
            {"settled": settled, "pending": pending},
            columns=_two(table, "settled"),
            superseded=older("settled", "pending", identity),
        )
    added = statement(
        """
        SELECT :columns FROM pending
        LEFT JOIN settled ON settled.order_id = pending.order_id AND :same
        WHERE settled.order_id IS NULL
        """,
        {"settled": settled, "pending": pending},
        columns=_two(table, "pending"),
        same=same,
    )
    return union_all([kept, added])  # type: ignore[list-item]


def _two(table: Table, place: str) -> list[exp.Expr]:
    return columns_of(["order_id", table.time], place)


def _pending(warehouse: Warehouse, table: Table, names: list[str], since: int | None) -> exp.Query:
    """What landed after the mart's newest row, less two quarter-hours: the mart may not have it yet."""
    query = exp.select(*columns_of(names)).from_(table_node(table.raw)).where(exp.column(table.time) >= (since or 0))
    newest = None
    if table.mart in warehouse.columns_of_schemas([table.mart.split(".")[0]]):
        ((newest,),) = warehouse.fetchall(f"SELECT MAX(landed_at) FROM {table.mart}")
    if newest is not None:
        query = query.where(exp.column("landed_at") > timestamp(int(_epoch(newest)) - 1800))
    if not table.facts["versioned"]:
        return query.distinct()
    order = [exp.Ordered(this=exp.column(name), desc=True, nulls_first=True) for name in names[1:]]
    rank = exp.Window(this=exp.RowNumber(), partition_by=[exp.column("order_id")], order=exp.Order(expressions=order))
    ranked = query.select(rank.as_("newest_first")).subquery("ranked")
    return exp.select(*columns_of(names)).from_(ranked).where("newest_first = 1")


def _epoch(moment: dt.datetime) -> float:
    """Epoch seconds of a TIMESTAMP from the warehouse, which is UTC without saying so."""
    return moment.replace(tzinfo=dt.UTC).timestamp()
