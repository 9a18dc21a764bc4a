"""A day of order tracking in about a minute, on a simulated source and a warehouse of its own in demo/.

    python -m scripts.demo [--every-cycle]

Eight months of orders, their first load, a day of 15-minute cycles on a simulated clock (the source goes on before
each), the daily reconcile and checks, and the repair of what the checks found. Every run starts anew and shows the
same orders. Where the machine is too slow to run all 96 cycles within a minute, the rest of the day comes in with one,
as it does after missed cycles; --every-cycle runs them all.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import duckdb
from tqdm import tqdm

from extract.settings import PROJECT

FOLDER = Path("demo")
SOURCE, WAREHOUSE = FOLDER / "source.duckdb", FOLDER / "warehouse.duckdb"
ORDERS, MONTHS, SEED = 12_000, 8, 6
SETTINGS = {"ORDER_TRACKING_GATEWAY": "local", "ORDER_TRACKING_HISTORY_START": "2024_h1"}
START = dt.datetime(2026, 2, 2, 0, 0, 30, tzinfo=dt.UTC)
QUARTER_HOUR = dt.timedelta(minutes=15)
CYCLES = 96
BUDGET_SECONDS = 58
AFTER_THE_DAY = 7
"""What follows the single cycles takes as long as so many of them."""
FEWEST_CYCLES = 8
"""So many single cycles in any case, or there would be nothing to see."""

TABLES = (
    ("order_tracking.mart_uni_tracking_info", "active order (its current status)"),
    ("order_tracking.mart_ecs_order_info", "active order (partner, creation)"),
    ("order_tracking.mart_uni_tracking_spath", "scan of the last six months"),
    ("order_tracking_history.hist_uti_all", "archived order"),
    ("order_tracking_history.hist_ecs_all", "archived order"),
    ("order_tracking_history.hist_uts_all", "archived scan"),
    ("order_tracking_raw.uni_tracking_info_raw", "landed version of a status"),
    ("order_tracking_raw.ecs_order_info_raw", "landed order"),
    ("order_tracking_raw.uni_tracking_spath_raw", "landed scan"),
    ("order_tracking_raw.rejected_rows", "row that could not be placed"),
    ("order_tracking_history.order_tracking_exceptions", "finding of the checks"),
)

QUERIES = (
    (
        "What is the current status of partner 1's active orders?",
        "SELECT status, COUNT(*) AS orders, MAX(updated_at) AS last_update FROM order_tracking.order_status "
        "WHERE partner_id = 1 GROUP BY status ORDER BY status",
    ),
    (
        "Which of its orders were scanned with code 200 in the last week?",
        "SELECT order_id, COUNT(*) AS scans FROM order_tracking.mart_ecs_order_info JOIN "
        "order_tracking.mart_uni_tracking_spath USING (order_id) WHERE partner_id = 1 AND code = 200 "
        "AND pathtime >= epoch(TIMESTAMP '2026-01-27') GROUP BY order_id ORDER BY scans DESC, order_id LIMIT 5",
    ),
    (
        "What is the whole history of one order, and where does each scan live?",
        "SELECT scanned_at, code, lives_in FROM order_tracking.order_timeline WHERE order_id = {order} "
        "ORDER BY pathtime, traceseq",
    ),
)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 done, 1 failed, 75 another demo is running."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every-cycle", action="store_true", help="all 96 cycles one by one, however long it takes")
    parser.set_defaults(gateway="local")
    from scripts.command import run_command

    _own_settings()
    return run_command(parser, lambda options: _demo(options.every_cycle), arguments)


def _demo(every_cycle: bool) -> int:
    started = time.monotonic()
    os.chdir(PROJECT)
    _start_anew()
    from bench.simulate import simulate, simulated_trace
    from bench.source_writer import SourceWriter
    from scripts.run_cycle import Cycle, run_cycle

    source = f"duckdb:///{SOURCE}"
    midnight = START + CYCLES * QUARTER_HOUR

    def cycle_at(moment: dt.datetime, since: dt.datetime | None = None) -> Cycle:
        with SourceWriter(source) as writer:
            writer.advance(to_come, int(moment.timestamp()))
        return run_cycle(at=moment, source=source, reconcile_since=since)

    with _step(f"A source with {MONTHS} months of orders") as told:
        rows = simulate(source, orders=ORDERS, months=MONTHS, seed=SEED, at=START, progress=False)
        told.append(", ".join(f"{table} {count:,}" for table, count in rows.items()))
        to_come = simulated_trace(ORDERS, MONTHS, SEED, midnight + QUARTER_HOUR, since=START)
    with _step("First load: plan, extract, marts") as told:
        first = run_cycle(at=START, source=source)
        told.append(", ".join(f"{phase.name} {phase.seconds:.1f} s" for phase in first.phases))

    deadline = None if every_cycle else started + BUDGET_SECONDS
    seconds = []
    # DuckDB opens and closes a file for a fifth of such a cycle's time; one that is open already costs nothing.
    with closing(duckdb.connect(str(SOURCE))), closing(duckdb.connect(str(WAREHOUSE))):
        for moment in _day(deadline):
            seconds.append(cycle_at(moment).seconds)
    if len(seconds) < CYCLES - 1:
        # An hour before midnight: what lands in the last half-hour of a day is not judged by that day's checks.
        with _step(f"  {len(seconds)} of {CYCLES} cycles took the time there is; the rest of the day with one"):
            cycle_at(START + (CYCLES - 4) * QUARTER_HOUR)
        print("  All of them, one by one: make demo ARGS=--every-cycle")
    with _step("The cycle after midnight: reconcile, checks") as told:
        last = cycle_at(midnight, midnight - dt.timedelta(days=35))
        told.append(", ".join(f"{phase.name} {phase.seconds:.1f} s" for phase in last.phases))

    print(f"\nWhat each table holds at {midnight:%Y-%m-%d %H:%M}")
    _print_rows(("table", "rows", "one row is"), _counts())
    print("\nWhat was archived during the day, and where")
    _print_rows(("history table", "rows"), _archived_since(START))
    print("\nWhat the checks found (one line a finding)")
    _exceptions("list", at=midnight)
    orders = _returned_orders()
    print(f"\nOrders that came back after half a year, their metadata still in history: {len(orders)}. Restoring them:")
    _exceptions("restore", "--all", at=midnight)
    with _step("The next cycle takes them into the mart"):
        seconds.append(cycle_at(midnight + QUARTER_HOUR).seconds)
    left = len(set(orders) & set(_orders_without_partner()))
    print(f"  order_status shows a partner for {len(orders) - left} of them; the next daily check closes the findings.")

    print("\nCycle times")
    quarter = QUARTER_HOUR.total_seconds()
    for name, value in (
        ("median", statistics.median(seconds)),
        ("slowest", max(seconds)),
        ("first load", first.seconds),
    ):
        print(f"  {name:<10} {value:6.2f} s  {value / quarter:.2%} of the 15 minutes")
    _print_what_next(orders[0] if orders else _any_order(), midnight + 2 * QUARTER_HOUR)
    print(f"\nDone in {time.monotonic() - started:.0f} s. Everything is in {FOLDER}/; the next demo starts anew.")
    return 0


def _own_settings() -> None:
    """The demo never touches the user's warehouse nor alerts anybody, whatever the environment or a .env file say."""
    os.environ.update(SETTINGS, ORDER_TRACKING_DUCKDB=str(WAREHOUSE), PYTHON_DOTENV_DISABLED="1")
    for name in [name for name in os.environ if name.startswith("ALERT_") or name == "ORDER_TRACKING_START"]:
        del os.environ[name]


