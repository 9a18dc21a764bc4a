"""What the checks found and nobody has closed, and when they last looked."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from extract.warehouse import Warehouse
from macros.marts import CHECK_LOG, EXCEPTIONS
from macros.sql import sql_from_template, timestamp

RESTORABLE_CHECK = "order_without_ecs"


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
        identity = "\x1f".join([self.check_name, self.table_name, str(self.order_id), self.detail])
        return hashlib.sha256(identity.encode()).hexdigest()[:10]


def open_exceptions(warehouse: Warehouse, orders: Sequence[int] | None = None) -> list[OpenException]:
    """What is open, by check, table and order; of some orders alone where they are named."""
    among = exp.true() if orders is None else exp.column("order_id").isin(*orders)
    rows = warehouse.fetchall(
        sql_from_template(
            """
            SELECT check_name, table_name, order_id, detail, first_seen_at, last_seen_at, times_seen
            FROM exceptions WHERE resolved_at IS NULL AND :among ORDER BY 1, 2, 3, 4
            """,
            {"exceptions": EXCEPTIONS},
            among=among,
        )
    )
    return [OpenException(*row) for row in rows]


def last_checks(warehouse: Warehouse, now: int) -> tuple[dt.datetime | None, int | None]:
    """When the daily checks last ran (the midnight that they ran for) and how much they found; None if never."""
    if CHECK_LOG not in warehouse.columns_of_schemas([CHECK_LOG.split(".")[0]]):
        return None, None  # a warehouse of an earlier version, before its next cycle
    rows = warehouse.fetchall(
        sql_from_template(
            "SELECT checked_at, findings FROM check_log WHERE checked_at <= :now ORDER BY checked_at DESC LIMIT 1",
            {"check_log": CHECK_LOG},
            now=timestamp(now),
        )
    )
    return rows[0] if rows else (None, None)
