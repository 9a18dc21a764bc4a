"""What VACUUM and ANALYZE must do on Redshift, as svv_table_info tells: `order-tracking redshift maintain`.

Redshift runs one VACUUM at a time, and one may take hours. So the most useful one comes first, all of them share a
budget of minutes, and what fails or must wait leaves the rest to go on. None of it needs the run lock: Redshift lets
tables be read and written meanwhile.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from sqlglot import exp

from extract.errors import WarehouseError
from extract.warehouse import Warehouse
from macros.history import history_table
from macros.marts import HISTORY_SCHEMA, RAW_SCHEMA, UTS, mart_of
from scripts.display import tell

SCHEMAS = (RAW_SCHEMA, HISTORY_SCHEMA, "sqlmesh__order_tracking")
GHOST_PERCENT = 10
UNSORTED_PERCENT = 20
SORT_BENEFIT_PERCENT = 5
STATS_OFF_PERCENT = 10
SCANS = (UTS.split(".")[-1], mart_of("uts").raw.split(".")[-1], history_table("uts", "").split(".")[-1])
"""What the names of the tables of scans contain. They grow at the end of their sort key, and the newest are asked for:
RECLUSTER sorts what is new, and does not merge it with the rest."""


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
    def ghosts(self) -> float:
        """Rows that are deleted and still take space."""
        return 0.0 if self.visible_rows is None else max(self.rows - self.visible_rows, 0.0)

    @property
    def ghost_percent(self) -> float:
        """Of its rows, those that are ghosts."""
        return self.ghosts / self.rows * 100 if self.rows else 0.0

    @property
    def figures(self) -> str:
        """One line of what is maintained."""
        return (
            f"{self.rows:,.0f} rows, {self.ghost_percent:.0f} % of them deleted, {self.unsorted or 0:.0f} % unsorted "
            f"(sorting them helps by {self.sort_benefit or 0:.0f} %), statistics {self.stats_off or 0:.0f} % off"
        )


@dataclass(frozen=True)
class Chore:
    """One statement that a table needs. benefit: so many rows less are read whenever the whole table is."""

    table: TableInfo
    statement: str
    benefit: float

    @property
    def is_vacuum(self) -> bool:
        return self.statement.startswith("VACUUM")


class Ended(Enum):
    """How a statement ended, in the words of the report."""

    DONE = "done"
    FAILED = "failed"
    RUNNING = "left, because another VACUUM is running and Redshift allows one at a time"
    STOPPED = "stopped at the end of the budget; rows that it had merged stay merged"
    NO_TIME = "left, because the budget is used up"


def table_infos(warehouse: Warehouse) -> list[TableInfo]:
    """Of every table of ours; empty ones are not listed there."""
    names = ("tbl_rows", "estimated_visible_rows", "unsorted", "vacuum_sort_benefit", "stats_off")
    quoted = [exp.column(exp.to_identifier(name, quoted=True)) for name in ("schema", "table")]
    query = exp.select(*quoted, *names).from_("svv_table_info").where(quoted[0].copy().isin(*SCHEMAS))
    return [
        TableInfo(f'{row[0]}."{row[1]}"', *(None if value is None else float(value) for value in row[2:]))  # type: ignore[arg-type]
        for row in sorted(warehouse.fetchall(query))
    ]


def chores_for(tables: Sequence[TableInfo]) -> list[Chore]:
    """What the tables need: the VACUUMs, the most useful first, then each ANALYZE. Mostly nothing."""
    vacuums: list[Chore] = []
    for table in tables:
        if table.ghost_percent > GHOST_PERCENT:
            vacuums.append(Chore(table, f"VACUUM DELETE ONLY {table.name}", table.ghosts))
        if (table.unsorted or 0) > UNSORTED_PERCENT and (table.sort_benefit or 0) > SORT_BENEFIT_PERCENT:
            way = "RECLUSTER" if any(name in table.name for name in SCANS) else "SORT ONLY"
            saved = (table.rows - table.ghosts) * (table.sort_benefit or 0) / 100
            vacuums.append(Chore(table, f"VACUUM {way} {table.name}", saved))
    analyses = [
        Chore(table, f"ANALYZE {table.name}", table.rows * table.stats_off / 100)
        for table in tables
        if table.stats_off is not None and table.stats_off > STATS_OFF_PERCENT
    ]
    return [chore for kind in (vacuums, analyses) for chore in sorted(kind, key=lambda chore: -chore.benefit)]


def maintain(
    warehouse: Warehouse, *, minutes: float, dry_run: bool, clock: Callable[[], float] = time.monotonic
) -> set[Ended]:
    """Runs what is needed, prints how each statement ended and what is left, and gives every way in which one ended.

    Args:
        minutes: What all VACUUMs together may take; Redshift stops the one that runs then. ANALYZE takes seconds, and
            comes after them in any case.
        dry_run: Print the statements, and run nothing.
        clock: Seconds that pass.
    """
    before = table_infos(warehouse)
    if not before:
        raise WarehouseError(
            "svv_table_info shows no table of this project that has rows. Nothing was done. Look whether "
            "REDSHIFT_DATABASE is the right one, and whether anything has landed."
        )
    chores = chores_for(before)
    if not chores:
        tell("No table needs anything.")
        return set()
    if dry_run:
        for chore in chores:
            tell(f"{chore.statement};  -- {chore.table.figures}")
        return set()
    began = clock()
    ends: list[Ended] = []
    for chore in chores:
        started = clock()
        tell(f"{chore.statement};  -- {chore.table.figures}")
        left = minutes * 60 - (started - began)
        ended, words = _run(warehouse, chore, left, clock)
        ran = ended in (Ended.DONE, Ended.FAILED)
        tell(f"  {ended.value}{f' after {clock() - started:,.0f} s' if ran else ''}{words}")
        ends.append(ended)
    _tell_result(warehouse, chores, ends, clock() - began)
    return set(ends)


def _run(warehouse: Warehouse, chore: Chore, seconds: float, clock: Callable[[], float]) -> tuple[Ended, str]:
    """Runs one statement, a VACUUM for so many seconds at most; how it ended, and what is to be said of it.

    The server ends a statement with the same code (57014) for other reasons: a rule of WLM, or somebody cancels it. So
    a VACUUM is stopped by the budget only if its seconds are used up, but for a hundredth by which clocks may differ.
    """
    began = clock()
    if chore.is_vacuum and seconds <= 0:
        return Ended.NO_TIME, ""
    limit = max(int(seconds * 1000), 1) if chore.is_vacuum else 0
    try:
        warehouse.execute(f"SET statement_timeout TO {limit}")  # of the session: a lost connection forgets it
        warehouse.execute(chore.statement)
    except WarehouseError as error:
        message = str(error)
        if "vacuum is running" in message.lower():
            return Ended.RUNNING, ""
        if "(57014)" in message and chore.is_vacuum and clock() - began >= seconds * 0.99:
            return Ended.STOPPED, ""
        return Ended.FAILED, f": {message}"
    return Ended.DONE, ""


def _tell_result(warehouse: Warehouse, chores: Sequence[Chore], ends: Sequence[Ended], seconds: float) -> None:
    """What was done and what is left, in figures; the tables as they are now."""
    after = {table.name: table for table in table_infos(warehouse)}
    tell("")
    for name in sorted({chore.table.name for chore, ended in zip(chores, ends, strict=True) if ended is Ended.DONE}):
        if name in after:
            tell(f"{name} now: {after[name].figures}")
    done = ends.count(Ended.DONE)
    tell(f"{done} of {len(ends)} statements done in {seconds / 60:,.1f} minutes.")
    if done < len(ends):
        tell("Left for the next maintenance, or to be mended:")
    for chore, ended in zip(chores, ends, strict=True):
        if ended is not Ended.DONE:
            tell(f"  {chore.statement}: {ended.value}")


if __name__ == "__main__":
    from scripts.cli import main

    raise SystemExit(main(["redshift", "maintain", *sys.argv[1:]]))
