"""What comes from the environment: checked at once, shown without secrets, and its paths are the project's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from extract import settings
from extract.errors import ConfigurationError, SourceUrlError
from extract.mysql_address import Address
from extract.settings import (
    PROJECT,
    known_names,
    load_settings_file,
    read_settings,
    share_warehouse_file,
    warehouse_file,
    without,
    without_secrets,
)
from extract.source import duckdb_path
from tests.conftest import START
from tests.support.certificates import certificate
from tests.support.world import World

SECRET = "hunter2-secret"
COMPLETE = {
    "ORDER_TRACKING_SOURCE": f"mysql://u:{SECRET}@h/d",
    "ORDER_TRACKING_GATEWAY": "redshift",
    "ORDER_TRACKING_DEBUG": "0",
    "ALERT_URLS": f"slack://{SECRET}  mailto://u:{SECRET}@h",
    "REDSHIFT_HOST": "h",
    "REDSHIFT_DATABASE": "d",
    "REDSHIFT_USER": "u",
    "REDSHIFT_PASSWORD": SECRET,
    "REDSHIFT_S3_PREFIX": "s3://bucket/p/",
    "REDSHIFT_COPY_ROLE": "default",
    "STATE_HOST": "h",
    "STATE_DATABASE": "d",
    "STATE_USER": "u",
    "STATE_PASSWORD": SECRET,
}


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in COMPLETE.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_settings_are_typed_and_show_no_secret(complete: pytest.MonkeyPatch) -> None:
    found = read_settings(needs_source=True)
    assert SECRET not in repr(found) + str(found)
    assert found.redshift is not None
    assert (found.redshift.port, found.redshift.ssl, found.redshift.s3_prefix) == (5439, True, "s3://bucket/p")
    assert found.debug is False
    assert found.redshift.connection_arguments()["password"] == SECRET
    assert found.redshift.state.connection_arguments()["password"] == SECRET
    assert read_settings("local").redshift is None, "what the command line gives goes first"
    with pytest.raises(ValueError, match="frozen"):
        found.gateway = "local"


def test_all_that_is_missing_or_wrong_is_named_at_once_and_no_value_shown(complete: pytest.MonkeyPatch) -> None:
    for name in COMPLETE:
        complete.delenv(name)
    complete.setenv("REDSHIFT_USER", "")
    wrong = {
        "ORDER_TRACKING_DEBUG": "is none of 0, 1",
        "REDSHIFT_PORT": "is no number",
        "REDSHIFT_IAM": "is none of 0, 1",
        "REDSHIFT_SSLMODE": "is not 'verify-full' or 'verify-ca'",
        "REDSHIFT_S3_PREFIX": "is no s3://bucket/prefix",
        "REDSHIFT_COPY_ROLE": "is no role",
        "STATE_PORT": "is no number",
        "STATE_SSLMODE": "is not 'disable'",
    }
    for name in wrong:
        complete.setenv(name, SECRET)
    complete.setenv("ORDER_TRACKING_HISTORY_START", "2024h1")
    with pytest.raises(ConfigurationError) as error:
        read_settings("redshift", needs_source=True)
    told = str(error.value)
    missing = [name for name in COMPLETE if name not in (*wrong, "ORDER_TRACKING_GATEWAY", "ALERT_URLS")]
    assert all(name in told.partition("Not set: ")[2].partition(". ")[0] for name in missing), told
    assert all(f"{name} {words}" in told for name, words in wrong.items()), told
    assert "ORDER_TRACKING_HISTORY_START '2024h1' is no period" in told
    assert SECRET not in told


@pytest.mark.parametrize("text", ["2024h1", "2024_h3", "a: b", "1969_h2", "2200_h1"])
def test_a_history_start_that_is_no_half_year_is_told(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Taken as text it would sort somewhere, and from there on archive everything or nothing."""
    monkeypatch.setenv("ORDER_TRACKING_HISTORY_START", text)
    with pytest.raises(ConfigurationError, match=r"ORDER_TRACKING_HISTORY_START .* is no period"):
        read_settings()


def test_encryption_may_not_be_off_with_iam(complete: pytest.MonkeyPatch) -> None:
    complete.setenv("REDSHIFT_IAM", "1")
    complete.setenv("REDSHIFT_SSL", "0")
    with pytest.raises(ConfigurationError, match="REDSHIFT_SSL may not be off with REDSHIFT_IAM") as error:
        read_settings()
    assert "REDSHIFT_CLUSTER_IDENTIFIER (or REDSHIFT_SERVERLESS_WORK_GROUP)" in str(error.value)
    assert "REDSHIFT_USER" not in str(error.value)


def test_a_password_is_hidden_wherever_it_stands(complete: pytest.MonkeyPatch) -> None:
    assert without_secrets(f"no login with {SECRET}") == "no login with ***"
    assert (
        without_secrets("no hunter3%2Fsecret, no hunter3/secret", "mysql://u:hunter3%2Fsecret@h/d") == "no ***, no ***"
    )
    assert without("a table at mysql://a:a@a", ["a"]) == "a table at mysql://a:***@a", "of a short one only its place"


