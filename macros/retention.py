"""Retention of one mart: `@retention(clean, archive, check, trim, forget_raw)`, and what is read for it first.

What ages out of a mart moves to history by these steps, in this order. SQLMesh renders a model's post-statements before
it runs the first of them, so all reading comes first and is kept in one frozen object; each step (macros/steps.py) then
gives statements that SQLMesh runs and logs. What a statement needs of the batch's orders in large tables is gathered
in temporary tables while reading: found once, and so small that no engine takes it for the larger side of a join.
"""

from __future__ import annotations

import logging
import typing as t

from sqlglot import exp
from sqlmesh import macro
from sqlmesh.utils.errors import SQLMeshError

from macros.due import (
    DEPARTED,
    DUE_METADATA,
    RETURNED,
    Due,
    Evaluation,
    Retention,
    WithCutoff,
    aged_by_period,
    departed_orders,
    due_metadata,
    due_metadata_by_period,
    forgettable_rows,
    later_metadata,
    newest_archived,
    newest_status,
    oldest_of_batch,
    open_unrouted,
    periods_with_copies,
    range_of_asked_orders,
    returned_by_period,
    returned_orders,
    scratch,
    temporary,
    without_later_metadata,
)
from macros.marts import ECS, UTI, identity, mart_of
from macros.periods import half_open, months_before, period_bounds, periods_between
from macros.production import production_snapshot
from macros.sql import execute, union_all
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
        uti_table=evaluator.resolve_table(UTI),
        start=start,
        end=end,
        history_start=str(evaluator.var("history_start")),
        retention_months=int(evaluator.var("retention_months")),
        raw_retention_days=int(evaluator.var("raw_retention_days")),
    )
    archived = sum(due.rows for due in found.due if due.period in found.periods)
    if archived:  # by the statements that follow; where one fails, so does the cycle
        logging.getLogger("order_tracking.retention").info("archived %s rows of %s", archived, found.mart.alias)
    return [statement for step in steps for statement in known[step.name](found)]


def read_retention(
    engine: t.Any,
    model: t.Any,
    *,
    table: str,
    uti_table: str,
    start: int,
    end: int,
    history_start: str,
    retention_months: int,
    raw_retention_days: int,
    reference: int | None = None,
    leaving_before: int = 0,
) -> Retention:
    """Reads, and gathers in temporary tables, all that the steps need to know. Changes nothing that lasts.

    `table` and `uti_table` name the physical tables of the mart and of uti; `start` and `end` are the interval,
    half-open, in epoch seconds; `reference` is what age is counted from, if not from the newest status;
    `leaving_before` is uti's cutoff in a forecast, where uti has not been trimmed before metadata is looked at; the
    others are the variables of config.yaml.
    """
    mart = mart_of(model.name)
    evaluation = Evaluation(
        mart=mart,
        table=table,
        uti_table=uti_table,
        columns=dict(model.columns_to_types),
        identity=identity(mart, model.columns_to_types),
        start=start,
        end=end,
        history_start=history_start,
        raw_retention_days=raw_retention_days,
        leaving_before=leaving_before,
    )
    found = read_cutoff(evaluation, engine, retention_months, reference)
    follows = mart.follows_anchor and bool(found.periods)
    if follows:
        gather(engine, found, DEPARTED, departed_orders(found))
        gather(engine, found, DUE_METADATA, due_metadata(found))
    answers = ask(
        engine,
        oldest_of_batch(found),
        returned_by_period(found),
        None if mart.follows_anchor else aged_by_period(found),
        due_metadata_by_period(found) if follows else None,
        later_metadata(found) if follows else None,
        open_unrouted(found),
        forgettable_rows(found),
    )
    if rows_counted(answers, "later"):
        execute(engine, [without_later_metadata(found)])
        answers["due"] = ask(engine, due_metadata_by_period(found)).get("due", [])
    due = due_by_period(answers.get("due", []))
    returned = sorted(str(period) for period, *_ in answers.get("returned", []))
    if returned:
        gather(engine, found, RETURNED, returned_orders(found))
    copies: t.Iterable[t.Any] = ()
    if due and mart.follows_anchor:
        copies = engine.fetchall(periods_with_copies(found, min(one.first for one in due)))
    return Retention(
        **vars(found),
        returned_periods=tuple(returned),
        metadata_tables=(mart_of(ECS).raw, *([ECS] if returned and engine.table_exists(ECS) else [])),
        due=due,
        copy_periods=tuple(sorted(str(period) for (period,) in copies)),
        batch_begins=min((int(first) for _, first, *_ in answers["batch"] if first is not None), default=0),
        unrouted_is_open=rows_counted(answers, "unrouted") > 0,
        forgettable=rows_counted(answers, "raw"),
    )


