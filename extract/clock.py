"""Time as an argument: the moment a command works for, and the stamp that a landing gets."""

from __future__ import annotations

import datetime as dt
import time

from extract.errors import ConfigurationError
from macros.periods import quarter_hour_of

RECONCILE_DAYS = 35
"""So far back the nightly reconcile looks."""


class Clock:
    """The time a command works with: frozen at `--at`, or the wall clock where none was given."""

    def __init__(self, at: dt.datetime | None = None):
        self.at = None if at is None else epoch_of(at)

    def now(self) -> int:
        """Epoch seconds, UTC."""
        return self.at if self.at is not None else int(time.time())

    def now_utc(self) -> dt.datetime:
        return utc(self.now())


def parse_time(text: str) -> dt.datetime:
    """An ISO 8601 time; without a zone it is UTC, whatever the process's time zone. ValueError says what is wrong."""
    try:
        return as_utc(dt.datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise ValueError(f"'{text}' is no ISO time; write for example 2025-09-01T12:15:30") from None


def as_utc(moment: dt.datetime) -> dt.datetime:
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)


def utc(epoch_seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(epoch_seconds, dt.UTC)


def moment_of(epoch_seconds: float) -> dt.datetime:
    """A moment as the warehouse keeps it: UTC, without a zone."""
    return utc(epoch_seconds).replace(tzinfo=None)


def epoch_of(moment: dt.datetime) -> int:
    """Epoch seconds; a moment without a zone, as the warehouse keeps it, is UTC."""
    return int(as_utc(moment).timestamp())


def reconcile_start(since: dt.datetime | None, at: dt.datetime | None) -> dt.datetime:
    """The event time at which a reconcile begins: as given, or 35 days before `at` (default: now)."""
    refuse_later(since, at)
    return since or Clock(at).now_utc() - dt.timedelta(days=RECONCILE_DAYS)


def refuse_later(since: dt.datetime | None, at: dt.datetime | None) -> None:
    """ConfigurationError where what is to be read begins after the moment that is worked for: that is nothing."""
    if since is not None and since > (now := Clock(at).now_utc()):
        raise ConfigurationError(
            f"Nothing is read from {since:%Y-%m-%d %H:%M} UTC on, which is after {now:%Y-%m-%d %H:%M} UTC, the moment "
            "that is worked for; nothing was done. Is the year right?"
        )


def landing_stamp(now: int) -> int:
    """The last second of the last closed quarter-hour, so that the run which follows takes the rows at once.

    Example:
        >>> landing_stamp(12 * 3600 + 15 * 60 + 30) == 12 * 3600 + 14 * 60 + 59
        True
    """
    return quarter_hour_of(now) - 1


def next_stamp(now: int, before: dt.datetime | None) -> dt.datetime:
    """A landing's stamp as the warehouse keeps it (UTC, no zone), later than that of the landing `before`.

    Of two versions of one second the one that landed later counts, also where both landed in one quarter-hour.

    Example:
        >>> first = next_stamp(900, None)
        >>> str(first), str(next_stamp(901, first)), str(next_stamp(1800, first))
        ('1970-01-01 00:14:59', '1970-01-01 00:14:59.000001', '1970-01-01 00:29:59')
    """
    stamp = moment_of(landing_stamp(now))
    return stamp if before is None or before < stamp else before + dt.timedelta(microseconds=1)
