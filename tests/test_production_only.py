"""Side effects belong to production (I8): whatever a dev environment does, nothing outside its own tables changes.

In each test rows stand in the production marts that a cycle would archive and trim at once, others have landed that
it would take in, and production is an interval behind.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from sqlmesh.core.console import NoopConsole, set_console
from sqlmesh.core.context import Context
from sqlmesh.utils.errors import SQLMeshError

from extract.config import PROJECT
from macros.production import deployability
from scripts.plan import main as plan
from tests.conftest import START
from tests.test_retention import AGED, EARLIER, physical
from tests.world import DAY, HOUR, World, moment

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
    canary = f"TIMESTAMP '{moment(START):%Y-%m-%d %H:%M:%S}'"
    world.execute(f"INSERT INTO {physical(world, MARTS[0])} VALUES (77, 'T77', 100, {AGED}, {canary})")
    world.execute(f"INSERT INTO {physical(world, MARTS[1])} VALUES (77, 1, {AGED}, {canary})")
    world.execute(f"INSERT INTO {physical(world, MARTS[2])} VALUES (77, {AGED}, 100, 0, {canary})")
    return world


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project, to be edited."""
    copy = tmp_path / "project"
    skipped = shutil.ignore_patterns(".*", "*.duckdb*", "logs", "build", "*.egg-info", "__pycache__", "tests")
    shutil.copytree(PROJECT, copy, ignore=skipped)
    return copy


def edit(project: Path, model: str, old: str, new: str) -> None:
    path = project / "models" / f"{model}.sql"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def plan_dev(project: Path, now: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scripts.plan.PROJECT", project)
        assert plan(["dev", "--yes", "--at", f"{moment(now):%Y-%m-%dT%H:%M:%S}"]) == 0


@contextmanager
def context(project: Path) -> Iterator[Context]:
    set_console(NoopConsole())
    with closing(Context(paths=str(project), gateway="local")) as opened:
        yield opened


def outside_dev(world: World) -> dict[str, Any]:
    """Every row and every column of what is not a dev table: marts, history, exceptions, raw, and which there are."""
    with duckdb.connect(str(world.warehouse_file)) as warehouse:
        tables = warehouse.execute(
            "SELECT table_schema || '.' || table_name FROM information_schema.tables "
            "WHERE table_schema IN ('order_tracking', 'order_tracking_history', 'order_tracking_raw') ORDER BY 1"
        ).fetchall()
        return {name: warehouse.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall() for (name,) in tables}


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


def test_a_dev_plan_of_a_downstream_change_touches_only_dev(behind: World, project: Path) -> None:
    before = outside_dev(behind)
    edit(project, "order_status", "status::INTEGER AS status,", "status::INTEGER AS status, 1::INTEGER AS one,")
    plan_dev(project, LATER)
    assert outside_dev(behind) == before
    behind.cycle(LATER)
    behind_marts(behind)


def test_a_dev_plan_of_a_changed_mart_touches_only_dev(behind: World, project: Path) -> None:
    before = outside_dev(behind)
    for mart in MARTS:
        edit(project, mart, "owner data_engineering", "owner another_team")
        edit(project, mart, "FROM ranked", "FROM ranked /* changed */")
    edit(project, "mart_uni_tracking_info", "ranked.newest_first = 1", "ranked.newest_first < 2")
    plan_dev(project, LATER)
    assert outside_dev(behind) == before


def test_a_dev_run_touches_only_dev(behind: World, project: Path) -> None:
    edit(project, "order_status", "status::INTEGER AS status,", "status::INTEGER AS status, 1::INTEGER AS one,")
    plan_dev(project, LATER - HOUR)
    before = outside_dev(behind)
    with context(project) as opened:
        now = moment(LATER + DAY)
        opened.run("dev", end=now, execution_time=now, skip_janitor=True)
        opened.run("dev", end=now + dt.timedelta(hours=1), execution_time=now + dt.timedelta(hours=1))
    assert outside_dev(behind) == before


def test_a_dev_plan_on_a_fresh_warehouse_touches_only_dev(
    make_world: Callable[..., World], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(planned=False)
    for order in range(1, 6):
        world.order(order, START - order * 60 * DAY)
    with monkeypatch.context() as patch:  # the rows land, and production is never planned
        patch.setattr("scripts.run_cycle._first_plan", lambda *_: None)
        patch.setattr("scripts.run_cycle._run", lambda *_: None)
        world.cycle(START)
    before = outside_dev(world)
    assert len(before["order_tracking_raw.uni_tracking_spath_raw"]) == 5
    with context(project) as opened:
        planned, now = moment(START + HOUR), moment(START + DAY)
        opened.plan("dev", start=moment(START - DAY), execution_time=planned, auto_apply=True, no_prompts=True)
        opened.run("dev", end=now, execution_time=now, skip_janitor=True)
    assert outside_dev(world) == before
    world.cycle(START + 2 * HOUR)
    world.cycle(START + 3 * HOUR)
    world.assert_whole()


def test_a_production_plan_of_a_changed_mart_archives_nothing_by_itself(behind: World, project: Path) -> None:
    """A plan that migrates a mart also runs its statements, on a throw-away table."""
    before = outside_dev(behind)
    for mart in MARTS:
        edit(project, mart, "owner data_engineering", "owner another_team")
    edit(project, "mart_uni_tracking_info", "ranked.newest_first = 1", "ranked.newest_first < 2")
    with context(project) as opened:
        opened.plan(execution_time=moment(LATER - HOUR), auto_apply=True, no_prompts=True)
    assert outside_dev(behind) == before


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
