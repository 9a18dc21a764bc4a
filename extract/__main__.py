"""Take what changed in the source into the raw tables.

    python -m extract [--gateway G] [--source URL] [--at T] [--since T] [--table NAME ...]
    python -m extract reconcile [--since T]

Without --since: what changed since the last extract; the first time: everything. With --since: every hour of event
time from T on that the source counts differently, in chunks (where nothing has landed yet: everything from T on, in one
read); a run that died goes on where it was. reconcile does the same from 35 days back, and is logged as such.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from extract.clock import Clock
from extract.lock import run_lock
from extract.run import extract
from extract.source import open_source
from extract.tables import load_config
from extract.warehouse import open_warehouse

RECONCILE_DAYS = 35


def reconcile_start(since: dt.datetime | None, at: dt.datetime | None) -> dt.datetime:
    """Where a reconcile begins: as given, or 35 days before `at`."""
    return since or Clock(at).now_utc() - dt.timedelta(days=RECONCILE_DAYS)


def main(arguments: list[str] | None = None) -> int:
    from scripts.command import command_line, configured_source, run_command, time_argument
    from scripts.progress import table_progress

    parser = command_line("extract", __doc__)
    parser.add_argument("action", nargs="?", choices=["reconcile"], help="compare and mend instead of going on")
    parser.add_argument("--source", metavar="URL", help="default: ORDER_TRACKING_SOURCE")
    parser.add_argument("--since", type=time_argument, metavar="T", help="from this event time on, ISO, UTC")
    parser.add_argument("--table", nargs="+", metavar="NAME", help="only these tables")

    def command(options: Any) -> int:
        url = configured_source(options.source, options.gateway)
        config = load_config()
        config.select(options.table)
        since, kind = options.since, "since"
        if options.action == "reconcile":
            since, kind = reconcile_start(since, options.at), "reconcile"
        with run_lock(options.gateway):
            source = open_source(url)
            warehouse = open_warehouse(options.gateway)
            try:
                with table_progress() as progress:
                    runs = extract(
                        source,
                        warehouse,
                        config,
                        Clock(options.at),
                        tables=options.table,
                        since=None if since is None else Clock(since).now(),
                        kind=kind,
                        progress=progress,
                    )
            finally:
                warehouse.close()
                source.close()
        for run in runs:
            landed = run.landed
            print(
                f"{run.table:<20} {run.seconds:6.1f} s  {landed.rows_read:,} rows read, "
                f"{landed.rows_landed:,} landed, {landed.rows_rejected:,} rejected"
            )
        return 0

    return run_command(parser, command, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
