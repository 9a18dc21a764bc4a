"""What an operator may type, set or break off: one message that says what to do, the exit code for it, no traceback."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from extract.errors import CycleFailed
from extract.lock import run_lock
from extract.source import open_source
from extract.warehouse_duckdb import DuckDBWarehouse
from tests.conftest import START
from tests.support.commands import cycle as run_cycle_command
from tests.support.commands import exceptions as exceptions_command
from tests.support.commands import extract as extract_command
from tests.support.commands import plan as plan_command
from tests.support.commands import reconcile as reconcile_command
from tests.support.commands import refresh as refresh_command
from tests.support.commands import verify as verify_command
from tests.support.world import DAY, MINUTE, World, at

PROJECT = Path(__file__).parents[2]
Command = Callable[[list[str]], int]

LATER = "Nothing is read from 2025-09-02 00:00 UTC on, which is after 2025-09-01 12:00 UTC"

WRONG = [
    (run_cycle_command, ["--at", "2009-12-31"], "not within the years 2010 to 2099"),
    (run_cycle_command, ["--at", "9999-12-31"], "not within the years 2010 to 2099"),
    (run_cycle_command, ["--reconcile", "yesterday"], "'yesterday' is no ISO time"),
    (run_cycle_command, ["--source", "duckdb:///x", "--statements", "/nowhere/x.csv"], "no folder /nowhere"),
    (run_cycle_command, ["--source", "oracle://u:hunter2@h/d"], "begins with no known scheme"),
    (run_cycle_command, ["--source", "mysql://u:hunter2@h:port/d"], "its port is no number"),
    (run_cycle_command, ["--source", "mysql://u:12@hunter2/x@h:3306/d"], "not percent-encoded"),
    (run_cycle_command, ["--source", "mysql://u:12?hunter2@h:3306/d"], "not percent-encoded"),
    (run_cycle_command, ["--source", "mysql://u:12#hunter2@h:3306/d"], "not percent-encoded"),
    (run_cycle_command, ["--source", "mysql://u:hunter2@h/d?ssl-ca="], "which ssl-ca names"),
    (run_cycle_command, ["--source", "mysql://u:hunter2@h/d?ssl-ca=no.pem"], "which ssl-ca names"),
    (run_cycle_command, ["--gateway", "oracle"], "ORDER_TRACKING_GATEWAY (or --gateway) is not 'local' or 'redshift'"),
    (extract_command, ["--since", "yesterday"], "'yesterday' is no ISO time"),
    (extract_command, ["--source", "duckdb:///x", "--table", "orders"], "No such table: orders"),
    (extract_command, ["--table", "\udcff"], "'\\udcff' is no UTF-8. Nothing was done"),
    *[
        (command, ["--source", "duckdb:///x", *begin, "2025-09-02", "--at", "2025-09-01T12:00"], LATER)
        for command, begin in (
            (run_cycle_command, ["--reconcile"]),
            (extract_command, ["--since"]),
            (reconcile_command, ["--since"]),
            (refresh_command, ["--since"]),
            (verify_command, ["--since"]),
        )
    ],
    (extract_command, ["reconsile"], "unexpected extra argument (reconsile)"),
    (plan_command, ["--at", "1999-01-01"], "not within the years 2010 to 2099"),
    (exceptions_command, ["restore"], "Name the orders to restore"),
    (exceptions_command, ["restore", "all"], "'all' is not a valid integer"),
    (exceptions_command, ["resolve", "abc"], "Missing option '--note'"),
]


@pytest.mark.parametrize("options", [[], pytest.param(["--no-diff"], marks=pytest.mark.slow)])
def test_a_plan_that_nobody_can_confirm_is_only_shown(
    make_world: Callable[..., World],
    options: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Whole, or with --no-diff by the names of what changes."""
    world = make_world(planned=False)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert plan_command(["--at", "2025-09-01T00:10:00", *options]) == 2
    shown = capfd.readouterr()
    assert "nothing was applied" in shown.err and "--yes" in shown.err
    assert "mart_uni_tracking_info" in shown.out
    assert not world.query("SELECT 1 FROM information_schema.tables WHERE table_schema = 'order_tracking'")


