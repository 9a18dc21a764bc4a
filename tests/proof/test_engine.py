"""The proof's engine is worth something only while it does what a real cycle does: here it must."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duckdb
import pytest

from macros.marts import CHECK_LOG
from tests.proof.engine import CHECKS, MARTS, stencil_of
from tests.proof.fast_world import FastWorld
from tests.proof.histories import History
from tests.proof.oracle import COLUMNS, UTI
from tests.support.commands import exceptions
from tests.support.world import World, make_tables, moment

COMPARED = """
    SELECT table_schema || '.' || table_name FROM information_schema.tables
    WHERE table_schema IN ('order_tracking', 'order_tracking_raw', 'order_tracking_history')
    AND table_name NOT IN ('order_status', 'order_timeline', 'order_lookup', 'cycle_log') ORDER BY 1"""
MEASURED = {"order_tracking_raw.extract_log": "EXCLUDE (started_at, bytes)"}


SEED = 1488
"""In its first cycles orders leave for two half-years, come back and are restored, a number is given to another order,
and rows are rejected."""
CYCLES = 9


@pytest.mark.slow(minutes=3)
def test_a_history_ends_in_the_same_tables_as_through_real_cycles(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them, with raw, the log of the extracts, history and exceptions."""
    history = History(SEED)
    worlds = [
        make_world(planned=False, kind=kind, folder=kind.__name__, now=history.started, history_start="2022_h1")
        for kind in (World, FastWorld)
    ]
    ends = []
    for world in worlds:
        monkeypatch.setenv("ORDER_TRACKING_DUCKDB", str(world.warehouse_file))
        live_through(world, history)
        ends.append(everything(world))
    real, fast = ends
    assert real.keys() == fast.keys()
    assert len([table for table in real if "hist_uti_2" in table]) >= 2
    assert real["order_tracking_raw.rejected_rows"]
    restored = "SELECT SUM(rows_landed) > 0 FROM order_tracking_raw.extract_log WHERE kind = 'restore'"
    assert worlds[0].query(restored) == [(True,)], "an order has come back, and its metadata was restored"
    exceptions_of_it = "FROM order_tracking_history.order_tracking_exceptions WHERE check_name = 'order_number_reused'"
    assert worlds[0].query(f"SELECT COUNT(*) > 0 {exceptions_of_it}") == [(True,)]
    # The first plan, which the engine does not make, runs the checks once over empty marts.
    assert real[CHECK_LOG].pop(0)[1] == 0
    for table, rows in real.items():
        assert fast[table] == rows, table


def live_through(world: World, history: History) -> None:
    """What a world can do of a history: its rows, its cycles and its restores."""
    with duckdb.connect(str(world.source_file)) as source:
        make_tables(source, wide=True)
    world.cycle(history.started)
    cycles = [number for number, step in enumerate(history.steps) if step[0] == "cycle"]
    for step in history.steps[: cycles[CYCLES - 1] + 1]:
        match step:
            case ("row", table, row):
                world.insert(table, [row])
            case ("status", row):
                world.source(f"DELETE FROM {UTI} WHERE order_id = ?", row[0])
                world.insert(UTI, [row])
            case ("purge", order):
                for table in COLUMNS:
                    world.source(f"DELETE FROM {table} WHERE order_id = ?", order)
            case ("cycle", now, since):
                world.cycle(now, reconcile_since=since)
            case ("restore", now, orders):
                at = f"{moment(now):%Y-%m-%dT%H:%M:%S}"
                assert exceptions(["--at", at, "restore", *(str(order) for order in orders)]) == 0


def everything(world: World) -> dict[str, list[tuple[Any, ...]]]:
    tables = [name for (name,) in world.query(COMPARED)]
    return {table: world.query(f"SELECT * {MEASURED.get(table, '')} FROM {table} ORDER BY ALL") for table in tables}


@pytest.mark.slow
def test_the_models_queries_depend_on_nothing_but_the_moments_that_are_filled_in() -> None:
    assert [name for name in (*MARTS, CHECKS) if stencil_of(name) is None] == []
