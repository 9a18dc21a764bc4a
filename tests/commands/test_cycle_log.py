"""The log of cycles: each leaves one row, whatever became of it, and the log fails none."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from extract.ensure_tables import EXTRACT_LOG, OWN_TABLES
from extract.errors import CycleFailed, LockHeld, SourceError
from extract.lock import run_lock
from extract.run import extract
from scripts import cycle_log
from tests.conftest import START
from tests.support.commands import cycle as cycle_command
from tests.support.world import DAY, MINUTE, World

LOG = "order_tracking_history.cycle_log"


def logged(world: World, columns: str = "outcome") -> list[Any]:
    """The cycles after the one that made the empty warehouse, the oldest first."""
    rows = world.query(f"SELECT {columns} FROM {LOG} WHERE cycle_at > '2025-09-01 00:00:00' ORDER BY started_at")
    return rows if "," in columns else [row[0] for row in rows]


def break_the_run(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def breaks(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("scripts.run_cycle._run", breaks)


def test_a_cycle_leaves_one_row_with_its_rows_phases_and_freshness(world: World) -> None:
    world.order(1, START + MINUTE)
    world.order(2, START - 200 * DAY)
    world.insert("uni_tracking_spath", [(0, START, 100, 0)])
    world.cycle()
    ((moment, seconds, outcome, landed, rejected, archived, uti, ecs, uts, phases, warnings, error),) = logged(
        world,
        "cycle_at::VARCHAR, seconds, outcome, rows_landed, rows_rejected, rows_archived, newest_uti, newest_ecs, "
        "newest_uts, phases, warnings, error",
    )
    assert (moment, outcome, landed, rejected, archived) == ("2025-09-01 00:15:00", "done", 6, 1, 3)
    assert (uti, ecs, uts) == (START + MINUTE,) * 3
    start, extract, marts = json.loads(phases)
    assert start == {"phase": "start", "seconds": start["seconds"]}
    assert extract == {"phase": "extract", "seconds": extract["seconds"], "read": 7, "landed": 6, "rejected": 1}
    assert (marts["archived"], marts["archived_uti"], marts["archived_uts"]) == (3, 1, 1)
    assert seconds >= start["seconds"] + extract["seconds"] + marts["seconds"] > 0
    assert (warnings, error) == (None, None)


def test_the_warnings_of_a_cycle_stand_in_its_row(world: World) -> None:
    world.status(7, 200, START - 60 * MINUTE)  # no scans, no metadata
    world.cycle()
    world.cycle(START + DAY + 16 * MINUTE)
    (_, warnings) = logged(world, "warnings")
    named = {line.split(":")[0] for line in warnings.splitlines()}
    assert named >= {"order_without_ecs", "order_without_scans"}


def test_a_cycle_that_fails_leaves_its_row_without_passwords(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_PASSWORD", "hunter2hunter2")
    world.order(1, START)
    break_the_run(monkeypatch, CycleFailed("sqlmesh run failed:\nno login with hunter2hunter2"))
    with pytest.raises(CycleFailed):
        world.cycle()
    ((outcome, error, landed, phases),) = logged(world, "outcome, error, rows_landed, phases")
    assert (outcome, error, landed) == ("failed", "sqlmesh run failed: no login with ***", 3)
    assert [phase["phase"] for phase in json.loads(phases)] == ["start", "extract"]


def test_a_cycle_whose_reconcile_fails_leaves_its_row_as_failed_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **options: Any) -> Any:
        if options.get("kind") == "reconcile":
            raise SourceError("gone away")
        return extract(*args, **options)

    world.order(1, START)
    monkeypatch.setattr("scripts.run_cycle.extract", broken)
    with pytest.raises(CycleFailed):
        world.cycle(reconcile_since=START)
    ((outcome, error, phases),) = logged(world, "outcome, error, phases")
    assert outcome == "failed" and error.startswith("The reconcile failed: gone away")
    assert [phase["phase"] for phase in json.loads(phases)] == ["start", "extract", "reconcile", "marts"]
    assert cycle_log.kept_rows("local") == [] and world.uti()


def test_what_a_reconcile_warns_of_stands_in_the_row(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def warns(*args: Any, **options: Any) -> Any:
        runs = extract(*args, **options)
        return [replace(run, warnings=["it is odd"]) for run in runs] if options.get("kind") == "reconcile" else runs

    monkeypatch.setattr("scripts.run_cycle.extract", warns)
    world.cycle(reconcile_since=START)
    assert "it is odd" in logged(world, "warnings")[0]


def test_a_cycle_that_is_interrupted_leaves_its_row(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    break_the_run(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        world.cycle()
    assert logged(world, "outcome, error") == [("failed", "KeyboardInterrupt")]


def test_a_cycle_that_is_interrupted_when_all_is_done_is_done(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("STATUS_PAGE", str(tmp_path / "status.html"))
    monkeypatch.setattr("scripts.run_cycle.write_page_at", interrupted)
    with pytest.raises(KeyboardInterrupt):
        world.cycle()
    assert logged(world) == ["done"] and cycle_log.kept_rows("local") == []


def test_what_is_refused_or_locked_out_is_entered_by_the_next_cycle_once(world: World) -> None:
    with run_lock("local"), pytest.raises(LockHeld):
        world.cycle()
    assert cycle_command(["--source", "duckdb:///nowhere.duckdb", "--at", "2025-09-01T00:20"]) == 1
    assert [row["outcome"] for row in cycle_log.kept_rows("local")] == ["locked", "failed"]
    # It is refused by what the marts have reached, so it could open the warehouse and enters its row itself.
    assert cycle_command(["--source", world.source_url, "--at", "2025-08-01"]) == 2
    world.cycle(START + 31 * MINUTE)
    world.cycle(START + 46 * MINUTE)
    rows = world.query(f"SELECT outcome, strftime(cycle_at, '%d. %H:%M'), error FROM {LOG} ORDER BY started_at")[1:]
    assert [row[:2] for row in rows] == [
        ("locked", "01. 00:15"),
        ("failed", "01. 00:20"),
        ("refused", "01. 00:00"),
        ("done", "01. 00:31"),
        ("done", "01. 00:46"),
    ]
    assert "nothing was done" in rows[0][2] and "nowhere.duckdb" in rows[1][2]
    assert cycle_log.kept_rows("local") == []


def test_a_warehouse_of_somebody_else_gets_no_row(make_world: Callable[..., World]) -> None:
    """Also where the row would fit: only the type of a column tells that the table is not ours."""
    world = make_world(planned=False)
    for schema in ("order_tracking_raw", "order_tracking_history"):
        world.execute(f"CREATE SCHEMA {schema}")
    world.execute(f"CREATE TABLE {EXTRACT_LOG} ({OWN_TABLES[EXTRACT_LOG]})")
    world.execute(f"CREATE TABLE {LOG} ({OWN_TABLES[LOG].replace('seconds DOUBLE PRECISION', 'seconds VARCHAR')})")
    assert cycle_command(["--source", world.source_url, "--at", "2025-09-01T00:15"]) == 2
    assert world.query(f"SELECT COUNT(*) FROM {LOG}") == [(0,)]
    assert [row["outcome"] for row in cycle_log.kept_rows("local")] == ["refused"]


def test_a_log_that_cannot_be_written_is_a_warning_and_its_row_comes_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*args: object) -> None:
        raise ZeroDivisionError("no room")

    with monkeypatch.context() as patch:
        patch.setattr("scripts.cycle_log.enter", breaks)
        cycle = world.cycle()
    assert cycle.warnings == [f"{LOG} could not be written, the next cycle does it: no room"]
    world.cycle()
    assert logged(world) == ["done", "done"]


def test_a_folder_that_cannot_be_written_fails_no_cycle(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*args: object) -> None:
        raise OSError("read-only")

    told: list[str] = []
    monkeypatch.setattr("scripts.cycle_log.enter", breaks)
    monkeypatch.setattr("scripts.cycle_log.keep", breaks)
    world.cycle(report=told.append)
    assert any(line.startswith(f"warning: {LOG} lacks this cycle") and "read-only" in line for line in told)


def test_whoever_interrupts_the_alerts_of_a_cycle_that_fails_loses_neither_its_row_nor_its_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("ALERT_URLS", "json://127.0.0.1:9")
    monkeypatch.setattr("scripts.news.send_alerts", interrupted)
    with pytest.raises(KeyboardInterrupt) as raised:
        world.cycle(source="duckdb:///nowhere.duckdb")
    (kept,) = cycle_log.kept_rows("local")
    assert kept["outcome"] == "failed" and "nowhere.duckdb" in kept["error"]
    assert "nowhere.duckdb" in str(raised.value.__context__)


def test_a_cycle_that_fails_tells_what_it_warned_of_before(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setenv("ORDER_TRACKING_SOURCE", "mysql://reader:Hunter-22-x@db/orders")
    monkeypatch.setattr(
        "scripts.run_cycle.stale_lines", lambda *_: {"t": "a table is silent (mysql://reader:Hunter-22-x@db)"}
    )
    break_the_run(monkeypatch, CycleFailed("sqlmesh run failed"))
    with pytest.raises(CycleFailed):
        world.cycle(report=told.append)
    assert told[-1].startswith("warning: a table is silent")
    assert "Hunter" not in told[-1]


def test_a_warning_that_comes_after_the_row_is_added_to_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("scripts.run_cycle.WARNED_SHARE", 0.0)
        world.cycle()
    assert logged(world, "warnings") == [None]
    (kept,) = cycle_log.kept_rows("local")
    assert kept["warnings"].startswith("this cycle took")
    for _ in range(2):
        world.cycle()
        cycle_log.keep("local", kept)  # as a cycle leaves it that dies between the entering and the emptying
    (first, *others) = logged(world, "warnings")
    assert first == kept["warnings"] and others == [None, None]


def test_a_line_that_was_broken_off_does_no_harm(world: World) -> None:
    cycle_log.kept_file("local").write_text('{"cycle_at": "2025-')
    world.cycle()
    assert logged(world) == ["done"]
    assert cycle_log.kept_file("local").read_text() == ""


def test_a_row_after_one_that_was_broken_off_is_kept(world: World) -> None:
    cycle_log.kept_file("local").write_text('{"cycle_at": "2025-')
    with run_lock("local"):
        for _ in range(2):
            with pytest.raises(LockHeld):
                world.cycle()
    assert [row["outcome"] for row in cycle_log.kept_rows("local")] == ["locked", "locked"]
