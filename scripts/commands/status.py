"""`order-tracking status`"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scripts.display import answer, cut, json_text, plural, printable, table
from scripts.options import at_option, chosen_gateway, gateway_option

if TYPE_CHECKING:
    from scripts.status import Status

FINE, WRONG, CANNOT_SAY = 0, 1, 2

LINES = 5
"""So many findings fit the screen."""

FINDING = 160
"""So many characters of a finding do."""

STATUS_CODES = """
    \b
    Exit codes, for a monitor:
      0  fine
      1  something is wrong, and the first lines say what
      2  cannot say: no warehouse, no log of cycles yet, or a cycle holds the file; or the page was not written
"""


@click.command(short_help="Say whether all is well: lateness, cycles, findings.", epilog=STATUS_CODES)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for a monitor.")
@click.option("--html", "page", metavar="FILE", help="Also write the status page there: a file, or s3://bucket/key.")
@gateway_option
@at_option
def command(as_json: bool, page: str | None, gateway: str | None, at: dt.datetime | None) -> int:
    """Say in the first line whether all is well, and show on one screen why.

    Wrong is: no cycle has ended well for three quarter-hours, the last one failed, a table is later than usual at
    that hour, or never had a row, no reconcile has ended well for two days, the daily checks did not run, or a finding
    is open.

    Changes nothing, and takes no lock. On DuckDB it waits up to 10 seconds for a cycle that holds the file.

    The page is one file that needs nothing else. It shows the same with drawings: cycles, rows, lateness, findings, and
    what feeds what.

    \b
    Examples:
      order-tracking status --json
      order-tracking status --html status.html
    """
    from extract.clock import Clock, moment_of
    from extract.errors import ConfigurationError, LockHeld, WarehouseError
    from extract.settings import without_secrets
    from extract.tables import load_config
    from scripts.cycle_log import kept_rows
    from scripts.reading import warehouse_to_read
    from scripts.status import last_of_kept, read_status

    kept: list[dict[str, Any]] = []
    clock = Clock(at)
    try:
        gateway = chosen_gateway(gateway)
        kept = kept_rows(gateway)
        with warehouse_to_read(gateway) as warehouse:
            status = read_status(warehouse, load_config(), clock, kept)
    except (ConfigurationError, LockHeld, WarehouseError) as error:
        from scripts.status_text import in_short

        known = last_of_kept(kept, moment_of(clock.now()))
        why = [without_secrets(" ".join(each.split())) for each in (str(error), known) if each]
        lines = "\n".join(["CANNOT SAY", *(f"  {printable(in_short(each))}" for each in why)])
        answer(json_text({"verdict": "cannot say", "why": why}) if as_json else lines)
        return CANNOT_SAY
    answer(json_text(as_data(status)) if as_json else as_text(status))
    written = page is None or _page_is_written(page, status, gateway)
    return WRONG if status.wrong else FINE if written else CANNOT_SAY


def _page_is_written(page: str, status: Status, gateway: str) -> bool:
    """What keeps the page from being written is said after the verdict, and hides none."""
    from extract.errors import PageNotWritten, in_words
    from extract.settings import read_settings, without_secrets
    from scripts.page.place import write_page
    from scripts.page.render import render_page
    from scripts.reading import warehouse_to_read

    try:
        with warehouse_to_read(gateway) as warehouse:
            html = render_page(warehouse, status)
        write_page(html, page if page.startswith("s3:") else Path(page).absolute(), read_settings(gateway).redshift)
    except Exception as error:
        cause = without_secrets(" ".join(in_words(error).split()))
        click.echo(cause if isinstance(error, PageNotWritten) else f"The page was not written: {cause}", err=True)
        return False
    return True


def as_text(status: Status) -> str:
    """One screen, the verdict first."""
    from scripts.status_text import LATENESS_HEADER, facts, in_short, lateness_rows, verdict

    wrong = [f"  {printable(in_short(each))}" for each in status.wrong]
    lines = [f"{verdict(status)}, {status.at:%Y-%m-%d %H:%M} UTC", *wrong, ""]
    lines += [table(LATENESS_HEADER, lateness_rows(status)), ""]
    (last, told), *others = facts(status).items()
    day = {
        "24 hours": status.blocks,
        "": "half-hours until now: █ done  ▓ with warnings  ░ refused or locked out  ! failed  · none",
    }
    shown = {last: told, **day, **dict(others)}
    lines += [f"{name:<11} {printable(fact)}" for name, fact in shown.items()]
    return "\n".join([*lines, *_findings(status)])


def _findings(status: Status) -> list[str]:
    """The first open findings, a line each."""
    shown = [f"  {cut(printable(line.sentence), FINDING)}" for line in status.open_lines[:LINES]]
    hidden = len(status.open_lines) - len(shown)
    more = [f"  {plural(hidden, 'more line')}: order-tracking exceptions list"] if hidden else []
    return ["", "OPEN", *shown, *more] if shown else []


def as_data(status: Status) -> dict[str, Any]:
    """The same for a machine. Times are UTC, spans are seconds."""
    from extract.clock import moment_of
    from scripts.open_exceptions import as_data as line_as_data

    last = status.last
    return {
        "verdict": "wrong" if status.wrong else "fine",
        "why": status.wrong,
        "at": status.at,
        "tables": [
            {
                "table": name,
                "newest": each and moment_of(each.newest),
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
        "cycles_in_24_hours": Counter(cycle.outcome for cycle in status.day),
        "checked_at": status.checked_at,
        "findings_of_last_checks": status.findings,
        "open": status.open_by_check,
        "findings": [line_as_data(line) for line in status.open_lines],
        "opened_in_24_hours": status.opened_in_a_day,
        "reconciled_at": status.reconciled_at,
        "archived_in_24_hours": dict(status.archived),
        "next": {"cycle": status.next_cycle, "checks": status.checks_due, "half_year": status.next_half_year[1]},
    }
