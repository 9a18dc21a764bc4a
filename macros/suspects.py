"""Which orders the daily checks must judge: those that stand out where whole tables are compared, a part at a time.

One statement that compared everything would hold the keys of all tables at once. So the comparisons run before it, for
a range of order numbers each time, and the checks then judge the few orders that stood out. Order numbers grow with
time: where a table does too, most of it need not be read for a range of them.

At a tenth of peak volume, 400 MB of buffers: ranges 29 to 34 s of CPU, single statements 47 to 52 s and 1.5 GB on disk.
"""

from __future__ import annotations

import typing as t

from sqlglot import exp
from sqlmesh import macro

from macros.columns import columns_with_types
from macros.due import temporary
from macros.marts import ECS, HISTORY_SCHEMA, UTI, UTS, identity, mart_of
from macros.sql import columns_of, execute, sql_from_template, table_node
from macros.versions import older

SUSPECTS = "order_tracking_suspects"
SAMPLED = 92_821
"""One order number in so many is asked where ranges begin: a prime, whose multiples numbers that begin with a date meet
as often as others do. (Those of 100,003 they miss for weeks: powers of ten leave -3 and -30.)"""

RANGE = {"duckdb": 30, "redshift": 300}
"""So many of those make a range: 3M orders. On Redshift ten times as many: it has the memory, and its ecs, sorted by
partner, is read whole for each range."""

MOST_RANGES = 100

STATUS_AND_SCANS = """
    SELECT status.order_id FROM (SELECT order_id, update_time FROM uti WHERE :in_range) AS status
    LEFT JOIN (SELECT order_id, pathtime FROM uts WHERE :in_range) AS scan
      ON scan.order_id = status.order_id AND scan.pathtime >= status.update_time - :tolerance
    WHERE scan.order_id IS NULL OR scan.pathtime > status.update_time + :tolerance
"""
"""The newest scan has not the time of the status: there is none about that time, or a newer one."""

NOT_ONE_ROW_EACH = """
    SELECT held.order_id FROM (
      SELECT order_id, 1 AS status, NULL::INTEGER AS metadata FROM uti WHERE :in_range
      UNION ALL SELECT order_id, NULL::INTEGER, 1 FROM ecs WHERE :in_range
    ) AS held
    GROUP BY held.order_id HAVING COUNT(held.status) <> 1 OR COUNT(held.metadata) <> 1
"""
"""A status without metadata, or the other way round, or more than one row of either."""

ACTIVE_AND_ARCHIVED = """
    SELECT mart.order_id FROM (SELECT order_id FROM mart WHERE :in_range) AS mart
    JOIN (SELECT order_id FROM archived WHERE :in_range) AS archived ON archived.order_id = mart.order_id
"""
"""Both in a mart and in its history."""

LANDED_BUT_MISSING = """
    SELECT landed.order_id FROM (SELECT :columns FROM landed WHERE :in_range) AS landed
    LEFT JOIN (SELECT :columns FROM mart WHERE :in_range) AS mart ON mart.order_id = landed.order_id
    LEFT JOIN (SELECT :columns FROM archived WHERE :in_range) AS archived ON archived.order_id = landed.order_id
    WHERE (mart.order_id IS NULL OR :mart_is_older) AND (archived.order_id IS NULL OR :archived_is_older)
"""
"""Neither a mart nor its history holds what landed, or a newer version."""


@macro()
def find_suspects(evaluator):  # type: ignore[no-untyped-def]
    """Before the daily checks: put the orders that they must judge in a temporary table.

    It reads what the checks themselves read, in dev environments too, and changes nothing else. In dry creates (which
    have no snapshot at hand) the table stays empty: SQLMesh tries the query then.
    """
    if evaluator.locals.get("runtime_stage") in ("creating", "evaluating"):
        engine = evaluator.engine_adapter
        execute(engine, no_suspects())
        if evaluator.locals.get("snapshot") is not None:
            marts = {mart: evaluator.resolve_table(name) for mart, name in (("uti", UTI), ("ecs", ECS), ("uts", UTS))}
            ages = {alias: identity(mart_of(alias), columns_with_types(evaluator, alias)) for alias in ("uti", "ecs")}
            starts = range_starts(marts["uti"], engine)
            tolerance = int(evaluator.var("mismatch_tolerance_seconds"))
            for start, end in zip([None, *starts], [*starts, None], strict=True):
                execute(engine, comparisons(marts, ages, reach(start, end), tolerance))
    return []


def no_suspects() -> list[exp.Expr]:
    """The statements that make the temporary table, empty."""
    return temporary(SUSPECTS, exp.select(exp.cast(exp.null(), "BIGINT").as_("order_id")).where(exp.false()))


def comparisons(
    marts: dict[str, str], ages: dict[str, list[str]], in_range: exp.Expr, tolerance: int
) -> list[exp.Expr]:
    """The statements that put the orders of a range that stand out in the temporary table.

    Args:
        marts: uti, ecs, uts -> the mart's table.
        ages: uti, ecs -> the columns that tell a version's age.
        in_range: The condition that an order's number lies in the range.
        tolerance: By so many seconds a status and its newest scan may differ.
    """
    found = [
        sql_from_template(query, marts, in_range=in_range, tolerance=tolerance)
        for query in (STATUS_AND_SCANS, NOT_ONE_ROW_EACH)
    ]
    for alias, age in ages.items():
        tables = {
            "mart": marts[alias],
            "archived": f"{HISTORY_SCHEMA}.hist_{alias}_all",
            "landed": mart_of(alias).raw,
        }
        missing = {f"{held}_is_older": older(held, "landed", age, mart_of(alias)) for held in ("mart", "archived")}
        columns = columns_of(["order_id", *age])
        found.append(sql_from_template(ACTIVE_AND_ARCHIVED, tables, in_range=in_range))
        found.append(sql_from_template(LANDED_BUT_MISSING, tables, in_range=in_range, columns=columns, **missing))
    into = exp.Schema(this=table_node(SUSPECTS), expressions=[exp.to_identifier("order_id")])
    return [exp.Insert(this=into.copy(), expression=query) for query in found]


def range_starts(uti: str, engine: t.Any) -> list[int]:
    """The order numbers at which ranges begin, but the first; few orders have none. Archived orders count too."""
    sample = sql_from_template(
        """
        SELECT order_id FROM uti WHERE order_id % :sampled = 0
        UNION ALL SELECT order_id FROM archived WHERE order_id % :sampled = 0
        """,
        {"uti": uti, "archived": f"{HISTORY_SCHEMA}.hist_uti_all"},
        sampled=SAMPLED,
    )
    orders = sorted(int(order) for (order,) in engine.fetchall(sample))
    step = max(RANGE[engine.dialect], len(orders) // MOST_RANGES)
    return sorted({*orders[step::step]})


def reach(start: int | None, end: int | None) -> exp.Expr:
    """The condition that an order's number lies in a half-open range; None is no bound.

    Example:
        >>> reach(10, None).sql()
        'order_id >= 10'
    """
    order = exp.column("order_id")
    bounds: list[exp.Expr] = [order >= start] if start is not None else []
    bounds += [order < end] if end is not None else []
    return exp.and_(*bounds) if bounds else exp.true()
