"""`order-tracking status`"""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import click

from scripts.options import at_option, chosen_gateway, gateway_option

if TYPE_CHECKING:
    from scripts.status import Status

FINE, WRONG, CANNOT_SAY = 0, 1, 2

LINES = 5
"""So many findings fit the screen."""

STATUS_CODES = """
    \b
    Exit codes, for a monitor:
      0  fine
      1  something is wrong, and the first lines say what
      2  cannot say: no warehouse, no log of cycles yet, or a cycle holds the file
"""


@click.command(short_help="Say whether all is well: lateness, cycles, findings.", epilog=STATUS_CODES)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for a monitor.")
@gateway_option
@at_option
def command(as_json: bool, gateway: str | None, at: dt.datetime | None) -> int:
    """Say in the first line whether all is well, and show on one screen why.

    Wrong is: no cycle has ended well for three quarter-hours, the last one failed, a table is later than usual at
    that hour, the daily checks did not run, or a finding is open.

    Changes nothing, and takes no lock. On DuckDB it waits up to 10 seconds for a cycle that holds the file.

    \b
    Example, in a monitor:
      order-tracking status --json
    """
    from extract.clock import Clock
    from extract.errors import ConfigurationError, LockHeld, WarehouseError
    from extract.settings import without_secrets
    from extract.tables import load_config
    from scripts.cycle_log import kept_rows
    from scripts.display import answer
    from scripts.reading import warehouse_to_read
    from scripts.status import read_status

    try:
        gateway = chosen_gateway(gateway)
        with warehouse_to_read(gateway) as warehouse:
            status = read_status(warehouse, load_config(), Clock(at), kept_rows(gateway))
    except (ConfigurationError, LockHeld, WarehouseError) as error:
        why = without_secrets(" ".join(str(error).split()))
        answer(json.dumps({"verdict": "cannot say", "why": [why]}, indent=2) if as_json else f"CANNOT SAY\n  {why}")
        return CANNOT_SAY
    answer(json.dumps(as_data(status), indent=2, default=_iso) if as_json else as_text(status))
    return WRONG if status.wrong else FINE


def as_text(status: Status) -> str:
    """One screen, the verdict first."""
    from scripts.display import in_time, table

    def shown(moment: dt.datetime | None) -> str:
        return "never" if moment is None else f"{moment:%Y-%m-%d %H:%M}"

    count = len(status.wrong)
    verdict = f"WRONG: {count} thing{'s' if count > 1 else ''}" if status.wrong else "FINE"
    lines = [f"{verdict}, {status.at:%Y-%m-%d %H:%M} UTC", *(f"  {_cut(each)}" for each in status.wrong), ""]
    rows = [
        (name, None, None, None)
        if each is None
        else (name, shown(_moment(each.newest)), in_time(each.late), in_time(each.allowed))
        for name, each in status.tables.items()
    ]
    lines += [table(("TABLE", "NEWEST EVENT", "LATE", "ALLOWED"), rows), ""]
    facts = {
        "last cycle": _last_cycle(status),
        "24 hours": status.blocks,
        "": "half-hours: █ done  ▓ with warnings  ░ refused  ! failed  · none",
        "checks": f"last ran: {shown(status.checked_at)}"
        + ("" if status.findings is None else f", and found {status.findings:,}"),
        "open": ", ".join(f"{check} {rows:,}" for check, rows in status.open_by_check.items()) or "nothing",
        "reconcile": f"last ended well: {shown(status.reconciled_at)}",
        "archived": "in 24 hours: " + (", ".join(f"{a} {n:,}" for a, n in status.archived.items()) or "nothing"),
        "next": f"cycle {status.next_cycle:%H:%M}; checks {shown(status.checks_due)}; half-year "
        f"{status.next_half_year[0]} on {status.next_half_year[1]:%Y-%m-%d}",
    }
    if status.opened_in_a_day:
        facts["open"] += f"; {status.opened_in_a_day:,} of them opened in 24 hours"
    lines += [f"{name:<11} {fact}" for name, fact in facts.items()]
    return "\n".join([*lines, *_findings(status)])


def _findings(status: Status) -> list[str]:
    """The first open findings, a line each."""
    shown = [f"  {_cut(line.sentence, 160)}" for line in status.open_lines[:LINES]]
    hidden = len(status.open_lines) - len(shown)
    more = [f"  {hidden} more lines: order-tracking exceptions list"] if hidden else []
    return ["", "OPEN", *shown, *more] if shown else []


def as_data(status: Status) -> dict[str, Any]:
    """The same for a machine. Times are UTC, spans are seconds."""
    from scripts.open_exceptions import as_data as line_as_data

    last = status.last
    return {
        "verdict": "wrong" if status.wrong else "fine",
        "why": status.wrong,
        "at": status.at,
        "tables": [
            {
                "table": name,
                "newest": each and _moment(each.newest),
                "late_seconds": each and each.late,
                "allowed_seconds": each and each.allowed,
            }
            for name, each in status.tables.items()
        ],
        "last_cycle": last
        and {
            "cycle_at": last.cycle_at,
            "outcome": last.outcome,
            "seconds": last.seconds,
            "rows_landed": last.rows_landed,
            "rows_archived": last.rows_archived,
            "warnings": last.warning_lines,
            "error": last.error,
        },
        "last_done_at": status.last_done,
        "cycles_in_24_hours": _by_outcome(status),
        "checked_at": status.checked_at,
        "findings_of_last_checks": status.findings,
        "open": status.open_by_check,
        "findings": [line_as_data(line) for line in status.open_lines],
        "opened_in_24_hours": status.opened_in_a_day,
        "reconciled_at": status.reconciled_at,
        "archived_in_24_hours": dict(status.archived),
        "next": {"cycle": status.next_cycle, "checks": status.checks_due, "half_year": status.next_half_year[1]},
    }


def _moment(epoch_seconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(epoch_seconds, dt.UTC)


def _iso(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _last_cycle(status: Status) -> str:
    last = status.last
    if last is None:
        return "none is known"
    told = f"{last.cycle_at:%Y-%m-%d %H:%M}, {last.outcome} in {last.seconds:.1f} s"
    if last.error is None:
        told += f": {last.rows_landed:,} landed, {last.rows_archived:,} archived"
    warnings = last.warning_lines
    return told + (f", warnings: {len(warnings)}" if warnings else "")


def _by_outcome(status: Status) -> dict[str, int]:
    counts: dict[str, int] = {}
    for cycle in status.day:
        counts[cycle.outcome] = counts.get(cycle.outcome, 0) + 1
    return counts


def _cut(text: str, size: int = 300) -> str:
    return text if len(text) <= size else f"{text[: size - 2]} …"
