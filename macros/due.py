"""What one evaluation of a mart works on: one frozen object, and the queries that fill it and its temporary tables."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from sqlglot import exp

from macros.history import every_period
from macros.marts import EXCEPTIONS, Mart, anchor
from macros.sql import columns_of, query_from_template, sql_from_template, table_node, timestamp

RETURNED = "order_tracking_returned_orders"
"""period, order_id: orders of this batch that the mart's history holds."""

DEPARTED = "order_tracking_departed_orders"
"""period, order_id, update_time: what uti archived since the interval's start, and of this batch; its last status."""

DUE_ROWS = "order_tracking_due_rows"
"""period, last_status and the mart's columns: metadata that must leave now."""


@dataclass(frozen=True)
class Due:
    """Rows of one half-year that must leave the mart now: their number, and their range of event time, half-open."""

    period: str
    first: int
    until: int
    rows: int


@dataclass(frozen=True)
class Retention:
    """What one evaluation works on. All moments are epoch seconds. (No defaults: SQLMesh would take them for globals.)

    table, anchor: the physical tables of the mart and of uti
    columns, identity: the mart's, with their types; those in which a row and its copy agree
    start, end: the interval, half-open
    history_start, periods: the first half-year of history, and all from it to that of the age reference
    age_reference, cutoff: what age is counted from; what is older than the cutoff has aged out
    returned: the half-years whose history holds orders of this batch; metadata: where their creation may stand
    due: what must leave now, by half-year
    copies: of metadata, the half-years whose history may hold a copy of what is due, before anything is archived
    """

    mart: Mart
    table: str
    anchor: str
    columns: dict
    identity: list
    start: int
    end: int
    history_start: str
    periods: tuple[str, ...]
    raw_retention_days: int
    age_reference: int
    cutoff: int
    returned: tuple[str, ...]
    metadata: tuple[str, ...]
    due: tuple[Due, ...]
    copies: tuple[str, ...]


def temporary(name: str, query: exp.Query) -> list[exp.Expr]:
    """The statements that put a query's rows in a temporary table, instead of what may be left there."""
    table = table_node(name)
    drop = exp.Drop(this=table.copy(), kind="TABLE", exists=True)
    properties = exp.Properties(expressions=[exp.TemporaryProperty()])
    return [drop, exp.Create(this=table, kind="TABLE", expression=query, properties=properties)]


def batch_orders(found: Retention) -> exp.Query:
    """The orders of this batch: what landed in the interval; of metadata also those whose status landed."""
    landed = sql_from_template(
        "SELECT order_id FROM raw WHERE landed_at >= :start AND landed_at < :end",
        {},
        start=timestamp(found.start),
        end=timestamp(found.end),
    )
    raws = dict.fromkeys([found.mart.raw, *([anchor().raw] if found.mart.follows_anchor else [])])
    queries = [t.cast(exp.Select, exp.replace_tables(landed, {"raw": raw})) for raw in raws]
    return exp.union(*queries) if len(queries) > 1 else queries[0].distinct()


def returned_orders(found: Retention) -> list[exp.Expr]:
    """Gathers the orders of this batch that the mart's history holds, with their half-years: mostly none."""
    query = query_from_template(
        "SELECT history.period, history.order_id FROM history JOIN batch ON batch.order_id = history.order_id",
        {"history": every_period(found.mart.alias, found.periods, ["order_id"]), "batch": batch_orders(found)},
    )
    return temporary(RETURNED, query)


def aged_by_period(found: Retention) -> exp.Query | None:
    """Query of what has aged out of a mart, by half-year: period, oldest and newest event time, rows."""
    if not found.cutoff:
        return None
    time = exp.column(found.mart.event_time)
    query = exp.select(half_year(time).as_("period"), exp.func("MIN", time), exp.func("MAX", time), "COUNT(*)")
    return query.from_(table_node(found.table)).where(time < found.cutoff).group_by("1")


def half_year(time: exp.Expr) -> exp.Expr:
    """The half-year (UTC) of a column of epoch seconds, as the name of a period."""
    moment = sql_from_template("TIMESTAMP 'epoch' + :time * INTERVAL '1 SECOND'", {}, time=time)
    return sql_from_template(
        """
        CAST(EXTRACT(YEAR FROM :moment) AS VARCHAR(4)) || CASE WHEN EXTRACT(MONTH FROM :moment) < 7 THEN '_h1'
          ELSE '_h2' END
        """,
        {},
        moment=moment,
    )


