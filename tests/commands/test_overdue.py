"""`alert --overdue` tells what no cycle can: that none ends, and what is not done though they do."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from extract.errors import ConfigurationError, LockHeld, SourceError
from extract.lock import run_lock
from scripts.alerts import remembered
from scripts.news import LAST_END
from tests.commands.test_alerts import REFUSES, Received, iso, received, titles  # noqa: F401  (a fixture)
from tests.commands.test_status import held, log_checks, log_cycle
from tests.conftest import START
from tests.support.commands import alert as alert_command
from tests.support.commands import cycle as cycle_command
from tests.support.commands import status as status_command
from tests.support.world import DAY, HOUR, MINUTE, World, moment

OPEN_ONE = "INSERT INTO order_tracking_history.order_tracking_exceptions VALUES (?, ?, ?, ?, ?, ?, 1, NULL, NULL)"


def overdue(now: int, code: int = 0) -> None:
    assert alert_command(["--overdue", "--at", iso(now)]) == code


def open_finding(world: World, order: int, first_seen: int) -> None:
    seen = moment(first_seen).replace(tzinfo=None)
    world.execute(OPEN_ONE, "order_without_ecs", "order_tracking.mart_ecs_order_info", order, "detail", seen, seen)


def test_a_long_cycle_has_ended_when_it_ended(world: World, received: Received) -> None:  # noqa: F811
    """A first load of 55 minutes is no silence, and a cycle after it does not run again after one."""
    log_cycle(world, START + MINUTE, seconds=55 * 60.0)
    overdue(START + 57 * MINUTE)
    assert status_command(["--at", iso(START + 57 * MINUTE)]) == 0
    world.cycle(START + 60 * MINUTE)
    assert received == []


def test_a_cycle_that_hangs_with_the_duckdb_file_is_told_in_time(
    world: World,
    received: Received,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """When the last one ended is remembered beside the file that nobody can read now."""
    monkeypatch.setattr("scripts.reading.READING_PATIENCE", 0.1)
    with held(world, 60):
        overdue(START + HOUR, code=75)
    assert received == [] and "Another process holds" in capsys.readouterr().err
    world.cycle(START + 15 * MINUTE)
    with held(world, 60):
        overdue(START + 59 * MINUTE)
        assert received == []
        with run_lock("local"), pytest.raises(LockHeld):
            world.cycle(START + 60 * MINUTE)
        overdue(START + 62 * MINUTE)
    assert titles(received) == ["no cycle for 46 min"]
    assert "1 cycle found the lock held" in received[0]["message"]


def test_the_end_of_a_cycle_that_failed_is_that_of_the_phase_that_did(
    world: World,
    received: Received,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Seventy minutes later, and not when the last phase ended that did not fail."""
    moments = iter([0.0])
    with monkeypatch.context() as patch:
        patch.setattr("scripts.news.time", SimpleNamespace(monotonic=lambda: next(moments, 70 * 60.0)))
        with pytest.raises(SourceError):
            world.cycle(START + 30 * MINUTE, source="duckdb:///nowhere.duckdb")
    with remembered("local") as memory:
        assert memory[LAST_END] == "2025-09-01 01:40:00"


