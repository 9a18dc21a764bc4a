"""The simulated source: lives as they are, one history per seed, the same on both kinds of source."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from bench.lifecycles import (
    CANCELLED,
    CREATED,
    DAY,
    LIFE_DAYS_MOST,
    MINUTE,
    PARTNERS,
    TRACE_SCHEMA,
    Chunk,
    chunks,
    months_before,
    scans,
)
from bench.simulate import simulate, simulated_trace
from bench.source_writer import SourceWriteError, SourceWriter
from extract.mysql_address import Address
from extract.source import SourceTable, TimeRange, open_source
from tests.support.commands import simulate as main
from tests.support.world import World

T = datetime(2026, 5, 1, tzinfo=UTC)
SIX_MONTHS = 184 * DAY
TABLES = (
    SourceTable("uni_tracking_info", "update_time", ("order_id", "tno", "status", "update_time")),
    SourceTable("ecs_order_info", "add_time", ("order_id", "partner_id", "add_time")),
    SourceTable("uni_tracking_spath", "pathTime", ("order_id", "pathtime", "code", "traceseq")),
)
UTI, ECS, SPATH = (table.name for table in TABLES)

Content = dict[str, list[tuple[Any, ...]]]


def content(url: str) -> Content:
    """All rows of the three tables, sorted."""
    with closing(open_source(url)) as source:
        return {
            table.name: sorted(
                tuple(row.values())
                for batch in source.read(table, [TimeRange(None, None, unplaceable=True)])
                for row in batch.to_pylist()
            )
            for table in TABLES
        }


def derived(trace: pa.Table, at: int) -> Content:
    """The source as of `at`, row by row out of the trace: what the writer must arrive at."""
    newest: dict[int, tuple[int, int, int]] = {}
    first: dict[int, tuple[int, int, int, int]] = {}
    spath = []
    for scan in trace.to_pylist():
        if scan["arrival_time"] > at:
            continue
        order, sequence = scan["order_id"], scan["trace_seq"]
        spath.append((order, scan["path_time"], scan["code"], sequence))
        newest[order] = max(newest.get(order, (-1, -1, -1)), (scan["path_time"], sequence, scan["code"]))
        arrival = (scan["arrival_time"], sequence, scan["partner_id"], scan["path_time"])
        first[order] = min(first.get(order, arrival), arrival)
    return {
        UTI: sorted((order, f"TN{order}", code, update) for order, (update, _, code) in newest.items()),
        ECS: sorted((order, partner, added) for order, (_, _, partner, added) in first.items()),
        SPATH: sorted(spath),
    }


@pytest.fixture
def file(tmp_path: Path) -> str:
    return f"duckdb:///{tmp_path}/source.duckdb"


@pytest.fixture(params=["duckdb", "mysql"])
def url(request: pytest.FixtureRequest, file: str) -> Iterator[str]:
    yield file if request.param == "duckdb" else request.getfixturevalue("mysql_database")


@pytest.fixture(scope="module")
def lives() -> pa.Table:
    """Whole lives: nothing of these orders lies in the future."""
    parts = [
        scans(1, Chunk(month, 0, 10**9 + month * 10**6, 10_000, start, start + 30 * DAY), 0, None, 2**40)
        for month, start in ((650, 1_700_000_000), (651, 1_702_592_000))
    ]
    return pa.concat_tables(parts)


def per_order(lives: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Longest pause and whole span of each order, in seconds."""
    ordered = lives.sort_by([("order_id", "ascending"), ("path_time", "ascending")])
    order, path = ordered["order_id"].to_numpy(), ordered["path_time"].to_numpy()
    starts = np.flatnonzero(np.r_[True, order[1:] != order[:-1]])
    pause = np.r_[0, np.where(order[1:] == order[:-1], path[1:] - path[:-1], 0)]
    ends = np.r_[starts[1:], len(order)] - 1
    return np.maximum.reduceat(pause, starts), path[ends] - path[starts]


def test_scans_per_order_are_log_normal_around_fourteen(lives: pa.Table) -> None:
    count = lives.group_by("order_id").aggregate([("code", "count")])["code_count"].to_numpy()
    assert np.median(count) == 14
    logs = np.log(count)
    assert abs(np.mean(logs) - np.log(14)) < 0.05 and abs(np.std(logs) - 0.5) < 0.05


