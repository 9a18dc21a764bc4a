"""The batch of an evaluation: what landed in its interval."""

from __future__ import annotations

from sqlglot import exp
from sqlmesh import macro

from macros.marts import mart_of
from macros.periods import half_open
from macros.sql import landed_within, sql_from_template, table_node


@macro()
def oldest_in_batch(evaluator, mart: exp.Column):  # type: ignore[no-untyped-def]
    """The oldest event time of the batch (epoch seconds): a literal when the mart is evaluated, NULL for no rows.

    Redshift skips blocks for a literal; nothing says that it does for a subquery. While SQLMesh loads the project, and
    in unit tests, it is the subquery that finds it in the model's `batch`.

    Example:
        >>> from sqlglot import exp
        >>> from sqlmesh.core.macros import MacroEvaluator
        >>> oldest_in_batch(MacroEvaluator("redshift"), exp.column("uti")).sql("redshift")
        '(SELECT MIN(batch.update_time) AS oldest FROM batch)'
    """
    time = mart_of(mart.name).event_time
    if evaluator.runtime_stage != "evaluating":
        return exp.select(exp.func("MIN", exp.column(time, "batch")).as_("oldest")).from_("batch").subquery()
    start, end = half_open(evaluator.locals["start_dt"], evaluator.locals["end_dt"])
    query = exp.select(exp.func("MIN", exp.column(time)).as_("oldest")).from_(table_node(mart_of(mart.name).raw))
    (oldest,) = evaluator.engine_adapter.fetchone(query.where(landed_within(start, end)))
    return sql_from_template("CAST(:oldest AS BIGINT)", {}, oldest=exp.null() if oldest is None else int(oldest))
