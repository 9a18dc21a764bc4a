"""Recorded traces, replayed to their end: after every cycle the warehouse is where the trace alone says it must be.

What is expected is computed from the trace in one query per cycle, which knows nothing of the pipeline: an order is
active while its newest scan that has arrived is not older than six calendar months before the newest of all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.source_writer import SourceWriter
from tests.proof.fast_world import FastWorld
from tests.support.commands import exceptions
from tests.support.thorough import THOROUGH
from tests.support.world import DAY, World, moment

WEEK = 7 * DAY
DATA = Path(__file__).parents[1] / "data"

EXPECTED = """
WITH arrived AS (FROM trace WHERE arrival_time <= $now),
newest AS (SELECT order_id, max(path_time) AS update_time FROM arrived GROUP BY order_id),
latest AS (
  SELECT to_timestamp(least(max(update_time), $now // 900 * 900))::TIMESTAMP AS moment,
    moment - INTERVAL 6 MONTH AS earlier
  FROM newest
),
line AS (
  SELECT epoch(
    CASE WHEN day(earlier) = day(moment) THEN earlier ELSE date_trunc('month', earlier) + INTERVAL 1 MONTH END
  ) AS cutoff
  FROM latest
)
SELECT
  (SELECT coalesce(list(order_id), []) FROM newest, line WHERE update_time >= cutoff),
  (SELECT coalesce(list(order_id), []) FROM newest, line WHERE update_time < cutoff),
  (SELECT count(*) FROM arrived, line WHERE path_time >= cutoff),
  (SELECT count(*) FROM arrived, line WHERE path_time < cutoff)
"""

OBSERVED = """
SELECT
  (SELECT coalesce(list(order_id), []) FROM order_tracking.mart_uni_tracking_info),
  (SELECT coalesce(list(order_id), []) FROM order_tracking_history.hist_uti_all),
  (SELECT count(*) FROM order_tracking.mart_uni_tracking_spath),
  (SELECT count(*) FROM order_tracking_history.hist_uts_all),
  (SELECT coalesce(list(order_id), []) FROM order_tracking.mart_ecs_order_info),
  (SELECT coalesce(list(order_id), []) FROM order_tracking_history.hist_ecs_all)
"""


@dataclass
class Seen:
    """What became of the orders so far: which were ever archived, and which of them were active again later."""

    archived: set[int] = field(default_factory=set)
    came_back: set[int] = field(default_factory=set)


@pytest.mark.slow(minutes=10, thorough=80)
@pytest.mark.xdist_group("trace_b")
def test_every_order_of_trace_b_goes_and_comes_back_as_it_must(make_world: Callable[..., World]) -> None:
    seen = replay(make_world, "trace_b", WEEK if THOROUGH else 4 * WEEK)
    assert (len(seen.archived), len(seen.came_back)) == ((390, 251) if THOROUGH else (389, 248))


@pytest.mark.slow(minutes=10, thorough=50)
@pytest.mark.xdist_group("trace_a")
def test_every_order_of_trace_a_goes_and_comes_back_as_it_must(make_world: Callable[..., World]) -> None:
    seen = replay(make_world, "trace_a", WEEK)
    assert (len(seen.archived), len(seen.came_back)) == (2666, 910)


def replay(make_world: Callable[..., World], name: str, every: int) -> Seen:
    """A cycle `every` so many seconds, then the restore of all metadata that waits for it, and a last look at all.

    Thorough cycles are those of scripts.run_cycle; the others the proof's engine runs, which does the same faster.
    """
    trace = pq.read_table(DATA / f"{name}.parquet")
    arrivals = trace["arrival_time"].to_pylist()
    world = make_world(history_start="2010_h1", planned=False, kind=World if THOROUGH else FastWorld)
    world.source_file.unlink()
    seen = Seen()
    expecting = duckdb.connect()
    expecting.register("trace", trace)
    cycles = range(min(arrivals), max(arrivals) + every, every)
    for number, now in enumerate(cycles, start=1):
        with SourceWriter(world.source_url) as source:
            arrived = source.advance(trace, now)
        # Where nothing arrived, there is nothing to reconcile either; once in a while it must find just that.
        cycle = world.cycle(now, reconcile_since=1 if arrived or number % 26 == 0 or now == cycles[-1] else None)
        assert_as_expected(world, expecting, seen)
        if number % 26 == 0 or now == cycles[-1]:
            print(
                f"{name}: cycle {number} of {len(cycles)}, {moment(now):%Y-%m-%d}, {cycle.seconds:.1f} s, "
                f"{len(seen.archived)} orders archived so far, {len(seen.came_back)} of them came back",
                flush=True,
            )
    assert_whole(world, trace)
    world.cycle(world.now + 2 * DAY)  # what landed with the last cycle is judged by the next daily check
    assert_only_archived_metadata_is_missing(world, seen)
    return seen


def assert_as_expected(world: World, expecting: duckdb.DuckDBPyConnection, seen: Seen) -> None:
    """Active and archived orders, scans here and there, and metadata: in the mart until its order is archived.

    `expecting`: a connection that knows the trace.
    """
    row = expecting.execute(EXPECTED, {"now": world.now}).fetchall()[0]
    active, archived, scans, old_scans = set(row[0]), set(row[1]), row[2], row[3]
    seen.archived |= archived
    seen.came_back |= seen.archived & active
    held = world.query(OBSERVED)[0]
    told = f"at {moment(world.now):%Y-%m-%d %H:%M}"
    assert_same_orders(f"active {told}", held[0], active)
    assert_same_orders(f"archived {told}", held[1], archived)
    assert held[2:4] == (scans, old_scans), f"scans in the mart and in history {told}"
    assert_same_orders(f"metadata in the mart {told}", held[4], (active | archived) - seen.archived)
    assert_same_orders(f"metadata in history {told}", held[5], seen.archived)


def assert_same_orders(what: str, held: list[int], expected: set[int]) -> None:
    assert len(held) == len(set(held)), f"{what}: an order is there twice"
    missing, surplus = sorted(expected - set(held)), sorted(set(held) - expected)
    assert not missing and not surplus, f"{what}: missing {missing[:5]}, surplus {surplus[:5]}"


def assert_whole(world: World, trace: pa.Table) -> None:
    """Every scan of the trace once, every order's newest scan as its status, every order's metadata once."""
    world.assert_whole()
    with duckdb.connect() as both:
        both.register("trace", trace)
        both.execute(f"ATTACH '{world.warehouse_file}' AS warehouse (READ_ONLY)")
        for held, expected in WHOLE.items():
            sql = f"(({held}) EXCEPT ALL ({expected})) UNION ALL (({expected}) EXCEPT ALL ({held}))"
            assert both.execute(sql).fetchall() == [], held


def everywhere(columns: str, mart: str, short: str) -> str:
    return (
        f"SELECT {columns} FROM warehouse.order_tracking.{mart} UNION ALL "
        f"SELECT {columns} FROM warehouse.order_tracking_history.hist_{short}_all"
    )


WHOLE = {
    everywhere("order_id, pathtime, code, traceseq", "mart_uni_tracking_spath", "uts"): (
        "SELECT order_id, path_time, code, trace_seq FROM trace"
    ),
    everywhere("order_id, status, update_time", "mart_uni_tracking_info", "uti"): (
        "SELECT order_id, code, path_time FROM trace "
        "QUALIFY row_number() OVER (PARTITION BY order_id ORDER BY path_time DESC, trace_seq DESC) = 1"
    ),
    everywhere("order_id, partner_id, add_time", "mart_ecs_order_info", "ecs"): (
        "SELECT order_id, partner_id, path_time FROM trace "
        "QUALIFY row_number() OVER (PARTITION BY order_id ORDER BY arrival_time, trace_seq) = 1"
    ),
}


def assert_only_archived_metadata_is_missing(world: World, seen: Seen) -> None:
    """The checks found the active orders whose metadata went to history, and nothing else; an operator's restore
    brings it back and clears them.
    """
    waiting = sorted(set(world.uti()) & seen.archived)
    detail = "history holds its row, the order came back: restore it"
    assert world.exceptions() == [("order_without_ecs", "mart_ecs_order_info", order, detail) for order in waiting]
    assert exceptions(["--at", f"{moment(world.now):%Y-%m-%dT%H:%M:%S}", "restore", "--all"]) == 0
    world.cycle(world.now + 2 * DAY)
    assert world.exceptions() == []
    assert {row[1] for row in world.history("ecs")} == {row[1] for row in world.history("uti")}
