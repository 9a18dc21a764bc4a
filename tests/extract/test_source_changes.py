"""What a source does beside growing: corrections, deletions, doubled rows, numbers used again; what reconcile, verify
and refresh make of each. Columns of every kind, other names and times included, on a real MariaDB."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest

from extract.errors import SourceError
from extract.mysql_address import Address
from extract.source_mysql import MySQLSource
from scripts.cli import main
from tests.conftest import START
from tests.support.world import DAY, HOUR, MINUTE, World, moment

TABLES = {
    "uni_tracking_info": "order_id BIGINT, tno VARCHAR(64), status INT, update_time BIGINT, KEY (update_time)",
    "ecs_order_info": "order_id BIGINT, partner_id INT, add_time BIGINT, KEY (add_time, order_id)",
    "uni_tracking_spath": "order_id BIGINT, pathTime BIGINT, code INT, traceSeq INT, KEY (pathTime, order_id)",
}
NIGHT = START + DAY


class Shop:
    """A MariaDB source with ten orders, one an hour, each with two scans."""

    def __init__(self, url: str):
        self.url = url
        self.run(*(f"CREATE TABLE {table} ({columns})" for table, columns in TABLES.items()))
        for order in range(1, 11):
            created = START + order * HOUR
            self.run(
                f"INSERT INTO ecs_order_info VALUES ({order}, 11, {created})",
                f"INSERT INTO uni_tracking_spath VALUES ({order}, {created}, 100, 0)",
                f"INSERT INTO uni_tracking_spath VALUES ({order}, {created + MINUTE}, 200, 1)",
                f"INSERT INTO uni_tracking_info VALUES ({order}, 'T{order}', 200, {created + MINUTE})",
            )

    def run(self, *statements: str) -> None:
        with closing(Address.parse(self.url).connect(autocommit=True)) as connection:
            for statement in statements:
                connection.cursor().execute(statement)


@pytest.fixture
def shop(mysql_database: str) -> Shop:
    return Shop(mysql_database)


@pytest.fixture
def loaded(world: World, shop: Shop) -> World:
    world.cycle(NIGHT, source=shop.url)
    return world


def night(world: World, shop: Shop, number: int = 1) -> Any:
    """A cycle with a reconcile, so many days after the load."""
    return world.cycle(NIGHT + number * DAY, source=shop.url, reconcile_since=START)


def command(world: World, shop: Shop, name: str, *arguments: str, at: int | None = None) -> int:
    when = moment(world.now if at is None else at).isoformat()
    return main([name, "--source", shop.url, "--at", when, *arguments])


def verified(
    world: World, shop: Shop, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, dict[str, Any]]:
    """The exit code of verify since START, and table -> (reason -> rows), with the columns."""
    capsys.readouterr()
    code = command(world, shop, "verify", "--since", moment(START).isoformat(), "--json", *arguments)
    said = json.loads(capsys.readouterr().out)
    found = {
        each["table"]: {item["reason"]: item["rows"] for item in each["differences"]} | each["columns"]
        for each in said["tables"]
        if each["differences"]
    }
    assert said["equal"] is (not found) and code == bool(found)
    return code, found


def findings(world: World) -> list[tuple[str, str]]:
    return [(table, detail) for check, table, _, detail in world.exceptions() if check == "source_differs"]


def read_by_reconcile(cycle: Any, world: World) -> int:
    ((rows,),) = world.query(
        "SELECT SUM(rows_read) FROM order_tracking_raw.extract_log WHERE kind = 'reconcile' "
        "AND epoch(finished_at) >= ?",
        world.now,
    )
    return int(rows or 0)


def told(cycle: Any) -> list[str]:
    """What the reconcile told, beside the daily audits."""
    return [warning for warning in cycle.warnings if "for example of order" in warning]


@pytest.mark.slow
def test_what_is_equal_is_told_to_be_and_nothing_is_read(
    loaded: World, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verified(loaded, shop, capsys) == (0, {})
    assert command(loaded, shop, "verify", "--since", moment(START).isoformat()) == 0
    assert "Nothing differs in 30 hours of 3 tables" in capsys.readouterr().out
    assert read_by_reconcile(night(loaded, shop), loaded) == 0 and findings(loaded) == []


def test_a_value_corrected_without_a_new_time_is_found_and_comes_in(
    loaded: World, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.run(
        "UPDATE ecs_order_info SET partner_id = 99 WHERE order_id = 3",
        "UPDATE uni_tracking_info SET tno = 'X', status = 5 WHERE order_id = 4",
    )
    assert verified(loaded, shop, capsys)[1] == {
        "ecs_order_info": {"rows that the source shows with other values": 1, "partner_id": 1},
        "uni_tracking_info": {"rows that the source shows with other values": 1, "tno": 1, "status": 1},
    }
    night(loaded, shop)
    assert verified(loaded, shop, capsys) == (0, {})
    rows = loaded.query("SELECT order_id, partner_id FROM order_tracking.mart_ecs_order_info WHERE partner_id <> 11")
    assert rows == [(3, 99)] and loaded.uti()[4][0] == 5 and findings(loaded) == []


@pytest.mark.slow
def test_a_value_that_is_changed_and_changed_back_comes_in_both_times(loaded: World, shop: Shop) -> None:
    for number, partner in enumerate((99, 11, 99, 11), 1):
        shop.run(f"UPDATE ecs_order_info SET partner_id = {partner} WHERE order_id = 3")
        night(loaded, shop, number)
        assert loaded.query("SELECT partner_id FROM order_tracking.mart_ecs_order_info WHERE order_id = 3") == [
            (partner,)
        ]


@pytest.mark.slow
def test_a_scan_that_got_another_code_comes_in_and_the_old_ones_fate_is_told_once(
    loaded: World, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.run("UPDATE uni_tracking_spath SET code = 777 WHERE order_id = 5 AND traceSeq = 1")
    cycle = night(loaded, shop)
    assert read_by_reconcile(cycle, loaded) == 2
    assert any("1 rows that the source no longer shows, for example of order 5" in each for each in cycle.warnings)
    assert len([row for row in loaded.scans_everywhere() if row[0] == 5]) == 3
    again = night(loaded, shop, 2)
    assert read_by_reconcile(again, loaded) == 0 and not told(again)
    table, detail = findings(loaded)[0]
    assert table == "uni_tracking_spath_raw" and detail == ("rows that the source no longer shows (rows: 1; orders: 5)")
    assert verified(loaded, shop, capsys)[1] == {"uni_tracking_spath": {"rows that the source no longer shows": 1}}


@pytest.mark.slow
def test_what_was_deleted_at_the_source_stays_is_told_once_with_a_count_and_closes_when_it_comes_back(
    loaded: World, shop: Shop
) -> None:
    shop.run(*(f"CREATE TABLE kept_{table} AS SELECT * FROM {table} WHERE order_id IN (6, 7)" for table in TABLES))
    shop.run(*(f"DELETE FROM {table} WHERE order_id IN (6, 7)" for table in TABLES))
    for number in (1, 2, 3):
        cycle = night(loaded, shop, number)
        assert read_by_reconcile(cycle, loaded) == 0
        assert len(told(cycle)) == (3 if number == 1 else 0)
    assert [detail.split(" (")[1] for _, detail in findings(loaded)] == [
        "rows: 2; orders: 7)",
        "rows: 2; orders: 7)",
        "rows: 4; orders: 7)",
    ]
    assert set(loaded.uti()) == set(range(1, 11))
    shop.run(*(f"INSERT INTO {table} SELECT * FROM kept_{table}" for table in TABLES))
    night(loaded, shop, 4)
    night(loaded, shop, 5)
    assert findings(loaded) == []


@pytest.mark.slow
def test_a_row_that_the_source_shows_twice_is_told_and_held_once(loaded: World, shop: Shop) -> None:
    shop.run(
        f"INSERT INTO ecs_order_info VALUES (8, 12, {START + 8 * HOUR})",
        f"INSERT INTO uni_tracking_spath VALUES (8, {START + 8 * HOUR}, 100, 0)",
    )
    for number in (1, 2, 3):
        assert (read_by_reconcile(night(loaded, shop, number), loaded) > 0) is (number == 1)
    assert [detail for _, detail in findings(loaded)] == [
        "rows that the source shows more than once (rows: 1; orders: 8)"
    ] * 2
    assert loaded.query("SELECT COUNT(*) FROM order_tracking.mart_ecs_order_info WHERE order_id = 8") == [(1,)]
    assert loaded.query("SELECT COUNT(*) FROM order_tracking.mart_uni_tracking_spath WHERE order_id = 8") == [(2,)]


def test_a_status_that_went_back_is_told_and_the_newer_one_stays(loaded: World, shop: Shop) -> None:
    shop.run(f"UPDATE uni_tracking_info SET status = 1, update_time = {START + 9 * HOUR - 60} WHERE order_id = 9")
    night(loaded, shop)
    night(loaded, shop, 2)
    assert loaded.uti()[9] == (200, START + 9 * HOUR + MINUTE)
    assert {detail.split(" (")[0] for _, detail in findings(loaded)} == {
        "rows that only the source has",
        "rows of which the source shows an older version",
    }


@pytest.mark.slow
def test_metadata_whose_time_was_spoiled_is_not_taken_for_renewed(
    loaded: World, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """No extract brings such a row, so what is held of the order differs from what the source shows."""
    for order, time in enumerate(("add_time * 1000", "NULL", "-add_time"), start=3):
        shop.run(f"UPDATE ecs_order_info SET add_time = {time} WHERE order_id = {order}")
    assert verified(loaded, shop, capsys)[1] == {"ecs_order_info": {"rows that the source no longer shows": 3}}
    night(loaded, shop)
    assert [table for table, _ in findings(loaded)] == ["ecs_order_info_raw"]


@pytest.mark.slow
def test_an_order_number_used_again_at_the_source_is_no_difference(
    loaded: World, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    now = NIGHT + DAY
    shop.run(
        *(f"DELETE FROM {table} WHERE order_id = 2" for table in TABLES),
        f"INSERT INTO ecs_order_info VALUES (2, 22, {now - HOUR})",
        f"INSERT INTO uni_tracking_info VALUES (2, 'B', 100, {now - HOUR})",
        f"INSERT INTO uni_tracking_spath VALUES (2, {now - HOUR}, 100, 0)",
    )
    night(loaded, shop)
    night(loaded, shop, 2)
    assert [(table, detail) for table, detail in findings(loaded)] == [
        ("uni_tracking_spath_raw", "rows that the source no longer shows (rows: 2; orders: 2)")
    ]
    assert loaded.uti()[2] == (100, now - HOUR)


@pytest.mark.slow
def test_an_order_renewed_since_the_last_extract_is_no_difference(
    loaded: World, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.run(f"UPDATE uni_tracking_info SET status = 300, update_time = {NIGHT + 60} WHERE order_id = 10")
    shop.run(f"INSERT INTO uni_tracking_spath VALUES (10, {NIGHT + 60}, 300, 2)")
    assert verified(loaded, shop, capsys) == (0, {})


@pytest.mark.slow
def test_refresh_reads_orders_whatever_their_times_say(loaded: World, shop: Shop) -> None:
    shop.run("UPDATE ecs_order_info SET partner_id = 99 WHERE order_id < 9", "UPDATE uni_tracking_info SET status = 7")
    assert command(loaded, shop, "refresh", "3", "4", "--table", "ecs_order_info", at=NIGHT + 15 * MINUTE) == 0
    loaded.cycle(NIGHT + 15 * MINUTE, source=shop.url)
    assert loaded.query("SELECT order_id FROM order_tracking.mart_ecs_order_info WHERE partner_id = 99 ORDER BY 1") == [
        (3,),
        (4,),
    ]
    assert {loaded.uti()[order][0] for order in range(1, 9)} == {200}
    assert command(loaded, shop, "refresh", "--since", moment(START).isoformat(), at=NIGHT + 30 * MINUTE) == 0
    loaded.cycle(NIGHT + 30 * MINUTE, source=shop.url)
    assert {status for status, _ in loaded.uti().values()} == {7}
    assert command(loaded, shop, "refresh") == command(loaded, shop, "refresh", "1", "--since", "2025-09-01") == 2


@pytest.mark.slow
def test_refresh_names_the_orders_that_the_source_does_not_show(
    loaded: World, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.run("DELETE FROM ecs_order_info WHERE order_id = 3")
    capsys.readouterr()
    assert command(loaded, shop, "refresh", "3", "77", "78") == 0
    said = capsys.readouterr().out
    assert "warning: ecs_order_info has no row of 3 of these orders (3, 77, 78). What is held of them stays" in said
    assert "warning: uni_tracking_spath has no row of 2 of these orders (77, 78)." in said
    shop.run("ALTER TABLE ecs_order_info MODIFY order_id DECIMAL(20, 2)")  # 4 comes as 4.00
    assert command(loaded, shop, "refresh", "4", "5") == 0 and "warning" not in capsys.readouterr().out


@pytest.mark.slow
def test_verify_of_a_time_without_rows_says_that_it_compared_nothing(
    loaded: World, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    since = moment(NIGHT + 99 * DAY).isoformat()
    assert command(loaded, shop, "verify", "--since", since, at=NIGHT + 100 * DAY) == 0
    said = capsys.readouterr().out
    assert said.startswith("Nothing was compared: neither side has a row between these times.")


@pytest.mark.slow
def test_a_reconcile_that_fails_does_not_stop_the_marts(
    loaded: World, shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*args: Any, **options: Any) -> Any:
        if options["content"]:
            raise SourceError("the server is too busy to count")
        return counted(*args, **options)

    counted = MySQLSource.hourly_figures
    now = NIGHT + DAY
    shop.run(f"UPDATE uni_tracking_info SET status = 300, update_time = {now - 300} WHERE order_id = 1")
    monkeypatch.setattr(MySQLSource, "hourly_figures", refused)
    assert main(["cycle", "--source", shop.url, "--at", moment(now).isoformat(), "--reconcile"]) == 1
    said = capsys.readouterr()
    assert "The reconcile failed: the server is too busy to count" in said.err and "marts are up to date" in said.err
    assert loaded.uti()[1] == (300, now - 300)


def test_an_emptied_table_is_an_error_unless_it_is_meant(
    loaded: World, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.run("TRUNCATE ecs_order_info", "TRUNCATE uni_tracking_spath")
    at = moment(NIGHT + 15 * MINUTE).isoformat()
    assert main(["cycle", "--source", shop.url, "--at", at]) == 1
    said = capsys.readouterr().err
    assert "not a single row in ecs_order_info, uni_tracking_spath" in said and "--allow-empty" in said
    assert main(["extract", "--source", shop.url, "--at", at]) == 1
    assert main(["extract", "--source", shop.url, "--at", at, "--allow-empty"]) == 0
    assert main(["cycle", "--source", shop.url, "--at", at, "--allow-empty"]) == 0
    assert len(loaded.uti()) == 10


def test_a_source_that_was_always_empty_is_no_error(world: World, mysql_database: str) -> None:
    with closing(Address.parse(mysql_database).connect(autocommit=True)) as connection:
        for table, columns in TABLES.items():
            connection.cursor().execute(f"CREATE TABLE {table} ({columns})")
    world.cycle(source=mysql_database)
    world.cycle(source=mysql_database)
