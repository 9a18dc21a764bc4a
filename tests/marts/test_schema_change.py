"""Section 8: a column is added by the documented edits; dropping one is refused. In a copy of the project."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import START
from tests.support.world import DAY, HOUR, World, at

PROJECT = Path(__file__).parents[2]
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

    def take_unit_tests(self) -> None:
        """From now on a plan runs them, as it does in the project."""
        (self.folder / "tests").mkdir()
        for file in (PROJECT / "tests" / "marts").glob("*.yaml"):
            shutil.copy(file, self.folder / "tests")

    def edit(self, file: str, old: str, new: str, count: int = 1) -> None:
        path = self.folder / file
        text = path.read_text()
        assert text.count(old) >= count, f"{file} has no {old!r}"
        path.write_text(text.replace(old, new) if count > 1 else text.replace(old, new, 1))

    def run(self, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "SQLMESH__CACHE_DIR": str(self.folder / ".cache"), "PYTHONPATH": ""}
        command = [sys.executable, "-m", module, *arguments]
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)

    def cycle(self, time: str, *options: str) -> None:
        result = self.run("scripts.run_cycle", "--source", self.world.source_url, "--at", time, *options)
        assert result.returncode == 0, result.stderr + result.stdout

    def add_pieces(self, table: str) -> None:
        """The edits that docs/operations.md tells under "A column is added": the list of raw columns, and the model."""
        last, ties, age = EDITED[table]
        kind = "INTEGER" if last == "traceseq" else "BIGINT"
        self.edit("external_models.yaml", f"    {last}: {kind}\n", f"    {last}: {kind}\n    pieces: INTEGER\n")
        model = f"models/mart_{table}.sql"
        self.edit(model, f"    {last} {kind},\n    landed_at TIMESTAMP\n",
                  f"    {last} {kind},\n    landed_at TIMESTAMP,\n    pieces INTEGER\n")  # fmt: skip
        ctes = 2 if age else 1
        self.edit(model, f"    {last},\n    landed_at\n", f"    {last},\n    landed_at,\n    pieces\n", count=ctes)
        self.edit(model, "    landed_at,\n    ROW_NUMBER()", "    landed_at,\n    pieces,\n    ROW_NUMBER()")
        ranked = "ranked." if age else ""
        self.edit(model, f"  {ranked}landed_at::TIMESTAMP AS landed_at /* When the row arrived here */",
                  f"  {ranked}landed_at::TIMESTAMP AS landed_at, /* When the row arrived here */\n"
                  f"  {ranked}pieces::INTEGER AS pieces /* How many pieces it has */")  # fmt: skip
        if age:
            self.edit(model, ties, f"{ties}, pieces DESC")
            self.edit(model, f"held, {age})", f"held, {age}, pieces)")

    def add_pieces_to_the_checks(self, table: str) -> None:
        """And that of the daily checks, which read history: once it has the column, which the next cycle sees to."""
        _, _, age = EDITED[table]
        if age:
            self.edit("models/consistency_failures.sql", f"{age})", f"{age}, pieces)", count=3)
            short = {"uni_tracking_info": "uti", "ecs_order_info": "ecs"}[table]
            held = f"columns: &hist_{short} {{"
            self.edit("tests/marts/test_consistency_failures.yaml", held, held + "pieces: INTEGER, ")

    def plan(self, time: str) -> None:
        planned = self.run("scripts.plan", "--yes", "--at", time)
        assert planned.returncode == 0, planned.stdout[-2000:] + planned.stderr


EDITED = {
    "uni_tracking_info": ("update_time", "tno DESC, status DESC", "update_time, landed_at, tno, status"),
    "ecs_order_info": ("add_time", "landed_at DESC, partner_id DESC", "add_time, landed_at, partner_id"),
    "uni_tracking_spath": ("traceseq", "", ""),
}
"""Table -> its last column before landed_at, the ranking's end, and what tells a version's age (a scan has none)."""


@pytest.fixture
def copy(tmp_path: Path, make_world: Callable[..., World]) -> Copy:
    return Copy(tmp_path, make_world(planned=False))


def test_columns_added_everywhere_reach_history_before_the_next_archive(copy: Copy) -> None:
    """A column for each table, between two cycles; on the same day a resident order ages out, and a late one leaves."""
    world = copy.world
    copy.take_unit_tests()
    world.order(1, AGED)
    world.order(2, START)
    world.order(5, at("2025-03-01T12:00:00"))
    copy.cycle("2025-09-01T00:20:00")
    assert world.history("uti") == [("2025_h1", 1)]
    assert set(world.uti()) == {2, 5}

    for table in EDITED:
        world.source(f"ALTER TABLE {table} ADD COLUMN pieces INTEGER")
        copy.add_pieces(table)
    copy.plan("2025-09-01T00:25:00")
    for order, time, pieces in ((3, at("2025-03-01T00:00:00"), 7), (4, START + DAY, 5)):
        world.insert("ecs_order_info", [(order, 1, time, pieces)])
        world.insert("uni_tracking_spath", [(order, time, 100, 0, pieces)])
        world.insert("uni_tracking_info", [(order, f"T{order}", 100, time, pieces)])
    copy.cycle("2025-09-02T00:20:00", "--reconcile=2025-01-01")
    for short in ("uti", "ecs", "uts"):
        held = world.history(short, "order_id, pieces")
        assert held == [("2025_h1", 1, None), ("2025_h1", 3, 7), ("2025_h1", 5, None)], short
    for table in EDITED:
        held = world.query(f"SELECT order_id, pieces FROM order_tracking.mart_{table} ORDER BY 1")
        assert held == [(2, None), (4, 5)], table
    for table in EDITED:
        copy.add_pieces_to_the_checks(table)
    copy.plan("2025-09-02T00:25:00")
    copy.cycle("2025-09-03T00:20:00")  # the daily checks have seen all of it
    world.assert_whole()
    assert world.exceptions(open_only=False) == []


def test_taking_an_added_column_back_is_refused_and_costs_nothing(copy: Copy) -> None:
    """Rolling back the files does not roll back the tables: the plan refuses, and cycles go on as planned before."""
    world = copy.world
    world.order(1, AGED)
    copy.cycle("2025-09-01T00:20:00")
    before = {file: file.read_text() for file in copy.folder.rglob("*") if file.suffix in (".sql", ".yaml")}
    world.source("ALTER TABLE uni_tracking_info ADD COLUMN pieces INTEGER")
    copy.add_pieces("uni_tracking_info")
    copy.plan("2025-09-01T00:25:00")
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
