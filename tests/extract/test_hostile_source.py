"""A server on which whatever can be set is set badly: the same tables as from a plain one, or a read that fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import duckdb
import pyarrow as pa
import pymysql
import pytest

from extract import mysql_session
from extract.errors import ExtractFailed, SourceError
from extract.mysql_address import Address
from extract.mysql_session import SETTINGS, Setting, one_of
from extract.source import SourceTable, TimeRange, open_source
from extract.source_duckdb import DuckDBSource
from extract.source_mysql import MySQLSource
from extract.tables import load_config
from extract.warehouse_duckdb import DuckDBWarehouse
from tests.conftest import START
from tests.support.mariadb_server import MariaDB
from tests.support.world import DAY, MINUTE, World

ORDERS = 6_500
LIMIT = 1_000
TABLES = ("uni_tracking_info", "ecs_order_info", "uni_tracking_spath")
EVERYTHING = [TimeRange(None, None, unplaceable=True)]
EVERY_SETTING = [*SETTINGS, *mysql_session.time_limits(60)]
SPATH = SourceTable("uni_tracking_spath", "pathTime", ("order_id", "pathtime", "code", "traceseq"))
WIDE = SourceTable("wide", "pathTime", ("order_id", "note"))
MANY = 30_000  # of these rows, 30 MB: more than sockets hold, so the server is still sending

MODES = (
    "PIPES_AS_CONCAT,ANSI_QUOTES,IGNORE_SPACE,ORACLE,NO_BACKSLASH_ESCAPES,HIGH_NOT_PRECEDENCE,"
    "NO_UNSIGNED_SUBTRACTION,PAD_CHAR_TO_FULL_LENGTH,EMPTY_STRING_IS_NULL,TIME_ROUND_FRACTIONAL"
)
HOSTILE = {
    "sql_select_limit": str(LIMIT),
    "tx_isolation": "'READ-UNCOMMITTED'",
    "sql_mode": f"'{MODES}'",
    "completion_type": "'RELEASE'",
    "system_versioning_asof": "'2020-01-01 00:00:00'",
    "character_set_client": "latin1",
    "character_set_results": "latin1",
    "collation_connection": "latin1_german1_ci",
    "time_zone": "'+05:45'",
    "sql_auto_is_null": "1",
    "sql_big_selects": "0",
    "max_join_size": "10",
    "sql_buffer_result": "1",
    "query_cache_type": "1",
    "max_statement_time": "1",
    "net_read_timeout": "1",
    "net_write_timeout": "1",
    "wait_timeout": "1",
    "idle_transaction_timeout": "1",
    "idle_readonly_transaction_timeout": "1",
    "lock_wait_timeout": "1",
    "lc_time_names": "'de_DE'",
    "default_week_format": "6",
    "div_precision_increment": "0",
    "group_concat_max_len": "4",
    "old_mode": "''",
}
AT_LOGIN = {
    "autocommit": "0",
    "timestamp": "1",
    "character_set_client": "latin1",
    "character_set_results": "NULL",
    "wsrep_dirty_reads": "1",
    "sql_select_limit": str(LIMIT),
}
PLAIN = (
    "SET sql_mode = 'STRICT_ALL_TABLES', sql_big_selects = 1, max_statement_time = 0, wait_timeout = 600, "
    "idle_transaction_timeout = 0, net_read_timeout = 60"
)


def set_badly(server: MariaDB) -> None:
    """For every session that begins from now on; what no one can set globally, init_connect sets."""
    for name, value in HOSTILE.items():
        server.execute(f"SET GLOBAL {name} = {value}")
    sets = ", ".join(f"SESSION {name} = {value}" for name, value in AT_LOGIN.items())
    server.execute(f'SET GLOBAL init_connect = "SET {sets}"'.replace('"', "'"))


@pytest.fixture(scope="module")
def plain_server() -> Iterator[MariaDB]:
    with MariaDB(options=["--query-cache-size=1M"]) as server:
        yield server


@pytest.fixture(scope="module")
def hostile_server() -> Iterator[MariaDB]:
    with MariaDB(
        options=["--query-cache-size=1M", "--query-cache-type=1", "--skip-character-set-client-handshake"]
    ) as server:
        set_badly(server)
        yield server


@contextmanager
def writing(url: str) -> Iterator[pymysql.cursors.Cursor]:
    """A session of the one who writes the source, set up by itself."""
    with closing(Address.parse(url).connect(autocommit=True)) as connection:
        cursor = connection.cursor()
        cursor.execute(PLAIN)
        yield cursor


class Shop:
    """A source on a server, written by its owner and read by a user who may only SELECT."""

    def __init__(self, server: MariaDB, name: str) -> None:
        server.execute(f"CREATE OR REPLACE DATABASE {name} CHARACTER SET utf8mb4")
        self.owner, self.reader = server.url(name), server.reader_url(name)
        self.server, self.name = server, name
        self.run(
            "CREATE TABLE uni_tracking_info (order_id BIGINT PRIMARY KEY, tno CHAR(40), status INT UNSIGNED, "
            "update_time INT UNSIGNED, KEY (update_time, order_id))",
            "CREATE TABLE ecs_order_info (order_id BIGINT PRIMARY KEY, partner_id INT, add_time BIGINT, "
            "KEY (add_time, order_id)) WITH SYSTEM VERSIONING",
            "CREATE TABLE uni_tracking_spath (id BIGINT AUTO_INCREMENT PRIMARY KEY, order_id BIGINT, pathTime BIGINT, "
            "code INT, traceSeq INT, KEY (pathTime, order_id))",
        )

    def run(self, *statements: str) -> None:
        with writing(self.owner) as cursor:
            for statement in statements:
                cursor.execute(statement)

    def orders(self, first: int, last: int, until: int) -> None:
        """Orders whose times do not follow their numbers, over the half-year before `until`, with two scans each."""
        created = f"({until} - 60 - (seq * 7919 MOD {ORDERS}) * 2400)"
        numbers = f"FROM seq_{first}_to_{last}"
        self.run(
            f"INSERT INTO uni_tracking_info SELECT seq, CONCAT('T', seq, ' é😀'), 200, {created} + 30 {numbers}",
            f"INSERT INTO ecs_order_info SELECT seq, seq MOD 9, {created} {numbers}",
            "INSERT INTO uni_tracking_spath (order_id, pathTime, code, traceSeq) "
            f"SELECT seq, {created} + step.n * 30, 100 + step.n * 100, step.n {numbers}, "
            "(SELECT 0 AS n UNION ALL SELECT 1) AS step",
        )

    def scan(self, first: int, last: int, now: int, code: int, seq: int) -> None:
        """Each of these orders is scanned within the quarter-hour before `now`."""
        when = f"{now} - 1 - (order_id * 7919 MOD 800)"
        chosen = f"WHERE order_id BETWEEN {first} AND {last}"
        self.run(
            "INSERT INTO uni_tracking_spath (order_id, pathTime, code, traceSeq) "
            f"SELECT order_id, {when}, {code}, {seq} FROM uni_tracking_info {chosen}",
            f"UPDATE uni_tracking_info SET status = {code}, update_time = {when} {chosen}",
        )


@pytest.fixture
def shop(hostile_server: MariaDB) -> Shop:
    return Shop(hostile_server, "hostile")


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """The extractor forgets to pin these."""
    assert set(names) <= {setting.name for setting in SETTINGS}
    monkeypatch.setattr(mysql_session, "SETTINGS", [setting for setting in SETTINGS if setting.name not in names])


def watermarks(world: World) -> list[tuple[Any, ...]]:
    return world.query(
        "SELECT table_name, MAX(watermark), MAX(watermark_id) FROM order_tracking_raw.extract_log GROUP BY 1 ORDER BY 1"
    )


def held(world: World) -> list[int]:
    """Rows of the raw tables."""
    return [world.query(f"SELECT COUNT(*) FROM order_tracking_raw.{table}_raw")[0][0] for table in TABLES]


def contents(world: World) -> dict[str, list[tuple[Any, ...]]]:
    """Every table that holds rows of the source, whole."""
    tables = [f"order_tracking_raw.{table}_raw" for table in TABLES]
    tables += [f"order_tracking.mart_{table}" for table in TABLES]
    tables += [f"order_tracking_history.hist_{table}_all" for table in ("uti", "ecs", "uts")]
    return {table: world.query(f"SELECT * FROM {table} ORDER BY ALL") for table in tables}


@pytest.mark.slow
def test_every_setting_of_a_server_set_badly_ends_in_the_same_tables(
    plain_server: MariaDB,
    hostile_server: MariaDB,
    make_world: Callable[..., World],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended = []
    for name, server in (("plain", plain_server), ("hostile", hostile_server)):
        shop, world = Shop(server, name), make_world(folder=name)
        shop.orders(1, ORDERS, START)
        world.cycle(START + 15 * MINUTE, source=shop.reader)
        for night in (1, 2):
            now = START + night * DAY
            shop.scan(1, 2 * LIMIT, now, code=200 + night, seq=1 + night)
            shop.orders(ORDERS + night * 10, ORDERS + night * 10 + 4, now)
            world.cycle(now, source=shop.reader)
            # A day late, so that the ordinary window misses it and reconcile must count every hour.
            shop.run(
                "INSERT INTO uni_tracking_spath (order_id, pathTime, code, traceSeq) "
                f"SELECT order_id, {now - 5 * DAY} - order_id, 777, {10 + night} FROM ecs_order_info "
                f"WHERE order_id <= {LIMIT + 500}"
            )
        world.cycle(START + 2 * DAY + 15 * MINUTE, source=shop.reader, reconcile_since=0)
        ended.append(contents(world))
    plain, hostile = ended
    assert len(plain["order_tracking.mart_uni_tracking_info"]) == ORDERS + 10
    for table, rows in plain.items():
        assert hostile[table] == rows, table
    assert all(
        tno == f"T{order} é😀" for order, tno in world.query("SELECT order_id, tno FROM order_tracking.order_status")
    )


def test_each_setting_is_wrong_before_it_is_pinned_and_right_afterwards(shop: Shop) -> None:
    """So that the server is hostile indeed; what no SELECT of this project depends on is not pinned."""
    idle = {"max_join_size", "lc_time_names", "default_week_format", "div_precision_increment", "group_concat_max_len"}
    idle |= {"old_mode"}  # and sql_big_selects outranks max_join_size
    bad = set(HOSTILE) | set(AT_LOGIN)
    unseen = {"timestamp", "character_set_client", "character_set_results", "collation_connection"}  # set at login, too
    with closing(Address.parse(shop.reader).connect()) as connection:
        with pytest.raises(pymysql.Error, match="MAX_JOIN_SIZE"):
            mysql_session._wrong(connection, EVERY_SETTING)
        mysql_session._set(connection, [setting for setting in SETTINGS if setting.name == "sql_big_selects"])
        unseen.add("sql_big_selects")
        wrong = {setting.name for setting, _ in mysql_session._wrong(connection, EVERY_SETTING)}
        assert wrong >= bad - unseen - idle
        assert mysql_session.pin(connection) == []
        assert mysql_session._wrong(connection, EVERY_SETTING) == []


def test_what_is_not_committed_is_not_read(shop: Shop, world: World) -> None:
    shop.orders(1, 100, START)
    with writing(shop.owner) as cursor:
        cursor.execute("START TRANSACTION")
        cursor.execute(f"INSERT INTO uni_tracking_info VALUES (500, 'never', 200, {START})")
        cursor.execute(f"INSERT INTO ecs_order_info VALUES (500, 1, {START})")
        cursor.execute("DELETE FROM uni_tracking_spath WHERE order_id <= 50")
        world.cycle(START + 15 * MINUTE, source=shop.reader)
        cursor.execute("ROLLBACK")
    world.cycle(START + 30 * MINUTE, source=shop.reader)
    assert held(world) == [100, 100, 200]


@pytest.mark.parametrize("chunk_rows", [None, pytest.param(300, marks=pytest.mark.slow)])
def test_a_first_load_cut_by_a_limit_that_nobody_thought_of_fails_and_the_next_one_is_whole(
    shop: Shop, world: World, monkeypatch: pytest.MonkeyPatch, chunk_rows: int | None
) -> None:
    if chunk_rows:
        monkeypatch.setattr(DuckDBWarehouse, "chunk_rows", chunk_rows)
    shop.orders(1, ORDERS, START)
    with monkeypatch.context() as patch:
        without(patch, "sql_select_limit")
        with pytest.raises(ExtractFailed, match=f"gave 1000 rows of uni_tracking_info, but it counts ({ORDERS}|2400)"):
            world.cycle(START + 15 * MINUTE, source=shop.reader)
    assert [mark for _, *marks in watermarks(world) for mark in marks if mark] == []
    assert held(world) == [900 if chunk_rows else 0] * 3, "pieces before the last one stay, and tell nothing"
    world.cycle(START + 30 * MINUTE, source=shop.reader)
    assert held(world) == [ORDERS, ORDERS, 2 * ORDERS]


def test_an_ordinary_window_that_is_cut_fails_and_the_next_cycle_brings_what_is_missing(
    shop: Shop, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.orders(1, ORDERS, START)
    world.cycle(START + 15 * MINUTE, source=shop.reader)
    before = watermarks(world)
    shop.scan(1, LIMIT + 1, START + 30 * MINUTE, code=300, seq=2)
    with monkeypatch.context() as patch:
        without(patch, "sql_select_limit")
        with pytest.raises(ExtractFailed, match="gave 1000 rows of uni_tracking_spath, but it counts 10"):
            world.cycle(START + 30 * MINUTE, source=shop.reader)
    assert watermarks(world)[-2:] == before[-2:], "of uni_tracking_info and uni_tracking_spath"
    world.cycle(START + 45 * MINUTE, source=shop.reader)
    ((scanned,),) = world.query("SELECT COUNT(*) FROM order_tracking.mart_uni_tracking_info WHERE status = 300")
    assert scanned == LIMIT + 1
    assert held(world)[2] == 2 * ORDERS + LIMIT + 1


def test_a_read_by_id_that_is_cut_fails(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.orders(1, ORDERS, START)
    table = SourceTable(SPATH.name, SPATH.time_column, SPATH.columns, id_column="id")
    without(monkeypatch, "sql_select_limit")
    with closing(open_source(shop.reader)) as source:
        last = max(
            batch["source_id"].to_pylist()[-1] for batch in source.read(table, [TimeRange(START - DAY)], since_id=1)
        )
        assert sum(batch.num_rows for batch in source.read(table, [], since_id=last - 10)) <= LIMIT
        with pytest.raises(SourceError, match="gave 1000 rows of uni_tracking_spath, but it counts"):
            list(source.read(table, [], since_id=10))


def test_hours_that_are_cut_are_not_taken_for_hours_without_rows(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.orders(1, ORDERS, START)
    with closing(open_source(shop.reader)) as source:
        assert len(source.hourly_figures(SPATH, None)) > 2 * LIMIT
        assert sum(hour.rows for hour in source.hourly_figures(SPATH, None).values()) == 2 * ORDERS
    without(monkeypatch, "sql_select_limit")
    shop.server.execute("SET GLOBAL init_connect = ''")
    try:
        shop.server.execute("SET GLOBAL sql_select_limit = 500")
        with (
            closing(open_source(shop.reader)) as source,
            pytest.raises(SourceError, match="rows of uni_tracking_spath"),
        ):
            source.hourly_figures(SPATH, None)
        shop.server.execute("SET GLOBAL sql_select_limit = 0")
        with pytest.raises(SourceError, match="gave 0 rows"):
            open_source(shop.reader).clock()
    finally:
        set_badly(shop.server)


def test_a_slow_landing_meets_no_time_limit_of_the_server(shop: Shop) -> None:
    wide(shop, "InnoDB")
    with closing(open_source(shop.reader)) as source:
        reading = source.read(WIDE, EVERYTHING)
        came = next(reading).num_rows
        time.sleep(2.5)  # the server waits in the middle of sending
        batches = [next(reading) for _ in range(7)]
        time.sleep(2.5)  # it has sent the rest, and waits for the next question
        assert came + sum(batch.num_rows for batch in [*batches, *reading]) == MANY
        assert source.clock()


def wide(shop: Shop, engine: str) -> None:
    shop.run(
        f"CREATE TABLE wide (order_id BIGINT, pathTime BIGINT, note VARCHAR(1000)) ENGINE={engine}",
        f"INSERT INTO wide SELECT seq, seq, REPEAT('n', 1000) FROM seq_1_to_{MANY}",
    )


@pytest.mark.parametrize("engine", ["MyISAM", "Aria"])
def test_rows_that_come_while_a_table_without_snapshots_is_read_fail_nothing(
    shop: Shop, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide(shop, engine)
    with closing(open_source(shop.reader)) as source:
        row = MySQLSource._row
        after = iter([lambda: None, lambda: shop.run("INSERT INTO wide VALUES (0, 1, '')")])

        def counted(self: MySQLSource, sql: str, *given: Any) -> tuple[Any, ...]:
            if "COUNT(*)" in sql:
                next(after)()
            return row(self, sql, *given)

        monkeypatch.setattr(MySQLSource, "_row", counted)
        assert sum(batch.num_rows for batch in source.read(WIDE, EVERYTHING)) == MANY
        assert next(after, None) is None, "it was counted before and after"
    monkeypatch.setattr(MySQLSource, "_row", row)
    without(monkeypatch, "sql_select_limit")
    with (
        closing(open_source(shop.reader)) as source,
        pytest.raises(SourceError, match=f"gave 1000 rows of wide, but it counts {MANY + 1}"),
    ):
        list(source.read(WIDE, EVERYTHING))


@pytest.mark.slow
def test_views_that_may_not_be_explained_are_loaded(shop: Shop, world: World) -> None:
    shop.orders(1, ORDERS, START)
    for table in TABLES:
        shop.run(f"RENAME TABLE {table} TO {table}_kept", f"CREATE VIEW {table} AS SELECT * FROM {table}_kept")
    told: dict[str, int] = {}
    world.cycle(
        START + 15 * MINUTE, source=shop.reader, progress=lambda table, rows, expected: told.update({table: expected})
    )
    assert held(world) == [ORDERS, ORDERS, 2 * ORDERS]
    assert [told[table] for table in TABLES] == held(world)
    assert all(open_source(shop.reader).missing_index(table.source) is None for table in load_config().tables)


def test_a_name_that_a_server_does_not_know_is_no_error(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor one that it does not let anybody set, if its value is right or does no harm without a word."""
    unknown = Setting("no_such_variable", "1", one_of("1"), "", everywhere=True)
    refused = [
        Setting("port", "1", lambda port: port.isdigit(), "", everywhere=True),
        Setting("hostname", "'x'", one_of("x"), "", must=False),
    ]
    monkeypatch.setattr(mysql_session, "SETTINGS", [unknown, *refused, *SETTINGS])
    names = ("sql_select_limit", "sql_mode", "tx_isolation", "tx_read_only", "time_zone", "character_set_results")
    with closing(MySQLSource(shop.reader)) as source:
        assert source._row(f"SELECT {', '.join('@@' + name for name in names)}") == (
            2**64 - 1,
            "",
            "REPEATABLE-READ",
            1,
            "+00:00",
            "utf8mb4",
        )
        clock = source.clock()
        assert clock is not None and abs(clock - time.time()) < 60


