"""Nothing is replaced that this project did not make: it is named, with what to do, and nothing is made or changed."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from sqlmesh.core.context import Context

from extract.ensure_tables import look_before_plan
from extract.ownership import is_view_of_sqlmesh, project_models
from extract.tables import load_config
from extract.warehouse import Standing, open_warehouse
from tests.conftest import START
from tests.redshift_standin import refusals
from tests.support.commands import cycle, plan
from tests.support.commands import extract as extract_command
from tests.support.redshift_world import RedshiftWorld
from tests.support.world import DAY, HOUR, World, moment

COMPANYS = "CREATE TABLE company.orders (order_id BIGINT, note VARCHAR(20))"
ROWS = "(order_id BIGINT, note VARCHAR(20))"
HISTORY, RAW = "order_tracking_history", "order_tracking_raw"

FOREIGN = {
    "a table in place of a mart": ("order_tracking.mart_uni_tracking_info", f"TABLE {{}} {ROWS}", "is a table"),
    "a view in place of a mart": (
        "order_tracking.mart_ecs_order_info",
        "VIEW {} AS SELECT order_id FROM company.orders",
        "is a view that SQLMesh did not make",
    ),
    "a table in place of a reading view": ("order_tracking.order_status", f"TABLE {{}} {ROWS}", "is a table"),
    "a view in place of a reading view": (
        "order_tracking.order_timeline",
        "VIEW {} AS SELECT order_id AS sqlmesh__order_tracking FROM company.orders",
        "is a view that SQLMesh did not make",
    ),
    "a table in place of the checks": ("order_tracking.consistency_failures", f"TABLE {{}} {ROWS}", "is a table"),
    "history without archived_at": (
        f"{HISTORY}.hist_uti_2025_h1",
        "TABLE {} (order_id BIGINT, tno VARCHAR(64), status INTEGER, update_time BIGINT)",
        "lacks archived_at",
    ),
    "history of other types": (
        f"{HISTORY}.hist_uts_2024_h2",
        "TABLE {} (order_id VARCHAR(20), pathtime BIGINT, landed_at TIMESTAMP, archived_at TIMESTAMP)",
        "has order_id as .*, not BIGINT",
    ),
    "a view in place of history": (
        f"{HISTORY}.hist_ecs_2024_h1",
        "VIEW {} AS SELECT order_id FROM company.orders",
        "is a view, and the project makes a table there",
    ),
    "a history view of other tables": (
        f"{HISTORY}.hist_ecs_all",
        "VIEW {} AS SELECT order_id, note AS period, note AS archived_at FROM company.orders",
        "reads something else",
    ),
    "a table in place of a history view": (f"{HISTORY}.hist_uti_all", f"TABLE {{}} {ROWS}", "is a table"),
    "exceptions of another shape": (f"{HISTORY}.order_tracking_exceptions", f"TABLE {{}} {ROWS}", "lacks check_name"),
    "raw of another shape": (
        f"{RAW}.ecs_order_info_raw",
        "TABLE {} (order_id BIGINT, partner_id INTEGER, add_time TIMESTAMP)",
        "lacks landed_at and has add_time as TIMESTAMP.*, not BIGINT",
    ),
    "a view in place of raw": (
        f"{RAW}.uni_tracking_info_raw",
        "VIEW {} AS SELECT order_id FROM company.orders",
        "is a view, and the project makes a table there",
    ),
    "a log of another shape": (f"{RAW}.extract_log", f"TABLE {{}} {ROWS}", "lacks table_name"),
    "rejected rows of another shape": (f"{RAW}.rejected_rows", f"TABLE {{}} {ROWS}", "lacks table_name"),
}
"""What stands there -> its name, how it is made, and what the message says of it."""

WRITTEN_BY_A_CYCLE = [what for what, (name, *_) in FOREIGN.items() if name.startswith((HISTORY, RAW))]
SHOWN = [what for what in FOREIGN if what not in WRITTEN_BY_A_CYCLE]

Make = Callable[..., World]


@pytest.fixture(params=["local", pytest.param("redshift", marks=pytest.mark.slow)])
def gateway(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(gateway: str, request: pytest.FixtureRequest) -> Make:
    """Makes a world on either engine, with a table of the company's in a schema of its own."""
    factory = request.getfixturevalue("make_world" if gateway == "local" else "make_redshift_world")

    def make(**options: Any) -> World:
        world: World = factory(**options)
        world.order(1, START)
        world.execute("CREATE SCHEMA company")
        world.execute(COMPANYS)
        world.execute("INSERT INTO company.orders SELECT 7, 'the company''s own'")
        return world

    return make


