"""The comparison of whole tables before the daily checks: whatever order a check could find, it must hand on."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Iterator

import duckdb
import pytest
from sqlglot import exp

from macros.sql import execute
from macros.suspects import MOST_RANGES, RANGE, SAMPLED, SUSPECTS, comparisons, no_suspects, range_starts, reach

STATUS, METADATA = "update_time BIGINT, landed_at BIGINT, status INTEGER", "add_time BIGINT, partner_id INTEGER"
RAW = {"uti": "order_tracking_raw.uni_tracking_info_raw", "ecs": "order_tracking_raw.ecs_order_info_raw"}
HIST = {"uti": "order_tracking_history.hist_uti_all", "ecs": "order_tracking_history.hist_ecs_all"}
UTI_TABLES = ("uti", HIST["uti"], RAW["uti"])
ECS_TABLES = ("ecs", HIST["ecs"], RAW["ecs"])
COLUMNS = {
    **dict.fromkeys(UTI_TABLES, f"order_id BIGINT, {STATUS}"),
    **dict.fromkeys(ECS_TABLES, f"order_id BIGINT, {METADATA}"),
    "uts": "order_id BIGINT, pathtime BIGINT",
}
MARTS = {name: name for name in ("uti", "ecs", "uts")}
AGES = {"uti": ["update_time", "landed_at", "status"], "ecs": ["add_time", "partner_id"]}


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    """Orders 1 to 40 in order, and archived ones: two scans each, the second at the status; raw holds what landed."""
    with duckdb.connect(":memory:") as connection:
        connection.execute("CREATE SCHEMA order_tracking_history; CREATE SCHEMA order_tracking_raw")
        for name, columns in COLUMNS.items():
            connection.execute(f"CREATE TABLE {name} ({columns})")
        for mart, history, raw in (UTI_TABLES, ECS_TABLES):
            row = "1000, 5, 7" if mart == "uti" else "800, 1"
            connection.execute(f"INSERT INTO {mart} SELECT r, {row} FROM range(1, 41) AS numbers (r)")
            connection.execute(f"INSERT INTO {history} SELECT r, {row} FROM range(101, 141) AS numbers (r)")
            connection.execute(f"INSERT INTO {raw} FROM {mart} UNION ALL FROM {history}")
        connection.execute("INSERT INTO uts SELECT r, t FROM range(1, 41) AS numbers (r), (VALUES (900), (1000)) x(t)")
        earlier = "SELECT order_id, update_time - 10, landed_at, status"
        connection.execute(f"INSERT INTO {UTI_TABLES[2]} {earlier} FROM {UTI_TABLES[2]}")
        yield connection


STARTS = [6, 7, 20]
"""Where ranges begin: of orders 5 to 7 each lies in another, and the second range has one order only."""


def suspects(warehouse: duckdb.DuckDBPyConnection) -> list[int]:
    for sql in rendered_comparisons():
        warehouse.execute(sql)
    return [order for (order,) in warehouse.execute(f"SELECT DISTINCT order_id FROM {SUSPECTS} ORDER BY 1").fetchall()]


@functools.cache
def rendered_comparisons() -> list[str]:
    """The statements, which are the same for every test."""
    rendered = Rendered()
    execute(rendered, no_suspects())
    for start, end in zip([None, *STARTS], [*STARTS, None], strict=True):
        execute(rendered, comparisons(MARTS, AGES, reach(start, end), 0))
    return rendered.sql


def test_orders_in_order_are_no_suspects(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert suspects(warehouse) == []


@pytest.mark.parametrize("order", [1, 5, 6, 7, 19, 20, 40])
@pytest.mark.parametrize(
    "fault",
    [
        "DELETE FROM uts WHERE order_id = {order}",
        "DELETE FROM uts WHERE order_id = {order} AND pathtime = 1000",
        "INSERT INTO uts VALUES ({order}, 1001)",
        "UPDATE uti SET update_time = 999 WHERE order_id = {order}",
        "UPDATE uti SET update_time = 1001 WHERE order_id = {order}",
        "DELETE FROM ecs WHERE order_id = {order}",
        "DELETE FROM uti WHERE order_id = {order}",
        "INSERT INTO uti VALUES ({order}, 1000, 5, 7)",
        "INSERT INTO ecs VALUES ({order}, 800, 1)",
        "INSERT INTO {hist_uti} VALUES ({order}, 1000, 5, 7)",
        "INSERT INTO {hist_ecs} VALUES ({order}, 800, 1)",
        "UPDATE {raw_uti} SET landed_at = 6 WHERE order_id = {order} AND update_time = 1000",
        "UPDATE {raw_uti} SET status = 8 WHERE order_id = {order} AND update_time = 1000",
        "INSERT INTO {raw_uti} VALUES ({order}, 1001, 4, 7)",
        "INSERT INTO {raw_ecs} VALUES ({order}, 801, 1)",
        "INSERT INTO {raw_ecs} VALUES ({order}, 800, NULL)",
    ],
)
def test_no_order_that_a_check_would_find_is_passed_over(
    warehouse: duckdb.DuckDBPyConnection, fault: str, order: int
) -> None:
    """One fault at a time, for orders on both sides of where ranges begin."""
    tables = {f"raw_{mart}": RAW[mart] for mart in RAW} | {f"hist_{mart}": HIST[mart] for mart in HIST}
    warehouse.execute(fault.format(order=order, **tables))
    assert suspects(warehouse) == [order]


@pytest.mark.parametrize("fault", ["DELETE FROM {history}", "INSERT INTO {raw} FROM newer_{mart}", ""])
def test_what_landed_may_lie_in_history(warehouse: duckdb.DuckDBPyConnection, fault: str) -> None:
    """Of orders 101, 120 and 140, whose rows are archived: a suspect only if history lost it, or a newer one landed."""
    warehouse.execute(
        f"CREATE TABLE newer_uti AS SELECT order_id, update_time + 1 AS u, landed_at, status FROM {HIST['uti']}"
    )
    warehouse.execute(f"CREATE TABLE newer_ecs AS SELECT order_id, add_time + 1 AS a, partner_id FROM {HIST['ecs']}")
    for short, order in (("uti", 101), ("ecs", 120), ("uti", 140), ("ecs", 140)):
        change = fault.format(history=HIST[short], raw=RAW[short], mart=short)
        warehouse.execute(f"{change} WHERE order_id = {order}" if fault else "SELECT 1")
    assert suspects(warehouse) == ([101, 120, 140] if fault else [])


@pytest.mark.parametrize("short", AGES)
def test_what_landed_twice_and_is_archived_again_is_no_suspect(
    warehouse: duckdb.DuckDBPyConnection, short: str
) -> None:
    warehouse.execute(f"INSERT INTO {HIST[short]} FROM {HIST[short]} WHERE order_id = 110")
    warehouse.execute(f"INSERT INTO {RAW[short]} FROM {RAW[short]} WHERE order_id IN (1, 110)")
    assert suspects(warehouse) == []


@pytest.mark.parametrize("seed", range(5))
def test_every_order_whose_newest_scan_is_not_at_its_status_is_a_suspect(
    warehouse: duckdb.DuckDBPyConnection, seed: int
) -> None:
    chance = random.Random(seed)
    for order in range(1, 41):
        warehouse.execute(
            "UPDATE uti SET update_time = ? WHERE order_id = ?", [(time := chance.randint(890, 1010)), order]
        )
        warehouse.execute(
            "UPDATE order_tracking_raw.uni_tracking_info_raw SET update_time = ? WHERE order_id = ?", [time, order]
        )
        warehouse.execute("INSERT INTO uts VALUES (?, ?)", [order, chance.choice([905, 1000, 1005])])
    for statuses in ("uti", RAW["uti"]):
        warehouse.execute(f"UPDATE {statuses} SET update_time = 1000 WHERE order_id % 3 = 0")
    expected = """SELECT uti.order_id FROM uti AS uti
        LEFT JOIN (SELECT order_id, MAX(pathtime) AS newest FROM uts GROUP BY order_id) AS scans USING (order_id)
        WHERE newest IS NULL OR newest <> update_time ORDER BY 1"""
    assert suspects(warehouse) == [order for (order,) in warehouse.execute(expected).fetchall()]


def test_ranges_hold_as_many_orders_however_they_are_numbered(warehouse: duckdb.DuckDBPyConnection) -> None:
    """Of three and a half ranges' worth of orders, numbered with gaps, every full range begins at one of the sample."""
    step = RANGE["duckdb"]
    few, many = step * 7 // 2, 1000 * SAMPLED
    warehouse.execute(f"INSERT INTO uti SELECT {SAMPLED} * (1000 + r * r), 1000, 5, 7 FROM range({few}) AS numbers (r)")
    warehouse.execute(f"INSERT INTO uti SELECT {many} + r, 1000, 5, 7 FROM range(1, 1000) AS numbers (r)")
    starts = range_starts("uti", Engine(warehouse))
    assert starts == [SAMPLED * (1000 + r * r) for r in (step, 2 * step, 3 * step)]


