"""Which of two versions of a row is the older one: decided on every column, so that ties never depend on chance."""

from __future__ import annotations

import typing as t

from sqlglot import exp

from macros.marts import Mart, anchor

Columns = t.Mapping[str, exp.DataType]

CREATION_TOLERANCE = 86400
"""So many seconds an order's creation may lie after its first status: two tables of a source need not tell one time."""


def never_null(column: str, mart: Mart) -> bool:
    """Columns that no landed row of a mart lacks: a row without them is rejected. Another mart's event time is none."""
    return column in ("order_id", "landed_at", mart.event_time)


def same(column: str, left: str, right: str, mart: Mart) -> exp.Expr:
    """The column is equal on both sides, or NULL on both; never NULL itself. No join should rest on it: `identical`."""
    a, b = exp.column(column, left), exp.column(column, right)
    if never_null(column, mart):
        return a.eq(b)
    both_null = exp.and_(a.copy().is_(exp.null()), b.copy().is_(exp.null()))
    return exp.func("COALESCE", a.eq(b), exp.paren(both_null))


def less(column: str, left: str, right: str, mart: Mart) -> exp.Expr:
    """The left one sorts before the right one, NULL last as Redshift sorts it; never NULL itself."""
    a, b = exp.column(column, left), exp.column(column, right)
    if never_null(column, mart):
        return a < b
    only_right_null = exp.and_(exp.not_(a.copy().is_(exp.null())), b.copy().is_(exp.null()))
    return exp.func("COALESCE", a < b, exp.paren(only_right_null))


def older(left: str, right: str, columns: t.Sequence[str], mart: Mart) -> exp.Expr:
    """The row of `left` is an older version than that of `right`: the first of `columns` that differs decides.

    Written by halves: one column within the other would be nested as deep as a table is wide, and SQLMesh walks through
    an expression by recursion.
    """
    if len(columns) == 1:
        return less(columns[0], left, right, mart)
    first, second = columns[: len(columns) // 2], columns[len(columns) // 2 :]
    first_same = exp.and_(*(same(name, left, right, mart) for name in first), copy=False)
    second_older = exp.and_(first_same, older(left, right, second, mart), copy=False)
    return exp.paren(exp.or_(older(left, right, first, mart), second_older, copy=False), copy=False)


def identical(left: str, right: str, names: t.Sequence[str], kinds: Columns, mart: Mart) -> exp.Expr:
    """The rows of `left` and `right` agree in all of these columns, NULL included.

    Each part compares something of one side with something of the other, so that an engine can hash it: DuckDB turns
    an outer join on anything else into a loop over both tables.
    """
    parts: list[exp.Expr] = []
    for name in names:
        a, b = exp.column(name, left), exp.column(name, right)
        if never_null(name, mart):
            parts.append(a.eq(b))
            continue
        kind = kinds.get(name, exp.DataType.build("unknown"))
        mark = _length if kind.is_type(*exp.DataType.TEXT_TYPES) else _null_flag
        parts.append(exp.func("COALESCE", a, blank_of(kind)).eq(exp.func("COALESCE", b, blank_of(kind))))
        parts.append(mark(a).eq(mark(b)))
    return exp.and_(*parts, copy=False)


def blank_of(kind: exp.DataType) -> exp.Expr:
    """Any value of a type, as a literal: it stands for NULL where the NULLs are compared beside it."""
    if kind.is_type(*exp.DataType.TEXT_TYPES):
        return exp.Literal.string("")
    if kind.is_type("BOOLEAN"):
        return exp.false()
    if kind.is_type(*exp.DataType.TEMPORAL_TYPES):
        return exp.cast(exp.Literal.string("1970-01-01"), kind.copy())
    return exp.Literal.number(0)


def another_order(archived: str, present: str, created: str) -> exp.Expr:
    """The status of `archived` is not that of the order in `present`, but of an earlier one under the same number.

    Their tracking numbers differ, and not because one was corrected; or metadata of the number was created later than
    the archived order's last status. That says enough if there is metadata of two creations (`created`: first_created,
    last_created), or no tracking number to tell the orders by. Never NULL.
    """
    first, last = exp.column("first_created", created), exp.column("last_created", created)
    status, tno = exp.column("update_time", archived), exp.column("tno", archived)
    is_told = exp.paren(exp.or_(first < last.copy(), _is_blank(tno)))
    before_creation = exp.and_(created_later(last, status), is_told)
    another_tno = exp.not_(exp.paren(same_order(archived, present, anchor())))
    return exp.paren(exp.or_(another_tno, exp.func("COALESCE", before_creation, exp.false())))


def same_order(left: str, right: str, mart: Mart) -> exp.Expr:
    """By the mark of an order alone two versions are of one order; never NULL.

    Another tracking number within a day is a correction. None, and one of blanks, is the same.
    """
    mark = mart.order_mark
    if never_null(mark, mart):
        return same(mark, left, right, mart)
    both_blank = exp.and_(_is_blank(exp.column(mark, left)), _is_blank(exp.column(mark, right)))
    times = [exp.column(mart.event_time, side) for side in (left, right)]
    near = exp.func("ABS", times[0] - times[1]) <= CREATION_TOLERANCE
    return exp.or_(same(mark, left, right, mart), exp.paren(both_blank), near)


def _is_blank(column: exp.Expr) -> exp.Expr:
    """NULL, or a text of blanks: what a source writes where it has no tracking number."""
    text = exp.cast(column.copy(), "VARCHAR(255)")
    return exp.func("NULLIF", exp.Trim(this=text), exp.Literal.string("")).is_(exp.null())


def created_later(created: exp.Expr, last_status: exp.Expr) -> exp.Expr:
    """Metadata of this creation is of a later order under the number than the one that had its last status then."""
    return created.copy() > order_ends(last_status)


def order_ends(last_status: exp.Expr) -> exp.Expr:
    """What lies later than this is of a later order under the number than the one that had its last status then."""
    return last_status.copy() + CREATION_TOLERANCE


def _length(column: exp.Expr) -> exp.Expr:
    """-1 of NULL. Redshift takes two texts for equal of which one only has more blanks at its end."""
    return exp.func("COALESCE", exp.Length(this=column.copy()), exp.Literal.number(-1))


def _null_flag(column: exp.Expr) -> exp.Expr:
    return exp.Case().when(column.copy().is_(exp.null()), exp.Literal.number(1)).else_(exp.Literal.number(0))
