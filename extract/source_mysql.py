"""A MySQL or MariaDB server as a source: read-only, whatever its settings, one connection a read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pymysql
from pymysql.cursors import Cursor, DictCursor

from extract.errors import SourceError
from extract.mysql_address import Address
from extract.mysql_rows import CutStream, stream
from extract.mysql_session import pin
from extract.mysql_types import INTEGER_TYPES, columns_of, output, quoted
from extract.source_reads import (
    SECONDS_PER_HOUR,
    SourceTable,
    TimeRange,
    merged,
    raise_unless_complete,
    raise_unless_whole,
    row_filter,
)

SILENT_SECONDS = 900  # a network that says nothing for so long is dead
COUNTED_SECONDS = 30 * 86_400
COUNTED_ROWS = 10_000_000  # as many a server counts before it has been silent for too long, however slow it is
SNAPSHOT_ENGINES = frozenset({"innodb", "rocksdb"})  # two queries of one transaction see the same rows there


class MySQLSource:
    """Raises SourceError when the server cannot be reached or refuses the login."""

    def __init__(self, url: str) -> None:
        self._address = Address.parse(url)
        self._reading: set[pymysql.connections.Connection] = set()
        self._idle: list[pymysql.connections.Connection] = []
        self._snapshots: dict[str, bool] = {}
        self._query("SELECT 1")

    def clock(self) -> int | None:
        return int(self._row("SELECT UNIX_TIMESTAMP()")[0])

    def check(self, tables: Sequence[SourceTable]) -> None:
        kinds = {table.name: self._kinds(table) for table in tables}
        raise_unless_complete(str(self._address), tables, {name: columns_of(of) for name, of in kinds.items()})

    def hourly_counts(self, table: SourceTable, start: int | None) -> dict[int, tuple[int, int, int]]:
        """A month at a time: while it counts the server is silent, with a billion rows for longer than it may be."""
        self.check([table])
        time, key = quoted(table.time_column), self._key(table)
        counts: dict[int, tuple[int, int, int]] = {}
        for begin, end in pairwise([start, *self._months(table, TimeRange(start)), None]):
            condition = row_filter(time, [TimeRange(begin, end)])
            with self._snapshot(f"counting {table.name}") as connection:
                before = self._count_before(connection, table, [condition])
                rows = self._query(
                    f"SELECT {time} DIV {SECONDS_PER_HOUR}, COUNT(*), SUM({key}), "
                    f"SUM({time}) FROM {quoted(table.name)} WHERE {condition} GROUP BY {time} DIV {SECONDS_PER_HOUR}",
                    on=connection,
                )
                came = sum(int(count) for _, count, _, _ in rows)
                self._raise_unless_whole(connection, table, [condition], came, before)
            counts |= {int(hour): (int(count), int(keys), int(times)) for hour, count, keys, times in rows}
        return counts

    def about(self, table: SourceTable, ranges: Sequence[TimeRange]) -> int:
        """What the server's optimizer expects; nothing if it does not say: a view may be closed to EXPLAIN."""
        time = quoted(table.time_column)
        sql = f"EXPLAIN SELECT {time} FROM {quoted(table.name)} WHERE {row_filter(time, ranges)}"
        with suppress(SourceError, KeyError, TypeError, ValueError):
            return sum(int(row["rows"] or 0) for row in self._query(sql, kind=DictCursor))
        return 0

    def read(
        self, table: SourceTable, ranges: Sequence[TimeRange], *, since_id: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        kinds = self._kinds(table)
        raise_unless_complete(str(self._address), [table], {table.name: columns_of(kinds)})
        outputs = [output(*kinds[name], name) for name in table.columns]
        if table.id_column:
            outputs.append(output(*kinds[table.id_column.lower()], "source_id"))
        condition = row_filter(quoted(table.time_column), ranges, table.id_column and quoted(table.id_column), since_id)
        came = 0
        with self._snapshot(f"reading {table.name}", last=True) as connection:
            before = self._count_before(connection, table, self._parts(table, ranges, since_id))
            for batch in stream(connection, f"SELECT {', '.join(outputs)} FROM {quoted(table.name)} WHERE {condition}"):
                came += batch.num_rows
                yield batch
            parts = [condition] if came <= COUNTED_ROWS else self._parts(table, ranges, since_id)
            self._raise_unless_whole(connection, table, parts, came, before)

    def close(self) -> None:
        for connection in [*self._reading, *self._idle]:
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
        connection = self._address.connect(read_timeout=SILENT_SECONDS)
        try:
            with self._errors("setting up a session"):
                wrong = pin(connection)
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
    def _snapshot(self, action: str, *, last: bool = False) -> Iterator[pymysql.connections.Connection]:
        """A connection on which each query sees the same moment. `last`: it answers nothing afterwards.

        Given up early it is cut off without a farewell: the rest of the rows is not worth waiting for.
        """
        connection = self._connection()
        self._reading.add(connection)
        whole = False
        try:
            with self._errors(action):
                connection.query("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
                yield connection
                if not last:
                    connection.rollback()
                    whole = True
        finally:
            self._reading.discard(connection)
            if whole:
                self._idle.append(connection)
            else:
                connection._force_close()

    def _query(
        self,
        sql: str,
        values: tuple[Any, ...] | None = None,
        kind: type[Cursor] = Cursor,
        on: pymysql.connections.Connection | None = None,
    ) -> list[Any]:
        """The rows of a short answer, asked on an idle connection or `on` one that has a snapshot."""
        connection = on or self._connection()
        try:
            with self._errors("answering a query"), connection.cursor(kind) as cursor:
                cursor.execute(sql, values)
                rows = list(cursor.fetchall())
        except SourceError:
            connection._force_close()
            raise
        if not on:
            self._idle.append(connection)
        return rows

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

    def _count(self, connection: pymysql.connections.Connection, table: SourceTable, conditions: Iterable[str]) -> int:
        """The rows that fulfil any of the conditions, of which none fulfils two."""
        counted = f"SELECT COUNT(*) FROM {quoted(table.name)} WHERE "
        return sum(int(self._row(counted + condition, connection)[0]) for condition in conditions)

    def _count_before(
        self, connection: pymysql.connections.Connection, table: SourceTable, conditions: Iterable[str]
    ) -> int | None:
        """What is there before a read; None if the table has snapshots, for then the count after it says all.

        A view is counted before and after: what it looks at may have snapshots or not.
        """
        if table.name not in self._snapshots:
            rows = self._query(
                "SELECT engine FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = %s",
                (table.name,),
            )
            self._snapshots[table.name] = bool(rows) and str(rows[0][0]).lower() in SNAPSHOT_ENGINES
        return None if self._snapshots[table.name] else self._count(connection, table, conditions)

    def _raise_unless_whole(
        self,
        connection: pymysql.connections.Connection,
        table: SourceTable,
        conditions: Iterable[str],
        came: int,
        before: int | None,
    ) -> None:
        """Compares what came with the source's own count, in the same snapshot.

        Without snapshots others may add rows meanwhile: only fewer than before and fewer than after is short.
        """
        after = self._count(connection, table, conditions)
        counted = after if before is None else min(before, after)
        raise_unless_whole(str(self._address), table.name, came, counted, exact=before is None)

    def _months(self, table: SourceTable, within: TimeRange) -> list[int]:
        """Where a new month begins, from the oldest row on; what is dated into the future belongs to the last.

        One range, of which an index gives the ends at once.
        """
        time = quoted(table.time_column)
        oldest, newest, now = self._row(
            f"SELECT MIN({time}) + 0, MAX({time}) + 0, UNIX_TIMESTAMP() FROM {quoted(table.name)} "
            f"WHERE {row_filter(time, [within])}"
        )
        if oldest is None:
            return []
        second = int(oldest) // SECONDS_PER_HOUR * SECONDS_PER_HOUR + COUNTED_SECONDS
        return list(range(second, min(int(newest), int(now)), COUNTED_SECONDS))

    def _parts(self, table: SourceTable, ranges: Sequence[TimeRange], since_id: int | None) -> Iterator[str]:
        """The condition of a read as several, each of a month at most, of which no row fulfils two."""
        time, identifier = quoted(table.time_column), table.id_column and quoted(table.id_column)
        spans, unplaceable = merged(ranges)
        if not spans:
            yield row_filter(time, ranges, identifier, since_id)
            return
        if unplaceable:
            yield row_filter(time, [TimeRange(0, 0, unplaceable=True)], identifier, since_id)
        months = self._months(table, TimeRange(spans[0][0], spans[-1][1]))
        for begin, end in pairwise([1, *months, None]):
            part = [TimeRange(max(start, begin or 1), _earlier(stop, end)) for start, stop in spans]
            if merged(part)[0]:
                yield row_filter(time, part, identifier, since_id)

    def _kinds(self, table: SourceTable) -> dict[str, tuple[str, str]]:
        """Lower-case column name -> the source's spelling and its type's name."""
        rows = self._query(
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = DATABASE() AND table_name = %s",
            (table.name,),
        )
        return {name.lower(): (name, kind.lower()) for name, kind in rows}

    def _key(self, table: SourceTable) -> str:
        """The key as a number that can be summed up exactly; what is none counts as 0."""
        spelling, kind = self._kinds(table)[table.key.lower()]
        key = quoted(spelling)
        if kind not in INTEGER_TYPES:
            key = f"CAST({key} AS DECIMAL(20, 0))"
        return f"COALESCE({key}, 0)"

    @contextmanager
    def _errors(self, action: str) -> Iterator[None]:
        try:
            yield
        except (pymysql.Error, CutStream, OSError, ValueError, AttributeError, pa.ArrowException) as error:
            raise SourceError(
                f"The source {self._address} failed while {action}: {self._address.in_one_line(error)}. What was read "
                "of it does not count. Once the source answers again, run again: nothing is lost or doubled."
            ) from error


def _earlier(*ends: int | None) -> int | None:
    return min((end for end in ends if end is not None), default=None)
