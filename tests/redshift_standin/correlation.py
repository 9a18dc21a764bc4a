"""Finds the correlated subqueries that Redshift cannot turn into joins.

It knows columns by their qualifier only: a column without one counts as local, so qualify what is correlated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlglot import exp


def broken_correlations(tree: exp.Expression) -> list[str]:
    """One line per kind of unsupported correlation in the tree, [] when there is none."""
    found: dict[str, None] = {}
    for select in tree.find_all(exp.Select):
        for column in _own_columns(select):
            level = _level(column, select)
            if level:
                found.update(dict.fromkeys(_problems(column, select, level)))
    return list(found)


def _problems(column: exp.Column, inner: exp.Select, level: int) -> Iterator[str]:
    outer = _enclosing(inner)
    if level > 1:
        yield "correlation-depth: a subquery may refer to the query around it, not further out; join instead"
    if not _is_plain_equality(column, inner):
        yield "correlation-equality: correlate by equality in WHERE only; join or stage the keys"
    on = inner.find_ancestor(exp.Join, exp.Select)
    if isinstance(on, exp.Join) and (on.side or on.kind == "OUTER") and not _is_source(inner, on):
        yield "correlation-outer-join: no correlated subquery in the ON of an outer join; stage it first"
    if _has_window(inner) or (isinstance(outer, exp.Select) and _has_window(outer)):
        yield "correlation-window: no correlated subquery next to a window function; rank in a CTE of its own"
    in_where = isinstance(inner.find_ancestor(exp.Where, exp.Select), exp.Where)
    if inner.args.get("group") or (_grouped(outer) and not in_where):
        yield "correlation-group-by: no correlated subquery under GROUP BY; aggregate first, then join"


def _own_columns(select: exp.Select) -> Iterator[exp.Column]:
    """The columns that stand in this SELECT itself, not in a query below it."""
    for column in select.find_all(exp.Column):
        if column.find_ancestor(exp.Select) is select:
            yield column


def _sources(block: exp.Expression) -> set[str]:
    """The names by which a block's FROM, JOIN, USING and target can be referred to."""
    roots: list[exp.Expression] = [
        part for key in ("this", "from_", "from") if isinstance(part := block.args.get(key), exp.Expression)
    ]
    roots += block.args.get("joins") or []
    roots += block.args.get("using") or []
    names: set[str] = set()
    while roots:
        item = roots.pop()
        if isinstance(item, (exp.From, exp.Join)):
            roots.append(item.this)
        elif isinstance(item, (exp.Table, exp.Subquery, exp.Values, exp.Lateral)):
            names.add(item.alias_or_name.lower())
        roots += item.args.get("joins") or []
    return names


def _enclosing(node: exp.Expression) -> exp.Expression | None:
    return node.find_ancestor(exp.Select, exp.Update, exp.Delete)


def _level(column: exp.Column, select: exp.Select) -> int:
    """How many blocks further out the column's table is named: 0 is the SELECT itself or nowhere."""
    qualifier = column.table.lower()
    block: exp.Expression | None = select
    level = 0
    while qualifier and block is not None:
        if qualifier in _sources(block):
            return level
        block, level = _enclosing(block), level + 1
    return 0


def _is_plain_equality(column: exp.Column, select: exp.Select) -> bool:
    """Is the column one side of an equality that is ANDed into the WHERE of its SELECT?"""
    node: exp.Expression = column
    while isinstance(node.parent, (exp.Cast, exp.Paren)):
        node = node.parent
    if not isinstance(node.parent, exp.EQ):
        return False
    node = node.parent
    while isinstance(node.parent, (exp.And, exp.Paren)):
        node = node.parent
    return isinstance(node.parent, exp.Where) and node.parent.parent is select


def _has_window(select: exp.Select) -> bool:
    return any(window.find_ancestor(exp.Select) is select for window in select.find_all(exp.Window))


def _grouped(block: exp.Expression | None) -> bool:
    return isinstance(block, exp.Select) and bool(block.args.get("group"))


def _is_source(select: exp.Select, join: exp.Join) -> bool:
    """Is the SELECT what is joined, rather than part of the ON condition?"""
    node: Any = select
    while node is not None and node.parent is not join:
        node = node.parent
    return node is join.this
