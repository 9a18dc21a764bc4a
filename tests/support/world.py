"""A small world for tests: a source that a test writes row by row, a warehouse of its own, and cycles over them."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb

from bench.source_tables import SOURCE_TABLES
from scripts.cycle import Cycle
from scripts.run_cycle import run_cycle

MINUTE, HOUR, DAY = 60, 3600, 86400


def at(text: str) -> int:
    """Epoch seconds of an ISO time in UTC."""
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp())


def moment(epoch_seconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(epoch_seconds, dt.UTC)


def make_tables(source: duckdb.DuckDBPyConnection, *, wide: bool = False) -> None:
    """The source's tables, empty; `wide` for numbers that no INT holds."""
    for table, columns in SOURCE_TABLES.items():
        listed = columns.replace(" INT", " BIGINT") if wide else columns
        source.execute(f"CREATE OR REPLACE TABLE {table} ({listed})")


def put(connection: duckdb.DuckDBPyConnection, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    """Rows by the order of the table's columns; what they are too short for is NULL."""
    rows = list(rows)
    named = connection.execute(f"SELECT * FROM {table} LIMIT 0").description
    columns = ", ".join(column[0] for column in named[: len(rows[0])])
    connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(rows[0]))})", rows)


def put_scan(source: duckdb.DuckDBPyConnection, order_id: int, time: int, code: int) -> None:
    """A scan, and the order's status if the scan is not older than the one it has."""
    ((seq,),) = source.execute("SELECT COUNT(*) FROM uni_tracking_spath WHERE order_id = ?", [order_id]).fetchall()
    put(source, "uni_tracking_spath", [(order_id, time, code, seq)])
    held = source.execute("SELECT update_time FROM uni_tracking_info WHERE order_id = ?", [order_id]).fetchall()
    if not held:
        put(source, "uni_tracking_info", [(order_id, f"T{order_id}", code, time)])
    elif held[0][0] <= time:
        source.execute(
            "UPDATE uni_tracking_info SET status = ?, update_time = ? WHERE order_id = ?", [code, time, order_id]
        )


class World:
    """A source and a warehouse in one folder, at a moment that a test moves on."""

    def __init__(self, folder: Path, now: int, empty_warehouse: Path | None = None):
        self.folder = folder
        self.now = now
        self.source_file = folder / "source.duckdb"
        self.warehouse_file = folder / "warehouse.duckdb"
        if empty_warehouse is not None:
            shutil.copy(empty_warehouse, self.warehouse_file)
        with duckdb.connect(str(self.source_file)) as source:
            make_tables(source)

    @property
    def source_url(self) -> str:
        return f"duckdb:///{self.source_file}"

    # The source

    def source(self, sql: str, *values: Any) -> None:
        with duckdb.connect(str(self.source_file)) as connection:
            connection.execute(sql, values)

    def insert(self, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
        with duckdb.connect(str(self.source_file)) as connection:
            put(connection, table, rows)

    def order(self, order_id: int, created: int, *, partner: int = 1) -> None:
        """An order is created: its metadata, its first scan and its first status."""
        with duckdb.connect(str(self.source_file)) as source:
            put(source, "ecs_order_info", [(order_id, partner, created)])
            put_scan(source, order_id, created, 100)

    def scan(self, order_id: int, time: int, *, code: int = 200) -> None:
        """A scan, and with it the order's status, as the real source keeps them."""
        with duckdb.connect(str(self.source_file)) as source:
            put_scan(source, order_id, time, code)

    def status(self, order_id: int, status: int, time: int) -> None:
        """The order's current status, whatever its scans say."""
        self.source("DELETE FROM uni_tracking_info WHERE order_id = ?", order_id)
        self.insert("uni_tracking_info", [(order_id, f"T{order_id}", status, time)])

    # Cycles

    def cycle(self, now: int | None = None, *, reconcile_since: int | None = None, **options: Any) -> Cycle:
        """One cycle at `now` (which becomes the world's moment), by default a quarter-hour after the last."""
        self.now = self.now + 15 * MINUTE if now is None else now
        return run_cycle(
            at=moment(self.now),
            source=options.pop("source", self.source_url),
            reconcile_since=None if reconcile_since is None else moment(reconcile_since),
            **options,
        )

    # The warehouse

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.warehouse_file)) as warehouse:
            return warehouse.execute(sql, values).fetchall()

    def execute(self, sql: str, *values: Any) -> None:
        self.query(sql, *values)

    def plant(self, table: str, *rows: tuple[Any, ...]) -> None:
        """Rows in a table of the warehouse that no cycle put there."""
        with duckdb.connect(str(self.warehouse_file)) as warehouse:
            put(warehouse, table, rows)

    def uti(self) -> dict[int, tuple[int, int]]:
        """Active orders: order -> (status, update_time)."""
        rows = self.query("SELECT order_id, status, update_time FROM order_tracking.mart_uni_tracking_info")
        assert len({row[0] for row in rows}) == len(rows), "an order has two rows in uti"
        return {order: (status, time) for order, status, time in rows}

    def history(self, short: str, columns: str = "order_id") -> list[tuple[Any, ...]]:
        """Rows of a mart's history, with the period first."""
        return self.query(f"SELECT period, {columns} FROM order_tracking_history.hist_{short}_all ORDER BY ALL")

    def exceptions(self, *, open_only: bool = True) -> list[tuple[Any, ...]]:
        """check, table (its last part), order, detail of the exceptions."""
        return self.query(
            "SELECT check_name, split_part(table_name, '.', 2), order_id, detail "
            "FROM order_tracking_history.order_tracking_exceptions "
            f"{'WHERE resolved_at IS NULL' if open_only else ''} ORDER BY ALL"
        )

    def scans_everywhere(self) -> list[tuple[Any, ...]]:
        """Every scan in mart and history, as often as it is there."""
        return self.query(
            "SELECT order_id, pathtime, code, traceseq FROM order_tracking.mart_uni_tracking_spath UNION ALL "
            "SELECT order_id, pathtime, code, traceseq FROM order_tracking_history.hist_uts_all ORDER BY ALL"
        )

    def assert_whole(self, source_file: Path | None = None) -> None:
        """Nothing lost, doubled or split: the invariants, and every row of the source in its one place."""
        with duckdb.connect() as both:
            both.execute(f"ATTACH '{self.warehouse_file}' AS warehouse")
            both.execute(f"ATTACH '{source_file or self.source_file}' AS s (READ_ONLY)")
            for promise, sql in INVARIANTS.items():
                broken = both.execute(sql).fetchall()
                assert not broken, f"{promise}: {broken[:5]} ({len(broken)} rows)"


