"""Alerts: a finding of the daily checks reaches the webhook; one that cannot be delivered warns, and fails nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from tests.conftest import START
from tests.support.world import DAY, MINUTE, World


@contextmanager
def webhook() -> Iterator[tuple[str, list[str]]]:
    """The URL of an HTTP server that takes what Slack would, and what it has been sent."""
    told: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *args: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/services/hunter2", told
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


def test_a_finding_of_the_daily_checks_reaches_the_webhook(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with webhook() as (url, told):
        monkeypatch.setenv("ALERT_SLACK_WEBHOOK", url)
        warnings = checked_cycle(world)
    assert len(told) == 1 and "order_without_ecs" in told[0]
    assert not any("could not be delivered" in warning for warning in warnings)


def test_an_alert_that_cannot_be_delivered_is_a_warning(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_SLACK_WEBHOOK", "http://127.0.0.1:9/services/hunter2")
    warnings = [warning for warning in checked_cycle(world) if "could not be delivered" in warning]
    assert len(warnings) == 1 and "refused" in warnings[0] and "hunter2" not in warnings[0]
    assert [row[0] for row in world.exceptions()] == ["order_without_ecs"], "the checks themselves are done"
