"""The ways to a real MariaDB: TLS as strict as `ssl-mode` says, client certificates, a socket, IPv6, its logins."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from bench.source_tables import SOURCE_TABLES
from extract import mysql_rows, source_mysql
from extract.errors import SourceError, TooLong
from extract.mysql_address import Address
from extract.mysql_rows import stream
from extract.source import SourceTable, TimeRange, open_source
from extract.source_mysql import MySQLSource
from extract.source_reads import Limits
from tests.support.certificates import certificate
from tests.support.mariadb_server import VARIABLE, MariaDB

ROWS = 300_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[MariaDB]:
    """Its certificate is made out to localhost; clients may show one of their own."""
    if os.environ.get(VARIABLE) and not shutil.which("mariadbd"):
        pytest.skip(f"NOT RUN: with {VARIABLE} set no MariaDB is installed, and that server's certificate is not ours")
    (folder / "client").mkdir()
    of_client, _ = certificate(folder / "client", "client")
    options = [f"--ssl-ca={of_client}", "--bind-address=127.0.0.1,::1", "--plugin-load-add=auth_ed25519"]
    with MariaDB(tls=certificate(folder, "localhost"), options=options) as server:
        server.execute("CREATE DATABASE shop")
        server.execute(f"CREATE TABLE uni_tracking_spath ({SOURCE_TABLES['uni_tracking_spath']})", "shop")
        server.execute(
            f"INSERT INTO uni_tracking_spath (order_id, pathTime) SELECT seq, seq FROM seq_1_to_{ROWS}", "shop"
        )
        yield server


@pytest.fixture
def url(server: MariaDB) -> str:
    return server.url("shop")


def cipher(url: str) -> str:
    """With which one a connection is encrypted; empty if it is not."""
    with closing(Address.parse(url).connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
        return str(cursor.fetchone()[1])


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


def test_the_mode_decides_about_tls(url: str, folder: Path) -> None:
    assert not cipher(f"{url}?ssl-mode=DISABLED")
    assert cipher(url), "PREFERRED, which takes what the server offers"
    assert cipher(f"{url}?ssl-mode=REQUIRED"), "whoever the server is"
    authority = f"ssl-ca={folder / 'certificate.pem'}"
    assert cipher(f"{url}?{authority}&ssl-mode=VERIFY_CA"), "the authority's server, whatever its name"
    with pytest.raises(SourceError, match="certificate verify failed"):
        cipher(f"{url}?{authority}&ssl-mode=VERIFY_IDENTITY")


def test_a_mode_that_looks_at_the_authority_refuses_another_one(url: str, tmp_path: Path) -> None:
    another, _ = certificate(tmp_path, "localhost")
    with pytest.raises(SourceError, match=r"certificate verify failed.*Name in ssl-ca the authority"):
        cipher(f"{url}?ssl-ca={another}&ssl-mode=VERIFY_CA")


def test_a_user_who_must_show_a_certificate_does(server: MariaDB, folder: Path) -> None:
    url = server.user_url("certified", "pass-1", "IDENTIFIED BY 'pass-1' REQUIRE X509", "shop")
    pair = f"ssl-cert={folder / 'client' / 'certificate.pem'}&ssl-key={folder / 'client' / 'key.pem'}"
    assert cipher(f"{url}?{pair}")
    at_home = url.replace("127.0.0.1", "localhost")
    assert cipher(f"{at_home}?{pair}&ssl-ca={folder / 'certificate.pem'}")
    with pytest.raises(SourceError, match="Access denied"):
        cipher(url)


def test_a_unix_socket_is_read_plain_unless_tls_is_required(server: MariaDB) -> None:
    url = server.socket_url("shop")
    with closing(open_source(url)) as source:
        assert source.clock()
    assert not cipher(url)
    assert cipher(f"{url}&ssl-mode=REQUIRED")
    with pytest.raises(SourceError, match=r"order_tracking@localhost/shop\?socket=/nowhere/s cannot be reached"):
        open_source("mysql://order_tracking:x@localhost/shop?socket=/nowhere/s")


def test_a_server_is_read_over_ipv6(url: str) -> None:
    if not has_ipv6():
        pytest.skip("NOT RUN: this machine has no IPv6")
    with closing(open_source(url.replace("127.0.0.1", "[::1]"))) as source:
        assert source.clock()
    closed = re.sub(r":\d+/shop", ":1/shop", url.replace("127.0.0.1", "[::1]"))
    with pytest.raises(SourceError, match=r"mysql://order_tracking@\[::1\]:1/shop cannot be reached"):
        open_source(closed)


@pytest.mark.parametrize("password", ["päss", "п@роль-€", ""])
def test_a_password_of_any_letters_logs_in(server: MariaDB, password: str) -> None:
    assert cipher(server.user_url("lettered", password, f"IDENTIFIED BY '{password}'", "shop"))


def test_the_login_by_ed25519_names_what_it_needs(server: MariaDB) -> None:
    url = server.user_url("edward", "pass-2", "IDENTIFIED VIA ed25519 USING PASSWORD('pass-2')", "shop")
    if importlib.util.find_spec("nacl"):
        assert cipher(url)
        return
    with pytest.raises(SourceError, match=r"'pynacl' package is required.*pip install.*mysql_native_password"):
        cipher(url)


def test_a_server_that_falls_silent_while_hands_are_shaken_is_given_up(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody in between lets the server's greeting through and nothing else, as a firewall that forgets does."""
    monkeypatch.setattr(source_mysql, "SPARE_SECONDS", 1)
    to = Address.parse(url)
    ended = threading.Event()

    def greet(silent: socket.socket) -> None:
        with suppress(OSError):
            client, _ = silent.accept()
            with client, socket.create_connection((to.host, to.port)) as server:
                client.sendall(server.recv(4096))
                ended.wait(30)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        threading.Thread(target=greet, args=[silent], daemon=True).start()
        began = time.monotonic()
        with pytest.raises(SourceError, match=r"cannot be reached.*timed out"):
            MySQLSource(url.replace(f":{to.port}/", f":{silent.getsockname()[1]}/"), Limits(statement_seconds=1))
        ended.set()
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("way", ["plain", "TLS", "socket", "TLS over a socket"])
def test_a_connection_that_is_cut_ends_and_gives_only_what_the_server_said(server: MariaDB, way: str) -> None:
    url = server.socket_url("shop") if "socket" in way else f"{server.url('shop')}?"
    url += f"&ssl-mode={'REQUIRED' if 'TLS' in way else 'DISABLED'}"
    expired = threading.Event()
    with closing(Address.parse(url).connect(read_timeout=10)) as connection:
        assert isinstance(connection._sock, ssl.SSLSocket) == ("TLS" in way)
        assert next(stream(connection, f"SELECT REPEAT('n', 100) AS a FROM seq_1_to_{ROWS}")).num_rows
        source_mysql._cut(connection, expired)
        assert expired.is_set()
        rest = bytearray()
        with suppress(OSError):  # an end, too
            while got := connection._rfile.read1():
                rest += got
        assert b"\x17\x03\x03" not in rest, "what TLS had encrypted, as it came"
        connection._force_close()
        source_mysql._cut(connection, expired)  # one that somebody has closed


