"""What the command lines share: the options, the settings they need, and errors as messages with an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any

from extract.clock import parse_time
from extract.errors import ConfigurationError, CycleFailed, in_words, with_first
from extract.settings import load_settings_file, read_settings, without_secrets

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_LOCKED = 75

FIRST_YEAR, LAST_YEAR = 2010, 2099


def configured_source(url: str | None, gateway: str) -> str:
    """The source's URL, as given or from the environment; what is missing is named with all other settings."""
    source = read_settings(gateway, url, needs_source=True).source
    return source.get_secret_value() if source else ""


def check_settings(gateway: str, *, needs_source: bool, source: str | None = None) -> None:
    """Raises ConfigurationError that names every setting that is missing or wrong."""
    read_settings(gateway, source, needs_source=needs_source)


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
        "--at", type=moment_argument, metavar="T", default=unset, help="work for this moment, ISO, UTC (default: now)"
    )


def time_argument(text: str) -> Any:
    try:
        return parse_time(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def moment_argument(text: str) -> Any:
    """A moment to work for. Earlier the models know no interval; much later SQLMesh would count millions of them."""
    moment = time_argument(text)
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise argparse.ArgumentTypeError(f"'{text}' is not within the years {FIRST_YEAR} to {LAST_YEAR}")
    return moment


def run_command(
    parser: argparse.ArgumentParser, command: Callable[[Any], int], arguments: list[str] | None = None
) -> int:
    """Runs a command and turns what it raises into one message on standard error and the exit code for it."""
    options = parser.parse_args(arguments)
    from extract.errors import ExtractFailed, LockHeld, SourceError, SourceUrlError, WarehouseError

    def failed(error: BaseException | str, code: int) -> int:
        message = error if isinstance(error, str) else in_words(error)
        print(without_secrets(message, getattr(options, "source", None)), file=sys.stderr)
        return code

    try:
        check_settings(options.gateway, needs_source="source" in options, source=getattr(options, "source", None))
        return command(options)
    except LockHeld as error:
        return failed(error, EXIT_LOCKED)
    except (ConfigurationError, SourceUrlError) as error:
        return failed(error, EXIT_USAGE)
    except (SourceError, ExtractFailed, WarehouseError, CycleFailed) as error:
        return failed(error, EXIT_FAILED)
    except KeyboardInterrupt:
        return failed(
            "Interrupted. What was being written is rolled back or made good by the next run; run this again.",
            EXIT_FAILED,
        )
    except Exception as error:
        if os.environ.get("ORDER_TRACKING_DEBUG"):
            raise
        return failed(
            f"Stopped by an error that nobody foresaw ({type(error).__name__}: {with_first(error)}). "
            "What was being written is rolled back or made good by the next run: run this again. "
            "If it stays, report it with what it prints with ORDER_TRACKING_DEBUG=1.",
            EXIT_FAILED,
        )