def test_a_setting_that_matters_and_cannot_be_set_is_told(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = Setting("character_set_system", "latin1", one_of("latin1"), "names would be misread")
    monkeypatch.setattr(mysql_session, "SETTINGS", [refused, *SETTINGS])
    with pytest.raises(SourceError, match=r"character_set_system is 'utf8.*' and was to be latin1 \(names") as caught:
        open_source(shop.reader)
    assert "Nothing was read" in str(caught.value) and "s3cret" not in str(caught.value)


def test_both_servers_names_are_pinned() -> None:
    names = [setting.name for setting in EVERY_SETTING]
    assert len(set(names)) == len(names)
    for mariadb, mysql in (
        ("tx_isolation", "transaction_isolation"),
        ("tx_read_only", "transaction_read_only"),
        ("max_statement_time", "max_execution_time"),
    ):
        assert {mariadb, mysql} <= set(names)


def test_a_file_from_which_fewer_rows_come_than_it_counts_is_an_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for order in range(1, 6):
        world.order(order, START)

    class Cut:
        """A connection whose readers lose the last row of each batch."""

        def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
            self._connection = connection

        def __getattr__(self, name: str) -> Any:
            return getattr(self._connection, name)

        def __enter__(self) -> Cut:
            return self

        def __exit__(self, *error: object) -> None:
            self._connection.close()

        def cursor(self) -> Cut:
            return Cut(self._connection.cursor())

        def execute(self, *sql: Any) -> Cut:
            self._connection.execute(*sql)
            return self

        def to_arrow_reader(self, rows: int) -> Iterator[pa.RecordBatch]:
            for batch in self._connection.to_arrow_reader(rows):
                yield batch.slice(0, batch.num_rows - 1)

    opened = DuckDBSource.__init__

    def cut(self: DuckDBSource, path: str) -> None:
        opened(self, path)
        self._connection = Cut(self._connection)  # type: ignore[assignment]

    with monkeypatch.context() as patch:
        patch.setattr(DuckDBSource, "__init__", cut)
        with pytest.raises(ExtractFailed, match="gave 4 rows of uni_tracking_info, but it counts 5"):
            world.cycle()
    assert [mark for _, *marks in watermarks(world) for mark in marks if mark] == []
    world.cycle()
    world.assert_whole()
