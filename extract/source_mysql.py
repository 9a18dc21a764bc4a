"""A MySQL or MariaDB server as a source."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pymysql
import pymysql.cursors

from extract.source import SourceError

CONNECT_SECONDS = 10


@dataclass(frozen=True)
class Address:
    """Where a MySQL database is and who asks; printed without the password."""

    user: str
    password: str = field(repr=False)
    host: str
    port: int
    database: str
    ssl_ca: str | None = None

    @classmethod
    def parse(cls, url: str) -> Address:
        """`mysql://user:password@host:port/database[?ssl-ca=FILE]`, user and password percent-encoded."""
        try:
            parts = urlsplit(url)
            port = parts.port or 3306
        except ValueError:  # its message may quote the URL, and with it the password
            raise SourceError(_bad_url("it cannot be taken apart")) from None
        database = unquote(parts.path.lstrip("/"))
        options = dict(parse_qsl(parts.query))
        lacking = [
            what
            for what, value in (("user", parts.username), ("host", parts.hostname), ("database", database))
            if not value
        ]
        if lacking:
            raise SourceError(_bad_url(f"it has no {', no '.join(lacking)}"))
        unknown = sorted(set(options) - {"ssl-ca"})
        if unknown:
            raise SourceError(_bad_url(f"it has unknown options {', '.join(unknown)}"))
        return cls(
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            host=parts.hostname or "",
            port=port,
            database=database,
            ssl_ca=options.get("ssl-ca"),
        )

    def __str__(self) -> str:
        return f"mysql://{self.user}@{self.host}:{self.port}/{self.database}"

    def connect(self, **options: Any) -> pymysql.connections.Connection:
        """A connection with utf8mb4 and the session's time zone UTC. Raises SourceError."""
        try:
            connection = pymysql.connect(
                host=self.host,
                port=self.port,
                user=self.user,
                password=self.password,
                database=self.database,
                charset="utf8mb4",
                connect_timeout=CONNECT_SECONDS,
                ssl_ca=self.ssl_ca,
                init_command="SET time_zone = '+00:00'",
                **options,
            )
        except (pymysql.Error, OSError) as error:
            raise SourceError(
                f"The source {self} cannot be reached: {self.told(error)}. Nothing was read or written. "
                "Check host, port, user and password, and that the server is running, then run again."
            ) from None
        return connection

    def told(self, error: BaseException) -> str:
        """The error in one line, without the password."""
        words = str(error.args[1] if len(error.args) > 1 and isinstance(error.args[1], str) else error)
        line = (words.strip() or type(error).__name__).splitlines()[0].rstrip(".")
        return line.replace(self.password, "***") if self.password else line


def _bad_url(reason: str) -> str:
    return (
        f"The source URL is not usable: {reason}. Nothing was read. Write it as "
        "mysql://user:password@host:port/database, with special characters in the password percent-encoded."
    )


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
