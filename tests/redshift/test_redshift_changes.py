"""Plans on the Redshift stand-in: a column comes in everywhere, a dev plan changes nothing, VARCHAR by the runbook."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redshift_connector

from extract.clock import Clock
from extract.ensure_tables import ensure_tables
from extract.run import extract
from extract.settings import PROJECT, RedshiftSettings
from extract.source import open_source
from extract.tables import load_config
from extract.warehouse import open_warehouse
from tests.redshift_standin import refusals
from tests.redshift_standin.lexer import without_head
from tests.support.conftest_redshift import START
from tests.support.redshift_world import MARTS, RedshiftWorld
from tests.support.world import DAY, HOUR, moment

pytestmark = pytest.mark.xdist_group("redshift")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project whose models a test may edit."""
    folder = tmp_path / "project"
    ignore = shutil.ignore_patterns("__pycache__", ".cache")
    for name in ("models", "macros", "audits"):
        shutil.copytree(PROJECT / name, folder / name, ignore=ignore)
    (folder / "extract").mkdir()
    for name in ("config.yaml", "external_models.yaml", "extract/tables.yaml"):
        shutil.copy(PROJECT / name, folder / name)
    return folder


def edit(file: Path, *changes: tuple[str, str]) -> None:
    text = file.read_text()
    for old, new in changes:
        assert old in text, f"{file.name}: {old}"
        text = text.replace(old, new)
    file.write_text(text)


