"""Side effects belong to production: the one guard that every post-statement passes."""

from __future__ import annotations

import inspect
import typing as t

from sqlglot import exp
from sqlmesh.core.macros import MacroEvaluator
from sqlmesh.utils.errors import SQLMeshError

NOTHING_DONE = "nothing was archived or trimmed. Go back to the pinned version, or adapt macros/production.py."


def production_snapshot(evaluator: MacroEvaluator) -> t.Any:
    """The model's snapshot when this evaluation is one of production and writes its table, else None.

    None while the project loads, in unit tests, in dry creates (no snapshot at hand), where a plan migrates a mart on
    a throw-away table, and in dev environments: there SQLMesh may insert into a dev table and yet resolve
    `@this_model` to the production one, so what counts is where the rows of this evaluation go.
    """
    snapshot = snapshot_of_written_table(evaluator)
    return snapshot if snapshot is not None and environment_name() == "prod" else None


def snapshot_of_written_table(evaluator: MacroEvaluator) -> t.Any:
    """The model's snapshot when the rows of this evaluation go to the table that production uses, else None."""
    snapshot = evaluator.locals.get("snapshot")
    if snapshot is None or not deployability(evaluator).is_deployable(snapshot):
        return None
    this_model = exp.to_table(evaluator.locals["this_model"], dialect=evaluator.dialect)
    production_table = exp.to_table(snapshot.table_name(is_deployable=True), dialect=evaluator.dialect)
    return snapshot if this_model.name == production_table.name else None


def environment_name() -> str:
    """The environment that SQLMesh evaluates for: a local of its scheduler, which hands it to no macro."""
    frame = inspect.currentframe()
    while frame is not None:
        environment = frame.f_locals.get("environment_naming_info")
        if environment is not None:
            return str(environment.name)
        frame = frame.f_back
    raise SQLMeshError(f"This version of SQLMesh does not tell the environment of an evaluation; {NOTHING_DONE}")


def deployability(evaluator: MacroEvaluator) -> t.Any:
    """What SQLMesh knows of which tables this evaluation writes.

    It is handed to statements only inside a closure. Should an upgrade move it, every evaluation fails here, loudly,
    before it changes anything.
    """
    captured = inspect.getclosurevars(evaluator._resolve_tables).nonlocals if evaluator._resolve_tables else {}
    if captured.get("deployability_index") is None:
        raise SQLMeshError(
            f"This version of SQLMesh does not tell whether an evaluation writes production; {NOTHING_DONE}"
        )
    return captured["deployability_index"]