def put_there(world: World, what: str, name: str | None = None) -> str:
    """Makes a foreign object, with a row where it is a table; gives its name."""
    known, statement, _ = FOREIGN[what]
    name = name or known
    world.execute(f"CREATE SCHEMA IF NOT EXISTS {name.split('.')[0]}")
    world.execute(f"CREATE {statement.format(name)}")
    if statement.startswith("TABLE"):
        world.execute(f"INSERT INTO {name} (order_id) SELECT 42")
    return name


def catalog(world: World) -> list[tuple[Any, ...]]:
    """Every schema, table and view outside the engine's own, and SQLMesh's state on Redshift."""
    if isinstance(world, RedshiftWorld):
        objects = (
            "SELECT n.nspname, c.relname, c.relkind, pg_get_viewdef(c.oid) FROM pg_class c RIGHT JOIN pg_namespace n "
        )
        objects += "ON n.oid = c.relnamespace AND c.relkind IN ('r', 'v', 'm') WHERE n.nspname NOT LIKE 'pg_%' "
        return sorted(world.query(f"{objects} AND n.nspname NOT IN ('standin', 'information_schema')"), key=repr)
    schemas = world.query("SELECT schema_name FROM duckdb_schemas() WHERE NOT internal")
    tables = world.query("SELECT schema_name, table_name, sql FROM duckdb_tables() WHERE NOT internal")
    views = world.query("SELECT schema_name, view_name, sql FROM duckdb_views() WHERE NOT internal")
    return sorted([*schemas, *tables, *views], key=repr)


def everything(world: World) -> tuple[Any, ...]:
    """The catalog, and the rows of every table."""
    tables = world.query(
        "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE' "
        "AND table_schema NOT IN ('pg_catalog', 'information_schema', 'standin') AND table_schema NOT LIKE 'pg_%'"
    )
    rows = {f"{schema}.{name}": world.query(f'SELECT * FROM {schema}."{name}"') for schema, name in sorted(tables)}
    return catalog(world), {name: sorted(held, key=repr) for name, held in rows.items()}


def at(world: World, now: int) -> list[str]:
    return ["--at", f"{moment(now):%Y-%m-%dT%H:%M:%S}"]


def run(world: World, gateway: str, now: int = START) -> int:
    return cycle(["--gateway", gateway, "--source", world.source_url, *at(world, now)])


