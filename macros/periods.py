"""Quarter-hours, calendar months and half-years: pure functions on epoch seconds, UTC. No SQL here."""

from __future__ import annotations

import calendar
import datetime as dt

QUARTER_HOUR = 900
"""From one cycle to the next, in seconds."""


GRACE_SECONDS = 2 * QUARTER_HOUR
"""So long what landed may take to reach its place: two cycles, one of which may have failed."""


def quarter_hour_of(moment: int) -> int:
    """When the quarter-hour began that a moment falls in; epoch seconds.

    Example:
        >>> quarter_hour_of(1799)
        900
    """
    return moment // QUARTER_HOUR * QUARTER_HOUR


def settled_before(now: int) -> int:
    """What landed before this moment has had two cycles to reach its place; epoch seconds."""
    return quarter_hour_of(now) - GRACE_SECONDS


def epoch(year: int, month: int, day: int = 1) -> int:
    """Epoch seconds of midnight UTC on that day."""
    return calendar.timegm((year, month, day, 0, 0, 0))


def half_open(first: dt.datetime, last: dt.datetime) -> tuple[int, int]:
    """Start and end of an interval as SQLMesh hands it out, with its last microsecond for an end; epoch seconds.

    Example:
        >>> last = dt.datetime(2025, 9, 1, 23, 59, 59, 999999, dt.UTC)
        >>> half_open(dt.datetime(2025, 9, 1, tzinfo=dt.UTC), last) == (epoch(2025, 9, 1), epoch(2025, 9, 2))
        True
    """
    return int(first.timestamp()), int((last + dt.timedelta(microseconds=1)).timestamp())


def period_of(moment: int) -> str:
    """The half-year that a moment (epoch seconds) falls in.

    Example:
        >>> period_of(epoch(2024, 7)), period_of(epoch(2024, 7) - 1)
        ('2024_h2', '2024_h1')
    """
    date = dt.datetime.fromtimestamp(moment, dt.UTC)
    return f"{date.year:04d}_h{1 if date.month <= 6 else 2}"


def period_bounds(period: str) -> tuple[int, int]:
    """First second of a period and of the one after it, as epoch seconds: a half-open range.

    Example:
        >>> period_bounds("2024_h2") == (epoch(2024, 7), epoch(2025, 1))
        True
    """
    year, half = parse_period(period)
    return (epoch(year, 1), epoch(year, 7)) if half == 1 else (epoch(year, 7), epoch(year + 1, 1))


def parse_period(period: str) -> tuple[int, int]:
    """Year and half of a period's name; a ValueError names what is wrong with it."""
    year, separator, half = period.partition("_h")
    if not separator or len(year) != 4 or not year.isdigit() or half not in ("1", "2"):
        raise ValueError(f"'{period}' is no period: write a year and its half, for example 2024_h1")
    if not 1970 <= int(year) < 2200:
        raise ValueError(f"'{period}' is no period: its year is not from 1970 to 2199")
    return int(year), int(half)


def is_period(text: str) -> bool:
    """It is the name of a period.

    Example:
        >>> is_period("2024_h1"), is_period("2024_h1_backup"), is_period("all")
        (True, False, False)
    """
    try:
        return bool(parse_period(text))
    except ValueError:
        return False


def periods_between(first: int, last: int) -> list[str]:
    """Every period from the one that holds `first` to the one that holds `last` (epoch seconds), in order.

    Example:
        >>> periods_between(epoch(2023, 12), epoch(2024, 8))
        ['2023_h2', '2024_h1', '2024_h2']
    """
    periods = []
    moment = first
    while moment <= last:
        periods.append(period_of(moment))
        moment = period_bounds(periods[-1])[1]
    return periods


def months_before(moment: int, months: int) -> int:
    """The same day and time of day so many calendar months earlier.

    A day that month lacks becomes the first of the next one, 00:00: so a later moment never gives an earlier result.

    Example:
        >>> months_before(epoch(2024, 8, 29), 6) == epoch(2024, 2, 29)
        True
        >>> months_before(epoch(2024, 8, 31) + 3600, 6) == months_before(epoch(2024, 9), 6) == epoch(2024, 3)
        True
    """
    date = dt.datetime.fromtimestamp(moment, dt.UTC)
    year, month = divmod(date.year * 12 + date.month - 1 - months, 12)
    if date.day > calendar.monthrange(year, month + 1)[1]:
        return epoch(year + (month + 1) // 12, (month + 1) % 12 + 1)
    return int(date.replace(year=year, month=month + 1).timestamp())
