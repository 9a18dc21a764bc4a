"""Maintenance, the smoke script, the roles of docs/redshift.md and the alerts, on the Redshift stand-in."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redshift_connector
from sqlmesh.core.config import Config, load_configs

from extract.errors import LockHeld, WarehouseError
from extract.lock import run_lock
from extract.settings import PROJECT, RedshiftSettings
from extract.warehouse import open_warehouse
from scripts.redshift_smoke import NotAsNeeded, moves_nothing
from tests.redshift.test_redshift_loading import extract
from tests.support.commands import exceptions, maintain, smoke
from tests.support.conftest_redshift import START
from tests.support.redshift_world import RedshiftWorld
from tests.support.world import DAY, HOUR

pytestmark = pytest.mark.xdist_group("redshift")

RAW = "order_tracking_raw.uni_tracking_spath_raw"


@pytest.fixture
def world(redshift_world: RedshiftWorld) -> RedshiftWorld:
    redshift_world.order(1, START - HOUR)
    extract(redshift_world)
    return redshift_world


def maintenance(world: RedshiftWorld) -> list[str]:
    return [sql for sql in world.standin.statements if sql.upper().startswith(("VACUUM", "ANALYZE"))]


def test_maintenance_follows_the_thresholds_and_a_dry_run_prints_exactly_that(
    world: RedshiftWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    info = world.standin.set_table_info
    info(RAW, ghosts=1, unsorted=20, vacuum_sort_benefit=90, stats_off=10)  # only the deleted rows are beyond it
    info("order_tracking_raw.ecs_order_info_raw", unsorted=21, vacuum_sort_benefit=6)
    info("order_tracking_raw.uni_tracking_info_raw", unsorted=99, vacuum_sort_benefit=5, stats_off=11)
    assert maintain(["--dry-run"]) == 0
    planned = capsys.readouterr().out.splitlines()
    assert maintenance(world) == []
    assert planned == [
        'VACUUM SORT ONLY order_tracking_raw."ecs_order_info_raw";',
        'ANALYZE order_tracking_raw."uni_tracking_info_raw";',
        'VACUUM DELETE ONLY order_tracking_raw."uni_tracking_spath_raw";',
    ]
    assert maintain([]) == 0
    assert capsys.readouterr().out.splitlines() == planned
    assert [f"{sql};" for sql in maintenance(world)] == planned
    assert maintain([]) == 0
    assert capsys.readouterr().out == "No table needs anything.\n"


def test_maintenance_waits_for_the_run_lock(world: RedshiftWorld) -> None:
    with run_lock("redshift"):
        assert maintain([]) == 75


def test_what_is_open_is_told_while_a_cycle_holds_the_lock_and_what_changes_anything_waits(
    world: RedshiftWorld,
) -> None:
    with run_lock("redshift"):
        assert exceptions(["list", "--gateway", "redshift", "--fail"]) == 0
        assert exceptions(["restore", "1", "--gateway", "redshift"]) == 75
        assert exceptions(["resolve", "key", "--note", "done", "--gateway", "redshift"]) == 75


def test_smoke_tries_everything_and_leaves_nothing_behind(
    world: RedshiftWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stand-in has neither Redshift's plans nor its setting: these two it must report, the rest must pass."""
    before = world.query("SELECT nspname FROM pg_namespace ORDER BY 1")
    assert smoke([]) == 1
    lines = capsys.readouterr().out.splitlines()
    marks = {line.split()[1]: line.split()[0] for line in lines}
    assert [line for line in lines if "two_at_once" in line and "a conflict, seen as one" in line]
    assert marks == {
        "isolation_level": "?",
        "case_setting": "NO",
        "load": "ok",
        "three_part_names": "ok",
        "late_binding": "ok",
        "join_plan": "NO",
        "two_at_once": "ok",
    }
    after = world.query("SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg_%temp%' ORDER BY 1")
    assert after == [row for row in before if "temp" not in row[0]]
    assert world.objects_in_s3() == []


