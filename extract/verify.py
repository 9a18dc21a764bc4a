"""Verify: does the warehouse hold what the source shows? Compared hour by hour, then row by row; nothing lands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from extract.compare import EXAMPLES, REJECTED, compare_hours
from extract.extract_log import log_state
from extract.reconcile import hours_that_differ, warehouse_figures
from extract.source import Source
from extract.tables import ExtractConfig, Table
from extract.warehouse import Warehouse


@dataclass
class Verdict:
    """What the comparison of one table came to."""

    table: str
    since: int
    until: int | None
    """Epoch seconds of event time: as far as extracts have seen; None where nothing has landed yet."""
    hours: int
    unequal_hours: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    """Reason -> how many rows."""
    orders: dict[str, list[int]] = field(default_factory=dict)
    """Reason -> some orders."""
    columns: dict[str, int] = field(default_factory=dict)
    """Column -> in how many rows it has another value."""
    rejected: int = 0
    """Rows that cannot be loaded, in the hours that differ."""
    not_compared: list[str] = field(default_factory=list)
    """Columns whose content cannot tell an hour: they are compared only in hours that differ for another reason."""

    @property
    def equal(self) -> bool:
        return not self.rows


def verify(
    source: Source,
    warehouse: Warehouse,
    config: ExtractConfig,
    now: int,
    since: int,
    *,
    tables: Sequence[str] | None = None,
) -> list[Verdict]:
    """Compares each table from `since` (epoch seconds of event time) to where extracts have seen.

    Raises SourceError or WarehouseError where one of the two cannot be asked.
    """
    selected = config.select(tables)
    source.check([table.source for table in selected])
    return [_verdict(source, warehouse, config, table, now, since) for table in selected]


def _verdict(
    source: Source, warehouse: Warehouse, config: ExtractConfig, table: Table, now: int, since: int
) -> Verdict:
    watermark = log_state(warehouse)[table.name].watermark
    until = None if watermark is None else watermark + 1
    content = source.content_columns(table.source)
    shown = source.hourly_figures(table.source, since or None, until, content=True)
    held = warehouse_figures(warehouse, table, since, until, content)
    differ = hours_that_differ(shown, held)
    verdict = Verdict(table.name, since, until, len({*shown, *held}))
    verdict.not_compared = [name for name in table.columns if name not in content]
    hours = {hour: shown[hour].rows if hour in shown else 0 for hour in differ}
    most_rows = config.chunk_rows or warehouse.chunk_rows
    found = compare_hours(source, warehouse, table, hours, most_rows, now, since=since, until=until)
    verdict.rejected = sum(unequal.rows for unequal in found if unequal.reason == REJECTED)
    found = [unequal for unequal in found if unequal.reason != REJECTED]
    verdict.unequal_hours = len({unequal.hour for unequal in found})
    for unequal in found:
        verdict.rows[unequal.reason] = verdict.rows.get(unequal.reason, 0) + unequal.rows
        examples = [*verdict.orders.get(unequal.reason, []), *unequal.orders]
        verdict.orders[unequal.reason] = [*dict.fromkeys(examples)][:EXAMPLES]
        for name, rows in unequal.columns.items():
            verdict.columns[name] = verdict.columns.get(name, 0) + rows
    return verdict