def test_a_reader_that_is_slower_than_a_statement_may_be_is_given_no_row_that_the_source_lacks(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection holds more than the reader takes at once, so rows stand in it when it is cut."""
    monkeypatch.setattr(mysql_rows, "BUFFER_BYTES", 64 << 10)
    table = SourceTable("uni_tracking_spath", "pathTime", ("order_id", "pathtime", "code", "traceseq"))
    with closing(MySQLSource(f"{url}?ssl-mode=REQUIRED", Limits(statement_seconds=1))) as source:
        reading = source.read(table, [TimeRange(0, unplaceable=True)])
        batches = [next(reading)]
        time.sleep(1.5)
        with pytest.raises(TooLong, match="more than 1 s for reading uni_tracking_spath"):
            batches += reading
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert [row for row in rows if row["order_id"] != row["pathtime"]] == []
    assert len(rows) == batches[0].num_rows, "what comes after the limit is not looked at"


@pytest.mark.parametrize("error", [ValueError, AttributeError, IndexError, ssl.SSLError])
def test_whatever_goes_wrong_after_the_limit_is_told_as_the_limit(
    url: str, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    table = SourceTable("uni_tracking_spath", "pathTime", ("order_id",))

    def fails(*args: Any) -> Iterator[pa.RecordBatch]:
        time.sleep(1.5)
        yield from ()
        raise error("what was left made no sense")

    monkeypatch.setattr(source_mysql, "stream", fails)
    with closing(MySQLSource(url, Limits(statement_seconds=1))) as source:
        with pytest.raises(TooLong, match="more than 1 s") as told:
            list(source.read(table, [TimeRange(0)]))
        assert isinstance(told.value.__cause__, error)


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False
