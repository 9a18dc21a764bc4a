"""Alerts reach whoever ALERT_URLS names, once for each change; what cannot be delivered waits, and fails nothing."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from extract.errors import CycleFailed, ExtractFailed, LockHeld, SourceError
from extract.lock import run_lock
from extract.run import extract
from scripts import alerts
from scripts.alerts import Alert, memory_file, send_alerts
from scripts.cycle_log import LoggedCycle, kept_rows
from scripts.news import EXAMPLES, Findings, news_of_cycle
from scripts.open_exceptions import open_exceptions
from scripts.reading import warehouse_to_read
from tests.conftest import START
from tests.marts.test_schema_change import Copy, copy  # noqa: F401  (a fixture)
from tests.support.commands import alert as alert_command
from tests.support.commands import cycle as cycle_command
from tests.support.commands import exceptions as exceptions_command
from tests.support.commands import extract as extract_command
from tests.support.world import DAY, HOUR, MINUTE, World, moment

REFUSES = "json://user:hunter2@127.0.0.1:9/services/hunter2"
NOWHERE = "mysql://user:hunter2@127.0.0.1:1/shop"

Received = list[dict[str, str]]


@contextmanager
def webhook(status: int = 200, waits_for: Event | None = None) -> Iterator[tuple[str, Received]]:
    """The URL of an HTTP server that takes alerts, and what it has been sent."""
    received: Received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            if waits_for:
                waits_for.wait(30)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"json://127.0.0.1:{server.server_port}/services/hunter2", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Iterator[Received]:
    """What has been sent to the one URL of ALERT_URLS."""
    with webhook() as (url, received):
        monkeypatch.setenv("ALERT_URLS", url)
        yield received


def titles(received: Received) -> list[str]:
    return [alert["title"].removeprefix("order-tracking: ") for alert in received]


def iso(epoch_seconds: int) -> str:
    return f"{moment(epoch_seconds):%Y-%m-%dT%H:%M:%S}"


def undelivered(warnings: list[str]) -> list[str]:
    return [warning for warning in warnings if "could not be delivered" in warning]


def failing_source(world: World, now: int) -> None:
    with pytest.raises(SourceError):
        world.cycle(now, source=NOWHERE)


def failing_models(world: World, now: int) -> None:
    with pytest.MonkeyPatch.context() as patch:

        def breaks(*args: object) -> None:
            raise CycleFailed("sqlmesh run failed: no room")

        patch.setattr("scripts.run_cycle._run", breaks)
        with pytest.raises(CycleFailed):
            world.cycle(now)


def unreadable_warehouse(world: World, now: int) -> None:
    file, aside = world.warehouse_file, world.warehouse_file.with_name("aside")
    file.rename(aside)
    file.write_bytes(b"no database" * 1000)
    with pytest.raises(Exception, match="warehouse"):
        world.cycle(now)
    aside.rename(file)


# Cycles


def test_a_setting_that_is_lost_is_logged_and_told(world: World, received: Received) -> None:
    world.cycle()
    now = world.now + 15 * MINUTE
    assert cycle_command(["--at", iso(now)]) == 2
    assert titles(received) == ["a cycle was refused"]
    assert "Not set: ORDER_TRACKING_SOURCE" in received[0]["message"]
    assert [row["outcome"] for row in kept_rows("local")] == ["refused"]
    world.cycle(now + 15 * MINUTE)
    assert titles(received) == ["a cycle was refused", "cycles end well again"]


def test_a_mistake_in_the_settings_file_is_logged_and_told(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its other lines say whom to tell."""
    with webhook() as (url, received):
        (tmp_path / ".env").write_text(f"ALERT_URLS={url}\nREDSHIFT_SLICE=8\nREDSHIFT_PASSWORD=hunter2\n")
        monkeypatch.setattr("extract.settings.PROJECT", tmp_path)
        monkeypatch.delenv("PYTHON_DOTENV_DISABLED", raising=False)
        assert cycle_command(["--at", iso(START)]) == 2
        assert titles(received) == ["a cycle was refused"]
        assert "REDSHIFT_SLICE is no setting" in received[0]["message"] and "hunter2" not in received[0]["message"]
        assert [row["outcome"] for row in kept_rows("local")] == ["refused"]
        monkeypatch.setenv("ORDER_TRACKING_GATEWAY", "redshft")
        (tmp_path / ".env").unlink()
        assert cycle_command(["--at", iso(START + 15 * MINUTE)]) == 2
    assert len(kept_rows("local")) == 2 and "ORDER_TRACKING_GATEWAY" in capsys.readouterr().err


