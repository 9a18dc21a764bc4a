"""What commands print: tables that fit a terminal and are whole in a log, and lines that never stop the work."""

from __future__ import annotations

import datetime as dt
import io
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

WHOLE = 100_000
"""So many columns has what is no terminal: nothing is cut or wrapped there."""

NARROW = 100
"""Below so many columns a table that does not fit would be folded to crumbs."""


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows as text: numbers to the right, with thousands; None as a dash.

    A terminal that is too narrow folds long cells; on a phone's width each row becomes a block of lines.
    """
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    width = Console(file=sys.stdout).width if terminal else WHOLE
    cells = [[_cell(value) for value in row] for row in rows]
    wanted = sum(max(map(cell_len, column)) + 2 for column in zip(header, *cells, strict=True)) - 2
    if width < min(wanted, NARROW):
        widest = max(map(len, header))
        blocks = ["\n".join(f"{n.ljust(widest)}  {c}" for n, c in zip(header, row, strict=True)) for row in cells]
        return "\n\n".join(blocks)
    shown = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False)
    for number, name in enumerate(header):
        numeric = any(isinstance(row[number], int | float) for row in rows)
        shown.add_column(name, justify="right" if numeric else "left", overflow="fold", no_wrap=numeric)
    for row in cells:
        shown.add_row(*map(Text, row))
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width, highlight=False, emoji=False)
    with console.capture() as captured:
        console.print(shown)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.1f}" if isinstance(value, float) else printable(str(value))


def printable(text: str) -> str:
    """A value of the source as one line that any terminal shows as it is: what would steer it is spelled out.

    Example:
        >>> printable("A\\n\\x1b[2J中"), printable("1\\u202e2")
        ('A\\\\n\\\\x1b[2J中', '1\\\\u202e2')
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def json_text(data: Any) -> str:
    """For a machine. Times are UTC, with or without a zone."""

    def told(value: Any) -> str:
        return f"{value:%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, dt.datetime) else str(value)

    return json.dumps(data, indent=2, default=told)


def cut(text: str, size: int) -> str:
    """The beginning of a text that is longer than `size` characters."""
    return text if len(text) <= size else f"{text[: size - 2]} …"


def in_time(span: dt.timedelta | float) -> str:
    """A span of time in two words.

    Example:
        >>> in_time(50), in_time(420), in_time(3 * 3600 + 120), in_time(dt.timedelta(days=2, hours=5))
        ('50 s', '7 min', '3 h 2 min', '2 d 5 h')
    """
    seconds = int(span.total_seconds() if isinstance(span, dt.timedelta) else span)
    for size, unit, small, of_small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if seconds >= size:
            rest = seconds % size // small
            return f"{seconds // size} {unit} {rest} {of_small}" if rest else f"{seconds // size} {unit}"
    return f"{seconds // 60} min" if seconds >= 60 else f"{seconds} s"


def plural(number: int, what: str) -> str:
    """A number with its noun.

    Example:
        >>> plural(1, "statement"), plural(1200, "row")
        ('1 statement', '1,200 rows')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def answer(text: str) -> None:
    """Prints what was asked for. Who has read enough (`| head`) may leave; what else fails is the command's failure."""
    with suppress(BrokenPipeError):
        print(text, flush=True)


def tell(text: str) -> None:
    """Prints what has been done meanwhile. What is not to be printed must not stop what is being done."""
    with suppress(OSError, ValueError):
        print(text, flush=True)
