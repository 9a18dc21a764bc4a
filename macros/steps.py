"""The steps of retention: clean, archive, check, trim, forget raw. Pure functions from what was read to statements.

Every statement can be repeated, and a crash between any two leaves every row in at least one place: rows are copied to
history first, then looked at, and only what has its identical copy there, or a newer version of its order, is
deleted from the mart.
"""

from __future__ import annotations

import typing as t

from sqlglot import exp

from macros.checks import used_again
from macros.due import (
    DEPARTED,
    DUE_METADATA,
    RETURNED,
    Due,
    Retention,
    active_orders,
    is_forgettable,
    scratch,
    temporary,
)
from macros.exceptions import record_exceptions
from macros.history import history_table
from macros.sql import columns_of, query_from_template, sql_from_template, table_node, timestamp, union_all
from macros.versions import another_order, created_later, identical, older, same, same_order

CREATED = "order_tracking_created_orders"
"""order_id, first_created, last_created: when the orders that came back were created, by all metadata of the number."""

REUSED = "order_tracking_reused_numbers"
"""Orders of this batch under whose number history holds another order, as exceptions."""

UNROUTED = "order_tracking_unrouted_rows"
"""period: one row for each row that should have been archived and has no copy."""


def steps_by_name() -> dict[str, t.Callable[[Retention], list[exp.Expr]]]:
    """The steps that a model may name in @retention, each a function from what was read to statements."""
    return {"clean": clean, "archive": archive, "check": check, "trim": trim, "forget_raw": forget_raw}


# Clean: reactivation


def clean(found: Retention) -> list[exp.Expr]:
    """Step 1: of this batch's orders, delete the history rows that the mart's row makes stale.

    Older versions: the order came back, or its aged row is replaced by a newer one that is itself aged. Of metadata
    also the very same version, if its order is active. The mart holds what is deleted here, or a newer version of it,
    so nothing is lost; should it have aged too, the archive step copies it. Of another order under the same number
    nothing is deleted, and an exception says so.
    """
    if not found.returned_periods:
        return []
    if found.mart.follows_anchor:
        stale = exp.and_(same("add_time", "history", "present", found.mart), stale_metadata(found))
        return [
            delete_from_history(found, period, present_metadata(found, period), stale)
            for period in found.returned_periods
        ]
    stale = exp.and_(exp.not_(another_order("history", "present", "present")), stale_status(found))
    deletions = [
        delete_from_history(found, period, present_statuses(found, period), stale) for period in found.returned_periods
    ]
    reused = query_from_template("SELECT check_name, table_name, order_id, detail FROM reused", {"reused": REUSED})
    exceptions = [*temporary(REUSED, reused_numbers(found)), *record_exceptions(reused, found.end)]
    return [*created_orders(found), *exceptions, *deletions]


def delete_from_history(found: Retention, period: str, present: exp.Query, stale: exp.Expr) -> exp.Expr:
    """Deletes from one half-year what is stale beside the mart's present rows."""
    return sql_from_template(
        "DELETE FROM history USING present WHERE history.order_id = present.order_id AND :stale",
        {"history": history_table(found.mart.alias, period), "present": present},
        stale=stale,
    )


def stale_status(found: Retention) -> exp.Expr:
    """The status in history is an older version than the present one."""
    return older("history", "present", found.identity, found.mart)


def stale_metadata(found: Retention) -> exp.Expr:
    """The metadata in history is an older version than the present one, or the same while its order is active."""
    not_newer = exp.not_(older("present", "history", found.identity, found.mart))
    active = exp.not_(exp.column("active_order_id", "present").is_(exp.null()))
    return exp.paren(exp.or_(older("history", "present", found.identity, found.mart), exp.and_(not_newer, active)))


def present_statuses(found: Retention, period: str) -> exp.Query:
    """The mart's rows of the orders that came back from a period, and when the orders of their numbers were created.

    An order of the batch is in uti with a row of the batch or a newer one, so what is older than all of the batch need
    not be looked at.
    """
    return query_from_template(
        """
        SELECT :columns, created.first_created, created.last_created
        FROM returned JOIN mart ON mart.order_id = returned.order_id
        LEFT JOIN created ON created.order_id = mart.order_id
        WHERE returned.period = :period AND mart.update_time >= :batch_begins
        """,
        {"returned": scratch(found, RETURNED), "mart": found.table, "created": CREATED},
        columns=columns_of(["order_id", *found.identity], "mart"),
        period=period,
        batch_begins=found.batch_begins,
    )