@pytest.mark.parametrize(("command", "arguments", "told"), WRONG, ids=[ascii(" ".join(each[1])) for each in WRONG])
def test_what_is_typed_wrong_is_told_and_exits_with_two(
    command: Command, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(arguments) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
    assert "hunter2" not in error


@pytest.mark.parametrize("command", [run_cycle_command, extract_command])
def test_every_missing_setting_is_named_at_once(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.startswith(("REDSHIFT_", "STATE_", "ORDER_TRACKING_SOURCE"))]:
        monkeypatch.delenv(name)
    assert command(["--gateway", "redshift"]) == 2
    error = capsys.readouterr().err
    for name in ("REDSHIFT_HOST", "REDSHIFT_S3_PREFIX", "STATE_HOST", "ORDER_TRACKING_SOURCE"):
        assert name in error


@pytest.mark.slow
def test_the_crontab_of_the_runbook_runs(world: World) -> None:
    """Word for word but for its moment; the cycle after midnight reconciles from 35 days back, and no further."""
    crontab = (PROJECT / "docs" / "operations.md").read_text().partition("```crontab")[2].partition("```")[0]
    commands = [line.split("&& ", 1)[1].split() for line in crontab.splitlines() if "&&" in line]
    assert [" ".join(command[1:]) for command in commands] == [
        "cycle",
        "cycle",
        "cycle --reconcile",
        "alert --overdue >/dev/null",
        "--gateway local janitor",
    ]
    world.order(1, START - 50 * DAY)
    world.order(2, START)
    world.cycle()
    world.insert("uni_tracking_spath", [(1, START - 34 * DAY, 150, 7), (1, START - 36 * DAY, 150, 8)])
    for command, time in zip(commands[:3], ("2025-09-01T00:30", "2025-09-01T00:45", "2025-09-01T01:00"), strict=True):
        assert run_cycle_command([*command[2:], "--source", world.source_url, "--at", time]) == 0
    late = {scan for scan in world.scans_everywhere() if scan[2] == 150}
    assert late == {(1, START - 34 * DAY, 150, 7)}
    janitor = [str(Path(sys.executable).parent / "sqlmesh"), *commands[4][1:]]
    done = subprocess.run(janitor, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_any_moment_from_2010_on_may_be_the_first(make_world: Callable[..., World]) -> None:
    world = make_world(planned=False, history_start="2010_h1", now=at("2010-01-01T00:00:00"))
    world.order(1, world.now - DAY)
    world.cycle(world.now)
    world.cycle(world.now + 20 * MINUTE)
    world.assert_whole()


@pytest.mark.parametrize("arguments", [["list", "--fail"], ["restore", "--all"], ["resolve", "abc", "--note", "x"]])
def test_a_warehouse_without_marts_is_not_taken_for_one_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """A wrong ORDER_TRACKING_DUCKDB would let `make audit` pass for ever."""
    monkeypatch.setenv("ORDER_TRACKING_DUCKDB", str(tmp_path / "typo.duckdb"))
    assert exceptions_command(arguments) == 2
    assert not (tmp_path / "typo.duckdb").exists(), "a question makes no warehouse"
    DuckDBWarehouse.open(tmp_path / "typo.duckdb").close()
    assert exceptions_command(arguments) == 2
    assert capsys.readouterr().err.count("nothing was done. Run a cycle first") == 2


def test_the_list_says_when_the_checks_last_ran_and_fails_if_they_never_did(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """That nothing is open says nothing, if nothing was checked."""
    world.execute("DELETE FROM order_tracking_history.check_log")
    for arguments, code in ((["--fail"], 1), ([], 0), (["--markdown", "--fail"], 1)):
        assert exceptions_command(["list", *arguments]) == code
        assert "The daily checks have never run" in capsys.readouterr().out
    world.cycle(START + DAY + 20 * MINUTE)
    for arguments in (["--fail"], ["--markdown", "--fail"]):
        assert exceptions_command(["list", *arguments]) == 0
        assert "The daily checks last ran for 2025-09-02 00:00 UTC." in capsys.readouterr().out


def test_the_list_asks_while_another_command_has_the_lock_and_where_nothing_can_be_written(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At a full disk one asks what to do."""

    def breaks(*args: object, **options: object) -> None:
        raise AssertionError("a question writes nothing")

    monkeypatch.setattr("scripts.reading.ensure_tables", breaks)
    with run_lock("local"):
        assert exceptions_command(["list"]) == 0
    assert "No exception is open." in capsys.readouterr().out


def test_a_check_that_is_misspelled_is_not_taken_for_one_that_found_nothing(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exceptions_command(["list", "--check", "duplicate_rows"]) == 0
    assert capsys.readouterr().out.startswith("No exception of duplicate_rows is open. ")
    assert exceptions_command(["list", "--check", "duplicate_row", "--fail"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("There is no check duplicate_row; nothing was asked. There are: ")
    assert "duplicate_rows" in told


def test_what_was_accepted_is_listed_with_its_note(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    found = "INSERT INTO order_tracking_history.order_tracking_exceptions VALUES "
    times = "TIMESTAMP '2025-09-01', TIMESTAMP '2025-09-01', 1, NULL, NULL"
    for order in (5, 3):
        world.execute(f"{found} ('order_without_scans', 't', {order}, 'no scan <b>anywhere</b>', {times})")
    world.execute(f"{found} ('order_without_ecs', 't', 1, 'no row', {times})")
    exceptions_command(["list", "--accepted"])
    assert capsys.readouterr().out == "No exception is accepted.\n"
    exceptions_command(["accept", "order_without_scans", "--note", "ticket 12", "--at", "2025-09-02T03:00:00"])
    exceptions_command(["resolve", "order_without_ecs", "--note", "mended"])
    capsys.readouterr()
    assert exceptions_command(["list", "--accepted", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "accepted": 2,
        "lines": [
            {
                "check": "order_without_scans",
                "table": "t",
                "what": "no scan <b>anywhere</b>",
                "count": 2,
                "accepted_at": "2025-09-02T03:00:00Z",
                "note": "ticket 12",
                "first_order": 3,
            }
        ],
        "hidden": 0,
    }
    world.execute(f"{found} ('order_without_ecs', 't', 2, 'no row', {times})")
    exceptions_command(["accept", "order_without_ecs", "--note", "ticket 13"])
    capsys.readouterr()
    exceptions_command(["list", "--accepted", "--limit", "1", "--json"])
    assert json.loads(capsys.readouterr().out)["hidden"] == 1, "a program is told what a limit left out"
    world.execute("DELETE FROM order_tracking_history.order_tracking_exceptions WHERE order_id = 2")
    exceptions_command(["list", "--accepted"])
    text = capsys.readouterr().out
    assert "2025-09-02 03:00" in text and "ticket 12" in text and "2 accepted. Each stays quiet until" in text
    exceptions_command(["list", "--accepted", "--markdown"])
    text = capsys.readouterr().out
    assert text.startswith("### 2 accepted exceptions\n") and "| no scan &lt;b&gt;anywhere&lt;/b&gt; | 3 |" in text
    assert exceptions_command(["list", "--accepted", "--fail"]) == 2
    assert capsys.readouterr().err.count("othing was done") == 1
    assert exceptions_command(["list", "--accepted", "--check", "duplicate_rows"]) == 0
    assert capsys.readouterr().out == "No exception of duplicate_rows is accepted.\n"


def test_a_rejected_row_shows_its_key_in_the_summary(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.order(1, START)
    world.insert("uni_tracking_spath", [(0, START, 100, 0), (None, START, 100, 0)])
    world.cycle()
    world.cycle(START + DAY + 20 * MINUTE)
    assert exceptions_command(["list", "--markdown"]) == 0
    told = capsys.readouterr().out
    assert "| order_id is NULL | for example: order_id=NULL, pathtime=1756684800, code=100, traceseq=0 |" in told
    assert "| order_id is zero or negative | for example: order_id=0, pathtime=1756684800, code=100" in told


def test_what_nobody_foresaw_is_one_message_too(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import scripts.run_cycle

    def breaks(*args: object, **options: object) -> None:
        raise ZeroDivisionError("for hunter2")

    monkeypatch.setattr(scripts.run_cycle, "extract", breaks)
    monkeypatch.setattr(scripts.run_cycle, "open_source", lambda url, limits: open_source(world.source_url))
    assert run_cycle_command(["--source", "mysql://u:hunter2@h/d", "--at", "2025-09-01T00:15"]) == 1
    assert "ZeroDivisionError: for ***" in capsys.readouterr().err
    monkeypatch.setenv("STATE_PASSWORD", "hunter2")
    assert run_cycle_command(["--source", world.source_url, "--at", "2025-09-01T00:15"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("Unexpected error (ZeroDivisionError: for ***)") and "run this again" in error
    monkeypatch.setenv("ORDER_TRACKING_DEBUG", "1")
    assert run_cycle_command(["--source", world.source_url, "--at", "2025-09-01T00:15"]) == 1
    error = capsys.readouterr().err
    assert "in breaks" in error and "hunter2" not in error


def test_no_message_shows_a_password(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import scripts.run_cycle

    def breaks(*args: object, **options: object) -> None:
        raise CycleFailed("sqlmesh run failed: no login with hunter2")

    monkeypatch.setattr(scripts.run_cycle, "_run", breaks)
    monkeypatch.setenv("STATE_PASSWORD", "hunter2")
    assert run_cycle_command(["--source", world.source_url, "--at", "2025-09-01T00:15"]) == 1
    assert capsys.readouterr().err == "sqlmesh run failed: no login with ***\n"


def test_ctrl_c_ends_a_long_read_at_once_and_loses_nothing(world: World) -> None:
    """The tables are read in threads of their own, which hear nothing of it."""
    world.order(1, START)
    code = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background job begins deaf to it
        "from extract.source_duckdb import DuckDBSource\n"
        "whole = DuckDBSource.read\n"
        "def endless(self, table, ranges, **options):\n"
        "    for batch in whole(self, table, ranges, **options):\n"
        "        while True:\n"
        "            os.write(1, b'reading\\n')\n"  # in one piece: print() of two threads may mix its lines
        "            yield batch\n"
        "            time.sleep(0.05)\n"
        "DuckDBSource.read = endless\n"
        "from scripts.cli import main\n"
        f"raise SystemExit(main(['extract', '--source', {world.source_url!r}, '--at', '2025-09-01T00:15:00']))"
    )
    reader = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=PROJECT, text=True
    )
    assert reader.stdout is not None
    for _ in range(10):
        assert reader.stdout.readline() == "reading\n"
    os.kill(reader.pid, signal.SIGINT)
    _, error = reader.communicate(timeout=120)  # without the promise it would never end
    assert reader.returncode == 1
    assert error.startswith("Interrupted.") and "Traceback" not in error
    assert world.query("SELECT COUNT(*) FROM order_tracking_raw.uni_tracking_info_raw") == [(0,)]
    world.cycle()
    world.assert_whole()
