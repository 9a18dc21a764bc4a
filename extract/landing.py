"""Landing: what was staged becomes raw rows, rejected rows and one log entry, in one transaction."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from sqlglot import exp

from extract.clock import Clock, landing_stamp, next_stamp
from extract.ensure_tables import EXTRACT_LOG, REJECTED_ROWS
from extract.errors import ConfigurationError
from extract.held import held_rows
from extract.tables import Table
from extract.values import REASON, ROW
from extract.warehouse import Staged, Warehouse
from macros.history import history_table
from macros.marts import HISTORY_SCHEMA, RAW_SCHEMA
from macros.periods import is_period
from macros.sql import columns_of, query_from_template, sql_from_template, timestamp
from macros.versions import identical


@dataclass(frozen=True)
class Landed:
    """What landings did: rows by what became of them, and the newest event time and highest id that could be loaded."""

    rows_read: int
    rows_landed: int
    rows_rejected: int
    bytes: int
    newest: int | None = None
    highest_id: int | None = None

    def __add__(self, other: Landed) -> Landed:
        return Landed(
            self.rows_read + other.rows_read,
            self.rows_landed + other.rows_landed,
            self.rows_rejected + other.rows_rejected,
            self.bytes + other.bytes,
            max((value for value in (self.newest, other.newest) if value is not None), default=None),
            max((value for value in (self.highest_id, other.highest_id) if value is not None), default=None),
        )


NOTHING = Landed(0, 0, 0, 0)


def land(
    warehouse: Warehouse,
    table: Table,
    staged: Staged,
    *,
    kind: str,
    now: int,
    seconds: float,
    source_clock: int,
    window_start: int | None,
    raw_floor: int,
    stamp_before: dt.datetime | None = None,
    before: Landed = NOTHING,
    moves_watermark: bool = True,
    moves_id: bool = True,
) -> Landed:
    """Lands what was staged and is not held yet, sets aside what cannot be loaded, and logs it. All or nothing.

    Args:
        kind: What the rows were read for: extract, reconcile or since.
        now: Epoch seconds; decides the stamp of the rows. seconds: how long the reading took.
        source_clock: The source's own time; a row dated after it does not move the watermark.
        raw_floor: From this event time on raw alone tells what is held; where older rows were read, mart and history
            are compared too.
        stamp_before: The stamp of the last landing of an earlier run.
        before: What earlier chunks of the same run did.
        moves_watermark: Everything between the last watermark and what was read, here and before, has landed.
        moves_id: So has everything up to the highest id that was read.
    """
    stamp = next_stamp(now, stamp_before)
    first, last, last_id, rejected = _survey(warehouse, table, staged)
    with warehouse.transaction():
        if rejected:
            _reject(warehouse, table, staged, stamp)
        landed = 0
        if first is not None and last is not None:
            landed = warehouse.execute(_landing(warehouse, table, staged, stamp, first, last, first < raw_floor))
        result = Landed(staged.rows, landed, rejected, staged.bytes, last, last_id)
        seen = before + result
        log(
            warehouse,
            table,
            result,
            kind=kind,
            now=now,
            seconds=seconds,
            window_start=window_start,
            stamp=stamp,
            watermark=min(seen.newest, source_clock) if moves_watermark and seen.newest is not None else None,
            watermark_id=seen.highest_id if moves_id else None,
        )
    return result


def stamp_literal(stamp: dt.datetime) -> exp.Expr:
    """A stamp as a TIMESTAMP literal."""
    return exp.cast(exp.Literal.string(str(stamp)), "TIMESTAMP")


def last_stamp(warehouse: Warehouse, table: Table) -> dt.datetime | None:
    """The stamp of the last rows of a table that landed."""
    last = "SELECT MAX(landed_at) FROM log WHERE table_name = :name AND rows_landed > 0"
    ((stamp,),) = warehouse.fetchall(sql_from_template(last, {"log": EXTRACT_LOG}, name=table.name))
    return stamp


def refuse_to_go_back(warehouse: Warehouse, now: int) -> None:
    """ConfigurationError where `now` lies before an earlier landing, by quarter-hours.

    The marts may have passed that moment, and what lands behind it they would never look at.
    """
    ((newest,),) = warehouse.fetchall(sql_from_template("SELECT MAX(landed_at) FROM log", {"log": EXTRACT_LOG}))
    if newest is None or landing_stamp(now) >= int(newest.replace(tzinfo=dt.UTC).timestamp()):
        return
    raise ConfigurationError(
        f"It is {dt.datetime.fromtimestamp(now, dt.UTC):%Y-%m-%d %H:%M} UTC by --at or by this machine's clock, but "
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
        f"{dt.datetime.fromtimestamp(of_source, dt.UTC):%Y-%m-%d %H:%M} UTC; nothing was read. Set the clock that is "
        "wrong; until then a command works with --at and the right time."
    )


def _survey(warehouse: Warehouse, table: Table, staged: Staged) -> tuple[int | None, int | None, int | None, int]:
    """Oldest and newest event time of what can be loaded, highest id, and the number of rows that cannot."""
    highest = "MAX(source_id)" if table.source.id_column else "CAST(NULL AS BIGINT)"
    (row,) = warehouse.fetchall(
        sql_from_template(
            f"""
            SELECT MIN(CASE WHEN {REASON} IS NULL THEN :time END), MAX(CASE WHEN {REASON} IS NULL THEN :time END),
              {highest}, COUNT({REASON})
            FROM staged
            """,
            {"staged": staged.table},
            time=exp.column(table.time),
        )
    )
    first, last, last_id, rejected = row
    return first, last, last_id, int(rejected)


def _reject(warehouse: Warehouse, table: Table, staged: Staged, stamp: dt.datetime) -> None:
    """Keeps each row that cannot be loaded, once, as text, with the reason."""
    warehouse.execute(
        sql_from_template(
            f"""
            INSERT INTO rejected_rows (table_name, order_id, reason, payload, rejected_at)
            SELECT :name::VARCHAR(127), faulty.order_id, faulty.{REASON}, faulty.{ROW}, :stamp
            FROM (SELECT DISTINCT order_id, {REASON}, {ROW} FROM staged WHERE NOT {REASON} IS NULL) AS faulty
            LEFT JOIN held ON held.table_name = :name AND held.payload = faulty.{ROW}
            WHERE held.payload IS NULL
            """,
            {"rejected_rows": REJECTED_ROWS, "held": REJECTED_ROWS, "staged": staged.table},
            name=table.name,
            stamp=stamp_literal(stamp),
        )
    )


def _landing(
    warehouse: Warehouse, table: Table, staged: Staged, stamp: dt.datetime, first: int, last: int, reaches_back: bool
) -> exp.Expr:
    """The INSERT of what is not held yet: one copy of each row, stamped."""
    names = list(table.columns)
    return sql_from_template(
        """
        INSERT INTO raw (:target, landed_at)
        SELECT :columns, :stamp
        FROM fresh
        LEFT JOIN held ON held.order_id = fresh.order_id AND :same
        WHERE held.order_id IS NULL
        """,
        {
            "raw": table.raw,
            "fresh": fresh_rows(table, staged),
            "held": held_rows(warehouse, table, staged, first, last, reaches_back),
        },
        target=[exp.to_identifier(name) for name in names],
        columns=columns_of(names, "fresh"),
        same=identical("held", "fresh", [name for name in table.identity if name != "order_id"], table.columns),
        stamp=stamp_literal(stamp),
    )


def renew_scans(warehouse: Warehouse, table: Table, staged: Staged) -> int:
    """Gives the scans that are held the values that were staged, wherever each lives; how many were changed.

    A scan is never changed by a cycle: its key is all that is compared. This is how a column that was added, or a value
    that was corrected at the source, comes into old scans.
    """
    others = [name for name in table.columns if name not in table.identity]
    if not others:
        return 0
    standing = warehouse.objects_of_schemas([table.mart.name.split(".")[0], HISTORY_SCHEMA, RAW_SCHEMA])
    start = history_table(table.mart.alias, "")
    history = [name for name in sorted(standing) if name.startswith(start) and is_period(name.removeprefix(start))]
    places = [table.raw, *history]
    if table.mart.name in standing:
        # The mart's name is a view's, which SQLMesh keeps on the table that holds its rows.
        below = re.search(r'(sqlmesh__\w+)"?\."?(\w+)', standing[table.mart.name].definition)
        places.append(f"{below[1]}.{below[2]}" if below else table.mart.name)
    changed = 0
    with warehouse.transaction():
        for place in places:
            if place in standing or place.startswith("sqlmesh__"):
                changed += max(warehouse.execute(_renewal(table, staged, place, others)), 0) * (place != table.raw)
    return changed


def _renewal(table: Table, staged: Staged, place: str, others: list[str]) -> exp.Expr:
    """The UPDATE of one place's scans."""
    keys = [name for name in table.identity if name != "order_id"]
    values = ", ".join(f"{name} = fresh.{name}" for name in others)
    return sql_from_template(
        f"""
        UPDATE place SET {values} FROM fresh
        WHERE place.order_id = fresh.order_id AND :same AND NOT :equal
        """,
        {"place": place, "fresh": fresh_rows(table, staged)},
        same=identical("place", "fresh", keys, table.columns),
        equal=exp.paren(identical("place", "fresh", others, table.columns)),
    )


