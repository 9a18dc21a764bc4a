"""Fixtures of the tests that run on the Redshift stand-in: started once, with an empty planned warehouse kept aside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.run_cycle import run_cycle
from tests.redshift_standin import RedshiftStandin, S3Server
from tests.support.redshift_world import Databases, RedshiftWorld, environment
from tests.support.world import World, at, moment

START = at("2025-09-01T00:00:00")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture(scope="session")
def redshift(s3_server: S3Server) -> Iterator[RedshiftStandin]:
    with RedshiftStandin(s3_endpoint_url=s3_server.endpoint_url) as standin:
        yield standin


@pytest.fixture(scope="session")
def redshift_databases(
    redshift: RedshiftStandin, s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Databases:
    """Kept aside: `empty` (nothing in it) and `planned` (has seen an empty source at START)."""
    databases = Databases(redshift)
    databases.keep("empty")
    source = World(tmp_path_factory.mktemp("planned"), START)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(redshift, s3_server).items():
            patch.setenv(name, value)
        patch.setenv("ORDER_TRACKING_HISTORY_START", "2024_h1")
        run_cycle(at=moment(START), source=source.source_url, gateway="redshift")
    databases.keep("planned")
    return databases


@pytest.fixture
def make_redshift_world(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    redshift: RedshiftStandin,
    s3_server: S3Server,
    redshift_databases: Databases,
) -> Callable[..., RedshiftWorld]:
    """A world at START whose warehouse is the stand-in; `planned=False` leaves planning to its first cycle."""

    def make(*, history_start: str = "2024_h1", planned: bool = True, now: int = START) -> RedshiftWorld:
        redshift_databases.put_back("planned" if planned else "empty")
        for item in s3_server.client.list_objects_v2(Bucket=s3_server.bucket).get("Contents", []):
            s3_server.client.delete_object(Bucket=s3_server.bucket, Key=item["Key"])
        for name, value in environment(redshift, s3_server).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("ORDER_TRACKING_HISTORY_START", history_start)
        return RedshiftWorld(tmp_path, now, redshift, s3_server)

    return make


@pytest.fixture
def redshift_world(make_redshift_world: Callable[..., RedshiftWorld]) -> RedshiftWorld:
    return make_redshift_world()
