"""`order-tracking refresh`"""

from __future__ import annotations

import datetime as dt

import click

from extract.errors import ConfigurationError
from scripts.commands.extract import extract_tables
from scripts.options import EXIT_CODES, Time, at_option, gateway_option, source_option, table_option


@click.command(short_help="Read orders or a span of time again, whatever their times say.", epilog=EXIT_CODES)
@click.argument("orders", nargs=-1, type=click.IntRange(min=1), metavar="[ORDER]...")
@click.option("--since", type=Time(), metavar="TIME", help="Everything from this event time on.")
@source_option
@table_option
@gateway_option
@at_option
def command(
    orders: tuple[int, ...],
    since: dt.datetime | None,
    source: str | None,
    tables: tuple[str, ...],
    gateway: str | None,
    at: dt.datetime | None,
) -> None:
    """Read orders again from the source, or everything since a time, whatever their times say.

    This brings in values that were corrected without a new time, and fills a column that was added: what differs from
    the warehouse lands, and the next cycle takes it into the marts. Scans that are held get the values of the source at
    once, in the marts and in history, for a cycle never changes a scan.

    Changes the raw tables; of scans also the marts and their history.

    \b
    Examples:
      order-tracking refresh 67500000137 67500000138
      order-tracking refresh --since 2026-01-05 --table uni_tracking_spath
    """
    if bool(orders) == (since is not None):
        raise ConfigurationError("Name the orders to read again, or give --since, one of both; nothing was done.")
    extract_tables(source, tables, gateway, at, since=since, orders=orders or None, kind="refresh")
