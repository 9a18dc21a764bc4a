"""The run lock of the redshift gateway: a session's advisory lock in the state database.

Redshift has no advisory locks. A command frees this one when it ends. PostgreSQL frees it with its session, so a
process that dies gives it back, too; where a whole machine goes, the server's keepalives notice within a minute.
STATE_HOST must lead to PostgreSQL itself: behind a pooler that shares sessions the lock protects nothing.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import psycopg2

from extract.clock import as_utc
from extract.errors import LockHeld, WarehouseError, first_line
from extract.settings import APPLICATION, RedshiftSettings

_HOLDER = """
    SELECT application_name, backend_start FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND (classid::bigint << 32) + objid::bigint = %s
"""

LOCK = int.from_bytes(hashlib.sha256(APPLICATION.encode()).digest()[:8], "big") >> 1
"""The lock's number, 63 bits: one for the state's database, however the cluster is called (by a tunnel, a CNAME)."""

_held: list[Any] = []
"""The connection that holds this process's lock, while it does."""


@contextmanager
def postgres_lock() -> Iterator[None]:
    """Holds the lock of this warehouse, or raises LockHeld at once; WarehouseError when the state database is away."""
    with closing(_connect(RedshiftSettings.from_environment())) as connection, connection.cursor() as cursor:
        for name, value in (("idle", 30), ("interval", 10), ("count", 3)):
            cursor.execute(f"SET tcp_keepalives_{name} = {value}")
        cursor.execute("SET idle_session_timeout = 0")
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            raise LockHeld(
                f"Another command works on this warehouse ({_holder(cursor)}); nothing was done. Wait for it to "
                "end, then run this again."
            )
        _held.append(connection)
        try:
            yield
        finally:
            _held.remove(connection)
            # With its session alone the lock would go a moment later. Where that is gone, nothing hides how this ended.
            with suppress(psycopg2.Error):
                cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])


def assert_still_held() -> None:
    """WarehouseError where this process held the lock and its connection is gone: another command may have begun.

    The state database may end a connection that says nothing for hours (a failover) while a first load goes on.
    """
    for connection in _held:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except psycopg2.Error as error:
            raise WarehouseError(
                "The run lock is lost: the state database has ended the connection that held it "
                f"({first_line(error)}), so another command may have begun. What was being written is rolled back, and "
                "what had landed stays. Run this again."
            ) from error


def _connect(settings: RedshiftSettings) -> Any:
    here = f"{APPLICATION} lock, {socket.gethostname()[:30]}, pid {os.getpid()}"
    try:
        connection = psycopg2.connect(**settings.state.connection_arguments(), application_name=here)
    except psycopg2.Error as error:
        cause = settings.without_secrets(first_line(error))
        raise WarehouseError(
            f"The state database {settings.state.host}:{settings.state.port} cannot be reached: {cause}. Nothing was "
            "done. Check STATE_HOST, STATE_PORT, STATE_DATABASE, STATE_USER and STATE_PASSWORD, then run again."
        ) from None
    connection.autocommit = True
    return connection


def _holder(cursor: Any) -> str:
    cursor.execute(_HOLDER, [LOCK])
    row = cursor.fetchone()
    if not row:
        return "it has just ended"
    name, since = row  # of another user's connection PostgreSQL does not tell since when
    return f"{name}, since {as_utc(since):%Y-%m-%d %H:%M} UTC" if since else str(name)
