"""The types that a column of external_models.yaml may have: the one place that says how each travels to raw.

A value travels in its own type: as Arrow, as Parquet and in the temporary table, for a COPY takes no other.
"""

from __future__ import annotations

import pyarrow as pa
from sqlglot import exp

PLAIN = {
    "BIGINT": pa.int64(),
    "INT": pa.int32(),
    "SMALLINT": pa.int16(),
    "BOOLEAN": pa.bool_(),
    "DOUBLE": pa.float64(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us"),
}
"""sqlglot's name of a type without a size -> the Arrow type that it travels as."""

LONGEST_TEXT = 65_535
"""Bytes of the longest VARCHAR on Redshift."""

MOST_DIGITS, MOST_DECIMALS = 38, 37
"""Of a DECIMAL on Redshift."""

KNOWN = (
    "BIGINT, INTEGER, SMALLINT, BOOLEAN, DECIMAL(p, s) up to 38 digits, DOUBLE PRECISION, DATE, TIMESTAMP and "
    f"VARCHAR(n) up to {LONGEST_TEXT}"
)


def arrow_type(kind: exp.DataType) -> pa.DataType | None:
    """What a column of this type travels as; None if no extract can land it.

    Example:
        >>> print(*(arrow_type(exp.DataType.build(text)) for text in ("DECIMAL(9, 2)", "VARCHAR(8)", "VARCHAR")))
        decimal128(9, 2) string None
    """
    name, sizes = kind.this.value, [int(size.name) if size.name.isdigit() else 0 for size in kind.expressions]
    if name in PLAIN and not sizes:
        return PLAIN[name]
    if name == "VARCHAR" and len(sizes) == 1 and 1 <= sizes[0] <= LONGEST_TEXT:
        return pa.string()
    if name == "DECIMAL" and sizes:
        digits, decimals = (*sizes, 0)[:2]
        if 1 <= digits <= MOST_DIGITS and decimals <= min(digits, MOST_DECIMALS):
            return pa.decimal128(digits, decimals)
    return None


def with_article(kind: exp.DataType) -> str:
    """The type in a sentence: an INTEGER, a DATE."""
    name = kind.sql("redshift")
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"
