"""What a steady cycle costs on Redshift: each statement, each commit and each read of the catalog has its price."""

from __future__ import annotations

import re

import pytest

from tests.redshift_standin.lexer import without_head
from tests.support.conftest_redshift import START
from tests.support.redshift_world import RedshiftWorld
from tests.support.world import DAY, HOUR, MINUTE, at

STATEMENTS, COMMITS, CATALOG_READS = 70, 8, 2

CATALOG = re.compile(r"\b(pg_(?!backend_pid)\w+|svv_\w+|information_schema)\b", re.IGNORECASE)


@pytest.mark.slow
def test_a_steady_archiving_cycle_costs_little(redshift_world: RedshiftWorld) -> None:
    """Orders are created and scanned, and some of half a year ago age out: status, metadata and scans."""
    world = redshift_world
    aged = at("2025-03-01T00:00:00")
    for order in range(1, 41):
        world.order(order, aged + order * 3 * MINUTE, partner=order % 3)
    world.order(100, START - HOUR)
    world.cycle(START)
    for step in range(1, 4):
        world.order(100 + step, world.now + 10 * MINUTE)
        world.scan(100, world.now + 12 * MINUTE)
        world.standin.memory.statements.clear()
        world.standin.memory.commits.clear()
        before = [len(world.history(short)) for short in ("uti", "ecs", "uts")]
        world.cycle()
    after = [len(world.history(short)) for short in ("uti", "ecs", "uts")]
    assert all(more > less for less, more in zip(before, after, strict=True)), "nothing was archived"
    assert world.exceptions() == []
    statements = [" ".join(without_head(sql).split()) for sql in world.standin.statements]
    commits = world.standin.memory.commits
    reads = [sql for sql in statements if CATALOG.search(sql)]
    listed = "\n".join(f"{number:3} {sql[:200]}" for number, sql in enumerate(statements, 1))
    print(f"{listed}\n{len(statements)} statements, {len(commits)} commits, {len(reads)} reads of the catalog")
    bounds = [sql for sql in statements if re.search(r'"mart"\."(update|add)_time" >= CAST\(\d+ AS BIGINT\)', sql)]
    assert len(bounds) == 2, "what the marts hold is looked for in a range whose bound is a literal"
    assert len(statements) <= STATEMENTS
    assert len(commits) <= COMMITS
    assert len(reads) <= CATALOG_READS


@pytest.mark.slow
def test_cycles_make_no_view_anew(redshift_world: RedshiftWorld) -> None:
    """Who reads one, or has built upon it, is in nobody's way, and a right stays: a view's interval is a year."""
    world = redshift_world
    readers = "has_table_privilege('reader', 'order_tracking.order_status', 'SELECT')"
    world.query("DROP ROLE IF EXISTS reader")
    world.query("CREATE ROLE reader")
    world.query("GRANT SELECT ON order_tracking.order_status TO reader")
    world.order(1, START - HOUR)
    world.standin.memory.statements.clear()
    for now in (START + HOUR, START + DAY + HOUR, START + 35 * DAY):
        world.cycle(now)
    made = [sql for sql in world.standin.statements if re.match(r"(DROP|CREATE) .*?VIEW", without_head(sql))]
    assert [" ".join(sql.split())[:60] for sql in made if "CREATE OR REPLACE" not in sql] == []
    assert world.query(f"SELECT {readers}") == [(True,)]
    world.query("DROP OWNED BY reader")
    world.query("DROP ROLE reader")