def test_smoke_names_the_schema_that_it_could_not_drop(
    world: RedshiftWorld, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.redshift_smoke.STEPS", ())
    world.standin.fail_when("^drop schema", message="insufficient privilege")
    assert smoke([]) == 1
    ((left,),) = world.query("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'order_tracking_smoke_%'")
    told = capsys.readouterr().out.splitlines()[-1]
    assert told.startswith("NO") and f"DROP SCHEMA {left} CASCADE" in told and "insufficient privilege" in told


def test_a_join_that_moves_rows_is_told() -> None:
    line = "->  XN Hash Join {} (cost=0.01..0.02 rows=1 width=8)"
    assert moves_nothing([line.format("DS_DIST_NONE"), line.format("DS_DIST_NONE")]) == "DS_DIST_NONE"
    with pytest.raises(NotAsNeeded, match="DS_BCAST_INNER"):
        moves_nothing([line.format("DS_DIST_NONE"), line.format("DS_BCAST_INNER")])


# Roles


def documented_sql(heading: str) -> list[str]:
    """The statements of the SQL block that follows a heading in docs/redshift.md."""
    text = (PROJECT / "docs" / "redshift.md").read_text()
    found = re.search(rf"### {re.escape(heading)}.*?```sql\n(.*?)```", text, re.DOTALL)
    assert found, heading
    block = re.sub(r"--[^\n]*", "", found.group(1)).replace("my_database", "dev")
    return [sql.strip() for sql in block.split(";") if sql.strip()]


def administer(sql: list[str]) -> None:
    """Executes statements one by one, as the user of the environment."""
    arguments = RedshiftSettings.from_environment().connection_arguments()
    with closing(redshift_connector.connect(**arguments)) as connection:
        connection.autocommit = True
        for each in sql:
            connection.cursor().execute(each)


@pytest.fixture
def roles(
    make_redshift_world: Callable[..., RedshiftWorld], monkeypatch: pytest.MonkeyPatch
) -> Iterator[RedshiftWorld]:
    """An empty warehouse with the users of docs/redshift.md, then planned, cycled and granted by ot_sqlmesh."""
    world = make_redshift_world(planned=False)
    world.execute("GRANT USAGE ON SCHEMA standin TO public; GRANT SELECT ON standin.svv_columns TO public")
    administer(documented_sql("Users"))
    act_as(monkeypatch, "ot_sqlmesh")
    world.order(1, START - 170 * DAY)
    world.order(2, START)
    world.cycle()
    administer(documented_sql("Rights"))
    yield world
    names = sorted(name for (name,) in world.query("SELECT rolname FROM pg_roles WHERE rolname LIKE 'ot_%'"))
    for sql in [f"DROP OWNED BY {name} CASCADE" for name in names] + [f"DROP ROLE {name}" for name in names]:
        world.execute(sql)


def act_as(monkeypatch: pytest.MonkeyPatch, user: str) -> None:
    monkeypatch.setenv("REDSHIFT_USER", user)
    monkeypatch.setenv("REDSHIFT_PASSWORD", "Change-me-1")


def test_each_role_can_do_its_work_and_no_more(roles: RedshiftWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what comes after the rights were given: a first half-year of history, and views that were made anew."""
    world = roles
    (superuser,) = world.query("SELECT rolsuper FROM pg_roles WHERE rolname = 'ot_sqlmesh'")
    assert superuser == (False,)
    assert world.history("uti") == []
    world.order(4, START + 30 * DAY)
    world.cycle(START + 30 * DAY)
    assert [order for _, order in world.history("uti")] == [1], "ot_sqlmesh archives"
    assert maintain(["--dry-run"]) == 0
    act_as(monkeypatch, "ot_extractor")
    with closing(open_warehouse("redshift")) as extractor:
        world.order(3, world.now)
        extract(world, minutes=30 * 24 * 60 + 30)
        assert world.query(f"SELECT COUNT(*) FROM {RAW}") == [(4,)]
        extractor.fetchall("SELECT order_id FROM order_tracking_history.hist_uts_all")
        for forbidden in (f"DELETE FROM {RAW}", "DELETE FROM order_tracking_history.order_tracking_exceptions"):
            with pytest.raises(WarehouseError, match="denied"):
                extractor.execute(forbidden)
    act_as(monkeypatch, "ot_reader")
    with closing(open_warehouse("redshift")) as reader:
        assert reader.fetchall("SELECT order_id FROM order_tracking.order_status ORDER BY 1") == [(2,), (4,)]
        assert len(reader.fetchall("SELECT order_id FROM order_tracking.order_timeline")) == 3
        assert reader.fetchall("SELECT order_id FROM order_tracking_history.hist_uti_2025_h1") == [(1,)]
        reader.fetchall("SELECT order_id FROM order_tracking_history.order_tracking_exceptions")
        for forbidden in (
            "DELETE FROM order_tracking_history.order_tracking_exceptions",
            f"SELECT order_id FROM {RAW}",
            "CREATE TABLE order_tracking.mine (a BIGINT)",
        ):
            with pytest.raises(WarehouseError, match="denied"):
                reader.execute(forbidden)
    act_as(monkeypatch, "ot_sqlmesh")
    world.cycle(world.now + HOUR)
    assert 3 in world.uti(), "what ot_extractor landed"


def test_the_extractors_own_state_user_takes_the_lock_and_is_told_who_holds_it(
    redshift_world: RedshiftWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    redshift_world.execute("CREATE ROLE ot_lock LOGIN PASSWORD 'Change-me-1'")
    try:
        with run_lock("redshift"):
            monkeypatch.setenv("STATE_USER", "ot_lock")
            monkeypatch.setenv("STATE_PASSWORD", "Change-me-1")
            with pytest.raises(LockHeld, match="order-tracking lock"), run_lock("redshift"):
                pass
        with run_lock("redshift"):
            pass
    finally:
        redshift_world.execute("DROP ROLE ot_lock")


# config.yaml


BASE = {"REDSHIFT_HOST": "example.com", "REDSHIFT_DATABASE": "warehouse"}
BASE |= {"REDSHIFT_S3_PREFIX": "s3://bucket/p", "REDSHIFT_COPY_ROLE": "default"}
BASE |= {f"STATE_{name}": "x" for name in ("HOST", "DATABASE", "USER", "PASSWORD")}
IAM = {"REDSHIFT_IAM": "1", "REDSHIFT_REGION": "eu-west-1"}
SIGN_INS: list[tuple[dict[str, str], dict[str, Any]]] = [
    ({"REDSHIFT_USER": "u", "REDSHIFT_PASSWORD": "p"}, {"user": "u", "password": "p"}),
    (
        IAM | {"REDSHIFT_CLUSTER_IDENTIFIER": "c", "REDSHIFT_DB_USER": "d"},
        {"iam": True, "region": "eu-west-1", "cluster_identifier": "c", "db_user": "d"},
    ),
    (
        IAM | {"REDSHIFT_SERVERLESS_WORK_GROUP": "w", "REDSHIFT_SERVERLESS_ACCT_ID": "1234"},
        {
            "iam": True,
            "region": "eu-west-1",
            "is_serverless": True,
            "serverless_work_group": "w",
            "serverless_acct_id": "1234",
        },
    ),
]


@pytest.mark.parametrize(("environment", "sign_in"), SIGN_INS, ids=["password", "provisioned", "serverless"])
def test_both_connections_sign_in_as_the_environment_says_and_verify_the_server(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], sign_in: dict[str, Any]
) -> None:
    """The gateway of config.yaml, which SQLMesh uses, and the extract's own connection."""
    for name in list(os.environ):
        if name.startswith(("REDSHIFT_", "STATE_")):
            monkeypatch.delenv(name)
    for name, value in (BASE | environment).items():
        monkeypatch.setenv(name, value)
    both = {"host": "example.com", "port": 5439, "database": "warehouse", "ssl": True, "sslmode": "verify-full"}
    both |= {"application_name": "order-tracking", "tcp_keepalive": True, **sign_in}
    gateway = _config().gateways["redshift"].connection
    given = {name: getattr(gateway, name) for name in gateway._connection_kwargs_keys}
    assert {name: value for name, value in given.items() if value not in (None, False)} == both
    assert (gateway.pre_ping, gateway.enable_merge, gateway.concurrent_tasks) == (False, False, 1)
    ours = RedshiftSettings.from_environment().connection_arguments()
    assert {name: value for name, value in ours.items() if not name.startswith("tcp_keepalive_")} == both


def test_a_local_user_needs_no_setting_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("REDSHIFT_", "STATE_")):
            monkeypatch.delenv(name)
    config = _config()
    assert set(config.gateways) == {"local"}


def test_a_password_with_special_characters_reaches_sqlmesh_whole(
    redshift_world: RedshiftWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = "a'b\"c: {{ d }} # é\\"
    monkeypatch.setenv("REDSHIFT_PASSWORD", password)
    connection = _config().gateways["redshift"].connection
    assert connection.password == password
    assert (connection.pre_ping, connection.enable_merge, connection.concurrent_tasks) == (False, False, 1)


def _config() -> Any:
    (config,) = load_configs(None, Config, [Path(PROJECT)]).values()
    return config
