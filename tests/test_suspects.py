"""The comparison of whole tables before the daily checks: whatever order a check could find, it must hand on."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
from sqlglot import exp

from macros.post_statements import execute
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

TABLES = {name: name for name in ("all_uti", "all_ecs", "all_uts", "hist_uti", "hist_ecs")}
COLUMNS = {"all_uti": "order_id BIGINT, update_time BIGINT", "all_uts": "order_id BIGINT, pathtime BIGINT"}


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    """Every table with its keys only, and orders 1 to 40 in order: two scans each, the second at the status."""
    with duckdb.connect(":memory:") as connection:
        for name in TABLES:
            connection.execute(f"CREATE TABLE {name} ({COLUMNS.get(name, 'order_id BIGINT')})")
        connection.execute("INSERT INTO all_uti SELECT r, 1000 FROM range(1, 41) AS numbers (r)")
        connection.execute("INSERT INTO all_ecs SELECT r FROM range(1, 41) AS numbers (r)")
        connection.execute(
            "INSERT INTO all_uts SELECT r, t FROM range(1, 41) AS numbers (r), (VALUES (900), (1000)) x(t)"
        )
        connection.execute("INSERT INTO hist_uti SELECT r FROM range(101, 141) AS numbers (r)")
        connection.execute("INSERT INTO hist_ecs SELECT r FROM range(101, 141) AS numbers (r)")
        yield connection


STARTS = [6, 7, 20]
"""Where ranges begin: of orders 5 to 7 each lies in another, and the second range has one order only."""


def suspects(warehouse: duckdb.DuckDBPyConnection) -> list[int]:
    engine = Engine(warehouse)
    execute(engine, no_suspects())
    compare(TABLES, STARTS, engine)
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
        "INSERT INTO all_uti VALUES ({order}, 1000)",
        "INSERT INTO all_ecs VALUES ({order})",
        "INSERT INTO hist_uti VALUES ({order})",
        "INSERT INTO hist_ecs VALUES ({order})",
    ],
)
def test_no_order_that_a_check_would_find_is_passed_over(
    warehouse: duckdb.DuckDBPyConnection, fault: str, order: int
) -> None:
    """One fault at a time, for orders on both sides of where ranges begin."""
    warehouse.execute(fault.format(order=order))
    assert suspects(warehouse) == [order]


@pytest.mark.parametrize("seed", range(5))
def test_every_order_whose_newest_scan_is_not_at_its_status_is_a_suspect(
    warehouse: duckdb.DuckDBPyConnection, seed: int
) -> None:
    chance = random.Random(seed)
    for order in range(1, 41):
        warehouse.execute("UPDATE all_uti SET update_time = ? WHERE order_id = ?", [chance.randint(890, 1010), order])
        warehouse.execute("INSERT INTO all_uts VALUES (?, ?)", [order, chance.choice([905, 1000, 1005])])
    warehouse.execute("UPDATE all_uti SET update_time = 1000 WHERE order_id % 3 = 0")
    expected = """SELECT uti.order_id FROM all_uti AS uti
        LEFT JOIN (SELECT order_id, MAX(pathtime) AS newest FROM all_uts GROUP BY order_id) AS scans USING (order_id)
        WHERE newest IS NULL OR newest <> update_time ORDER BY 1"""
    assert suspects(warehouse) == [order for (order,) in warehouse.execute(expected).fetchall()]


def test_ranges_hold_as_many_orders_however_they_are_numbered(warehouse: duckdb.DuckDBPyConnection) -> None:
    """Of three and a half ranges' worth of orders, numbered with gaps, every full range begins at one of the sample."""
    step = RANGE["duckdb"]
    few, many = step * 7 // 2, 1000 * SAMPLED
    warehouse.execute(f"INSERT INTO all_uti SELECT {SAMPLED} * (1000 + r * r), 1000 FROM range({few}) AS numbers (r)")
    warehouse.execute(f"INSERT INTO all_uti SELECT {many} + r, 1000 FROM range(1, 1000) AS numbers (r)")
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
    warehouse.execute(f"INSERT INTO hist_uti SELECT {SAMPLED} * r FROM range(1, {most}) AS numbers (r)")
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
            warehouse.execute(f"INSERT INTO all_uti SELECT {order}, 1000 FROM range({statuses})")
            warehouse.execute(f"INSERT INTO all_ecs SELECT {order} FROM range({metadata})")
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
    compare(TABLES, STARTS, engine)
    ranges = len(STARTS) + 1
    of_history = 2  # orders 101 to 140, of both histories, lie in the last range
    assert len(engine.executed) - before == ranges + of_history


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
