"""VACUUM and ANALYZE what needs it on Redshift, under the run lock.

    python -m scripts.redshift_maintain [--dry-run]

Space is taken back where more than 10 % of a table's rows are deleted ones, rows are sorted where more than 20 % are
unsorted and Redshift expects more than 5 % from it, statistics are renewed where they are off by more than 10 %: all as
svv_table_info tells. --dry-run prints exactly what would run. Once a day, at a quiet hour, is enough.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from extract.errors import ConfigurationError
from extract.lock import run_lock
from extract.warehouse import Warehouse, open_warehouse
from macros.marts import HISTORY_SCHEMA, RAW_SCHEMA

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
        print(f"{statement};", flush=True)
        if not dry_run:
            warehouse.execute(statement)
    return statements


def main(arguments: list[str] | None = None) -> int:
    from scripts.command import command_line, run_command

    parser = command_line("scripts.redshift_maintain", __doc__)
    parser.set_defaults(gateway="redshift")
    parser.add_argument("--dry-run", action="store_true", help="print what would run, and run nothing")

    def command(options: Any) -> int:
        if options.gateway != "redshift":
            raise ConfigurationError("Only Redshift needs this; nothing was done.")
        with run_lock(options.gateway), closing(open_warehouse(options.gateway)) as warehouse:
            if not maintain(warehouse, dry_run=options.dry_run):
                print("No table needs anything.")
        return 0

    return run_command(parser, command, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
