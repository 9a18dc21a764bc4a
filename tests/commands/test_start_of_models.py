"""The models start on the day before deployment: every command finds the same day, and a lost state gets it again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from unittest import mock

import pytest

from extract.errors import ExtractFailed, SourceError
from extract.extract_log import log_state
from extract.source_duckdb import DuckDBSource
from extract.warehouse import open_warehouse
from scripts.plan import plan
from scripts.sqlmesh_session import first_day
from tests.conftest import START
from tests.support.world import DAY, HOUR, MINUTE, World, moment


def started(world: World) -> set[str]:
    """The start of each model that has one, as SQLMesh's state keeps it; a view has one of its own."""
    rows = world.query(
        "SELECT snapshot::JSON -> 'node' ->> 'start' FROM sqlmesh._snapshots "
        "WHERE snapshot::JSON -> 'node' -> 'kind' ->> 'name' <> 'VIEW'"
    )
    return {start for (start,) in rows if start}


def shown_plan(now: int, capsys: pytest.CaptureFixture[str]) -> str:
    """What a plan of production shows at `now`, applied."""
    capsys.readouterr()
    plan(at=moment(now), yes=True)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("first", "day"),
    [
        (START, "2025-08-30"),  # it lands the last quarter-hour of 31 August
        pytest.param(START + 15 * MINUTE, "2025-08-31", marks=pytest.mark.slow),
        pytest.param(START + 12 * HOUR + 7, "2025-08-31", marks=pytest.mark.slow),
    ],
)
def test_a_first_cycle_tells_the_day_and_later_commands_find_the_same(
    make_world: Callable[..., World], first: int, day: str
) -> None:
    world = make_world(planned=False)
    world.order(1, first - MINUTE)
    told: list[str] = []
    world.cycle(first, report=told.append)
    assert [line for line in told if "models start on" in line] == [told[1]]
    assert told[1].endswith(f"models start on {day}")
    assert started(world) == {day}
    with closing(open_warehouse()) as warehouse:
        assert first_day(log_state(warehouse), first + 40 * DAY) == day


@pytest.mark.slow
def test_a_plan_before_the_first_extract_and_the_cycle_after_it_agree(
    make_world: Callable[..., World], capsys: pytest.CaptureFixture[str]
) -> None:
    world = make_world(planned=False)
    plan(at=moment(START + HOUR), yes=True)
    world.order(1, START + HOUR)
    world.cycle(START + 2 * HOUR)
    world.assert_whole()
    assert "No changes to plan" in shown_plan(START + 3 * HOUR, capsys)
    assert started(world) == {"2025-08-31"}


@pytest.mark.slow
def test_a_state_that_was_lost_gets_the_same_start(world: World) -> None:
    world.order(1, START)
    world.cycle()
    before = started(world)
    world.execute("DROP SCHEMA sqlmesh CASCADE")
    world.cycle(START + 3 * DAY)
    assert started(world) == before == {"2025-08-30"}
    world.assert_whole()


@pytest.mark.slow
def test_an_extract_that_failed_counts_too(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Production was planned for it; what the log has of it bears no stamp."""
    world = make_world(planned=False)
    world.order(1, START)
    with monkeypatch.context() as patch, pytest.raises(ExtractFailed):
        patch.setattr(DuckDBSource, "read", mock.Mock(side_effect=SourceError("The source is gone.")))
        world.cycle(START + HOUR)
    assert "No changes to plan" in shown_plan(START + 5 * DAY, capsys)
    assert started(world) == {"2025-08-31"}


@pytest.mark.slow
def test_the_users_own_start_comes_first(make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDER_TRACKING_START", "2025-01-01")
    world = make_world(planned=False)
    world.order(1, START)
    told: list[str] = []
    world.cycle(report=told.append)
    assert any(line.endswith("models start on 2025-01-01") for line in told)
    assert started(world) == {"2025-01-01"}


@pytest.mark.slow
def test_a_warehouse_planned_with_an_earlier_start_is_planned_again_without_a_loss(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As one of a version whose models began long before the first extract."""
    with monkeypatch.context() as patch:
        patch.setenv("ORDER_TRACKING_START", "2025-01-01")
        world = make_world(planned=False)
        world.order(1, START)
        world.order(2, START - 200 * DAY)
        world.cycle()
    world.cycle(START + DAY)
    before = (world.uti(), world.history("uti"))
    assert "Metadata Updated" in shown_plan(START + DAY + HOUR, capsys)
    assert started(world) == {"2025-01-01", "2025-08-31"}, "the state keeps the versions before"
    assert (world.uti(), world.history("uti")) == before
    world.order(3, START + DAY + HOUR)
    world.cycle(START + DAY + 2 * HOUR)
    assert set(world.uti()) == {1, 3}
    world.assert_whole()
    assert "No changes to plan" in shown_plan(START + 3 * DAY, capsys)
