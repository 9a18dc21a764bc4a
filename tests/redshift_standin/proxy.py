"""The wire proxy: takes a Redshift client's connection, checks and rewrites its SQL, lets PostgreSQL do it.

Read `Session.run` first: a client's messages are collected until Sync and then handled as one batch, because
redshift_connector sends Parse+Describe+Sync and then Bind+Execute+Sync for every statement.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sqlglot import parse_one

from . import wire
from .backend import Backend
from .copy_unload import TransferError, run_transfer
from .lexer import sql_string, statements, without_head
from .linter import refusals
from .privileges import schemas_below
from .properties import (
    Fault,
    Memory,
    parse_properties,
    properties_query,
    release_views,
    remember_properties,
    restore_views,
    sql_name,
)
from .rewrite import Plan, plan

_KNOWN_STARTUP = {"user", "database", "application_name"}
_Failure = dict[str, str]


@dataclass
class Prepared:
    """A statement the client prepared: as it came, and what PostgreSQL gets."""

    sql: str
    plan: Plan


class Session:
    """One client and its backend."""

    def __init__(self, client: wire.Channel, proxy: Proxy) -> None:
        self.client, self.proxy, self.memory = client, proxy, proxy.memory
        self.backend: Backend | None = None
        self.prepared: dict[bytes, Prepared] = {}
        self.portals: dict[bytes, Prepared] = {}
        self.tag = b""  # the last command tag that PostgreSQL gave
        self.skipped = False  # did IF NOT EXISTS skip the last statement?
        self.undo: dict[str, str | None] = {}  # late-binding views as they were before the open transaction

    # Connection ------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve the client until one side goes."""
        try:
            self._start()
            batch: list[tuple[bytes, bytes]] = []
            while True:
                kind, body = self.client.message()
                if kind == b"X":
                    return
                if kind == b"Q":
                    self._simple(body[:-1].decode("utf-8", "surrogateescape"))
                elif kind == b"S":
                    self._extended(batch)
                    batch = []
                elif kind != b"H":  # Flush: a Sync always follows
                    batch.append((kind, body))
        except (wire.Closed, OSError, struct.error):
            return
        finally:
            self._undo_views()
            self.client.close()
            if self.backend:
                self.backend.close()

    def _start(self) -> None:
        body = self.client.startup()
        (code,) = struct.unpack_from("!i", body)
        while code in (wire.SSL_REQUEST, wire.GSS_REQUEST):
            if code == wire.SSL_REQUEST and self.proxy.tls:
                self.client.send(b"S")
                self.client = wire.Channel(self.proxy.tls.wrap_socket(self.client.sock, server_side=True))
            else:
                self.client.send(b"N")
            body = self.client.startup()
            (code,) = struct.unpack_from("!i", body)
        backend = self.backend = Backend(self.proxy.postgres)
        if code == wire.CANCEL_REQUEST:
            backend.send(struct.pack("!i", len(body) + 4) + body)
            raise wire.Closed
        words = body[4:].rstrip(b"\0").split(b"\0")
        known = dict(zip(words[::2], words[1::2], strict=False))
        kept = b"".join(k + b"\0" + v + b"\0" for k, v in known.items() if k.decode() in _KNOWN_STARTUP)
        backend.send(struct.pack("!ii", len(kept) + 9, 196608) + kept + b"\0")
        self._authenticate(backend)

    def _authenticate(self, backend: Backend) -> None:
        """Pass the authentication through; on the way out PostgreSQL calls itself 8.0.2, as Redshift does."""
        while True:
            kind, body = backend.message()
            if kind == b"S":
                name = body.split(b"\0")[0]
                said = {b"server_version": b"8.0.2", b"client_encoding": b"UTF8"}.get(name)
                body = name + b"\0" + said + b"\0" if said else body
            self.client.send(wire.message(kind, body))
            if kind == b"Z":
                return
            if kind == b"E":
                raise wire.Closed
            if kind == b"R" and struct.unpack_from("!i", body)[0] not in (0, 12):
                backend.send(wire.message(*self.client.message()))

    # Batches ---------------------------------------------------------------------------------------------

    def _simple(self, sql: str) -> None:
        """A simple Query: its statements one by one, the rest left out after an error."""
        for piece in statements(sql) or [""]:
            prepared = Prepared(piece, self._plan(piece))
            if prepared.plan.kind == "transfer":
                send: Iterable[bytes] = ()
            else:
                send = (wire.query(prepared.plan.sql),)
            if not self._execute(prepared, send):
                break
        self._ready()

    def _extended(self, batch: list[tuple[bytes, bytes]]) -> None:
        """A batch that ended with Sync: at most one statement is parsed, at most one executed."""
        parsed = executed = None
        forwarded: list[bytes] = []
        local = bytearray()
        for kind, body in batch:
            if kind == b"P":
                name, rest = body.split(b"\0", 1)
                text, rest = rest.split(b"\0", 1)
                sql = text.decode("utf-8", "surrogateescape")
                parsed = self.prepared[name] = Prepared(sql, self._plan(sql))
                body = name + b"\0" + wire.cstring(parsed.plan.sql) + rest
                local += wire.message(b"1")
            elif kind == b"B":
                portal, name, _ = body.split(b"\0", 2)
                if name in self.prepared:
                    self.portals[portal] = self.prepared[name]
                local += wire.message(b"2")
            elif kind == b"E":
                executed = self.portals.get(body.split(b"\0", 1)[0])
            elif kind == b"D":
                local += wire.message(b"t", b"\0\0") + wire.message(b"n")
            elif kind == b"C":
                known = self.prepared if body[:1] == b"S" else self.portals
                known.pop(body[1:-1], None)
            forwarded.append(wire.message(kind, body))
        forwarded.append(wire.message(b"S"))
        subject = executed or parsed
        if subject and subject.plan.kind == "transfer":  # PostgreSQL never hears of it
            self.client.send(bytes(local))
            forwarded = []
        if executed:
            self._execute(executed, forwarded)
        elif parsed and (refused := self._refused(parsed.sql)):
            self.memory.statements.append(parsed.sql)
            self._send_error(refused)
        elif forwarded:
            error = self._relay(forwarded)
            if error and parsed:
                self.memory.statements.append(parsed.sql)
        self._ready()

    def _plan(self, sql: str) -> Plan:
        made = plan(sql)
        self.memory.long_names.update({short: name for name, short in made.shortened.items()})
        return made

    # One statement ---------------------------------------------------------------------------------------

    def _execute(self, prepared: Prepared, messages: Iterable[bytes]) -> bool:
        """Log, refuse, hit by a planned fault, or run one statement; False after an error."""
        backend, sql, made = self._backend, prepared.sql, prepared.plan
        alone = backend.status == b"I"
        if sql:
            self.memory.statements.append(sql)
        fault = self.memory.take_fault(sql)
        if fault and not fault.after:
            return self._strike(fault)
        if failure := self._refused(sql) or self._before(sql, made):
            return self._send_error(failure)
        if made.kind == "transfer":
            failure = self._transfer(sql, silent=bool(fault))
        elif made.kind == "vacuum":
            failure = self._vacuum(messages, silent=bool(fault))
        else:
            failure = self._relay(messages, silent=bool(fault))
        if self.tag == b"ROLLBACK" or (failure and backend.status == b"I"):
            self._undo_views()
        if not failure:
            self._after(sql, made)
            if backend.status == b"I" and (writes(sql) if alone else self.tag == b"COMMIT"):
                self.memory.commits.append(sql)
        if backend.status == b"I":
            self.undo.clear()
        if backend.status != b"E" and made.kind in ("create_table", "create_view", "release"):
            restore_views(backend, self.memory)
        if fault:
            return self._strike(fault)
        return not failure and backend.status != b"E"

    def _refused(self, sql: str) -> _Failure | None:
        if found := refusals(sql, in_transaction=self._backend.status != b"I"):
            return {"C": "0A000", "M": "; ".join(found), "H": "refused by the stand-in's linter"}
        return None

    def _strike(self, fault: Fault) -> bool:
        if fault.drop_connection:
            raise wire.Closed
        return self._send_error({"C": fault.error_code, "M": fault.message})

    def _send_error(self, failure: _Failure) -> bool:
        raised = self._backend.fail(failure["C"], failure["M"], failure.get("D", ""))
        self.client.send(wire.error_like(b"E", raised))
        return False

    def _before(self, sql: str, made: Plan) -> _Failure | None:
        """What has to happen before PostgreSQL sees the statement; gives an error when it may not see it."""
        backend = self._backend
        if backend.status == b"E":
            return None
        if made.kind in ("query", "create_table"):
            for schema in sorted(schemas_below(sql, self.memory.late_views)):
                allowed = backend.query(f"SELECT has_schema_privilege({sql_string(schema)}, 'USAGE')")
                if allowed.value == "f":
                    return {"C": "42501", "M": f"permission denied for schema {schema}"}
        if made.dropped_column:
            known = parse_properties(backend.query(properties_query(made.table)).value)
            for key, names in (("distkey", (known.distkey,)), ("sortkey", known.sortkey)):
                if made.dropped_column in names:
                    return {"C": "0A000", "M": f'cannot drop {key} column "{made.dropped_column}"'}
        if made.kind == "release":
            release_views(backend, self.memory, made)
        elif made.kind == "create_view" and re.match(r"(?i)\s*CREATE\s+OR\s+REPLACE", made.sql):
            held = backend.query(columns_query(made.table)).value
            if held != "0" and int(held or 0) != len(parse_one(sql, dialect="redshift").expression.named_selects):
                return {"C": "42P16", "M": "cannot change number of columns in view"}  # PostgreSQL lets one add some
        return None

    def _after(self, sql: str, made: Plan) -> None:
        """What the stand-in remembers once PostgreSQL has done the statement."""
        backend, view = self._backend, made.table if "." in made.table else f"public.{made.table}"
        if made.kind == "create_table" and not self.skipped:
            remember_properties(backend, made)
        elif made.kind == "create_view":
            self._set_view(view, made.sql if made.late_binding else None)
        elif made.drops_view:
            self._set_view(view, None)
        elif made.kind == "drop_schema":
            for name in [name for name in self.memory.late_views if name.startswith(made.table + ".")]:
                self._set_view(name, None)
        elif made.kind in ("vacuum", "analyze"):
            backend.query(_maintained(sql, made))

    def _set_view(self, name: str, sql: str | None) -> None:
        """Remember a late-binding view, or forget it; how it was before stays known until COMMIT."""
        self.undo.setdefault(name, self.memory.late_views.get(name))
        self.memory.late_views.pop(name, None)
        if sql is not None:
            self.memory.late_views[name] = sql

    def _undo_views(self) -> None:
        for name, sql in list(self.undo.items()):
            self._set_view(name, sql)
        self.undo.clear()

    def _transfer(self, sql: str, silent: bool) -> _Failure | None:
        try:
            tag, notice = run_transfer(sql, self.proxy.s3, self._backend)
        except TransferError as error:
            failure = {"S": "ERROR", "C": error.code, "M": error.text, "D": error.detail}
            if self._backend.status == b"E":  # PostgreSQL's own error: the transaction has failed already
                self.client.send(wire.error_like(b"E", failure))
            else:
                self._send_error(failure)
            return failure
        if not silent:
            told = wire.error_like(b"N", {"S": "INFO", "C": "00000", "M": notice})
            self.client.send(told + wire.message(b"C", wire.cstring(tag)))
        return None

    def _vacuum(self, messages: Iterable[bytes], silent: bool) -> _Failure | None:
        """One VACUUM at a time in the whole cluster: a second one is an error."""
        if not self.memory.vacuum.acquire(blocking=False):
            failure = {"C": "55000", "M": "VACUUM is running", "H": "re-execute after other vacuum finished"}
            self._send_error(failure)
            return failure
        try:
            return self._relay(messages, silent=silent)
        finally:
            self.memory.vacuum.release()

    # Relaying --------------------------------------------------------------------------------------------

    def _relay(self, messages: Iterable[bytes], made: Plan | None = None, silent: bool = False) -> _Failure | None:
        """Send to PostgreSQL and pass its answers on, all but ReadyForQuery; gives the error's fields."""
        self._backend.send(b"".join(messages))
        failure: _Failure | None = None
        self.skipped, self.tag = False, b""
        out = bytearray()
        for kind, body in self._backend.answers():
            if kind == b"E":
                failure = _as_redshift(wire.fields(body))
                out += wire.error_like(b"E", failure)
                continue
            if kind == b"C":
                self.tag = body[:-1]
            if kind == b"N" and wire.fields(body).get("C") == "42P07":
                self.skipped = True
            if kind == b"D" and self.memory.long_names and b"$$" in body:
                out += self._long_row(body)
            elif kind != b"S":
                out += wire.message(kind, body)
            if len(out) > 1 << 16 and not silent:
                self.client.send(bytes(out))
                out.clear()
        if out and (not silent or failure):
            self.client.send(bytes(out))
        return failure

    def _long_row(self, body: bytes) -> bytes:
        """A row in which names that PostgreSQL knows shortened are whole again."""
        row = wire.values(body)
        known = {short.encode(): name.encode() for short, name in self.memory.long_names.items()}
        return wire.data_row([value if value is None else known.get(value, value) for value in row])

    def _ready(self) -> None:
        self.client.send(wire.message(b"Z", self._backend.status))

    @property
    def _backend(self) -> Backend:
        assert self.backend is not None
        return self.backend


