"""What an EXPLAIN of Redshift says of rows that travel between slices."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LARGE = 1_000_000
"""So many rows (as the planner estimates) are too many to be sent between slices in a cycle."""

_MOVE = re.compile(r"DS_(?:BCAST|DIST)\w*")
_ROWS = re.compile(r"\brows=(\d+)")
NOTHING_MOVES = "DS_DIST_NONE"


@dataclass(frozen=True)
class Move:
    """A join that sends rows. kind: as the plan names it; rows: of the side that travels, as the planner estimates."""

    kind: str
    rows: int


def is_of_redshift(plan: Sequence[str]) -> bool:
    """Whether the lines are a plan of Redshift's: its nodes are marked XN."""
    return any("XN " in line for line in plan)


def kinds_of(plan: Sequence[str]) -> set[str]:
    """How the joins of a plan distribute rows."""
    return set(_MOVE.findall("\n".join(plan)))


def moves(plan: Sequence[str]) -> Iterator[Move]:
    """The joins of a plan that send rows between slices, with the rows that they send."""
    nodes = [(line.index("XN ") if "XN " in line else None, line) for line in plan]
    for at, (depth, line) in enumerate(nodes):
        kind = _MOVE.search(line)
        if depth is None or kind is None or kind.group() in (NOTHING_MOVES, "DS_DIST_ALL_NONE"):
            continue
        below: list[tuple[int, str]] = []
        for deeper, text in nodes[at + 1 :]:
            if deeper is not None and deeper <= depth:
                break
            if deeper is not None:
                below.append((deeper, text))
        nearest = min((deeper for deeper, _ in below), default=0)
        sides = [_estimate(text) for deeper, text in below if deeper == nearest]
        if kind.group().endswith("OUTER"):
            sides = sides[:1]
        elif kind.group().endswith("INNER"):
            sides = sides[-1:]
        yield Move(kind.group(), max(sides, default=0))


def _estimate(line: str) -> int:
    found = _ROWS.search(line)
    return int(found.group(1)) if found else 0
