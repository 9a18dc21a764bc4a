"""Archive, check, trim, and what raw forgets.

START is 2025-09-01T00:00, so what is older than about 2025-03-01 has aged out.
"""

from __future__ import annotations

import datetime as dt
import inspect
import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from extract.clock import Clock
from extract.run import extract
from extract.settings import PROJECT
from extract.source import open_source
from extract.tables import load_config, project_variables
from extract.warehouse import open_warehouse
from tests.conftest import START
from tests.proof.engine import retention
from tests.proof.fast_world import FastWorld
from tests.support.world import DAY, HOUR, MINUTE, World, at, moment

HISTORY = "order_tracking_history"
AGED = at("2025-02-10T00:00:00")
EARLIER = at("2024-11-20T00:00:00")


def test_uti_leaves_for_the_half_year_of_its_update_time(world: World) -> None:
    world.order(1, AGED)
    world.order(2, EARLIER)
    world.order(3, START)
    world.cycle()
    assert world.history("uti") == [("2024_h2", 2), ("2025_h1", 1)]
    assert set(world.uti()) == {3}
    world.assert_whole()


@pytest.mark.slow
def test_a_table_beside_history_that_is_no_half_year_is_left_alone(world: World) -> None:
    """Somebody's backup of an archived scan, say."""
    world.order(1, AGED)
    world.order(3, START)
    world.cycle()
    backup = "order_tracking_history.hist_uts_2025_h1_backup"
    world.execute(f"CREATE TABLE {backup} AS FROM order_tracking_history.hist_uts_2025_h1")
    world.order(2, AGED + 1)
    world.cycle(reconcile_since=1)
    world.assert_whole()
    world.cycle()
    world.cycle()  # has nothing to archive, and leaves the view as it is
    world.execute("DROP VIEW order_tracking.order_timeline")
    world.execute("DROP VIEW order_tracking_history.hist_uts_all")
    world.cycle()
    assert world.history("uts", "order_id") == [("2025_h1", 1), ("2025_h1", 2)]
    assert world.query(f"SELECT COUNT(*) FROM {backup}") == [(1,)]


def test_cutoff_is_six_calendar_months_before_the_newest_status(world: World) -> None:
    newest = at("2025-08-28T23:00:00")
    cutoff = at("2025-02-28T23:00:00")
    world.order(1, newest)
    world.order(2, cutoff - 1)
    world.order(3, cutoff)
    world.cycle()
    assert world.history("uti") == [("2025_h1", 2)]
    assert set(world.uti()) == {1, 3}


@pytest.mark.slow
def test_where_a_month_is_shorter_the_line_waits_and_never_moves_back(make_world: Callable[..., World]) -> None:
    """There is no 31 April: on 31 October the line stands at 1 May, 00:00, and not at 30 April, 00:05 again."""
    world = make_world(now=at("2025-10-30T23:00:00"), planned=False, kind=FastWorld)
    for order, time in ((1, "2025-04-30T12:00:00"), (2, "2025-04-30T23:59:59"), (3, "2025-05-01T00:00:00")):
        world.order(order, at(time))
    left: list[int] = []
    for time, leave in (("2025-10-30T23:40:00", [1]), ("2025-10-31T00:05:00", [2]), ("2025-10-31T23:40:00", [])):
        world.order(int(time[8:10]) + int(time[11:13]), at(time))
        world.cycle(at(time) + 11 * MINUTE)
        left += leave
        assert [order for _, order in world.history("uti")] == left
        world.assert_whole()


