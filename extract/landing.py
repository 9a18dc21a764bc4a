"""Landing: what was staged becomes raw rows, rejected rows and log entries, in one transaction."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from extract.clock import next_stamp
from extract.ensure_tables import EXTRACT_LOG, REJECTED_ROWS, standing_periods
from extract.extract_log import NOTHING, Landed, forget_ids, log_entry, stamp_literal
from extract.held import held_rows
from extract.ownership import table_below
from extract.staging import Sending
from extract.tables import Table
from extract.values import REASON, ROW
from extract.warehouse import Staged, Warehouse, insert_rows
from macros.history import history_table
from macros.marts import HISTORY_SCHEMA, MART_SCHEMA, RAW_SCHEMA
from macros.sql import columns_of, query_from_template, sql_from_template, union_all
from macros.versions import identical


@dataclass(frozen=True)
class Reading:
    """What was read of a table, and what its landing must know beside the rows.

    kind: what the rows were read for: extract, reconcile, since or refresh
    seconds: how long the reading took
    stamp_before: the stamp of the last rows that landed, or were rejected, in an earlier run
    before: what earlier chunks of the same run did
    moves_watermark: everything between the last watermark and what was read, here and before, has landed
    moves_id: so has everything up to the highest id that was read
    most_id: but for what is higher than this
    ids_anew: the ids that the log has noted count no more
    """

    table: Table
    kind: str
    seconds: float
    window_start: int | None
    stamp_before: dt.datetime | None = None
    before: Landed = NOTHING
    moves_watermark: bool = True
    moves_id: bool = True
    most_id: int | None = None
    ids_anew: bool = False


@dataclass(frozen=True)
class Moment:
    """When a landing is. Epoch seconds.

    now: decides the stamp of the rows
    source_clock: the source's own time, or ours where that is earlier; a row dated after it does not move the watermark
    raw_floor: from this event time on raw alone tells what is held; where older rows were read, mart and history are
        compared too
    """

    now: int
    source_clock: int
    raw_floor: int


def land(warehouse: Warehouse, reading: Reading, staged: Staged, moment: Moment) -> Landed:
    """Lands what was staged and is not held yet, sets aside what cannot be loaded, and logs it. All or nothing."""
    (survey,) = _survey(warehouse, [(reading.table, staged)], moment)
    with warehouse.transaction(locking=EXTRACT_LOG):
        result, entry = _land(warehouse, reading, staged, moment, survey)
        insert_rows(warehouse, EXTRACT_LOG, [entry])
    return result


def land_together(warehouse: Warehouse, readings: Sequence[tuple[Reading, Sending]], moment: Moment) -> list[Landed]:
    """The same for several tables that were read whole and sent, from loading them on: all of them or none."""
    results, entries = [], []
    with warehouse.transaction(locking=EXTRACT_LOG):
        loaded = warehouse.load([sending for _, sending in readings])
        surveys = _survey(
            warehouse, [(reading.table, staged) for (reading, _), staged in zip(readings, loaded, strict=True)], moment
        )
        for (reading, sending), staged, survey in zip(readings, loaded, surveys, strict=True):
            sending.assert_all_loaded(survey.rows)
            result, entry = _land(warehouse, reading, staged, moment, survey)
            results.append(result)
            entries.append(entry)
        insert_rows(warehouse, EXTRACT_LOG, entries)
    return results


def _land(
    warehouse: Warehouse, reading: Reading, staged: Staged, moment: Moment, survey: _Survey
) -> tuple[Landed, dict[str, Any]]:
    """Writes a table's rows inside a transaction; gives what was done, and its entry for the log."""
    table, stamp = reading.table, next_stamp(moment.now, reading.stamp_before)
    newly_rejected = _reject(warehouse, table, staged, stamp) if survey.rejected else 0
    landed = 0
    if survey.first is not None and survey.last is not None:
        reaches_back = survey.first < moment.raw_floor
        landed = warehouse.execute(_landing(warehouse, table, staged, stamp, survey.first, survey.last, reaches_back))
    read = staged.rows, landed, survey.rejected, staged.bytes
    result = Landed(*read, survey.newest, survey.highest_id, newly_rejected)
    seen = reading.before + result
    if reading.ids_anew and reading.moves_id:
        forget_ids(warehouse, table)
    return result, log_entry(
        table,
        result,
        kind=reading.kind,
        now=moment.now,
        seconds=reading.seconds,
        window_start=reading.window_start,
        stamp=stamp,
        watermark=seen.newest if reading.moves_watermark else None,
        watermark_id=_seen_id(seen.highest_id, reading),
    )


def _seen_id(highest: int | None, reading: Reading) -> int | None:
    if reading.ids_anew and reading.moves_id:  # also where no hour differs: else the next ids would begin nowhere
        return reading.most_id
    if highest is None or not reading.moves_id:
        return None
    return highest if reading.most_id is None else min(highest, reading.most_id)


@dataclass(frozen=True)
class _Survey:
    """Of a staged table: oldest and newest event time of what can be loaded, highest id, rows that cannot, all rows.

    newest: the newest event time without rows that are dated into the future: they say nothing of how far was read
    """

    first: int | None
    last: int | None
    newest: int | None
    highest_id: int | None
    rejected: int
    rows: int


