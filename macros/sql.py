"""Statements from templates: SQL as one reads it, with names and values put in as nodes, never as text."""

from __future__ import annotations

import datetime as dt
import typing as t

from sqlglot import ErrorLevel, exp, parse_one

DIALECT = "redshift"


def sql_from_template(template: str, tables: t.Mapping[str, str | exp.Expr], **values: t.Any) -> exp.Expr:
    """One statement of a template in the Redshift dialect.

    Args:
        template: SQL in which tables bear short names (`mart`, `history`) and values stand as `:name`.
        tables: What each short name stands for: a table (name or node) or a subquery.
        values: What each `:name` stands for: a literal's value, a node, or a list of nodes for a select list.

    A DELETE or UPDATE may not give its target an alias on Redshift, so columns written with the target's short name
    are given its full name instead.
    """
    tree = parse_one(template, dialect=DIALECT)
    for placeholder in list(tree.find_all(exp.Placeholder)):
        if placeholder.name in values:
            _fill(placeholder, values[placeholder.name])
    target = tree.this if isinstance(tree, (exp.Delete, exp.Update)) else None
    for table in list(tree.find_all(exp.Table)):
        if not table.args.get("db") and table.name in tables:
            _put(table, tables[table.name], tree, is_target=table is target)
    return tree


def query_from_template(template: str, tables: t.Mapping[str, str | exp.Expr], **values: t.Any) -> exp.Query:
    """The same for a SELECT."""
    return t.cast(exp.Query, sql_from_template(template, tables, **values))


def _put(table: exp.Table, replacement: str | exp.Expr, tree: exp.Expr, *, is_target: bool) -> None:
    short = table.alias_or_name
    node = table_node(replacement) if isinstance(replacement, str) else replacement.copy()
    if is_target:
        for column in list(tree.find_all(exp.Column)):
            if column.table == short:
                column.replace(exp.Column(this=column.this.copy(), **_qualifiers(t.cast(exp.Table, node))))
        table.replace(node)
    elif isinstance(table.parent, (exp.Schema, exp.Create, exp.Insert, exp.Alter, exp.Drop)):
        table.replace(node)
    elif isinstance(node, exp.Query):
        table.replace(node.subquery(short, copy=False))
    else:
        table.replace(exp.alias_(node, short, table=True, copy=False))


def _qualifiers(table: exp.Table) -> dict[str, exp.Expr]:
    """A table's name as the qualifiers of a column."""
    return dict(zip(("table", "db", "catalog"), (part.copy() for part in reversed(table.parts)), strict=False))


def _fill(placeholder: exp.Expr, value: t.Any) -> None:
    if isinstance(value, (list, tuple)):
        parent, key = t.cast(exp.Expr, placeholder.parent), t.cast(str, placeholder.arg_key)
        siblings = parent.args[key]
        at = next(i for i, sibling in enumerate(siblings) if sibling is placeholder)
        siblings[at : at + 1] = [node.copy() for node in value]
        parent.set(key, siblings)
    else:
        placeholder.replace(value.copy() if isinstance(value, exp.Expr) else exp.convert(value))


def table_node(name: str) -> exp.Table:
    """A table's name, with schema and catalog where it has them, as a node."""
    return exp.to_table(name, dialect=DIALECT)


def columns_of(names: t.Iterable[str], table: str | None = None) -> list[exp.Expr]:
    """Column nodes, qualified with a table's short name where one is given."""
    return [exp.column(name, table) for name in names]


def union_all(queries: t.Sequence[exp.Query]) -> exp.Query:
    """The queries' rows, one after another; the queries become part of it."""
    result = queries[0]
    for query in queries[1:]:
        result = exp.union(result, query, distinct=False, copy=False)
    return result


def timestamp(epoch_seconds: int) -> exp.Expr:
    """Epoch seconds as a TIMESTAMP literal (UTC, no zone)."""
    text = dt.datetime.fromtimestamp(epoch_seconds, dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
    return exp.cast(exp.Literal.string(text), "TIMESTAMP")


def landed_within(start: int, end: int) -> exp.Expr:
    """The row landed in an interval: epoch seconds, half-open."""
    landed = exp.column("landed_at")
    return exp.and_(landed >= timestamp(start), landed.copy() < timestamp(end))


def execute(engine: t.Any, statements: t.Iterable[exp.Expr]) -> None:
    """Executes finished statements through SQLMesh's engine adapter; the names in them are physical already.

    What lays a table out on Redshift is left out on DuckDB.
    """
    for each in statements:
        sql = each.sql(dialect=engine.dialect, identify=True, copy=False, unsupported_level=ErrorLevel.IGNORE)
        engine.execute(sql)