def _start_anew() -> None:
    from extract.lock import run_lock

    FOLDER.mkdir(exist_ok=True)
    with run_lock("local"):
        for file in (SOURCE, WAREHOUSE):
            for path in (file, file.with_name(file.name + ".wal")):
                path.unlink(missing_ok=True)


def _day(deadline: float | None) -> Iterator[dt.datetime]:
    """The moments of the day's cycles, all but the one after midnight; ends early at the deadline."""
    terminal = sys.stderr.isatty()
    moments = [START + n * QUARTER_HOUR for n in range(1, CYCLES)]
    print(f"A day of 15-minute cycles, from {START:%Y-%m-%d %H:%M}", flush=True)
    began = time.monotonic()
    with tqdm(moments, unit="cycle", disable=not terminal, leave=False) as bar:
        for number, moment in enumerate(bar):
            now = time.monotonic()
            after = AFTER_THE_DAY * (now - began) / max(number, 1)
            if deadline is not None and number >= FEWEST_CYCLES and now + after > deadline:
                return
            bar.set_description(f"{moment:%H:%M}")
            yield moment
            if not terminal and moment.minute == 0 and moment.hour % 6 == 0:
                print(f"  {moment:%H:%M}", flush=True)


@contextmanager
def _step(title: str) -> Iterator[list[str]]:
    """Prints what is done, and how long it took with what was told meanwhile."""
    print(title, end=" ... ", flush=True)
    started = time.monotonic()
    told: list[str] = []
    yield told
    print(f"{time.monotonic() - started:.1f} s")
    for line in told:
        print(f"  {line}")


