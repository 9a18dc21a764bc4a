"""The daily checks, the exceptions they keep, and what an operator does about them.

The numbers are the places of the checks in models/consistency_failures.sql; each check by itself is tested in
test_consistency_failures.yaml.
"""

from __future__ import annotations

import json
from contextlib import closing

import pytest
from sqlglot import parse_one

from extract.clock import Clock
from extract.run import extract
from extract.source import open_source
from extract.tables import load_config
from extract.warehouse import open_warehouse
from extract.warehouse_duckdb import DuckDBWarehouse
from macros.exceptions import log_checks
from macros.periods import months_before
from tests.conftest import START
from tests.marts.test_retention import physical
from tests.support.commands import exceptions as exceptions_command
from tests.support.commands import refresh as refresh_command
from tests.support.world import DAY, HOUR, MINUTE, World, at, moment

HISTORY = "order_tracking_history"
CHECKS = "consistency_failures"
UTI, ECS, UTS = "mart_uni_tracking_info", "mart_ecs_order_info", "mart_uni_tracking_spath"


def daily(world: World, day: int, **options: int) -> None:
    """The cycle after midnight, which runs the daily checks."""
    world.cycle(START + day * DAY + 20 * MINUTE, **options)


def failures(world: World) -> list[tuple[str, str, int]]:
    """What the last daily check found: check, table (its last part), order."""
    return world.query(
        "SELECT check_name, split_part(table_name, '.', 2), order_id FROM order_tracking.consistency_failures "
        "WHERE checked_on = (SELECT MAX(checked_on) FROM order_tracking.consistency_failures) ORDER BY ALL"
    )


def test_a_world_in_order_fails_no_check(world: World) -> None:
    for order in range(1, 6):
        world.order(order, START - order * 60 * DAY)
        world.scan(order, START - order * 50 * DAY)
    world.order(9, START)
    world.cycle()
    daily(world, 1)
    assert world.query("SELECT * FROM order_tracking.consistency_failures") == []
    assert world.exceptions() == []


def test_1_the_status_time_must_be_that_of_the_newest_scan(world: World) -> None:
    for order in (1, 2, 3):
        world.order(order, START)
    world.status(1, 200, START + MINUTE + 1)
    world.insert("uni_tracking_spath", [(2, START + MINUTE + 1, 200, 1)])
    world.source("DELETE FROM uni_tracking_spath WHERE order_id = 3")
    world.order(4, START)
    world.status(4, 200, START + MINUTE)  # within the tolerance
    world.cycle()
    daily(world, 1)
    first, later = (f"found: {moment(time):%Y-%m-%d %H:%M:%S}" for time in (START, START + 61))
    earlier, second = (f"expected: {moment(time):%Y-%m-%d %H:%M:%S}" for time in (START, START + 61))
    apart = "difference: 61 s"
    assert world.exceptions() == [
        ("order_without_scans", UTS, 3, "neither the mart nor history holds a scan of this order"),
        ("update_time_mismatch", UTI, 1, f"the status is newer than the newest scan ({later}; {earlier}; {apart})"),
        ("update_time_mismatch", UTI, 2, f"the newest scan is newer than the status ({first}; {second}; {apart})"),
        ("update_time_mismatch", UTI, 3, f"the mart holds no scan of this order ({first}; expected: none)"),
    ]


def test_3_an_order_without_metadata_is_told_with_where_it_is(world: World) -> None:
    world.order(1, at("2025-01-05T00:00:00"))
    world.order(2, START)
    world.source("DELETE FROM ecs_order_info WHERE order_id = 2")
    world.cycle()
    world.cycle(START + 2 * HOUR)
    world.scan(1, START + 2 * HOUR)
    world.cycle()
    daily(world, 1)
    assert world.exceptions() == [
        ("order_without_ecs", ECS, 1, "history holds its row, the order came back: restore it"),
        ("order_without_ecs", ECS, 2, "no row anywhere"),
    ]


