"""A source as a company has it: wide tables of every type, other names, DATETIME event times, views, limits."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from extract.errors import SourceError, TooLong
from extract.mysql_address import Address
from extract.source import SourceTable, TimeRange, open_source
from extract.source_mysql import MySQLSource
from extract.source_reads import Limits, with_index
from extract.tables import load_config
from tests.conftest import START
from tests.extract.test_source_changes import NIGHT, Shop, command, findings, verified
from tests.marts.test_schema_change import Copy
from tests.support.mariadb_server import MariaDB
from tests.support.world import DAY, HOUR, MINUTE, World, moment

EVERYTHING = [TimeRange(None, None, unplaceable=True)]
KINDS = ("SMALLINT", "INTEGER", "BIGINT", "BOOLEAN", "DECIMAL(12, 3)", "DOUBLE PRECISION", "DATE", "TIMESTAMP")
KINDS += ("VARCHAR(40)", "VARCHAR(1000)")
WIDTHS = {"uni_tracking_info": 30 - 4, "ecs_order_info": 25 - 3, "uni_tracking_spath": 12 - 4}
NAMES = {"uni_tracking_info": "v_status", "ecs_order_info": "v_orders", "uni_tracking_spath": "v_scans"}
TIMES = {"uni_tracking_info": "update_time", "ecs_order_info": "add_time", "uni_tracking_spath": "pathTime"}

DAY_OF_CYCLES = """
import datetime as dt, sys
from bench.simulate import simulated_trace
from bench.source_writer import SourceWriter
from scripts.run_cycle import run_cycle
owner, reader, start, cycles = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
moment = lambda seconds: dt.datetime.fromtimestamp(seconds, dt.UTC)
trace = simulated_trace(orders=400, months=8, seed=5, until=moment(start + 2 * 86400))
for number in range(cycles + 1):
    now = start + number * 900
    with SourceWriter(owner) as writer:
        writer.advance(trace, now)
        if not number:
            for statement in open("views.sql").read().split(";"):
                if statement.strip():
                    writer._backend.transaction(statement)
    run_cycle(at=moment(now), source=reader, reconcile_since=moment(0) if number == cycles else None)
