"""A key is not an identity: an order number that the source gives to another order takes nothing from the first one."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from tests.conftest import START
from tests.support.commands import exceptions as exceptions_command
from tests.support.world import DAY, HOUR, World, at

AGED = at("2025-02-10T00:00:00")
REUSED = ("order_number_reused", "mart_uni_tracking_info", 500)
MIDNIGHT = START + DAY

Case = tuple[str | None, str | None]
"""The tracking numbers of the first and of the second order."""

CASES: dict[str, Case] = {
    "another tracking number": ("A", "B"),
    "the same tracking number, other metadata": ("A", "A"),
    "no tracking number at all, other metadata": (None, None),
    "a tracking number where there was none": (None, "B"),
    "none where there was one": ("A", None),
}


@pytest.fixture(params=["duckdb", pytest.param("redshift", marks=pytest.mark.slow)])
def any_world(request: pytest.FixtureRequest) -> World:
    if request.param == "duckdb":
        world: World = request.getfixturevalue("make_world")()
    else:
        world = request.getfixturevalue("redshift_world")
    return world


def put_order(world: World, partner: int | None, tno: str | None, time: int, *, created: int | None = None) -> None:
    """Number 500 is an order of this partner and tracking number, in the source."""
    if partner is not None:
        world.insert("ecs_order_info", [(500, partner, created or time)])
    world.insert("uni_tracking_info", [(500, tno, 100, time)])
    world.insert("uni_tracking_spath", [(500, time, 100, 0)])


def purge(world: World) -> None:
    for table in ("uni_tracking_info", "ecs_order_info", "uni_tracking_spath"):
        world.source(f"DELETE FROM {table} WHERE order_id = 500")


def archived(world: World) -> World:
    """The first order, of partner 11 and tracking number A, in history."""
    put_order(world, 11, "A", AGED)
    world.order(1, START)
    world.cycle()
    assert world.history("uti", "tno") == [("2025_h1", "A")]
    return world


def statuses(world: World) -> list[tuple[Any, ...]]:
    return world.query(
        "SELECT order_id, tno, update_time FROM order_tracking.mart_uni_tracking_info WHERE order_id = 500"
    )


def metadata(world: World) -> list[tuple[Any, ...]]:
    return world.query("SELECT partner_id FROM order_tracking.mart_ecs_order_info WHERE order_id = 500")


def reused(world: World) -> list[tuple[Any, ...]]:
    return [row[:3] for row in world.exceptions() if row[0] == REUSED[0]]


@pytest.mark.parametrize(
    "case", [next(iter(CASES)), *(pytest.param(case, marks=pytest.mark.slow) for case in [*CASES][1:])]
)
@pytest.mark.slow
def test_the_archived_order_stays_and_one_finding_says_so(any_world: World, case: str) -> None:
    world, (first, second) = any_world, CASES[case]
    put_order(world, 11, first, AGED)
    world.order(1, START)
    world.cycle()
    purge(world)
    put_order(world, 22, second, world.now)
    for _ in range(2):
        world.cycle()
        assert world.history("uti", "order_id, tno, update_time") == [("2025_h1", 500, first, AGED)]
        assert world.history("ecs", "order_id, partner_id") == [("2025_h1", 500, 11)]
        assert statuses(world) == [(500, second, START + 900)]
        assert metadata(world) == [(22,)]
        assert reused(world) == [REUSED]
    world.cycle(MIDNIGHT + HOUR)  # the daily checks say the same, and nothing else
    assert [row[:3] for row in world.exceptions()] == [REUSED]
    exceptions = "order_tracking_history.order_tracking_exceptions"
    seen = world.query(f"SELECT times_seen FROM {exceptions} WHERE check_name = 'order_number_reused'")
    assert seen == [(3,)]


@pytest.mark.slow
@pytest.mark.parametrize("lag", [2, HOUR])
def test_an_orders_creation_may_lie_a_little_behind_its_only_status(world: World, lag: int) -> None:
    """Two tables of a source need not tell one time: such metadata is its order's own, archived and back."""
    put_order(world, 11, "A", AGED, created=AGED + lag)
    world.order(1, START)
    world.cycle()
    purge(world)
    put_order(world, None, "B", world.now)  # its own metadata is late
    second = world.now
    world.cycle()
    world.cycle(MIDNIGHT + HOUR)
    details = {row[0]: row[3] for row in world.exceptions()}
    assert details["order_without_ecs"] == "history holds only the row of an earlier order under this number"
    assert exceptions_command(["--gateway", "local", "restore", "500", "--at", _iso(world.now)]) == 1
    world.insert("ecs_order_info", [(500, 22, second + lag)])
    world.cycle(reconcile_since=1)
    world.cycle()
    assert metadata(world) == [(22,)]
    assert world.history("ecs", "order_id, partner_id") == [("2025_h1", 500, 11)]
    world.order(2, START + 250 * DAY)  # both are history: neither is split
    world.cycle(START + 250 * DAY + HOUR)
    world.cycle()
    assert metadata(world) == []
    both = [row for row in world.history("ecs", "order_id, partner_id") if row[1] == 500]
    assert both == [("2025_h1", 500, 11), ("2025_h2", 500, 22)]
    # The second one comes back: it is active and nowhere else.
    world.insert("uni_tracking_spath", [(500, world.now, 200, 1)])
    world.source("UPDATE uni_tracking_info SET status = 200, update_time = ? WHERE order_id = 500", world.now)
    world.cycle()
    assert [row[2] for row in world.history("uti", "order_id, tno") if row[1] == 500] == ["A"]
    assert [tno for _, tno, _ in statuses(world)] == ["B"]


