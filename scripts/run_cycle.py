"""One cycle: lock, the first time a plan, extract (and reconcile), `sqlmesh run`, the page; a summary line a phase."""

from __future__ import annotations

import datetime as dt
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from extract.clock import Clock, utc
from extract.compare import unequal_lines
from extract.ensure_tables import ensure_tables, look_before_plan
from extract.errors import (
    ConfigurationError,
    CycleFailed,
    ExtractFailed,
    LockHeld,
    SourceError,
    WarehouseError,
    in_words,
    with_first,
)
from extract.extract_log import Seen, log_state, refuse_to_run_ahead
from extract.freshness import stale_lines
from extract.lock import assert_lock_held, run_lock
from extract.ownership import refuse_foreign
from extract.run import TableRun, extract
from extract.settings import GATEWAYS, PROJECT, configured_source, share_warehouse_file, without_secrets
from extract.source import Source, open_source
from extract.tables import ExtractConfig, load_config
from extract.warehouse import Warehouse, open_warehouse
from macros.periods import QUARTER_HOUR, quarter_hour_of
from scripts.cycle import Cycle, Phase, Report, unheard
from scripts.cycle_console import CycleConsole
from scripts.cycle_log import CycleEntry
from scripts.guards import (
    production_stands,
    refuse_behind_the_marts,
    refuse_environment_of_others,
    refuse_half_a_plan,
    refuse_without_the_marts,
)
from scripts.news import CycleNews
from scripts.open_exceptions import with_findings
from scripts.page.after_cycle import page_place, write_page_at
from scripts.sqlmesh_session import bounded_waits, first_day, sqlmesh_session
from scripts.statement_times import TimedStatement, slowest

WARNED_SHARE = 0.5
"""A cycle that takes more of the 15 minutes than this warns: one that takes all of them falls behind."""


def run_cycle(
    *,
    at: dt.datetime | None = None,
    source: str | None = None,
    gateway: str = "local",
    reconcile_since: dt.datetime | None = None,
    allow_empty: bool = False,
    project: Path = PROJECT,
    report: Report | None = None,
    progress: Any = None,
    statements: list[TimedStatement] | None = None,
) -> Cycle:
    """Runs one cycle for the moment `at` (default: now) and tells each phase to `report`.

    Args:
        source: The source's URL; default ORDER_TRACKING_SOURCE.
        reconcile_since: Also compare the source with the warehouse from this event time on. If that fails the models
            run all the same, and the cycle fails at its end.
        allow_empty: A table of the source without a row is no error although rows of it have landed.
        statements: Takes what SQLMesh executes, also in a cycle that fails.

    Raises LockHeld, ConfigurationError, SourceError, ExtractFailed, WarehouseError or CycleFailed; whatever it was,
    nothing is lost and running again is safe.
    """
    clock = Clock(at)
    cycle = Cycle(clock.now_utc(), gateway=gateway, source=source, report=report or unheard)
    if statements is not None:
        cycle.statements = statements
    entry, news = CycleEntry(cycle), CycleNews(cycle)
    with _at_its_end(
        partial(_write_page, cycle, clock),
        partial(_warn_if_slow, cycle),
        news.send,
        entry.keep,
        partial(_write_page_of_failure, cycle, clock),
        partial(_tell_the_end, cycle),
    ):
        url = configured_source(source, gateway)
        share_warehouse_file(gateway)
        _run_phases(cycle, entry, news, clock, url, reconcile_since, allow_empty, project, progress)
    return cycle


def refuse_cycle(
    error: ConfigurationError, *, at: dt.datetime | None, gateway: str | None, source: str | None, report: Report
) -> NoReturn:
    """Logs and tells a cycle that cannot begin, because it is not known on which warehouse, and raises the error.

    It is kept for the gateway that is asked for; for `local` where there is none of that name.
    """
    named = gateway or os.environ.get("ORDER_TRACKING_GATEWAY")
    cycle = Cycle(
        Clock(at).now_utc(), gateway=named if named and named in GATEWAYS else "local", source=source, report=report
    )
    with _at_its_end(CycleNews(cycle).send, CycleEntry(cycle).keep, partial(_tell_the_end, cycle)):
        raise error


