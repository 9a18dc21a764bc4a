"""One cycle: lock, the first time a plan, extract (and reconcile), `sqlmesh run`; one summary line per phase."""

from __future__ import annotations

import datetime as dt
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from extract.clock import QUARTER_HOUR, Clock
from extract.config import PROJECT, Table, load_config
from extract.ensure_tables import ensure_tables, look_before_plan
from extract.errors import ConfigurationError, CycleFailed, WarehouseError, in_words, with_first
from extract.landing import refuse_to_run_ahead
from extract.lock import assert_lock_held, run_lock
from extract.ownership import is_view_of_sqlmesh, project_models, refuse_foreign
from extract.run import TableRun, extract
from extract.source import open_source
from extract.warehouse import Standing, Warehouse, open_warehouse
from scripts.command import configured_source
from scripts.cycle_console import CycleConsole
from scripts.sqlmesh_session import sqlmesh_session
from scripts.statement_times import Statement, rows_moved, rows_written, slowest, timed_statements

Report = Callable[[str], None]

WARNED_SHARE = 0.5
"""A cycle that takes more of the 15 minutes than this warns: one that takes all of them falls behind."""


@dataclass
class Phase:
    """One phase of a cycle: what it is called, what it did, how long it took."""

    name: str
    told: str
    seconds: float


@dataclass
class Cycle:
    """What a cycle did."""

    at: dt.datetime
    phases: list[Phase] = field(default_factory=list)
    extracted: list[TableRun] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return sum(phase.seconds for phase in self.phases)

    def add(self, phase: Phase, report: Report | None) -> None:
        """Enters a phase that has ended, and tells it."""
        self.phases.append(phase)
        if report:
            report(f"{phase.name:<10} {phase.seconds:6.1f} s  {phase.told}".rstrip())


def run_cycle(
    *,
    at: dt.datetime | None = None,
    source: str | None = None,
    gateway: str = "local",
    reconcile_since: dt.datetime | None = None,
    project: Path = PROJECT,
    report: Report | None = None,
    progress: Any = None,
) -> Cycle:
    """Runs one cycle for the moment `at` (default: now) and tells each phase to `report`.

    Args:
        source: The source's URL; default ORDER_TRACKING_SOURCE.
        reconcile_since: Also compare the source with the warehouse from this event time on.

    Raises LockHeld, ConfigurationError, SourceError, ExtractFailed, WarehouseError or CycleFailed; whatever it was,
    nothing is lost and running again is safe.
    """
    url = configured_source(source, gateway)
    clock = Clock(at)
    config = load_config(project)
    cycle = Cycle(clock.now_utc())
    with run_lock(gateway), timed_statements(gateway) as cycle.statements:
        with closing(open_source(url)) as rows, closing(open_warehouse(gateway)) as warehouse:
            held, foreign = look_before_plan(warehouse, config.tables, project=project)
            if not marts_stand(held, config.tables):  # a plan is to come, and nothing is made before it is sure to pass
                refuse_foreign(foreign)
            with sqlmesh_session(gateway, project) as (context, console):
                reached = _reached(context, console, project)
                ensure_tables(warehouse, config, clock.now(), held)
                if not reached:
                    refuse_foreign(foreign)
                    refuse_to_run_ahead(clock, rows.clock())
                    with _phase(cycle, "plan", report) as phase:
                        _first_plan(context, console, clock)
                        phase.told = "made the marts"
                    reached = _reached(context, console, project)
                _refuse_behind_the_marts(reached, clock)
                refuse_without_the_marts(warehouse, [table.mart.name for table in config.tables])
            with _phase(cycle, "extract", report) as phase:
                cycle.extracted = extract(rows, warehouse, config, clock, progress=progress)
                phase.told = _told(cycle.extracted)
            if reconcile_since is not None:
                with _phase(cycle, "reconcile", report) as phase:
                    since = Clock(reconcile_since).now()
                    runs = extract(rows, warehouse, config, clock, since=since, kind="reconcile", progress=progress)
                    phase.told = _told(runs)
            # The warehouse stays open: DuckDB writes its file anew where the last connection to it is closed.
            with _phase(cycle, "marts", report) as phase, sqlmesh_session(gateway, project) as (context, console):
                assert_lock_held(gateway)
                before = len(cycle.statements)
                _run(context, console, clock, reached)
                cycle.warnings = [*console.warnings, *(f"{each}; the next plan will be refused" for each in foreign)]
                phase.told = _told_of_models(console.seconds, cycle.statements[before:])
            done = time.monotonic()
        cycle.add(Phase("close", "", time.monotonic() - done), report)
    share = cycle.seconds / QUARTER_HOUR
    if share > WARNED_SHARE:
        cycle.warnings.append(
            f"this cycle took {share:.0%} of the 15 minutes; what took longest is named above "
            "(docs/operations.md, 'A cycle is slow')"
        )
    if report:
        if told := slowest(cycle.statements):
            report(f"{'slowest':<10} {'':8}  {told}")
        report(f"{'total':<10} {cycle.seconds:6.1f} s  {share:.1%} of the 15 minutes")
        for warning in cycle.warnings:
            report(f"warning: {warning}")
    return cycle


