"""What a read of a source asks for and how it is checked: shared by all sources."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa
from sqlglot import exp

from extract.errors import SourceError, TooLong, in_words

BATCH_ROWS = 65_536
SECONDS_PER_HOUR = 3600
LONGEST = 65_536
"""Characters; one more than the bytes of the longest text that a column can hold."""

Batches = Generator[pa.RecordBatch, None, None]
"""Rows as they come; closing it gives their connection back."""

# Column name (lower case) -> the source's own spelling and whether an event time or an id may stand in it.
Columns = Mapping[str, tuple[str, bool]]


@dataclass(frozen=True)
class Limits:
    """What the source's owner allows an extract; the settings of the same names in tables.yaml."""

    connections: int = 4
    """At once, whatever runs in parallel."""
    statement_seconds: int = 60
    """Of the longest statement and of the longest transaction."""


class Figures(NamedTuple):
    """What the rows of an hour come to; equal figures on both sides mean equal rows."""

    rows: int
    keys: int
    """SUM of the keys."""
    times: int
    """SUM of the event times, epoch seconds."""
    content: int = 0
    """SUM of each row's fingerprint; 0 where none was asked for."""


@dataclass(frozen=True)
class SourceTable:
    """One source table as configured; `columns` are lower-case warehouse names, in the order wanted."""

    name: str
    time_column: str
    """The event time's, as the source calls it."""
    columns: tuple[str, ...]
    key: str = "order_id"
    id_column: str | None = None
    event_time: str = ""
    """The column that holds the event time as epoch seconds; by default the one of that name."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Column -> what the source calls it, where that is another name."""
    types: Mapping[str, exp.DataType] = field(default_factory=dict)
    """Column -> the type that it lands as: what a fingerprint of its content needs."""

    def source_name(self, column: str) -> str:
        """What the source calls a column, in lower case."""
        return self.names.get(column, column).lower()

    def is_event_time(self, column: str) -> bool:
        return column == (self.event_time or self.time_column.lower())

    def wanted(self) -> tuple[str, ...]:
        """Every column that the source's table must have, once each."""
        names = [self.source_name(name) for name in (*self.columns, self.key)]
        return tuple(dict.fromkeys([*names, *(name.lower() for name in (self.time_column, self.id_column) if name)]))


@dataclass(frozen=True)
class TimeColumn:
    """The event time of a table as a source's SQL has it: a number of epoch seconds, or a DATETIME or TIMESTAMP."""

    column: str
    """The bare column, quoted: compared with literals, so that its index serves."""
    literal: Callable[[int], str] = str
    """Epoch seconds as a literal that the column is compared with."""
    pattern: str = "{}"
    """How a time of this column becomes epoch seconds."""
    hour_pattern: str = f"{{}} DIV {SECONDS_PER_HOUR}"
    """How epoch seconds become epoch hours in MySQL."""

    @property
    def hour(self) -> str:
        return self.hour_pattern.format(self.seconds)

    @property
    def seconds(self) -> str:
        return self.seconds_of(self.column)

    def seconds_of(self, expression: str) -> str:
        return self.pattern.format(expression)


def moment_literal(epoch_seconds: int) -> str:
    """Epoch seconds as a time in UTC, in quotes; what is beyond the year 9999 is its end."""
    latest = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
    moment = dt.datetime.fromtimestamp(min(epoch_seconds, int(latest.timestamp())), dt.UTC)
    return f"'{moment:%Y-%m-%d %H:%M:%S}'"


@dataclass(frozen=True)
class TimeRange:
    """Half-open range [start, end) of event time in epoch seconds; None is unbounded.

    A range holds only times above zero. `unplaceable` adds the rows whose time is NULL, zero or negative.
    """

    start: int | None
    end: int | None = None
    unplaceable: bool = False


def merged(ranges: Sequence[TimeRange]) -> tuple[list[tuple[int, int | None]], bool]:
    """The ranges as disjoint ascending (start >= 1, end), and whether unplaceable rows are asked for.

    Disjoint, so that no row is read twice; merged, so that many adjacent hours make one index range.
    """
    spans = sorted(
        ((max(item.start or 1, 1), item.end) for item in ranges),
        key=lambda span: span[0],
    )
    joined: list[tuple[int, int | None]] = []
    for start, end in spans:
        if end is not None and end <= start:
            continue
        if joined and (joined[-1][1] is None or start <= joined[-1][1]):
            last_start, last_end = joined[-1]
            joined[-1] = (last_start, None if last_end is None or end is None else max(last_end, end))
        else:
            joined.append((start, end))
    return joined, any(item.unplaceable for item in ranges)