def test_scans_arrive_as_late_as_they_do(lives: pa.Table) -> None:
    late = pc.subtract(lives["arrival_time"], lives["path_time"]).to_numpy()
    for seconds, share in ((15 * MINUTE, 0.026), (DAY, 0.015), (14 * DAY, 0.006)):
        assert (late > seconds).mean() == pytest.approx(share, rel=0.1)
    assert late.min() >= 1
    created = lives.filter(pc.equal(lives["code"], CREATED))
    assert pc.max(pc.subtract(created["arrival_time"], created["path_time"])).as_py() <= MINUTE


def test_partners_are_zipf_over_320(lives: pa.Table) -> None:
    _, orders = np.unique(lives.filter(pc.equal(lives["code"], CREATED))["partner_id"].to_numpy(), return_counts=True)
    assert len(orders) > 0.95 * PARTNERS and orders[0] == orders.max()
    assert orders[0] / orders[1:3].mean() == pytest.approx(2.5, rel=0.15)  # 1 against 1/2 and 1/3
    assert pc.max(lives["partner_id"]).as_py() <= PARTNERS


def test_some_are_cancelled_some_come_back_and_some_live_long(lives: pa.Table) -> None:
    orders = pc.count_distinct(lives["order_id"]).as_py()
    cancelled = pc.sum(pc.equal(lives["code"], CANCELLED)).as_py()
    pause, span = per_order(lives)
    assert cancelled / orders == pytest.approx(0.025, rel=0.15)
    assert (pause > SIX_MONTHS).mean() == pytest.approx(0.010, rel=0.25)
    assert ((span > SIX_MONTHS) & (pause < SIX_MONTHS)).mean() == pytest.approx(0.010, rel=0.25)
    assert pc.max(pc.subtract(lives["arrival_time"], pc.min(lives["path_time"]))).as_py() < (
        (LIFE_DAYS_MOST + 60) * DAY
    )


def test_no_order_is_heard_of_after_the_longest_life(lives: pa.Table) -> None:
    """Continuing looks no further back than this, so an order that outlived it would lose scans."""
    whole = lives.group_by("order_id").aggregate([("path_time", "min"), ("arrival_time", "max")])
    life = pc.subtract(whole["arrival_time_max"], whole["path_time_min"])
    assert pc.max(life).as_py() < LIFE_DAYS_MOST * DAY


def test_trace_seq_numbers_the_arrivals_of_an_order_from_zero(lives: pa.Table) -> None:
    ordered = lives.sort_by([("order_id", "ascending"), ("trace_seq", "ascending")])
    order, arrival = ordered["order_id"].to_numpy(), ordered["arrival_time"].to_numpy()
    sequence = ordered["trace_seq"].to_numpy()
    same = order[1:] == order[:-1]
    assert (np.diff(sequence)[same] == 1).all() and (sequence[1:][~same] == 0).all()
    assert (np.diff(arrival)[same] >= 0).all()


def test_the_first_write_holds_about_as_many_orders_as_asked_for(file: str) -> None:
    counts = simulate(file, orders=3000, months=8, seed=1, at=T)
    assert counts[UTI] == counts[ECS] == pytest.approx(3000, rel=0.05)
    rows = content(file)
    order_ids = [row[0] for row in rows[UTI]]
    assert len(set(order_ids)) == len(order_ids) and min(order_ids) > 2**31
    assert {row[0] for row in rows[SPATH]} == set(order_ids) == {row[0] for row in rows[ECS]}
    newest: dict[int, int] = {}
    for order, path_time, _, _ in rows[SPATH]:
        newest[order] = max(newest.get(order, 0), path_time)
    assert newest == {row[0]: row[3] for row in rows[UTI]}
    old = months_before(T, 6).timestamp()
    assert any(row[2] < old and dict(newest)[row[0]] > T.timestamp() - 7 * DAY for row in rows[ECS])


