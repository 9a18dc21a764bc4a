"""Fills a planned warehouse as half a year at peak volume would have left it, at a fraction SCALE of that volume.

    python -m bench.fill --folder F --scale 0.1

Peak volume is 93M orders in uti and ecs, 1.17B scans of the last six months in uts, 90M archived orders, and 35 days of
raw rows. Everything is computed from row numbers in the engine and inserted by time, as real growth would.

An order lives for 13 scans, 12 hours apart; the last one is its status. So of a half-day's scans 1/13 belongs to
each of 13 *blocks* of orders: block b is created in half-day b and has its last scan in half-day b + 12. The orders of
the last 12 blocks are still under way at the end. Order numbers are shuffled within a week, so that no statement can
profit from a finer order than that.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import click
import duckdb

from bench.tables import ECS, SOURCE_TABLES, SPATH, UTI, mart_tables
from extract.clock import parse_time
from macros.periods import months_before, period_bounds, periods_between
from scripts.progress import with_progress
from scripts.run_cycle import run_cycle

END = int(parse_time("2025-09-15T12:00:00").timestamp())
MODELS_START = "2025-09-14"  # not by the log, which says that rows landed weeks before
HALF_DAY = 43_200
SCANS = 13
BLOCK_AT_PEAK = 245_000
ARCHIVED_AT_PEAK = 90_000_000
RAW_HALF_DAYS = 70
FIRST_ARCHIVED = period_bounds("2024_h1")[0]
FIRST_ORDER = 10_000_000_000
FIRST_ARCHIVED_ORDER = 1_000_000_000
SHUFFLE = 1_000_003  # a prime that divides no week's number of orders


@dataclass(frozen=True)
class Volume:
    """How much there is at a scale."""

    scale: float

    @property
    def block(self) -> int:
        """Orders that are created in half a day."""
        return max(round(BLOCK_AT_PEAK * self.scale), 100)

    @property
    def half_days(self) -> int:
        """From the cutoff to the end."""
        return (END - months_before(END, 6)) // HALF_DAY

    @property
    def begin(self) -> int:
        return END - self.half_days * HALF_DAY

    @property
    def orders(self) -> int:
        return self.block * (self.half_days + SCANS - 1)

    @property
    def archived(self) -> int:
        return round(ARCHIVED_AT_PEAK * self.scale)

    def order_id(self, number: str) -> str:
        """SQL: the order's id, of its number in the order of creation."""
        week = self.block * 14
        return f"({FIRST_ORDER} + {number} // {week} * {week} + ({number} % {week}) * {SHUFFLE} % {week})"


def stamp(time: str) -> str:
    """SQL: when a row with this event time landed."""
    return f"make_timestamp((({time})::BIGINT // 900 * 900 + 899) * 1000000)"


def scans(volume: Volume, half_day: int, steps: str = "True") -> str:
    """Query of a half-day's scans: number of the order, pathtime and the scan's number within its order."""
    start = volume.begin + half_day * HALF_DAY
    rows = volume.block * SCANS
    # The scan's number is SCANS - 1 - step: the order's block is `step` half-days ahead of the one that ends now.
    return f"""
        SELECT ({half_day} + r % {SCANS}) * {volume.block} + r // {SCANS} AS number,
          {start} + (r // {SCANS}) * {HALF_DAY} // {volume.block} AS t, {SCANS - 1} - r % {SCANS} AS seq
        FROM range({rows}) AS numbers (r) WHERE {steps.format(step=f"r % {SCANS}")}"""


