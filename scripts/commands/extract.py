"""`order-tracking extract`"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import click

from scripts.display import table, tell
from scripts.options import (
    EXIT_CODES,
    Time,
    allow_empty_option,
    at_option,
    chosen_gateway,
    gateway_option,
    source_option,
    table_option,
)


@click.command(short_help="Take what changed in the source into the raw tables.", epilog=EXIT_CODES)
@source_option
@table_option
@click.option(
    "--since",
    type=Time(),
    metavar="TIME",
    help="Every hour of event time from then on that the source counts differently, instead of what is new.",
)
@allow_empty_option
@gateway_option
@at_option
def command(
    source: str | None,
    tables: tuple[str, ...],
    since: dt.datetime | None,
    allow_empty: bool,
    gateway: str | None,
    at: dt.datetime | None,
) -> None:
    """Take what changed in the source into the raw tables; the marts are left as they are.

    It reads what is new since the last extract; the first time, everything. With --since it compares hour by hour and
    reads in chunks only what differs, so that a first load that was broken off goes on where it was.

    Changes the raw tables alone. `order-tracking cycle` does this, and then runs the models.

    \b
    Example, a first load in pieces:
      order-tracking extract --since 2025-01-01
    """
    extract_tables(source, tables, gateway, at, since=since, kind="since", allow_empty=allow_empty)


def extract_tables(
    source: str | None,
    tables: Sequence[str],
    gateway: str | None,
    at: dt.datetime | None,
    *,
    kind: str,
    since: dt.datetime | None = None,
    orders: Sequence[int] | None = None,
    allow_empty: bool = False,
) -> None:
    """Extracts under the run lock and shows what came of it, a line a table."""
    gateway = chosen_gateway(gateway, needs_source=True, source=source)
    from contextlib import closing

    from extract.clock import Clock, refuse_later
    from extract.compare import unequal_lines
    from extract.freshness import stale_lines
    from extract.lock import run_lock
    from extract.run import extract
    from extract.settings import configured_source
    from extract.source import open_source
    from extract.tables import load_config
    from extract.warehouse import open_warehouse
    from scripts.progress import table_progress
    from scripts.reading import warn

    config = load_config()
    config.select(tables)
    refuse_later(since, at)
    with (
        run_lock(gateway),
        closing(open_source(configured_source(source, gateway), config.limits)) as opened,
        closing(open_warehouse(gateway)) as warehouse,
        table_progress() as progress,
    ):
        try:
            runs = extract(
                opened,
                warehouse,
                config,
                Clock(at),
                tables=tables,
                since=None if since is None else Clock(since).now(),
                kind=kind,
                orders=orders,
                progress=progress,
                allow_empty=allow_empty,
            )
        except BaseException as error:
            warn(getattr(error, "__notes__", []))
            raise
        stale = stale_lines(warehouse, config, Clock(at).now())
    header = ["table", "seconds", "rows read", "landed", "rejected"]
    landed: list[list[object]] = [
        [run.table, run.seconds, run.landed.rows_read, run.landed.rows_landed, run.landed.rows_rejected] for run in runs
    ]
    if kind == "refresh":
        header.append("renewed")
        landed = [[*line, run.renewed] for line, run in zip(landed, runs, strict=True)]
    tell(table(header, landed))
    for warning in stale.values():
        tell(f"warning: {warning}")
    for run in runs:
        for line in (*unequal_lines(run.table, run.unequal), *(f"warning: {warning}" for warning in run.warnings)):
            tell(line)
