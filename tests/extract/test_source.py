"""What both kinds of source promise to the extractor: the same rows, whole, each once."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pymysql
import pytest

from extract import mysql_rows, source_duckdb
from extract.errors import SourceError
from extract.mysql_address import Address
from extract.source import Source, SourceTable, TimeRange, open_source
from extract.source_reads import TimeColumn, merged, row_filter

UTI = SourceTable("uni_tracking_info", "update_time", ("order_id", "tno", "status", "update_time"))
SPATH = SourceTable("uni_tracking_spath", "pathTime", ("order_id", "pathtime", "code", "traceseq"))
WIDE = SourceTable("uni_tracking_spath", "pathTime", ("order_id", "code", "note"))  # 30,000 rows are 30 MB
EVERYTHING = [TimeRange(None, None, unplaceable=True)]
SPATH_DDL = "order_id BIGINT, pathTime BIGINT, code INT, traceSeq INT"
UTI_DDL = "order_id BIGINT, tno VARCHAR(400), status INT, update_time BIGINT"

Rows = list[tuple[Any, ...]]


class Database:
    """A source of one kind that a test fills with tables."""

    def __init__(self, url: str) -> None:
        self.url = url

    def run(self, *statements: str) -> None:
        if self.url.startswith("mysql"):
            with closing(Address.parse(self.url).connect(autocommit=True)) as connection:
                for statement in statements:
                    connection.cursor().execute(statement)
        else:
            with duckdb.connect(self.url.removeprefix("duckdb:///")) as connection:
                for statement in statements:
                    connection.execute(statement)

    def insert(self, name: str, rows: Rows) -> None:
        """Through the driver's own parameters, so that no text meets an engine's way of escaping."""
        if not rows:
            return
        if self.url.startswith("mysql"):
            marks = ", ".join(["%s"] * len(rows[0]))
            with closing(Address.parse(self.url).connect(autocommit=True)) as connection:
                connection.cursor().executemany(f"INSERT INTO {name} VALUES ({marks})", rows)
        else:
            columns = [pa.array(values) for values in zip(*rows, strict=True)]
            new = pa.table(columns, names=[f"c{number}" for number in range(len(columns))])
            with duckdb.connect(self.url.removeprefix("duckdb:///")) as connection:
                connection.register("new", new)
                connection.execute(f"INSERT INTO {name} SELECT * FROM new")

    def table(self, name: str, columns: str, rows: Rows) -> None:
        self.run(f"CREATE TABLE {name} ({columns})")
        self.insert(name, rows)

    def open(self) -> Source:
        return open_source(self.url)


@pytest.fixture(params=["duckdb", "mysql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "duckdb":
        path = tmp_path / "source.duckdb"
        duckdb.connect(str(path)).close()
        yield Database(f"duckdb:///{path}")
    else:
        yield Database(request.getfixturevalue("mysql_database"))


@pytest.fixture
def opened(database: Database) -> Iterator[Callable[[], Source]]:
    """Opens the source, and closes at the end what a test opened."""
    sources: list[Source] = []

    def open_it() -> Source:
        sources.append(database.open())
        return sources[-1]

    yield open_it
    for source in sources:
        source.close()


def rows_of(batches: Iterator[pa.RecordBatch]) -> Rows:
    """Rows in an order of their own; None sorts first."""
    found = [tuple(row.values()) for batch in batches for row in batch.to_pylist()]
    return sorted(found, key=lambda row: [(value is not None, value) for value in row])


def test_integers_are_int64_and_text_is_string_under_lower_case_names(
    database: Database, opened: Callable[[], Source]
) -> None:
    database.table("uni_tracking_info", UTI_DDL, [(1, "A", -5, 10), (-(2**63), None, 2**31 - 1, 2**63 - 1)])
    database.table("uni_tracking_spath", SPATH_DDL, [(1, 10, 100, 0)])
    source = opened()
    (uti,) = source.read(UTI, EVERYTHING)
    (spath,) = source.read(SPATH, EVERYTHING)
    assert [str(kind) for kind in uti.schema.types] == ["int64", "string", "int64", "int64"]
    assert spath.schema.names == ["order_id", "pathtime", "code", "traceseq"]
    assert rows_of(iter([uti])) == [(-(2**63), None, 2**31 - 1, 2**63 - 1), (1, "A", -5, 10)]


def test_columns_come_in_the_order_asked_for_and_with_the_id(database: Database, opened: Callable[[], Source]) -> None:
    database.table("s", "Id BIGINT, " + SPATH_DDL, [(7, 1, 10, 100, 0), (8, 2, 20, 200, 1)])
    table = SourceTable("s", "PATHTIME", ("traceseq", "order_id"), id_column="id")
    (batch,) = opened().read(table, EVERYTHING)
    assert batch.schema.names == ["traceseq", "order_id", "source_id"]
    assert rows_of(iter([batch])) == [(0, 1, 7), (1, 2, 8)]


def test_only_ids_above_since_id_are_read(database: Database, opened: Callable[[], Source]) -> None:
    database.table("s", "id BIGINT, " + SPATH_DDL, [(n, n, 10 * n, 1, 0) for n in range(1, 6)])
    database.run("INSERT INTO s VALUES (6, 6, NULL, 1, 0)")
    table = SourceTable("s", "pathTime", ("order_id",), id_column="id")
    source = opened()
    assert [row[0] for row in rows_of(source.read(table, [], since_id=3))] == [4, 5, 6]
    assert [row[0] for row in rows_of(source.read(table, [TimeRange(50)], since_id=3))] == [5]


def test_ranges_are_half_open_and_no_row_comes_twice(database: Database, opened: Callable[[], Source]) -> None:
    database.table("uni_tracking_spath", SPATH_DDL, [(n, n, 1, 0) for n in range(1, 31)])
    source = opened()

    def read(*ranges: TimeRange) -> list[int]:
        return [row[0] for row in rows_of(source.read(SPATH, ranges))]

    assert read(TimeRange(10, 13)) == [10, 11, 12]
    assert read(TimeRange(28)) == [28, 29, 30]
    assert read(TimeRange(None, 3)) == [1, 2]
    assert read(TimeRange(5, 8), TimeRange(6, 10), TimeRange(10, 11)) == [5, 6, 7, 8, 9, 10]
    assert read(TimeRange(20, 20)) == read() == []


def test_rows_without_a_place_in_time_come_only_when_asked_for(
    database: Database, opened: Callable[[], Source]
) -> None:
    times = [None, 0, -7, 5, 9_999_999_999_999]
    database.table("uni_tracking_spath", SPATH_DDL, [(n, t, 1, 0) for n, t in enumerate(times)])
    source = opened()
    assert [row[0] for row in rows_of(source.read(SPATH, [TimeRange(None)]))] == [3, 4]
    assert [row[0] for row in rows_of(source.read(SPATH, [TimeRange(-100, 6)]))] == [3]
    assert [row[0] for row in rows_of(source.read(SPATH, [TimeRange(6, 6, unplaceable=True)]))] == [0, 1, 2]
    assert [row[0] for row in rows_of(source.read(SPATH, EVERYTHING))] == [0, 1, 2, 3, 4]


def test_texts_arrive_whole_whatever_their_length_and_alphabet(
    database: Database, opened: Callable[[], Source]
) -> None:
    texts = ["", "😀" * 3, "x" * 250, "x" * 251, "ä" * 300, "中😀" * 100, "a\tb\nc\\d", None]
    database.run(f"CREATE TABLE uni_tracking_info ({UTI_DDL})")
    database.insert("uni_tracking_info", [(number, text, 1, 1) for number, text in enumerate(texts)])
    assert [row[1] for row in rows_of(opened().read(UTI, EVERYTHING))] == texts


def test_a_large_table_arrives_whole_across_many_batches(
    database: Database, opened: Callable[[], Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of changing length, with NULLs, over many buffers: every boundary falls somewhere."""
    monkeypatch.setattr(mysql_rows, "BUFFER_BYTES", 32 << 10)
    monkeypatch.setattr(source_duckdb, "BATCH_ROWS", 2048)
    draw = random.Random(5)
    rows: Rows = [
        (
            number if draw.random() > 0.01 else None,
            None if draw.random() < 0.02 else "t" * draw.choice([0, 1, 9, 9, 9, 12, 260]),
            draw.choice([None, -1, 200]) if number > 6_000 else 200,
            number + 1,
        )
        for number in range(20_000)
    ]
    database.table("uni_tracking_info", UTI_DDL, rows)
    batches = list(opened().read(UTI, EVERYTHING))
    assert len(batches) >= 5
    for batch in batches:
        batch.validate(full=True)
    expected = sorted(rows, key=lambda row: [(value is not None, value) for value in row])
    assert rows_of(iter(batches)) == expected


