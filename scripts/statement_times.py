"""How long each of SQLMesh's statements took, told from its log: for the summary, and for whoever asks where time goes.

SQLMesh logs a statement when it begins. So a statement's seconds are the time until the next one begins or the model
ends: they include the COMMIT, and what SQLMesh itself does in between.
"""

from __future__ import annotations

import csv
import logging
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

NAMED_FROM = 0.5  # seconds; what is faster is not worth a line
NAMED = 3

STATEMENTS = "sqlmesh.core.engine_adapter.base"
RETENTION = "order_tracking.retention"

COMMENT = r"\s*(?:/\*.*?\*/\s*)?"
"""SQLMesh says there on whose behalf it works."""


@dataclass(frozen=True)
class TimedStatement:
    """One statement that SQLMesh executed."""

    sql: str
    seconds: float

    @property
    def label(self) -> str:
        """What it does and to which table, in a few words.

        Example:
            >>> TimedStatement('DELETE FROM "db"."order_tracking_history"."hist_uti_2024_h1" USING x', 0.0).label
            'DELETE hist_uti_2024_h1'
            >>> TimedStatement('SELECT MIN("a") FROM "sqlmesh__o"."order_tracking__mart_ecs_order_info__1"', 0.0).label
            'SELECT mart_ecs_order_info'
        """
        sql = re.sub(COMMENT, "", self.sql, count=1)
        verb = sql.split(None, 1)[0].upper() if sql else ""
        tables = [_table(name) for name in re.findall(r'(?:FROM|INTO|UPDATE|TABLE|JOIN)\s+((?:"[^"]+"|[\w.])+)', sql)]
        return f"{verb} {tables[0]}" if tables else verb


def _table(name: str) -> str:
    """The last part of a table's name, without what SQLMesh puts around it."""
    last = name.split(".")[-1].strip('"')
    return re.sub(r"^(?:__temp_)?order_tracking__(\w+?)__\w+$", r"\1", last)


class StatementLog(logging.Filter):
    """Notes the statements that SQLMesh logs, and the rows that retention archives.

    It is a filter, not a handler: it sees each record before any handler does, and lets none pass that the user's own
    levels would have held back. So nothing is printed or written anywhere because of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.statements: list[TimedStatement] = []
        self.archived: Counter[str] = Counter()
        """Mart's alias -> rows."""
        self._running: tuple[str, float] | None = None

    @contextmanager
    def attached(self) -> Iterator[StatementLog]:
        """Listens while the context is open."""
        loggers = [logging.getLogger(STATEMENTS), logging.getLogger(RETENTION)]
        levels = [logger.level for logger in loggers]
        self._passing = {logger.name: logger.getEffectiveLevel() for logger in loggers}
        for logger, level in zip(loggers, (logging.DEBUG, logging.INFO), strict=True):
            logger.addFilter(self)
            logger.setLevel(level)
        try:
            yield self
        finally:
            self.end()
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
                logger.removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        with suppress(Exception):  # a display never stops the work
            self._note(record)
        return record.levelno >= self._passing[record.name]

    def _note(self, record: logging.LogRecord) -> None:
        if not isinstance(record.args, tuple):
            return
        if record.name == RETENTION:
            rows, alias = record.args
            self.archived[str(alias)] += int(str(rows))
        elif record.msg == "Executing SQL: %s":
            self.end()
            self._running = (str(record.args[0]), time.monotonic())

    def end(self) -> None:
        """The statement that runs, if any does, ends now."""
        if self._running is not None:
            sql, started = self._running
            self._running = None
            self.statements.append(TimedStatement(sql, time.monotonic() - started))


def slowest(statements: list[TimedStatement]) -> str:
    """The slowest statements in one line; empty when none took long."""
    long = sorted((each for each in statements if each.seconds >= NAMED_FROM), key=lambda each: -each.seconds)
    return ", ".join(f"{each.label} {each.seconds:.1f} s" for each in long[:NAMED])


HEADING = ("seconds", "what", "sql")
STATEMENTS_BEGIN = "seconds,what"
"""A file of statements begins so; the bench's own too."""


def write_statements(statements: list[TimedStatement], file: Path) -> None:
    """All of them as CSV, in the order in which they began."""
    with file.open("w", newline="", encoding="utf-8") as out:
        lines = csv.writer(out)
        lines.writerow(HEADING)
        lines.writerows([f"{each.seconds:.4f}", each.label, each.sql] for each in statements)