"""


@pytest.mark.slow(minutes=12, thorough=20)
def test_a_first_load_and_a_day_of_cycles_of_wide_tables_pass_verify(
    tmp_path: Path, make_world: Callable[..., World], mariadb: MariaDB, mysql_database: str
) -> None:
    """30, 25 and 12 columns of every type that lands, behind views with other names and times as DATETIME(6)."""
    copy = Copy(tmp_path, make_world(planned=False))
    settings = ["buffer_minutes: 30", "connections: 2", "statement_seconds: 20", "tables:"]
    views = []
    for table, width in WIDTHS.items():
        columns = [f"extra_{number}: {KINDS[number % len(KINDS)]}" for number in range(width)]
        copy.add_columns(table, *columns)
        shown = ", ".join(f"extra_{number} AS Other_{number}" for number in range(width))
        keys = {
            "uni_tracking_info": "order_id AS shipment, tno, status AS state",
            "ecs_order_info": "order_id AS shipment, partner_id",
            "uni_tracking_spath": "order_id AS shipment, code, traceSeq",
        }[table]
        at = f"CAST(FROM_UNIXTIME({TIMES[table]}) AS DATETIME(6)) AS Happened_At"
        views.append(f"CREATE VIEW {NAMES[table]} AS SELECT {keys}, {at}, {shown} FROM {table}")
        names = {"order_id": "shipment", **{f"extra_{number}": f"other_{number}" for number in range(width)}}
        names |= {"status": "state"} if table == "uni_tracking_info" else {}
        settings += [f"  {table}:", f"    source: {NAMES[table]}", "    time: happened_at", "    columns:"]
        settings += [f"      {name}: {source}" for name, source in names.items()]
    (copy.folder / "extract" / "tables.yaml").write_text("\n".join(settings) + "\n")
    (copy.folder / "views.sql").write_text("SET time_zone = '+00:00';" + ";".join(views))
    (copy.folder / "day.py").write_text(DAY_OF_CYCLES)
    reader = mariadb.reader_url(Address.parse(mysql_database).database)
    ran = copy.run("day", mysql_database, reader, str(START), "96")
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    end = moment(START + 96 * 900).isoformat()
    said = copy.run("scripts.cli", "verify", "--since", "2020-01-01", "--at", end, "--source", reader, "--json")
    assert said.returncode == 0, said.stdout + said.stderr
    verdict = json.loads(said.stdout)
    assert verdict["equal"] and all(each["hours"] > 24 and not each["not_compared"] for each in verdict["tables"])
    ((rows, columns),) = copy.world.query(
        "SELECT COUNT(*), (SELECT COUNT(*) FROM information_schema.columns WHERE table_name = 'mart_uni_tracking_info' "
        "AND table_schema = 'order_tracking') FROM order_tracking.mart_uni_tracking_info"
    )
    assert rows > 100 and columns == 31


def test_a_datetime_and_a_timestamp_are_read_by_their_index_as_epoch_seconds(mysql_database: str) -> None:
    with closing(Address.parse(mysql_database).connect(autocommit=True)) as connection:
        cursor = connection.cursor()
        cursor.execute("SET time_zone = '+05:30', sql_mode = ''")
        cursor.execute(
            "CREATE TABLE t (order_id BIGINT PRIMARY KEY, seen DATETIME(3), stamped TIMESTAMP(6) NULL, KEY (seen), "
            "KEY (stamped))"
        )
        cursor.execute("INSERT INTO t SELECT seq, FROM_UNIXTIME(1) + INTERVAL seq DAY, NULL FROM seq_1000_to_3000")
        rows = [
            (1, "'2025-09-01 00:00:00.999'", "'2025-09-01 05:30:00.999999'"),
            (2, "'2025-09-01 00:00:01'", "'2025-09-01 05:30:01'"),
            (3, "'0000-00-00'", "NULL"),
            (4, "'9999-12-31 23:59:59'", "'2038-01-19 08:44:07'"),
        ]
        for order, seen, stamped in rows:
            cursor.execute(f"INSERT INTO t VALUES ({order}, {seen}, {stamped})")
        first = START  # 2025-09-01 00:00:00 UTC
        for column in ("seen", "stamped"):
            table = SourceTable(
                "t", column, ("order_id", "pathtime"), event_time="pathtime", names={"pathtime": column}
            )
            with closing(open_source(mysql_database)) as source:
                read = [
                    (row["order_id"], row["pathtime"])
                    for batch in source.read(table, [TimeRange(first, first + 1)])
                    for row in batch.to_pylist()
                ]
                assert read == [(1, first)]
                figures = source.hourly_figures(table, first, first + 2)
                assert figures == {first // 3600: (2, 3, 2 * first + 1, 0)}
                unplaceable = [
                    row
                    for batch in source.read(table, [TimeRange(0, 0, unplaceable=True)])
                    for row in batch.to_pylist()
                ]
                assert {"order_id": 3, "pathtime": None} in unplaceable
            condition = f"{column} >= '2025-09-01 00:00:00' AND {column} < '2025-09-01 00:00:01'"
            cursor.execute(f"EXPLAIN SELECT order_id FROM t WHERE {condition}")
            assert cursor.fetchone()[5] == column, "the key that serves the range"


def test_other_names_are_read_and_a_mistake_in_them_is_named(tmp_path: Path, mysql_database: str) -> None:
    settings = tmp_path / "tables.yaml"
    text = (
        "buffer_minutes: 30\ntables:\n  uni_tracking_info: {source: orders, time: changed, columns: {status: State}}\n"
        "  ecs_order_info: {source: e, time: add_time}\n  uni_tracking_spath: {source: s, time: pathTime}\n"
    )
    settings.write_text(text)
    table = load_config(settings=settings).tables[0]
    with closing(Address.parse(mysql_database).connect(autocommit=True)) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE orders (order_id BIGINT, tno VARCHAR(64), state INT, Changed DATETIME)")
        cursor.execute("INSERT INTO orders VALUES (1, 'T', 5, '2025-09-01 00:00:00')")
    with closing(open_source(mysql_database)) as source:
        (batch,) = source.read(table.source, EVERYTHING)
        assert batch.to_pylist() == [{"order_id": 1, "tno": "T", "status": 5, "update_time": START}]
        assert source.missing_index(table.source) == ("CREATE INDEX order_tracking ON `orders` (`Changed`, `order_id`)")
    settings.write_text(text.replace("{status: State}", "{state: status, update_time: other}"))
    with pytest.raises(Exception, match=r"names state, which is no column.*update_time is not what `time` names"):
        load_config(settings=settings)


def test_a_missing_index_is_told_once_with_the_statement_that_makes_it(world: World, shop: Shop) -> None:
    shop.run("DROP INDEX pathTime ON uni_tracking_spath")
    first, second = world.cycle(NIGHT, source=shop.url), world.cycle(source=shop.url)
    statement = "CREATE INDEX order_tracking ON `uni_tracking_spath` (`pathTime`, `order_id`)"
    assert [statement in warning for warning in first.warnings] == [True] and second.warnings == []


@pytest.fixture
def shop(mysql_database: str) -> Shop:
    return Shop(mysql_database)


# Gently


def many(url: str, rows: int = 30_000) -> SourceTable:
    """30 MB, more than sockets hold, so the server is still sending when the reader has the first."""
    with closing(Address.parse(url).connect(autocommit=True)) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE t (order_id BIGINT, pathTime BIGINT, note VARCHAR(1000), KEY (pathTime))")
        cursor.execute(f"INSERT INTO t SELECT seq, seq, REPEAT('n', 1000) FROM seq_1_to_{rows}")
    return SourceTable("t", "pathTime", ("order_id", "note"))


def test_what_waits_behind_a_read_waits_no_longer_than_a_statement_may_take(mysql_database: str) -> None:
    """The consumer stands still for as long as the others wait: an ALTER and an INSERT go through."""
    table = many(mysql_database)
    waited: dict[str, float] = {}

    def run(what: str, statement: str) -> None:
        began = time.monotonic()
        with closing(Address.parse(mysql_database).connect(autocommit=True)) as connection:
            connection.cursor().execute(statement)
        waited[what] = time.monotonic() - began

    with closing(MySQLSource(mysql_database, Limits(statement_seconds=3))) as source:
        reading = source.read(table, EVERYTHING)
        next(reading)
        writers = [
            threading.Thread(target=run, args=("INSERT", "INSERT INTO t VALUES (1, 1, 'late')")),
            threading.Thread(target=run, args=("ALTER", "ALTER TABLE t ADD COLUMN more INT")),
        ]
        for writer in writers:
            writer.start()
            writer.join(0.3)  # the INSERT before the ALTER, behind which it would wait
        for writer in writers:
            writer.join(60)  # the consumer does nothing meanwhile
        assert waited.keys() == {"INSERT", "ALTER"}, "both went through while the consumer stood still"
        assert waited["INSERT"] < 2, "a read keeps nobody from writing"
        with pytest.raises(TooLong, match=r"more than 3 s for reading t.*statement_seconds"):
            list(reading)


def test_a_read_that_takes_too_long_comes_in_halves(
    world: World, shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first reads of more than two hours take too long here, at the second batch: what came does not count."""
    read, asked = MySQLSource.read, []

    def slow(self: MySQLSource, table: SourceTable, ranges: Any, **options: Any) -> Any:
        spans = [each for each in ranges if each.start and each.end]
        asked.append((table.name, spans))
        yield from read(self, table, ranges, **options)
        if sum((each.end - each.start) for each in spans) > 3 * HOUR:
            raise TooLong("too long")

    monkeypatch.setattr(MySQLSource, "read", slow)
    world.cycle(NIGHT, source=shop.url)
    assert len(asked) > 10
    monkeypatch.undo()
    os.environ["ORDER_TRACKING_DUCKDB"] = str(world.warehouse_file)
    assert verified(world, shop, capsys) == (0, {})