class Filling:
    """The tables of one warehouse, filled slice by slice."""

    def __init__(self, warehouse: duckdb.DuckDBPyConnection, volume: Volume):
        self._warehouse = warehouse
        self._volume = volume
        self._marts = mart_tables(warehouse)

    def fill(self) -> None:
        half_days = range(self._volume.half_days)
        for half_day in with_progress(half_days, "scans"):
            self._scans(half_day)
        for block in with_progress(range(self._volume.half_days + SCANS - 1), "orders"):
            self._orders(block)
        self._statuses()
        self._archive()
        self._log()
        self._warehouse.execute("CHECKPOINT")

    def _scans(self, half_day: int) -> None:
        order_id = self._volume.order_id("number")
        columns = (
            f"{order_id} AS order_id, t AS pathtime, 200 + seq AS code, seq AS traceseq, {stamp('t')} AS landed_at"
        )
        query = f"SELECT {columns} FROM ({scans(self._volume, half_day)})"
        self._insert(self._marts["uni_tracking_spath"], query)
        if half_day >= self._volume.half_days - RAW_HALF_DAYS:
            self._insert("order_tracking_raw.uni_tracking_spath_raw", query)
            # Of an order's statuses raw holds one on the way and the newest.
            steps = "{step} IN (0, 6)" if half_day < self._volume.half_days - 1 else "True"
            self._insert("order_tracking_raw.uni_tracking_info_raw", self._status_query(half_day, steps))

    def _status_query(self, half_day: int, steps: str) -> str:
        order_id = self._volume.order_id("number")
        return f"""
            SELECT {order_id} AS order_id, 'T' || {order_id} AS tno, 200 + seq AS status, t AS update_time,
              {stamp("t")} AS landed_at
            FROM ({scans(self._volume, half_day, steps)})"""

    def _orders(self, block: int) -> None:
        """The metadata of a block, which is created 12 half-days before its last scan."""
        start = self._volume.begin + (block - SCANS + 1) * HALF_DAY
        size = self._volume.block
        time = f"({start} + r * {HALF_DAY} // {size})"
        query = f"""
            SELECT {self._volume.order_id(f"({block * size} + r)")} AS order_id, (hash(r) % 320)::INTEGER AS partner_id,
              {time} AS add_time, {stamp(time)} AS landed_at
            FROM range({size}) AS numbers (r)"""
        self._insert(self._marts["ecs_order_info"], query)
        if block >= self._volume.half_days + SCANS - 1 - RAW_HALF_DAYS:
            self._insert("order_tracking_raw.ecs_order_info_raw", query)

    def _statuses(self) -> None:
        """An order's status is its newest scan: of the last half-day's scans every one is, before that the 13th."""
        for half_day in with_progress(range(self._volume.half_days), "statuses"):
            newest = "{step} = 0" if half_day < self._volume.half_days - 1 else "True"
            self._insert(self._marts["uni_tracking_info"], self._status_query(half_day, newest))

    def _archive(self) -> None:
        """Orders archived since FIRST_ARCHIVED, evenly; their scans are left out."""
        span = self._volume.begin - FIRST_ARCHIVED
        rows = self._volume.archived
        for period in with_progress(periods_between(FIRST_ARCHIVED, self._volume.begin - 1), "history"):
            first, last = (min((edge - FIRST_ARCHIVED) * rows // span, rows) for edge in period_bounds(period))
            order_id, time = f"({FIRST_ARCHIVED_ORDER} + r)", f"({FIRST_ARCHIVED} + r * {span} // {rows})"
            landed, archived = stamp(time), stamp(f"({time} + 184 * 86400)")
            numbers = f"FROM range({first}, {last}) AS numbers (r)"
            uti = f"SELECT {order_id}, 'T' || {order_id}, 212, {time}, {landed}, {archived} {numbers}"
            ecs = f"SELECT {order_id}, (hash(r) % 320)::INTEGER, {time} - 518400, {landed}, {archived} {numbers}"
            self._warehouse.execute(f"INSERT INTO order_tracking_history.hist_uti_{period} {uti}")
            self._warehouse.execute(f"INSERT INTO order_tracking_history.hist_ecs_{period} {ecs}")

    def _log(self) -> None:
        """What the extract would have noted: how far the landings have seen."""
        for name in SOURCE_TABLES:
            self._warehouse.execute(
                f"""
                INSERT INTO order_tracking_raw.extract_log
                SELECT '{name}', 'extract', NULL, {END - 1}, NULL, COUNT(*), COUNT(*), 0, 0, landed_at, landed_at,
                  landed_at, NULL
                FROM order_tracking_raw.{name}_raw GROUP BY landed_at"""
            )

    def _insert(self, table: str, query: str) -> None:
        self._warehouse.execute(f"INSERT INTO {table} BY NAME {query}")

    def write_window(self, source: duckdb.DuckDBPyConnection) -> None:
        """The source's rows of the last two hours, which the next cycles read again."""
        volume, since = self._volume, END - 7200
        order_id, last = volume.order_id("number"), volume.half_days - 1
        rows = f"FROM ({scans(volume, last)}) WHERE t >= {since}"
        source.execute(f"INSERT INTO {SPATH} SELECT {order_id}, t, 200 + seq, seq {rows}")
        source.execute(f"INSERT INTO {UTI} SELECT {order_id}, 'T' || {order_id}, 200 + seq, t {rows}")
        rows = f"FROM range({volume.block}) AS numbers (r) WHERE {END - HALF_DAY} + r * {HALF_DAY} // {volume.block}"
        number = f"({(last + SCANS - 1) * volume.block} + r)"
        source.execute(
            f"INSERT INTO {ECS} SELECT {volume.order_id(number)}, (hash(r) % 320)::INTEGER, "
            f"{END - HALF_DAY} + r * {HALF_DAY} // {volume.block} {rows} >= {since}"
        )


@click.command(help=__doc__)
@click.option("--folder", type=click.Path(path_type=Path), required=True)
@click.option("--scale", type=float, required=True)
def main(folder: Path, scale: float) -> None:
    """Makes warehouse.duckdb and source.duckdb in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    source, warehouse = folder / "source.duckdb", folder / "warehouse.duckdb"
    for file in (source, warehouse):
        file.unlink(missing_ok=True)
    with duckdb.connect(str(source)) as connection:
        for table, columns in SOURCE_TABLES.items():
            connection.execute(f"CREATE TABLE {table} ({columns})")
    os.environ["ORDER_TRACKING_DUCKDB"] = str(warehouse)
    os.environ["ORDER_TRACKING_START"] = MODELS_START
    run_cycle(at=parse_time("2025-09-15T12:00:00"), source=f"duckdb:///{source}", report=print)
    with duckdb.connect(str(warehouse)) as connection:
        filling = Filling(connection, Volume(scale))
        filling.fill()
    with duckdb.connect(str(source)) as connection:
        filling.write_window(connection)


if __name__ == "__main__":
    main()
