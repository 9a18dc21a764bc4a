"""Where a cycle's time goes: its summary names the slowest statements, and a cycle that takes too long says so."""

from __future__ import annotations

import csv
import itertools
import logging
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from extract.errors import CycleFailed
from extract.source_duckdb import DuckDBSource
from scripts.statement_times import RETENTION, STATEMENTS, StatementLog, TimedStatement, slowest
from tests.conftest import START
from tests.support.commands import cycle as main
from tests.support.commands import extract as extract_main
from tests.support.world import DAY, MINUTE, World, moment


def summary(world: World) -> list[str]:
    told: list[str] = []
    world.order(1, START + MINUTE)
    world.cycle(report=told.append)
    return told


def test_a_quick_cycle_names_no_statement_and_warns_of_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.statement_times.NAMED_FROM", 60.0)
    assert [line.split()[0] for line in summary(world)] == ["start", "extract", "marts", "close", "total"]


def test_each_phase_tells_its_rows_and_seconds(world: World) -> None:
    told: list[str] = []
    world.order(1, START + MINUTE)
    world.order(2, START - 200 * DAY)
    world.order(3, START - 200 * DAY)
    world.scan(3, START + MINUTE)
    world.cycle(START + DAY + MINUTE, report=told.append)
    _, extract, marts = told[:3]
    assert re.search(r"extract +\d+\.\d s  10 rows read, 10 landed \(uni_tracking_info 3 in \d+\.\d s, ", extract), (
        extract
    )
    for model, rows in (
        ("mart_uni_tracking_info", " (1 archived),"),
        ("mart_ecs_order_info", " (1 archived),"),
        ("mart_uni_tracking_spath", " (2 archived),"),
        ("consistency_failures", ""),
    ):
        assert re.search(rf"{model} \d+\.\d s{re.escape(rows)}", marts), marts


@pytest.mark.slow
def test_what_the_first_plan_has_merged_is_not_told_of_the_cycle_after_it(make_world: Callable[..., World]) -> None:
    """Where rows landed before the plan, it takes them into the marts, and the cycle looks at them once more."""
    world = make_world(planned=False)
    told: list[str] = []
    world.order(1, START - DAY)
    world.order(2, START - 200 * DAY)
    assert extract_main(["--source", world.source_url, "--at", f"{moment(START + 10 * MINUTE):%Y-%m-%dT%H:%M:%S}"]) == 0
    world.cycle(START + 16 * MINUTE, report=told.append)
    (marts,) = [line for line in told if line.startswith("marts")]
    for model in ("mart_uni_tracking_info", "mart_uni_tracking_spath"):
        assert re.search(rf"{model} \d+\.\d s \(1 archived\)", marts), marts