def test_a_refusal_that_another_warehouse_keeps_hides_no_later_one(
    world: World,
    received: Received,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No cycle of this one ever enters that row."""
    monkeypatch.setenv("ORDER_TRACKING_GATEWAY", "redshfit")
    for now in (START, START + 15 * MINUTE, START + 30 * DAY):
        assert cycle_command(["--at", iso(now)]) == 2
    assert titles(received) == ["a cycle was refused"] * 2


def test_a_silence_that_was_told_is_said_to_be_over_by_the_cycle_that_ends_it(
    world: World,
    received: Received,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also if it was that cycle itself which took so long."""
    world.cycle(START + 15 * MINUTE)
    with run_lock("local"), pytest.raises(LockHeld):
        world.cycle(START + 45 * MINUTE)
    overdue(START + 67 * MINUTE)
    assert titles(received) == ["no cycle for 51 min"]
    moments = iter([0.0])
    with monkeypatch.context() as patch:
        patch.setattr("scripts.news.time", SimpleNamespace(monotonic=lambda: next(moments, 50 * 60.0)))
        world.cycle(START + 30 * MINUTE)
    assert titles(received)[1:] == ["cycles run again"]
    assert "from 2025-09-01 00:15 UTC to 2025-09-01 01:20 UTC" in received[1]["message"]
    world.cycle(START + 74 * MINUTE)
    assert len(received) == 2


def test_cycles_that_fail_an_hour_apart_are_one_alert(world: World, received: Received) -> None:  # noqa: F811
    world.cycle(START + 15 * MINUTE)
    for hour in (1, 2, 3):
        with pytest.raises(SourceError):
            world.cycle(START + hour * HOUR, source="duckdb:///nowhere.duckdb")
    assert titles(received) == ["a cycle failed"]
    world.cycle(START + 4 * HOUR)
    assert titles(received)[1:] == ["cycles end well again"] and "3 cycles before it did not" in received[1]["message"]
    with pytest.raises(SourceError):
        world.cycle(START + 5 * HOUR, source="duckdb:///nowhere.duckdb")
    assert titles(received)[2:] == ["a cycle failed"]


def test_a_cycle_that_is_refused_for_a_moment_of_the_past_does_not_turn_the_clock_back(
    world: World,
    received: Received,  # noqa: F811
) -> None:
    world.cycle(START + 10 * HOUR)
    with pytest.raises(ConfigurationError):
        world.cycle(START + HOUR)
    with remembered("local") as memory:
        assert memory[LAST_END].startswith("2025-09-01 10:00")


def test_what_cycles_leave_undone_is_told_once(world: World, received: Received) -> None:  # noqa: F811
    """A table of which no row lands, checks that do not run, no reconcile: cycles end well all the same."""
    two_days = START + 2 * DAY + 3 * HOUR
    world.order(1, START)
    world.source("DELETE FROM ecs_order_info")
    world.cycle(START + 15 * MINUTE)
    log_checks(world, START + DAY)
    log_cycle(world, two_days - MINUTE)
    for later in (0, MINUTE):
        overdue(two_days + later)
    assert titles(received) == ["something is overdue"]
    told = received[0]["message"]
    for what in ("ecs_order_info: no row has ever landed", "No reconcile has ended well", "The checks were due at"):
        assert what in told
    assert "uni_tracking_info: no row" not in told
    log_checks(world, START + 2 * DAY)
    overdue(two_days + 2 * MINUTE)
    log_cycle(world, two_days + DAY)
    overdue(two_days + DAY + MINUTE)
    assert len(received) == 2 and "ecs_order_info" not in received[1]["message"], "only the checks are due again"


def test_what_is_left_undone_is_told_once_though_cycles_do_not_end_well_for_a_while(
    world: World,
    received: Received,  # noqa: F811
) -> None:
    """While none does nobody asks for it, and it is as it was."""
    world.order(1, START)
    world.source("DELETE FROM ecs_order_info")
    world.cycle(START + 15 * MINUTE)
    now = START + 2 * DAY + 3 * HOUR
    log_checks(world, START + 2 * DAY)
    for hour in range(3):
        log_cycle(world, now + hour * HOUR)
        for minutes in (7, 52):
            overdue(now + hour * HOUR + minutes * MINUTE)
    assert titles(received).count("something is overdue") == 1


def test_a_cycle_that_ends_well_tells_what_is_left_undone(world: World, received: Received) -> None:  # noqa: F811
    """On DuckDB nobody else can, if each look falls into a cycle that holds the file."""
    world.order(1, START)
    world.source("DELETE FROM ecs_order_info")
    world.cycle(START + 15 * MINUTE)
    log_cycle(world, START + 2 * DAY)
    for quarter in (1, 2):
        world.cycle(START + 2 * DAY + quarter * 15 * MINUTE)
    told = [alert["message"] for alert in received if "something is overdue" in alert["title"]]
    assert len(told) == 1 and "ecs_order_info: no row has ever landed" in told[0]


def test_an_alert_that_is_not_delivered_is_said_where_cron_looks(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.cycle(START + 15 * MINUTE)
    monkeypatch.setenv("ALERT_URLS", REFUSES)
    overdue(START + 2 * HOUR, code=1)
    assert "could not be delivered" in capsys.readouterr().err


# Findings


@pytest.mark.slow
def test_a_finding_of_a_clock_that_was_ahead_is_not_told_with_every_cycle(
    world: World,
    received: Received,  # noqa: F811
) -> None:
    world.cycle(START + 15 * MINUTE)
    open_finding(world, 7, START + 300 * DAY)
    for quarter in (2, 3):
        world.cycle(START + quarter * 15 * MINUTE)
    assert received == []


def test_findings_that_could_not_be_read_are_told_by_the_next_cycle(
    world: World,
    received: Received,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def breaks(*args: object) -> None:
        raise ZeroDivisionError("no way")

    world.cycle(START + 15 * MINUTE)
    open_finding(world, 7, START + 20 * MINUTE)
    with monkeypatch.context() as patch:
        patch.setattr("scripts.news.findings_since", breaks)
        world.cycle(START + 30 * MINUTE)
    assert received == []
    world.cycle(START + 45 * MINUTE)
    world.cycle(START + 60 * MINUTE)
    assert titles(received) == ["findings: 1 opened"]
