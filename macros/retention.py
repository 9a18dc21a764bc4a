"""Retention of one mart: `@retention(clean, archive, check, trim, forget_raw)`, and what is read for it first.

What ages out of a mart moves to history by these steps, in this order. SQLMesh renders a model's post-statements before
it runs the first of them, so all reading comes first and is kept in one frozen object; each step (macros/steps.py) then
gives statements that SQLMesh runs and logs. What a statement needs of the batch's orders in large tables is gathered
in temporary tables while reading: found once, and so small that no engine takes it for the larger side of a join.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from sqlglot import exp
from sqlmesh import macro
from sqlmesh.utils.errors import SQLMeshError

from macros.due import (
    RETURNED,
    Due,
    Retention,
    aged_by_period,
    departed_orders,
    due_metadata,
    has_later_metadata,
    periods_of_due_metadata,
    periods_with_copies,
    returned_orders,
    without_later_metadata,
)
from macros.history import every_period
from macros.marts import ECS, UTI, identity, mart_of
from macros.periods import half_open, months_before, period_bounds, periods_between
from macros.production import production_snapshot
from macros.sql import execute, sql_from_template, table_node, timestamp
from macros.steps import steps_by_name

DAY = 86400


@macro()
def retention(evaluator, *steps):  # type: ignore[no-untyped-def]
    """After a mart's insert: the statements of the steps named, in this order. Only for production.

    A model writes "check" in quotes, because CHECK is a word of SQL.

    Example:
        >>> from sqlglot import exp
        >>> from sqlmesh.core.macros import MacroEvaluator
        >>> retention(MacroEvaluator("redshift"), exp.column("trim"))
        []
    """
    known = steps_by_name()
    unknown = [step.name for step in steps if step.name not in known]
    if unknown:
        raise SQLMeshError(f"@retention knows no step {', '.join(unknown)}. There are: {', '.join(known)}.")
    snapshot = production_snapshot(evaluator)
    if snapshot is None:
        return []
    start, end = half_open(evaluator.locals["start_dt"], evaluator.locals["end_dt"])
    found = read_retention(
        evaluator.engine_adapter,
        snapshot.model,
        table=evaluator.locals["this_model"].sql(dialect=evaluator.dialect),
        anchor=evaluator.resolve_table(UTI),
        start=start,
        end=end,
        history_start=str(evaluator.var("history_start")),
        retention_months=int(evaluator.var("retention_months")),
        raw_retention_days=int(evaluator.var("raw_retention_days")),
    )
    leaving = sum(due.rows for due in found.due if due.period in found.periods)
    if leaving:
        logging.getLogger("order_tracking.retention").info("archived %s rows of %s", leaving, found.mart.alias)
    return [statement for step in steps for statement in known[step.name](found)]


def read_retention(  # type: ignore[no-untyped-def]
    engine, model, *, table, anchor, start, end, history_start, retention_months, raw_retention_days, reference=None
):
    """Reads, and gathers in temporary tables, all that the steps need to know. Changes nothing that lasts.

    `table` and `anchor` name the physical tables of the mart and of uti; `start` and `end` are the interval, half-open,
    in epoch seconds; `reference` is what age is counted from, if not from the newest status; the others are the
    variables of config.yaml.
    """
    mart = mart_of(model.name)
    found = Retention(
        mart=mart,
        table=table,
        anchor=anchor,
        columns=dict(model.columns_to_types),
        identity=identity(mart, model.columns_to_types),
        start=start,
        end=end,
        history_start=history_start,
        periods=(),
        raw_retention_days=raw_retention_days,
        age_reference=0,
        cutoff=0,
        returned=(),
        metadata=(),
        due=(),
        copies=(),
    )
    reference = age_reference(found, engine) if reference is None else reference
    cutoff = months_before(reference, retention_months) if reference else 0
    # Nothing that is archived is younger than the age reference, and its half-year has had tables since that landed.
    periods = periods_between(period_bounds(history_start)[0], reference)
    found = replace(found, age_reference=reference, cutoff=cutoff, periods=tuple(periods))
    if found.periods and mart.follows_anchor:
        execute(engine, departed_orders(found))
    if found.periods and mart.one_row_per_order:
        execute(engine, returned_orders(found))
        returned = column_of(engine, exp.select("period").distinct().from_(table_node(RETURNED)))
        metadata = [mart_of(ECS).raw, *([ECS] if returned and engine.table_exists(ECS) else [])]
        found = replace(found, returned=tuple(sorted(returned)), metadata=tuple(metadata))
    if not mart.follows_anchor:
        found = replace(found, cutoff=cutoff_that_never_moves_back(found, engine))
        return replace(found, due=due_by_period(engine, aged_by_period(found)))
    if not found.periods:
        return found
    execute(engine, due_metadata(found))
    if engine.fetchone(has_later_metadata()):
        execute(engine, [without_later_metadata(found)])
    due = due_by_period(engine, periods_of_due_metadata())
    copies = column_of(engine, periods_with_copies(found, min(one.first for one in due))) if due else []
    return replace(found, due=due, copies=tuple(sorted(copies)))


def age_reference(found, engine):  # type: ignore[no-untyped-def]
    """The moment (epoch seconds) from which age is counted, for what leaves a mart and for what raw forgets.

    LEAST(MAX(update_time), end of the interval): one future-dated row must not archive the mart. Nor that end by
    itself: one cycle under a clock that is ahead must not age everything. While there is no status nothing has aged
    (0). The newest is looked for in the last day first, so that the rest of the mart is not read.
    """
    newest = sql_from_template("SELECT MAX(update_time) FROM uti", {"uti": found.anchor})
    recent = newest.copy().where(exp.column("update_time") >= found.end - DAY)
    (moment,) = engine.fetchone(recent)
    if moment is None:
        (moment,) = engine.fetchone(newest)
    return 0 if moment is None else min(int(moment), found.end)


def cutoff_that_never_moves_back(found, engine):  # type: ignore[no-untyped-def]
    """The cutoff, or the moment behind the newest row that this interval has archived, if that is later.

    Where `retention_months` was raised it would move back. Then this batch, or an evaluation that died before its trim,
    may have the same rows in the mart: they have aged once and leave again.
    """
    reach = [period for period in found.periods if period_bounds(period)[1] > found.cutoff]
    if not reach or not found.cutoff:
        return found.cutoff
    time = found.mart.event_time
    archived = every_period(found.mart.alias, reach, [time, "archived_at"]).subquery("archived")
    newest = exp.select(exp.func("MAX", exp.column(time, "archived"))).from_(archived)
    newest = newest.where(
        exp.column(time, "archived") >= found.cutoff, exp.column("archived_at", "archived") > timestamp(found.start)
    )
    (moment,) = engine.fetchone(newest)
    return found.cutoff if moment is None else int(moment) + 1


def due_by_period(engine, query):  # type: ignore[no-untyped-def]
    """What is due, by half-year; of a query of period, oldest and newest event time, and rows."""
    rows = engine.fetchall(query) if query is not None else []
    return tuple(
        Due(period=str(period), first=int(first), until=int(last) + 1, rows=int(count))
        for period, first, last, count in sorted(rows)
    )


def column_of(engine, query):  # type: ignore[no-untyped-def]
    """The values of a query of one column, as texts."""
    return [str(value) for (value,) in engine.fetchall(query)]
