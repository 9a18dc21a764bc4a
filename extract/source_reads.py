"""What a read of a source asks for and how it is checked: shared by all sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from extract.errors import SourceError

BATCH_ROWS = 65_536
SECONDS_PER_HOUR = 3600
LONGEST = 65_536
"""Characters; one more than the bytes of the longest text that a column can hold."""

# Column name (lower case) -> the source's own spelling and whether it holds integers or decimals.
Columns = Mapping[str, tuple[str, bool]]


@dataclass(frozen=True)
class SourceTable:
    """One source table as configured; `columns` are lower-case warehouse names, in the order wanted."""

    name: str
    time_column: str
    columns: tuple[str, ...]
    key: str = "order_id"
    id_column: str | None = None

    def wanted(self) -> tuple[str, ...]:
        """Every column this table must have, once each."""
        names = (*self.columns, self.key, self.time_column, *((self.id_column,) if self.id_column else ()))
        return tuple(dict.fromkeys(name.lower() for name in names))


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
    time: str, ranges: Sequence[TimeRange], identifier: str | None = None, since_id: int | None = None
) -> str:
    """The WHERE condition of a read; `time` and `identifier` are quoted column names.

    Bare comparisons of the column with literals, so that an index on the time column serves them.
    """
    spans, unplaceable = merged(ranges)
    parts = [
        f"{time} >= {start:d}" if end is None else f"({time} >= {start:d} AND {time} < {end:d})" for start, end in spans
    ]
    if unplaceable:
        parts += [f"{time} <= 0", f"{time} IS NULL"]
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
    """Time and id must be exact numbers: ranges of them are asked for. A key need not be, it is judged row by row."""
    names = dict.fromkeys(name.lower() for name in (table.time_column, table.id_column) if name is not None)
    return [f"{table.name}.{name}" for name in names if name in columns and not columns[name][1]]


def raise_unless_complete(where: str, tables: Sequence[SourceTable], found: Mapping[str, Columns]) -> None:
    """Raises SourceError naming everything that `tables` want and `found` (by table name) lacks."""
    lacking = [item for table in tables for item in missing(table, found[table.name])]
    wrong = [item for table in tables for item in not_numeric(table, found[table.name])]
    if not lacking and not wrong:
        return
    said = []
    if lacking:
        said.append("has no " + ", no ".join(lacking))
    if wrong:
        said.append(
            "holds no integers in " + ", ".join(wrong) + ", but an event time is epoch seconds and an id a number"
        )
    raise SourceError(
        f"The source {where} {'; it '.join(said)}. Nothing was read. Mend the names in the extract "
        "configuration, or grant the source's user SELECT on these tables."
    )
