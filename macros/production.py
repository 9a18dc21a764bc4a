"""Side effects belong to production: the guard in front of each mart's insert, and the one that post-statements pass.

It leans on two private facts of SQLMesh, because nothing else can: the environment and the deployability index.
"""

from __future__ import annotations

import datetime as dt
import inspect
import typing as t

from sqlglot import exp
from sqlmesh import macro
from sqlmesh.core.macros import MacroEvaluator
from sqlmesh.utils.errors import SQLMeshError

from macros.marts import RAW_SCHEMA, mart_of
from macros.periods import half_open
from macros.sql import landed_within, sql_from_template, timestamp

NOTHING_DONE = "nothing was archived or trimmed. Go back to the pinned version, or adapt macros/production.py."


@macro()
def guard_production(evaluator):  # type: ignore[no-untyped-def]
    """Before the insert: fail where SQLMesh is about to write a mart that production uses as it must not be written."""
    snapshot = snapshot_of_written_table(evaluator)
    if snapshot is not None:
        refuse_write_from_elsewhere(snapshot, environment_name())
        refuse_rebuild_from_trimmed_raw(
            snapshot, evaluator.engine_adapter, *half_open(evaluator.locals["start_dt"], evaluator.locals["end_dt"])
        )
    return []


def refuse_write_from_elsewhere(snapshot, environment):  # type: ignore[no-untyped-def]
    """A dev environment has a table of its own, but for a mart whose last change was of metadata alone (an owner, say).

    Such a one SQLMesh shares, and where production has an interval to do, the plan of the dev environment would do it.
    """
    if environment != "prod":
        raise SQLMeshError(
            f"The environment {environment} would write {snapshot.name} of production; nothing was changed. Run the "
            "cycle, so that production has nothing left to do, and plan again; a mart must stay forward-only "
            "(docs/recovery.md, 'A dev environment would write production')."
        )


def refuse_rebuild_from_trimmed_raw(snapshot, engine, start, end):  # type: ignore[no-untyped-def]
    """A mart must not be built anew from less than has landed, nor what of it landed from `start` to `end`.

    Without a recorded interval SQLMesh replaces the whole table by what raw holds from `start` to `end`, and of the
    scans each interval that it does not know to be done. That is right while raw is whole, and the loss of everything
    older after raw was trimmed (a state that is lost or from an old backup, a change that is not forward-only).
    """
    source = mart_of(snapshot.model.name).raw
    since = f" since {dt.datetime.fromtimestamp(start, dt.UTC):%Y-%m-%d %H:%M} UTC" if snapshot.intervals else ""
    before = exp.column("landed_at") < timestamp(end)
    interval = landed_within(start, end)
    landed, held = engine.fetchone(
        sql_from_template(
            """
            SELECT logged.rows_landed, held.rows_held
            FROM (
              SELECT COALESCE(SUM(log.rows_landed), 0) AS rows_landed FROM log WHERE log.table_name = :name AND :logged
            ) AS logged
            CROSS JOIN (SELECT COUNT(*) AS rows_held FROM raw WHERE :interval) AS held
            """,
            {"log": f"{RAW_SCHEMA}.extract_log", "raw": source},
            name=source.split(".")[-1].removesuffix("_raw"),
            logged=interval if snapshot.intervals else before,
            interval=interval,
        )
    )
    if int(held) < int(landed):
        raise SQLMeshError(
            f"{snapshot.name} would be built anew{since} from {source}, which lacks {int(landed) - int(held)} of the "
            f"{int(landed)} rows that landed; nothing was changed. Restore SQLMesh's state, or make the change "
            "forward-only (docs/recovery.md, 'A mart would be rebuilt')."
        )


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