def test_one_row_longer_than_the_buffer_arrives_whole(mysql_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mysql_rows, "BUFFER_BYTES", 32 << 10)
    database = Database(mysql_database)
    size = 60_000
    database.run("CREATE TABLE t (order_id BIGINT, v LONGTEXT, pathTime BIGINT)")
    database.run("INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 1)")
    database.run(f"UPDATE t SET v = REPEAT('z', {size}) WHERE order_id = 1")
    table = SourceTable("t", "pathTime", ("order_id", "v"))
    with closing(database.open()) as source:
        rows = rows_of(source.read(table, EVERYTHING))
    assert [(row[0], len(row[1])) for row in rows] == [(1, size), (2, 1)]


def test_mysql_types_lose_nothing(mysql_database: str) -> None:
    """Unsigned stays positive, TINYINT(1) and BIT are numbers, decimals, years and dates are the server's own text."""
    database = Database(mysql_database)
    database.run(
        "CREATE TABLE t (order_id BIGINT UNSIGNED, pathTime INT UNSIGNED, a TINYINT(1), b TINYINT UNSIGNED, "
        "c SMALLINT, d MEDIUMINT, e MEDIUMINT UNSIGNED, f DECIMAL(20, 3), g DATETIME, h DOUBLE, i CHAR(3), "
        "j BIT(4), k YEAR)",
        "INSERT INTO t VALUES (9223372036854775807, 4294967295, 7, 255, -32768, -8388608, 16777215, "
        "12345678901234567.125, '2026-01-02 03:04:05', 0.1, 'é', b'1010', 2024)",
    )
    columns = ("order_id", "pathtime", *"abcdefghijk")
    with closing(database.open()) as source:
        (batch,) = source.read(SourceTable("t", "pathTime", columns), EVERYTHING)
        assert tuple(batch.to_pylist()[0].values()) == (
            9223372036854775807,
            4294967295,
            7,
            255,
            -32768,
            -8388608,
            16777215,
            "12345678901234567.125",
            "2026-01-02 03:04:05",
            0.1,
            "é",
            10,
            "2024",
        )
        database.run("UPDATE t SET order_id = 18446744073709551615")
        (batch,) = source.read(SourceTable("t", "pathTime", columns), EVERYTHING)
        assert batch["order_id"].to_pylist() == [2**64 - 1]


