"""MySQL's types: how a column of each is asked for, so that its value comes exactly as the source holds it."""

from __future__ import annotations

from extract.source_reads import LONGEST, SECONDS_PER_HOUR, Columns, TimeColumn, moment_literal

INTEGER_TYPES = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "year", "bit"})
TEMPORAL_TYPES = frozenset({"date", "datetime", "timestamp"})
_WRITTEN_OUT = frozenset({"decimal", "year", "date", "time", "datetime", "timestamp", "json"})
_LONG_TYPES = frozenset({"mediumtext", "longtext", "json", "mediumblob", "longblob"})


def columns_of(kinds: dict[str, tuple[str, str]]) -> Columns:
    ordered = INTEGER_TYPES | TEMPORAL_TYPES | {"decimal"}
    return {name: (spelling, kind in ordered) for name, (spelling, kind) in kinds.items()}


def output(spelling: str, kind: str, alias: str) -> str:
    """Numbers, texts and bytes as they are, decimals, times and JSON as the server's own text; a BIT is a number."""
    column = f"CAST({quoted(spelling)} AS UNSIGNED)" if kind == "bit" else plain_text(spelling, kind)
    return f"{column} AS {quoted(alias)}"


def plain_text(spelling: str, kind: str) -> str:
    """The column, as text where it is decimal, time or JSON.

    Of what may be very long no more than shows that it is too long: a row beyond 16 MB cannot be read.
    """
    column = quoted(spelling)
    if kind in _WRITTEN_OUT:
        column = f"CAST({column} AS CHAR)"
    return f"LEFT({column}, {LONGEST})" if kind in _LONG_TYPES else column


def event_time(spelling: str, kind: str) -> TimeColumn:
    """The event time; of a DATETIME, which says no zone, and of a TIMESTAMP the epoch seconds in UTC."""
    column = quoted(spelling)
    if kind in TEMPORAL_TYPES:
        # Adding nothing makes NULL of a day that is none (2024-02-30), which else would count as another day.
        there_is = "DATE_ADD({}, INTERVAL 0 SECOND)"
        return TimeColumn(column, moment_literal, f"TIMESTAMPDIFF(SECOND, '1970-01-01', {there_is})")
    if kind == "decimal":  # DIV fails where the result is no BIGINT
        return TimeColumn(column, hour_pattern=f"FLOOR({{}} / {SECONDS_PER_HOUR})")
    return TimeColumn(column)


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
