"""TLS to a real MariaDB: with `ssl-ca` the server must prove who it is, or nothing is read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from bench.source_tables import SOURCE_TABLES
from extract.errors import SourceError
from extract.mysql_address import Address
from extract.source import SourceTable, TimeRange, open_source
from tests.support.certificates import certificate
from tests.support.mariadb_server import VARIABLE, MariaDB

ROWS = 300_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    """Of a server whose certificate is made out to localhost."""
    if os.environ.get(VARIABLE) and not shutil.which("mariadbd"):
        pytest.skip(f"NOT RUN: with {VARIABLE} set no MariaDB is installed, and that server's certificate is not ours")
    with MariaDB(tls=certificate(folder, "localhost")) as server:
        server.execute("CREATE DATABASE shop")
        server.execute(f"CREATE TABLE uni_tracking_spath ({SOURCE_TABLES['uni_tracking_spath']})", "shop")
        server.execute(
            f"INSERT INTO uni_tracking_spath (order_id, pathTime) SELECT seq, seq FROM seq_1_to_{ROWS}", "shop"
        )
        yield server.url("shop")


def test_a_server_that_the_authority_vouches_for_is_read_over_tls(url: str, folder: Path) -> None:
    at_home = url.replace("127.0.0.1", "localhost")
    read = f"{at_home}?ssl-ca={folder / 'certificate.pem'}"
    with closing(Address.parse(read).connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
        assert cursor.fetchone()[1]
    with closing(open_source(read)) as source:
        assert source.clock()
        table = SourceTable("uni_tracking_spath", "pathTime", ("order_id", "pathtime", "code", "traceseq"))
        batches = list(source.read(table, [TimeRange(0, unplaceable=True)]))
    assert len(batches) > 1, "more than one buffer"
    orders = pa.concat_arrays([batch.column("order_id") for batch in batches])
    assert sorted(orders.to_pylist()) == list(range(1, ROWS + 1))


def test_a_server_of_another_name_is_refused(url: str, folder: Path) -> None:
    with pytest.raises(SourceError, match="certificate verify failed"):
        open_source(f"{url}?ssl-ca={folder / 'certificate.pem'}")


def test_a_server_that_the_authority_does_not_know_is_refused(url: str, tmp_path: Path) -> None:
    another, _ = certificate(tmp_path, "localhost")
    with pytest.raises(SourceError, match="certificate verify failed"):
        open_source(f"{url.replace('127.0.0.1', 'localhost')}?ssl-ca={another}")
