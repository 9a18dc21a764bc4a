"""Plans on the Redshift stand-in: a column comes in everywhere, a dev plan changes nothing, VARCHAR by the runbook."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redshift_connector

from extract.clock import Clock
from extract.config import PROJECT, load_config
from extract.foundation import lay_foundation
from extract.redshift_settings import RedshiftSettings
from extract.run import extract
from extract.source import open_source
from extract.warehouse import open_warehouse
from tests.conftest_redshift import START
from tests.redshift_standin import refusals
from tests.redshift_world import MARTS, RedshiftWorld
from tests.world import DAY, HOUR, moment

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
        lay_foundation(warehouse, load_config(project).tables)
    code = f"""
import datetime as dt
from contextlib import closing
from sqlmesh.core.console import create_console, set_console
from sqlmesh.core.context import Context

set_console(create_console())
with closing(Context(paths=".", gateway="redshift")) as context:
    context.plan({environment!r}, execution_time=dt.datetime.fromtimestamp({now}, dt.UTC), auto_apply=True,
                 no_prompts=True, no_diff=True, skip_tests=True)
"""
    environ = {**os.environ, "PYTHONPATH": str(project)}
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
    world.cycle()
    world.order(3, START + 100 * DAY)  # moves the cutoff beyond order 1
    with closing(open_warehouse("redshift")) as warehouse, closing(open_source(world.source_url)) as source:
        extract(source, warehouse, load_config(project), Clock(moment(START + 100 * DAY)))
    before = everything(world)
    edit(project / "models" / "consistency_failures.sql", ("'more than one row'", "'several rows'"))
    plan(project, START + 100 * DAY, "dev")
    assert everything(world) == before
    assert world.query("SELECT COUNT(*) FROM order_tracking__dev.consistency_failures") == [(0,)]
    world.cycle(START + 100 * DAY + HOUR)
    assert [order for _, order in world.history("uti")] == [1], "the next production run archives it"


def test_a_varchar_is_widened_by_the_runbook(redshift_world: RedshiftWorld, project: Path) -> None:
    """docs/redshift.md: mart, history and raw with autocommit, then the files, then the plan; no row is rewritten."""
    world = redshift_world
    world.order(1, START - 200 * DAY)
    world.order(2, START)
    world.cycle()
    physical = world.query(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'sqlmesh__order_tracking' "
        "AND tablename LIKE 'order_tracking__mart_uni_tracking_info__%'"
    )
    tables = [f"sqlmesh__order_tracking.{name}" for (name,) in physical if "__temp" not in name]
    tables += ["order_tracking_history.hist_uti_2025_h1", "order_tracking_raw.uni_tracking_info_raw"]
    arguments = RedshiftSettings.from_environment().connection_arguments()
    with closing(redshift_connector.connect(**arguments)) as connection:
        connection.autocommit = True
        for table in tables:
            connection.cursor().execute(f"ALTER TABLE {table} ALTER COLUMN tno TYPE VARCHAR(128)")
    edit(project / "external_models.yaml", ("tno: VARCHAR(64)", "tno: VARCHAR(128)"))
    edit(project / "models" / "mart_uni_tracking_info.sql", ("VARCHAR(64)", "VARCHAR(128)"))
    plan(project, world.now)
    world.insert("uni_tracking_info", [(3, "x" * 100, 1, START + HOUR)])
    world.cycle(START + 2 * HOUR, project=project)
    assert world.query("SELECT tno FROM order_tracking.mart_uni_tracking_info WHERE order_id = 3") == [("x" * 100,)]
    assert [order for _, order in world.history("uti")] == [1]
