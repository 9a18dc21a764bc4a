"""What a cycle must tell somebody: each change once, from the logs and the exceptions.

A cycle that fails is told if the one before ended well; so is the first that ends well again. Findings are told by the
first cycle that ends well after they were opened or closed. A silent source is told by the first cycle that notices it,
and so is what cycles leave undone although they end well.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from extract.clock import Clock, epoch_of
from extract.errors import ConfigurationError, LockHeld, WarehouseError, in_words
from extract.tables import load_config
from extract.warehouse import Warehouse
from macros.marts import EXCEPTIONS
from macros.sql import sql_from_template, timestamp
from scripts.alerts import Alert, Memory, alert_urls, remembered, send_alerts
from scripts.cycle import Cycle
from scripts.cycle_log import (
    DONE,
    FAILED,
    LOCKED,
    OVERDUE,
    LoggedCycle,
    first_and_last_done,
    kept_rows,
    logged_cycles,
    outcome_of,
    with_kept,
)
from scripts.display import in_time, plural
from scripts.reading import warehouse_to_read
from scripts.status import CHECKS, Status, left_undone, read_status

EXAMPLES = 10
"""So many findings are named in one alert."""

SILENT_TABLES = "silent tables"
"""Where the tables are remembered of whose silence somebody has been told."""

FINDINGS_UNTIL = "findings told until"
"""Where the cycle is remembered that told findings last: one that could not read them leaves them to the next."""

SILENCE, FAILING, UNDONE = "silence", "failing", "left undone"
"""Where it is remembered what has been told: since when no cycle ended; when the last one failed of those that fail one
after another; what cycles leave undone."""

A_DAY = dt.timedelta(days=1)

LAST_END = "last end"
"""Where it is remembered when a cycle last ended: while the next one holds a DuckDB file, its log cannot be read."""

LONG_AGO = dt.datetime(1970, 1, 1)


@dataclass(frozen=True)
class Findings:
    """What was opened and what was closed since a cycle: counts by check, and lines of examples."""

    opened: dict[str, int] = field(default_factory=dict)
    closed: dict[str, int] = field(default_factory=dict)
    examples: tuple[str, ...] = ()


# What is read


def cycles_before(warehouse: Warehouse, at: dt.datetime, kept: Sequence[dict[str, Any]]) -> list[LoggedCycle]:
    """The last cycle that ended well until `at` (UTC, no zone) and all since, the oldest first. kept: `kept_rows`."""
    _, last_done = first_and_last_done(warehouse, at)
    return logged_cycles(warehouse, last_done or LONG_AGO, at, kept)


def findings_since(warehouse: Warehouse, since: dt.datetime, at: dt.datetime) -> Findings:
    """What was opened and is open, and what was closed, after one moment and until another (UTC, no zone)."""
    rows = warehouse.fetchall(
        sql_from_template(
            f"""
            SELECT check_name, closed, order_id, detail, first_seen_at, resolution, found, place FROM (
              SELECT check_name, closed, order_id, detail, first_seen_at, resolution,
                COUNT(*) OVER (PARTITION BY check_name, closed) AS found,
                ROW_NUMBER() OVER (PARTITION BY check_name, closed ORDER BY first_seen_at, order_id, detail) AS place
              FROM (
                SELECT check_name, order_id, detail, first_seen_at, resolution,
                  CASE WHEN resolved_at IS NULL THEN 0 ELSE 1 END AS closed
                FROM exceptions
                WHERE (resolved_at IS NULL AND first_seen_at > :since AND first_seen_at <= :at)
                  OR (resolved_at > :since AND resolved_at <= :at AND first_seen_at <= :since)
              ) AS changed
            ) AS numbered
            WHERE place <= {EXAMPLES} ORDER BY closed, check_name, place
            """,
            {"exceptions": EXCEPTIONS},
            since=timestamp(epoch_of(since)),
            at=timestamp(epoch_of(at)),
        )
    )
    counts: list[dict[str, int]] = [{}, {}]
    for check, closed, *_, count, _ in rows:
        counts[int(closed)][str(check)] = int(count)
    kinds = len(counts[0]) + len(counts[1])
    share = max(1, EXAMPLES // kinds) if kinds else 0
    lines = findings_lines([row for row in rows if row[-1] <= share][:EXAMPLES])
    return Findings(counts[0], counts[1], tuple(lines))


def findings_lines(rows: Sequence[tuple[Any, ...]]) -> list[str]:
    """A line an example; of rows of check, closed, order, detail, first_seen_at and resolution."""
    return [
        f"{'closed' if closed else 'opened'}: {check}, {'no order' if order is None else f'order {order}'}, since "
        f"{first_seen:%Y-%m-%d %H:%M}: {detail}{f' ({resolution})' if closed else ''}"
        for check, closed, order, detail, first_seen, resolution, *_ in rows
    ]


# What is told


def news_of_cycle(
    before: Sequence[LoggedCycle],
    cycle: LoggedCycle,
    findings: Findings | None,
    stale: Sequence[str],
    *,
    failing: str | None = None,
    silent: str | None = None,
) -> list[Alert]:
    """What has changed with a cycle.

    Args:
        before: The last cycle that ended well, and those since.
        findings: What was opened and closed since that one, if this one ended well.
        stale: A line for each table of the source that has just fallen silent.
        failing: When the last cycle failed of those of which the first has been told.
        silent: Since when no cycle has ended, if that has been told.
    """
    counted = [each for each in before if each.counts]
    broken = [each for each in counted if each.outcome != DONE]
    last_good = next((each for each in reversed(counted) if each.outcome == DONE), None)
    if last_good is not None:
        broken = [
            each for each in broken if (each.cycle_at, each.started_at) > (last_good.cycle_at, last_good.started_at)
        ]
    news = []
    if not cycle.counts:
        pass
    elif cycle.outcome != DONE:
        last = moment_in(failing)
        if last is None or cycle.cycle_at - last > A_DAY:  # or what was told of another warehouse would hide it
            news.append(_begins_to_fail(cycle, last_good))
    elif broken:
        news.append(_recovered(cycle, broken))
    elif since := moment_in(silent):
        news.append(_runs_again(cycle, since, before))
    elif last_good is not None and cycle.cycle_at - last_good.ended_at > OVERDUE:
        news.append(_runs_again(cycle, last_good.ended_at, before))
    if findings is not None and (findings.opened or findings.closed):
        news.append(_findings(findings))
    if stale:
        body = [*stale, "What it means: docs/source.md, 'When the source is silent'. It is told once."]
        news.append(Alert("the source is silent", "\n".join(body)))
    return news


def news_of_silence(
    ends: Sequence[dt.datetime], locked: Sequence[LoggedCycle], at: dt.datetime
) -> tuple[dt.datetime, Alert] | None:
    """That no cycle has ended for three quarter-hours, and since when; None if one has.

    Args:
        ends: When cycles ended that were not interrupted.
        locked: Those that found the lock held; at least one where no other has ended.
    """
    since = max(ends) if ends else locked[0].cycle_at
    if at - since <= OVERDUE:
        return None
    later = [each for each in locked if each.cycle_at > since] if ends else locked
    why = (
        f"{plural(len(later), 'cycle')} found the lock held since then: find the command that holds it, and end it if "
        "it hangs; the lock goes with it. A first load may just take long."
        if later
        else "None was started, or each was killed: look at cron and at the machine. Then run: order-tracking cycle."
    )
    body = f"No cycle has ended since {_utc(since)}, {in_time(at - since)} ago. {why} Nothing is lost. {CODES}"
    return since, Alert(f"no cycle for {in_time(at - since)}", body)


CODES = "More: docs/operations.md, 'Exit codes of a cycle'."

NO_RECONCILE = (
    "Only a reconcile is not made up for: if one was missed, the next one does it, or at once order-tracking cycle "
    "--reconcile."
)
"""An ordinary cycle does what those before it did not, but it does not compare 35 days with the source."""


def _begins_to_fail(cycle: LoggedCycle, last_good: LoggedCycle | None) -> Alert:
    said = "failed" if cycle.outcome == FAILED else "was refused"
    good = (
        "No earlier one is known that ended well."
        if last_good is None
        else f"The last one that ended well: {_utc(last_good.cycle_at)}."
    )
    return Alert(
        f"a cycle {said}",
        f"The cycle of {_utc(cycle.cycle_at)} {said}: {cycle.error}\n{good} The message says what to do; the next "
        f"cycle does what this one did not. {NO_RECONCILE} No other alert follows until one ends well. {CODES}",
    )


def _recovered(cycle: LoggedCycle, broken: Sequence[LoggedCycle]) -> Alert:
    return Alert(
        "cycles end well again",
        f"The cycle of {_utc(cycle.cycle_at)} ended well. {plural(len(broken), 'cycle')} before it did not, since "
        f"{_utc(broken[0].cycle_at)}. The last of them said: {broken[-1].error}\nWhat they did not do is done. "
        f"{NO_RECONCILE}",
    )


def news_of_what_is_left(memory: Memory, status: Status) -> list[Alert]:
    """What cycles leave undone and nobody has been told yet; it is remembered as told."""
    told, undone = set(memory.get(UNDONE, [])), left_undone(status)
    not_asked = set() if status.ends_well else told - {CHECKS}  # is open still
    memory[UNDONE] = sorted(undone.keys() | not_asked)
    new = [line for what, line in undone.items() if what not in told]
    return [Alert("something is overdue", "\n".join([*new, "How all stands: order-tracking status"]))] if new else []


def _runs_again(cycle: LoggedCycle, since: dt.datetime, before: Sequence[LoggedCycle]) -> Alert:
    locked = sum(each.outcome == LOCKED for each in before)
    why = (
        f"{plural(locked, 'cycle')} found the lock held."
        if locked
        else "None was started, or each was killed: look at cron."
    )
    return Alert(
        "cycles run again",
        f"No cycle ended well from {_utc(since)} to {_utc(cycle.ended_at)}, {in_time(cycle.ended_at - since)}. "
        f"{why} Nothing is lost: this one did what was missed. "
        f"{NO_RECONCILE}",
    )


def _findings(findings: Findings) -> Alert:
    counts = {"opened": sum(findings.opened.values()), "closed": sum(findings.closed.values())}
    title = ", ".join(f"{count:,} {word}" for word, count in counts.items() if count)
    lines = [
        f"{word}: " + ", ".join(f"{check} {count:,}" for check, count in of_check.items())
        for word, of_check in (("Opened", findings.opened), ("Closed", findings.closed))
        if of_check
    ]
    more = sum(counts.values()) - len(findings.examples)
    rest = [f"… and {more:,} more"] if more else []
    what_to_do = "What each means and what to do: docs/operations.md, 'What the checks report'."
    listed = ["All that is open: order-tracking exceptions list"] if findings.opened else []
    return Alert(f"findings: {title}", "\n".join([*lines, *findings.examples, *rest, what_to_do, *listed]))


def _utc(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def moment_in(text: object) -> dt.datetime | None:
    """From a memory, which may have been broken off."""
    with suppress(TypeError, ValueError):
        return dt.datetime.fromisoformat(str(text))
    return None


# Who tells it


class CycleNews:
    """What one cycle must tell: read before its own row is logged, and sent when it has ended."""

    def __init__(self, cycle: Cycle):
        self._cycle = cycle
        self._began = time.monotonic()
        self._at = cycle.at.replace(tzinfo=None)
        self._before: list[LoggedCycle] | None = None
        self._findings: Findings | None = None
        self._status: Status | None = None
        self._silent: list[str] | None = None
        """The tables that are silent; None if this cycle does not know."""
        self._fallen_silent: list[str] = []
        """A line for each of them that no cycle has told."""

    def notice_silence(self, stale: Mapping[str, str]) -> list[str]:
        """Takes a line for each table that is silent; gives those that no cycle has told."""
        with remembered(self._cycle.gateway) as memory:
            told = memory.get(SILENT_TABLES, [])
        self._silent = sorted(stale)
        self._fallen_silent = [line for table, line in stale.items() if table not in told]
        return self._fallen_silent

    def read(self, warehouse: Warehouse, error: BaseException | None) -> None:
        """Reads what was before the cycle that ends and, if it ends well, which findings are new."""
        if not alert_urls():
            return
        if error is not None:
            with suppress(Exception):  # there may be no log yet; then the kept rows will do
                self._before = cycles_before(warehouse, self._at, kept_rows(self._cycle.gateway))
            return
        with self._cycle.as_warning("what the alerts are about could not be read"):
            self._before = cycles_before(warehouse, self._at, kept_rows(self._cycle.gateway))
            self._findings = findings_since(warehouse, self._told_until(), self._at)
            self._status = read_status(warehouse, load_config(), Clock(self._cycle.at), kept_rows(self._cycle.gateway))

    def _told_until(self) -> dt.datetime:
        """The cycle that told findings last, or the last that ended well if that is not known."""
        with remembered(self._cycle.gateway) as memory:
            until = moment_in(memory.get(FINDINGS_UNTIL))
        return until if until is not None and until <= self._at else last_good_of(self._before or [])

    def send(self, error: BaseException | None) -> None:
        """Sends what has changed. A cycle that was locked out or interrupted tells nothing."""
        interrupted = error is not None and not isinstance(error, Exception)
        outcome = outcome_of(error)
        if interrupted or outcome == LOCKED:
            return
        with remembered(self._cycle.gateway) as memory:
            if self._silent is not None:
                memory[SILENT_TABLES] = self._silent
            failing, silent = memory.get(FAILING), memory.get(SILENCE)
            if outcome == DONE:
                memory.pop(FAILING, None)
                memory.pop(SILENCE, None)
        if not alert_urls():
            return
        with self._cycle.as_warning("the alerts of this cycle could not be sent"):
            if self._before is None:
                self._before, _ = known_before(self._cycle.gateway, self._at)
            words = None if error is None else " ".join(in_words(error).split())
            this = LoggedCycle(self._at, dt.datetime.max, outcome, words, seconds=time.monotonic() - self._began)
            news = news_of_cycle(
                self._before, this, self._findings, self._fallen_silent, failing=failing, silent=silent
            )
            with remembered(self._cycle.gateway) as memory:
                last = moment_in(memory.get(LAST_END))
                if outcome == DONE or last is None or this.ended_at > last:  # it may be refused for an --at of the past
                    memory[LAST_END] = str(this.ended_at)
                if outcome != DONE:
                    memory[FAILING] = str(max(filter(None, (moment_in(failing), this.ended_at))))
                if self._findings is not None:
                    memory[FINDINGS_UNTIL] = str(self._at)
                if self._status is not None:
                    news += news_of_what_is_left(memory, self._status)
            self._cycle.warnings += send_alerts(self._cycle.gateway, news, self._cycle.source)


def known_before(gateway: str, at: dt.datetime) -> tuple[list[LoggedCycle], Exception | None]:
    """The same as `cycles_before`, by a connection of its own.

    If the warehouse cannot be read, of the kept rows alone, and why it cannot.
    """
    kept = kept_rows(gateway)
    try:
        with warehouse_to_read(gateway) as warehouse:
            return cycles_before(warehouse, at, kept), None
    except (ConfigurationError, LockHeld, WarehouseError) as error:
        return with_kept([], kept, at), error


def last_good_of(before: Sequence[LoggedCycle]) -> dt.datetime:
    """The moment of the last cycle that ended well; long ago if none has."""
    return max((each.cycle_at for each in before if each.outcome == DONE), default=LONG_AGO)
