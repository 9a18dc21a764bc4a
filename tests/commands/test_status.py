"""`order-tracking status`: what it calls wrong, what it cannot say, and that it asks no more than it must."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from extract.freshness import stale_lines
from extract.settings import PROJECT
from extract.tables import load_config
from extract.warehouse_duckdb import DuckDBWarehouse
from scripts import cycle_log
from tests.conftest import START
from tests.support.commands import cycle as cycle_command
from tests.support.commands import exceptions as exceptions_command
from tests.support.commands import order as order_command
from tests.support.commands import status as status_command
from tests.support.world import DAY, HOUR, MINUTE, World, moment

HISTORY = "order_tracking_history"
NOW = START + DAY + 10 * HOUR
"""On the second day: the checks of the midnight before have run."""


def shown(epoch_seconds: int) -> str:
    return f"{moment(epoch_seconds):%Y-%m-%dT%H:%M:%S}"


def log_cycle(world: World, at: int, outcome: str = "done", **texts: Any) -> None:
    row = {"cycle_at": moment(at), "started_at": moment(at), "seconds": 3.0, "outcome": outcome, "rows_landed": 5}
    row |= {"rows_archived": 2, **texts}
    row = {name: value.replace(tzinfo=None) if name.endswith("_at") else value for name, value in row.items()}
    names = ", ".join(row)
    world.query(f"INSERT INTO {HISTORY}.cycle_log ({names}) VALUES ({', '.join('?' * len(row))})", *row.values())


def log_checks(world: World, at: int, findings: int = 0) -> None:
    world.query(f"INSERT INTO {HISTORY}.check_log VALUES (?, ?)", moment(at).replace(tzinfo=None), findings)


def land(world: World, newest: int, *, at: int | None = None, kind: str = "extract") -> None:
    for table in ("uni_tracking_info", "ecs_order_info", "uni_tracking_spath"):
        world.query(
            "INSERT INTO order_tracking_raw.extract_log (table_name, kind, watermark, started_at, finished_at) "
            "VALUES (?, ?, ?, ?, ?)",
            table,
            kind,
            newest,
            *[moment(newest if at is None else at).replace(tzinfo=None)] * 2,
        )


@pytest.fixture
def fine(world: World) -> World:
    """A world in which the last cycle was ten minutes before NOW, and the checks ran after midnight."""
    log_cycle(world, NOW - 10 * MINUTE)
    log_checks(world, START + DAY)
    land(world, NOW - 12 * MINUTE)
    return world


def ask(capsys: pytest.CaptureFixture[str], now: int = NOW) -> tuple[int, list[str]]:
    """The exit code, and what is wrong."""
    code = status_command(["--json", "--at", shown(now)])
    return code, json.loads(capsys.readouterr().out)["why"]


def test_all_is_well_on_one_screen(fine: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_command(["--at", shown(NOW)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "FINE, 2025-09-02 10:00 UTC"
    assert len(lines) <= 24 and max(map(len, lines)) <= 100
    text = "\n".join(lines)
    assert "uni_tracking_info   2025-09-02 09:48  12 min  1 d" in text
    assert "last cycle  2025-09-02 09:50, done in 3.0 s: 5 landed, 2 archived" in text
    assert "checks      last ran: 2025-09-02 00:00, and found 0" in text
    assert "next        cycle 10:15; checks 2025-09-03 00:00; half-year 2026_h1 on 2026-01-01" in text


def test_three_quarter_hours_without_a_cycle_are_wrong(fine: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(capsys, NOW + 35 * MINUTE) == (0, [])
    assert ask(capsys, NOW + 37 * MINUTE) == (1, ["No cycle has ended well for 46 min."])


def test_a_last_cycle_that_failed_is_wrong_until_one_ends_well(fine: World, capsys: pytest.CaptureFixture[str]) -> None:
    log_cycle(fine, NOW - 5 * MINUTE, "failed", error="no way to the source")
    assert ask(capsys) == (1, ["The last cycle, of 2025-09-02 09:55, failed: no way to the source"])
    log_cycle(fine, NOW - 4 * MINUTE, "locked", error="Another command holds the lock")
    assert ask(capsys)[0] == 1
    log_cycle(fine, NOW - 3 * MINUTE)
    log_cycle(fine, NOW - 2 * MINUTE, "locked", error="Another command holds the lock")
    assert ask(capsys) == (0, [])


def test_a_cycle_that_could_only_be_kept_in_the_file_counts(fine: World, capsys: pytest.CaptureFixture[str]) -> None:
    at = f"{moment(NOW - MINUTE):%Y-%m-%d %H:%M:%S}"
    refused = {"cycle_at": at, "started_at": at, "seconds": 0.1, "outcome": "refused", "error": "a name is taken"}
    cycle_log.keep("local", refused)
    assert ask(capsys) == (1, ["The last cycle, of 2025-09-02 09:59, was refused: a name is taken"])


def test_a_table_later_than_usual_at_that_hour_is_wrong_in_the_words_of_the_alert(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twenty minutes are usual at ten o'clock, and three cycles more are allowed: one rule for all who judge."""
    log_checks(world, START + DAY)
    world.execute("DELETE FROM order_tracking_raw.extract_log")
    land(world, NOW - 3 * DAY, at=NOW - DAY, kind="reconcile")
    for days in (3, 2, 1):
        land(world, NOW - days * DAY - 20 * MINUTE, at=NOW - days * DAY)
    land(world, NOW - 65 * MINUTE, at=NOW - 65 * MINUTE)
    log_cycle(world, NOW)
    assert ask(capsys) == (0, [])
    log_cycle(world, NOW + MINUTE)
    code, why = ask(capsys, NOW + MINUTE)
    assert code == 1 and len(why) == 3
    with closing(DuckDBWarehouse.open()) as warehouse:
        assert why == [*stale_lines(warehouse, load_config(), NOW + MINUTE).values()]
    assert why[0] == (
        "uni_tracking_info: its newest row is of 2025-09-02 08:55 UTC, 1.1 hours ago, and at this hour it may be 1.1 "
        "hours old. Does the application still write there, and can its rows be loaded (rejected_rows)?"
    )