def present_metadata(found: Retention, period: str) -> exp.Query:
    """The mart's rows of the orders that came back from a period, and whether their order is active."""
    return query_from_template(
        """
        SELECT :columns, CASE WHEN departed.order_id IS NULL THEN active.order_id END AS active_order_id
        FROM returned JOIN mart ON mart.order_id = returned.order_id
        LEFT JOIN active ON active.order_id = mart.order_id
        LEFT JOIN departed ON departed.order_id = mart.order_id AND NOT :later
        WHERE returned.period = :period
        """,
        {
            "returned": scratch(found, RETURNED),
            "mart": found.table,
            "active": active_orders(found),
            "departed": scratch(found, DEPARTED),
        },
        columns=columns_of(["order_id", *found.identity], "mart"),
        period=period,
        later=created_later(exp.column("add_time", "mart"), exp.column("update_time", "departed")),
    )


def created_orders(found: Retention) -> list[exp.Expr]:
    """Gathers when the orders that came back were created: by all the metadata of their numbers, wherever it stands."""
    tables = [*found.metadata_tables, *(history_table("ecs", period) for period in found.periods)]
    places = [exp.select(*columns_of(["order_id", "add_time"])).from_(table_node(table)) for table in tables]
    query = query_from_template(
        """
        SELECT metadata.order_id, MIN(metadata.add_time) AS first_created, MAX(metadata.add_time) AS last_created
        FROM metadata JOIN (SELECT DISTINCT order_id FROM returned) AS asked ON asked.order_id = metadata.order_id
        GROUP BY metadata.order_id
        """,
        {"metadata": union_all(places), "returned": scratch(found, RETURNED)},
    )
    return temporary(CREATED, query)


def reused_numbers(found: Retention) -> exp.Query:
    """Orders of this batch under whose number history holds another order, as exceptions."""
    again = [
        query_from_template(
            """
            SELECT present.order_id, history.update_time
            FROM history JOIN present ON present.order_id = history.order_id WHERE :another
            """,
            {"history": history_table(found.mart.alias, period), "present": present_statuses(found, period)},
            another=another_order("history", "present", created="present"),
        )
        for period in found.returned_periods
    ]
    return query_from_template(
        """
        SELECT CAST('order_number_reused' AS VARCHAR(64)) AS check_name, CAST(:name AS VARCHAR(127)) AS table_name,
          reused.order_id, :detail AS detail
        FROM reused GROUP BY reused.order_id
        """,
        {"reused": union_all(again)},
        name=found.mart.name,
        detail=used_again(exp.func("MAX", exp.column("update_time", "reused"))),
    )


# Archive


def archive(found: Retention) -> list[exp.Expr]:
    """Step 2: copy what is due to its half-year, unless history holds it, or a newer version of it."""
    names = list(found.columns)
    return [
        sql_from_template(
            "INSERT INTO history (:target, archived_at) SELECT :columns, :end FROM missing",
            {"history": history_table(found.mart.alias, due.period), "missing": without_copy(found, due, before=True)},
            target=[exp.to_identifier(name) for name in names],
            columns=columns_of(names, "missing"),
            end=timestamp(found.end),
        )
        for due in found.due
        if due.period in found.periods
    ]


def due_rows(found: Retention, due: Due) -> exp.Query:
    """The mart's rows that belong to this half-year's history now: by age, or of metadata what was gathered."""
    columns = columns_of(found.columns, "mart")
    if found.mart.follows_anchor:
        of_period = exp.column("period", "mart").eq(exp.Literal.string(due.period))
        return exp.select(*columns).from_(table_node(scratch(found, DUE_METADATA)).as_("mart")).where(of_period)
    return exp.select(*columns).from_(table_node(found.table).as_("mart")).where(in_range(found, due, "mart"))


def in_range(found: Retention, due: Due, table: str) -> exp.Expr:
    """The range of event time in which the due rows lie: what keeps a statement from reading the whole mart."""
    time = exp.column(found.mart.event_time, table)
    return exp.and_(time >= due.first, time < due.until)


