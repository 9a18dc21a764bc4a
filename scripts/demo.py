"""An evening of order tracking on a simulated source, with a warehouse of its own in demo/: `order-tracking demo`.

First load, quarter-hour cycles on a simulated clock (the source goes on before each), the cycle after midnight with
reconcile and checks, what was archived, and an order that comes back after half a year. Every run starts anew and shows
the same orders.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from bench.lifecycles import TRACE_SCHEMA
from bench.simulate import simulate, simulated_trace
from bench.source_writer import SourceWriter
from extract.clock import Clock, reconcile_start
from extract.lock import run_lock
from extract.settings import PROJECT
from extract.tables import load_config
from extract.warehouse import open_warehouse
from scripts.cycle import Cycle
from scripts.display import table, tell
from scripts.exceptions import restorable_orders, restore
from scripts.run_cycle import run_cycle

FOLDER = PROJECT / "demo"
ORDERS, MONTHS, SEED = 3_000, 8, 6
MIDNIGHT = dt.datetime(2026, 2, 3, 0, 0, 30, tzinfo=dt.UTC)
QUARTER_HOUR = dt.timedelta(minutes=15)
CYCLES = 3
"""Before the night's. At least three: what lands after 23:30 is not judged by that night's checks."""

QUERIES = (
    (
        "The current status of partner 1's active orders",
        "SELECT status, COUNT(*) AS orders, MAX(updated_at) AS last_update FROM order_tracking.order_status "
        "WHERE partner_id = 1 GROUP BY status ORDER BY status",
    ),
    (
        "The whole history of the order that came back, and where each scan lives",
        "SELECT scanned_at, code, lives_in FROM order_tracking.order_timeline WHERE order_id = {order} "
        "ORDER BY pathtime, traceseq",
    ),
)


class Demo:
    """One demo: its two files, and what is still to come in the source."""

    def __init__(self, folder: Path):
        self.source_file, self.warehouse_file = folder / "source.duckdb", folder / "warehouse.duckdb"
        self.source = f"duckdb:///{self.source_file}"
        self.to_come: pa.Table = TRACE_SCHEMA.empty_table()

    def cycle(self, moment: dt.datetime, **options: Any) -> Cycle:
        """Brings the source to a moment, and then the warehouse."""
        with SourceWriter(self.source) as writer:
            writer.advance(self.to_come, int(moment.timestamp()))
        return run_cycle(at=moment, source=self.source, **options)

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(duckdb.connect(str(self.warehouse_file))) as warehouse:
            return warehouse.execute(sql, values).fetchall()

    def scan(self, order: int, moment: dt.datetime) -> None:
        """An order is to be scanned at a moment."""
        ((partner,),) = self.query(
            "SELECT partner_id FROM order_tracking_history.hist_ecs_all WHERE order_id = ?", order
        )
        second = int(moment.timestamp())
        row = {"order_id": order, "partner_id": partner, "path_time": second - 60, "arrival_time": second}
        scan = pa.Table.from_pylist([row | {"code": 200, "trace_seq": 999}], TRACE_SCHEMA)
        self.to_come = pa.concat_tables([self.to_come, scan]).sort_by("arrival_time")


def demo(cycles: int | None = None, folder: Path = FOLDER) -> None:
    """Shows an evening with so many quarter-hour cycles before the night."""
    with own_settings(folder) as settings:
        _evening(Demo(folder), cycles or CYCLES, settings)


@contextmanager
def own_settings(folder: Path) -> Iterator[dict[str, str]]:
    """The demo's own warehouse and nobody to alert, whatever the environment or .env say; put back at the end."""
    folder.mkdir(exist_ok=True)
    before = dict(os.environ)
    settings = {
        "PYTHON_DOTENV_DISABLED": "1",
        "ORDER_TRACKING_GATEWAY": "local",
        "ORDER_TRACKING_HISTORY_START": "2024_h1",
        "ORDER_TRACKING_DUCKDB": str(folder / "warehouse.duckdb"),
        "ORDER_TRACKING_SOURCE": f"duckdb:///{folder / 'source.duckdb'}",
        **{name: "" for name in before if name.startswith(("ALERT_", "STATUS_"))},
    }
    os.environ.update(settings)
    try:
        yield settings
    finally:
        os.environ.clear()
        os.environ.update(before)


