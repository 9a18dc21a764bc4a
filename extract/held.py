"""What the warehouse holds of a table: in raw, and what has left raw, in its mart and history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlglot import exp

from extract.clock import epoch_of
from extract.content import canonical, fingerprint
from extract.staging import Staged
from extract.tables import Table
from extract.warehouse import Warehouse, stands
from macros.history import history_view
from macros.marts import HISTORY_SCHEMA, MART_SCHEMA
from macros.periods import GRACE_SECONDS
from macros.sql import columns_of, query_from_template, table_node, timestamp, union_all
from macros.versions import identical


def held_rows(
    warehouse: Warehouse, table: Table, staged: Staged, first: int, last: int, reaches_back: bool
) -> exp.Query:
    """What is held within a span of event time: raw and, for rows that raw may have forgotten, mart and history.

    Of an order's versions of one second only the one that landed last is held, of the orders that were staged: so a
    value that was changed and changed back, without a new time, lands again.
    """
    columns = list(dict.fromkeys([*table.compared, "landed_at"]))
    raw = exp.select(*columns_of(columns)).from_(table_node(table.raw)).where(exp.column(table.time) >= first)
    places = [raw, *(rows_beyond_raw(warehouse, table, columns, first) if reaches_back else ())]
    within = union_all([place.where(exp.column(table.time) <= last) for place in places])
    if not table.mart.one_row_per_order:
        return within
    return query_from_template(
        f"""
        SELECT :columns FROM (
          SELECT :versions, RANK() OVER (
            PARTITION BY versions.order_id, versions.{table.time} ORDER BY versions.landed_at DESC
          ) AS recency_rank
          FROM versions
          JOIN (SELECT DISTINCT order_id FROM staged) AS asked ON asked.order_id = versions.order_id
        ) AS ranked
        WHERE recency_rank = 1
        """,
        {"versions": within, "staged": staged.table},
        columns=columns_of(table.compared),
        versions=columns_of(columns, "versions"),
    )


def rows_beyond_raw(warehouse: Warehouse, table: Table, columns: Sequence[str], since: int) -> list[exp.Query]:
    """One query of `columns` per place, from an event time on: history, and the mart once a plan has made it."""
    standing = warehouse.columns_of_schemas([MART_SCHEMA, HISTORY_SCHEMA])
    return [query.where(exp.column(table.time) >= since) for query in places_of(table, columns, standing).values()]


def places_of(table: Table, columns: Sequence[str], standing: Mapping[str, set[str]]) -> dict[str, exp.Select]:
    """Mart and view over history, as far as they stand -> a query of these columns of all its rows.

    A column that was added to the source reaches mart and history later than raw; until then it reads as NULL there.

    Args:
        standing: What stands, with its columns (`columns_of_schemas`).
    """
    queries = {}
    for place in (table.mart.name, history_view(table.mart.alias)):
        if place in standing:
            known = standing[place] or {*columns}
            selected = [
                exp.column(name) if name in known else exp.cast(exp.null(), table.columns[name].copy()).as_(name)
                for name in columns
            ]
            queries[place] = exp.select(*selected).from_(table_node(place))
    return queries


def held_once(
    warehouse: Warehouse, table: Table, since: int, carried: Sequence[str] = (), content: Sequence[str] = ()
) -> exp.Query:
    """Every scan, or the newest version of every order, from an event time on: its key and time, once each.

    Args:
        carried: Further columns of the row.
        content: Columns whose fingerprint is wanted, as a column `row_content`.
    """
    one_per_order = table.mart.one_row_per_order
    keys = table.key_and_time
    kept = list(dict.fromkeys([*keys, *carried, "landed_at"]))
    needed = list(dict.fromkeys([*kept, *content]))
    selected = columns_of(kept, "place")
    if content:
        texts = [canonical(exp.column(name, "place"), table.columns[name]) for name in content]
        selected.append(fingerprint(texts, redshift=warehouse.is_redshift).as_("row_content"))
    beyond, pending = (
        union_all(
            [
                exp.select(*(each.copy() for each in selected)).from_(place.subquery("place", copy=False), copy=False)
                for place in places
            ]
        )
        for places in (
            rows_beyond_raw(warehouse, table, needed, since) or [_nothing(table, needed)],
            [_pending(warehouse, table, needed, since)],
        )
    )
    names = [*kept, *(["row_content"] if content else [])]
    if not one_per_order:
        added = query_from_template(
            """
            SELECT DISTINCT :columns FROM pending
            LEFT JOIN beyond ON beyond.order_id = pending.order_id AND :identical
            WHERE beyond.order_id IS NULL
            """,
            {"beyond": beyond, "pending": pending},
            columns=columns_of(names, "pending"),
            identical=identical("beyond", "pending", keys[1:], table.columns, table.mart),
        )
        return union_all([beyond, added])
    every = union_all([beyond, pending])
    if not carried and not content:
        newest = exp.func("MAX", exp.column(table.time)).as_(table.time)
        return exp.select("order_id", newest).from_(every.subquery("held")).group_by("order_id")
    order = ", ".join(f"{name} DESC" for name in dict.fromkeys([table.time, "landed_at", *names[2:]]))
    return query_from_template(
        f"""
        SELECT :names FROM (
          SELECT :versions, ROW_NUMBER() OVER (PARTITION BY order_id ORDER BY {order}) AS recency_rank FROM versions
        ) AS ranked
        WHERE recency_rank = 1
        """,
        {"versions": every},
        names=columns_of(names),
        versions=columns_of(names),
    )


def _nothing(table: Table, columns: Sequence[str]) -> exp.Query:
    """No row, in the shape of a place: neither mart nor history stands yet."""
    return exp.select(*columns_of(columns)).from_(table_node(table.raw)).where("1 = 0")


def _pending(warehouse: Warehouse, table: Table, columns: Sequence[str], since: int) -> exp.Query:
    """What landed after the mart's newest row, less two quarter-hours: the mart may not have it yet."""
    query = exp.select(*columns_of(columns)).from_(table_node(table.raw)).where(exp.column(table.time) >= since)
    newest = None
    if stands(warehouse, table.mart.name):
        ((newest,),) = warehouse.fetchall(f"SELECT MAX(landed_at) FROM {table.mart.name}")
    if newest is not None:  # a TIMESTAMP, which is UTC without saying so
        surely_there = epoch_of(newest) - GRACE_SECONDS
        query = query.where(exp.column("landed_at") > timestamp(surely_there))
    return query.distinct()
