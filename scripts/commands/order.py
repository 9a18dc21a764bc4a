"""`order-tracking order`"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from scripts.display import answer, json_text, printable, table
from scripts.options import EXIT_CODES, chosen_gateway, gateway_option

if TYPE_CHECKING:
    from scripts.order import Order, Row

END_OF_CALENDAR = int(dt.datetime(9999, 12, 31, tzinfo=dt.UTC).timestamp())


@click.command(short_help="Show all that is known of an order.", epilog=EXIT_CODES)
@click.argument("numbers", nargs=-1, required=True, metavar="NUMBER...")
@click.option("--json", "as_json", is_flag=True, help="As JSON: every column of every row.")
@gateway_option
def command(numbers: tuple[str, ...], as_json: bool, gateway: str | None) -> int:
    """Show status, metadata and all scans of an order, where each lives, and what is open about it.

    NUMBER is an order number or a tracking number (tno), of an active order or of an archived one. What was rejected of
    it is shown too. If a NUMBER is unknown, that is said, and the exit code is 1.

    Changes nothing, and takes no lock. On DuckDB it waits up to 10 seconds for a cycle that holds the file.

    \b
    Example:
      order-tracking order 67500000000 1Z999AA10123456784
    """
    gateway = chosen_gateway(gateway)
    from extract.tables import load_config
    from scripts.order import find_orders
    from scripts.reading import warehouse_to_read

    with warehouse_to_read(gateway) as warehouse:
        found = find_orders(warehouse, load_config(), numbers)
    unknown = [number for number, orders in found.items() if not any(order.known for order in orders)]
    if as_json:
        answer(json_text({number: as_data(orders) for number, orders in found.items()}))
    else:
        answer("\n\n\n".join(as_text(number, orders) for number, orders in found.items()))
    return 1 if unknown else 0


def as_data(orders: Sequence[Order]) -> list[dict[str, Any]]:
    """The orders under a number for a machine; empty if there are none."""
    from scripts.open_exceptions import finding_as_data

    return [
        {
            "order_id": order.order_id,
            "state": order.state,
            "notes": order.notes,
            "statuses": order.statuses,
            "metadata": order.metadata,
            "scans": order.scans,
            "exceptions": [finding_as_data(exception) for exception in order.exceptions],
            "rejected": order.rejected,
            "last_landed": order.landed,
        }
        for order in orders
        if order.known
    ]


def as_text(number: str, orders: Sequence[Order]) -> str:
    """What is known of a number, an order after another."""
    if not any(order.known for order in orders):
        return f"{printable(number)}: unknown. No table holds it as an order number or as a tracking number."
    return "\n\n\n".join(_order_as_text(order) for order in orders)


def _order_as_text(order: Order) -> str:
    parts = ["\n".join([f"Order {order.order_id}: {order.state}", *order.notes])]
    several = len(order.statuses) > 1
    for title, rows in (("Status", order.statuses), ("Metadata", order.metadata)):
        parts += [_block(title, row, several) for row in rows] or [f"{title}: none"]
    if order.scans:
        names = [name for name in order.scans[0] if name != "order_id" and (several or name != "number_use")]
        cells = [[_cell(name, row[name]) for name in names] for row in order.scans]
        parts.append(f"Scans: {len(order.scans)}\n{table(names, cells)}")
    else:
        parts.append("Scans: none")
    parts.append(
        "\n".join(
            [
                "Open exceptions:",
                *(f"  {e.key}  {e.check_name}, {e.table_name}: {printable(e.detail)}" for e in order.exceptions),
            ]
        )
        if order.exceptions
        else "Open exceptions: none"
    )
    if order.rejected:
        told = [(f"{r['rejected_at']}  {r['table_name']}", f"{r['reason']}: {r['payload']}") for r in order.rejected]
        lines = [f"  {where}: {printable(what)}" for where, what in told]
        parts.append("\n".join(["Rejected rows:", *lines]))
    return "\n\n".join(parts)


def _block(title: str, row: Row, several: bool) -> str:
    """A row of many columns, each on a line."""
    shown = {name: value for name, value in row.items() if name != "order_id" and (several or name != "number_use")}
    widest = max(map(len, shown))
    return "\n".join([title, *(f"  {name.ljust(widest)}  {_cell(name, value)}" for name, value in shown.items())])


def _cell(name: str, value: Any) -> str:
    """A value to be copied: no thousands. An event time is shown as a time, too.

    Another mart's event time is any column here: a text, or seconds of no year.
    """
    from macros.marts import marts

    if value is None:
        return "-"
    if name in {mart.event_time for mart in marts()} and isinstance(value, int) and 0 <= value < END_OF_CALENDAR:
        return f"{value} ({dt.datetime.fromtimestamp(value, dt.UTC):%Y-%m-%d %H:%M:%S})"
    return printable(str(value))