def test_that_no_cycle_ends_is_told_without_the_warehouses_settings(
    received: Received, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cycle_command(["--gateway", "redshift", "--at", iso(START)]) == 2
    assert "Not set: REDSHIFT_HOST" in received[0]["message"]
    assert alert_command(["--overdue", "--gateway", "redshift", "--at", iso(START + 61 * MINUTE)]) == 0
    assert titles(received) == ["a cycle was refused", "no cycle for 1 h"], capsys.readouterr()


@pytest.mark.parametrize("fails", [failing_source, failing_models, unreadable_warehouse])
def test_a_cycle_that_fails_is_told_when_it_begins_and_when_it_ends(
    world: World, received: Received, fails: Callable[[World, int], None]
) -> None:
    at = [START + 15 * MINUTE * number for number in range(1, 7)]
    world.cycle(at[0])
    for now in at[1:4]:
        fails(world, now)
    assert titles(received) == ["a cycle failed"]
    body = received[0]["message"]
    assert "The cycle of 2025-09-01 00:30 UTC failed: " in body
    nothing_is_read = fails is unreadable_warehouse
    assert ("No earlier one is known" if nothing_is_read else "ended well: 2025-09-01 00:15 UTC") in body
    assert "hunter2" not in body and "docs/operations.md, 'Exit codes of a cycle'" in body
    world.cycle(at[4])
    world.cycle(at[5])
    assert titles(received) == ["a cycle failed", "cycles end well again"]
    assert "3 cycles before it did not, since 2025-09-01 00:30 UTC" in received[1]["message"]


def test_one_failure_after_another_is_one_alert_whatever_its_step(world: World, received: Received) -> None:
    """The log of cycles and the rows that wait for it are one memory."""
    failing_models(world, START + 15 * MINUTE)
    failing_source(world, START + 30 * MINUTE)
    failing_models(world, START + 45 * MINUTE)
    failing_source(world, START + 60 * MINUTE)
    assert titles(received) == ["a cycle failed"]


def test_a_cycle_that_is_locked_out_or_interrupted_tells_nothing_and_hides_nothing(
    world: World, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    with run_lock("local"), pytest.raises(LockHeld):
        world.cycle()
    with monkeypatch.context() as patch:
        patch.setattr("scripts.run_cycle._run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            world.cycle()
    assert received == []
    failing_models(world, START + 45 * MINUTE)
    assert titles(received) == ["a cycle failed"]


def test_a_cycle_that_changes_nothing_alerts_nobody(world: World, received: Received) -> None:
    world.order(1, START)
    world.cycle()
    world.cycle()
    assert received == []


@pytest.mark.slow
def test_the_first_cycle_after_a_silence_says_from_when_to_when(world: World, received: Received) -> None:
    world.cycle(START + 15 * MINUTE)
    world.cycle(START + 60 * MINUTE)
    assert received == []
    world.cycle(START + 107 * MINUTE)
    assert titles(received) == ["cycles run again"]
    assert "No cycle ended well from 2025-09-01 01:00 UTC to 2025-09-01 01:47 UTC, 4" in received[0]["message"]


# Nothing runs


def test_that_no_cycle_ends_is_told_once_by_a_command_of_its_own(
    world: World, received: Received, capsys: pytest.CaptureFixture[str]
) -> None:
    world.cycle(START + 15 * MINUTE)
    assert alert_command(["--overdue", "--at", iso(START + 60 * MINUTE)]) == 0
    assert received == [] and "No alert is due" in capsys.readouterr().out
    for minutes in (62, 77):
        assert alert_command(["--overdue", "--at", iso(START + minutes * MINUTE)]) == 0
    assert titles(received) == ["no cycle for 46 min"]
    assert "No cycle has ended since 2025-09-01 00:15 UTC" in received[0]["message"]
    assert "None was started" in received[0]["message"]
    failing_models(world, START + 90 * MINUTE)
    assert alert_command(["--overdue", "--at", iso(START + 100 * MINUTE)]) == 0
    assert len(received) == 2, "a cycle that fails has ended"
    assert alert_command(["--overdue", "--at", iso(START + 151 * MINUTE)]) == 0
    assert titles(received)[2:] == ["no cycle for 1 h"], "another silence"


def test_a_command_that_hangs_with_the_lock_is_overdue_too(world: World, received: Received) -> None:
    """Also if the warehouse cannot be read because it is held: what is locked out says since when."""
    for minutes in (15, 30):
        with run_lock("local"), pytest.raises(LockHeld):
            world.cycle(START + minutes * MINUTE)
    world.warehouse_file.unlink()
    assert alert_command(["--overdue", "--at", iso(START + 60 * MINUTE)]) == 0
    assert received == []
    assert alert_command(["--overdue", "--at", iso(START + 61 * MINUTE)]) == 0
    assert "2 cycles found the lock held" in received[0]["message"]


def test_overdue_says_what_is_missing(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert alert_command(["--overdue"]) == 2 and "ALERT_URLS is not set" in capsys.readouterr().err
    monkeypatch.setenv("ALERT_URLS", REFUSES)
    assert alert_command([]) == 2 and "--test or --overdue" in capsys.readouterr().err
    world.warehouse_file.unlink()
    assert alert_command(["--overdue"]) == 2 and "No cycle is known yet" in capsys.readouterr().err


def test_overdue_says_why_the_warehouse_cannot_be_read(
    world: World, received: Received, capsys: pytest.CaptureFixture[str]
) -> None:
    world.warehouse_file.write_bytes(b"no database" * 1000)
    assert alert_command(["--overdue"]) == 2
    assert "The warehouse cannot be read: " in (said := capsys.readouterr().err) and "not a valid DuckDB" in said


@pytest.mark.slow
def test_a_first_cycle_that_was_interrupted_is_no_cycle_that_has_ended(
    make_world: Callable[..., World],
    received: Received,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    world = make_world(planned=False)
    monkeypatch.setattr("scripts.run_cycle._run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        world.cycle()
    assert alert_command(["--overdue"]) == 2 and "that was not interrupted" in capsys.readouterr().err


# Findings


def test_a_finding_is_told_when_it_opens_and_when_it_closes(world: World, received: Received) -> None:
    world.order(1, START)
    world.source("DELETE FROM ecs_order_info")
    world.cycle()
    world.cycle(START + DAY + 20 * MINUTE)
    world.cycle()
    found = [alert for alert in received if "findings" in alert["title"]]
    assert titles(found) == ["findings: 1 opened"]
    message = found[0]["message"]
    assert "Opened: order_without_ecs 1" in message and "order 1, since 2025-09-02 00:00: " in message
    assert "docs/operations.md, 'What the checks report'" in message
    with warehouse_to_read("local") as warehouse:
        (open_one,) = open_exceptions(warehouse)
    later = iso(START + DAY + 40 * MINUTE)
    assert exceptions_command(["resolve", open_one.key, "--note", "known", "--at", later]) == 0
    world.cycle()
    world.cycle()
    found = [alert for alert in received if "findings" in alert["title"]]
    assert titles(found) == ["findings: 1 opened", "findings: 1 closed"]
    assert "Closed: order_without_ecs 1" in found[1]["message"] and "(known)" in found[1]["message"]


@pytest.mark.slow
def test_findings_of_a_cycle_that_fails_are_told_by_the_first_that_ends_well(
    world: World, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reconcile that fails lets the checks run, so what they found is there before any cycle ends well."""
    world.order(1, START)
    world.source("DELETE FROM ecs_order_info")
    world.cycle()

    def broken(*args: Any, **options: Any) -> Any:
        if options.get("kind") == "reconcile":
            raise SourceError("gone away")
        return extract(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr("scripts.run_cycle.extract", broken)
        with pytest.raises(CycleFailed, match="reconcile failed"):
            world.cycle(START + DAY + 20 * MINUTE, reconcile_since=START)
    assert world.exceptions() and not [each for each in titles(received) if "findings" in each]
    world.cycle()
    assert "findings: 1 opened" in titles(received)
    (recovered,) = [each["message"] for each in received if "end well again" in each["title"]]
    assert "Nothing is to be done" not in recovered, "what a reconcile finds waits for the next one"
    assert "Only a reconcile is not made up for" in recovered and "order-tracking cycle --reconcile" in recovered


def test_many_findings_are_counts_and_ten_examples(world: World, received: Received) -> None:
    row = "order_tracking_history.order_tracking_exceptions"
    since = moment(START + MINUTE).replace(tzinfo=None)
    for check, count in (("rejected_rows", 25), ("order_without_ecs", 2)):
        world.plant(row, *((check, "t", number, "d", since, since, 1) for number in range(count)))
    world.cycle()
    (alert,) = received
    assert alert["title"] == "order-tracking: findings: 27 opened"
    lines = alert["message"].splitlines()
    assert lines[0] == "Opened: order_without_ecs 2, rejected_rows 25"
    examples = [line for line in lines if line.startswith("opened: ")]
    assert 2 < len(examples) <= EXAMPLES and f"… and {27 - len(examples)} more" in lines


# The source


def test_a_source_that_falls_silent_is_told_once(world: World, received: Received) -> None:
    world.order(1, START)
    world.cycle()
    world.cycle(START + DAY)
    world.cycle(START + DAY + 15 * MINUTE)
    world.cycle(START + DAY + 30 * MINUTE)
    silent = [alert for alert in received if "silent" in alert["title"]]
    assert titles(silent) == ["the source is silent"]
    message = silent[0]["message"]
    assert message.count("Does the application still write there") == 3 and "2025-09-01 00:00 UTC" in message
    assert "docs/source.md, 'When the source is silent'" in message


@pytest.mark.slow
def test_a_silence_that_another_extract_noticed_first_is_told_all_the_same(
    world: World, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of a cycle in which another table fails, or one by hand."""

    def scans_fail(*args: Any, **options: Any) -> Any:
        extract(*args, **{**options, "tables": ["uni_tracking_info"]})
        raise ExtractFailed("uni_tracking_spath: no way")

    world.order(1, START)
    world.cycle()
    with monkeypatch.context() as patch:
        patch.setattr("scripts.run_cycle.extract", scans_fail)
        with pytest.raises(ExtractFailed):
            world.cycle(START + DAY + MINUTE)
    by_hand = ["--source", world.source_url, "--table", "ecs_order_info", "--at", iso(START + DAY + 2 * MINUTE)]
    assert extract_command(by_hand) == 0
    for _ in range(2):
        world.cycle()
    (silent,) = [alert["message"] for alert in received if "silent" in alert["title"]]
    assert silent.count("Does the application still write there") == 3


@pytest.mark.slow
def test_a_silence_is_told_again_after_the_source_has_spoken(world: World, received: Received) -> None:
    for order in (1, 2):
        world.order(order, world.now)
        world.cycle()
        for _ in range(2):
            world.cycle(world.now + DAY)
    assert [alert for alert in titles(received) if "silent" in alert] == ["the source is silent"] * 2


def test_a_silent_source_is_told_also_by_a_cycle_that_fails_again() -> None:
    at = [moment(START + minutes * MINUTE).replace(tzinfo=None) for minutes in (0, 15, 30)]
    before = [LoggedCycle(at[0], at[0], "done"), LoggedCycle(at[1], at[1], "failed", "x")]
    failed, told = LoggedCycle(at[2], at[2], "failed", "x"), str(at[1])
    news = news_of_cycle(before, failed, None, ["t: its newest row is old"], failing=told)
    assert [alert.title for alert in news] == ["the source is silent"]
    assert news_of_cycle(before, failed, Findings(), [], failing=told) == []


# Delivery


def test_every_url_is_reached_and_one_that_refuses_is_a_warning(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    told: list[str] = []
    with webhook() as (one, first), webhook() as (other, second):
        monkeypatch.setenv("ALERT_URLS", f"{one}, {other}\n{REFUSES}")
        with pytest.raises(SourceError):
            world.cycle(source=NOWHERE, report=told.append)
    assert titles(first) == ["a cycle failed"] and first[0]["message"] == second[0]["message"]
    (warning,) = told
    assert warning.startswith("warning: an alert could not be delivered: URL 3 of ALERT_URLS (json) did not take it")
    assert "order-tracking alert --test" in warning, "what to do next"
    for text in (warning, "".join(capfd.readouterr()), memory_file("local").read_text()):
        assert "hunter2" not in text


@pytest.mark.parametrize(
    ("url", "names"),
    [("hunter2://TokenA/hunter2", "(hunter2) is no URL"), ("hunter2/TokenA", "(it has no ://) is no URL")],
)
def test_an_address_that_is_none_is_a_warning_without_it(
    world: World, monkeypatch: pytest.MonkeyPatch, url: str, names: str
) -> None:
    monkeypatch.setenv("ALERT_URLS", url)
    (warning,) = send_alerts("local", [Alert("title", "body")])
    assert names in warning and "/hunter2" not in warning and "TokenA" not in warning


def test_what_could_not_be_delivered_is_sent_by_the_next_cycle_to_whom_it_did_not_reach(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with webhook() as (good, reached), webhook(status=500) as (bad, refused):
        monkeypatch.setenv("ALERT_URLS", f"{good} {bad}")
        with pytest.raises(SourceError):
            world.cycle(source=NOWHERE)
        assert titles(reached) == titles(refused) == ["a cycle failed"]
        failing_source(world, START + 30 * MINUTE)
        assert len(reached) == 1 and len(refused) == 2, "tried again, where it did not arrive"
        assert json.loads(memory_file("local").read_text())["waiting"]
        warnings = world.cycle().warnings
        assert len(undelivered(warnings)) == 1
        assert titles(reached) == ["a cycle failed", "cycles end well again"]
        monkeypatch.setenv("ALERT_URLS", good)
        world.cycle()
    assert len(reached) == 2
    assert json.loads(memory_file("local").read_text())["waiting"] == [], "nobody waits for it any more"


def test_what_waits_for_a_url_that_was_wrong_goes_to_the_one_that_replaces_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with webhook() as (good, reached), webhook() as (corrected, reached_later):
        monkeypatch.setenv("ALERT_URLS", f"{good} {REFUSES}")
        assert send_alerts("local", [Alert("1", "x")])
        monkeypatch.setenv("ALERT_URLS", f"{good} {corrected}")
        assert send_alerts("local", [Alert("2", "x")]) == []
    assert titles(reached) == titles(reached_later) == ["1", "2"]


def test_what_waits_goes_first_and_is_no_more_than_a_few(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "KEPT", 3)
    with webhook(status=500) as (url, received):
        monkeypatch.setenv("ALERT_URLS", url)
        for number in range(5):
            assert send_alerts("local", [Alert(f"{number}", "x")])
        monkeypatch.setattr(alerts, "_send", lambda url, alert: received.append({"title": alert.title}) or "")
        received.clear()
        assert send_alerts("local", [Alert("5", "x")]) == []
    assert titles(received) == ["2", "3", "4", "5"]


def test_a_server_that_does_not_answer_costs_a_bounded_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = Event()
    monkeypatch.setattr(alerts, "SECONDS", 0.5)
    with webhook(waits_for=ends) as (hangs, _), webhook() as (good, received):
        monkeypatch.setenv("ALERT_URLS", f"{hangs} {good}")
        began = time.monotonic()
        (warning,) = send_alerts("local", [Alert("title", "body")])
        assert time.monotonic() - began < 5
        ends.set()
    assert "URL 1" in warning and "did not answer" in warning and len(received) == 1


def test_what_was_taken_before_the_server_hung_is_not_sent_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ends, taken, hanging = Event(), list[str](), [True]

    def send(url: str, alert: Alert) -> str:
        if alert.title == "2" and hanging[0]:
            ends.wait(30)
            return "did not take it"
        taken.append(alert.title)
        return ""

    monkeypatch.setattr(alerts, "SECONDS", 0.5)
    monkeypatch.setattr(alerts, "_send", send)
    monkeypatch.setenv("ALERT_URLS", "json://127.0.0.1:9")
    (warning,) = send_alerts("local", [Alert("1", "x"), Alert("2", "x")])
    assert "did not answer" in warning
    hanging[0] = False
    ends.set()
    assert send_alerts("local", [Alert("3", "x")]) == []
    assert taken == ["1", "2", "3"]


def test_without_a_place_to_remember_alerts_are_sent_all_the_same(
    world: World, received: Received, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(alerts, "memory_file", lambda gateway: tmp_path / "no" / "folder")
    assert send_alerts("local", [Alert("title", "body")]) == []
    assert titles(received) == ["title"]


def test_on_a_full_disk_alerts_are_sent_all_the_same(world: World, received: Received) -> None:
    """The cycle that fails of it, and the silence after it: neither can be remembered, both must be told."""
    world.cycle()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        assert send_alerts("local", [Alert("title", "body")]) == []
        assert alert_command(["--overdue", "--at", iso(world.now + HOUR + MINUTE)]) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert titles(received) == ["title", "no cycle for 1 h"]


def test_an_alert_that_is_neither_delivered_nor_kept_is_said_to_be_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERT_URLS", REFUSES)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9, limits[1]))  # of what is written a piece finds room
    try:
        (warning,) = send_alerts("local", [Alert("title", "body")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "tries it again" not in warning and f"It could not be kept in {memory_file('local')}." in warning


def test_what_waits_is_not_lost_on_a_full_disk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_URLS", REFUSES)
    send_alerts("local", [Alert("first", "body")])
    waiting = memory_file("local").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(waiting), limits[1]))  # there is room for no more than stands there
    try:
        send_alerts("local", [Alert("second", "body")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert memory_file("local").read_bytes() == waiting


def test_a_text_waits_before_it_is_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process may be killed while a URL takes its time."""
    waiting: list[str] = []

    def send(url: str, alert: Alert) -> str:
        waiting.extend(text["title"] for text in json.loads(memory_file("local").read_bytes())["waiting"])
        return ""

    monkeypatch.setattr(alerts, "_send", send)
    monkeypatch.setenv("ALERT_URLS", "json://127.0.0.1:9")
    send_alerts("local", [Alert("title", "body")])
    assert waiting == ["title"]
    assert json.loads(memory_file("local").read_bytes())["waiting"] == []


def test_a_memory_that_was_broken_off_does_no_harm(world: World, received: Received) -> None:
    memory_file("local").write_text('{"waiting": [{"ti')
    assert send_alerts("local", [Alert("title", "body")]) == []
    assert titles(received) == ["title"]


def test_an_alert_that_breaks_fails_no_cycle(world: World, received: Received, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*args: object) -> None:
        raise ZeroDivisionError("no way")

    monkeypatch.setattr("scripts.news.findings_since", breaks)
    monkeypatch.setattr("scripts.news.send_alerts", breaks)
    warnings = world.cycle().warnings
    assert [warning.partition(":")[0] for warning in warnings] == [
        "what the alerts are about could not be read",
        "the alerts of this cycle could not be sent",
    ]


def test_a_comma_within_a_url_does_not_end_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with webhook() as (url, received):
        monkeypatch.setenv("ALERT_URLS", f"{url}?:note=a,b,{url}?:note=c")
        assert send_alerts("local", [Alert("title", "body")]) == []
    assert sorted(alert["note"] for alert in received) == ["a,b", "c"]


@pytest.mark.slow
def test_a_failed_plan_is_told(copy: Copy, received: Received) -> None:  # noqa: F811
    copy.edit("models/mart_uni_tracking_spath.sql", "FROM batch\n)", "FROM no_such_table\n)")
    planned = copy.run("scripts.plan", "--yes", "--at", "2025-09-01T00:20:00")
    assert planned.returncode == 1, planned.stdout + planned.stderr
    (alert,) = received
    assert alert["title"] == "order-tracking: a plan failed" and "The plan failed" in alert["message"]


def test_alerts_can_be_tried_out(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with webhook() as (url, received):
        monkeypatch.setenv("ALERT_URLS", url)
        assert alert_command(["--test"]) == 0
        assert titles(received) == ["a test"]
        monkeypatch.setenv("ALERT_URLS", f"{url} {REFUSES}")
        assert alert_command(["--test"]) == 1
    told = capsys.readouterr().out
    assert "URL 1 (json): delivered" in told and "URL 2 (json): did not take it" in told and "hunter2" not in told
    monkeypatch.delenv("ALERT_URLS")
    assert alert_command(["--test"]) == 2 and "ALERT_URLS is not set" in capsys.readouterr().err


def test_without_the_setting_nothing_of_it_is_loaded() -> None:
    code = (
        "import sys; from scripts.alerts import send_alerts; print(send_alerts('local', []), 'apprise' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] False"
