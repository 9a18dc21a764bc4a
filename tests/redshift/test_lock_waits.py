"""Who waits for another session's lock waits a set time only, and is told who holds it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from unittest import mock

import psycopg2
import pytest
import redshift_connector

from extract.errors import ExtractFailed, WarehouseError
from extract.lock_waits import LockWatch, in_one_sentence, lock_watch
from extract.settings import RedshiftSettings
from extract.warehouse_redshift import RedshiftWarehouse
from scripts.plan import plan
from tests.redshift_standin.server import DATABASE, USER
from tests.support.conftest_redshift import START
from tests.support.redshift_world import RedshiftWorld
from tests.support.world import HOUR, at, moment


@contextmanager
def idle_in_a_transaction(connection: Any, sql: str) -> Iterator[None]:
    """A session that has done this, and does not end its transaction."""
    with closing(connection):
        connection.cursor().execute(sql)
        yield


def reader(world: RedshiftWorld) -> Any:
    """Another user's connection."""
    return redshift_connector.connect(**world.standin.connection_arguments)


def test_a_view_that_somebody_reads_is_waited_for_a_set_time_and_the_reader_is_named(
    redshift_world: RedshiftWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDSHIFT_LOCK_SECONDS", "2")
    view = "order_tracking_history.hist_uti_all"
    with (
        closing(RedshiftWarehouse.open()) as warehouse,
        idle_in_a_transaction(reader(redshift_world), f"SELECT period FROM {view}"),
        pytest.raises(WarehouseError) as refused,
    ):
        warehouse.change(["CREATE TABLE order_tracking_history.made (a INTEGER)", f"DROP VIEW {view}"])
    message = str(refused.value)
    assert f"waited for 2 s for a lock on hist_uti_all, which is held by {USER} (process " in message
    assert "canceling statement" in message, "the first cause is lost"
    assert redshift_world.query("SELECT TO_REGCLASS('order_tracking_history.made') IS NULL") == [(True,)]


def test_a_cycle_does_not_wait_for_a_marts_lock_for_ever_and_the_next_one_makes_it_good(
    redshift_world: RedshiftWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = redshift_world
    monkeypatch.setenv("REDSHIFT_LOCK_SECONDS", "2")
    world.order(1, START - HOUR)
    ((table,),) = world.query(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'order_tracking__mart_uni_tracking_info__%'"
    )
    # The lock of a writer on Redshift, which PostgreSQL takes only when it is asked to.
    locked = f"LOCK TABLE sqlmesh__order_tracking.{table} IN SHARE ROW EXCLUSIVE MODE"
    writer = psycopg2.connect(**{**world.standin.postgres_arguments, "database": DATABASE})
    with idle_in_a_transaction(writer, locked), pytest.raises(WarehouseError, match=f"lock on {table}") as refused:
        world.cycle(START + HOUR)
    assert "What landed stays in raw" in str(refused.value)
    world.cycle(START + 2 * HOUR)
    assert world.query("SELECT order_id FROM order_tracking.mart_uni_tracking_info") == [(1,)]


@pytest.mark.slow
def test_a_landing_does_not_wait_for_a_reader_of_the_log_for_ever(
    redshift_world: RedshiftWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client without autocommit that has looked what landed last, and was left open."""
    world = redshift_world
    world.order(1, START - HOUR)
    world.cycle(START + HOUR)
    world.order(2, START)
    monkeypatch.setenv("REDSHIFT_LOCK_SECONDS", "2")
    with (
        idle_in_a_transaction(reader(world), "SELECT * FROM order_tracking_raw.extract_log"),
        pytest.raises(ExtractFailed, match=rf"lock on extract_log, which is held by {USER} \(process "),
    ):
        world.cycle(START + 2 * HOUR)
    assert world.query("SELECT order_id FROM order_tracking.mart_uni_tracking_info") == [(1,)]
    world.cycle(START + 3 * HOUR)
    assert world.query("SELECT order_id FROM order_tracking.mart_uni_tracking_info ORDER BY 1") == [(1,), (2,)]


@pytest.mark.slow
def test_a_plan_does_not_wait_for_ever(redshift_world: RedshiftWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDSHIFT_LOCK_SECONDS", "2")
    taken = "CREATE SCHEMA order_tracking__night"  # the name is taken until that transaction ends
    with (
        idle_in_a_transaction(reader(redshift_world), taken),
        pytest.raises(WarehouseError, match="A statement waited for 2 s for a lock on"),
    ):
        plan("night", gateway="redshift", at=moment(START), yes=True)


@pytest.mark.slow
def test_a_watch_whose_connection_is_lost_looks_again(
    redshift_world: RedshiftWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("REDSHIFT_LOCK_SECONDS", "2")
    look, looks = LockWatch.look, [0]

    def broken_at_first(watch: LockWatch, connection: Any) -> None:
        looks[0] += 1
        if looks[0] <= 2:
            connection.close()
        look(watch, connection)

    monkeypatch.setattr(LockWatch, "look", broken_at_first)
    view = "order_tracking_history.hist_uti_all"
    with (
        closing(RedshiftWarehouse.open()) as warehouse,
        idle_in_a_transaction(reader(redshift_world), f"SELECT period FROM {view}"),
        pytest.raises(WarehouseError, match="waited for 2 s for a lock on hist_uti_all"),
    ):
        warehouse.change([f"DROP VIEW {view}"])
    assert [record.message.partition(":")[0] for record in caplog.records if "lock" in record.message] == [
        "Who waits for a lock cannot be seen, for now"
    ]


def test_the_patience_begins_anew_with_each_lock() -> None:
    """A session that waits for one lock, and then for another, has waited for neither too long."""
    connection, clock = mock.Mock(), mock.Mock()
    watch = LockWatch(RedshiftSettings.model_construct(lock_seconds=10), {7})
    with mock.patch("extract.lock_waits.time.monotonic", clock):
        for now, relation, table, holder in [(0, 1, "t1", "bob"), (8, 2, "t2", "eve"), (12, 2, "t2", "eve")]:
            clock.return_value = now
            connection.cursor().fetchall.return_value = [(7, False, relation, table, holder, 8, None)]
            watch.look(connection)
        assert watch.ended == []
        clock.return_value = 18
        watch.look(connection)
    (ended,) = watch.ended
    assert "waited for 10 s for a lock on t2, which is held by eve" in ended


def test_who_may_not_see_the_holder_is_told_how_to_find_it() -> None:
    unseen = in_one_sentence([("mart", None, None, None)], 300)
    assert "a session that this user may not see (an administrator finds it in svv_transactions" in unseen
    since = dt.datetime.fromtimestamp(at("2025-09-01T03:00:00"), dt.UTC)
    seen = in_one_sentence([("mart", "ann", 7, since), ("mart", "ann", 7, since), ("mart", "ben", 8, since)], 300)
    assert "held by ann (process 7, in a transaction since 2025-09-01 03:00); ben (process 8" in seen
    assert "held by ann (process 7, in a transaction)." in in_one_sentence([("mart", "ann", 7, None)], 300)


def test_who_holds_a_lock_is_said_once_however_often_it_was_waited_for() -> None:
    settings = RedshiftSettings.model_construct(lock_seconds=300)
    with pytest.raises(WarehouseError) as refused, lock_watch(settings) as watch:
        watch.ended += ["a lock on a, held by one"] * 10 + ["a lock on b, held by another"]
        raise RuntimeError("canceling statement")
    assert str(refused.value) == "a lock on a, held by one | a lock on b, held by another | canceling statement"
