"""Writes a simulated source: three tables as a logistics company's MySQL would hold them at a moment.

python -m bench.simulate --source URL --orders N --months M --seed S [--at T]

The first write holds about N orders created in the M months before T. The same seed and a later T continue
the same history: older rows stay, nothing already scanned changes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from tqdm import tqdm

from bench.lifecycles import TRACE_SCHEMA, chunks, months_before, scans
from bench.source_writer import SourceWriteError, SourceWriter
from extract.clock import Clock
from extract.errors import ConfigurationError
from scripts.command import moment_argument, run_command

MONTHS_MOST = 480
ORDERS_PER_MONTH_MOST = 95_000_000  # on average: a month of 31 days has a little more, and its ids must suffice
LONG_SECONDS = 10  # off a terminal, a bar shows only in runs longer than this, and moves as rarely


def simulated_trace(
    orders: int,
    months: int,
    seed: int,
    until: datetime,
    since: datetime | None = None,
    started: datetime | None = None,
) -> pa.Table:
    """The scans that arrive in (since, until], by arrival; schema TRACE_SCHEMA.

    `started` is the history's first moment; by default `months` before `since`, the moment of the first
    write, or before `until` where there is no `since`.
    """
    first = started or months_before(since or until, months)
    parts = _parts(orders, months, seed, _epoch(first), _epoch(since) if since else None, _epoch(until), None)
    return pa.concat_tables([TRACE_SCHEMA.empty_table(), *parts]).sort_by(
        [("arrival_time", "ascending"), ("order_id", "ascending"), ("trace_seq", "ascending")]
    )


def simulate(
    source: str, *, orders: int, months: int, seed: int, at: datetime, progress: bool = True
) -> dict[str, int]:
    """Writes the source as of `at` and returns the rows per table.

    Continues what the same parameters wrote before, and writes the tables anew for others. Raises
    SourceWriteError when `at` is earlier than what is there, SourceError when the source cannot be written.
    """
    if orders < 1 or not 1 <= months <= MONTHS_MOST or seed < 0:
        raise SourceWriteError(
            f"orders and months must be at least 1 (months at most {MONTHS_MOST}), seed at least 0. "
            "Nothing was written."
        )
    if orders > months * ORDERS_PER_MONTH_MOST:
        raise SourceWriteError(
            f"There is room for {ORDERS_PER_MONTH_MOST:,} orders a month. Nothing was written. Give fewer orders, or "
            "more months."
        )
    parameters = f"orders={orders} months={months} seed={seed}"
    until = _epoch(at)
    with SourceWriter(source) as writer:
        there = writer.written
        if there and there.parameters == parameters and there.written_until is not None:
            if until < there.written_until:
                raise SourceWriteError(
                    f"{_shown(until)} is earlier than {_shown(there.written_until)}, "
                    "up to which this source is written. "
                    "Nothing was changed. Give a later --at, or another file or database."
                )
            after = there.written_until
            writer.add(_parts(orders, months, seed, there.started, after, until, progress), until)
            return writer.counts()
        if there:
            _say(
                progress,
                f"The source held another simulation ({there.parameters}); its tables are written anew.",
            )
        started = _epoch(months_before(at, months))
        writer.begin(parameters, started)
        for part in _parts(orders, months, seed, started, None, until, progress):
            writer.put(part)
        writer.finish(until)
        return writer.counts()


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 written, 1 the source failed, 2 bad usage."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulate", description=__doc__.splitlines()[0])
    parser.add_argument("--source", required=True, help="duckdb:///FILE or mysql://user:password@host:port/db")
    parser.add_argument("--orders", type=int, required=True, help="orders that exist at T, about")
    parser.add_argument("--months", type=int, required=True, help="months of history before T")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--at", type=moment_argument, metavar="T", help="T, ISO, UTC (default: now)")
    parser.set_defaults(gateway="local")
    return run_command(parser, _simulate, arguments)


def _simulate(given: Any) -> int:
    at = Clock(given.at).now_utc()
    try:
        counts = simulate(given.source, orders=given.orders, months=given.months, seed=given.seed, at=at)
    except SourceWriteError as error:
        raise ConfigurationError(str(error)) from error
    for table, rows in counts.items():
        print(f"{table:<20} {rows:>14,} rows")
    started = months_before(at, given.months)
    print(f"as of {_shown(_epoch(at))}; the first write reaches {given.months} months back from its own moment")
    source = "" if given.source.startswith("mysql") else f" --source {given.source}"
    print(f"next: python -m extract{source} --since {started:%Y-%m-%dT%H:%M:%SZ} --at {at:%Y-%m-%dT%H:%M:%SZ}")
    if not source:  # the URL holds a password, and a terminal's history is no place for one
        print("      with ORDER_TRACKING_SOURCE set to the same URL")
    return 0


def _parts(
    orders: int, months: int, seed: int, started: int, after: int | None, until: int, progress: bool | None
) -> Iterator[pa.Table]:
    work = list(chunks(orders / months, started, after, until))
    terminal = sys.stderr.isatty()
    bar = tqdm(
        work,
        desc="simulating",
        unit="chunk",
        disable=not progress,
        delay=0 if terminal else LONG_SECONDS,
        mininterval=0.1 if terminal else LONG_SECONDS,
    )
    return (scans(seed, chunk, started, after, until) for chunk in bar)


def _epoch(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise ValueError("give moments with a time zone")
    return int(moment.timestamp())


def _shown(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _say(progress: bool, text: str) -> None:
    if progress:
        print(text)


if __name__ == "__main__":
    sys.exit(main())
