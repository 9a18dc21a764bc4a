"""What the checks found and nobody has closed, what was accepted, and when they last looked.

What is found a thousand times is one line: `open_lines` groups the exceptions by check, table and topic, with a count
and a few examples. Alerts have lines of their own (scripts/news.py), for they tell what is new.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from extract.ensure_tables import EXTRACT_LOG
from extract.warehouse import Warehouse, stands
from macros.details import ACCEPTED, COUNTED, VALUES
from macros.details import topic as topic_in_sql
from macros.marts import CHECK_LOG, EXCEPTIONS
from macros.sql import sql_from_template, table_node, timestamp

RESTORABLE_CHECK = "order_without_ecs"

EXAMPLES = 3
"""So many findings stand for all of a line."""


@dataclass(frozen=True)
class OpenException:
    """One open row of order_tracking_exceptions; `key` names it on the command line."""

    check_name: str
    table_name: str
    order_id: int | None
    detail: str
    first_seen_at: dt.datetime
    last_seen_at: dt.datetime
    times_seen: int

    @property
    def key(self) -> str:
        return _key(self.check_name, self.table_name, str(self.order_id), self.topic)

    @property
    def topic(self) -> str:
        """What it is about, without the figures: they may change, and it stays the same exception."""
        return self.detail.split(COUNTED, 1)[0].split(VALUES, 1)[0]

    @property
    def figures(self) -> str:
        """What stands in brackets behind the topic; empty where nothing does."""
        return self.detail[len(self.topic) :].strip().removeprefix("(").removesuffix(")")

    @property
    def values(self) -> dict[str, str]:
        """The figures by name: rows; or found, expected and difference. Of two of one name the first counts."""
        return dict(part.split(": ", 1) for part in reversed(self.figures.split("; ")) if ": " in part)

    @property
    def rows(self) -> int:
        """How many rows or orders it is about."""
        rows = self.values.get("rows", "")
        return int(rows) if self.order_id is None and rows.isdigit() else 1


@dataclass(frozen=True)
class OpenLine:
    """All open exceptions of one check, table and topic: what a list shows as one line. `key` names them all."""

    check_name: str
    table_name: str
    topic: str
    count: int
    """How many exceptions."""
    first_seen_at: dt.datetime
    last_seen_at: dt.datetime
    examples: tuple[OpenException, ...]
    """The first by order, at most EXAMPLES."""

    @property
    def key(self) -> str:
        return _key(self.check_name, self.table_name, self.topic)

    @property
    def rows(self) -> int:
        """How many orders or, of a finding about a table, rows."""
        return max(self.count, *(example.rows for example in self.examples))

    @property
    def examples_text(self) -> str:
        """The examples in words."""
        return ", ".join(filter(None, map(_example, self.examples))) + (", …" if self.count > EXAMPLES else "")

    @property
    def sentence(self) -> str:
        """The line for an alert or a warning."""
        examples = self.examples_text
        table = self.table_name.split(".")[-1]
        return f"{self.check_name}: {self.topic}: {self.rows:,} in {table}" + (f" ({examples})" if examples else "")


def _example(exception: OpenException) -> str:
    if exception.order_id is None:
        return "; ".join(part for part in exception.figures.split("; ") if not part.startswith("rows: "))
    return f"{exception.order_id}" + (f" [{exception.figures}]" if exception.figures else "")


def _key(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:10]


def open_exceptions(
    warehouse: Warehouse, orders: Sequence[int] | None = None, *, check: str | None = None, limit: int | None = None
) -> list[OpenException]:
    """What is open, by check, table and order; of some orders, or of one check, alone; at most `limit`."""
    wanted: list[exp.Expr] = [exp.column("resolved_at").is_(exp.null())]
    wanted += [exp.column("order_id").isin(*orders)] if orders is not None else []
    columns = [exp.column(name) for name in OpenException.__dataclass_fields__]
    query = exp.select(*columns).from_(table_node(EXCEPTIONS)).where(*wanted, _of(check)).order_by(*"1234")
    return [OpenException(*row) for row in warehouse.fetchall(query if limit is None else query.limit(limit))]


def _of(check: str | None) -> exp.Expr:
    return exp.true() if check is None else exp.column("check_name").eq(check)


def open_lines(warehouse: Warehouse, check: str | None = None) -> list[OpenLine]:
    """What is open, a line for each check, table and topic: counted where the rows are, however many there are."""
    rows = warehouse.fetchall(
        sql_from_template(
            f"""
            SELECT :columns, topic, exceptions, first_seen, last_seen FROM (
              SELECT :columns, topic, COUNT(*) OVER (PARTITION BY check_name, table_name, topic) AS exceptions,
                MIN(first_seen_at) OVER (PARTITION BY check_name, table_name, topic) AS first_seen,
                MAX(last_seen_at) OVER (PARTITION BY check_name, table_name, topic) AS last_seen,
                ROW_NUMBER() OVER (PARTITION BY check_name, table_name, topic ORDER BY order_id, detail) AS place
              FROM (
                SELECT :columns, {topic_in_sql("found")} AS topic FROM found WHERE resolved_at IS NULL AND :of_check
              ) AS opened
            ) AS ranked
            WHERE place <= :examples ORDER BY check_name, table_name, topic, place
            """,
            {"found": EXCEPTIONS},
            columns=[exp.column(name) for name in OpenException.__dataclass_fields__],
            of_check=_of(check),
            examples=EXAMPLES,
        )
    )
    lines: dict[str, OpenLine] = {}
    for *columns, topic, count, first_seen_at, last_seen_at in rows:
        example = OpenException(*columns)
        head = (example.check_name, example.table_name, topic)
        before = lines[key].examples if (key := _key(*head)) in lines else ()
        lines[key] = OpenLine(*head, int(count), first_seen_at, last_seen_at, (*before, example))
    return list(lines.values())


def with_findings(warehouse: Warehouse, warnings: Sequence[str]) -> list[str]:
    """A cycle's warnings: in the place of an audit's, which has a count alone, what it found, as a list shows it."""
    audits = {text: found[1] for text in warnings if (found := re.search(r"'(\w+)' audit error: ", text))}
    lines = open_lines(warehouse) if audits else []
    told: list[str] = []
    for text in warnings:
        told += [line.sentence for line in lines if line.check_name == audits.get(text)] or [text]
    return told


def as_data(line: OpenLine) -> dict[str, Any]:
    """A line for a machine. Times are UTC."""
    return {
        "key": line.key,
        "check": line.check_name,
        "table": line.table_name,
        "what": line.topic,
        "count": line.rows,
        "first_seen_at": line.first_seen_at,
        "last_seen_at": line.last_seen_at,
        "examples": [finding_as_data(example) for example in line.examples],
    }


def finding_as_data(exception: OpenException) -> dict[str, Any]:
    """One exception for a machine. Times are UTC."""
    return {
        "key": exception.key,
        "check": exception.check_name,
        "table": exception.table_name,
        "order": exception.order_id,
        "what": exception.topic,
        "values": exception.values,
        "first_seen_at": exception.first_seen_at,
        "last_seen_at": exception.last_seen_at,
        "times_seen": exception.times_seen,
    }


def last_checks(warehouse: Warehouse, now: int) -> tuple[dt.datetime | None, int | None]:
    """When the daily checks last ran (the midnight that they ran for) and how much they found; None if never.

    Those of the first plan do not count: they ran on empty marts, before anything landed.
    """
    if not stands(warehouse, CHECK_LOG):
        return None, None  # a warehouse of an earlier version, before its next cycle
    rows = warehouse.fetchall(
        sql_from_template(
            """
            SELECT checked_at, findings FROM check_log
            WHERE checked_at <= :now
              AND checked_at >= (SELECT MIN(landed.finished_at) FROM extract_log AS landed WHERE landed.error IS NULL)
            ORDER BY checked_at DESC LIMIT 1
            """,
            {"check_log": CHECK_LOG, "extract_log": EXTRACT_LOG},
            now=timestamp(now),
        )
    )
    return rows[0] if rows else (None, None)


# What an operator has accepted: known findings that stay quiet until they change


@dataclass(frozen=True)
class AcceptedLine:
    """All accepted exceptions of one check, table, topic and note."""

    check_name: str
    table_name: str
    topic: str
    note: str
    count: int
    accepted_at: dt.datetime
    """When the last of them was; UTC, without a zone."""
    first_order: int | None


def accepted_lines(warehouse: Warehouse, check: str | None = None) -> list[AcceptedLine]:
    """What is accepted, of all checks or of one, by check, table and topic."""
    rows = warehouse.fetchall(
        sql_from_template(
            f"""
            SELECT check_name, table_name, topic, resolution, COUNT(*), MAX(resolved_at), MIN(order_id) FROM (
              SELECT closed.*, {topic_in_sql("closed")} AS topic FROM closed
              WHERE closed.resolution LIKE :accepted AND :of_check
            ) AS known
            GROUP BY check_name, table_name, topic, resolution ORDER BY check_name, table_name, topic, resolution
            """,
            {"closed": EXCEPTIONS},
            accepted=f"{ACCEPTED}%",
            of_check=_of(check),
        )
    )
    return [
        AcceptedLine(name, table, topic, resolution.removeprefix(ACCEPTED), int(count), accepted_at, order)
        for name, table, topic, resolution, count, accepted_at, order in rows
    ]


def accepted_as_data(line: AcceptedLine) -> dict[str, Any]:
    """A line for a machine. Times are UTC."""
    return {
        "check": line.check_name,
        "table": line.table_name,
        "what": line.topic,
        "count": line.count,
        "accepted_at": line.accepted_at,
        "note": line.note,
        "first_order": line.first_order,
    }
