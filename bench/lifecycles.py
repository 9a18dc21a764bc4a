"""How simulated orders live: a trace of scans as a pure function of seed, rate and calendar.

A *trace* is an Arrow table of scans, one row each, as in TRACE_SCHEMA. Times are epoch seconds, UTC.
`path_time` says when the scan happened, `arrival_time` when the source learned of it; `trace_seq` numbers
the scans of an order by arrival, from 0.
"""

from __future__ import annotations

import calendar
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

TRACE_SCHEMA = pa.schema(
    [
        ("order_id", pa.int64()),
        ("partner_id", pa.int32()),
        ("path_time", pa.int64()),
        ("arrival_time", pa.int64()),
        ("code", pa.int32()),
        ("trace_seq", pa.int32()),
    ]
)

CREATED, DELIVERED, CANCELLED = 100, 203, 900
IN_TRANSIT = (200, 201, 202, 204, 205)

MINUTE, DAY = 60, 86_400
MEAN_MONTH_DAYS = 30.4375

SCANS_MEDIAN, SCANS_SIGMA, SCANS_MOST = 14, 0.5, 200
DAYS_MEDIAN, DAYS_SIGMA, DAYS_MOST = 4.0, 0.7, 60.0
PARTNERS, PARTNERS_EXPONENT = 320, 1.05
SHARE_CANCELLED = 0.025
SHARE_SILENT = 0.010  # silent for more than six months, then scanned again
SHARE_LONG = 0.010  # scanned now and then for more than half a year
SILENT_DAYS_LEAST, SILENT_DAYS_MEAN_MORE, SILENT_DAYS_MOST = 186, 40, 400
LONG_DAYS = (200, 420)
LONG_SCANS_LEAST = 8  # so that no pause of a long-lived order reaches six months

# Share of all scans that arrive later than so many seconds, and the latest of all.
LATE = ((14 * DAY, 0.006), (DAY, 0.015), (15 * MINUTE, 0.026))
LATEST = 33 * DAY
PROMPT_MEAN, PROMPT_MOST = 45, 14 * MINUTE
FIRST_SCAN_MOST = MINUTE

# No order is heard of for longer than this after its creation.
LIFE_DAYS_MOST = int(max(DAYS_MOST + SILENT_DAYS_MOST, LONG_DAYS[1])) + LATEST // DAY + 2

FIRST_ORDER_ID = 1_000_000_000
ORDER_IDS_PER_MONTH = 100_000_000
CHUNK_ORDERS = 200_000  # orders made at a time: about 3.2M scans, which bounds the memory


@dataclass(frozen=True)
class Chunk:
    """One slice of a calendar month: the orders created in [start, end), `orders` of them."""

    month: int  # months since 1970-01
    number: int
    first_id: int
    orders: int
    start: int
    end: int