def read_cutoff(evaluation: Evaluation, engine: t.Any, months: int, reference: int | None) -> WithCutoff:
    """The moment from which age is counted, for marts and raw, the cutoff, and the orders that history is asked for.

    Age is counted from LEAST(MAX(update_time), end of the interval): one future-dated row must not archive the mart.
    Nor that end by itself: one cycle under a clock that is ahead must not age everything. While there is no status
    nothing has aged (0). The newest is looked for in the last day first, so that the rest of the mart is not read.

    The cutoff never moves back. Where `retention_months` was raised it would, and then this batch, or an evaluation
    that died before its trim, may have the same rows in the mart: they have aged once and leave again. So it is the
    moment just after the newest row that this interval has archived, if that is later.
    """
    lately = evaluation.end - DAY
    # As if the newest status were a day old: the cutoff is no earlier.
    earliest = months_before(lately, months)
    answers = ask(
        engine,
        range_of_asked_orders(evaluation) if evaluation.mart.one_row_per_order else None,
        newest_status(evaluation, lately) if reference is None else None,
        newest_archived(evaluation, earliest, lately) if reference is None else None,
    )
    status, archived = newest(answers, "status"), newest(answers, "archived")
    if status is None:
        if reference is None:
            reference = counted_from(newest(ask(engine, newest_status(evaluation)), "status"), evaluation)
        looked = newest_archived(evaluation, months_before(reference, months), reference) if reference else None
        archived = newest(ask(engine, looked), "archived")
    else:
        reference = counted_from(status, evaluation)
    # Nothing that is archived is younger than the age reference, and its half-year has had tables since that landed.
    return WithCutoff(
        **vars(evaluation),
        age_reference=reference,
        cutoff=not_before(archived, months_before(reference, months)) if reference else 0,
        order_range=lowest_and_highest(answers, "orders"),
        periods=tuple(periods_between(period_bounds(evaluation.history_start)[0], reference)),
    )


def counted_from(moment: int | None, evaluation: Evaluation) -> int:
    """The newest status, or the interval's end if the status is dated after it; 0 while there is none."""
    return 0 if moment is None else min(int(moment), evaluation.end)


def not_before(archived: int | None, cutoff: int) -> int:
    """The cutoff, or the moment just after what was archived, if that is later."""
    return cutoff if archived is None else max(int(archived) + 1, cutoff)


def gather(engine: t.Any, evaluation: Evaluation, name: str, query: exp.Query) -> None:
    """Puts a query's rows in this evaluation's temporary table of that name.

    On DuckDB an evaluation may come again in one session: what broke off is not rolled back there.
    """
    drop, create = temporary(scratch(evaluation, name), query)
    execute(engine, [drop, create] if engine.dialect == "duckdb" else [create])


def ask(engine: t.Any, *questions: exp.Query | None) -> dict[str, list[t.Any]]:
    """Subject -> its answers (period, oldest and newest, rows), of several questions in one statement.

    None is no question.
    """
    answers: dict[str, list[t.Any]] = {}
    if asked := [question for question in questions if question is not None]:
        for subject, *row in engine.fetchall(union_all(asked)):
            answers.setdefault(str(subject), []).append(row)
    return answers


def newest(answers: dict[str, list[t.Any]], subject: str) -> int | None:
    """The newest event time that was found of a subject; None where there is none, or it was not asked for."""
    return max((int(row[2]) for row in answers.get(subject, []) if row[2] is not None), default=None)


def lowest_and_highest(answers: dict[str, list[t.Any]], subject: str) -> tuple[int, int] | None:
    """Both bounds that were found of a subject; None where there are none."""
    return next(((int(row[1]), int(row[2])) for row in answers.get(subject, []) if row[1] is not None), None)


def rows_counted(answers: dict[str, list[t.Any]], subject: str) -> int:
    """The rows that were counted of a subject; 0 where it was not asked for."""
    return sum(int(rows) for *_, rows in answers.get(subject, []))


def due_by_period(rows: list[t.Any]) -> tuple[Due, ...]:
    """What is due, by half-year; of answers."""
    return tuple(
        Due(period=str(period), first=int(first), until=int(last) + 1, rows=int(count))
        for period, first, last, count in sorted(rows)
    )
