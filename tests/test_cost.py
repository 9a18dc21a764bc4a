"""Cost follows the batch: no statement of a cycle, nor of the daily checks, joins by looping over both tables."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from tests.conftest import START
from tests.world import DAY, MINUTE, World, at

LOOPS = ("BLOCKWISE_NL_JOIN", "NESTED_LOOP_JOIN", "CROSS_PRODUCT", "IE_JOIN")


def test_no_statement_joins_by_a_loop(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB loops where an outer join has a condition that it cannot hash; that is quadratic in the batch."""
    from sqlmesh.core.engine_adapter.base import EngineAdapter

    from extract.warehouse_duckdb import DuckDBWarehouse

    looping: list[str] = []
    explained = 0

    def explain(connection: Any, sql: str) -> None:
        nonlocal explained
        if not any(schema in sql for schema in ("order_tracking_raw", "order_tracking_history", "sqlmesh__order")):
            return
        if not sql.split("*/")[-1].lstrip().upper().startswith(("SELECT", "INSERT", "DELETE", "UPDATE", "WITH")):
            return
        try:
            plan = str(connection.execute(f"EXPLAIN {sql}").fetchall())
        except duckdb.Error:
            return
        explained += 1
        looping.extend(f"{loop}: {sql}" for loop in LOOPS if loop in plan)

    executed, landed = EngineAdapter._execute, DuckDBWarehouse._duckdb_sql

    def execute(self: Any, sql: str, *args: Any, **options: Any) -> None:
        explain(self._connection_pool.get(), sql)
        executed(self, sql, *args, **options)

    def duckdb_sql(self: Any, sql: Any) -> str:
        text = landed(self, sql)
        explain(self._connection.cursor() if "staged" not in text else self._connection, text)
        return text

    world.order(1, START - 60 * DAY)
    world.order(2, at("2024-11-20T00:00:00"))
    world.cycle()
    monkeypatch.setattr(EngineAdapter, "_execute", execute)
    monkeypatch.setattr(DuckDBWarehouse, "_duckdb_sql", duckdb_sql)
    world.order(3, at("2025-02-10T00:00:00"))
    world.scan(2, START + 10 * MINUTE)
    world.cycle(reconcile_since=0)
    world.cycle(START + DAY + 20 * MINUTE, reconcile_since=0)
    assert explained > 60
    assert not looping, "\n\n".join(looping[:3])
