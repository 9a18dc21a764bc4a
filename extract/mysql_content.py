"""What a row of MySQL comes to: one number made of all its values, in the words that the warehouse has for them, too.

The counterpart is `extract.content`: both write each value as the same text, and take the same checksum of it.
"""

from __future__ import annotations

from sqlglot import exp

from extract.content import LARGE, LONG_TEXT, STEPS
from extract.mysql_types import INTEGER_TYPES, TEMPORAL_TYPES, plain_text, quoted

_FLOATS = frozenset({"float", "double"})
_TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set", "json"})
_WHOLE = "'^[+-]?([0-9]+([.]0+)?|[.]0+)$'"
"""What lands as a whole number."""

MOST_DECIMALS = 30
"""Of a DECIMAL in MySQL."""

SEPARATOR, NOTHING = "CHAR(31 USING utf8mb4)", "CHAR(30 USING utf8mb4)"


def fingerprint(columns: list[str]) -> str:
    """The fingerprint of a row, from its columns as `canonical` writes them."""
    texts = ", ".join(f"COALESCE({column}, {NOTHING})" for column in columns)
    return f"CRC32(CONCAT_WS({SEPARATOR}, {texts}))"


def canonical(spelling: str, kind: str, landed: exp.DataType, *, seconds: str | None = None) -> str | None:
    """A column as a concatenation shows it, as it lands; None where MySQL cannot write it just as the warehouse does.

    Args:
        spelling, kind: The source's name of the column and of its type.
        landed: The type that the column lands as.
        seconds: The column's epoch seconds, where it is the event time.
    """
    column = quoted(spelling)
    if seconds and kind in TEMPORAL_TYPES:
        return seconds
    match landed.this.value:
        case "BIGINT" | "INT" | "SMALLINT" | "BOOLEAN":
            return _whole(column, kind)
        case "DECIMAL":
            return _decimal(column, kind, landed)
        case "DOUBLE":
            return _float(column, kind)
        case "DATE" | "TIMESTAMP" if kind in TEMPORAL_TYPES:
            return f"CAST({column} AS {'DATE' if landed.is_type('DATE') else 'DATETIME(6)'})"
        case "VARCHAR":
            return _text(spelling, kind, landed)
    return None


def _whole(column: str, kind: str) -> str | None:
    if kind in INTEGER_TYPES:
        return f"({column} + 0)"  # plain digits, also of a BIT and where ZEROFILL shows more
    if kind == "decimal" or kind in _FLOATS:
        return f"CAST({column} AS SIGNED)"
    if kind in _TEXTS and kind not in ("enum", "set", "json"):
        return f"CASE WHEN {column} REGEXP {_WHOLE} THEN CAST({column} AS DECIMAL(65, 0)) END"
    return None


def _decimal(column: str, kind: str, landed: exp.DataType) -> str | None:
    digits, decimals = (*(int(size.name) for size in landed.expressions), 0)[:2]
    if decimals > MOST_DECIMALS or not (kind in INTEGER_TYPES or kind == "decimal"):
        return None
    return f"CAST({column} AS DECIMAL({digits}, {decimals}))"


def _float(column: str, kind: str) -> str | None:
    if kind not in _FLOATS and kind != "decimal" and kind not in INTEGER_TYPES:
        return None
    value = f"({column} + 0e0)"
    steps = f"CAST(FLOOR({value} * {STEPS}) AS SIGNED)"
    return f"CASE WHEN ABS({value}) < {LARGE} THEN {steps} WHEN {value} IS NOT NULL THEN 'large' END"


def _text(spelling: str, kind: str, landed: exp.DataType) -> str | None:
    if kind in _FLOATS:
        return None
    column = quoted(spelling)
    digits = kind in INTEGER_TYPES and kind != "year"  # a YEAR lands as its text
    text = f"({column} + 0)" if digits else f"CONVERT({plain_text(spelling, kind)} USING utf8mb4)"
    return f"MD5({text})" if int(landed.expressions[0].name) > LONG_TEXT else text
