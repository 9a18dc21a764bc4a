"""Maintenance, the smoke script, the roles of docs/redshift.md and the alerts, on the Redshift stand-in."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from unittest import mock

import pytest
import redshift_connector
from sqlmesh.core.config import Config, load_configs

from extract.errors import LockHeld, WarehouseError
from extract.lock import run_lock
from extract.s3_parts import S3Parts
from extract.settings import PROJECT, RedshiftSettings
from extract.staging import Standing
from extract.warehouse import Warehouse, open_warehouse
from scripts.page.row_counts import living_rows
from scripts.redshift.cluster import bucket_region
from scripts.redshift.explain import moves
from scripts.redshift.plans import stays_on_its_slices
from scripts.redshift.probe import Cluster, NotAsNeeded, NotKnownHere, Probe
from scripts.redshift_maintain import Ended, TableInfo, chores_for
from scripts.redshift_maintain import maintain as run_maintenance
from scripts.redshift_smoke import PROBES
from scripts.redshift_smoke import smoke as run_smoke
from tests.redshift.test_redshift_loading import extract
from tests.support.commands import exceptions, maintain, smoke
from tests.support.conftest_redshift import START
from tests.support.redshift_world import RedshiftWorld
from tests.support.world import DAY, HOUR

RAW = "order_tracking_raw.uni_tracking_spath_raw"


@pytest.fixture
def world(redshift_world: RedshiftWorld) -> RedshiftWorld:
    redshift_world.order(1, START - HOUR)
    extract(redshift_world)
    return redshift_world


def maintenance(world: RedshiftWorld) -> list[str]:
    return [sql for sql in world.standin.statements if sql.upper().startswith(("VACUUM", "ANALYZE"))]


QUOTED_RAW = 'order_tracking_raw."uni_tracking_spath_raw"'
RAW_ECS, RAW_UTI = "order_tracking_raw.ecs_order_info_raw", "order_tracking_raw.uni_tracking_info_raw"


def statements_of(output: str) -> list[str]:
    """The statements that a maintenance printed, without what it says of their tables."""
    return [line.split(";  -- ")[0] for line in output.splitlines() if ";  -- " in line]


def test_maintenance_follows_the_thresholds_and_a_dry_run_prints_exactly_that(
    world: RedshiftWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    """It takes no lock: a cycle may hold it. Of scans, rows that are new are sorted and not merged."""
    info = world.standin.set_table_info
    info(RAW, ghosts=1, unsorted=21, vacuum_sort_benefit=6, stats_off=10)
    info(RAW_ECS, unsorted=21, vacuum_sort_benefit=90)
    info(RAW_UTI, ghosts=0, unsorted=99, vacuum_sort_benefit=5, stats_off=11)  # beyond no limit but the last
    assert maintain(["--dry-run"]) == 0
    planned = statements_of(capsys.readouterr().out)
    assert maintenance(world) == []
    assert planned == [
        'VACUUM DELETE ONLY order_tracking_raw."uni_tracking_spath_raw"',
        'VACUUM SORT ONLY order_tracking_raw."ecs_order_info_raw"',
        'VACUUM RECLUSTER order_tracking_raw."uni_tracking_spath_raw"',
        'ANALYZE order_tracking_raw."uni_tracking_info_raw"',
    ]
    with run_lock("redshift"):
        assert maintain([]) == 0
    told = capsys.readouterr().out
    assert statements_of(told) == planned
    assert maintenance(world) == planned
    assert "4 of 4 statements done in 0.0 minutes." in told
    assert "Left" not in told
    assert f"{QUOTED_RAW} now: 1 rows, 0 % of them deleted, 21 % unsorted" in told
    assert maintain([]) == 0
    assert capsys.readouterr().out == "No table needs anything.\n"


def test_maintenance_begins_with_what_saves_most_and_ends_with_statistics() -> None:
    """Saved are rows: deleted ones that are read no more, or the part that sorting saves of those that stay."""
    small = TableInfo("small", 1_000, 100, 0, 0, 90)
    large = TableInfo("large", 1_000_000, 1_000_000, 30, 10, 20)
    half = TableInfo("half", 300_000, 180_000, 50, 50, None)
    assert [chore.statement for chore in chores_for([small, large, half])] == [
        "VACUUM DELETE ONLY half",
        "VACUUM SORT ONLY large",
        "VACUUM SORT ONLY half",
        "VACUUM DELETE ONLY small",
        "ANALYZE large",
        "ANALYZE small",
    ]


def test_maintenance_goes_on_after_an_error_and_beside_a_vacuum_of_somebody_else(
    world: RedshiftWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both leave the VACUUM for the next maintenance; statistics are renewed all the same."""
    info = world.standin.set_table_info
    info(RAW, ghosts=9, stats_off=50)
    info(RAW_ECS, ghosts=5)
    world.standin.fail_when("^vacuum delete only .*spath", message="disk full")
    assert maintain([]) == 1
    told = capsys.readouterr().out
    assert "  failed after 0 s: Redshift refused a statement" in told
    assert "disk full" in told
    assert "2 of 3 statements done" in told
    assert told.splitlines()[-1] == '  VACUUM DELETE ONLY order_tracking_raw."uni_tracking_spath_raw": failed'
    info(RAW, ghosts=9, stats_off=50)
    with world.standin.vacuum_running():
        assert maintain([]) == 75
    told = capsys.readouterr().out
    assert "left, because another VACUUM is running" in told
    assert "1 of 2 statements done" in told
    assert maintain([]) == 0
    assert maintenance(world)[-1].startswith("VACUUM DELETE ONLY"), "when the other one has ended"


