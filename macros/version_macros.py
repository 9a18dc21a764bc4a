"""The order of versions as the models name it; what it is stands in macros/versions.py."""

from __future__ import annotations

from sqlglot import exp
from sqlmesh import macro

from macros.columns import columns_with_types
from macros.marts import identity, mart_of
from macros.versions import another_order, created_later, identical, older, order_ends


@macro()
def newest_first(evaluator, mart: exp.Column):  # type: ignore[no-untyped-def]
    """The version order of a mart, newest version first: for ORDER BY."""
    names = identity(mart_of(mart.name), columns_with_types(evaluator, mart.name))
    return [exp.Ordered(this=exp.column(name), desc=True, nulls_first=True) for name in names]


@macro()
def is_older(evaluator, left: exp.Column, right: exp.Column, mart: exp.Column) -> exp.Expr:  # type: ignore[no-untyped-def]
    """The row aliased `left` is an older version of a mart's row than the one aliased `right`."""
    found = mart_of(mart.name)
    return older(left.name, right.name, identity(found, columns_with_types(evaluator, mart.name)), found)


@macro()
def is_identical(evaluator, left: exp.Column, right: exp.Column, mart: exp.Column) -> exp.Expr:  # type: ignore[no-untyped-def]
    """The rows aliased `left` and `right` are the same version of a mart's row, or the same scan."""
    found, kinds = mart_of(mart.name), columns_with_types(evaluator, mart.name)
    return identical(left.name, right.name, identity(found, kinds), kinds, found)


@macro()
def is_another_order(evaluator, archived: exp.Column, present: exp.Column, created: exp.Column) -> exp.Expr:  # type: ignore[no-untyped-def]
    """The status aliased `archived` is of an earlier order under the number of the one aliased `present`.

    Example:
        >>> from sqlglot import exp
        >>> from sqlmesh.core.macros import MacroEvaluator
        >>> a, b, c = (exp.column(name) for name in ("a", "b", "c"))
        >>> is_another_order(MacroEvaluator("redshift"), a, b, c).sql("redshift")[:38]
        '(NOT (COALESCE(a.tno = b.tno, (a.tno I'
    """
    return another_order(archived.name, present.name, created.name)


@macro()
def is_created_later(evaluator, created: exp.Expr, last_status: exp.Expr) -> exp.Expr:  # type: ignore[no-untyped-def]
    """Metadata created then is of a later order than the one with this last status.

    Example:
        >>> from sqlglot import exp
        >>> from sqlmesh.core.macros import MacroEvaluator
        >>> is_created_later(MacroEvaluator("redshift"), exp.column("a"), exp.column("b")).sql("redshift")
        'a > (b + 86400)'
    """
    return created_later(created, last_status)


@macro()
def order_end(evaluator, last_status: exp.Expr) -> exp.Expr:  # type: ignore[no-untyped-def]
    """The last moment of an order that had its last status then; what lies later is of a later order under its number.

    Example:
        >>> from sqlglot import exp
        >>> from sqlmesh.core.macros import MacroEvaluator
        >>> order_end(MacroEvaluator("redshift"), exp.column("a")).sql("redshift")
        'a + 86400'
    """
    return order_ends(last_status)
