"""`order-tracking plan`"""

from __future__ import annotations

import datetime as dt

import click

from scripts.options import EXIT_CODES, at_option, chosen_gateway, gateway_option


@click.command(short_help="Show what a change of the models does, and apply it.", epilog=EXIT_CODES)
@click.argument("environment", default="prod")
@click.option("--yes", is_flag=True, help="Apply without asking.")
@click.option("--no-diff", is_flag=True, help="Name what changes, without its text (after an upgrade it is long).")
@gateway_option
@at_option
def command(environment: str, yes: bool, no_diff: bool, gateway: str | None, at: dt.datetime | None) -> None:
    """Show what a change of the models does, and apply it after asking.

    ENVIRONMENT is prod, or the name of one to try a change in. This is how a column is added: a cycle works with what
    was planned last.

    Changes no row and no mart before it is confirmed: until then it only makes what is missing in raw and history,
    empty: tables of half-years to come, columns that external_models.yaml has gained. Then it changes the marts' tables
    and views; rows stay. An environment other than prod has marts of its own.

    \b
    Examples:
      order-tracking plan
      order-tracking plan dev --yes
    """
    gateway = chosen_gateway(gateway)
    from scripts.plan import plan

    plan(environment, gateway=gateway, at=at, yes=yes, no_diff=no_diff)
