"""Which orders the daily checks must judge: those that stand out where whole tables are compared, a part at a time.

One statement that compared everything would hold the keys of all tables at once. So the comparisons run before it, for
a range of order numbers each time, and the checks then judge the few orders that stood out. Order numbers grow with
time: where a table does too, most of it need not be read for a range of them.
"""

from __future__ import annotations

import functools

from sqlglot import exp
from sqlmesh import macro

from macros.columns import columns_with_types
from macros.due import temporary
from macros.marts import ECS, HISTORY_SCHEMA, RAW_SCHEMA, UTI, UTS, identity, mart_of
from macros.sql import columns_of, execute, statement, table_node
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
    SELECT uti.order_id FROM (SELECT order_id, update_time FROM all_uti WHERE :in_range) AS uti
    LEFT JOIN (SELECT order_id, pathtime FROM all_uts WHERE :in_range) AS uts
      ON uts.order_id = uti.order_id AND uts.pathtime >= uti.update_time
    WHERE uts.order_id IS NULL OR uts.pathtime > uti.update_time
"""
"""The newest scan has not the time of the status: there is none at that time, or a newer one."""

PAIRS = """
    SELECT COUNT(*), COUNT(uti.order_id), COUNT(ecs.order_id),
      (SELECT COUNT(*) FROM all_uti WHERE :in_range), (SELECT COUNT(*) FROM all_ecs WHERE :in_range)
    FROM (SELECT order_id FROM all_uti WHERE :in_range) AS uti
    FULL JOIN (SELECT order_id FROM all_ecs WHERE :in_range) AS ecs ON ecs.order_id = uti.order_id
"""
"""How many pairs there are of a status and a row of metadata, with those that are alone, and how many rows. Counting
takes a third of the time of grouping, and tells whether there is anything to look for."""

ALONE = """
    SELECT COALESCE(uti.order_id, ecs.order_id) FROM (SELECT order_id FROM all_uti WHERE :in_range) AS uti
    FULL JOIN (SELECT order_id FROM all_ecs WHERE :in_range) AS ecs ON ecs.order_id = uti.order_id
    WHERE uti.order_id IS NULL OR ecs.order_id IS NULL
"""
"""A status without metadata, or the other way round."""

DOUBLED = """
    SELECT held.order_id FROM (
      SELECT order_id, 1 AS status, NULL::INTEGER AS metadata FROM all_uti WHERE :in_range
      UNION ALL SELECT order_id, NULL::INTEGER, 1 FROM all_ecs WHERE :in_range
    ) AS held
    GROUP BY held.order_id HAVING COUNT(held.status) > 1 OR COUNT(held.metadata) > 1
"""
"""More than one status, or more than one row of metadata."""

ANY = "SELECT order_id FROM asked WHERE :in_range LIMIT 1"

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
        tables = {
            "all_uti": evaluator.resolve_table(UTI),
            "all_ecs": evaluator.resolve_table(ECS),
            "all_uts": evaluator.resolve_table(UTS),
            "hist_uti": f"{HISTORY_SCHEMA}.hist_uti_all",
            "hist_ecs": f"{HISTORY_SCHEMA}.hist_ecs_all",
            "raw_uti": f"{RAW_SCHEMA}.uni_tracking_info_raw",
            "raw_ecs": f"{RAW_SCHEMA}.ecs_order_info_raw",
        }
        ages = {alias: identity(mart_of(alias), columns_with_types(evaluator, alias)) for alias in ("uti", "ecs")}
        looks = evaluator.locals.get("snapshot") is not None
        engine = evaluator.engine_adapter
        execute(engine, no_suspects())
        if looks:
            compare(tables, ages, range_starts(tables, engine), engine)
    return []


def no_suspects():  # type: ignore[no-untyped-def]
    """The statements that make the temporary table, empty."""
    return temporary(SUSPECTS, exp.select(exp.cast(exp.null(), "BIGINT").as_("order_id")).where(exp.false()))


def range_starts(tables, engine):  # type: ignore[no-untyped-def]
    """The order numbers at which ranges begin, but the first; few orders have none. Archived orders count too."""
    sample = statement(
        """
        SELECT order_id FROM all_uti WHERE order_id % :sampled = 0
        UNION ALL SELECT order_id FROM hist_uti WHERE order_id % :sampled = 0
        """,
        tables,
        sampled=SAMPLED,
    )
    orders = sorted(int(order) for (order,) in engine.fetchall(sample))
    step = max(RANGE[engine.dialect], len(orders) // MOST_RANGES)
    return sorted({*orders[step::step]})


def compare(tables, ages, starts, engine):  # type: ignore[no-untyped-def]
    """Puts the orders that stand out in the temporary table: every comparison, a range of order numbers at a time."""
    into = exp.Schema(this=table_node(SUSPECTS), expressions=[exp.to_identifier("order_id")])
    for start, end in zip([None, *starts], [*starts, None], strict=True):
        here = functools.partial(statement, in_range=reach(start, end))
        found = [here(STATUS_AND_SCANS, tables)]
        alone, doubled = unpaired(*engine.fetchone(here(PAIRS, tables)))
        found += [here(ALONE, tables)] if alone else []
        found += [here(DOUBLED, tables)] if doubled else []
        for short, age in ages.items():
            alike = {
                "mart": tables[f"all_{short}"],
                "archived": tables[f"hist_{short}"],
                "landed": tables[f"raw_{short}"],
            }
            if engine.fetchone(here(ANY, {"asked": alike["archived"]})):
                found.append(here(ACTIVE_AND_ARCHIVED, alike))
            if engine.fetchone(here(ANY, {"asked": alike["landed"]})):
                missing = {f"{held}_is_older": older(held, "landed", age) for held in ("mart", "archived")}
                found.append(here(LANDED_BUT_MISSING, alike, columns=columns_of(["order_id", *age]), **missing))
        execute(engine, [exp.Insert(this=into.copy(), expression=query) for query in found])


def unpaired(joined, with_status, with_metadata, statuses, metadata):  # type: ignore[no-untyped-def]
    """Whether any row is alone, and whether any that is not is there more than once, by the counts of PAIRS.

    An order with a statuses and b rows of metadata makes a * b pairs: where the pairs are as many as the statuses and
    as many as the rows of metadata that have a partner, every a and every b is 1.

    Example:
        >>> unpaired(2, 2, 2, 2, 2)
        (False, False)
        >>> unpaired(3, 3, 2, 3, 2)
        (True, False)
        >>> unpaired(2, 2, 2, 2, 1)
        (False, True)
    """
    status_alone, metadata_alone = joined - with_metadata, joined - with_status
    pairs = joined - status_alone - metadata_alone
    doubled = not pairs == statuses - status_alone == metadata - metadata_alone
    return joined != pairs, doubled


def reach(start, end):  # type: ignore[no-untyped-def]
    """The condition that an order's number lies in a half-open range; None is no bound.

    Example:
        >>> reach(10, None).sql()
        'order_id >= 10'
    """
    order = exp.column("order_id")
    bounds = [order >= start] if start is not None else []
    bounds += [order < end] if end is not None else []
    return exp.and_(*bounds) if bounds else exp.true()
