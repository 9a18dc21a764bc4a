"""`order-tracking order`: an order of any kind is shown whole, and an unknown one is said to be unknown."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from extract.settings import PROJECT
from extract.warehouse_duckdb import DuckDBWarehouse
from tests.conftest import START
from tests.marts.test_retention import physical
from tests.support.commands import order as order_command
from tests.support.world import DAY, HOUR, MINUTE, World, at

OLD = START - 200 * DAY
HALF = "2025_h1"
"""The half-year of OLD."""


def show(capsys: pytest.CaptureFixture[str], *numbers: str) -> dict[str, Any]:
    """What the command says, by number; it ends with 1 if one is unknown."""
    code = order_command([*numbers, "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert code == (0 if all(found.values()) else 1)
    return found


def show_one(capsys: pytest.CaptureFixture[str], number: str) -> dict[str, Any]:
    (order,) = show(capsys, number)[number]
    return dict(order)


def test_where_nothing_was_ever_loaded_no_order_is_called_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ORDER_TRACKING_DUCKDB", str(tmp_path / "warehouse.duckdb"))
    DuckDBWarehouse.open().close()
    for number in ("T123", "5"):
        assert order_command([number]) == 2
        told = capsys.readouterr()
        assert not told.out and "has no tables of orders yet; nothing was done. Run a cycle first" in told.err


def test_what_would_steer_a_terminal_is_spelled_out(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.order(1, START)
    world.source("UPDATE uni_tracking_info SET tno = ?", "T\x1b[2J1")
    world.cycle()
    world.execute(
        "INSERT INTO order_tracking_raw.rejected_rows (table_name, order_id, reason, payload, rejected_at) "
        "VALUES ('uni_tracking_info', 1, 'bad', 'tno=\n\x1b[31m', TIMESTAMP '2025-09-01')"
    )
    assert order_command(["1", "no\x1bne"]) == 1
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert r"T\x1b[2J1" in told and r"bad: tno=\n\x1b[31m" in told and r"no\x1bne: unknown." in told


def homes(order: dict[str, Any], part: str) -> list[str]:
    return [row["lives_in"] for row in order[part]]


def view_agrees(world: World, order: dict[str, Any]) -> bool:
    """order_lookup and order_timeline have the same rows."""
    number = order["order_id"]
    looked_up = world.query(
        "SELECT number_use, tno, status, update_time, status_lives_in, partner_id, add_time, metadata_lives_in "
        "FROM order_tracking.order_lookup WHERE order_id = ? ORDER BY number_use",
        number,
    )
    by_use: dict[int, list[Any]] = {}
    for place, part, columns in (
        (0, "statuses", ("tno", "status", "update_time", "lives_in")),
        (4, "metadata", ("partner_id", "add_time", "lives_in")),
    ):
        for row in order[part]:
            values = by_use.setdefault(row["number_use"], [None] * 7)
            values[place : place + len(columns)] = [row[column] for column in columns]
    scans = world.query(
        "SELECT pathtime, code, traceseq, lives_in, number_use FROM order_tracking.order_timeline "
        "WHERE order_id = ? ORDER BY pathtime, traceseq",
        number,
    )
    shown = [tuple(s[n] for n in ("pathtime", "code", "traceseq", "lives_in", "number_use")) for s in order["scans"]]
    return (looked_up, scans) == ([(use, *values) for use, values in sorted(by_use.items())], shown)


def test_an_active_order_is_found_by_number_and_by_tracking_number(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.order(1, START - 199 * DAY)
    world.scan(1, START - 2 * HOUR, code=150)
    world.scan(1, START - HOUR, code=200)
    world.cycle()
    found = show(capsys, "1", "T1", "2")
    assert found["1"] == found["T1"] and found["2"] == []
    (order,) = found["1"]
    assert (order["state"], homes(order, "statuses"), homes(order, "metadata")) == ("active", ["mart"], ["mart"])
    assert [(row["code"], row["lives_in"]) for row in order["scans"]] == [(100, HALF), (150, "mart"), (200, "mart")]
    assert (order["exceptions"], order["rejected"], order["notes"]) == ([], [], [])
    assert view_agrees(world, order)


def test_an_archived_order_shows_its_half_year(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.order(1, OLD)
    world.order(2, START)
    world.cycle()
    order = show_one(capsys, "T1")
    assert (order["order_id"], order["state"]) == (1, f"archived in {HALF}")
    assert [homes(order, part) for part in ("statuses", "metadata", "scans")] == [[HALF]] * 3
    assert view_agrees(world, order)


@pytest.mark.slow
def test_an_order_that_came_back_says_how_to_restore_it(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.order(1, OLD)
    world.order(2, START)
    world.cycle()
    world.cycle()  # a cycle looks at the batch before once more, and would bring the metadata back by itself
    world.scan(1, world.now)
    world.cycle()
    world.cycle(START + DAY + MINUTE)  # with the checks
    order = show_one(capsys, "1")
    assert (order["state"], homes(order, "statuses"), homes(order, "metadata")) == ("active", ["mart"], [HALF])
    assert order["notes"] == ["It came back; history has its metadata: order-tracking exceptions restore 1"]
    assert [each["check"] for each in order["exceptions"]] == ["order_without_ecs"]
    assert len(order["exceptions"][0]["key"]) == 10
    assert view_agrees(world, order)


def test_two_orders_under_one_number_are_told_apart(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.order(1, OLD, partner=11)
    world.order(2, START)
    world.cycle()
    for table in ("uni_tracking_info", "ecs_order_info"):
        world.source(f"DELETE FROM {table} WHERE order_id = 1")
    world.insert("ecs_order_info", [(1, 22, world.now)])
    world.insert("uni_tracking_info", [(1, "OTHER", 100, world.now)])
    world.insert("uni_tracking_spath", [(1, world.now, 100, 0)])
    world.cycle()
    found = show(capsys, "1", "T1", "OTHER")
    assert found["1"] == found["T1"] == found["OTHER"]
    (order,) = found["1"]
    assert [(row["tno"], row["lives_in"], row["number_use"]) for row in order["statuses"]] == [
        ("T1", HALF, 1),
        ("OTHER", "mart", 2),
    ]
    assert [(row["partner_id"], row["number_use"]) for row in order["metadata"]] == [(11, 1), (22, 2)]
    assert [row["number_use"] for row in order["scans"]] == [1, 2]
    assert order["notes"] == ["2 orders had this number: number_use tells whose row it is."]
    assert view_agrees(world, order)


@pytest.mark.slow
def test_metadata_belongs_to_the_order_that_ended_next_though_the_first_has_none(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """A scan a moment behind the last status is still of its order."""
    world.insert("uni_tracking_info", [(1, "T1", 200, OLD)])
    world.scan(1, OLD - HOUR)
    world.source("UPDATE uni_tracking_info SET update_time = ? WHERE order_id = 1", OLD)
    world.insert("uni_tracking_spath", [(1, OLD + MINUTE, 200, 1)])
    world.order(2, START)
    world.cycle()
    world.source("DELETE FROM uni_tracking_info WHERE order_id = 1")
    world.insert("ecs_order_info", [(1, 22, world.now)])
    world.insert("uni_tracking_info", [(1, "OTHER", 100, world.now)])
    world.insert("uni_tracking_spath", [(1, world.now, 100, 0)])
    world.cycle()
    order = show_one(capsys, "1")
    assert [(row["tno"], row["number_use"]) for row in order["statuses"]] == [("T1", 1), ("OTHER", 2)]
    assert [(row["partner_id"], row["number_use"]) for row in order["metadata"]] == [(22, 2)]
    assert [row["number_use"] for row in order["scans"]] == [1, 1, 2]
    assert view_agrees(world, order)


@pytest.mark.slow
def test_of_two_creations_of_one_order_the_newest_is_looked_up(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.order(1, OLD, partner=11)
    world.order(2, START)
    world.cycle()
    world.cycle()
    world.source("UPDATE ecs_order_info SET partner_id = 10, add_time = add_time + 60 WHERE order_id = 1")
    world.cycle(reconcile_since=1)
    world.cycle()
    order = show_one(capsys, "1")
    assert [(row["partner_id"], row["number_use"]) for row in order["metadata"]] == [(11, 1), (10, 1)]
    assert view_agrees(world, order)


def test_metadata_alone_and_rejected_rows_alone_are_an_order_too(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.insert("ecs_order_info", [(3, 7, START)])
    world.insert("uni_tracking_info", [(4, "T4", 100, at("2200-01-01T00:00:00"))])
    world.cycle()
    assert show_one(capsys, "3")["state"] == "without a status: only metadata"
    assert view_agrees(world, show_one(capsys, "3"))
    rejected = show_one(capsys, "4")
    assert rejected["state"] == "only rejected rows"
    assert [row["table_name"] for row in rejected["rejected"]] == ["uni_tracking_info"]
    assert order_command(["4"]) == 0
    assert "Rejected rows:" in capsys.readouterr().out


def test_what_landed_and_no_cycle_has_taken_yet_is_said(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.execute(
        "INSERT INTO order_tracking_raw.ecs_order_info_raw (order_id, partner_id, add_time, landed_at) "
        "VALUES (5, 1, 1, '2025-09-01')"
    )
    assert show_one(capsys, "5")["state"].startswith("landed, and not in the marts yet")


def test_what_landed_and_was_lost_is_not_said_to_be_on_its_way(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.order(5, START)
    world.order(6, START)
    world.cycle()
    world.cycle(START + 2 * HOUR)
    for mart in ("uni_tracking_info", "ecs_order_info", "uni_tracking_spath"):
        world.execute(f"DELETE FROM {physical(world, f'mart_{mart}')} WHERE order_id = 5")
    world.cycle(START + DAY + HOUR)
    assert show_one(capsys, "5")["state"].startswith("landed, and neither in a mart nor in history")


def test_an_unknown_number_says_so_and_ends_with_one(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Also one that no BIGINT holds, and a text with a quotation mark."""
    world.order(1, START)
    world.cycle()
    unknown = ["9", "9" * 20, "9" * 5000, "it's", "²"]
    assert order_command(["1", *unknown]) == 1
    told = capsys.readouterr().out
    assert "Order 1: active" in told
    for number in unknown:
        assert f"{number}: unknown. No table holds it" in told


def test_every_column_is_shown_also_one_that_no_plan_has_brought_yet(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import replace

    from sqlglot import exp

    from extract import tables

    world.order(1, START)
    world.cycle()
    whole = tables.load_config

    def with_a_column(*args: Any) -> tables.ExtractConfig:
        config = whole(*args)
        weight = {"weight": exp.DataType.build("INTEGER")}
        return replace(config, tables=tuple(replace(each, columns=each.columns | weight) for each in config.tables))

    monkeypatch.setattr(tables, "load_config", with_a_column)
    order = show_one(capsys, "1")
    for part, columns in (("statuses", {"tno", "status"}), ("metadata", {"partner_id"}), ("scans", {"traceseq"})):
        (row,) = order[part]
        assert row["weight"] is None
        assert columns | {"order_id", "landed_at", "lives_in"} <= row.keys()


def test_it_loads_no_sqlmesh(world: World) -> None:
    code = (
        "import sys\nfrom scripts.cli import main\ncode = main(['order', '1'])\n"
        "raise SystemExit('sqlmesh was loaded' if 'sqlmesh' in sys.modules else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout.startswith("1: unknown"), done.stdout + done.stderr
