"""SQLMesh's own unit tests (tests/test_*.yaml) of the mart queries and the daily checks, and the checks' audits."""

from __future__ import annotations

import datetime as dt
import io
import re

import duckdb
from sqlmesh.core.context import Context

MODELS = {
    "order_tracking.mart_uni_tracking_info",
    "order_tracking.mart_ecs_order_info",
    "order_tracking.mart_uni_tracking_spath",
    "order_tracking.consistency_failures",
}


def test_each_check_has_its_audit_which_finds_that_days_rows_of_it_and_only_warns(context: Context) -> None:
    model = context.get_model("order_tracking.consistency_failures", raise_if_missing=True)
    names = set(
        re.findall(r"'(\w+)'::VARCHAR\(64\) AS check_name|check_name = '(archive_unrouted)'", model._path.read_text())
    )
    checks = {one or other for one, other in names}
    found = {}
    with duckdb.connect(":memory:") as day:
        day.execute("CREATE SCHEMA order_tracking")
        day.execute("CREATE TABLE order_tracking.consistency_failures (check_name VARCHAR, checked_on DATE)")
        for check in checks:
            day.execute("INSERT INTO order_tracking.consistency_failures VALUES (?, '2025-09-01')", [check])
            day.execute("INSERT INTO order_tracking.consistency_failures VALUES (?, '2025-09-02')", [check])
        for audit, _ in model.audits_with_args:
            assert not audit.blocking, audit.name
            query = model.render_audit_query(audit, start="2025-09-01", end="2025-09-01").sql("duckdb")
            found[audit.name] = day.execute(query.replace('"warehouse".', "")).fetchall()
    assert found == {check: [(check, dt.date(2025, 9, 1))] for check in checks}


def test_the_queries_do_what_their_unit_tests_say(context: Context) -> None:
    told = io.StringIO()
    result = context.test(stream=told)
    tested = {str(test.model_name).replace('"', "").split(".", 1)[1] for test in context.select_tests()}
    assert tested == MODELS
    faults = [f"{test}\n{error}" for test, error in [*result.failures, *result.errors]]
    assert result.testsRun == 18 and result.wasSuccessful(), "\n".join(faults)
