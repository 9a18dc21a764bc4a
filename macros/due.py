"""What retention must know: a frozen object, filled in three stages, and the queries that fill it.

The anchor rule stands here, too: `due_metadata`.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from macros.history import every_period
from macros.marts import EXCEPTIONS, Mart, anchor
from macros.periods import period_bounds, periods_between
from macros.sql import columns_of, landed_within, query_from_template, sql_from_template, table_node, timestamp
from macros.versions import created_later

RETURNED = "order_tracking_returned_orders"
"""period, order_id: orders of this batch that the mart's history holds."""

DEPARTED = "order_tracking_departed_orders"
"""period, order_id, update_time: what uti archived since the interval's start, and of this batch; its last status."""

DUE_METADATA = "order_tracking_due_rows"
"""period, last_status and the mart's columns: metadata that must leave now."""


RAW_DAYS_AT_LEAST = 3
"""So many days raw keeps at least: the extract relies on it for two."""


@dataclass(frozen=True)
class Due:
    """Rows of one half-year that must leave the mart now: their number, and their range of event time, half-open."""

    period: str
    first: int
    until: int
    rows: int


@dataclass(frozen=True)
class Evaluation:
    """One interval of one mart: what is known before anything is read.

    All moments are epoch seconds. (No defaults, here and below: SQLMesh would take them for globals.)

    table, uti_table: the physical tables of the mart and of uti
    columns, identity: the mart's, with their types; those in which a row and its copy agree
    start, end: the interval, half-open
    history_start: the first half-year of history
    leaving_before: statuses in uti older than this leave in this very cycle, for a forecast; 0 where they have left
    """

    mart: Mart
    table: str
    uti_table: str
    columns: dict
    identity: list
    start: int
    end: int
    history_start: str
    raw_retention_days: int
    leaving_before: int


@dataclass(frozen=True)
class WithCutoff(Evaluation):
    """An evaluation that knows how old is too old, and where in history to look.

    age_reference, cutoff: what age is counted from; what is older than the cutoff has aged out
    periods: the half-years of history, from the first to that of the age reference
    order_range: the lowest and the highest order number for which history is asked, None where there is none
    """

    age_reference: int
    cutoff: int
    periods: tuple[str, ...]
    order_range: tuple[int, int] | None


@dataclass(frozen=True)
class Retention(WithCutoff):
    """All that the steps need to know of an evaluation.

    returned_periods: the half-years whose history holds orders of this batch
    metadata_tables: where the creation of these orders may stand, beside history
    due: what must leave now, by half-year
    copy_periods: of metadata, the half-years whose history may hold a copy of what is due, before anything is archived
    batch_begins: the oldest event time of this batch
    unrouted_is_open: an earlier evaluation found rows without a copy, and its exception is open
    forgettable: how many raw rows may be forgotten
    """

    returned_periods: tuple[str, ...]
    metadata_tables: tuple[str, ...]
    due: tuple[Due, ...]
    copy_periods: tuple[str, ...]
    batch_begins: int
    unrouted_is_open: bool
    forgettable: int


# Temporary tables


def scratch(evaluation: Evaluation, name: str) -> str:
    """The temporary table of this evaluation: no other of the session has made one of this name."""
    return f"{name}_{evaluation.mart.alias}_{evaluation.end}"


def temporary(name: str, query: exp.Query) -> list[exp.Expr]:
    """The statements that put a query's rows in a temporary table, instead of what may be left there.

    Where the rows are of orders, Redshift lays them out as the marts: no row moves for a join by order_id.
    """
    table = table_node(name)
    drop = exp.Drop(this=table.copy(), kind="TABLE", exists=True)
    properties: list[exp.Expr] = [exp.TemporaryProperty()]
    if "order_id" in query.named_selects:
        properties.append(exp.DistKeyProperty(this=exp.to_identifier("order_id")))
    create = exp.Create(this=table, kind="TABLE", expression=query, properties=exp.Properties(expressions=properties))
    return [drop, create]


# What is looked up. Several questions are one statement: each costs a round trip on Redshift.


