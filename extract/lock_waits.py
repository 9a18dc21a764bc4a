"""A statement on Redshift that waits for another session's lock is ended after a while, and the holder is named.

A reader that is idle in a transaction holds up whoever replaces a view or changes a table, for as long as it likes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from extract.errors import WarehouseError, in_words
from extract.redshift_login import connect
from extract.settings import RedshiftSettings

FIRST_LOOK = 60.0
"""Seconds after which a session is looked at first: an ordinary cycle has ended by then."""

WAITS = """
    SELECT waiting.pid, waiting.lock_mode = 'AccessExclusiveLock' AND waiting.txn_owner = CURRENT_USER,
      waiting.relation, c.relname, holding.txn_owner, holding.pid, holding.txn_start
    FROM svv_transactions AS waiting
    LEFT JOIN svv_transactions AS holding
      ON holding.relation = waiting.relation AND holding.pid <> waiting.pid AND holding.granted
    LEFT JOIN pg_catalog.pg_class AS c ON c.oid = waiting.relation
    WHERE NOT waiting.granted ORDER BY holding.txn_start
"""
"""Who waits for a lock, whether it is this user that locks a table, on what, and who holds one there since when. Of
others a user sees only what it may."""


@dataclass
class LockWatch:
    """Looks at sessions of this process, from a connection of its own; see `lock_watch`."""

    settings: RedshiftSettings
    sessions: set[int] = field(default_factory=set)
    """By the number that PG_BACKEND_PID() gives each; whoever has one adds it."""
    locking: str = ""
    """A table that this user's session is about to lock: it is known by that, for to ask for its number costs a
    statement, and nobody else takes that lock."""
    ended: list[str] = field(default_factory=list)
    """What was waited for, and who held it, of each statement that was ended."""
    stopped: threading.Event = field(default_factory=threading.Event)
    """Once it is set the watch ends; nothing waits for it."""
    _since: dict[tuple[int, Any], float] = field(default_factory=dict)
    """Session and number of the table or view -> when it was first seen to wait for that lock."""

    def run(self) -> None:
        """Looks again and again until the watch ends. That it cannot look it says once, and tries it again."""
        told = False
        pause = min(FIRST_LOOK, self.settings.lock_seconds / 2)
        while not self.stopped.wait(pause):
            if not self.sessions and not self.locking:
                continue
            try:
                with closing(connect(self.settings)) as connection:
                    connection.autocommit = True
                    pause = min(15.0, self.settings.lock_seconds / 4)
                    while not self.stopped.wait(pause):
                        self.look(connection)
            except Exception as error:
                words = self.settings.without_secrets(in_words(error))
                if not told:
                    logging.getLogger(__name__).warning("Who waits for a lock cannot be seen, for now: %s", words)
                told = True

    def look(self, connection: Any) -> None:
        """Ends what has waited for longer than the patience."""
        cursor = connection.cursor()
        cursor.execute(WAITS)
        waits: dict[tuple[int, Any], list[tuple[Any, ...]]] = {}
        for pid, locks_a_table, relation, *wait in cursor.fetchall():
            if int(pid) in self.sessions or (locks_a_table and wait[0] == self.locking):
                waits.setdefault((int(pid), relation), []).append(tuple(wait))
        self._since = {lock: self._since.get(lock, time.monotonic()) for lock in waits}
        for (pid, relation), since in self._since.items():
            waited = time.monotonic() - since
            if waited < self.settings.lock_seconds:
                continue
            # Of a transaction Redshift may cancel nothing; then the session is ended, and its connection is lost.
            repeated = waited >= self.settings.lock_seconds * 1.5
            if not repeated:
                self.ended.append(in_one_sentence(waits[pid, relation], self.settings.lock_seconds))
            cursor.execute(f"SELECT {'pg_terminate_backend' if repeated else 'pg_cancel_backend'}({pid})")


def in_one_sentence(waits: list[tuple[Any, ...]], seconds: int) -> str:
    """What was waited for and who holds it; of rows of `WAITS` from the table on."""
    table, *_ = waits[0]
    holders = [
        f"{owner} (process {pid}, in a transaction{f' since {since:%Y-%m-%d %H:%M}' if since else ''})"
        for _, owner, pid, since in dict.fromkeys(waits)
        if pid is not None
    ]
    who = "; ".join(holders) or (
        "a session that this user may not see (an administrator finds it in svv_transactions; or ALTER USER … SYSLOG "
        "ACCESS UNRESTRICTED)"
    )
    return (
        f"A statement waited for {seconds} s for a lock on {table or 'a table'}, which is held by {who}. It was ended, "
        "and what it belonged to was rolled back. Let the holder end its transaction, or end its session (SELECT "
        "pg_terminate_backend(<process>)), then run this again."
    )


@contextmanager
def lock_watch(settings: RedshiftSettings, locking: str = "") -> Iterator[LockWatch]:
    """Inside, the sessions that the watch is given wait no longer for a lock than `lock_seconds`.

    So does the one that is `locking` a table (its plain name).

    Raises WarehouseError, with the holder's name, where a statement was ended.
    """
    watch = LockWatch(settings, locking=locking)
    thread = threading.Thread(target=watch.run, name="lock watch", daemon=True)
    thread.start()
    try:
        yield watch
    except Exception as error:
        if not watch.ended:
            raise
        raise WarehouseError(" | ".join([*dict.fromkeys(watch.ended), in_words(error)])) from error
    finally:
        watch.stopped.set()