def copies_in_history(found: Retention, due: Due, *, before: bool) -> exp.Query | None:
    """The history rows that may be copies of what is due; None where no half-year may hold any.

    A copy is never older than the row, so it lies at or after it: of a scan in the same half-year and range, of a
    status there or later, and of metadata, whose half-year is that of its order, wherever history held an order that
    leaves now (`before` the archive step) and in the half-years that this step fills.
    """
    time = exp.column(found.mart.event_time)
    if not found.mart.one_row_per_order:
        periods = [period for period in found.periods if period == due.period]
        reach = exp.and_(time >= due.first, time < due.until)
    elif not found.mart.follows_anchor:
        periods = [period for period in found.periods if period >= due.period]
        reach = time >= due.first
    else:
        filled = [] if before else [one.period for one in found.due if one.period in found.periods]
        periods = sorted({*found.copy_periods, *filled})
        reach = time >= due.first
    queries = [
        exp.select(*columns_of(["order_id", *found.identity]))
        .from_(table_node(history_table(found.mart.alias, period)))
        .where(reach.copy())
        for period in periods
    ]
    return union_all(queries) if queries else None


def with_copy(found: Retention, due: Due, *, before: bool = False) -> exp.Query | None:
    """What is due and superfluous in the mart: history holds its copy or a newer version of its order.

    For scans the rows of history themselves are enough: they are compared with the due ones in every column.
    """
    held = copies_in_history(found, due, before=before)
    if held is None or not found.mart.one_row_per_order:
        return held
    is_copy = exp.and_(
        exp.not_(older("held", "due", found.identity, found.mart)),
        exp.paren(same_order("held", "due", found.mart)),
    )
    return query_from_template(
        "SELECT :columns FROM due JOIN held ON held.order_id = due.order_id AND :is_copy",
        {"due": due_rows(found, due), "held": held},
        columns=columns_of(["order_id", *found.identity], "due"),
        is_copy=is_copy,
    )


def without_copy(found: Retention, due: Due, *, before: bool = False) -> exp.Query:
    """What is due and not in history."""
    copied = with_copy(found, due, before=before)
    if copied is None:
        return due_rows(found, due)
    return query_from_template(
        """
        SELECT :columns FROM due
        LEFT JOIN copied ON copied.order_id = due.order_id AND :identical
        WHERE copied.order_id IS NULL
        """,
        {"due": due_rows(found, due), "copied": copied},
        columns=columns_of(found.columns, "due"),
        identical=identical("copied", "due", found.identity, found.columns, found.mart),
    )


# Check, trim, forget raw


def check(found: Retention) -> list[exp.Expr]:
    """Step 3: what should have been archived and has no copy becomes one exception a half-year, with a count.

    While no such exception is open there is none to be seen again: one statement that enters what it finds, mostly
    nothing.
    """
    if not found.due:
        return []
    rows = [
        exp.select(exp.cast(exp.Literal.string(due.period), "VARCHAR(7)").as_("period")).from_(
            without_copy(found, due).subquery("missing", copy=False), copy=False
        )
        for due in found.due
    ]
    counted = query_from_template(
        """
        SELECT 'archive_unrouted'::VARCHAR(64) AS check_name, :table::VARCHAR(127) AS table_name,
          NULL::BIGINT AS order_id,
          ('half-year ' || period || :what || ' (rows: ' || COUNT(*)::VARCHAR(20) || ')')::VARCHAR(4096) AS detail
        FROM unrouted GROUP BY period
        """,
        {"unrouted": UNROUTED if found.unrouted_is_open else union_all(rows)},
        table=found.mart.name,
        what=f" has no copy in history, which begins with {found.history_start}",
    )
    seen, opened = record_exceptions(counted, found.end)
    return [*temporary(UNROUTED, union_all(rows)), seen, opened] if found.unrouted_is_open else [opened]


def trim(found: Retention) -> list[exp.Expr]:
    """Step 4: delete what is due and has its copy (or a newer version) in history, and nothing else.

    Also of half-years without a history table: history may hold a newer version of such a row elsewhere.
    """
    return [
        sql_from_template(
            "DELETE FROM mart USING copied WHERE mart.order_id = copied.order_id AND :identical AND :in_range",
            {"mart": found.table, "copied": copied},
            identical=identical("mart", "copied", found.identity, found.columns, found.mart),
            in_range=in_range(found, due, "mart"),
        )
        for due in found.due
        if (copied := with_copy(found, due)) is not None
    ]


def forget_raw(found: Retention) -> list[exp.Expr]:
    """Step 5: forget raw rows past the raw retention that landed before this interval; once a day there are some."""
    if not found.forgettable:
        return []
    return [
        sql_from_template("DELETE FROM raw WHERE :forgotten", {"raw": found.mart.raw}, forgotten=is_forgettable(found))
    ]