def plan(project: Path, now: int, environment: str = "prod") -> None:
    """Plans in a process of its own: in this one the project's own macros would be taken for those of the copy."""
    with closing(open_warehouse("redshift")) as warehouse:
        ensure_tables(warehouse, load_config(project), now)
    code = f"""
import datetime as dt
from contextlib import closing
from sqlmesh.core.console import create_console, set_console
from sqlmesh.core.context import Context

set_console(create_console())
with closing(Context(paths=".", gateway="redshift")) as context:
    context.plan({environment!r}, execution_time=dt.datetime.fromtimestamp({now}, dt.UTC), auto_apply=True,
                 no_prompts=True, no_diff=True, skip_tests=True, include_unmodified={environment != "prod"})
"""
    environ = {"ORDER_TRACKING_START": "2025-08-30", **os.environ, "PYTHONPATH": str(project)}
    done = subprocess.run([sys.executable, "-c", code], cwd=project, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def add_pieces(project: Path) -> None:
    """uti gets a column `pieces`, as the README says one adds it."""
    edit(
        project / "external_models.yaml",
        ("    update_time: BIGINT\n", "    update_time: BIGINT\n    pieces: INTEGER\n"),
    )
    edit(
        project / "models" / "mart_uni_tracking_info.sql",
        ("    update_time BIGINT,\n    landed_at", "    update_time BIGINT,\n    pieces INTEGER,\n    landed_at"),
        ("    update_time,\n    landed_at", "    update_time,\n    pieces,\n    landed_at"),
        (
            "  ranked.landed_at::TIMESTAMP AS",
            "  ranked.pieces::INTEGER AS pieces, /* Pieces */\n  ranked.landed_at::TIMESTAMP AS",
        ),
    )


def test_an_added_column_reaches_raw_mart_and_every_history_table(redshift_world: RedshiftWorld, project: Path) -> None:
    world = redshift_world
    world.order(1, START - 200 * DAY)
    world.order(2, START - 170 * DAY)
    world.order(9, START)
    world.cycle()
    assert [order for _, order in world.history("uti")] == [1]

    world.source("ALTER TABLE uni_tracking_info ADD COLUMN pieces INTEGER")
    add_pieces(project)
    plan(project, world.now)
    world.insert("uni_tracking_info", [(3, "T3", 1, START + HOUR, 5)])
    world.cycle(START + 2 * HOUR, project=project)
    assert world.query("SELECT order_id, pieces FROM order_tracking.mart_uni_tracking_info ORDER BY 1") == [
        (2, None),
        (3, 5),
        (9, None),
    ]
    world.insert("uni_tracking_info", [(4, "T4", 1, START + 30 * DAY, 6)])
    world.cycle(START + 30 * DAY, project=project)
    assert sorted(world.history("uti", "order_id, pieces"), key=repr) == [
        ("2025_h1", 1, None),
        ("2025_h1", 2, None),
    ]
    assert [sql for sql in world.standin.statements if refusals(sql)] == []
    replaced = [sql for sql in world.standin.statements if "VIEW" in sql and "hist_uti_all" in sql and "pieces" in sql]
    dropped = [sql for sql in world.standin.statements if sql.upper().startswith("DROP VIEW") or "DROP VIEW" in sql]
    assert replaced and any("hist_uti_all" in sql for sql in dropped), "a view's columns cannot be replaced there"


def everything(world: RedshiftWorld) -> dict[str, list[Any]]:
    """Every row of production: what the prod views point to, history, exceptions and raw."""
    tables = [f"order_tracking.{mart}" for mart in MARTS]
    tables += [
        f"{schema}.{name}"
        for schema, name in world.query(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('order_tracking_history', "
            "'order_tracking_raw') ORDER BY 1, 2"
        )
    ]
    return {table: sorted(world.query(f"SELECT * FROM {table}"), key=repr) for table in tables}


def test_a_dev_plan_changes_nothing_in_production(redshift_world: RedshiftWorld, project: Path) -> None:
    """Production is an interval behind, holds what is due for history, and only the daily checks' model changes."""
    world = redshift_world
    world.order(1, START - 100 * DAY)
    world.order(2, START)
    world.status(4, 100, START)  # no metadata, no scan: the checks must find it
    world.cycle()
    world.order(3, START + 100 * DAY)  # moves the cutoff beyond order 1
    with closing(open_warehouse("redshift")) as warehouse, closing(open_source(world.source_url)) as source:
        extract(source, warehouse, load_config(project), Clock(moment(START + 100 * DAY)))
    before = everything(world)
    edit(project / "models" / "checks" / "duplicate_rows.sql", ("'more than one row'", "'several rows'"))
    plan(project, START + 100 * DAY, "dev")
    assert everything(world) == before
    in_dev = world.query("SELECT order_id FROM order_tracking__dev.mart_uni_tracking_info")
    assert sorted(in_dev) == [(1,), (2,), (4,)], "as far as production has come"
    found = world.query("SELECT DISTINCT order_id FROM order_tracking__dev.consistency_failures")
    assert found == [(4,)]
    world.cycle(START + 100 * DAY + HOUR)
    assert [order for _, order in world.history("uti")] == [1], "the next production run archives it"


def runbook(heading: str) -> list[str]:
    """The SQL statements of a section of docs/redshift.md, in order."""
    section = (PROJECT / "docs" / "redshift.md").read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    blocks = "\n".join(re.findall(r"```sql\n(.*?)```", section, re.DOTALL))
    return [sql.strip() for sql in re.sub(r"--[^\n]*", "", blocks).split(";") if sql.strip()]


def test_a_varchar_is_widened_by_the_runbook(redshift_world: RedshiftWorld, project: Path) -> None:
    """docs/redshift.md, step by step: find the tables, widen them with autocommit, then the files, then the plan."""
    world = redshift_world
    world.order(1, START - 500 * DAY)  # two half-years of history
    world.order(2, START - 200 * DAY)
    world.order(3, START)
    world.cycle()
    find_mart, find_others, *alter = runbook("Widening a VARCHAR")
    arguments = RedshiftSettings.from_environment().connection_arguments()
    with closing(redshift_connector.connect(**arguments)) as connection, closing(connection.cursor()) as cursor:
        connection.autocommit = True
        ((definition,),) = cursor.execute(find_mart).fetchall()
        tables = re.findall(r"sqlmesh__order_tracking\.order_tracking__mart_uni_tracking_info__\d+", definition)
        tables += [f"{schema}.{name}" for schema, name in cursor.execute(find_others).fetchall()]
        history = [table for table in tables if "hist_uti_" in table]
        assert len(set(tables)) == len(tables) == len(history) + 2 and len(history) > 1, tables
        for table in tables:
            example = next(sql for sql in alter if table[:32] in sql)
            cursor.execute(example.replace(example.split()[2], table))
    edit(project / "external_models.yaml", ("VARCHAR(64)", "VARCHAR(128)"))
    world.standin.statements.clear()
    plan(project, world.now)
    assert not [sql for sql in world.standin.statements if without_head(sql).startswith("ALTER TABLE")]
    world.insert("uni_tracking_info", [(4, "x" * 100, 1, START + HOUR)])
    world.cycle(START + 2 * HOUR, project=project)
    assert world.query("SELECT tno FROM order_tracking.mart_uni_tracking_info WHERE order_id = 4") == [("x" * 100,)]
    assert world.query("SELECT tno FROM order_tracking.order_status WHERE order_id = 4") == [("x" * 100,)]
    lengths = world.query(
        "SELECT table_schema, table_name, character_maximum_length FROM information_schema.columns "
        "WHERE column_name = 'tno' AND table_schema <> 'sqlmesh__order_tracking'"
    )
    assert len(lengths) == len(history) + 4 and {length for *_, length in lengths} == {128}, lengths
