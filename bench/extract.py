"""MySQL to landed rows: how many rows a second, and what memory, on a table of five columns in a real MariaDB.

    python -m bench.extract [--rows 1000000 --rows 10000000] [--rounds 5]

Each round is the first load of one table into an empty DuckDB warehouse, in a process of its own: opening, reading,
judging, comparing with what is held, landing in transactions of 245,760 rows, checkpoint. The rate counts all of that;
wall has the process start too. The five columns are those of a scan and a monotonic id.

The yardstick for the hour that the machine has: before each round MariaDB's own client reads the same rows and throws
them away.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from bench.report import KEPT, write_extract
from bench.tables import SOURCE_TABLES
from extract.clock import Clock, parse_time
from extract.mysql_address import Address
from extract.run import extract
from extract.source import open_source
from extract.tables import load_config
from extract.warehouse import open_warehouse

AT = "2025-09-15T12:15:00"
BEGIN, SPAN = 1_742_000_000, 180 * 86_400
TABLE = f"""
CREATE TABLE uni_tracking_spath (
  id BIGINT NOT NULL PRIMARY KEY, {SOURCE_TABLES["uni_tracking_spath"]},
  KEY (order_id), KEY (pathTime, order_id)) ENGINE=InnoDB"""
READING_ALONE = "reading alone, MariaDB's client"
SETTINGS = """
buffer_minutes: 30
tables:
  uni_tracking_info: {source: uni_tracking_info, time: update_time}
  ecs_order_info: {source: ecs_order_info, time: add_time}
  uni_tracking_spath: {source: uni_tracking_spath, time: pathTime, cursor: id, id_column: id}
"""


def fill(server: Any, database: str, rows: int) -> None:
    """The table with so many rows, by time."""
    server.execute(f"CREATE DATABASE {database} CHARACTER SET utf8mb4")
    server.execute(TABLE, database)
    step = 1_000_000
    for first in range(0, rows, step):
        last = min(first + step, rows) - 1
        server.execute(
            f"""
            INSERT INTO uni_tracking_spath (id, order_id, pathTime, code, traceSeq)
            SELECT 1 + seq, 10000000000 + seq * 7919 MOD 100003 + seq DIV 13, {BEGIN} + seq * {SPAN} DIV {rows},
              200 + seq MOD 90, seq MOD 13
            FROM seq_{first}_to_{last}""",
            database,
        )


def load(url: str, folder: Path) -> None:
    """The measured work, in a child: prints the seconds and the rows landed."""
    settings = folder / "tables.yaml"
    settings.write_text(SETTINGS)
    started = time.monotonic()
    with closing(open_source(url)) as source, closing(open_warehouse()) as warehouse:
        config = load_config(settings=settings)
        (run,) = extract(source, warehouse, config, Clock(parse_time(AT)), tables=["uni_tracking_spath"])
    print(json.dumps({"seconds": time.monotonic() - started, "rows": run.landed.rows_landed}))


def measure(url: str, folder: Path, rows: int) -> dict[str, float]:
    """One first load of the whole table into an empty warehouse."""
    warehouse = folder / "warehouse.duckdb"
    warehouse.unlink(missing_ok=True)
    command = [sys.executable, "-m", "bench.extract", "--child", url, "--folder", str(folder)]
    environment = {"ORDER_TRACKING_DUCKDB": str(warehouse), "PYTHON_DOTENV_DISABLED": "1"}
    result, told = _measured(command, folder, environment, subprocess.PIPE)
    result |= json.loads(told)
    if result["rows"] != rows:
        raise SystemExit(f"{result['rows']:,} of {rows:,} rows landed")
    return {**result, "rows_per_second": rows / result["seconds"]}


def read_alone(url: str, folder: Path, rows: int) -> dict[str, float]:
    """The same rows read by MariaDB's client, which only writes them to /dev/null."""
    address = Address.parse(url)
    command = ["mariadb", "--no-defaults", "--quick", "--batch", "--skip-column-names"]
    command += [f"--host={address.host}", f"--port={address.port}", f"--user={address.user}"]
    command += ["--execute=SELECT * FROM uni_tracking_spath", address.database]
    result, _ = _measured(command, folder, {"MYSQL_PWD": address.password}, subprocess.DEVNULL)
    return {**result, "seconds": result["wall"], "rows_per_second": rows / result["wall"]}


def _measured(command: list[str], folder: Path, environment: dict[str, str], out: int) -> tuple[dict[str, Any], str]:
    """What a command cost (see bench.measure), and what it printed where `out` is a pipe."""
    cost = folder / "cost.json"
    told = subprocess.run(
        [sys.executable, "-m", "bench.measure", str(cost), *command],
        env=os.environ | environment,
        stdout=out,
        text=True,
        check=True,
    ).stdout
    result: dict[str, Any] = json.loads(cost.read_text())
    if result.pop("exit"):
        raise SystemExit(f"{command[0]} failed; its message stands above")
    return result, told


@click.command(help=__doc__)
@click.option("--rows", "sizes", type=int, multiple=True, default=(1_000_000, 10_000_000), show_default=True)
@click.option("--rounds", type=int, default=5, show_default=True)
@click.option("--results", type=click.Path(path_type=Path), default=KEPT)
@click.option("--child", metavar="URL", hidden=True)
@click.option("--folder", "child_folder", type=click.Path(path_type=Path), hidden=True)
def main(sizes: tuple[int, ...], rounds: int, results: Path, child: str | None, child_folder: Path | None) -> None:
    if child and child_folder:
        load(child, child_folder)
        return
    from bench.__main__ import machine
    from tests.support.mariadb_server import MariaDB

    with MariaDB() as server, tempfile.TemporaryDirectory() as folder:
        for rows in sizes:
            database = f"bench_{rows}"
            fill(server, database, rows)
            url, alone, loads = server.url(database), [], []
            for _ in range(rounds):
                alone.append(read_alone(url, Path(folder), rows))
                loads.append(measure(url, Path(folder), rows))
            write_extract(results, rows, READING_ALONE, alone, machine())
            write_extract(results, rows, "MySQL to landed", loads, machine())
            pairs = zip(loads, alone, strict=True)
            share = statistics.median(load["rows_per_second"] / read["rows_per_second"] for load, read in pairs)
            print(f"landed at {share:.0%} of the rate at which that client reads alone")
            server.execute(f"DROP DATABASE {database}")


if __name__ == "__main__":
    main()
