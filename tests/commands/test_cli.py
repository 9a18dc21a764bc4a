"""The command `order-tracking`: help at once, completion, closed pipes, Ctrl-C, one line for every mistake."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from extract import errors
from extract.lock import run_lock
from extract.settings import PROJECT
from scripts import outcome
from scripts.cli import SECTIONS, main, order_tracking
from tests.conftest import START
from tests.support.commands import exceptions, extract
from tests.support.world import DAY, World

ORDER_TRACKING = str(Path(sys.executable).with_name("order-tracking"))
HEAVY = ("sqlmesh", "duckdb", "pyarrow", "sqlglot", "redshift_connector", "rich")
LEAVES = (
    "cycle",
    "status",
    "order",
    "extract",
    "reconcile",
    "verify",
    "refresh",
    "lateness",
    "alert",
    "plan",
    "retention",
    "exceptions list",
    "exceptions restore",
    "exceptions resolve",
    "exceptions accept",
    "redshift smoke",
    "redshift maintain",
    "simulate",
    "demo",
)


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A line of bash in the project's folder, with the environment's programs."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    settings = os.environ | {"PATH": path, "PYTHON_DOTENV_DISABLED": "1"} | environment
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=PROJECT, env=settings, capture_output=True, text=True
    )


# Help and completion


def test_the_help_lists_every_command_in_its_section(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    modules = {file.stem for file in (PROJECT / "scripts" / "commands").glob("[!_]*.py")}
    assert modules == {name for names in SECTIONS.values() for name in names}
    positions = [told.index(f"\n  {name} ") for names in SECTIONS.values() for name in names]
    assert positions == sorted(positions)
    assert "..." not in told.partition("Every day")[2], "each summary is whole"


def test_the_list_of_commands_is_complete() -> None:
    context = click.Context(order_tracking)
    found = set()
    for name in order_tracking.list_commands(context):
        command = order_tracking.get_command(context, name)
        found |= {f"{name} {each}" for each in command.commands} if isinstance(command, click.Group) else {name}
    assert found == set(LEAVES)


@pytest.mark.parametrize("command", LEAVES)
def test_each_help_is_a_page(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What it does, what it changes, the exit codes (those of status are a monitor's), an example that it can read."""
    assert main([*command.split(), "--help"]) == 0
    told = capsys.readouterr().out
    assert "\n  Change" in told and (("Exit codes:" in told and "75" in told) or command == "status")
    examples = [line.strip() for line in told.splitlines() if line.strip().startswith("order-tracking ")]
    assert examples and all(example.startswith(f"order-tracking {command}") for example in examples)
    for example in examples:
        reader: click.Command | None = order_tracking
        words = shlex.split(example)[1:]
        while isinstance(reader, click.Group):
            reader = reader.get_command(click.Context(reader), words.pop(0))
        assert reader is not None
        reader.make_context("example", words)  # a mistake in it raises