def columns_query(view: str) -> str:
    """Query of how many columns a view has; 0 of one that is not there."""
    return (
        f"SELECT count(*) FROM pg_catalog.pg_attribute WHERE attrelid = to_regclass({sql_string(sql_name(view))}) "
        "AND attnum > 0 AND NOT attisdropped"
    )


def writes(sql: str) -> bool:
    """Whether a statement changes anything: by itself it is a transaction that must be committed."""
    return not re.match(r"(?i)(SELECT|WITH|SHOW|SET|BEGIN|COMMIT|ROLLBACK|EXPLAIN)\b", without_head(sql))


def _as_redshift(error: _Failure) -> _Failure:
    """A serialization failure as Redshift words it; everything else as it is."""
    if error.get("C") != "40001":
        return error
    detail = "Serializable isolation violation on table - 0, transactions forming the cycle are: 0, 0 (pid:0)"
    return {"S": "ERROR", "C": "XX000", "M": "1023", "D": detail}


def _maintained(sql: str, made: Plan) -> str:
    """The UPDATE that makes svv_table_info show what a VACUUM or ANALYZE would have mended."""
    words = sql.upper()
    ghosts, order = "ghosts = 0", "unsorted = 0, vacuum_sort_benefit = 0"
    if made.kind == "analyze":
        changes = "stats_off = 0"
    elif "DELETE ONLY" in words:
        changes = ghosts
    elif "RECLUSTER" in words:
        changes = "vacuum_sort_benefit = 0"  # what is sorted now is not merged with the rest: it counts as unsorted
    else:
        changes = order if "SORT ONLY" in words else f"{ghosts}, {order}"
    schema, _, table = made.table.replace('"', "").rpartition(".")
    where = f" WHERE schema_name = {sql_string(schema or 'public')} AND table_name = {sql_string(table)}"
    return f"UPDATE standin.table_info_numbers SET {changes}" + (where if table else "")


class Proxy:
    """Listens on a free port of the loopback address; one thread a client."""

    def __init__(
        self,
        postgres: tuple[str, int],
        memory: Memory,
        s3: Callable[[], Any],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.postgres, self.memory, self.s3, self.tls = postgres, memory, s3, tls
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.clients: list[wire.Channel] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                channel = wire.Channel(sock)
                self.clients.append(channel)
                threading.Thread(target=Session(channel, self).run, daemon=True).start()

    def close(self) -> None:
        """Stop listening and cut every connection."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for channel in self.clients:
            channel.close()
