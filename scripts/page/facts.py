"""What the page shows, read from the logs, the exceptions and the catalog. No mart is read, only counted."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass
from typing import Any

from extract.clock import epoch_of
from extract.ensure_tables import CYCLE_LOG
from extract.extract_log import landed_in_all
from extract.warehouse import Warehouse
from macros.marts import EXCEPTIONS, marts
from macros.sql import sql_from_template, timestamp
from scripts.cycle_log import DONE
from scripts.page.row_counts import Living, living_rows
from scripts.status import Status

DAYS = 30
"""So many days back go rows and findings, the day of the page included."""

WEEK = dt.timedelta(days=7)


@dataclass(frozen=True)
class Moved:
    """What the cycles of a day (UTC) moved, of all tables."""

    day: dt.date
    landed: int
    archived: int


@dataclass(frozen=True)
class Late:
    """The most that a table was behind within an hour, in minutes."""

    hour: dt.datetime
    table: str
    minutes: float


@dataclass(frozen=True)
class OpenFindings:
    """How many findings of a check were open at the end of a day, or at the page's moment."""

    day: dt.date
    check: str
    open: int


@dataclass(frozen=True)
class LandedInAll:
    """All rows of a table that ever landed, and those that could not."""

    table: str
    landed: int
    rejected: int


@dataclass(frozen=True)
class Facts:
    """All that the page shows. Times are UTC, without a zone."""

    status: Status
    moved: list[Moved]
    late: list[Late]
    living: list[Living] | None
    """None where the warehouse does not tell this user how many rows its tables have."""
    landed: list[LandedInAll]
    findings: list[OpenFindings]


def read_facts(warehouse: Warehouse, status: Status) -> Facts:
    """Reads what the page shows beside the status, as of its moment. Raises WarehouseError."""
    known = landed_in_all(warehouse)
    return Facts(
        status=status,
        moved=_moved(warehouse, status.at),
        late=_late(warehouse, status.at),
        living=living_rows(warehouse),
        landed=[LandedInAll(mart.alias, *known[mart.table]) for mart in marts()],
        findings=_findings(warehouse, status.at),
    )


def _moved(warehouse: Warehouse, at: dt.datetime) -> list[Moved]:
    rows = warehouse.fetchall(
        sql_from_template(
            """
            SELECT CAST(cycle_at AS DATE), SUM(rows_landed), SUM(rows_archived)
            FROM log WHERE cycle_at >= :since AND cycle_at <= :at GROUP BY 1 ORDER BY 1
            """,
            {"log": CYCLE_LOG},
            since=_literal(_first_day(at)),
            at=_literal(at),
        )
    )
    return [Moved(day, int(landed or 0), int(archived or 0)) for day, landed, archived in rows]


def _late(warehouse: Warehouse, at: dt.datetime) -> list[Late]:
    """By hour of the last week: how far each table's newest event was behind the cycles that ended well."""
    rows = warehouse.fetchall(
        sql_from_template(
            """
            SELECT cycle_at, newest_uti, newest_ecs, newest_uts FROM log
            WHERE cycle_at > :since AND cycle_at <= :at AND outcome = :done
            """,
            {"log": CYCLE_LOG},
            since=_literal(at - WEEK),
            at=_literal(at),
            done=DONE,
        )
    )
    worst: dict[tuple[dt.datetime, str], float] = {}
    for cycle_at, *newest in rows:
        hour = cycle_at.replace(minute=0, second=0, microsecond=0)
        for mart, seconds in zip(marts(), newest, strict=True):
            if seconds is not None:
                minutes = max(0.0, (epoch_of(cycle_at) - seconds) / 60)
                key = (hour, mart.alias)
                worst[key] = max(worst.get(key, 0.0), minutes)
    return [Late(hour, table, round(minutes, 1)) for (hour, table), minutes in sorted(worst.items())]


def _findings(warehouse: Warehouse, at: dt.datetime) -> list[OpenFindings]:
    """What was open at the end of each day, by check; a check is listed on the days on which something was."""
    rows = warehouse.fetchall(
        sql_from_template(
            """
            SELECT check_name, CAST(first_seen_at AS DATE), CAST(resolved_at AS DATE), COUNT(*)
            FROM exceptions
            WHERE first_seen_at <= :at AND (resolved_at IS NULL OR resolved_at >= :since)
            GROUP BY 1, 2, 3
            """,
            {"exceptions": EXCEPTIONS},
            at=_literal(at),
            since=_literal(_first_day(at)),
        )
    )
    found: Counter[tuple[dt.date, str]] = Counter()
    for number in range(DAYS):
        day = _first_day(at).date() + dt.timedelta(days=number)
        for check, opened, closed, count in rows:
            if opened <= day and (closed is None or closed > day):
                found[day, check] += count
    return [OpenFindings(day, check, count) for (day, check), count in sorted(found.items())]


def _first_day(at: dt.datetime) -> dt.datetime:
    return dt.datetime.combine(at.date() - dt.timedelta(days=DAYS - 1), dt.time())


def _literal(moment: dt.datetime) -> Any:
    return timestamp(epoch_of(moment))
