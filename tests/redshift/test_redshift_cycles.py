"""The cycles of production, on the Redshift stand-in: the same promises as on DuckDB, through the real drivers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from bench.simulate import simulate
from bench.source_writer import SourceWriter
from extract.errors import CycleFailed, LockHeld, SourceError
from extract.lock import run_lock
from tests.commands.test_alerts import titles, webhook
from tests.marts.test_retention import physical
from tests.proof.test_traces import DATA
from tests.redshift_standin import Properties, RedshiftStandin, refusals
from tests.support.commands import exceptions as exceptions_command
from tests.support.commands import lateness as lateness_command
from tests.support.commands import order as order_command
from tests.support.commands import status as status_command
from tests.support.conftest_redshift import START
from tests.support.redshift_world import MARTS, RedshiftWorld, copy_tables
from tests.support.thorough import sample
from tests.support.world import DAY, HOUR, MINUTE, World, at, moment

YEAR = 365 * DAY

SORTKEYS = {
    "uti": ("update_time", "order_id"),
    "ecs": ("partner_id", "add_time", "order_id"),
    "uts": ("pathtime", "order_id"),
}


def layouts(standin: RedshiftStandin, schema: str, prefix: str) -> dict[str, Properties]:
    """Table -> what the stand-in was told of its layout, of the tables whose name begins so."""
    names = standin.fetch(
        f"SELECT tablename FROM pg_tables WHERE schemaname = '{schema}' AND tablename LIKE '{prefix}%'"
    )
    return {name: standin.properties(f"{schema}.{name}") for (name,) in names}


def assert_layouts(standin: RedshiftStandin) -> None:
    """Every mart and history table is distributed by the order and sorted as designed, every raw table by arrival."""
    for short, mart in zip(SORTKEYS, MARTS, strict=True):
        wanted = {Properties("key", "order_id", SORTKEYS[short])}
        assert set(layouts(standin, "sqlmesh__order_tracking", f"order_tracking__{mart}__").values()) == wanted, mart
        history = layouts(standin, "order_tracking_history", f"hist_{short}_")
        assert len(history) >= 2, f"the test wants two periods of {short}"
        assert set(history.values()) == wanted, history
        raw = layouts(standin, "order_tracking_raw", mart.removeprefix("mart_"))
        assert set(raw.values()) == {Properties("key", "order_id", ("landed_at",))}, raw


def test_first_load_leaves_every_row_in_its_one_place_and_every_table_laid_out_as_designed(
    make_redshift_world: Callable[..., RedshiftWorld],
) -> None:
    """The first cycle of all: foundation, plan, first load; what is old goes to history at the next."""
    world = make_redshift_world(planned=False)
    for order in range(1, 21):
        world.order(order, START - order * 20 * DAY, partner=order % 3)
        world.scan(order, START - order * 19 * DAY)
    world.cycle()
    world.cycle()
    world.assert_whole()
    assert len(world.uti()) + len(world.history("uti")) == 20
    assert world.objects_in_s3() == []
    assert_layouts(world.standin)
    assert [sql for sql in world.standin.statements if refusals(sql)] == []


@pytest.mark.slow
def test_an_order_is_archived_comes_back_and_its_metadata_is_restored(redshift_world: RedshiftWorld) -> None:
    world = redshift_world
    world.order(1, START - 200 * DAY, partner=7)
    world.order(2, START)
    world.cycle()
    assert world.uti().keys() == {2}
    assert [order for _, order in world.history("uti")] == [1]
    assert [order for _, order in world.history("ecs")] == [1]

    world.cycle(START + HOUR)  # lookback: a cycle reads the batch before its own once more
    world.scan(1, START + HOUR, code=300)
    world.cycle(START + 2 * HOUR)
    assert world.uti()[1] == (300, START + HOUR)
    assert world.history("uti") == []

    world.cycle(START + DAY)
    found = ("order_without_ecs", "mart_ecs_order_info", 1, "history holds its row, the order came back: restore it")
    assert found in world.exceptions()
    time = moment(world.now).isoformat()
    assert exceptions_command(["--gateway", "redshift", "--at", time, "restore", "1"]) == 0
    world.cycle()
    assert world.history("ecs") == []
    assert world.query("SELECT partner_id FROM order_tracking.mart_ecs_order_info WHERE order_id = 1") == [(7,)]
    world.cycle(START + 2 * DAY)
    assert world.exceptions() == []
    world.assert_whole()


@pytest.mark.slow
def test_a_doubled_scan_of_the_last_second_is_found_in_its_turn(redshift_world: RedshiftWorld) -> None:
    """The check reckons in whole seconds: Redshift's EXTRACT has no fraction."""
    world = redshift_world
    world.order(1, START - 25 * DAY - 1)
    world.cycle()
    world.cycle(START + DAY + HOUR)
    table = physical(world, "mart_uni_tracking_spath")
    world.execute(f"INSERT INTO {table} SELECT * FROM {table}")
    world.cycle(START + 3 * DAY + HOUR)
    assert world.exceptions() == [("duplicate_rows", "mart_uni_tracking_spath", 1, DOUBLED)]


