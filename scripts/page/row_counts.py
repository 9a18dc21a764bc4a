"""Where rows live: how many stand in each mart, and in its history by half-year."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

from extract.ensure_tables import standing_periods
from extract.errors import WarehouseError
from extract.ownership import production_names
from extract.warehouse import Warehouse
from macros.history import history_period, history_table
from macros.marts import HISTORY_SCHEMA, MART_SCHEMA, Mart, marts
from macros.sql import table_node, union_all

IN_MART = "mart"


@dataclass(frozen=True)
class Living:
    """Rows of a mart (uti, ecs, uts) in one place: a half-year of its history, or the mart itself."""

    table: str
    place: str
    rows: int


def living_rows(warehouse: Warehouse) -> list[Living] | None:
    """By table, its half-years first; empty half-years are left out, the mart never is.

    On DuckDB the tables are counted, which reads no row. On Redshift counting would read a column of each, so its
    catalog's figures are taken; None where this user may not see them.
    """
    if warehouse.is_redshift:
        try:
            counts = _rows_in_catalog(warehouse)
        except WarehouseError:
            return None
    else:
        counts = _counted(warehouse)
    return [
        Living(mart.alias, place, counts[mart.alias, place])
        for mart in marts()
        for place in sorted({place for alias, place in counts if alias == mart.alias}, key=_half_years_first)
        if counts[mart.alias, place] or place == IN_MART
    ]


def _half_years_first(place: str) -> tuple[bool, str]:
    return place == IN_MART, place


def _counted(warehouse: Warehouse) -> dict[tuple[str, str], int]:
    tables = [(mart, place, name) for mart in marts() for place, name in _tables(warehouse, mart)]
    queries: list[exp.Query] = [
        exp.select(
            exp.Literal.string(mart.alias).as_("mart"), exp.Literal.string(place).as_("place"), "COUNT(*) AS held"
        ).from_(table_node(name))
        for mart, place, name in tables
    ]
    return {(alias, place): int(rows) for alias, place, rows in warehouse.fetchall(union_all(queries))}


def _tables(warehouse: Warehouse, mart: Mart) -> Iterator[tuple[str, str]]:
    """Place -> table or view."""
    names = warehouse.columns_of_schemas([HISTORY_SCHEMA, MART_SCHEMA])
    if mart.name in names:
        yield IN_MART, mart.name
    for period in standing_periods(names, mart.alias):
        yield period, history_table(mart.alias, period)


def _rows_in_catalog(warehouse: Warehouse) -> dict[tuple[str, str], int]:
    """As svv_table_info has them. A mart's rows stand in the table below its view; older ones of it may still stand."""
    shown = production_names(warehouse)
    if len(shown) < len(marts()):
        raise WarehouseError("This user does not see which tables the marts' views show.")
    schema, table, rows = (exp.column(exp.to_identifier(name, quoted=True)) for name in ("schema", "table", "tbl_rows"))
    counts = {(mart.alias, IN_MART): 0 for mart in marts()}
    for held_in, name, held in warehouse.fetchall(exp.select(schema, table, rows).from_("svv_table_info")):
        for mart in marts():
            if period := history_period(f"{held_in}.{name}", mart.alias):
                counts[mart.alias, period] = int(held)
            elif f"{held_in}.{name}" == shown.get(mart.name.split(".")[-1]):
                counts[mart.alias, IN_MART] = int(held)
    return counts
