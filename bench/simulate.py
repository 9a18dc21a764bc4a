"""A simulated source: three tables as a logistics company's MySQL would hold them at a moment.

`order-tracking simulate` writes it. The first write holds about N orders created in the M months before T. The same
seed and a later T continue the same history: older rows stay, nothing already scanned changes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import UTC, datetime

import pyarrow as pa

from bench.lifecycles import TRACE_SCHEMA, Chunk, chunks, months_before, scans
from bench.source_writer import SourceWriteError, SourceWriter

MONTHS_MOST = 480
ORDERS_PER_MONTH_MOST = 95_000_000  # on average: a month of 31 days has a little more, and its ids must suffice

Progress = Callable[[Collection[Chunk]], Iterable[Chunk]]
"""Gives the chunks one by one, and may show how far it is."""


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
    parts = _parts(orders, months, seed, _epoch(first), _epoch(since) if since else None, _epoch(until))
    return pa.concat_tables([TRACE_SCHEMA.empty_table(), *parts]).sort_by(
        [("arrival_time", "ascending"), ("order_id", "ascending"), ("trace_seq", "ascending")]
    )


def simulate(
    source: str,
    *,
    orders: int,
    months: int,
    seed: int,
    at: datetime,
    report: Callable[[str], None] | None = None,
    progress: Progress = iter,
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
                    f"{shown(until)} is earlier than {shown(there.written_until)}, "
                    "up to which this source is written. "
                    "Nothing was changed. Give a later --at, or another file or database."
                )
            after = there.written_until
            writer.add(_parts(orders, months, seed, there.started, after, until, progress), until)
            return writer.counts()
        if there and report:
            report(f"The source held another simulation ({there.parameters}); its tables are written anew.")
        started = _epoch(months_before(at, months))
        writer.begin(parameters, started)
        for part in _parts(orders, months, seed, started, None, until, progress):
            writer.put(part)
        writer.finish(until)
        return writer.counts()


def _parts(
    orders: int, months: int, seed: int, started: int, after: int | None, until: int, progress: Progress = iter
) -> Iterator[pa.Table]:
    work = list(chunks(orders / months, started, after, until))
    return (scans(seed, chunk, started, after, until) for chunk in progress(work))


def _epoch(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise ValueError("give moments with a time zone")
    return int(moment.timestamp())


def shown(epoch: int) -> str:
    """An epoch second as text, UTC."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
