"""The limit: a cycle's steps as bare SQL in one DuckDB session, with nothing of the project or of SQLMesh around them.

    python -m bench.bare --folder F --at T [--statements FILE]

What one would write by hand who knew this warehouse and that nothing is ever interrupted, odd or repeated. It lands
and merges the batch, archives, checks and trims as the cycle at T would have, so that the next cycle goes on from it.
"""

from __future__ import annotations

import csv
import datetime as dt
import time
from pathlib import Path

import click
import duckdb

from bench.tables import SOURCE_TABLES, mart_tables
from extract.clock import landing_stamp
from macros.periods import months_before, period_of
from scripts.options import Time

QUARTER, BUFFER = 900, 1800
RAW_DAYS = 35
COLUMNS = {
    "uni_tracking_info": "order_id, tno, status, update_time",
    "ecs_order_info": "order_id, partner_id, add_time",
    "uni_tracking_spath": "order_id, pathtime, code, traceseq",
}
TIMES = {"uni_tracking_info": "update_time", "ecs_order_info": "add_time", "uni_tracking_spath": "pathtime"}


class BareCycle:
    """The steps of one cycle, each timed."""

    def __init__(self, session: duckdb.DuckDBPyConnection, at: int):
        self._session = session
        self._marts = mart_tables(session)
        self.seconds: list[tuple[float, str]] = []
        self._landed, self._end = moment(landing_stamp(at)), moment(at)
        self._recent = f"update_time >= {at - 86_400}"
        self._since = moment(at - 2 * QUARTER)  # this interval and the lookback
        self._at = self._newest = at

    def run(self) -> None:
        self._do("BEGIN")
        for name in SOURCE_TABLES:
            self._land(name)
        self._do("COMMIT")
        for name, short in (("uni_tracking_info", "uti"), ("ecs_order_info", "ecs"), ("uni_tracking_spath", "uts")):
            self._do("BEGIN")
            self._merge(name)
            if short == "uti":
                (self._newest,), *_ = self._do(f"SELECT MAX(update_time) FROM {self._marts[name]} WHERE {self._recent}")
            if short != "uts":
                self._clean(name, short)
            self._retain(name, short)
            self._forget(name)
            self._do("COMMIT")

    def _land(self, name: str) -> None:
        raw, columns, at = f"order_tracking_raw.{name}_raw", COLUMNS[name], TIMES[name]
        since = self._at - QUARTER - BUFFER
        self._do(
            f"""INSERT INTO {raw} ({columns}, landed_at) SELECT {columns}, {self._landed} FROM (
              SELECT DISTINCT {columns} FROM source.{name} WHERE {at} >= {since}
              EXCEPT SELECT {columns} FROM {raw} WHERE {at} >= {since})"""
        )
        times = f"{self._landed}, {self._end}, {self._end}"
        self._do(
            f"""INSERT INTO order_tracking_raw.extract_log
            SELECT '{name}', 'extract', NULL, {self._at - 1}, NULL, COUNT(*), COUNT(*), 0, 0, {times}, NULL
            FROM {raw} WHERE landed_at = {self._landed}"""
        )

    def _merge(self, name: str) -> None:
        raw, mart, at = f"order_tracking_raw.{name}_raw", self._marts[name], TIMES[name]
        batch = f"SELECT * FROM {raw} WHERE landed_at >= {self._since} AND landed_at < {self._end}"
        if name == "uni_tracking_spath":
            self._do(f"DELETE FROM {mart} WHERE landed_at >= {self._since} AND landed_at < {self._end}")
            self._do(f"INSERT INTO {mart} BY NAME SELECT DISTINCT * FROM ({batch})")
            return
        newest = f"SELECT DISTINCT ON (order_id) * FROM ({batch}) ORDER BY order_id, {at} DESC, landed_at DESC"
        self._do(f"CREATE OR REPLACE TEMP TABLE batch AS {newest}")
        self._do(f"DELETE FROM {mart} WHERE order_id IN (SELECT order_id FROM batch)")
        self._do(f"INSERT INTO {mart} BY NAME SELECT * FROM batch")

    def _clean(self, name: str, short: str) -> None:
        """The orders of this batch that come back leave history."""
        for history in self._history(short):
            self._do(
                f"DELETE FROM {history} WHERE order_id IN (SELECT order_id FROM batch) AND order_id IN "
                f"(SELECT order_id FROM {self._marts['uni_tracking_info']} WHERE {self._recent})"
            )

    def _retain(self, name: str, short: str) -> None:
        mart, at, cutoff = self._marts[name], TIMES[name], months_before(self._newest, 6)
        history = f"order_tracking_history.hist_{short}_{period_of(cutoff)}"
        if short == "ecs":
            archived = f"SELECT order_id FROM order_tracking_history.hist_uti_{period_of(cutoff)}"
            self._do(
                f"CREATE OR REPLACE TEMP TABLE due AS SELECT * FROM {mart} "
                f"WHERE order_id IN ({archived} WHERE archived_at = {self._end})"
            )
        else:
            self._do(f"CREATE OR REPLACE TEMP VIEW due AS SELECT * FROM {mart} WHERE {at} < {cutoff}")
        (first, last), *_ = self._do(f"SELECT MIN({at}), MAX({at}) FROM due")
        if first is None:
            return
        self._do(f"INSERT INTO {history} BY NAME SELECT *, {self._end} AS archived_at FROM due")
        columns = COLUMNS[name]
        reach = f"{at} BETWEEN {first} AND {last}"
        (missing,), *_ = self._do(
            f"SELECT COUNT(*) FROM (SELECT {columns} FROM due EXCEPT SELECT {columns} FROM {history} WHERE {reach})"
        )
        if missing:
            raise SystemExit(f"{missing} rows of {short} have no copy in history; nothing was trimmed")
        if short == "ecs":
            self._do(f"DELETE FROM {mart} WHERE {reach} AND order_id IN (SELECT order_id FROM due)")
            self._do("DROP TABLE due")
        else:
            self._do(f"DELETE FROM {mart} WHERE {at} < {cutoff}")
            self._do("DROP VIEW due")

    def _forget(self, name: str) -> None:
        floor = self._newest - RAW_DAYS * 86_400
        self._do(f"DELETE FROM order_tracking_raw.{name}_raw WHERE landed_at < {moment(floor)}")

    def _history(self, short: str) -> list[str]:
        tables = self._session.execute(
            "SELECT table_name FROM duckdb_tables() WHERE table_name LIKE ? ORDER BY 1", [f"hist_{short}_20%"]
        ).fetchall()
        return [f"order_tracking_history.{table}" for (table,) in tables]

    def _do(self, sql: str) -> list[tuple[int, ...]]:
        started = time.monotonic()
        rows: list[tuple[int, ...]] = self._session.execute(sql).fetchall()
        told = " ".join(sql.replace("sqlmesh__order_tracking.order_tracking__", "").split())
        self.seconds.append((time.monotonic() - started, told[:60]))
        return rows


def moment(epoch: int) -> str:
    """SQL: a TIMESTAMP."""
    return f"make_timestamp({epoch * 1_000_000})"


@click.command(help=__doc__)
@click.option("--folder", type=click.Path(path_type=Path), required=True)
@click.option("--at", type=Time(), required=True)
@click.option("--statements", type=click.Path(path_type=Path))
def main(folder: Path, at: dt.datetime, statements: Path | None) -> None:
    with duckdb.connect(str(folder / "warehouse.duckdb")) as session:
        session.execute(f"ATTACH '{folder / 'source.duckdb'}' AS source (READ_ONLY)")
        cycle = BareCycle(session, int(at.timestamp()))
        cycle.run()
        started = time.monotonic()
        session.execute("CHECKPOINT")
        cycle.seconds.append((time.monotonic() - started, "CHECKPOINT"))
    if statements:
        with statements.open("w", newline="") as out:
            lines = csv.writer(out)
            lines.writerow(["seconds", "what"])
            lines.writerows([f"{seconds:.4f}", what] for seconds, what in cycle.seconds)


if __name__ == "__main__":
    main()