@pytest.mark.slow
def test_the_timeline_tells_the_orders_of_a_number_apart(any_world: World) -> None:
    world = archived(any_world)
    purge(world)
    put_order(world, 22, "B", world.now)
    world.cycle()
    timeline = "SELECT pathtime, number_use FROM order_tracking.order_timeline WHERE order_id = 500 ORDER BY 1"
    assert world.query(timeline) == [(AGED, 1), (START + 900, 2)]
    assert world.query("SELECT DISTINCT number_use FROM order_tracking.order_timeline WHERE order_id = 1") == [(1,)]
    world.cycle(START + 250 * DAY)  # silence; then both are history
    world.order(2, world.now)
    world.cycle()
    world.cycle()
    assert world.history("uti", "tno") == [("2025_h1", "A"), ("2025_h2", "B"), ("2025_h2", "T1")]
    assert world.history("ecs", "order_id, partner_id")[:2] == [("2025_h1", 500, 11), ("2025_h2", 1, 1)]
    assert world.query(timeline) == [(AGED, 1), (START + 900, 2)]


@pytest.mark.slow
def test_the_second_order_comes_back_and_the_first_one_still_stays(any_world: World) -> None:
    world = archived(any_world)
    purge(world)
    put_order(world, 22, "B", world.now)
    world.cycle()
    world.order(2, START + 250 * DAY)
    world.cycle(START + 250 * DAY + HOUR)
    world.cycle()
    assert [row[1:] for row in world.history("uti", "tno, order_id") if row[2] == 500] == [("A", 500), ("B", 500)]
    world.source("UPDATE uni_tracking_info SET status = 200, update_time = ? WHERE order_id = 500", world.now)
    world.cycle()
    assert [row[1:] for row in world.history("uti", "tno, order_id") if row[2] == 500] == [("A", 500)]
    assert [tno for _, tno, _ in statuses(world)] == ["B"]
    # Its metadata is restored: the second order's, not the first one's.
    assert exceptions_command(["--gateway", _gateway(world), "restore", "500", "--at", _iso(world.now)]) == 0
    world.cycle()
    assert metadata(world) == [(22,)]
    assert [row for row in world.history("ecs", "order_id, partner_id") if row[1] == 500] == [("2025_h1", 500, 11)]


@pytest.mark.slow
def test_metadata_that_comes_before_its_status_is_not_archived_with_the_first_order(any_world: World) -> None:
    world = archived(any_world)
    purge(world)
    world.insert("ecs_order_info", [(500, 22, world.now)])
    for _ in range(2):
        world.cycle()
        assert metadata(world) == [(22,)]
        assert world.history("ecs", "order_id, partner_id") == [("2025_h1", 500, 11)]
    world.cycle(MIDNIGHT + HOUR)
    assert [row[:3] for row in world.exceptions()] == [("metadata_without_status", "mart_ecs_order_info", 500)]
    world.insert("uni_tracking_info", [(500, None, 100, world.now)])
    world.insert("uni_tracking_spath", [(500, world.now, 100, 0)])
    world.cycle()
    assert world.history("uti", "tno") == [("2025_h1", "A")]
    assert reused(world) == [REUSED]