def test_maintenance_keeps_to_its_minutes(world: RedshiftWorld, capsys: pytest.CaptureFixture[str]) -> None:
    """The VACUUM that runs when they are over is stopped by the server; the next ones are left; ANALYZE still comes."""
    world.standin.set_table_info(RAW, ghosts=9, stats_off=50)
    world.standin.set_table_info(RAW_ECS, ghosts=5)
    world.standin.fail_when("^vacuum", error_code="57014", message="canceled on user's request")
    seconds = iter([0.0, 0.0, 0.0, 60.0, *[61.0] * 3, *[62.0] * 9])
    with closing(open_warehouse("redshift")) as warehouse:
        ends = run_maintenance(warehouse, minutes=1, dry_run=False, clock=lambda: next(seconds))
    assert ends == {Ended.STOPPED, Ended.NO_TIME, Ended.DONE}
    limits = [sql for sql in world.standin.statements if sql.startswith("SET statement_timeout")]
    assert limits == ["SET statement_timeout TO 60000", "SET statement_timeout TO 0"]
    told = capsys.readouterr().out
    assert "stopped at the end of the budget" in told
    assert "left, because the budget is used up" in told
    assert "1 of 3 statements done in 1.0 minutes." in told


def test_a_vacuum_that_the_server_ends_before_its_time_has_failed(
    world: RedshiftWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a rule of WLM, say, or because somebody cancels it: the code is that of the budget's end."""
    world.standin.set_table_info(RAW, ghosts=9)
    world.standin.fail_when("^vacuum", error_code="57014", message="Query cancelled by WLM abort action")
    assert maintain([]) == 1
    told = capsys.readouterr().out
    assert "failed after 0 s" in told and "Query cancelled by WLM abort action" in told
    assert "budget" not in told


def test_maintenance_that_sees_no_table_of_the_project_fails(
    redshift_world: RedshiftWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another database, say: svv_table_info shows only tables that have rows."""
    with mock.patch("scripts.redshift_maintain.table_infos", return_value=[]):
        assert maintain([]) == 1
    told = capsys.readouterr()
    assert "shows no table of this project" in told.err and "REDSHIFT_DATABASE" in told.err
    assert "No table needs anything" not in told.out


def test_what_is_open_is_told_while_a_cycle_holds_the_lock_and_what_changes_anything_waits(
    world: RedshiftWorld,
) -> None:
    with run_lock("redshift"):
        assert exceptions(["list", "--gateway", "redshift", "--fail"]) == 0
        assert exceptions(["restore", "1", "--gateway", "redshift"]) == 75
        assert exceptions(["resolve", "key", "--note", "done", "--gateway", "redshift"]) == 75


NOT_KNOWN_HERE = {
    "version",
    "isolation_level",
    "case_setting",
    "bucket_region",
    "join_plan",
    "pruning_by_literal",
    "pruning_by_subquery",
    "plans",
}
"""What the stand-in cannot say: it has neither Redshift's plans and records nor its settings, and no region."""


def test_smoke_tries_everything_passes_nothing_that_it_cannot_know_and_leaves_nothing_behind(
    make_redshift_world: Callable[..., RedshiftWorld], capsys: pytest.CaptureFixture[str]
) -> None:
    """In the first hour, before anything of the project stands there. Nothing of production or of the state is made."""
    world = make_redshift_world(planned=False)
    left = "SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg_%temp%' ORDER BY 1"
    users, states = "SELECT rolname FROM pg_roles ORDER BY 1", "SELECT nspname FROM pg_namespace ORDER BY 1"
    before = [world.query(left), world.query(users), world.standin._postgres.run("state", states)]
    assert smoke([]) == 1
    told = capsys.readouterr().out
    marks = {line.split()[1]: line.split()[0] for line in told.splitlines() if line[:1] not in (" ", "")}
    del marks["this"]  # the heading
    expected = {probe.name: "?" if probe.name in NOT_KNOWN_HERE else "ok" for probe in PROBES}
    expected |= {"idle_reader": "-", "seconds": "-"}
    assert {name: mark for name, mark in marks.items() if name in expected} == expected, told
    assert re.search(r"ok  two_at_once +a conflict, seen as one", told)
    assert "CREATE OR REPLACE VIEW waits, DROP VIEW waits" in told
    assert told.count("not known here: ") == len(NOT_KNOWN_HERE)
    assert told.splitlines()[-1].endswith("0 NO, 5 not known here.")
    assert all(probe.meaning in told for probe in PROBES)
    assert "Password" not in told and "127.0.0.1" not in told
    after = [world.query(left), world.query(users), world.standin._postgres.run("state", states)]
    assert after == before
    assert world.objects_in_s3() == []


def test_a_probe_that_fails_unexpectedly_ends_no_report(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(cluster: Cluster) -> str:
        raise ValueError("no such plan")

    def interrupt(cluster: Cluster) -> str:
        warehouse.execute.side_effect = OSError("gone")
        raise KeyboardInterrupt

    settings, warehouse = RedshiftSettings.from_environment(BASE | SIGN_INS[0][0]), mock.Mock()
    probes = [Probe("fail", "", fail), Probe("tell", "", fail, judges=False), Probe("interrupt", "", interrupt)]
    with pytest.raises(KeyboardInterrupt):
        run_smoke(warehouse, settings, probes)
    told = capsys.readouterr().out
    assert re.search(r"NO  fail +ValueError: no such plan", told)
    assert re.search(r"\?   tell +not known here: ValueError: no such plan", told)
    assert told.count("left behind; run: DROP SCHEMA order_tracking_smoke_") == 2


NAMES = {
    "REDSHIFT_HOST": "wh.secrethost.eu-west-1.redshift.amazonaws.com",
    "REDSHIFT_USER": "secretuser",
    "REDSHIFT_S3_PREFIX": "s3://secretbucket/orders",
    "STATE_HOST": "secretstate.example.com",
    "STATE_USER": "secretowner",
}


@pytest.mark.parametrize(
    "words",
    [
        "Redshift wh.secrethost.eu-west-1.redshift.amazonaws.com:5439/dev cannot be reached",
        "connection to server at secretstate.example.com (10.0.77.3) failed",
        'password authentication failed for user "secretother"',
        "permission denied to SECRETUSER, secretowner, IAM:secretuser and IAMR:secretrole",
        "order_tracking_reader_… may not sign in",
        "The files stand under s3://secretbucket/orders/secretfile for inspection",
        'Could not connect to the endpoint URL: "https://secretbucket.s3.eu-west-1.amazonaws.com/part"',
        "An error occurred when calling HeadBucket: no access to secretbucket/orders",
        "User: arn:aws:sts::778899001122:assumed-role/secretrole/secretsession is not authorized",
    ],
)
def test_no_host_user_or_bucket_stands_in_the_smoke_report(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a server writes: in what is told, in a refusal, and in what could not be cleaned up."""
    settings = RedshiftSettings.from_environment(BASE | SIGN_INS[0][0] | NAMES)
    warehouse = mock.Mock()

    def tell(cluster: Cluster) -> str:
        return words.replace("order_tracking_reader_…", cluster.reader)

    def refuse(cluster: Cluster) -> str:
        warehouse.execute.side_effect = WarehouseError(tell(cluster).replace(cluster.reader, ""))
        raise NotKnownHere(tell(cluster))

    run_smoke(warehouse, settings, [Probe("tell", "", tell), Probe("refuse", "", refuse)])
    told = capsys.readouterr().out
    assert told.count("left behind; run: DROP SCHEMA order_tracking_smoke_") == 2
    assert not re.search(r"secret|10\.0\.77|778899|_reader_", told, re.IGNORECASE), told


def test_every_line_of_the_smoke_report_is_explained() -> None:
    explained = (PROJECT / "docs" / "redshift.md").read_text()
    assert [probe.name for probe in PROBES if f"| `{probe.name}` |" not in explained] == []


@pytest.mark.slow
def test_a_statement_that_the_cluster_refuses_stands_in_the_report(
    world: RedshiftWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    """So does what could not be cleaned up. Where the marts stand, plans are asked; production is as it was."""
    world.standin.fail_when("^insert into .*order_tracking_exceptions", message="no such function")
    world.standin.fail_when("^drop schema .*_below", message="insufficient privilege")
    held = world.query(f"SELECT COUNT(*) FROM {RAW}")
    settings = RedshiftSettings.from_environment()
    with closing(open_warehouse("redshift")) as warehouse:
        assert not run_smoke(warehouse, settings, [probe for probe in PROBES if probe.name in ("statements", "plans")])
    told = capsys.readouterr().out
    assert re.search(r"NO  statements +1 of \d+ were refused. The first: .*no such function", told)
    ((left,),) = world.query("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'order_tracking_smoke_%'")
    assert re.search(rf"NO  clean_up +left behind; run: DROP SCHEMA {left} CASCADE;.*insufficient privilege", told)
    assert re.search(r"\?   plans +not known here: the server's plans are not Redshift's", told)
    assert told.splitlines()[-1] == "0 lines ok, 2 NO, 1 not known here."
    assert world.query(f"SELECT COUNT(*) FROM {RAW}") == held
    world.execute(f"DROP SCHEMA {left} CASCADE")


def test_rows_of_marts_whose_views_definitions_cannot_be_read_are_not_known(world: RedshiftWorld) -> None:
    """A catalog may hide a view's text from a user. The page then says so; it counts no older table."""
    with closing(open_warehouse("redshift")) as warehouse:
        known = living_rows(warehouse)
        assert known is not None and {each.table for each in known if each.place == "mart"} == {"uti", "ecs", "uts"}
        shown = warehouse.objects_of_schemas

        def hidden(schemas: Sequence[str]) -> Mapping[str, Standing]:
            return {name: replace(held, definition="") for name, held in shown(schemas).items()}

        with mock.patch.object(warehouse, "objects_of_schemas", hidden):
            assert living_rows(warehouse) is None


def test_without_the_statements_no_plan_is_asked_for(world: RedshiftWorld, capsys: pytest.CaptureFixture[str]) -> None:
    """They are kept while they are sent; a second sending would meet the tables that the first one has made."""
    world.standin.fail_when("^create table .*consistency_failures", message="disk full")
    settings = RedshiftSettings.from_environment()
    with closing(open_warehouse("redshift")) as warehouse:
        assert not run_smoke(warehouse, settings, [probe for probe in PROBES if probe.name in ("statements", "plans")])
    told = capsys.readouterr().out
    assert re.search(r"NO  statements +.*disk full", told)
    assert re.search(r"\?   plans +not known here: `statements` did not come to its end", told)


JOIN = """
XN Aggregate  (cost=0.01..0.02 rows=1 width=8)
  ->  XN Hash Join {kind}  (cost=0.01..0.02 rows=5 width=8)
        Hash Cond: ("outer".order_id = "inner".order_id)
        ->  XN Seq Scan on uts  (cost=0.00..1.00 rows=1170000000 width=8)
        ->  XN Hash  (cost=9.00..9.00 rows=20 width=8)
              ->  XN Seq Scan on uti  (cost=0.00..1.00 rows=93000000 width=8)
"""


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("DS_DIST_NONE", None),
        ("DS_DIST_ALL_NONE", None),
        ("DS_BCAST_INNER", 20),
        ("DS_DIST_INNER", 20),
        ("DS_DIST_OUTER", 1_170_000_000),
        ("DS_DIST_BOTH", 1_170_000_000),
    ],
)
def test_a_plan_says_how_many_rows_travel(kind: str, rows: int | None) -> None:
    """The inner side is the one that is hashed; what a filter left of a large table travels cheaply."""
    plan = JOIN.format(kind=kind).strip().splitlines()
    assert [(move.kind, move.rows) for move in moves(plan)] == ([] if rows is None else [(kind, rows)])


def test_a_three_way_join_that_moves_rows_is_told() -> None:
    assert stays_on_its_slices(JOIN.format(kind="DS_DIST_NONE").splitlines()) == "DS_DIST_NONE"
    with pytest.raises(NotAsNeeded, match="DS_BCAST_INNER"):
        stays_on_its_slices(JOIN.format(kind="DS_BCAST_INNER").splitlines())
    with pytest.raises(NotKnownHere):
        stays_on_its_slices(["Hash Join  (cost=0.01..0.02 rows=1 width=8)"])


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("wh.abc123.eu-west-1.redshift.amazonaws.com", "eu-west-1"),
        ("wg.123456789012.us-gov-west-1.redshift-serverless.amazonaws.com", "us-gov-west-1"),
        ("redshift.example.com", None),
    ],
)
def test_a_bucket_in_another_region_is_told(monkeypatch: pytest.MonkeyPatch, host: str, region: str | None) -> None:
    settings = RedshiftSettings.from_environment(BASE | SIGN_INS[0][0] | {"REDSHIFT_HOST": host})
    place = Cluster(cast(Warehouse, None), settings, "scratch")
    for of_bucket in ("ap-south-2", region):
        monkeypatch.setattr(S3Parts, "__init__", lambda parts, settings: None)
        monkeypatch.setattr(S3Parts, "region", lambda parts, found=of_bucket: found)
        if region is None:
            with pytest.raises(NotKnownHere):
                bucket_region.run(place)
        elif of_bucket == region:
            assert bucket_region.run(place) == region
        else:
            with pytest.raises(NotAsNeeded, match=f"ap-south-2, the cluster in {region}"):
                bucket_region.run(place)


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


@pytest.mark.slow
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
