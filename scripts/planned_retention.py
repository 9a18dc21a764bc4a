"""What the next cycle would archive, check, trim and forget: the statements of retention, with counts; none is run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from extract.clock import utc
from extract.tables import project_variables
from macros.due import Retention
from macros.marts import anchor, marts
from macros.periods import QUARTER_HOUR, quarter_hour_of
from macros.retention import read_retention
from macros.steps import steps_by_name
from scripts.reading import nothing_yet


@dataclass(frozen=True)
class PlannedRetention:
    """What one mart's retention has found, and each of its steps with the statements that it would run, as text."""

    found: Retention
    steps: Sequence[tuple[str, Sequence[str]]]


def planned_retention(context: Any, now: int) -> Iterator[PlannedRetention]:
    """The retention of each mart as a cycle at `now` (epoch seconds) would run it, if it brought a status of then.

    `context` is SQLMesh's. It reads, and makes temporary tables; nothing that lasts is changed. Other rows that the
    cycle would land are not there yet. Raises ConfigurationError before the first plan.
    """
    environment = context.state_reader.get_environment("prod")
    snapshots = context.state_reader.get_snapshots(environment.snapshots).values() if environment else []
    planned = {snapshot.model.name: snapshot for snapshot in snapshots if snapshot.is_model}
    if any(mart.name not in planned for mart in marts()):
        raise nothing_yet("There are no marts yet, so nothing leaves them")
    variables = project_variables()
    engine = context.engine_adapter
    tables = {mart.alias: planned[mart.name].table_name() for mart in marts()}
    end = quarter_hour_of(now)
    cutoff = 0
    for mart in marts():
        snapshot = planned[mart.name]
        reached = snapshot.intervals[-1][1] // 1000 if snapshot.intervals else end
        found = read_retention(
            engine,
            snapshot.model,
            table=tables[mart.alias],
            uti_table=tables["uti"],
            start=min(reached, end) - QUARTER_HOUR,
            end=max(reached, end),
            history_start=str(variables["history_start"]),
            retention_months=int(variables["retention_months"]),
            raw_retention_days=int(variables["raw_retention_days"]),
            reference=max(reached, end),
            leaving_before=cutoff if mart.follows_anchor else 0,
        )
        if mart == anchor():
            cutoff = found.cutoff
        (call,) = snapshot.model.post_statements
        steps = [
            (name, [each.sql(dialect=engine.dialect, pretty=True) for each in steps_by_name()[name](found)])
            for name in (step.name for step in call.this.expressions)
        ]
        yield PlannedRetention(found, steps)


def report(planned: PlannedRetention) -> Iterator[str]:
    """The lines that say what leaves one mart, and the statements of each step."""
    found = planned.found
    cutoff = utc(found.cutoff)
    yield f"-- {found.mart.name}: {sum(due.rows for due in found.due):,} rows leave"
    if not found.mart.follows_anchor:
        yield f"--   older than {cutoff:%Y-%m-%d %H:%M:%S} UTC, {found.mart.event_time} < {found.cutoff}"
    for due in found.due:
        where = due.period if due.period in found.periods else f"nowhere: history begins with {found.history_start}"
        yield f"--   {due.rows:,} rows of {due.period} to {where}"
    for name, statements in planned.steps:
        yield f"\n-- {name}{'' if statements else ': nothing to do'}"
        for sql in statements:
            yield f"{sql};"
    yield ""
