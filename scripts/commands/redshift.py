"""`order-tracking redshift smoke` and `maintain`"""

from __future__ import annotations

import click

from scripts.options import EXIT_CODES, InOrder, chosen_gateway


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
    """Try what only a cluster can show; every line must say ok.

    Isolation level, case setting, one load through S3 and COPY, names in three parts, a view over tables that come and
    go, the plan of the three-way join (it must not move rows: DS_DIST_NONE) and two transactions at once.

    Changes nothing but a schema of its own, which it drops. Ends with 1 where something is not as the project needs it.

    \b
    Example:
      order-tracking redshift smoke
    """
    gateway = chosen_gateway("redshift")
    from contextlib import closing

    from extract.warehouse import open_warehouse
    from scripts.redshift_smoke import smoke

    with closing(open_warehouse(gateway)) as warehouse:
        return 0 if smoke(warehouse) else 1


@command.command(epilog=EXIT_CODES)
@click.option("--dry-run", is_flag=True, help="Print exactly what would run, and run nothing.")
def maintain(dry_run: bool) -> None:
    """VACUUM and ANALYZE the tables that need it.

    Space is taken back if more than 10 % of a table's rows are deleted ones. Rows are sorted if more than 20 % are
    unsorted and Redshift expects more than 5 % from it. Statistics are renewed if they are off by more than 10 %. All
    this as svv_table_info says. Once a day, at a quiet hour, is enough.

    Changes no row. It holds the lock, so that no cycle runs meanwhile.

    \b
    Example:
      order-tracking redshift maintain --dry-run
    """
    gateway = chosen_gateway("redshift")
    from contextlib import closing

    from extract.lock import run_lock
    from extract.warehouse import open_warehouse
    from scripts.display import tell
    from scripts.redshift_maintain import maintain

    with run_lock(gateway), closing(open_warehouse(gateway)) as warehouse:
        if not maintain(warehouse, dry_run=dry_run):
            tell("No table needs anything.")
