"""SQLMesh's state is lost: a mart is rebuilt from raw while raw still has every row, and never afterwards.

Or it notes a time that has not come yet, for a clock was ahead; or a mart that is gone; or half a plan.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from extract.errors import ConfigurationError, CycleFailed
from extract.settings import PROJECT
from extract.tables import load_config
from scripts.ledger import read_ledger
from scripts.reading import warehouse_to_read
from scripts.run_cycle import run_cycle
from tests.conftest import START
from tests.marts.test_retention import AGED, physical
from tests.proof.test_crashes import everything
from tests.support.commands import extract as extract_command
from tests.support.commands import plan
from tests.support.commands import refresh as refresh_command
from tests.support.commands import verify as verify_command
from tests.support.world import DAY, HOUR, MINUTE, World, at, moment


def lose_state(world: World) -> None:
    world.execute("DROP SCHEMA sqlmesh CASCADE")


def run_steps(world: World, heading: str, **instead: str) -> None:
    """Executes the SQL that docs/recovery.md tells under this heading, with other names where these are meant."""
    text = (PROJECT / "docs" / "recovery.md").read_text().partition(f"\n{heading}\n")[2]
    sql = text.partition("```sql")[2].partition("```")[0].replace("order_tracking_state.", "sqlmesh.")
    for written, meant in instead.items():
        assert written in sql
        sql = sql.replace(written, meant)
    steps = [step for step in sql.split(";") if step.strip()]
    assert steps
    for step in steps:
        world.execute(step)


def balance(world: World) -> None:
    """The ledger is off, and balances once what docs/recovery.md tells is entered for each table."""

    def differences() -> dict[str, int]:
        with warehouse_to_read("local") as warehouse:
            ledgers = read_ledger(warehouse, load_config(), world.now)
        assert not any(ledger.missing for ledger in ledgers)
        return {ledger.table: ledger.difference for ledger in ledgers if ledger.difference}

    assert differences()
    for table, difference in differences().items():
        instead = {"uni_tracking_spath": table, "-4750": str(-difference)}
        run_steps(world, "### The ledger is off after a repair", **instead)
    assert differences() == {}


def iso(time: int) -> str:
    return f"{moment(time):%Y-%m-%dT%H:%M:%S}"


def marts(world: World) -> dict[str, list[tuple[Any, ...]]]:
    return {name: rows for name, rows in everything(world).items() if not name.startswith("order_tracking_raw")}


@pytest.mark.slow
def test_state_lost_before_anything_was_trimmed_is_made_good(world: World) -> None:
    world.order(9, START)
    world.order(2, START - 10 * DAY)
    world.cycle()
    world.cycle(START + DAY)
    world.scan(2, START + DAY)
    world.cycle(START + DAY + HOUR)
    lose_state(world)
    world.order(3, START + DAY + 2 * HOUR)
    world.cycle(START + DAY + 3 * HOUR)
    world.assert_whole()
    assert set(world.uti()) == {2, 3, 9}


@pytest.mark.slow
def test_state_lost_after_orders_were_archived_is_made_good_from_whole_raw(world: World) -> None:
    """Raw brings what was archived back into the marts; the same evaluation moves it to history again."""
    world.order(9, START)
    world.order(1, AGED)
    world.cycle()
    world.cycle(START + DAY)
    lose_state(world)
    world.cycle(START + DAY + HOUR)
    world.cycle()
    world.assert_whole()
    assert (set(world.uti()), world.history("uti"), world.history("ecs")) == ({9}, [("2025_h1", 1)], [("2025_h1", 1)])
    world.scan(9, START + 2 * DAY - HOUR)
    world.cycle(START + 2 * DAY)
    assert world.exceptions() == []


@pytest.mark.slow
def test_state_lost_after_raw_was_trimmed_refuses_and_changes_nothing(world: World) -> None:
    """SQLMesh would replace each mart by the 35 days that raw holds."""
    world.order(9, START - 60 * DAY)
    world.order(1, AGED)
    world.cycle()
    world.order(2, START + DAY)
    world.cycle(START + DAY + HOUR)
    world.order(4, START + 40 * DAY - HOUR)
    world.cycle(START + 40 * DAY)
    assert world.query("SELECT COUNT(*) FROM order_tracking_raw.uni_tracking_spath_raw") == [(2,)]
    before = marts(world)
    lose_state(world)
    world.order(3, START + 40 * DAY)
    for _ in range(2):
        with pytest.raises(CycleFailed, match="would be built anew"):
            world.cycle()
        assert marts(world) == before


@pytest.mark.slow
@pytest.mark.parametrize("of", ["", "mart_uni_tracking_info", "mart_ecs_order_info"])
def test_a_state_that_knows_no_interval_is_made_good_from_whole_raw_and_refused_when_it_was_trimmed(
    world: World, of: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment stands, its intervals are gone: a slip in a runbook, or half a backup.

    Refused also where a run looks back no further than a day, as `sqlmesh plan --start` does when told so.
    """
    lose = f"DELETE FROM sqlmesh._intervals WHERE name LIKE '%{of}%'"
    world.order(9, START - 60 * DAY)
    world.order(1, AGED)
    world.cycle()
    world.order(2, START + 3 * DAY)
    world.cycle(START + 3 * DAY + HOUR)
    world.cycle(START + 4 * DAY)
    before = marts(world)
    world.execute(lose)
    world.cycle(START + 4 * DAY + HOUR)
    world.cycle()
    assert marts(world) == before
    world.order(4, START + 40 * DAY - HOUR)
    world.cycle(START + 40 * DAY)
    before = marts(world)
    world.execute(lose)
    with pytest.raises(CycleFailed, match="would be built anew"):
        world.cycle()
    assert marts(world) == before
    monkeypatch.setattr("scripts.run_cycle._reached", lambda *_: [moment(START + 40 * DAY)])
    with pytest.raises(CycleFailed, match="would be built anew"):
        world.cycle()
    assert marts(world) == before


