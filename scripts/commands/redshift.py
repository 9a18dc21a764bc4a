"""`order-tracking redshift smoke` and `maintain`"""

from __future__ import annotations

import click

from scripts.options import EXIT_CODES, InOrder, chosen_gateway, exit_codes

MAINTAIN_CODES = exit_codes(
    "done, or as far as the minutes went; what is left is listed",
    "a statement failed; the others were run, and the message says what to do",
    "another VACUUM was running; what it left undone is listed",
)


@click.group(cls=InOrder)
def command() -> None:
    """Try a new cluster, and keep its tables in order.

    Both work on Redshift, whatever ORDER_TRACKING_GATEWAY says.

    \b
    Example:
      order-tracking redshift maintain --dry-run
    """


@command.command(epilog=EXIT_CODES)
def smoke() -> int:
    """Try what only a cluster can show; every line that judges must say ok.

    What the cluster is and where its bucket stands; one load through S3 and COPY; two transactions at once; views that
    are made anew, a reader with the documented rights, and one that stands idle; blocks that are skipped; everything
    that marts, retention and checks can send, over empty copies, and its plans; what a statement, a COPY, a commit and
    a look at the catalog cost. Each line says what it means.

    Changes nothing but two schemas and a user of its own, which it drops. The report can be sent on: no host, user,
    bucket or password stands in it. Ends with 1 where something is not as the project needs it, or could not be known.

    \b
    Example:
      order-tracking redshift smoke
    """
    gateway = chosen_gateway("redshift")
    from contextlib import closing

    from extract.settings import RedshiftSettings
    from extract.warehouse import open_warehouse
    from scripts.redshift_smoke import smoke

    with closing(open_warehouse(gateway)) as warehouse:
        return 0 if smoke(warehouse, RedshiftSettings.from_environment()) else 1


@command.command(epilog=MAINTAIN_CODES)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=60,
    show_default=True,
    help="What all VACUUMs together may take; the one that runs then is stopped.",
)
@click.option("--dry-run", is_flag=True, help="Print exactly what would run, and run nothing.")
def maintain(minutes: float, dry_run: bool) -> int:
    """VACUUM and ANALYZE the tables that need it, the most useful first.

    Space is taken back if more than 10 % of a table's rows are deleted ones. Rows are sorted if more than 20 % are
    unsorted and Redshift expects more than 5 % from it; of scans only the new ones are (RECLUSTER). Statistics are
    renewed, after all that, if they are off by more than 10 %. All this as svv_table_info says. Once a day, at a quiet
    hour, is enough.

    Changes no row, and takes no lock: cycles go on meanwhile. A plan that changes a column waits for the VACUUM of its
    table. A statement that fails leaves the rest to go on.

    \b
    Example:
      order-tracking redshift maintain --minutes 30 --dry-run
    """
    gateway = chosen_gateway("redshift")
    from contextlib import closing

    from extract.warehouse import open_warehouse
    from scripts.outcome import EXIT_FAILED, EXIT_LOCKED
    from scripts.redshift_maintain import Ended, maintain

    with closing(open_warehouse(gateway)) as warehouse:
        ends = maintain(warehouse, minutes=minutes, dry_run=dry_run)
    if Ended.FAILED in ends:
        return EXIT_FAILED
    return EXIT_LOCKED if Ended.RUNNING in ends else 0
