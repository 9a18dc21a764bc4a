"""From the source to raw: what is read, what lands, what is set aside, and what is read again."""

from __future__ import annotations

import datetime as dt
import itertools
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
from sqlglot import parse_one

from extract.clock import Clock
from extract.errors import ConfigurationError, ExtractFailed, SourceError, TooLong, WarehouseError
from extract.freshness import freshness
from extract.run import TableRun, extract
from extract.settings import PROJECT
from extract.source import open_source
from extract.source_duckdb import DuckDBSource
from extract.tables import ExtractConfig, load_config
from extract.warehouse import open_warehouse
from extract.warehouse_duckdb import DuckDBWarehouse, failed
from scripts.cli import main
from tests.conftest import START
from tests.support.commands import extract as extract_command
from tests.support.world import DAY, HOUR, MINUTE, World, moment

RAW = "order_tracking_raw"


def run(
    world: World, now: int, config: ExtractConfig | None = None, *, since: int | None = None, kind: str = "extract"
) -> dict[str, TableRun]:
    """One extract into the world's warehouse, without a `sqlmesh run`."""
    with closing(open_source(world.source_url)) as source, closing(open_warehouse("local")) as warehouse:
        runs = extract(source, warehouse, config or load_config(), Clock(moment(now)), since=since, kind=kind)
    return {result.table: result for result in runs}


def raw_orders(world: World, table: str = "uni_tracking_spath") -> list[int]:
    return [row[0] for row in world.query(f"SELECT order_id FROM {RAW}.{table}_raw ORDER BY 1")]


def test_rows_are_stamped_with_the_last_second_of_the_last_closed_quarter_hour(world: World) -> None:
    world.order(1, START)
    run(world, START + 15 * MINUTE + 30)
    for table in ("uni_tracking_info", "ecs_order_info", "uni_tracking_spath"):
        stamps = world.query(f"SELECT DISTINCT landed_at FROM {RAW}.{table}_raw")
        assert stamps == [(dt.datetime(2025, 9, 1, 0, 14, 59),)]


def test_only_what_is_not_held_lands(world: World) -> None:
    world.order(1, START)
    run(world, START + MINUTE)
    world.scan(1, START + 2 * MINUTE)
    again = run(world, START + 3 * MINUTE)
    assert again["uni_tracking_spath"].landed.rows_read == 2
    assert {table: result.landed.rows_landed for table, result in again.items()} == {
        "uni_tracking_info": 1,
        "ecs_order_info": 0,
        "uni_tracking_spath": 1,
    }


def test_a_row_that_becomes_visible_within_the_buffer_is_not_missed(world: World) -> None:
    world.order(1, START)
    run(world, START + MINUTE)
    world.insert("uni_tracking_spath", [(1, START - 20 * MINUTE, 150, 7)])
    run(world, START + 15 * MINUTE)
    assert raw_orders(world) == [1, 1]


def test_one_future_dated_row_does_not_stop_extraction(world: World) -> None:
    """The cutoff is the least of what landed and the source's own clock."""
    world.order(1, START)
    world.insert("uni_tracking_spath", [(2, START + 400 * DAY, 100, 0)])
    run(world, START + MINUTE)
    world.order(3, START + 10 * MINUTE)
    run(world, START + 15 * MINUTE)
    assert raw_orders(world) == [1, 2, 3]


def test_a_future_dated_row_does_not_hide_that_the_source_is_silent(world: World) -> None:
    """It is no news: a table's age is that of its newest row that is not dated ahead."""
    world.order(1, START)
    world.status(2, 200, START + 400 * DAY)
    for hour in (1, 20):
        run(world, START + hour * HOUR)
    assert told_as_silent(world, START + 20 * HOUR) == []
    run(world, START + 25 * HOUR)
    assert told_as_silent(world, START + 25 * HOUR) == ["uni_tracking_info", "ecs_order_info", "uni_tracking_spath"]
    assert world.query("SELECT MAX(watermark) FROM order_tracking_raw.extract_log")[0][0] == START


def test_what_all_tables_failed_of_is_said_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise failed(duckdb.Error("Could not write file: No space left on device"))

    world.order(1, START)
    monkeypatch.setattr("extract.run.land", full)
    with pytest.raises(ExtractFailed) as caught:
        run(world, START + MINUTE)
    assert str(caught.value).startswith(
        "uni_tracking_info, ecs_order_info, uni_tracking_spath: The warehouse refused a statement; what it belonged to "
        "was rolled back: Could not write file: No space left on device. Run it again once the cause is mended. | Not "
        "landed whole: uni_tracking_info, ecs_order_info, uni_tracking_spath;"
    )


def told_as_silent(world: World, now: int) -> list[str]:
    with closing(DuckDBWarehouse.open(world.warehouse_file)) as warehouse:
        return [each.table for each in freshness(warehouse, load_config(), now) if each.stale]


def test_a_day_without_cycles_and_a_future_dated_row_lose_nothing(world: World) -> None:
    world.order(1, START)
    world.insert("uni_tracking_spath", [(2, START + 400 * DAY, 100, 0)])
    run(world, START + MINUTE)
    for hour in range(1, 25):
        world.order(10 + hour, START + hour * HOUR)
    run(world, START + 25 * HOUR)
    assert len(raw_orders(world)) == 26


def test_reconcile_finds_what_became_visible_far_behind_the_buffer(world: World) -> None:
    world.order(1, START - 20 * DAY)
    world.order(2, START)
    world.cycle()
    world.scan(1, START - 5 * DAY, code=300)
    world.cycle()
    assert world.uti()[1] == (100, START - 20 * DAY)
    world.cycle(reconcile_since=START - 35 * DAY)
    assert world.uti()[1] == (300, START - 5 * DAY)
    world.assert_whole()


