"""Which of two versions of a row is the older one: decided on every column, so that ties never depend on chance."""

from __future__ import annotations

import typing as t

from sqlglot import exp
from sqlmesh import macro


def same(left: exp.Expr, right: exp.Expr) -> exp.Expr:
    """Both are equal, or both are NULL; never NULL itself."""
    both_null = exp.and_(left.copy().is_(exp.null()), right.copy().is_(exp.null()))
    return exp.func("COALESCE", exp.EQ(this=left.copy(), expression=right.copy()), exp.paren(both_null))


def less(left: exp.Expr, right: exp.Expr) -> exp.Expr:
    """The left one sorts before the right one, NULL last as Redshift sorts it; never NULL itself."""
    only_right_null = exp.and_(exp.not_(left.copy().is_(exp.null())), right.copy().is_(exp.null()))
    return exp.func("COALESCE", exp.LT(this=left.copy(), expression=right.copy()), exp.paren(only_right_null))


def older(left: str, right: str, columns: t.Sequence[str]) -> exp.Expr:
    """The row of `left` is an older version than that of `right`: the first of `columns` that differs decides."""
    condition: exp.Expr | None = None
    for name in reversed(columns):
        a, b = exp.column(name, left), exp.column(name, right)
        first = less(a, b)
        condition = first if condition is None else exp.or_(first, exp.and_(same(a, b), condition))
    return exp.paren(t.cast(exp.Expr, condition))


def identical(left: str, right: str, columns: t.Sequence[str]) -> exp.Expr:
    """The rows of `left` and `right` agree in all of `columns`."""
    return exp.and_(*(same(exp.column(name, left), exp.column(name, right)) for name in columns))


@macro()
def is_older(evaluator, left: exp.Column, right: exp.Column, *columns: exp.Column) -> exp.Expr:  # type: ignore[no-untyped-def]
    """The row aliased `left` is an older version than the one aliased `right`, by `columns` in order.

    Example:
        >>> from sqlglot import exp
        >>> from sqlmesh.core.macros import MacroEvaluator
        >>> a, b, update_time = exp.column("a"), exp.column("b"), exp.column("update_time")
        >>> is_older(MacroEvaluator("redshift"), a, b, update_time).sql("redshift")
        '(COALESCE(a.update_time < b.update_time, (NOT a.update_time IS NULL AND b.update_time IS NULL)))'
    """
    return older(left.name, right.name, [column.name for column in columns])


@macro()
def is_identical(evaluator, left: exp.Column, right: exp.Column, *columns: exp.Column) -> exp.Expr:  # type: ignore[no-untyped-def]
    """The rows aliased `left` and `right` agree in all of `columns`, NULL included.

    Example:
        >>> from sqlglot import exp
        >>> from sqlmesh.core.macros import MacroEvaluator
        >>> a, b, code = exp.column("a"), exp.column("b"), exp.column("code")
        >>> is_identical(MacroEvaluator("redshift"), a, b, code).sql("redshift")
        'COALESCE(a.code = b.code, (a.code IS NULL AND b.code IS NULL))'
    """
    return identical(left.name, right.name, [column.name for column in columns])