def test_a_later_moment_continues_the_same_history(url: str) -> None:
    arguments: dict[str, Any] = {"orders": 400, "months": 8, "seed": 4}
    simulate(url, at=T, **arguments)
    before = content(url)
    simulate(url, at=T + timedelta(days=40), **arguments)
    after = content(url)
    assert set(before[SPATH]) < set(after[SPATH]) and set(before[ECS]) < set(after[ECS])
    assert {row[0] for row in before[UTI]} < {row[0] for row in after[UTI]}
    until = int((T + timedelta(days=40)).timestamp())
    trace = simulated_trace(400, 8, 4, T + timedelta(days=40), started=months_before(T, 8))
    assert after == derived(trace, until)
    simulate(url, at=T + timedelta(days=40), **arguments)
    assert content(url) == after


def test_both_kinds_of_source_hold_the_same_rows(file: str, mysql_database: str) -> None:
    for url in (file, mysql_database):
        simulate(url, orders=500, months=7, seed=9, at=T)
    assert content(file) == content(mysql_database)


def test_the_seed_decides_everything(tmp_path: Path) -> None:
    def made(name: str, seed: int) -> Content:
        url = f"duckdb:///{tmp_path}/{name}.duckdb"
        simulate(url, orders=300, months=2, seed=seed, at=T)
        return content(url)

    assert made("a", 1) == made("b", 1) != made("c", 2)


def test_large_months_are_made_in_slices_without_gap_or_overlap() -> None:
    made = list(chunks(700_000, int(months_before(T, 2).timestamp()), None, int(T.timestamp()) - 1))
    assert [len([c for c in made if c.month == month]) for month in sorted({c.month for c in made})] == [4, 4]
    for before, after in pairwise(made):
        assert before.end == after.start
        assert before.first_id + before.orders <= after.first_id


def test_a_day_of_cycles_ends_where_one_step_ends(url: str) -> None:
    """Replays any trace in steps; each step writes only what arrived, uti renewed."""
    day = T + timedelta(days=1)
    trace = simulated_trace(400, 8, 6, day)
    moments = [int((T + timedelta(minutes=15 * n)).timestamp()) for n in range(97)]
    with SourceWriter(url) as writer:
        writer.advance(trace, moments[0])
    assert content(url) == derived(trace, moments[0])
    with SourceWriter(url) as writer:
        written = [writer.advance(trace, moment) for moment in moments[1:]]
        with pytest.raises(SourceWriteError, match="earlier"):
            writer.advance(trace, moments[0])
    assert sum(written) > 0 and 0 in written
    assert content(url) == derived(trace, moments[-1])


def test_the_days_arrivals_alone_are_enough_to_continue(file: str) -> None:
    simulate(file, orders=400, months=8, seed=6, at=T)
    day = T + timedelta(days=1)
    with SourceWriter(file) as writer:
        assert writer.advance(simulated_trace(400, 8, 6, day, since=T), int(day.timestamp())) > 0
    whole = simulated_trace(400, 8, 6, day, started=months_before(T, 8))
    assert content(file) == derived(whole, int(day.timestamp()))


@pytest.mark.parametrize(
    "moments", [((150, 100), (201, 201), (202, 203), (300, 203)), ((202, 203),)], ids=["in steps", "at once"]
)
def test_the_newest_scan_wins_and_a_tie_goes_to_the_highest_trace_seq(
    url: str, moments: tuple[tuple[int, int], ...]
) -> None:
    rows = [(1, 7, 100, 101, 100, 0), (1, 7, 200, 201, 201, 1), (1, 7, 200, 202, 203, 2), (1, 7, 150, 300, 205, 3)]
    trace = pa.table([pa.array(values) for values in zip(*rows, strict=True)], names=TRACE_SCHEMA.names).cast(
        TRACE_SCHEMA
    )
    for at, status in moments:
        with SourceWriter(url) as writer:
            writer.advance(trace, at)
        assert content(url)[UTI] == [(1, "TN1", status, 100 if at == 150 else 200)]
    assert content(url)[ECS] == [(1, 7, 100)]


