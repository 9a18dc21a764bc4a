"""Bad input: each ends in a clear error or an exception row, and nothing is lost."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from extract.errors import ConfigurationError, CycleFailed, ExtractFailed, LockHeld, SourceError, WarehouseError
from extract.lock import run_lock
from extract.tables import load_config
from tests.conftest import START
from tests.marts.test_retention import physical
from tests.support.commands import cycle as run_cycle_command
from tests.support.commands import exceptions
from tests.support.commands import extract as extract_command
from tests.support.commands import plan as plan_command
from tests.support.commands import verify as verify_command
from tests.support.world import DAY, HOUR, MINUTE, World

PROJECT = Path(__file__).parents[2]


def rejected(world: World) -> list[tuple[Any, ...]]:
    return world.query(
        "SELECT table_name, order_id, reason, payload FROM order_tracking_raw.rejected_rows ORDER BY ALL"
    )


BAD_SCANS = [
    ((None, START, 100, 0), "order_id is NULL"),
    ((0, START, 100, 0), "order_id is zero or negative"),
    ((-5, START, 100, 0), "order_id is zero or negative"),
    ((5, None, 100, 0), "pathtime is NULL"),
    ((5, 0, 100, 0), "pathtime is zero or negative"),
    ((5, -START, 100, 0), "pathtime is zero or negative"),
    ((5, START * 1000, 100, 0), "pathtime is beyond the year 2100 (milliseconds?)"),
]


def payload(scan: tuple[Any, ...]) -> str:
    names = ("order_id", "pathtime", "code", "traceseq")
    return ", ".join(f"{n}={'NULL' if v is None else v}" for n, v in zip(names, scan, strict=True))


def test_a_scan_that_cannot_be_keyed_or_placed_is_set_aside_with_the_reason(world: World) -> None:
    world.order(1, START)
    world.cycle()
    world.insert("uni_tracking_spath", [scan for scan, _ in BAD_SCANS])
    world.cycle()
    world.cycle()
    expected = [("uni_tracking_spath", scan[0], reason, payload(scan)) for scan, reason in BAD_SCANS]
    assert sorted(rejected(world), key=str) == sorted(expected, key=str), "once, however often they are read"
    assert world.scans_everywhere() == [(1, START, 100, 0)]
    world.cycle(START + DAY + 20 * MINUTE)
    alike: dict[str, list[str]] = {}
    for scan, reason in BAD_SCANS:
        alike.setdefault(reason, []).append(payload(scan))
    assert world.exceptions() == [
        (
            "rejected_rows",
            "uni_tracking_spath_raw",
            None,
            f"{reason} (rows: {len(alike[reason])}; for example: {' | '.join(sorted(alike[reason]))})",
        )
        for reason in sorted(alike)
    ]


BAD_ROWS: dict[str, list[tuple[tuple[Any, ...], str]]] = {
    "uni_tracking_spath": BAD_SCANS,
    "uni_tracking_info": [
        ((None, "x", 1, START), "order_id is NULL"),
        ((3, "x", 1, None), "update_time is NULL"),
        ((4, "x", 1, START * 1000), "update_time is beyond the year 2100 (milliseconds?)"),
    ],
    "ecs_order_info": [
        ((0, 1, START), "order_id is zero or negative"),
        ((3, 1, 0), "add_time is zero or negative"),
        ((4, 1, START * 1000), "add_time is beyond the year 2100 (milliseconds?)"),
    ],
}


def test_bad_rows_of_a_first_load_are_set_aside_too(world: World) -> None:
    """In every table, each row with its own reason."""
    for table, rows in BAD_ROWS.items():
        world.insert(table, [row for row, _ in rows])
    world.order(1, START)
    world.cycle()
    expected = [(table, row[0], reason) for table, rows in BAD_ROWS.items() for row, reason in rows]
    assert sorted((row[:3] for row in rejected(world)), key=repr) == sorted(expected, key=repr)
    assert list(world.uti()) == [1]
    assert world.query("SELECT order_id FROM order_tracking.mart_ecs_order_info") == [(1,)]
    assert world.scans_everywhere() == [(1, START, 100, 0)]


def test_a_tracking_number_that_does_not_fit_is_set_aside_whole(world: World) -> None:
    """Cast in the merge, it would be cut without a word."""
    world.order(1, START)
    world.insert(
        "uni_tracking_info", [(2, "x" * 300, 100, START), (3, "🚚" * 17, 100, START), (4, "🚚" * 16, 1, START)]
    )
    world.cycle()
    assert set(world.uti()) == {1, 4}
    assert [row[1:3] for row in rejected(world)] == [
        (2, "tno is longer than 64 bytes"),
        (3, "tno is longer than 64 bytes"),
    ]
    assert "x" * 300 in rejected(world)[0][3]


def test_a_status_that_does_not_fit_an_integer_is_set_aside(world: World) -> None:
    world.source("ALTER TABLE uni_tracking_info ALTER status TYPE BIGINT")
    world.insert("uni_tracking_info", [(1, "T", 2**40, START), (2, "T", 2**31 - 1, START)])
    world.cycle()
    assert set(world.uti()) == {2}
    assert rejected(world)[0][1:3] == (1, "status does not fit an INTEGER: 1099511627776")


@pytest.mark.slow
def test_a_scan_dated_2099_is_kept_and_stops_nothing(world: World) -> None:
    future = START + 74 * 365 * DAY
    world.order(1, START)
    world.insert("uni_tracking_spath", [(1, future, 200, 1)])
    world.cycle()
    world.order(2, START + 10 * MINUTE)
    world.cycle()
    world.cycle()
    world.assert_whole()


def test_an_empty_source_is_no_error(world: World) -> None:
    world.cycle()
    assert world.uti() == {}


def test_missing_tables_and_columns_are_all_named_and_nothing_is_read(world: World) -> None:
    world.order(1, START)
    world.source("DROP TABLE ecs_order_info")
    world.source("ALTER TABLE uni_tracking_spath DROP COLUMN traceSeq")
    with pytest.raises(SourceError) as error:
        world.cycle()
    assert "ecs_order_info" in str(error.value) and "traceseq" in str(error.value).lower()
    assert world.query("SELECT COUNT(*) FROM order_tracking_raw.uni_tracking_info_raw") == [(0,)]


def test_a_warehouse_under_another_name_is_told_by_the_name_that_it_was_made_with(world: World) -> None:
    world.order(1, START)
    world.cycle()
    made = world.warehouse_file
    other = made.with_name("copied.duckdb")
    shutil.copy(made, other)
    told = f"made with the name {made.name}, .*nothing was landed"
    with mock.patch.dict(os.environ, {"ORDER_TRACKING_DUCKDB": str(other)}), pytest.raises(CycleFailed, match=told):
        world.cycle()


@pytest.mark.slow
def test_a_column_that_its_file_has_lost_is_refused_before_rows_land_without_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.order(1, START)
    world.cycle()
    whole = load_config()
    uti = replace(whole.tables[0], columns={k: v for k, v in whole.tables[0].columns.items() if k != "status"})
    world.order(2, START + 16 * MINUTE)
    with monkeypatch.context() as patch:
        patch.setattr("scripts.run_cycle.load_config", lambda project: replace(whole, tables=(uti, *whole.tables[1:])))
        with pytest.raises(ConfigurationError, match=r"lacks columns.*uni_tracking_info_raw has status; nothing was"):
            world.cycle()
    assert 2 not in world.uti()
    world.execute("ALTER TABLE order_tracking_raw.uni_tracking_info_raw ADD COLUMN note VARCHAR")
    world.cycle(START + HOUR)
    assert 2 in world.uti(), "a column of somebody else's is no fault"


@pytest.mark.slow
def test_history_before_its_first_half_year_is_not_passed_over(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An order that comes back would not be found there, and would be active and archived."""
    world.order(1, START - 400 * DAY)
    world.cycle()
    monkeypatch.setenv("ORDER_TRACKING_HISTORY_START", "2025_h1")
    for command in (run_cycle_command, extract_command):
        assert command(["--source", world.source_url, "--at", "2025-09-01T00:31"]) == 2
        assert "History begins with 2024_h1, and history_start" in capsys.readouterr().err
    assert plan_command(["--yes", "--at", "2025-09-01T00:31"]) == 2
    assert "Set it to 2024_h1" in capsys.readouterr().err
    monkeypatch.delenv("ORDER_TRACKING_HISTORY_START")
    world.cycle(START + HOUR)


