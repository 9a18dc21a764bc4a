"""A crash at every statement, and a process killed at any moment: nothing lost, nothing doubled, and the next cycle
mends it.

The embedded warehouse has no transactions under SQLMesh, so each statement is a moment at which a cycle can end.
"""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import pytest
from sqlmesh.core.engine_adapter.base import EngineAdapter

from extract.errors import CycleFailed, ExtractFailed
from extract.settings import PROJECT
from extract.warehouse_duckdb import DuckDBWarehouse
from tests.conftest import START
from tests.support.commands import exceptions
from tests.support.thorough import THOROUGH, sample
from tests.support.world import DAY, HOUR, MINUTE, World, at, moment

HISTORY = "order_tracking_history"
LATER = START + 40 * DAY
"""So far behind the first load that raw rows of it are past their retention."""

MARTS = {"uti": "mart_uni_tracking_info", "ecs": "mart_ecs_order_info", "uts": "mart_uni_tracking_spath"}
KEYS = {
    "uti": "order_id, status, update_time",
    "ecs": "order_id, partner_id, add_time",
    "uts": "order_id, pathTime, code, traceSeq",
}


def prepare(make_world: Callable[..., World]) -> World:
    """A world in which the cycle at LATER has everything to do that a cycle can have to do."""
    world = make_world(history_start="2024_h2")
    world.order(1, START - 10 * DAY)
    world.order(2, at("2025-04-10T23:00:00"))  # ages out at LATER, into a half-year that has no table yet
    world.order(3, at("2024-11-20T00:00:00"))  # archived at once, and back at LATER
    world.order(4, at("2024-11-21T00:00:00"))  # archived, back a cycle before LATER, its metadata restored at LATER
    world.insert("uni_tracking_info", [(5, "T5", 100, at("2024-12-01T00:00:00"))])  # archived; the rest comes late
    world.order(6, at("2024-11-22T00:00:00"))  # archived; a newer status of it, itself aged, comes at LATER
    world.order(7, at("2024-03-01T00:00:00"))  # older than any history table: stays, an exception
    world.order(8, START)
    world.cycle()
    world.cycle(START + DAY)
    world.scan(4, LATER - 2 * HOUR)
    world.scan(8, LATER - 2 * HOUR)
    world.cycle(LATER - HOUR, reconcile_since=1)
    assert exceptions(["--at", f"{moment(LATER):%Y-%m-%dT%H:%M:%S}", "restore", "4"]) == 0
    assert 2 in world.uti()
    assert {row[0] for row in world.history("uti")} == {"2024_h2"}

    world.order(10, LATER - 5 * MINUTE)
    world.scan(1, LATER - 6 * MINUTE, code=300)
    world.scan(3, LATER - 7 * MINUTE)
    world.insert("ecs_order_info", [(5, 7, at("2024-12-01T00:00:00"))])
    world.insert("uni_tracking_spath", [(5, at("2024-12-01T00:00:00"), 100, 0)])  # late, and straight to history
    world.scan(6, at("2025-02-01T00:00:00"))
    world.insert("uni_tracking_spath", [(8, LATER - 3 * DAY, 150, 5)])  # late
    return world


class Died(BaseException):
    """The process is gone: no handler of it runs any more, and no statement."""


class Crash:
    """Ends a cycle's work before its n-th changing statement; without n it only watches."""

    def __init__(self, at: int | None = None):
        self.at = at
        self.statements: list[str] = []
        self.effective: list[int] = []
        """Which of the statements changed something."""
        self._dead = False

    def before(self, sql: str) -> None:
        if not self._dead and is_change(sql):
            self._dead = len(self.statements) == self.at
            self.statements.append(sql)
        if self._dead:
            raise Died(sql)

    def after(self, sql: str, rows: list[tuple[Any, ...]]) -> None:
        """A statement that changes rows tells how many."""
        if is_change(sql) and (not rows or rows[0][0] != 0):
            self.effective.append(len(self.statements) - 1)


def without_comments(sql: str) -> str:
    """SQLMesh puts them in front, and behind names."""
    return re.sub(r"/\*.*?\*/", "", sql).strip()


