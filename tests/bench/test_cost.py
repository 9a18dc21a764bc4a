"""Cost follows the batch: no statement of a cycle joins by a loop, and only a few read a whole mart or its history."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from tests.conftest import START
from tests.support.world import DAY, MINUTE, World, at

LOOPS = ("BLOCKWISE_NL_JOIN", "NESTED_LOOP_JOIN", "CROSS_PRODUCT", "IE_JOIN")

TIMES = {
    "mart_uni_tracking_info": "update_time",
    "hist_uti": "update_time",
    "mart_ecs_order_info": "add_time",
    "hist_ecs": "add_time",
    "mart_uni_tracking_spath": "pathtime|landed_at",
    "hist_uts": "pathtime",
}
"""The large tables, and the times in whose order, or nearly so, their rows lie."""

MAY_READ_ALL = {
    # What must find the batch's orders, of any age, among all (docs/decisions.md, 'Cost').
    r"DELETE FROM \S+__mart_\S+ WHERE \"order_id\" IN": {"mart_uni_tracking_info", "mart_ecs_order_info"},
    r"SELECT CAST\('batch' AS": {"hist_uti", "hist_ecs"},
    r"CREATE TEMPORARY TABLE \"order_tracking_(returned|departed)_orders_": {"hist_uti", "hist_ecs"},
    # What was found in history is then looked for: an order that came back, and metadata whose order is archived.
    r"DELETE FROM \S+\"hist_uti_\S+ USING": {"hist_uti"},
    # Whether it came back as itself: by all the metadata of its number.
    r"CREATE TEMPORARY TABLE \"order_tracking_created_orders\"": {"hist_ecs", "mart_ecs_order_info"},
    r"CREATE TEMPORARY TABLE \"order_tracking_reused_numbers\"": {"hist_uti"},
    r"DELETE FROM \S+\"hist_ecs_\S+ USING": {"hist_ecs", "mart_ecs_order_info", "mart_uni_tracking_info"},
    r"CREATE TEMPORARY TABLE \"order_tracking_due_rows_": {"mart_ecs_order_info", "mart_uni_tracking_info"},
    # Where the source had nothing new for a day: how far has the mart come?
    r"SELECT MAX\(landed_at\) FROM": {"mart_uni_tracking_info", "mart_ecs_order_info", "mart_uni_tracking_spath"},
}
"""How the statements begin that read a large table without a range of its time, and which tables."""

Step = dict[str, Any]
Explained = list[tuple[str, Step]]


@pytest.fixture
def explained(monkeypatch: pytest.MonkeyPatch) -> Iterator[Explained]:
    """Every statement from now on that reads or writes tables of the warehouse, with DuckDB's plan of it."""
    from sqlmesh.core.engine_adapter.base import EngineAdapter

    from extract.warehouse_duckdb import DuckDBWarehouse

    seen: Explained = []
    unexplained: list[str] = []

    def explain(connection: Any, sql: str) -> None:
        """Must be told the connection that executes the statement: no other sees its temporary tables."""
        text = re.sub(r"/\*.*?\*/", "", sql, flags=re.DOTALL).strip()
        if "order_tracking" not in text or text.startswith("COMMENT ON"):
            return  # a comment is all that DuckDB cannot explain
        # From a test's few rows DuckDB would conclude that a range holds for all of them, and leave it out.
        connection.execute("SET disabled_optimizers = 'statistics_propagation'")
        try:
            ((_, plan),) = connection.execute(f"EXPLAIN (FORMAT JSON) {sql}").fetchall()
            seen.append((text, json.loads(plan)[0]))
        except duckdb.Error as error:
            unexplained.append(f"{error}\n{text}")
        finally:
            connection.execute("RESET disabled_optimizers")

    executed, landed = EngineAdapter._execute, DuckDBWarehouse._duckdb_sql

    def execute(self: Any, sql: str, *args: Any, **options: Any) -> None:
        explain(self.cursor, sql)
        executed(self, sql, *args, **options)

    def duckdb_sql(self: Any, sql: Any) -> str:
        text = landed(self, sql)
        explain(self._connection, text)
        return text

    monkeypatch.setattr(EngineAdapter, "_execute", execute)
    monkeypatch.setattr(DuckDBWarehouse, "_duckdb_sql", duckdb_sql)
    yield seen
    assert not unexplained, "\n\n".join(unexplained[:3])


def steps(plan: Step) -> Iterator[Step]:
    yield plan
    for child in plan["children"]:
        yield from steps(child)


def loops(step: Step) -> bool:
    """A join that compares every row with every other."""
    return step["name"].strip() in LOOPS and not compares_with_one_row(step)


def compares_with_one_row(step: Step) -> bool:
    """A loop over one row, as of `time >= (SELECT MIN(time) FROM batch)`: no more than a filter."""
    return step["name"].strip() in LOOPS and any(is_one_row(side) for side in step["children"])


def is_one_row(step: Step) -> bool:
    while step["name"].strip() == "PROJECTION":
        (step,) = step["children"]
    return bool(step["name"].strip() == "UNGROUPED_AGGREGATE")


def reads(step: Step, bounds: str = "") -> Iterator[tuple[str, str]]:
    """Every large table that a plan reads, and what bounds its rows: the scan's filters, and one row further up."""
    details = step["extra_info"]
    table = str(details.get("Table")).split(".")[-1].removeprefix("order_tracking__")
    for large in TIMES:
        if table.startswith(f"{large}_"):
            yield large, f"{bounds} {details.get('Filters')}"
    if compares_with_one_row(step):
        bounds = f"{bounds} {details.get('Conditions')}"
    for child in step["children"]:
        yield from reads(child, bounds)


@pytest.mark.slow
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
    looping = [sql for sql, plan in explained if any(loops(step) for step in steps(plan))]
    assert sum(sql.startswith("CREATE TABLE") and " AS WITH " in sql for sql, _ in explained) >= 4, "no merge was seen"
    assert len(explained) > 60
    assert not looping, "\n\n".join(looping[:3])


@pytest.mark.slow
def test_an_ordinary_cycle_reads_no_more_of_a_mart_or_its_history_than_a_range_of_their_time(
    world: World, explained: Explained
) -> None:
    """All large tables lie in the order of their time: a statement without a range of it reads all, which few may."""
    world.order(1, START - 182 * DAY)
    world.order(2, START - 60 * DAY)
    world.order(3, at("2024-11-20T00:00:00"))
    world.cycle()
    world.cycle(START + 2 * DAY)  # what landed before is then not all that there is, and the daily checks are done
    explained.clear()
    world.insert("uni_tracking_spath", [(2, START - DAY, 150, 7), (2, at("2024-11-20T00:00:00"), 150, 8)])
    world.scan(3, START + 2 * DAY + 5 * MINUTE)
    world.order(4, START + 2 * DAY + 10 * MINUTE)
    world.cycle()
    for short in ("uti", "ecs", "uts"):
        assert ("2025_h1", 1) in world.history(short), "something must age, or half of it is not looked at"
    assert ("2024_h2", 3) not in world.history("uti"), "an order must come back"
    read_whole = {
        (next((begins for begins in MAY_READ_ALL if re.match(begins, sql)), sql), table)
        for sql, plan in explained
        for table, bounds in reads(plan)
        if not re.search(rf"\b({TIMES[table]}) ?[<>=]|[<>=] ?({TIMES[table]})\b", bounds)
    }
    assert read_whole == {(begins, table) for begins, tables in MAY_READ_ALL.items() for table in tables}