@pytest.mark.slow
def test_where_a_month_is_shorter_an_order_stays_in_one_place(redshift_world: RedshiftWorld) -> None:
    """There is no 31 April, so the line stands at 1 May; of order 1 a lagging replica shows an older status."""
    world = redshift_world
    world.order(1, at("2025-04-30T12:00:00"))
    world.order(2, at("2025-04-30T12:00:00"))
    world.order(8, at("2025-10-30T21:00:00"))
    world.cycle(at("2025-10-30T22:00:00"))
    world.order(3, at("2025-04-30T13:00:00"))
    world.order(9, at("2025-10-30T23:00:00"))
    world.cycle(at("2025-10-30T23:45:00"), reconcile_since=START - 150 * DAY)
    archived = [("2025_h1", order) for order in (1, 2, 3)]
    assert world.history("uti") == archived

    world.status(1, 99, at("2025-04-30T11:00:00"))
    world.order(10, at("2025-10-31T00:05:00"))
    world.cycle(at("2025-10-31T00:15:00"), reconcile_since=START - 150 * DAY)
    world.status(1, 100, at("2025-04-30T12:00:00"))
    landed = "SELECT status FROM order_tracking_raw.uni_tracking_info_raw WHERE order_id = 1 ORDER BY landed_at"
    assert world.query(landed) == [(100,), (99,)]
    assert (world.uti().keys(), world.history("uti"), world.history("ecs")) == ({8, 9, 10}, archived, archived)
    world.assert_whole()


@pytest.mark.slow(minutes=4)
def test_a_simulated_history_ends_in_the_same_rows_on_both_engines(
    make_redshift_world: Callable[..., RedshiftWorld], make_world: Callable[..., World], tmp_path: Path
) -> None:
    """Nine simulated months, then cycles an hour, a day and months apart; a row without a time, an order restored."""
    now = START
    ours = make_world()
    ours.source_file.unlink()
    theirs = make_redshift_world()  # over the same source
    ours.source_file.unlink()
    for step in (HOUR, DAY, 70 * DAY, HOUR):
        now += step
        since = START - 300 * DAY if step == 70 * DAY else None  # what became visible long after its time
        simulate(ours.source_url, orders=60, months=9, seed=7, at=moment(now))
        if now == START + HOUR:
            ours.order(1, START - 200 * DAY)  # archived at once
        elif step == DAY:
            ours.insert("uni_tracking_spath", [(2, now * 1000, 100, 1)])  # milliseconds
        elif step == 70 * DAY:
            ours.scan(1, now - HOUR)  # and back
        ours.cycle(now, reconcile_since=since)
        theirs.cycle(now, reconcile_since=since)
        if step == 70 * DAY:
            for gateway in ("local", "redshift"):
                time = moment(now).isoformat()
                assert exceptions_command(["--gateway", gateway, "--at", time, "restore", "1"]) == 0
    assert_same_tables(ours, theirs, tmp_path, may_be_empty=())
    reasons = ours.query("SELECT table_name, reason FROM order_tracking_raw.rejected_rows")
    assert reasons == [("uni_tracking_spath", reasons[0][1])]
    assert ours.query("SELECT order_id FROM order_tracking.mart_ecs_order_info WHERE order_id = 1") == [(1,)]


