"""SIGKILL, for real, before and after the different statements of cycles that do all that a cycle can have to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proof.kills import Killer, covering, scenes
from tests.proof.scenes import STORIES
from tests.support.thorough import THOROUGH

HISTORIES = (*range(3), *(name for name in STORIES if "line" in name or "just then" in name))
"""Random ones, and the short ones of the night before a shorter month: no random one has it."""
EVERY = 1 if THOROUGH else 16

HISTORY, RAW = "order_tracking_history", "order_tracking_raw"
TABLES = ("uni_tracking_info", "ecs_order_info", "uni_tracking_spath")
SHORTS = ("uti", "ecs", "uts")
ESSENTIAL = (
    *(f"{verb} {RAW}.{table}_raw" for verb in ("INSERT INTO", "DELETE FROM") for table in TABLES),
    *(f"INSERT INTO {RAW}.{table}" for table in ("extract_log", "rejected_rows")),
    *(f"INSERT INTO order_tracking.mart_{table} " for table in TABLES),
    *(f"DELETE FROM order_tracking.mart_{table} WHERE " for table in TABLES),  # before the insert
    *(f"DELETE FROM order_tracking.mart_{table} USING (SELECT " for table in TABLES),  # the trim
    *(f"INSERT INTO {HISTORY}.hist_{short}_? " for short in SHORTS),
    *(f"DELETE FROM {HISTORY}.hist_{short}_? USING (SELECT " for short in ("uti", "ecs")),  # what came back
    *(f"{verb} {HISTORY}.order_tracking_exceptions" for verb in ("INSERT INTO", "UPDATE")),
    "COMMIT",
)
"""How the statements begin that a cycle can have to do, beside the columns that history gains after a plan
(tests/marts/test_schema_change.py)."""


@pytest.mark.slow(minutes=12, thorough=55)
def test_a_cycle_killed_at_any_statement_ends_as_if_it_had_not_been_once_it_is_run_again(tmp_path: Path) -> None:
    chosen = covering(scenes(HISTORIES))
    shapes = frozenset[str]().union(*(scene.shapes for scene in chosen))
    left_out = [start for start in ESSENTIAL if not any(shape.startswith(start) for shape in shapes)]
    assert not left_out, "these statements are in none of the cycles"
    killer = Killer(tmp_path, EVERY)
    for history in HISTORIES:
        if steps := {scene.step for scene in chosen if scene.history == history}:
            killer.play(history, steps)
    print(
        f"{len(chosen)} cycles of {len(HISTORIES)} histories, {len(shapes)} different statements, "
        f"killed at {killer.points} points"
    )
    assert killer.points >= 25
