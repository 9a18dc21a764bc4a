"""The ledger: landed is in mart or history, waiting or superseded, whatever happened; and what is lost is named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scripts.cli import main
from tests.conftest import START
from tests.marts.test_retention import physical
from tests.support.commands import exceptions as exceptions_command
from tests.support.commands import extract as extract_command
from tests.support.world import DAY, HOUR, MINUTE, World, at, moment

HISTORY = "order_tracking_history"
UTI, ECS, UTS = "mart_uni_tracking_info", "mart_ecs_order_info", "mart_uni_tracking_spath"


def balance(world: World, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and each table's accounts."""
    capsys.readouterr()
    code = main(["verify", "--ledger", "--json", "--at", f"{moment(world.now):%Y-%m-%dT%H:%M:%S}"])
    told = capsys.readouterr()
    assert told.out, told.err
    return code, {each["table"]: each for each in json.loads(told.out)["tables"]}


@pytest.mark.slow
def test_the_ledger_balances_through_a_life(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """A first load, newer versions, an order that comes back and is restored, a reused number, a rejected row."""
    world.order(1, at("2025-01-05T00:00:00"), partner=7)
    for order in (2, 3):
        world.order(order, START)
    world.order(4, at("2025-01-06T00:00:00"))
    world.insert("uni_tracking_spath", [(0, START, 100, 0)])
    world.cycle()
    world.cycle(START + 2 * HOUR)
    world.scan(1, START + 2 * HOUR)
    world.scan(2, START + 2 * HOUR)
    world.insert("ecs_order_info", [(4, 9, START + 2 * HOUR)])
    world.source("UPDATE uni_tracking_info SET tno = 'B' WHERE order_id = 4")
    world.scan(4, START + 2 * HOUR)
    world.cycle()
    world.cycle(START + DAY + 20 * MINUTE, reconcile_since=START - DAY)
    assert exceptions_command(["--at", "2025-09-02T00:25:00", "restore", "1"]) == 0
    code, tables = balance(world, capsys)
    assert code == 0 and tables["ecs_order_info"]["waiting"] == 1, "restored, and not yet taken"
    world.cycle()
    code, tables = balance(world, capsys)
    assert code == 0
    uti, ecs, uts = (tables[name] for name in ("uni_tracking_info", "ecs_order_info", "uni_tracking_spath"))
    assert (uti["landed"], uti["mart"], uti["history"], uti["superseded"]) == (7, 4, 1, 2)
    assert (ecs["landed"], ecs["mart"], ecs["history"], ecs["superseded"]) == (6, 4, 1, 1)
    assert (uts["landed"], uts["mart"], uts["history"], uts["rejected"]) == (7, 5, 2, 1)
    assert uts["half_years"]["2025_h1"]["history"] == 2


def test_what_waits_for_the_next_cycle_is_no_difference(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.order(1, START)
    world.cycle()
    world.order(2, START + HOUR)
    assert extract_command(["--source", world.source_url, "--at", "2025-09-01T02:00:00"]) == 0
    world.now = START + 8 * HOUR
    code, tables = balance(world, capsys)
    assert code == 0 and {each["waiting"] for each in tables.values()} == {1}


def test_a_row_that_is_archived_but_not_yet_trimmed_counts_once(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a crash between the two steps leaves it."""
    world.order(1, START)
    world.order(2, START + HOUR)
    world.cycle(START + 2 * HOUR)
    for short, mart in (("uti", UTI), ("ecs", ECS), ("uts", UTS)):
        world.execute(
            f"INSERT INTO {HISTORY}.hist_{short}_2025_h2 BY NAME "
            f"SELECT *, landed_at AS archived_at FROM {physical(world, mart)} WHERE order_id = 1"
        )
    code, tables = balance(world, capsys)
    assert code == 0 and {(each["mart"], each["history"], each["in_both"]) for each in tables.values()} == {(2, 0, 1)}


def test_what_is_lost_is_an_error_with_its_orders(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    for order in (1, 2, 3):
        world.order(order, START)
    world.cycle()
    world.now = START + 4 * HOUR
    world.order(4, world.now)
    world.cycle()
    for mart in (UTI, ECS, UTS):
        world.execute(f"DELETE FROM {physical(world, mart)} WHERE order_id = 2")
    world.now += HOUR
    code, tables = balance(world, capsys)
    assert code == 1
    for each in tables.values():
        assert each["half_years"]["2025_h2"]["missing_orders"] == [2] and each["difference"] == 1
    world.execute("DELETE FROM order_tracking_raw.uni_tracking_spath_raw")
    code, tables = balance(world, capsys)
    uts = tables["uni_tracking_spath"]
    assert code == 1 and (uts["missing"], uts["difference"]) == (0, 1), "raw has forgotten it; the sum has not"


def test_scans_that_never_landed_are_an_error(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.order(1, START)
    world.cycle()
    world.execute(f"INSERT INTO {physical(world, UTS)} SELECT * REPLACE (9 AS order_id) FROM {physical(world, UTS)}")
    code, tables = balance(world, capsys)
    assert code == 1 and tables["uni_tracking_spath"]["difference"] == -1
    assert main(["verify", "--ledger", "--at", f"{moment(world.now):%Y-%m-%dT%H:%M:%S}"]) == 1
    told = capsys.readouterr().out
    assert told.startswith("The ledger does not balance: uni_tracking_spath.")
    assert "1 rows are held that never landed" in told


def test_the_ledger_asks_no_source(world: World) -> None:
    assert main(["verify", "--ledger", "--since", "2025-09-01"]) == 2