def test_reconcile_reads_only_the_hours_that_differ(world: World) -> None:
    for order in range(1, 11):
        world.order(order, START - order * DAY)
    world.cycle()
    world.insert("uni_tracking_spath", [(3, START - 3 * DAY + MINUTE, 150, 9)])
    result = run(world, world.now + 15 * MINUTE, since=START - 35 * DAY, kind="reconcile")
    assert result["uni_tracking_spath"].landed.rows_read == 2, "the hour of the late scan, and nothing else"
    assert result["uni_tracking_spath"].landed.rows_landed == 1
    assert result["uni_tracking_info"].landed.rows_read == 0


def test_reconcile_counts_what_is_in_history_and_what_has_only_landed(world: World) -> None:
    world.order(9, START)
    world.order(1, START - 300 * DAY)
    world.cycle()
    assert world.history("uti") != []
    world.order(2, START)
    run(world, world.now + 15 * MINUTE)
    again = run(world, world.now + 16 * MINUTE, since=0, kind="reconcile")
    assert {result.landed.rows_read for result in again.values()} == {0}


def test_what_reaches_behind_raw_is_compared_with_mart_and_history(world: World) -> None:
    """Raw has forgotten these rows; an hour that differs is read again whole, and only the late scan lands."""
    old = START - 300 * DAY
    world.order(1, old)
    world.order(9, START)
    world.cycle()
    world.order(8, START + 80 * DAY)
    world.cycle(START + 80 * DAY + HOUR)
    world.cycle()
    assert raw_orders(world) == [8]
    world.insert("uni_tracking_spath", [(1, old + 5, 150, 9)])
    world.cycle(reconcile_since=0)
    assert world.scans_everywhere().count((1, old, 100, 0)) == 1
    world.assert_whole()