def row_filter(
    time: TimeColumn, ranges: Sequence[TimeRange], identifier: str | None = None, since_id: int | None = None
) -> str:
    """The WHERE condition of a read; `identifier` is a quoted column name.

    Bare comparisons of the column with literals, so that an index on the time column serves them.
    """
    spans, unplaceable = merged(ranges)
    column, literal = time.column, time.literal
    parts = [
        f"{column} >= {literal(start)}"
        if end is None
        else f"({column} >= {literal(start)} AND {column} < {literal(end)})"
        for start, end in spans
    ]
    if unplaceable:
        parts += [f"{column} < {literal(1)}", f"{column} IS NULL"]
    if unplaceable and spans == [(1, None)]:
        condition = "1 = 1"
    elif parts:
        condition = f"({' OR '.join(parts)})"
    else:
        condition = "1 = 1" if since_id is not None and not ranges else "1 = 0"
    if since_id is None:
        return condition
    if identifier is None:
        raise SourceError("since_id was given for a table without an id column; nothing was read.")
    after = f"{identifier} > {since_id:d}"
    return after if condition == "1 = 1" else f"{condition} AND {after}"


def halved(ranges: Sequence[TimeRange], now: int) -> tuple[list[TimeRange], list[TimeRange]] | None:
    """The ranges as two halves by time, the earlier one first; None where an hour or less is left.

    Args:
        now: Epoch seconds; a range without an end, or a beginning, is halved as if it ended there, or began a year ago.

    Example:
        >>> halved([TimeRange(0, 3600), TimeRange(7200, 10800, unplaceable=True)], 0)[1]
        [TimeRange(start=7200, end=10800, unplaceable=True)]
    """
    spans, unplaceable = merged(ranges)
    if not spans:
        return None
    last_end = spans[-1][1] or max(now, spans[-1][0] + 2 * SECONDS_PER_HOUR)
    first = max(spans[0][0], last_end - 366 * 86_400) if len(spans) == 1 else spans[0][0]
    if last_end - first <= SECONDS_PER_HOUR:
        return None
    middle = spans[len(spans) // 2][0] if len(spans) > 1 else (first + last_end) // 2
    middle = max(middle // SECONDS_PER_HOUR, first // SECONDS_PER_HOUR + 1) * SECONDS_PER_HOUR
    earlier = [TimeRange(start, middle if end is None else min(end, middle)) for start, end in spans if start < middle]
    later = [TimeRange(max(start, middle), end) for start, end in spans if end is None or end > middle]
    if unplaceable:
        later[-1] = TimeRange(later[-1].start, later[-1].end, unplaceable=True)
    return earlier, later


def raise_unless_whole(where: str, what: str, came: int, counted: int, *, exact: bool = True) -> None:
    """Raises SourceError where fewer rows came than the source counts; or other than that many, if `exact`."""
    if came == counted or (came > counted and not exact):
        return
    raise SourceError(
        f"The source {where} gave {came} rows of {what}, but it counts {counted}. What was read last did not land, and "
        "the watermark did not move over it. Something cuts or changes what a SELECT returns: a limit that the server "
        "or a proxy sets, or a damaged index (CHECK TABLE tells). Mend that, then run again: what is missing is read."
    )


def missing(table: SourceTable, columns: Columns) -> list[str]:
    """What `table` lacks, in words; `columns` is empty when the source has no such table."""
    if not columns:
        return [f"table {table.name}"]
    return [f"column {table.name}.{name}" for name in table.wanted() if name not in columns]


def not_numeric(table: SourceTable, columns: Columns) -> list[str]:
    """Ranges of time and id are asked for, so they must have an order. A key need not, it is judged row by row."""
    names = dict.fromkeys(name.lower() for name in (table.time_column, table.id_column) if name is not None)
    return [f"{table.name}.{name}" for name in names if name in columns and not columns[name][1]]


def raise_unless_complete(
    where: str, tables: Sequence[SourceTable], found: Mapping[str, Columns], causes: Mapping[str, str] | None = None
) -> None:
    """Raises SourceError naming everything that `tables` want and `found` (by table name) lacks.

    Args:
        causes: Table name -> what the source says of a table of which nothing is found.
    """
    lacking = [item for table in tables for item in missing(table, found[table.name])]
    wrong = [item for table in tables for item in not_numeric(table, found[table.name])]
    if not lacking and not wrong:
        return
    said = []
    if lacking:
        causes = {name: cause for name, cause in (causes or {}).items() if cause}
        said.append("has no " + ", no ".join(lacking) + "".join(f" ({cause})" for cause in causes.values()))
    if wrong:
        said.append(
            "holds neither whole numbers nor times in "
            + ", ".join(wrong)
            + ", but an event time is epoch seconds, a DATETIME or a TIMESTAMP, and an id a number"
        )
    raise SourceError(
        f"The source {where} {'; it '.join(said)}. Nothing was read. Mend the names in the extract "
        "configuration, or grant the source's user SELECT on these tables."
    )


FindIndex = Callable[..., str | None]
"""A source's `missing_index`."""


def with_index(error: TooLong, missing_index: FindIndex, table: SourceTable, *, of_orders: bool = False) -> TooLong:
    """An error to raise from this one: its words, and the index that would help if the table lacks it."""
    words = in_words(error)
    with suppress(SourceError):
        if statement := missing_index(table, of_orders=of_orders):
            words += f" No index begins with the {'order number' if of_orders else 'event time'}: {statement}"
    return TooLong(words)
