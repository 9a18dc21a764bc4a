"""Messages of PostgreSQL's protocol, version 3: read from a socket, and the few that we build ourselves."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102


class Closed(Exception):
    """The other side closed its connection."""


class Channel:
    """A socket that is read message by message."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.file = sock.makefile("rb", buffering=1 << 18)

    def exactly(self, size: int) -> bytes:
        """The next `size` bytes."""
        try:
            data = self.file.read(size)
        except (OSError, ValueError) as error:  # ValueError: closed by `close` meanwhile
            raise Closed from error
        if data is None or len(data) < size:
            raise Closed
        return data

    def startup(self) -> bytes:
        """The body of a message without a type, as at the start of a connection."""
        (length,) = struct.unpack("!i", self.exactly(4))
        return self.exactly(length - 4)

    def message(self) -> tuple[bytes, bytes]:
        """The next message: its type and its body."""
        kind, length = struct.unpack("!ci", self.exactly(5))
        return kind, self.exactly(length - 4)

    def send(self, data: bytes) -> None:
        """Send bytes; Closed when nobody is there."""
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise Closed from error

    def close(self) -> None:
        """Close without a farewell."""
        for shut in (lambda: self.sock.shutdown(socket.SHUT_RDWR), self.file.close, self.sock.close):
            try:
                shut()
            except OSError:
                continue


def message(kind: bytes, body: bytes = b"") -> bytes:
    """One message with its type and length."""
    return kind + struct.pack("!i", len(body) + 4) + body


def cstring(text: str) -> bytes:
    """Text that ends with a zero byte."""
    return text.encode("utf-8", "surrogateescape") + b"\0"


def query(sql: str) -> bytes:
    """A simple query."""
    return message(b"Q", cstring(sql))


def fields(body: bytes) -> dict[str, str]:
    """The fields of an ErrorResponse or NoticeResponse by their letters (C: code, M: message, D: detail)."""
    parts = [part for part in body.split(b"\0") if part]
    return {chr(part[0]): part[1:].decode("utf-8", "surrogateescape") for part in parts}


def error_like(kind: bytes, values: dict[str, str]) -> bytes:
    """An ErrorResponse (E) or NoticeResponse (N) with these fields."""
    return message(kind, b"".join(letter.encode() + cstring(text) for letter, text in values.items()) + b"\0")


def values(body: bytes) -> list[bytes | None]:
    """The values of a DataRow."""
    (count,) = struct.unpack_from("!h", body)
    found: list[bytes | None] = []
    at = 2
    for _ in range(count):
        (length,) = struct.unpack_from("!i", body, at)
        at += 4
        found.append(None if length < 0 else body[at : at + length])
        at += max(length, 0)
    return found


def data_row(row: list[bytes | None]) -> bytes:
    """A DataRow of these values."""
    body = struct.pack("!h", len(row))
    for value in row:
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
    return message(b"D", body)


@dataclass(frozen=True)
class Column:
    """One column of a RowDescription: name, type's oid, type modifier."""

    name: str
    oid: int
    modifier: int


def columns(body: bytes) -> list[Column]:
    """The columns of a RowDescription."""
    (count,) = struct.unpack_from("!h", body)
    found, at = [], 2
    for _ in range(count):
        end = body.index(b"\0", at)
        _, _, oid, _, modifier, _ = struct.unpack_from("!ihihih", body, end + 1)
        found.append(Column(body[at:end].decode(), oid, modifier))
        at = end + 19
    return found