def test_hourly_counts_are_of_placeable_rows_and_survive_bad_keys(
    database: Database, opened: Callable[[], Source]
) -> None:
    rows: Rows = [(1, 3599, 1, 0), (2, 3600, 1, 0), (None, 7199, 1, 0), (-4, 7200, 1, 0), (2**62, 7200, 1, 0)]
    rows += [(2**62, 7201, 1, 0), (9, None, 1, 0), (9, 0, 1, 0), (9, -3600, 1, 0)]
    database.table("uni_tracking_spath", SPATH_DDL, rows)
    source = opened()
    assert source.hourly_figures(SPATH, None) == {
        0: (1, 1, 3599, 0),
        1: (2, 2, 10799, 0),
        2: (3, 2**63 - 4, 21601, 0),
    }
    assert source.hourly_figures(SPATH, 3601) == {1: (1, 0, 7199, 0), 2: (3, 2**63 - 4, 21601, 0)}
    assert source.hourly_figures(SPATH, 3601, 7201) == {1: (1, 0, 7199, 0), 2: (2, 2**62 - 4, 14400, 0)}


FIGURES = """
import sys
from contextlib import closing
from sqlglot import exp
from extract.source import SourceTable, open_source
types = {"order_id": exp.DataType.build("BIGINT"), "changed": exp.DataType.build("TIMESTAMP")}
table = SourceTable("t", "add_time", ("order_id", "add_time", "changed"), types=types)
with closing(open_source(sys.argv[1])) as source:
    print(source.hourly_figures(table, None, content=True))
"""