@contextmanager
def _at_its_end(*steps: Callable[[BaseException | None], None]) -> Iterator[None]:
    """When the work inside ends, the steps are taken one after another, with its error if it failed.

    None of them raises but when it is interrupted, and then the others are taken all the same. The error goes on as it
    came.
    """
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        _in_turn(steps, error)


def _in_turn(steps: Sequence[Callable[[BaseException | None], None]], error: BaseException | None) -> None:
    """Takes each step, whatever became of the one before."""
    if steps:
        try:
            steps[0](error)
        finally:
            _in_turn(steps[1:], error)


def _write_page(cycle: Cycle, clock: Clock, error: BaseException | None) -> None:
    """After a cycle that ended well, where STATUS_PAGE asks for one. Whoever interrupts it fails no cycle."""
    if error is not None:
        return
    if place := page_place(cycle.gateway):
        with _phase(cycle, "page") as phase:
            warnings = write_page_at(place, cycle.gateway, clock)
            phase.summary = "not written" if warnings else place
        cycle.warnings += warnings


def _warn_if_slow(cycle: Cycle, error: BaseException | None) -> None:
    """Of a cycle that ended well and took much of its 15 minutes; its page counts."""
    if error is None and (share := cycle.seconds / QUARTER_HOUR) > WARNED_SHARE:
        longest = max(cycle.phases, key=lambda phase: phase.seconds)
        cycle.warnings.append(
            f"this cycle took {share:.0%} of the 15 minutes, {longest.name} {longest.seconds:.0f} s of it "
            "(docs/recovery.md, 'A cycle is slow')"
        )


def _write_page_of_failure(cycle: Cycle, clock: Clock, error: BaseException | None) -> None:
    """The page says that the cycle failed. One that found the lock held writes none: the cycle that holds it does."""
    failed = isinstance(error, Exception) and not isinstance(error, LockHeld)
    if failed and (place := page_place(cycle.gateway)):
        cycle.warnings += write_page_at(place, cycle.gateway, clock)


def _tell_the_end(cycle: Cycle, error: BaseException | None) -> None:
    if error is None:
        if named := slowest(cycle.statements):
            cycle.report(f"{'slowest':<10} {'':8}  {named}")
        cycle.report(f"{'total':<10} {cycle.seconds:6.1f} s  {cycle.seconds / QUARTER_HOUR:.1%} of the 15 minutes")
    for warning in cycle.warnings:
        cycle.report(f"warning: {without_secrets(warning, cycle.source)}")


@dataclass(frozen=True)
class _Work:
    """What the phases of a cycle work on, all of it open."""

    cycle: Cycle
    clock: Clock
    project: Path
    config: ExtractConfig
    source: Source
    warehouse: Warehouse
    context: Any
    console: CycleConsole
    progress: Any
    allow_empty: bool

    def extract(self, **asked: Any) -> list[TableRun]:
        """Tables' changes, landed: of the ordinary window, or as `extract` is asked."""
        try:
            return extract(
                self.source,
                self.warehouse,
                self.config,
                self.clock,
                progress=self.progress,
                allow_empty=self.allow_empty,
                **asked,
            )
        except BaseException as error:
            self.cycle.warnings += getattr(error, "__notes__", [])
            raise

    @contextmanager
    def sqlmesh(self) -> Iterator[None]:
        """SQLMesh works inside: its statements are noted, and their waiting for locks is bounded."""
        with self.console.log.attached(), bounded_waits(self.context, self.cycle.gateway):
            yield