def _query(sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with closing(duckdb.connect(str(WAREHOUSE))) as warehouse:
        return warehouse.execute(sql, values).fetchall()


def _counts() -> list[tuple[Any, ...]]:
    return [(table, _query(f"SELECT COUNT(*) FROM {table}")[0][0], grain) for table, grain in TABLES]


def _archived_since(moment: dt.datetime) -> list[tuple[Any, ...]]:
    each = " UNION ALL ".join(
        f"SELECT 'hist_{short}_' || period, COUNT(*) FROM order_tracking_history.hist_{short}_all "
        "WHERE archived_at > $1 GROUP BY 1"
        for short in ("uti", "ecs", "uts")
    )
    return _query(f"SELECT * FROM ({each}) ORDER BY ALL", moment.replace(tzinfo=None))


def _orders_without_partner() -> list[int]:
    rows = _query("SELECT order_id FROM order_tracking.order_status WHERE partner_id IS NULL ORDER BY 1")
    return [row[0] for row in rows]


def _returned_orders() -> list[int]:
    rows = _query(
        "SELECT DISTINCT order_id FROM order_tracking_history.order_tracking_exceptions "
        "WHERE check_name = 'order_without_ecs' AND resolved_at IS NULL ORDER BY 1"
    )
    return [row[0] for row in rows]


def _any_order() -> int:
    return int(_query("SELECT MIN(order_id) FROM order_tracking.mart_uni_tracking_info")[0][0])


def _exceptions(*arguments: str, at: dt.datetime) -> None:
    from scripts.exceptions import main as exceptions

    exceptions(["--at", at.isoformat(), *arguments])


def _print_rows(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table: numbers to the right, text to the left."""
    if not rows:
        print("  nothing")
        return
    shown = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    widths = [max(len(line[column]) for line in [list(header), *shown]) for column in range(len(header))]
    for line in (header, *shown):
        cells = [
            cell.rjust(width) if isinstance(rows[0][column], int) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  " + "  ".join(cells).rstrip())


def _print_what_next(order: int, next_cycle: dt.datetime) -> None:
    print("\nWhat to try next, as printed:")
    for question, sql in QUERIES:
        print(f"\n# {question}")
        statement = sql.format(order=order)
        print(f'.venv/bin/python -c "import duckdb; duckdb.connect(\'{WAREHOUSE}\').sql(\\"{statement}\\").show()"')
    print("\n# One more cycle, and what is open")
    own = SETTINGS | {"ORDER_TRACKING_DUCKDB": WAREHOUSE, "ORDER_TRACKING_SOURCE": f"duckdb:///{SOURCE}"}
    settings = " ".join(f"{name}={value}" for name, value in own.items())
    print(f"{settings} make cycle ARGS='--at {next_cycle:%Y-%m-%dT%H:%M:%S}'")
    print(f"{settings} make audit")


if __name__ == "__main__":
    raise SystemExit(main())
