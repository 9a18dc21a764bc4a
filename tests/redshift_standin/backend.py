"""The PostgreSQL side of one client's connection: queries of our own between the client's messages."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from . import wire
from .lexer import sql_string


@dataclass
class Result:
    """What a query of our own gave: rows as text, the columns, the error's fields (empty: none)."""

    rows: list[list[str | None]] = field(default_factory=list)
    columns: list[wire.Column] = field(default_factory=list)
    error: dict[str, str] = field(default_factory=dict)

    @property
    def value(self) -> str | None:
        """The first value of the first row."""
        return self.rows[0][0] if self.rows else None


class Backend(wire.Channel):
    """A connection to PostgreSQL that knows its transaction state: I idle, T in a transaction, E failed."""

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(socket.create_connection(address))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.status = b"I"

    def answers(self) -> Iterator[tuple[bytes, bytes]]:
        """The messages up to ReadyForQuery, which is kept in `status` and not given."""
        while True:
            kind, body = self.message()
            if kind == b"Z":
                self.status = body
                return
            yield kind, body

    def query(self, sql: str) -> Result:
        """Run a query of our own in the client's transaction; an error is returned, not raised."""
        self.send(wire.query(sql))
        return self._collect()

    def copy_in(self, sql: str, chunks: Iterable[bytes]) -> Result:
        """Run COPY … FROM STDIN with these chunks of data."""
        self.send(wire.query(sql))
        kind, body = self.message()
        if kind != b"G":
            return self._collect((kind, body))
        for chunk in chunks:
            self.send(wire.message(b"d", chunk))
        self.send(wire.message(b"c"))
        return self._collect()

    def copy_out(self, sql: str) -> tuple[bytes, Result]:
        """Run COPY … TO STDOUT and give all its data."""
        self.send(wire.query(sql))
        data = bytearray()
        result = Result()
        for kind, body in self.answers():
            if kind == b"d":
                data += body
            elif kind == b"E":
                result.error = wire.fields(body)
        return bytes(data), result

    def fail(self, code: str, text: str, detail: str = "") -> dict[str, str]:
        """Make PostgreSQL itself raise an error, so that an open transaction fails with it."""
        body = "USING ERRCODE = {}, MESSAGE = {}, DETAIL = {}".format(*map(sql_string, (code, text, detail)))
        raised = self.query(f"DO $standin$ BEGIN RAISE EXCEPTION {body}; END $standin$").error
        aborted = raised.get("C") == "25P02"
        return raised if aborted else {"S": "ERROR", "C": code, "M": text} | ({"D": detail} if detail else {})

    def _collect(self, first: tuple[bytes, bytes] | None = None) -> Result:
        result = Result()
        for kind, body in [*([first] if first else []), *self.answers()]:
            if kind == b"T":
                result.columns = wire.columns(body)
            elif kind == b"D":
                row = wire.values(body)
                result.rows.append([None if v is None else v.decode("utf-8", "surrogateescape") for v in row])
            elif kind == b"E":
                result.error = wire.fields(body)
        return result
