"""How things stand in words, as the screen and the page both show it."""

from __future__ import annotations

import datetime as dt

from extract.clock import moment_of
from scripts.display import in_time, plural
from scripts.status import Status

LATENESS_HEADER = ("TABLE", "NEWEST EVENT", "LATE", "ALLOWED")


def verdict(status: Status) -> str:
    """FINE, or WRONG and how many things are."""
    return f"WRONG: {plural(len(status.wrong), 'thing')}" if status.wrong else "FINE"


HEAD, TAIL = 400, 200


def in_short(text: str) -> str:
    """A long error without its middle: it begins with what happened, and ends with what to do.

    Example:
        >>> short = in_short("begins " + "and goes on " * 100 + "and ends")
        >>> short[:10], short[-12:], len(short) <= HEAD + TAIL + 3
        ('begins and', ' on and ends', True)
    """
    return text if len(text) <= HEAD + TAIL + 3 else f"{text[:HEAD]} … {text[-TAIL:]}"


def lateness_rows(status: Status) -> list[tuple[str, str, str, str]]:
    """A row a table, under LATENESS_HEADER."""
    return [
        (name, "-", "-", "-")
        if each is None
        else (name, moment(moment_of(each.newest)), in_time(each.late), in_time(each.allowed))
        for name, each in status.tables.items()
    ]


def facts(status: Status) -> dict[str, str]:
    """What there is to say beside the verdict, each under its name."""
    opened = f"; {status.opened_in_a_day:,} of them opened in 24 hours" if status.opened_in_a_day else ""
    return {
        "last cycle": _last_cycle(status),
        "checks": f"last ran: {moment(status.checked_at)}"
        + ("" if status.findings is None else f", and found {status.findings:,}"),
        "open": (", ".join(f"{check} {rows:,}" for check, rows in status.open_by_check.items()) or "nothing") + opened,
        "reconcile": f"last ended well: {moment(status.reconciled_at)}",
        "archived": "in 24 hours: " + _archived(status),
        "next": f"cycle {status.next_cycle:%H:%M}; checks {moment(status.checks_due)}; half-year "
        f"{status.next_half_year[0]} on {status.next_half_year[1]:%Y-%m-%d}",
    }


def _archived(status: Status) -> str:
    rows = ", ".join(f"{alias} {count:,}" for alias, count in status.archived.items() if count)
    return f"{rows} (rows that two cycles looked at count twice)" if rows else "nothing"


def moment(at: dt.datetime | None) -> str:
    return "never" if at is None else f"{at:%Y-%m-%d %H:%M}"


def _last_cycle(status: Status) -> str:
    last = status.last
    if last is None:
        return "none is known"
    told = f"{last.cycle_at:%Y-%m-%d %H:%M}, {last.outcome} in {last.seconds:.1f} s"
    if last.error is None:
        told += f": {last.rows_landed:,} landed, {last.rows_archived:,} archived"
    warnings = last.warning_lines
    return told + (f", warnings: {len(warnings)}" if warnings else "")
