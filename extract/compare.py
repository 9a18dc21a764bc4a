"""Source and warehouse, row by row, in the hours that differ: what is only here, only there, or not the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from sqlglot import exp

from extract.errors import TooLong
from extract.held import held_once
from extract.landing import fresh_rows
from extract.reconcile import Part, parts_of
from extract.source import Source, TimeRange
from extract.source_reads import merged, with_index
from extract.tables import Table
from extract.values import REASON, judged, staged_columns
from extract.warehouse import Staged, Warehouse
from macros.sql import columns_of, query_from_template
from macros.versions import identical

MISSING = "rows that only the source has"
GONE = "rows that the source no longer shows"
DOUBLED = "rows that the source shows more than once"
OTHER = "rows that the source shows with other values"
OLDER = "rows of which the source shows an older version"
REJECTED = "rows that cannot be loaded"

EXAMPLES = 10
"""So many orders are named."""

ASKED_FOR = 10_000
"""So many orders of an hour that are gone are asked for one by one: their status may have moved on meanwhile."""

ASKED_AT_ONCE = 1_000


@dataclass
class Unequal:
    """What is unequal for one reason in one hour of event time: how many rows, and some of their orders."""

    hour: int
    reason: str
    rows: int
    orders: list[int]
    times: list[int]
    """The event time of each of these orders."""
    columns: dict[str, int] = field(default_factory=dict)
    """Of rows with other values: in how many of them each column differs."""


def unequal_lines(table: str, unequal: Sequence[Unequal]) -> list[str]:
    """What is unequal in a table, a line for each reason."""
    lines = []
    for reason in dict.fromkeys(each.reason for each in unequal):
        rows = sum(each.rows for each in unequal if each.reason == reason)
        orders = {order: None for each in unequal if each.reason == reason for order in each.orders}
        lines.append(f"{table}: {rows:,} {reason}, for example of order {', '.join(map(str, [*orders][:EXAMPLES]))}")
    return lines


def compare_hours(
    source: Source,
    warehouse: Warehouse,
    table: Table,
    hours: Mapping[int, int],
    most_rows: int,
    now: int,
    *,
    since: int = 0,
    until: int | None = None,
) -> list[Unequal]:
    """Reads these hours (hour -> rows in the source), lands nothing, and gives what is unequal in them.

    Args:
        most_rows: About as many are read in one statement.
        now: The source's clock, epoch seconds.
        since, until: Of the first and the last hour only what lies between these times, half-open.
    """
    found: list[Unequal] = []
    if not hours:
        return found
    parts = [replace(part, ranges=_between(part.ranges, since, until)) for part in parts_of(hours, most_rows)]
    with warehouse.session() as session:
        for part, staged in staged_parts(source, session, table, parts, now):
            found += _doubled(session, table, staged)
            found += _rejected(session, table, staged)
            found += _other(session, table, staged, part)
            found += _one_sided(session, table, staged, part)
    return _without_moved(source, table, found) if table.mart.one_row_per_order else found


def _between(ranges: Sequence[TimeRange], since: int, until: int | None) -> list[TimeRange]:
    """The ranges, cut off at both ends, without what has no place in time."""
    return [
        TimeRange(max(each.start or 0, since), each.end if until is None else min(each.end or until, until))
        for each in ranges
        if each.start
    ]


def staged_parts(
    source: Source, session: Warehouse, table: Table, parts: Sequence[Part], now: int
) -> Iterator[tuple[Part, Staged]]:
    """Each part whole in a temporary table, which the next one replaces; one that takes too long comes in halves."""
    waiting = list(parts)
    while waiting:
        part = waiting.pop(0)
        try:
            with closing(source.read(table.source, part.ranges)) as read:
                staged = session.stage(table.name, staged_columns(table), (judged(batch, table) for batch in read))
        except TooLong as error:
            halves = part.halves(now)
            if not halves:
                raise with_index(error, source.missing_index, table.source) from error
            waiting[:0] = halves
            continue
        yield part, staged


def _doubled(session: Warehouse, table: Table, staged: Staged) -> list[Unequal]:
    keys = ["order_id"] if table.mart.one_row_per_order else table.compared
    return _counted(
        session,
        table,
        DOUBLED,
        query_from_template(
            f"""
            SELECT order_id, MAX({table.time}) AS {table.time}, COUNT(*) - 1 AS times FROM staged
            WHERE {REASON} IS NULL GROUP BY {", ".join(dict.fromkeys(keys))} HAVING COUNT(*) > 1
            """,
            {"staged": staged.table},
        ),
    )


def _rejected(session: Warehouse, table: Table, staged: Staged) -> list[Unequal]:
    rows = f"SELECT order_id, {table.time}, 1 AS times FROM staged WHERE NOT {REASON} IS NULL"
    return _counted(session, table, REJECTED, query_from_template(rows, {"staged": staged.table}))


def _other(session: Warehouse, table: Table, staged: Staged, part: Part) -> list[Unequal]:
    """Rows of one key and time that both sides have, with other values."""
    keys = table.key_and_time
    compared = [name for name in table.columns if name not in keys]
    if not compared:
        return []
    agree = {name: identical("fresh", "held", [name], table.columns, table.mart) for name in compared}
    flags = [
        exp.Case().when(exp.not_(exp.paren(equal)), exp.Literal.number(1)).else_(exp.Literal.number(0)).as_(name)
        for name, equal in agree.items()
    ]
    pairs = query_from_template(
        """
        SELECT :key, :flags FROM fresh JOIN held ON held.order_id = fresh.order_id AND :same WHERE NOT :equal
        """,
        {"fresh": fresh_rows(table, staged), "held": _held(session, table, part)},
        key=columns_of(["order_id", table.time], "fresh"),
        flags=flags,
        same=identical("held", "fresh", keys[1:], table.columns, table.mart),
        equal=exp.paren(exp.and_(*(equal.copy() for equal in agree.values()))),
    )
    rows = query_from_template(f"SELECT order_id, {table.time}, 1 AS times FROM pairs", {"pairs": pairs})
    return _counted(session, table, OTHER, rows, pairs, compared)


def _one_sided(session: Warehouse, table: Table, staged: Staged, part: Part) -> list[Unequal]:
    keys = table.key_and_time
    sides = {"fresh": fresh_rows(table, staged), "held": _held(session, table, part)}
    found = []
    for reason, here, there in ((MISSING, "fresh", "held"), (GONE, "held", "fresh")):
        rows = query_from_template(
            f"""
            SELECT {here}.order_id, {here}.{table.time}, 1 AS times FROM {here}
            LEFT JOIN {there} ON {there}.order_id = {here}.order_id AND :same
            WHERE {there}.order_id IS NULL
            """,
            sides,
            same=identical(there, here, keys[1:], table.columns, table.mart),
        )
        found += _counted(session, table, reason, rows)
    return found


def _held(session: Warehouse, table: Table, part: Part) -> exp.Query:
    """What is held in a part's ranges: each scan, or each order's newest version if it lies there."""
    spans, _ = merged(part.ranges)
    names = list(table.columns)
    time = exp.column(table.time)
    within = [
        exp.and_(time >= start, *([] if end is None else [exp.column(table.time) < end])) for start, end in spans
    ] or [exp.false()]
    once = held_once(session, table, spans[0][0] if spans else 0, names)
    return exp.select(*columns_of(names)).from_(once.subquery("once")).where(exp.or_(*within))


def _counted(
    session: Warehouse,
    table: Table,
    reason: str,
    rows: exp.Query,
    pairs: exp.Query | None = None,
    compared: Sequence[str] = (),
) -> list[Unequal]:
    """What a query of order_id, event time and times finds, by the hour; of `pairs` also which columns differ."""
    hour = f"CAST(FLOOR(COALESCE({table.time}, 0) / 3600.0) AS BIGINT)"
    sums = ", ".join(f"SUM({name})" for name in compared)
    counted = f"SELECT {hour} AS hour, {sums or '0'} FROM found GROUP BY 1"
    columns = {
        int(each): dict(zip(compared, map(int, differing), strict=False))
        for each, *differing in session.fetchall(query_from_template(counted, {"found": pairs or rows}))
    }
    if not columns:
        return []
    listed = f"""
        SELECT hour, order_id, event_time, times FROM (
          SELECT {hour} AS hour, order_id, {table.time} AS event_time, SUM(times) OVER (PARTITION BY {hour}) AS times,
            ROW_NUMBER() OVER (PARTITION BY {hour} ORDER BY order_id) AS place
          FROM found
        ) AS numbered
        WHERE place <= {ASKED_FOR} ORDER BY hour, place
        """
    found: dict[int, Unequal] = {}
    for each, order, time, times in session.fetchall(query_from_template(listed, {"found": rows})):
        differing = {name: count for name, count in columns[int(each)].items() if count}
        unequal = found.setdefault(int(each), Unequal(int(each), reason, int(times), [], [], differing))
        if order is not None:
            unequal.orders.append(int(order))
            unequal.times.append(int(time or 0))
    return list(found.values())


def _without_moved(source: Source, table: Table, found: list[Unequal]) -> list[Unequal]:
    """Of the orders that are gone from their hour: those that have moved on since are left out, for the next extract
    brings them; those that have gone back are told as such."""
    kept = []
    for unequal in found:
        if unequal.reason != GONE:
            kept.append(unequal)
            continue
        shown = _newest_shown(source, table, unequal.orders)
        held = dict(zip(unequal.orders, unequal.times, strict=True))
        older = [order for order in held if 0 < shown.get(order, 0) <= held[order]]
        gone = [order for order in held if order not in shown]
        beyond = unequal.rows - len(held)
        for reason, orders, rows in ((GONE, gone, len(gone) + beyond), (OLDER, older, len(older))):
            if rows:
                kept.append(Unequal(unequal.hour, reason, rows, orders, [held[order] for order in orders]))
    return kept


def _newest_shown(source: Source, table: Table, orders: Sequence[int]) -> dict[int, int]:
    """Order -> its newest event time in the source, of the orders that it shows in rows that can be loaded."""
    newest: dict[int, int] = {}
    try:
        for first in range(0, len(orders), ASKED_AT_ONCE):
            for batch in source.read(table.source, [], orders=orders[first : first + ASKED_AT_ONCE]):
                rows = judged(batch, table)
                for order, time, why in zip(
                    *(rows[name].to_pylist() for name in ("order_id", table.time, REASON)), strict=True
                ):
                    if why is None:
                        newest[order] = max(time, newest.get(order, 0))
    except TooLong as error:
        raise with_index(error, source.missing_index, table.source, of_orders=True) from error
    return newest
