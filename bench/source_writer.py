"""Writing a source: turns a trace of scans into the three source tables as they stand at a moment.

At moment T the source holds the scans with arrival_time <= T; per order the time and code of its newest scan
among them; and per order the time of its first arrival. Used by the simulation and by replays of recorded
traces, on DuckDB files and MySQL alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pymysql

from bench.source_tables import ECS, MYSQL_KEYS, SOURCE_TABLES, SPATH, UTI, invented_values
from extract.errors import SourceError
from extract.mysql_address import Address
from extract.source import duckdb_path

SIMULATION = "simulation"
RECORDED = "recorded trace"

TIME_COLUMN = {UTI: "update_time", ECS: "add_time", SPATH: "pathTime"}
SIMULATION_COLUMNS = "parameters VARCHAR(200), started BIGINT, written_until BIGINT"

_NEWEST = "PARTITION BY order_id ORDER BY path_time DESC, trace_seq DESC"
_FIRST = "PARTITION BY order_id ORDER BY arrival_time, trace_seq"


class SourceWriteError(Exception):
    """What was asked cannot be written to this source; nothing of it was written."""


@dataclass(frozen=True)
class Written:
    """What a source holds of its simulation; `written_until` is None while a first write is unfinished."""

    parameters: str
    started: int
    written_until: int | None


@dataclass(frozen=True)
class Rows:
    """The rows of the three tables that a set of arrivals adds or renews."""

    uti: pa.Table
    ecs: pa.Table
    spath: pa.Table


def rows_of(arrived: pa.Table) -> Rows:
    """The three tables' rows out of the arrived scans alone; a table of no scans gives no rows."""
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.register("arrived", arrived)

        def query(sql: str) -> pa.Table:
            return connection.execute(sql).to_arrow_table()

        return Rows(
            uti=query(
                "SELECT order_id, 'TN' || order_id AS tno, code AS status, path_time AS update_time"
                f"{invented_values(UTI)} FROM arrived "
                f"QUALIFY row_number() OVER ({_NEWEST}) = 1 ORDER BY update_time, order_id"
            ),
            ecs=query(
                f"SELECT order_id, partner_id, path_time AS add_time{invented_values(ECS)} FROM arrived "
                f"QUALIFY row_number() OVER ({_FIRST}) = 1 ORDER BY add_time, order_id"
            ),
            spath=query(
                f'SELECT order_id, path_time AS "pathTime", code, trace_seq AS "traceSeq"{invented_values(SPATH)} '
                "FROM arrived "
                "ORDER BY arrival_time, order_id, trace_seq"
            ),
        )


class Backend(Protocol):
    def existing(self) -> set[str]: ...
    def written(self) -> Written | None: ...
    def create(self) -> None: ...
    def index(self) -> None: ...
    def remember(self, written: Written) -> None: ...
    def put(self, rows: Rows, fresh: bool) -> None: ...
    def count(self, table: str) -> int: ...
    def transaction(self, statement: str) -> None: ...
    def close(self) -> None: ...


