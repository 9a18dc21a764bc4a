"""`order-tracking lateness`: what is late, who caught it, and which buffer would do."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from scripts.lateness import DAY, HOUR, MINUTE, Arrivals, judge, percentile
from tests.conftest import START
from tests.support.commands import lateness as lateness_command
from tests.support.commands import refresh as refresh_command
from tests.support.world import World, moment

NOW = START + 40 * DAY


def asked(world: World, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert lateness_command(["--json", "--at", f"{moment(world.now):%Y-%m-%dT%H:%M:%S}"]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


def scans(report: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = report["tables"][2]
    return found


def late(of_table: dict[str, Any]) -> dict[str, int]:
    """Classes of lateness that have rows."""
    return {end: rows for end, rows in of_table["late_rows"].items() if rows}


def test_a_late_row_is_counted_by_how_far_it_lay_behind_and_by_who_brought_it(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.order(1, START + 10 * MINUTE)
    world.order(2, START - 90 * DAY)  # the first load: old, and never late
    world.cycle(START + 15 * MINUTE)
    world.scan(1, START + 2 * HOUR)
    world.cycle(START + 2 * HOUR)
    world.insert("uni_tracking_spath", [(1, START + 2 * HOUR - 20 * MINUTE, 150, 7)])  # within the buffer
    world.insert("uni_tracking_spath", [(1, START + 30 * MINUTE, 151, 8)])  # behind it
    world.scan(1, START + 2 * HOUR + 14 * MINUTE)
    world.cycle(START + 2 * HOUR + 15 * MINUTE)
    of_scans = scans(asked(world, capsys))
    assert late(of_scans) == {"0": 2, "1800": 1} and of_scans["caught_by_buffer"] == 1
    world.cycle(START + 2 * HOUR + 30 * MINUTE, reconcile_since=START - DAY)
    report = asked(world, capsys)
    of_scans = scans(report)
    assert late(of_scans) == {"0": 2, "1800": 1, "7200": 1} and of_scans["brought_by_reconcile"] == 1
    assert report["reconciles"] == 1 and of_scans["rows"] == 4
    assert late(report["tables"][1]) == {}, "metadata came with the first load alone"


@pytest.mark.slow
def test_the_age_of_a_row_is_counted_to_the_moment_of_its_landing(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """`landed_at` is up to a quarter-hour earlier, and the log knows better."""
    world.order(1, START)
    world.cycle(START + 15 * MINUTE)
    world.scan(1, START + 20 * MINUTE)
    world.cycle(START + 44 * MINUTE)
    assert scans(asked(world, capsys))["age_seconds"] == dict.fromkeys(["50", "90", "99", "99.9", "100"], 24 * MINUTE)


@pytest.mark.slow
def test_rows_that_somebody_brought_or_that_are_dated_ahead_are_not_late(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.order(1, START)
    world.cycle(START + 15 * MINUTE)
    world.scan(1, START + 20 * MINUTE)
    world.insert("uni_tracking_spath", [(1, START + DAY, 300, 9)])
    world.cycle(START + 30 * MINUTE)
    world.insert("uni_tracking_spath", [(1, START - 3 * DAY, 301, 10)])
    at = ["--at", f"{moment(START + 40 * MINUTE):%Y-%m-%dT%H:%M:%S}"]
    assert refresh_command(["1", "--source", world.source_url, *at]) == 0
    world.now = START + 45 * MINUTE
    of_scans = scans(asked(world, capsys))
    assert late(of_scans) == {"0": 1}
    assert (of_scans["dated_ahead"], of_scans["brought_by_hand"]) == (1, 1)


def test_what_is_read_again_is_what_a_cycle_reads_and_does_not_land(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.order(1, START + 10 * MINUTE)
    world.cycle(START + 15 * MINUTE)
    world.scan(1, START + 20 * MINUTE)
    world.cycle(START + 30 * MINUTE)  # reads both scans, lands one
    world.cycle(START + 45 * MINUTE)  # reads both again
    of_scans = scans(asked(world, capsys))
    assert (of_scans["cycles"], of_scans["read_again_a_cycle"]) == (2, 1.5), "the first load is none"


def test_the_screen_says_what_to_set_and_where_the_buffer_ends(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.order(1, START + 10 * MINUTE)
    world.cycle(START + 15 * MINUTE)
    world.scan(1, START + 20 * MINUTE)
    world.cycle(START + 30 * MINUTE)
    assert lateness_command(["--at", f"{moment(START + 31 * MINUTE):%Y-%m-%dT%H:%M:%S}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Recommended buffer_minutes: none yet" and "Fewer than 96 cycles" in lines[1]
    assert max(map(len, lines)) <= 120
    (buffer,) = [line for line in lines if line.endswith("< the buffer ends")]
    assert buffer.startswith("to 30 min")
    (not_late,) = [line for line in lines if line.startswith("not late")]
    assert not_late.split()[2] == "1" and "█" in not_late


def test_a_night_counts_once_and_only_if_every_table_was_reconciled(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the wall clock each table logs a second of its own."""
    world.order(1, START)
    world.cycle(START + 15 * MINUTE)
    world.scan(1, START + 20 * MINUTE)
    world.cycle(START + 30 * MINUTE, reconcile_since=START)
    log = "order_tracking_raw.extract_log"
    world.execute(
        f"UPDATE {log} SET finished_at = finished_at + INTERVAL 1 SECOND "
        "WHERE kind = 'reconcile' AND table_name = 'ecs_order_info'"
    )
    world.now += MINUTE
    assert asked(world, capsys)["reconciles"] == 1
    world.execute(f"UPDATE {log} SET error = 'lost' WHERE kind = 'reconcile' AND table_name = 'ecs_order_info'")
    assert asked(world, capsys)["reconciles"] == 0


