"""Archive, check, trim: the statements that follow each mart's insert, as pure functions of a scope.

A scope (made in post_statements.py) says what one evaluation works on:
  mart, raw, uti     table names; uti is the anchor that says which orders are active
  short, time        the mart's short name and its event-time column; versioned: one row per order
  columns, sortkey   of the mart; identity: the columns in which a row and its copy agree; texts: those with text
  start, end         the interval, half-open; cutoff: what is older has aged out (all epoch seconds)
  history            period -> columns, of the mart's history tables that exist; uti_history: of the anchor's
  due                period -> oldest event time, of the rows that must leave the mart now; history_start
  holding            the periods whose history may hold a row of an order that leaves now
  retention_months, raw_retention_days
Every statement can be repeated, and a crash between any two leaves every row in at least one place.
"""

from __future__ import annotations

import typing as t

from sqlglot import exp

from macros.history import (
    add_missing_columns,
    create_history_table,
    create_history_view,
    drop_history_view,
    history_table,
)
from macros.periods import period_bounds
from macros.sql import columns_of, statement, table_node, timestamp, union_all
from macros.versions import identical, older

Scope = dict[str, t.Any]


def batch_orders(scope: Scope) -> exp.Query:
    """The orders of this batch: what landed in the interval; for ecs also those whose status landed."""
    landed = statement(
        "SELECT order_id FROM raw WHERE landed_at >= :start AND landed_at < :end",
        {},
        start=timestamp(scope["start"]),
        end=timestamp(scope["end"]),
    )
    raws = [scope["raw"], scope["anchor_raw"]] if scope["short"] == "ecs" else [scope["raw"]]
    queries = [t.cast(exp.Select, exp.replace_tables(landed, {"raw": raw})) for raw in raws]
    return exp.union(*queries) if len(queries) > 1 else queries[0].distinct()


def routed(scope: Scope) -> list[str]:
    """The periods of what is due that have, or get, a history table."""
    return [period for period in sorted(scope["due"]) if period >= scope["history_start"]]


def in_range(scope: Scope, period: str, table: str) -> exp.Expr:
    """The range of event time in which a period's due rows lie: what keeps a statement from reading the whole mart."""
    time = exp.column(scope["time"], table)
    condition = time >= scope["due"][period]
    if scope["short"] == "ecs":
        return condition  # an order's age says nothing about its departure
    return exp.and_(condition, time < min(period_bounds(period)[1], scope["cutoff"]))


def due_rows(scope: Scope, period: str) -> exp.Query:
    """The mart's rows that belong to this period's history now.

    uti and uts: what is older than the cutoff. ecs: what belongs to an order that uti has archived there and that is
    not active; absence from uti is no proof, for an order's status may arrive after its metadata.
    """
    if scope["short"] != "ecs":
        query = exp.select(*columns_of(scope["columns"], "mart")).from_(table_node(scope["mart"]).as_("mart"))
        return query.where(in_range(scope, period, "mart"))
    return t.cast(
        exp.Query,
        statement(
            """
            SELECT :columns FROM departed JOIN mart ON mart.order_id = departed.order_id
            LEFT JOIN active ON active.order_id = departed.order_id
            WHERE active.order_id IS NULL AND :in_range
            """,
            {"departed": departed_orders(scope, [period]), "mart": scope["mart"], "active": scope["uti"]},
            columns=columns_of(scope["columns"], "mart"),
            in_range=in_range(scope, period, "mart"),
        ),
    )


def departed_orders(scope: Scope, periods: t.Iterable[str]) -> exp.Query:
    """Period and order_id of what uti archived: since the interval's start, and any orders that are in this batch."""
    archived = every_period("uti", periods, ["order_id", "archived_at"])
    return t.cast(
        exp.Query,
        statement(
            """
            SELECT archived.period, archived.order_id FROM archived WHERE archived.archived_at > :start
            UNION
            SELECT archived.period, archived.order_id FROM archived JOIN batch ON batch.order_id = archived.order_id
            """,
            {"archived": archived, "batch": batch_orders(scope)},
            start=timestamp(scope["start"]),
        ),
    )


