"""SQLMesh as it comes: whole cycles without any of the tests' own speed, and what that speed must not change."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from sqlglot import exp, parse_one
from sqlmesh.core import macros
from sqlmesh.core.context import Context
from sqlmesh.core.model import definition as model_definition
from sqlmesh.core.node import IntervalUnit
from sqlmesh.core.snapshot import definition
from sqlmesh.utils.metaprogramming import Executable, ExecutableKind

from extract.errors import CycleFailed
from extract.settings import PROJECT
from tests.conftest import START
from tests.marts.test_schema_change import Copy, copy  # noqa: F401  (a fixture)
from tests.support import fast_sqlmesh
from tests.support.redshift_world import RedshiftWorld
from tests.support.world import DAY, HOUR, MINUTE, World

AGED = START - 200 * DAY


@pytest.mark.usefixtures("plain_sqlmesh")
def test_whole_cycles_with_sqlmesh_as_it_comes(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The first load, an ordinary cycle, an order that comes back, a night with checks; one context a cycle.

    Nothing is logged that cron would mail.
    """
    opened = []
    original = Context.__init__
    monkeypatch.setattr(Context, "__init__", lambda self, *a, **o: opened.append(self) or original(self, *a, **o))
    world = make_world(planned=False)
    whole_life(world)
    assert len(opened) == 4 and len(set(map(id, opened))) == 4
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.slow
@pytest.mark.usefixtures("plain_sqlmesh")
def test_a_whole_cycle_on_redshift_with_sqlmesh_as_it_comes(
    make_redshift_world: Callable[..., RedshiftWorld],
) -> None:
    world = make_redshift_world(planned=False)
    world.order(1, AGED)
    world.order(2, START)
    world.cycle()
    assert (set(world.uti()), world.history("uti")) == ({2}, [("2025_h1", 1)])
    world.assert_whole()


def whole_life(world: World) -> None:
    world.order(1, AGED)
    world.order(2, START)
    world.cycle()
    assert (set(world.uti()), world.history("uti")) == ({2}, [("2025_h1", 1)])
    world.scan(2, START + 20 * MINUTE)
    world.cycle()
    world.scan(1, START + 40 * MINUTE)
    world.cycle(START + HOUR)
    assert set(world.uti()) == {1, 2}
    world.cycle(START + DAY + 20 * MINUTE)
    assert [row[0] for row in world.exceptions()] == ["order_without_ecs"], "its metadata lies in history"
    world.assert_whole()


def test_nothing_of_sqlmesh_is_replaced_by_the_commands() -> None:
    """No function, class or method that SQLMesh and sqlglot show was written here, once all commands are loaded."""
    code = """
import importlib, pkgutil, sys, types
import scripts
for module in pkgutil.walk_packages(scripts.__path__, "scripts."):
    importlib.import_module(module.name)
from sqlmesh.core import constants
from sqlmesh.core.context import Context

def ours(value):
    return str(getattr(value, "__module__", "")).split(".")[0] in ("scripts", "extract", "macros", "bench")

for module, contents in list(sys.modules.items()):
    if module.split(".")[0] in ("sqlmesh", "sqlglot"):
        for name, value in list(vars(contents).items()):
            members = list(vars(value).items()) if isinstance(value, type) else []
            for label, each in [(name, value), *((f"{name}.{member}", each) for member, each in members)]:
                if isinstance(each, (types.FunctionType, type)) and ours(each):
                    print(f"{module}.{label}")
print(f"{constants.MAX_FORK_WORKERS} process")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == "1 process\n"


@pytest.mark.slow
def test_a_plan_of_another_process_is_what_the_next_cycle_of_this_one_runs(copy: Copy) -> None:  # noqa: F811
    world = copy.world
    world.order(1, START)
    copy.cycle("2025-09-01T00:20:00")  # its plan too is that of another process
    copy.edit("models/mart_uni_tracking_spath.sql", "first_arrival = 1", "first_arrival = 1 AND ranked.code <> 200")
    world.scan(1, START + 25 * MINUTE)
    world.cycle(START + 35 * MINUTE, project=copy.folder)
    times = "SELECT pathtime - ? FROM order_tracking.mart_uni_tracking_spath"
    assert (25 * MINUTE,) in world.query(times, START), "a run works with what was planned last"

    planned = copy.run("scripts.plan", "--yes", "--at", "2025-09-01T00:40:00")
    assert planned.returncode == 0, planned.stdout + planned.stderr
    world.scan(1, START + 55 * MINUTE)
    world.scan(1, START + 56 * MINUTE, code=300)
    world.cycle(START + HOUR + 5 * MINUTE, project=copy.folder)
    held = world.query(times, START)
    assert (56 * MINUTE,) in held and (55 * MINUTE,) not in held


def test_the_macros_of_a_model_are_prepared_once_a_process(world: World) -> None:
    world.order(1, START)
    world.cycle()
    prepared = fast_sqlmesh.prepared
    kept = len(prepared)
    assert model_definition.prepare_env is macros.prepare_env, "for the calls of signals they are prepared again"
    assert kept, "SQLMesh no longer prepares macros by this function: fast_sqlmesh.py saves nothing"
    world.scan(1, START + 10 * MINUTE)
    world.cycle()
    assert len(prepared) == kept


def test_other_code_of_the_same_names_is_prepared_anew() -> None:
    assert value_of("def answer(evaluator):\n    return 1") == 1
    assert value_of("def answer(evaluator):\n    return 2") == 2


def value_of(code: str) -> Any:
    python_env = {"answer": Executable(payload=code, kind=ExecutableKind.DEFINITION, name="answer")}
    return macros.MacroEvaluator(python_env=python_env).send("answer")


def test_no_positions_are_noted_in_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    assert noted_positions() == {}
    fast_sqlmesh.put(fast_sqlmesh.PLAIN, monkeypatch)
    assert noted_positions(), "sqlglot no longer notes positions by this function: fast_sqlmesh.py saves nothing"


def noted_positions() -> dict[str, Any]:
    return dict(next(parse_one("SELECT a").find_all(exp.Identifier)).meta)


@pytest.mark.slow
def test_a_failed_cycle_leaves_nothing_behind_for_the_next(world: World) -> None:
    world.order(1, START)
    world.cycle()
    world.order(2, world.now + HOUR)
    world.execute("ALTER TABLE order_tracking_history.order_tracking_exceptions RENAME last_seen_at TO seen")
    with pytest.raises(CycleFailed):
        world.cycle(world.now + DAY)  # the daily checks write that column
    world.execute("ALTER TABLE order_tracking_history.order_tracking_exceptions RENAME seen TO last_seen_at")
    world.cycle(world.now)
    world.assert_whole()


@pytest.mark.parametrize("unit", list(IntervalUnit))
@pytest.mark.parametrize("seconds", [0, 1, 899, 900, 86400, 86400 * 400 + 1])
def test_intervals_are_those_that_sqlmesh_would_count(unit: IntervalUnit, seconds: int) -> None:
    start = START * 1000
    counted = fast_sqlmesh.PLAIN_EXPAND_RANGE(start, start + seconds * 1000, unit)
    assert definition.expand_range(start, start + seconds * 1000, unit) == counted
