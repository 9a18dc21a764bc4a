"""A failure in every statement of the marts' transactions: all or nothing, and the next run ends in the right state."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from sqlmesh.core.engine_adapter.base import EngineAdapter

from extract.clock import Clock
from extract.errors import CycleFailed
from extract.settings import PROJECT
from scripts.run_cycle import _reached, _run
from scripts.sqlmesh_session import sqlmesh_session
from tests.redshift.test_redshift_loading import extract
from tests.redshift_standin import RedshiftStandin
from tests.redshift_standin.lexer import without_head
from tests.redshift_standin.properties import Fault
from tests.support.conftest_redshift import START
from tests.support.redshift_world import MARTS, Databases, RedshiftWorld
from tests.support.thorough import THOROUGH
from tests.support.world import DAY, HOUR, moment

SHORTS = ("uti", "ecs", "uts")
WRITES = re.compile(r"(INSERT|UPDATE|DELETE|CREATE|ALTER|DROP VIEW|COMMIT)\b", re.IGNORECASE)


class NthWrite:
    """True for the n-th writing statement, or COMMIT of one, that a run sends."""

    def __init__(self, number: int):
        self.left = number
        self.struck = ""
        self._wrote = False

    def __call__(self, sql: str) -> bool:
        found = WRITES.match(sql)
        if not found or (found.group(1).upper() == "COMMIT" and not self._wrote):
            return False
        self._wrote = found.group(1).upper() != "COMMIT"
        self.left -= 1
        if self.left == 0:
            self.struck = sql
        return self.left == 0


class CommitOf:
    """True for the COMMIT of the transaction that writes a mart."""

    def __init__(self, mart: str):
        self._insert = f'INSERT INTO "sqlmesh__order_tracking"."order_tracking__{mart}__'
        self._wrote = False

    def __call__(self, sql: str) -> bool:
        self._wrote = self._wrote or sql.startswith(self._insert)
        return self._wrote and sql.upper().startswith("COMMIT")


ERROR: dict[str, Any] = {"message": "planned failure"}
LOST: dict[str, Any] = {"drop_connection": True, "after": True}  # done, but nobody was told

NAMED = (
    ("uti archive",),
    ("uti trim",),
    ("uti commit",),
    ("ecs archive", "uts archive"),  # after an error in ecs uts goes on; with the connection both are gone
    ("ecs trim",),
    ("ecs commit",),
    ("uts trim",),
    ("uts commit",),
)


def strike(standin: RedshiftStandin, name: str) -> Fault:
    """Lets a mart's archive fail with an error, or loses the connection at its trim or its COMMIT."""
    short, what = name.split()
    mart = MARTS[SHORTS.index(short)]
    if what == "archive":
        return standin.fail_when(rf'^INSERT INTO "dev"\."order_tracking_history"\."hist_{short}_', **ERROR)
    if what == "trim":
        return standin.fail_when(
            rf'^DELETE FROM "dev"\."sqlmesh__order_tracking"\."order_tracking__{mart}__.* USING', **LOST
        )
    return standin.fail_when(CommitOf(mart), **LOST)


def marts(world: RedshiftWorld) -> dict[str, Any]:
    """By mart: its rows, its history's and its raw rows."""
    state = {}
    for short, mart in zip(SHORTS, MARTS, strict=True):
        places = [f"order_tracking.{mart}", f"order_tracking_history.hist_{short}_all"]
        places.append(f"order_tracking_raw.{mart.removeprefix('mart_')}_raw")
        state[short] = [sorted(world.query(f"SELECT * FROM {place}"), key=repr) for place in places]
    return state


def run(world: RedshiftWorld) -> None:
    """One run of everything that is due, as every run: in a session of its own."""
    with sqlmesh_session("redshift", PROJECT, "2025-08-01") as (context, console):
        work: Any = SimpleNamespace(context=context, console=console, clock=Clock(moment(world.now)), project=PROJECT)
        _run(work, _reached(work))


