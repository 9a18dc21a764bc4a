"""`order-tracking reconcile`"""

from __future__ import annotations

import datetime as dt

import click

from extract.clock import reconcile_start
from scripts.commands.extract import extract_tables
from scripts.options import EXIT_CODES, Time, at_option, gateway_option, source_option, table_option


@click.command(short_help="Compare source and warehouse; read again what differs.", epilog=EXIT_CODES)
@click.option("--since", type=Time(), metavar="TIME", help="From this event time on (default: 35 days back).")
@source_option
@table_option
@gateway_option
@at_option
def command(
    since: dt.datetime | None,
    source: str | None,
    tables: tuple[str, ...],
    gateway: str | None,
    at: dt.datetime | None,
) -> None:
    """Compare the source with the warehouse hour by hour, and read again what differs.

    A scan can become visible days after its own time, far behind what an extract reads; this finds it. The source
    counts by an index alone, and only hours that differ are read.

    Changes the raw tables alone: the next cycle takes what was found into the marts. `order-tracking cycle --reconcile`
    does both, once a day.

    \b
    Example, after cycles were missed:
      order-tracking reconcile --since 2026-01-05
    """
    extract_tables(source, tables, gateway, at, since=reconcile_start(since, at), kind="reconcile")
