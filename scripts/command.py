"""What the command lines share: the options, the settings they need, and errors as messages with an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any

from dotenv import load_dotenv

from extract.clock import parse_time
from extract.config import PROJECT, ConfigurationError


class CycleFailed(Exception):
    """SQLMesh could not finish; the message says in which step, what that means and what to do."""


EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_LOCKED = 75


def configured_source(url: str | None) -> str:
    """The source's URL as given, or from the environment."""
    found = url or os.environ.get("ORDER_TRACKING_SOURCE")
    if not found:
        raise ConfigurationError(
            "No source is set; nothing was done. Give --source, or set ORDER_TRACKING_SOURCE, to "
            "mysql://user:password@host:port/database or duckdb:///path/to/file."
        )
    return found


def load_settings_file() -> None:
    """Takes what the environment does not set from the project's .env file, where there is one.

    SQLMesh reads the same file by itself, but lets it override the environment; so it is told not to.
    """
    load_dotenv(PROJECT / ".env", override=False)
    os.environ["PYTHON_DOTENV_DISABLED"] = "1"


def command_line(name: str, description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every command has: --gateway and --at. Reads the project's .env file first."""
    load_settings_file()
    parser = argparse.ArgumentParser(
        prog=f"python -m {name}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(gateway=os.environ.get("ORDER_TRACKING_GATEWAY") or "local", at=None)
    add_common_options(parser)
    return parser


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """--gateway and --at; a subcommand takes them too, so that they may stand before or after its name."""
    unset = argparse.SUPPRESS
    parser.add_argument(
        "--gateway", default=unset, help="local or redshift (default: ORDER_TRACKING_GATEWAY, or local)"
    )
    parser.add_argument(
        "--at", type=time_argument, metavar="T", default=unset, help="work for this moment, ISO, UTC (default: now)"
    )


def time_argument(text: str) -> Any:
    try:
        return parse_time(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run_command(
    parser: argparse.ArgumentParser, command: Callable[[Any], int], arguments: list[str] | None = None
) -> int:
    """Runs a command and turns what it raises into one message on standard error and the exit code for it."""
    from extract.lock import LockHeld
    from extract.redshift_settings import check_gateway
    from extract.run import ExtractFailed
    from extract.source import SourceError
    from extract.warehouse import WarehouseError

    options = parser.parse_args(arguments)
    try:
        check_gateway(options.gateway)
        return command(options)
    except LockHeld as error:
        print(error, file=sys.stderr)
        return EXIT_LOCKED
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    except (SourceError, ExtractFailed, WarehouseError, CycleFailed) as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED
