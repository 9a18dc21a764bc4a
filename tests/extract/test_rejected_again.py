"""Rows that could not be loaded: a reconcile tries them again, and however many there are they cost few statements."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from extract import jobs, tables
from extract.mysql_address import Address
from extract.reconcile import HOUR, STATEMENT_RANGES, parts_of
from extract.settings import PROJECT
from extract.source_mysql import MySQLSource
from extract.values import YEAR_2100
from scripts.cli import main
from tests.conftest import START
from tests.support.world import World, moment

SOON = START + 13 * HOUR
NIGHT = START + 24 * HOUR


def run(name: str, source: str, at: int, *more: str) -> int:
    return main([name, "--source", source, "--at", moment(at).isoformat(), *more])


def reconcile(source: str, at: int, *more: str) -> None:
    assert run("reconcile", source, at, "--since", moment(START).isoformat(), *more) == 0


def columns_are(monkeypatch: pytest.MonkeyPatch, before: str, after: str) -> None:
    """external_models.yaml as if it had been edited."""
    text, read = (PROJECT / "external_models.yaml").read_text(), tables._read_yaml
    assert before in text
    edited = tables._parsed(text.replace(before, after))
    monkeypatch.setattr(
        tables, "_read_yaml", lambda file: edited if file.name == "external_models.yaml" else read(file)
    )


def test_a_row_lands_by_a_reconcile_once_its_column_is_wide_enough(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(planned=False)
    time = START + 2 * HOUR
    world.insert(
        "uni_tracking_info", [(1, "T1", 200, time), (2, "L" * 70, 200, time), (3, "T3", 200, time + 10 * HOUR)]
    )
    assert run("extract", world.source_url, SOON) == 0
    reconcile(world.source_url, NIGHT)
    assert world.query("SELECT reason, row_count FROM order_tracking_raw.unequal_hours") == [
        ("rows that cannot be loaded", 1)
    ]
    columns_are(monkeypatch, "VARCHAR(64)", "VARCHAR(128)")
    reconcile(world.source_url, NIGHT + HOUR)
    assert world.query("SELECT LENGTH(tno) FROM order_tracking_raw.uni_tracking_info_raw WHERE order_id = 2") == [(70,)]
    reconcile(world.source_url, NIGHT + 2 * HOUR)
    assert world.query("SELECT * FROM order_tracking_raw.unequal_hours") == []


def test_a_row_lands_by_a_reconcile_once_its_value_is_mended_in_place(
    make_world: Callable[..., World], mysql_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a column of which no fingerprint is compared: a text that lands as a DECIMAL."""
    world = make_world(planned=False)
    columns_are(monkeypatch, "    add_time: BIGINT", "    weight: DECIMAL(10, 2)\n    add_time: BIGINT")
    time = START + 2 * HOUR

    def sql(*statements: str) -> None:
        with closing(Address.parse(mysql_database).connect(autocommit=True)) as connection:
            for statement in statements:
                connection.cursor().execute(statement)

    sql(
        "CREATE TABLE uni_tracking_info (order_id BIGINT, tno VARCHAR(64), status INT, update_time BIGINT)",
        "CREATE TABLE ecs_order_info (order_id BIGINT, partner_id INT, weight VARCHAR(16), add_time BIGINT)",
        "CREATE TABLE uni_tracking_spath (order_id BIGINT, pathTime BIGINT, code INT, traceSeq INT)",
        f"INSERT INTO ecs_order_info VALUES (1, 1, '3.5', {time}), (2, 1, 'N/A', {time}), (3, 1, '1', {SOON - HOUR})",
    )
    only = ("--table", "ecs_order_info")
    assert run("extract", mysql_database, SOON, *only) == 0
    reconcile(mysql_database, NIGHT, *only)
    sql("UPDATE ecs_order_info SET weight = '12.50' WHERE order_id = 2")
    assert run("extract", mysql_database, NIGHT + HOUR, *only) == 0
    weighed = "SELECT CAST(weight AS VARCHAR) FROM order_tracking_raw.ecs_order_info_raw WHERE order_id = 2"
    assert world.query(weighed) == []
    reconcile(mysql_database, NIGHT + 24 * HOUR, *only)
    assert world.query(weighed) == [("12.50",)]


