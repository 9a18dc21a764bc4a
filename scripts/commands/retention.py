"""`order-tracking retention`"""

from __future__ import annotations

import datetime as dt

import click

from scripts.display import tell
from scripts.options import EXIT_CODES, at_option, chosen_gateway, gateway_option


@click.command(short_help="See what the next cycle would archive and trim.", epilog=EXIT_CODES)
@click.option("--dry-run", is_flag=True, help="Print the statements and their counts; there is no other way.")
@gateway_option
@at_option
def command(dry_run: bool, gateway: str | None, at: dt.datetime | None) -> None:
    """See what the next cycle would clean, archive, check, trim and forget: the statements, with counts.

    Retention itself runs in each cycle, behind each mart's insert. This counts as if the cycle at --at (default: now)
    brought a status of that moment, from which ages are counted; other rows that it will land are not counted.

    Changes no row: it reads, and makes temporary tables. On DuckDB it takes the lock, and makes what raw and history
    lack of tables and columns, as a cycle does.

    \b
    Examples:
      order-tracking retention --dry-run
      order-tracking retention --dry-run --at 2025-09-01T12:15:00
    """
    gateway = chosen_gateway(gateway)
    from extract.clock import Clock
    from extract.errors import ConfigurationError
    from extract.settings import PROJECT, share_warehouse_file
    from extract.tables import load_config
    from scripts.planned_retention import planned_retention, report
    from scripts.reading import checked_warehouse
    from scripts.sqlmesh_session import first_day, sqlmesh_session

    if not dry_run:
        raise ConfigurationError("Retention runs in each cycle, and nowhere else. See what it would do: --dry-run.")
    share_warehouse_file(gateway)
    clock = Clock(at)
    with checked_warehouse(gateway, load_config(), clock, asks=True):
        start = first_day({}, clock.now())
        with sqlmesh_session(gateway, PROJECT, start) as (context, _):
            for planned in planned_retention(context, clock.now()):
                for line in report(planned):
                    tell(line)