def test_4_and_5_duplicates_and_rows_in_two_places_are_found(world: World) -> None:
    for order in (1, 2, 3, 4):
        world.order(order, START)
    world.order(5, at("2025-01-05T00:00:00"))
    world.cycle()
    world.cycle(START + 2 * HOUR)
    for mart, order in ((UTI, 1), (ECS, 2), (UTS, 3)):
        table = physical(world, mart)
        world.execute(f"INSERT INTO {table} SELECT * FROM {table} WHERE order_id = {order}")
    for short, mart in (("uti", UTI), ("ecs", ECS)):
        world.execute(
            f"INSERT INTO {HISTORY}.hist_{short}_2025_h1 BY NAME "
            f"SELECT *, TIMESTAMP '2025-08-31' AS archived_at FROM {physical(world, mart)} WHERE order_id = 4"
        )
    daily(world, 1)
    assert failures(world) == [
        ("active_and_archived", ECS, 4),
        ("active_and_archived", UTI, 4),
        ("duplicate_rows", ECS, 2),
        ("duplicate_rows", UTI, 1),
        ("duplicate_rows", UTS, 3),
    ]


@pytest.mark.slow
def test_a_doubled_order_is_found_whoever_doubled_it_and_stays_open_until_it_is_mended(world: World) -> None:
    """Doubled by somebody else, so nothing of it landed lately."""
    world.order(1, START)
    world.cycle()
    daily(world, 1)
    for mart in (UTI, ECS):
        table = physical(world, mart)
        world.execute(f"INSERT INTO {table} SELECT * FROM {table} WHERE order_id = 1")
    for day in (2, 3):
        daily(world, day)
        assert failures(world) == [("duplicate_rows", ECS, 1), ("duplicate_rows", UTI, 1)]
    for mart in (UTI, ECS):
        world.execute(f"DELETE FROM {physical(world, mart)} WHERE rowid > 0")
    daily(world, 4)
    assert world.exceptions() == []


@pytest.mark.slow
@pytest.mark.parametrize("scanned_at", [START - 26 * DAY, START - 25 * DAY - 1], ids=["first second", "last second"])
def test_a_doubled_scan_is_found_in_its_turn_and_stays_open_until_it_is_mended(world: World, scanned_at: int) -> None:
    """Doubled by somebody else, so nothing of it landed lately: each scan has its turn once in 28 days."""
    world.order(1, scanned_at)
    world.cycle()
    daily(world, 1)
    table = physical(world, UTS)
    world.execute(f"INSERT INTO {table} SELECT * FROM {table}")
    daily(world, 2)
    assert failures(world) == []
    for day in (3, 4):
        daily(world, day)
        assert failures(world) == [("duplicate_rows", UTS, 1)]
    world.execute(f"DELETE FROM {table} WHERE rowid > 0")
    daily(world, 5)
    assert world.exceptions() == []


def test_6_what_landed_and_is_nowhere_is_found(world: World) -> None:
    for order in (1, 2, 3):
        world.order(order, START)
    world.cycle()
    world.cycle(START + 2 * HOUR)
    for mart, order in ((UTI, 1), (ECS, 2), (UTS, 3)):
        world.execute(f"DELETE FROM {physical(world, mart)} WHERE order_id = {order}")
    daily(world, 1)
    landed = [row for row in failures(world) if row[0] == "landed_but_missing"]
    assert landed == [("landed_but_missing", ECS, 2), ("landed_but_missing", UTI, 1), ("landed_but_missing", UTS, 3)]