def test_a_read_that_cannot_be_halved_any_more_names_what_would_help(
    world: World, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(self: MySQLSource, *args: Any, **options: Any) -> Any:
        raise TooLong("it took too long")
        yield

    shop.run("DROP INDEX update_time ON uni_tracking_info")
    monkeypatch.setattr(MySQLSource, "read", slow)
    with pytest.raises(Exception, match="it took too long No index begins with the event time: CREATE INDEX"):
        world.cycle(NIGHT, source=shop.url)


@pytest.mark.slow
def test_a_refresh_that_takes_too_long_names_the_index_that_finds_orders(
    world: World, shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.cycle(NIGHT, source=shop.url)

    def slow(self: MySQLSource, *args: Any, **options: Any) -> Any:
        raise TooLong("it took too long")
        yield

    monkeypatch.setattr(MySQLSource, "read", slow)
    assert command(world, shop, "refresh", "3", "--table", "uni_tracking_spath") == 1
    assert (
        "it took too long No index begins with the order number: CREATE INDEX order_tracking_orders ON "
        "`uni_tracking_spath` (`order_id`)"
    ) in capsys.readouterr().err


@pytest.mark.parametrize("of_orders", [False, True])
def test_a_comparison_that_takes_too_long_names_the_index_that_would_help(
    world: World, shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], of_orders: bool
) -> None:
    """Reading an hour, or asking for the orders that are gone from it."""
    world.cycle(NIGHT, source=shop.url)
    shop.run("DROP INDEX update_time ON uni_tracking_info", "DELETE FROM uni_tracking_info WHERE order_id = 3")
    read = MySQLSource.read

    def slow(self: MySQLSource, *args: Any, orders: Any = None, **options: Any) -> Any:
        if (orders is not None) is of_orders:
            raise TooLong("it took too long")
        yield from read(self, *args, orders=orders, **options)

    monkeypatch.setattr(MySQLSource, "read", slow)
    assert command(world, shop, "verify", "--since", "2025-08-01") == 1
    column = (
        "order number: CREATE INDEX order_tracking_orders" if of_orders else "event time: CREATE INDEX order_tracking"
    )
    assert f"it took too long No index begins with the {column}" in capsys.readouterr().err


@pytest.mark.parametrize("fails", [False, True], ids=["none is missing", "cannot be looked up"])
def test_without_a_missing_index_what_took_too_long_is_told_as_it_is(fails: bool) -> None:
    def missing_index(table: SourceTable, *, of_orders: bool = False) -> str | None:
        if fails:
            raise SourceError("The user may not see the indexes.")
        return None

    told = with_index(TooLong("It took more than 3 s."), missing_index, load_config().tables[0].source)
    assert isinstance(told, TooLong) and str(told) == "It took more than 3 s."


@pytest.mark.slow
def test_counting_that_takes_too_long_counts_smaller_ranges(
    mysql_database: str, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted, spans = MySQLSource._counted, []

    def slow(self: MySQLSource, table: SourceTable, kinds: Any, span: TimeRange, content: bool) -> Any:
        spans.append(span)
        if span.end is None or span.start is None or span.end - span.start > 2 * HOUR:
            raise TooLong("too long")
        return counted(self, table, kinds, span, content)

    table = load_config().tables[2].source
    with closing(MySQLSource(mysql_database)) as source:
        whole = source.hourly_figures(table, START, START + DAY, content=True)
        monkeypatch.setattr(MySQLSource, "_counted", slow)
        assert source.hourly_figures(table, START, START + DAY, content=True) == whole
    assert len(spans) > 12 and sum(each.rows for each in whole.values()) == 20


@pytest.mark.parametrize(("indexed", "most"), [(False, 4), (True, 12)], ids=["without an index", "with one"])
def test_counting_that_always_takes_too_long_ends_soon_and_names_the_index_that_would_help(
    mysql_database: str, shop: Shop, monkeypatch: pytest.MonkeyPatch, indexed: bool, most: int
) -> None:
    """Each statement takes a minute: from 1970 on there were a hundred halves before the first row."""
    spans: list[TimeRange] = []

    def slow(self: MySQLSource, table: SourceTable, kinds: Any, span: TimeRange, content: bool) -> Any:
        spans.append(span)
        raise TooLong("it took too long")

    if not indexed:
        shop.run("DROP INDEX update_time ON uni_tracking_info")
    shop.run(f"UPDATE uni_tracking_info SET update_time = {START - 900 * DAY} WHERE order_id = 3")
    monkeypatch.setattr(MySQLSource, "_counted", slow)
    told = "it took too long" + ("" if indexed else " No index begins with the event time: CREATE INDEX order_tracking")
    with closing(MySQLSource(mysql_database)) as source, pytest.raises(TooLong, match=told):
        source.hourly_figures(load_config().tables[0].source, None)
    assert 1 < len(spans) <= most
    assert all(span.start is not None and span.start >= START - 900 * DAY for span in spans)


def test_a_row_far_ahead_is_not_looked_for_hour_by_hour(
    mysql_database: str, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its hour takes too long; the range before it, which has no end, would be halved for ever."""
    spans: list[TimeRange] = []

    def slow(self: MySQLSource, table: SourceTable, kinds: Any, span: TimeRange, content: bool) -> Any:
        spans.append(span)
        if span.end is None:
            raise TooLong("it took too long")
        return {}

    monkeypatch.setattr(MySQLSource, "_counted", slow)
    with closing(MySQLSource(mysql_database)) as source, pytest.raises(TooLong):
        source.hourly_figures(load_config().tables[0].source, START)
    assert len(spans) < 60


@pytest.mark.slow
def test_a_table_whose_ends_take_too_long_to_find_is_told_the_index_that_would_help(
    mysql_database: str, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = MySQLSource._row

    def slow(self: MySQLSource, sql: str, *args: Any, **options: Any) -> Any:
        if "MIN(" in sql:
            raise TooLong("it took too long")
        return row(self, sql, *args, **options)

    shop.run("DROP INDEX update_time ON uni_tracking_info")
    monkeypatch.setattr(MySQLSource, "_row", slow)
    with (
        closing(MySQLSource(mysql_database)) as source,
        pytest.raises(TooLong, match="it took too long No index begins with the event time: CREATE INDEX"),
    ):
        source.hourly_figures(load_config().tables[0].source, None)


def test_a_server_ends_a_statement_that_takes_too_long(mysql_database: str) -> None:
    with closing(MySQLSource(mysql_database, Limits(statement_seconds=1))) as source:
        with pytest.raises(TooLong, match="more than 1 s"):
            source._query("SELECT COUNT(*) FROM seq_1_to_1000000000 WHERE MD5(seq) = 0")
        assert source.clock()


def test_no_more_connections_are_open_than_are_allowed(
    world: World, mariadb: MariaDB, mysql_database: str, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A DBA allows the user a single one: first load, reconcile and verify pass all the same."""
    reader = mariadb.reader_url(Address.parse(mysql_database).database, "alone", "WITH MAX_USER_CONNECTIONS 1")
    with (
        pytest.MonkeyPatch.context() as impatient,
        closing(Address.parse(reader).connect()),  # somebody else has it
        pytest.raises(SourceError, match="max_user_connections"),
    ):
        impatient.setattr("extract.mysql_address.ROOM_SECONDS", 1)
        world.cycle(NIGHT, source=reader)
    import extract.tables

    given = extract.tables.load_config

    def limited(*args: Any) -> Any:
        from dataclasses import replace

        return replace(given(*args), limits=Limits(connections=1))

    monkeypatch.setattr("scripts.run_cycle.load_config", limited)
    world.cycle(NIGHT, source=reader, reconcile_since=START)
    assert len(world.uti()) == 10


def test_a_connection_that_ends_makes_room_for_the_next(mariadb: MariaDB, mysql_database: str, shop: Shop) -> None:
    """A server counts one of ours for a moment after it was closed."""
    reader = Address.parse(
        mariadb.reader_url(Address.parse(mysql_database).database, "leaving", "WITH MAX_USER_CONNECTIONS 1")
    )
    before = reader.connect()
    leaving = threading.Timer(0.5, before.close)
    leaving.start()
    with closing(reader.connect()) as after:
        assert after.open
    leaving.join()


# Silent


@pytest.mark.slow
def test_a_source_that_falls_silent_is_told_once_and_again_after_it_spoke(world: World, shop: Shop) -> None:
    def speak(now: int) -> None:
        shop.run(f"INSERT INTO ecs_order_info VALUES ({now}, 1, {now - 60})")
        shop.run(f"INSERT INTO uni_tracking_spath VALUES ({now}, {now - 60}, 100, 0)")
        shop.run(f"INSERT INTO uni_tracking_info VALUES ({now}, 'T', 100, {now - 60})")

    def silent(cycle: Any) -> int:
        return len([warning for warning in cycle.warnings if "Does the application still write there" in warning])

    now = NIGHT
    for _ in range(3):
        for hour in (10, 14):
            speak(now + hour * HOUR)
            assert silent(world.cycle(now + hour * HOUR, source=shop.url)) == 0
        now += DAY
    told = [silent(world.cycle(now + 10 * HOUR + minutes * MINUTE, source=shop.url)) for minutes in (0, 15, 30, 60)]
    assert sum(told) == 3, "each of the three tables once, whose newest row is of the day before"
    speak(now + 14 * HOUR)
    assert silent(world.cycle(now + 14 * HOUR, source=shop.url)) == 0
    again = [silent(world.cycle(now + 14 * HOUR + minutes * MINUTE, source=shop.url)) for minutes in (15, 45, 60, 75)]
    assert sum(again) == 3 and again[0] == 0, "three cycles later than usual at this hour"


@pytest.mark.slow
def test_findings_are_kept_by_verify(world: World, shop: Shop) -> None:
    """Verify writes nothing, not even what a reconcile would remember."""
    world.cycle(NIGHT, source=shop.url)
    shop.run("DELETE FROM ecs_order_info WHERE order_id = 1")
    assert command(world, shop, "verify", "--since", moment(START).isoformat()) == 1
    assert world.query("SELECT * FROM order_tracking_raw.unequal_hours") == [] and findings(world) == []
