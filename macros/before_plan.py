"""Before a plan changes anything: the net under those who call `sqlmesh` without this project's commands."""

from __future__ import annotations

from sqlglot import exp
from sqlmesh import macro
from sqlmesh.utils.errors import SQLMeshError

from macros.ownership import objects_query, shows_versioned_table


@macro()
def refuse_taken_names(evaluator):  # type: ignore[no-untyped-def]
    """Fail where SQLMesh would drop what it did not make, to put a view of its own under the name.

    Only a plan does that. So a run, which comes every quarter-hour, does not read the catalog and has no statement: it
    would be three on Redshift. (SQLMesh's log says that there is none.) Where nothing is taken a plan gets one that
    does nothing.
    """
    nothing = exp.select("1")
    if evaluator.runtime_stage != "before_all":
        return nothing
    environment, engine = evaluator.this_env, evaluator.engine_adapter
    if str(engine.correlation_id or "").startswith("SQLMESH_RUN"):
        return []
    models = {}
    for view in evaluator.locals.get("views", []):
        schema, name = view.replace('"', "").lower().split(".")[-2:]
        models[f"{schema}.{name}"] = f"{schema.removesuffix(f'__{environment}')}.{name}"
    schemas = {name.split(".")[0] for name in models}
    rows = engine.fetchall(objects_query(schemas, engine.dialect == "redshift")) if schemas else []
    held = {f"{schema}.{name}".lower(): (kind, definition) for schema, name, kind, definition, *_ in rows}
    taken = [
        f"{name} is a {kind}"
        for name, (kind, definition) in sorted(held.items())
        if name in models and not (kind == "view" and shows_versioned_table(definition or "", models[name]))
    ]
    if taken:
        raise SQLMeshError(
            f"SQLMesh did not make what stands under names of this project: {', '.join(taken)}. A plan would drop it; "
            "nothing was made or changed. `make plan` says how to make room (docs/recovery.md, 'A name is taken')."
        )
    return nothing
