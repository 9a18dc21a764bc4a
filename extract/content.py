"""What a row comes to in the warehouse: one number made of all its values, in the words that a source has, too.

Each value becomes a text that every engine writes alike, and the row's number is the CRC32 of the texts, as
pt-table-checksum takes it: what costs the source least. So the sum of an hour's numbers tells whether the hour holds
the same rows, and no row has to travel for it. The counterpart for a MySQL source is `extract.mysql_content`.
"""

from __future__ import annotations

import typing as t
from functools import reduce

from sqlglot import exp

STEPS = 4096
"""A DOUBLE is told to 1/4096: a power of two, so that the multiplication is exact on every engine."""

LARGE = 2**40
"""From here on a DOUBLE is only told to be large."""

LONG_TEXT = 256
"""Bytes; of a longer VARCHAR the MD5 stands in the row's text, which may not grow beyond 65,535 bytes."""


def fingerprint(columns: t.Sequence[exp.Expr], *, redshift: bool) -> exp.Expr:
    """The fingerprint of a row, from its columns as `canonical` writes them. A BIGINT below 2^32."""
    separator, nothing = (exp.Chr(expressions=[exp.Literal.number(code)]) for code in (31, 30))
    texts: list[exp.Expr] = [exp.func("COALESCE", column, nothing.copy()) for column in columns]
    text = reduce(lambda before, after: _joined(_joined(before, separator.copy()), after), texts)
    checksum = exp.Anonymous(this="CRC32", expressions=[text])
    if redshift:  # there it is eight hexadecimal digits
        return exp.Anonymous(this="STRTOL", expressions=[checksum, exp.Literal.number(16)])
    return checksum  # extract.crc32 adds it to DuckDB


def canonical(column: exp.Expr, kind: exp.DataType) -> exp.Expr:
    """A column of a warehouse's type as the text that every engine writes alike."""
    match kind.this.value:
        case "BOOLEAN":
            return _as_text(exp.cast(column, "INT"))
        case "DOUBLE":
            steps = _as_text(exp.cast(exp.func("FLOOR", exp.Mul(this=column, expression=_number(STEPS))), "BIGINT"))
            small = exp.func("ABS", column.copy()) < _number(LARGE)
            given = exp.not_(column.copy().is_(exp.null()))
            return exp.Case().when(small, steps).when(given, exp.Literal.string("large"))
        case "DATE":
            return _written(column, "%Y-%m-%d")
        case "TIMESTAMP":
            return _written(column, "%Y-%m-%d %H:%M:%S.%f")
        case "VARCHAR":
            return exp.func("MD5", column) if int(kind.expressions[0].name) > LONG_TEXT else column
    return _as_text(column)


def _joined(left: exp.Expr, right: exp.Expr) -> exp.Expr:
    return exp.DPipe(this=left, expression=right)


def _as_text(value: exp.Expr) -> exp.Expr:
    return exp.cast(value, "VARCHAR(64)")


def _written(column: exp.Expr, pattern: str) -> exp.Expr:
    return exp.TimeToStr(this=column, format=exp.Literal.string(pattern))


def _number(value: int) -> exp.Expr:
    return exp.cast(exp.Literal.number(value), "DOUBLE")
