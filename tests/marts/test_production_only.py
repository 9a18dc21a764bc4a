"""Side effects belong to production (I8): whatever a dev environment does, nothing outside its own tables changes.

In each test rows stand in the production marts that a cycle would archive and trim at once, others have landed that
it would take in, and production is an interval behind.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
from sqlmesh.core.console import NoopConsole, set_console
from sqlmesh.core.context import Context
from sqlmesh.utils.errors import SQLMeshError

from extract.settings import PROJECT
from macros.production import deployability
from tests.conftest import START
from tests.extract.test_extract import run as extract
from tests.marts.test_retention import AGED, EARLIER, physical
from tests.support.world import DAY, HOUR, World, moment

MARTS = ("mart_uni_tracking_info", "mart_ecs_order_info", "mart_uni_tracking_spath")
LATER = START + 40 * DAY


@pytest.fixture
def behind(make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> World:
    """Production an interval behind: rows to take in, a canary to archive in each mart, raw rows to forget."""
    world = make_world()
    world.order(1, AGED)
    world.order(9, START)
    world.cycle()
    world.cycle(LATER - HOUR)
    world.order(3, EARLIER)
    world.order(9 + 1, LATER - 5 * 60)
    world.scan(1, LATER - 5 * 60)
    with monkeypatch.context() as patch:
        patch.setattr("scripts.run_cycle._run", lambda *_: None)
        world.cycle(LATER, reconcile_since=1)
    landed = moment(START).replace(tzinfo=None)
    world.plant(physical(world, MARTS[0]), (77, "T77", 100, AGED, landed))
    world.plant(physical(world, MARTS[1]), (77, 1, AGED, landed))
    world.plant(physical(world, MARTS[2]), (77, AGED, 100, 0, landed))
    return world


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project, to be edited."""
    copy = tmp_path / "project"
    skipped = shutil.ignore_patterns(".*", "*.duckdb*", "logs", "build", "*.egg-info", "__pycache__", "tests")
    shutil.copytree(PROJECT, copy, ignore=skipped)
    return copy


STATUS = "@typed_columns(uti, ranked, status),"


