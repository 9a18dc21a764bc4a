"""The demo, with few orders and few single cycles: it starts anew, ends, and says what the warehouse holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts import demo


def test_the_demo_starts_anew_and_tells_what_it_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ORDER_TRACKING_DUCKDB", "ORDER_TRACKING_HISTORY_START", "PYTHON_DOTENV_DISABLED"):
        monkeypatch.setenv(name, "")  # the demo sets them; so they are put back afterwards
    # What a user may have set for production: the demo must not go there, nor tell anybody of what its checks find.
    monkeypatch.setenv("ORDER_TRACKING_GATEWAY", "redshift")
    monkeypatch.setenv("ALERT_URLS", "json://127.0.0.1:1/nobody-listens")
    monkeypatch.setenv("ORDER_TRACKING_START", "2026-06-01")
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "FOLDER": tmp_path,
        "SOURCE": tmp_path / "source.duckdb",
        "WAREHOUSE": tmp_path / "warehouse.duckdb",
        "FEWEST_CYCLES": 2,
        "BUDGET_SECONDS": 0,
    }.items():
        monkeypatch.setattr(demo, name, value)
    for left_behind in (demo.SOURCE, demo.WAREHOUSE, tmp_path / "warehouse.duckdb.wal"):
        left_behind.write_text("of a demo that was broken off")
    assert demo.main([]) == 0
    told = capsys.readouterr().out
    assert "2 of 96 cycles took the time there is; the rest of the day with one" in told
    held = dict(re.findall(r"^  (order_tracking\S+) +([\d,]+) ", told, re.MULTILINE))
    assert list(held) == [table for table, _ in demo.TABLES]
    assert "could not be delivered" not in told
    assert (returned := re.search(r"still in history: (\d+)\. Restoring them:", told)) and int(returned[1]) > 0
    assert f"order_status shows a partner for {returned[1]} of them" in told
    assert "ORDER_TRACKING_GATEWAY=local" in told.splitlines()[-3], "the commands to try must not go to production"
    for title in ("What was archived during the day", "What the checks found", "Cycle times", "What to try next"):
        assert title in told
    assert int(held["order_tracking_history.hist_uts_all"].replace(",", "")) > 0
    (order,) = demo._query("SELECT MIN(order_id) FROM order_tracking.mart_uni_tracking_info")[0]
    for _, sql in demo.QUERIES:
        assert demo._query(sql.format(order=order))