def test_the_slowest_statements_are_named_shortly(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.statement_times.NAMED_FROM", 0.0)
    (line,) = [line for line in summary(world) if line.startswith("slowest")]
    assert line.count(" s,") == 2 and line.endswith(" s") and len(line) < 200, line


def test_only_statements_above_half_a_second_are_named_the_slowest_first() -> None:
    insert = '/* SQLMESH_PLAN: 1 */ INSERT INTO "w"."order_tracking__mart_ecs_order_info__12" (a) SELECT 1'
    statements = [
        TimedStatement("SELECT 1 FROM a.b", 0.4),
        TimedStatement('DELETE FROM "h"."hist_uti_2024_h1" USING x', 0.6),
        TimedStatement(insert, 2.04),
    ]
    assert slowest(statements) == "INSERT mart_ecs_order_info 2.0 s, DELETE hist_uti_2024_h1 0.6 s"
    assert slowest(statements[:1]) == ""


def test_the_total_is_the_phases_seconds_and_their_share_of_the_15_minutes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every phase looks at the stopwatch twice, and from one look to the next 30 seconds pass."""
    monkeypatch.setattr("scripts.run_cycle.time", SimpleNamespace(monotonic=itertools.count(0, 30).__next__))
    monkeypatch.setattr("scripts.statement_times.NAMED_FROM", 60.0)
    *phases, total = summary(world)
    assert [line[:19] for line in phases] == [f"{name:<10}   30.0 s" for name in ("start", "extract", "marts", "close")]
    assert total == "total       120.0 s  13.3% of the 15 minutes"


@pytest.mark.parametrize(
    ("seconds", "warned"),
    [
        (200, []),
        (
            201,
            ["warning: this cycle took 50% of the 15 minutes, marts 201 s of it (docs/recovery.md, 'A cycle is slow')"],
        ),
    ],
)
def test_a_cycle_above_half_of_its_15_minutes_warns(
    world: World, monkeypatch: pytest.MonkeyPatch, seconds: int, warned: list[str]
) -> None:
    """The marts take so many seconds, start, extract and close 250: 450 or 451 of 900."""
    looks = itertools.accumulate([0, 100, 0, 100, 0, seconds, 0, 50])
    monkeypatch.setattr("scripts.run_cycle.time", SimpleNamespace(monotonic=looks.__next__))
    assert [line for line in summary(world) if line.startswith("warning")] == warned


def test_a_source_that_keeps_one_waiting_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    reading = DuckDBSource.read

    def slow(*args: Any, **options: Any) -> Iterator[pa.RecordBatch]:
        for batch in reading(*args, **options):
            time.sleep(0.6)
            yield batch

    monkeypatch.setattr(DuckDBSource, "read", slow)
    (line,) = [line for line in summary(world) if line.startswith("extract")]
    for table in ("uni_tracking_info", "ecs_order_info", "uni_tracking_spath"):
        seconds = re.search(rf"{table} 1 in (\d+\.\d) s", line)
        assert seconds and float(seconds[1]) >= 0.6, line


def test_every_statement_and_its_seconds_can_be_written_to_a_file(world: World, tmp_path: Path) -> None:
    world.order(1, START + MINUTE)
    at = moment(START + 15 * MINUTE).isoformat()
    assert main(["--source", world.source_url, "--at", at, "--statements", str(tmp_path / "s.csv")]) == 0
    with (tmp_path / "s.csv").open() as file:
        rows = list(csv.DictReader(file))
    what = {row["what"] for row in rows}
    assert {"INSERT mart_uni_tracking_info", "DELETE mart_ecs_order_info"} <= what, what
    assert rows[0].keys() == {"seconds", "what", "sql"}
    assert all(float(row["seconds"]) >= 0 and row["sql"] for row in rows)


def test_the_statements_of_a_cycle_that_fails_are_written_too(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are what one wants to see then."""

    def breaks(*args: object) -> None:
        raise CycleFailed("no room")

    monkeypatch.setattr("scripts.run_cycle._run", breaks)
    file, at = tmp_path / "s.csv", moment(START + 15 * MINUTE).isoformat()
    assert main(["--source", world.source_url, "--at", at, "--statements", str(file)]) == 1
    assert file.read_text().startswith("seconds,what,sql\n") and file.read_text().count("\n") > 1


def note(name: str, level: int, *message: object) -> None:
    logging.getLogger(name).log(level, *message)


def test_a_statements_seconds_are_those_until_the_next_or_until_the_model_ends() -> None:
    log = StatementLog()
    with log.attached():
        note(STATEMENTS, logging.DEBUG, "Executing SQL: %s", "SELECT 1")
        time.sleep(0.1)
        note(STATEMENTS, logging.INFO, "Executing SQL: %s", "SELECT 2")
        log.end()
        time.sleep(0.1)
        note(STATEMENTS, logging.DEBUG, "Executing SQL: %s", "SELECT 3")
        time.sleep(0.1)
    note(STATEMENTS, logging.DEBUG, "Executing SQL: %s", "SELECT 4")
    assert [each.sql for each in log.statements] == ["SELECT 1", "SELECT 2", "SELECT 3"]
    assert [each.seconds >= 0.1 for each in log.statements] == [True, False, True]


def test_listening_to_the_log_prints_nothing_and_keeps_nothing_back(caplog: pytest.LogCaptureFixture) -> None:
    """Not even where somebody takes everything that is logged."""
    loggers = [logging.getLogger(name) for name in (STATEMENTS, RETENTION)]
    before = [(logger.level, logger.filters) for logger in loggers]
    log = StatementLog()
    caplog.handler.setLevel(logging.NOTSET)
    with log.attached():
        note(STATEMENTS, logging.DEBUG, "Executing SQL: %s", "SELECT 1")
        note(STATEMENTS, logging.DEBUG, "Data object cache hit: %s", "x")
        note(RETENTION, logging.INFO, "archived %s rows of %s", 43, "uti")
        note(STATEMENTS, logging.WARNING, "a warning stays a warning")
        note(RETENTION, logging.INFO, "a line of another shape")
    assert [record.getMessage() for record in caplog.records] == ["a warning stays a warning"]
    assert log.archived == {"uti": 43} and len(log.statements) == 1
    assert [(logger.level, logger.filters) for logger in loggers] == before
