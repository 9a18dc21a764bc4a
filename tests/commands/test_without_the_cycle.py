"""Plain `sqlmesh plan` and `sqlmesh run` after an extract leave the marts as the cycle does. From the shell."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from extract.settings import PROJECT
from tests.conftest import START
from tests.support.world import DAY, HOUR, MINUTE, World, at, moment

EXTRACT = [sys.executable, "-m", "extract"]
SQLMESH = [str(Path(sys.executable).parent / "sqlmesh"), "--gateway", "local"]

FIRST, NEXT, LATER = START + HOUR, START + HOUR + 15 * MINUTE, START + 2 * DAY
AGES_OUT = at("2025-03-02T00:00:00")  # six months before the second of September: after FIRST, before LATER


def shell(world: World, *command: str, fails: bool = False) -> str:
    """What a command prints, in the environment that docs/operations.md tells."""
    environment = {
        **os.environ,
        "ORDER_TRACKING_DUCKDB": str(world.warehouse_file),
        "ORDER_TRACKING_SOURCE": world.source_url,
        "ORDER_TRACKING_START": "2025-08-31",
        "PYTHON_DOTENV_DISABLED": "1",
    }
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert (done.returncode != 0) is fails, done.stdout + done.stderr
    return done.stdout + done.stderr


def iso(time: int) -> str:
    return f"{moment(time):%Y-%m-%d %H:%M:%S}"


def plan(world: World, now: int, **options: bool) -> str:
    return shell(world, *SQLMESH, "plan", "--auto-apply", "--no-prompts", "--execution-time", iso(now), **options)


def run(world: World, now: int, **options: bool) -> str:
    return shell(world, *SQLMESH, "run", "--end", iso(now), "--skip-janitor", **options)


def extract(world: World, now: int) -> None:
    shell(world, *EXTRACT, "--at", iso(now))


def history_of_orders(world: World, step: int) -> None:
    """What happens at the source before each of the three moments."""
    if step == FIRST:
        world.order(1, START - 200 * DAY)  # archived at once
        world.order(2, AGES_OUT)
        world.order(3, START)
    if step == NEXT:
        world.scan(3, NEXT - MINUTE)
    if step == LATER:
        world.scan(3, LATER - MINUTE)
        world.scan(1, LATER - MINUTE)  # comes back


def everything(world: World) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of marts and history."""
    names = [f"order_tracking.mart_{name}" for name in ("uni_tracking_info", "ecs_order_info", "uni_tracking_spath")]
    names += [f"order_tracking_history.hist_{alias}_all" for alias in ("uti", "ecs", "uts")]
    return {name: world.query(f"SELECT * FROM {name} ORDER BY ALL") for name in names}


@pytest.mark.slow
def test_extract_plan_and_run_do_what_the_cycle_does(make_world: Callable[..., World]) -> None:
    plain, ours = (make_world(planned=False, folder=folder) for folder in ("plain", "ours"))
    for now in (FIRST, NEXT, LATER):
        history_of_orders(plain, now)
        extract(plain, now)
        plan(plain, now) if now == FIRST else run(plain, now)
    assert (set(plain.uti()), plain.history("uti")) == ({1, 3}, [("2025_h1", 2)])
    plain.assert_whole()
    for now in (FIRST, NEXT, LATER):
        history_of_orders(ours, now)
        ours.cycle(now)
    assert everything(plain) == everything(ours)
    # `sqlmesh run` has no --execution-time: its checks judge as of now, for which no order is too young.
    assert [row[0] for row in plain.exceptions()] == ["order_without_ecs"], "an order came back"


@pytest.mark.slow
def test_the_guards_stand_without_the_cycle_too(world: World) -> None:
    """A mart that would be built anew from trimmed raw, and a name that is taken: a run does not touch it."""
    world.order(1, START)
    world.order(2, START - 10 * DAY)
    world.cycle()
    world.execute("DROP VIEW order_tracking.order_status")
    world.execute("CREATE TABLE order_tracking.order_status AS SELECT 42 AS mine")
    refused = plan(world, START + HOUR, fails=True)
    assert "SQLMesh did not make what stands under names of this project" in " ".join(refused.split())
    run(world, START + DAY)  # makes every model's own view and table anew, the daily ones too
    assert world.query("FROM order_tracking.order_status") == [(42,)]
    world.execute("DROP TABLE order_tracking.order_status")
    world.execute("DELETE FROM order_tracking_raw.uni_tracking_info_raw WHERE order_id = 2")
    world.execute("DELETE FROM sqlmesh._intervals")
    before = world.uti()
    assert "would be built anew" in " ".join(run(world, START + DAY + HOUR, fails=True).split())
    assert world.uti() == before