@pytest.mark.parametrize(
    ("password", "told"),
    [
        ("a", "a table at mysql://a:{}@a; password={}, 'password': '{}', MY_PASSWORD={}"),
        ("3306", "mysql://3306:{}@h:3306/3306 says 3306 (using password: YES)"),
        ("YES", "mysql://u:{}@h/d says (using password: YES)"),
        ("password", "Check host, user and password of mysql://password:{}@h/d: the password is 'password'"),
        ("orders_7", "mysql://orders_7:{}@orders_7:3306/orders_7 says no 'orders_7'"),
        ("order_tracking", "order_tracking_raw.orders, mysql://order_tracking:{}@h/d"),
        ("shop-key", "no file /etc/shop-key/key.pem; mysql://u:{}@h/d?ssl-key=/etc/shop-key/key.pem"),
        ("p.+*(w", "p.+*(w"),
    ],
)
def test_nothing_but_the_password_is_hidden(password: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short or ordinary word only in a password's own place; a name that may be shown nowhere else."""
    user = password if password.isidentifier() else "u"
    quoted = quote(password, safe="")
    url = f"mysql://{user}:{quoted}@orders_7/orders_7?ssl-key=/etc/shop-key/key.pem"
    monkeypatch.setenv("ORDER_TRACKING_SOURCE", url)
    text, wanted = told.replace("{}", password), told.replace("{}", "***")
    assert without_secrets(text) == (wanted if "{}" in told else "***")
    monkeypatch.delenv("ORDER_TRACKING_SOURCE")
    assert without_secrets(text, url) == (wanted if "{}" in told else "***")


@pytest.mark.parametrize("password", ["hunter-2", "p.+*(w", "\\d+[a-z]", "pa@ss/word:1", "pässwörd-€", 'it\'s "so"'])
def test_a_password_is_hidden_however_it_is_spelled(password: str) -> None:
    quoted = quote(password, safe="")
    url = f"mysql://u:{quoted}@h/d"
    for spelled in (password, quoted, repr(password)[1:-1], repr(password.encode())[2:-1]):
        assert without_secrets(f"x{spelled}y mysql://u:{spelled}@h/d", url) == "x***y mysql://u:***@h/d"


def test_without_a_password_nothing_is_hidden() -> None:
    text = "no way to mysql://u:@h/d: none (using password: NO), password="
    assert without_secrets(text, "mysql://u:@h/d") == without_secrets(text, "mysql://u@h/d") == text


# Paths


def test_relative_paths_are_the_projects_wherever_a_command_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORDER_TRACKING_DUCKDB", "some/file.duckdb")
    assert warehouse_file() == PROJECT / "some" / "file.duckdb"
    assert duckdb_path("duckdb:///some/source.duckdb") == str(PROJECT / "some" / "source.duckdb")
    assert duckdb_path("duckdb:////some/source.duckdb") == "/some/source.duckdb"
    authority = os.path.relpath(certificate(tmp_path, "h")[0], PROJECT)
    address = Address.parse(f"mysql://u:p@h/d?ssl-ca={authority}&socket=some/file.sock")
    assert (address.ssl_ca, address.socket) == (str(PROJECT / authority), str(PROJECT / "some" / "file.sock"))
    with pytest.raises(SourceUrlError, match=f"no file '{PROJECT / 'none.pem'}'"):
        Address.parse("mysql://u:p@h/d?ssl-ca=none.pem")
    share_warehouse_file("local")
    assert os.environ["ORDER_TRACKING_DUCKDB"] == str(PROJECT / "some" / "file.duckdb"), "SQLMesh reads it there"


def test_the_file_of_an_earlier_version_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "PROJECT", tmp_path)
    assert warehouse_file() == tmp_path / "warehouse.duckdb"
    (tmp_path / "order_tracking.duckdb").touch()
    with pytest.raises(ConfigurationError, match=r"set ORDER_TRACKING_DUCKDB=order_tracking\.duckdb"):
        warehouse_file()
    with pytest.raises(ConfigurationError, match="nothing was done") as error:
        read_settings(needs_source=True)
    assert "ORDER_TRACKING_SOURCE" in str(error.value), "with all else that is missing"
    monkeypatch.setenv("ORDER_TRACKING_DUCKDB", "order_tracking.duckdb")
    assert read_settings() and warehouse_file() == tmp_path / "order_tracking.duckdb"
    monkeypatch.delenv("ORDER_TRACKING_DUCKDB")
    (tmp_path / "warehouse.duckdb").touch()
    assert warehouse_file() == tmp_path / "warehouse.duckdb"


