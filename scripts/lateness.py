"""How late rows arrive, what the extract's buffer costs and catches, and which buffer would do.

A row is late if it is older than the newest row that had landed before: a cycle sees it only if the buffer reaches back
to it (extract/jobs.py, `window_start`). What the buffer misses a reconcile finds. A first load and a refresh land old
rows that were never late; the extracts' log tells them apart. What raw still holds is what is known.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from extract.clock import RECONCILE_DAYS, epoch_of, moment_of
from extract.compare import MISSING
from extract.ensure_tables import EXTRACT_LOG, UNEQUAL_HOURS
from extract.errors import ConfigurationError, WarehouseError
from extract.tables import ExtractConfig, Table, project_variables
from extract.warehouse import Warehouse, stands
from macros.sql import sql_from_template, timestamp

MINUTE, HOUR, DAY = 60, 3600, 86_400
PERCENTILES = (50.0, 90.0, 99.0, 99.9)

REACH = RECONCILE_DAYS * DAY

CLASS_ENDS = (0, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 6 * HOUR, DAY, 7 * DAY, REACH)
"""Classes of lateness, by their ends."""

BUFFERS = tuple(minutes * MINUTE for minutes in (5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 360, 720, 1440))
"""The settings that are compared."""

LEFT_AT_MOST = 1 / 10_000
"""A buffer will do if it leaves no larger share of any table's rows to the reconcile."""

ENOUGH_CYCLES = 96
"""Of fewer cycles, a day's, nothing is recommended."""


@dataclass(frozen=True)
class Landing:
    """One extract or reconcile of a table, by its log. Epoch seconds."""

    kind: str
    at: int
    newest_before: int | None
    """The newest event time that had landed before; None if that is not known."""


@dataclass(frozen=True)
class Arrivals:
    """How the rows of one table arrived. Seconds, to the minute; rows."""

    table: str
    by_id: bool
    """Its scans are read by their id, so the buffer is not asked."""
    ages: Counter[int] = field(default_factory=Counter)
    """Age of a row when it landed -> rows."""
    late: Counter[int] = field(default_factory=Counter)
    """How far a row lay behind the newest that had landed before (0: it did not) -> rows that a cycle brought."""
    reconciled: Counter[int] = field(default_factory=Counter)
    """The same -> rows that a reconcile brought."""
    ahead: int = 0
    """Rows dated after the moment at which they landed."""
    by_hand: int = 0
    """Rows that an operator brought after the first load (extract --since, refresh): late perhaps, nobody knows."""
    missing: int = 0
    """Rows that only the source has, though a reconcile looked."""
    cycles: int = 0
    read_again: int = 0
    """Rows that the cycles read although they had landed, in all."""
    bytes_again: int = 0

    @property
    def rows(self) -> int:
        return self.late.total() + self.reconciled.total()

    @property
    def behind(self) -> Counter[int]:
        """How late all rows were, whoever brought them."""
        return self.late + self.reconciled

    def older_than(self, buffer_seconds: int) -> int:
        """Rows that a buffer of so many seconds leaves to the reconcile."""
        return sum(rows for late, rows in self.behind.items() if late > buffer_seconds)

    @property
    def read_again_a_cycle(self) -> float:
        return self.read_again / self.cycles if self.cycles else 0.0


@dataclass(frozen=True)
class Choice:
    """What a buffer would cost and leave. Rows."""

    buffer_seconds: int
    read_again_a_cycle: float
    """Of all tables; taken to grow as the buffer does."""
    left: dict[str, int]
    """Table -> rows, of those known, that the reconcile would have to find."""


@dataclass(frozen=True)
class LatenessReport:
    """How late rows arrive, and which buffer would do."""

    at: dt.datetime
    days: float
    """So long ago the first landing was that is known."""
    buffer_seconds: int
    """What is set."""
    tables: tuple[Arrivals, ...]
    reconciles: int
    """On so many days one ended well, for every table: without one nobody knows what the buffer misses."""
    choices: tuple[Choice, ...]
    recommended: int | None
    """Seconds; None if too little is known."""
    because: str


# Read