@pytest.mark.parametrize("arguments", [["--help"], *([*command.split(), "--help"] for command in LEAVES)])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom scripts.cli import main\n"
        f"assert main({arguments!r}) == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("order-tracking re", ["reconcile", "refresh", "retention", "redshift"]),
        ("order-tracking cycle --re", ["--reconcile"]),
    ],
)
def test_bash_completes_what_is_typed(typed: str, expected: list[str]) -> None:
    """By the script that the help tells to evaluate."""
    words = " ".join(f'"{word}"' for word in typed.split())
    done = shell(
        'eval "$(_ORDER_TRACKING_COMPLETE=bash_source order-tracking)"\n'
        f"COMP_WORDS=({words}); COMP_CWORD={len(typed.split()) - 1}\n"
        '_order_tracking_completion order-tracking; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    assert done.stdout.split() == expected, done.stderr
    assert not done.stderr


@pytest.mark.parametrize("kind", ["zsh", "fish"])
def test_other_shells_are_served_too(kind: str) -> None:
    done = shell(f"_ORDER_TRACKING_COMPLETE={kind}_source order-tracking")
    assert done.returncode == 0 and "_ORDER_TRACKING_COMPLETE" in done.stdout


# Ways in


@pytest.mark.parametrize(
    ("words", "usage"),
    [
        ("scripts.run_cycle", "order-tracking cycle"),
        ("scripts.plan", "order-tracking plan"),
        ("scripts.exceptions list", "order-tracking exceptions list"),
        ("scripts.redshift_maintain", "order-tracking redshift maintain"),
        ("extract", "order-tracking extract"),
        ("extract --since 2025-01-01 reconcile", "order-tracking reconcile"),
    ],
)
def test_what_crontabs_call_leads_to_the_same_commands(words: str, usage: str) -> None:
    done = shell(f"python -m {words} --help")
    assert done.returncode == 0 and done.stdout.startswith(f"Usage: {usage} [OPTIONS]"), done.stderr


def test_gateway_and_time_may_stand_before_the_subcommand_and_what_stands_behind_it_counts(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exceptions(["--gateway", "oracle", "list"]) == 2
    assert "ORDER_TRACKING_GATEWAY (or --gateway) is not 'local' or 'redshift'" in capsys.readouterr().err
    assert exceptions(["--gateway", "oracle", "--at", "2025-09-01T01:00", "list", "--gateway", "local"]) == 0
    assert exceptions(["--at", "1999-01-01", "list"]) == 2
    assert "not within the years" in capsys.readouterr().err


# Output


@pytest.fixture
def with_exceptions(world: World) -> World:
    """Orders whose metadata and scans never arrived, a day later: three exceptions each."""
    world.insert("uni_tracking_info", [(order, f"T{order}", 100, START) for order in range(1, 1501)])
    world.cycle()
    world.cycle(START + 2 * DAY)
    return world


def test_what_is_piped_is_whole_and_a_closed_pipe_ends_quietly(with_exceptions: World) -> None:
    """1,500 lines are more than a pipe holds, so that `head` is gone before all is written."""
    command = "order-tracking exceptions list --check order_without_ecs --limit 2000"
    listed = shell(command, FORCE_COLOR="1", COLUMNS="40")
    lines = listed.stdout.splitlines()
    assert listed.returncode == 0 and lines[-2].startswith("1,500 open. ") and len(lines) == 1504
    assert lines[0].split() == ["KEY", "ORDER", "SEEN", "SINCE", "TABLE", "WHAT", "FIGURES"]
    assert "\x1b" not in listed.stdout and "…" not in listed.stdout
    assert all(len(line.split()) > 6 for line in lines[1:-3])
    first = shell(f"{command} | head -1")
    assert (first.returncode, first.stdout, first.stderr) == (0, f"{lines[0]}\n", "")
    failing = shell(f"{command} --fail | head -1")
    assert (failing.returncode, failing.stderr) == (1, ""), "its answer is that of the list, not of the pipe"
    full = shell(f"{command} > /dev/full")
    assert full.returncode == 1 and full.stderr.startswith("Unexpected error (OSError: ")
    assert full.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "out", ["> /dev/full", *(pytest.param(out, marks=pytest.mark.slow) for out in ("| true", ">&-"))]
)
def test_a_cycle_whose_output_nobody_takes_does_its_work(world: World, out: str) -> None:
    world.order(1, START)
    done = shell(f"order-tracking cycle --source {world.source_url} --at 2025-09-01T00:15:00 {out}")
    assert (done.returncode, done.stderr) == (0, "")
    world.assert_whole()


@pytest.mark.slow
def test_a_plan_that_nobody_reads_is_applied_or_says_that_it_is_not(make_world: Callable[..., World]) -> None:
    world = make_world(planned=False)
    command = "order-tracking plan --yes --at 2025-09-01T00:10:00"
    broken = shell(f"{command} | true")
    assert broken.returncode == 1 and broken.stderr.count("\n") == 1
    assert broken.stderr.startswith("The plan was broken off, because nobody reads what it prints any more.")
    closed = shell(f"{command} >&-")
    assert (closed.returncode, closed.stderr) == (0, "")
    world.order(1, START)
    world.cycle()
    world.assert_whole()


def test_letters_that_the_terminal_does_not_know_stop_nothing(world: World) -> None:
    """What the source holds comes back in a finding's text."""
    world.order(1, START)
    world.insert("uni_tracking_info", [(2, "🚚" * 17, 100, START)])
    world.cycle()
    world.cycle(START + 2 * DAY)
    done = shell("order-tracking exceptions list", PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and "\\U0001f69a" in done.stdout, done.stderr


# Mistakes and interruptions


def failing(error: BaseException) -> click.Command:
    @click.command()
    def command() -> None:
        raise error

    return command


ERRORS = [
    (errors.LockHeld("busy"), 75, "busy"),
    (errors.ConfigurationError("no setting"), 2, "no setting"),
    (errors.NameTaken("taken:\n  a\n  b"), 2, "taken:\n  a\n  b"),
    (errors.SourceUrlError("bad url"), 2, "bad url"),
    (errors.SourceError("gone\n\n   away"), 1, "gone away"),
    (errors.ExtractFailed("not landed"), 1, "not landed"),
    (errors.WarehouseError("disk full"), 1, "disk full"),
    (errors.TransactionConflict("conflict"), 1, "conflict"),
    (errors.CycleFailed("the plan\nfailed"), 1, "the plan failed"),
    (KeyboardInterrupt(), 1, outcome.INTERRUPTED),
    (click.UsageError("mysql://u:p@ss@h/d is wrong."), 2, "mysql://***@h/d is wrong. Nothing was done. See: x --help"),
    (ValueError("a\nb"), 1, outcome.UNEXPECTED.format("ValueError: a b")),
    (MemoryError(), 1, outcome.UNEXPECTED.format("MemoryError: MemoryError")),
]


@pytest.mark.parametrize(("error", "code", "told"), ERRORS, ids=[type(error).__name__ for error, _, _ in ERRORS])
def test_an_error_of_each_kind_is_one_message_and_its_exit_code(
    error: BaseException, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome.run(failing(error), [], "x") == code
    assert capsys.readouterr() == ("", f"{told}\n")


def test_every_error_of_the_project_is_foreseen(capsys: pytest.CaptureFixture[str]) -> None:
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)]
    for kind in kinds:
        outcome.run(failing(kind("told")), [], "x")
        assert capsys.readouterr().err == "told\n", kind


def test_debugging_shows_where_a_foreseen_error_came_from_without_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ORDER_TRACKING_DEBUG", "1")
    monkeypatch.setenv("REDSHIFT_PASSWORD", "hunter2")
    assert outcome.run(failing(errors.WarehouseError("no login with hunter2")), [], "x") == 1
    told = capsys.readouterr().err
    assert "Traceback" in told and "in command" in told and told.endswith("\nno login with ***\n")
    assert "hunter2" not in told
    monkeypatch.setenv("ORDER_TRACKING_DEBUG", "0")
    assert outcome.run(failing(errors.WarehouseError("no login")), [], "x") == 1
    assert capsys.readouterr().err == "no login\n"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("", "Usage: order-tracking"),
        ("cycl", "No such command 'cycl'"),
        ("cycle --recncile", "Did you mean '--reconcile'? Nothing"),
        ("extract --table", "requires an argument"),
        ("exceptions resolve", "Missing argument 'KEY|CHECK'"),
        ("cycle mysql://u:hunter2@h/d", "unexpected extra argument (mysql://***@h/d)"),
        ("simulate --orders many", "'many' is not a valid integer"),
    ],
)
def test_a_wrong_argument_is_told_in_one_line(line: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2
    shown = capsys.readouterr()
    assert told in shown.err and not shown.out
    assert not line or (shown.err.count("\n") == 1 and "Nothing was done. See: order-tracking" in shown.err)


def test_a_lock_that_is_held_ends_with_75(world: World) -> None:
    with run_lock("local"):
        done = shell(f"order-tracking extract --source {world.source_url} --at 2025-09-01T00:15:00")
    assert done.returncode == 75 and done.stderr.count("\n") == 1 and "nothing was done" in done.stderr


def test_a_since_given_to_reconcile_and_a_cycle_without_one_read_what_they_should(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def noted(**options: Any) -> Any:
        given.append(options["reconcile_since"])
        raise errors.CycleFailed("enough")

    monkeypatch.setattr("scripts.run_cycle.run_cycle", noted)
    for option in ([], ["--reconcile"], ["--reconcile", "2025-01-01"], ["--reconcile=2025-01-01"]):
        assert main(["cycle", "--source", world.source_url, "--at", "2025-09-01", *option]) == 1
    assert [str(each)[:10] for each in given] == ["None", "2025-07-28", "2025-01-01", "2025-01-01"]


@pytest.mark.parametrize("busy_with", ["loading", "a long query"])
def test_ctrl_c_ends_a_real_process_in_one_line(world: World, busy_with: str) -> None:
    """As a terminal sends it, to the whole group of processes."""
    started = "from scripts import cli; print('begun', flush=True)\n"
    if busy_with == "a long query":
        started += (
            "import scripts.open_exceptions, time\n"
            "scripts.open_exceptions.open_lines = lambda *_: (print('begun', flush=True), time.sleep(60))\n"
        )
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background job is deaf to it
        f"{started}raise SystemExit(cli.main(['exceptions', 'list']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=PROJECT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    for _ in range(2 if busy_with == "a long query" else 1):
        assert process.stdout.readline() == "begun\n"
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    # Python's own decimal says this when its first import was interrupted, and it is imported again.
    told = [line for line in error.splitlines() if line and "mpd_setminalloc" not in line]
    assert (process.returncode, told) == (1, [outcome.INTERRUPTED])


def test_sigterm_ends_a_cycle_as_ctrl_c_does(world: World) -> None:
    code = (
        "import time, scripts.run_cycle\nfrom scripts import cli\n"
        "scripts.run_cycle._run = lambda *_: (print('begun', flush=True), time.sleep(60))\n"
        f"raise SystemExit(cli.main(['cycle', '--source', '{world.source_url}', '--at', '2025-09-01T00:15']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=PROJECT, text=True
    )
    assert process.stdout is not None and "begun\n" in iter(process.stdout.readline, "")
    process.terminate()
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error.splitlines()) == (143, [outcome.INTERRUPTED])
    last = "SELECT outcome, error FROM order_tracking_history.cycle_log ORDER BY started_at DESC LIMIT 1"
    assert world.query(last) == [("failed", "Terminated")]


def test_extract_shows_a_line_a_table(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.order(1, START)
    assert extract(["--source", world.source_url, "--at", "2025-09-01T00:15:00"]) == 0
    header, *lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert header == ["table", "seconds", "rows", "read", "landed", "rejected"]
    assert sorted((line[0], *line[2:]) for line in lines) == [
        (name, "1", "1", "0") for name in ("ecs_order_info", "uni_tracking_info", "uni_tracking_spath")
    ]


class Terminal:
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("columns", "lines"), [(30, 5), (120, 4), (200, 3)])
def test_a_table_on_a_narrow_terminal_loses_nothing(columns: int, lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a phone's width a block of lines a row, then folded cells, then a line a row."""
    from scripts import display

    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "stdout", Terminal())
    shown = display.table(("name", "rows"), [("a" * 140, 1234), ("[b]", None)])
    assert shown.count("a") == 141 + (columns < 100) and "1,234" in shown and "[b]" in shown and "…" not in shown
    assert len(shown.splitlines()) == lines


def test_the_scans_of_an_order_fit_a_terminal_of_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line a scan: an order whole on one screen."""
    from scripts import display

    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stdout", Terminal())
    scan = ("1749949965 (2025-06-15 01:12:45)", "100", "0", "2026-02-02 22:14:59", "2025_h1")
    shown = display.table(("pathtime", "code", "traceseq", "landed_at", "lives_in"), [scan] * 7)
    assert len(shown.splitlines()) == 8
