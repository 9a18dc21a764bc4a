"""`order-tracking exceptions list`, `restore`, `resolve` and `accept`"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from scripts.display import answer, json_text, plural, printable, table, tell
from scripts.options import EXIT_CODES, InOrder, at_option, chosen_gateway, gateway_option

if TYPE_CHECKING:
    from scripts.open_exceptions import AcceptedLine, OpenException, OpenLine

STAYS_QUIET = "Each stays quiet until it changes."
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
@click.option("--check", metavar="NAME", help="Only this check, one line an exception.")
@click.option("--accepted", is_flag=True, help="What was accepted, with its note, instead of what is open.")
@click.option("--limit", type=click.IntRange(1), default=50, metavar="N", help="At most so many lines (default: 50).")
@click.option("--json", "as_json", is_flag=True, help="As JSON, with both values and their difference.")
@click.option("--markdown", is_flag=True, help="As a Markdown table, for a CI summary.")
@click.option("--fail", is_flag=True, help="End with 1 while any is open, or while the checks never ran.")
@gateway_option
@at_option
def list_open(
    check: str | None,
    accepted: bool,
    limit: int,
    as_json: bool,
    markdown: bool,
    fail: bool,
    gateway: str | None,
    at: dt.datetime | None,
) -> int:
    """Show what is open, and when the checks last ran.

    What is found a thousand times is one line, with a count and a few examples. KEY names a line, or with --check one
    exception, for `resolve` and `accept`.

    Changes nothing, and takes no lock. On DuckDB it waits up to 10 seconds for a cycle that holds the file.

    \b
    Examples, the last one for a monitor:
      order-tracking exceptions list --check update_time_mismatch --limit 10
      order-tracking exceptions list --accepted
      order-tracking exceptions list --fail
    """
    if as_json and markdown:
        raise click.UsageError("Give --json or --markdown, not both.")
    if accepted and fail:
        raise click.UsageError("What is accepted fails nothing: give --accepted or --fail, not both.")
    gateway = chosen_gateway(gateway)
    from extract.clock import Clock
    from scripts.exceptions import refuse_unknown_check
    from scripts.open_exceptions import accepted_lines, last_checks, open_exceptions, open_lines
    from scripts.reading import refuse_before_first_plan, warehouse_to_read

    clock = Clock(at)
    with warehouse_to_read(gateway) as warehouse:
        refuse_before_first_plan(warehouse)
        lines = open_lines(warehouse, check)
        known = accepted_lines(warehouse, check) if accepted else []
        if check and not lines and not known:
            refuse_unknown_check(check)
        singles = open_exceptions(warehouse, check=check, limit=limit) if check else []
        checked_at, _ = last_checks(warehouse, clock.now())
    if accepted:
        found = of_accepted(known, check, limit)
    elif check:
        found = of_check(check, sum(line.count for line in lines), singles, checked_at)
    else:
        found = of_lines(lines, limit, checked_at)
    answer(found.as_json() if as_json else found.as_markdown() if markdown else found.as_text())
    return 1 if fail and (lines or checked_at is None) else 0


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
    from scripts.exceptions import restorable_orders
    from scripts.exceptions import restore as restore_orders
    from scripts.reading import checked_warehouse

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
@click.argument("what", metavar="KEY|CHECK")
@click.option("--note", required=True, metavar="TEXT", help="What was done.")
@gateway_option
@at_option
def resolve(what: str, note: str, gateway: str | None, at: dt.datetime | None) -> None:
    """Close what was mended: one exception, all of a line, or all of a check.

    What closes by itself need not be resolved. If a check still fails, its next run opens the exception again.

    Changes the exceptions alone: they keep the note and the time.

    \b
    Examples:
      order-tracking exceptions resolve 9f3ebfee06 --note "corrected at the source"
      order-tracking exceptions resolve order_without_scans --note "reconciled"
    """
    _close(what, note, gateway, at, accept=False)


@command.command(epilog=EXIT_CODES)
@click.argument("what", metavar="KEY|CHECK")
@click.option("--note", required=True, metavar="TEXT", help="Why it may stay as it is.")
@gateway_option
@at_option
def accept(what: str, note: str, gateway: str | None, at: dt.datetime | None) -> None:
    """Close what is known and may stay: one exception, all of a line, or all of a check.

    What was accepted stays quiet until it changes: another value or another count opens a new exception, and so does
    an order that was not among the accepted ones.

    Changes the exceptions alone: they keep the note and the time.

    \b
    Examples:
      order-tracking exceptions accept 9f3ebfee06 --note "the source is right, see ticket 12"
      order-tracking exceptions accept order_without_scans --note "cancelled before the first scan"
    """
    _close(what, note, gateway, at, accept=True)


def _close(what: str, note: str, gateway: str | None, at: dt.datetime | None, *, accept: bool) -> None:
    gateway = chosen_gateway(gateway)
    from extract.clock import Clock
    from extract.tables import load_config
    from scripts.exceptions import close_exceptions
    from scripts.reading import checked_warehouse

    clock = Clock(at)
    with checked_warehouse(gateway, load_config(), clock, asks=False) as warehouse:
        closed = close_exceptions(warehouse, what, note, clock, accept=accept)
    tell(f"{'Accepted' if accept else 'Resolved'} {plural(closed, 'exception')} of {what}.")


def last_run(checked_at: dt.datetime | None) -> str:
    """When the checks last ran, in a sentence: that nothing is open says little if they never did."""
    if checked_at is None:
        return "The daily checks have never run: the first cycle after midnight (UTC) runs them."
    return f"The daily checks last ran for {checked_at:%Y-%m-%d %H:%M} UTC."


@dataclass(frozen=True)
class Listing:
    """What a list shows, as text, Markdown or JSON."""

    what: str
    """Which exceptions these are: open, or accepted."""
    check: str | None
    """The only check that was asked for."""
    count: int
    """How many exceptions there are; shown or not."""
    header: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    hidden: int
    """So many lines or exceptions are left out."""
    data: dict[str, Any]
    """The shown ones for a machine."""
    said: str = ""
    """What there is to say besides, also where there are none."""
    hint: str = ""
    """What can be done about those that are shown."""

    @property
    def _nothing(self) -> str:
        return f"No exception {f'of {self.check} ' if self.check else ''}is {self.what}"

    @property
    def _more(self) -> str:
        things = "exceptions" if "exceptions" in self.data else "lines"
        return f"{self.hidden:,} more {things} are not shown: give a greater --limit." if self.hidden else ""

    def as_text(self) -> str:
        if not self.count:
            return in_one(f"{self._nothing}.", self.said)
        told = [table(self.header, self.rows), "", in_one(f"{self.count:,} {self.what}.", self._more, self.said)]
        return "\n".join([*told, *([self.hint] if self.hint else [])])

    def as_markdown(self) -> str:
        """A table for a CI summary."""
        if not self.count:
            return "\n\n".join(filter(None, (f"### {self._nothing}", self.said)))
        title = f"### {plural(self.count, f'{self.what} exception')}"
        return "\n".join([title, "", *_markdown_table(self.header, self.rows), "", in_one(self.said, self._more)])

    def as_json(self) -> str:
        return json_text({self.what: self.count, **self.data, "hidden": self.hidden})


def in_one(*sentences: str) -> str:
    return " ".join(filter(None, sentences))


def of_lines(lines: Sequence[OpenLine], limit: int, checked_at: dt.datetime | None) -> Listing:
    """What is open, a line for each check, table and topic."""
    from scripts.open_exceptions import RESTORABLE_CHECK, as_data

    shown = lines[:limit]
    return Listing(
        "open",
        None,
        sum(line.count for line in lines),
        ("KEY", "CHECK", "COUNT", "SINCE", "TABLE", "WHAT", "FOR EXAMPLE"),
        [
            (
                line.key,
                line.check_name,
                line.rows,
                minute(line.first_seen_at),
                line.table_name,
                line.topic,
                line.examples_text or None,
            )
            for line in shown
        ],
        len(lines) - len(shown),
        {"checked_at": checked_at, "lines": [as_data(line) for line in shown]},
        said=last_run(checked_at),
        hint=RESTORE_HINT if any(line.check_name == RESTORABLE_CHECK for line in lines) else "",
    )


def of_check(check: str, count: int, shown: Sequence[OpenException], checked_at: dt.datetime | None) -> Listing:
    """What is open of one check, exception by exception: these of `count`."""
    from scripts.open_exceptions import RESTORABLE_CHECK, finding_as_data

    return Listing(
        "open",
        check,
        count,
        ("KEY", "ORDER", "SEEN", "SINCE", "TABLE", "WHAT", "FIGURES"),
        [
            (
                exception.key,
                # An order number takes no thousands: it is copied.
                None if exception.order_id is None else str(exception.order_id),
                exception.times_seen,
                minute(exception.first_seen_at),
                exception.table_name,
                exception.topic,
                exception.figures or None,
            )
            for exception in shown
        ],
        count - len(shown),
        {"checked_at": checked_at, "exceptions": [finding_as_data(exception) for exception in shown]},
        said=last_run(checked_at),
        hint=RESTORE_HINT if check == RESTORABLE_CHECK else "",
    )


def of_accepted(lines: Sequence[AcceptedLine], check: str | None, limit: int) -> Listing:
    """What was accepted and stays quiet."""
    from scripts.open_exceptions import accepted_as_data

    shown = lines[:limit]
    return Listing(
        "accepted",
        check,
        sum(line.count for line in lines),
        ("CHECK", "COUNT", "ACCEPTED", "TABLE", "WHAT", "FIRST ORDER", "NOTE"),
        [
            (
                line.check_name,
                line.count,
                minute(line.accepted_at),
                line.table_name,
                line.topic,
                None if line.first_order is None else str(line.first_order),
                line.note,
            )
            for line in shown
        ],
        len(lines) - len(shown),
        {"lines": [accepted_as_data(line) for line in shown]},
        said=STAYS_QUIET if lines else "",
    )


def minute(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    cells = [[_markdown(cell) for cell in row] for row in [[name.lower() for name in header], *rows]]
    cells.insert(1, ["---"] * len(header))
    return [f"| {' | '.join(row)} |" for row in cells]


def _markdown(cell: Any) -> str:
    """A value as text that Markdown shows as it is: no tag, no bar, no line's end, nothing that steers a terminal."""
    import html

    text = "-" if cell is None else f"{cell:,}" if isinstance(cell, int) else printable(" ".join(str(cell).split()))
    return html.escape(text, quote=False).replace("|", "\\|")