def departed_orders(found: Retention) -> list[exp.Expr]:
    """Gathers what uti archived since the interval's start, and of the orders of this batch.

    Of a number that was used again it is the last order. The orders whose metadata the daily checks have found left
    behind are among them.
    """
    left_behind = query_from_template(
        "SELECT order_id FROM exceptions WHERE check_name = 'archived_but_in_mart' AND resolved_at IS NULL",
        {"exceptions": EXCEPTIONS},
    )
    departed = sql_from_template(
        """
        SELECT archived.period, archived.order_id, archived.update_time FROM archived
        WHERE archived.archived_at > :start
        UNION
        SELECT archived.period, archived.order_id, archived.update_time
        FROM archived JOIN batch ON batch.order_id = archived.order_id
        """,
        {
            "archived": every_period(anchor().alias, found.periods, ["order_id", "update_time", "archived_at"]),
            "batch": exp.union(batch_orders(found), left_behind),
        },
        start=timestamp(found.start),
    )
    query = """
        SELECT ranked.period, ranked.order_id, ranked.update_time FROM (
          SELECT departed.period, departed.order_id, departed.update_time, ROW_NUMBER() OVER (
            PARTITION BY departed.order_id ORDER BY departed.update_time DESC
          ) AS recency_rank
          FROM departed
        ) AS ranked WHERE ranked.recency_rank = 1
    """
    return temporary(DEPARTED, query_from_template(query, {"departed": departed}))


def due_metadata(found: Retention) -> list[exp.Expr]:
    """Gathers the metadata that must leave, with the half-year that holds its order's status: the anchor rule.

    It is that of an order that uti has archived and that is not active; absence from uti is no proof, for an order's
    status may arrive after its metadata. What history still holds of an active number is another order's (uti has
    cleaned before), and metadata that was created before that one's last status belongs to it.
    """
    query = query_from_template(
        """
        SELECT departed.period, departed.update_time AS last_status, :columns
        FROM departed JOIN mart ON mart.order_id = departed.order_id
        LEFT JOIN active ON active.order_id = departed.order_id
        WHERE active.order_id IS NULL OR mart.add_time <= departed.update_time
        """,
        {"departed": DEPARTED, "mart": found.table, "active": found.anchor},
        columns=columns_of(found.columns, "mart"),
    )
    return temporary(DUE_ROWS, query)


def without_later_metadata(found: Retention) -> exp.Expr:
    """Takes from the gathered metadata that of orders that were given an archived order's number.

    It was created after the archived order's last status, and history holds metadata that is older: the number's new
    order has no status yet.
    """
    earlier = """
        SELECT history.order_id, MIN(history.add_time) AS first_created
        FROM history JOIN leaving ON leaving.order_id = history.order_id GROUP BY history.order_id
    """
    history = every_period(found.mart.alias, found.periods, ["order_id", "add_time"])
    return sql_from_template(
        """
        DELETE FROM due USING earlier WHERE due.order_id = earlier.order_id
        AND due.add_time > due.last_status AND due.add_time > earlier.first_created
        """,
        {"due": DUE_ROWS, "earlier": sql_from_template(earlier, {"history": history, "leaving": DUE_ROWS})},
    )


def has_later_metadata() -> exp.Query:
    """Query that gives a row where some of the gathered metadata is newer than the last status of its number."""
    return exp.select("1").from_(table_node(DUE_ROWS)).where("add_time > last_status").limit(1)


def periods_of_due_metadata() -> exp.Query:
    """Query of the metadata gathered, by half-year: period, oldest and newest event time, rows."""
    query = "SELECT due.period, MIN(due.add_time), MAX(due.add_time), COUNT(*) FROM due GROUP BY due.period"
    return query_from_template(query, {"due": DUE_ROWS})


def periods_with_copies(found: Retention, first: int) -> exp.Query:
    """Query of the half-years that hold metadata of what is due, no older than `first` (epoch seconds)."""
    return query_from_template(
        """
        SELECT DISTINCT history.period FROM history JOIN due ON due.order_id = history.order_id
        WHERE history.add_time >= :first
        """,
        {"history": every_period(found.mart.alias, found.periods, ["order_id", "add_time"]), "due": DUE_ROWS},
        first=first,
    )
