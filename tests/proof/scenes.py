"""Short histories by hand: one for each rule that a classic mistake breaks, and those in which faults were found.

Each is played against the oracle like a random one; the mutants meet these first.
"""

from __future__ import annotations

from tests.proof.histories import Step
from tests.proof.oracle import ECS, UTS

NOON = 1_767_268_800  # 2026-01-01T12:00:00, and half a year before it:
HALF_A_YEAR_AGO = 1_751_371_200  # 2025-07-01T12:00:00
QUARTER, HOUR, DAY = 900, 3600, 86400
AN_APRILS_LAST_NOON, THAT_HALLOWEEN = 1_777_550_400, 1_793_404_800  # 2026-04-30T12:00:00, 2026-10-31T00:00:00
LONG_AGO, LONGER_AGO = NOON - 250 * DAY, NOON - 450 * DAY  # in 2025_h1 and in 2024_h2


def order(number: int, time: int) -> list[Step]:
    """An order that was created and never seen again."""
    return [
        ("row", ECS, (number, 1, time)),
        ("row", UTS, (number, time, 100, 0)),
        ("status", (number, "T", 100, time)),
    ]


SCENES: dict[str, list[Step]] = {
    "an order six months old to the second stays, and leaves a second later": [
        *order(1, HALF_A_YEAR_AGO),
        *order(2, HALF_A_YEAR_AGO - 1),
        *order(3, NOON),
        ("cycle", NOON + QUARTER, None),
        *order(4, NOON + 1),
        ("cycle", NOON + 2 * QUARTER, None),
    ],
    "there is no 31 April: the line waits at 1 May, and what had just left stays in history": [
        *order(1, AN_APRILS_LAST_NOON),
        *order(2, THAT_HALLOWEEN - HOUR),
        ("cycle", THAT_HALLOWEEN - QUARTER, None),
        *order(3, THAT_HALLOWEEN + 300),
        ("cycle", THAT_HALLOWEEN + QUARTER, None),
        *order(4, THAT_HALLOWEEN + 13 * HOUR),
        ("cycle", THAT_HALLOWEEN + 14 * HOUR, None),
    ],
    "and an older status of an order that had left comes just then": [
        ("status", (1, "T", 100, AN_APRILS_LAST_NOON)),
        *order(2, THAT_HALLOWEEN - 3 * HOUR),
        ("cycle", THAT_HALLOWEEN - 2 * HOUR, None),
        *order(3, THAT_HALLOWEEN - HOUR),
        ("cycle", THAT_HALLOWEEN - QUARTER, None),
        ("status", (1, "T", 99, AN_APRILS_LAST_NOON - HOUR)),
        ("row", ECS, (1, 1, AN_APRILS_LAST_NOON - DAY)),
        *order(4, THAT_HALLOWEEN + 300),
        ("cycle", THAT_HALLOWEEN + QUARTER, 1),
        *order(5, THAT_HALLOWEEN + 13 * HOUR),
        ("cycle", THAT_HALLOWEEN + 14 * HOUR, None),
    ],
    "a row without some of its values leaves like any other": [
        ("row", UTS, (1, LONG_AGO, None, None)),
        ("status", (1, None, None, LONG_AGO)),
        ("row", ECS, (1, None, LONG_AGO)),
        *order(2, NOON),
        ("cycle", NOON + QUARTER, None),
    ],
    "one future-dated order archives nothing and hides nothing": [
        *order(1, NOON - 10 * DAY),
        *order(2, NOON + 300 * DAY),
        ("cycle", NOON, None),
        *order(3, NOON + DAY),
        ("cycle", NOON + 3 * DAY, None),
        ("cycle", NOON + 40 * DAY, None),
        ("cycle", NOON + 40 * DAY + QUARTER, None),
    ],
    "scans are trimmed by the line of the statuses": [
        *order(1, NOON - 60 * DAY),
        ("row", UTS, (1, NOON - 200 * DAY, 200, 1)),
        ("row", UTS, (1, NOON, 200, 2)),
        ("cycle", NOON, None),
    ],
    "metadata waits for its status, and follows its order when it comes late": [
        *order(1, LONG_AGO),
        ("row", ECS, (2, 1, LONG_AGO)),
        ("status", (3, "T", 100, LONG_AGO)),
        *order(4, NOON),
        ("cycle", NOON, None),
        ("cycle", NOON + DAY, None),
        ("row", ECS, (3, 1, LONG_AGO)),
        ("cycle", NOON + DAY + HOUR, 1),
    ],
    "metadata lies in the half-year of its order": [
        *order(1, LONG_AGO),
        *order(2, LONGER_AGO),
        *order(3, NOON),
        ("cycle", NOON, None),
    ],
    "orders of two half-years come back, and one is restored": [
        *order(1, LONG_AGO),
        *order(2, LONGER_AGO),
        *order(3, NOON),
        ("cycle", NOON, None),
        ("status", (2, "T", 200, NOON + 60)),
        ("status", (1, "T", 200, NOON + 61)),
        ("cycle", NOON + QUARTER, None),
        ("restore", NOON + HOUR, (2,)),
        ("cycle", NOON + HOUR, None),
        ("repeat",),
    ],
    "an archived order's number is given to another order": [
        *order(1, LONG_AGO),
        *order(2, NOON),
        ("cycle", NOON, None),
        ("purge", 1),
        ("row", ECS, (1, 2, NOON + 60)),
        ("row", UTS, (1, NOON + 60, 100, 0)),
        ("status", (1, "U", 100, NOON + 60)),
        ("cycle", NOON + QUARTER, None),
        ("cycle", NOON + DAY, None),
    ],
    "and none of the two has a tracking number": [
        ("row", ECS, (1, 1, LONG_AGO)),
        ("status", (1, None, 100, LONG_AGO)),
        ("status", (4, None, 100, LONG_AGO)),
        *order(2, NOON),
        ("cycle", NOON, None),
        ("purge", 1),
        ("row", ECS, (1, 2, NOON + 60)),
        ("row", ECS, (4, 2, NOON + 60)),
        ("status", (1, None, 100, NOON + 60)),
        ("status", (4, None, 100, NOON + 60)),
        ("cycle", NOON + QUARTER, None),
        ("repeat",),
        ("status", (1, None, 200, NOON + 40 * DAY)),
        *order(3, NOON + 40 * DAY),
        ("cycle", NOON + 40 * DAY + QUARTER, None),
    ],
    "and its metadata comes first, or never": [
        *order(1, LONG_AGO),
        *order(2, LONG_AGO),
        *order(3, NOON),
        ("cycle", NOON, None),
        ("purge", 1),
        ("purge", 2),
        ("row", ECS, (1, 2, NOON + 60)),
        ("status", (2, "U", 100, NOON + 60)),
        ("cycle", NOON + QUARTER, None),
        ("cycle", NOON + DAY, None),
        ("status", (1, "T", 100, NOON + DAY)),
        ("cycle", NOON + DAY + QUARTER, None),
        ("cycle", NOON + 2 * DAY, None),
    ],
    "an old status never replaces a newer one, and of one second the later arrival wins": [
        ("status", (1, "T", 105, NOON - DAY)),
        ("cycle", NOON, None),
        ("status", (1, "T", 101, NOON - DAY)),
        ("cycle", NOON + 60, 1),
        ("cycle", NOON + QUARTER, None),
        ("status", (1, "T", 100, NOON - 2 * DAY)),
        ("cycle", NOON + 2 * QUARTER, 1),
    ],
    "rows become visible a little and very late": [
        *order(1, NOON - 60),
        ("cycle", NOON, None),
        *order(2, NOON - 10 * 60),
        ("cycle", NOON + 60, None),
        ("cycle", NOON + QUARTER, None),
        *order(3, NOON - 20 * DAY),
        ("cycle", NOON + 2 * QUARTER, NOON - 35 * DAY),
    ],
    "a scan stands twice in the source": [
        *order(1, NOON),
        ("row", UTS, (1, NOON, 100, 0)),
        ("cycle", NOON + QUARTER, None),
        ("cycle", NOON + 2 * QUARTER, None),
    ],
    "raw forgets, and what it forgot is not landed again": [
        *order(1, NOON),
        ("row", UTS, (1, NOON + 60 * DAY, 200, 1)),
        ("cycle", NOON + QUARTER, None),
        *order(2, NOON + 40 * DAY),
        ("cycle", NOON + 40 * DAY, None),
        ("cycle", NOON + 40 * DAY + QUARTER, None),
        *order(3, NOON + 60),
        ("cycle", NOON + 40 * DAY + 2 * QUARTER, 1),
    ],
    "what is open stays open while its order is in the grace": [
        ("status", (1, "T", 100, NOON)),
        ("cycle", NOON, None),
        ("cycle", NOON + DAY, None),
        ("status", (1, "T", 200, NOON + 11 * HOUR)),
        ("cycle", NOON + DAY + 12 * HOUR, None),
        ("cycle", NOON + 2 * DAY + 12 * HOUR, None),
    ],
}

FOUND: dict[str, tuple[int, str, list[Step]]] = {
    "a status changes within its second, between two cycles of one quarter-hour": (
        NOON - DAY,
        "2024_h1",
        [
            ("status", (1, "T", 500, NOON)),
            ("cycle", NOON + QUARTER, None),
            ("status", (1, "T", 300, NOON)),
            ("cycle", NOON + QUARTER + 60, None),
            ("cycle", NOON + 2 * QUARTER, None),
        ],
    ),
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

STORIES = {**FOUND, **{name: (NOON - DAY, "2024_h1", steps) for name, steps in SCENES.items()}}
"""Name -> planned at, history_start, steps."""
