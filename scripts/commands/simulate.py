"""`order-tracking simulate`"""

from __future__ import annotations

import datetime as dt

import click

from extract.clock import Clock
from scripts.display import table, tell
from scripts.options import EXIT_CODES, at_option, remember_source


@click.command(short_help="Write a simulated source.", epilog=EXIT_CODES)
@click.option(
    "--source",
    required=True,
    metavar="URL",
    callback=remember_source,
    help="Where to write: duckdb:///FILE or mysql://user:password@host:port/database.",
)
@click.option("--orders", type=int, required=True, metavar="N", help="Orders that exist at --at, about.")
@click.option("--months", type=int, required=True, metavar="M", help="Months of history before --at.")
@click.option("--seed", type=int, required=True, metavar="S", help="The same seed writes the same orders.")
@at_option
def command(source: str, orders: int, months: int, seed: int, at: dt.datetime | None) -> None:
    """Write a simulated source: three tables as a logistics company's MySQL would hold them.

    The first write holds about N orders created in the M months before --at. The same numbers and a later --at continue
    the same history: older rows stay, and nothing already scanned changes.

    Changes the database that --source names, which it makes if it is a file. A database that holds tables of somebody
    else is left alone. ORDER_TRACKING_SOURCE is never written.

    \b
    Example:
      order-tracking simulate --source duckdb:///source.duckdb --orders 5000 --months 8 --seed 1
    """
    from bench.simulate import shown, simulate
    from bench.source_writer import SourceWriteError
    from extract.errors import ConfigurationError
    from scripts.progress import with_progress

    moment = Clock(at).now_utc()
    try:
        counts = simulate(
            source,
            orders=orders,
            months=months,
            seed=seed,
            at=moment,
            report=tell,
            progress=lambda chunks: with_progress(chunks, "simulating"),
        )
    except SourceWriteError as error:
        raise ConfigurationError(str(error)) from error
    tell(table(("table", "rows"), list(counts.items())))
    tell(f"As of {shown(int(moment.timestamp()))}.")
    # A URL of MySQL holds a password, and a terminal's history is no place for one.
    secret = source.lower().startswith("mysql")
    option = "" if secret else f" --source {source}"
    tell(f"Next: order-tracking cycle{option} --at {moment:%Y-%m-%dT%H:%M:%SZ}")
    if secret:
        tell("      with ORDER_TRACKING_SOURCE set to the same URL")
