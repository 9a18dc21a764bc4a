"""Which orders the daily checks must judge: those that stand out where whole tables are compared, a part at a time.

One statement that compared everything would hold the keys of all tables at once. So the comparisons run before it, for
a quarter of the orders each time, and the checks then judge the few orders that stood out.
"""

from __future__ import annotations

from sqlglot import exp
from sqlmesh import macro

from macros.marts import HISTORY_SCHEMA, UTI
from macros.post_statements import execute
from macros.retention import temporary
from macros.sql import statement, table_node

SUSPECTS = "order_tracking_suspects"
ECS = "order_tracking.mart_ecs_order_info"
UTS = "order_tracking.mart_uni_tracking_spath"
PARTS = 4

COMPARISONS = (
    # The newest scan has not the time of the status: there is none at that time, or a newer one.
    """
    SELECT uti.order_id FROM (SELECT order_id, update_time FROM all_uti WHERE order_id % :parts = :part) AS uti
    LEFT JOIN (SELECT order_id, pathtime FROM all_uts WHERE order_id % :parts = :part) AS uts
      ON uts.order_id = uti.order_id AND uts.pathtime >= uti.update_time
    WHERE uts.order_id IS NULL OR uts.pathtime > uti.update_time
    """,
    # Not one status and one row of metadata: either is missing, or there twice.
    """
    SELECT held.order_id FROM (
      SELECT order_id, 1 AS status, NULL::INTEGER AS metadata FROM all_uti WHERE order_id % :parts = :part
      UNION ALL SELECT order_id, NULL, 1 FROM all_ecs WHERE order_id % :parts = :part
    ) AS held
    GROUP BY held.order_id HAVING COUNT(held.status) <> 1 OR COUNT(held.metadata) <> 1
    """,
    # Both in a mart and in its history.
    """
    SELECT uti.order_id FROM (SELECT order_id FROM all_uti WHERE order_id % :parts = :part) AS uti
    JOIN (SELECT order_id FROM hist_uti WHERE order_id % :parts = :part) AS archived
      ON archived.order_id = uti.order_id
    """,
    """
    SELECT ecs.order_id FROM (SELECT order_id FROM all_ecs WHERE order_id % :parts = :part) AS ecs
    JOIN (SELECT order_id FROM hist_ecs WHERE order_id % :parts = :part) AS archived
      ON archived.order_id = ecs.order_id
    """,
)


@macro()
def look_for_suspects(evaluator):  # type: ignore[no-untyped-def]
    """Before the daily checks: put the orders that they must judge in a temporary table.

    It reads what the checks themselves read, in dev environments too, and changes nothing else. In dry creates (which
    have no snapshot at hand) the table stays empty: SQLMesh tries the query then.
    """
    if evaluator.locals.get("runtime_stage") in ("creating", "evaluating"):
        tables = {
            "all_uti": evaluator.resolve_table(UTI),
            "all_ecs": evaluator.resolve_table(ECS),
            "all_uts": evaluator.resolve_table(UTS),
            "hist_uti": f"{HISTORY_SCHEMA}.hist_uti_all",
            "hist_ecs": f"{HISTORY_SCHEMA}.hist_ecs_all",
        }
        looks = evaluator.locals.get("snapshot") is not None
        execute(evaluator.engine_adapter, [*no_suspects(), *(suspects_statements(tables) if looks else [])])
    return []


def no_suspects():  # type: ignore[no-untyped-def]
    """The statements that make the temporary table, empty."""
    return temporary(SUSPECTS, exp.select(exp.cast(exp.null(), "BIGINT").as_("order_id")).where(exp.false()))


def suspects_statements(tables):  # type: ignore[no-untyped-def]
    """The statements that fill the temporary table: every comparison, a part of the orders at a time."""
    statements = []
    for part in range(PARTS):
        for comparison in COMPARISONS:
            found = statement(comparison, tables, parts=PARTS, part=part)
            into = exp.Schema(this=table_node(SUSPECTS), expressions=[exp.to_identifier("order_id")])
            statements.append(exp.Insert(this=into, expression=found))
    return statements
