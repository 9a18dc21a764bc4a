"""Fixtures for tests against a real MySQL: one server a session, a fresh database a test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.support.mariadb_server import MariaDB


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """The session's server; tests share it, so nobody kills it."""
    with MariaDB() as server:
        yield server


@pytest.fixture
def mysql_database(mariadb: MariaDB) -> Iterator[str]:
    """The source URL of an empty utf8mb4 database, dropped after the test."""
    name = f"ot_{uuid.uuid4().hex[:12]}"
    mariadb.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    yield mariadb.url(name)
    mariadb.execute(f"DROP DATABASE {name}")
