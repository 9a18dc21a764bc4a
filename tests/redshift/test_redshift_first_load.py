"""A first load on Redshift: short statements on the source, few and large COPYs, files for every slice, statistics."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from extract import s3_parts
from extract.clock import Clock
from extract.errors import ConfigurationError, ExtractFailed, TooLong
from extract.run import TableRun
from extract.run import extract as run_extract
from extract.settings import RedshiftSettings
from extract.source import SourceTable, TimeRange, open_source
from extract.source_duckdb import DuckDBSource
from extract.tables import load_config
from extract.warehouse import open_warehouse
from tests.support.conftest_redshift import START
from tests.support.redshift_world import RedshiftWorld
from tests.support.world import DAY, HOUR, moment

SPATH = "uni_tracking_spath"
RAW = f"order_tracking_raw.{SPATH}_raw"
ORDERS = 40


@pytest.fixture
def world(redshift_world: RedshiftWorld, monkeypatch: pytest.MonkeyPatch) -> RedshiftWorld:
    """Orders of 40 days, one scan each, that nothing has read yet; a statement on the source reads about ten rows."""
    for order in range(1, ORDERS + 1):
        redshift_world.order(order, START - order * DAY)
    monkeypatch.setattr("extract.reconcile.STATEMENT_ROWS", 10)
    return redshift_world


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of scans that each statement on the source gave."""
    read, counted = DuckDBSource.read, []

    def counting(self: DuckDBSource, table: SourceTable, *args: Any, **options: Any) -> Iterator[pa.RecordBatch]:
        batches = list(read(self, table, *args, **options))
        if table.name == SPATH:
            counted.append(sum(batch.num_rows for batch in batches))
        yield from batches

    monkeypatch.setattr(DuckDBSource, "read", counting)
    return counted


def load(world: RedshiftWorld, chunk_rows: int | None = None) -> list[TableRun]:
    config = replace(load_config(), chunk_rows=chunk_rows)
    with closing(open_source(world.source_url)) as source, closing(open_warehouse("redshift")) as warehouse:
        return run_extract(source, warehouse, config, Clock(moment(START + HOUR)))


def sent(world: RedshiftWorld, pattern: str) -> list[str]:
    return [sql for sql in world.standin.statements if re.match(pattern, sql, re.IGNORECASE)]


def scans(world: RedshiftWorld) -> list[tuple[Any, ...]]:
    return world.query(f"SELECT order_id FROM {RAW} ORDER BY 1")


@pytest.mark.slow
def test_many_reads_of_the_source_come_in_one_copy_and_statistics_follow(
    world: RedshiftWorld, reads: list[int]
) -> None:
    load(world)
    assert scans(world) == [(order,) for order in range(1, ORDERS + 1)]
    assert len(reads) >= 4 and max(reads) <= 10
    assert len(sent(world, f"copy staged_{SPATH} ")) == 1
    after = world.standin.statements.index(f"ANALYZE {RAW}")
    landed = max(number for number, sql in enumerate(world.standin.statements) if sql.startswith(f"INSERT INTO {RAW}"))
    assert after > landed
    world.standin.statements.clear()
    load(world)
    assert sent(world, "analyze") == [], "an ordinary extract asks for none"


def test_a_first_load_that_broke_off_goes_on_where_it_was(world: RedshiftWorld, reads: list[int]) -> None:
    world.standin.fail_when(f"^copy staged_{SPATH} ", message="disk full", times=99)
    fault = world.standin.memory.faults[-1]
    matches = fault.matches
    fault.matches = lambda sql: matches(sql) and len(sent(world, f"copy staged_{SPATH} ")) > 1
    with pytest.raises(ExtractFailed, match="disk full"):
        load(world, chunk_rows=20)
    fault.times = 0
    assert len(scans(world)) == 20, "two reads of ten rows"
    reads.clear()
    load(world, chunk_rows=20)
    assert scans(world) == [(order,) for order in range(1, ORDERS + 1)]
    assert sum(reads) == ORDERS - 20 + 1, "beside the rest, the last hour that had landed"


@pytest.mark.slow
def test_a_read_that_takes_too_long_within_a_copy_comes_in_halves_and_lands_once(
    world: RedshiftWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, ended = DuckDBSource.read, []

    def slow(self: DuckDBSource, table: SourceTable, ranges: Sequence[TimeRange], **options: Any) -> Any:
        batches = read(self, table, ranges, **options)
        hours = sum((each.end - each.start) for each in ranges if each.start and each.end) // HOUR
        if table.name == SPATH and hours > 6:
            ended.append(hours)
            yield next(iter(batches)).slice(0, 1)
            raise TooLong("too long")
        yield from batches

    monkeypatch.setattr(DuckDBSource, "read", slow)
    load(world)
    assert ended, "no read was ended"
    assert scans(world) == [(order,) for order in range(1, ORDERS + 1)]
    assert len(sent(world, f"copy staged_{SPATH} ")) == 1


BATCHES = [pa.record_batch([pa.array([number])], names=["order_id"]) for number in range(10)]


@pytest.mark.parametrize(
    ("slices", "part_bytes", "rows"),
    [
        (4, 1 << 20, [3, 3, 2, 2]),  # in turn, so that each slice has as much to read
        (4, 1, [1] * 10),  # full files make room for the next round of four
        (16, 1, [1] * 10),  # few rows come in fewer
        (1, 1 << 20, [10]),
    ],
)
def test_rows_go_to_as_many_files_as_there_are_slices(
    monkeypatch: pytest.MonkeyPatch, slices: int, part_bytes: int, rows: list[int]
) -> None:
    monkeypatch.setattr(s3_parts, "GROUP_BYTES", 1)
    monkeypatch.setattr(s3_parts, "PART_BYTES", part_bytes)
    empty = BATCHES[0].slice(0, 0)
    files = list(s3_parts._files(BATCHES[0].schema, [empty, *BATCHES, empty], slices))
    assert [count for _, count in files] == rows
    for file, _ in files:
        file.close()
    assert list(s3_parts._files(BATCHES[0].schema, [empty], slices)) == []


def test_the_number_of_slices_is_a_setting(world: RedshiftWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    assert RedshiftSettings.from_environment().slices == 16
    monkeypatch.setenv("REDSHIFT_SLICES", "6")
    assert RedshiftSettings.from_environment().slices == 6
    monkeypatch.setenv("REDSHIFT_SLICES", "0")
    with pytest.raises(ConfigurationError, match="REDSHIFT_SLICES"):
        RedshiftSettings.from_environment()
