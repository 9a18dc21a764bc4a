"""The bug of the pipeline before this one, with its literal SQL, counted on a simulated year; beside it, ours.

Every week the old pipeline deletes the old rows of the batch's orders, but looks for them only in the last 20 days.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from bench.simulate import simulated_trace
from bench.source_writer import SourceWriter, rows_of
from tests.proof.fast_world import FastWorld
from tests.support.world import DAY, World

WEEK = 7 * DAY
UNTIL = dt.datetime(2025, 9, 1, tzinfo=dt.UTC)
LAST = int(UNTIL.timestamp())
WEEKS = range(LAST - 52 * WEEK, LAST + 1, WEEK)

WITH_THE_WINDOW = """
    DELETE FROM staging
    WHERE order_id IN (SELECT order_id FROM batch)
    AND   update_time > ((SELECT MAX(update_time) FROM staging) - 20 * 86400)"""
WITHOUT_IT = "DELETE FROM staging WHERE order_id IN (SELECT order_id FROM batch)"
TWICE = "SELECT COUNT(*) FROM (SELECT order_id FROM staging GROUP BY 1 HAVING COUNT(*) > 1)"


@pytest.mark.slow(minutes=3)
def test_a_window_in_the_delete_doubles_orders_and_ours_has_none(make_world: Callable[..., World]) -> None:
    trace = simulated_trace(orders=1200, months=12, seed=4, until=UNTIL)
    orders = pc.count_distinct(trace["order_id"]).as_py()
    doubled = orders_that_stand_twice(trace, WITH_THE_WINDOW)
    assert doubled > orders // 200
    assert orders_that_stand_twice(trace, WITHOUT_IT) == 0
    assert ours(make_world, trace) == 0
    print(f"of {orders} orders {doubled} stood twice with the window of 20 days, none without it, and none in ours")


def orders_that_stand_twice(trace: pa.Table, delete: str) -> int:
    with duckdb.connect() as old:
        old.execute("CREATE TABLE staging (order_id BIGINT, tno VARCHAR, status INTEGER, update_time BIGINT)")
        before = 0
        for now in WEEKS:
            arrival = trace["arrival_time"]
            arrived = trace.filter(pc.and_(pc.greater(arrival, before), pc.less_equal(arrival, now)))
            old.register("batch", rows_of(arrived).uti)
            old.execute(delete)
            old.execute("INSERT INTO staging FROM batch")
            before = now
        ((count,),) = old.execute(TWICE).fetchall()
    return int(count)


def ours(make_world: Callable[..., World], trace: pa.Table) -> int:
    """Orders that stand twice in the mart, or in the mart and in history, after the same weeks through our cycles."""
    world = make_world(planned=False, kind=FastWorld, history_start="2023_h1")
    world.source_file.unlink()
    for now in WEEKS:
        with SourceWriter(world.source_url) as source:
            source.advance(trace, now)
        world.cycle(now)
    world.cycle(world.now + 900, reconcile_since=1)
    world.assert_whole()
    ((count,),) = world.query(
        """
        WITH staging AS (SELECT order_id FROM order_tracking.mart_uni_tracking_info
                         UNION ALL SELECT order_id FROM order_tracking_history.hist_uti_all)
        """
        + TWICE
    )
    assert len({order for _, order in world.history("uti")}) > 100
    return int(count)
