"""What has left raw: a table's rows in mart and history, as far as these stand and have the columns asked for."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from extract.config import Table
from extract.warehouse import Warehouse
from macros.history import history_view
from macros.marts import HISTORY_SCHEMA
from macros.sql import columns_of, table_node


def settled_rows(warehouse: Warehouse, table: Table, columns: Sequence[str], since: int) -> list[exp.Query]:
    """One query of `columns` per place, from an event time on: history, and the mart once a plan has made it.

    A column that was added to the source reaches mart and history later than raw; until then it reads as NULL there.
    """
    standing = warehouse.columns_of_schemas([table.mart.name.split(".")[0], HISTORY_SCHEMA])
    queries: list[exp.Query] = []
    for place in (table.mart.name, history_view(table.mart.alias)):
        if place not in standing:
            continue
        known = standing[place] or set(columns)
        selected = [
            column if column.name in known else exp.cast(exp.null(), _kind(table, column.name)).as_(column.name)
            for column in columns_of(columns)
        ]
        query = exp.select(*selected).from_(table_node(place)).where(exp.column(table.time) >= since)
        queries.append(query)
    return queries


def _kind(table: Table, column: str) -> exp.DataType:
    return table.columns[column].copy() if column in table.columns else exp.DataType.build("TIMESTAMP")
