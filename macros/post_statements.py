"""The macros that the marts call: after the insert clean, archive, check, trim, forget raw; before it, one refusal."""

from __future__ import annotations

import datetime as dt

from sqlglot import exp
from sqlmesh import macro
from sqlmesh.utils.errors import SQLMeshError

from macros.exceptions import close_cleared_exceptions, record_exceptions
from macros.history import history_table
from macros.marts import HISTORY_SCHEMA, RAW_SCHEMA, UTI, identity_columns, mart_facts
from macros.periods import months_before, period_bounds, periods_between
from macros.production import deployability, production_snapshot
from macros.retention import (
    archive_statements,
    batch_orders,
    check_statements,
    clean_statements,
    delete_consumed_raw_statement,
    departed_orders,
    trim_statements,
    widen_statements,
)
from macros.sql import statement, table_node, union_all


@macro()
def clean_history(evaluator):  # type: ignore[no-untyped-def]
    """Step 1: give history the columns that the mart has gained; delete the rows that this batch made stale."""
    scope = production_scope(evaluator)
    if scope is None or not scope["history"]:
        return []
    stale = periods_of_batch(evaluator, scope) if scope["versioned"] else []
    return as_commands(evaluator, [*widen_statements(scope), *clean_statements(scope, stale)])


@macro()
def archive_check_trim(evaluator):  # type: ignore[no-untyped-def]
    """Steps 2 to 4, on one cutoff: copy what has aged out to the history table of its half-year; what did not get
    there becomes an exception, and stays; delete from the mart exactly what has its copy in history.
    """
    scope = production_scope(evaluator)
    if scope is None:
        return []
    scope["cutoff"] = retention_cutoff(evaluator, scope)
    scope["due"] = due_periods(evaluator, scope)
    return as_commands(evaluator, [*archive_statements(scope), *check_statements(scope), *trim_statements(scope)])


@macro()
def delete_consumed_raw(evaluator):  # type: ignore[no-untyped-def]
    """Step 5: forget raw rows that are past the raw retention and were consumed long ago."""
    scope = production_scope(evaluator)
    return as_commands(evaluator, [delete_consumed_raw_statement(scope)]) if scope else []


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
    checked_at = int((evaluator.locals["end_dt"] + dt.timedelta(microseconds=1)).timestamp())
    return as_commands(evaluator, [*record_exceptions(found, checked_at), close_cleared_exceptions(found, checked_at)])


@macro()
def refuse_rebuild_from_trimmed_raw(evaluator):  # type: ignore[no-untyped-def]
    """Before the insert: fail when SQLMesh is about to build this mart anew although raw has forgotten rows.

    Without a recorded interval SQLMesh replaces the whole table by what raw holds. That is right once, and the loss
    of everything older after raw was trimmed (a lost state database, a change that is not forward-only).
    """
    snapshot = evaluator.locals.get("snapshot")
    if snapshot is None or snapshot.intervals or not deployability(evaluator).is_deployable(snapshot):
        return []
    source = mart_facts(snapshot.model.name.split(".")[-1])["raw"]
    log = statement(
        "SELECT COALESCE(SUM(rows_landed), 0) FROM log WHERE table_name = :name",
        {"log": f"{RAW_SCHEMA}.extract_log"},
        name=source.split(".")[-1].removesuffix("_raw"),
    )
    (landed,) = evaluator.engine_adapter.fetchone(log)
    (held,) = evaluator.engine_adapter.fetchone(statement("SELECT COUNT(*) FROM raw", {"raw": source}))
    if int(held) < int(landed):
        raise SQLMeshError(
            f"{snapshot.name} would be built anew from {source}, which has forgotten {int(landed) - int(held)} of the "
            f"{int(landed)} rows that landed; nothing was changed. Restore SQLMesh's state, or make the change "
            "forward-only (docs/operations.md, 'A mart would be rebuilt')."
        )
    return []


def as_commands(evaluator, statements):  # type: ignore[no-untyped-def]
    """The statements as finished SQL of the engine: their names are physical already, there is nothing to resolve.

    As trees SQLMesh would copy, walk and qualify each of them several times, which cost more than running them.
    """
    commands = []
    for each in statements:
        verb, _, rest = each.sql(dialect=evaluator.engine_adapter.dialect, identify=True).partition(" ")
        commands.append(exp.Command(this=verb, expression=rest))
    return commands


