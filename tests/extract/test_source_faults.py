"""A source that fails: every failure is told, none passes for the end of the rows, no password is shown."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pymysql
import pytest

from extract.errors import SourceError
from extract.mysql_address import Address
from extract.mysql_rows import CutStream, stream
from extract.source import SourceTable, TimeRange, open_source
from extract.source_mysql import MySQLSource
from tests.support.mariadb_server import VARIABLE, MariaDB

SPATH = SourceTable("uni_tracking_spath", "pathTime", ("order_id", "pathtime", "code", "traceseq", "note"))
DDL = (
    "CREATE TABLE uni_tracking_spath "
    "(order_id BIGINT, pathTime BIGINT, code INT, traceSeq INT, note VARCHAR(1000) DEFAULT (REPEAT('n', 1000)))"
)
MANY = 30_000  # 30 MB, more than sockets hold, so the server is still sending when the reader has the first
INTEGERS = "order_id, pathTime, code, traceSeq"
EVERYTHING = [TimeRange(None, None, unplaceable=True)]


@pytest.fixture(scope="module")
def own_server() -> Iterator[MariaDB]:
    """A server that may be killed."""
    if os.environ.get(VARIABLE):
        pytest.skip(f"NOT RUN: a server given in {VARIABLE} cannot be killed")
    with MariaDB() as server:
        server.execute("CREATE DATABASE shop CHARACTER SET utf8mb4")
        yield server


def fill(url: str, rows: int) -> None:
    with closing(Address.parse(url).connect(autocommit=True)) as connection:
        cursor = connection.cursor()
        cursor.execute(DDL)
        cursor.execute(
            "INSERT INTO uni_tracking_spath (order_id, pathTime, code, traceSeq) "
            "WITH RECURSIVE d AS (SELECT 0 n UNION ALL SELECT n + 1 FROM d WHERE n < 99) "
            "SELECT a.n + 100 * b.n + 10000 * c.n, 1 + a.n, 1, 0 FROM d a, d b, d c "
            f"WHERE a.n + 100 * b.n + 10000 * c.n < {rows}"
        )


def running(url: str) -> list[int]:
    """Ids of the connections that are sending rows of this database."""
    name = Address.parse(url).database
    with closing(Address.parse(url).connect(autocommit=True)) as connection:
        cursor = connection.cursor()
        cursor.execute(
            "SELECT id FROM information_schema.processlist "
            f"WHERE db = '{name}' AND command = 'Execute' AND info LIKE '%uni_tracking_spath%'"
        )
        return [row[0] for row in cursor.fetchall()]


def test_a_server_killed_in_the_middle_of_a_read_is_an_error_and_reading_again_is_whole(
    own_server: MariaDB,
) -> None:
    url = own_server.url("shop")
    fill(url, MANY)
    with closing(open_source(url)) as source:
        reading = source.read(SPATH, EVERYTHING)
        assert 0 < next(reading).num_rows < MANY
        own_server.kill()
        with pytest.raises(SourceError, match="does not count"):
            list(reading)
        with pytest.raises(SourceError, match="cannot be reached"):
            source.clock()
    own_server.restart()
    with closing(open_source(url)) as source:
        assert sum(batch.num_rows for batch in source.read(SPATH, EVERYTHING)) == MANY


@pytest.mark.parametrize("how", ["KILL", "KILL QUERY"])
def test_a_killed_connection_or_query_is_an_error(mysql_database: str, how: str) -> None:
    fill(mysql_database, MANY)
    with closing(open_source(mysql_database)) as source:
        reading = source.read(SPATH, EVERYTHING)
        got = next(reading).num_rows
        (sending,) = running(mysql_database)
        with closing(Address.parse(mysql_database).connect()) as connection:
            connection.cursor().execute(f"{how} {sending}")
        with pytest.raises(SourceError, match="uni_tracking_spath"):
            for batch in reading:
                got += batch.num_rows
        assert got < MANY


def test_an_idle_connection_that_another_thread_has_just_taken_is_no_error(mysql_database: str) -> None:
    class Taken(list[Any]):
        """Seems to hold one, as a list does to a thread that asks just before another one takes the last."""

        def __bool__(self) -> bool:
            return True

    with closing(MySQLSource(mysql_database)) as source:
        source._idle = Taken()
        assert source.clock() is not None


def test_a_slow_landing_holds_the_server_back_instead_of_filling_memory(mysql_database: str) -> None:
    fill(mysql_database, MANY)
    with closing(open_source(mysql_database)) as source:
        reading = source.read(SPATH, EVERYTHING)
        got = next(reading).num_rows
        time.sleep(0.5)
        assert len(running(mysql_database)) == 1
        assert got + sum(batch.num_rows for batch in reading) == MANY
        assert running(mysql_database) == []


class Cutter:
    """Forwards one connection to the server and cuts it after so many bytes of the server's answer, or garbles one."""

    def __init__(self, address: Address, after: int | None = None, garbled: int | None = None) -> None:
        self.sent = 0
        self._address, self._after, self._garbled = address, after, garbled
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        server = socket.create_connection((self._address.host, self._address.port))
        back = threading.Thread(target=self._forward, args=(client, server))
        back.start()
        with suppress(OSError):
            while data := server.recv(1 << 16):
                if self._after is not None:
                    data = data[: self._after - self.sent]
                if self._garbled is not None and self.sent <= self._garbled < self.sent + len(data):
                    at = self._garbled - self.sent
                    data = data[:at] + b"\x42" + data[at + 1 :]
                self.sent += len(data)
                client.sendall(data)
                if self.sent == self._after:
                    break
        for end in (client, server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        back.join()
        client.close()
        server.close()

    @staticmethod
    def _forward(client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(1 << 16):
                server.sendall(data)
        # A client that closes with bytes unread resets the connection: of that, too, the server must hear.
        with suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._thread.join(10)
        self._listener.close()
        assert not self._thread.is_alive(), "the server still waits for the next command, and holds the table"


def read_through(url: str, **fault: int) -> tuple[int, int]:
    """Rows read through a connection that is cut or garbled at a byte, and the bytes that came."""
    address = Address.parse(url)
    with closing(Cutter(address, **fault)) as cutter:
        connection = replace(address, host="127.0.0.1", port=cutter.port).connect()
        try:
            return sum(
                b.num_rows for b in stream(connection, f"SELECT {INTEGERS} FROM uni_tracking_spath")
            ), cutter.sent
        finally:
            connection._force_close()


def test_a_stream_cut_at_any_byte_never_passes_for_a_whole_one(mysql_database: str) -> None:
    rows = 1000
    fill(mysql_database, rows)
    whole, size = read_through(mysql_database)
    assert whole == rows
    row = 4 + 1 + 1 + 8 + 8 + 4 + 4
    rows_end = size - 9  # the packet that ends the rows
    cuts = [size - 1, size - 4, size - 5, size - 8, rows_end, rows_end - 1, rows_end - row, rows_end - 500 * row]
    for after in [*cuts, rows_end - 500 * row - 3, rows_end - (rows - 1) * row, rows_end - rows * row]:
        with pytest.raises((CutStream, pymysql.Error, OSError)):
            read_through(mysql_database, after=after)
    for beginning in (rows_end + 4, rows_end - 500 * row + 4, rows_end - rows * row + 4):
        with pytest.raises(CutStream, match="neither a row nor their end"):
            read_through(mysql_database, garbled=beginning)
    for number in (rows_end - 500 * row + 3, rows_end - rows * row + 3):
        with pytest.raises(CutStream, match="not numbered one after another"):
            read_through(mysql_database, garbled=number)
    with pytest.raises(CutStream, match="neither a row nor their end"):
        read_through(mysql_database, garbled=rows_end + 3)


@pytest.mark.parametrize("what", ["password", "host", "database", "port"])
def test_a_refused_login_or_unreachable_server_is_told_without_the_password(mysql_database: str, what: str) -> None:
    address = Address.parse(mysql_database)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = free.getsockname()[1]
    secret = "hidden-%40-word"
    url = {
        "password": f"mysql://{address.user}:{secret}@{address.host}:{address.port}/{address.database}",
        "host": f"mysql://u:{secret}@no-such-host.invalid:3306/shop",
        "database": re.sub(r"/[^/]*$", "/no_such_database", mysql_database),
        "port": f"mysql://u:{secret}@127.0.0.1:{closed}/shop",
    }[what]
    with pytest.raises(SourceError) as caught:
        open_source(url)
    told = str(caught.value) + repr(caught.value) + repr(caught.value.__cause__)
    assert "cannot be reached" in told and "Nothing was read" in told
    for word in (secret, "hidden-@-word", address.password):
        assert not word or word not in told


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:hidden@/shop",
        "mysql://u:hidden@host:3306",
        "mysql://u:hidden@host:notaport/shop",
        "mysql://u:hidden@host/shop?ssl=1",
        "postgres://u:hidden@host/shop",
        "duckdb://u:hidden@host",
        "hidden",
    ],
)
def test_an_unusable_url_is_told_without_the_password(url: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(url)
    assert "hidden" not in str(caught.value) and "othing was read" in str(caught.value)


def test_a_missing_or_broken_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        open_source(f"duckdb:///{tmp_path}/none.duckdb")
    broken = tmp_path / "broken.duckdb"
    broken.write_bytes(b"no database" * 1000)
    with pytest.raises(SourceError, match="not a valid DuckDB database"):
        open_source(f"duckdb:///{broken}")


def test_a_file_that_another_process_is_writing_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "held.duckdb"
    program = f"import duckdb; c = duckdb.connect({str(path)!r}); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(SourceError, match="no other process"):
            open_source(f"duckdb:///{path}")
        holder.communicate("\n")


def test_a_number_beyond_64_bits_is_given_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "source.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE t (order_id HUGEINT, pathTime BIGINT)")
        connection.execute("INSERT INTO t VALUES (170141183460469231731687303715884105727, 1)")
    with closing(open_source(f"duckdb:///{path}")) as source:
        (batch,) = source.read(SourceTable("t", "pathTime", ("order_id",)), EVERYTHING)
    assert batch["order_id"].to_pylist() == [str(2**127 - 1)]
