"""How things stand, from the logs and the exceptions alone: no mart is read. As `order-tracking status`."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from extract.clock import Clock, epoch_of, moment_of
from extract.ensure_tables import CYCLE_LOG, EXTRACT_LOG
from extract.errors import WarehouseError
from extract.freshness import Freshness, freshness
from extract.tables import EXTRACTED, ExtractConfig
from extract.warehouse import Warehouse
from macros.marts import EXCEPTIONS
from macros.periods import QUARTER_HOUR, period_bounds, period_of
from macros.sql import sql_from_template, timestamp
from scripts.cycle_log import (
    DONE,
    FAILED,
    LOCKED,
    OVERDUE,
    REFUSED,
    LoggedCycle,
    first_and_last_done,
    logged_cycles,
    with_kept,
)
from scripts.display import in_time
from scripts.open_exceptions import OpenLine, last_checks, open_lines
from scripts.reading import nothing_yet

DAY = dt.timedelta(days=1)
CHECKS = "checks"
RECONCILE_OVERDUE = 2 * DAY
"""A nightly reconcile that fails is done by the next; if that fails too, somebody must look."""

BLOCKS = 48
"""The last day as so many half-hours: they fit a terminal."""

MARK = {DONE: "█", "warned": "▓", REFUSED: "░", LOCKED: "░", FAILED: "!", "": "·"}
WORST_FIRST = (FAILED, REFUSED, "warned", LOCKED, DONE)


@dataclass(frozen=True)
class Status:
    """How things stand at a moment. Times are UTC, without a zone."""

    at: dt.datetime
    tables: dict[str, Freshness | None]
    """How old each table's newest row is, and may be; None if nothing is known of it."""
    day: list[LoggedCycle]
    """The cycles of the last 24 hours, the oldest first."""
    last: LoggedCycle | None
    """The last cycle that was not locked out."""
    first_done: dt.datetime | None
    last_done: dt.datetime | None
    """The moment of the first cycle that ended well, and when the last one did."""
    checked_at: dt.datetime | None
    findings: int | None
    """What the last checks found."""
    checks_due: dt.datetime | None
    open_by_check: dict[str, int]
    open_lines: list[OpenLine]
    """What is open, as `exceptions list` shows it."""
    opened_in_a_day: int
    landed_since: dt.datetime | None
    """When a table first landed; None if none has."""
    reconciled_at: dt.datetime | None
    wrong: list[str] = field(default_factory=list)

    @property
    def archived(self) -> Counter[str]:
        return sum((cycle.archived for cycle in self.day), Counter())

    @property
    def ends_well(self) -> bool:
        """A cycle has ended well within three quarter-hours."""
        return self.last_done is not None and self.at - self.last_done <= OVERDUE

    @property
    def blocks(self) -> str:
        """The last 24 hours, a mark each half-hour: the worst that happened in it."""
        worst = [""] * BLOCKS
        for cycle in self.day:
            block = BLOCKS - 1 - int((self.at - cycle.cycle_at) / (DAY / BLOCKS))
            kind = "warned" if cycle.outcome == DONE and cycle.warnings else cycle.outcome
            kinds = [each for each in WORST_FIRST if each in (kind, worst[block])]
            worst[block] = kinds[0] if kinds else ""
        return "".join(MARK[each] for each in worst)

    @property
    def next_cycle(self) -> dt.datetime:
        return _later(self.at, dt.timedelta(seconds=QUARTER_HOUR))

    @property
    def next_half_year(self) -> tuple[str, dt.datetime]:
        end = period_bounds(period_of(epoch_of(self.at)))[1]
        return period_of(end), moment_of(end)


def read_status(
    warehouse: Warehouse, config: ExtractConfig, clock: Clock, kept: Sequence[dict[str, Any]] = ()
) -> Status:
    """How things stand at the clock's moment.

    Args:
        kept: Rows of cycles that are not in the log yet (`kept_rows`).

    Raises ConfigurationError where there is no log of cycles yet.
    """
    try:
        return _read_status(warehouse, config, clock, kept)
    except WarehouseError as error:
        if CYCLE_LOG in warehouse.columns_of_schemas([CYCLE_LOG.split(".")[0]]):
            raise
        raise nothing_yet(f"There is no {CYCLE_LOG} yet, which a cycle makes") from error


def _read_status(warehouse: Warehouse, config: ExtractConfig, clock: Clock, kept: Sequence[dict[str, Any]]) -> Status:
    at = moment_of(clock.now())
    late = {each.table: each for each in freshness(warehouse, config, clock.now())}
    checked_at, findings = last_checks(warehouse, clock.now())
    first, last_done = first_and_last_done(warehouse, at)
    cycles = logged_cycles(warehouse, min(at - DAY, last_done or at), at, kept)
    open_by_check, opened = _open(warehouse, at)
    last_done = max((cycle.ended_at for cycle in cycles if cycle.outcome == DONE), default=None)
    due_from = checked_at or first
    landed_since, reconciled_at = _landed_and_reconciled(warehouse, clock.now())
    status = Status(
        at=at,
        tables={name: late.get(name) for name in EXTRACTED},
        day=[cycle for cycle in cycles if cycle.cycle_at > at - DAY],
        last=next((cycle for cycle in reversed(cycles) if cycle.outcome != LOCKED), None),
        first_done=first,
        last_done=last_done,
        checked_at=checked_at,
        findings=findings,
        checks_due=None if due_from is None else _later(due_from, DAY),
        open_by_check=open_by_check,
        open_lines=open_lines(warehouse),
        opened_in_a_day=opened,
        landed_since=landed_since,
        reconciled_at=reconciled_at,
    )
    return replace(status, wrong=_what_is_wrong(status))


