"""Where a MySQL or MariaDB database is, who asks and over which connection: the URL of a source."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pymysql

from extract.errors import SourceError, SourceUrlError
from extract.settings import in_project, without

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
            raise SourceUrlError(_bad_url("it cannot be taken apart")) from None
        database = unquote(parts.path.lstrip("/"))
        if "@" in parts.path + parts.query + parts.fragment or "/" in parts.path[1:] or parts.fragment:
            # A part of the password may be taken for another one, which messages show.
            raise SourceUrlError(_bad_url("a special character in it is not percent-encoded"))
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        lacking = [
            what
            for what, value in (("user", parts.username), ("host", parts.hostname), ("database", database))
            if not value
        ]
        if lacking:
            raise SourceUrlError(_bad_url(f"it has no {', no '.join(lacking)}"))
        unknown = sorted(set(options) - {"ssl-ca"})
        if unknown:
            raise SourceUrlError(_bad_url(f"it has unknown options {', '.join(unknown)}"))
        authority = in_project(options["ssl-ca"]) if "ssl-ca" in options else None
        if authority and not authority.is_file():
            raise SourceUrlError(_bad_url(f"there is no file '{authority}', which ssl-ca names"))
        return cls(
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            host=parts.hostname or "",
            port=port,
            database=database,
            ssl_ca=str(authority) if authority else None,
        )

    def __str__(self) -> str:
        return f"mysql://{self.user}@{self.host}:{self.port}/{self.database}"

    def connect(self, **options: Any) -> pymysql.connections.Connection:
        """A connection with utf8mb4, otherwise set up by the server: MySQLSource pins the rest. Raises SourceError."""
        try:
            connection = pymysql.connect(
                host=self.host,
                port=self.port,
                user=self.user,
                password=self.password,
                database=self.database,
                charset="utf8mb4",
                connect_timeout=CONNECT_SECONDS,
                **self._tls(),
                **options,
            )
        except (pymysql.Error, OSError) as error:
            raise SourceError(
                f"The source {self} cannot be reached: {self.in_one_line(error)}. Nothing was read or written. "
                "Check host, port, user and password, and that the server is running, then run again."
            ) from None
        return connection

    def _tls(self) -> dict[str, Any]:
        """With an authority's certificate the server must show one of its own, for this host, signed by it."""
        if not self.ssl_ca:
            return {}
        return {"ssl_ca": self.ssl_ca, "ssl_verify_cert": True, "ssl_verify_identity": True}

    def in_one_line(self, error: BaseException) -> str:
        """The error in one line, without the password."""
        words = str(error.args[1] if len(error.args) > 1 and isinstance(error.args[1], str) else error)
        line = (words.strip() or type(error).__name__).splitlines()[0].rstrip(".")
        return without(line, [self.password])


def _bad_url(reason: str) -> str:
    return (
        f"The source URL is not usable: {reason}. Nothing was read. Write it as "
        "mysql://user:password@host:port/database, with special characters in the password percent-encoded."
    )
