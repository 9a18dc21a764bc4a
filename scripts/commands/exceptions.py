"""`order-tracking exceptions list`, `restore` and `resolve`"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from scripts.options import EXIT_CODES, InOrder, at_option, chosen_gateway, gateway_option

if TYPE_CHECKING:
    from scripts.open_exceptions import OpenException

RESTORE_HINT = "Orders that came back: order-tracking exceptions restore ORDER ... (or --all)"


@click.group(cls=InOrder)
@gateway_option
@at_option
@click.pass_context
def command(context: click.Context, gateway: str | None, at: dt.datetime | None) -> None:
    """See what the checks found, and mend it.

    \b
    Examples:
      order-tracking exceptions list
      order-tracking exceptions restore 67500000137
    """
    # Both options may stand before the subcommand's name or after it.
    given = {name: value for name, value in (("gateway", gateway), ("at", at)) if value}
    context.default_map = {name: given for name in command.commands}


@command.command("list", epilog=EXIT_CODES)
@click.option("--markdown", is_flag=True, help="As a Markdown table, for a CI summary.")
@click.option("--fail", is_flag=True, help="End with 1 while any is open, or while the checks never ran.")
@gateway_option
@at_option
def list_open(markdown: bool, fail: bool, gateway: str | None, at: dt.datetime | None) -> int:
    """Show what is open, by check, table and order, and when the checks last ran.

    KEY names an exception for `resolve`. SEEN counts how often it was found: by daily checks once a day, by marts once
    a cycle.

    Changes nothing. On Redshift it does not wait for the lock.

    \b
    Example, in a monitor:
      order-tracking exceptions list --fail
    """
    gateway = chosen_gateway(gateway)
    from extract.clock import Clock
    from extract.tables import load_config
    from scripts.display import answer
    from scripts.exceptions import checked_warehouse, open_exceptions
    from scripts.open_exceptions import last_checks

    clock = Clock(at)
    with checked_warehouse(gateway, load_config(), clock, asks=True) as warehouse:
        exceptions = open_exceptions(warehouse)
        checked_at, _ = last_checks(warehouse, clock.now())
    answer(as_markdown(exceptions, checked_at) if markdown else as_text(exceptions, checked_at))
    return 1 if fail and (exceptions or checked_at is None) else 0


@command.command(epilog=EXIT_CODES)
@click.argument("orders", nargs=-1, type=int, metavar="[ORDER]...")
@click.option("--all", "every", is_flag=True, help="Every order that the checks found to have come back.")
@gateway_option
@at_option
def restore(orders: tuple[int, ...], every: bool, gateway: str | None, at: dt.datetime | None) -> int:
    """Bring back the archived metadata of orders that came back.

    Doing it again before the next cycle changes nothing. An order that cannot be restored is named with the reason, and
    the exit code is 1.

    Changes the raw table of ecs: the next cycle takes the row into the mart, and the next check closes the exception.

    \b
    Examples:
      order-tracking exceptions restore 67500000137 67500000138
      order-tracking exceptions restore --all
    """
    gateway = chosen_gateway(gateway)
    from extract.clock import Clock
    from extract.errors import ConfigurationError
    from extract.tables import load_config
    from scripts.display import tell
    from scripts.exceptions import checked_warehouse, restorable_orders
    from scripts.exceptions import restore as restore_orders

    if bool(orders) == every:
        raise ConfigurationError("Name the orders to restore, or give --all; nothing was changed.")
    config, clock = load_config(), Clock(at)
    with checked_warehouse(gateway, config, clock, asks=False) as warehouse:
        faults = restore_orders(warehouse, config, restorable_orders(warehouse) if every else orders, clock)
    for order, fault in faults.items():
        tell(f"order {order}: {'landed; the next cycle takes it into the mart' if fault is None else fault}")
    if not faults:
        tell("No order is restorable.")
    return 1 if any(faults.values()) else 0


@command.command(epilog=EXIT_CODES)
@click.argument("key", metavar="KEY")
@click.option("--note", required=True, metavar="TEXT", help="What was done.")
@gateway_option
@at_option
def resolve(key: str, note: str, gateway: str | None, at: dt.datetime | None) -> None:
    """Close one exception by hand.

    A check that still fails opens a new one, except for a rejected row, which is settled so.

    Changes the exception alone: it keeps the note and the time.

    \b
    Example:
      order-tracking exceptions resolve 9f3ebfee06 --note "corrected at the source"
    """
    gateway = chosen_gateway(gateway)
    from extract.clock import Clock
    from extract.tables import load_config
    from scripts.display import tell
    from scripts.exceptions import checked_warehouse
    from scripts.exceptions import resolve as resolve_exception

    clock = Clock(at)
    with checked_warehouse(gateway, load_config(), clock, asks=False) as warehouse:
        done = resolve_exception(warehouse, key, note, clock)
    tell(f"Resolved {done.key}: {done.check_name}, order {done.order_id}.")


def last_run(checked_at: dt.datetime | None) -> str:
    """When the checks last ran, in a sentence: that nothing is open says little if they never did."""
    if checked_at is None:
        return "The daily checks have never run: the first cycle after midnight (UTC) runs them."
    return f"The daily checks last ran for {checked_at:%Y-%m-%d %H:%M} UTC."


def as_text(exceptions: Sequence[OpenException], checked_at: dt.datetime | None) -> str:
    """A line an exception, what to do about the restorable ones, and when the checks last ran."""
    from scripts.display import table
    from scripts.open_exceptions import RESTORABLE_CHECK

    if not exceptions:
        return f"No exception is open. {last_run(checked_at)}"
    rows = [
        # An order number takes no thousands: it is copied.
        (e.key, e.check_name, _order(e), e.times_seen, f"{e.first_seen_at:%Y-%m-%d %H:%M}", e.table_name, e.detail)
        for e in exceptions
    ]
    lines = [
        table(("KEY", "CHECK", "ORDER", "SEEN", "SINCE", "TABLE", "DETAIL"), rows),
        f"{len(exceptions)} open. {last_run(checked_at)}",
    ]
    if any(e.check_name == RESTORABLE_CHECK for e in exceptions):
        lines.append(RESTORE_HINT)
    return "\n".join(lines)


def as_markdown(exceptions: Sequence[OpenException], checked_at: dt.datetime | None) -> str:
    """A table for a CI summary."""
    if not exceptions:
        return f"### No exception is open\n\n{last_run(checked_at)}"
    lines = [f"### {len(exceptions)} open exceptions", "", "| key | check | table | order | since | seen | detail |"]
    lines.append("|---|---|---|---|---|---|---|")
    lines += [
        f"| {e.key} | {e.check_name} | {e.table_name} | {_order(e)} "
        f"| {e.first_seen_at:%Y-%m-%d %H:%M} | {e.times_seen} | {e.detail.replace('|', chr(92) + '|')} |"
        for e in exceptions
    ]
    return "\n".join([*lines, "", last_run(checked_at)])


def _order(exception: OpenException) -> str:
    return "-" if exception.order_id is None else str(exception.order_id)
