"""Empty copies of the project's tables in the scratch schema, and an engine that sends every statement to them."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from typing import Any

from sqlglot import exp, parse_one

from extract.clock import epoch_of
from extract.ensure_tables import missing_objects
from extract.errors import WarehouseError, in_words
from extract.tables import ExtractConfig
from extract.warehouse import Warehouse
from macros.history import create_table
from macros.sql import DIALECT

LONG_AGO = dt.datetime(2025, 1, 10)
SCHEMAS = re.compile(r"^(sqlmesh__)?order_tracking(_raw|_history)?$")
_VERSIONED = re.compile(r"^order_tracking__(\w+?)__\d+\w*$")

Renaming = Callable[[exp.Table], exp.Table]


def plain_name(table: exp.Table) -> str:
    """A table's name without schema, and without what SQLMesh adds to it."""
    found = _VERSIONED.match(table.name)
    return found.group(1) if found else table.name


def is_ours(table: exp.Table) -> bool:
    """Whether it stands in a schema of the project."""
    return bool(SCHEMAS.match(table.db))


def renamed(tree: exp.Expr, rename: Renaming) -> exp.Expr:
    """A statement with the project's tables under other names, and the columns that are written with them."""
    result = tree.copy()
    for table in list(result.find_all(exp.Table)):
        if is_ours(table):
            new = rename(table)
            for part in ("this", "db", "catalog"):
                table.set(part, new.args.get(part))
    for column in list(result.find_all(exp.Column)):
        named = exp.table_(column.table, db=column.args.get("db"), catalog=column.args.get("catalog"))
        if column.args.get("db") and is_ours(named):
            new = rename(named)
            for part, of_table in (("table", "this"), ("db", "db"), ("catalog", "catalog")):
                column.set(part, new.args.get(of_table))
    return result


def make_copies(
    warehouse: Warehouse,
    config: ExtractConfig,
    schema: str,
    now: int,
    models: Mapping[str, Mapping[str, exp.DataType]],
) -> None:
    """Makes an empty copy of every table and view that the project's statements name.

    Args:
        now: Epoch seconds; history tables are made as `ensure_tables` makes them then.
        models: Models beside the marts: name -> columns with their types.
    """
    rename = into(schema)

    def make(statement: str | exp.Expr) -> None:
        tree = parse_one(statement, dialect=DIALECT) if isinstance(statement, str) else statement
        warehouse.execute(renamed(tree, rename))

    for statement in missing_objects(config, now, {}, redshift=True):
        make(statement)
    for table in config.tables:
        make(create_table(table.mart.name, table.raw_columns, table.mart.sortkey, True))
    for name, kinds in models.items():
        listed = ", ".join(f"{column} {kind.sql(DIALECT)}" for column, kind in kinds.items())
        make(f"CREATE TABLE {name} ({listed})")


def into(schema: str) -> Renaming:
    """Every table of the project by its plain name in another schema."""
    return lambda table: exp.table_(plain_name(table), db=schema, quoted=True)


class Copies:
    """As SQLMesh's engine adapter, as far as the macros use it: each statement goes to the copies, and is kept.

    Copies are empty, and much is not done for empty tables. So a query that finds nothing is answered as if it had
    found one row of long ago, and every statement that there is comes by.
    """

    dialect = DIALECT

    def __init__(self, warehouse: Warehouse, schema: str):
        self.sent: list[exp.Expr] = []
        self.refused: list[str] = []
        self._warehouse = warehouse
        self._rename = into(schema)

    def execute(self, sql: str | exp.Expr) -> None:
        self._send(sql, self._warehouse.execute)

    def fetchall(self, sql: str | exp.Expr) -> list[tuple[Any, ...]]:
        tree = parse_one(sql, dialect=DIALECT) if isinstance(sql, str) else sql
        rows = self._send(tree, self._warehouse.fetchall) or []
        asked = _questions(tree)
        found = [row for row in rows if any(value not in (None, 0) for value in row)] if len(asked) == 1 else []
        return found or [tuple(map(_made_up, question.selects)) for question in asked]

    def fetchone(self, sql: str | exp.Expr) -> tuple[Any, ...]:
        return self.fetchall(sql)[0]

    def table_exists(self, name: str) -> bool:
        return True

    def _send(self, sql: str | exp.Expr, send: Callable[[exp.Expr], Any]) -> Any:
        tree = parse_one(sql, dialect=DIALECT) if isinstance(sql, str) else sql
        self.sent.append(tree.copy())
        redirected = renamed(tree, self._rename)
        try:
            return send(redirected)
        except WarehouseError as error:
            self.refused.append(f"{in_words(error)} It was: {redirected.sql(DIALECT)[:300]}")
            return None


def _questions(tree: exp.Expr) -> list[exp.Query]:
    """The SELECTs of a look-up that asks for several subjects in one statement; of another query, itself."""
    if isinstance(tree, exp.Union) and tree.named_selects[0] == "subject":
        return [*_questions(tree.this), *_questions(tree.expression)]
    return [tree]  # type: ignore[list-item]


def _made_up(column: exp.Expr) -> Any:
    """A value of long ago for a column: a subject's own name, a half-year, a moment, or epoch seconds."""
    name = column.alias_or_name or column.sql(DIALECT)
    if name == "subject":
        literal = column.find(exp.Literal)
        return literal.name if literal else ""
    if name in ("period", "half_year"):
        return "2025_h1"
    return LONG_AGO if name.endswith(("_at", "landed_at)")) else epoch_of(LONG_AGO)
