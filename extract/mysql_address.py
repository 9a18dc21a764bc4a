"""Where a MySQL or MariaDB database is, who asks and over which connection: the URL of a source.

docs/operations.md, 'The source URL', explains each option for its reader.
"""

from __future__ import annotations

import ssl
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import pymysql
from pymysql.constants import CR

from extract.errors import SourceError, SourceUrlError, in_words
from extract.settings import in_project, without

CONNECT_SECONDS = 10
ROOM_SECONDS = 5
"""So long a connection is asked for again where the server allows no more of them."""
PORT = 3306
LOCALHOST = "localhost"

PLAIN, PREFERRED, REQUIRED = "DISABLED", "PREFERRED", "REQUIRED"
VERIFY_CA, VERIFY_IDENTITY = "VERIFY_CA", "VERIFY_IDENTITY"
MODES = (PLAIN, PREFERRED, REQUIRED, VERIFY_CA, VERIFY_IDENTITY)
"""What ssl-mode may be, in MySQL's own words, from the weakest to the strictest."""

FILES = ("ssl-ca", "ssl-cert", "ssl-key")
OPTIONS = ("socket", "ssl-mode", *FILES)


@dataclass(frozen=True)
class Address:
    """Where a MySQL database is and who asks; printed without the password."""

    user: str
    password: str = field(repr=False)
    host: str
    port: int
    database: str
    socket: str | None = None
    """The file of a unix socket; then host and port are not used, except for the name that a certificate must have."""
    ssl_mode: str = PREFERRED
    ssl_ca: str | None = None
    ssl_cert: str | None = None
    ssl_key: str | None = None

    @classmethod
    def parse(cls, url: str) -> Address:
        """`mysql://user:password@host:port/database[?option=value&...]`, percent-encoded; all mistakes at once.

        Options: `socket`, `ssl-mode`, `ssl-ca`, `ssl-cert`, `ssl-key`. Relative files are the project's.
        """
        try:
            parts = urlsplit(url)
            host = parts.hostname
        except ValueError:  # its message may quote the URL, and with it the password
            raise SourceUrlError(_bad_url(["it cannot be taken apart"])) from None
        if "@" in parts.path + parts.query + parts.fragment or "/" in parts.path[1:] or parts.fragment:
            # A part of the password may be taken for another one, which messages show.
            raise SourceUrlError(_bad_url(["a special character in it is not percent-encoded"]))
        given = parse_qsl(parts.query.replace("+", "%2B"), keep_blank_values=True)  # in a path, + is no space
        options = {name: value for name, value in given if name in OPTIONS}
        database = unquote(parts.path.lstrip("/"))
        port, mistakes = _port(parts)
        lacking = [
            what
            for what, value in (("user", parts.username), ("host", host or "socket" in options), ("database", database))
            if not value
        ]
        if lacking:
            mistakes.append(f"it has no {', no '.join(lacking)}")
        names = Counter(name for name, _ in given)
        if unknown := sorted(set(names) - set(OPTIONS)):
            mistakes.append(f"it has unknown options {', '.join(unknown)} (known are {', '.join(OPTIONS)})")
        mistakes += [f"{name} stands in it {count} times" for name, count in names.items() if count > 1]
        if options.get("socket") == "":
            mistakes.append("socket names no file")
        mode = options.get("ssl-mode", _default_mode(options)).upper()
        mistakes += _contradictions(mode, options)
        files = {name: in_project(options[name]) for name in FILES if name in options}
        mistakes += _unusable(files)
        if mistakes:
            raise SourceUrlError(_bad_url(mistakes))
        return cls(
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            host=unquote(host or LOCALHOST),
            port=port,
            database=database,
            socket=str(in_project(options["socket"])) if "socket" in options else None,
            ssl_mode=mode,
            **{name.replace("-", "_"): str(file) for name, file in files.items()},
        )

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.socket:
            return f"mysql://{self.user}@{host}/{self.database}?socket={self.socket}"
        return f"mysql://{self.user}@{host}:{self.port}/{self.database}"

    def connect(self, **options: Any) -> pymysql.connections.Connection:
        """A connection with utf8mb4, otherwise set up by the server: MySQLSource pins the rest. Raises SourceError.

        Where the server allows no more connections for the moment it waits a little: it may not have noticed yet that
        one of ours has ended.
        """
        given_up = time.monotonic() + ROOM_SECONDS
        while True:
            try:
                return pymysql.connect(
                    host=self.host,
                    port=self.port,
                    unix_socket=self.socket,
                    user=self.user,
                    password=self.password.encode(),  # as servers keep it; PyMySQL would write a text as Latin-1
                    database=self.database,
                    charset="utf8mb4",
                    connect_timeout=CONNECT_SECONDS,
                    **self._tls(),
                    **options,
                )
            except (pymysql.Error, OSError, RuntimeError) as error:  # RuntimeError: a package that a login needs
                if _has_no_room(error) and time.monotonic() < given_up:
                    time.sleep(0.2)
                    continue
                raise SourceError(
                    f"The source {self} cannot be reached: {self.in_one_line(error)}. Nothing was read or written. "
                    f"{_remedy(error)}, then run again."
                ) from None

    def _tls(self) -> dict[str, Any]:
        """What PyMySQL calls it. Told nothing, it takes TLS if the server offers it; given a context, it insists on it.

        Over a unix socket PREFERRED means plain, as in MySQL's own clients: nobody can listen there.
        """
        if self.ssl_mode == PLAIN or (self.ssl_mode == PREFERRED and self.socket):
            return {"ssl_disabled": True}
        if self.ssl_mode == PREFERRED:
            return {}
        context = _unverified()
        if self.ssl_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.check_hostname = self.ssl_mode == VERIFY_IDENTITY
            context.load_verify_locations(self.ssl_ca)
        if self.ssl_cert and self.ssl_key:
            _load_pair(context, self.ssl_cert, self.ssl_key)
        return {"ssl": context}

    def in_one_line(self, error: BaseException) -> str:
        """The error in one line, without the password."""
        words = str(error.args[1] if len(error.args) > 1 and isinstance(error.args[1], str) else error)
        line = (words.strip() or type(error).__name__).splitlines()[0].rstrip(".")
        return without(line, [self.password], shown=[self.user, self.host, self.database, self.socket or ""])