def read_lateness(warehouse: Warehouse, config: ExtractConfig, now: int) -> LatenessReport:
    """How late rows arrived, until `now` (epoch seconds). Reads the raw tables once, each in one query.

    Raises ConfigurationError if nothing is known yet.
    """
    # A day more than raw keeps: it forgets whole days.
    since = now - (int(project_variables()["raw_retention_days"]) + 1) * DAY
    try:
        tables = tuple(_arrivals(warehouse, table, since, now) for table in config.tables)
        first, reconciles = _known(warehouse, since, now)
    except WarehouseError as error:
        if stands(warehouse, EXTRACT_LOG):
            raise
        raise ConfigurationError(NOTHING_KNOWN) from error
    if first is None or not any(each.rows for each in tables):
        raise ConfigurationError(NOTHING_KNOWN)
    return judge(tables, config.buffer_seconds, now=now, first=first, reconciles=reconciles)


NOTHING_KNOWN = (
    "Nothing is known of how late rows arrive: after the first load no cycle has landed a row that raw still holds. "
    "Run cycles for a day, then ask again."
)


def _known(warehouse: Warehouse, since: int, now: int) -> tuple[int | None, int]:
    """When the first cycle that is known ended, and on how many days a reconcile ended well for every table."""
    ((first, reconciles),) = warehouse.fetchall(
        sql_from_template(
            """
            SELECT MIN(of_table.first_extract), MIN(of_table.reconciled_days) FROM (
              SELECT table_name, MIN(CASE WHEN kind = 'extract' THEN finished_at END) AS first_extract,
                COUNT(DISTINCT CASE WHEN kind = 'reconcile' THEN CAST(finished_at AS DATE) END) AS reconciled_days
              FROM log WHERE error IS NULL AND finished_at > :since AND finished_at <= :now
              GROUP BY table_name
            ) AS of_table
            """,
            {"log": EXTRACT_LOG},
            since=timestamp(since),
            now=timestamp(now),
        )
    )
    return (None if first is None else epoch_of(first)), int(reconciles or 0)


def _arrivals(warehouse: Warehouse, table: Table, since: int, now: int) -> Arrivals:
    log = warehouse.fetchall(
        sql_from_template(
            """
            SELECT kind, landed_at, finished_at, watermark, rows_read, rows_landed, rows_rejected, bytes
            FROM log WHERE table_name = :name AND error IS NULL AND finished_at > :since AND finished_at <= :now
            ORDER BY finished_at, landed_at
            """,
            {"log": EXTRACT_LOG},
            name=table.name,
            since=timestamp(since),
            now=timestamp(now),
        )
    )
    landings: dict[dt.datetime, Landing] = {}
    newest: int | None = None
    cycles, again, bytes_again, by_hand = set(), 0, 0, 0
    for kind, stamp, finished, watermark, read, landed, rejected, size in log:
        if landed and stamp not in landings:  # a run that lands nothing leaves its stamp to the next
            landings[stamp] = Landing(kind, epoch_of(finished), newest)
        if kind == "extract" and read is not None:
            cycles.add(finished)
            held = max(read - landed - rejected, 0)
            again += held
            bytes_again += round((size or 0) * held / read) if read else 0
        elif kind in ("since", "refresh") and cycles:
            by_hand += landed or 0
        if watermark is not None:
            newest = max(newest or 0, watermark)
    rows = warehouse.fetchall(
        sql_from_template(
            f"""
            SELECT landed.landed_at, CAST(FLOOR(landed.{table.time} / 60.0) AS BIGINT) AS event_minute, COUNT(*)
            FROM landed JOIN (
              SELECT DISTINCT landed_at FROM log
              WHERE table_name = :name AND error IS NULL AND rows_landed > 0 AND kind IN ('extract', 'reconcile')
                AND finished_at > :since AND finished_at <= :now
            ) AS landings ON landings.landed_at = landed.landed_at
            GROUP BY 1, 2
            """,
            {"landed": table.raw, "log": EXTRACT_LOG},
            name=table.name,
            since=timestamp(since),
            now=timestamp(now),
        )
    )
    ages, late, reconciled, ahead = sorted_by_lateness(landings, rows)
    return Arrivals(
        table=table.name,
        by_id=table.id_overlap is not None,
        ages=ages,
        late=late,
        reconciled=reconciled,
        ahead=ahead,
        by_hand=by_hand,
        missing=_missing(warehouse, table),
        cycles=len(cycles),
        read_again=again,
        bytes_again=bytes_again,
    )