def is_change(sql: str) -> bool:
    return without_comments(sql).split()[0].upper() in ("CREATE", "ALTER", "DROP", "INSERT", "UPDATE", "DELETE")


@contextmanager
def watched_marts(crash: Crash) -> Iterator[None]:
    """What SQLMesh executes passes by `crash`: marts, history, exceptions and its own record of intervals."""
    real = EngineAdapter._execute

    def execute(self: EngineAdapter, sql: str, *args: Any, **kwargs: Any) -> None:
        crash.before(sql)
        real(self, sql, *args, **kwargs)
        if crash.at is None and is_change(sql):
            crash.after(sql, self.cursor.fetchall())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EngineAdapter, "_execute", execute)
        yield


@contextmanager
def watched_extract(crash: Crash) -> Iterator[None]:
    real = DuckDBWarehouse.execute

    def execute(self: DuckDBWarehouse, sql: Any) -> int:
        text = sql if isinstance(sql, str) else sql.sql("duckdb")
        crash.before(text)
        return real(self, sql)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DuckDBWarehouse, "execute", execute)
        yield


@pytest.mark.slow(minutes=4)
def test_a_crash_at_any_statement_of_the_marts_loses_nothing_and_the_next_cycle_mends_it(
    make_world: Callable[..., World],
) -> None:
    world = prepare(make_world)
    with watched_marts(Crash(0)), pytest.raises(Died):
        world.cycle(LATER, reconcile_since=1)  # everything has landed, nothing is consumed
    landed = keep(world)
    watching = Crash()
    with watched_marts(watching):
        world.cycle(LATER)
    assert len(watching.effective) >= 30
    world.cycle(LATER + 15 * MINUTE)
    world.assert_whole()
    undisturbed = everything(world)
    for number in sorted({*sample(watching.effective[1:], 12), *decisive_statements(watching)}):
        put_back(world, landed)
        crash = Crash(number)
        with watched_marts(crash), pytest.raises(Died):
            world.cycle(LATER)
        told = f"after a crash before statement {number}: {crash.statements[-1][:300]}"
        assert_nothing_lost(world, told)
        world.cycle(LATER + 15 * MINUTE)
        assert everything(world) == undisturbed, told


def decisive_statements(watching: Crash) -> list[int]:
    """Of each mart the first statement that trims, which follows its archive, and the one after the last of them."""
    found = []
    for mart in MARTS.values():
        trim = re.compile(rf'DELETE FROM \S*"order_tracking__{mart}__\d+"\s+USING')
        trims = [at for at in watching.effective if trim.match(without_comments(watching.statements[at]))]
        found += [trims[0], trims[-1] + 1]
    return found


@pytest.mark.slow(minutes=3)
def test_what_a_cycle_that_died_had_archived_is_in_one_place_after_the_next(make_world: Callable[..., World]) -> None:
    """It dies at midnight before 31 October, between archive and trim; there is no 31 April, and the line waits."""
    world = make_world(now=at("2025-10-30T12:00:00"))
    world.order(1, at("2025-04-30T23:50:00"))
    world.order(9, world.now)
    world.cycle()
    world.cycle()
    world.scan(9, at("2025-10-30T23:59:50"))
    before, source = keep(world), world.source_file.read_bytes()
    midnight = at("2025-10-31T00:00:10")
    watching = Crash()
    with watched_marts(watching):
        world.cycle(midnight)
    assert [order for _, order in world.history("uti")] == [order for _, order in world.history("uts")] == [1]
    archived = [
        number
        for number, sql in enumerate(watching.statements)
        if re.match(r'INSERT INTO \S*"hist_(uti|uts)_2025_h1"', without_comments(sql))
    ]
    assert len(archived) == 2
    for number in archived:  # uti, and uts once uti is done
        put_back(world, before)
        world.source_file.write_bytes(source)
        with watched_marts(Crash(number + 1)), pytest.raises(Died):
            world.cycle(midnight)
        world.scan(9, midnight + 14 * MINUTE)
        world.cycle(midnight + 15 * MINUTE)
        world.assert_whole()
        assert set(world.uti()) == {9}
        assert [order for _, order in world.history("uti")] == [order for _, order in world.history("ecs")] == [1]