@pytest.mark.slow(minutes=12, thorough=20)
def test_the_recorded_traces_end_in_the_same_rows_on_both_engines(
    make_redshift_world: Callable[..., RedshiftWorld], make_world: Callable[..., World], tmp_path: Path
) -> None:
    """Both traces in one warehouse, a cycle every year or two; tests/proof/test_traces.py sees that they are right.

    The years that only the small trace knows go by in twos.
    """
    large, small = (pq.read_table(DATA / f"{name}.parquet") for name in ("trace_a", "trace_b"))
    traces = pa.concat_tables([large, small])
    first, dense, last = (pc.min_max(table["arrival_time"]).as_py() for table in (small, large, traces))
    moments = [*range(first["min"], dense["min"], 2 * YEAR), *range(dense["min"], last["max"] + YEAR, YEAR)]
    moments = sorted({*sample(moments, 2), moments[-1]})
    ours = make_world(history_start="2010_h1", planned=False)
    ours.source_file.unlink()
    theirs = make_redshift_world(history_start="2010_h1", planned=False)  # over the same source
    ours.source_file.unlink()
    for now in moments:
        with SourceWriter(ours.source_url) as source:
            source.advance(traces, now)
        ours.cycle(now, reconcile_since=1)
        theirs.cycle(now, reconcile_since=1)
    assert_same_tables(ours, theirs, tmp_path, may_be_empty=FOUND)


DOUBLED = "more than one row of a scan (rows: 2; expected: 1; difference: 1)"
FOUND = ("order_tracking_exceptions", "consistency_failures", "rejected_rows")


def assert_same_tables(ours: World, theirs: RedshiftWorld, folder: Path, *, may_be_empty: Sequence[str]) -> None:
    """Marts, history, raw and what was found agree in every row and column, archived_at and landed_at too."""
    copied = folder / "standin.duckdb"
    copy_tables(theirs, copied)
    with duckdb.connect() as both:
        both.execute(f"ATTACH '{ours.warehouse_file}' AS warehouse (READ_ONLY)")  # as its views call it
        both.execute(f"ATTACH '{copied}' AS theirs (READ_ONLY)")
        tables = [
            f"{schema}.{table}"
            for schema, table in both.execute(
                "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'theirs'"
            ).fetchall()
            if table != "extract_log"
        ]
        assert len(tables) == 12
        for table in tables:
            rows = {name: _rows(both, f"{name}.{table}") for name in ("warehouse", "theirs")}
            assert rows["warehouse"] == rows["theirs"], table
            if table.split(".")[1] not in may_be_empty:
                assert rows["theirs"], f"{table} is empty: the history shows nothing"


def _rows(both: duckdb.DuckDBPyConnection, table: str) -> list[tuple[object, ...]]:
    names = sorted(row[0] for row in both.execute(f"DESCRIBE {table}").fetchall())
    return both.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY ALL").fetchall()


@pytest.mark.slow
def test_a_day_boundary_in_redshifts_statements_is_utc(redshift_world: RedshiftWorld) -> None:
    """What lands at midnight is stamped in the quarter-hour before, whatever the server calls the day."""
    redshift_world.order(1, at("2025-09-01T23:59:59"))
    redshift_world.cycle(at("2025-09-02T00:00:00"))
    stamps = redshift_world.query("SELECT DISTINCT landed_at::text FROM order_tracking.mart_uni_tracking_spath")
    assert stamps == [("2025-09-01 23:59:59",)]