def test_6_what_landed_may_be_in_history_or_replaced_by_a_newer_version_but_not_by_an_older_one(world: World) -> None:
    for order in (1, 2, 3, 4):
        world.order(order, START)
        world.status(order, 200, START + MINUTE)
    world.cycle()
    world.cycle(START + 2 * HOUR)
    older = f"UPDATE {physical(world, UTI)} SET landed_at = landed_at - INTERVAL 1 HOUR WHERE order_id = 2"
    moved = {"uti": UTI, "ecs": ECS, "uts": UTS}
    for short, mart in moved.items():
        world.execute(
            f"INSERT INTO {HISTORY}.hist_{short}_2025_h2 BY NAME "
            f"SELECT *, landed_at AS archived_at FROM {physical(world, mart)} WHERE order_id = 3"
        )
        world.execute(f"DELETE FROM {physical(world, mart)} WHERE order_id = 3")
    world.execute(older)
    world.execute(
        "INSERT INTO order_tracking_raw.uni_tracking_info_raw BY NAME SELECT * REPLACE (99 AS order_id, "
        "TIMESTAMP '2025-09-02 00:16:00' AS landed_at) FROM order_tracking_raw.uni_tracking_info_raw LIMIT 1"
    )
    daily(world, 1)
    assert [row for row in failures(world) if row[0] == "landed_but_missing"] == [("landed_but_missing", UTI, 2)]


@pytest.mark.slow
def stay_behind(world: World) -> None:
    """Metadata whose order was archived is still in the mart."""
    world.order(1, at("2025-01-05T00:00:00"))
    world.order(9, START)
    world.cycle()
    world.cycle(START + 2 * HOUR)
    world.execute(
        f"INSERT INTO {physical(world, ECS)} BY NAME SELECT order_id, partner_id, add_time, landed_at "
        f"FROM {HISTORY}.hist_ecs_all WHERE order_id = 1"
    )
    world.execute(f"DELETE FROM {HISTORY}.hist_ecs_2025_h1")


@pytest.mark.slow
def test_7_metadata_that_stayed_behind_its_archived_order_is_found(world: World) -> None:
    stay_behind(world)
    daily(world, 1)
    assert failures(world) == [("archived_but_in_mart", ECS, 1)]
    world.cycle()
    assert world.history("ecs") == [("2025_h1", 1)], "what the checks have found the next cycle archives"
    daily(world, 2)
    assert world.exceptions() == []


def test_the_least_numbers_that_a_scan_can_bear_are_compared_too(world: World) -> None:
    world.order(1, START)
    world.insert("uni_tracking_spath", [(1, START, -(2**31), -(2**31))])
    world.cycle()
    daily(world, 1)
    assert failures(world) == []


@pytest.mark.slow
def test_newly_landed_orders_have_two_cycles_of_grace(world: World) -> None:
    """What a later cycle mends by itself is not reported: here the status lands just before the daily check."""
    world.order(1, START)
    world.cycle()
    world.insert("uni_tracking_info", [(2, "T2", 100, START + DAY + 10 * MINUTE)])
    daily(world, 1)
    assert world.exceptions() == []
    daily(world, 2)
    assert {row[0] for row in world.exceptions()} == {
        "order_without_scans",
        "order_without_ecs",
        "update_time_mismatch",
    }


@pytest.mark.slow
def test_what_is_open_stays_open_while_its_order_is_in_the_grace(world: World) -> None:
    """The checks pass over an order that has just got a status: that is no proof that it is mended."""
    world.order(1, START)
    world.source("DELETE FROM ecs_order_info")
    world.cycle()
    daily(world, 1)
    world.scan(1, START + 2 * DAY + 10 * MINUTE)
    daily(world, 2)
    kept = f"SELECT order_id, times_seen, resolution FROM {HISTORY}.order_tracking_exceptions"
    assert world.query(kept) == [(1, 1, None)]
    daily(world, 3)
    assert world.query(kept) == [(1, 2, None)]


@pytest.mark.slow
def test_what_is_open_stays_open_while_its_metadata_is_in_the_grace(world: World) -> None:
    stay_behind(world)
    daily(world, 1)
    world.source("UPDATE ecs_order_info SET partner_id = 8 WHERE order_id = 1")
    daily(world, 2, reconcile_since=at("2025-01-01T00:00:00"))
    assert [row[:3] for row in world.exceptions()] == [("archived_but_in_mart", ECS, 1)]
    daily(world, 3)
    assert world.exceptions() == []


