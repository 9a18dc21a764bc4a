"""MySQL's types: how a column of each is asked for, so that its value comes exactly as the source holds it."""

from __future__ import annotations

from extract.source_reads import LONGEST, Columns

INTEGER_TYPES = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "year", "bit"})
_WRITTEN_OUT = frozenset({"decimal", "year", "date", "time", "datetime", "timestamp", "json"})
_LONG_TYPES = frozenset({"mediumtext", "longtext", "json", "mediumblob", "longblob"})


def columns_of(kinds: dict[str, tuple[str, str]]) -> Columns:
    return {name: (spelling, kind in INTEGER_TYPES | {"decimal"}) for name, (spelling, kind) in kinds.items()}


def output(spelling: str, kind: str, alias: str) -> str:
    """Numbers, texts and bytes as they are, decimals, times and JSON as the server's own text; a BIT is a number.

    Of what may be very long no more than shows that it is too long: a row beyond 16 MB cannot be read.
    """
    column = quoted(spelling)
    if kind == "bit":
        column = f"CAST({column} AS UNSIGNED)"
    elif kind in _WRITTEN_OUT:
        column = f"CAST({column} AS CHAR)"
    if kind in _LONG_TYPES:
        column = f"LEFT({column}, {LONGEST})"
    return f"{column} AS {quoted(alias)}"


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
