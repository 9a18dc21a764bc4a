"""The examples in docstrings say what is true, and README.md's queries run as they stand."""

from __future__ import annotations

import datetime as dt
import doctest
import importlib

import pytest

from extract.settings import PROJECT
from scripts import demo
from tests.support.world import World, at

WITH_EXAMPLES = sorted(
    f"{folder}.{file.stem}"
    for folder in ("extract", "macros", "scripts", "bench")
    for file in (PROJECT / folder).glob("*.py")
    if ">>>" in file.read_text()
)


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_the_examples_of(module: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(module))
    assert tried and not failed


def test_the_queries_of_the_readme_run_as_they_stand(world: World) -> None:
    """In a file that is called as the demo's, filled by a cycle in the year that they speak of."""
    assert world.warehouse_file.name == demo.Demo(demo.FOLDER).warehouse_file.name
    order = 67500000000
    world.order(order, at("2025-06-01T00:00:00"), partner=6)
    world.scan(order, at("2025-12-31T23:59:59"), code=200)
    world.scan(order, at("2026-01-01T00:00:00"), code=200)
    world.scan(order, at("2026-01-02T00:00:00"), code=210)
    world.order(2, at("2026-01-01T00:00:00"), partner=5)
    world.scan(2, at("2026-01-02T00:00:00"), code=200)
    world.cycle(at("2026-01-02T00:20:00"))
    _, _, section = (PROJECT / "README.md").read_text().partition("\n## Ask\n\n```sql\n")
    queries = section.partition("```")[0].split(";")[:-1]
    of_partner, scanned, of_order, how_often = (world.query(sql) for sql in queries)
    assert of_partner == [(order, 210, dt.datetime(2026, 1, 2), 210)]
    assert scanned == [(order, 210)]
    assert of_order == [
        (dt.datetime(2025, 6, 1), 100, "2025_h1"),
        (dt.datetime(2025, 12, 31, 23, 59, 59), 200, "mart"),
        (dt.datetime(2026, 1, 1), 200, "mart"),
        (dt.datetime(2026, 1, 2), 210, "mart"),
    ]
    assert how_often == [(6, 200, 1)]
