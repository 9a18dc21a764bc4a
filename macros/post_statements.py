"""The macros that the marts call: before the insert one refusal, after it the retention; and the keeping of exceptions.

They execute what they do by themselves and hand nothing back: see `retain`.
"""

from __future__ import annotations

import datetime as dt

from sqlglot import exp
from sqlmesh import macro
from sqlmesh.utils.errors import SQLMeshError

from macros.checks import unjudged_orders
from macros.exceptions import close_cleared_exceptions, record_exceptions
from macros.history import history_table
from macros.marts import ECS, HISTORY_SCHEMA, RAW_SCHEMA, UTI, anchor, identity, mart_of
from macros.periods import half_open, is_period, months_before, period_bounds, periods_between
from macros.production import environment_name, production_snapshot, snapshot_of_written_table
from macros.retention import (
    DUE,
    RETURNED,
    archive_statements,
    clean_copies_statements,
    clean_statements,
    created_orders,
    delete_consumed_raw_statement,
    departed_orders,
    drop_temporaries,
    due_ecs,
    every_period,
    in_range,
    later_metadata_statement,
    outdated_statements,
    returned_orders,
    reused_numbers,
    trim_statements,
    unrouted_rows,
    widen_statements,
)
from macros.sql import statement, table_node, timestamp


@macro()
def apply_retention(evaluator):  # type: ignore[no-untyped-def]
    """After a mart's insert: clean history, archive, check, trim, and only then forget raw."""
    scope = production_scope(evaluator)
    if scope is not None:
        retain(scope, evaluator.engine_adapter)
    return []


@macro()
def keep_exceptions(evaluator):  # type: ignore[no-untyped-def]
    """After the daily checks: enter what they found as exceptions, and close those they no longer find."""
    snapshot = production_snapshot(evaluator)
    if snapshot is None:
        return []
    found = statement(
        "SELECT check_name, table_name, order_id, detail FROM failures WHERE checked_on = :day",
        {"failures": evaluator.locals["this_model"]},
        day=exp.cast(exp.Literal.string(evaluator.locals["end_ds"]), "DATE"),
    )
    _, checked_at = interval_of(evaluator)
    closed = close_cleared_exceptions(found, checked_at, unjudged_orders(evaluator))
    execute(evaluator.engine_adapter, [*record_exceptions(found, checked_at), closed])
    return []


@macro()
def refuse_to_endanger_production(evaluator):  # type: ignore[no-untyped-def]
    """Before the insert: fail where SQLMesh is about to write a mart that production uses as it must not be written."""
    snapshot = snapshot_of_written_table(evaluator)
    if snapshot is not None:
        refuse_write_from_elsewhere(snapshot, environment_name())
        refuse_rebuild_from_trimmed_raw(snapshot, evaluator.engine_adapter, *interval_of(evaluator))
    return []


def refuse_write_from_elsewhere(snapshot, environment):  # type: ignore[no-untyped-def]
    """A dev environment has a table of its own, but for a mart whose last change was of metadata alone (an owner, say).

    Such a one SQLMesh shares, and where production has an interval to do, the plan of the dev environment would do it.
    """
    if environment != "prod":
        raise SQLMeshError(
            f"The environment {environment} would write {snapshot.name} of production; nothing was changed. Run the "
            "cycle, so that production has nothing left to do, and plan again; a mart must stay forward-only."
        )


def refuse_rebuild_from_trimmed_raw(snapshot, engine, start, end):  # type: ignore[no-untyped-def]
    """A mart must not be built anew from less than has landed, nor what of it landed from `start` to `end`.

    Without a recorded interval SQLMesh replaces the whole table by what raw holds from `start` to `end`, and of the
    scans each interval that it does not know to be done. That is right while raw is whole, and the loss of everything
    older after raw was trimmed (a state that is lost or from an old backup, a change that is not forward-only).
    """
    source = mart_of(snapshot.model.name).raw
    since = f" since {dt.datetime.fromtimestamp(start, dt.UTC):%Y-%m-%d %H:%M} UTC" if snapshot.intervals else ""
    before = exp.column("landed_at") < timestamp(end)
    interval = exp.and_(exp.column("landed_at") >= timestamp(start), before)
    log = statement(
        "SELECT COALESCE(SUM(rows_landed), 0) FROM log WHERE table_name = :name AND :interval",
        {"log": f"{RAW_SCHEMA}.extract_log"},
        name=source.split(".")[-1].removesuffix("_raw"),
        interval=interval if snapshot.intervals else before,
    )
    (landed,) = engine.fetchone(log)
    (held,) = engine.fetchone(statement("SELECT COUNT(*) FROM raw WHERE :interval", {"raw": source}, interval=interval))
    if int(held) < int(landed):
        raise SQLMeshError(
            f"{snapshot.name} would be built anew{since} from {source}, which lacks {int(landed) - int(held)} of the "
            f"{int(landed)} rows that landed; nothing was changed. Restore SQLMesh's state, or make the change "
            "forward-only (docs/operations.md, 'A mart would be rebuilt')."
        )