def test_numbers_that_begin_with_the_date_are_sampled_as_evenly(warehouse: duckdb.DuckDBPyConnection) -> None:
    """21,000 orders an hour for 184 days, numbered 2025031500 * 100,000 + n and so on: no gap of more than a day."""
    numbers = """SELECT hour, strftime(TIMESTAMP '2025-03-15' + hour * INTERVAL 1 HOUR, '%Y%m%d%H')::BIGINT AS day
        FROM range(184 * 24) AS hours (hour)"""
    sampled = f"""SELECT hour FROM ({numbers})
        WHERE (day * 100000 + 20999) // {SAMPLED} > (day * 100000 - 1) // {SAMPLED} ORDER BY hour"""
    hours = [hour for (hour,) in warehouse.execute(sampled).fetchall()]
    assert max(after - before for before, after in itertools.pairwise([0, *hours, 184 * 24])) < 24


def test_archived_orders_make_ranges_too_and_there_are_not_too_many(warehouse: duckdb.DuckDBPyConnection) -> None:
    most = MOST_RANGES * RANGE["duckdb"] * 2
    warehouse.execute(f"INSERT INTO {HIST['uti']} (order_id) SELECT {SAMPLED} * r FROM range(1, {most}) AS numbers (r)")
    starts = range_starts("uti", Engine(warehouse))
    assert MOST_RANGES - 1 <= len(starts) <= MOST_RANGES + 1
    assert len({*zip(starts[1:], starts, strict=False)}) == len(starts) - 1