def every_period(short: str, periods: t.Iterable[str], columns: t.Iterable[str]) -> exp.Query:
    """The rows of these history tables of a mart, with the period first."""
    names = columns_of(columns)
    kind = exp.DataType.build("VARCHAR(7)")
    return union_all(
        [
            exp.select(exp.cast(exp.Literal.string(period), kind).as_("period"), *names).from_(
                table_node(history_table(short, period))
            )
            for period in sorted(periods)
        ]
    )


def may_hold(scope: Scope, period: str) -> exp.Query | None:
    """The history rows that may be copies of what is due in a period; None while there is no such table.

    A copy is never older than the row, so it lies at or after it: for scans in the same period, for uti there or
    later, and for ecs, whose period is that of its order, wherever history holds an order that leaves now.
    """
    tables = sorted({*scope["holding"], *routed(scope)})
    if scope["short"] == "uts":
        tables = [name for name in tables if name == period]
    elif scope["short"] == "uti":
        tables = [name for name in tables if name >= period]
    queries = [
        exp.select(*columns_of(["order_id", *scope["identity"]]))
        .from_(table_node(history_table(scope["short"], name)))
        .where(exp.column(scope["time"]) >= scope["due"][period])
        for name in tables
    ]
    return union_all(queries) if queries else None


def with_copy(scope: Scope, period: str) -> exp.Query:
    """What is due in a period and superfluous in the mart: history holds its copy or, of a version, a newer one."""
    is_copy: exp.Expr = identical("held", "due", scope["identity"], scope["texts"])
    if scope["versioned"]:
        is_copy = exp.not_(older("held", "due", scope["identity"]))
    return t.cast(
        exp.Query,
        statement(
            "SELECT :columns FROM due JOIN held ON held.order_id = due.order_id AND :is_copy",
            {"due": due_rows(scope, period), "held": t.cast(exp.Query, may_hold(scope, period))},
            columns=columns_of(["order_id", *scope["identity"]], "due"),
            is_copy=is_copy,
        ),
    )


def without_copy(scope: Scope, period: str) -> exp.Query:
    """What is due in a period and not in history yet."""
    due = due_rows(scope, period)
    if may_hold(scope, period) is None:
        return due
    return t.cast(
        exp.Query,
        statement(
            """
            SELECT :columns FROM due
            LEFT JOIN copied ON copied.order_id = due.order_id AND :identical
            WHERE copied.order_id IS NULL
            """,
            {"due": due, "copied": with_copy(scope, period)},
            columns=columns_of(scope["columns"], "due"),
            identical=identical("copied", "due", scope["identity"], scope["texts"]),
        ),
    )


def clean_statements(scope: Scope, periods: t.Iterable[str]) -> list[exp.Expr]:
    """Step 1: of this batch's orders, delete the history rows that the mart's row makes stale.

    Older versions: the order came back, or its aged row is replaced by a newer one that is itself aged. For ecs also
    the very same version, while the order is active. The mart holds what is deleted here, or a newer version of it,
    so nothing is lost; should it have aged too, the archive step copies it.
    """
    current = statement(
        """
        SELECT :columns, active.order_id AS active FROM mart JOIN batch ON batch.order_id = mart.order_id
        LEFT JOIN active ON active.order_id = mart.order_id
        """,
        {"mart": scope["mart"], "batch": batch_orders(scope), "active": scope["uti"]},
        columns=columns_of(["order_id", *scope["identity"]], "mart"),
    )
    stale = older("history", "present", scope["identity"])
    if scope["short"] == "ecs":
        not_newer = exp.not_(older("present", "history", scope["identity"]))
        stale = exp.paren(exp.or_(stale, exp.and_(not_newer, "NOT present.active IS NULL")))
    return [
        statement(
            "DELETE FROM history USING present WHERE history.order_id = present.order_id AND :stale",
            {"history": history_table(scope["short"], period), "present": current},
            stale=stale,
        )
        for period in sorted(periods)
    ]


