"""`order-tracking demo`"""

from __future__ import annotations

import click

from scripts.options import EXIT_CODES


@click.command(epilog=EXIT_CODES)
@click.option("--cycles", type=click.IntRange(3, 95), metavar="N", help="So many quarter-hours before the night.")
def command(cycles: int | None) -> None:
    """Show it all on a simulated source, in half a minute.

    First load, quarter-hour cycles, the night with its checks, what was archived, an order that comes back, and what to
    try next. Every run starts anew and shows the same orders.

    Changes only the folder demo/ of the project. Your warehouse and your settings are left alone, and nobody is
    alerted.

    \b
    Example:
      order-tracking demo
    """
    from scripts.demo import demo

    demo(cycles)
