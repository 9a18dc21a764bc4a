"""I9: the same history through the same cycles gives the same rows, whatever time zone the process lives in.

Through other cycles it ends in the same orders and scans in the same places, however seldom they run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.simulate import simulated_trace
from bench.source_writer import SourceWriter
from extract.settings import PROJECT
from tests.proof.fast_world import FastWorld
from tests.proof.test_crashes import HISTORY, MARTS, history_tables
from tests.support.world import DAY, HOUR, MINUTE, World, at, moment

ZONES = ("UTC", "America/New_York", "Asia/Shanghai")
NOW = at("2025-07-01T03:00:00")  # still June in New York; a half-year, a month and a day have just ended


@pytest.mark.slow(minutes=3)
def test_results_do_not_depend_on_the_time_zone(tmp_path: Path) -> None:
    processes = {}
    for zone in ZONES:
        folder = tmp_path / zone.replace("/", "_")
        folder.mkdir()
        settings = {"TZ": zone, "ORDER_TRACKING_DUCKDB": str(folder / "warehouse.duckdb")}
        settings |= {"ORDER_TRACKING_HISTORY_START": "2024_h1", "SQLMESH__CACHE_DIR": str(folder / "cache")}
        processes[zone] = subprocess.Popen(
            [sys.executable, "-m", "tests.marts.test_time_zones", str(folder)],
            cwd=PROJECT,
            env={**os.environ, **settings},
            stdout=subprocess.PIPE,
            text=True,
        )
    told = {}
    for zone, process in processes.items():
        output, _ = process.communicate()
        assert process.returncode == 0, zone
        told[zone] = json.loads(output.splitlines()[-1])
    for zone in ZONES[1:]:
        assert told[zone] == told["UTC"], zone
    assert {"hist_uti_2024_h2", "hist_uti_2025_h1", "hist_uts_2024_h1"} <= told["UTC"].keys()
    assert told["UTC"]["mart_uni_tracking_info"]
    assert told["UTC"]["order_tracking_exceptions"]


def rows_after_cycles(folder: Path) -> dict[str, list[str]]:
    """Orders on both sides of a half-year's end, cycles on both sides of one; every row of every table."""
    world = World(folder, NOW)
    world.order(1, at("2024-06-30T23:30:00"))
    world.scan(1, at("2024-07-01T00:30:00"))
    world.order(2, at("2024-12-31T23:30:00"))
    world.order(3, at("2025-01-01T00:30:00"))
    world.order(4, at("2025-01-01T03:30:00"))
    world.order(5, at("2025-06-30T23:30:00"))
    world.insert("uni_tracking_info", [(6, "T6", 100, at("2025-06-30T23:30:00"))])  # no scans: an exception
    world.cycle(NOW)
    world.order(7, NOW + HOUR)
    world.cycle(NOW + HOUR + 7 * MINUTE, reconcile_since=1)
    world.scan(1, NOW + DAY)
    world.cycle(NOW + DAY + 22 * HOUR)
    tables = [f"order_tracking.{mart}" for mart in MARTS.values()]
    tables += [f"{HISTORY}.{name}" for name in (*history_tables(world), "order_tracking_exceptions")]
    tables += [
        "order_tracking.order_status",
        "order_tracking.order_timeline",
        "order_tracking.order_lookup",
        "order_tracking.consistency_failures",
    ]
    tables += [f"order_tracking_raw.{mart.removeprefix('mart_')}_raw" for mart in MARTS.values()]
    return {
        table.split(".")[1]: [str(row) for row in world.query(f"SELECT * FROM {table} ORDER BY ALL")]
        for table in tables
    }


@pytest.mark.slow(minutes=3)
def test_any_rhythm_of_cycles_ends_with_the_same_rows_in_the_same_places(make_world: Callable[..., World]) -> None:
    """Every quarter-hour for an hour, every day for four, and a month at a time; some scans come days late."""
    last = NOW + HOUR
    months = [last - 70 * DAY, last - 35 * DAY]
    rhythms = {
        "quarter-hours": [*months, *range(last - HOUR, last + 1, 15 * MINUTE)],
        "days": [*months, *range(last - 3 * DAY, last + 1, DAY)],
        "months": [*months, last],
    }
    trace = simulated_trace(orders=150, months=14, seed=3, until=moment(last))
    ends = {}
    for rhythm, moments in rhythms.items():
        world = make_world(planned=False, kind=FastWorld, folder=rhythm, now=moments[0], history_start="2023_h1")
        world.source_file.unlink()
        for now in moments:
            with SourceWriter(world.source_url) as source:
                source.advance(trace, now)
            world.cycle(now, reconcile_since=1)
            world.assert_whole()
        ends[rhythm] = rows_in_their_places(world)
    assert all(ends["months"].values())
    assert ends["days"] == ends["quarter-hours"]
    assert ends["months"] == ends["quarter-hours"]


def rows_in_their_places(world: World) -> dict[str, list[tuple[Any, ...]]]:
    """Without when a row arrived and when it was archived, which differ with the cycles."""
    ends = {
        name: world.query(f"SELECT * EXCLUDE landed_at FROM order_tracking.{mart} ORDER BY ALL")
        for name, mart in MARTS.items()
    }
    for name in MARTS:
        ends[f"hist_{name}"] = world.history(name, "* EXCLUDE (period, landed_at, archived_at)")
    return ends


if __name__ == "__main__":
    print(json.dumps(rows_after_cycles(Path(sys.argv[1]))))