def _evening(demo: Demo, cycles: int, settings: dict[str, str]) -> None:
    began = time.monotonic()
    with run_lock("local"):
        for file in (demo.source_file, demo.warehouse_file):
            for path in (file, file.with_name(f"{file.name}.wal")):
                path.unlink(missing_ok=True)
    start = MIDNIGHT - (cycles + 1) * QUARTER_HOUR

    _title("1  First load")
    with _step(f"A source with {MONTHS} months of orders"):
        rows = simulate(demo.source, orders=ORDERS, months=MONTHS, seed=SEED, at=start)
    tell(table(("source table", "rows"), list(rows.items())))
    demo.to_come = simulated_trace(ORDERS, MONTHS, SEED, MIDNIGHT + QUARTER_HOUR, since=start)
    with _step("Plan, extract, marts"):
        run_cycle(at=start, source=demo.source)
    _show_where_rows_live(demo)

    returning = _an_archived_order(demo)
    # In the second cycle: the first one looks at the first load's rows once more, and would restore it by itself.
    demo.scan(returning, start + 2 * QUARTER_HOUR - dt.timedelta(minutes=3))
    _title("2  Quarter-hour cycles")
    # DuckDB opens and closes a file for a fifth of such a cycle's time; one that is open already costs nothing.
    with closing(duckdb.connect(str(demo.source_file))), closing(duckdb.connect(str(demo.warehouse_file))):
        for number in range(1, cycles + 1):
            _show_cycle(demo, start + number * QUARTER_HOUR)
    tell(f"Among them order {returning}, which was archived:\nit is scanned again after half a year.")

    _title("3  The night: reconcile and checks")
    _show_cycle(demo, MIDNIGHT, reconcile_since=reconcile_start(None, MIDNIGHT))
    findings = demo.query(
        "SELECT check_name, COUNT(*) FROM order_tracking_history.order_tracking_exceptions "
        "WHERE resolved_at IS NULL GROUP BY 1 ORDER BY 1"
    )
    tell(table(("what the checks found", "rows"), findings) if findings else "The checks found nothing.")

    _title("4  What was archived since, and where")
    archived = _archived_since(demo, start)
    tell(table(("history table", "rows"), archived) if archived else "Nothing.")

    _title("5  An order that came back")
    _restore(demo)

    _title("6  What to try next")
    _show_what_next(demo, returning, settings)

    _title("7  How it stands")
    _write_page(demo)
    tell(f"\nDone in {time.monotonic() - began:.0f} s. The next demo starts anew.")


def _title(text: str) -> None:
    tell(f"\n{text}\n{'-' * len(text)}")