def test_a_cycle_warns_where_nothing_but_rejected_rows_came(world: World) -> None:
    """The check of the next midnight tells them, too: up to a day later."""
    world.insert("uni_tracking_spath", [(order, START - order, 100, 0) for order in range(60)])
    assert world.cycle().warnings == []
    world.insert("uni_tracking_spath", [(order, START * 1_000 + order, 100, 0) for order in range(20)])
    (warning,) = world.cycle().warnings
    assert warning.startswith("uni_tracking_spath: 20 new rows could not be loaded, and none landed")
    assert world.cycle().warnings == [], "the same rows, read again"
    world.insert("uni_tracking_spath", [(61, START * 1_000, 100, 0), (61, START, 100, 1)])
    assert world.cycle().warnings == [], "something landed"


# However many


def test_scattered_hours_are_read_in_statements_of_few_ranges() -> None:
    hours = dict.fromkeys(range(0, 4 * STATEMENT_RANGES, 2), 1)
    parts = parts_of(hours, 1_000_000)
    assert [sum(not part.unplaceable for part in each.ranges) for each in parts] == [STATEMENT_RANGES] * 2
    assert sum(each.rows for each in parts) == len(hours)
    spans = [(span.start, span.end) for each in parts for span in each.ranges if not span.unplaceable]
    assert spans == [(hour * HOUR, (hour + 1) * HOUR) for hour in hours]


def test_an_hour_that_is_too_large_to_be_tried_again_keeps_no_other_from_it() -> None:
    assert jobs._newest({1: 5, 2: 100, 3: 4, 4: 2}, 10) == {4: 2, 3: 4}
    assert jobs._newest({1: 3, 2: 100, 3: 4, 4: 2}, 10) == {4: 2, 3: 4, 1: 3}


def test_hours_after_2100_are_one_range() -> None:
    last = YEAR_2100 // HOUR
    hours = {last - 5: 1, **dict.fromkeys(range(last, last + 90_000_000, 1_000), 1)}
    (part,) = parts_of(hours, 1_000_000)
    assert [(span.start, span.end) for span in part.ranges] == [
        ((last - 5) * HOUR, (last - 4) * HOUR),
        (YEAR_2100, (max(hours) + 1) * HOUR),
        (0, 0),
    ]


def test_times_in_milliseconds_do_not_keep_a_load_from_ending(
    make_world: Callable[..., World], mysql_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each such row has an hour of its own, thousands of years ahead."""
    world = make_world(planned=False)
    longest = 0
    read = MySQLSource._query

    def measured(source: MySQLSource, sql: str, *args: Any, **options: Any) -> Any:
        nonlocal longest
        longest = max(longest, len(sql))
        return read(source, sql, *args, **options)

    monkeypatch.setattr(MySQLSource, "_query", measured)
    with closing(Address.parse(mysql_database).connect(autocommit=True)) as connection:
        cursor = connection.cursor()
        cursor.execute(
            "CREATE TABLE uni_tracking_info (order_id BIGINT, tno VARCHAR(64), status INT, update_time BIGINT)"
        )
        cursor.execute("CREATE TABLE ecs_order_info (order_id BIGINT, partner_id INT, add_time BIGINT)")
        cursor.execute(
            "CREATE TABLE uni_tracking_spath (order_id BIGINT, pathTime BIGINT, code INT, traceSeq INT, "
            "KEY (pathTime, order_id))"
        )
        good = [(order, START + order, 100, 0) for order in range(1, 101)]
        bad = [(order, (START + 5 * order) * 1_000, 100, 0) for order in range(1_000, 4_000)]
        cursor.executemany("INSERT INTO uni_tracking_spath VALUES (%s, %s, %s, %s)", good + bad)
    assert run("extract", mysql_database, SOON) == 0
    reconcile(mysql_database, NIGHT)
    assert world.query("SELECT COUNT(*) FROM order_tracking_raw.uni_tracking_spath_raw") == [(100,)]
    assert world.query("SELECT COUNT(*) FROM order_tracking_raw.rejected_rows") == [(3_000,)]
    assert longest < 10_000, "a range for each row"
