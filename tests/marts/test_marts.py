"""The merge: what becomes of a batch in each mart."""

from __future__ import annotations

import pytest

from tests.conftest import START
from tests.support.world import DAY, HOUR, MINUTE, World, at


def test_every_row_of_the_source_has_its_one_place(world: World) -> None:
    for order in range(1, 21):
        world.order(order, START - order * 20 * DAY, partner=order % 3)
        world.scan(order, START - order * 19 * DAY)
    world.cycle()
    world.assert_whole()
    assert len(world.uti()) + len(world.history("uti")) == 20


def test_one_row_per_order_however_old_the_row_it_replaces(world: World) -> None:
    """A DELETE with a window of 20 days left the older row beside the newer one, in the pipeline before this one."""
    world.order(1, START - 150 * DAY)
    world.cycle()
    world.scan(1, START, code=300)
    world.cycle()
    assert world.uti() == {1: (300, START)}


def test_old_status_never_replaces_newer(world: World) -> None:
    world.order(1, START - HOUR)
    world.scan(1, START - 10 * MINUTE, code=300)
    world.cycle()
    world.status(1, 250, START - 20 * MINUTE)
    world.cycle()
    assert world.query("SELECT COUNT(*) FROM order_tracking_raw.uni_tracking_info_raw") == [(2,)]
    assert world.uti() == {1: (300, START - 10 * MINUTE)}


@pytest.mark.slow
def test_old_status_in_a_batch_of_newer_ones_never_replaces_what_the_mart_holds(world: World) -> None:
    """The newer one landed long before, and the batch begins with the old one: held rows are looked for from there."""
    world.order(1, START - HOUR)
    world.scan(1, START - 10 * MINUTE, code=300)
    for _ in range(3):
        world.cycle()
    world.status(1, 250, START - 20 * MINUTE)
    world.order(2, world.now)
    world.cycle()
    assert world.query("SELECT COUNT(*) FROM order_tracking_raw.uni_tracking_info_raw") == [(3,)]
    assert world.uti()[1] == (300, START - 10 * MINUTE)


def test_same_second_with_two_statuses_is_decided_by_arrival_then_by_value(world: World) -> None:
    world.status(1, 250, START)
    world.insert("uni_tracking_info", [(1, "T1", 240, START)])
    world.cycle()
    assert world.uti() == {1: (250, START)}
    world.status(1, 230, START)
    world.cycle()
    assert world.uti() == {1: (230, START)}


def test_of_two_statuses_of_one_second_the_one_landed_later_counts_within_a_quarter_hour_too(world: World) -> None:
    """A cycle that failed is run again within its quarter-hour; by their values the older one would win for good."""
    world.order(1, START)
    world.status(1, 500, START)
    world.cycle(START + 20 * MINUTE)
    world.status(1, 300, START)
    world.cycle(START + 21 * MINUTE)
    world.cycle(START + 35 * MINUTE)
    assert world.uti() == {1: (300, START)}
    world.assert_whole()


def test_a_status_may_arrive_a_cycle_before_its_metadata_and_its_scans(world: World) -> None:
    world.insert("uni_tracking_info", [(1, "T1", 100, START)])
    world.cycle()
    world.insert("ecs_order_info", [(1, 7, START)])
    world.insert("uni_tracking_spath", [(1, START, 100, 0)])
    world.cycle()
    world.assert_whole()
    assert world.query("SELECT partner_id FROM order_tracking.mart_ecs_order_info") == [(7,)]


def test_metadata_and_scans_may_arrive_a_cycle_before_the_status(world: World) -> None:
    world.insert("ecs_order_info", [(1, 7, START)])
    world.insert("uni_tracking_spath", [(1, START, 100, 0)])
    world.cycle()
    assert world.query("SELECT COUNT(*) FROM order_tracking.mart_ecs_order_info") == [(1,)]
    world.insert("uni_tracking_info", [(1, "T1", 100, START)])
    world.cycle()
    world.assert_whole()


def test_duplicates_inside_and_across_batches_count_once(world: World) -> None:
    scan = (1, START - MINUTE, 100, 0)
    world.insert("uni_tracking_spath", [scan, scan, (1, START - MINUTE, None, None), (1, START - MINUTE, None, None)])
    world.insert("ecs_order_info", [(1, 7, START - MINUTE)] * 3)
    world.insert("uni_tracking_info", [(1, "T1", 100, START - MINUTE)] * 3)
    world.cycle()
    world.insert("uni_tracking_spath", [scan])
    world.cycle()
    world.cycle()
    assert world.scans_everywhere() == [(1, START - MINUTE, 100, 0), (1, START - MINUTE, None, None)]
    world.assert_whole()


def test_a_scan_that_arrives_days_late_is_an_ordinary_new_row(world: World) -> None:
    world.order(1, START - 10 * DAY)
    world.cycle()
    world.insert("uni_tracking_spath", [(1, START - 3 * DAY, 150, 9)])
    world.cycle(reconcile_since=START - 35 * DAY)
    world.assert_whole()


def test_four_byte_characters_and_the_full_length_survive(world: World) -> None:
    tno = "🚚" * 16
    world.insert("uni_tracking_info", [(1, tno, 100, START)])
    world.cycle()
    assert world.query("SELECT tno FROM order_tracking.mart_uni_tracking_info") == [(tno,)]


@pytest.mark.slow
def test_a_cycle_missed_for_a_day_is_made_good_by_the_next(world: World) -> None:
    world.order(1, START)
    world.cycle()
    for hour in range(24):
        world.order(100 + hour, START + hour * HOUR)
    world.cycle(at("2025-09-02T00:05:00"))
    world.assert_whole()
    assert len(world.uti()) == 25