def _what_is_wrong(status: Status) -> list[str]:
    wrong = []
    if status.last_done is None:
        wrong.append("No cycle has ended well yet.")
    elif not status.ends_well:
        wrong.append(f"No cycle has ended well for {in_time(status.at - status.last_done)}.")
    else:  # what no cycle has read is not the source's fault
        wrong += [each.in_words for each in status.tables.values() if each is not None and each.stale]
    if status.last and status.last.outcome != DONE:
        wrong.append(how_it_ended(status.last))
    wrong += left_undone(status).values()
    if count := sum(status.open_by_check.values()):
        are, them = ("s are", "them") if count > 1 else (" is", "it")
        wrong.append(f"{count:,} finding{are} open. To see {them}: order-tracking exceptions list")
    return wrong


def left_undone(status: Status) -> dict[str, str]:
    """What cycles have not done for too long, each with its sentence; some of it is asked only while they end well."""
    undone: dict[str, str] = {}
    if status.ends_well:
        undone |= _never_landed(status) | _reconcile_overdue(status)
    if status.checks_due and status.at > status.checks_due + OVERDUE:
        last = f"{status.checked_at:%Y-%m-%d %H:%M}" if status.checked_at else "never (after an update: make plan)"
        undone[CHECKS] = f"The checks were due at {status.checks_due:%Y-%m-%d %H:%M}. They last ran: {last}."
    return undone


def _never_landed(status: Status) -> dict[str, str]:
    """A table without a row a day after the first cycle: perhaps it is the wrong database."""
    if status.first_done is None or status.at - status.first_done <= DAY:
        return {}
    return {
        name: f"{name}: no row has ever landed, though cycles end well since {status.first_done:%Y-%m-%d %H:%M}. Is it "
        "the right database (ORDER_TRACKING_SOURCE)?"
        for name, late in status.tables.items()
        if late is None
    }


def _reconcile_overdue(status: Status) -> dict[str, str]:
    """Without a reconcile nobody knows what the buffer misses."""
    since = status.reconciled_at or status.landed_since
    if since is None or status.at - since <= RECONCILE_OVERDUE:
        return {}
    last = f"for {in_time(status.at - since)}" if status.reconciled_at else "yet"
    return {"reconcile": f"No reconcile has ended well {last}. It runs with: order-tracking cycle --reconcile"}


def how_it_ended(last: LoggedCycle) -> str:
    """How the last cycle ended that is known, in a sentence, with its cause."""
    said = {DONE: "ended well.", FAILED: "failed: ", LOCKED: "found the lock held: "}.get(last.outcome, "was refused: ")
    return f"The last cycle, of {last.cycle_at:%Y-%m-%d %H:%M}, {said}{last.error or ''}"


def last_of_kept(kept: Sequence[dict[str, Any]], at: dt.datetime) -> str | None:
    """How the last cycle ended that could not be logged, in a sentence: all there is where no warehouse can be read."""
    known = with_kept([], kept, at)
    return how_it_ended(known[-1]) if known else None


def _landed_and_reconciled(warehouse: Warehouse, now: int) -> tuple[dt.datetime | None, dt.datetime | None]:
    """When a table first landed, and when a reconcile last ended well for all tables; None if never, or not for one."""
    rows = warehouse.fetchall(
        sql_from_template(
            """
            SELECT MIN(finished_at), MAX(CASE WHEN kind = 'reconcile' THEN finished_at END) FROM log
            WHERE error IS NULL AND started_at <= :now GROUP BY table_name
            """,
            {"log": EXTRACT_LOG},
            now=timestamp(now),
        )
    )
    reconciled = [moment for _, moment in rows if moment is not None]
    return min((first for first, _ in rows), default=None), (
        min(reconciled) if len(reconciled) == len(EXTRACTED) else None
    )


def _open(warehouse: Warehouse, at: dt.datetime) -> tuple[dict[str, int], int]:
    """Check -> how many of its findings are open; and how many of all were opened within a day."""
    rows = warehouse.fetchall(
        sql_from_template(
            """
            SELECT check_name, COUNT(*), SUM(CASE WHEN first_seen_at > :yesterday THEN 1 ELSE 0 END)
            FROM exceptions WHERE resolved_at IS NULL GROUP BY check_name ORDER BY 2 DESC, 1
            """,
            {"exceptions": EXCEPTIONS},
            yesterday=timestamp(epoch_of(at - DAY)),
        )
    )
    return {check: count for check, count, _ in rows}, int(sum(opened for *_, opened in rows))


def _later(moment: dt.datetime, step: dt.timedelta) -> dt.datetime:
    """The next full step after a moment: the next quarter-hour, the next midnight."""
    seconds = int(step.total_seconds())
    return moment_of((epoch_of(moment) // seconds + 1) * seconds)
