"""SQLMesh's own unit tests (tests/test_*.yaml) of the mart queries and the daily checks, and the checks' audits."""

from __future__ import annotations

import datetime as dt
import io
from pathlib import Path

import duckdb
from sqlmesh.core.context import Context

from extract.settings import PROJECT

CHECKS = {file.stem for file in (Path(PROJECT) / "models" / "checks").glob("*.sql")}
MODELS = {
    "order_tracking.mart_uni_tracking_info",
    "order_tracking.mart_ecs_order_info",
    "order_tracking.mart_uni_tracking_spath",
    *(f"order_tracking.{check}" for check in CHECKS if check != "landed_but_missing"),
    *(f"order_tracking.{part}" for part in ("newest_scan", "order_creation", "reused_number")),
}
"""Of landed_but_missing the fixtures would have to name every column: tests/marts/test_checks.py."""


def test_each_check_has_its_audit_which_finds_that_days_rows_of_it_and_only_warns(context: Context) -> None:
    model = context.get_model("order_tracking.consistency_failures", raise_if_missing=True)
    found = {}
    with duckdb.connect(":memory:") as day:
        day.execute("CREATE SCHEMA order_tracking")
        day.execute("CREATE TABLE order_tracking.consistency_failures (check_name VARCHAR, checked_on DATE)")
        for check in CHECKS:
            day.execute("INSERT INTO order_tracking.consistency_failures VALUES (?, '2025-09-01')", [check])
            day.execute("INSERT INTO order_tracking.consistency_failures VALUES (?, '2025-09-02')", [check])
        for audit, _ in model.audits_with_args:
            assert not audit.blocking, audit.name
            query = model.render_audit_query(audit, start="2025-09-01", end="2025-09-01").sql("duckdb")
            found[audit.name] = day.execute(query.replace('"warehouse".', "")).fetchall()
    assert found == {check: [(check, dt.date(2025, 9, 1))] for check in CHECKS}


def test_the_queries_do_what_their_unit_tests_say(context: Context) -> None:
    told = io.StringIO()
    result = context.test(stream=told)
    tested = {str(test.model_name).replace('"', "").split(".", 1)[1] for test in context.select_tests()}
    assert tested == MODELS
    faults = [f"{test}\n{error}" for test, error in [*result.failures, *result.errors]]
    assert result.testsRun == len(context.select_tests()) and result.wasSuccessful(), "\n".join(faults)
