"""A long load lands in chunks while the rest is read: each whole, none twice, none after one that failed."""

from __future__ import annotations

import threading
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

import extract.run
from bench.simulate import simulated_trace
from bench.source_writer import SourceWriter
from extract.chunks import Chunks
from extract.clock import Clock
from extract.errors import ExtractFailed
from extract.mysql_address import Address
from extract.source import Source, open_source
from extract.source_mysql import MySQLSource
from extract.source_reads import Limits
from extract.tables import load_config
from extract.warehouse import open_warehouse
from tests.conftest import START
from tests.support.world import DAY, HOUR, MINUTE, World, moment

SPATH = "uni_tracking_spath"


def batches(*sizes: int) -> list[pa.RecordBatch]:
    """Batches of so many rows, numbered through."""
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    return [
        pa.record_batch({"a": pa.array(range(start, start + size), pa.int64())})
        for start, size in zip(starts, sizes, strict=True)
    ]


@pytest.mark.parametrize("sizes", [(), (0,), (4,), (5, 5), (3, 4, 0, 9), (1, 25, 2), (10, 0)])
def test_chunks_hold_every_row_once_in_order_and_at_most_the_limit(sizes: tuple[int, ...]) -> None:
    chunks, taken = Chunks(batches(*sizes), 5), []
    while not chunks.ended:
        taken.append([value for batch in chunks.read_next() for value in batch.column(0).to_pylist()])
    assert [value for chunk in taken for value in chunk] == list(range(sum(sizes)))
    assert all(len(chunk) == 5 for chunk in taken[:-1]) and len(taken[-1]) <= 5
    assert len(taken) == max(1, -(-sum(sizes) // 5)), "a last chunk without rows only where there are none at all"
    assert chunks.rows == sum(sizes)


def load(world: World, now: int, url: str, *, chunk_rows: int) -> dict[str, int]:
    """An extract in chunks of so many rows; gives the rows landed."""
    config = replace(load_config(), chunk_rows=chunk_rows)
    with closing(open_source(url)) as source, closing(open_warehouse("local")) as warehouse:
        runs = extract.run.extract(source, warehouse, config, Clock(moment(now)))
    return {run.table: run.landed.rows_landed for run in runs}


def watermarks(world: World) -> list[int | None]:
    """What each landing of scans has logged, the ones that tell nothing first."""
    logged = world.query(
        "SELECT watermark FROM order_tracking_raw.extract_log "
        f"WHERE table_name = '{SPATH}' AND rows_read > 0 ORDER BY watermark NULLS FIRST"
    )
    return [watermark for (watermark,) in logged]


def test_a_scan_that_stands_twice_lands_once_although_chunks_lie_between(world: World, mysql_database: str) -> None:
    trace = simulated_trace(orders=300, months=8, seed=5, until=moment(START))
    with SourceWriter(mysql_database) as writer:
        writer.advance(trace, START)
    with closing(Address.parse(mysql_database).connect(autocommit=True)) as connection:
        columns = "order_id, pathTime, code, traceSeq"
        connection.cursor().execute(f"INSERT INTO {SPATH} ({columns}) SELECT {columns} FROM {SPATH}")
    landed = load(world, START + 15 * MINUTE, mysql_database, chunk_rows=97)
    assert landed[SPATH] == trace.num_rows
    ((rows, distinct),) = world.query(
        f"SELECT COUNT(*), COUNT(DISTINCT (order_id, pathtime, code, traceseq)) FROM order_tracking_raw.{SPATH}_raw"
    )
    assert rows == distinct == trace.num_rows
    assert len(watermarks(world)) == -(-2 * trace.num_rows // 97), "a transaction a chunk"


@pytest.mark.slow
def test_only_the_last_chunk_tells_how_far_was_seen(world: World) -> None:
    """The rows come in any order: newest first here, so that a load that dies has seen less than its first rows say."""
    for order in range(1, 41):
        world.order(order, START - order * DAY)
    load(world, START + MINUTE, world.source_url, chunk_rows=7)
    assert watermarks(world) == [None] * 5 + [START - DAY]


def test_nothing_lands_after_a_chunk_that_failed_and_the_next_run_lands_the_rest(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for order in range(1, 41):
        world.order(order, START - order * DAY)
    whole, calls = extract.run.land, 0

    def second_fails(warehouse: Any, reading: Any, *args: Any) -> Any:
        nonlocal calls
        calls += reading.table.name == SPATH
        if reading.table.name == SPATH and calls == 2:
            raise RuntimeError("the disk is full")
        return whole(warehouse, reading, *args)

    monkeypatch.setattr(extract.run, "land", second_fails)
    with pytest.raises(ExtractFailed, match=f"Not landed whole: {SPATH}"):
        load(world, START + MINUTE, world.source_url, chunk_rows=7)
    assert calls == 2
    assert world.query(f"SELECT COUNT(*) FROM order_tracking_raw.{SPATH}_raw") == [(7,)]
    monkeypatch.setattr(extract.run, "land", whole)
    assert load(world, START + 2 * HOUR, world.source_url, chunk_rows=7)[SPATH] == 33
    world.cycle(START + 2 * HOUR + 15 * MINUTE)
    world.assert_whole()


@pytest.mark.parametrize("connections", [1, 2])
def test_a_landing_that_fails_gives_its_connection_back_so_that_the_other_tables_land(
    world: World, mysql_database: str, monkeypatch: pytest.MonkeyPatch, connections: int
) -> None:
    """An error that is kept keeps what was being read with it, and so the connection, unless that is closed."""
    with SourceWriter(mysql_database) as writer:
        writer.advance(simulated_trace(orders=40, months=8, seed=5, until=moment(START)), START)
    landing, fail = extract.run.land, {"uni_tracking_info", "ecs_order_info"}

    def fails(warehouse: Any, reading: Any, *args: Any) -> Any:
        if reading.table.name in fail:
            raise RuntimeError("the disk is full")
        return landing(warehouse, reading, *args)

    monkeypatch.setattr(extract.run, "land", fails)
    limits, told = Limits(connections=connections), []

    def run(source: Source) -> None:
        config = replace(load_config(), limits=limits, chunk_rows=7)
        with closing(open_warehouse("local")) as warehouse:
            try:
                extract.run.extract(source, warehouse, config, Clock(moment(START + 15 * MINUTE)))
            except ExtractFailed as error:
                told.append(str(error))

    with closing(MySQLSource(mysql_database, limits)) as source:
        running = threading.Thread(target=run, args=[source])
        running.start()
        running.join(60)
        ended = not running.is_alive()
        while running.is_alive():  # or the tests would not end
            with suppress(ValueError):
                source._free.release()
            running.join(1)
    assert ended, "the tables that wait for a connection wait for ever"
    assert len(told) == 1 and "the disk is full" in told[0]
    assert "Not landed whole: uni_tracking_info, ecs_order_info;" in told[0]


def test_a_connection_that_the_server_closed_while_it_was_idle_is_replaced(mysql_database: str) -> None:
    with closing(open_source(mysql_database)) as source, closing(Address.parse(mysql_database).connect()) as other:
        cursor = other.cursor()
        cursor.execute("SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()")
        idle = [row[0] for row in cursor.fetchall()]
        assert len(idle) == 1, "one connection answers query after query"
        cursor.execute(f"KILL {idle[0]}")
        assert source.clock()