def test_the_figures_of_an_hour_are_the_same_in_every_time_zone(tmp_path: Path) -> None:
    path = tmp_path / "source.duckdb"
    with duckdb.connect(str(path)) as held:
        held.execute("CREATE TABLE t (order_id BIGINT, add_time BIGINT, changed TIMESTAMPTZ)")
        held.execute("INSERT INTO t VALUES (1, 7200, '2026-01-02 03:04:05+01'), (2, 7201, NULL)")
    command = [sys.executable, "-c", FIGURES, f"duckdb:///{path}"]
    told = {
        subprocess.run(command, env={**os.environ, "TZ": zone}, check=True, capture_output=True, text=True).stdout
        for zone in ("UTC", "America/Vancouver", "Asia/Tokyo")
    }
    assert len(told) == 1 and "rows=2, keys=3" in told.pop()


def test_an_event_time_beyond_a_bigint_stops_no_count(mysql_database: str) -> None:
    table = SourceTable("t", "seen", ("order_id", "seen"))
    with closing(Address.parse(mysql_database).connect(autocommit=True)) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE t (order_id BIGINT, seen DECIMAL(65, 2))")
        cursor.execute("INSERT INTO t VALUES (1, 7200), (2, 7201.5), (3, 1e60), (4, -1e60), (5, NULL)")
    with closing(open_source(mysql_database)) as source:
        figures = source.hourly_figures(table, None)
        assert figures[2] == (2, 3, 14401, 0) and sum(each.rows for each in figures.values()) == 3
        assert sum(batch.num_rows for batch in source.read(table, EVERYTHING)) == 5