def edit(project: Path, model: str, old: str, new: str) -> None:
    path = project / "models" / f"{model}.sql"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def plan(project: Path, environment: str, at: int, **options: Any) -> str:
    """Plans in a process of its own, for which the copy is the project; gives what SQLMesh tells.

    In this process the copy's macros would be taken for those of the original, and all models for changed.
    """
    code = f"""
import datetime as dt
from contextlib import closing
from sqlmesh.core.console import create_console, set_console
from sqlmesh.core.context import Context

set_console(create_console())
with closing(Context(paths=".", gateway="local")) as context:
    context.plan({environment!r}, execution_time=dt.datetime.fromtimestamp({at}, dt.UTC), auto_apply=True,
                 no_prompts=True, no_diff=True, skip_tests=True, include_unmodified=True, **{options!r})
"""
    environ = {"ORDER_TRACKING_START": "2025-08-30", **os.environ, "PYTHONPATH": str(project)}
    done = subprocess.run([sys.executable, "-c", code], cwd=project, env=environ, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout


def run_dev(project: Path, *moments: int) -> None:
    set_console(NoopConsole())
    with closing(Context(paths=str(project), gateway="local", load=False)) as context:
        for epoch in moments:
            context.run("dev", end=moment(epoch), execution_time=moment(epoch), skip_janitor=True)


def outside_dev(world: World) -> dict[str, Any]:
    """Every row and every column of what is not a dev table: marts, history, exceptions, raw, and which there are."""
    with duckdb.connect(str(world.warehouse_file)) as warehouse:
        tables = warehouse.execute(
            "SELECT table_schema || '.' || table_name FROM information_schema.tables "
            "WHERE table_schema IN ('order_tracking', 'order_tracking_history', 'order_tracking_raw') ORDER BY 1"
        ).fetchall()
        return {name: warehouse.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall() for (name,) in tables}


def dev_tables(world: World) -> dict[str, int]:
    """Rows of the tables that SQLMesh keeps for dev environments: proof that something was evaluated there."""
    with duckdb.connect(str(world.warehouse_file)) as warehouse:
        tables = warehouse.execute(
            "SELECT table_schema || '.' || table_name FROM information_schema.tables "
            "WHERE ends_with(table_name, '__dev')"
        ).fetchall()
        return {name: warehouse.execute(f"SELECT COUNT(*) FROM {name}").fetchall()[0][0] for (name,) in tables}


def assert_evaluated_in_dev(world: World, *models: str) -> None:
    held = dev_tables(world)
    for model in models:
        assert any(model in name and rows for name, rows in held.items()), f"{model} was not evaluated in dev: {held}"


@pytest.mark.slow
def test_the_canaries_would_be_archived_and_trimmed_by_a_production_run(behind: World) -> None:
    before = outside_dev(behind)
    behind.cycle(LATER)
    after = outside_dev(behind)
    for mart in MARTS:
        assert 77 in {row[0] for row in before[f"order_tracking.{mart}"]}
        assert 77 not in {row[0] for row in after[f"order_tracking.{mart}"]}
    assert {name for name in after if after[name] != before.get(name)} >= {
        "order_tracking.mart_uni_tracking_info",
        "order_tracking.mart_ecs_order_info",
        "order_tracking.mart_uni_tracking_spath",
        "order_tracking_history.hist_uti_2025_h1",
        "order_tracking_history.hist_uti_2024_h2",
        "order_tracking_raw.uni_tracking_spath_raw",
    }


@pytest.mark.slow
def test_a_dev_plan_of_a_downstream_change_touches_only_dev(behind: World, project: Path) -> None:
    before = outside_dev(behind)
    edit(project, "order_status", STATUS, f"{STATUS} 1::INTEGER AS one,")
    told = plan(project, "dev", LATER)
    assert all(f"{mart} " in told for mart in MARTS), "the unchanged marts were evaluated"
    assert outside_dev(behind) == before
    behind.cycle(LATER)
    behind_marts(behind)


@pytest.mark.slow
def test_a_dev_plan_of_a_changed_mart_touches_only_dev(behind: World, project: Path) -> None:
    before = outside_dev(behind)
    for mart in MARTS:
        edit(project, mart, "tags (mart,", "owner another_team, tags (mart,")
        edit(project, mart, "FROM ranked", "FROM ranked /* changed */")
    edit(project, "mart_uni_tracking_info", "ranked.recency_rank = 1", "ranked.recency_rank < 2")
    plan(project, "dev", LATER)
    assert outside_dev(behind) == before
    assert_evaluated_in_dev(behind, *MARTS)


@pytest.mark.slow
def test_a_dev_run_touches_only_dev(behind: World, project: Path) -> None:
    edit(project, "order_status", STATUS, f"{STATUS} 1::INTEGER AS one,")
    plan(project, "dev", LATER - HOUR)
    before = outside_dev(behind)
    run_dev(project, LATER, LATER + DAY)
    assert outside_dev(behind) == before
    assert_evaluated_in_dev(behind, *MARTS)


@pytest.mark.slow
def test_a_dev_plan_on_a_fresh_warehouse_touches_only_dev(make_world: Callable[..., World], project: Path) -> None:
    world = make_world(planned=False)
    for order in range(1, 6):
        world.order(order, START - order * 60 * DAY)
    extract(world, START)  # the rows land, and production is never planned
    before = outside_dev(world)
    assert len(before["order_tracking_raw.uni_tracking_spath_raw"]) == 5
    plan(project, "dev", START + HOUR, start="2025-08-30")  # without one SQLMesh begins a preview yesterday
    run_dev(project, START + DAY)
    assert outside_dev(world) == before
    world.cycle(START + 2 * HOUR)
    world.cycle(START + 3 * HOUR)
    world.assert_whole()


@pytest.mark.slow
def test_a_production_plan_of_a_changed_mart_archives_nothing_by_itself(behind: World, project: Path) -> None:
    """A plan that migrates a mart also runs its statements, on a throw-away table."""
    before = outside_dev(behind)
    for mart in MARTS:
        edit(project, mart, "tags (mart,", "owner another_team, tags (mart,")
    edit(project, "mart_uni_tracking_info", "ranked.recency_rank = 1", "ranked.recency_rank < 2")
    plan(project, "prod", LATER - HOUR)
    assert outside_dev(behind) == before


@pytest.mark.slow
def test_a_promoted_plan_that_migrates_touches_nothing_but_the_marts_columns(behind: World, project: Path) -> None:
    before = outside_dev(behind)
    mart = f"order_tracking.{MARTS[0]}"
    columns = "  @typed_columns(uti, ranked)"
    edit(project, MARTS[0], f"{columns}\n", f"{columns},\n  7::INTEGER AS pieces\n")
    plan(project, "dev", LATER)
    assert outside_dev(behind) == before
    assert_evaluated_in_dev(behind, MARTS[0])
    plan(project, "prod", LATER - HOUR)
    after = outside_dev(behind)
    assert after.pop(mart) == [(*row, None) for row in before.pop(mart)]
    assert after == before


@pytest.mark.slow
def test_a_mart_cannot_be_restated(make_world: Callable[..., World], project: Path) -> None:
    """SQLMesh would widen the restatement of a day to the whole mart, and build it anew from what raw still holds."""
    world = make_world()
    world.order(1, START)
    world.cycle()
    world.order(2, LATER)
    world.cycle(LATER + HOUR)
    world.cycle()
    before = outside_dev(world)
    assert len(before["order_tracking_raw.uni_tracking_info_raw"]) == 1, "raw has forgotten the first"
    assert len(before["order_tracking.mart_uni_tracking_info"]) == 2
    plan(project, "prod", world.now, restate_models=[f"order_tracking.{mart}" for mart in MARTS])
    assert outside_dev(world) == before


def behind_marts(world: World) -> None:
    """The production cycle after a dev plan does its whole work."""
    assert {1, 9, 10} == set(world.uti())
    assert {3, 77} == {row[1] for row in world.history("uti")}


def test_without_sqlmeshs_knowledge_of_what_is_written_nothing_runs() -> None:
    """The closure that macros/production.py reads is private: should it go away, every evaluation must fail."""

    class Evaluator:
        @staticmethod
        def _resolve_tables(expression: Any) -> Any:
            return expression

    with pytest.raises(SQLMeshError, match="does not tell whether an evaluation writes production"):
        deployability(Evaluator())  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_dev_plan_of_a_changed_owner_never_writes_production(behind: World, project: Path) -> None:
    """Where metadata alone changed, SQLMesh lets the dev environment do what production has left to do."""
    before = outside_dev(behind)
    for mart in MARTS:
        edit(project, mart, "tags (mart,", "owner another_team, tags (mart,")
    with pytest.raises(RuntimeError, match="environment dev would write"):
        plan(project, "dev", LATER)
    assert outside_dev(behind) == before
    behind.cycle(LATER)
    behind_marts(behind)
    plan(project, "dev", LATER)  # production has nothing left to do


@pytest.mark.slow
def test_a_changed_owner_in_production_leaves_dev_harmless(behind: World, project: Path) -> None:
    for mart in MARTS:
        edit(project, mart, "tags (mart,", "owner another_team, tags (mart,")
    plan(project, "prod", LATER - HOUR)
    before = outside_dev(behind)
    edit(project, "order_status", STATUS, f"{STATUS} 1::INTEGER AS one,")
    with pytest.raises(RuntimeError, match="environment dev would write"):
        plan(project, "dev", LATER)
    assert outside_dev(behind) == before
    behind.cycle(LATER)
    behind_marts(behind)


@pytest.mark.slow
def test_a_dev_plan_of_a_mart_that_is_not_forward_only_touches_only_dev(behind: World, project: Path) -> None:
    before = outside_dev(behind)
    edit(project, "mart_uni_tracking_info", "    forward_only TRUE,\n", "")
    edit(project, "mart_uni_tracking_info", "ranked.recency_rank = 1", "ranked.recency_rank < 2")
    plan(project, "dev", LATER, start="2025-09-05")
    assert outside_dev(behind) == before
    assert_evaluated_in_dev(behind, MARTS[0])
    plan(project, "another", LATER, start="2025-09-06")
    assert outside_dev(behind) == before