@contextmanager
def _phase(cycle: Cycle, name: str, report: Report | None) -> Iterator[Phase]:
    phase = Phase(name, "", 0.0)
    started = time.monotonic()
    yield phase
    phase.seconds = time.monotonic() - started
    cycle.add(phase, report)


def _told(runs: list[TableRun]) -> str:
    read = sum(run.landed.rows_read for run in runs)
    landed = sum(run.landed.rows_landed for run in runs)
    rejected = sum(run.landed.rows_rejected for run in runs)
    tables = ", ".join(f"{run.table} {run.landed.rows_landed:,}" for run in runs)
    return f"{read:,} rows read, {landed:,} landed ({tables}), {rejected:,} rejected"


def _told_of_models(seconds: dict[str, float], statements: list[Statement]) -> str:
    """Each model with its seconds and what it moved."""
    told = []
    written = rows_written(statements)
    for model, took in seconds.items():
        rows = rows_moved(written, model)
        told.append(f"{model} {took:.1f} s ({rows})" if rows else f"{model} {took:.1f} s")
    return ", ".join(told) or "nothing is due before the next quarter-hour"


def _reached(context: Any, console: CycleConsole, project: Path = PROJECT) -> list[dt.datetime]:
    """The moments that production's models have reached; the epoch for one of which no interval is known.

    Empty before the first plan, or where that was broken off: it is made again. CycleFailed where a later one was.
    """
    state = context.state_reader
    try:
        environment = state.get_environment("prod")
        snapshots = state.get_snapshots(environment.snapshots).values() if environment else []
    except Exception as error:
        raise CycleFailed(_failure("SQLMesh's state cannot be read", console, error)) from error
    refuse_environment_of_others(environment, project)
    if not production_stands(environment):
        return []
    if not environment.finalized_ts:
        raise CycleFailed(
            "A plan has begun to change production and did not end; nothing was read. Where it is not running any "
            "more, plan again (make plan), which does what is left of it, and then run the cycle."
        )
    ends = [snapshot.intervals[-1][1] if snapshot.intervals else 0 for snapshot in snapshots]
    return [dt.datetime.fromtimestamp(end / 1000, dt.UTC) for end in ends]


def refuse_environment_of_others(environment: Any, project: Path = PROJECT) -> None:
    """ConfigurationError where the environment has models, and none of this project's.

    Another SQLMesh project keeps its state here: a plan would drop its views, and a cycle run its models.
    """
    snapshots = environment.snapshots if environment else []
    held = {".".join(snapshot.name.replace('"', "").lower().split(".")[-2:]) for snapshot in snapshots}
    if held and held.isdisjoint(project_models(project)):
        raise ConfigurationError(
            f"SQLMesh's state holds the environment {environment.name} of another SQLMesh project, with "
            f"{', '.join(sorted(held)[:3])} and others. Nothing was made or changed: a plan would drop that project's "
            "views. Give this project a state of its own: another file (ORDER_TRACKING_DUCKDB), or on Redshift another "
            "state database (STATE_DATABASE)."
        )