def test_an_exception_is_opened_once_seen_again_cleared_and_opened_anew(world: World) -> None:
    world.order(1, START)
    world.order(2, START)
    world.source("DELETE FROM ecs_order_info WHERE order_id = 1")
    world.cycle()
    daily(world, 1)
    daily(world, 2)
    kept = (
        "SELECT order_id, times_seen, first_seen_at::DATE::VARCHAR, resolution "
        f"FROM {HISTORY}.order_tracking_exceptions"
    )
    assert world.query(kept) == [(1, 2, "2025-09-02", None)]
    world.insert("ecs_order_info", [(1, 1, START)])
    daily(world, 3, reconcile_since=START - DAY)
    daily(world, 4)
    assert world.query(kept) == [(1, 2, "2025-09-02", "cleared")]
    world.execute(f"DELETE FROM {physical(world, ECS)} WHERE order_id = 1")
    daily(world, 5)
    rows = world.query(f"SELECT order_id, times_seen, resolution FROM {HISTORY}.order_tracking_exceptions "
                       "WHERE check_name = 'order_without_ecs' ORDER BY first_seen_at")  # fmt: skip
    assert rows == [(1, 2, "cleared"), (1, 1, None)]


@pytest.mark.slow
def test_a_daily_check_that_is_repeated_counts_once(world: World) -> None:
    world.order(1, START)
    world.source("DELETE FROM ecs_order_info")
    world.cycle()
    daily(world, 1)
    world.cycle(world.now + MINUTE)
    world.cycle()
    assert world.query(f"SELECT DISTINCT times_seen FROM {HISTORY}.order_tracking_exceptions") == [(1,)]


def test_a_failed_check_warns_and_the_cycle_succeeds(world: World) -> None:
    world.order(1, START)
    world.source("DELETE FROM ecs_order_info")
    world.cycle()
    world.now = START + DAY + 5 * MINUTE
    cycle = world.cycle()
    assert "order_without_ecs: no row anywhere: 1 in mart_ecs_order_info (1)" in cycle.warnings
    assert all(warning and "\n" not in warning and "SELECT" not in warning for warning in cycle.warnings)