def test_checks_that_did_not_run_are_wrong_and_never_is_said(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.execute(f"DELETE FROM {HISTORY}.check_log")
    land(world, START + DAY)
    for now, code in ((START + DAY + 45 * MINUTE, 0), (START + DAY + 46 * MINUTE, 1)):
        log_cycle(world, now - MINUTE)
        assert status_command(["--at", shown(now)]) == code
        assert "checks      last ran: never" in capsys.readouterr().out
    log_checks(world, START + DAY)
    assert ask(capsys, START + DAY + 46 * MINUTE) == (0, [])
    land(world, START + 2 * DAY, kind="reconcile")
    log_cycle(world, START + 2 * DAY + 46 * MINUTE)
    due = "The checks were due at 2025-09-03 00:00. They last ran: 2025-09-02 00:00."
    assert ask(capsys, START + 2 * DAY + 46 * MINUTE) == (1, [due])


@pytest.mark.slow
def test_checks_of_the_first_plan_which_saw_no_row_are_no_checks(
    make_world: Callable[..., World], capsys: pytest.CaptureFixture[str]
) -> None:
    world = make_world(planned=False)
    world.order(1, START)
    world.cycle(START + 10 * HOUR)
    assert world.query(f"SELECT COUNT(*) FROM {HISTORY}.check_log WHERE checked_at <= '2025-09-01'") == [(1,)]
    assert status_command(["--at", shown(world.now)]) == 0
    assert "checks      last ran: never\n" in capsys.readouterr().out
    assert exceptions_command(["list"]) == 0
    assert "The daily checks have never run" in capsys.readouterr().out
    world.cycle(START + DAY)
    status_command(["--at", shown(world.now)])
    assert "checks      last ran: 2025-09-02 00:00" in capsys.readouterr().out


def test_a_table_of_which_no_row_has_landed_within_a_day_is_wrong(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """The cycle of START has read an empty source."""
    log_checks(world, START + DAY)
    log_cycle(world, START + DAY)
    assert ask(capsys, START + DAY) == (0, [])
    code, why = ask(capsys, START + DAY + MINUTE)
    assert code == 1 and [line.partition(":")[0] for line in why] == [
        "uni_tracking_info",
        "ecs_order_info",
        "uni_tracking_spath",
    ]
    assert "no row has ever landed, though cycles end well since 2025-09-01 00:00. Is it the right database" in why[0]
    land(world, START + DAY)
    assert ask(capsys, START + DAY + MINUTE) == (0, [])


def test_no_reconcile_for_two_days_is_wrong_also_if_there_never_was_one(
    fine: World, capsys: pytest.CaptureFixture[str]
) -> None:
    def ask_while_cycles_run(now: int) -> tuple[int, list[str]]:
        log_cycle(fine, now - MINUTE)
        log_checks(fine, now // DAY * DAY)
        land(fine, now - 2 * MINUTE)
        return ask(capsys, now)

    how = "It runs with: order-tracking cycle --reconcile"
    assert ask_while_cycles_run(START + 2 * DAY - MINUTE) == (0, [])
    assert ask_while_cycles_run(START + 2 * DAY + MINUTE) == (1, [f"No reconcile has ended well yet. {how}"])
    land(fine, START + 2 * DAY, at=START + 2 * DAY + 2 * MINUTE, kind="reconcile")
    assert ask_while_cycles_run(START + 4 * DAY + MINUTE) == (0, [])
    assert ask_while_cycles_run(START + 4 * DAY + HOUR) == (1, [f"No reconcile has ended well for 2 d. {how}"])


def test_an_open_finding_is_wrong_and_counted_by_check(fine: World, capsys: pytest.CaptureFixture[str]) -> None:
    found = f"INSERT INTO {HISTORY}.order_tracking_exceptions VALUES (?, 't', ?, 'd', ?, ?, 1, NULL, NULL)"
    for order, check in ((1, "order_without_ecs"), (2, "order_without_ecs"), (3, "rejected_rows")):
        fine.query(found, check, order, *[moment(START + DAY).replace(tzinfo=None)] * 2)
    fine.execute(
        f"INSERT INTO {HISTORY}.order_tracking_exceptions "
        "VALUES ('duplicate_rows', 't', 4, 'd', '2025-09-01', '2025-09-02', 1, '2025-09-02', 'cleared')"
    )
    assert status_command(["--at", shown(NOW)]) == 1
    text = capsys.readouterr().out
    assert (
        text.startswith("WRONG: 1 thing")
        and "3 findings are open. To see them: order-tracking exceptions list\n" in text
    )
    assert "open        order_without_ecs 2, rejected_rows 1; 3 of them opened in 24 hours" in text


def test_the_last_day_is_a_line_of_half_hours(fine: World, capsys: pytest.CaptureFixture[str]) -> None:
    log_cycle(fine, NOW - 20 * MINUTE, "failed", error="x")
    log_cycle(fine, NOW - 40 * MINUTE, warnings="a warning")
    log_cycle(fine, NOW - 50 * MINUTE)
    log_cycle(fine, NOW - DAY + MINUTE, "locked")
    log_cycle(fine, NOW - DAY - MINUTE)
    status_command(["--at", shown(NOW)])
    assert f"24 hours    ░{'·' * 45}▓!\n" in capsys.readouterr().out


def test_what_was_archived_is_summed_over_a_day(fine: World, capsys: pytest.CaptureFixture[str]) -> None:
    for hours in (1, 2, 25):
        phases = json.dumps([{"phase": "marts", "seconds": 1.0, "archived": 3, "archived_uti": 1, "archived_uts": 2}])
        log_cycle(fine, NOW - hours * HOUR, phases=phases)
    status_command(["--json", "--at", shown(NOW)])
    assert json.loads(capsys.readouterr().out)["archived_in_24_hours"] == {"uti": 2, "uts": 4}


def test_where_it_cannot_say_it_says_how_the_last_known_cycle_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever has run a cycle is not helped by "Run a cycle first"."""
    monkeypatch.setenv("ORDER_TRACKING_DUCKDB", str(tmp_path / "warehouse.duckdb"))
    for minutes, error in ((20, "an earlier one"), (10, "the source\nis away"), (-10, "a later one")):
        ended = f"{moment(NOW - minutes * MINUTE):%Y-%m-%d %H:%M:%S}"
        row = {"cycle_at": ended, "started_at": ended, "seconds": 0.1, "outcome": "failed", "error": error}
        cycle_log.keep("local", row)
    code, why = ask(capsys)
    assert code == 2 and why[1:] == ["The last cycle, of 2025-09-02 09:50, failed: the source is away"]
    status_command(["--at", shown(NOW)])
    assert capsys.readouterr().out.splitlines()[2] == f"  {why[1]}"


def test_a_long_error_keeps_its_end_which_says_what_to_do(fine: World, capsys: pytest.CaptureFixture[str]) -> None:
    log_cycle(fine, NOW - MINUTE, "failed", error=f"It broke. {'Long words follow. ' * 100}See docs/recovery.md.")
    status_command(["--at", shown(NOW)])
    line = capsys.readouterr().out.splitlines()[1]
    assert line.startswith("  The last cycle, of 2025-09-02 09:59, failed: It broke.")
    assert line.endswith("See docs/recovery.md.") and len(line) < 620


def test_what_no_cycle_has_read_is_not_the_sources_fault(fine: World, capsys: pytest.CaptureFixture[str]) -> None:
    """The age is shown all the same, however long ago the last extract was."""
    now = NOW + 20 * DAY
    log_checks(fine, START + 21 * DAY)
    code, why = ask(capsys, now)
    assert code == 1 and why == ["No cycle has ended well for 20 d."]
    status_command(["--at", shown(now)])
    assert "uni_tracking_info   2025-09-02 09:48  20 d  1 d" in capsys.readouterr().out


def test_what_would_steer_a_terminal_is_spelled_out(fine: World, capsys: pytest.CaptureFixture[str]) -> None:
    log_cycle(fine, NOW - MINUTE, "failed", error="bad tno 'A\x1b[2J\u202eB'")
    status_command(["--at", shown(NOW)])
    assert r"bad tno 'A\x1b[2J\u202eB'" in capsys.readouterr().out


def test_a_moment_knows_nothing_of_later_cycles(fine: World, capsys: pytest.CaptureFixture[str]) -> None:
    log_cycle(fine, NOW + HOUR, "failed", error="later")
    assert ask(capsys) == (0, [])


@pytest.mark.parametrize("as_json", [True, False])
def test_without_a_warehouse_or_a_log_it_cannot_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    monkeypatch.setenv("ORDER_TRACKING_DUCKDB", str(tmp_path / "typo.duckdb"))
    for why in ("There is no warehouse file", "There is no order_tracking_history.cycle_log yet"):
        assert status_command(["--json"] if as_json else []) == 2
        said = capsys.readouterr().out
        assert why in (json.loads(said)["why"][0] if as_json else said)
        assert said.startswith("{" if as_json else "CANNOT SAY\n")
        DuckDBWarehouse.open(tmp_path / "typo.duckdb").close()


@contextmanager
def held(world: World, seconds: float, *, read_only: bool = False) -> Any:
    """Another process holds the file for so long."""
    code = (
        "import duckdb, sys, time\n"
        f"with duckdb.connect({str(world.warehouse_file)!r}, read_only={read_only}):\n"
        f"    print('held', flush=True)\n    time.sleep({seconds})"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    try:
        yield
    finally:
        holder.kill()
        holder.wait()


def test_it_waits_a_little_for_a_cycle_that_holds_the_file(
    fine: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with held(fine, 1.0):
        assert ask(capsys) == (0, [])
    monkeypatch.setattr("scripts.reading.READING_PATIENCE", 0.3)
    with held(fine, 60):
        code, why = ask(capsys)
        assert order_command(["1"]) == 75
    assert code == 2 and "Another process holds" in why[0]
    assert f": {Path(sys.executable).resolve()} (PID " in why[0], "who hangs can be ended"


def test_a_command_that_writes_waits_for_one_that_asks(fine: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are started at full minutes, and a question must not cost a cycle."""
    with held(fine, 1.0, read_only=True):
        began = time.monotonic()
        DuckDBWarehouse.open().close()
        assert time.monotonic() - began < 5
    monkeypatch.setattr("extract.warehouse_duckdb.PATIENCE", 0.3)
    with held(fine, 60, read_only=True):
        assert cycle_command(["--source", fine.source_url, "--at", shown(NOW)]) == 75


def test_it_loads_no_sqlmesh_and_reads_no_mart(fine: World) -> None:
    for mart in ("uni_tracking_info", "ecs_order_info", "uni_tracking_spath"):
        fine.execute(f"DROP VIEW order_tracking.mart_{mart}")
    code = (
        "import sys\nfrom scripts.cli import main\n"
        f"code = main(['status', '--at', '{shown(NOW)}'])\n"
        "raise SystemExit('sqlmesh was loaded' if 'sqlmesh' in sys.modules else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