def test_few_orders_are_compared_at_once(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert range_starts("uti", Engine(warehouse)) == []


def test_one_row_of_each_is_asked_of_every_order(warehouse: duckdb.DuckDBPyConnection) -> None:
    """Every way in which an order can have no, one or two statuses and rows of metadata."""
    warehouse.execute("DELETE FROM uts; DELETE FROM uti; DELETE FROM ecs")
    warehouse.execute(f"DELETE FROM {UTI_TABLES[2]}; DELETE FROM {ECS_TABLES[2]}")
    ways = [*itertools.product(range(3), repeat=2)]
    for order, (statuses, metadata) in enumerate(ways, 1):
        warehouse.execute(f"INSERT INTO uti SELECT {order}, 1000, 5, 7 FROM range({statuses})")
        warehouse.execute(f"INSERT INTO ecs SELECT {order}, 800, 1 FROM range({metadata})")
        warehouse.execute(f"INSERT INTO uts VALUES ({order}, 1000)")
    assert suspects(warehouse) == [order for order, way in enumerate(ways, 1) if way not in ((0, 0), (1, 1))]


class Rendered:
    """Keeps what it is asked to execute."""

    dialect = "duckdb"

    def __init__(self) -> None:
        self.sql: list[str] = []

    def execute(self, sql: str) -> None:
        self.sql.append(sql)


class Engine:
    """What the macro asks of SQLMesh's engine adapter."""

    dialect = "duckdb"

    def __init__(self, connection: duckdb.DuckDBPyConnection):
        self._connection = connection

    def execute(self, sql: str) -> None:
        self._connection.execute(sql)

    def fetchall(self, query: exp.Expr) -> list[tuple[int, ...]]:
        return self._connection.execute(query.sql("duckdb")).fetchall()
