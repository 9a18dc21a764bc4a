"""The comparison of whole tables before the daily checks: whatever order a check could find, it must hand on."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
from macros.post_statements import execute
from sqlglot import exp
from sqlmesh.core.context import Context

from macros.sql import statement
from macros.suspects import (
    MOST_RANGES,
    PAIRS,
    RANGE,
    SAMPLED,
    SUSPECTS,
    compare,
    no_suspects,
    range_starts,
    reach,
    unpaired,
)

STATUS, METADATA = "update_time BIGINT, landed_at BIGINT, status INTEGER", "add_time BIGINT, partner_id INTEGER"
COLUMNS = {
    **dict.fromkeys(("all_uti", "hist_uti", "raw_uti"), f"order_id BIGINT, {STATUS}"),
    **dict.fromkeys(("all_ecs", "hist_ecs", "raw_ecs"), f"order_id BIGINT, {METADATA}"),
    "all_uts": "order_id BIGINT, pathtime BIGINT",
}
TABLES = {name: name for name in COLUMNS}
AGES = {"uti": ["update_time", "landed_at", "status"], "ecs": ["add_time", "partner_id"]}


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    """Orders 1 to 40 in order, and archived ones: two scans each, the second at the status; raw holds what landed."""
    with duckdb.connect(":memory:") as connection:
        for name, columns in COLUMNS.items():
            connection.execute(f"CREATE TABLE {name} ({columns})")
        for held, orders in (("all", "range(1, 41)"), ("hist", "range(101, 141)")):
            connection.execute(f"INSERT INTO {held}_uti SELECT r, 1000, 5, 7 FROM {orders} AS numbers (r)")
            connection.execute(f"INSERT INTO {held}_ecs SELECT r, 800, 1 FROM {orders} AS numbers (r)")
        connection.execute(
            "INSERT INTO all_uts SELECT r, t FROM range(1, 41) AS numbers (r), (VALUES (900), (1000)) x(t)"
        )
        for short in AGES:
            connection.execute(f"INSERT INTO raw_{short} FROM all_{short} UNION ALL FROM hist_{short}")
        connection.execute("INSERT INTO raw_uti SELECT order_id, update_time - 10, landed_at, status FROM raw_uti")
        yield connection


STARTS = [6, 7, 20]
"""Where ranges begin: of orders 5 to 7 each lies in another, and the second range has one order only."""


def suspects(warehouse: duckdb.DuckDBPyConnection) -> list[int]:
    engine = Engine(warehouse)
    execute(engine, no_suspects())
    compare(TABLES, AGES, STARTS, engine)
    return [order for (order,) in warehouse.execute(f"SELECT DISTINCT order_id FROM {SUSPECTS} ORDER BY 1").fetchall()]


def test_orders_in_order_are_no_suspects(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert suspects(warehouse) == []


@pytest.mark.parametrize("order", [1, 5, 6, 7, 19, 20, 40])
@pytest.mark.parametrize(
    "fault",
    [
        "DELETE FROM all_uts WHERE order_id = {order}",
        "DELETE FROM all_uts WHERE order_id = {order} AND pathtime = 1000",
        "INSERT INTO all_uts VALUES ({order}, 1001)",
        "UPDATE all_uti SET update_time = 999 WHERE order_id = {order}",
        "UPDATE all_uti SET update_time = 1001 WHERE order_id = {order}",
        "DELETE FROM all_ecs WHERE order_id = {order}",
        "DELETE FROM all_uti WHERE order_id = {order}",
        "INSERT INTO all_uti VALUES ({order}, 1000, 5, 7)",
        "INSERT INTO all_ecs VALUES ({order}, 800, 1)",
        "INSERT INTO hist_uti VALUES ({order}, 1000, 5, 7)",
        "INSERT INTO hist_ecs VALUES ({order}, 800, 1)",
        "UPDATE raw_uti SET landed_at = 6 WHERE order_id = {order} AND update_time = 1000",
        "UPDATE raw_uti SET status = 8 WHERE order_id = {order} AND update_time = 1000",
        "INSERT INTO raw_uti VALUES ({order}, 1001, 4, 7)",
        "INSERT INTO raw_ecs VALUES ({order}, 801, 1)",
        "INSERT INTO raw_ecs VALUES ({order}, 800, NULL)",
    ],
)
def test_no_order_that_a_check_would_find_is_passed_over(
    warehouse: duckdb.DuckDBPyConnection, fault: str, order: int
) -> None:
    """One fault at a time, for orders on both sides of where ranges begin."""
    warehouse.execute(fault.format(order=order))
    assert suspects(warehouse) == [order]


@pytest.mark.parametrize("fault", ["DELETE FROM hist_{}", "INSERT INTO raw_{} FROM newer_{}", ""])
def test_what_landed_may_lie_in_history(warehouse: duckdb.DuckDBPyConnection, fault: str) -> None:
    """Of orders 101, 120 and 140, whose rows are archived: a suspect only if history lost it, or a newer one landed."""
    warehouse.execute(
        "CREATE TABLE newer_uti AS SELECT order_id, update_time + 1 AS u, landed_at, status FROM hist_uti"
    )
    warehouse.execute("CREATE TABLE newer_ecs AS SELECT order_id, add_time + 1 AS a, partner_id FROM hist_ecs")
    for short, order in (("uti", 101), ("ecs", 120), ("uti", 140), ("ecs", 140)):
        warehouse.execute(f"{fault.format(short, short)} WHERE order_id = {order}" if fault else "SELECT 1")
    assert suspects(warehouse) == ([101, 120, 140] if fault else [])


@pytest.mark.parametrize("short", AGES)
def test_what_landed_twice_and_is_archived_again_is_no_suspect(
    warehouse: duckdb.DuckDBPyConnection, short: str
) -> None:
    warehouse.execute(f"INSERT INTO hist_{short} FROM hist_{short} WHERE order_id = 110")
    warehouse.execute(f"INSERT INTO raw_{short} FROM raw_{short} WHERE order_id IN (1, 110)")
    assert suspects(warehouse) == []


def test_the_comparison_knows_a_versions_age_as_the_checks_do(context: Context) -> None:
    """The model hands it the columns that stand in its own @is_older."""
    model = context.get_model("order_tracking.consistency_failures", raise_if_missing=True)
    (call,) = model.pre_statements
    given = [[column.name for column in age.expressions] for age in call.this.expressions]
    judged = re.findall(r"@is_older\((\w+), landed, ([^)]*)\)", model._path.read_text())
    assert [(held, age.split(", ")) for held, age in judged] == [
        (held, age) for age in given for held in ("mart", "archived")
    ]


@pytest.mark.parametrize("seed", range(5))
def test_every_order_whose_newest_scan_is_not_at_its_status_is_a_suspect(
    warehouse: duckdb.DuckDBPyConnection, seed: int
) -> None:
    chance = random.Random(seed)
    for order in range(1, 41):
        warehouse.execute(
            "UPDATE all_uti SET update_time = ? WHERE order_id = ?", [(time := chance.randint(890, 1010)), order]
        )
        warehouse.execute("UPDATE raw_uti SET update_time = ? WHERE order_id = ?", [time, order])
        warehouse.execute("INSERT INTO all_uts VALUES (?, ?)", [order, chance.choice([905, 1000, 1005])])
    for statuses in ("all_uti", "raw_uti"):
        warehouse.execute(f"UPDATE {statuses} SET update_time = 1000 WHERE order_id % 3 = 0")
    expected = """SELECT uti.order_id FROM all_uti AS uti
        LEFT JOIN (SELECT order_id, MAX(pathtime) AS newest FROM all_uts GROUP BY order_id) AS scans USING (order_id)
        WHERE newest IS NULL OR newest <> update_time ORDER BY 1"""
    assert suspects(warehouse) == [order for (order,) in warehouse.execute(expected).fetchall()]


def test_ranges_hold_as_many_orders_however_they_are_numbered(warehouse: duckdb.DuckDBPyConnection) -> None:
    """Of three and a half ranges' worth of orders, numbered with gaps, every full range begins at one of the sample."""
    step = RANGE["duckdb"]
    few, many = step * 7 // 2, 1000 * SAMPLED
    warehouse.execute(
        f"INSERT INTO all_uti SELECT {SAMPLED} * (1000 + r * r), 1000, 5, 7 FROM range({few}) AS numbers (r)"
    )
    warehouse.execute(f"INSERT INTO all_uti SELECT {many} + r, 1000, 5, 7 FROM range(1, 1000) AS numbers (r)")
    starts = range_starts(TABLES, Engine(warehouse))
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
    warehouse.execute(f"INSERT INTO hist_uti (order_id) SELECT {SAMPLED} * r FROM range(1, {most}) AS numbers (r)")
    starts = range_starts(TABLES, Engine(warehouse))
    assert MOST_RANGES - 1 <= len(starts) <= MOST_RANGES + 1
    assert len({*zip(starts[1:], starts, strict=False)}) == len(starts) - 1