@pytest.mark.slow(minutes=3)
def test_a_crash_at_any_statement_of_the_extract_leaves_nothing_half_landed(make_world: Callable[..., World]) -> None:
    world = prepare(make_world)
    before = keep(world)
    watching = Crash()
    with watched_extract(watching):
        world.cycle(LATER, reconcile_since=1)
    world.assert_whole()
    undisturbed = everything(world)
    landing = [sql for sql in watching.statements if "cycle_log" not in str(sql) and "unequal" not in str(sql)]
    assert len(landing) == 2 * 2 * len(MARTS), "extract and reconcile: to raw, and to the log"
    for number in sample(range(1, len(watching.statements)), 2):
        put_back(world, before)
        with watched_extract(Crash(number)), pytest.raises((Died, ExtractFailed, CycleFailed)):
            world.cycle(LATER, reconcile_since=1)
        assert_landed_as_logged(world)
        world.cycle(LATER, reconcile_since=1)
        if number < len(landing) // 2:  # the extract itself died
            assert everything(world) == undisturbed, f"after a crash before statement {number}"
        else:  # the marts went on without the reconcile: what it brings they take with the next quarter-hour
            world.cycle(LATER + 15 * MINUTE)
        world.assert_whole()


@pytest.mark.slow(minutes=3)
def test_a_cycle_killed_at_any_moment_is_made_good_by_the_next(make_world: Callable[..., World]) -> None:
    """A real process and SIGKILL, at moments spread over the time that an undisturbed one takes."""
    world = prepare(make_world)
    before = keep(world)
    starting, working = killed_after(world, None) or (0.0, 0.0)
    with watched_marts(Crash(0)), pytest.raises(Died):
        world.cycle(LATER + 15 * MINUTE, reconcile_since=1)
    world.cycle(LATER + 15 * MINUTE)
    undisturbed = everything(world, landed_at=False)
    put_back(world, before)
    with watched_marts(Crash(0)), pytest.raises(Died):
        world.cycle(LATER, reconcile_since=1)
    landed = keep(world)
    chance = random.Random(7)
    for number in range(6) if THOROUGH else (0, 3, 5):
        told = f"after kill {number}"
        if number < 2:  # while it starts or extracts
            kill(world, before, chance.uniform(0.7, 1.0) * starting)
        else:  # while it fills the marts, archives and trims: all that is in the source has landed before
            kill(world, landed, chance.uniform(0, working), reconciled=True)
            assert_nothing_lost(world, told)
        world.cycle(LATER + 15 * MINUTE, reconcile_since=1 if number < 2 else None)
        world.assert_whole()
        assert everything(world, landed_at=False) == undisturbed, told


def kill(world: World, warehouse: bytes, seconds: float, *, reconciled: bool = False) -> None:
    """Kills a cycle on this warehouse after so many seconds; sooner if it is quicker than the one that was timed."""
    put_back(world, warehouse)
    while killed_after(world, seconds, reconciled=reconciled) is None:
        put_back(world, warehouse)
        seconds /= 2


def killed_after(world: World, seconds: float | None, *, reconciled: bool = False) -> tuple[float, float] | None:
    """Runs a cycle at LATER and kills it so many seconds after its start, or after it told that it had `reconciled`.

    Without `seconds` it is left to end. Gives the seconds until reconcile was done, and from there on; None if it had
    ended before it was killed.
    """
    command = [sys.executable, "-u", "-m", "scripts.run_cycle", "--source", world.source_url]
    command += ["--at", f"{moment(LATER):%Y-%m-%dT%H:%M:%S}", "--reconcile", "2010-01-01"]
    started = reached = time.monotonic()
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        if reconciled or seconds is None:
            lines = []
            for line in iter(process.stdout.readline, ""):
                lines.append(line)
                if line.startswith("reconcile"):
                    break
            else:
                raise AssertionError(f"the cycle ended before it had reconciled: {lines}")
            reached = time.monotonic()
        if seconds is None:
            assert process.wait() == 0
        else:
            time.sleep(seconds)
            process.send_signal(signal.SIGKILL)
            if process.wait() != -signal.SIGKILL:
                assert process.returncode == 0
                return None
    return reached - started, time.monotonic() - reached


