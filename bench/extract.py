"""MySQL to landed rows: how many rows a second, and what memory, on a table of five columns in a real MariaDB.

    python -m bench.extract [--rows 1000000 10000000] [--rounds 5]

Each round is a whole `python -m extract` of one table into an empty DuckDB warehouse, in a process of its own. The rate
counts the time from opening the source to the last commit, as the command prints it; wall has the process start too.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.report import KEPT, write_extract

AT = "2025-09-15T12:15:00"
BEGIN, SPAN = 1_742_000_000, 180 * 86_400
# Four columns and the id are what the extractor reads of scans when a source has a monotonic id; a status has a text.
TABLE = """
CREATE TABLE uni_tracking_info (
  order_id BIGINT NOT NULL PRIMARY KEY, tno VARCHAR(64), status INT, update_time BIGINT, note VARCHAR(16),
  KEY (update_time)) ENGINE=InnoDB"""


def fill(server: Any, database: str, rows: int) -> None:
    """The table with so many rows, by time."""
    server.execute(f"CREATE DATABASE {database} CHARACTER SET utf8mb4")
    server.execute(TABLE, database)
    step = 1_000_000
    for first in range(0, rows, step):
        last = min(first + step, rows) - 1
        server.execute(
            f"""
            INSERT INTO uni_tracking_info
            SELECT 10000000000 + seq, CONCAT('T', 10000000000 + seq), 200 + seq MOD 90,
              {BEGIN} + seq * {SPAN} DIV {rows}, NULL
            FROM seq_{first}_to_{last}""",
            database,
        )


def project_with_five_columns(folder: Path) -> Path:
    """The extract's configuration for this table alone: every column, the fifth one too."""
    (folder / "tables.yaml").write_text(
        "buffer_minutes: 30\nchunk_rows: 2000000\ntables:\n  uni_tracking_info:\n"
        "    source: uni_tracking_info\n    time: update_time\n"
    )
    return folder


def measure(url: str, folder: Path, rows: int) -> dict[str, float]:
    """One extract of the whole table into an empty warehouse."""
    warehouse, cost = folder / "warehouse.duckdb", folder / "cost.json"
    warehouse.unlink(missing_ok=True)
    environment = os.environ | {"ORDER_TRACKING_DUCKDB": str(warehouse), "PYTHON_DOTENV_DISABLED": "1"}
    command = [sys.executable, "-m", "extract", "--source", url, "--at", AT, "--table", "uni_tracking_info"]
    done = subprocess.run(
        [sys.executable, "-m", "bench.measure", str(cost), *command],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    result: dict[str, float] = json.loads(cost.read_text())
    told = re.search(r"([\d.]+) s  ([\d,]+) rows read, ([\d,]+) landed", done.stdout)
    if result["exit"] or told is None or int(told[3].replace(",", "")) != rows:
        raise SystemExit(f"the extract did not land {rows:,} rows:\n{done.stdout}")
    seconds = float(told[1])
    return {**result, "seconds": seconds, "rows_per_second": rows / seconds}


def main() -> int:
    from tests.mariadb_server import MariaDB

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--results", type=Path, default=KEPT)
    options = parser.parse_args()
    from bench.__main__ import machine

    with MariaDB() as server, tempfile.TemporaryDirectory() as folder:
        for rows in options.rows:
            database = f"bench_{rows}"
            fill(server, database, rows)
            rounds = [measure(server.url(database), Path(folder), rows) for _ in range(options.rounds)]
            figures = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
            write_extract(options.results, rows, {**figures, "runs": len(rounds)}, machine())
            server.execute(f"DROP DATABASE {database}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
