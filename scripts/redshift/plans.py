"""Smoke probes of plans: the three-way join stays on its slices, and blocks are skipped by a literal."""

from __future__ import annotations

import uuid

from scripts.redshift.explain import NOTHING_MOVES, is_of_redshift, kinds_of
from scripts.redshift.probe import Cluster, NotAsNeeded, NotKnownHere, fetch_if_known, probe

JOINED = ("uti", "ecs", "uts")


@probe("A join of three tables laid out as the marts, on order_id, sends no row to another slice.")
def join_plan(cluster: Cluster) -> str:
    warehouse, schema = cluster.warehouse, cluster.schema
    for name in JOINED:
        warehouse.execute(f"CREATE TABLE {schema}.{name} (order_id BIGINT) DISTSTYLE KEY DISTKEY(order_id)")
        warehouse.execute(f"INSERT INTO {schema}.{name} (order_id) SELECT order_id FROM {schema}.loaded")
        warehouse.execute(f"ANALYZE {schema}.{name}")
    rows = warehouse.fetchall(
        f"EXPLAIN SELECT COUNT(*) FROM {schema}.uti JOIN {schema}.ecs ON ecs.order_id = uti.order_id "
        f"JOIN {schema}.uts ON uts.order_id = uti.order_id"
    )
    return stays_on_its_slices([str(row[0]) for row in rows])


def stays_on_its_slices(plan: list[str]) -> str:
    """Checks the lines of an EXPLAIN: every join DS_DIST_NONE."""
    if not is_of_redshift(plan):
        raise NotKnownHere("the server's plans are not Redshift's")
    kinds = kinds_of(plan)
    if kinds != {NOTHING_MOVES}:
        found = ", ".join(sorted(kinds)) or "no distribution"
        raise NotAsNeeded(f"the three-way join shows {found} instead of {NOTHING_MOVES}: its rows travel")
    return NOTHING_MOVES


@probe(
    "A range of the sort key whose bound is a literal skips the blocks outside of it; what a cycle reads of the "
    "marts depends on it.",
)
def pruning_by_literal(cluster: Cluster) -> str:
    read, whole = _rows_read(cluster, "moment >= 7900000")
    if read * 2 > whole:
        raise NotAsNeeded(f"a range of 1 % of the sort key read {read:,} of {whole:,} rows: blocks are not skipped")
    return f"{read:,} of {whole:,} rows read"


@probe(
    "The same if the bound is a subquery; the marts' queries have literals instead.",
    judges=False,
)
def pruning_by_subquery(cluster: Cluster) -> str:
    read, whole = _rows_read(cluster, f"moment >= (SELECT MIN(moment) FROM {cluster.schema}.bound)")
    return f"{read:,} of {whole:,} rows read: {'it skips blocks, too' if read * 2 <= whole else 'it skips none'}"


def _rows_read(cluster: Cluster, condition: str) -> tuple[int, int]:
    """Rows that a scan of eight million sorted ones read under a condition, and without one, as Redshift recorded."""
    warehouse, table = cluster.warehouse, f"{cluster.schema}.pruned"
    fetch_if_known(warehouse, "SELECT query_id FROM sys_query_detail LIMIT 1")
    _fill_once(cluster, table)
    warehouse.execute("SET enable_result_cache_for_session TO off")
    read = []
    for where in (condition, "moment >= 0"):
        marker = f"smoke_{uuid.uuid4().hex[:12]}"
        warehouse.fetchall(f"SELECT COUNT(*) AS {marker} FROM {table} WHERE {where}")
        ((rows,),) = fetch_if_known(
            warehouse,
            "SELECT SUM(detail.input_rows) FROM sys_query_detail AS detail JOIN sys_query_history AS history "
            f"ON history.query_id = detail.query_id WHERE history.query_text LIKE 'SELECT COUNT(*) AS {marker}%' "
            "AND detail.step_name = 'scan' AND detail.table_name LIKE '%pruned'",
        )
        if rows is None:
            raise NotKnownHere("Redshift has recorded no scan of it")
        read.append(int(str(rows)))
    return read[0], read[1]


def _fill_once(cluster: Cluster, table: str) -> None:
    """Eight million sorted rows, unencoded, so that every slice has several blocks of them."""
    warehouse, schema = cluster.warehouse, cluster.schema
    known = f"SELECT 1 FROM svv_tables WHERE table_schema = '{schema}' AND table_name = 'pruned'"
    if warehouse.fetchall(known):
        return
    thousand = f"(SELECT order_id FROM {schema}.loaded)"
    warehouse.execute(f"CREATE TABLE {table} (moment BIGINT ENCODE RAW) DISTSTYLE EVEN SORTKEY(moment)")
    warehouse.execute(
        f"INSERT INTO {table} (moment) SELECT a.order_id + 1000 * b.order_id + 1000000 * c.order_id "
        f"FROM {thousand} AS a CROSS JOIN {thousand} AS b CROSS JOIN {thousand} AS c WHERE c.order_id < 8"
    )
    warehouse.execute(f"CREATE TABLE {schema}.bound AS SELECT 7900000::BIGINT AS moment")
