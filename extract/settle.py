"""What a reconcile leaves unequal: remembered by the hour, so that it is told once and not read again every night."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from extract.compare import EXAMPLES, REJECTED, Unequal, compare_hours
from extract.conflicts import again_after_conflicts
from extract.ensure_tables import UNEQUAL_HOURS
from extract.reconcile import HOUR, hours_that_differ, warehouse_figures
from extract.source import Source
from extract.source_reads import Figures
from extract.tables import ExtractConfig, Table
from extract.warehouse import Warehouse, insert_rows
from macros.periods import QUARTER_HOUR
from macros.sql import sql_from_template, timestamp

STILL_MOVING = 2 * QUARTER_HOUR
"""The hours that end no longer ago than this (seconds) may differ only because time goes on."""


def remembered(warehouse: Warehouse, table: Table) -> dict[int, Figures]:
    """Hour -> by how much the source's figures were more, of the hours that a reconcile could not make equal."""
    rows = warehouse.fetchall(
        "SELECT DISTINCT event_hour, more_rows, more_keys, more_times, more_content "
        f"FROM {UNEQUAL_HOURS} WHERE table_name = '{table.name}'"
    )
    return {int(hour): Figures(*map(int, more)) for hour, *more in rows}


def with_rejected_rows(warehouse: Warehouse, table: Table) -> set[int]:
    """Hours in which a reconcile found rows that cannot be loaded. Perhaps one can be now, and no sum tells it.

    Earlier versions remembered them without a reason, as what differs and cannot be told why.
    """
    rows = warehouse.fetchall(
        sql_from_template(
            "SELECT DISTINCT event_hour FROM hours WHERE table_name = :name AND reason IN ('', :rejected)",
            {"hours": UNEQUAL_HOURS},
            name=table.name,
            rejected=REJECTED,
        )
    )
    return {int(hour) for (hour,) in rows}


def settle(
    source: Source,
    warehouse: Warehouse,
    config: ExtractConfig,
    table: Table,
    counted: Mapping[int, Figures],
    since: int,
    now: int,
) -> list[Unequal]:
    """Finds out, after a reconcile has landed what it could, what still differs and why, and remembers it.

    Args:
        counted: The source's figures from `since` on, as they were when the reconcile began.
        now: The source's clock, epoch seconds.
    """
    known = remembered(warehouse, table)
    held = warehouse_figures(warehouse, table, since, content=source.content_columns(table.source))
    still_moving = (now - STILL_MOVING) // HOUR
    differ = {hour: more for hour, more in hours_that_differ(counted, held).items() if hour < still_moving}
    asked = {hour: counted[hour].rows if hour in counted else 0 for hour in differ if known.get(hour) != differ[hour]}
    found = compare_hours(source, warehouse, table, asked, config.chunk_rows or warehouse.chunk_rows, now)
    forgotten = [hour for hour in known if hour >= since // HOUR and known[hour] != differ.get(hour)]
    if asked or forgotten:
        again_after_conflicts(lambda: _remember(warehouse, table, {*asked, *forgotten}, differ, found, now))
    return [unequal for unequal in found if unequal.reason != REJECTED]


def _remember(
    warehouse: Warehouse,
    table: Table,
    hours: set[int],
    differ: Mapping[int, Figures],
    found: Sequence[Unequal],
    now: int,
) -> None:
    """Replaces what was remembered of these hours: one row an hour and reason, or one without a reason."""
    entries = [
        {
            "table_name": table.name,
            "event_hour": hour,
            "reason": reason,
            "row_count": rows,
            "examples": examples,
            **{f"more_{name}": more for name, more in differ[hour]._asdict().items()},
            "found_at": timestamp(now),
        }
        for hour in sorted(hours & {*differ})
        for reason, rows, examples in (
            [
                (each.reason, each.rows, ", ".join(map(str, [*dict.fromkeys(each.orders)][:EXAMPLES])))
                for each in found
                if each.hour == hour
            ]
            or [("", 0, "")]
        )
    ]
    with warehouse.transaction():
        listed = ", ".join(str(hour) for hour in sorted(hours))
        warehouse.execute(f"DELETE FROM {UNEQUAL_HOURS} WHERE table_name = '{table.name}' AND event_hour IN ({listed})")
        insert_rows(warehouse, UNEQUAL_HOURS, entries)
