"""A column is added by one line in external_models.yaml; dropping or narrowing one is refused."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
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
        for name in ("models", "macros", "audits", "extract", "scripts", "bench"):
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

    def add_columns(self, table: str, *columns: str) -> None:
        """All there is to do: lines in external_models.yaml, each a name and a type."""
        lines = "".join(f"    {column}\n" for column in columns)
        head, name, rest = (self.folder / "external_models.yaml").read_text().partition(f".{table}_raw\n")
        assert name, table
        rest = rest.replace("    landed_at: TIMESTAMP\n", lines + "    landed_at: TIMESTAMP\n", 1)
        (self.folder / "external_models.yaml").write_text(head + name + rest)

    def plan(self, time: str) -> None:
        planned = self.run("scripts.plan", "--yes", "--at", time)
        assert planned.returncode == 0, planned.stdout[-2000:] + planned.stderr


TABLES = {"uni_tracking_info": "uti", "ecs_order_info": "ecs", "uni_tracking_spath": "uts"}
ADDED = ("pieces: SMALLINT", "fragile: BOOLEAN", "weight: DECIMAL(8, 3)", "promised: DATE", "note: VARCHAR(40)")
IN_SOURCE = ("pieces SMALLINT", "fragile BOOLEAN", "weight DECIMAL(8, 3)", "promised DATE", "note VARCHAR(40)")
NAMES = "pieces, fragile, weight, promised, note"
VALUES = (7, True, Decimal("1.250"), dt.date(2025, 12, 24), "grün")
NOTHING = (None,) * 5


@pytest.fixture
def copy(tmp_path: Path, make_world: Callable[..., World]) -> Copy:
    return Copy(tmp_path, make_world(planned=False))


@pytest.mark.slow
def test_five_columns_of_five_types_reach_every_table_by_lines_in_one_file(copy: Copy) -> None:
    """With history present; on the day after a resident order ages out, and a late one leaves with its values."""
    world = copy.world
    copy.take_unit_tests()
    world.order(1, AGED)
    world.order(2, START)
    world.order(5, at("2025-03-01T12:00:00"))
    copy.cycle("2025-09-01T00:20:00")
    assert world.history("uti") == [("2025_h1", 1)]
    assert set(world.uti()) == {2, 5}

    for table in TABLES:
        for column in IN_SOURCE:
            world.source(f"ALTER TABLE {table} ADD COLUMN {column}")
        copy.add_columns(table, *ADDED)
    copy.plan("2025-09-01T00:25:00")
    for order, time in ((3, at("2025-03-01T00:00:00")), (4, START + DAY)):
        world.insert("ecs_order_info", [(order, 1, time, *VALUES)])
        world.insert("uni_tracking_spath", [(order, time, 100, 0, *VALUES)])
        world.insert("uni_tracking_info", [(order, f"T{order}", 100, time, *VALUES)])
    copy.cycle("2025-09-02T00:20:00", "--reconcile=2025-01-01")
    for table, alias in TABLES.items():
        held = world.history(alias, f"order_id, {NAMES}")
        assert held == [("2025_h1", 1, *NOTHING), ("2025_h1", 3, *VALUES), ("2025_h1", 5, *NOTHING)], alias
        held = world.query(f"SELECT order_id, {NAMES} FROM order_tracking.mart_{table} ORDER BY 1")
        assert held == [(2, *NOTHING), (4, *VALUES)], table
    copy.cycle("2025-09-03T00:20:00")  # the daily checks have seen all of it
    world.assert_whole()
    assert world.exceptions(open_only=False) == []

    world.source("UPDATE uni_tracking_info SET weight = 2.5, update_time = ? WHERE order_id = 4", START + 2 * DAY)
    copy.cycle("2025-09-03T00:40:00")
    held = world.query("SELECT weight FROM order_tracking.mart_uni_tracking_info WHERE order_id = 4")
    assert held == [(Decimal("2.500"),)], "a version differs by any of its columns"

    for table in TABLES:  # old rows get their values by a refresh, wherever they live, and only by it
        world.source(f"UPDATE {table} SET note = 'old' WHERE order_id IN (1, 2)")
    copy.cycle("2025-09-03T00:55:00")
    refreshed = copy.run(
        *("scripts.cli", "refresh", "--since", "2025-01-01", "--source", world.source_url),
        *("--at", "2025-09-03T01:10:00"),
    )
    assert refreshed.returncode == 0, refreshed.stderr
    copy.cycle("2025-09-03T01:10:00")
    for table, alias in TABLES.items():
        held = world.query(
            f"SELECT order_id, note FROM order_tracking.mart_{table} WHERE order_id = 2 UNION ALL "
            f"SELECT order_id, note FROM order_tracking_history.hist_{alias}_all WHERE order_id = 1 ORDER BY 1"
        )
        assert held == [(1, "old"), (2, "old")], table


@pytest.mark.slow
def test_a_column_with_the_name_of_another_tables_event_time_may_be_null(copy: Copy) -> None:
    """Real tables have an add_time in the status, an update_time in the metadata: there a NULL is a value as any."""
    world = copy.world
    named = {"uti": "add_time: BIGINT", "ecs": "update_time: VARCHAR(20)", "uts": "update_time: BIGINT"}
    for table, alias in TABLES.items():
        name, kind = named[alias].split(": ")
        world.source(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")
        copy.add_columns(table, named[alias])
    world.order(1, AGED)
    world.order(2, START)
    world.source("UPDATE ecs_order_info SET update_time = 'yesterday' WHERE order_id = 2")
    copy.cycle("2025-09-01T00:20:00")
    copy.cycle("2025-09-01T00:35:00")
    copy.cycle("2025-09-02T00:20:00", "--reconcile")  # the daily checks have seen all of it
    for table, alias in TABLES.items():
        assert world.query(f"SELECT order_id FROM order_tracking.mart_{table}") == [(2,)], alias
        assert world.history(alias) == [("2025_h1", 1)], alias
        landed = world.query(f"SELECT order_id FROM order_tracking_raw.{table}_raw ORDER BY 1")
        assert landed == [(1,), (2,)], f"{alias} landed twice"
    world.assert_whole()

    world.source("UPDATE uni_tracking_spath SET update_time = 77 WHERE order_id = 2")
    code = "from scripts.cli import main; raise SystemExit(main())"
    moment = ["--source", world.source_url, "--at", "2025-09-02T00:25:00"]
    for command in (["refresh", "--since", "2025-08-31", *moment], ["order", "2"], ["verify", *moment]):
        done = subprocess.run([sys.executable, "-c", code, *command], cwd=copy.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert world.query("SELECT update_time FROM order_tracking.mart_uni_tracking_spath") == [(77,)]


@pytest.mark.slow
def test_the_simulated_source_has_the_columns_of_the_file_too(copy: Copy) -> None:
    for table in TABLES:
        copy.add_columns(table, *ADDED)
    copy.world.source_file.unlink()
    code = "from scripts.cli import main; raise SystemExit(main())"
    simulate = ["simulate", "--source", copy.world.source_url, "--orders", "50", "--months", "2", "--seed", "1"]
    command = [sys.executable, "-c", code, *simulate, "--at", "2025-09-01T00:15:00"]
    done = subprocess.run(command, cwd=copy.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    copy.cycle("2025-09-01T00:20:00")
    for table in TABLES:
        counted = ", ".join(f"COUNT({name})" for name in NAMES.split(", "))
        (counts,) = copy.world.query(f"SELECT COUNT(*), {counted} FROM order_tracking.mart_{table}")
        assert len(set(counts)) == 1 and counts[0] > 0, (table, counts)


@pytest.mark.slow
def test_taking_an_added_column_back_is_refused_and_costs_nothing(copy: Copy) -> None:
    """Rolling back the file does not roll back the tables: plan and cycle refuse, before a row lands without a value.

    What changed meanwhile lands whole once the line stands again.
    """
    world = copy.world
    world.order(1, AGED)
    copy.cycle("2025-09-01T00:20:00")
    before = (copy.folder / "external_models.yaml").read_text()
    world.source("ALTER TABLE uni_tracking_info ADD COLUMN pieces INTEGER")
    copy.add_columns("uni_tracking_info", "pieces: INTEGER")
    after = (copy.folder / "external_models.yaml").read_text()
    copy.plan("2025-09-01T00:25:00")
    old = at("2025-02-27T00:00:00")
    world.insert("uni_tracking_info", [(3, "T3", 100, START + HOUR, 7), (4, "T4", 100, old, 5)])
    copy.cycle("2025-09-01T01:20:00")

    (copy.folder / "external_models.yaml").write_text(before)
    world.insert("uni_tracking_info", [(5, "T5", 100, START + 2 * HOUR, 9)])
    for command in (
        ("scripts.plan", "--yes", "--at", "2025-09-01T01:25:00"),
        ("scripts.run_cycle", "--source", world.source_url, "--at", "2025-09-01T02:20:00"),
    ):
        refused = copy.run(*command)
        assert refused.returncode == 2, refused.stdout + refused.stderr
        assert "lacks columns" in refused.stderr and "uni_tracking_info_raw has pieces; nothing was" in refused.stderr
    held = "SELECT order_id, pieces FROM order_tracking.mart_uni_tracking_info ORDER BY 1"
    assert world.query(held) == [(3, 7)]

    (copy.folder / "external_models.yaml").write_text(after)
    copy.cycle("2025-09-01T02:25:00")
    assert world.query(held) == [(3, 7), (5, 9)]
    assert world.history("uti", "order_id, pieces") == [("2025_h1", 1, None), ("2025_h1", 4, 5)]


@pytest.mark.slow
def test_a_line_that_was_never_planned_may_be_corrected_or_taken_back(copy: Copy) -> None:
    """A misspelled one stops a cycle before it makes a column; one that was tried in dev leaves production as it is."""
    world = copy.world
    world.order(1, AGED)
    world.order(2, at("2025-03-01T00:30:00"))
    copy.cycle("2025-09-01T00:20:00")
    before = (copy.folder / "external_models.yaml").read_text()
    world.source("ALTER TABLE uni_tracking_info ADD COLUMN pieces INTEGER")
    world.insert("uni_tracking_info", [(3, "T3", 100, START + HOUR, 7)])

    copy.add_columns("uni_tracking_info", "peices: INTEGER")
    cycle = ("scripts.run_cycle", "--source", world.source_url, "--at", "2025-09-01T01:20:00")
    refused = copy.run(*cycle)
    assert refused.returncode == 1 and "peices" in refused.stderr, refused.stdout + refused.stderr
    raw = "SELECT column_name FROM duckdb_columns() WHERE table_name = 'uni_tracking_info_raw'"
    assert ("peices",) not in world.query(raw)

    tried = copy.run("scripts.plan", "dev", "--yes", "--at", "2025-09-01T01:21:00")
    assert tried.returncode == 0, tried.stdout + tried.stderr
    assert ("peices",) in world.query(raw)
    (copy.folder / "external_models.yaml").write_text(before)
    world.order(4, at("2025-09-02T00:00:00"))
    copy.cycle("2025-09-02T00:20:00")
    assert world.history("uti") == [("2025_h1", 1), ("2025_h1", 2)]

    copy.add_columns("uni_tracking_info", "pieces: INTEGER")
    copy.plan("2025-09-02T00:25:00")
    world.insert("uni_tracking_info", [(5, "T5", 100, at("2025-09-02T00:30:00"), 9)])
    copy.cycle("2025-09-02T00:35:00", "--reconcile")
    held = "SELECT order_id, pieces FROM order_tracking.mart_uni_tracking_info ORDER BY 1"
    assert world.query(held) == [(3, 7), (4, None), (5, 9)]
    assert world.history("uti", "order_id, pieces") == [("2025_h1", 1, None), ("2025_h1", 2, None)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new"), [("    partner_id: INTEGER\n", "    partner_id: SMALLINT\n"), ("VARCHAR(64)", "VARCHAR(32)")]
)
def test_narrowing_a_mart_column_is_refused(copy: Copy, old: str, new: str) -> None:
    copy.world.order(1, START)
    copy.cycle("2025-09-01T00:20:00")
    copy.edit("external_models.yaml", old, new)
    planned = copy.run("scripts.plan", "--yes", "--at", "2025-09-01T00:25:00")
    assert planned.returncode == 1, planned.stdout
    assert "destructive" in (planned.stdout + planned.stderr).lower()
