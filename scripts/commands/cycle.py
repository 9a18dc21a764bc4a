"""`order-tracking cycle`"""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from extract.clock import reconcile_start
from scripts.display import tell
from scripts.options import (
    EXIT_CODES,
    Time,
    allow_empty_option,
    at_option,
    gateway_option,
    named_gateway,
    source_option,
)

if TYPE_CHECKING:
    from scripts.statement_times import TimedStatement

FROM_35_DAYS_BACK = "35 days back"


class Since(Time):
    """A time, or nothing behind --reconcile."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> dt.datetime:
        return dt.datetime.min if value == FROM_35_DAYS_BACK else super().convert(value, param, ctx)


@click.command(short_help="Bring the marts up to date: extract, then run the models.", epilog=EXIT_CODES)
@source_option
@gateway_option
@at_option
@click.option(
    "--reconcile",
    "since",
    metavar="[SINCE]",
    type=Since(),
    is_flag=False,
    flag_value=FROM_35_DAYS_BACK,
    help="Also compare the source with the warehouse, from this event time on (without one: from 35 days back).",
)
@allow_empty_option
@click.option(
    "--statements",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write every statement with its seconds there, as CSV, also of a cycle that fails.",
)
def command(
    source: str | None,
    gateway: str | None,
    at: dt.datetime | None,
    since: dt.datetime | None,
    allow_empty: bool,
    statements: Path | None,
) -> None:
    """Bring the marts up to date: extract what changed, then run the models.

    The first time it makes the marts. Once a day, after midnight, it also runs the checks. One line a phase says how
    long it took and what it moved.

    Changes the raw tables, the marts, their history and the exceptions. The source is only read. If it is broken off,
    nothing is lost: run it again.

    \b
    Examples:
      order-tracking cycle
      order-tracking cycle --reconcile
      order-tracking cycle --at 2025-09-01T12:15:30 --source duckdb:///source.duckdb
    """
    from extract.errors import ConfigurationError, in_words
    from scripts.progress import table_progress
    from scripts.run_cycle import refuse_cycle, run_cycle
    from scripts.statement_times import STATEMENTS_BEGIN
    from scripts.written_files import place_for

    try:  # what else is missing or wrong the cycle finds
        gateway = named_gateway(gateway)
    except ConfigurationError as error:
        refuse_cycle(error, at=at, gateway=gateway, source=source, report=tell)

    if statements and not statements.parent.is_dir():
        raise ConfigurationError(f"There is no folder {statements.parent} for --statements; nothing was done.")
    if statements:
        try:
            place_for(statements, STATEMENTS_BEGIN).touch()
        except OSError as error:
            cause = error.strerror or in_words(error)
            raise ConfigurationError(f"{statements} cannot be written ({cause}); nothing was done.") from error
    reconcile_since = None if since is None else reconcile_start(None if since == dt.datetime.min else since, at)
    with table_progress() as progress:

        def report(line: str) -> None:
            progress.clear()
            tell(line)

        timed: list[TimedStatement] = []
        try:
            run_cycle(
                at=at,
                source=source,
                gateway=gateway,
                reconcile_since=reconcile_since,
                allow_empty=allow_empty,
                report=report,
                progress=progress,
                statements=timed,
            )
        except BaseException:
            if timed:
                with suppress(OSError):  # the cycle's own error counts
                    _write_statements(timed, statements)
            raise
    _write_statements(timed, statements)


def _write_statements(timed: list[TimedStatement], file: Path | None) -> None:
    from scripts.statement_times import write_statements

    if file:
        write_statements(timed, file)
