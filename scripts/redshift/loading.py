"""Smoke probes of loading and naming: a load of every type, names in three parts, two writers, and fixed costs."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pyarrow as pa
from sqlglot import exp

from extract.column_types import arrow_type
from extract.ensure_tables import SCHEMAS
from extract.errors import TransactionConflict
from scripts.display import plural
from scripts.redshift.probe import Cluster, NotAsNeeded, probe, seconds_of

ROWS = 1000
TIMES = 5
"""A cost is the average of so many."""

OF_EACH_TYPE = {
    "VARCHAR(64)": 'grün 🚚, "x"\n\\N',
    "INTEGER": -(2**31),
    "SMALLINT": 2**15 - 1,
    "BOOLEAN": True,
    "DECIMAL(38, 10)": Decimal("-9999999999999999999999999999.9999999999"),
    "DOUBLE PRECISION": 0.1,
    "DATE": dt.date(9999, 12, 31),
    "TIMESTAMP": dt.datetime(1, 1, 1, 0, 0, 0, 1),
}


@probe("Rows of every type come back from S3 and COPY as they were sent.")
def load(cluster: Cluster) -> str:
    kinds = {f"c{number}": exp.DataType.build(kind, dialect="redshift") for number, kind in enumerate(OF_EACH_TYPE)}
    kinds = {"order_id": exp.DataType.build("BIGINT"), **kinds}
    rows = [(0, *OF_EACH_TYPE.values()), *((order, *[None] * len(OF_EACH_TYPE)) for order in range(1, ROWS))]
    columns = [
        pa.array(column, arrow_type(kind)) for column, kind in zip(zip(*rows, strict=True), kinds.values(), strict=True)
    ]
    table = f"{cluster.schema}.loaded"
    with cluster.warehouse.session() as session:
        staged = session.stage("smoke", kinds, [pa.record_batch(columns, names=list(kinds))])
        listed = ", ".join(f"{name} {kind.sql('redshift')}" for name, kind in kinds.items())
        session.execute(f"CREATE TABLE {table} ({listed})")
        names = ", ".join(kinds)
        landed = session.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM {staged.table}")
    (first,) = cluster.warehouse.fetchall(f"SELECT * FROM {table} WHERE order_id = 0")
    if landed != ROWS or first != rows[0]:
        raise NotAsNeeded(f"{ROWS} rows were sent, {landed} landed; the first one is {first!r}")
    return plural(landed, "row")


@probe("CREATE, INSERT, UPDATE and DELETE take database.schema.table, as SQLMesh writes it.")
def three_part_names(cluster: Cluster) -> str:
    warehouse = cluster.warehouse
    ((database,),) = warehouse.fetchall("SELECT CURRENT_DATABASE()")
    table = f'"{database}"."{cluster.schema}"."named"'
    with warehouse.transaction():
        warehouse.execute(f"CREATE TABLE {table} (order_id BIGINT) DISTSTYLE KEY DISTKEY(order_id) SORTKEY(order_id)")
        warehouse.execute(f"INSERT INTO {table} (order_id) SELECT 1 UNION ALL SELECT 2")
        warehouse.execute(f"UPDATE {table} SET order_id = {table}.order_id + 1 WHERE {table}.order_id = 2")
        warehouse.execute(
            f"DELETE FROM {table} USING (SELECT 3 AS order_id) AS gone WHERE {table}.order_id = gone.order_id"
        )
    rows = warehouse.fetchall(f"SELECT order_id FROM {table}")
    if rows != [(1,)]:
        raise NotAsNeeded(f"DELETE and UPDATE left {rows} instead of one row")
    return "as they should be"


@probe(
    "Two transactions of which each reads what the other writes: a conflict is recognised as one, and then tried "
    "again.",
)
def two_at_once(cluster: Cluster) -> str:
    """Each reads what the other writes."""
    left, right = f"{cluster.schema}.left_one", f"{cluster.schema}.right_one"
    for name in (left, right):
        cluster.warehouse.execute(f"CREATE TABLE {name} (order_id BIGINT)")
    with cluster.warehouse.session() as first, cluster.warehouse.session() as second:
        try:
            with first.transaction():
                first.fetchall(f"SELECT COUNT(*) FROM {left}")
                first.execute(f"INSERT INTO {right} (order_id) SELECT 1")
                with second.transaction():
                    second.fetchall(f"SELECT COUNT(*) FROM {right}")
                    second.execute(f"INSERT INTO {left} (order_id) SELECT 1")
        except TransactionConflict:
            return "a conflict, seen as one"
    return "no conflict (snapshot isolation); the run lock alone keeps two runs apart"


@probe(
    "What each costs before it does anything: put these into the formula of docs/redshift.md, 'What it costs'.",
    judges=False,
)
def seconds(cluster: Cluster) -> str:
    warehouse, table = cluster.warehouse, f"{cluster.schema}.timed"
    warehouse.execute(f"CREATE TABLE {table} (order_id BIGINT)")
    kinds = {"order_id": exp.DataType.build("BIGINT")}
    batch = pa.record_batch([pa.array(range(ROWS), pa.int64())], names=["order_id"])

    def commit() -> None:
        with warehouse.transaction():
            warehouse.execute(f"INSERT INTO {table} (order_id) SELECT 1")

    with warehouse.session() as session:
        copy = seconds_of(lambda: session.stage("smoke", kinds, [batch]))
    found = {
        "statement": seconds_of(lambda: warehouse.fetchall("SELECT 1"), TIMES),
        "COPY with its transaction": copy,
        "commit of one row": seconds_of(commit, TIMES),
        "look at the catalog": seconds_of(lambda: warehouse.objects_of_schemas(SCHEMAS)),
    }
    return ", ".join(f"{what} {value:.2f} s" for what, value in found.items())
