"""Maintenance, the smoke script, the roles of docs/redshift.md and the alerts, on the Redshift stand-in."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redshift_connector
from sqlmesh.core.config import Config, load_configs

from extract.config import PROJECT
from extract.lock import run_lock
from extract.redshift_settings import RedshiftSettings
from extract.warehouse import WarehouseError, open_warehouse
from scripts.redshift_maintain import main as maintain
from scripts.redshift_smoke import NotAsNeeded, moves_nothing
from scripts.redshift_smoke import main as smoke
from tests.conftest_redshift import START
from tests.redshift_world import RedshiftWorld
from tests.test_redshift_loading import extract
from tests.world import HOUR

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


def test_smoke_tries_everything_and_leaves_nothing_behind(
    world: RedshiftWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stand-in has neither Redshift's plans nor its setting: these two it must report, the rest must pass."""
    before = world.query("SELECT nspname FROM pg_namespace ORDER BY 1")
    assert smoke([]) == 1
    marks = {line.split()[1]: line.split()[0] for line in capsys.readouterr().out.splitlines()}
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


@pytest.fixture
def roles(world: RedshiftWorld) -> Iterator[RedshiftWorld]:
    world.execute("GRANT USAGE ON SCHEMA standin TO public; GRANT SELECT ON standin.svv_columns TO public")
    arguments = RedshiftSettings.from_environment().connection_arguments()
    with closing(redshift_connector.connect(**arguments)) as connection:
        connection.autocommit = True
        for sql in (*documented_sql("Users"), *documented_sql("Rights")):
            connection.cursor().execute(sql)
    yield world
    names = sorted(name for (name,) in world.query("SELECT rolname FROM pg_roles WHERE rolname LIKE 'ot_%'"))
    for sql in [f"DROP OWNED BY {name}" for name in names] + [f"DROP ROLE {name}" for name in names]:
        world.execute(sql)


def acting_as(monkeypatch: pytest.MonkeyPatch, user: str) -> Any:
    monkeypatch.setenv("REDSHIFT_USER", user)
    monkeypatch.setenv("REDSHIFT_PASSWORD", "Change-me-1")
    return open_warehouse("redshift")


def test_each_role_can_do_its_work_and_no_more(roles: RedshiftWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world = roles
    with closing(acting_as(monkeypatch, "ot_extractor")) as extractor:
        world.order(2, START)
        extract(world, minutes=30)
        assert world.query(f"SELECT COUNT(*) FROM {RAW}") == [(2,)]
        extractor.fetchall("SELECT order_id FROM order_tracking_history.hist_uts_all")
        for forbidden in (f"DELETE FROM {RAW}", "DELETE FROM order_tracking_history.order_tracking_exceptions"):
            with pytest.raises(WarehouseError, match="denied"):
                extractor.execute(forbidden)
    with closing(acting_as(monkeypatch, "ot_reader")) as reader:
        reader.fetchall("SELECT order_id, partner_id FROM order_tracking.order_status")
        reader.fetchall("SELECT order_id FROM order_tracking.order_timeline")
        reader.fetchall("SELECT order_id FROM order_tracking_history.order_tracking_exceptions")
        for forbidden in (
            "DELETE FROM order_tracking_history.order_tracking_exceptions",
            f"SELECT order_id FROM {RAW}",
            "CREATE TABLE order_tracking.mine (a BIGINT)",
        ):
            with pytest.raises(WarehouseError, match="denied"):
                reader.execute(forbidden)


# config.yaml


def test_alerts_go_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_SLACK_WEBHOOK", "https://hooks.example.com/x")
    monkeypatch.setenv("ALERT_SMTP_HOST", "mail.example.com")
    monkeypatch.setenv("ALERT_SMTP_RECIPIENTS", "a@example.com, b@example.com")
    targets = {target.type_: target for target in _config().notification_targets}
    assert targets.keys() == {"slack_webhook", "smtp"}
    assert targets["smtp"].recipients == {"a@example.com", "b@example.com"}
    assert {str(event.value) for event in targets["smtp"].notify_on} == {
        "run_failure",
        "apply_failure",
        "audit_failure",
    }


def test_a_local_user_needs_no_setting_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("REDSHIFT_", "STATE_", "ALERT_")):
            monkeypatch.delenv(name)
    config = _config()
    assert set(config.gateways) == {"local"}
    assert config.notification_targets == []


def test_a_password_with_special_characters_reaches_sqlmesh_whole(
    redshift_world: RedshiftWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = "a'b\"c: {{ d }} # é\\"
    monkeypatch.setenv("REDSHIFT_PASSWORD", password)
    connection = _config().gateways["redshift"].connection
    assert connection.password == password
    assert (connection.pre_ping, connection.enable_merge, connection.concurrent_tasks) == (True, False, 1)


def _config() -> Any:
    (config,) = load_configs(None, Config, [Path(PROJECT)]).values()
    return config