def retain(scope, engine):  # type: ignore[no-untyped-def]
    """The five steps of one mart's retention, in this order and on one cutoff.

    They are executed here, one after another in the transaction of the insert (where the engine has any): handed back
    to SQLMesh they would be written out, parsed and qualified again, which costs more than running them.
    """
    scope["newest"] = newest_status(scope, engine)
    scope["cutoff"] = months_before(scope["newest"], scope["retention_months"]) if scope["newest"] else 0
    if scope["short"] == "ecs" and (scope["history"] or scope["uti_history"]):
        execute(engine, departed_orders(scope))
    if scope["history"]:
        execute(engine, widen_statements(scope))
        if scope["versioned"]:
            execute(engine, returned_orders(scope))
            returned = returned_periods(engine)
            if returned and scope["short"] == "uti":
                execute(engine, created_orders(scope, metadata_tables(engine)))
                note_reused_numbers(scope, engine, returned)
            execute(engine, clean_statements(scope, returned))
        if scope["short"] == "uti":
            execute(engine, outdated_statements(scope, returned))
        if scope["short"] != "ecs":
            execute(engine, clean_copies_statements(scope, not_due_in_history(scope, engine)))
    scope["due"] = due_periods(scope, engine)
    if scope["due"]:
        scope["holding"] = periods_holding(scope, engine)
        execute(engine, archive_statements(scope))
        unrouted = unrouted_rows(scope)
        if engine.fetchone(unrouted.limit(1)):
            execute(engine, record_exceptions(unrouted, scope["end"]))
        execute(engine, trim_statements(scope))
    execute(engine, [delete_consumed_raw_statement(scope), *drop_temporaries()])


def metadata_tables(engine):  # type: ignore[no-untyped-def]
    """Where orders' metadata stands beside history: raw, and ecs once the first plan has ended."""
    raw = mart_of(ECS).raw
    return [raw, ECS] if engine.table_exists(ECS) else [raw]


def note_reused_numbers(scope, engine, returned):  # type: ignore[no-untyped-def]
    """An exception for each order of this batch that bears the number of another, archived one."""
    reused = reused_numbers(scope, returned)
    if engine.fetchone(reused.limit(1)):
        execute(engine, record_exceptions(reused, scope["end"]))


def execute(engine, statements):  # type: ignore[no-untyped-def]
    """Executes finished statements in the engine's dialect; their names are physical already."""
    for each in statements:
        engine.execute(each.sql(dialect=engine.dialect, identify=True, copy=False))


def production_scope(evaluator):  # type: ignore[no-untyped-def]
    """What this evaluation works on (see retention.py), or None unless it writes production."""
    snapshot = production_snapshot(evaluator)
    if snapshot is None:
        return None
    mart = mart_of(snapshot.model.name)
    columns = snapshot.model.columns_to_types
    start, end = interval_of(evaluator)
    scope = {
        "short": mart.alias,
        "time": mart.event_time,
        "raw": mart.raw,
        "versioned": mart.one_row_per_order,
        "name": snapshot.model.name,
        "mart": evaluator.locals["this_model"].sql(dialect=evaluator.dialect),
        "uti": evaluator.resolve_table(UTI),
        "anchor_raw": anchor().raw,
        "columns": columns,
        "sortkey": [column.name for column in snapshot.model.physical_properties["sortkey"].expressions],
        "identity": identity(mart, columns),
        "start": start,
        "end": end,
        "history_start": str(evaluator.var("history_start")),
        "retention_months": int(evaluator.var("retention_months")),
        "raw_retention_days": int(evaluator.var("raw_retention_days")),
        "redshift": evaluator.engine_adapter.dialect == "redshift",
    }
    tables = history_tables(evaluator.engine_adapter)
    scope["history"] = tables.get(mart.alias, {})
    scope["uti_history"] = tables.get("uti", {})
    scope["ecs_history"] = tables.get("ecs", {})
    return scope


def interval_of(evaluator):  # type: ignore[no-untyped-def]
    """Start and end of what is evaluated, half-open, in epoch seconds."""
    return half_open(evaluator.locals["start_dt"], evaluator.locals["end_dt"])


def history_tables(engine):  # type: ignore[no-untyped-def]
    """The history tables that exist: short name of the mart -> period -> its columns.

    What has no period in its name (the view over all, somebody's backup) is none of them.
    """
    query = (
        exp.select("table_name", "column_name")
        .from_("information_schema.columns")
        .where(exp.column("table_schema").eq(HISTORY_SCHEMA))
    )
    tables: dict[str, dict[str, set[str]]] = {}
    for table, column in engine.fetchall(query):
        prefix, _, rest = str(table).partition("_")
        short, _, period = rest.partition("_")
        if prefix == "hist" and is_period(period):
            tables.setdefault(short, {}).setdefault(period, set()).add(str(column))
    return tables