@pytest.mark.parametrize("kind", ["DATE", "DATETIME"])
def test_a_day_that_is_none_is_no_event_time(mysql_database: str, kind: str) -> None:
    """Servers keep a 31st of February under ALLOW_INVALID_DATES; it must not pass for a 3rd of March."""
    table = SourceTable("t", "day", ("order_id", "seen"), event_time="seen", names={"seen": "day"})
    with closing(Address.parse(mysql_database).connect(autocommit=True)) as connection:
        cursor = connection.cursor()
        cursor.execute("SET sql_mode = 'ALLOW_INVALID_DATES'")
        cursor.execute(f"CREATE TABLE t (order_id BIGINT, day {kind})")
        cursor.execute(
            "INSERT INTO t VALUES (1, '2025-02-28'), (2, '2025-02-31'), (3, '2025-00-10'), (4, '0000-00-00')"
        )
    with closing(open_source(mysql_database)) as source:
        (batch,) = source.read(table, EVERYTHING)
        first = 1_740_700_800  # 2025-02-28 00:00:00 UTC
        assert batch["seen"].to_pylist() == [first, None, None, None]
        assert source.hourly_figures(table, None) == {first // 3600: (1, 1, first, 0)}


@pytest.mark.parametrize("oldest", [1, 1_700_003_599, 4_000_000_000])
def test_counting_month_by_month_counts_every_row_once(
    database: Database, opened: Callable[[], Source], oldest: int
) -> None:
    """On both sides of every month's end, at the very first second, in the future, and in milliseconds."""
    ends = [oldest // 3600 * 3600 + number * 30 * 86_400 for number in range(1, 4)]
    times = [oldest, *(end + aside for end in ends for aside in (-3600, -1, 0, 1)), 4_102_444_799, 1_700_000_000_000]
    database.table("uni_tracking_spath", SPATH_DDL, [(1, time, 1, number) for number, time in enumerate(times)])
    counted = opened().hourly_figures(SPATH, None)
    assert {hour: of_hour.rows for hour, of_hour in counted.items()} == Counter(time // 3600 for time in times)
    assert sum(of_hour.times for of_hour in counted.values()) == sum(times)


def test_an_empty_source_is_no_error(database: Database, opened: Callable[[], Source]) -> None:
    database.table("uni_tracking_spath", SPATH_DDL, [])
    source = opened()
    source.check([SPATH])
    assert source.hourly_figures(SPATH, None) == {}
    assert rows_of(source.read(SPATH, EVERYTHING)) == []


def test_everything_that_is_missing_is_named_at_once(database: Database, opened: Callable[[], Source]) -> None:
    database.table("uni_tracking_spath", "order_id BIGINT, pathTime BIGINT, code INT", [])
    database.table("uni_tracking_info", "order_id BIGINT, tno INT, update_time VARCHAR(20)", [])
    ecs = SourceTable("ecs_order_info", "add_time", ("order_id",))
    with pytest.raises(SourceError) as caught:
        opened().check([UTI, ecs, SPATH])
    for missing in ("table ecs_order_info", "uni_tracking_spath.traceseq", "uni_tracking_info.status"):
        assert missing in str(caught.value)
    assert "neither whole numbers nor times in uni_tracking_info.update_time" in str(caught.value)
    with pytest.raises(SourceError, match="traceseq"):
        list(opened().read(SPATH, EVERYTHING))


def test_a_table_that_is_not_shown_is_told_in_the_servers_words(mysql_database: str) -> None:
    with closing(Address.parse(mysql_database).connect(autocommit=True)) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE base (order_id BIGINT, seen BIGINT, gone INT)")
        cursor.execute("CREATE VIEW shown AS SELECT order_id, seen, gone FROM base")
        cursor.execute("ALTER TABLE base DROP COLUMN gone")
    tables = [SourceTable(name, "seen", ("order_id", "seen")) for name in ("shown", "other")]
    with (
        closing(open_source(mysql_database)) as source,
        pytest.raises(
            SourceError, match=r"no table shown, no table other \(View '.*shown' references .*\) \(Table '.*"
        ),
    ):
        source.check(tables)


def test_a_read_sees_the_moment_of_its_first_batch(mysql_database: str) -> None:
    """What is written while a read runs is not in it, however slowly it is taken."""
    database = Database(mysql_database)
    database.run(f"CREATE TABLE uni_tracking_spath ({SPATH_DDL}, note VARCHAR(1000))")
    database.run("INSERT INTO uni_tracking_spath SELECT seq, seq, 1, 0, REPEAT('n', 1000) FROM seq_1_to_30000")
    with closing(database.open()) as source:
        reading = source.read(WIDE, EVERYTHING)
        first = next(reading)
        database.run("UPDATE uni_tracking_spath SET code = 2 WHERE order_id > 29000")
        database.run("INSERT INTO uni_tracking_spath VALUES (1, 1, 3, 0, '')")
        codes = {code for batch in (first, *reading) for code in batch["code"].to_pylist()}
    assert codes == {1}


def test_reads_in_threads_do_not_disturb_each_other(database: Database, opened: Callable[[], Source]) -> None:
    database.table("uni_tracking_spath", SPATH_DDL, [(n, n, 1, 0) for n in range(1, 20_001)])
    database.table("uni_tracking_info", UTI_DDL, [(n, f"T{n}", 1, n) for n in range(1, 5_001)])
    source = opened()
    first = source.read(UTI, EVERYTHING)
    counts: dict[int, int] = {0: next(first).num_rows}

    def count(number: int, table: SourceTable) -> None:
        counts[number] = sum(batch.num_rows for batch in source.read(table, EVERYTHING))

    threads = [threading.Thread(target=count, args=(n, t)) for n, t in ((1, SPATH), (2, UTI), (3, SPATH))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts[0] += sum(batch.num_rows for batch in first)
    assert counts == {0: 5_000, 1: 20_000, 2: 5_000, 3: 20_000}


def test_a_file_that_this_process_holds_for_writing_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "source.duckdb"
    with duckdb.connect(str(path)) as held:
        held.execute(f"CREATE TABLE uni_tracking_spath ({SPATH_DDL})")
        held.execute("INSERT INTO uni_tracking_spath VALUES (1, 1, 1, 0)")
        with closing(open_source(f"duckdb:///{path}")) as source:
            assert rows_of(source.read(SPATH, EVERYTHING)) == [(1, 1, 1, 0)]


def test_a_server_has_a_clock_and_a_file_has_none(mysql_database: str, tmp_path: Path) -> None:
    with closing(open_source(mysql_database)) as source:
        clock = source.clock()
    assert clock is not None and abs(clock - time.time()) < 60
    path = tmp_path / "source.duckdb"
    duckdb.connect(str(path)).close()
    with closing(open_source(f"duckdb:///{path}")) as source:
        assert source.clock() is None


def test_a_time_range_is_served_by_the_index_on_the_time_column(mysql_database: str) -> None:
    database = Database(mysql_database)
    database.run(f"CREATE TABLE uni_tracking_spath ({SPATH_DDL}, INDEX by_time (pathTime, order_id))")
    database.run("INSERT INTO uni_tracking_spath SELECT seq, seq, 1, 0 FROM seq_1_to_20000")
    database.run("ANALYZE TABLE uni_tracking_spath")
    condition = row_filter(TimeColumn("`pathTime`"), [TimeRange(100, 200), TimeRange(500, 600, unplaceable=True)])
    with closing(Address.parse(mysql_database).connect(cursorclass=pymysql.cursors.DictCursor)) as connection:
        cursor = connection.cursor()
        cursor.execute(f"EXPLAIN SELECT code FROM uni_tracking_spath WHERE {condition}")
        plan = cursor.fetchone()
    assert plan["type"] == "range" and plan["key"] == "by_time"


def test_ranges_that_touch_or_overlap_become_one() -> None:
    ranges = [TimeRange(40), TimeRange(5, 10), TimeRange(10, 20), TimeRange(None, 3, True), TimeRange(30, 30)]
    assert merged(ranges) == ([(1, 3), (5, 20), (40, None)], True)
    assert merged([TimeRange(40), TimeRange(50, 60)]) == ([(40, None)], False)
    assert row_filter(TimeColumn("t"), EVERYTHING) == "1 = 1"
    assert row_filter(TimeColumn("t"), []) == "1 = 0"


def test_a_table_without_an_id_refuses_since_id(database: Database, opened: Callable[[], Source]) -> None:
    database.table("uni_tracking_spath", SPATH_DDL, [])
    with pytest.raises(SourceError, match="without an id column"):
        list(opened().read(SPATH, [], since_id=1))


def test_a_read_given_up_early_leaves_no_query_behind(mysql_database: str) -> None:
    database = Database(mysql_database)
    database.run(f"CREATE TABLE uni_tracking_spath ({SPATH_DDL}, note VARCHAR(1000))")
    database.run("INSERT INTO uni_tracking_spath SELECT seq, seq, 1, 0, REPEAT('n', 1000) FROM seq_1_to_30000")
    name = mysql_database.rsplit("/", 1)[1]
    with (
        closing(database.open()) as source,
        closing(Address.parse(mysql_database).connect(autocommit=True)) as connection,
    ):

        def running() -> int:
            cursor = connection.cursor()
            cursor.execute(
                f"SELECT COUNT(*) FROM information_schema.processlist WHERE db = '{name}' AND command = 'Execute'"
            )
            return int(cursor.fetchone()[0])

        reading = source.read(WIDE, EVERYTHING)
        next(reading)
        assert running() == 1
        reading.close()  # type: ignore[attr-defined]
        until = time.monotonic() + 60
        while running() and time.monotonic() < until:
            time.sleep(0.02)
        assert running() == 0


def test_counting_by_the_hour_reads_the_index_alone(mysql_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """MySQL goes to no row of the table for it; with a billion scans that is the difference of minutes and hours."""
    database = Database(mysql_database)
    rows = [(number // 5, 1_700_000_000 + number, 1, 0, "x" * 200) for number in range(20_000)]
    database.table("uni_tracking_spath", f"{SPATH_DDL}, note TEXT, KEY (pathTime, order_id)", rows)
    asked: list[str] = []
    with closing(database.open()) as source:
        query = source._query  # type: ignore[attr-defined]
        monkeypatch.setattr(source, "_query", lambda sql, *more, **on: asked.append(sql) or query(sql, *more, **on))
        assert sum(hour.rows for hour in source.hourly_figures(SPATH, 1_700_000_000).values()) == 20_000
        (counting,) = [sql for sql in asked if "GROUP BY" in sql]
        (plan,) = query(f"EXPLAIN {counting}")
    *_, key, _, _, _, extra = plan
    assert key == "pathTime" and "Using index" in extra.split("; "), plan
