"""A MySQL or MariaDB server as a source: read-only, whatever its settings, and gently.

Every statement and every transaction ends within `Limits.statement_seconds`, and no more than `Limits.connections` are
open: the server's owner is to notice nothing. What would take longer raises TooLong, and who asked asks for less.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise, repeat
from socket import SHUT_RDWR, socket
from typing import Any

import pyarrow as pa
import pymysql

from extract.errors import SourceError, TooLong
from extract.mysql_address import Address
from extract.mysql_content import canonical, fingerprint
from extract.mysql_rows import CutStream, stream
from extract.mysql_session import pin, shorten
from extract.mysql_types import INTEGER_TYPES, columns_of, event_time, output, quoted
from extract.source_reads import (
    SECONDS_PER_HOUR,
    Batches,
    Figures,
    Limits,
    SourceTable,
    TimeColumn,
    TimeRange,
    halved,
    raise_unless_complete,
    raise_unless_whole,
    row_filter,
    with_index,
)

COUNTED_SECONDS = 30 * 86_400
"""Of event time, as much is counted in one statement at most."""
MOST_HALVINGS = 12
"""So often a span that takes too long is halved: from a month to an hour it takes ten."""
HALVINGS_WITHOUT_INDEX = 3
"""So often where no index begins with the event time: there each half goes through the whole table again."""

SPARE_SECONDS = 15
"""A network that says nothing for so much longer than a statement may take is dead."""

SNAPSHOT_ENGINES = frozenset({"innodb", "rocksdb"})
"""Two queries of one transaction see the same rows there."""

STATEMENT_TIMEOUTS = frozenset({1969, 3024})
"""What MariaDB and MySQL say of a statement that took longer than it may."""

Kinds = dict[str, tuple[str, str]]
"""Lower-case column name -> the source's spelling and its type's name."""


class MySQLSource:
    """Raises SourceError when the server cannot be reached or refuses the login."""

    def __init__(self, url: str, limits: Limits | None = None) -> None:
        self._address = Address.parse(url)
        self._limits = limits or Limits()
        self._free = threading.BoundedSemaphore(self._limits.connections)
        self._reading: set[pymysql.connections.Connection] = set()
        self._idle: list[pymysql.connections.Connection] = []
        self._snapshots: dict[str, bool] = {}
        self._query("SELECT 1")

    def clock(self) -> int | None:
        return int(self._row("SELECT UNIX_TIMESTAMP()")[0])

    def check(self, tables: Sequence[SourceTable]) -> None:
        kinds = {table.name: self._kinds(table) for table in tables}
        causes = {name: self._why_unreadable(name) for name, of in kinds.items() if not of}
        raise_unless_complete(str(self._address), tables, {name: columns_of(of) for name, of in kinds.items()}, causes)

    def holds_rows(self, table: SourceTable) -> bool:
        return bool(self._query(f"SELECT 1 FROM {quoted(table.name)} LIMIT 1"))

    def highest_id(self, table: SourceTable) -> int | None:
        column = quoted(table.id_column or "")
        try:
            (highest,) = self._row(f"SELECT MAX({column}) FROM {quoted(table.name)}")
        except TooLong as error:
            raise TooLong(
                f"{error} Its id is read as a cursor, which needs an index that begins with it; let the source's owner "
                f"run: CREATE INDEX order_tracking_ids ON {quoted(table.name)} ({column})"
            ) from error
        return None if highest is None else int(highest)

    def missing_index(self, table: SourceTable, *, of_orders: bool = False) -> str | None:
        kinds = self._kinds(table)
        time, key = (kinds[name][0] for name in (table.time_column.lower(), table.source_name(table.key)))
        columns = [key] if of_orders else [time, key]
        rows = self._query(
            "SELECT table_type, (SELECT COUNT(*) FROM information_schema.statistics AS s WHERE s.table_schema = "
            "t.table_schema AND s.table_name = t.table_name AND s.seq_in_index = 1 AND s.column_name = %s) "
            "FROM information_schema.tables AS t WHERE table_schema = DATABASE() AND table_name = %s",
            (columns[0], table.name),
        )
        if not rows or rows[0][0] != "BASE TABLE" or rows[0][1]:
            return None
        name = "order_tracking_orders" if of_orders else "order_tracking"
        return f"CREATE INDEX {name} ON {quoted(table.name)} ({', '.join(map(quoted, columns))})"

    def hourly_figures(
        self, table: SourceTable, start: int | None, end: int | None = None, *, content: bool = False
    ) -> dict[int, Figures]:
        """A month at a time; what takes longer than a statement may is counted by halves."""
        self.check([table])
        kinds = self._kinds(table)
        try:
            spans = self._months(table, TimeRange(start, end))
        except TooLong as error:
            raise with_index(error, self.missing_index, table) from error
        waiting = list(zip(spans, repeat(0)))
        figures: dict[int, Figures] = {}
        while waiting:
            span, halvings = waiting.pop(0)
            try:
                counted = self._counted(table, kinds, span, content)
            except TooLong as error:
                halves = halved([span], self.clock() or 0) if halvings < self._most_halvings(table) else None
                if halves is None:
                    raise with_index(error, self.missing_index, table) from error
                waiting[:0] = [(each, halvings + 1) for half in halves for each in half]
                continue
            for hour, of_hour in counted.items():
                before = figures.get(hour, Figures(0, 0, 0))
                figures[hour] = Figures(*(a + b for a, b in zip(before, of_hour, strict=True)))
        return figures

    def content_columns(self, table: SourceTable) -> list[str]:
        return [name for name, _ in self._canonical(table, self._kinds(table))]

    def read(
        self,
        table: SourceTable,
        ranges: Sequence[TimeRange],
        *,
        since_id: int | None = None,
        orders: Sequence[int] | None = None,
    ) -> Batches:
        kinds = self._kinds(table)
        raise_unless_complete(str(self._address), [table], {table.name: columns_of(kinds)})
        outputs = [_output(table, kinds, name) for name in table.columns]
        if table.id_column:
            outputs.append(output(*kinds[table.id_column.lower()], "source_id"))
        if orders is None:
            identifier = table.id_column and quoted(table.id_column)
            condition = row_filter(_time(table, kinds), ranges, identifier, since_id)
        else:
            listed = ", ".join(f"{order:d}" for order in orders)
            condition = f"{quoted(kinds[table.source_name(table.key)][0])} IN ({listed})" if listed else "1 = 0"
        with self._read_whole("reading", table, condition, last=True) as (connection, came, expired):
            for batch in stream(connection, f"SELECT {', '.join(outputs)} FROM {quoted(table.name)} WHERE {condition}"):
                if expired.is_set():
                    raise self._too_long(f"reading {table.name}")
                came.append(batch.num_rows)
                yield batch

    def close(self) -> None:
        for connection in [*self._reading, *self._idle]:
            connection._force_close()

    # Connections

    @contextmanager
    def _borrowed(self, *, last: bool = False) -> Iterator[pymysql.connections.Connection]:
        """A connection for one use, afterwards idle again; `last`, or where the use fails: closed.

        One that is given up early is cut off without a farewell: the rest of the rows is not worth waiting for.
        """
        with self._free:
            connection = self._connection()
            self._reading.add(connection)
            whole = False
            try:
                yield connection
                whole = not last
            finally:
                self._reading.discard(connection)
                if whole:
                    self._idle.append(connection)
                else:
                    connection._force_close()

    def _connection(self) -> pymysql.connections.Connection:
        """One that has answered a query and still does, or a new one: that costs 30 ms, most of it for TLS."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:  # not asked before: another thread may take the last one
                return self._connect()
            with suppress(pymysql.Error, OSError):
                connection.ping(reconnect=False)
                return connection
            connection._force_close()

    def _connect(self) -> pymysql.connections.Connection:
        seconds = self._limits.statement_seconds
        silence = seconds + SPARE_SECONDS
        # PyMySQL shakes hands over TLS within the time for writing.
        connection = self._address.connect(read_timeout=silence, write_timeout=silence)
        try:
            with self._errors("setting up a session"):
                wrong = pin(connection, seconds)
            if wrong:
                raise SourceError(
                    f"The source {self._address} does not let its user set what a read depends on: {'; '.join(wrong)}. "
                    "Nothing was read. Let the server's owner set these, or allow the user to, then run again."
                )
        except SourceError:
            connection._force_close()
            raise
        return connection

    @contextmanager
    def _snapshot(self, action: str, *, last: bool) -> Iterator[tuple[pymysql.connections.Connection, threading.Event]]:
        """A connection on which each query sees the same moment, for as long as a transaction may take; and whether
        that time has expired.

        Then it is cut, also where it is the reader that takes so long: what waits behind a transaction of ours, an
        ALTER TABLE say, waits no longer. `last`: the connection answers nothing afterwards.
        """
        with self._borrowed(last=last) as connection, self._errors(action):
            connection.query("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            expired = threading.Event()
            watch = threading.Timer(self._limits.statement_seconds, _cut, [connection, expired])
            watch.daemon = True
            watch.start()
            try:
                yield connection, expired
                if not last:
                    connection.rollback()
            except Exception as error:  # what a cut connection still gives may be told as anything
                if expired.is_set() and not isinstance(error, TooLong):
                    raise self._too_long(action) from error
                raise
            finally:
                watch.cancel()

    @contextmanager
    def _read_whole(
        self, action: str, table: SourceTable, condition: str, *, last: bool
    ) -> Iterator[tuple[pymysql.connections.Connection, list[int], threading.Event]]:
        """A snapshot's connection, a list of how many rows came, and whether its time has expired.

        In the end as many rows as the source counts must have come.

        The count has what is left of the transaction's time. Without snapshots others may add rows meanwhile: only
        fewer than before and fewer than after is short.
        """
        counts = f"SELECT COUNT(*) FROM {quoted(table.name)} WHERE {condition}"
        before = None if self._has_snapshots(table) else int(self._row(counts)[0])
        came: list[int] = []
        with self._snapshot(f"{action} {table.name}", last=last) as (connection, expired):
            began = time.monotonic()
            yield connection, came, expired
            if last:  # it answers nothing afterwards that the limit could cut
                shorten(connection, max(self._limits.statement_seconds - (time.monotonic() - began), 0.5))
            after = int(self._row(counts, connection)[0])
        counted = after if before is None else min(before, after)
        raise_unless_whole(str(self._address), table.name, sum(came), counted, exact=before is None)

    # Short questions

    def _query(
        self,
        sql: str,
        values: tuple[Any, ...] | None = None,
        on: pymysql.connections.Connection | None = None,
    ) -> list[Any]:
        """The rows of a short answer, asked on an idle connection or `on` one that has a snapshot."""
        if on is None:
            with self._borrowed() as connection:
                return self._query(sql, values, connection)
        with self._errors("answering a query"), on.cursor() as cursor:
            cursor.execute(sql, values)
            return list(cursor.fetchall())

    def _row(self, sql: str, on: pymysql.connections.Connection | None = None) -> tuple[Any, ...]:
        """The one row that answers a question without GROUP BY."""
        rows = self._query(sql, on=on)
        if len(rows) != 1:
            raise SourceError(
                f"The source {self._address} gave {len(rows)} rows in answer to a question that has one "
                f"({sql.split(' FROM ')[0]}). Nothing was read. Something cuts what a SELECT returns: a limit that the "
                "server or a proxy sets. Mend that, then run again."
            )
        return tuple(rows[0])

    def _kinds(self, table: SourceTable) -> Kinds:
        rows = self._query(
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = DATABASE() AND table_name = %s",
            (table.name,),
        )
        return {name.lower(): (name, kind.lower()) for name, kind in rows}

    def _why_unreadable(self, name: str) -> str:
        """What the server says of a table of which it shows no columns: a view, say, that lacks what it looks at."""
        try:
            self._query(f"SELECT 1 FROM {quoted(name)} LIMIT 0")
        except SourceError as error:
            return self._address.in_one_line(error.__cause__ or error)
        return ""

    def _has_snapshots(self, table: SourceTable) -> bool:
        """A view has none, for all one knows: what it looks at may have some or not."""
        if table.name not in self._snapshots:
            rows = self._query(
                "SELECT engine FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = %s",
                (table.name,),
            )
            self._snapshots[table.name] = bool(rows) and str(rows[0][0]).lower() in SNAPSHOT_ENGINES
        return self._snapshots[table.name]

    # Counting

    def _counted(self, table: SourceTable, kinds: Kinds, span: TimeRange, content: bool) -> dict[int, Figures]:
        """The figures of the hours of a span, in one statement."""
        time_column = _time(table, kinds)
        condition = row_filter(time_column, [span])
        of_rows = fingerprint([text for _, text in self._canonical(table, kinds)]) if content else "0"
        hour = time_column.hour
        with self._read_whole("counting", table, condition, last=content) as (connection, came, _):
            rows = self._query(
                f"SELECT {hour}, COUNT(*), SUM({_key(table, kinds)}), SUM({time_column.seconds}), SUM({of_rows}) "
                f"FROM {quoted(table.name)} WHERE {condition} GROUP BY {hour}",
                on=connection,
            )
            came += [int(row[1]) for row in rows]
        return {int(hour): Figures(*map(int, sums)) for hour, *sums in rows if hour is not None}

    def _most_halvings(self, table: SourceTable) -> int:
        """So often at most a span of this table is halved."""
        with suppress(SourceError):
            if self.missing_index(table):
                return HALVINGS_WITHOUT_INDEX
        return MOST_HALVINGS

    def _months(self, table: SourceTable, within: TimeRange) -> list[TimeRange]:
        """The range a month at a time, from the oldest row on; what is dated into the future belongs to the last.

        One range, of which an index gives the ends at once.
        """
        time_column = _time(table, self._kinds(table))
        ends = (time_column.seconds_of(f"{end}({time_column.column})") for end in ("MIN", "MAX"))
        oldest, newest, now = self._row(
            f"SELECT {' + 0, '.join(ends)} + 0, UNIX_TIMESTAMP() FROM {quoted(table.name)} "
            f"WHERE {row_filter(time_column, [within])}"
        )
        if oldest is None or newest is None:
            return [within]
        first = int(oldest) // SECONDS_PER_HOUR * SECONDS_PER_HOUR
        later = range(first + COUNTED_SECONDS, min(int(newest), int(now)), COUNTED_SECONDS)
        # From 1970 on a span could be halved a hundred times before the first row.
        return [TimeRange(*ends) for ends in pairwise([max(first, within.start or 0), *later, within.end])]

    def _canonical(self, table: SourceTable, kinds: Kinds) -> list[tuple[str, str]]:
        """The columns that a fingerprint can hold, each with its text in SQL."""
        time_column = _time(table, kinds)
        found = []
        for name, landed in table.types.items():
            seconds = time_column.seconds if table.is_event_time(name) else None
            if text := canonical(*kinds[table.source_name(name)], landed, seconds=seconds):
                found.append((name, text))
        return found

    # Errors

    def _too_long(self, action: str) -> TooLong:
        return TooLong(
            f"The source {self._address} needed more than {self._limits.statement_seconds} s for {action}, and no "
            "statement may take longer (statement_seconds in extract/tables.yaml). What was read of it does not count. "
            "Let it take longer, or read at a quieter hour or from a replica, then run again."
        )

    @contextmanager
    def _errors(self, action: str) -> Iterator[None]:
        try:
            yield
        except (pymysql.Error, CutStream, OSError, ValueError, AttributeError, pa.ArrowException) as error:
            if error.args and error.args[0] in STATEMENT_TIMEOUTS:
                raise self._too_long(action) from error
            raise SourceError(
                f"The source {self._address} failed while {action}: {self._address.in_one_line(error)}. What was read "
                "of it does not count. Once the cause is mended, run again: nothing is lost or doubled."
            ) from error


def _cut(connection: pymysql.connections.Connection, expired: threading.Event) -> None:
    """Ends a connection on which somebody may be waiting; the server hears of it, and ends the transaction."""
    expired.set()
    with suppress(OSError, TypeError):  # it may have been closed by now
        # An SSLSocket's own shutdown takes its TLS away: the next read would give ciphertext for rows.
        socket.shutdown(connection._sock, SHUT_RDWR)


def _time(table: SourceTable, kinds: Kinds) -> TimeColumn:
    return event_time(*kinds[table.time_column.lower()])


def _output(table: SourceTable, kinds: Kinds, name: str) -> str:
    """A column as it is asked for; the event time as epoch seconds."""
    time_column = _time(table, kinds)
    if table.is_event_time(name) and time_column.seconds != time_column.column:
        return f"{time_column.seconds} AS {quoted(name)}"
    return output(*kinds[table.source_name(name)], name)


def _key(table: SourceTable, kinds: Kinds) -> str:
    """The key as a number that can be summed up exactly; what is none counts as 0."""
    spelling, kind = kinds[table.source_name(table.key)]
    key = quoted(spelling)
    if kind not in INTEGER_TYPES:
        key = f"CAST({key} AS DECIMAL(20, 0))"
    return f"COALESCE({key}, 0)"