@contextmanager
def _step(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    tell(f"{what}: {time.monotonic() - began:.1f} s")


def _show_cycle(demo: Demo, moment: dt.datetime, **options: Any) -> None:
    """A line a cycle: moment, seconds, rows landed, rows archived."""
    before = _archived(demo)
    cycle = demo.cycle(moment, **options)
    landed = sum(phase.rows.get("landed", 0) for phase in cycle.phases)
    archived = max(_archived(demo) - before, 0)
    tell(f"{moment:%H:%M}  {cycle.seconds:5.1f} s  {landed:4,} landed  {archived:4,} archived")


def _archived(demo: Demo) -> int:
    views = (f"SELECT COUNT(*) AS rows FROM order_tracking_history.hist_{alias}_all" for alias in ("uti", "ecs", "uts"))
    return int(demo.query(f"SELECT SUM(rows) FROM ({' UNION ALL '.join(views)}) AS counted")[0][0])


def _show_where_rows_live(demo: Demo) -> None:
    def count(name: str) -> int:
        return int(demo.query(f"SELECT COUNT(*) FROM {name}")[0][0])

    rows = [
        (what, count(f"order_tracking.mart_{mart}"), count(f"order_tracking_history.hist_{alias}_all"))
        for what, mart, alias in (
            ("statuses", "uni_tracking_info", "uti"),
            ("orders", "ecs_order_info", "ecs"),
            ("scans", "uni_tracking_spath", "uts"),
        )
    ]
    tell(table(("", "in the mart", "archived"), rows))


def _archived_since(demo: Demo, moment: dt.datetime) -> list[tuple[Any, ...]]:
    each = " UNION ALL ".join(
        f"SELECT 'hist_{alias}_' || period, COUNT(*) FROM order_tracking_history.hist_{alias}_all "
        "WHERE archived_at > $1 GROUP BY 1"
        for alias in ("uti", "ecs", "uts")
    )
    return demo.query(f"SELECT * FROM ({each}) ORDER BY ALL", moment.replace(tzinfo=None))


def _an_archived_order(demo: Demo) -> int:
    return int(demo.query("SELECT MIN(order_id) FROM order_tracking_history.hist_uti_all")[0][0])


def _restore(demo: Demo) -> None:
    """Brings the metadata of the orders that came back into the mart again."""

    def partners() -> list[tuple[Any, ...]]:
        return demo.query(
            f"SELECT order_id::VARCHAR, status, partner_id FROM order_tracking.order_status "
            f"WHERE order_id IN ({', '.join(map(str, orders))}) ORDER BY 1"
        )

    with run_lock("local"), closing(open_warehouse("local")) as warehouse:
        orders = restorable_orders(warehouse)
        if not orders:
            tell("None did.")
            return
    header = ("order", "status", "partner")
    tell("Its status is in the mart again, its metadata still in history:")
    tell(table(header, partners()))
    with run_lock("local"), closing(open_warehouse("local")) as warehouse:
        restore(warehouse, load_config(), orders, Clock(MIDNIGHT))
    tell("order-tracking exceptions restore --all: landed.")
    _show_cycle(demo, MIDNIGHT + QUARTER_HOUR)
    tell(table(header, partners()))
    tell("The next daily check closes the finding.")


def _show_what_next(demo: Demo, order: int, settings: dict[str, str]) -> None:
    """Commands to paste into a shell in the project's folder."""
    own = demo.warehouse_file.with_name("settings")
    own.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), encoding="utf-8")
    tell("Paste each line in the project's folder.")
    for what, sql in QUERIES:
        python = (
            f"import duckdb; duckdb.connect('{_short(demo.warehouse_file)}').sql(\\\"{sql.format(order=order)}\\\")"
        )
        tell(f'\n# {what}\n{_short(Path(sys.executable))} -c "{python}.show()"')
    with_settings = f"env $(cat {_short(own)}) {_short(Path(sys.executable).with_name('order-tracking'))}"
    tell(f"\n# One more cycle\n{with_settings} cycle --at {MIDNIGHT + 2 * QUARTER_HOUR:%Y-%m-%dT%H:%M:%S}")
    tell(f"\n# What is open\n{with_settings} exceptions list")


def _write_page(demo: Demo) -> None:
    from scripts.page.after_cycle import write_page_at

    page = demo.warehouse_file.with_name("status.html")
    with _step("The status page"):
        warnings = write_page_at(str(page), "local", Clock(MIDNIGHT + QUARTER_HOUR))
    tell("\n".join(warnings) or f"Open it in a browser:\n{_short(page)}")


def _short(path: Path) -> str:
    """As it is written in the project's folder."""
    return str(path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else path)


if __name__ == "__main__":
    from scripts.cli import main

    raise SystemExit(main(["demo", *sys.argv[1:]]))