def production_scope(evaluator):  # type: ignore[no-untyped-def]
    """What this evaluation works on (see retention.py), or None unless it writes production."""
    snapshot = production_snapshot(evaluator)
    if snapshot is None:
        return None
    facts = mart_facts(snapshot.model.name.split(".")[-1])
    columns = snapshot.model.columns_to_types
    scope = {
        **facts,
        "name": snapshot.model.name,
        "mart": evaluator.locals["this_model"].sql(dialect=evaluator.dialect),
        "uti": evaluator.resolve_table(UTI),
        "anchor_raw": mart_facts(UTI.split(".")[-1])["raw"],
        "columns": columns,
        "sortkey": [column.name for column in snapshot.model.physical_properties["sortkey"].expressions],
        "identity": identity_columns(columns, facts["time"], facts["versioned"]),
        "texts": [name for name, kind in columns.items() if kind.is_type(*exp.DataType.TEXT_TYPES)],
        "start": int(evaluator.locals["start_dt"].timestamp()),
        # SQLMesh hands out the last microsecond of the interval.
        "end": int((evaluator.locals["end_dt"] + dt.timedelta(microseconds=1)).timestamp()),
        "history_start": str(evaluator.var("history_start")),
        "raw_retention_days": int(evaluator.var("raw_retention_days")),
        "redshift": evaluator.engine_adapter.dialect == "redshift",
    }
    tables = history_tables(evaluator)
    scope["history"] = tables.get(facts["short"], {})
    scope["uti_history"] = tables.get("uti", {})
    return scope


def history_tables(evaluator):  # type: ignore[no-untyped-def]
    """The history tables that exist: short name of the mart -> period -> its columns."""
    query = (
        exp.select("table_name", "column_name")
        .from_("information_schema.columns")
        .where(exp.column("table_schema").eq(HISTORY_SCHEMA))
    )
    tables: dict[str, dict[str, set[str]]] = {}
    for table, column in evaluator.engine_adapter.fetchall(query):
        prefix, _, rest = str(table).partition("_")
        short, _, period = rest.partition("_")
        if prefix == "hist" and period != "all":
            tables.setdefault(short, {}).setdefault(period, set()).add(str(column))
    return tables


def retention_cutoff(evaluator, scope):  # type: ignore[no-untyped-def]
    """What is older than this (epoch seconds) has aged out: so many months before the newest status.

    At most the end of the interval: one future-dated row must not archive the mart. The newest status is looked for
    in the last day first, so that the rest of the mart is not read.
    """
    newest = statement("SELECT MAX(update_time) FROM uti", {"uti": scope["uti"]})
    recent = newest.copy().where(exp.column("update_time") >= scope["end"] - 86400)
    (moment,) = evaluator.engine_adapter.fetchone(recent)
    if moment is None:
        (moment,) = evaluator.engine_adapter.fetchone(newest)
    latest = scope["end"] if moment is None else min(int(moment), scope["end"])
    return months_before(latest, int(evaluator.var("retention_months")))


def due_periods(evaluator, scope):  # type: ignore[no-untyped-def]
    """Period -> oldest event time of the mart's rows that must leave now."""
    if scope["short"] == "ecs":
        queries = [
            exp.select(exp.Literal.string(period).as_("period"), exp.func("MIN", exp.column("add_time")))
            .from_(departed_orders(scope, period).subquery("departed"))
            .join(table_node(scope["mart"]).as_("mart"), on="mart.order_id = departed.order_id")
            for period in sorted(scope["uti_history"])
        ]
        rows = evaluator.engine_adapter.fetchall(union_all(queries)) if queries else []
        return {period: int(oldest) for period, oldest in rows if oldest is not None}
    time = exp.column(scope["time"])
    aged = exp.select(exp.func("MIN", time), exp.func("MAX", time)).from_(table_node(scope["mart"]))
    oldest, newest = evaluator.engine_adapter.fetchone(aged.where(time < scope["cutoff"]))
    if oldest is None:
        return {}
    periods = periods_between(int(oldest), int(newest))
    if len(periods) == 1:
        return {periods[0]: int(oldest)}
    period = exp.Case()
    for name in periods:
        period = period.when(time < period_bounds(name)[1], exp.Literal.string(name))
    grouped = (
        exp.select(period.as_("period"), exp.func("MIN", time))
        .from_(table_node(scope["mart"]))
        .where(time < scope["cutoff"])
        .group_by("1")
    )
    return {str(name): int(first) for name, first in evaluator.engine_adapter.fetchall(grouped)}


def periods_of_batch(evaluator, scope):  # type: ignore[no-untyped-def]
    """The periods whose history tables hold orders of this batch: mostly none."""
    queries = [
        exp.select(exp.Literal.string(period).as_("period"))
        .from_(table_node(history_table(scope["short"], period)).as_("history"))
        .join(batch_orders(scope).subquery("batch"), on="batch.order_id = history.order_id")
        .distinct()
        for period in sorted(scope["history"])
    ]
    return [period for (period,) in evaluator.engine_adapter.fetchall(union_all(queries))]