def keep(world: World) -> bytes:
    """The warehouse as it stands, with nothing left outside its file."""
    world.execute("CHECKPOINT")
    return world.warehouse_file.read_bytes()


def put_back(world: World, warehouse: bytes) -> None:
    """The warehouse as it was kept, without the log that a killed process leaves beside its file."""
    world.warehouse_file.with_name(world.warehouse_file.name + ".wal").unlink(missing_ok=True)
    world.warehouse_file.write_bytes(warehouse)


def everything(world: World, *, landed_at: bool = True) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the marts, of history by table and by view, of raw, and the exceptions; when is left aside."""
    unseen = "archived_at" if landed_at else "archived_at, landed_at"
    tables = {f"order_tracking.{mart}": f"COLUMNS(c -> c NOT IN ({quoted(unseen)}))" for mart in MARTS.values()}
    for name in history_tables(world):
        tables[f"{HISTORY}.{name}"] = f"COLUMNS(c -> c NOT IN ({quoted(unseen)}))"
    tables[f"{HISTORY}.order_tracking_exceptions"] = "check_name, table_name, order_id, detail, resolution"
    if landed_at:
        for short in ("uni_tracking_info", "ecs_order_info", "uni_tracking_spath"):
            tables[f"order_tracking_raw.{short}_raw"] = "*"
    return {table: world.query(f"SELECT {columns} FROM {table} ORDER BY ALL") for table, columns in tables.items()}


def quoted(names: str) -> str:
    return ", ".join(f"'{name}'" for name in names.split(", "))


def history_tables(world: World) -> list[str]:
    rows = world.query(
        f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{HISTORY}' "
        "AND table_name LIKE 'hist%' ORDER BY 1"
    )
    return [name for (name,) in rows]


def assert_nothing_lost(world: World, told: str) -> None:
    """Every newest status, all metadata and every scan is in mart, history or raw not yet consumed; none twice in a
    mart.
    """
    tables = history_tables(world)
    batch = f"{moment(LATER - 75 * MINUTE):%Y-%m-%d %H:%M:%S}"  # begins so early: the interval, and one of lookback
    with duckdb.connect(str(world.warehouse_file)) as both:
        both.execute(f"ATTACH '{world.source_file}' AS s (READ_ONLY)")
        for short, mart in MARTS.items():
            key = KEYS[short] if short == "uts" else "order_id"
            twice = both.execute(
                f"SELECT {key} FROM order_tracking.{mart} GROUP BY {key} HAVING COUNT(*) > 1"
            ).fetchall()
            assert not twice, f"twice in {mart} {told}: {twice}"
            source = mart.removeprefix("mart_")
            places = [f"order_tracking.{mart}", *(f"{HISTORY}.{name}" for name in tables if f"_{short}_2" in name)]
            held = " UNION ALL ".join(f"SELECT {KEYS[short]} FROM {place}" for place in places)
            lost = both.execute(
                f"SELECT {KEYS[short]} FROM s.{source} EXCEPT ({held} UNION ALL SELECT {KEYS[short]} "
                f"FROM order_tracking_raw.{source}_raw WHERE landed_at >= TIMESTAMP '{batch}')"
            ).fetchall()
            assert not lost, f"lost from {source} {told}: {lost}"


def assert_landed_as_logged(world: World) -> None:
    """Raw holds what the log says of the landings at LATER, no more and no less."""
    stamp = f"TIMESTAMP '{moment(LATER - 1):%Y-%m-%d %H:%M:%S}'"
    for mart in MARTS.values():
        table = mart.removeprefix("mart_")
        ((held, logged),) = world.query(
            f"SELECT (SELECT COUNT(*) FROM order_tracking_raw.{table}_raw WHERE landed_at >= {stamp}), "
            "(SELECT COALESCE(SUM(rows_landed), 0) FROM order_tracking_raw.extract_log "
            f"WHERE table_name = '{table}' AND landed_at >= {stamp})"
        )
        assert held == logged, table
