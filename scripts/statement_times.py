"""How long each statement of a cycle took, for the summary and for whoever wants to know where the time goes."""

from __future__ import annotations

import csv
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlglot import exp

from extract.warehouse import warehouse_class
from macros.marts import mart_of

NAMED_FROM = 0.5  # seconds; what is faster is not worth a line
NAMED = 3

COMMENT = r"\s*(?:/\*.*?\*/\s*)?"
"""SQLMesh says there on whose behalf it works."""
CHANGES = re.compile(COMMENT + r"(?:INSERT|DELETE)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Statement:
    """One executed statement, as text or as the tree that it was made of: few are ever shown."""

    executed: str | exp.Expr
    seconds: float
    rows: int | None = None
    """How many it wrote or deleted; None where that is not known."""

    @property
    def sql(self) -> str:
        return self.executed if isinstance(self.executed, str) else self.executed.sql("redshift")

    @property
    def told(self) -> str:
        """What it does and to which table, in a few words.

        Example:
            >>> Statement('DELETE FROM "db"."order_tracking_history"."hist_uti_2024_h1" USING x', 0.0).told
            'DELETE hist_uti_2024_h1'
            >>> Statement('SELECT MIN("a") FROM "sqlmesh__o"."order_tracking__mart_ecs_order_info__123"', 0.0).told
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


def slowest(statements: list[Statement]) -> str:
    """The slowest statements in one line; empty when none took long."""
    long = sorted((each for each in statements if each.seconds >= NAMED_FROM), key=lambda each: -each.seconds)
    return ", ".join(f"{each.told} {each.seconds:.1f} s" for each in long[:NAMED])


def rows_written(statements: list[Statement]) -> Counter[str]:
    """What statements did, and to which table -> rows."""
    written: Counter[str] = Counter()
    for each in statements:
        if each.rows is not None:
            written[each.told] += each.rows
    return written


def rows_moved(written: Counter[str], model: str) -> str:
    """The rows merged into a model's table and, of a mart, the rows archived; empty where nothing was inserted.

    Example:
        >>> rows_moved(Counter({"INSERT mart_ecs_order_info": 12}), "mart_ecs_order_info")
        '12 in, 0 archived'
    """
    if f"INSERT {model}" not in written:
        return ""
    merged = written[f"INSERT {model}"]
    if not model.startswith("mart_"):
        return f"{merged:,} in"
    history = f"INSERT hist_{mart_of(f'order_tracking.{model}').alias}_"
    archived = sum(rows for told, rows in written.items() if told.startswith(history))
    return f"{merged:,} in, {archived:,} archived"


def write_statements(statements: list[Statement], file: Path) -> None:
    """All of them as CSV, in the order in which they ended."""
    with file.open("w", newline="") as out:
        lines = csv.writer(out)
        lines.writerow(["seconds", "rows", "what", "sql"])
        lines.writerows([f"{each.seconds:.4f}", each.rows, each.told, each.sql] for each in statements)


@contextmanager
def timed_statements(gateway: str) -> Iterator[list[Statement]]:
    """Gives a list in which every statement of SQLMesh and of the extract is entered while the context is open.

    And each piece that is read from the source, until it is staged (on Redshift with the upload and the COPY), as READ:
    who waits for MySQL's rows waits there. What MySQL counts before is not among them.
    """
    from sqlmesh.core.engine_adapter.base import EngineAdapter

    warehouse = warehouse_class(gateway)
    statements: list[Statement] = []
    with ExitStack() as stack:
        stack.enter_context(_timed(warehouse, "execute", statements))
        stack.enter_context(_timed(warehouse, "fetchall", statements))
        stack.enter_context(_timed(EngineAdapter, "_execute", statements))
        stack.enter_context(_timed(warehouse, "stage", statements, reads="READ FROM "))
        yield statements


@contextmanager
def _timed(owner: type[Any], method: str, statements: list[Statement], reads: str = "") -> Iterator[None]:
    """Wraps one method that takes a statement first (or what `reads` makes one); put back at the end."""
    original: Callable[..., Any] = getattr(owner, method)

    def execute(self: Any, sql: Any, *args: Any, **options: Any) -> Any:
        started, rows = time.monotonic(), None
        try:
            result = original(self, sql, *args, **options)
            rows = result.rows if reads else result if isinstance(result, int) else _rows_changed(self, sql)
            return result
        finally:
            statements.append(Statement(f"{reads}{sql}" if reads else sql, time.monotonic() - started, rows))

    setattr(owner, method, execute)
    try:
        yield
    finally:
        setattr(owner, method, original)


def _rows_changed(engine: Any, sql: Any) -> int | None:
    """How many rows SQLMesh's engine adapter has just written or deleted, as its driver tells."""
    if not isinstance(sql, str) or not CHANGES.match(sql):
        return None
    told = engine.cursor.fetchone() if engine.dialect == "duckdb" else (engine.cursor.rowcount,)
    return int(told[0]) if told and told[0] >= 0 else None  # a count that is missing must not fail a cycle
