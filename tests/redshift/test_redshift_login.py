"""The login to Redshift: an endpoint that says nothing is given up, and statements may take as long as they do."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
import redshift_connector

from extract import redshift_login
from extract.errors import WarehouseError
from extract.settings import RedshiftSettings
from extract.warehouse_redshift import RedshiftWarehouse
from tests.support.redshift_world import RedshiftWorld

SETTINGS = {
    "REDSHIFT_HOST": "127.0.0.1",
    "REDSHIFT_DATABASE": "d",
    "REDSHIFT_USER": "u",
    "REDSHIFT_PASSWORD": "hunter2-secret",
    "REDSHIFT_S3_PREFIX": "s3://bucket/p",
    "REDSHIFT_COPY_ROLE": "default",
    **{f"STATE_{name}": "state-secret" for name in ("HOST", "DATABASE", "USER", "PASSWORD")},
}


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("ssl", ["1", "0"], ids=["TLS", "plain"])
def test_an_endpoint_that_says_nothing_is_given_up(silent_port: int, monkeypatch: pytest.MonkeyPatch, ssl: str) -> None:
    monkeypatch.setattr(redshift_login, "CONNECT_SECONDS", 1)
    settings = RedshiftSettings.from_environment({**SETTINGS, "REDSHIFT_PORT": str(silent_port), "REDSHIFT_SSL": ssl})
    began = time.monotonic()
    with pytest.raises(WarehouseError) as failed:
        RedshiftWarehouse.open(settings)
    assert time.monotonic() - began < 10
    assert str(failed.value) == (
        f"Redshift 127.0.0.1:{silent_port}/d cannot be reached: it said nothing for 1 s, so the login was given up. "
        "Nothing was done. Check the REDSHIFT_ variables, the way through the network and, with IAM, this process's "
        "rights, then run again."
    )


def test_a_statement_may_take_longer_than_a_login(
    redshift_world: RedshiftWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits three seconds for a table that another session has locked."""
    monkeypatch.setattr(redshift_login, "CONNECT_SECONDS", 1)
    log = "order_tracking_raw.extract_log"
    with (
        closing(RedshiftWarehouse.open()) as warehouse,
        closing(redshift_connector.connect(**redshift_world.standin.connection_arguments)) as other,
    ):
        assert warehouse._connection._usock.gettimeout() is None, "the driver keeps its socket elsewhere"
        other.cursor().execute(f"LOCK TABLE {log}")
        threading.Timer(3, other.rollback).start()
        began = time.monotonic()
        assert len(warehouse.fetchall(f"SELECT COUNT(*) FROM {log}")) == 1
        assert time.monotonic() - began > 2


def test_a_driver_that_keeps_its_socket_elsewhere_has_no_limit_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """No limit is better than one on every statement."""
    asked = []

    class Other:
        def __init__(self, **arguments: object):
            asked.append(arguments.get("timeout"))

        def close(self) -> None:
            asked.append("closed")

    monkeypatch.setattr("extract.redshift_login.redshift_connector.connect", Other)
    redshift_login.connect(RedshiftSettings.from_environment(SETTINGS))
    assert asked == [redshift_login.CONNECT_SECONDS, "closed", None]
