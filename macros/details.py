"""How the detail of an exception is written: a topic and, in brackets, the figures of the moment."""

from __future__ import annotations

COUNTED = " (rows: "
"""Behind this a detail says how many rows it is about."""

VALUES = " (found: "
"""Behind this it says which two values disagree, and by how much."""

ACCEPTED = "accepted: "
"""So begins the resolution of an exception that is known and stays quiet until its detail changes."""


def topic(table: str) -> str:
    """SQL of what a detail is about, without its figures.

    Example:
        >>> topic("a")
        "SPLIT_PART(SPLIT_PART(a.detail, ' (rows: ', 1), ' (found: ', 1)"
    """
    return f"SPLIT_PART(SPLIT_PART({table}.detail, '{COUNTED}', 1), '{VALUES}', 1)"
