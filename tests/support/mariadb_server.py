"""A real MariaDB for tests: a private server with its own data directory, port and socket.

With ORDER_TRACKING_TEST_MYSQL set (mysql://user:password@host:port/any_database, a user who may create
databases) that server is used instead; it cannot be killed or restarted, and tests that need to do so must say
that they were not run.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import pymysql

from extract.mysql_address import Address

VARIABLE = "ORDER_TRACKING_TEST_MYSQL"
START_SECONDS = 60
USER, PASSWORD = "order_tracking", "s3cret:/@pass"
READER = "reader"


class MariaDBMissing(Exception):
    """No server can be started; says what installs one."""


class MariaDB:
    """A running server; a context manager that stops it and removes its data."""

    def __init__(self, tls: tuple[Path, Path] | None = None, options: Sequence[str] = ()) -> None:
        """With `tls` (certificate and key) or options of mariadbd a private server, whatever the environment."""
        given = None if tls or options else os.environ.get(VARIABLE)
        self._options = options
        self._tls = [f"--ssl-cert={tls[0]}", f"--ssl-key={tls[1]}"] if tls else []
        self.private = not given
        self._process: subprocess.Popen[bytes] | None = None
        self._given = Address.parse(given) if given else None
        self._port = 0
        self._folder = Path()

    def __enter__(self) -> Self:
        if self.private:
            self._install()
            try:
                self._start()
                self._run(f"CREATE USER {USER}@'%' IDENTIFIED BY '{PASSWORD}'", root=True)
                self._run(f"GRANT ALL ON *.* TO {USER}@'%'", root=True)
            except BaseException:
                self._remove()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.private:
            self._remove()

    def url(self, database: str) -> str:
        """The source URL of one of the server's databases."""
        to = self._given
        user, password = (to.user, to.password) if to else (USER, PASSWORD)
        host, port = (to.host, to.port) if to else ("127.0.0.1", self._port)
        return f"mysql://{quote(user, safe='')}:{quote(password, safe='')}@{host}:{port}/{database}"

    def socket_url(self, database: str) -> str:
        """The same over the unix socket of a private server, without a host."""
        assert self.private, "only a private server's socket is known"
        return f"mysql://{USER}:{quote(PASSWORD, safe='')}@/{database}?socket={self._folder / 's'}"

    def reader_url(self, database: str, name: str = READER, limit: str = "") -> str:
        """The source URL for a user who may only SELECT in this database, and for whom `init_connect` runs.

        A user with a `limit` (`WITH MAX_USER_CONNECTIONS 1`) bears a name of its own: the server applies a new limit
        only once no connection of that user is open.
        """
        self._run(f"CREATE USER IF NOT EXISTS {name}@'%' IDENTIFIED BY '{PASSWORD}' {limit}", root=True)
        self._run(f"GRANT SELECT ON {database}.* TO {name}@'%'", root=True)
        return self.url(database).replace(f"//{USER}:", f"//{name}:")

    def user_url(self, name: str, password: str, how: str, database: str) -> str:
        """The source URL for another user of a private server, made anew, who logs in or connects in this way."""
        self._run(f"CREATE OR REPLACE USER {name}@'%' {how}", root=True)
        self._run(f"GRANT SELECT ON {database}.* TO {name}@'%'", root=True)
        return f"mysql://{name}:{quote(password, safe='')}@127.0.0.1:{self._port}/{database}"

    def execute(self, sql: str, database: str | None = None) -> list[tuple[Any, ...]]:
        """Runs one statement and returns its rows."""
        return self._run(sql, database)

    def kill(self) -> None:
        """SIGKILL, as a machine dies: no farewell to anybody."""
        assert self._process is not None, "only a private server can be killed"
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def restart(self) -> None:
        """Starts a killed server again on the same data and port."""
        assert self.private, "only a private server can be restarted"
        self._start()

    def _install(self) -> None:
        for program in ("mariadbd", "mariadb-install-db"):
            if _program(program) is None:
                raise MariaDBMissing(
                    f"{program} is not installed: `make test` installs it (Debian package mariadb-server), or set "
                    f"{VARIABLE} to a server's URL."
                )
        # Short: a unix socket's path may have no more than 107 characters.
        self._folder = Path(tempfile.mkdtemp(prefix="ot-", dir="/tmp"))
        self._folder.chmod(0o700)
        (self._folder / "tmp").mkdir()  # of its own: a server that starts removes what others have left in a shared one
        done = subprocess.run(
            [
                str(_program("mariadb-install-db")),
                "--no-defaults",
                f"--datadir={self._folder / 'data'}",
                f"--tmpdir={self._folder / 'tmp'}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                *self._as_user(),
            ],
            capture_output=True,
            check=False,
        )
        if done.returncode:
            self._remove()
            raise MariaDBMissing(f"mariadb-install-db failed: {done.stdout.decode()}{done.stderr.decode()}")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]

    def _start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(_program("mariadbd")),
                    "--no-defaults",
                    f"--datadir={self._folder / 'data'}",
                    f"--tmpdir={self._folder / 'tmp'}",
                    f"--socket={self._folder / 's'}",
                    f"--pid-file={self._folder / 'pid'}",
                    f"--port={self._port}",
                    "--bind-address=127.0.0.1",
                    "--skip-networking=0",
                    "--skip-name-resolve",
                    "--skip-log-bin",
                    "--innodb-buffer-pool-size=64M",
                    "--innodb-log-file-size=32M",
                    "--innodb-flush-log-at-trx-commit=2",  # survives SIGKILL, waits for no disk
                    "--key-buffer-size=1M",
                    "--performance-schema=0",
                    "--lock-wait-timeout=60",  # not a day: a connection left open fails the test's DROP DATABASE
                    *self._tls,
                    *self._options,
                    *self._as_user(),
                ],
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                self._run("SELECT 1", root=True)
                return
            except pymysql.Error:
                if self._process.poll() is not None or time.monotonic() > until:
                    log_text = (self._folder / "log").read_text(errors="replace")
                    raise MariaDBMissing(f"mariadbd did not start:\n{log_text[-2000:]}") from None
                time.sleep(0.05)

    def _run(self, sql: str, database: str | None = None, root: bool = False) -> list[tuple[Any, ...]]:
        if root:
            options: dict[str, Any] = {"unix_socket": str(self._folder / "s"), "user": "root"}
        else:
            to = Address.parse(self.url("any"))
            options = {"host": to.host, "port": to.port, "user": to.user, "password": to.password}
        with (
            closing(pymysql.connect(**options, database=database, charset="utf8mb4", autocommit=True)) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(sql)
            return list(cursor.fetchall())

    def _as_user(self) -> list[str]:
        return ["--user=root"] if os.geteuid() == 0 else []

    def _remove(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._folder != Path():
            shutil.rmtree(self._folder, ignore_errors=True)


def _program(name: str) -> str | None:
    """Its path; Debian keeps the server where an ordinary user's PATH does not look."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/local/bin:/usr/bin")