def question(
    subject: str,
    period: str | None = None,
    oldest: exp.Expr | str | None = None,
    newest: exp.Expr | str | None = None,
    rows: str | None = None,
) -> exp.Select:
    """A question of a look-up, without its FROM; what it does not ask for is NULL."""
    asked = (("period", period, "VARCHAR(7)"), ("oldest", oldest, "BIGINT"), ("newest", newest, "BIGINT"))
    values = [
        exp.cast(exp.maybe_parse("NULL" if value is None else value, dialect="redshift", copy=True), kind).as_(name)
        for name, value, kind in (*asked, ("row_count", rows, "BIGINT"))
    ]
    return exp.select(exp.cast(exp.Literal.string(subject), "VARCHAR(16)").as_("subject"), *values)


def batch_orders(evaluation: Evaluation) -> exp.Query:
    """The orders of this batch: what landed in the interval; of metadata also those whose status landed."""
    raws = dict.fromkeys([evaluation.mart.raw, *([anchor().raw] if evaluation.mart.follows_anchor else [])])
    landed = landed_within(evaluation.start, evaluation.end)
    queries = [exp.select("order_id").from_(table_node(raw)).where(landed.copy()) for raw in raws]
    return exp.union(*queries) if len(queries) > 1 else queries[0].distinct()


def asked_orders(evaluation: Evaluation) -> exp.Query:
    """The orders of this batch, and of metadata those that the daily checks have found left behind in the mart."""
    if not evaluation.mart.follows_anchor:
        return batch_orders(evaluation)
    left_behind = query_from_template(
        "SELECT order_id FROM exceptions WHERE check_name = 'archived_but_in_mart' AND resolved_at IS NULL",
        {"exceptions": EXCEPTIONS},
    )
    return exp.union(batch_orders(evaluation), left_behind)


def range_of_asked_orders(evaluation: Evaluation) -> exp.Query:
    """The lowest and the highest number of the orders that history is asked for."""
    asked = question("orders", oldest="MIN(asked.order_id)", newest="MAX(asked.order_id)")
    return asked.from_(asked_orders(evaluation).subquery("asked"))


def is_asked_for(found: WithCutoff, alias: str) -> exp.Expr:
    """The row's order number lies in the range of those asked for, as literals.

    History grows for ever, and order numbers with time: so most of it is skipped by its blocks.
    """
    if found.order_range is None:
        return exp.false()
    order, (lowest, highest) = exp.column("order_id", alias), found.order_range
    return exp.and_(order >= lowest, order.copy() <= highest)


def oldest_of_batch(evaluation: Evaluation) -> exp.Query:
    """The oldest event time of this batch."""
    asked = question("batch", oldest=exp.func("MIN", exp.column(evaluation.mart.event_time)))
    return asked.from_(table_node(evaluation.mart.raw)).where(landed_within(evaluation.start, evaluation.end))


def returned_orders(found: WithCutoff) -> exp.Query:
    """The orders of this batch that the mart's history holds, with their half-years: mostly none."""
    return query_from_template(
        """
        SELECT history.period, history.order_id FROM history JOIN batch ON batch.order_id = history.order_id
        WHERE :asked
        """,
        {"history": every_period(found.mart.alias, found.periods, ["order_id"]), "batch": batch_orders(found)},
        asked=is_asked_for(found, "history"),
    )


def returned_by_period(found: WithCutoff) -> exp.Query | None:
    """The half-years whose history holds the orders that came back."""
    if not found.periods or not found.mart.one_row_per_order:
        return None
    asked = question("returned", period="period")
    return asked.from_(returned_orders(found).subquery("returned")).group_by("period")


def aged_by_period(found: WithCutoff) -> exp.Query | None:
    """What has aged out of a mart, by half-year."""
    if not found.cutoff:
        return None
    time = exp.column(found.mart.event_time)
    aged = exp.select(half_year(time).as_("period"), time.copy().as_("event_time")).from_(table_node(found.table))
    return due_of(aged.where(time.copy() < found.cutoff))


