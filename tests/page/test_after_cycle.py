"""The page after each cycle: where STATUS_PAGE says, whatever became of the cycle, and no cycle fails by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from extract.errors import ConfigurationError, LockHeld
from extract.lock import run_lock
from tests.commands.test_status import HISTORY
from tests.redshift_standin import S3Server
from tests.support.commands import status as status_command
from tests.support.redshift_world import RedshiftWorld
from tests.support.world import DAY, MINUTE, World, moment

pytestmark = pytest.mark.xdist_group("page")


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where STATUS_PAGE sends the page; its folder has nothing else."""
    (tmp_path / "pages").mkdir()
    monkeypatch.setenv("STATUS_PAGE", str(tmp_path / "pages" / "status.html"))
    return tmp_path / "pages" / "status.html"


@pytest.mark.usefixtures("plain_sqlmesh")
def test_a_cycle_leaves_its_page_and_nothing_beside_it(world: World, page: Path) -> None:
    page.write_text("<!doctype html>the page before")
    world.order(1, world.now + MINUTE)
    told: list[str] = []
    cycle = world.cycle(report=told.append)
    assert not cycle.warnings and any(line.startswith("page ") and str(page) in line for line in told)
    text = page.read_text()
    assert f"<h1>order-tracking, {moment(world.now):%Y-%m-%d %H:%M} UTC</h1>" in text
    assert "done in" in text and ": 3 landed, 0 archived" in text, "it knows of this very cycle"
    assert [*page.parent.iterdir()] == [page]


@pytest.mark.parametrize(
    ("place", "cause"),
    [
        ("no/such/folder/status.html", "No such file or directory"),
        (".", "it is a folder"),
        ("s3://bucket", "is no s3://bucket/key"),
        ("s3://bucket/status.html", "Could not connect to the endpoint"),
    ],
)
def test_a_page_that_cannot_be_written_is_a_warning_with_its_cause(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str, cause: str
) -> None:
    monkeypatch.setenv("STATUS_PAGE", place if place.startswith("s3:") else str(tmp_path / place))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    for name, value in {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr("extract.s3_parts.ATTEMPTS", 1)
    (warning,) = world.cycle().warnings
    assert warning.endswith("No cycle fails by that; correct STATUS_PAGE.") and "Errno" not in warning
    assert warning.startswith("The status page cannot be written") and cause in warning
    monkeypatch.delenv("STATUS_PAGE")
    world.cycle()
    ((warned,),) = world.query(f"SELECT warnings FROM {HISTORY}.cycle_log WHERE warnings <> ''")
    assert warned == warning, "the log has it too"


def test_a_page_that_cannot_be_drawn_is_a_warning(world: World, page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> str:
        raise MemoryError

    monkeypatch.setattr("scripts.page.render.render_page", fail)
    (warning,) = world.cycle().warnings
    assert "was not written, the next cycle writes it: MemoryError" in warning and not page.exists()


def test_a_cycle_that_fails_says_so_on_the_page(world: World, page: Path) -> None:
    with pytest.raises(ConfigurationError, match="nothing was done"):
        world.cycle(world.now - DAY)
    assert f"The last cycle, of {moment(world.now):%Y-%m-%d %H:%M}, was refused: It is" in page.read_text()
    world.cycle(world.now + 2 * DAY)
    world.source("DROP TABLE ecs_order_info")
    with pytest.raises(Exception, match="ecs_order_info"):
        world.cycle()
    text = page.read_text()
    assert "WRONG" in text and f"The last cycle, of {moment(world.now):%Y-%m-%d %H:%M}, failed" in text


def test_a_cycle_that_finds_the_lock_held_leaves_the_page_to_the_one_that_holds_it(world: World, page: Path) -> None:
    with run_lock("local"), pytest.raises(LockHeld):
        world.cycle()
    assert not page.exists()


def test_without_the_setting_nothing_is_drawn(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.run_cycle.write_page_at", lambda *_: pytest.fail("a page was written"))
    monkeypatch.setenv("STATUS_PAGE", "")
    world.cycle()


def test_the_command_writes_it_beside_its_answer(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    at = ["--at", f"{moment(world.now + 60):%Y-%m-%dT%H:%M:%S}"]
    assert status_command(["--html", "here.html", *at]) == 0
    assert capsys.readouterr().out.startswith("FINE")
    assert "FINE" in (tmp_path / "here.html").read_text()
    assert status_command(["--html", "no/folder/here.html", *at]) == 2
    told = capsys.readouterr()
    assert told.out.startswith("FINE") and "No such file or directory" in told.err


def test_what_keeps_the_page_from_being_drawn_hides_no_verdict(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> str:
        raise MemoryError("no room")

    monkeypatch.setattr("scripts.page.render.render_page", fail)
    at = ["--html", str(tmp_path / "page.html"), "--at"]
    assert status_command([*at, f"{moment(world.now + 60):%Y-%m-%dT%H:%M:%S}"]) == 2
    told = capsys.readouterr()
    assert told.out.startswith("FINE") and "The page was not written: no room" in told.err
    assert status_command([*at, f"{moment(world.now + DAY):%Y-%m-%dT%H:%M:%S}"]) == 1, "the verdict counts"
    assert capsys.readouterr().out.startswith("WRONG")


@pytest.mark.slow
def test_on_redshift_it_goes_to_s3_and_counts_by_the_catalog(
    make_redshift_world: Callable[..., RedshiftWorld], s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_redshift_world()
    monkeypatch.setenv("STATUS_PAGE", f"s3://{s3_server.bucket}/pages/status.html")
    world.order(1, world.now + MINUTE)
    assert not world.cycle().warnings
    held = s3_server.client.get_object(Bucket=s3_server.bucket, Key="pages/status.html")
    assert held["ContentType"] == "text/html; charset=utf-8" and held["ServerSideEncryption"] == "AES256"
    text = held["Body"].read().decode()
    assert ": 3 landed, 0 archived" in text and "3 rows live in the marts, 0 in history" in text
    # A version of the mart that the view no longer shows, as a plan leaves it until SQLMesh's janitor has run.
    replaced = "sqlmesh__order_tracking.order_tracking__mart_uni_tracking_info__1"
    world.execute(f"CREATE TABLE {replaced} AS SELECT order_id FROM generate_series(1, 50) AS s(order_id)")
    world.cycle()
    text = s3_server.client.get_object(Bucket=s3_server.bucket, Key="pages/status.html")["Body"].read().decode()
    assert "3 rows live in the marts, 0 in history" in text
