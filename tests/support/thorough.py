"""How thorough a run is: most runs sample what repeats itself hundreds of times, `make soak` runs all of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

THOROUGH = os.environ.get("ORDER_TRACKING_TEST_THOROUGH") == "1"

SAMPLED = (
    "random histories: one (make soak: twenty; make prove N=200: as many as you like)",
    "replays of the recorded traces: weekly and four-weekly, by the proof's engine (make soak: weekly, whole cycles)",
    "the traces on both engines: a cycle every two and four years (make soak: every one and two)",
    "crashes of a whole cycle: before every twelfth statement and around the trims (make soak: before every one)",
    "kills of the cycles of random histories: at every 16th point (make soak: at every different statement)",
    "kills of a whole cycle at random moments: three (make soak: six)",
    "failures on the Redshift stand-in: at every third write (make soak: at every one)",
)

T = TypeVar("T")


def sample(items: Sequence[T], step: int) -> Sequence[T]:
    """Every step-th of the items; all of them in a thorough run."""
    return items if THOROUGH else items[::step]
