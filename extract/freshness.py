"""How old a source's newest row is, and how old it usually is at that hour: a source that falls silent is told."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from extract.clock import epoch_of, utc
from extract.ensure_tables import EXTRACT_LOG
from extract.tables import ExtractConfig
from extract.warehouse import Warehouse
from macros.periods import QUARTER_HOUR
from macros.sql import sql_from_template, timestamp

HOUR, DAY = 3600, 86_400
LOOKED_AT = 15 * DAY
"""So far back the extracts are asked how late the rows were."""

CYCLES = 3
"""So many cycles later than usual is late."""

ENOUGH_DAYS = 2
"""Of fewer days nobody can say what is usual; then a day without a new row is late."""

Observed = tuple[int, int]
"""An extract's moment, and the newest event time that was known afterwards; epoch seconds."""


@dataclass(frozen=True)
class Freshness:
    """How old the newest row of a table is, and may be; seconds, and `newest` epoch seconds."""

    table: str
    newest: int
    late: int
    allowed: int
    """The limit that is set; or three cycles more than is usual at this hour; or a day while nobody knows that."""

    @property
    def stale(self) -> bool:
        return self.late > self.allowed

    @property
    def in_words(self) -> str:
        """How late it is, and what to ask."""
        return (
            f"{self.table}: its newest row is of {utc(self.newest):%Y-%m-%d %H:%M} UTC, {self.late / HOUR:.1f} hours "
            f"ago, and at this hour it may be {self.allowed / HOUR:.1f} hours old. Does the application still write "
            "there, and can its rows be loaded (rejected_rows)?"
        )


def freshness(warehouse: Warehouse, config: ExtractConfig, now: int) -> list[Freshness]:
    """Of each table from which something has landed, at `now` (epoch seconds), from the extracts' log."""
    since, until = (timestamp(moment).sql("redshift") for moment in (now - LOOKED_AT, now))
    rows = warehouse.fetchall(
        f"SELECT table_name, finished_at, watermark FROM {EXTRACT_LOG} WHERE error IS NULL "
        f"AND finished_at > {since} AND finished_at <= {until} ORDER BY finished_at"
    )
    found = []
    for table in config.tables:
        seen = _seen([row for row in rows if row[0] == table.name]) or _last_seen(warehouse, table.name, now)
        if not seen:
            continue
        late, allowed = _judged(seen, now, config.stale_seconds)
        found.append(Freshness(table.name, seen[-1][1], late, allowed))
    return found


def stale_lines(
    warehouse: Warehouse, config: ExtractConfig, now: int, newest: Mapping[str, int | None] | None = None
) -> dict[str, str]:
    """A line for each table that is stale, by its name.

    `newest`: table -> the newest event time that an extract has just read. Where no table's is older than any limit
    could be, the log is not asked.
    """
    at_least = CYCLES * QUARTER_HOUR if config.stale_seconds is None else config.stale_seconds
    seen = [(newest or {}).get(table.name) for table in config.tables]
    if all(moment is not None and now - moment <= at_least for moment in seen):
        return {}
    return {each.table: each.in_words for each in freshness(warehouse, config, now) if each.stale}


def _seen(rows: Sequence[tuple[str, dt.datetime, int | None]]) -> list[Observed]:
    """One entry a moment, from the first row on."""
    newest, seen = 0, dict[int, int]()
    for _, finished, watermark in rows:
        newest = max(newest, watermark or 0)
        if newest:
            seen[epoch_of(finished)] = newest
    return list(seen.items())


def _last_seen(warehouse: Warehouse, table: str, now: int) -> list[Observed]:
    """Of a table that no extract has read for so long: what is known all the same."""
    return _seen(
        warehouse.fetchall(
            sql_from_template(
                """
                SELECT table_name, MAX(finished_at), MAX(watermark) FROM log
                WHERE table_name = :name AND error IS NULL AND finished_at <= :now GROUP BY table_name
                """,
                {"log": EXTRACT_LOG},
                name=table,
                now=timestamp(now),
            )
        )
    )


def _judged(seen: Sequence[Observed], now: int, stale_seconds: int | None) -> tuple[int, int]:
    """How late the newest row is at `now`, and how late it may be; seconds."""
    late = max(0, now - seen[-1][1])
    if stale_seconds is not None:
        return late, stale_seconds
    worst: dict[int, int] = {}
    for moment, newest in seen:
        days, apart = divmod(now - moment + DAY // 2, DAY)
        if days and abs(apart - DAY // 2) <= HOUR:
            worst[days] = max(worst.get(days, 0), moment - newest)
    if len(worst) < ENOUGH_DAYS:
        return late, DAY
    return late, int(median(worst.values())) + CYCLES * QUARTER_HOUR
