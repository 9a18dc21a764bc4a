"""Plans on the Redshift stand-in: a column comes in everywhere, a dev plan changes nothing, VARCHAR by the runbook."""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
import subprocess
import sys
from contextlib import closing
from decimal import Decimal
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


ADDED = "pieces SMALLINT, fragile BOOLEAN, weight DECIMAL(8, 3), promised DATE, seen_at TIMESTAMP"
NAMES = [column.split()[0] for column in ADDED.replace("(8, 3)", "").split(", ")]
VALUES = (7, True, Decimal("1.250"), dt.date(2025, 12, 24), dt.datetime(2025, 9, 1, 12, 30))


def add_columns(project: Path) -> None:
    """All there is to do: five lines for each table in external_models.yaml."""
    file = project / "external_models.yaml"
    lines = "".join(f"    {re.sub(' ', ': ', column, count=1)}\n" for column in re.split(r", (?![0-9])", ADDED))
    file.write_text(file.read_text().replace("    landed_at: TIMESTAMP\n", lines + "    landed_at: TIMESTAMP\n"))


@pytest.mark.slow
def test_five_columns_of_five_types_reach_every_table_by_lines_in_one_file(
    redshift_world: RedshiftWorld, project: Path
) -> None:
    """Raw, mart and every history table, with history present; each with its type, and the layout as designed."""
    world = redshift_world
    world.order(1, START - 200 * DAY)
    world.order(2, START - 170 * DAY)
    world.order(9, START)
    world.cycle()
    assert [order for _, order in world.history("uti")] == [1]

    for table in ("uni_tracking_info", "ecs_order_info", "uni_tracking_spath"):
        for column in re.split(r", (?![0-9])", ADDED):
            world.source(f"ALTER TABLE {table} ADD COLUMN {column}")
    add_columns(project)
    plan(project, world.now)
    old = START - 150 * DAY
    for order, time in ((3, START + HOUR), (4, old)):
        world.insert("uni_tracking_info", [(order, f"T{order}", 1, time, *VALUES)])
        world.insert("ecs_order_info", [(order, 1, time, *VALUES)])
        world.insert("uni_tracking_spath", [(order, time, 1, 0, *VALUES)])
    world.cycle(START + 2 * HOUR, project=project, reconcile_since=old)
    nothing = (None,) * 5
    listed = ", ".join(NAMES)
    held = world.query(f"SELECT order_id, {listed} FROM order_tracking.mart_uni_tracking_info ORDER BY 1")
    assert held == [(2, *nothing), (3, *VALUES), (4, *VALUES), (9, *nothing)]
    world.status(5, 1, START + 60 * DAY)
    world.cycle(START + 60 * DAY, project=project)
    for alias in ("uti", "ecs", "uts"):
        held = world.history(alias, f"order_id, {listed}")
        assert {row[1]: row[2:] for row in held} == {1: nothing, 2: nothing, 4: VALUES}, alias
    assert [sql for sql in world.standin.statements if refusals(sql)] == []
    replaced = [sql for sql in world.standin.statements if "VIEW" in sql and "hist_uti_all" in sql and "pieces" in sql]
    dropped = [sql for sql in world.standin.statements if "DROP VIEW" in sql]
    assert replaced and any("hist_uti_all" in sql for sql in dropped), "a view's columns cannot be replaced there"
    kinds = world.query(
        "SELECT DISTINCT column_name, data_type FROM information_schema.columns WHERE column_name IN "
        f"({', '.join(repr(name) for name in NAMES)}) AND table_schema <> 'order_tracking' ORDER BY 1"
    )
    assert [name for name, _ in kinds] == sorted(NAMES), kinds


@pytest.mark.slow
def test_a_bound_view_of_somebody_elses_is_no_hindrance_and_is_named_where_it_is_in_the_way(
    redshift_world: RedshiftWorld, project: Path
) -> None:
    """A new half-year replaces the view below it. A new column cannot: that view alone waits, and is told each time."""
    world = redshift_world
    world.query("CREATE VIEW public.theirs AS SELECT order_id, period FROM order_tracking_history.hist_uti_all")
    with closing(open_warehouse("redshift")) as warehouse:
        assert ensure_tables(warehouse, load_config(), START + 2 * 366 * DAY) == []
        assert world.query("SELECT COUNT(*) FROM public.theirs") == [(0,)]
        assert "hist_uti_2028_h1" in str(world.query("SELECT pg_get_viewdef('order_tracking_history.hist_uti_all')"))
        add_columns(project)
        for _ in range(2):
            (warning,) = ensure_tables(warehouse, load_config(project), START)
            assert warning.startswith("order_tracking_history.hist_uti_all lacks a column") and "theirs" in warning
        shown = "SELECT DISTINCT table_name FROM information_schema.columns WHERE column_name = 'pieces'"
        tables = {name for (name,) in world.query(shown)}
        assert {"hist_uti_2025_h1", "hist_ecs_all", "hist_uts_all", "uni_tracking_info_raw"} <= tables
        assert "hist_uti_all" not in tables
        world.query("DROP VIEW public.theirs")
        assert ensure_tables(warehouse, load_config(project), START) == []
    assert ("hist_uti_all",) in world.query(shown)


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


@pytest.mark.slow
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


@pytest.mark.slow
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
    above = {"uni_tracking_info_raw", "mart_uni_tracking_info", "hist_uti_all", "order_status", "order_lookup"}
    assert {table for _, table, _ in lengths} == {*above, *(name.split(".")[1] for name in history)}
    assert {length for *_, length in lengths} == {128}, lengths