def sorted_by_lateness(
    landings: Mapping[dt.datetime, Landing], rows: Sequence[tuple[dt.datetime, int, int]]
) -> tuple[Counter[int], Counter[int], Counter[int], int]:
    """Ages, lateness of what cycles brought and of what reconciles brought, and rows dated ahead.

    Args:
        rows: landed_at, minute of event time (since 1970) and count of rows.
    """
    ages, ahead = Counter[int](), 0
    by_kind: dict[str, Counter[int]] = {"extract": Counter(), "reconcile": Counter()}
    for stamp, minute, count in rows:
        landing = landings.get(stamp)
        if landing is None or landing.kind not in by_kind:
            continue
        event = int(minute) * MINUTE
        if event > landing.at:
            ahead += int(count)
            continue
        ages[landing.at - event] += int(count)
        # The minute that holds the newest row is not late.
        before = landing.newest_before
        behind = 0 if before is None else max(0, before // MINUTE * MINUTE - event)
        by_kind[landing.kind][behind] += int(count)
    return ages, by_kind["extract"], by_kind["reconcile"], ahead


def _missing(warehouse: Warehouse, table: Table) -> int:
    """Rows that only the source has, as the last reconcile left them."""
    ((rows,),) = warehouse.fetchall(
        sql_from_template(
            "SELECT COALESCE(SUM(row_count), 0) FROM hours WHERE table_name = :name AND reason = :missing",
            {"hours": UNEQUAL_HOURS},
            name=table.name,
            missing=MISSING,
        )
    )
    return int(rows)


# Judged


def judge(tables: Sequence[Arrivals], buffer_seconds: int, *, now: int, first: int, reconciles: int) -> LatenessReport:
    """Compares buffers, and recommends the smallest that will do.

    Args:
        now, first: Epoch seconds; of the first landing that is known.
    """
    sizes = sorted({*BUFFERS, buffer_seconds})
    choices = tuple(_choice(tables, size, buffer_seconds) for size in sizes)
    recommended, because = _recommended(tables, choices, buffer_seconds, reconciles)
    return LatenessReport(
        at=moment_of(now),
        days=(now - first) / DAY,
        buffer_seconds=buffer_seconds,
        tables=tuple(tables),
        reconciles=reconciles,
        choices=choices,
        recommended=recommended,
        because=because,
    )


def _choice(tables: Sequence[Arrivals], size: int, current: int) -> Choice:
    by_time = [each for each in tables if not each.by_id]
    cost = sum(each.read_again_a_cycle for each in by_time) * size / current
    return Choice(size, cost, {each.table: each.older_than(size) for each in by_time})


def _recommended(
    tables: Sequence[Arrivals], choices: Sequence[Choice], current: int, reconciles: int
) -> tuple[int | None, str]:
    """The smallest buffer that will do, and why; None if too little is known."""
    rows = {each.table: each.rows for each in tables}
    if min(each.cycles for each in tables) < ENOUGH_CYCLES:
        return None, f"Fewer than {ENOUGH_CYCLES} cycles are known: ask again after a day."
    if not reconciles:
        return None, (
            "No reconcile has ended well, so nobody knows what the buffer misses: run order-tracking cycle --reconcile "
            "once, and ask again."
        )
    fit = next((c for c in choices if all(n <= LEFT_AT_MOST * rows[table] for table, n in c.left.items())), None)
    if fit is None:
        return choices[-1].buffer_seconds, (
            "Even a day leaves more than 1 row in 10,000 to the reconcile: keep it nightly, and ask the source's owner "
            "why rows come so late."
        )
    if fit.buffer_seconds == current:
        return current, "It is set: the smallest that leaves no more than 1 row in 10,000 to the reconcile."
    return fit.buffer_seconds, "It is the smallest that leaves no more than 1 row in 10,000 to the reconcile."


def percentile(values: Counter[int], percent: float) -> int:
    """The smallest value that so many per cent of the rows do not exceed. ValueError if there is none.

    Example:
        >>> percentile(Counter({60: 98, 3600: 1, 86400: 1}), 99)
        3600
    """
    if not values:
        raise ValueError("no rows")
    wanted, seen = values.total() * percent / 100, 0
    for value in sorted(values):
        seen += values[value]
        if seen >= wanted:
            break
    return value


def class_ends(report: LatenessReport) -> list[int]:
    """The ends of the classes, seconds: the buffer ends one, too."""
    return sorted({*CLASS_ENDS, report.buffer_seconds})


def by_class(values: Counter[int], ends: Sequence[int]) -> list[int]:
    """Rows by class of lateness: one class up to each of the ends, and one beyond the last.

    Example:
        >>> by_class(Counter({0: 5, 60: 2, 61: 1}), [0, 60])
        [5, 2, 1]
    """
    counts = [0] * (len(ends) + 1)
    for value, rows in values.items():
        counts[bisect_left(ends, value)] += rows
    return counts
