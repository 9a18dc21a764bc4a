"""The first hour on a real cluster: what no stand-in can show, tried in a scratch schema that is dropped at the end.

`order-tracking redshift smoke` runs it.
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal

import pyarrow as pa
from sqlglot import exp

from extract.column_types import arrow_type
from extract.errors import TransactionConflict, WarehouseError
from extract.warehouse import Warehouse
from scripts.display import tell

ROWS = 1000
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
JOINED = ("uti", "ecs", "uts")
MOVES = re.compile(r"DS_(?:BCAST|DIST)\w*")


class NotAsNeeded(Exception):
    """A finding that stands against running the project on this cluster; the message says what to do."""


def isolation_level(warehouse: Warehouse, schema: str) -> str:
    """Serializable or snapshot: the project works with both; with serializable a conflict is seen, and tried again."""
    rows = warehouse.fetchall("SELECT isolation_level FROM stv_db_isolation_level WHERE db_name = CURRENT_DATABASE()")
    return str(rows[0][0]).strip() if rows else "not told"


def case_setting(warehouse: Warehouse, schema: str) -> str:
    """Names must fold to lower case, quoted ones too."""
    ((value,),) = warehouse.fetchall("SHOW enable_case_sensitive_identifier")
    if str(value).lower() not in ("off", "false"):
        raise NotAsNeeded("enable_case_sensitive_identifier is on: set it to false for the users of this project")
    return "off"


def load(warehouse: Warehouse, schema: str) -> str:
    """Rows of every kind through S3 and COPY, compared with what was sent."""
    kinds = {f"c{number}": exp.DataType.build(kind, dialect="redshift") for number, kind in enumerate(OF_EACH_TYPE)}
    kinds = {"order_id": exp.DataType.build("BIGINT"), **kinds}
    rows = [(0, *OF_EACH_TYPE.values()), *((order, *[None] * len(OF_EACH_TYPE)) for order in range(1, ROWS))]
    columns = [
        pa.array(column, arrow_type(kind)) for column, kind in zip(zip(*rows, strict=True), kinds.values(), strict=True)
    ]
    with warehouse.session() as session:
        staged = session.stage("smoke", kinds, [pa.record_batch(columns, names=list(kinds))])
        listed = ", ".join(f"{name} {kind.sql('redshift')}" for name, kind in kinds.items())
        session.execute(f"CREATE TABLE {schema}.loaded ({listed})")
        names = ", ".join(kinds)
        landed = session.execute(f"INSERT INTO {schema}.loaded ({names}) SELECT {names} FROM {staged.table}")
    (first,) = warehouse.fetchall(f"SELECT * FROM {schema}.loaded WHERE order_id = 0")
    if landed != ROWS or first != rows[0]:
        raise NotAsNeeded(f"{ROWS} rows were sent, {landed} landed; the first one is {first!r}")
    return f"{landed} rows"


def three_part_names(warehouse: Warehouse, schema: str) -> str:
    """SQLMesh writes the database before schema and table, in every kind of statement."""
    ((database,),) = warehouse.fetchall("SELECT CURRENT_DATABASE()")
    table = f'"{database}"."{schema}"."named"'
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


def late_binding(warehouse: Warehouse, schema: str) -> str:
    """A history view is dropped and made anew with another column, under a view that reads it; the catalog knows it."""
    view, table = f"{schema}.lower_view", f"{schema}.period"
    with warehouse.transaction():
        warehouse.execute(f"CREATE TABLE {table} (order_id BIGINT)")
        warehouse.execute(f"CREATE VIEW {view} AS SELECT order_id FROM {table} WITH NO SCHEMA BINDING")
        warehouse.execute(f"CREATE VIEW {schema}.upper_view AS SELECT order_id FROM {view} WITH NO SCHEMA BINDING")
    with warehouse.transaction():
        warehouse.execute(f"ALTER TABLE {table} ADD COLUMN pieces INTEGER")
        warehouse.execute(f"DROP VIEW IF EXISTS {view}")
        warehouse.execute(f"CREATE VIEW {view} AS SELECT order_id, pieces FROM {table} WITH NO SCHEMA BINDING")
    warehouse.fetchall(f"SELECT order_id FROM {schema}.upper_view")
    held = warehouse.columns_of_schemas([schema])
    if held.get(view) != {"order_id", "pieces"}:
        raise NotAsNeeded(f"svv_columns says {held.get(view)} of a late-binding view with order_id and pieces")
    return "as it should be"


def join_plan(warehouse: Warehouse, schema: str) -> str:
    """The three-way join on order_id must stay on the slices."""
    for name in JOINED:
        warehouse.execute(f"CREATE TABLE {schema}.{name} (order_id BIGINT) DISTSTYLE KEY DISTKEY(order_id)")
        warehouse.execute(f"INSERT INTO {schema}.{name} (order_id) SELECT order_id FROM {schema}.loaded")
        warehouse.execute(f"ANALYZE {schema}.{name}")
    plan = warehouse.fetchall(
        f"EXPLAIN SELECT COUNT(*) FROM {schema}.uti JOIN {schema}.ecs ON ecs.order_id = uti.order_id "
        f"JOIN {schema}.uts ON uts.order_id = uti.order_id"
    )
    return moves_nothing([str(row[0]) for row in plan])


def moves_nothing(plan: Sequence[str]) -> str:
    """Checks the lines of an EXPLAIN: every join DS_DIST_NONE."""
    moves = MOVES.findall("\n".join(plan))
    if not moves or set(moves) != {"DS_DIST_NONE"}:
        raise NotAsNeeded(f"the three-way join shows {', '.join(moves) or 'no distribution'} instead of DS_DIST_NONE")
    return "DS_DIST_NONE"


def two_at_once(warehouse: Warehouse, schema: str) -> str:
    """Each reads what the other writes: one of them must be told so (1023), and be known as a conflict."""
    for name in ("left_one", "right_one"):
        warehouse.execute(f"CREATE TABLE {schema}.{name} (order_id BIGINT)")
    with warehouse.session() as first, warehouse.session() as second:
        try:
            with first.transaction():
                first.fetchall(f"SELECT COUNT(*) FROM {schema}.left_one")
                first.execute(f"INSERT INTO {schema}.right_one (order_id) SELECT 1")
                with second.transaction():
                    second.fetchall(f"SELECT COUNT(*) FROM {schema}.right_one")
                    second.execute(f"INSERT INTO {schema}.left_one (order_id) SELECT 1")
        except TransactionConflict:
            return "a conflict, seen as one"
    return "no conflict (snapshot isolation); the run lock alone keeps two runs apart"


Step = Callable[[Warehouse, str], str]
STEPS: tuple[Step, ...] = (case_setting, load, three_part_names, late_binding, join_plan, two_at_once)
TOLD: tuple[Step, ...] = (isolation_level,)
"""Steps that only tell: where they cannot, nothing stands against going on."""


def smoke(warehouse: Warehouse) -> bool:
    """Does every step, prints a line each, drops the scratch schema; True when all is as needed."""
    schema = f"order_tracking_smoke_{uuid.uuid4().hex[:8]}"
    warehouse.execute(f"CREATE SCHEMA {schema}")
    good = True
    try:
        for step in (*TOLD, *STEPS):
            try:
                mark, told = "ok", step(warehouse, schema)
            except (NotAsNeeded, WarehouseError) as error:
                mark, told = ("?" if step in TOLD else "NO"), str(error)
                good = good and step in TOLD
            tell(f"{mark:<3} {step.__name__:<18} {told}")
    finally:
        try:
            warehouse.execute(f"DROP SCHEMA {schema} CASCADE")
        except WarehouseError as error:
            good = False
            tell(f"NO  {'clean_up':<18} left behind; run DROP SCHEMA {schema} CASCADE: {error}")
    return good
