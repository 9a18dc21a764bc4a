"""The ledger: what landed is in mart or history, or was superseded by a newer version. As `verify --ledger`.

Two accounts. What raw still holds is looked up row by row, by half-year of event time, and the orders of missing rows
are named. All that ever landed is a number of extract_log, which is written in the transaction that lands; it must be
what mart and history hold together. Scans are never superseded, so of them any difference is an error. How many older
versions of statuses and metadata were replaced is written down nowhere: they are the rest, which must not be negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

from sqlglot import exp

from extract.extract_log import landed_in_all, stamp_literal
from extract.tables import ExtractConfig, Table
from extract.warehouse import Warehouse
from macros.due import half_year
from macros.history import history_view
from macros.periods import settled_before
from macros.sql import columns_of, query_from_template, sql_from_template, table_node, timestamp, union_all
from macros.suspects import range_starts, reach
from macros.versions import identical, older

EXAMPLES = 10
"""So many orders are named of a half-year in which rows are missing."""

MART, HISTORY, WAITING, MISSING = "mart", "history", "waiting", "missing"


@dataclass
class HalfYear:
    """A table's rows of one half-year of event time."""

    mart: int = 0
    history: int = 0
    of_raw: dict[str, int] = field(default_factory=dict)
    """Of the rows that raw still holds: mart, history, superseded, waiting or missing -> how many."""
    missing_orders: list[int] = field(default_factory=list)
    """Orders with missing rows, at most EXAMPLES."""

    @property
    def in_raw(self) -> int:
        return sum(self.of_raw.values())

    @property
    def missing(self) -> int:
        return self.of_raw.get(MISSING, 0)


@dataclass
class TableLedger:
    """A table's accounts, in rows."""

    table: str
    one_row_per_order: bool
    landed: int
    """All that ever landed."""
    rejected: int
    """Rows that could not be loaded: they are no part of what landed."""
    in_both: int
    """Rows that are in mart and history at once, as between two steps of a cycle that broke off."""
    half_years: dict[str, HalfYear] = field(default_factory=dict)

    @property
    def mart(self) -> int:
        return sum(each.mart for each in self.half_years.values())

    @property
    def history(self) -> int:
        """Without what is in the mart, too."""
        return sum(each.history for each in self.half_years.values()) - self.in_both

    @property
    def waiting(self) -> int:
        """Landed after what the mart has taken: the next cycle takes it."""
        return sum(each.of_raw.get(WAITING, 0) for each in self.half_years.values())

    @property
    def missing(self) -> int:
        return sum(each.missing for each in self.half_years.values())

    @property
    def rest(self) -> int:
        """What landed and is neither held nor waiting."""
        return self.landed - self.mart - self.history - self.waiting

    @property
    def superseded(self) -> int:
        """Older versions that were replaced: the rest, without what is missing. Of scans there is none."""
        return max(self.rest - self.missing, 0) if self.one_row_per_order else 0

    @property
    def difference(self) -> int:
        """What landed less all that is accounted for; negative where more is held than ever landed."""
        return self.rest - self.superseded

    @property
    def balances(self) -> bool:
        return not self.difference and not self.missing


def read_ledger(
    warehouse: Warehouse, config: ExtractConfig, now: int, tables: Sequence[str] | None = None
) -> list[TableLedger]:
    """The accounts of each table, as of `now` (epoch seconds). Changes nothing.

    Raises WarehouseError where the warehouse cannot be asked.
    """
    known = landed_in_all(warehouse)
    return [_table_ledger(warehouse, table, *known[table.name], now) for table in config.select(tables)]


def _table_ledger(warehouse: Warehouse, table: Table, landed: int, rejected: int, now: int) -> TableLedger:
    in_both = _in_both(warehouse, table)
    ledger = TableLedger(table.name, table.mart.one_row_per_order, landed, rejected, in_both)
    for place, name in ((MART, table.mart.name), (HISTORY, history_view(table.mart.alias))):
        period = half_year(exp.column(table.time)).as_("half_year")
        query = exp.select(period, "COUNT(*)").from_(table_node(name)).group_by("1")
        for name_of_period, rows in warehouse.fetchall(query):
            setattr(_of(ledger, name_of_period), place, int(rows))
    reached = _reached(warehouse, table)
    settled = settled_before(now)
    engine = SimpleNamespace(fetchall=warehouse.fetchall, dialect="redshift" if warehouse.is_redshift else "duckdb")
    starts = range_starts(table.mart.name, engine)
    for start, end in zip([None, *starts], [*starts, None], strict=True):
        found = _whereabouts(table, reached, settled, reach(start, end))
        for name_of_period, place, rows in warehouse.fetchall(_counted(found)):
            of_raw = _of(ledger, name_of_period).of_raw
            of_raw[place] = of_raw.get(place, 0) + int(rows)
        if ledger.missing:
            for name_of_period, order in warehouse.fetchall(_missing_orders(found)):
                orders = _of(ledger, name_of_period).missing_orders
                orders[:] = [*orders, int(order)][:EXAMPLES]
    ledger.half_years = dict(sorted(ledger.half_years.items()))
    return ledger