def due_of(rows: exp.Query) -> exp.Query:
    """What is due, by half-year; of a query of period and event_time."""
    asked = question("due", "period", "MIN(event_time)", "MAX(event_time)", "COUNT(*)")
    return asked.from_(rows.subquery("due")).group_by("period")


def open_unrouted(evaluation: Evaluation) -> exp.Query:
    """How many exceptions of this mart's check are open."""
    mine = exp.and_(
        exp.column("check_name").eq("archive_unrouted"),
        exp.column("table_name").eq(evaluation.mart.name),
        exp.column("resolved_at").is_(exp.null()),
    )
    return question("unrouted", rows="COUNT(*)").from_(table_node(EXCEPTIONS)).where(mine)


def forgettable_rows(found: WithCutoff) -> exp.Query:
    """How many raw rows may be forgotten."""
    return question("raw", rows="COUNT(*)").from_(table_node(found.mart.raw).as_("raw")).where(is_forgettable(found))


def is_forgettable(found: WithCutoff) -> exp.Expr:
    """A row of `raw` is past the raw retention, of `RAW_DAYS_AT_LEAST` at least, and landed before this interval.

    By whole days, so that one cycle a day forgets. A row whose event time lies inside the raw retention stays (it was
    dated into the future when it landed), so that for an ordinary extract raw alone tells what is held.
    """
    floor = max(found.age_reference - max(found.raw_retention_days, RAW_DAYS_AT_LEAST) * 86400, 0) // 86400 * 86400
    landed_before = exp.column("landed_at", "raw") < timestamp(min(floor, found.start))
    return exp.and_(landed_before, exp.column(found.mart.event_time, "raw") < floor)


def newest_status(evaluation: Evaluation, since: int | None = None) -> exp.Query:
    """The newest update_time of uti, from a moment on (epoch seconds)."""
    newest = question("status", newest="MAX(uti.update_time)").from_(table_node(evaluation.uti_table).as_("uti"))
    return newest if since is None else newest.where(exp.column("update_time", "uti") >= since)


def newest_archived(evaluation: Evaluation, cutoff: int, until: int) -> exp.Query | None:
    """The newest event time from the cutoff on that this interval has archived, in half-years to that of `until`.

    None for metadata, which follows the anchor and not the cutoff.
    """
    periods = periods_between(period_bounds(evaluation.history_start)[0], until)
    reach = [period for period in periods if period_bounds(period)[1] > cutoff]
    if not reach or evaluation.mart.follows_anchor:
        return None
    time = exp.column(evaluation.mart.event_time, "archived")
    archived = every_period(evaluation.mart.alias, reach, [evaluation.mart.event_time, "archived_at"])
    asked = question("archived", newest=exp.func("MAX", time)).from_(archived.subquery("archived"))
    return asked.where(time.copy() >= cutoff, exp.column("archived_at", "archived") > timestamp(evaluation.start))


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


def departed_orders(found: WithCutoff) -> exp.Query:
    """What uti archived since the interval's start, and of the orders of this batch.

    Of a number that was used again it is the last order. The orders whose metadata the daily checks have found left
    behind are among them. A forecast adds what uti is about to archive.
    """
    departed = query_from_template(
        """
        SELECT archived.period, archived.order_id, archived.update_time FROM archived
        WHERE archived.archived_at > :start
        UNION
        SELECT archived.period, archived.order_id, archived.update_time
        FROM archived JOIN batch ON batch.order_id = archived.order_id
        WHERE :asked
        """,
        {
            "archived": every_period(anchor().alias, found.periods, ["order_id", "update_time", "archived_at"]),
            "batch": asked_orders(found),
        },
        start=timestamp(found.start),
        asked=is_asked_for(found, "archived"),
    )
    if found.leaving_before:
        period = half_year(exp.column("update_time", "uti")).as_("period")
        about_to = exp.select(period, *columns_of(["order_id", "update_time"], "uti"))
        departed = exp.union(
            departed, about_to.from_(table_node(found.uti_table).as_("uti")).where(about_to_leave(found))
        )
    query = """
        SELECT ranked.period, ranked.order_id, ranked.update_time FROM (
          SELECT departed.period, departed.order_id, departed.update_time, ROW_NUMBER() OVER (
            PARTITION BY departed.order_id ORDER BY departed.update_time DESC
          ) AS recency_rank
          FROM departed
        ) AS ranked WHERE ranked.recency_rank = 1
    """
    return query_from_template(query, {"departed": departed})