def _survey(warehouse: Warehouse, staged: Sequence[tuple[Table, Staged]], moment: Moment) -> list[_Survey]:
    """Of each table its survey, in one query."""
    questions = [
        query_from_template(
            f"""
            SELECT :number AS place, MIN(CASE WHEN {REASON} IS NULL THEN :time END) AS first_time,
              MAX(CASE WHEN {REASON} IS NULL THEN :time END) AS last_time,
              MAX(CASE WHEN {REASON} IS NULL AND :time <= :clock THEN :time END) AS newest_time,
              {"MAX(source_id)" if table.source.id_column else "CAST(NULL AS BIGINT)"} AS highest_id,
              COUNT({REASON}) AS rejected, COUNT(*) AS row_count
            FROM staged
            """,
            {"staged": each.table},
            number=number,
            time=exp.column(table.time),
            clock=moment.source_clock,
        )
        for number, (table, each) in enumerate(staged)
    ]
    rows = sorted(warehouse.fetchall(union_all(questions)))
    return [
        _Survey(first, last, newest, highest_id, int(bad), int(every))
        for _, first, last, newest, highest_id, bad, every in rows
    ]


def _reject(warehouse: Warehouse, table: Table, staged: Staged, stamp: dt.datetime) -> int:
    """Keeps each row that cannot be loaded, once, as text, with the reason, and when the source showed it last.

    So a row that was mended at the source and broken again in the same way counts again. Returns how many are new.
    """
    tables: dict[str, str | exp.Expr] = {"rejected_rows": REJECTED_ROWS, "staged": staged.table}
    named = {"name": table.name, "stamp": stamp_literal(stamp)}
    seen_again = f"""
        UPDATE rejected_rows SET rejected_at = :stamp
        FROM (SELECT DISTINCT {ROW} FROM staged WHERE NOT {REASON} IS NULL) AS faulty
        WHERE rejected_rows.table_name = :name AND rejected_rows.payload = faulty.{ROW}
          AND rejected_rows.rejected_at < :stamp
    """
    warehouse.execute(sql_from_template(seen_again, tables, **named))
    return warehouse.execute(
        sql_from_template(
            f"""
            INSERT INTO rejected_rows (table_name, order_id, reason, payload, rejected_at)
            SELECT :name::VARCHAR(127), faulty.order_id, faulty.{REASON}, faulty.{ROW}, :stamp
            FROM (SELECT DISTINCT order_id, {REASON}, {ROW} FROM staged WHERE NOT {REASON} IS NULL) AS faulty
            LEFT JOIN held ON held.table_name = :name AND held.payload = faulty.{ROW}
            WHERE held.payload IS NULL
            """,
            {**tables, "held": REJECTED_ROWS},
            **named,
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
        same=identical("held", "fresh", table.compared_of_order, table.columns, table.mart),
        stamp=stamp_literal(stamp),
    )


def renew_scans(warehouse: Warehouse, table: Table, staged: Staged) -> int:
    """Gives the scans that are held the values that were staged, wherever each lives.

    Returns how many were changed in mart and history.

    A scan is never changed by a cycle: its key is all that is compared. This is how a column that was added, or a value
    that was corrected at the source, comes into old scans.
    """
    others = [name for name in table.columns if name not in table.compared]
    if not others:
        return 0
    standing = warehouse.objects_of_schemas([MART_SCHEMA, HISTORY_SCHEMA, RAW_SCHEMA])
    periods = sorted(standing_periods(standing, table.mart.alias))
    places = [table.raw, *(history_table(table.mart.alias, period) for period in periods)]
    if table.mart.name in standing:
        places.append(table_below(standing[table.mart.name].definition) or table.mart.name)
    changed = 0
    with warehouse.transaction():
        for place in places:
            if place in standing or place.startswith("sqlmesh__"):
                changed += max(warehouse.execute(_renewal(table, staged, place, others)), 0) * (place != table.raw)
    return changed


def _renewal(table: Table, staged: Staged, place: str, others: list[str]) -> exp.Expr:
    """The UPDATE of one place's scans."""
    keys = table.compared_of_order
    values = ", ".join(f"{name} = fresh.{name}" for name in others)
    return sql_from_template(
        f"""
        UPDATE place SET {values} FROM fresh
        WHERE place.order_id = fresh.order_id AND :same AND NOT :equal
        """,
        {"place": place, "fresh": fresh_rows(table, staged)},
        same=identical("place", "fresh", keys, table.columns, table.mart),
        equal=exp.paren(identical("place", "fresh", others, table.columns, table.mart)),
    )


def fresh_rows(table: Table, staged: Staged) -> exp.Query:
    """What was staged and can be loaded, each scan and each version of an order once.

    Where the source shows an order twice at one time, the mart's order of versions decides which row counts.
    """
    names = list(table.columns)
    keys = table.key_and_time
    rest = ", ".join(f"{name} DESC NULLS FIRST" for name in names if name not in keys) or "order_id"
    return query_from_template(
        f"""
        SELECT :names FROM (
          SELECT :names, ROW_NUMBER() OVER (PARTITION BY {", ".join(keys)} ORDER BY {rest}) AS place_of_row
          FROM staged WHERE {REASON} IS NULL
        ) AS placed
        WHERE place_of_row = 1
        """,
        {"staged": staged.table},
        names=columns_of(names),
    )
