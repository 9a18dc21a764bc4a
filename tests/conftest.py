"""Fixtures: every test has its own warehouse file; an empty planned one is made once and copied."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
from sqlmesh.core.console import NoopConsole, set_console
from sqlmesh.core.context import Context

from extract.settings import PROJECT
from scripts import cycle_log
from scripts.run_cycle import run_cycle
from tests.support import fast_sqlmesh
from tests.support.thorough import SAMPLED, THOROUGH
from tests.support.world import World, at, make_tables, moment

pytest_plugins = [
    "tests.support.conftest_browser",
    "tests.support.conftest_mysql",
    "tests.support.conftest_redshift",
]

START = at("2025-09-01T00:00:00")
BEGUN = time.monotonic()


@pytest.fixture(autouse=True, scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test knows the user's settings, nor alerts anybody.

    Parallel test processes share neither SQLMesh's cache of loaded models nor a core: DuckDB takes one thread.
    PyMySQL reads the machine's list of authorities for each connection (55 ms), though none is asked: there is none.
    """
    patch = pytest.MonkeyPatch()
    connect = duckdb.connect

    def one_thread(database: str = ":memory:", read_only: bool = False, config: Any = None) -> Any:
        return connect(database, read_only, {"threads": 1, **(config or {})})

    patch.setattr(duckdb, "connect", one_thread)
    patch.setenv("SQLMESH__CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    patch.setenv("SSL_CERT_FILE", os.devnull)
    settings = ("ORDER_TRACKING_", "REDSHIFT_", "STATE_", "ALERT_", "STATUS_")
    for name in [name for name in os.environ if name.startswith(settings)]:
        if not name.startswith("ORDER_TRACKING_TEST_"):
            patch.delenv(name)
    fast_sqlmesh.put(fast_sqlmesh.REPLACED, patch)
    keep_in(tmp_path_factory.mktemp("kept"), patch)  # fixtures of the session run cycles before any test
    yield
    patch.undo()


KEPT_FILE = cycle_log.kept_file


def keep_in(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """What commands keep in the project's folder is kept in this one."""

    def kept_file(gateway: str) -> Path:
        file = KEPT_FILE(gateway)
        return folder / file.name if file.parent == PROJECT else file

    patch.setattr(cycle_log, "kept_file", kept_file)


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a command sets in the environment of its process ends with the test; nothing is kept in the project."""
    keep_in(tmp_path, monkeypatch)
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
    set_console(NoopConsole())  # or what SQLMesh says in the next test would be printed, after a plan in this one


@pytest.fixture
def plain_sqlmesh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cycles of this test use SQLMesh as it comes, as the commands do."""
    fast_sqlmesh.put(fast_sqlmesh.PLAIN, monkeypatch)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """The project as SQLMesh loads it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORDER_TRACKING_DUCKDB", str(tmp_path_factory.mktemp("context") / "warehouse.duckdb"))
        set_console(NoopConsole())
        with closing(Context(paths=str(PROJECT), gateway="local")) as context:
            yield context


@pytest.fixture(scope="session")
def empty_warehouses(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes, once per `history_start`, a planned warehouse that has seen an empty source at START.

    Parallel test processes share them.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def make(history_start: str) -> Path:
        folder = shared / f"empty_{history_start}"
        folder.mkdir(exist_ok=True)
        made, source, warehouse = (folder / name for name in ("made", "source.duckdb", "warehouse.duckdb"))
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                for broken_off in (source, warehouse):
                    broken_off.unlink(missing_ok=True)
                with duckdb.connect(str(source)) as connection:
                    make_tables(connection)
                with pytest.MonkeyPatch.context() as patch:
                    patch.setenv("ORDER_TRACKING_DUCKDB", str(warehouse))
                    patch.setenv("ORDER_TRACKING_HISTORY_START", history_start)
                    run_cycle(at=moment(START), source=f"duckdb:///{source}")
                made.touch()
        return warehouse

    return make


@pytest.fixture
def make_world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_warehouses: Callable[[str], Path]
) -> Callable[..., World]:
    """A world at START, with a warehouse that is planned and empty; `planned=False` leaves that to its first cycle."""

    def make(
        *,
        history_start: str = "2024_h1",
        planned: bool = True,
        now: int = START,
        kind: type[World] = World,
        folder: str = "",
    ) -> World:
        (tmp_path / folder).mkdir(exist_ok=True)
        world = kind(tmp_path / folder, now, empty_warehouses(history_start) if planned else None)
        monkeypatch.setenv("ORDER_TRACKING_DUCKDB", str(world.warehouse_file))
        monkeypatch.setenv("ORDER_TRACKING_HISTORY_START", history_start)
        return world

    return make


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--budget", type=float, help="seconds within which slow tests end; how many were left is said")


@pytest.hookimpl(tryfirst=True)  # before xdist asks for the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest first, or one process would wait for the other at the end (pyproject.toml keeps this order).

    Within a budget another part of them comes first with every commit. All tests on the Redshift stand-in run in one
    process, which starts and plans it once.
    """
    for item in items:
        values = item.callspec.params.values() if hasattr(item, "callspec") else ()
        if "redshift" in (*getattr(item, "fixturenames", ()), *values):
            item.add_marker(pytest.mark.xdist_group("redshift"))
    if config.getoption("--budget"):
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True).stdout
        items.sort(key=lambda item: hashlib.sha256(f"{commit}{item.nodeid}".encode()).digest())
    else:
        items.sort(key=lambda item: -max(1, minutes(item)))


def minutes(item: pytest.Item) -> float:
    """How long a slow test takes, more or less, on a slow machine; 0 of a quick one."""
    slow = item.get_closest_marker("slow")
    if not slow:
        return 0
    usual = slow.kwargs.get("minutes", 1)
    return slow.kwargs.get("thorough", usual) if THOROUGH else usual


def pytest_runtest_setup(item: pytest.Item) -> None:
    budget = item.config.getoption("--budget")
    if budget and minutes(item) and time.monotonic() - BEGUN + 60 * minutes(item) > budget:
        pytest.skip("there was no time left for this slow test; make soak runs all of them")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Nothing is left out in silence: what this run only sampled is named in its last lines."""
    if not THOROUGH:
        terminalreporter.section("sampled, not run in full")
        for line in SAMPLED:
            terminalreporter.write_line(line)