def about_to_leave(evaluation: Evaluation) -> exp.Expr:
    """Statuses that uti is about to archive, for a forecast."""
    time = exp.column("update_time", "uti")
    return exp.and_(time >= period_bounds(evaluation.history_start)[0], time.copy() < evaluation.leaving_before)


def active_orders(evaluation: Evaluation) -> str | exp.Expr:
    """uti, for a forecast without what it is about to archive."""
    if not evaluation.leaving_before:
        return evaluation.uti_table
    return (
        exp.select("uti.order_id")
        .from_(table_node(evaluation.uti_table).as_("uti"))
        .where(exp.not_(about_to_leave(evaluation)))
    )


def due_metadata(found: WithCutoff) -> exp.Query:
    """The metadata that must leave, with the half-year that holds its order's status: the anchor rule.

    It is that of an order that uti has archived and that is not active; absence from uti is no proof, for an order's
    status may arrive after its metadata. What history still holds of an active number is another order's (uti has
    cleaned before), and metadata that was not created later belongs to that one.
    """
    return query_from_template(
        """
        SELECT departed.period, departed.update_time AS last_status, :columns
        FROM departed JOIN mart ON mart.order_id = departed.order_id
        LEFT JOIN active ON active.order_id = departed.order_id
        WHERE active.order_id IS NULL OR NOT :later
        """,
        {"departed": scratch(found, DEPARTED), "mart": found.table, "active": active_orders(found)},
        later=created_later(exp.column("add_time", "mart"), exp.column("update_time", "departed")),
        columns=columns_of(found.columns, "mart"),
    )


def without_later_metadata(found: WithCutoff) -> exp.Expr:
    """Takes from the gathered metadata that of orders that were given an archived order's number.

    It was created later than the archived order's last status, and history holds metadata that is older: the number's
    new order has no status yet.
    """
    earlier = """
        SELECT history.order_id, MIN(history.add_time) AS first_created
        FROM history JOIN leaving ON leaving.order_id = history.order_id GROUP BY history.order_id
    """
    history = every_period(found.mart.alias, found.periods, ["order_id", "add_time"])
    return sql_from_template(
        """
        DELETE FROM due USING earlier WHERE due.order_id = earlier.order_id
        AND :later AND due.add_time > earlier.first_created
        """,
        {
            "due": scratch(found, DUE_METADATA),
            "earlier": sql_from_template(earlier, {"history": history, "leaving": scratch(found, DUE_METADATA)}),
        },
        later=created_later(exp.column("add_time", "due"), exp.column("last_status", "due")),
    )


def later_metadata(found: WithCutoff) -> exp.Query:
    """How much of the gathered metadata was created later than the last status of its number."""
    later = created_later(exp.column("add_time"), exp.column("last_status"))
    return question("later", rows="COUNT(*)").from_(table_node(scratch(found, DUE_METADATA))).where(later)


def due_metadata_by_period(found: WithCutoff) -> exp.Query:
    """The metadata gathered, by half-year."""
    return due_of(exp.select("period", "add_time AS event_time").from_(table_node(scratch(found, DUE_METADATA))))


def periods_with_copies(found: WithCutoff, first: int) -> exp.Query:
    """Query of the half-years that hold metadata of what is due, no older than `first` (epoch seconds)."""
    return query_from_template(
        """
        SELECT DISTINCT history.period FROM history JOIN due ON due.order_id = history.order_id
        WHERE history.add_time >= :first
        """,
        {
            "history": every_period(found.mart.alias, found.periods, ["order_id", "add_time"]),
            "due": scratch(found, DUE_METADATA),
        },
        first=first,
    )