# The URL's mistakes


def _port(parts: SplitResult) -> tuple[int, list[str]]:
    try:
        port = PORT if parts.port is None else parts.port
    except ValueError:
        port = 0
    return port, [] if port else ["its port is no number from 1 to 65535 (an IPv6 address stands in brackets)"]


def _default_mode(options: dict[str, str]) -> str:
    """As strict as the files that are named allow: a certificate can only be shown, and judged, over TLS."""
    if "ssl-ca" in options:
        return VERIFY_IDENTITY
    return REQUIRED if "ssl-cert" in options or "ssl-key" in options else PREFERRED


def _contradictions(mode: str, options: dict[str, str]) -> list[str]:
    """What would be passed over in silence, or cannot be done."""
    if mode not in MODES:
        return [f"ssl-mode is none of {', '.join(MODES)}"]
    found = []
    verifies = mode in (VERIFY_CA, VERIFY_IDENTITY)
    if verifies and "ssl-ca" not in options:
        found.append(f"ssl-mode={mode} needs ssl-ca, the file of the authority that signed the server's certificate")
    if "ssl-ca" in options and not verifies:
        found.append(f"ssl-mode={mode} looks at no certificate: with ssl-ca write {VERIFY_CA} or {VERIFY_IDENTITY}")
    for one, other in (("ssl-cert", "ssl-key"), ("ssl-key", "ssl-cert")):
        if one in options and other not in options:
            found.append(f"{one} needs {other}")
    if mode in (PLAIN, PREFERRED) and {"ssl-cert", "ssl-key"} & set(options):
        found.append(f"ssl-mode={mode} shows no certificate: with ssl-cert write {REQUIRED} or stricter")
    return found


def _unusable(files: dict[str, Path]) -> list[str]:
    """What is wrong with the files that the options name; without them it would only be seen by a server's refusal."""
    found = [f"there is no file '{file}', which {name} names" for name, file in files.items() if not file.is_file()]
    found += [f"'{file}', which {name} names, cannot be read" for name, file in files.items() if _is_closed(file)]
    if found:
        return found
    if authority := files.get("ssl-ca"):
        try:
            _unverified().load_verify_locations(authority)
        except ssl.SSLError:
            found.append(f"'{authority}', which ssl-ca names, holds no certificate in PEM")
    if "ssl-cert" in files and "ssl-key" in files:
        try:
            _load_pair(_unverified(), str(files["ssl-cert"]), str(files["ssl-key"]))
        except ssl.SSLError as error:
            found.append(
                "ssl-cert and ssl-key do not belong together"
                if error.reason == "KEY_VALUES_MISMATCH"
                else "ssl-cert and ssl-key are not a certificate and its key in PEM, without a passphrase"
            )
    return found


def _is_closed(file: Path) -> bool:
    try:
        with file.open("rb"):
            return False
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return False
    except OSError:
        return True


def _unverified() -> ssl.SSLContext:
    """TLS 1.2 or newer with any server. No authority is loaded, for that takes longer than the rest of a login."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _load_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    context.load_cert_chain(certificate, key, password="")  # or OpenSSL would ask the terminal for a passphrase


def _has_no_room(error: BaseException) -> bool:
    """The server, or the limit of this user, allows no further connection now."""
    code, words = (*error.args, "", "")[:2]
    return code in (1040, 1203) or (code == 1226 and "max_user_connections" in str(words))


def _remedy(error: BaseException) -> str:
    """What to do about a login that failed."""
    text = in_words(error)
    if "certificate verify failed" in text:
        return (
            "Name in ssl-ca the authority that signed the server's certificate, and as host a name that the "
            f"certificate has (ssl-mode={VERIFY_CA} does without the name)"
        )
    if error.args and error.args[0] == CR.CR_SSL_CONNECTION_ERROR:
        return (
            f"Set the server up for TLS, or write ssl-mode={PREFERRED} in the URL if the connection may be one that is "
            "not encrypted"
        )
    if "[SSL" in text:
        return f"Set the server up for TLS 1.2 or newer, or write ssl-mode={PLAIN} in the URL if the network is safe"
    if isinstance(error, RuntimeError):
        return (
            "Install it beside the project (.venv/bin/pip install, and the package's name), or let the user log in "
            "with mysql_native_password or caching_sha2_password"
        )
    return "Check host, port, user and password, and that the server is running"


def _bad_url(mistakes: list[str]) -> str:
    return (
        f"The source URL is not usable: {'; '.join(mistakes)}. Nothing was read. Write it as "
        "mysql://user:password@host:port/database, with special characters in the password percent-encoded, and "
        "options behind it as in ?ssl-mode=REQUIRED&ssl-cert=FILE&ssl-key=FILE (docs/operations.md, 'The source URL')."
    )
