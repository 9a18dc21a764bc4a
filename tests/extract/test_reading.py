"""What analysts read: the views, and the query that the marts were laid out for."""

from __future__ import annotations

import datetime as dt

import pytest

from tests.conftest import START
from tests.support.world import DAY, HOUR, World, at


def test_order_status_has_one_row_per_active_order(world: World) -> None:
    world.order(1, START - 200 * DAY, partner=382)
    world.scan(1, START - HOUR, code=210)
    world.order(2, at("2024-11-20T00:00:00"), partner=382)
    world.order(3, START, partner=5)
    world.cycle()
    rows = world.query(
        "SELECT order_id, tno, partner_id, status, add_time, created_at, update_time, updated_at, last_scan_code "
        "FROM order_tracking.order_status WHERE partner_id = 382"
    )
    created, updated = START - 200 * DAY, START - HOUR
    utc = lambda moment: dt.datetime.fromtimestamp(moment, dt.UTC).replace(tzinfo=None)  # noqa: E731
    assert rows == [(1, "T1", 382, 210, created, utc(created), updated, utc(updated), 210)]


@pytest.mark.slow
def test_order_status_keeps_an_order_whose_metadata_is_in_history(world: World) -> None:
    world.order(1, at("2025-01-05T00:00:00"))
    world.order(9, START)
    world.cycle()
    world.cycle(START + 2 * HOUR)
    world.scan(1, START + 2 * HOUR, code=300)
    world.cycle()
    rows = world.query("SELECT partner_id, status FROM order_tracking.order_status WHERE order_id = 1")
    assert rows == [(None, 300)]


def test_the_last_of_two_scans_at_once_does_not_depend_on_chance(world: World) -> None:
    for order, codes in ((1, (200, 210)), (2, (210, 200))):
        world.order(order, START - HOUR)
        world.insert("uni_tracking_spath", [(order, START, code, 9) for code in codes])
        world.status(order, 210, START)
        world.cycle()
    assert world.query("SELECT DISTINCT last_scan_code FROM order_tracking.order_status") == [(210,)]


def test_order_timeline_has_all_scans_with_where_each_lives(world: World) -> None:
    old = at("2024-11-20T00:00:00")
    world.order(1, old)
    world.scan(1, START, code=300)
    world.cycle()
    rows = world.query(
        "SELECT pathtime, code, traceseq, lives_in FROM order_tracking.order_timeline WHERE order_id = 1 ORDER BY 1"
    )
    assert rows == [(old, 100, 0, "2024_h2"), (START, 300, 1, "mart")]


def test_the_primary_query_joins_the_three_marts(world: World) -> None:
    """How many scans with code 200 the active orders of partner 382 have had since a day."""
    world.order(1, START - 100 * DAY, partner=382)
    world.scan(1, START - 10 * DAY, code=200)
    world.scan(1, START - DAY, code=200)
    world.scan(1, START - HOUR, code=300)
    world.order(2, START - 100 * DAY, partner=5)
    world.scan(2, START - DAY, code=200)
    world.cycle()
    rows = world.query(
        """
        SELECT ecs.partner_id, uts.code, COUNT(*) AS cnt
        FROM order_tracking.mart_ecs_order_info ecs
        JOIN order_tracking.mart_uni_tracking_spath uts ON ecs.order_id = uts.order_id
        JOIN order_tracking.mart_uni_tracking_info uti ON ecs.order_id = uti.order_id
        WHERE ecs.partner_id = 382 AND uts.pathtime >= ? AND uts.code = 200
        GROUP BY ecs.partner_id, uts.code
        """,
        START - 5 * DAY,
    )
    assert rows == [(382, 200, 1)]
