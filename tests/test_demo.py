"""The demo, with few orders and few single cycles: it ends, twice, and says what the warehouse holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts import demo


def test_the_demo_runs_twice_and_tells_what_it_left(
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
    told = []
    for _ in range(2):
        assert demo.main([]) == 0
        told.append(capsys.readouterr().out)
    assert "2 of 96 cycles took the time there is; the rest of the day with one" in told[0]
    counts = [re.findall(r"^  (order_tracking\S+) +([\d,]+) ", text, re.MULTILINE) for text in told]
    assert counts[0] == counts[1] and len(counts[0]) == len(demo.TABLES), "the same orders every time"
    for title in ("What was archived during the day", "What the checks found", "Cycle times", "What to try next"):
        assert title in told[1]
    held = dict(counts[1])
    assert int(held["order_tracking_history.hist_uts_all"].replace(",", "")) > 0
    for _, sql in demo.QUERIES[:1]:
        assert demo._query(sql)
