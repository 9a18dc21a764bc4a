"""What `alert --overdue` tells: that no cycle ends any more, and, as cycles do too, what they leave undone."""

from __future__ import annotations

import datetime as dt

from extract.clock import Clock, moment_of
from extract.errors import ConfigurationError, LockHeld, WarehouseError, in_words
from extract.tables import load_config
from scripts.alerts import remembered, send_alerts
from scripts.cycle_log import LOCKED, OVERDUE, LoggedCycle, kept_rows, with_kept
from scripts.display import in_time
from scripts.news import LAST_END, SILENCE, cycles_before, moment_in, news_of_silence, news_of_what_is_left
from scripts.reading import warehouse_to_read
from scripts.status import Status, left_undone, read_status


def tell_overdue(gateway: str, clock: Clock) -> tuple[str, list[str]]:
    """Alerts once if no cycle has ended for three quarter-hours, and once of each thing that cycles leave undone.

    Gives what is known, in sentences, and a warning for each URL that was not reached. Raises ConfigurationError if
    nothing is known of any cycle, or LockHeld if that is because another process holds the DuckDB file.
    """
    at = moment_of(clock.now())
    before, status, fault = _known(gateway, clock)
    with remembered(gateway) as memory:
        ends = [each.ended_at for each in before if each.counts] + _last_end(memory.get(LAST_END), at)
        locked = [each for each in before if each.outcome == LOCKED]
        if isinstance(fault, LockHeld) and not ends and not locked:
            raise fault
        if not ends and not locked:
            why = f"The warehouse cannot be read: {in_words(fault)}" if fault else "Run a cycle first, or ask again."
            raise ConfigurationError(
                f"No cycle is known yet that was not interrupted; nothing was told. {why}"
            ) from fault
        alerts = []
        found = news_of_silence(ends, locked, at)
        if found and memory.get(SILENCE) != str(found[0]):
            memory[SILENCE] = str(found[0])
            alerts.append(found[1])
        if status is not None:
            alerts += news_of_what_is_left(memory, status)
    said = [*([found[1].body] if found else []), *(left_undone(status).values() if status else ())]
    fine = f"No alert is due: a cycle has ended, or was locked out, within {in_time(OVERDUE)}."
    return "\n".join(said) or fine, send_alerts(gateway, alerts)


def _known(gateway: str, clock: Clock) -> tuple[list[LoggedCycle], Status | None, Exception | None]:
    """The last cycles, and how things stand; of the kept rows alone if the warehouse cannot be read, and why."""
    kept, at = kept_rows(gateway), moment_of(clock.now())
    try:
        with warehouse_to_read(gateway) as warehouse:
            before = cycles_before(warehouse, at, kept)
            return before, read_status(warehouse, load_config(), clock, kept), None
    except (ConfigurationError, LockHeld, WarehouseError) as error:
        return with_kept([], kept, at), None, error


def _last_end(remembered_end: object, at: dt.datetime) -> list[dt.datetime]:
    end = moment_in(remembered_end)
    return [end] if end is not None and end <= at else []
