"""Progress of what takes a while: a bar each on a terminal, nothing in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

Item = TypeVar("Item")

REFRESH_SECONDS = 0.1


class TableProgress:
    """Called with a table's name, rows read so far and rows expected (0: unknown), it draws one bar a table.

    Of anything else that takes a while it draws the same, with its own unit.
    """

    def __init__(self, unit: str) -> None:
        self._bars = _bars(unit)
        self._tasks: dict[str, int] = {}
        self._lock = Lock()
        self._drawn = 0.0

    def __call__(self, table: str, rows: int, expected: int) -> None:
        bars = self._bars
        if bars is None:
            return
        with self._lock:
            if not self._tasks:
                bars.start()
            if table not in self._tasks:
                self._tasks[table] = bars.add_task(table, total=expected or None)
            # Drawn here and not by a thread of its own: where the terminal is gone, whoever reads is told, and goes on.
            now = time.monotonic()
            bars.update(self._tasks[table], completed=rows, refresh=now - self._drawn > REFRESH_SECONDS)  # type: ignore[arg-type]
            self._drawn = now if now - self._drawn > REFRESH_SECONDS else self._drawn

    def clear(self) -> None:
        """Takes the bars away, so that a line can be printed; the next call begins them anew."""
        with self._lock, suppress(Exception):  # a terminal that is gone must not fail what has been done
            if self._bars is not None and self._tasks:
                self._tasks.clear()
                self._bars.stop()
                for task in self._bars.task_ids:
                    self._bars.remove_task(task)


@contextmanager
def table_progress(unit: str = " rows") -> Iterator[TableProgress]:
    """Bars that are gone when the work has ended, however it ended."""
    progress = TableProgress(unit)
    try:
        yield progress
    finally:
        progress.clear()


def with_progress(items: Collection[Item], what: str) -> Iterator[Item]:
    """The items one by one, behind a bar on a terminal."""
    with table_progress(unit="") as progress:
        for done, item in enumerate(items):
            with suppress(Exception):
                progress(what, done, len(items))
            yield item


def _bars(unit: str) -> Progress | None:
    """Bars on standard error, which vanish at the end; None where nobody watches."""
    if sys.stderr is None or sys.stderr.closed or not sys.stderr.isatty():
        return None
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TaskProgressColumn(show_speed=False),
        TextColumn(f"{{task.completed:,.0f}}{unit}"),
        TimeElapsedColumn(),
        console=Console(file=sys.stderr),
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,  # what is printed goes where the user has sent it
        redirect_stderr=False,
    )
