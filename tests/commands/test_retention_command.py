"""`order-tracking retention --dry-run` prints what the next cycle runs, with counts, and changes nothing."""

from __future__ import annotations

import pytest

from tests.conftest import START
from tests.support.commands import retention
from tests.support.world import MINUTE, World, at

AGED = at("2025-03-01T00:10:00")
TABLES = (
    "order_tracking.mart_uni_tracking_info",
    "order_tracking_history.hist_uti_all",
    "order_tracking_raw.extract_log",
)


def everything(world: World) -> list[object]:
    return [world.query(f"SELECT * FROM {table} ORDER BY ALL") for table in TABLES]


def test_it_says_what_leaves_and_the_next_cycle_does_just_that(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.order(1, AGED)
    world.order(2, START)
    world.cycle()
    assert 1 in world.uti()
    before = everything(world)
    capsys.readouterr()
    assert retention(["--dry-run", "--at", "2025-09-01T00:45:00"]) == 0
    printed = capsys.readouterr().out
    assert "order_tracking.mart_uni_tracking_info: 1 rows leave" in printed
    assert "order_tracking.mart_ecs_order_info: 1 rows leave" in printed, "metadata leaves with its status"
    assert printed.count("1 rows of 2025_h1 to 2025_h1") == 3
    for step in ("clean", "archive", "check", "trim", "forget_raw"):
        assert f"\n-- {step}" in printed
    for alias in ("uti", "ecs"):
        assert f"INSERT INTO order_tracking_history.hist_{alias}_2025_h1" in printed
        assert f"DELETE FROM order_tracking_history.hist_{alias}" not in printed
    assert everything(world) == before
    world.order(3, START + 29 * MINUTE)
    world.cycle(START + 45 * MINUTE)
    assert world.history("uti") == world.history("ecs") == [("2025_h1", 1)]


def test_without_marts_it_says_so(make_world, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    make_world(planned=False)
    assert retention(["--dry-run"]) == 2
    assert "Run a cycle first" in capsys.readouterr().err


def test_without_dry_run_it_does_nothing(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert retention([]) == 2
    assert "--dry-run" in capsys.readouterr().err