@pytest.mark.slow
def test_metadata_of_the_first_order_is_not_restored_to_the_second(
    any_world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world = archived(any_world)
    purge(world)
    put_order(world, None, "B", world.now)
    world.cycle()
    world.cycle(MIDNIGHT + HOUR)
    details = {row[0]: row[3] for row in world.exceptions()}
    assert details["order_without_ecs"] == "history holds only the row of an earlier order under this number"
    assert exceptions_command(["--gateway", _gateway(world), "restore", "500", "--at", _iso(world.now)]) == 1
    assert "history holds only the metadata of an earlier order" in capsys.readouterr().out
    world.cycle()
    assert metadata(world) == []
    assert world.history("ecs", "order_id, partner_id") == [("2025_h1", 500, 11)]


@pytest.mark.slow
def test_the_first_orders_own_late_status_is_kept_beside_the_second_ones_history(any_world: World) -> None:
    """What is older is superfluous only where history holds a newer version of the same order."""
    world = archived(any_world)
    world.cycle()
    world.source("UPDATE uni_tracking_info SET tno = 'Z', update_time = ? WHERE order_id = 500", AGED - DAY - 1)
    world.cycle(reconcile_since=1)
    assert world.history("uti", "tno, update_time") == [("2025_h1", "A", AGED), ("2025_h1", "Z", AGED - DAY - 1)]


@pytest.mark.slow
def test_an_order_that_comes_back_as_itself_still_leaves_history(any_world: World) -> None:
    world = archived(any_world)
    world.source("UPDATE uni_tracking_info SET status = 200, update_time = ? WHERE order_id = 500", world.now)
    world.cycle()
    assert world.history("uti") == []
    assert reused(world) == []


def _gateway(world: World) -> str:
    return "redshift" if hasattr(world, "standin") else "local"


def _iso(moment: int) -> str:
    return dt.datetime.fromtimestamp(moment, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")


@pytest.mark.parametrize("tno", [None, pytest.param(" ", marks=pytest.mark.slow)])
def test_without_tracking_numbers_a_later_creation_alone_tells_another_order(world: World, tno: str | None) -> None:
    """The first order's metadata never came; the second one's came before its status."""
    put_order(world, None, tno, AGED)
    world.order(1, START)
    world.cycle()
    purge(world)
    world.insert("ecs_order_info", [(500, 22, world.now)])
    world.cycle()
    put_order(world, None, tno, world.now)
    world.cycle()
    assert world.history("uti", "update_time") == [("2025_h1", AGED)], "the first order's status is lost"
    assert reused(world) == [REUSED]


def test_a_tracking_number_that_was_corrected_makes_no_second_order(world: World) -> None:
    """With the same time: a number is not given out again within a day."""
    archived(world)
    world.source("UPDATE uni_tracking_info SET tno = 'B' WHERE order_id = 500")
    world.cycle(reconcile_since=AGED - DAY)
    world.cycle()
    assert world.history("uti", "tno, update_time") == [("2025_h1", "B", AGED)]
    world.source("UPDATE uni_tracking_info SET update_time = ? WHERE order_id = 500", world.now)
    world.cycle()
    assert (world.history("uti"), [row[1] for row in statuses(world)], reused(world)) == ([], ["B"], [])


@pytest.mark.slow
def test_a_tracking_number_corrected_with_an_earlier_time_makes_no_second_order(world: World) -> None:
    """The archived status is the newer one: the correction is superseded, and stands in history beside it never."""
    archived(world)
    world.source("UPDATE uni_tracking_info SET tno = 'B', update_time = ? WHERE order_id = 500", AGED - HOUR)
    world.cycle(reconcile_since=AGED - DAY)
    world.cycle()
    assert world.history("uti", "tno, update_time") == [("2025_h1", "A", AGED)]
    assert statuses(world) == [] and reused(world) == []


def test_a_source_that_writes_blanks_instead_of_null_makes_no_second_order(world: World) -> None:
    put_order(world, 11, None, AGED)
    world.order(1, START)
    world.cycle()
    world.source("UPDATE uni_tracking_info SET tno = '', update_time = ? WHERE order_id = 500", world.now)
    world.cycle()
    assert (world.history("uti"), [row[1] for row in statuses(world)], reused(world)) == ([], [""], [])


@pytest.mark.slow
def test_a_third_order_under_a_number_is_told_although_the_second_was_accepted(world: World) -> None:
    archived(world)
    purge(world)
    put_order(world, 22, "B", world.now)
    second = world.now
    world.cycle()
    assert reused(world) == [REUSED]
    assert exceptions_command(["accept", REUSED[0], "--note", "they are given out again"]) == 0
    later = START + 250 * DAY
    world.scan(1, later)
    world.cycle(later + 900)
    assert (reused(world), sorted(world.history("uti", "tno"))) == ([], [("2025_h1", "A"), ("2025_h2", "B")])
    purge(world)
    put_order(world, 33, "C", world.now)
    world.cycle()
    assert reused(world) == [REUSED]
    ((detail,),) = world.query(
        "SELECT detail FROM order_tracking_history.order_tracking_exceptions WHERE resolved_at IS NULL "
        "AND check_name = 'order_number_reused'"
    )
    assert detail.endswith(f"(found: its last status of {dt.datetime.fromtimestamp(second, dt.UTC):%Y-%m-%d %H:%M:%S})")
