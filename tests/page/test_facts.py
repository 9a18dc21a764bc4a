"""What the page shows is what the logs, the exceptions and the catalog say, and no mart is read for it."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlglot import exp

from extract.clock import Clock
from extract.settings import PROJECT
from extract.tables import load_config
from extract.warehouse import Warehouse
from macros.marts import CHECK_LOG, EXCEPTIONS, marts
from scripts.page.facts import Facts, LandedInAll, Late, Moved, OpenFindings, read_facts
from scripts.page.lineage import CHECKS, lineage
from scripts.page.row_counts import Living
from scripts.page.sections import lateness
from scripts.reading import warehouse_to_read
from scripts.status import read_status
from tests.commands.test_status import HISTORY, NOW, log_cycle, shown
from tests.page.conftest import find
from tests.support.world import DAY, HOUR, MINUTE, World, moment

pytestmark = pytest.mark.xdist_group("page")
TODAY = dt.date(2025, 9, 2)


def facts(watched: list[str] | None = None) -> Facts:
    """What is read at NOW; the statements go to `watched`."""
    with warehouse_to_read("local") as warehouse:
        status = read_status(warehouse, load_config(), Clock(moment(NOW)))
        if watched is not None:
            watch(warehouse, watched)
        return read_facts(warehouse, status)


def watch(warehouse: Warehouse, statements: list[str]) -> None:
    fetchall = warehouse.fetchall

    def watched(sql: str | exp.Expr) -> list[tuple[object, ...]]:
        statements.append(sql if isinstance(sql, str) else sql.sql("redshift"))
        return fetchall(sql)

    warehouse.fetchall = watched  # type: ignore[method-assign]


def test_rows_are_summed_by_day_of_the_cycle_in_utc(world: World) -> None:
    world.execute(f"DELETE FROM {HISTORY}.cycle_log")
    midnight = NOW - 10 * HOUR
    for at in (midnight - 1, midnight, NOW, NOW + 1, midnight - 29 * DAY, midnight - 29 * DAY - 1):
        log_cycle(world, at)
    assert facts().moved == [
        Moved(TODAY - dt.timedelta(days=29), 5, 2),
        Moved(TODAY - dt.timedelta(days=1), 5, 2),
        Moved(TODAY, 10, 4),
    ]


def newest(event: int) -> dict[str, int]:
    return {f"newest_{alias}": event for alias in ("uti", "ecs", "uts")}


def test_lateness_is_the_worst_of_an_hour_of_cycles_that_ended_well(world: World) -> None:
    log_cycle(world, NOW - 30 * MINUTE, **newest(NOW - 37 * MINUTE))
    log_cycle(world, NOW - 15 * MINUTE, **newest(NOW - 20 * MINUTE))
    log_cycle(world, NOW - 10 * MINUTE, "failed", **newest(NOW - 5 * HOUR), error="x")
    log_cycle(world, NOW - 7 * DAY, **newest(NOW - 8 * DAY))
    hour = moment(NOW - HOUR).replace(tzinfo=None)
    assert [each for each in facts().late if each.hour == hour] == [
        Late(hour, mart, 7.0) for mart in ("ecs", "uti", "uts")
    ]
    assert min(each.hour for each in facts().late) > hour - dt.timedelta(days=7)
    assert "behind each cycle that ended well. The greatest: " in lateness(facts()).text


def test_a_finding_is_open_from_the_day_it_opens_to_the_day_before_it_closes(world: World) -> None:
    find(world, "rejected_rows", range(3), NOW - 4 * DAY, NOW - 2 * DAY)
    find(world, "order_without_ecs", range(2), NOW - 3 * DAY)
    find(world, "order_without_scans", range(7), NOW - 90 * DAY, NOW - 40 * DAY)
    days = [TODAY - dt.timedelta(days=number) for number in range(5)]
    assert facts().findings == [
        OpenFindings(days[4], "rejected_rows", 3),
        OpenFindings(days[3], "order_without_ecs", 2),
        OpenFindings(days[3], "rejected_rows", 3),
        *[OpenFindings(day, "order_without_ecs", 2) for day in days[2::-1]],
    ]


@pytest.mark.slow
def test_what_landed_and_what_was_rejected_is_counted_over_all_time(world: World) -> None:
    world.order(1, NOW - DAY)
    world.cycle()
    world.order(2, NOW - HOUR)
    world.status(0, 200, NOW - HOUR)
    world.cycle(NOW + 900)
    assert facts().landed == [LandedInAll("uti", 2, 1), LandedInAll("ecs", 2, 0), LandedInAll("uts", 2, 0)]


def test_rows_are_counted_where_they_live_and_no_mart_is_read(world: World) -> None:
    world.order(1, NOW - DAY)
    world.cycle()
    world.plant(f"{HISTORY}.hist_uti_2025_h1", *[(order, "T", 200, 1) for order in range(3)])
    statements: list[str] = []
    assert facts(statements).living == [
        Living("uti", "2025_h1", 3),
        *[Living(alias, "mart", 1) for alias in ("uti", "ecs", "uts")],
    ]
    of_marts = [statement for statement in statements if "mart_" in statement]
    assert len(of_marts) == 1
    for select in of_marts[0].split(" UNION ALL "):
        assert "COUNT(*)" in select and "WHERE" not in select and "JOIN" not in select


def test_what_feeds_what_is_what_the_models_say() -> None:
    found = lineage(load_config())
    for mart in marts():
        table = mart.name.removeprefix("order_tracking.mart_")
        assert {(table, mart.raw), (mart.raw, mart.name), (mart.name, f"{HISTORY}.hist_{mart.alias}_all")} <= {
            *found.feeds
        }
    assert {(CHECKS, EXCEPTIONS), (CHECKS, CHECK_LOG), ("order_tracking_raw.rejected_rows", CHECKS)} <= {*found.feeds}
    placed = [name for _, names in found.layers for name in names]
    assert len({*placed}) == len(placed) and {*placed} == {name for feed in found.feeds for name in feed}
    assert "order_tracking.reused_number" not in placed and f"{HISTORY}.hist_uti_" not in placed


def test_a_new_model_is_drawn_without_being_listed(tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "models", tmp_path / "models")
    (tmp_path / "models" / "late.sql").write_text(
        "/* Not order_tracking.mart_ecs_order_info. */\nMODEL (name order_tracking.late_orders, kind VIEW);\n"
        "SELECT order_id FROM order_tracking.order_status"
    )
    before, after = lineage(load_config()), lineage(load_config(), tmp_path)
    assert {*after.feeds} - {*before.feeds} == {("order_tracking.order_status", "order_tracking.late_orders")}
    assert "order_tracking.late_orders" in dict(after.layers)["views"]


@pytest.mark.slow
def test_the_page_is_the_same_in_every_time_zone(lively: World, tmp_path: Path) -> None:
    pages = []
    for zone in ("Asia/Tokyo", "America/New_York"):
        file = tmp_path / "status.html"
        command = [sys.executable, "-m", "scripts.cli", "status", "--html", str(file), "--at", shown(NOW)]
        done = subprocess.run(command, cwd=PROJECT, env={**os.environ, "TZ": zone}, capture_output=True, text=True)
        assert done.returncode == 1, done.stderr
        pages.append(file.read_text())
    assert pages[0] == pages[1] and len(pages[0]) > 50_000