def test_a_history_table_that_somebody_dropped_is_told_at_once_and_stands_again(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command that makes it again, whichever comes first."""
    world.order(1, START - 400 * DAY)
    world.order(2, START)
    world.cycle()
    ((period, _),) = world.history("uti")
    dropped = f"order_tracking_history.hist_uti_{period}"
    world.execute(f"DROP TABLE {dropped}")
    told = f"{dropped} was dropped by somebody, with its rows"
    assert [line.startswith(told) for line in world.cycle(START + HOUR).warnings] == [True]
    assert world.query(f"SELECT order_id FROM {dropped} WHERE order_id = 2") == []
    assert world.cycle(START + 2 * HOUR).warnings == []
    told_of = [("history_table_gone", f"hist_uti_{period}")]
    assert [row[:2] for row in world.exceptions()] == told_of
    at, source = ["--at", "2025-09-01T02:05"], ["--source", world.source_url]
    commands = ((extract_command, source), (verify_command, source), (exceptions, ["restore", "--all"]))
    for command, arguments in commands:
        world.execute(f"DROP TABLE {dropped}")
        command([*arguments, *at])
        said = capsys.readouterr()
        assert (said.out + said.err).count(f"warning: {told}") == 1
    world.cycle(START + DAY + HOUR)
    assert told_of[0] in [row[:2] for row in world.exceptions()], "until somebody says that its rows are there again"
    assert exceptions(["accept", "history_table_gone", "--note", "it was empty"]) == 0
    world.cycle(START + 2 * DAY + HOUR)
    assert told_of[0] not in [row[:2] for row in world.exceptions()]
    world.execute(f"DROP TABLE {dropped}")
    world.cycle()
    assert told_of[0] in [row[:2] for row in world.exceptions()], "another time"


@pytest.mark.slow
def test_an_empty_table_of_before_history_may_be_dropped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the refusal of a later history_start says."""
    world.cycle()
    monkeypatch.setenv("ORDER_TRACKING_HISTORY_START", "2024_h2")
    for alias in ("uti", "ecs", "uts"):
        world.execute(f"DROP TABLE order_tracking_history.hist_{alias}_2024_h1")
    assert plan_command(["--yes", "--at", "2025-09-01T00:31"]) == 0
    assert world.cycle(START + 45 * MINUTE).warnings == [] and world.exceptions() == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("    update_time: BIGINT\n", "", "uni_tracking_info_raw lacks update_time, which the rules need"),
        ("    traceseq: INTEGER\n", "", "uni_tracking_spath_raw lacks traceseq, which the rules need"),
        ("    status: INTEGER\n", "    status: INTEGER\n    Status: BIGINT\n", "lists status more than once"),
        ("    status: INTEGER\n", '    status: "INTEGER; DROP TABLE x"\n', "has status as INTEGER; DROP TABLE x"),
        (
            "- name: order_tracking_raw.ecs",
            "- name: order_tracking_raw.uni_tracking_info_raw\n  columns: {}\n- name: order_tracking_raw.ecs",
            "lists order_tracking_raw.uni_tracking_info_raw more than once",
        ),
        ("    status: INTEGER\n", "    status: INTEGER # \udce9\n", "cannot be read: 'utf-8' codec"),
        (
            "    code: INTEGER\n",
            "    code: VARCHAR(16)\n",
            "has code as VARCHAR(16); in a scan's key it must be BIGINT or INTEGER or SMALLINT",
        ),
    ],
)
def test_a_list_of_columns_that_cannot_be_meant_is_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    for name in ("config.yaml", "external_models.yaml"):
        shutil.copy(PROJECT / name, tmp_path / name)
    (tmp_path / "extract").mkdir()
    shutil.copy(PROJECT / "extract" / "tables.yaml", tmp_path / "extract" / "tables.yaml")
    file = tmp_path / "external_models.yaml"
    text = file.read_text()
    assert text.count(old) >= 1
    file.write_bytes(text.replace(old, new, 1).encode(errors="surrogateescape"))
    with pytest.raises(ConfigurationError) as refused:
        load_config(tmp_path)
    assert told in str(refused.value), refused.value


