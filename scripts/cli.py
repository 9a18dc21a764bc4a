"""`order-tracking`: the commands, in the order in which an operator meets them.

A new command is a module of scripts/commands, named in SECTIONS.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from scripts.options import EXIT_CODES
from scripts.outcome import run

NAME = "order-tracking"

SECTIONS = {
    "Every day": ("cycle", "status", "order", "extract", "reconcile", "verify", "refresh", "lateness", "alert"),
    "What the checks find": ("exceptions",),
    "Changes of the models": ("plan", "retention"),
    "Redshift": ("redshift",),
    "Try it": ("demo", "simulate"),
}
WIDEST = max(len(name) for names in SECTIONS.values() for name in names)


class Commands(click.Group):
    """The commands by section. Only the one that is asked for is loaded; for the list of all, all."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for names in SECTIONS.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = import_module(f"scripts.commands.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in SECTIONS.items():
            commands = [(name.ljust(WIDEST), self.get_command(ctx, name)) for name in names]
            with formatter.section(title):
                formatter.write_dl([(name, command.get_short_help_str(64)) for name, command in commands if command])


@click.group(
    cls=Commands,
    epilog=f"""{EXIT_CODES}
    \b
    Completion in bash (zsh and fish likewise), now or in ~/.bashrc:
      eval "$(_ORDER_TRACKING_COMPLETE=bash_source order-tracking)"
    """,
)
@click.version_option(package_name=NAME, message="%(package)s %(version)s")
def order_tracking() -> None:
    """Keep a logistics company's orders queryable: no order and no scan lost, doubled or split.

    Settings come from the environment, and from the file .env of the project's folder. `order-tracking COMMAND --help`
    says what a command does and what it changes. With ORDER_TRACKING_DEBUG=1 a failure shows where it came from.

    \b
    Example, every quarter-hour:
      order-tracking cycle
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `order-tracking` with these arguments, by default the process's; gives the exit code."""
    return run(order_tracking, sys.argv[1:] if arguments is None else arguments, NAME)


if __name__ == "__main__":
    raise SystemExit(main())
