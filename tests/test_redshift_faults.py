"""A failure in every statement of the marts' transactions: all or nothing, and the next run ends in the right state."""

from __future__ import annotations

import re
from typing import Any

import pytest

from extract.clock import Clock
from extract.config import PROJECT
from scripts.run_cycle import CycleFailed, _run
from scripts.sqlmesh_session import sqlmesh_session
from tests.conftest_redshift import START
from tests.redshift_world import MARTS, Databases, RedshiftWorld
from tests.test_redshift_loading import extract
from tests.thorough import THOROUGH
from tests.world import DAY, HOUR, moment

pytestmark = pytest.mark.xdist_group("redshift")

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


def marts(world: RedshiftWorld) -> dict[str, Any]:
    """By mart: its rows, its history's and its raw rows."""
    state = {}
    for short, mart in zip(("uti", "ecs", "uts"), MARTS, strict=True):
        places = [f"order_tracking.{mart}", f"order_tracking_history.hist_{short}_all"]
        places.append(f"order_tracking_raw.{mart.removeprefix('mart_')}_raw")
        state[short] = [sorted(world.query(f"SELECT * FROM {place}"), key=repr) for place in places]
    return state


def test_a_failure_at_any_statement_is_all_or_nothing_and_the_next_run_mends_it(
    redshift_world: RedshiftWorld, redshift_databases: Databases
) -> None:
    """A cycle with everything in it: new rows, an order that came back, rows to archive and trim, raw to forget.

    Every other failure is a lost connection instead of an error; a lost COMMIT was done, but nobody was told.
    """
    world = redshift_world
    world.order(1, START - 200 * DAY)
    world.order(2, START - 150 * DAY)
    world.order(3, START)
    world.cycle()
    world.scan(1, START + 40 * DAY, code=300)
    world.order(4, START + 40 * DAY)
    world.now = START + 40 * DAY + HOUR
    extract(world, minutes=(world.now - START) // 60)
    before = marts(world)
    redshift_databases.keep("ready")
    clock = Clock(moment(world.now))
    with sqlmesh_session("redshift", PROJECT) as (context, console):
        _run(context, console, clock)
    after = marts(world)
    assert all(before[short] != after[short] for short in before), "each mart has something to do"
    redshift_databases.put_back("ready")

    struck = []
    number = 1
    done: set[str] = set()
    for attempt in range(200):
        lost = attempt % 2 == 1
        fault = NthWrite(number)
        world.standin.memory.faults.clear()
        world.standin.fail_when(fault, drop_connection=lost, after=lost, message="planned failure")
        try:
            with sqlmesh_session("redshift", PROJECT) as (context, console):  # as every run: a process of its own
                _run(context, console, clock)
        except CycleFailed as failure:
            assert fault.struck, failure
        else:
            if not fault.struck:
                break
        struck.append(fault.struck)
        now = marts(world)
        for short in now:
            assert now[short] in (before[short], after[short]), f"{short} is half-done: {fault.struck}"
        reached = {short for short in now if now[short] == after[short]}
        number = 1 if reached > done else number + (1 if THOROUGH else 3)
        done |= reached
    assert marts(world) == after
    assert len(struck) > (20 if THOROUGH else 10), struck
    world.standin.memory.faults.clear()
    world.cycle(world.now + HOUR)
    world.assert_whole()