@pytest.mark.slow
def test_a_line_that_was_moved_back_does_not_split_what_comes_again(
    make_world: Callable[..., World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`retention_months` is raised while the last batch holds orders that have left: they stay in history, whole."""
    plan_with(tmp_path, monkeypatch, retention_months=2)
    world = make_world(planned=False, kind=FastWorld)
    world.order(1, START - 90 * DAY)
    world.order(2, at("2025-01-31T00:00:00"))
    world.order(3, START - 50 * DAY)
    world.order(9, START)
    world.source("UPDATE uni_tracking_spath SET traceSeq = NULL WHERE order_id = 1")
    world.cycle()
    archived = [("2025_h1", 1), ("2025_h1", 2)]
    assert world.history("uti") == archived
    world.engine.variables["retention_months"] = 6
    world.cycle()
    world.assert_whole()
    assert (set(world.uti()), world.history("uti"), world.history("ecs")) == ({3, 9}, archived, archived)
    world.order(10, START + 30 * DAY)
    world.cycle(START + 30 * DAY + HOUR)
    assert set(world.uti()) == {3, 9, 10}, "from here on six months count"


def test_one_future_dated_row_does_not_archive_the_mart(world: World) -> None:
    world.order(1, START - 30 * DAY)
    world.order(2, at("2099-01-01T00:00:00"))
    world.order(3, AGED)
    world.cycle()
    assert set(world.uti()) == {1, 2}
    assert world.history("uti") == [("2025_h1", 3)]


def test_an_order_moves_as_a_unit(world: World) -> None:
    """Created in one half-year and silent since the next: metadata goes where the status goes, scans by their time."""
    world.order(1, at("2024-12-30T00:00:00"))
    world.scan(1, at("2025-01-05T00:00:00"))
    world.order(9, START)
    world.cycle()
    assert world.history("uti") == [("2025_h1", 1)]
    assert world.history("ecs") == [("2025_h1", 1)]
    assert world.history("uts", "order_id") == [("2024_h2", 1), ("2025_h1", 1)]
    world.assert_whole()


def test_an_active_orders_old_scans_live_in_history_and_its_metadata_stays(world: World) -> None:
    world.order(1, EARLIER)
    world.scan(1, START)
    world.cycle()
    assert world.query("SELECT pathtime FROM order_tracking.mart_uni_tracking_spath") == [(START,)]
    assert world.history("uts", "pathtime") == [("2024_h2", EARLIER)]
    assert world.query("SELECT order_id FROM order_tracking.mart_ecs_order_info") == [(1,)]
    world.assert_whole()


def test_metadata_without_a_status_yet_is_not_archived_at_birth(world: World) -> None:
    """A NOT IN mart_uti would take absence for proof."""
    world.order(9, START)
    world.insert("ecs_order_info", [(1, 7, START), (2, 7, AGED)])
    world.cycle()
    world.cycle()
    assert world.history("ecs") == []
    assert world.query("SELECT COUNT(*) FROM order_tracking.mart_ecs_order_info") == [(3,)]


def test_metadata_that_arrives_after_its_order_was_archived_follows_it(world: World) -> None:
    world.order(9, START)
    world.insert("uni_tracking_info", [(1, "T1", 100, AGED)])
    world.insert("uni_tracking_spath", [(1, AGED, 100, 0)])
    world.cycle()
    assert world.history("uti") == [("2025_h1", 1)]
    world.cycle(START + DAY)
    world.insert("ecs_order_info", [(1, 7, AGED)])
    world.cycle(reconcile_since=EARLIER)
    assert world.history("ecs") == [("2025_h1", 1)]
    world.assert_whole()


@pytest.mark.slow
def test_an_order_that_comes_back_leaves_history_wherever_it_is(world: World) -> None:
    """Looking into the two newest history tables only would miss it."""
    world.order(9, START)
    world.order(1, at("2024-02-01T00:00:00"))
    world.order(2, EARLIER)
    world.order(3, AGED)
    world.cycle()
    assert len(world.history("uti")) == 3
    world.cycle(START + DAY)
    for order in (1, 2, 3):
        world.scan(order, START + DAY, code=300)
    world.cycle()
    assert world.history("uti") == []
    assert set(world.uti()) == {1, 2, 3, 9}
    assert [row[1] for row in world.history("ecs")] == [1, 2, 3], "metadata waits for an operator"
    world.assert_whole()


@pytest.mark.slow
def test_a_newer_version_that_is_itself_aged_replaces_the_archived_one(world: World) -> None:
    world.order(9, START)
    world.order(1, EARLIER)
    world.cycle()
    world.insert("uni_tracking_spath", [(1, AGED, 300, 1)])
    world.status(1, 300, AGED)
    world.cycle(reconcile_since=EARLIER - DAY)
    assert world.history("uti", "order_id, status, update_time") == [("2025_h1", 1, 300, AGED)]
    assert set(world.uti()) == {9}
    world.assert_whole()


@pytest.mark.slow
def test_a_replayed_older_version_of_an_archived_order_is_only_trimmed(world: World) -> None:
    world.order(9, START)
    world.order(1, AGED)
    world.cycle()
    world.status(1, 100, EARLIER)
    world.cycle(reconcile_since=EARLIER - DAY)
    assert world.history("uti", "order_id, update_time") == [("2025_h1", 1, AGED)]
    assert set(world.uti()) == {9}


@pytest.mark.slow
def test_an_older_copy_in_history_does_not_let_the_only_newest_row_be_trimmed(world: World) -> None:
    """A guard on order_id alone takes the older archived row for this one, and trims the only newest copy."""
    world.order(9, START)
    world.order(1, EARLIER)
    world.cycle()
    world.order(2, AGED)
    world.cycle(reconcile_since=EARLIER - DAY)
    # As a crash would leave it: the newer, itself aged row stands in the mart, the older one in history, and no batch
    # names the order.
    world.plant(physical(world, "mart_uni_tracking_info"), (1, "T1", 300, AGED, dt.datetime(2025, 8, 1)))
    world.cycle()
    assert (1, 300, AGED) in [row[1:] for row in world.history("uti", "order_id, status, update_time")]


@pytest.mark.slow
def test_an_older_copy_between_rows_that_leave_is_no_copy_either(world: World) -> None:
    """Here no range of time hides the older copy from the newer row: only the versions tell them apart."""
    world.order(9, START)
    world.order(1, AGED - 10 * DAY)
    world.cycle(reconcile_since=EARLIER)
    world.cycle()  # from here on no batch names the order
    landed = dt.datetime(2025, 8, 1)
    world.plant(
        physical(world, "mart_uni_tracking_info"),
        (1, "T", 300, AGED, landed),
        (2, "T", 100, AGED - 20 * DAY, landed),
    )
    world.cycle()
    assert (1, 300, AGED) in [row[1:] for row in world.history("uti", "order_id, status, update_time")]


@pytest.mark.slow
def test_rows_before_history_start_stay_and_become_exceptions(make_world: Callable[..., World]) -> None:
    world = make_world(history_start="2025_h1")
    world.order(9, START)
    world.order(1, EARLIER)
    world.order(2, AGED)
    world.cycle()
    world.cycle()
    assert set(world.uti()) == {9, 1}
    assert world.history("uti") == [("2025_h1", 2)]
    topic = "half-year 2024_h2 has no copy in history, which begins with 2025_h1"
    assert world.exceptions() == [
        ("archive_unrouted", "mart_uni_tracking_info", None, f"{topic} (rows: 1)"),
        ("archive_unrouted", "mart_uni_tracking_spath", None, f"{topic} (rows: 1)"),
    ]
    world.order(3, EARLIER + 1)
    world.cycle(reconcile_since=EARLIER)
    seen = world.query(f"SELECT times_seen, detail FROM {HISTORY}.order_tracking_exceptions")
    assert seen == [(3, f"{topic} (rows: 2)")] * 2, "one exception a half-year, with its count"
    world.assert_whole()


@pytest.mark.slow
def test_history_start_widened_by_a_plan_lets_them_go_and_clears_the_exceptions(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support.commands import plan

    world = make_world(history_start="2025_h1")
    world.order(9, START)
    world.order(1, EARLIER)
    world.cycle()
    assert len(world.exceptions()) == 2
    world.cycle(START + DAY + 20 * MINUTE)
    assert len(world.exceptions()) == 2, "still failing, so still open after a daily check"
    monkeypatch.setenv("ORDER_TRACKING_HISTORY_START", "2024_h1")
    assert plan(["--yes", "--at", "2025-09-02T00:40:00"]) == 0
    world.cycle(START + DAY + HOUR)
    assert world.history("uti") == [("2024_h2", 1)]
    world.cycle(START + 2 * DAY + 20 * MINUTE)
    assert world.exceptions() == []
    assert world.query(f"SELECT DISTINCT resolution FROM {HISTORY}.order_tracking_exceptions") == [("cleared",)]
    world.assert_whole()


def test_what_has_no_copy_in_history_is_never_trimmed(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One cycle leaves the archive step out: the check tells, the trim leaves the rows, the next cycle moves them."""
    world = make_world(planned=False, kind=FastWorld)
    world.order(9, START)
    world.order(1, AGED)
    world.cycle()
    world.order(2, AGED + HOUR)
    with monkeypatch.context() as patch:
        patch.setitem(inspect.unwrap(retention).__globals__["steps_by_name"].__globals__, "archive", lambda found: [])
        world.cycle(reconcile_since=1)
    assert 2 in world.uti() and world.history("uti") == [("2025_h1", 1)]
    assert world.exceptions() == [
        (
            "archive_unrouted",
            mart,
            None,
            "half-year 2025_h1 has no copy in history, which begins with 2024_h1 (rows: 1)",
        )
        for mart in ("mart_uni_tracking_info", "mart_uni_tracking_spath")
    ]
    world.cycle()
    assert 2 not in world.uti() and world.history("uti") == [("2025_h1", 1), ("2025_h1", 2)]
    world.assert_whole()


def test_raw_is_forgotten_after_the_retention_and_not_before_it_was_consumed(world: World) -> None:
    raw = "SELECT order_id FROM order_tracking_raw.uni_tracking_spath_raw ORDER BY 1"
    world.order(1, START - DAY)
    world.order(2, at("2099-01-01T00:00:00"))
    world.cycle()
    world.order(3, START + DAY)
    world.cycle(START + DAY + HOUR)
    world.cycle(START + 36 * DAY)
    assert world.query(raw) == [(2,), (3,)], "what is dated into the future stays: only raw tells that it is held"
    world.cycle(START + 75 * DAY)
    assert world.query(raw) == [(2,)]
    world.assert_whole()


@pytest.mark.slow
def test_a_future_dated_scan_is_not_landed_again_when_raw_is_past_its_retention(world: World) -> None:
    future = START + 45 * DAY
    world.order(1, START)
    world.insert("uni_tracking_spath", [(1, future, 200, 5)])
    world.cycle()
    for day in (20, 36, 37, 44, 45):
        world.order(10 + day, START + day * DAY)
        world.cycle(START + day * DAY + HOUR)
    assert world.scans_everywhere().count((1, future, 200, 5)) == 1


@pytest.mark.slow
def test_marts_that_did_not_run_for_45_days_while_the_extract_went_on_miss_nothing(world: World) -> None:
    """Longer than raw is kept: raw is forgotten by the mart that has consumed it, and not before."""
    world.order(1, at("2025-03-05T00:00:00"))
    world.order(2, at("2025-03-06T00:00:00"))
    world.order(9, START)
    world.cycle()
    for day in range(1, 45, 4):
        world.order(100 + day, START + day * DAY)
        if day == 21:
            world.scan(1, START + day * DAY)
        with closing(open_source(world.source_url)) as source, closing(open_warehouse("local")) as warehouse:
            extract(source, warehouse, load_config(), Clock(moment(START + day * DAY + HOUR)))
    world.cycle(START + 45 * DAY)
    world.assert_whole()
    assert 1 in world.uti() and 2 not in world.uti(), "one came back meanwhile, one aged out"
    landed = world.query("SELECT SUM(rows_landed) FROM order_tracking_raw.extract_log")
    world.cycle(reconcile_since=1)
    assert world.query("SELECT SUM(rows_landed) FROM order_tracking_raw.extract_log") == landed
    world.assert_whole()


def test_the_variables_say_what_leaves_the_marts_and_when_raw_forgets(
    make_world: Callable[..., World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With two months and ten days in config.yaml, instead of six months and 35 days. The extractor is told nothing."""
    plan_with(tmp_path, monkeypatch, retention_months=2, raw_retention_days=10)
    world = make_world(planned=False, kind=FastWorld)
    world.order(1, at("2025-06-30T23:59:59"))
    world.order(2, at("2025-07-01T00:00:00"))
    world.order(3, START)
    world.cycle()
    assert world.history("uti") == [("2025_h1", 1)]
    assert set(world.uti()) == {2, 3}

    raw = "SELECT order_id FROM order_tracking_raw.uni_tracking_spath_raw ORDER BY 1"
    for order, days in ((4, 9), (5, 12)):
        assert world.query(raw) == [(held,) for held in range(1, order)], "nothing is forgotten before its time"
        world.order(order, START + days * DAY)
        world.cycle(START + days * DAY + HOUR)
    assert world.query(raw) == [(4,), (5,)], "what had landed ten days before the newest status is forgotten"

    world.insert("uni_tracking_spath", [(3, START + MINUTE, 150, 7)])
    world.cycle(reconcile_since=START)
    reconciled = "SELECT rows_read, rows_landed FROM order_tracking_raw.extract_log WHERE kind = 'reconcile'"
    assert (2, 1) in world.query(reconciled), "of an hour that raw has forgotten, what the mart holds lands no more"
    world.assert_whole()


@pytest.mark.slow
def test_raw_keeps_three_days_whatever_the_variable_says(
    make_world: Callable[..., World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For what is younger than two days the extractor asks raw alone."""
    plan_with(tmp_path, monkeypatch, raw_retention_days=1)
    world = make_world(planned=False, kind=FastWorld)
    for order, days in ((1, 0), (2, 2), (3, 3), (4, 4)):
        world.order(order, START + days * DAY)
        world.cycle(START + days * DAY + HOUR)
        held = world.query("SELECT order_id FROM order_tracking_raw.uni_tracking_spath_raw ORDER BY 1")
        assert held == [(each,) for each in range(1 if days < 4 else 2, order + 1)]


def plan_with(folder: Path, monkeypatch: pytest.MonkeyPatch, **variables: int) -> None:
    """The next world is planned with these variables in its config.yaml; the extractor goes on with the project's."""
    text = (PROJECT / "config.yaml").read_text()
    for name, value in variables.items():
        text, changed = re.subn(rf"(?m)^  {name}: \d+$", f"  {name}: {value}", text)
        assert changed == 1, name
    (folder / "config.yaml").write_text(text)
    monkeypatch.setattr("tests.proof.engine.project_variables", lambda: project_variables(folder))


def test_archived_at_is_the_end_of_the_interval_that_archived(world: World) -> None:
    world.order(9, START)
    world.order(1, AGED)
    world.cycle(START + 20 * MINUTE)
    ((moment,),) = world.query(f"SELECT archived_at FROM {HISTORY}.hist_uti_2025_h1")
    assert str(moment) == "2025-09-01 00:15:00"


def test_a_cycle_that_is_repeated_changes_nothing(world: World) -> None:
    world.order(9, START)
    world.order(1, AGED)
    world.cycle()
    before = world.scans_everywhere(), world.uti(), world.history("uti", "*"), world.history("ecs", "*")
    world.cycle(world.now)
    world.cycle(world.now + MINUTE)
    assert (world.scans_everywhere(), world.uti(), world.history("uti", "*"), world.history("ecs", "*")) == before
    world.cycle()
    assert (world.scans_everywhere(), world.uti(), world.history("uti", "*"), world.history("ecs", "*")) == before


def physical(world: World, mart: str) -> str:
    """The production table behind a mart's view."""
    ((name,),) = world.query(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'sqlmesh__order_tracking' "
        f"AND table_name LIKE 'order_tracking__{mart}__%' AND table_name NOT LIKE '%__dev'"
    )
    return f"sqlmesh__order_tracking.{name}"


@pytest.mark.slow
def test_a_dropped_history_view_comes_back_with_all_it_showed(world: World) -> None:
    """An empty one in its place would let a reconcile land archived scans again."""
    world.order(1, AGED)
    world.order(2, EARLIER)
    world.order(3, START)
    world.cycle()
    world.order(4, START + 50 * DAY)
    world.cycle(START + 50 * DAY + HOUR)  # by now raw has forgotten them
    before = {short: world.history(short) for short in ("uti", "ecs", "uts")}
    landed = world.query("SELECT SUM(rows_landed) FROM order_tracking_raw.extract_log")
    for short in before:
        world.execute(f"DROP VIEW {HISTORY}.hist_{short}_all")
    world.cycle(reconcile_since=1)
    assert {short: world.history(short) for short in before} == before
    assert world.query("SELECT SUM(rows_landed) FROM order_tracking_raw.extract_log") == landed
    world.assert_whole()
