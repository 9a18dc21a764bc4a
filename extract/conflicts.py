"""Transactions that others come in between of: what is safe to repeat is tried again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from extract.errors import TransactionConflict

Result = TypeVar("Result")

CONFLICT_PAUSES = (0.5, 2.0, 8.0)
"""Seconds between the attempts."""


def again_after_conflicts(work: Callable[[], Result]) -> Result:
    """Does `work`, which must be safe to repeat, again when it ends in a TransactionConflict; a few times."""
    for pause in CONFLICT_PAUSES:
        try:
            return work()
        except TransactionConflict:
            time.sleep(pause)
    return work()
