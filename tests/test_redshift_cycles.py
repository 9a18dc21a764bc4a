"""The cycles of production, on the Redshift stand-in: the same promises as on DuckDB, through the real drivers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest_redshift import START
from tests.redshift_standin import refusals
from tests.redshift_world import RedshiftWorld
from tests.world import DAY, HOUR, MINUTE

pytestmark = pytest.mark.xdist_group("redshift")


def test_every_row_of_the_source_has_its_one_place(make_redshift_world: Callable[..., RedshiftWorld]) -> None:
    """The first cycle of all: plan, foundation, first load, what is old goes to history at the next."""
    world = make_redshift_world(planned=False)
    for order in range(1, 21):
        world.order(order, START - order * 20 * DAY, partner=order % 3)
        world.scan(order, START - order * 19 * DAY)
    world.cycle()
    world.cycle()
    world.assert_whole()
    assert len(world.uti()) + len(world.history("uti")) == 20
    assert world.history("uts")
    assert world.objects_in_s3() == []
    assert [sql for sql in world.standin.statements if refusals(sql)] == []