def test_nothing_known_yet_is_said(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert lateness_command(["--at", f"{moment(START):%Y-%m-%dT%H:%M:%S}"]) == 2
    assert "no cycle has landed a row that raw still holds" in capsys.readouterr().err
    world.warehouse_file.unlink()
    assert lateness_command([]) == 2
    assert "There is no warehouse file" in capsys.readouterr().err


# Which buffer would do


def arrivals(late: dict[int, int], reconciled: dict[int, int] | None = None, **others: Any) -> Arrivals:
    both = Counter(late) + Counter(reconciled or {})
    values = {"cycles": 960, "read_again": 96_000, **others}
    return Arrivals("t", False, both, Counter(late), Counter(reconciled or {}), **values)


def recommended(tables: list[Arrivals], *, buffer: int = 30 * MINUTE, reconciles: int = 9) -> int | None:
    return judge(tables, buffer, now=NOW, first=START, reconciles=reconciles).recommended


def test_the_smallest_buffer_that_leaves_one_row_in_ten_thousand_is_recommended() -> None:
    prompt = arrivals({0: 99_990, 4 * MINUTE: 10})
    assert recommended([prompt]) == 5 * MINUTE
    assert recommended([arrivals({0: 99_990}, {50 * MINUTE: 10})]) == 5 * MINUTE
    late = arrivals({0: 99_989}, {50 * MINUTE: 11})
    assert recommended([late]) == HOUR
    assert recommended([prompt, late]) == HOUR, "the worst of the tables decides"
    assert recommended([prompt, replace(late, by_id=True)]) == 5 * MINUTE, "one that is read by its id does not ask"
    never = judge([arrivals({0: 9_000}, {3 * DAY: 1_000})], 30 * MINUTE, now=NOW, first=START, reconciles=1)
    assert never.recommended == DAY and "Even a day leaves more" in never.because


def test_without_a_reconcile_or_a_day_of_cycles_nothing_is_recommended() -> None:
    assert recommended([arrivals({0: 100_000})], reconciles=0) is None
    assert recommended([arrivals({0: 100_000}, cycles=95)]) is None
    assert recommended([arrivals({0: 100_000}, cycles=96)]) == 5 * MINUTE


def test_the_numbers_of_each_buffer_stand_beside_it() -> None:
    report = judge([arrivals({0: 90, 40 * MINUTE: 10})], 30 * MINUTE, now=NOW, first=START, reconciles=1)
    costs = {choice.buffer_seconds: (choice.read_again_a_cycle, choice.left["t"]) for choice in report.choices}
    assert costs[15 * MINUTE] == (50.0, 10) and costs[30 * MINUTE] == (100.0, 10) and costs[45 * MINUTE] == (150.0, 0)
    assert report.days == 40


def test_a_percentile_is_a_value_that_occurs() -> None:
    values = Counter({60: 50, 120: 49, 3600: 1})
    assert [percentile(values, each) for each in (50, 50.1, 99, 100)] == [60, 120, 120, 3600]
    with pytest.raises(ValueError):
        percentile(Counter(), 50)
