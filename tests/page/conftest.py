"""Factories of what the page shows: a warehouse with a past, and its page."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from extract.clock import Clock
from extract.tables import load_config
from scripts.page.render import render_page
from scripts.reading import warehouse_to_read
from scripts.status import read_status
from tests.commands.test_status import HISTORY, NOW, land, log_checks, log_cycle
from tests.support.world import DAY, HOUR, MINUTE, World, moment

PHASES = [
    {"phase": "extract", "seconds": 1.5, "landed": 5},
    {"phase": "marts", "seconds": 1.2, "archived": 2, "archived_uti": 2},
    {"phase": "close", "seconds": 0.0},
]


def find(world: World, check: str, orders: range, opened: int, closed: int | None = None, detail: str = "d") -> None:
    """A finding of each order, opened and perhaps closed at these moments."""
    at, until = moment(opened).replace(tzinfo=None), None if closed is None else moment(closed).replace(tzinfo=None)
    world.query(
        f"INSERT INTO {HISTORY}.order_tracking_exceptions "
        "SELECT ?, 'order_tracking.mart', number, ?, ?, ?, 1, ?, CASE WHEN ? THEN 'cleared' END "
        "FROM range(?, ?) AS numbers (number)",
        *[check, detail, at, at, until, until is not None, orders.start, orders.stop],
    )


@pytest.fixture
def lively(world: World) -> World:
    """Cycles of two days, one of them failed; rows in history; findings."""
    world.plant(f"{HISTORY}.hist_uti_2025_h1", *[(order, "T", 200, NOW - 200 * DAY) for order in range(5)])
    world.plant(f"{HISTORY}.hist_uts_2024_h2", (1, NOW - 300 * DAY, 100, 0))
    ends = [NOW - (number * 60 + 10) * MINUTE for number in range(40)]
    world.plant(
        f"{HISTORY}.cycle_log",
        *[
            (
                *[moment(end).replace(tzinfo=None)] * 2,
                3.0,
                "done",
                5,
                0,
                2,
                *[end - late * MINUTE] * 3,
                json.dumps(PHASES),
            )
            for late, end in enumerate(ends, start=1)
        ],
    )
    log_cycle(world, NOW - 5 * HOUR, "failed", error="the source is away", phases="[]")
    log_checks(world, NOW - 10 * HOUR)
    land(world, NOW - 12 * MINUTE)
    find(world, "order_without_ecs", range(1, 4), NOW - 5 * DAY)
    find(world, "rejected_rows", range(10, 12), NOW - 9 * DAY, NOW - 7 * DAY)
    return world


@pytest.fixture
def render(world: World) -> Callable[[], str]:
    """The page of the world's warehouse at NOW."""

    def page() -> str:
        with warehouse_to_read("local") as warehouse:
            return render_page(warehouse, read_status(warehouse, load_config(), Clock(moment(NOW))))

    return page


@pytest.fixture(scope="session")
def pages() -> dict[str, str]:
    """Pages that were rendered already: drawing them takes the most of these tests' time."""
    return {}


@pytest.fixture
def lively_page(request: pytest.FixtureRequest, pages: dict[str, str]) -> str:
    """The page of the lively world, rendered once."""
    if "lively" not in pages:
        request.getfixturevalue("lively")
        pages["lively"] = request.getfixturevalue("render")()
    return pages["lively"]