def _run_phases(
    cycle: Cycle,
    entry: CycleEntry,
    news: CycleNews,
    clock: Clock,
    url: str,
    reconcile_since: dt.datetime | None,
    allow_empty: bool,
    project: Path,
    progress: Any,
) -> None:
    """Opens what the phases work on, takes one after another, and closes it.

    A reconcile that fails is told at the end: the marts do not wait for it.
    """
    began, not_reconciled = time.monotonic(), None
    config = load_config(project)
    # The warehouse is closed last: DuckDB writes its file anew where the last connection to it is closed.
    with run_lock(cycle.gateway), closing(open_source(url, config.limits)) as source:
        refuse_to_run_ahead(clock, source.clock())  # before tables are made for half-years far ahead
        with (
            closing(open_warehouse(cycle.gateway)) as warehouse,
            _at_its_end(partial(news.read, warehouse), partial(entry.write, warehouse)),
        ):
            held, foreign = look_before_plan(warehouse, config.tables, project=project)
            refuse_foreign(foreign)
            source.check([table.source for table in config.tables])  # before columns are made that it does not have
            seen = log_state(warehouse, held)
            start = first_day(seen, clock.now())
            with sqlmesh_session(cycle.gateway, project, start) as (context, console):
                work = _Work(cycle, clock, project, config, source, warehouse, context, console, progress, allow_empty)
                console.log.statements = cycle.statements
                with console.log.attached():
                    reached = _reached(work)
                cycle.warnings += ensure_tables(warehouse, config, clock.now(), held)
                entry.log_stands = True
                cycle.add(Phase("start", "", time.monotonic() - began))
                if not reached:
                    reached = _plan_phase(work, start)
                refuse_behind_the_marts(reached, clock)
                refuse_without_the_marts(warehouse, [table.mart.name for table in config.tables])
                _extract_phase(work, seen, news)
                if reconcile_since is not None:
                    not_reconciled = _reconcile_phase(work, Clock(reconcile_since).now())
                _marts_phase(work, reached)
            if not_reconciled is not None:
                raise CycleFailed(
                    f"The reconcile failed: {in_words(not_reconciled)} | All else of the cycle is done, and the marts "
                    "are up to date; what only a reconcile finds waits for the next one."
                ) from not_reconciled
            done = time.monotonic()
        cycle.add(Phase("close", "", time.monotonic() - done))


def _plan_phase(work: _Work, start: str) -> list[dt.datetime]:
    """Makes the empty marts; gives what they have reached."""
    with _phase(work.cycle, "plan") as phase, work.sqlmesh():
        _first_plan(work)
        reached = _reached(work)
        phase.summary = f"made the marts; models start on {start}"
    return reached


def _extract_phase(work: _Work, seen: Mapping[str, Seen], news: CycleNews) -> None:
    """Lands what changed, and notices which tables are silent."""
    with _phase(work.cycle, "extract") as phase:
        runs = work.extract(seen=seen)
        phase.summary, phase.rows = _tables_summary(runs), _rows_of(runs)
    newest = {run.table: run.landed.newest for run in runs}
    stale = stale_lines(work.warehouse, work.config, work.clock.now(), newest)
    work.cycle.warnings += [
        *(warning for run in runs for warning in run.warnings),
        *map(_nothing_but_rejected, filter(_is_rejected, runs)),
        *news.notice_silence(stale),
    ]


def _is_rejected(run: TableRun) -> bool:
    """All that came of the table and had not come before could not be loaded."""
    return run.landed.newly_rejected > 0 and not run.landed.rows_landed


def _nothing_but_rejected(run: TableRun) -> str:
    return (
        f"{run.table}: {run.landed.newly_rejected:,} new rows could not be loaded, and none landed: "
        "order_tracking_raw.rejected_rows says why (docs/recovery.md, 'A row was rejected')"
    )


def _reconcile_phase(work: _Work, since: int) -> Exception | None:
    """Lands what differs since an event time (epoch seconds); gives the error if that fails."""
    with _phase(work.cycle, "reconcile") as phase:
        try:
            runs = work.extract(since=since, kind="reconcile", seen=log_state(work.warehouse))
        except (SourceError, WarehouseError, ExtractFailed) as error:
            phase.summary = "failed; the marts go on without it"
            return error
        phase.summary, phase.rows = _tables_summary(runs), _rows_of(runs)
    work.cycle.warnings += [line for run in runs for line in (*run.warnings, *unequal_lines(run.table, run.unequal))]
    return None


def _marts_phase(work: _Work, reached: list[dt.datetime]) -> None:
    """SQLMesh merges what landed into the marts; they archive, check and trim."""
    with _phase(work.cycle, "marts") as phase, work.sqlmesh():
        assert_lock_held(work.cycle.gateway)
        work.console.forget_models()
        _run(work, reached)
        phase.summary = work.console.models() or "nothing is due before the next quarter-hour"
        phase.rows = _rows_archived(work.console)
    work.cycle.warnings += with_findings(work.warehouse, work.console.warnings)


