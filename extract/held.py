"""What the warehouse holds of a table: in raw, and what has left raw, in its mart and history."""

from __future__ import annotations

import datetime as dt
import typing as t
from collections.abc import Sequence

from sqlglot import exp

from extract.clock import QUARTER_HOUR
from extract.tables import Table
from extract.warehouse import Warehouse
from macros.history import history_view
from macros.marts import HISTORY_SCHEMA
from macros.sql import columns_of, sql_from_template, table_node, timestamp, union_all
from macros.versions import identical


def held_rows(warehouse: Warehouse, table: Table, first: int, last: int, reaches_back: bool) -> exp.Query:
    """What is held within a span of event time: raw and, for rows that raw may have forgotten, mart and history."""
    raw = exp.select(*columns_of(table.identity)).from_(table_node(table.raw)).where(exp.column(table.time) >= first)
    places = [raw, *(rows_beyond_raw(warehouse, table, table.identity, first) if reaches_back else ())]
    return union_all([place.where(exp.column(table.time) <= last) for place in places])


def rows_beyond_raw(warehouse: Warehouse, table: Table, columns: Sequence[str], since: int) -> list[exp.Query]:
    """One query of `columns` per place, from an event time on: history, and the mart once a plan has made it.

    A column that was added to the source reaches mart and history later than raw; until then it reads as NULL there.
    """
    standing = warehouse.columns_of_schemas([table.mart.name.split(".")[0], HISTORY_SCHEMA])
    queries: list[exp.Query] = []
    for place in (table.mart.name, history_view(table.mart.alias)):
        if place not in standing:
            continue
        known = standing[place] or set(columns)
        selected = [
            exp.column(name) if name in known else exp.cast(exp.null(), table.columns[name].copy()).as_(name)
            for name in columns
        ]
        queries.append(exp.select(*selected).from_(table_node(place)).where(exp.column(table.time) >= since))
    return queries


def held_once(warehouse: Warehouse, table: Table, since: int | None) -> exp.Query:
    """order_id and event time of every scan, or of the newest version of every order, that the warehouse holds."""
    columns = ["order_id", table.time] if table.mart.one_row_per_order else table.identity
    beyond = union_all(rows_beyond_raw(warehouse, table, columns, since or 0))
    pending = _pending(warehouse, table, columns, since)
    if table.mart.one_row_per_order:
        newest = exp.func("MAX", exp.column(table.time)).as_(table.time)
        return exp.select("order_id", newest).from_(union_all([beyond, pending]).subquery("held")).group_by("order_id")
    added = sql_from_template(
        """
        SELECT :columns FROM pending
        LEFT JOIN beyond ON beyond.order_id = pending.order_id AND :identical
        WHERE beyond.order_id IS NULL
        """,
        {"beyond": beyond, "pending": pending},
        columns=columns_of(columns, "pending"),
        identical=identical("beyond", "pending", columns[1:], table.columns),
    )
    return union_all([beyond, t.cast(exp.Query, added)])


def _pending(warehouse: Warehouse, table: Table, columns: list[str], since: int | None) -> exp.Query:
    """What landed after the mart's newest row, less two quarter-hours: the mart may not have it yet."""
    query = exp.select(*columns_of(columns)).from_(table_node(table.raw)).where(exp.column(table.time) >= (since or 0))
    newest = None
    if table.mart.name in warehouse.columns_of_schemas([table.mart.name.split(".")[0]]):
        ((newest,),) = warehouse.fetchall(f"SELECT MAX(landed_at) FROM {table.mart.name}")
    if newest is not None:  # a TIMESTAMP, which is UTC without saying so
        grace_cutoff = int(newest.replace(tzinfo=dt.UTC).timestamp()) - 2 * QUARTER_HOUR
        query = query.where(exp.column("landed_at") > timestamp(grace_cutoff))
    return query.distinct()