def test_an_earlier_moment_is_refused(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--source", file, "--orders", "50", "--months", "2", "--seed", "1", "--at"]
    assert main([*arguments, "2026-05-01"]) == 0
    before = content(file)
    assert "order-tracking cycle --source" in capsys.readouterr().out
    assert main([*arguments, "2026-04-30T23:59:59"]) == 2
    assert "earlier" in capsys.readouterr().err
    assert content(file) == before


def test_other_parameters_write_anew_and_say_so(url: str) -> None:
    simulate(url, orders=60, months=2, seed=1, at=T)
    told: list[str] = []
    simulate(url, orders=60, months=2, seed=2, at=T, report=told.append)
    assert len(told) == 1 and "written anew" in told[0]
    assert content(url) == derived(simulated_trace(60, 2, 2, T), int(T.timestamp()))


def test_a_first_write_that_died_is_begun_anew(url: str) -> None:
    with SourceWriter(url) as writer:
        writer.begin("orders=60 months=2 seed=1", 0)
        writer.put(simulated_trace(60, 2, 5, T))
    simulate(url, orders=60, months=2, seed=1, at=T)
    assert content(url) == derived(simulated_trace(60, 2, 1, T), int(T.timestamp()))


def test_a_real_source_is_never_written(url: str) -> None:
    if url.startswith("mysql"):
        with closing(Address.parse(url).connect(autocommit=True)) as connection:
            connection.cursor().execute(f"CREATE TABLE {UTI} (order_id BIGINT)")
    else:
        with duckdb.connect(url.removeprefix("duckdb:///")) as file_connection:
            file_connection.execute(f"CREATE TABLE {UTI} (order_id BIGINT)")
    with pytest.raises(SourceWriteError, match="not written by a simulation"):
        simulate(url, orders=10, months=1, seed=1, at=T)


def test_a_warehouse_is_no_place_for_a_source(world: World) -> None:
    before = world.warehouse_file.read_bytes()
    with pytest.raises(SourceWriteError, match=r"already has order_tracking_raw\..*Nothing was changed"):
        simulate(f"duckdb:///{world.warehouse_file}", orders=5, months=1, seed=1, at=T)
    assert world.warehouse_file.read_bytes() == before


def test_mysql_has_a_real_ones_keys_and_indexes(mysql_database: str) -> None:
    simulate(mysql_database, orders=20, months=1, seed=1, at=T)
    with closing(Address.parse(mysql_database).connect()) as connection:
        cursor = connection.cursor()
        found = {}
        for table in (UTI, ECS, SPATH):
            cursor.execute(f"SHOW INDEX FROM {table}")
            keys: dict[str, list[str]] = {}
            for row in cursor.fetchall():
                keys.setdefault(row[2], []).append(row[4])
            found[table] = sorted(keys.values())
    assert found == {
        UTI: [["order_id"], ["update_time", "order_id"]],
        ECS: [["add_time", "order_id"], ["order_id"]],
        SPATH: [["id"], ["pathTime", "order_id"]],
    }


def test_the_zone_of_the_process_changes_nothing(
    file: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("TZ", "Pacific/Apia")
    time.tzset()
    try:
        assert main(f"--source {file} --orders 50 --months 2 --seed 1 --at 2026-05-01".split()) == 0
    finally:
        monkeypatch.undo()
        time.tzset()
    assert content(file) == derived(simulated_trace(50, 2, 1, T), int(T.timestamp()))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("--orders 0", "at least 1"),
        ("--months 0", "at least 1"),
        ("--months 99999", "at most 480"),
        ("--seed -1", "at least 0"),
        ("--orders 95000001", "room for 95,000,000 orders a month"),
        ("--source oracle://h/d", "neither mysql: nor duckdb"),
    ],
)
def test_bad_usage_exits_with_two(file: str, wrong: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = {"--source": file, "--orders": "5", "--months": "1", "--seed": "1"} | dict([wrong.split()])
    assert main([word for pair in given.items() for word in pair]) == 2
    assert told in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken").write_text("a file, where a folder should be")
    assert main(f"--source duckdb:///{tmp_path}/taken/s.duckdb --orders 5 --months 1 --seed 1".split()) == 1
    assert "cannot be opened for writing" in capsys.readouterr().err