def month_start(month: int) -> int:
    """Epoch second at which the month (counted from 1970-01) begins, UTC."""
    return int(datetime(1970 + month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp())


def months_before(moment: datetime, months: int) -> datetime:
    """The same day and time so many calendar months earlier, on the month's last day where it is shorter."""
    index = moment.year * 12 + moment.month - 1 - months
    year, month = index // 12, index % 12 + 1
    return moment.replace(year=year, month=month, day=min(moment.day, calendar.monthrange(year, month)[1]))


def chunks(rate: float, started: int, after: int | None, until: int) -> Iterator[Chunk]:
    """The chunks whose orders can be heard of in (after, until]; `rate` is orders per mean month."""
    earliest = started if after is None else max(started, after - LIFE_DAYS_MOST * DAY)
    first, last = (datetime.fromtimestamp(moment, UTC) for moment in (earliest, until))
    for month in range((first.year - 1970) * 12 + first.month - 1, (last.year - 1970) * 12 + last.month):
        begin, end = month_start(month), month_start(month + 1)
        orders = round(rate * (end - begin) / DAY / MEAN_MONTH_DAYS)
        if orders > ORDER_IDS_PER_MONTH:
            raise ValueError(f"{orders} orders a month; at most {ORDER_IDS_PER_MONTH} fit")
        slices = max(1, math.ceil(orders / CHUNK_ORDERS))
        bounds = [begin + (end - begin) * number // slices for number in range(slices + 1)]
        ids = [orders * number // slices for number in range(slices + 1)]
        for number in range(slices):
            if bounds[number + 1] > earliest and bounds[number] <= until:
                yield Chunk(
                    month=month,
                    number=number,
                    first_id=FIRST_ORDER_ID + month * ORDER_IDS_PER_MONTH + ids[number],
                    orders=ids[number + 1] - ids[number],
                    start=bounds[number],
                    end=bounds[number + 1],
                )


def scans(seed: int, chunk: Chunk, started: int, after: int | None, until: int) -> pa.Table:
    """The chunk's scans that arrived in (after, until], of orders created at or after `started`, by arrival.

    Every order's whole life is drawn before anything is left out, so `after` and `until` change no scan.
    """
    random = np.random.Generator(np.random.PCG64([seed, chunk.month, chunk.number]))
    orders = chunk.orders
    order_id = chunk.first_id + random.permutation(orders)
    created = random.integers(chunk.start, chunk.end, orders)
    partner = _partners(random, orders)
    kind = random.random(orders)
    cancelled = kind < SHARE_CANCELLED
    silent = ~cancelled & (kind < SHARE_CANCELLED + SHARE_SILENT)
    long = ~cancelled & ~silent & (kind < SHARE_CANCELLED + SHARE_SILENT + SHARE_LONG)

    count = np.rint(np.exp(random.normal(math.log(SCANS_MEDIAN), SCANS_SIGMA, orders))).astype(np.int64)
    count = np.clip(count, 1, SCANS_MOST)
    count = np.where(cancelled | silent, np.maximum(count, 2), count)
    count = np.where(long, np.maximum(count, LONG_SCANS_LEAST), count)
    days = np.minimum(np.exp(random.normal(math.log(DAYS_MEDIAN), DAYS_SIGMA, orders)), DAYS_MOST)
    days = np.where(long, random.uniform(*LONG_DAYS, orders), days)

    row = np.repeat(np.arange(orders), count)  # the order of each scan
    first_row = np.cumsum(count) - count
    step = np.arange(len(row)) - first_row[row]
    last = step == count[row] - 1

    # Sorting `row + u` sorts the scans of each order among themselves. A long life is spread evenly instead.
    where = np.sort(row + random.random(len(row))) - row
    where = np.where(long[row], (step + 0.5 * random.random(len(row))) / count[row], where)
    path_time = created[row] + (where * days[row] * DAY).astype(np.int64)
    path_time[step == 0] = created
    pause = SILENT_DAYS_LEAST + random.exponential(SILENT_DAYS_MEAN_MORE, orders)
    back = 1 + (random.random(orders) * (count - 1)).astype(np.int64)  # the first scan after the silence
    pause_seconds = (np.minimum(pause, SILENT_DAYS_MOST) * DAY).astype(np.int64)
    path_time += np.where(silent[row] & (step >= back[row]), pause_seconds[row], 0)

    arrival = path_time + _lateness(random, step == 0)
    code = np.asarray(IN_TRANSIT)[random.integers(0, len(IN_TRANSIT), len(row))]
    code[last] = np.where(cancelled, CANCELLED, DELIVERED)
    code[step == 0] = CREATED

    by_arrival = np.lexsort((step, arrival, row))
    sequence = np.empty(len(row), np.int64)
    sequence[by_arrival] = step  # the n-th arrival of an order gets n

    keep = (created[row] >= started) & (arrival <= until)
    if after is not None:
        keep &= arrival > after
    chosen = np.flatnonzero(keep)
    chosen = chosen[np.lexsort((sequence[chosen], order_id[row[chosen]], arrival[chosen]))]
    return pa.table(
        [
            order_id[row[chosen]],
            partner[row[chosen]].astype(np.int32),
            path_time[chosen],
            arrival[chosen],
            code[chosen].astype(np.int32),
            sequence[chosen].astype(np.int32),
        ],
        schema=TRACE_SCHEMA,
    )


def _partners(random: np.random.Generator, orders: int) -> np.ndarray:
    """Partner of each order, 1 to PARTNERS; Zipf: the n-th partner has 1 / n ** exponent of the first's."""
    weight = 1.0 / np.arange(1, PARTNERS + 1) ** PARTNERS_EXPONENT
    return np.searchsorted(np.cumsum(weight / weight.sum())[:-1], random.random(orders), side="right") + 1


def _lateness(random: np.random.Generator, first: np.ndarray) -> np.ndarray:
    """Seconds from each scan to its arrival. First scans are prompt, so the others carry the late shares."""
    size = len(first)
    late = np.minimum(1 + random.exponential(PROMPT_MEAN, size).astype(np.int64), PROMPT_MOST)
    others = size - np.count_nonzero(first)
    draw = random.random(size) * (others / size if size else 1.0)
    within = random.random(size)
    ceiling, below = LATEST, 0.0
    for floor, share in LATE:
        chosen = (draw >= below) & (draw < share)
        late[chosen] = (floor * (ceiling / floor) ** within[chosen]).astype(np.int64) + 1
        ceiling, below = floor - 1, share
    late[first] = 1 + late[first] % FIRST_SCAN_MOST
    return late