@pytest.mark.slow
def test_a_clock_that_is_far_ahead_of_the_sources_is_refused_before_the_first_plan(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a plan has passed no cycle by the right clock could fill."""
    world = make_world(planned=False)
    world.order(1, START)
    with monkeypatch.context() as patch:
        patch.setattr("extract.source_duckdb.DuckDBSource.clock", lambda self: START)
        with pytest.raises(ConfigurationError, match=r"This machine.s clock says"):
            run_cycle(source=world.source_url)
        assert world.query("SELECT table_name FROM duckdb_tables()") == [], "not even tables for that day"
    world.cycle()
    assert set(world.uti()) == {1}


@pytest.mark.slow
def test_state_lost_after_raw_was_trimmed_is_made_good_by_the_runbook(world: World) -> None:
    """Also where a failed cycle had landed a status that ties with the one in the mart: the later one counts."""
    world.order(9, START - 60 * DAY)
    world.order(1, AGED)
    world.source("UPDATE uni_tracking_spath SET code = NULL WHERE order_id = 9")
    world.cycle()
    world.order(2, START + DAY)
    world.cycle(START + DAY + HOUR)
    world.order(4, START + 40 * DAY - HOUR)
    world.cycle(START + 40 * DAY)
    before = marts(world)
    lose_state(world)
    world.status(4, 900, START + 40 * DAY - HOUR)
    with pytest.raises(CycleFailed, match="would be built anew"):
        world.cycle()
    run_steps(world, "### The state was lost")
    world.cycle()
    after = marts(world)
    assert world.uti().pop(4) == (900, START + 40 * DAY - HOUR)
    for rows in (before, after):
        rows["order_tracking.mart_uni_tracking_info"] = [
            row for row in rows["order_tracking.mart_uni_tracking_info"] if row[0] != 4
        ]
    assert after == before
    for days in (1, 40, 200):  # what was landed again is forgotten again, ages and comes back as ever
        world.order(100 + days, START + (40 + days) * DAY - HOUR)
        world.scan(1, START + (40 + days) * DAY - HOUR)
        world.cycle(START + (40 + days) * DAY, reconcile_since=1)
        world.assert_whole()
    assert {order for _, order in world.history("uti")} == {2, 4, 9, 101}
    assert world.exceptions() == []


@pytest.mark.slow
def test_a_state_from_a_backup_that_raw_does_not_reach_refuses_until_the_runbook_is_followed(world: World) -> None:
    """SQLMesh would replace what landed since the backup by what raw still holds; a younger backup is harmless."""
    world.order(1, AGED)
    world.order(9, START)
    world.cycle()
    backups = [world.query("SELECT * FROM sqlmesh._intervals")]
    world.order(2, START + DAY)
    world.scan(9, START + DAY)
    world.cycle(START + DAY + HOUR)
    world.order(4, START + 30 * DAY)
    world.cycle(START + 30 * DAY + HOUR)
    backups.append(world.query("SELECT * FROM sqlmesh._intervals"))
    world.order(5, START + 40 * DAY - HOUR)
    world.cycle(START + 40 * DAY)
    assert world.query("SELECT COUNT(*) FROM order_tracking_raw.uni_tracking_spath_raw") == [(2,)]

    def restore_backup(rows: list[tuple[Any, ...]]) -> None:
        world.execute("DELETE FROM sqlmesh._intervals")
        world.plant("sqlmesh._intervals", *rows)

    before = marts(world)
    restore_backup(backups[1])
    world.cycle()
    assert marts(world) == before
    restore_backup(backups[0])
    for _ in range(2):
        with pytest.raises(CycleFailed, match=r"would be built anew since 2025-09-01 00:00 UTC.*lacks \d of"):
            world.cycle()
        assert marts(world) == before
    run_steps(world, "### The state was lost")
    world.cycle()
    assert marts(world) == before
    world.assert_whole()


@pytest.mark.slow
def test_a_clock_that_was_a_year_ahead_is_made_good_by_the_runbook(world: World) -> None:
    world.order(1, AGED)
    world.order(9, START)
    world.cycle()
    world.order(2, START + 20 * MINUTE)
    world.cycle(START + 31 * MINUTE)
    world.order(3, START + 40 * MINUTE)
    world.scan(1, START + 40 * MINUTE)
    world.cycle(START + 365 * DAY)
    world.order(4, START + 50 * MINUTE)
    with pytest.raises(ConfigurationError, match="A clock was ahead"):
        world.cycle(START + HOUR + MINUTE)
    run_steps(world, "### A clock was ahead")
    for now in (HOUR + MINUTE, HOUR + 16 * MINUTE, DAY + 20 * MINUTE, 40 * DAY, 365 * DAY, 365 * DAY + 15 * MINUTE):
        world.order(now, START + now - HOUR)
        world.cycle(START + now, reconcile_since=1)
        if now > HOUR + MINUTE:  # the first one finds nothing due
            world.assert_whole()
    assert world.exceptions() == []
    balance(world)


@pytest.mark.slow
def test_rows_do_not_land_behind_what_a_plan_has_passed(make_world: Callable[..., World], capsys: Any) -> None:
    """By a clock that was ahead, say; nothing had landed by it, so only the state knows."""
    world = make_world(planned=False)
    assert plan(["--yes", "--at", "2025-09-01T06:00:00"]) == 0
    world.order(1, START)
    with pytest.raises(ConfigurationError, match="worked for 2025-09-01 06:00 UTC already"):
        world.cycle(START + 15 * MINUTE)
    assert world.query("SELECT COUNT(*) FROM order_tracking_raw.extract_log") == [(0,)]
    world.cycle(START + 6 * HOUR)
    world.order(2, START + 7 * HOUR)
    world.cycle(START + 8 * HOUR)
    world.cycle()
    world.assert_whole()


@pytest.mark.slow
def test_a_state_that_cannot_be_read_is_told_and_nothing_lands(world: World) -> None:
    world.order(1, START)
    world.execute("DROP TABLE sqlmesh._intervals")
    with pytest.raises(
        CycleFailed, match=r"(?s)SQLMesh's state cannot be read.*Nothing was landed: run the cycle again"
    ):
        world.cycle()
    assert world.query("SELECT * FROM order_tracking_raw.uni_tracking_info_raw") == []


@pytest.mark.slow
def test_a_plan_that_broke_off_is_told_and_planning_again_mends_it(world: World) -> None:
    """SQLMesh itself would wait for the plan for a minute, and say only that."""
    world.order(1, START)
    world.cycle()
    world.execute(
        "UPDATE sqlmesh._environments SET finalized_ts = NULL, previous_finalized_snapshots = snapshots "
        "WHERE name = 'prod'"
    )
    world.order(2, START + HOUR)
    with pytest.raises(CycleFailed, match=r"nothing was read.*make plan"):
        world.cycle(START + HOUR)
    assert plan(["--yes", "--at", iso(START + HOUR)]) == 0
    world.cycle(START + HOUR + 15 * MINUTE)
    world.assert_whole()
    assert set(world.uti()) == {1, 2}


@pytest.mark.slow
@pytest.mark.parametrize("mart", ["uni_tracking_info", "uni_tracking_spath", "ecs_order_info"])
def test_a_mart_that_is_gone_is_told_and_made_good_by_the_runbook(world: World, mart: str) -> None:
    """SQLMesh would make it anew and fill it with what landed last."""
    world.order(1, AGED)
    world.order(2, START - 100 * DAY)
    world.order(5, START - 300 * DAY)
    world.scan(5, START - DAY)  # old metadata of an active order
    world.order(9, START)
    world.cycle()
    world.cycle(START + DAY)
    world.order(6, START + 6 * DAY + 12 * HOUR)  # raw still holds it, and landed it more than 34 days ago
    world.cycle(START + 6 * DAY + 13 * HOUR)
    world.order(3, START + 40 * DAY)
    world.cycle(START + 40 * DAY)
    world.scan(3, START + 41 * DAY - MINUTE)
    world.cycle(START + 41 * DAY)
    table = physical(world, f"mart_{mart}")
    columns = ", ".join(f"{name} {kind}" for name, kind in columns_of(world, mart))
    world.execute(f"DROP TABLE {table}")
    now = START + 41 * DAY + 15 * MINUTE
    world.order(4, now)
    with pytest.raises(CycleFailed, match="'A mart is gone'"):
        world.cycle(now + MINUTE)
    assert plan(["--yes", "--at", iso(now + MINUTE)]) == 1
    assert len(world.query("SELECT * FROM order_tracking_raw.uni_tracking_info_raw WHERE order_id = 4")) == 0
    world.execute(f"CREATE TABLE {table} ({columns})")
    reached = (now - 34 * DAY) * 1000
    world.execute(f"DELETE FROM sqlmesh._intervals WHERE start_ts >= {reached}")
    world.execute(f"UPDATE sqlmesh._intervals SET end_ts = {reached} WHERE end_ts > {reached}")
    world.execute(
        f"UPDATE order_tracking_raw.{mart}_raw SET landed_at = ? WHERE landed_at < ?",
        *2 * (moment(now - 34 * DAY).replace(tzinfo=None),),
    )
    assert extract_command(["--source", world.source_url, "--since", "2000-01-01", "--at", iso(now)]) == 0
    world.cycle(now + 15 * MINUTE)
    world.cycle(now + DAY)
    world.assert_whole()
    assert set(world.uti()) == {2, 3, 4, 5, 6, 9}
    assert world.exceptions() == []


def columns_of(world: World, mart: str) -> list[tuple[Any, ...]]:
    """Names and types of a mart's columns, which are those of its raw table."""
    return world.query(
        "SELECT column_name, data_type FROM information_schema.columns "
        "WHERE table_name = ? AND table_schema = 'order_tracking_raw' ORDER BY ordinal_position",
        f"{mart}_raw",
    )


@pytest.mark.slow
def test_a_status_dated_into_the_future_gives_way_by_the_runbook(world: World) -> None:
    """It is newer than every true status until its time has come."""
    world.order(1, START)
    world.cycle()
    world.status(1, 999, START + 300 * DAY)
    world.cycle()
    world.source("DELETE FROM uni_tracking_info")
    world.scan(1, START + HOUR)
    world.cycle(START + 2 * HOUR)
    world.cycle(START + 4 * HOUR, reconcile_since=START)
    assert world.uti() == {1: (999, START + 300 * DAY)}
    table = "sqlmesh__order_tracking.order_tracking__mart_uni_tracking_info__<number>"
    instead = {table: physical(world, "mart_uni_tracking_info"), "67500000137": "1"}
    run_steps(world, "### A status dated into the future", **instead)
    world.execute("DELETE FROM sqlmesh._intervals WHERE start_ts >= ?", START * 1000)  # as from an older backup
    world.execute("UPDATE sqlmesh._intervals SET end_ts = ? WHERE end_ts > ?", START * 1000, START * 1000)
    world.cycle(START + 6 * HOUR, reconcile_since=START)
    assert world.uti() == {1: (200, START + HOUR)}
    world.cycle(START + 2 * DAY)
    world.cycle(START + 2 * DAY + HOUR)
    assert world.exceptions() == []


@pytest.mark.slow
@pytest.mark.parametrize(("alias", "raw_holds_it"), [("uts", True), ("uts", False), ("ecs", True)])
def test_a_history_table_that_is_gone_is_made_good_by_the_runbook(world: World, alias: str, raw_holds_it: bool) -> None:
    """Metadata lies in the half-year of its order's last status, and is older."""
    created, scanned = at("2024-12-20T00:00:00"), at("2025-01-05T00:00:00")
    world.insert("ecs_order_info", [(1, 7, created)])
    world.scan(1, scanned)
    world.order(9, START)
    world.cycle()
    if not raw_holds_it:
        world.cycle(START + 60 * DAY)
        world.order(8, world.now)
        world.cycle()
        assert world.query("SELECT 1 FROM order_tracking_raw.uni_tracking_spath_raw WHERE order_id = 1") == []
    held = world.history(alias, "order_id")
    world.execute(f"DROP TABLE order_tracking_history.hist_{alias}_2025_h1")
    world.cycle()
    assert [row[0] for row in world.exceptions()] == ["history_table_gone"]
    of_status = "order_id IN (SELECT order_id FROM order_tracking_history.hist_uti_2025_h1)"
    scans = "pathtime >= 1735689600 AND pathtime < 1751328000"
    of_metadata = {"uni_tracking_spath": "ecs_order_info", scans: of_status}
    run_steps(world, "### A history table is gone", **(of_metadata if alias == "ecs" else {}))
    since = "2025-01-01" if alias == "uts" else "2024-12-01"
    command = ["--source", world.source_url, "--since", since, "--at", iso(world.now + MINUTE)]
    assert refresh_command(command) == 0
    world.cycle()
    world.cycle()
    assert world.history(alias, "order_id") == held == [("2025_h1", 1)]
    assert verify_command(command[:4]) == 0
    if alias == "uts":
        balance(world)
    world.assert_whole()
