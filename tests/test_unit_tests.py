"""SQLMesh's own unit tests (tests/test_*.yaml) of the mart queries and the daily checks, as part of all tests."""

from __future__ import annotations

import io
from contextlib import closing
from pathlib import Path

import pytest
from sqlmesh.core.console import NoopConsole, set_console
from sqlmesh.core.context import Context

from extract.config import PROJECT

MODELS = {
    "order_tracking.mart_uni_tracking_info",
    "order_tracking.mart_ecs_order_info",
    "order_tracking.mart_uni_tracking_spath",
    "order_tracking.consistency_failures",
}


def test_the_queries_do_what_their_unit_tests_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDER_TRACKING_DUCKDB", str(tmp_path / "warehouse.duckdb"))
    set_console(NoopConsole())
    with closing(Context(paths=str(PROJECT), gateway="local")) as context:
        told = io.StringIO()
        result = context.test(stream=told)
        tested = {str(test.model_name).replace('"', "").split(".", 1)[1] for test in context.select_tests()}
    assert tested == MODELS
    faults = [f"{test}\n{error}" for test, error in [*result.failures, *result.errors]]
    assert result.testsRun == 17 and result.wasSuccessful(), "\n".join(faults)
