"""Nothing is lost, doubled or split, whatever happens: random histories through the project and the oracle.

After every step the warehouse must be exactly where the oracle says, and the promises I1, I2, I4 and I6 are looked at
by themselves; that steps can be repeated (I7) and that history holds what was trimmed (I3) is part of the first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.proof.histories import ACTIONS, EVENTS, KINDS, PASSAGES, History, Step
from tests.proof.play import Figures, Player, play_history

HISTORIES = int(os.environ.get("ORDER_TRACKING_TEST_HISTORIES", "10"))
DAY = 86400


@pytest.fixture(scope="module")
def figures() -> Iterator[Figures]:
    figures = Figures()
    yield figures
    print(f"\n{figures.histories} histories, {figures.cycles} cycles, {figures.rows} rows, {dict(figures.events)}")


@given(seed=st.integers(0, 2**32))
@settings(
    max_examples=HISTORIES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # a failing history is cut down by itself, not by trying other seeds
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_after_every_step_the_warehouse_is_where_the_oracle_says(figures: Figures, seed: int) -> None:
    play_history(seed, figures)


def test_every_kind_of_event_is_drawn_and_the_rare_ones_often_enough() -> None:
    """Thought up only, not played: two hundred histories take a second or two."""
    drawn = sum((History(seed).drawn for seed in range(200)), History(200).drawn)
    seldom = {kind: drawn[kind] for kind in KINDS if drawn[kind] < 20}
    assert not seldom
    assert len(KINDS) == len(EVENTS) + len(PASSAGES) + len(ACTIONS)


def test_the_same_seed_gives_the_same_history() -> None:
    assert History(7).steps == History(7).steps != History(8).steps


NOON = 1_767_268_800  # 2026-01-01T12:00:00

FOUND: dict[str, tuple[int, str, list[Step]]] = {
    "a status from before history begins comes back after a newer one was archived": (
        1683332099,
        "2023_h2",
        [
            ("status", (3, "T", 100, 1693440000)),
            ("status", (2, "T", 100, 1693440000)),
            ("cycle", 1693450000, None),
            ("status", (3, "T", 100, 1719880000)),
            ("cycle", 1719885601, None),
            ("status", (2, "T", 103, 1685969598)),
            ("cycle", 1719985601, 1),
        ],
    ),
    "a status is renewed within its hour, and then there are no cycles for a year": (
        1729305930,
        "2023_h1",
        [
            ("status", (6, "T", 101, 1737647565)),
            ("cycle", 1737647565, None),
            ("status", (6, "T", 100, 1737647566)),
            ("cycle", 1768098234, None),
        ],
    ),
    "a status is renewed within its second, and then there are no cycles for a year": (
        1729305930,
        "2023_h1",
        [
            ("status", (6, "T", 101, 1737647565)),
            ("cycle", 1737647565, None),
            ("status", (6, "T", 100, 1737647565)),
            ("cycle", 1768098234, None),
        ],
    ),
    "a late status is visible only behind the buffer, in the hour of the one held": (
        NOON,
        "2024_h1",
        [
            ("status", (1, "T", 100, NOON)),
            ("status", (2, "T", 100, NOON + 7200)),
            ("cycle", NOON + 7200, None),
            ("status", (1, "T", 101, NOON + 60)),
            ("cycle", NOON + 9000, NOON - DAY),
        ],
    ),
    "old scans arrive before there is any status, and then an old status": (
        NOON,
        "2024_h1",
        [
            ("row", "uni_tracking_spath", (1, NOON - 200 * DAY, 100, 0)),
            ("cycle", NOON + 900, None),
            ("status", (1, "T", 100, NOON - 200 * DAY)),
            ("cycle", NOON + 1800, 1),
            ("cycle", NOON + 2700, None),
        ],
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_this_proof_has_found_before(name: str) -> None:
    """Faults that histories have shown, each with the smallest one that did."""
    planned_at, history_start, steps = FOUND[name]
    player = Player(planned_at, history_start)
    try:
        player.play(steps)
        assert player.newest or "scans" in name
    finally:
        player.close()
