"""What a process keeps of SQLMesh between its cycles: nothing that another process could have changed meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from sqlglot import exp, parse_one
from sqlmesh.core import macros
from sqlmesh.core.model import definition as model_definition
from sqlmesh.core.node import IntervalUnit
from sqlmesh.core.snapshot import definition
from sqlmesh.utils.metaprogramming import Executable, ExecutableKind

from extract.errors import CycleFailed
from scripts.sqlmesh_session import add_up_intervals, forget_positions, prepare_macros_once
from tests.conftest import START
from tests.marts.test_schema_change import Copy, copy  # noqa: F401  (a fixture)
from tests.support.world import DAY, HOUR, MINUTE, World


def test_a_plan_of_another_process_is_what_the_next_cycle_of_this_one_runs(copy: Copy) -> None:  # noqa: F811
    world = copy.world
    world.order(1, START)
    copy.cycle("2025-09-01T00:20:00")  # its plan too is that of another process
    copy.edit("models/mart_uni_tracking_spath.sql", "  code::INTEGER AS code,", "  (code + 1)::INTEGER AS code,")
    world.scan(1, START + 25 * MINUTE)
    world.cycle(START + 35 * MINUTE, project=copy.folder)
    codes = "SELECT code FROM order_tracking.mart_uni_tracking_spath ORDER BY pathtime"
    assert world.query(codes) == [(100,), (200,)], "a run works with what was planned last"

    planned = copy.run("scripts.plan", "--yes", "--at", "2025-09-01T00:40:00")
    assert planned.returncode == 0, planned.stdout + planned.stderr
    world.scan(1, START + 55 * MINUTE)
    world.cycle(START + HOUR + 5 * MINUTE, project=copy.folder)
    assert world.query(codes)[-1] == (201,)


def test_the_macros_of_a_model_are_prepared_once_a_process(world: World) -> None:
    world.order(1, START)
    world.cycle()
    prepared = macros.prepare_env.prepared  # type: ignore[attr-defined]
    kept = len(prepared)
    assert model_definition.prepare_env is macros.prepare_env, "for the calls of signals they are prepared again"
    assert kept, "SQLMesh no longer prepares macros by this function: scripts/sqlmesh_session.py saves nothing"
    world.scan(1, START + 10 * MINUTE)
    world.cycle()
    assert len(prepared) == kept


def test_other_code_of_the_same_names_is_prepared_anew() -> None:
    prepare_macros_once()
    assert value_of("def answer(evaluator):\n    return 1") == 1
    assert value_of("def answer(evaluator):\n    return 2") == 2


def value_of(code: str) -> Any:
    python_env = {"answer": Executable(payload=code, kind=ExecutableKind.DEFINITION, name="answer")}
    return macros.MacroEvaluator(python_env=python_env).send("answer")


def test_no_positions_are_noted_in_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_positions()
    assert noted_positions() == {}
    monkeypatch.setattr(exp.Expression, "update_positions", exp.Expression.update_positions.original)  # type: ignore
    assert noted_positions(), (
        "sqlglot no longer notes positions by this function: scripts/sqlmesh_session.py saves nothing"
    )


def noted_positions() -> dict[str, Any]:
    return dict(next(parse_one("SELECT a").find_all(exp.Identifier)).meta)


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
    add_up_intervals()
    start = START * 1000
    counted = definition.expand_range.original(start, start + seconds * 1000, unit)  # type: ignore[attr-defined]
    assert definition.expand_range(start, start + seconds * 1000, unit) == counted