class SourceWriter:
    """Writes one source; a context manager. Every public call leaves whole transactions behind.

    Refuses a database whose tables it did not write itself: a real source is never dropped or changed.
    """

    def __init__(self, url: str) -> None:
        """Opens or creates. Raises SourceError when unreachable, SourceWriteError when it is not ours."""
        self.url = url
        self._backend: Backend = (
            _MySQL(Address.parse(url)) if url.lower().startswith("mysql:") else _DuckDB(duckdb_path(url))
        )
        existing = self._backend.existing()
        others = {name for name in existing if name in SOURCE_TABLES or name.startswith("order_tracking_raw.")}
        if SIMULATION not in existing and others:
            self._backend.close()
            raise SourceWriteError(
                f"This database already has {', '.join(sorted(others)[:3])}, "
                "not written by a simulation. Nothing was changed. Name an empty database or a new file."
            )
        self.written: Written | None = self._backend.written() if SIMULATION in existing else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._backend.close()

    def begin(self, parameters: str, started: int) -> None:
        """Drops what an earlier simulation wrote and creates the three tables, empty."""
        with self._transaction():
            self._backend.create()
            self._remember(Written(parameters, started, None))

    def put(self, arrived: pa.Table) -> None:
        """Part of a first write: all scans of orders that no other part holds. `finish` completes it."""
        with self._transaction():
            self._backend.put(rows_of(arrived), fresh=True)

    def finish(self, until: int) -> None:
        """Completes a first write: indexes, and the moment up to which the source is written."""
        assert self.written is not None
        with self._transaction():
            self._backend.index()
            self._remember(Written(self.written.parameters, self.written.started, until))

    def add(self, parts: Iterator[pa.Table], until: int) -> None:
        """In one transaction: arrivals after `written_until` in any number of parts, up to `until`."""
        assert self.written is not None
        with self._transaction():
            for arrived in parts:
                if arrived.num_rows:
                    self._backend.put(rows_of(arrived), fresh=False)
            self._remember(Written(self.written.parameters, self.written.started, until))

    def advance(self, trace: pa.Table, at: int) -> int:
        """Brings the source to epoch second `at`: writes what arrived since the last call, returns the scans.

        On an empty source everything up to `at`. Trace_seq must run by arrival within an order. Raises
        SourceWriteError when the source is already further.
        """
        after = self.written.written_until if self.written else None
        if after is not None and at < after:
            raise SourceWriteError(
                f"This source is already written until {after}; {at} is earlier. Nothing was changed."
            )
        arrival = trace["arrival_time"]
        chosen = pc.less_equal(arrival, at)
        if after is not None:
            chosen = pc.and_(chosen, pc.greater(arrival, after))
        arrived = trace.filter(chosen)
        if after is None:
            self.begin(self.written.parameters if self.written else RECORDED, pc.min(arrival).as_py() or 0)
            self.put(arrived)
            self.finish(at)
        else:
            self.add(iter([arrived]), at)
        return arrived.num_rows

    def counts(self) -> dict[str, int]:
        """Rows per source table."""
        return {table: self._backend.count(table) for table in SOURCE_TABLES}

    def _remember(self, written: Written) -> None:
        self._backend.remember(written)
        self.written = written

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        before = self.written
        self._backend.transaction("BEGIN")
        try:
            yield
            self._backend.transaction("COMMIT")
        except BaseException as error:
            self.written = before
            with suppress(duckdb.Error, pymysql.Error):  # a connection that is gone has rolled back already
                self._backend.transaction("ROLLBACK")
            if isinstance(error, duckdb.Error | pymysql.Error):
                reason = str(error).strip().splitlines()[0]
                raise SourceError(
                    f"Writing the source failed: {reason}. This step was rolled back. Mend the cause (space, "
                    "permissions, connection), then run again: it continues or begins anew by itself."
                ) from error
            raise


class _DuckDB:
    """No keys in the file: an ART index over all orders costs more than the joins that stand in for it."""

    def __init__(self, path: str) -> None:
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._connection = duckdb.connect(path)
        except (duckdb.Error, OSError) as error:
            raise SourceError(
                f"The source file {path} cannot be opened for writing: {str(error).splitlines()[0]}. "
                "Nothing was written. Close what holds it, or name another file."
            ) from error

    def existing(self) -> set[str]:
        """Also those of other schemas, as a warehouse has them."""
        tables = "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = current_database()"
        return {
            (name if schema == "main" else f"{schema}.{name}").lower()
            for schema, name in self._connection.execute(tables).fetchall()
        }

    def written(self) -> Written | None:
        row = self._connection.execute(f"SELECT * FROM {SIMULATION}").fetchone()
        return Written(*row) if row else None

    def create(self) -> None:
        self._connection.execute(f"CREATE OR REPLACE TABLE {SIMULATION} ({SIMULATION_COLUMNS})")
        for table, columns in SOURCE_TABLES.items():
            self._connection.execute(f"CREATE OR REPLACE TABLE {table} ({columns})")

    def index(self) -> None:
        """None: row groups carry the minimum and maximum of every column."""

    def remember(self, written: Written) -> None:
        self._connection.execute(f"DELETE FROM {SIMULATION}")
        self._connection.execute(
            f"INSERT INTO {SIMULATION} VALUES (?, ?, ?)",
            [written.parameters, written.started, written.written_until],
        )

    def put(self, rows: Rows, fresh: bool) -> None:
        self._connection.register("new_uti", rows.uti)
        self._connection.register("new_ecs", rows.ecs)
        self._connection.register("new_spath", rows.spath)
        if not fresh:
            self._connection.execute(
                f"UPDATE {UTI} SET status = new.status, update_time = new.update_time FROM new_uti AS new "
                f"WHERE {UTI}.order_id = new.order_id AND new.update_time >= {UTI}.update_time"
            )
        for table, new in ((UTI, "new_uti"), (ECS, "new_ecs")):
            only_new = "" if fresh else f" WHERE order_id NOT IN (SELECT order_id FROM {table})"
            self._connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM {new}{only_new}")
        self._connection.execute(f"INSERT INTO {SPATH} BY NAME SELECT * FROM new_spath")

    def count(self, table: str) -> int:
        row = self._connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()
        return int(row[0]) if row else 0

    def transaction(self, statement: str) -> None:
        self._connection.execute(statement)

    def close(self) -> None:
        self._connection.close()


