"""The whole pipeline on a real MySQL, beside the embedded source: the same history ends in the same tables."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import duckdb
import pytest

from bench.simulate import simulated_trace
from bench.source_writer import SourceWriter
from extract.errors import ExtractFailed, SourceError
from scripts.run_cycle import run_cycle
from tests.conftest import START
from tests.support.world import DAY, HOUR, World, moment

TABLES = (
    "order_tracking.mart_uni_tracking_info",
    "order_tracking.mart_ecs_order_info",
    "order_tracking.mart_uni_tracking_spath",
    "order_tracking_history.hist_uti_all",
    "order_tracking_history.hist_ecs_all",
    "order_tracking_history.hist_uts_all",
)


def contents(warehouse: Path) -> dict[str, list[tuple[object, ...]]]:
    with duckdb.connect(str(warehouse)) as connection:
        return {table: connection.execute(f"SELECT * FROM {table} ORDER BY ALL").fetchall() for table in TABLES}


@pytest.mark.slow
def test_mysql_and_the_embedded_source_end_in_the_same_tables(
    world: World, mysql_database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trace = simulated_trace(orders=300, months=8, seed=5, until=moment(START + 3 * DAY))
    embedded = f"duckdb:///{tmp_path}/simulated.duckdb"
    second = tmp_path / "mysql" / "warehouse.duckdb"
    second.parent.mkdir()
    second.write_bytes(world.warehouse_file.read_bytes())
    moments = [START + 15 * 60, START + HOUR, START + DAY + 15 * 60, START + 3 * DAY]
    for source, warehouse in ((embedded, world.warehouse_file), (mysql_database, second)):
        monkeypatch.setenv("ORDER_TRACKING_DUCKDB", str(warehouse))
        for now in moments:
            with SourceWriter(source) as writer:
                writer.advance(trace, now)
            run_cycle(at=moment(now), source=source, reconcile_since=moment(0))
    world.assert_whole(tmp_path / "simulated.duckdb")
    ours, theirs = contents(world.warehouse_file), contents(second)
    assert ours == theirs
    assert all(ours.values()), "every table holds rows"


def test_a_read_that_fails_leaves_nothing_half_landed(
    world: World, mysql_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the failure is injected (test_source_faults.py kills real servers); the next cycle lands everything once."""
    from extract.source_mysql import MySQLSource

    trace = simulated_trace(orders=2000, months=4, seed=6, until=moment(START))
    with SourceWriter(mysql_database) as writer:
        writer.advance(trace, START)
    whole = MySQLSource.read

    def fails(self, table, ranges, **options):  # type: ignore[no-untyped-def]
        yield from whole(self, table, ranges, **options)
        if table.name == "uni_tracking_spath":
            raise SourceError("The connection to MySQL was lost in the middle of uni_tracking_spath.")

    monkeypatch.setattr(MySQLSource, "read", fails)
    with pytest.raises(ExtractFailed, match="nothing is half-landed"):
        run_cycle(at=moment(START + 15 * 60), source=mysql_database)
    assert world.query("SELECT COUNT(*) FROM order_tracking_raw.uni_tracking_spath_raw") == [(0,)]
    monkeypatch.setattr(MySQLSource, "read", whole)
    run_cycle(at=moment(START + 15 * 60), source=mysql_database)
    assert len(world.scans_everywhere()) == trace.num_rows


def test_a_wrong_password_is_never_printed(world: World, mysql_database: str) -> None:
    url = mysql_database.replace("@", "-wrong@") if "@" in mysql_database else mysql_database
    with pytest.raises(SourceError) as error:
        run_cycle(at=dt.datetime(2025, 9, 1, 1, tzinfo=dt.UTC), source=url)
    assert "-wrong" not in str(error.value)
