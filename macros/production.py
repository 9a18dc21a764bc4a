"""Side effects belong to production: the one guard that every post-statement passes."""

from __future__ import annotations

import inspect
import typing as t

from sqlglot import exp
from sqlmesh.core.macros import MacroEvaluator
from sqlmesh.utils.errors import SQLMeshError


def production_snapshot(evaluator: MacroEvaluator) -> t.Any:
    """The model's snapshot when this evaluation writes the production table, else None.

    None while the project loads, in unit tests, in dry creates (no snapshot at hand) and in dev environments: there
    SQLMesh may insert into a dev table and yet resolve `@this_model` to the production one, so what counts is
    where the rows of this evaluation went. A model that production does not hold yet (the very first plan, or a dev
    plan on an empty warehouse, which look alike) only loads; its retention begins with the cycle after.
    """
    snapshot = evaluator.locals.get("snapshot")
    if snapshot is None:
        return None
    if snapshot.unpaused_ts is None and not snapshot.previous_versions:
        return None
    if not deployability(evaluator).is_deployable(snapshot):
        return None
    this_model = exp.to_table(evaluator.locals["this_model"], dialect=evaluator.dialect)
    production_table = exp.to_table(snapshot.table_name(is_deployable=True), dialect=evaluator.dialect)
    return snapshot if this_model.name == production_table.name else None


def deployability(evaluator: MacroEvaluator) -> t.Any:
    """What SQLMesh knows of which tables this evaluation writes.

    It is handed to statements only inside a closure. Should an upgrade move it, every evaluation fails here, loudly,
    before it changes anything.
    """
    captured = inspect.getclosurevars(evaluator._resolve_tables).nonlocals if evaluator._resolve_tables else {}
    if captured.get("deployability_index") is None:
        raise SQLMeshError(
            "This version of SQLMesh does not tell whether an evaluation writes production; nothing was archived or "
            "trimmed. Go back to the pinned version, or adapt macros/production.py."
        )
    return captured["deployability_index"]