def widen_statements(scope: Scope) -> list[exp.Expr]:
    """Before step 1: history gets the columns that the mart has gained."""
    added = add_missing_columns(scope["short"], scope["history"], scope["columns"])
    return [*added, *renew_view(scope, scope["history"])] if added else []


def renew_view(scope: Scope, periods: t.Iterable[str]) -> list[exp.Expr]:
    """Make the view over all periods anew."""
    create = create_history_view(scope["short"], sorted(periods), scope["columns"], scope["redshift"])
    return [drop_history_view(scope["short"]), create] if scope["redshift"] else [create]


def archive_statements(scope: Scope) -> list[exp.Expr]:
    """Step 2: copy what is due to the period it belongs to, unless history holds it, or a newer version of it."""
    new_periods = [period for period in routed(scope) if period not in scope["history"]]
    statements: list[exp.Expr] = [
        create_history_table(scope["short"], period, scope["columns"], scope["sortkey"], scope["redshift"])
        for period in new_periods
    ]
    if new_periods or (routed(scope) and not scope["redshift"]):
        # Without transactions a crash may have left a new table that the view does not know.
        statements += renew_view(scope, {*scope["history"], *new_periods})
    names = list(scope["columns"])
    statements += [
        statement(
            "INSERT INTO history (:target, archived_at) SELECT :columns, :end FROM missing",
            {"history": history_table(scope["short"], period), "missing": without_copy(scope, period)},
            target=[exp.to_identifier(name) for name in names],
            columns=columns_of(names, "missing"),
            end=timestamp(scope["end"]),
        )
        for period in routed(scope)
    ]
    return statements


def unrouted_rows(scope: Scope) -> exp.Query:
    """Step 3: what is due and has no copy in history, as exceptions: one per order and period."""
    return union_all([unrouted_rows_of(scope, period) for period in sorted(scope["due"])])


def unrouted_rows_of(scope: Scope, period: str) -> exp.Query:
    """What is due in one period and has no copy in history."""
    detail = f"half-year {period} has no copy in history, which begins with {scope['history_start']}"
    texts = (("check_name", "archive_unrouted"), ("table_name", scope["name"]), ("detail", detail))
    told = [exp.cast(exp.Literal.string(text), "VARCHAR").as_(name) for name, text in texts]
    query = exp.select("missing.order_id", *told, copy=False)
    return query.from_(without_copy(scope, period).subquery("missing", copy=False), copy=False).distinct(copy=False)


def trim_statements(scope: Scope) -> list[exp.Expr]:
    """Step 4: delete what is due and has its copy (or a newer version) in history, and nothing else.

    Also of periods without a history table: history may hold a newer version of such a row elsewhere.
    """
    return [
        statement(
            "DELETE FROM mart USING copied WHERE mart.order_id = copied.order_id AND :identical AND :in_range",
            {"mart": scope["mart"], "copied": with_copy(scope, period)},
            identical=identical("mart", "copied", scope["identity"], scope["texts"]),
            in_range=in_range(scope, period, "mart"),
        )
        for period in sorted(scope["due"])
        if may_hold(scope, period) is not None
    ]


def delete_consumed_raw_statement(scope: Scope) -> exp.Expr:
    """Step 5: forget raw rows past the raw retention that landed before this interval.

    A row whose event time lies inside the raw retention stays (it was dated into the future when it landed), so that
    for an ordinary extract raw alone tells what is held.
    """
    floor = scope["end"] - scope["raw_retention_days"] * 86400
    return statement(
        "DELETE FROM raw WHERE raw.landed_at < :landed_before AND :event_before",
        {"raw": scope["raw"]},
        landed_before=timestamp(min(floor, scope["start"])),
        event_before=exp.column(scope["time"], "raw") < floor,
    )