def test_a_source_that_is_not_there_is_named(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cycle_command(["--source", f"duckdb:///{world.folder}/nowhere.duckdb", "--at", "2025-09-01T01:00"]) == 1
    assert "nowhere.duckdb" in capsys.readouterr().err


def test_a_source_that_dies_in_the_middle_of_a_read_leaves_nothing_half_landed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from extract.source_duckdb import DuckDBSource

    world.order(1, START)
    whole = DuckDBSource.read

    def dies(self, table, ranges, **options):  # type: ignore[no-untyped-def]
        yield from whole(self, table, ranges, **options)
        if table.name == "uni_tracking_spath":
            raise SourceError("The source went away.")

    monkeypatch.setattr(DuckDBSource, "read", dies)
    with pytest.raises(ExtractFailed, match="The source went away"):
        world.cycle()
    assert world.query("SELECT COUNT(*) FROM order_tracking_raw.uni_tracking_spath_raw") == [(0,)]
    monkeypatch.setattr(DuckDBSource, "read", whole)
    world.cycle()
    world.assert_whole()


def test_two_cycles_at_once_the_second_does_nothing(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.order(1, START)
    with run_lock("local"):
        with pytest.raises(LockHeld):
            world.cycle()
        assert run_cycle_command(["--source", world.source_url, "--at", "2025-09-01T01:00"]) == 75
    assert "nothing was done" in capsys.readouterr().err
    world.cycle()
    world.assert_whole()


def test_cycles_that_race_keep_one_row_per_order(world: World) -> None:
    """Whichever comes first stays in the middle of its extract until the two others have been refused."""
    world.order(1, START)
    world.now += 15 * MINUTE
    outcomes: list[type[BaseException] | None] = []
    both_refused = threading.Event()

    def wait(*told: object) -> None:
        assert both_refused.wait(timeout=30), "the others were let in"

    def cycle() -> None:
        try:
            world.cycle(world.now, progress=wait)
            outcomes.append(None)
        except Exception as error:
            outcomes.append(type(error))
            if outcomes == [LockHeld, LockHeld]:
                both_refused.set()

    threads = [threading.Thread(target=cycle) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [LockHeld, LockHeld, None]
    world.assert_whole()


@pytest.mark.parametrize("in_the_way", ["its folder is missing", "a folder stands in its place"])
def test_a_lock_file_that_cannot_be_written_stops_a_cycle_and_says_what_to_do(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], in_the_way: str
) -> None:
    """Also for root, whom no permission stops."""
    warehouse = world.folder / "elsewhere" / "warehouse.duckdb"
    if in_the_way == "a folder stands in its place":
        warehouse.with_name("warehouse.duckdb.lock").mkdir(parents=True)
    monkeypatch.setenv("ORDER_TRACKING_DUCKDB", str(warehouse))
    assert run_cycle_command(["--source", world.source_url, "--at", "2025-09-01T01:00"]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"The lock file {warehouse}.lock cannot be written (")
    assert "nothing was done. Make its folder writable, or set ORDER_TRACKING_DUCKDB to a file elsewhere." in told
    assert not warehouse.exists()


def test_a_drive_that_knows_no_locks_is_an_error_that_says_so(world: World) -> None:
    """A network drive, say: who could not lock must not write."""
    cause = OSError(errno.ENOLCK, "No locks available")
    with (
        mock.patch("extract.lock.fcntl.flock", side_effect=cause),
        pytest.raises(WarehouseError, match=r"cannot be locked \(No locks available\); nothing was done") as refused,
        run_lock("local"),
    ):
        pass
    assert "set ORDER_TRACKING_DUCKDB to a file on a local disk" in str(refused.value)
    assert refused.value.__cause__ is cause


def test_the_lock_is_free_when_its_command_has_ended_whatever_child_is_left(world: World) -> None:
    """A child that was forked meanwhile has the lock's file open, too."""
    reader, writer = os.pipe()
    with run_lock("local"):
        child = os.fork()
        if not child:
            os.read(reader, 1)
            os._exit(0)
    try:
        with run_lock("local"):
            pass
    finally:
        os.write(writer, b"x")
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)


def test_the_lock_of_a_killed_process_is_free(world: World) -> None:
    code = (
        "import time; from extract.lock import run_lock\n"
        "with run_lock('local'): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=PROJECT, text=True)
    assert holder.stdout is not None and holder.stdout.readline().strip() == "held"
    with pytest.raises(LockHeld, match=rf"\(process {holder.pid}\) holds"), run_lock("local"):
        pass
    holder.kill()
    holder.wait()
    with run_lock("local"), pytest.raises(LockHeld, match=rf"\(process {os.getpid()}\) holds"), run_lock("local"):
        pass
    assert not world.warehouse_file.with_name(f"{world.warehouse_file.name}.lock").read_text(), "nobody holds it"


def test_the_lock_is_had_on_a_full_disk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.write", full)
    with run_lock("local"), pytest.raises(LockHeld, match="Another command holds"), run_lock("local"):
        pass


@pytest.mark.slow
def test_a_read_only_warehouse_is_an_error_that_says_so(world: World) -> None:
    """Root writes anywhere, so the cycle gives its rights up first."""
    world.order(1, START)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        warehouse = Path(shutil.copy(world.warehouse_file, folder))
        warehouse.chmod(0o444)
        source = Path(shutil.copy(world.source_file, folder))
        before = warehouse.read_bytes()
        code = (
            "import os; from scripts.cli import main\n"
            f"cycle = ['cycle', '--source', 'duckdb:///{source}', '--at', '2025-09-01T01:00']\n"
            "assert main(cycle) == 0\n"  # by now all modules are loaded; not everybody may read them
            "if os.geteuid() == 0: os.seteuid(65534)\n"
            f"os.environ['ORDER_TRACKING_DUCKDB'] = '{warehouse}'\n"
            "raise SystemExit(main(cycle))"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
        assert done.returncode == 1, done.stdout + done.stderr
        assert f"{warehouse} cannot be opened; nothing was read or changed" in done.stderr
        assert "cannot be written" in done.stderr and "Traceback" not in done.stderr
        assert warehouse.read_bytes() == before
    world.cycle(START + 2 * HOUR)
    world.assert_whole()


@pytest.mark.parametrize(
    ("landed", "told"),
    [(False, "Not landed whole"), pytest.param(True, "sqlmesh run failed", marks=pytest.mark.slow)],
)
def test_a_full_disk_fails_the_cycle_and_loses_nothing(
    make_world: Callable[..., World], landed: bool, told: str
) -> None:
    """A real limit on the file's size, in a process of its own: what the kernel refuses, DuckDB reports."""
    world = make_world()
    world.order(1, START)
    world.cycle()
    # More than fits under the limit below, so the cycle must fail: while it lands, or while the marts take it in.
    world.source(
        "INSERT INTO uni_tracking_spath (order_id, pathTime, code, traceSeq) "
        f"SELECT 1000 + hash(i) % 2147483647, {START} + i % 600, "
        "hash(i + 1) % 2147483647, hash(i + 2) % 2147483647 FROM range(400000) t(i)"
    )
    if landed:
        assert extract_command(["--source", world.source_url, "--at", "2025-09-01T00:31:00"]) == 0
    limit = world.warehouse_file.stat().st_size + 512 * 1024
    code = (
        f"import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "
        f"from scripts.cli import main; raise SystemExit(main(['cycle', '--source', {world.source_url!r}, "
        f"'--at', '2025-09-01T00:46:00']))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert result.returncode == 1, result.stderr
    assert told in result.stderr and "again" in result.stderr and "Traceback" not in result.stderr
    world.cycle(START + HOUR)
    world.assert_whole()


def test_a_missing_setting_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cycle_command(["--at", "2025-09-01T01:00"]) == 2
    assert "ORDER_TRACKING_SOURCE" in capsys.readouterr().err


def test_an_unreadable_time_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cycle_command(["--at", "tomorrow"]) == 2
    assert "'tomorrow' is no ISO time" in capsys.readouterr().err


def test_a_failed_run_says_which_step_and_what_to_do(world: World) -> None:
    world.order(1, START)
    world.cycle()
    table = physical(world, "mart_uni_tracking_spath")
    world.execute(f"ALTER TABLE {table} RENAME COLUMN code TO codes")
    command = [sys.executable, "-m", "scripts.run_cycle", "--source", world.source_url, "--at", "2025-09-01T00:30:00"]
    result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.startswith("sqlmesh run failed"), result.stderr
    assert "mart_uni_tracking_spath" in result.stderr and "run the cycle again" in result.stderr
    world.execute(f"ALTER TABLE {table} RENAME COLUMN codes TO code")
    world.cycle()
    world.assert_whole()


def test_a_warehouse_error_is_not_swallowed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.folder.joinpath("not_a_database.duckdb").write_text("hello" * 5000)
    monkeypatch.setenv("ORDER_TRACKING_DUCKDB", str(world.folder / "not_a_database.duckdb"))
    with pytest.raises(WarehouseError, match="not_a_database"):
        world.cycle()