def _of(ledger: TableLedger, half_year: str) -> HalfYear:
    return ledger.half_years.setdefault(half_year, HalfYear())


def _reached(warehouse: Warehouse, table: Table) -> exp.Expr:
    """The stamp of the last landing of which the mart has taken anything, as a literal."""
    query = union_all(
        [
            exp.select(exp.func("MAX", exp.column("landed_at"))).from_(table_node(name))
            for name in (table.mart.name, history_view(table.mart.alias))
        ]
    )
    stamps = [stamp for (stamp,) in warehouse.fetchall(query) if stamp is not None]
    return stamp_literal(max(stamps)) if stamps else timestamp(0)


def _in_both(warehouse: Warehouse, table: Table) -> int:
    """Rows of the mart whose identical copy history holds. What is newer than all of history need not be looked at."""
    names = table.compared_of_order
    keys = [*names, "landed_at"] if table.mart.one_row_per_order else names
    query = """
        SELECT COUNT(*) FROM mart
        JOIN history ON history.order_id = mart.order_id AND :identical
        WHERE :time <= (SELECT MAX(newest.newest) FROM newest)
    """
    history = history_view(table.mart.alias)
    newest = exp.select(exp.func("MAX", exp.column(table.time)).as_("newest")).from_(table_node(history))
    ((rows,),) = warehouse.fetchall(
        sql_from_template(
            query,
            {"mart": table.mart.name, "history": history, "newest": newest},
            identical=identical("mart", "history", keys, table.columns, table.mart),
            time=exp.column(table.time, "mart"),
        )
    )
    return int(rows)


def _whereabouts(table: Table, reached: exp.Expr, settled: int, in_range: exp.Expr) -> exp.Query:
    """Of each row of raw: its order, its half-year and its place.

    A version of an order is superseded where mart or history holds a newer one.
    """
    names = table.compared_of_order
    keys = ["landed_at", *names] if table.mart.one_row_per_order else names
    ages = list(dict.fromkeys([table.time, "landed_at", *names]))
    columns = ["order_id", *ages]
    is_copy = identical("held", "landed", keys, table.columns, table.mart)
    is_newer = older("landed", "held", ages, table.mart) if table.mart.one_row_per_order else exp.false()
    matching = exp.true() if table.mart.one_row_per_order else is_copy
    held = union_all(
        [
            exp.select(*columns_of(columns), exp.cast(exp.Literal.number(rank), "INTEGER").as_("rank_of_place"))
            .from_(table_node(name))
            .where(in_range.copy())
            for rank, name in ((3, table.mart.name), (2, history_view(table.mart.alias)))
        ]
    )
    best = query_from_template(
        """
        SELECT :columns, MAX(CASE WHEN held.order_id IS NULL THEN 0 WHEN :is_copy THEN held.rank_of_place
          WHEN :is_newer THEN 1 ELSE 0 END) AS best_place
        FROM (SELECT :plain FROM raw WHERE :in_range) AS landed
        LEFT JOIN held ON held.order_id = landed.order_id AND :matching
        GROUP BY :columns
        """,
        {"raw": table.raw, "held": held},
        columns=columns_of(columns, "landed"),
        plain=columns_of(columns),
        in_range=in_range,
        is_copy=is_copy,
        is_newer=is_newer,
        matching=matching,
    )
    return query_from_template(
        """
        SELECT best.order_id, :half_year AS half_year,
          CAST(CASE WHEN best.best_place = 3 THEN 'mart' WHEN best.best_place = 2 THEN 'history'
            WHEN best.best_place = 1 THEN 'superseded'
            WHEN best.landed_at > :reached OR best.landed_at >= :settled THEN 'waiting'
            ELSE 'missing' END AS VARCHAR(16)) AS place
        FROM best
        """,
        {"best": best},
        half_year=half_year(exp.column(table.time, "best")),
        reached=reached,
        settled=timestamp(settled),
    )


def _counted(found: exp.Query) -> exp.Query:
    return query_from_template(
        "SELECT half_year, place, COUNT(*) FROM found GROUP BY half_year, place", {"found": found}
    )


def _missing_orders(found: exp.Query) -> exp.Query:
    """The first orders with missing rows of each half-year."""
    return query_from_template(
        """
        SELECT half_year, order_id FROM (
          SELECT half_year, order_id, ROW_NUMBER() OVER (PARTITION BY half_year ORDER BY order_id) AS turn
          FROM (SELECT DISTINCT half_year, order_id FROM found WHERE place = 'missing') AS orders
        ) AS named
        WHERE turn <= :examples ORDER BY half_year, order_id
        """,
        {"found": found},
        examples=EXAMPLES,
    )