def test_a_first_load_goes_on_where_it_died(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for order in range(1, 41):
        world.order(order, START - order * DAY)
    config = ExtractConfig(**{**vars(load_config()), "chunk_rows": 10})
    import extract.run

    landed, whole = 0, extract.run.land

    def dies_in_the_third_chunk(*args: object, **options: object) -> object:
        nonlocal landed
        landed += 1
        if landed > 6:
            raise RuntimeError("the power is gone")
        return whole(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(extract.run, "land", dies_in_the_third_chunk)
    with pytest.raises(ExtractFailed, match="the power is gone"):
        run(world, START + MINUTE, config, since=0, kind="since")
    held = sum(len(raw_orders(world, table)) for table in ("uni_tracking_info", "ecs_order_info", "uni_tracking_spath"))
    assert held == 60, "six chunks of ten rows are landed, and nothing is half-landed"
    monkeypatch.setattr(extract.run, "land", whole)
    rest = run(world, START + 2 * HOUR, config, since=0, kind="since")
    assert sum(result.landed.rows_read for result in rest.values()) == 60, "what had landed is not read again"
    logged = "SELECT SUM(rows_read), SUM(rows_landed) FROM order_tracking_raw.extract_log"
    assert world.query(logged) == [(120, 120)]
    world.cycle(START + 2 * HOUR + 15 * MINUTE)
    world.assert_whole()


def test_a_plain_run_after_a_first_load_that_died_misses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for order in range(1, 41):
        world.order(order, START - order * DAY)
    config = ExtractConfig(**{**vars(load_config()), "chunk_rows": 10})
    import extract.run

    landed, whole = 0, extract.run.land

    def dies(*args: object, **options: object) -> object:
        nonlocal landed
        landed += 1
        if landed > 4:
            raise RuntimeError("the power is gone")
        return whole(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(extract.run, "land", dies)
    with pytest.raises(ExtractFailed):
        run(world, START + MINUTE, config)
    monkeypatch.setattr(extract.run, "land", whole)
    world.cycle()
    world.assert_whole()


def test_a_backfill_of_a_later_window_does_not_move_the_watermark_over_a_gap(world: World) -> None:
    world.order(1, START)
    run(world, START + MINUTE)
    world.order(2, START + 2 * HOUR)
    world.order(3, START + 10 * HOUR)
    run(world, START + 11 * HOUR, since=START + 9 * HOUR, kind="since")
    assert raw_orders(world) == [1, 3]
    run(world, START + 11 * HOUR + MINUTE)
    assert raw_orders(world) == [1, 2, 3]


def test_every_run_is_logged_with_what_it_did(world: World) -> None:
    world.order(1, START)
    world.insert("uni_tracking_spath", [(0, START, 100, 0)])
    run(world, START + MINUTE)
    rows = world.query(
        f"SELECT table_name, kind, rows_read, rows_landed, rows_rejected, bytes > 0, watermark, error "
        f"FROM {RAW}.extract_log WHERE rows_read > 0 ORDER BY 1"
    )
    assert rows == [
        ("ecs_order_info", "since", 1, 1, 0, True, START, None),
        ("uni_tracking_info", "since", 1, 1, 0, True, START, None),
        ("uni_tracking_spath", "since", 2, 1, 1, True, START, None),
    ]


def test_a_table_that_fails_is_logged_and_the_others_land(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.order(1, START)
    import extract.run

    whole = extract.run.land

    def fails_for_ecs(warehouse: Any, reading: Any, *args: Any) -> Any:
        if reading.table.name == "ecs_order_info":
            raise RuntimeError("the disk is full")
        return whole(warehouse, reading, *args)

    monkeypatch.setattr(extract.run, "land", fails_for_ecs)
    with pytest.raises(ExtractFailed, match="Not landed whole: ecs_order_info"):
        run(world, START + MINUTE)
    assert raw_orders(world) == [1] and raw_orders(world, "ecs_order_info") == []
    assert world.query(f"SELECT table_name, error FROM {RAW}.extract_log WHERE error IS NOT NULL") == [
        ("ecs_order_info", "the disk is full")
    ]
    monkeypatch.setattr(extract.run, "land", whole)
    run(world, START + 2 * MINUTE)
    assert raw_orders(world, "ecs_order_info") == [1]


def command(world: World, now: int, *arguments: str) -> list[tuple[Any, ...]]:
    """`python -m extract` at `now`; table, kind and rows landed of what it has logged."""
    known = world.query(f"SELECT COUNT(*) FROM {RAW}.extract_log")[0][0]
    action = () if arguments[:1] == ("reconcile",) else ("extract",)
    assert main([*action, *arguments, "--source", world.source_url, "--at", moment(now).isoformat()]) == 0
    logged = world.query(f"SELECT table_name, kind, rows_landed FROM {RAW}.extract_log ORDER BY rowid")[known:]
    return sorted(logged)


def behind_the_buffer(world: World, now: int, *ages: int) -> None:
    """Loads orders that are so old (seconds) at `now`, and a new one; then each old one gets one more scan."""
    world.order(99, now - MINUTE)
    for order, age in enumerate(ages, 1):
        world.order(order, now - age)
    command(world, now - MINUTE)
    world.insert("uni_tracking_spath", [(order, now - age + MINUTE, 150, 7) for order, age in enumerate(ages, 1)])
    assert {row[1:] for row in command(world, now - MINUTE)} == {("extract", 0)}, "an ordinary extract looks not so far"


def late_scans(world: World) -> list[int]:
    return [row[0] for row in world.query(f"SELECT order_id FROM {RAW}.uni_tracking_spath_raw WHERE code = 150")]


def landed_as(kind: str, scans: int) -> list[tuple[Any, ...]]:
    return [("ecs_order_info", kind, 0), ("uni_tracking_info", kind, 0), ("uni_tracking_spath", kind, scans)]


def test_the_reconcile_command_looks_35_days_back_and_with_since_as_far_as_told(world: World) -> None:
    now = START + 15 * MINUTE
    behind_the_buffer(world, now, HOUR, 35 * DAY - 2 * HOUR, 35 * DAY + 2 * HOUR)
    assert command(world, now, "reconcile") == landed_as("reconcile", 2)
    assert sorted(late_scans(world)) == [1, 2]
    since = moment(now - 36 * DAY).isoformat()
    assert command(world, now, "reconcile", "--since", since) == landed_as("reconcile", 1)
    assert sorted(late_scans(world)) == [1, 2, 3]


def test_the_since_option_lands_what_is_missing_from_that_time_on(world: World) -> None:
    now = START + 15 * MINUTE
    behind_the_buffer(world, now, 2 * DAY, 50 * DAY, 60 * DAY)
    since = moment(now - 55 * DAY).isoformat()
    assert command(world, now, "--since", since) == landed_as("since", 2)
    assert sorted(late_scans(world)) == [1, 2]


def test_the_table_option_lands_only_the_tables_named(world: World) -> None:
    world.order(1, START)
    assert command(world, START + MINUTE, "--table", "ecs_order_info") == [("ecs_order_info", "since", 1)]
    assert raw_orders(world, "ecs_order_info") == [1]
    assert raw_orders(world, "uni_tracking_info") == raw_orders(world) == []
    both = command(world, START + 2 * MINUTE, "--table", "ecs_order_info", "--table", "uni_tracking_spath")
    assert both == [("ecs_order_info", "extract", 0), ("uni_tracking_spath", "since", 1)]
    assert raw_orders(world) == [1] and raw_orders(world, "uni_tracking_info") == []


def test_the_log_dates_a_run_by_the_moment_given_and_its_begin_by_the_seconds_it_took(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks at the stopwatch finds that 90 seconds have passed; the reading looks twice."""
    world.order(1, START)
    monkeypatch.setattr("extract.run.time", SimpleNamespace(monotonic=itertools.count(0, 90).__next__))
    now = START + 20 * MINUTE + 7
    command(world, now, "--table", "ecs_order_info")
    logged = world.query(f"SELECT started_at, finished_at FROM {RAW}.extract_log WHERE rows_landed > 0")
    assert logged == [(dt.datetime(2025, 9, 1, 0, 18, 37), dt.datetime(2025, 9, 1, 0, 20, 7))]


def by_id(world: World, tmp_path: Path, **changed: object) -> ExtractConfig:
    """A configuration that reads scans by their id, and a source that has one."""
    settings = tmp_path / "tables.yaml"
    text = (Path(__file__).parents[2] / "extract" / "tables.yaml").read_text()
    settings.write_text(text.rstrip() + "\n    cursor: id\n    id_column: id\n    id_overlap: 2\n")
    world.source("ALTER TABLE uni_tracking_spath ADD COLUMN id BIGINT")
    return replace(load_config(settings=settings), **changed)  # type: ignore[arg-type]


def test_a_monotonic_id_replaces_the_buffer(world: World, tmp_path: Path) -> None:
    """With `cursor: id` a scan that becomes visible days after its event time lands in the next cycle."""
    config = by_id(world, tmp_path)
    for identifier in range(1, 11):
        world.insert("uni_tracking_spath", [(identifier, START - identifier * DAY, 100, 0, identifier)])
    run(world, START + MINUTE, config)
    world.insert("uni_tracking_spath", [(50, START - 100 * DAY, 100, 0, 11)])
    result = run(world, START + 15 * MINUTE, config)["uni_tracking_spath"].landed
    assert (result.rows_read, result.rows_landed) == (3, 1), "the new id and the overlap"
    assert 50 in raw_orders(world)


def test_a_read_by_id_that_takes_too_long_goes_on_by_hours_and_moves_the_id(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a long outage, or many rows filled in: else it would take too long in each cycle from then on."""
    config = by_id(world, tmp_path, chunk_rows=10)
    world.insert("uni_tracking_spath", [(1, START, 100, 0, 1)])
    run(world, START + MINUTE, config)
    many = [(order, START + order * HOUR, 100, 0, order) for order in range(2, 40)]
    world.insert("uni_tracking_spath", [*many, (50, START - 300 * DAY, 100, 0, 50)])
    read, asked = DuckDBSource.read, []

    def slow(self: DuckDBSource, *args: Any, since_id: int | None = None, **options: Any) -> Any:
        for number, batch in enumerate(read(self, *args, since_id=since_id, **options)):
            if since_id is not None and batch.num_rows > 5:
                asked.append((since_id, number))
                raise TooLong("it took too long")
            yield batch

    monkeypatch.setattr(DuckDBSource, "read", slow)
    outage = run(world, START + 3 * DAY, config)["uni_tracking_spath"]
    assert outage.landed.rows_landed == 39 and len(asked) == 1
    (warning,) = outage.warnings
    assert warning.startswith("uni_tracking_spath has too much above id 0 for one statement")
    assert raw_orders(world) == [*range(1, 40), 50]
    world.insert("uni_tracking_spath", [(51, START - 200 * DAY, 100, 0, 51)])
    again = run(world, START + 3 * DAY + 15 * MINUTE, config)["uni_tracking_spath"].landed
    assert (again.rows_read, again.rows_landed) == (2, 1), "by id again: the new one and the overlap"


@pytest.mark.parametrize(
    ("begun", "before"),
    [(False, 1), (False, None), (True, 1)],
    ids=["first load", "of a table that was empty", "a read by id that takes too long"],
)
def test_a_scan_that_comes_behind_a_load_by_hours_is_found_by_its_id(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bool, before: int | None
) -> None:
    """While the hours are read, a late one gets an old time and an id below the highest that is read at the end."""
    config = by_id(world, tmp_path)
    world.insert("uni_tracking_spath", [(1, START - HOUR, 100, 0, 1)])
    if begun:
        run(world, START, config)
    late = (50, START - 300 * DAY, 100, 0, 50)
    world.insert("uni_tracking_spath", [late, *((id_, START + MINUTE, 100, 0, id_) for id_ in range(60, 70))])
    read, figures_of, highest_of = DuckDBSource.read, DuckDBSource.hourly_figures, DuckDBSource.highest_id
    counted = False

    def slow(self: DuckDBSource, *args: Any, since_id: int | None = None, **options: Any) -> Any:
        if since_id is not None:
            raise TooLong("it took too long")
        return read(self, *args, since_id=since_id, **options)

    def highest(self: DuckDBSource, table: Any) -> int | None:
        return highest_of(self, table) if counted else before

    def without_the_late_one(self: DuckDBSource, table: Any, *args: Any, **options: Any) -> Any:
        nonlocal counted
        counted = counted or table.name == "uni_tracking_spath"
        figures = figures_of(self, table, *args, **options)
        return {hour: each for hour, each in figures.items() if hour != late[1] // HOUR}

    with monkeypatch.context() as patch:
        patch.setattr(DuckDBSource, "read", slow)
        patch.setattr(DuckDBSource, "highest_id", highest)
        patch.setattr(DuckDBSource, "hourly_figures", without_the_late_one)
        run(world, START + 15 * MINUTE, config)
    assert counted and raw_orders(world) == [1, *range(60, 70)]
    run(world, START + 30 * MINUTE, config)
    assert 50 in raw_orders(world)


def test_a_first_load_by_id_that_died_skips_no_id(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts go by time: an old scan that arrived last has the highest id, and lands first. A part is eight chunks."""
    config = by_id(world, tmp_path, chunk_rows=2)
    scans = [(order, START - (41 - order) * DAY, 100, 0, order) for order in range(1, 41)]
    world.insert("uni_tracking_spath", [*scans, (50, START - 41 * DAY, 100, 0, 100)])
    import extract.run

    landings, whole = 0, extract.run.land

    def dies_twice(warehouse: Any, reading: Any, *args: Any) -> Any:
        nonlocal landings
        landings += reading.table.name == "uni_tracking_spath"
        if reading.table.name == "uni_tracking_spath" and landings in (10, 20):
            raise RuntimeError("the power is gone")
        return whole(warehouse, reading, *args)

    world.insert("uni_tracking_spath", [(60, START - 41 * DAY, 100, 0, 101)])
    monkeypatch.setattr(extract.run, "land", dies_twice)
    for minute in (1, 2):
        with pytest.raises(ExtractFailed):
            run(world, START + minute * MINUTE, config)
    assert len(raw_orders(world)) == 35  # the second run reads the last hour of the first part again
    monkeypatch.setattr(extract.run, "land", whole)
    for minute in (3, 4):
        run(world, START + minute * MINUTE, config)
    assert raw_orders(world) == [*range(1, 41), 50, 60]


def test_a_reconcile_does_not_move_the_id_over_rows_out_of_its_reach(world: World, tmp_path: Path) -> None:
    config = by_id(world, tmp_path)
    world.insert("uni_tracking_spath", [(1, START, 100, 0, 1)])
    run(world, START + MINUTE, config)
    world.insert("uni_tracking_spath", [(2, START - 50 * DAY, 100, 0, 2)])
    world.insert("uni_tracking_spath", [(order, START + DAY, 100, 0, order) for order in range(3, 20)])
    run(world, START + DAY + HOUR, config, since=START - 35 * DAY, kind="reconcile")
    run(world, START + DAY + 2 * HOUR, config)
    assert raw_orders(world) == [*range(1, 20)]


def test_a_reconcile_does_not_pass_over_what_a_first_load_has_still_to_read(make_world: Callable[..., World]) -> None:
    """It reaches back 35 days; of a first load that died nothing says how far it has come."""
    world = make_world(planned=False)
    world.order(1, START - 100 * DAY)
    world.order(2, START)
    run(world, START + MINUTE, since=START - 35 * DAY, kind="reconcile")
    assert raw_orders(world) == [2]
    run(world, START + 16 * MINUTE)
    assert raw_orders(world) == [1, 2]


def test_an_extract_since_a_moment_within_the_buffer_does_not_pass_over_what_is_late(world: World) -> None:
    world.order(1, START)
    run(world, START + MINUTE)
    world.order(2, START + HOUR)
    run(world, START + HOUR + MINUTE, since=START - 5 * MINUTE, kind="since")
    world.order(3, START - 20 * MINUTE)
    run(world, START + HOUR + 16 * MINUTE)
    assert raw_orders(world) == [1, 2, 3]


def dies_while_reading(world: World, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    """A load that lands nothing."""

    def dies(*arguments: Any) -> Any:
        raise RuntimeError("the power is gone")

    with monkeypatch.context() as patch, pytest.raises(ExtractFailed, match="the power is gone"):
        patch.setattr(DuckDBWarehouse, "stage", dies)
        run(world, START + MINUTE, **options)


@pytest.mark.slow
@pytest.mark.parametrize("logged", ["every table", "one table, and the others were killed before they could"])
def test_a_later_load_does_not_pass_over_what_a_first_one_that_died_has_still_to_read(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, logged: str
) -> None:
    world = make_world(planned=False)
    for order in range(1, 41):
        world.order(order, START - order * DAY)
    dies_while_reading(world, monkeypatch)
    if logged != "every table":
        world.execute(f"DELETE FROM {RAW}.extract_log WHERE table_name <> 'uni_tracking_info'")
    run(world, START + 2 * MINUTE, since=START - 2 * DAY, kind="since")
    world.cycle()
    world.assert_whole()


def test_a_first_load_that_is_begun_again_from_the_same_moment_is_the_first(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody asked for what lies before; the next extract goes on from the newest row."""
    world = make_world(planned=False)
    world.order(1, START - 100 * DAY)
    world.order(2, START)
    dies_while_reading(world, monkeypatch, since=START - DAY, kind="since")
    run(world, START + 2 * MINUTE, since=START - DAY, kind="since")
    world.order(3, START + 10 * MINUTE)
    run(world, START + 16 * MINUTE)
    assert raw_orders(world) == [2, 3]


@pytest.mark.slow
def test_a_clock_that_is_set_back_during_an_extract_lets_nothing_land_behind_the_marts(world: World) -> None:
    world.order(1, START)
    world.cycle(START + DAY)
    world.cycle()
    world.order(2, START + DAY)
    clock = Clock(moment(world.now + MINUTE))
    with closing(open_source(world.source_url)) as source, closing(open_warehouse("local")) as warehouse:
        read = source.read

        def set_back(*arguments: Any, **options: Any) -> Any:
            clock.at = START + DAY - 2 * HOUR
            return read(*arguments, **options)

        source.read = set_back
        extract(source, warehouse, load_config(), clock)
    world.cycle()
    world.assert_whole()
    assert set(world.uti()) == {1, 2}


def test_a_log_that_cannot_be_written_does_not_hide_what_failed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(error: Exception) -> Callable[..., None]:
        def failing(*_: object, **__: object) -> None:
            raise error

        return failing

    world.order(1, START)
    monkeypatch.setattr("extract.run.land", fails(SourceError("the source went away")))
    monkeypatch.setattr("extract.run.log", fails(WarehouseError("the connection is idle")))
    with pytest.raises(ExtractFailed, match="the source went away"):
        run(world, START + MINUTE)


def test_types_that_an_extract_cannot_keep_are_refused(tmp_path: Path) -> None:
    """A text or a decimal without a size is another type on each engine; other types are not the same on both."""
    for name in ("config.yaml", "external_models.yaml", "extract/tables.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(PROJECT / name, tmp_path / name)
    models = tmp_path / "external_models.yaml"
    text = models.read_text()
    last = "    landed_at: TIMESTAMP\n"
    assert last in text
    models.write_text(text.replace(last, "    pieceCount: INTEGER\n" + last))
    assert "piececount" in load_config(tmp_path).tables[0].columns
    unfit = {"aa": "TEXT", "bb": "VARCHAR", "cc": "VARCHAR(MAX)", "dd": "VARCHAR(65536)", "ee": "DECIMAL"}
    unfit |= {"ff": "DECIMAL(39, 2)", "gg": "TIMESTAMPTZ", "hh": "REAL", "ii": "no type"}
    models.write_text(text.replace(last, "".join(f"    {name}: {kind}\n" for name, kind in unfit.items()) + last, 1))
    with pytest.raises(ConfigurationError, match="lands BIGINT, INTEGER") as error:
        load_config(tmp_path)
    assert all(f" has {name} as " in str(error.value) for name in unfit)


@pytest.mark.parametrize("listed", ["", "[]", "{a: 1}", "- name: x", "a: ["])
@pytest.mark.parametrize(("minutes", "told"), [(0, "is less than 1"), (60 * 24 * 35 + 1, "is more than 50400")])
def test_mistakes_of_both_files_are_named_at_once(tmp_path: Path, listed: str, minutes: int, told: str) -> None:
    (tmp_path / "external_models.yaml").write_text(listed)
    (tmp_path / "extract").mkdir()
    (tmp_path / "extract" / "tables.yaml").write_text(f"buffer_minutes: {minutes}")
    with pytest.raises(ConfigurationError, match=r"external_models\.yaml") as error:
        load_config(tmp_path)
    assert f"tables.yaml: buffer_minutes {told}; tables.yaml: tables is missing" in str(error.value)


def test_keys_and_event_times_are_whole_numbers_of_64_bits(tmp_path: Path) -> None:
    for name in ("external_models.yaml", "extract/tables.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        text = (PROJECT / name).read_text()
        text = text.replace("update_time: BIGINT", "update_time: TIMESTAMP").replace(
            "order_id: BIGINT", "order_id: INT"
        )
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError, match="has update_time as TIMESTAMP; it must be BIGINT") as error:
        load_config(tmp_path)
    assert str(error.value).count("has order_id as INTEGER; it must be BIGINT") == 3


def test_nothing_lands_behind_an_earlier_landing(world: World) -> None:
    """The marts have passed that moment: what landed there would stay in raw until raw forgets it."""
    world.order(1, START)
    world.cycle(START + DAY)
    world.order(2, START + HOUR)
    for moment_before in (START + 2 * HOUR, START + DAY - MINUTE):
        with pytest.raises(ConfigurationError, match="never reach the marts; nothing was done"):
            world.cycle(moment_before)
        with pytest.raises(ConfigurationError, match="rows have landed for"):
            run(world, moment_before)  # the extract by itself does not ask SQLMesh's state
    assert raw_orders(world) == [1]
    world.cycle(START + DAY + MINUTE, reconcile_since=START)
    world.cycle(START + DAY + 15 * MINUTE)
    world.assert_whole()


def test_single_tables_several_times_between_two_runs_lose_nothing(world: World) -> None:
    world.order(1, START)
    for minute, table in ((20, "uni_tracking_spath"), (22, "uni_tracking_info"), (23, "uni_tracking_spath")):
        with closing(open_source(world.source_url)) as source, closing(open_warehouse("local")) as warehouse:
            extract(source, warehouse, load_config(), Clock(moment(START + minute * MINUTE)), tables=[table])
        world.scan(1, START + minute * MINUTE + 1)
    run(world, START + 32 * MINUTE)
    run(world, START + 33 * MINUTE)
    world.cycle(START + 50 * MINUTE)
    world.assert_whole()


def test_an_extract_since_a_future_moment_hides_nothing(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.order(1, START - DAY)
    run(world, START + MINUTE, since=START + 300 * DAY, kind="since")
    world.cycle()
    world.assert_whole()


def test_the_anchor_is_read_first_whatever_the_order_in_the_configuration(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "extract" / "tables.yaml").read_text()
    head, _, tables = text.partition("tables:\n")
    entries = tables.split("  ecs_order_info:\n")
    settings = tmp_path / "tables.yaml"
    settings.write_text(f"{head}tables:\n  ecs_order_info:\n{entries[1]}{entries[0]}")
    assert load_config(settings=settings).tables[0].name == "uni_tracking_info"


def test_the_anchors_snapshot_is_opened_before_the_others_are_read(world: World) -> None:
    opened: list[str] = []
    world.order(1, START)
    with closing(open_source(world.source_url)) as source, closing(open_warehouse("local")) as warehouse:
        read = source.read

        def told(table, ranges, **options):  # type: ignore[no-untyped-def]
            batches = read(table, ranges, **options)
            if table.name == "uni_tracking_info":
                time.sleep(0.3)  # the others have all the time to overtake it
            for batch in batches:
                opened.append(table.name)
                yield batch

        source.read = told  # type: ignore[method-assign]
        extract(source, warehouse, load_config(), Clock(moment(START + MINUTE)))
    assert opened[0] == "uni_tracking_info"


def test_the_three_tables_are_read_at_once(world: World) -> None:
    """Each waits in the middle of its read until all have begun; one after another they would wait for ever."""
    world.order(1, START)
    together = threading.Barrier(3)
    with closing(open_source(world.source_url)) as source, closing(open_warehouse("local")) as warehouse:
        read = source.read

        def waiting(table, ranges, **options):  # type: ignore[no-untyped-def]
            for batch in read(table, ranges, **options):
                yield batch
                together.wait(timeout=30)

        source.read = waiting  # type: ignore[method-assign]
        extract(source, warehouse, load_config(), Clock(moment(START + MINUTE)))
    assert raw_orders(world) == [1]


def test_an_extract_keeps_the_warehouse_from_holding_what_it_wrote(world: World) -> None:
    """Otherwise memory grows with the rows landed, up to what the daily checks may take."""
    world.order(1, START)
    limits: list[object] = []
    with closing(open_source(world.source_url)) as source, closing(open_warehouse("local")) as warehouse:

        def limit(*told: object) -> None:
            with warehouse.session() as session:  # three threads tell of their progress, and a session is of one
                limits.append(session.fetchall("SELECT current_setting('memory_limit')"))

        limit()
        extract(source, warehouse, load_config(), Clock(moment(START + MINUTE)), progress=limit)
        limit()
    assert limits[1:-1] == 3 * [[("160.0 MiB",)]]
    assert limits[0] == limits[-1] != limits[1]


def test_a_warehouse_file_is_made_in_the_format_that_closes_faster_and_an_older_one_is_taken(tmp_path: Path) -> None:
    made, older = tmp_path / "an order's.duckdb", tmp_path / "older.duckdb"
    duckdb.connect(str(older)).close()
    versions = []
    for file in (made, made, older):  # twice: the format stays when the file is opened again
        with closing(DuckDBWarehouse.open(file)) as warehouse:
            warehouse.execute("CREATE TABLE IF NOT EXISTS kept (order_id BIGINT)")
            versions += warehouse.fetchall("SELECT tags['storage_version'] FROM duckdb_databases() WHERE NOT internal")
    assert versions == [("v1.4.0+",), ("v1.4.0+",), ("v1.0.0+",)]


def test_a_warehouse_file_whose_making_was_broken_off_is_made_again(tmp_path: Path) -> None:
    file = tmp_path / "warehouse.duckdb"
    (tmp_path / "warehouse.duckdb.new").write_bytes(b"half a head")
    (tmp_path / "link.duckdb").symlink_to(file)
    DuckDBWarehouse.open(tmp_path / "link.duckdb").close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.duckdb", "warehouse.duckdb"]


def test_a_warehouse_file_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match="cannot be opened; nothing was read or changed"):
        DuckDBWarehouse.open(tmp_path / ("x" * 300))
    with pytest.raises(WarehouseError, match="cannot be opened; nothing was read or changed"):
        DuckDBWarehouse.open(tmp_path / "no such folder" / "warehouse.duckdb")


def test_the_sources_own_clock_bounds_what_counts_as_seen(world: World) -> None:
    """A source whose clock is behind shows later what it dates earlier than our clock says: a scan that it dates ahead
    says nothing of what is before it."""
    world.order(1, START)
    run(world, START + MINUTE)
    behind = START + 10 * MINUTE
    world.scan(1, START + 50 * MINUTE)
    with closing(open_source(world.source_url)) as source, closing(open_warehouse("local")) as warehouse:
        source.clock = lambda: behind  # type: ignore[method-assign]
        extract(source, warehouse, load_config(), Clock(moment(START + HOUR)))
        extract(source, warehouse, load_config(), Clock(moment(START + HOUR + MINUTE)))
    logged = world.query(
        f"SELECT cutoff, watermark FROM {RAW}.extract_log WHERE table_name = 'uni_tracking_spath' ORDER BY started_at"
    )
    assert [watermark for _, watermark in logged[-2:]] == [START, START]
    assert logged[-1][0] == START - 30 * MINUTE


def test_a_machine_whose_clock_is_far_ahead_of_the_sources_reads_nothing(world: World) -> None:
    """Nothing but the source knows it; a time that was given is meant."""
    world.order(1, START)
    count = parse_one("SELECT COUNT(*) FROM duckdb_tables()")
    with closing(open_source(world.source_url)) as source, closing(open_warehouse("local")) as warehouse:
        standing = warehouse.fetchall(count)
        source.clock = lambda: int(time.time()) - 2 * DAY  # type: ignore[method-assign]
        with pytest.raises(ConfigurationError, match=r"This machine.s clock says .* nothing was read"):
            extract(source, warehouse, load_config(), Clock())
        assert warehouse.fetchall(parse_one(f"SELECT COUNT(*) FROM {RAW}.uni_tracking_info_raw")) == [(0,)]
        assert warehouse.fetchall(count) == standing, "nor are tables made for half-years that far ahead"
        source.clock = lambda: int(time.time()) - DAY + HOUR  # type: ignore[method-assign]
        extract(source, warehouse, load_config(), Clock())
    assert raw_orders(world) == [1]


def test_tables_may_have_other_names_in_the_source(world: World, tmp_path: Path) -> None:
    world.order(1, START)
    world.source("ALTER TABLE uni_tracking_spath RENAME TO parcel_scans")
    settings = tmp_path / "tables.yaml"
    ours = (PROJECT / "extract" / "tables.yaml").read_text()
    settings.write_text(ours.replace("source: uni_tracking_spath", "source: parcel_scans"))
    run(world, START + MINUTE, load_config(settings=settings))
    assert raw_orders(world) == [1]


def test_mistakes_in_the_configuration_are_all_named_at_once(tmp_path: Path) -> None:
    settings = tmp_path / "tables.yaml"
    settings.write_text(
        "buffer_minutes: 30\nchunk_rows: 10\ntables:\n"
        "  nowhere: {source: a, time: t}\n"
        "  uni_tracking_spath: {source: b, time: pathTime, cursor: id}\n"
        "  ecs_order_info: {source: c, time: add_time, cursor: guess}\n"
    )
    with pytest.raises(ConfigurationError) as error:
        load_config(settings=settings)
    for part in (
        "tables.nowhere is not known",
        "tables.uni_tracking_spath.cursor is id, but there is no id_column",
        "tables.ecs_order_info.cursor is not 'time' or 'id'",
        "tables.uni_tracking_info is missing",
    ):
        assert part in str(error.value)


def test_an_id_that_nothing_goes_by_is_a_mistake(tmp_path: Path) -> None:
    """Who names it believes that scans are read by it."""
    settings = tmp_path / "tables.yaml"
    ours = (PROJECT / "extract" / "tables.yaml").read_text()
    settings.write_text(ours.replace("time: pathTime", "time: pathTime\n    id_column: id\n    id_overlap: 5"))
    with pytest.raises(ConfigurationError, match="id_column and id_overlap do nothing without cursor: id"):
        load_config(settings=settings)


def test_a_warning_that_comes_once_is_told_also_where_the_extract_fails(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """A history table that was dropped stands again after the first command, and the next one does not miss it."""
    world.order(1, START)
    world.cycle()
    world.execute("DROP TABLE order_tracking_history.hist_uti_2024_h2")
    world.source("DELETE FROM uni_tracking_info")
    arguments = ["--source", world.source_url, "--at", "2025-09-01T00:31:00"]
    capsys.readouterr()
    assert extract_command(arguments) == 1
    assert "warning: order_tracking_history.hist_uti_2024_h2 was dropped by somebody" in capsys.readouterr().err
    world.execute("DROP TABLE order_tracking_history.hist_uti_2024_h2")
    with (
        pytest.raises(SourceError) as failed,
        closing(open_source(world.source_url)) as source,
        closing(open_warehouse("local")) as warehouse,
    ):
        extract(source, warehouse, load_config(), Clock(moment(START + 46 * MINUTE)))
    assert "was dropped by somebody" in failed.value.__notes__[0]


def test_a_table_whose_rows_change_is_not_read_by_id(tmp_path: Path) -> None:
    """An order keeps its id when its status changes, so such an extract would never see the change."""
    settings = tmp_path / "tables.yaml"
    ours = (PROJECT / "extract" / "tables.yaml").read_text()
    settings.write_text(ours.replace("time: update_time", "time: update_time\n    cursor: id\n    id_column: id"))
    with pytest.raises(ConfigurationError, match=r"uni_tracking_info\.cursor is id, which would miss every change"):
        load_config(settings=settings)


@pytest.mark.parametrize(
    "text", ["", "tables:", "[1, 2]", "a: [", "tables: {uni_tracking_info: {}}", "buffer_minutes: x"]
)
def test_a_broken_configuration_is_told_in_words(tmp_path: Path, text: str) -> None:
    settings = tmp_path / "tables.yaml"
    settings.write_text(text)
    with pytest.raises(ConfigurationError, match="nothing was"):
        load_config(settings=settings)


def test_a_table_that_is_not_configured_is_named(world: World) -> None:
    with pytest.raises(ConfigurationError, match="No such table: orders"):
        load_config().select(["orders"])


def test_an_extract_before_the_first_plan_lands_old_rows_too(make_world: Callable[..., World]) -> None:
    world = make_world(planned=False)
    world.order(1, START - 300 * DAY)
    run(world, START + MINUTE)
    world.insert("uni_tracking_spath", [(1, START - 299 * DAY, 150, 9)])
    run(world, START + 2 * MINUTE, since=0, kind="reconcile")
    assert raw_orders(world) == [1, 1]


def begin_anew(world: World, tmp_path: Path, rows: int, **changed: object) -> ExtractConfig:
    """Ten scans have landed up to id 1,010; then the table is made again, and so many rows have ids from 1 on."""
    config = by_id(world, tmp_path, **changed)
    world.insert("uni_tracking_spath", [(order, START - order * HOUR, 100, 0, 1000 + order) for order in range(1, 11)])
    run(world, START + MINUTE, config)
    world.source("DELETE FROM uni_tracking_spath")
    world.insert("uni_tracking_spath", [(50 + id_, START - id_ * DAY, 100, 0, id_) for id_ in range(1, rows + 1)])
    return config


def noted_id(world: World) -> int | None:
    sql = f"SELECT MAX(watermark_id) FROM {RAW}.extract_log WHERE table_name = 'uni_tracking_spath'"
    ((noted,),) = world.query(sql)
    return noted


def test_ids_that_begin_anew_are_told_and_what_differs_by_the_hour_is_read(world: World, tmp_path: Path) -> None:
    config = begin_anew(world, tmp_path, 3)
    anew = run(world, START + 15 * MINUTE, config)["uni_tracking_spath"]
    (warning,) = anew.warnings
    assert warning.startswith(
        "The ids of uni_tracking_spath begin anew: its highest is 3, and 1,010 has been read. What differs by the hour"
    )
    assert raw_orders(world) == [*range(1, 11), 51, 52, 53] and noted_id(world) == 3
    world.insert("uni_tracking_spath", [(60, START - 100 * DAY, 100, 0, 4)])
    after = run(world, START + 30 * MINUTE, config)["uni_tracking_spath"]
    assert (after.landed.rows_read, after.landed.rows_landed) == (3, 1), "by the new ids: the new one and the overlap"
    assert after.warnings == [] and noted_id(world) == 4


def test_newest_rows_that_were_deleted_within_the_overlap_are_no_new_beginning(world: World, tmp_path: Path) -> None:
    """All by the hour would count the whole table; what takes their ids is read with the overlap."""
    config = by_id(world, tmp_path)
    world.insert("uni_tracking_spath", [(order, START - order * HOUR, 100, 0, 1000 + order) for order in range(1, 11)])
    run(world, START + MINUTE, config)
    world.source("DELETE FROM uni_tracking_spath WHERE id = 1010")
    world.insert("uni_tracking_spath", [(60, START - 100 * DAY, 100, 0, 1009)])
    after = run(world, START + 15 * MINUTE, config)["uni_tracking_spath"]
    assert after.warnings == [] and 60 in raw_orders(world) and noted_id(world) == 1010


def test_new_ids_are_noted_where_all_their_rows_have_landed_before(world: World, tmp_path: Path) -> None:
    """A reconcile has brought them; nothing differs, and the next id is read all the same."""
    config = begin_anew(world, tmp_path, 3)
    run(world, START + 5 * MINUTE, config, since=START - 35 * DAY, kind="reconcile")
    assert noted_id(world) == 1010
    run(world, START + 15 * MINUTE, config)
    assert noted_id(world) == 3
    world.insert("uni_tracking_spath", [(60, START - 100 * DAY, 100, 0, 4)])
    run(world, START + 30 * MINUTE, config)
    assert 60 in raw_orders(world)


def test_new_ids_are_noted_once_all_their_rows_have_landed(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = begin_anew(world, tmp_path, 40, chunk_rows=10)
    import extract.run

    landings, whole = 0, extract.run.land

    def dies(warehouse: Any, reading: Any, *args: Any) -> Any:
        nonlocal landings
        landings += reading.table.name == "uni_tracking_spath"
        if landings == 2:
            raise RuntimeError("the power is gone")
        return whole(warehouse, reading, *args)

    monkeypatch.setattr(extract.run, "land", dies)
    with pytest.raises(ExtractFailed):
        run(world, START + 15 * MINUTE, config)
    assert noted_id(world) == 1010
    monkeypatch.setattr(extract.run, "land", whole)
    assert len(run(world, START + 30 * MINUTE, config)["uni_tracking_spath"].warnings) == 1
    assert raw_orders(world) == [*range(1, 11), *range(51, 91)] and noted_id(world) == 40


def test_what_an_id_far_ahead_hid_is_read_once_its_row_is_taken_out(world: World, tmp_path: Path) -> None:
    config = by_id(world, tmp_path)
    world.insert("uni_tracking_spath", [(1, START - DAY, 100, 0, 1), (2, START - DAY, 100, 0, 9_000_000_000)])
    run(world, START + MINUTE, config)
    world.insert("uni_tracking_spath", [(3, START - DAY, 100, 0, 2)])
    run(world, START + 15 * MINUTE, config)
    assert raw_orders(world) == [1, 2]
    world.source("DELETE FROM uni_tracking_spath WHERE id > 2")
    assert len(run(world, START + 30 * MINUTE, config)["uni_tracking_spath"].warnings) == 1
    assert raw_orders(world) == [1, 2, 3] and noted_id(world) == 2


def test_the_highest_id_is_asked_once_and_only_where_ids_are_read(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that takes too long to find fails no table: the read by id says what is wrong."""
    config = by_id(world, tmp_path)
    world.insert("uni_tracking_spath", [(1, START, 100, 0, 1)])
    run(world, START + MINUTE, config)
    asked = []

    def slow(self: DuckDBSource, table: Any) -> int | None:
        asked.append(table.name)
        raise TooLong("it took too long")

    monkeypatch.setattr(DuckDBSource, "highest_id", slow)
    assert run(world, START + 15 * MINUTE, config)["uni_tracking_spath"].landed.rows_read == 1
    assert asked == ["uni_tracking_spath"]
