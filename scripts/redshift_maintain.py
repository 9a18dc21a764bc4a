"""What VACUUM and ANALYZE must do on Redshift, as svv_table_info tells: `order-tracking redshift maintain`."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from sqlglot import exp

from extract.warehouse import Warehouse
from macros.marts import HISTORY_SCHEMA, RAW_SCHEMA
from scripts.display import tell

SCHEMAS = (RAW_SCHEMA, HISTORY_SCHEMA, "sqlmesh__order_tracking")
GHOST_PERCENT = 10
UNSORTED_PERCENT = 20
SORT_BENEFIT_PERCENT = 5
STATS_OFF_PERCENT = 10


@dataclass(frozen=True)
class TableInfo:
    """What svv_table_info tells of a table; percentages, None where it tells nothing."""

    name: str
    rows: float
    visible_rows: float | None
    unsorted: float | None
    sort_benefit: float | None
    stats_off: float | None

    @property
    def ghost_percent(self) -> float:
        """Deleted rows that still take space."""
        if not self.rows or self.visible_rows is None:
            return 0.0
        return (self.rows - self.visible_rows) / self.rows * 100


def table_infos(warehouse: Warehouse) -> list[TableInfo]:
    """Of every table of ours; empty ones are not listed there."""
    names = ("tbl_rows", "estimated_visible_rows", "unsorted", "vacuum_sort_benefit", "stats_off")
    quoted = [exp.column(exp.to_identifier(name, quoted=True)) for name in ("schema", "table")]
    query = exp.select(*quoted, *names).from_("svv_table_info").where(quoted[0].copy().isin(*SCHEMAS))
    return [
        TableInfo(f'{row[0]}."{row[1]}"', *(None if value is None else float(value) for value in row[2:]))  # type: ignore[arg-type]
        for row in sorted(warehouse.fetchall(query))
    ]


def statements_for(table: TableInfo) -> list[str]:
    """What the table needs, in order; mostly nothing."""
    statements = []
    if table.ghost_percent > GHOST_PERCENT:
        statements.append(f"VACUUM DELETE ONLY {table.name}")
    if (table.unsorted or 0) > UNSORTED_PERCENT and (table.sort_benefit or 0) > SORT_BENEFIT_PERCENT:
        statements.append(f"VACUUM SORT ONLY {table.name}")
    if (table.stats_off or 0) > STATS_OFF_PERCENT:
        statements.append(f"ANALYZE {table.name}")
    return statements


def maintain(warehouse: Warehouse, *, dry_run: bool) -> list[str]:
    """Runs what is needed, each statement for itself (VACUUM allows no transaction), and gives the statements."""
    statements = [statement for table in table_infos(warehouse) for statement in statements_for(table)]
    for statement in statements:
        tell(f"{statement};")
        if not dry_run:
            warehouse.execute(statement)
    return statements


if __name__ == "__main__":
    from scripts.cli import main

    raise SystemExit(main(["redshift", "maintain", *sys.argv[1:]]))
