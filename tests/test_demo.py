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
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "FOLDER": tmp_path,
        "SOURCE": tmp_path / "source.duckdb",
        "WAREHOUSE": tmp_path / "warehouse.duckdb",
        "ORDERS": 1500,
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
    for title in ("What was archived during the day", "What the checks found", "Cycle times", "What to try next"):
        assert title in told
    assert int(held["order_tracking_history.hist_uts_all"].replace(",", "")) > 0
    for _, sql in demo.QUERIES[:1]:
        assert demo._query(sql)
