"""Alerts reach whoever ALERT_URLS names; one that cannot be delivered warns, fails nothing and shows no secret."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from extract.errors import CycleFailed, LockHeld, SourceError
from extract.lock import run_lock
from scripts.alerts import send_alert
from tests.conftest import START
from tests.marts.test_schema_change import Copy, copy  # noqa: F401  (a fixture)
from tests.support.world import DAY, MINUTE, World

REFUSES = "json://user:hunter2@127.0.0.1:9/services/hunter2"


@contextmanager
def webhook(status: int = 200) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The URL of an HTTP server that takes alerts, and what it has been sent."""
    received: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"json://127.0.0.1:{server.server_port}/services/hunter2", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def checked_cycle(world: World) -> list[str]:
    """A cycle whose daily checks find an order without metadata; its warnings."""
    world.order(1, START)
    world.source("DELETE FROM ecs_order_info")
    world.cycle()
    return world.cycle(START + DAY + 20 * MINUTE).warnings


def undelivered(warnings: list[str]) -> list[str]:
    return [warning for warning in warnings if "could not be delivered" in warning]


def test_a_finding_of_the_daily_checks_reaches_every_url(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with webhook() as (one, first), webhook() as (other, second):
        monkeypatch.setenv("ALERT_URLS", f"{one}, {other}\n")
        warnings = checked_cycle(world)
    assert first == second and len(first) == 1
    assert first[0]["title"] == "order-tracking: warnings of the cycle at 2025-09-02 00:20 UTC"
    assert "order_without_ecs" in first[0]["message"]
    assert undelivered(warnings) == []


def test_a_cycle_without_warnings_alerts_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with webhook() as (url, received):
        monkeypatch.setenv("ALERT_URLS", url)
        world.order(1, START)
        world.cycle()
        with run_lock("local"), pytest.raises(LockHeld):
            world.cycle()  # it is another one's turn: no failure
    assert received == []


@pytest.mark.parametrize(
    ("url", "names"),
    [
        (REFUSES, "(json) did not take it"),
        ("hunter2://TokenA/hunter2", "(hunter2) is no URL"),
        ("hunter2/TokenA", "(it has no ://) is no URL"),
    ],
)
def test_an_alert_that_cannot_be_delivered_is_a_warning(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], url: str, names: str
) -> None:
    with webhook() as (good, received):
        monkeypatch.setenv("ALERT_URLS", f"{url} {good}")
        (warning,) = undelivered(checked_cycle(world))
    assert "URL 1 of ALERT_URLS" in warning and names in warning
    assert "apprise" in warning, "what to do next"
    for secret in ("hunter2@", "/hunter2", "hunter2/", "TokenA"):
        assert secret not in warning + "".join(capfd.readouterr())
    assert len(received) == 1, "the other one is told"
    assert [row[0] for row in world.exceptions()] == ["order_without_ecs"], "the checks themselves are done"


def test_a_server_that_answers_with_an_error_has_not_taken_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with webhook(status=500) as (url, received):
        monkeypatch.setenv("ALERT_URLS", url)
        (warning,) = send_alert("title", "body")
    assert "did not take it" in warning and len(received) == 1


def test_a_comma_within_a_url_does_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with webhook() as (url, received):
        monkeypatch.setenv("ALERT_URLS", f"{url}?:note=a,b,{url}?:note=c")
        assert send_alert("title", "body") == []
    assert [alert["note"] for alert in received] == ["a,b", "c"]


def test_a_failed_cycle_is_told_without_its_password_and_fails_as_it_would(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    with webhook() as (url, received):
        monkeypatch.setenv("ALERT_URLS", f"{url} {REFUSES}")
        with pytest.raises(SourceError) as failed:
            world.cycle(source="mysql://user:hunter2@127.0.0.1:1/shop", report=told.append)
    (alert,) = received
    assert alert["title"] == "order-tracking: a cycle failed"
    assert alert["message"] == str(failed.value).replace("hunter2", "***")
    (warning,) = told
    assert warning.startswith("warning: an alert could not be delivered") and "hunter2" not in warning


def test_a_failed_run_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.order(1, START)
    world.execute("ALTER TABLE order_tracking_history.order_tracking_exceptions RENAME last_seen_at TO seen")
    with webhook() as (url, received):
        monkeypatch.setenv("ALERT_URLS", url)
        with pytest.raises(CycleFailed):
            world.cycle(START + DAY)
    assert "sqlmesh run failed" in received[0]["message"]


def test_a_failed_plan_is_told(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    copy.edit("models/mart_uni_tracking_spath.sql", "FROM batch\n)", "FROM no_such_table\n)")
    with webhook() as (url, received):
        monkeypatch.setenv("ALERT_URLS", url)
        planned = copy.run("scripts.plan", "--yes", "--at", "2025-09-01T00:20:00")
    assert planned.returncode == 1, planned.stdout + planned.stderr
    (alert,) = received
    assert alert["title"] == "order-tracking: a plan failed" and "The plan failed" in alert["message"]


def test_without_the_setting_nothing_of_it_is_loaded() -> None:
    code = "import sys; from scripts.alerts import send_alert; print(send_alert('a', 'b'), 'apprise' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] False"
