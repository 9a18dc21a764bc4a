"""Section 8: a column is added by the documented edits; dropping one is refused. In a copy of the project."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from tests.conftest import START
from tests.world import DAY, HOUR, World, at

PROJECT = Path(__file__).parent.parent
AGED = at("2025-02-10T00:00:00")


class Copy:
    """A copy of the project that a test may edit; its commands run in processes of their own."""

    def __init__(self, folder: Path, world: World):
        self.folder = folder / "project"
        self.world = world
        self.folder.mkdir()
        for name in ("config.yaml", "external_models.yaml"):
            shutil.copy(PROJECT / name, self.folder)
        for name in ("models", "macros", "audits", "extract", "scripts"):
            shutil.copytree(PROJECT / name, self.folder / name, ignore=shutil.ignore_patterns("__pycache__"))

    def edit(self, file: str, old: str, new: str, count: int = 1) -> None:
        path = self.folder / file
        text = path.read_text()
        assert text.count(old) >= count, f"{file} has no {old!r}"
        path.write_text(text.replace(old, new) if count > 1 else text.replace(old, new, 1))

    def run(self, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "SQLMESH__CACHE_DIR": str(self.folder / ".cache"), "PYTHONPATH": ""}
        command = [sys.executable, "-m", module, *arguments]
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)

    def cycle(self, time: str) -> None:
        result = self.run("scripts.run_cycle", "--source", self.world.source_url, "--at", time)
        assert result.returncode == 0, result.stderr + result.stdout

    def add_pieces_to_uti(self) -> None:
        """The documented edits: the one list of raw columns, and the model."""
        self.edit("external_models.yaml", "    status: INTEGER\n", "    status: INTEGER\n    pieces: INTEGER\n")
        model = "models/mart_uni_tracking_info.sql"
        self.edit(model, "    update_time BIGINT,\n    landed_at TIMESTAMP\n",
                  "    update_time BIGINT,\n    landed_at TIMESTAMP,\n    pieces INTEGER\n")  # fmt: skip
        self.edit(model, "    update_time,\n    landed_at\n", "    update_time,\n    landed_at,\n    pieces\n", count=2)
        self.edit(model, "    landed_at,\n    ROW_NUMBER()", "    landed_at,\n    pieces,\n    ROW_NUMBER()")
        self.edit(model, "tno DESC, status DESC", "tno DESC, status DESC, pieces DESC")
        self.edit(model, "tno, status)", "tno, status, pieces)")
        self.edit(model, "ranked.landed_at::TIMESTAMP AS landed_at /* When the row arrived here */",
                  "ranked.landed_at::TIMESTAMP AS landed_at, /* When the row arrived here */\n"
                  "  ranked.pieces::INTEGER AS pieces /* How many pieces the order has */")  # fmt: skip


@pytest.fixture
def copy(tmp_path: Path, make_world: Callable[..., World]) -> Copy:
    return Copy(tmp_path, make_world(planned=False))


def test_a_column_added_everywhere_reaches_history_before_the_next_archive(copy: Copy) -> None:
    world = copy.world
    world.order(1, AGED)
    world.order(2, START)
    copy.cycle("2025-09-01T00:20:00")
    assert world.history("uti") == [("2025_h1", 1)]

    world.source("ALTER TABLE uni_tracking_info ADD COLUMN pieces INTEGER")
    copy.add_pieces_to_uti()
    planned = copy.run("scripts.plan", "--yes", "--at", "2025-09-01T00:25:00")
    assert planned.returncode == 0, planned.stdout + planned.stderr
    # What was silent leaves later, with its new column; what is in history has none.
    world.insert("uni_tracking_info", [(3, "T3", 100, at("2025-03-01T00:00:00"), 7), (4, "T4", 100, START + DAY, 5)])
    copy.run(
        "extract", "reconcile", "--source", world.source_url, "--since", "2025-01-01", "--at", "2025-09-02T00:10:00"
    )
    copy.cycle("2025-09-02T00:20:00")
    assert world.history("uti", "order_id, pieces") == [("2025_h1", 1, None), ("2025_h1", 3, 7)]
    with duckdb.connect(str(world.warehouse_file)) as warehouse:
        held = warehouse.execute(
            "SELECT order_id, pieces FROM order_tracking.mart_uni_tracking_info ORDER BY 1"
        ).fetchall()
    assert held == [(2, None), (4, 5)]


def test_taking_an_added_column_back_is_refused_and_costs_nothing(copy: Copy) -> None:
    """Rolling back the files does not roll back the tables: the plan refuses, and cycles go on as planned before."""
    world = copy.world
    world.order(1, AGED)
    copy.cycle("2025-09-01T00:20:00")
    before = {file: file.read_text() for file in copy.folder.rglob("*") if file.suffix in (".sql", ".yaml")}
    world.source("ALTER TABLE uni_tracking_info ADD COLUMN pieces INTEGER")
    copy.add_pieces_to_uti()
    assert copy.run("scripts.plan", "--yes", "--at", "2025-09-01T00:25:00").returncode == 0
    old = at("2025-02-27T00:00:00")
    world.insert("uni_tracking_info", [(3, "T3", 100, START + HOUR, 7), (4, "T4", 100, old, 5)])
    copy.cycle("2025-09-01T01:20:00")

    for file, text in before.items():
        file.write_text(text)
    planned = copy.run("scripts.plan", "--yes", "--at", "2025-09-01T01:25:00")
    assert planned.returncode == 1
    assert "destructive" in (planned.stdout + planned.stderr).lower()
    world.insert("uni_tracking_info", [(5, "T5", 100, START + 2 * HOUR, 9)])
    copy.cycle("2025-09-01T02:20:00")
    held = "SELECT order_id, pieces FROM order_tracking.mart_uni_tracking_info ORDER BY 1"
    assert world.query(held) == [(3, 7), (5, None)]
    assert world.history("uti", "order_id, pieces") == [("2025_h1", 1, None), ("2025_h1", 4, 5)]


def test_dropping_a_mart_column_is_refused(copy: Copy) -> None:
    copy.world.order(1, START)
    copy.cycle("2025-09-01T00:20:00")
    copy.edit("config.yaml", "linter:\n  enabled: true", "linter:\n  enabled: false")  # it would refuse even sooner
    model = "models/mart_uni_tracking_spath.sql"
    copy.edit(model, "    code INTEGER,\n", "")
    copy.edit(model, "  code::INTEGER AS code, /* What the scan says */\n", "")
    planned = copy.run("scripts.plan", "--yes", "--at", "2025-09-01T00:25:00")
    assert planned.returncode == 1
    assert "destructive" in (planned.stdout + planned.stderr).lower()
    assert copy.world.query("SELECT code FROM order_tracking.mart_uni_tracking_spath") == [(100,)]


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("models/mart_uni_tracking_spath.sql", "pathtime BIGINT", "pathtime INTEGER"),
        ("models/mart_uni_tracking_info.sql", "tno VARCHAR(64)", "tno VARCHAR(32)"),
    ],
)
def test_narrowing_a_mart_column_is_refused(copy: Copy, file: str, old: str, new: str) -> None:
    copy.world.order(1, START)
    copy.cycle("2025-09-01T00:20:00")
    copy.edit(file, old, new)
    planned = copy.run("scripts.plan", "--yes", "--at", "2025-09-01T00:25:00")
    assert planned.returncode == 1, planned.stdout
    assert "destructive" in (planned.stdout + planned.stderr).lower()