def test_audit_fails_while_anything_is_open(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert exceptions_command(["list", "--fail"]) == 0
    assert "No exception is open." in capsys.readouterr().out
    world.order(1, START)
    world.source("DELETE FROM ecs_order_info")
    world.cycle()
    daily(world, 1)
    assert exceptions_command(["list", "--fail"]) == 1
    assert exceptions_command(["list"]) == 0
    assert "no row anywhere" in capsys.readouterr().out


def reactivated(world: World) -> None:
    """Order 1 was archived and came back; its metadata is in history."""
    world.order(1, at("2025-01-05T00:00:00"), partner=7)
    world.order(9, START)
    world.cycle()
    world.cycle(START + 2 * HOUR)
    world.scan(1, START + 2 * HOUR)
    world.cycle()
    daily(world, 1)


@pytest.mark.slow
@pytest.mark.parametrize("what", [["1"], ["--all"]])
def test_restore_brings_the_metadata_back_by_the_ordinary_way(world: World, what: list[str]) -> None:
    reactivated(world)
    assert exceptions_command(["--at", "2025-09-02T00:25:00", "restore", *what]) == 0
    assert exceptions_command(["--at", "2025-09-02T00:26:00", "restore", "1"]) == 0, "again, before the next cycle"
    world.cycle()
    assert world.query(f"SELECT partner_id FROM order_tracking.{ECS} WHERE order_id = 1") == [(7,)]
    assert world.history("ecs") == []
    daily(world, 2)
    assert world.exceptions() == []
    world.assert_whole()


@pytest.mark.slow
def test_restore_leaves_a_correction_that_has_landed_the_newest(world: World) -> None:
    """The marts have not taken it yet: a cycle may have failed behind its extract."""
    reactivated(world)
    world.source("UPDATE ecs_order_info SET partner_id = 22 WHERE order_id = 1")
    source, at_minute = ["--source", world.source_url], ["--at", "2025-09-02T00:25:00"]
    assert refresh_command(["1", *source, *at_minute]) == 0
    assert exceptions_command(["--at", "2025-09-02T00:31:00", "restore", "1"]) == 0
    world.cycle(START + DAY + HOUR)
    assert world.query(f"SELECT partner_id FROM order_tracking.{ECS} WHERE order_id = 1") == [(22,)]
    assert world.history("ecs") == []


def test_restore_refuses_what_it_cannot_do_and_says_why(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.order(1, at("2025-01-05T00:00:00"))
    world.order(9, START)
    world.cycle()
    assert exceptions_command(["restore", "1", "9", "77"]) == 1
    told = capsys.readouterr().out
    assert "order 1: it is not active" in told
    assert "order 9: the mart has its metadata already" in told
    assert "order 77: history holds no metadata of it" in told


@pytest.mark.slow
def test_a_restored_order_that_falls_silent_again_has_one_metadata_row(world: World) -> None:
    """Restored too late: the order is archived again, into another half-year, before the next cycle takes the row."""
    reactivated(world)
    assert exceptions_command(["--at", "2025-09-02T00:25:00", "restore", "1"]) == 0
    world.order(10, START + 300 * DAY)
    world.cycle(START + 300 * DAY + HOUR)
    world.cycle()
    assert [row for row in world.history("uti") if row[1] == 1] == [("2025_h2", 1)]
    assert [row for row in world.history("ecs") if row[1] == 1] == [("2025_h2", 1)]
    world.assert_whole()


@pytest.mark.slow
def test_what_was_resolved_opens_again_if_it_still_fails_and_what_was_accepted_only_when_it_changes(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.insert("uni_tracking_spath", [(0, START, 100, 0)])
    world.cycle()
    daily(world, 1)
    exceptions_command(["list"])
    key = capsys.readouterr().out.splitlines()[1].split()[0]
    assert exceptions_command(["resolve", "nothing", "--note", "x"]) == 2
    assert exceptions_command(["resolve", key, "--note", " "]) == 2
    settled = ["resolve", key, "--note", "a test order, dropped", "--at", "2025-09-02T01:00:00"]
    assert exceptions_command(settled) == 0
    assert world.query(f"SELECT resolution FROM {HISTORY}.order_tracking_exceptions") == [("a test order, dropped",)]
    daily(world, 2)
    assert len(world.exceptions()) == 1, "nothing was mended"
    assert exceptions_command(["accept", "rejected_rows", "--note", "known", "--at", "2025-09-03T01:00:00"]) == 0
    daily(world, 3)
    assert world.exceptions() == []
    assert world.query(f"SELECT 1 FROM order_tracking.{CHECKS} WHERE checked_on = '2025-09-03'") == []
    world.insert("uni_tracking_spath", [(0, START, 100, 1)])
    daily(world, 4, reconcile_since=START)
    assert [detail.split(";")[0] for *_, detail in world.exceptions()] == ["order_id is zero or negative (rows: 2"]


def test_a_thousand_findings_are_one_line_and_one_command(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.execute(
        f"INSERT INTO {HISTORY}.order_tracking_exceptions SELECT 'update_time_mismatch', 'order_tracking.{UTI}', "
        "order_id, 'late (found: 2025-09-01 00:01:01; expected: 2025-09-01 00:00:00; difference: 61 s)', "
        "'2025-09-02', '2025-09-02', 1, NULL, NULL FROM range(1, 10001) AS orders (order_id)"
    )
    assert exceptions_command(["list"]) == 0
    _, line, _, summary = capsys.readouterr().out.splitlines()
    assert "10,000" in line and "1 [found: 2025-09-01 00:01:01; expected" in line and summary.startswith("10,000 open.")
    assert exceptions_command(["list", "--check", "update_time_mismatch", "--limit", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["open"] == 10_000 and [each["order"] for each in told["exceptions"]] == [1, 2]
    assert told["exceptions"][0]["values"]["difference"] == "61 s"
    assert exceptions_command(["resolve", told["exceptions"][1]["key"], "--note", "one"]) == 0
    assert exceptions_command(["accept", line.split()[0], "--note", "all of a line"]) == 0
    notes = f"SELECT resolution, COUNT(*) FROM {HISTORY}.order_tracking_exceptions GROUP BY 1 ORDER BY 1"
    assert world.query(notes) == [("accepted: all of a line", 9_999), ("one", 1)]


@pytest.mark.slow
def test_rejected_rows_stay_open_where_nothing_landed_after_them(world: World) -> None:
    """That the source shows them no more says nothing: mended to a time that no extract reads, they never land."""
    for order in range(1, 6):
        world.order(order, START)
    world.cycle()
    world.source("UPDATE uni_tracking_info SET update_time = 0")
    world.cycle()
    daily(world, 1)
    assert [row[0] for row in world.exceptions()] == ["rejected_rows"]
    world.cycle()
    daily(world, 2)
    assert [row[0] for row in world.exceptions()] == ["rejected_rows"], "they are still shown"
    world.source(f"UPDATE uni_tracking_info SET update_time = {START}")
    daily(world, 3)
    assert [row[0] for row in world.exceptions()] == ["rejected_rows"]
    assert exceptions_command(["accept", "rejected_rows", "--note", "their former times are back"]) == 0
    daily(world, 4)
    assert world.exceptions() == []


@pytest.mark.slow
def test_rejected_rows_close_by_themselves_once_a_good_row_of_each_key_has_landed(world: World) -> None:
    for order in range(1, 6):
        world.order(order, START)
    world.source("UPDATE uni_tracking_info SET update_time = 0")
    world.cycle()
    daily(world, 1)
    found = [row for row in world.exceptions() if row[0] == "rejected_rows"]
    assert [row[3].split(";")[0] for row in found] == ["update_time is zero or negative (rows: 5"]
    world.source(f"UPDATE uni_tracking_info SET update_time = {START} WHERE order_id > 1")
    daily(world, 2, reconcile_since=START - DAY)
    daily(world, 3)
    found = [row for row in world.exceptions() if row[0] == "rejected_rows"]
    assert [row[3].split(";")[0] for row in found] == ["update_time is zero or negative (rows: 1"]
    world.source(f"UPDATE uni_tracking_info SET update_time = {START}")
    daily(world, 4, reconcile_since=START - DAY)
    daily(world, 5)
    assert [row for row in world.exceptions() if row[0] == "rejected_rows"] == []
    world.source("UPDATE uni_tracking_info SET update_time = 0 WHERE order_id < 3")
    daily(world, 6)
    daily(world, 7)
    found = [row for row in world.exceptions() if row[0] == "rejected_rows"]
    assert [row[3].split(";")[0] for row in found] == ["update_time is zero or negative (rows: 2"], "broken again"


def test_a_row_that_is_mended_within_a_quarter_hour_is_rejected_no_more(world: World) -> None:
    """Of two landings of one quarter-hour the later one has the later stamp, also after one that only set aside."""

    def refreshed(now: int) -> None:
        with closing(open_source(world.source_url)) as source, closing(open_warehouse("local")) as warehouse:
            extract(source, warehouse, load_config(), Clock(moment(now)), kind="refresh", orders=[1])

    world.order(1, START)
    world.source("UPDATE ecs_order_info SET add_time = 0")
    world.order(2, START)
    world.cycle()
    refreshed(world.now + 2 * MINUTE)
    world.source(f"UPDATE ecs_order_info SET add_time = {START} WHERE order_id = 1")
    refreshed(world.now + 4 * MINUTE)
    daily(world, 1)
    assert [row for row in world.exceptions() if row[0] == "rejected_rows"] == []


@pytest.mark.slow
def test_a_scan_that_aged_out_a_moment_before_its_status_is_no_mismatch(world: World) -> None:
    """At the cutoff: the status is archived by the next cycle, and a finding would close by itself."""
    cutoff = months_before(START + DAY, 6)
    world.order(1, START)
    world.order(2, cutoff - HOUR)
    world.status(2, 300, cutoff + 1)
    world.insert("uni_tracking_spath", [(2, cutoff - 1, 300, 9)])
    world.cycle(START + DAY - 2 * HOUR)
    world.status(1, 200, START + DAY)
    world.insert("uni_tracking_spath", [(1, START + DAY, 200, 9)])
    daily(world, 1)
    assert set(world.uti()) == {1, 2} and not world.query(f"SELECT * FROM order_tracking.{UTS} WHERE order_id = 2")
    assert failures(world) == []


@pytest.mark.slow
def test_metadata_without_a_status_is_told_after_a_day(world: World) -> None:
    world.insert("ecs_order_info", [(1, 7, START)])
    world.order(2, START)
    world.cycle()
    daily(world, 1)
    assert world.exceptions() == []
    daily(world, 2)
    assert [row[:3] for row in world.exceptions()] == [("metadata_without_status", ECS, 1)]


@pytest.mark.slow
def test_metadata_that_lands_again_keeps_its_exception_open(world: World) -> None:
    """For a day the check passes over what landed: that is no proof that the order has got a status."""
    world.insert("ecs_order_info", [(1, 7, START)])
    world.cycle()
    daily(world, 2)
    world.source("UPDATE ecs_order_info SET partner_id = 8")
    world.cycle(START + 2 * DAY + 2 * HOUR, reconcile_since=START - DAY)
    daily(world, 3)
    kept = f"SELECT check_name, times_seen, resolution FROM {HISTORY}.order_tracking_exceptions"
    assert world.query(kept) == [("metadata_without_status", 1, None)]
    daily(world, 4)
    assert world.query(kept) == [("metadata_without_status", 2, None)]
    world.source("UPDATE ecs_order_info SET partner_id = 9")
    world.status(1, 200, START + 4 * DAY + HOUR)
    world.cycle(START + 4 * DAY + 2 * HOUR, reconcile_since=START - DAY)
    daily(world, 5)
    assert world.query(f"{kept} WHERE check_name = 'metadata_without_status'") == [
        ("metadata_without_status", 2, "cleared")
    ], "with its status there is nothing left to wait for"


@pytest.mark.slow
def test_checks_that_find_nothing_leave_their_run_in_the_log_once(world: World) -> None:
    log = f"SELECT checked_at::VARCHAR, findings FROM {HISTORY}.check_log ORDER BY 1"
    before = world.query(log)
    world.cycle(START + DAY + 20 * MINUTE)
    assert world.query(log) == [*before, ("2025-09-02 00:00:00", 0)]
    world.status(1, 200, world.now)  # no scans, no metadata
    world.cycle()
    world.cycle()
    assert len(world.query(log)) == len(before) + 1
    world.cycle(START + 2 * DAY + 20 * MINUTE)
    assert world.query(log)[-1] == ("2025-09-03 00:00:00", 3)


def test_checks_that_are_repeated_are_logged_once(world: World) -> None:
    found = parse_one("SELECT 1 AS a UNION ALL SELECT 2 AS a")
    with closing(DuckDBWarehouse.open()) as warehouse:
        for _ in range(2):
            warehouse.execute(log_checks(found, START + DAY))
    assert world.query(f"SELECT findings FROM {HISTORY}.check_log WHERE checked_at = '2025-09-02'") == [(2,)]
