"""SQLMesh's state is lost: a mart is rebuilt from raw while raw still has every row, and never afterwards.

Or it notes a time that has not come yet, for a clock was ahead.
"""

from __future__ import annotations

from typing import Any

import pytest

from extract.config import PROJECT, ConfigurationError
from scripts.run_cycle import CycleFailed
from tests.conftest import START
from tests.test_crashes import everything
from tests.test_retention import AGED
from tests.world import DAY, HOUR, MINUTE, World


def lose_state(world: World) -> None:
    world.execute("DROP SCHEMA sqlmesh CASCADE")


def marts(world: World) -> dict[str, list[tuple[Any, ...]]]:
    return {name: rows for name, rows in everything(world).items() if not name.startswith("order_tracking_raw")}


def test_state_lost_before_anything_was_trimmed_is_made_good(world: World) -> None:
    world.order(9, START)
    world.order(2, START - 10 * DAY)
    world.cycle()
    world.cycle(START + DAY)
    world.scan(2, START + DAY)
    world.cycle(START + DAY + HOUR)
    lose_state(world)
    world.order(3, START + DAY + 2 * HOUR)
    world.cycle(START + DAY + 3 * HOUR)
    world.assert_whole()
    assert set(world.uti()) == {2, 3, 9}


def test_state_lost_after_orders_were_archived_is_made_good_from_whole_raw(world: World) -> None:
    """Raw brings what was archived back into the marts; the same evaluation moves it to history again."""
    world.order(9, START)
    world.order(1, AGED)
    world.cycle()
    world.cycle(START + DAY)
    lose_state(world)
    world.cycle(START + DAY + HOUR)
    world.cycle()
    world.assert_whole()
    assert (set(world.uti()), world.history("uti"), world.history("ecs")) == ({9}, [("2025_h1", 1)], [("2025_h1", 1)])
    world.scan(9, START + 2 * DAY - HOUR)
    world.cycle(START + 2 * DAY)
    assert world.exceptions() == []


def test_state_lost_after_raw_was_trimmed_refuses_and_changes_nothing(world: World) -> None:
    """SQLMesh would replace each mart by the 35 days that raw holds."""
    world.order(9, START - 60 * DAY)
    world.order(1, AGED)
    world.cycle()
    world.order(2, START + DAY)
    world.cycle(START + DAY + HOUR)
    world.order(4, START + 40 * DAY - HOUR)
    world.cycle(START + 40 * DAY)
    assert world.query("SELECT COUNT(*) FROM order_tracking_raw.uni_tracking_spath_raw") == [(2,)]
    before = marts(world)
    lose_state(world)
    world.order(3, START + 40 * DAY)
    for _ in range(2):
        with pytest.raises(CycleFailed, match="would be built anew"):
            world.cycle()
        assert marts(world) == before


def test_a_clock_that_was_a_year_ahead_is_made_good_by_the_runbook(world: World) -> None:
    world.order(1, AGED)
    world.order(9, START)
    world.cycle()
    world.order(2, START + 20 * MINUTE)
    world.cycle(START + 31 * MINUTE)
    world.order(3, START + 40 * MINUTE)
    world.scan(1, START + 40 * MINUTE)
    world.cycle(START + 365 * DAY)
    world.order(4, START + 50 * MINUTE)
    with pytest.raises(ConfigurationError, match="A clock was ahead"):
        world.cycle(START + HOUR + MINUTE)
    text = (PROJECT / "docs" / "operations.md").read_text().partition("\n## A clock was ahead\n")[2]
    for step in text.partition("```sql")[2].partition("```")[0].split(";"):
        if step.strip():
            world.execute(step.replace("order_tracking_state.", "sqlmesh."))
    for now in (HOUR + MINUTE, HOUR + 16 * MINUTE, DAY + 20 * MINUTE, 40 * DAY, 365 * DAY, 365 * DAY + 15 * MINUTE):
        world.order(now, START + now - HOUR)
        world.cycle(START + now, reconcile_since=1)
        if now > HOUR + MINUTE:  # the first one finds nothing due
            world.assert_whole()
    assert world.exceptions() == []