class _MySQL:
    STATEMENT_ROWS = 20_000  # about 1 MB, far below any server's max_allowed_packet

    def __init__(self, address: Address) -> None:
        self._connection = address.connect(autocommit=True)

    def existing(self) -> set[str]:
        return {row[0].lower() for row in self._query("SHOW TABLES")}

    def written(self) -> Written | None:
        rows = self._query(f"SELECT parameters, started, written_until FROM {SIMULATION}")
        return Written(*rows[0]) if rows else None

    def create(self) -> None:
        # MySQL commits at every CREATE and DROP. `simulation` goes first and says "unfinished", so that a
        # writer that dies in between finds its own traces and begins anew.
        self._query(f"CREATE TABLE IF NOT EXISTS {SIMULATION} ({SIMULATION_COLUMNS}) ENGINE=InnoDB")
        self._query(f"UPDATE {SIMULATION} SET written_until = NULL")
        for table, columns in SOURCE_TABLES.items():
            self._query(f"DROP TABLE IF EXISTS {table}")
            self._query(f"CREATE TABLE {table} ({columns}, {MYSQL_KEYS[table]}) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4")

    def index(self) -> None:
        for table, column in TIME_COLUMN.items():
            self._query(f"ALTER TABLE {table} ADD INDEX ({column}, order_id)")

    def remember(self, written: Written) -> None:
        self._query(f"DELETE FROM {SIMULATION}")
        self._query(
            f"INSERT INTO {SIMULATION} VALUES (%s, %s, %s)",
            (written.parameters, written.started, written.written_until),
        )

    def put(self, rows: Rows, fresh: bool) -> None:
        newer = (
            " ON DUPLICATE KEY UPDATE "
            "status = IF(VALUES(update_time) >= update_time, VALUES(status), status), "
            "update_time = GREATEST(VALUES(update_time), update_time)"
        )
        keep = " ON DUPLICATE KEY UPDATE order_id = VALUES(order_id)"
        self._insert(UTI, rows.uti, "" if fresh else newer)
        self._insert(ECS, rows.ecs, "" if fresh else keep)
        self._insert(SPATH, rows.spath, "")

    def count(self, table: str) -> int:
        return int(self._query(f"SELECT COUNT(*) FROM {table}")[0][0])

    def transaction(self, statement: str) -> None:
        self._query(statement)

    def close(self) -> None:
        self._connection.close()

    def _query(self, sql: str, values: tuple[Any, ...] | None = None) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, values)
            return list(cursor.fetchall())

    def _insert(self, table: str, rows: pa.Table, suffix: str) -> None:
        """Multi-row INSERTs whose text Arrow joins: the values are our own, and need no escapes."""
        columns = ", ".join(rows.column_names)
        for start in range(0, rows.num_rows, self.STATEMENT_ROWS):
            part = rows.slice(start, self.STATEMENT_ROWS).combine_chunks()
            texts = [
                pc.binary_join_element_wise("'", column.cast(pa.string()), "'", "")
                if pa.types.is_string(column.type) or pa.types.is_temporal(column.type)
                else column.cast(pa.string())
                for column in part.columns
            ]
            values = "),(".join(pc.binary_join_element_wise(*texts, ",").to_pylist())
            self._query(f"INSERT INTO {table} ({columns}) VALUES ({values}){suffix}")
