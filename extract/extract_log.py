"""order_tracking_raw.extract_log: a row for each table and run, or chunk of it; it says how far was seen.

The watermark of a table is the newest event time up to which everything has landed. A landing enters it
(extract/landing.py), and the next extract begins the buffer before it (extract/jobs.py, `window_start`).
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from extract.clock import Clock, epoch_of, landing_stamp, utc
from extract.ensure_tables import EXTRACT_LOG, REJECTED_ROWS
from extract.errors import ConfigurationError
from extract.tables import Table
from extract.warehouse import Warehouse, insert_rows
from macros.sql import sql_from_template, timestamp


@dataclass(frozen=True)
class Landed:
    """What landings did: rows by what became of them, and how far they have seen.

    newly_rejected: those of the rejected rows that no landing before has set aside
    newest: the newest event time of a row that could be loaded and is not dated after the source's clock
    highest_id: the highest id that was read
    """

    rows_read: int
    rows_landed: int
    rows_rejected: int
    bytes: int
    newest: int | None = None
    highest_id: int | None = None
    newly_rejected: int = 0

    def __add__(self, other: Landed) -> Landed:
        return Landed(
            self.rows_read + other.rows_read,
            self.rows_landed + other.rows_landed,
            self.rows_rejected + other.rows_rejected,
            self.bytes + other.bytes,
            max((value for value in (self.newest, other.newest) if value is not None), default=None),
            max((value for value in (self.highest_id, other.highest_id) if value is not None), default=None),
            self.newly_rejected + other.newly_rejected,
        )


NOTHING = Landed(0, 0, 0, 0)


# Written


def log(warehouse: Warehouse, table: Table, result: Landed, **facts: Any) -> None:
    """One row of extract_log; `facts` as in `log_entry`."""
    insert_rows(warehouse, EXTRACT_LOG, [log_entry(table, result, **facts)])


def log_entry(
    table: Table,
    result: Landed,
    *,
    kind: str,
    now: int,
    seconds: float,
    window_start: int | None,
    stamp: dt.datetime | None,
    watermark: int | None = None,
    watermark_id: int | None = None,
    error: str | None = None,
) -> dict[str, Any]:
    """Column -> value of a row of extract_log: a table's run, or a chunk of it."""
    return {
        "table_name": table.name,
        "kind": kind,
        "cutoff": window_start,
        "watermark": watermark,
        "watermark_id": watermark_id,
        "rows_read": result.rows_read,
        "rows_landed": result.rows_landed,
        "rows_rejected": result.rows_rejected,
        "bytes": result.bytes,
        "landed_at": exp.null() if stamp is None else stamp_literal(stamp),
        "started_at": timestamp(now - round(seconds)),
        "finished_at": timestamp(now),
        "error": error,
    }


def forget_ids(warehouse: Warehouse, table: Table) -> None:
    """Takes the ids that were noted of a table out of the log, where its source's ids begin anew."""
    forgetting = "UPDATE log SET watermark_id = NULL WHERE table_name = :name AND NOT watermark_id IS NULL"
    warehouse.execute(sql_from_template(forgetting, {"log": EXTRACT_LOG}, name=table.name))


def stamp_literal(stamp: dt.datetime) -> exp.Expr:
    """A stamp as a TIMESTAMP literal."""
    return exp.cast(exp.Literal.string(str(stamp)), "TIMESTAMP")


# Read


@dataclass(frozen=True)
class Seen:
    """What the log says of a table.

    watermark, watermark_id: how far the landings have seen: event time (epoch seconds), and id where the source has one
    stamp: that of the last rows that landed or were set aside
    newest_stamp: that of the last landing, whatever it brought
    first_stamp, first_finished: that of the first landing, and when the first extract ended
    """

    watermark: int | None = None
    watermark_id: int | None = None
    stamp: dt.datetime | None = None
    newest_stamp: dt.datetime | None = None
    first_stamp: dt.datetime | None = None
    first_finished: dt.datetime | None = None