def test_a_cycle_from_another_folder_works_on_the_projects_warehouse(world: World, tmp_path: Path) -> None:
    """A copy of the project with a .env file, run from elsewhere; its warehouse has the default name."""
    world.order(1, START)
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    for name in ("extract", "macros", "models", "audits", "scripts", "bench"):
        if (PROJECT / name).exists():
            shutil.copytree(PROJECT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("config.yaml", "external_models.yaml"):
        shutil.copy(PROJECT / name, project / name)
    elsewhere.mkdir()
    shutil.copy(world.source_file, project / "shop.duckdb")
    shutil.copy(world.warehouse_file, project / "warehouse.duckdb")
    (project / ".env").write_text("ORDER_TRACKING_SOURCE=duckdb:///shop.duckdb\n")
    leftout = ("ORDER_TRACKING_DUCKDB", "PYTHON_DOTENV_DISABLED")
    done = subprocess.run(
        [sys.executable, "-m", "scripts.run_cycle", "--at", "2025-09-01T00:15:30"],
        cwd=elsewhere,
        env={name: value for name, value in os.environ.items() if name not in leftout} | {"PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not [path.name for path in elsewhere.iterdir() if path.suffix == ".duckdb"]
    world.warehouse_file = project / "warehouse.duckdb"
    assert list(world.uti()) == [1]


def test_the_example_names_every_setting_and_no_other() -> None:
    lines = (PROJECT / ".env.example").read_text(encoding="utf-8").splitlines()
    assert sorted({line.split("=")[0] for line in lines if line[:1].isupper()}) == known_names()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'ORDER_TRACKING_GATEWAY="redshift\nREDSHIFT_PASSWORD=hush-4711\n', "line 1 is no NAME=value"),
        (b"ORDER_TRACKING_GATEWY=redshift\n", "ORDER_TRACKING_GATEWY is no setting (is ORDER_TRACKING_GATEWAY meant?)"),
        (b"ORDER_TRACKNG_GATEWAY=redshift\n", "ORDER_TRACKNG_GATEWAY is no setting (is ORDER_TRACKING_GATEWAY meant?)"),
        (b"REDSHIFT_PASSWORD=hush-4711\xe9\n", "cannot be read: 'utf-8' codec"),
        (None, "cannot be read: [Errno 21] Is a directory"),
    ],
    ids=["open quote", "misspelled", "its beginning misspelled", "latin1", "folder"],
)
def test_a_settings_file_with_a_mistake_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, told: str
) -> None:
    """Else the command would go on without it, on another warehouse."""
    monkeypatch.setattr("extract.settings.PROJECT", tmp_path)
    monkeypatch.delenv("PYTHON_DOTENV_DISABLED", raising=False)
    file = tmp_path / ".env"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError) as refused:
        load_settings_file()
    assert told in str(refused.value) and "nothing was done" in str(refused.value)
    assert "hush" not in str(refused.value) and not os.environ.get("REDSHIFT_PASSWORD")


@pytest.mark.parametrize(
    "name", ["ORDER_TRACKING_GATWAY", "ORDER_TRACKING_DUCKDBB", "ORDER_TRACKNG_GATEWAY", "ALERT_URL", "STATUS_PAG"]
)
def test_a_misspelled_name_in_the_environment_is_not_passed_over(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "redshift")
    monkeypatch.setenv("ORDER_TRACKING_TEST_OF_OURS", "1")
    with pytest.raises(ConfigurationError, match=rf"{name} is no setting \(is \w+ meant\?\)") as error:
        load_settings_file()
    assert "ORDER_TRACKING_TEST_OF_OURS" not in str(error.value)
    monkeypatch.delenv(name)
    for of_others in ("ORDER_TRACKING_PORT", "ORDER_TRACKING_SERVICE_HOST", "ORDER_TRACKING_PORT_80_TCP"):
        monkeypatch.setenv(of_others, "tcp://10.0.0.7:80")
    monkeypatch.setenv("ORDER_TRACKING_SOURCE", "duckdb:///ours.duckdb")
    monkeypatch.setenv("ORDER_TRACKING_SOURCE_2", "what is meant is set")
    load_settings_file()


def test_a_settings_file_sets_what_the_environment_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extract.settings.PROJECT", tmp_path)
    monkeypatch.delenv("PYTHON_DOTENV_DISABLED", raising=False)
    monkeypatch.setenv("STATE_PORT", "6000")
    monkeypatch.delenv("STATE_HOST", raising=False)
    (tmp_path / ".env").write_text("# ours\nexport STATE_HOST='db'\nSTATE_PORT=7000\nAWS_PROFILE=x\n")
    load_settings_file()
    assert (os.environ.pop("STATE_HOST"), os.environ["STATE_PORT"]) == ("db", "6000")


def test_a_setting_that_is_empty_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ORDER_TRACKING_HISTORY_START", "ORDER_TRACKING_DUCKDB"):
        monkeypatch.setenv(name, "")
    from sqlmesh.core.config import Config, load_configs

    (config,) = load_configs(None, Config, [PROJECT]).values()
    assert config.variables["history_start"] == read_settings().history_start == "2024_h1"
    assert config.gateways["local"].connection.database == "warehouse.duckdb"  # type: ignore[union-attr]
    assert warehouse_file() == PROJECT / "warehouse.duckdb"