def newest_status(scope, engine):  # type: ignore[no-untyped-def]
    """The moment (epoch seconds) from which age is counted, for what leaves a mart and for what raw forgets.

    At most the end of the interval: one future-dated row must not archive the mart. Nor that end by itself: one cycle
    under a clock that is ahead must not age everything. While there is no status nothing has aged (0): the first one
    would move the line back. The newest is looked for in the last day first, so that the rest of the mart is not read.
    """
    newest = statement("SELECT MAX(update_time) FROM uti", {"uti": scope["uti"]})
    recent = newest.copy().where(exp.column("update_time") >= scope["end"] - 86400)
    (moment,) = engine.fetchone(recent)
    if moment is None:
        (moment,) = engine.fetchone(newest)
    return 0 if moment is None else min(int(moment), scope["end"])


def due_periods(scope, engine):  # type: ignore[no-untyped-def]
    """Period -> range of event time (half-open) of the mart's rows that must leave now."""
    time = exp.column(scope["time"])
    if scope["short"] == "ecs":
        if not scope["uti_history"]:
            return {}
        execute(engine, due_ecs(scope))
        later = statement("MAX(CASE WHEN add_time > last_status THEN 1 ELSE 0 END)", {})
        found = exp.select("period", exp.func("MIN", time), exp.func("MAX", time), later).from_(table_node(DUE))
        found = found.group_by("period")
        rows = engine.fetchall(found)
        if scope["history"] and any(created_later for *_, created_later in rows):
            execute(engine, [later_metadata_statement(scope)])
            rows = engine.fetchall(found)
        return {str(period): (int(first), int(last) + 1) for period, first, last, _ in rows}
    aged = exp.select(exp.func("MIN", time), exp.func("MAX", time)).from_(table_node(scope["mart"]))
    oldest, newest = engine.fetchone(aged.where(time < scope["cutoff"]))
    if oldest is None:
        return {}
    periods = periods_between(int(oldest), int(newest))
    if len(periods) == 1:
        return {periods[0]: (int(oldest), int(newest) + 1)}
    period = exp.Case()
    for name in periods:
        period = period.when(time < period_bounds(name)[1], exp.Literal.string(name))
    grouped = (
        exp.select(exp.cast(period, "VARCHAR(7)").as_("period"), exp.func("MIN", time), exp.func("MAX", time))
        .from_(table_node(scope["mart"]))
        .where(time < scope["cutoff"])
        .group_by("1")
    )
    return {str(name): (int(first), int(last) + 1) for name, first, last in engine.fetchall(grouped)}


def returned_periods(engine):  # type: ignore[no-untyped-def]
    """The periods whose history tables hold orders of this batch: mostly none."""
    found = exp.select("period").distinct().from_(table_node(RETURNED))
    return [str(period) for (period,) in engine.fetchall(found)]


def not_due_in_history(scope, engine):  # type: ignore[no-untyped-def]
    """Period -> range of event time (closed) of what has not aged and was archived lately: none as a rule.

    Lately is by an evaluation of this interval or a part of it. The line has moved back since (decision 47), and the
    mart may hold the same rows: this batch brought them again, or that evaluation died before it trimmed them.
    """
    time = exp.column(scope["time"])
    range_of = exp.select(exp.func("MIN", time), exp.func("MAX", time)).where(
        time >= scope["cutoff"], exp.column("archived_at") > timestamp(scope["start"])
    )
    ranges = {
        period: engine.fetchone(range_of.from_(table_node(history_table(scope["short"], period))))
        for period in scope["history"]
        if period_bounds(period)[1] > scope["cutoff"]
    }
    return {period: (int(first), int(last)) for period, (first, last) in ranges.items() if first is not None}


def periods_holding(scope, engine):  # type: ignore[no-untyped-def]
    """The periods in which copies of what is due are to be looked for before anything is archived.

    Scans: where history has any in the range that leaves, which is new to it as a rule. For ecs where its orders are.
    """
    if scope["short"] == "uts":
        held = {period: history_table("uts", period) for period in scope["due"] if period in scope["history"]}
        first_found = exp.select("1").limit(1)
        return [
            period
            for period, table in held.items()
            if engine.fetchone(first_found.from_(table_node(table).as_("mart")).where(in_range(scope, period, "mart")))
        ]
    if scope["short"] != "ecs" or not scope["history"]:
        return [*scope["history"]]
    first = min(first for first, _ in scope["due"].values())
    history = every_period("ecs", scope["history"], ["order_id", "add_time"])
    found = statement(
        """
        SELECT DISTINCT history.period FROM history JOIN due ON due.order_id = history.order_id
        WHERE history.add_time >= :first
        """,
        {"history": history, "due": DUE},
        first=first,
    )
    return [str(period) for (period,) in engine.fetchall(found)]