@contextmanager
def _phase(cycle: Cycle, name: str) -> Iterator[Phase]:
    phase = Phase(name, "", 0.0)
    started = time.monotonic()
    yield phase
    phase.seconds = time.monotonic() - started
    cycle.add(phase)


def _rows_of(runs: list[TableRun]) -> dict[str, int]:
    return {
        "read": sum(run.landed.rows_read for run in runs),
        "landed": sum(run.landed.rows_landed for run in runs),
        "rejected": sum(run.landed.rows_rejected for run in runs),
    }


def _rows_archived(console: CycleConsole) -> dict[str, int]:
    archived = console.log.archived
    return {"archived": sum(archived.values()), **{f"archived_{alias}": rows for alias, rows in archived.items()}}


def _tables_summary(runs: list[TableRun]) -> str:
    """The rows of all tables, and of each what landed and how long it took: who waits for the source waits there."""
    rows = _rows_of(runs)
    tables = ", ".join(f"{run.table} {run.landed.rows_landed:,} in {run.seconds:.1f} s" for run in runs)
    return f"{rows['read']:,} rows read, {rows['landed']:,} landed ({tables}), {rows['rejected']:,} rejected"


def _reached(work: _Work) -> list[dt.datetime]:
    """The moments that production's tables have reached; the epoch for one of which no interval is known.

    Views are left out. SQLMesh drops and makes one anew in each of its intervals, so those are years.

    Empty before the first plan, or where that was broken off: it is made again. CycleFailed where a later one was.
    """
    state = work.context.state_reader
    try:
        environment = state.get_environment("prod")
        snapshots = state.get_snapshots(environment.snapshots).values() if environment else []
    except Exception as error:
        raise CycleFailed(_failure("SQLMesh's state cannot be read", work.console, error, NOTHING_LANDED)) from error
    refuse_environment_of_others(environment, work.project)
    if not production_stands(environment):
        return []
    refuse_half_a_plan(environment)
    tables = [snapshot for snapshot in snapshots if not snapshot.model_kind_name.is_view]
    ends = [snapshot.intervals[-1][1] if snapshot.intervals else 0 for snapshot in tables]
    return [utc(end / 1000) for end in ends]


def _first_plan(work: _Work) -> None:
    """Makes the empty marts, as of one quarter-hour ago: what is landed next is then an ordinary batch."""
    before = quarter_hour_of(work.clock.now()) - QUARTER_HOUR
    try:
        work.context.plan(
            execution_time=utc(before),
            auto_apply=True,
            no_prompts=True,
            skip_tests=True,  # the unit tests judge a change, and this is none
        )
    except Exception as error:
        raise CycleFailed(_failure("The first plan failed", work.console, error, NOTHING_LANDED)) from error
    work.context.engine_adapter.close()  # the first load may take hours, and a connection that rests so long may be cut


def _run(work: _Work, reached: list[dt.datetime]) -> None:
    """`sqlmesh run`, from a day before what all models have `reached`: SQLMesh need not count the years before it."""
    from sqlmesh.core.context import CompletionStatus

    now = work.clock.now_utc()
    try:
        status = work.context.run(
            start=min(*reached, now) - dt.timedelta(days=1), end=now, execution_time=now, skip_janitor=True
        )
    except Exception as error:
        raise CycleFailed(_failure("sqlmesh run failed", work.console, error)) from error
    if status == CompletionStatus.FAILURE:
        raise CycleFailed(_failure("sqlmesh run failed", work.console, None))


NOTHING_LANDED = "Nothing was landed: run the cycle again once the cause is mended."
LANDED = "What landed stays in raw, and the interval counts as not done: run the cycle again once the cause is mended."


def _failure(step: str, console: CycleConsole, error: BaseException | None, state: str = LANDED) -> str:
    causes = [text.strip() for text in console.errors if text.strip()]
    if error and not any(in_words(error) in text for text in causes):
        causes.append(with_first(error))
    cause = "; ".join(causes) or "SQLMesh did not say why"
    return f"{step}: {cause}. {state}"


if __name__ == "__main__":
    from scripts.cli import main

    raise SystemExit(main(["cycle", *sys.argv[1:]]))
