"""What the commands share: their options, and the settings that a command needs before it begins."""

from __future__ import annotations

import datetime as dt
import os
from typing import Any

import click

from extract.clock import parse_time

FIRST_YEAR, LAST_YEAR = 2010, 2099


def exit_codes(done: str, failed: str, locked: str = "another command holds the lock; nothing was done") -> str:
    """The end of a command's help: what its exit codes mean."""
    return f"""
    \b
    Exit codes:
      0   {done}
      1   {failed}
      2   usage or configuration; nothing was done
      75  {locked}
"""


EXIT_CODES = exit_codes("done", "failed; nothing is lost, and the message says what to do")

SOURCE_GIVEN = "order_tracking.source"
"""Where a command's context keeps the source's URL as given: no message may show its password."""


class InOrder(click.Group):
    """A group whose help lists its commands as they stand in the file, not by the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


class Time(click.ParamType):
    """An ISO time, UTC unless it says otherwise."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dt.datetime:
        if isinstance(value, dt.datetime):
            return value
        try:
            return parse_time(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class WorkingTime(Time):
    """A moment to work for. Earlier the models know no interval; much later SQLMesh would count millions of them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dt.datetime:
        moment = super().convert(value, param, ctx)
        if not FIRST_YEAR <= moment.year <= LAST_YEAR:
            self.fail(f"'{value}' is not within the years {FIRST_YEAR} to {LAST_YEAR}", param, ctx)
        return moment


def remember_source(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Callback of an option that takes a source's URL."""
    ctx.meta[SOURCE_GIVEN] = value
    return value


gateway_option = click.option(
    "--gateway",
    metavar="NAME",
    shell_complete=lambda ctx, param, incomplete: [
        name for name in ("local", "redshift") if name.startswith(incomplete)
    ],
    help="local or redshift (default: ORDER_TRACKING_GATEWAY, or local).",
)
at_option = click.option(
    "--at", type=WorkingTime(), metavar="TIME", help="Work for this moment: ISO, UTC (default: now)."
)
source_option = click.option(
    "--source",
    metavar="URL",
    callback=remember_source,
    help="mysql://user:password@host:port/database or duckdb:///path/to/file (default: ORDER_TRACKING_SOURCE).",
)
table_option = click.option(
    "--table", "tables", multiple=True, metavar="NAME", help="Only this table; may be given several times."
)

allow_empty_option = click.option(
    "--allow-empty",
    is_flag=True,
    help="A source's table without a row is meant so; else it is an error once it had some.",
)


def named_gateway(gateway: str | None) -> str:
    """The gateway to work on by its name, with the settings of the project's .env file in place, none of them checked.

    Raises ConfigurationError where there is no gateway of that name; all that is missing or wrong is named with it.
    """
    from extract.settings import GATEWAYS, load_settings_file, read_settings

    load_settings_file()
    chosen = gateway or os.environ.get("ORDER_TRACKING_GATEWAY") or "local"
    if chosen not in GATEWAYS:
        read_settings(chosen)
    return chosen


def chosen_gateway(gateway: str | None, *, needs_source: bool = False, source: str | None = None) -> str:
    """The gateway to work on, with the settings of the project's .env file in place.

    Raises ConfigurationError that names every setting that is missing.
    """
    from extract.settings import read_settings

    chosen = named_gateway(gateway)
    read_settings(chosen, source, needs_source=needs_source)
    return chosen
