"""A first load of half a year in pieces: killed half-way and run again, it neither repeats a row nor skips one."""

from __future__ import annotations

import subprocess
import sys

import duckdb
import pytest

from extract.settings import PROJECT
from tests.conftest import START
from tests.support.world import HOUR, MINUTE, World, moment

ORDERS = 30_000
HOURS = 180 * 24
TABLES = ("uni_tracking_info", "ecs_order_info", "uni_tracking_spath")
LOAD = """
import os
import sys
from contextlib import closing
from dataclasses import replace
from extract import source_duckdb
from extract.clock import Clock, parse_time
from extract.tables import load_config
from extract.run import extract
from extract.source import open_source
from extract.warehouse import open_warehouse

source_duckdb.BATCH_ROWS = 2_000
with closing(open_source(sys.argv[1])) as source, closing(open_warehouse()) as warehouse:
    extract(source, warehouse, replace(load_config(), chunk_rows=2_000), Clock(parse_time(sys.argv[2])),
            progress=lambda *told: os.write(1, ("%s %d %d\\n" % told).encode()))
"""


@pytest.mark.slow
@pytest.mark.parametrize("told_before", [15, 30, 45])
def test_a_first_load_killed_half_way_goes_on_where_it_was(world: World, told_before: int) -> None:
    fill(world)
    told = load(world, kill_after=told_before)
    assert told_before <= len(told) < 200, "it was killed while it loaded"
    landed = {table: rows_of(world, table) for table in TABLES}
    assert 0 < sum(landed.values()) < 4 * ORDERS, landed
    read = {}
    for line in load(world):
        table, rows, _ = line.split()
        read[table] = int(rows)
    for table, size in zip(TABLES, (ORDERS, ORDERS, 2 * ORDERS), strict=True):
        again = read[table] - (size - landed[table])
        assert 0 <= again <= 2 * size // HOURS, "it reads what had not landed, and the buffer's hours once more"
    for table in TABLES:
        source = world_rows(world, table)
        assert rows_of(world, table) == rows_of(world, table, distinct=True) == source, "no row twice, none missing"
    ((logged,),) = world.query("SELECT SUM(rows_landed) FROM order_tracking_raw.extract_log")
    assert logged == 4 * ORDERS
    world.cycle()
    world.assert_whole()


def fill(world: World) -> None:
    """Half a year of orders with two scans each, evenly."""
    created = f"({START - HOURS * HOUR} + r * {HOURS * HOUR - HOUR} // {ORDERS})"
    numbers = f"FROM range(1, {ORDERS + 1}) AS numbers (r)"
    world.source(f"INSERT INTO ecs_order_info (order_id, partner_id, add_time) SELECT r, r % 9, {created} {numbers}")
    world.source(
        "INSERT INTO uni_tracking_spath (order_id, pathTime, code, traceSeq) "
        f"SELECT r, {created} + s * 60, 100, s {numbers}, range(2) AS seq (s) ORDER BY 2"
    )
    world.source(
        "INSERT INTO uni_tracking_info (order_id, tno, status, update_time) "
        f"SELECT r, 'T' || r, 100, {created} + 60 {numbers}"
    )


def load(world: World, kill_after: int | None = None) -> list[str]:
    """Loads in a process of its own, killed (SIGKILL) once it has told so many batches; gives what it told."""
    at = f"{moment(START + 15 * MINUTE):%Y-%m-%dT%H:%M:%S}"
    command = [sys.executable, "-c", LOAD, world.source_url, at]
    told = []
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            told.append(line.strip())
            if len(told) == kill_after:
                process.kill()
    assert kill_after is not None or process.returncode == 0
    return told


def rows_of(world: World, table: str, *, distinct: bool = False) -> int:
    rows = f"order_tracking_raw.{table}_raw"
    if distinct:
        rows = f"(SELECT DISTINCT * EXCLUDE (landed_at) FROM {rows})"
    return int(world.query(f"SELECT COUNT(*) FROM {rows}")[0][0])


def world_rows(world: World, table: str) -> int:
    with duckdb.connect(str(world.source_file), read_only=True) as source:
        return int(source.execute(f"SELECT COUNT(*) FROM {table}").fetchall()[0][0])
