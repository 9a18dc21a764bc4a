"""Each promise is looked at by itself: a warehouse that breaks it is found, and by the promise that it breaks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.proof.histories import Step
from tests.proof.play import VERSION, NotAsItMustBe, Player
from tests.proof.scenes import DAY, LONG_AGO, LONGER_AGO, NOON, order

UTI, ECS, UTS = (f"order_tracking.mart_{name}" for name in VERSION)
INTO_UTI, INTO_ECS, INTO_UTS = (f"order_tracking.mart_{name} ({columns})" for name, columns in VERSION.items())
OLD_UTI, OLD_ECS, OLD_UTS = (f"order_tracking_history.hist_{short}_2025_h1" for short in ("uti", "ecs", "uts"))

ACTIVE_AND_ARCHIVED: list[Step] = [
    *order(1, LONG_AGO),
    *order(2, LONGER_AGO),
    *order(3, NOON),
    ("row", "uni_tracking_spath", (1, NOON - 30 * DAY, 101, 1)),
    ("cycle", NOON, None),
]
LANDED = "TIMESTAMP '2026-01-01 11:59:59'"
ARCHIVED = "TIMESTAMP '2026-01-01 12:00:00'"

BROKEN = {
    "I1: one row per order in uti": f"INSERT INTO {UTI} SELECT * FROM {UTI}",
    "I1: one row per order in hist_ecs": f"INSERT INTO {OLD_ECS} SELECT * FROM {OLD_ECS}",
    "I1: one row per scan": f"INSERT INTO {INTO_UTS} VALUES (1, {LONG_AGO}, 100, 0, {LANDED})",
    "I2: order 1": f"DELETE FROM {OLD_UTI}",
    "I3: a scan that left": f"DELETE FROM {UTS} WHERE order_id = 1",
    "I3: what left ecs": f"DELETE FROM {ECS} WHERE order_id = 3",
    "I4: an active order": f"INSERT INTO {INTO_UTI} VALUES (1, 'T', 100, {LONG_AGO}, {LANDED})",
    "I5: order 1 lies in one half-year": "INSERT INTO order_tracking_history.hist_ecs_2024_h2 "
    f"SELECT * FROM {OLD_ECS}; DELETE FROM {OLD_ECS}",
    "I5: the metadata of an archived order": f"INSERT INTO {INTO_ECS} VALUES (1, 1, {LONG_AGO}, {LANDED}); "
    f"DELETE FROM {OLD_ECS}",
    "I6: order 3": f"UPDATE {UTI} SET update_time = update_time - 1",
    "ecs is in one place": f"INSERT INTO {INTO_ECS} VALUES (1, 1, {LONG_AGO}, {LANDED})",
    # And what only the oracle knows: when a row arrived, and when it was archived.
    "hist_uti": f"UPDATE {OLD_UTI} SET archived_at = {LANDED}",
    "hist_uts": f"UPDATE {OLD_UTS} SET archived_at = {LANDED}",
    "hist_ecs": f"UPDATE {OLD_ECS} SET landed_at = {ARCHIVED}",
    "uts": f"UPDATE {UTS} SET landed_at = {ARCHIVED}",
}


@pytest.fixture(scope="module")
def player() -> Iterator[Player]:
    player = Player(NOON - DAY, "2024_h1")
    player.play(ACTIVE_AND_ARCHIVED)
    player.compare("as it was")
    yield player
    player.close()


@pytest.mark.parametrize("promise", BROKEN)
def test_a_warehouse_that_breaks_a_promise_is_found(player: Player, promise: str) -> None:
    was = player.before, player.newest, player.unrestored
    player.engine.connection.execute(f"BEGIN; {BROKEN[promise]}")
    try:
        with pytest.raises(NotAsItMustBe, match=f"^{promise}"):
            player.compare("after this")
    finally:
        player.engine.connection.execute("ROLLBACK")
    player.before, player.newest, player.unrestored = was
    player.compare("as it was again")
