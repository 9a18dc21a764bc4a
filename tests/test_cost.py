"""Cost follows the batch: no statement of a cycle joins by a loop, and none reads all scans of the mart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from tests.conftest import START
from tests.world import DAY, MINUTE, World, at

LOOPS = ("BLOCKWISE_NL_JOIN", "NESTED_LOOP_JOIN", "CROSS_PRODUCT", "IE_JOIN")


SCANS = "order_tracking__mart_uni_tracking_spath__"
Explained = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def explained(monkeypatch: pytest.MonkeyPatch) -> Explained:
    """Every statement from now on that reads or writes tables of the warehouse, with DuckDB's plan of it."""
    from sqlmesh.core.engine_adapter.base import EngineAdapter

    from extract.warehouse_duckdb import DuckDBWarehouse

    seen: Explained = []

    def explain(connection: Any, sql: str) -> None:
        if not any(schema in sql for schema in ("order_tracking_raw", "order_tracking_history", "sqlmesh__order")):
            return
        if not sql.split("*/")[-1].lstrip().upper().startswith(("SELECT", "INSERT", "DELETE", "UPDATE", "WITH")):
            return
        try:
            ((_, plan),) = connection.execute(f"EXPLAIN (FORMAT JSON) {sql}").fetchall()
        except duckdb.Error:
            return
        seen.append((sql, json.loads(plan)[0]))

    executed, landed = EngineAdapter._execute, DuckDBWarehouse._duckdb_sql

    def execute(self: Any, sql: str, *args: Any, **options: Any) -> None:
        explain(self._connection_pool.get(), sql)
        executed(self, sql, *args, **options)

    def duckdb_sql(self: Any, sql: Any) -> str:
        text = landed(self, sql)
        explain(self._connection.cursor() if "staged" not in text else self._connection, text)
        return text

    monkeypatch.setattr(EngineAdapter, "_execute", execute)
    monkeypatch.setattr(DuckDBWarehouse, "_duckdb_sql", duckdb_sql)
    return seen


def steps(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan["children"]:
        yield from steps(child)


def test_no_statement_joins_by_a_loop(world: World, explained: Explained) -> None:
    """DuckDB loops where an outer join has a condition that it cannot hash; that is quadratic in the batch."""
    world.order(1, START - 60 * DAY)
    world.order(2, at("2024-11-20T00:00:00"))
    world.cycle()
    explained.clear()
    world.order(3, at("2025-02-10T00:00:00"))
    world.scan(2, START + 10 * MINUTE)
    world.cycle(reconcile_since=0)
    world.cycle(START + DAY + 20 * MINUTE, reconcile_since=0)
    looping = [sql for sql, plan in explained for step in steps(plan) if step["name"].strip() in LOOPS]
    assert len(explained) > 60
    assert not looping, "\n\n".join(looping[:3])


def test_an_ordinary_cycle_reads_no_more_of_the_scans_than_a_range_of_their_time(
    world: World, explained: Explained
) -> None:
    """The scans are by far the most rows, in the order of their time and nearly in that of their arrival: a statement
    without a range of either reads all.
    """
    world.order(1, START - 181 * DAY)
    world.order(2, START - 60 * DAY)
    world.order(3, at("2024-11-20T00:00:00"))
    world.cycle()
    world.cycle(START + 2 * DAY)  # what landed before is then not all that there is
    explained.clear()
    world.scan(2, START + 3 * DAY)
    world.scan(3, START + 3 * DAY)
    world.insert("uni_tracking_spath", [(2, START - 3 * DAY, 150, 7), (2, at("2024-11-20T00:00:00"), 150, 8)])
    world.order(4, START + 4 * DAY)
    world.cycle(START + 4 * DAY + MINUTE)
    assert any(row == ("2025_h1", 1) for row in world.history("uts")), (
        "something must age, or half of it is not looked at"
    )
    reading, reads_all = 0, []
    for sql, plan in explained:
        if "order_tracking_suspects" in sql or "consistency_failures" in sql:
            continue  # the daily checks compare all with all
        for step in steps(plan):
            if SCANS in str(step["extra_info"].get("Table")):
                reading += 1
                filters = str(step["extra_info"].get("Filters"))
                if "pathtime" not in filters and "landed_at" not in filters:
                    reads_all.append(sql)
    assert reading >= 4
    assert not reads_all, "\n\n".join(reads_all[:3])