def production_stands(environment: Any) -> bool:
    """SQLMesh's environment prod was planned once, to the end."""
    return environment is not None and bool(environment.finalized_ts or environment.previous_finalized_snapshots)


def _refuse_behind_the_marts(reached: list[dt.datetime], clock: Clock) -> None:
    """ConfigurationError where a plan or a cycle has brought the marts further than what would land now."""
    furthest = max(reached)
    if furthest.timestamp() <= clock.now() // QUARTER_HOUR * QUARTER_HOUR:
        return
    raise ConfigurationError(
        f"It is {clock.now_utc():%Y-%m-%d %H:%M} UTC by --at or by this machine's clock, but a plan or a cycle has "
        f"worked for {furthest:%Y-%m-%d %H:%M} UTC already, and what lands behind "
        "that would never reach the marts; nothing was done. Give a later --at, or none, or set the clock; if it was "
        "wrong then, see docs/operations.md, 'A clock was ahead'."
    )


def marts_stand(held: Mapping[str, Standing], tables: Iterable[Table]) -> bool:
    """SQLMesh shows each mart under its name, so a plan was made and a cycle leaves all other names alone."""
    return all(
        table.mart.name in held and is_view_of_sqlmesh(held[table.mart.name], table.mart.name) for table in tables
    )


def refuse_without_the_marts(warehouse: Warehouse, marts: list[str]) -> None:
    """CycleFailed where a mart is gone that SQLMesh takes for filled: it would make it anew, of the last rows alone."""
    try:
        warehouse.fetchall(" UNION ALL ".join(f"SELECT order_id FROM {mart} WHERE 1 = 0" for mart in marts))
    except WarehouseError as error:
        raise CycleFailed(
            f"A mart cannot be read: {error} Nothing was landed, for SQLMesh would make a mart that is gone anew, of "
            "the last rows alone; see docs/operations.md, 'A mart is gone'."
        ) from error


def _first_plan(context: Any, console: CycleConsole, clock: Clock) -> None:
    """Makes the empty marts, as of one quarter-hour ago: what is landed next is then an ordinary batch."""
    before = clock.now() // QUARTER_HOUR * QUARTER_HOUR - QUARTER_HOUR
    try:
        context.plan(
            execution_time=dt.datetime.fromtimestamp(before, dt.UTC),
            auto_apply=True,
            no_prompts=True,
            skip_tests=True,  # the unit tests judge a change, and this is none
        )
    except Exception as error:
        raise CycleFailed(_failure("The first plan failed", console, error)) from error


def _run(context: Any, console: CycleConsole, clock: Clock, reached: list[dt.datetime]) -> None:
    """`sqlmesh run`, from a day before what all models have `reached`: SQLMesh need not count the years before it."""
    from sqlmesh.core.context import CompletionStatus

    now = clock.now_utc()
    run = type(context).run.__wrapped__  # inside the wrapper that counts calls, for which IPython would be loaded
    try:
        status = run(
            context,
            start=min(*reached, now) - dt.timedelta(days=1),
            end=now,
            execution_time=now,
            skip_janitor=True,
        )
    except Exception as error:
        raise CycleFailed(_failure("sqlmesh run failed", console, error)) from error
    if status == CompletionStatus.FAILURE:
        raise CycleFailed(_failure("sqlmesh run failed", console, None))


def _failure(step: str, console: CycleConsole, error: BaseException | None) -> str:
    told = [text.strip() for text in console.errors if text.strip()]
    if error and not any(in_words(error) in text for text in told):
        told.append(with_first(error))
    cause = "; ".join(told) or "SQLMesh did not say why"
    return (
        f"{step}: {cause}. What landed stays in raw, and the interval counts as not done: run the cycle "
        "again once the cause is mended."
    )


if __name__ == "__main__":
    from scripts.cli import main

    raise SystemExit(main(["cycle", *sys.argv[1:]]))