def test_few_orders_are_compared_at_once(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert range_starts(TABLES, Engine(warehouse)) == []


def test_the_counts_tell_whether_any_row_is_alone_or_doubled(warehouse: duckdb.DuckDBPyConnection) -> None:
    """Every way in which three orders can have no, one or two rows in each of the two tables."""
    count = statement(PAIRS, TABLES, in_range=reach(1, 4))
    for rows in itertools.product(range(3), repeat=6):
        warehouse.execute("DELETE FROM all_uti WHERE order_id < 4; DELETE FROM all_ecs WHERE order_id < 4")
        for order, (statuses, metadata) in enumerate(zip(rows[::2], rows[1::2], strict=True), 1):
            warehouse.execute(f"INSERT INTO all_uti SELECT {order}, 1000, 5, 7 FROM range({statuses})")
            warehouse.execute(f"INSERT INTO all_ecs SELECT {order}, 800, 1 FROM range({metadata})")
        pairs = [*zip(rows[::2], rows[1::2], strict=True)]
        alone, doubled = unpaired(*Engine(warehouse).fetchone(count))
        assert alone == any((a == 0) != (b == 0) for a, b in pairs), rows
        assert doubled == any(a * b > 1 for a, b in pairs), rows


def test_where_nothing_stands_out_the_cheap_questions_are_all_that_is_asked(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    engine = Engine(warehouse)
    execute(engine, no_suspects())
    before = len(engine.executed)
    compare(TABLES, AGES, STARTS, engine)
    ranges = len(STARTS) + 1
    of_history = 2  # orders 101 to 140, of both histories, lie in the last range
    landed = 2 * ranges
    assert len(engine.executed) - before == ranges + of_history + landed


class Engine:
    """What the macro asks of SQLMesh's engine adapter."""

    dialect = "duckdb"

    def __init__(self, connection: duckdb.DuckDBPyConnection):
        self._connection = connection
        self.executed: list[str] = []

    def execute(self, sql: str) -> None:
        self.executed.append(sql)
        self._connection.execute(sql)

    def fetchone(self, query: exp.Expr) -> Any:
        return self._connection.execute(query.sql("duckdb")).fetchone()

    def fetchall(self, query: exp.Expr) -> list[tuple[int, ...]]:
        return self._connection.execute(query.sql("duckdb")).fetchall()