UTS = """(SELECT order_id, pathtime, code, traceseq FROM warehouse.order_tracking.mart_uni_tracking_spath UNION ALL
         SELECT order_id, pathtime, code, traceseq FROM warehouse.order_tracking_history.hist_uts_all)"""
PLACEABLE = "order_id > 0 AND {time} > 0 AND {time} < 4102444800"

INVARIANTS = {
    "I1 one row per order in uti": """
        SELECT order_id FROM warehouse.order_tracking.mart_uni_tracking_info GROUP BY 1 HAVING COUNT(*) > 1""",
    "I1 one row per order in ecs": """
        SELECT order_id FROM warehouse.order_tracking.mart_ecs_order_info GROUP BY 1 HAVING COUNT(*) > 1""",
    "I1 one row per order in hist_uti": """
        SELECT order_id FROM warehouse.order_tracking_history.hist_uti_all GROUP BY 1 HAVING COUNT(*) > 1""",
    "I1 one row per order in hist_ecs": """
        SELECT order_id FROM warehouse.order_tracking_history.hist_ecs_all GROUP BY 1 HAVING COUNT(*) > 1""",
    "I1 one per scan across uts and its history": f"""
        SELECT order_id, pathtime, code, traceseq FROM {UTS} GROUP BY ALL HAVING COUNT(*) > 1""",
    "I2 every scan of the source is in mart or history": f"""
        SELECT DISTINCT order_id, pathTime, code, traceSeq FROM s.uni_tracking_spath
        WHERE {PLACEABLE.format(time="pathTime")} EXCEPT SELECT * FROM {UTS}""",
    "nothing is there that the source never had": f"""
        SELECT * FROM {UTS} EXCEPT SELECT order_id, pathTime, code, traceSeq FROM s.uni_tracking_spath""",
    "I2 uti and its history hold the source's status of every order": f"""
        SELECT order_id, status, update_time FROM s.uni_tracking_info
        WHERE {PLACEABLE.format(time="update_time")} AND octet_length(tno::BLOB) <= 64
        EXCEPT (SELECT order_id, status, update_time FROM warehouse.order_tracking.mart_uni_tracking_info
        UNION ALL SELECT order_id, status, update_time FROM warehouse.order_tracking_history.hist_uti_all)""",
    "I2 every order's metadata is in ecs or its history": f"""
        SELECT order_id, partner_id, add_time FROM s.ecs_order_info WHERE {PLACEABLE.format(time="add_time")}
        EXCEPT (SELECT order_id, partner_id, add_time FROM warehouse.order_tracking.mart_ecs_order_info
        UNION ALL SELECT order_id, partner_id, add_time FROM warehouse.order_tracking_history.hist_ecs_all)""",
    "I4 an active order is not in hist_uti": """
        SELECT order_id FROM warehouse.order_tracking.mart_uni_tracking_info
        INTERSECT SELECT order_id FROM warehouse.order_tracking_history.hist_uti_all""",
    "I5 metadata is where its status is": """
        SELECT order_id FROM warehouse.order_tracking.mart_ecs_order_info
        INTERSECT SELECT order_id FROM warehouse.order_tracking_history.hist_uti_all""",
    "ecs is in one place": """
        SELECT order_id FROM warehouse.order_tracking.mart_ecs_order_info
        INTERSECT SELECT order_id FROM warehouse.order_tracking_history.hist_ecs_all""",
}
