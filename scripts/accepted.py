"""What an operator has accepted: known findings that stay quiet until they change. As `exceptions list --accepted`."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from extract.warehouse import Warehouse
from macros.details import ACCEPTED
from macros.details import topic as topic_in_sql
from macros.marts import EXCEPTIONS
from macros.sql import sql_from_template


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
            of_check=exp.true() if check is None else exp.column("check_name").eq(check),
        )
    )
    return [
        AcceptedLine(name, table, topic, resolution.removeprefix(ACCEPTED), int(count), accepted_at, order)
        for name, table, topic, resolution, count, accepted_at, order in rows
    ]


def as_data(line: AcceptedLine) -> dict[str, Any]:
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
