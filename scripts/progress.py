"""A progress bar per table for reads that take a while; silent where nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock

from tqdm import tqdm


@contextmanager
def table_progress() -> Iterator[Callable[[str, int, int], None] | None]:
    """Gives a callback (table, rows read, rows expected) that draws one bar a table on a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    bars: dict[str, tqdm] = {}
    lock = Lock()

    def progress(table: str, rows: int, expected: int) -> None:
        with lock:
            if table not in bars:
                bars[table] = tqdm(total=expected or None, desc=table, unit=" rows", unit_scale=True, leave=False)
            bars[table].update(rows - bars[table].n)

    try:
        yield progress
    finally:
        for bar in bars.values():
            with suppress(Exception):  # a terminal that is gone must not fail what has been done
                bar.close()