def fresh_rows(table: Table, staged: Staged) -> exp.Query:
    """What was staged and can be loaded, each scan and each version of an order once.

    Where the source shows an order twice at one time, the mart's order of versions decides which row counts.
    """
    names = list(table.columns)
    keys = ["order_id", table.time] if table.mart.one_row_per_order else table.identity
    rest = ", ".join(f"{name} DESC NULLS FIRST" for name in names if name not in keys) or "order_id"
    return query_from_template(
        f"""
        SELECT :names FROM (
          SELECT :names, ROW_NUMBER() OVER (PARTITION BY {", ".join(keys)} ORDER BY {rest}) AS place
          FROM staged WHERE {REASON} IS NULL
        ) AS placed
        WHERE place = 1
        """,
        {"staged": staged.table},
        names=columns_of(names),
    )


def log(
    warehouse: Warehouse,
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
) -> None:
    """One row of extract_log: a table's run, or a chunk of it."""
    entry = {
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
    values = [value if isinstance(value, exp.Expr) else exp.convert(value) for value in entry.values()]
    warehouse.execute(
        sql_from_template(
            "INSERT INTO log (:target) VALUES (:entry)",
            {"log": EXTRACT_LOG},
            target=[exp.to_identifier(name) for name in entry],
            entry=values,
        )
    )