@pytest.mark.slow
def test_a_cycle_logs_itself_in_one_insert_which_status_reads(
    redshift_world: RedshiftWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = redshift_world
    world.order(1, START - 200 * DAY, partner=7)
    world.order(2, START)
    world.cycle()
    of_log = [sql for sql in world.standin.statements if "cycle_log" in sql and "pg_catalog" not in sql]
    assert [sql.split("(")[0].strip() for sql in of_log] == ["INSERT INTO order_tracking_history.cycle_log"]

    def breaks(*args: object, **options: object) -> None:
        raise CycleFailed("it's in C:\\new 100%")

    with monkeypatch.context() as patch, pytest.raises(CycleFailed):
        patch.setattr("scripts.run_cycle._run", breaks)
        world.cycle()
    log = "SELECT outcome, rows_landed, rows_archived, newest_uts, error FROM order_tracking_history.cycle_log"
    assert world.query(f"{log} ORDER BY started_at")[-2:] == [
        ("done", 6, 3, START, None),
        ("failed", 0, 0, START, "it's in C:\\new 100%"),
    ]
    with run_lock("redshift"), pytest.raises(LockHeld):
        world.cycle()
    asked = ["--gateway", "redshift", "--at", f"{moment(world.now + MINUTE):%Y-%m-%dT%H:%M:%S}"]
    assert status_command(asked) == 1
    assert "failed: it's in C:\\new 100%" in capsys.readouterr().out.splitlines()[1]
    world.cycle()
    outcomes = [row[0] for row in world.query(f"{log} ORDER BY started_at")]
    assert outcomes[-4:] == ["done", "failed", "locked", "done"]
    assert status_command([*asked[:3], f"{moment(world.now + MINUTE):%Y-%m-%dT%H:%M:%S}"]) == 0
    assert "uni_tracking_spath  2025-" in capsys.readouterr().out
    assert [sql for sql in world.standin.statements if refusals(sql)] == []


@pytest.mark.slow
def test_alerts_and_lateness_ask_what_redshift_takes(
    redshift_world: RedshiftWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = redshift_world
    world.order(1, START)
    world.cycle()
    world.scan(2, world.now)
    with webhook() as (url, received):
        monkeypatch.setenv("ALERT_URLS", url)
        with pytest.raises(SourceError):
            world.cycle(source="mysql://user@127.0.0.1:1/shop")
        world.cycle()
        world.cycle(START + DAY + HOUR)
    assert titles(received)[:2] == ["a cycle failed", "cycles end well again"]
    assert any(title.startswith("findings: ") and title.endswith(" opened") for title in titles(received))
    assert lateness_command(["--gateway", "redshift", "--at", f"{moment(world.now):%Y-%m-%dT%H:%M:%S}"]) == 0
    assert "< the buffer ends" in capsys.readouterr().out
    assert [sql for sql in world.standin.statements if refusals(sql)] == []


def test_an_order_is_shown_whole(redshift_world: RedshiftWorld, capsys: pytest.CaptureFixture[str]) -> None:
    world = redshift_world
    world.order(1, START - 200 * DAY, partner=7)
    world.scan(2, START)
    world.insert("ecs_order_info", [(3, 1, START)])
    world.insert("uni_tracking_info", [(4, "T4", 100, 0)])
    world.cycle()
    assert order_command(["T1", "2", "3", "4", "--gateway", "redshift"]) == 0
    told = capsys.readouterr().out
    states = ("1: archived in 2025_h1", "2: active", "3: without a status: only metadata", "4: only rejected rows")
    assert all(f"Order {state}" in told for state in states), told
    assert order_command(["5", "--gateway", "redshift"]) == 1
    looked_up = world.query("SELECT order_id, status_lives_in, metadata_lives_in FROM order_tracking.order_lookup")
    assert sorted(looked_up) == [
        (1, "2025_h1", "2025_h1"),
        (2, "mart", None),
        (3, None, "mart"),
    ]
    assert [sql for sql in world.standin.statements if refusals(sql)] == []