@pytest.fixture
def ready(redshift_world: RedshiftWorld) -> RedshiftWorld:
    """Landed and not yet in the marts: new rows, an order that came back, rows to archive and trim, raw to forget."""
    world = redshift_world
    world.order(1, START - 200 * DAY)
    world.order(2, START - 150 * DAY)
    world.order(3, START)
    world.cycle()
    world.scan(1, START + 40 * DAY, code=300)
    world.order(4, START + 40 * DAY)
    world.now = START + 40 * DAY + HOUR
    extract(world, minutes=(world.now - START) // 60)
    return world


@pytest.mark.slow(minutes=5)
def test_a_failure_at_any_statement_is_all_or_nothing_and_the_next_run_mends_it(
    ready: RedshiftWorld, redshift_databases: Databases
) -> None:
    """First, of each mart, its archive (an error), its trim (the connection is lost) and its COMMIT (done, and lost).

    Then every third write, whatever it is, in turn with an error and a lost connection.
    """
    world = ready
    before = marts(world)
    redshift_databases.keep("ready")
    run(world)
    after = marts(world)
    assert all(before[short] != after[short] for short in before), "each mart has something to do"

    redshift_databases.put_back("ready")
    for names in NAMED:
        faults = {name: strike(world.standin, name) for name in names}
        with pytest.raises(CycleFailed):
            run(world)
        assert {name: fault.times for name, fault in faults.items()} == dict.fromkeys(names, 0), "not all were struck"
        now = marts(world)
        for name in names:
            short, what = name.split()
            assert now[short] == (after if what == "commit" else before)[short], name
    run(world)
    assert marts(world) == after

    redshift_databases.put_back("ready")
    struck: list[tuple[str, bool]] = []
    number = 1
    done: set[str] = set()
    for attempt in range(200):
        lost = attempt % 2 == 1
        fault = NthWrite(number)
        world.standin.memory.faults.clear()
        world.standin.fail_when(fault, **(LOST if lost else ERROR))
        try:
            run(world)
        except CycleFailed as failure:
            assert fault.struck, failure
        else:
            if not fault.struck:
                break
        struck.append((fault.struck, lost))
        now = marts(world)
        for short in now:
            assert now[short] in (before[short], after[short]), f"{short} is half-done: {struck[-1]}"
        reached = {short for short in now if now[short] == after[short]}
        number = 1 if reached > done else number + (1 if THOROUGH else 3)
        done |= reached
    assert marts(world) == after
    assert len(struck) > (20 if THOROUGH else 10), struck
    world.standin.memory.faults.clear()
    world.cycle(world.now + HOUR)
    world.assert_whole()


@pytest.mark.parametrize("mart", [MARTS[0], *(pytest.param(mart, marks=pytest.mark.slow) for mart in MARTS[1:])])
def test_of_two_runs_at_once_one_is_refused_and_no_row_is_doubled(
    ready: RedshiftWorld, monkeypatch: pytest.MonkeyPatch, mart: str
) -> None:
    """Without the run lock: where the first has read for a mart and not yet written it, a second does everything."""
    execute = EngineAdapter._execute
    first_write = re.compile(rf'(DELETE FROM|INSERT INTO) "sqlmesh__order_tracking"\."order_tracking__{mart}__')
    done: list[dict[str, Any]] = []

    def execute_after_another(self: Any, sql: str, *args: Any, **kwargs: Any) -> None:
        if not done and first_write.match(without_head(sql)):
            done.append({})
            run(ready)
            done[0] = marts(ready)
        execute(self, sql, *args, **kwargs)

    monkeypatch.setattr(EngineAdapter, "_execute", execute_after_another)
    with pytest.raises(CycleFailed, match=r"1023|transaction is aborted"):  # SQLMesh's cleaning up may hide the 1023
        run(ready)
    assert marts(ready) == done[0], "of the first nothing is left"
    run(ready)
    assert marts(ready) == done[0]
    ready.cycle(ready.now + HOUR)
    ready.assert_whole()