@pytest.mark.slow
@pytest.mark.parametrize("what", FOREIGN)
def test_the_first_cycle_names_what_is_not_its_own_and_makes_nothing(
    make: Make, gateway: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    world = make(planned=False)
    name = put_there(world, what)
    before = everything(world)
    assert run(world, gateway) == 2
    told = capsys.readouterr().err
    assert re.search(rf"^  {name} .*{FOREIGN[what][2]}", told, re.MULTILINE), told
    assert everything(world) == before


@pytest.mark.slow
def test_all_are_named_at_once_and_what_the_message_says_makes_room(
    make: Make, gateway: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the name stands in other case, which no engine tells apart; and a plan refuses as a cycle does."""
    world = make(planned=False)
    names = sorted(put_there(world, what) for what in FOREIGN if what != "a table in place of a mart")
    put_there(world, "a table in place of a mart", "Order_Tracking.MART_uni_tracking_info")
    names.append("order_tracking.mart_uni_tracking_info")
    before = everything(world)
    assert run(world, gateway) == 2
    told = capsys.readouterr().err
    assert sorted(re.findall(r"^  (\S+) is a ", told, re.MULTILINE)) == sorted(names)
    assert plan(["--yes", "--gateway", gateway, *at(world, START)]) == 2
    assert capsys.readouterr().err == told
    assert everything(world) == before
    renames = re.findall(r"^  (ALTER .*);$", told, re.MULTILINE)
    assert len(renames) == len(FOREIGN)
    with closing(open_warehouse(gateway)) as warehouse:
        for rename in renames:
            if gateway == "local":
                warehouse._connection.execute(rename)  # as its user would write it, in DuckDB's own dialect
            else:
                warehouse.execute(rename)
    assert run(world, gateway) == 0
    assert set(world.uti()) == {1}
    for name in names:
        assert world.query(f"SELECT COUNT(*) FROM {name}_old") == [(1,)]


@pytest.mark.slow
def test_what_bears_no_name_of_the_project_is_left_alone(make: Make, gateway: str) -> None:
    world = make(planned=False)
    names = ["order_tracking.mart_uni_tracking_info_old", f"{HISTORY}.hist_uti_2024_h1_backup", f"{RAW}.orders"]
    names += ["order_tracking.orders", f"{HISTORY}.order_status", "sqlmesh__order_tracking.orders"]
    for name in names:
        put_there(world, "a table in place of a mart", name)
    assert run(world, gateway) == 0
    for name in names:
        assert world.query(f"SELECT order_id FROM {name}") == [(42,)]


@pytest.mark.slow
def test_the_projects_own_are_known_after_the_state_was_lost_or_a_column_came_and_went(
    make: Make, gateway: str
) -> None:
    """Of raw and history also where a VARCHAR was widened, or the user has a column of their own in them."""
    world = make(now=START)
    world.order(2, START - 200 * DAY)
    world.order(3, START - 500 * DAY)
    world.cycle(START + HOUR)
    assert len({period for period, _ in world.history("uti")}) == 2
    world.execute(f"ALTER TABLE {RAW}.uni_tracking_info_raw ADD COLUMN note VARCHAR(20)")
    world.execute(f"ALTER TABLE {RAW}.uni_tracking_spath_raw DROP COLUMN code")
    with closing(open_warehouse(gateway)) as warehouse:
        held, foreign = look_before_plan(warehouse, load_config().tables)
    assert foreign == []
    assert {name.split(".")[0] for name in held} == {"order_tracking", "sqlmesh__order_tracking", HISTORY, RAW}


def test_whoever_changed_a_type_is_told_to_take_it_back(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    hint = "Was a type changed in external_models.yaml? Then take that back instead."
    world.execute(f"ALTER TABLE {RAW}.ecs_order_info_raw ALTER partner_id TYPE VARCHAR")
    assert run(world, "local", START + HOUR) == 2
    assert f"{hint}\nOr give the project another" in capsys.readouterr().err
    world.execute(f"DROP TABLE {RAW}.ecs_order_info_raw")
    world.execute(f"CREATE VIEW {RAW}.ecs_order_info_raw AS SELECT 1 AS one")
    assert run(world, "local", START + HOUR) == 2
    told = capsys.readouterr().err
    assert "objects that this project did not make" in told and hint not in told


@pytest.mark.slow
@pytest.mark.parametrize("what", WRITTEN_BY_A_CYCLE)
def test_a_cycle_does_not_write_what_was_put_in_place_of_its_own(
    make: Make, gateway: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    world = make()
    name = FOREIGN[what][0]
    schema, table = name.split(".")
    standing = "SELECT table_type FROM information_schema.tables WHERE table_schema = '{}' AND table_name = '{}'"
    for (kind,) in world.query(standing.format(schema, table)):
        world.execute(f"DROP {kind.removeprefix('BASE ')} {name} CASCADE")
    put_there(world, what)
    before = everything(world)
    assert run(world, gateway, START + HOUR) == 2
    assert f"  {name} is a " in capsys.readouterr().err
    assert extract_command(["--gateway", gateway, "--source", world.source_url, *at(world, START + HOUR)]) == 2
    assert f"  {name} is a " in capsys.readouterr().err
    assert everything(world) == before


@pytest.mark.slow
@pytest.mark.parametrize("what", SHOWN)
def test_a_plan_does_not_drop_what_was_put_in_place_of_its_view(
    make: Make, gateway: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor does a cycle go on beside it."""
    world = make()
    name = FOREIGN[what][0]
    world.execute(f"DROP VIEW {name} CASCADE")
    put_there(world, what)
    before = everything(world)
    assert plan(["--yes", "--gateway", gateway, *at(world, START + HOUR)]) == 2
    assert f"  {name} is a " in capsys.readouterr().err
    assert everything(world) == before
    assert run(world, gateway, START + HOUR) == 2
    assert f"  {name} is a " in capsys.readouterr().err
    assert everything(world) == before


@pytest.mark.slow
@pytest.mark.parametrize("environment", ["prod", "dev"])
def test_sqlmesh_by_itself_does_not_drop_it_either(
    make: Make,
    gateway: str,
    environment: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A plan that is not made by our command is refused by the project's before_all. A run drops nothing."""
    world = make()
    schema = "order_tracking" if environment == "prod" else "order_tracking__dev"
    world.execute("DROP VIEW order_tracking.order_status")
    for what in ("a table in place of a reading view", "a view in place of a reading view"):
        put_there(world, what, f"{schema}.{FOREIGN[what][0].split('.')[1]}2")
        name = f"{schema}.order_status"
        put_there(world, what, name)
        before = everything(world)
        monkeypatch.setattr("scripts.plan.refuse_foreign", lambda foreign: None)
        monkeypatch.setattr("scripts.run_cycle.refuse_foreign", lambda foreign: None)
        assert plan([environment, "--yes", "--gateway", gateway, *at(world, START + HOUR)]) == 1
        assert everything(world) == before
        assert "SQLMesh did not make what stands under names" in capsys.readouterr().err
        if environment == "prod" and "a view" in what:
            assert run(world, gateway, START + HOUR) == 0
            assert everything(world)[0] == before[0]
        world.execute(f"DROP {'TABLE' if 'a table' in what else 'VIEW'} {name}")
    assert plan([environment, "--yes", "--gateway", gateway, *at(world, START + HOUR)]) == 0


@pytest.mark.slow
def test_a_dev_environment_does_not_drop_what_stands_under_its_names(
    make: Make, gateway: str, capsys: pytest.CaptureFixture[str]
) -> None:
    world = make()
    name = put_there(world, "a table in place of a mart", "order_tracking__my_dev.mart_uni_tracking_info")
    put_there(world, "a table in place of a mart", "order_tracking__other.mart_uni_tracking_info")
    before = everything(world)
    assert plan(["My-Dev", "--yes", "--gateway", gateway, *at(world, START + HOUR)]) == 2
    told = capsys.readouterr().err
    assert f"  {name} is a table" in told
    assert "order_tracking__other" not in told
    assert everything(world) == before
    world.execute(f"ALTER TABLE {name} RENAME TO mine")
    for _ in range(2):  # the second finds the views of the first
        assert plan(["My-Dev", "--yes", "--gateway", gateway, *at(world, START + HOUR)]) == 0
    assert world.query("SELECT order_id FROM order_tracking__my_dev.mine") == [(42,)]


@pytest.mark.slow
def test_another_projects_environment_is_not_taken_over(
    make_world: Callable[..., World], capsys: pytest.CaptureFixture[str]
) -> None:
    """A plan would drop all its views, and a cycle run its models."""
    world = make_world()
    for column in ("snapshots", "promoted_snapshot_ids", "previous_finalized_snapshots"):
        world.execute(f"UPDATE sqlmesh._environments SET {column} = replace({column}, 'order_tracking', 'their_marts')")
    before = everything(world)
    assert run(world, "local", START + HOUR) == 2
    assert "another SQLMesh project" in capsys.readouterr().err
    assert plan(["--yes", *at(world, START + HOUR)]) == 2
    assert "another SQLMesh project" in capsys.readouterr().err
    assert everything(world) == before


@pytest.mark.slow
def test_a_plan_in_which_no_name_is_taken_says_nothing_of_it(
    make_world: Callable[..., World], caplog: pytest.LogCaptureFixture
) -> None:
    world = make_world()
    world.order(1, START)
    world.cycle()
    caplog.clear()
    assert plan(["--yes", *at(world, START + HOUR)]) == 0
    assert "refuse_taken_names" not in caplog.text


def test_the_names_are_those_that_sqlmesh_shows(context: Context) -> None:
    shown = {model.name for model in context.models.values() if not model.kind.is_external}
    assert set(project_models()) == {name for name in shown if not context.get_model(name).kind.is_embedded}


MART = "order_tracking.mart_uni_tracking_info"
VERSIONED = "sqlmesh__order_tracking.order_tracking__mart_uni_tracking_info__123"


@pytest.mark.parametrize(
    ("definition", "is_ours"),
    [
        (f"CREATE VIEW {MART} AS SELECT * FROM warehouse.{VERSIONED};", True),
        (f'CREATE VIEW {MART} AS SELECT * FROM "my company, inc (2)".{VERSIONED};', True),
        (f'create view "dev"."x" as select * from "dev".{VERSIONED} with no schema binding', True),
        (f" SELECT order_id,\n    tno\n   FROM {VERSIONED};", True),
        (f"SELECT * FROM {VERSIONED}__dev", True),
        (f"SELECT * FROM {VERSIONED} WHERE order_id > 5", False),
        (f"SELECT a.tno FROM company.orders AS a JOIN {VERSIONED} USING (order_id)", False),
        (f"SELECT tno FROM company.orders UNION ALL SELECT tno FROM {VERSIONED}", False),
        (f"SELECT tno, (SELECT 1) FROM {VERSIONED}", False),
        (f"SELECT * FROM {VERSIONED.replace('uni_tracking_info', 'ecs_order_info')}", False),
        ("SELECT * FROM company.orders", False),
    ],
)
def test_a_view_is_sqlmeshs_own_only_as_all_of_the_models_versioned_table(definition: str, is_ours: bool) -> None:
    assert is_view_of_sqlmesh(Standing(MART, "view", {}, definition, (MART,)), MART) is is_ours


def test_redshift_takes_the_question_and_a_cycle_asks_it_once(
    make_redshift_world: Callable[..., RedshiftWorld],
) -> None:
    world = make_redshift_world()
    world.standin.statements.clear()
    with closing(open_warehouse("redshift")) as warehouse:
        look_before_plan(warehouse, load_config().tables)
    (asked,) = [sql for sql in world.standin.statements if "pg_" in sql]
    assert refusals(asked) == []
    world.standin.statements.clear()
    world.cycle(START + HOUR)
    assert sum("pg_get_viewdef" in sql for sql in world.standin.statements) == 1, "a run of SQLMesh drops nothing"