def log_state(warehouse: Warehouse, held: Container[str] = (EXTRACT_LOG,)) -> dict[str, Seen]:
    """Table -> what the log says of it, of all tables in one query.

    `held`: what stands in the warehouse, where that may lack the log.
    """
    if EXTRACT_LOG not in held:
        return defaultdict(Seen)
    query = sql_from_template(
        """
        SELECT log.table_name, MAX(log.watermark), MAX(log.watermark_id),
          MAX(CASE WHEN log.rows_landed > 0 OR log.rows_rejected > 0 THEN log.landed_at END), MAX(log.landed_at),
          MIN(log.landed_at), MIN(log.finished_at)
        FROM log GROUP BY log.table_name
        """,
        {"log": EXTRACT_LOG},
    )
    seen = {str(name): Seen(*facts) for name, *facts in warehouse.fetchall(query)}
    return defaultdict(Seen, seen)


def load_begun(warehouse: Warehouse, since: int) -> int:
    """How far back the loads so far were to go: event time in epoch seconds, `since` where there was none.

    Of any table: they are loaded together, and one whose load was killed at once has no entry of its own.
    """
    ((begun,),) = warehouse.fetchall(f"SELECT MIN(cutoff) FROM {EXTRACT_LOG} WHERE kind = 'since'")
    return since if begun is None else int(begun)


def landed_in_all(warehouse: Warehouse) -> dict[str, tuple[int, int]]:
    """Table -> rows that ever landed, and rows that could not be loaded."""
    query = sql_from_template(
        """
        SELECT table_name, SUM(landed), SUM(rejected) FROM (
          SELECT table_name, SUM(rows_landed) AS landed, 0 AS rejected FROM log GROUP BY table_name
          UNION ALL
          SELECT table_name, 0 AS landed, COUNT(*) AS rejected FROM rejected_rows GROUP BY table_name
        ) AS counted GROUP BY table_name
        """,
        {"log": EXTRACT_LOG, "rejected_rows": REJECTED_ROWS},
    )
    found = {str(name): (int(landed or 0), int(bad or 0)) for name, landed, bad in warehouse.fetchall(query)}
    return defaultdict(lambda: (0, 0), found)


# Refused: what lands behind the log, or ahead of the source


def refuse_to_go_back(seen: Mapping[str, Seen], now: int) -> None:
    """ConfigurationError where `now` lies before an earlier landing, by quarter-hours.

    The marts may have passed that moment, and what lands behind it they would never look at.
    """
    newest = max((each.newest_stamp for each in seen.values() if each.newest_stamp is not None), default=None)
    if newest is None or landing_stamp(now) >= epoch_of(newest):
        return
    raise ConfigurationError(
        f"It is {utc(now):%Y-%m-%d %H:%M} UTC by --at or by this machine's clock, but "
        f"rows have landed for {newest:%Y-%m-%d %H:%M} UTC already, and what lands behind them would never reach the "
        "marts; nothing was done. Give a later --at, or none, or set the clock; if it was wrong at that landing, see "
        "docs/recovery.md, 'A clock was ahead'."
    )


def refuse_to_run_ahead(clock: Clock, of_source: int | None) -> None:
    """ConfigurationError where this machine's clock is a day ahead of the source's; a given `--at` is meant as it is.

    Ages may be counted from a cycle's own time, so one far in the future could archive what is not old.
    """
    if clock.at is not None or of_source is None or clock.now() - of_source <= 86400:
        return
    raise ConfigurationError(
        f"This machine's clock says {clock.now_utc():%Y-%m-%d %H:%M} UTC, the source's "
        f"{utc(of_source):%Y-%m-%d %H:%M} UTC; nothing was read. Set the clock that is "
        "wrong; until then a command works with --at and the right time (docs/recovery.md, 'A clock was ahead')."
    )
