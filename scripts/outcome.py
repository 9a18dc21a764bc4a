"""How a command ends: an exit code and, where something went wrong, one message on standard error."""

from __future__ import annotations

import os
import re
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import current_thread, main_thread
from types import FrameType

import click

from extract.errors import (
    ConfigurationError,
    CycleFailed,
    ExtractFailed,
    LockHeld,
    SourceError,
    SourceUrlError,
    WarehouseError,
    in_words,
    with_first,
)
from scripts.options import SOURCE_GIVEN

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_LOCKED = 75
EXIT_TERMINATED = 128 + signal.SIGTERM

INTERRUPTED = "Interrupted. What was being written is rolled back or made good by the next run; run this again."
UNEXPECTED = (
    "Unexpected error ({}). What was being written is rolled back or made good by the next run: run this again. "
    "If it stays, report it with what it prints with ORDER_TRACKING_DEBUG=1."
)


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does: what is open is closed, and a cycle leaves its row."""


@contextmanager
def _as_interruption() -> Iterator[None]:
    """SIGTERM raises Terminated inside, unless the process has been told to do otherwise with it."""

    def terminate(number: int, frame: FrameType | None) -> None:
        raise Terminated

    if signal.getsignal(signal.SIGTERM) != signal.SIG_DFL or current_thread() is not main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def run(commands: click.Command, arguments: Sequence[str], name: str) -> int:
    """Runs a command line and gives its exit code. No error leaves it; no message shows a password."""
    _make_printable()
    source = None
    surrogates = "[\udc80-\udcff]"  # what stands for bytes that are no letters
    if unreadable := [text for text in arguments if re.search(surrogates, text)]:
        _tell(f"{unreadable[0]!a} is no UTF-8. Nothing was done. See: {name} --help")
        return EXIT_USAGE
    try:
        _complete(commands, name)
        with _as_interruption(), commands.make_context(name, [*arguments]) as context:
            try:
                code = commands.invoke(context)
            finally:
                source = context.meta.get(SOURCE_GIVEN)
        sys.stdout.flush()
        return code or 0
    except click.exceptions.Exit as stopped:
        return stopped.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        _tell(error.format_message())
        return EXIT_USAGE
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else name
        text = re.sub(r"://\S*@", "://***@", _one_line(error.format_message()))
        _tell(f"{text}{'' if text.endswith(('.', '?')) else '.'} Nothing was done. See: {command} --help")
        return EXIT_USAGE
    except BaseException as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return 0
        from extract.settings import is_debugged, without_secrets

        if is_debugged():
            _tell(without_secrets("".join(traceback.format_exception(error)), source))
        message, code = _message(error)
        _tell(without_secrets(message, source))
        return code


def _message(error: BaseException) -> tuple[str, int]:
    """What is said of an error, and its exit code. Only settings and taken names are listed on several lines."""
    match error:
        case LockHeld():
            return in_words(error), EXIT_LOCKED
        case ConfigurationError() | SourceUrlError():
            return in_words(error), EXIT_USAGE
        case SourceError() | ExtractFailed() | WarehouseError() | CycleFailed():
            return _one_line(in_words(error)), EXIT_FAILED
        case Terminated():
            return INTERRUPTED, EXIT_TERMINATED
        case KeyboardInterrupt() | click.Abort():
            return INTERRUPTED, EXIT_FAILED
        case _:
            return UNEXPECTED.format(_one_line(f"{type(error).__name__}: {with_first(error)}")), EXIT_FAILED


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _complete(commands: click.Command, name: str) -> None:
    """Answers a shell that completes a command line, and ends."""
    variable = f"_{name.replace('-', '_')}_COMPLETE".upper()
    if instruction := os.environ.get(variable):
        from click.shell_completion import shell_complete

        raise click.exceptions.Exit(shell_complete(commands, {}, name, variable, instruction))


def _make_printable() -> None:
    """A stream that is closed, or knows no foreign letters, must not stop the work."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _nobody_reads() -> bool:
    """Whether it is standard output that is broken; then it is silenced, or Python would complain at its end."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        silence()
        return True
    return False


def silence() -> None:
    """What is printed from now on goes nowhere."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell(message: str) -> None:
    with suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    with suppress(OSError, ValueError):
        print(message, file=sys.stderr, flush=True)
