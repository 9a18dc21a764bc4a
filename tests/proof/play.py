"""Playing a history through the project and the oracle side by side, and cutting a failing one down.

    python -m tests.proof.play [--histories N] [--seed S] [--processes P]

plays N histories from seed S on (default: a new one each time) in P processes (default: one for each core) and prints
what they held. A failing one ends the run with its seed and the smallest part of it that still fails;
`SEED=123 make prove` plays that one again.
"""

from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import click
import duckdb
from rich.console import Console
from rich.progress import Progress

from extract.crc32 import add_crc32
from extract.errors import ExtractFailed, SourceError
from extract.source import SourceTable, TimeRange
from extract.source_reads import Batches
from extract.tables import load_config
from scripts.exceptions import restore
from tests.proof import engine, oracle
from tests.proof.engine import MemorySource, memory_engine, project_models, utc
from tests.proof.histories import KINDS, History, Step, apply_to_oracle
from tests.proof.oracle import ECS, UTI, UTS, Oracle, Row
from tests.support.world import make_tables, put

VERSION = {table: ", ".join((*columns, "landed_at")) for table, columns in oracle.COLUMNS.items()}
SHORT = {UTI: "uti", ECS: "ecs", UTS: "uts"}
OBSERVED = {
    **{table: f"SELECT {VERSION[table]} FROM order_tracking_raw.{table}_raw" for table in VERSION},
    **{SHORT[table]: f"SELECT {VERSION[table]} FROM order_tracking.mart_{table}" for table in VERSION},
    **{
        f"hist_{SHORT[table]}": f"SELECT period, {VERSION[table]}, archived_at "
        f"FROM order_tracking_history.hist_{SHORT[table]}_all"
        for table in VERSION
    },
    "rejected": "SELECT table_name, order_id, reason, payload FROM order_tracking_raw.rejected_rows",
    "exceptions": """SELECT check_name, table_name, order_id, detail, resolved_at IS NULL
                     FROM order_tracking_history.order_tracking_exceptions WHERE check_name <> 'source_differs'""",
}

UNKNOWN = {
    table.name: "".join(f", {column}=NULL" for column in table.columns if column not in oracle.COLUMNS[table.name])
    for table in load_config().tables
}
"""How a rejected row tells the columns that the oracle does not know."""

Observed = dict[str, Counter[Row]]


class NotAsItMustBe(AssertionError):
    """The warehouse is not where the oracle says, or breaks an invariant."""


class FailingSource(MemorySource):
    """A source that gives up one table after its first rows."""

    gives_up: str | None = None

    def read(self, table: SourceTable, ranges: Sequence[TimeRange], **options: Any) -> Batches:
        for batch in super().read(table, ranges, **options):
            yield batch.slice(0, batch.num_rows // 2) if table.name == self.gives_up else batch
        if table.name == self.gives_up:
            raise SourceError(f"the source gave up {table.name}")


@dataclass
class Player:
    """A source, a warehouse and the oracle, at the same point of a history."""

    started: int
    history_start: str
    cycles: int = 0
    rows: int = 0
    newest: dict[int, int] = field(default_factory=dict)
    """The newest status that was ever seen of each order."""
    before: Observed = field(default_factory=dict)
    """What was seen after the step before."""
    purged: set[int] = field(default_factory=set)
    """Numbers that the source has taken from an order and may have given to another: the oracle tells them apart."""
    reported: set[int] = field(default_factory=set)
    """Numbers that an exception named as used again."""
    unrestored: set[int] = field(default_factory=set)
    """Orders that came back, or whose archived status was renewed, while their metadata stayed in history."""

    def __post_init__(self) -> None:
        self.oracle = Oracle(self.started, self.history_start)
        self.engine = memory_engine(self.started, self.history_start)
        self.connection = duckdb.connect(":memory:", config={"threads": 1})
        add_crc32(self.connection)
        make_tables(self.connection, wide=True)
        self.source = FailingSource(self.connection)

    def close(self) -> None:
        self.connection.close()
        self.engine.connection.close()

    def play(self, steps: Sequence[Step]) -> None:
        """Raises NotAsItMustBe at the first step after which something is wrong."""
        for number, step in enumerate(steps):
            apply_to_oracle(self.oracle, step)
            self.apply(step)
            if step[0] not in ("row", "status", "purge"):
                self.compare(f"after step {number}, {step}")
        if steps and steps[-1][0] == "cycle":
            self.assert_source_is_held()

    def apply(self, step: Step) -> None:
        """One step, through the project."""
        match step:
            case ("row", table, row):
                self.insert(table, row)
            case ("status", row):
                self.connection.execute(f"DELETE FROM {UTI} WHERE order_id = ?", [row[0]])
                self.insert(UTI, row)
            case ("purge", order):
                self.purged.add(order)
                for table in oracle.COLUMNS:
                    self.connection.execute(f"DELETE FROM {table} WHERE order_id = ?", [order])
            case ("cycle", now, since):
                self.engine.cycle(self.source, now, reconcile_since=since)
                self.cycles += 1
            case ("extract", now, None):
                self.engine.extract(self.source, now)
            case ("extract", now, outage):
                self.extract_with_outage(now, outage)
            case ("run", now):
                self.engine.run(now)
                self.cycles += 1
            case ("repeat",):
                self.engine.repeat()
                self.cycles += 1
            case ("restore", now, orders):
                restore(self.engine.warehouse, self.engine.config, orders, engine.Clock(utc(now)))

    def insert(self, table: str, row: Row) -> None:
        put(self.connection, table, [row])
        self.rows += 1

    def extract_with_outage(self, now: int, table: str) -> None:
        self.source.gives_up = table
        try:
            self.engine.extract(self.source, now)
        except ExtractFailed:
            return
        finally:
            self.source.gives_up = None
        raise NotAsItMustBe("an extract that could not read a table did not fail")

    # What is compared

    def compare(self, told: str) -> None:
        seen = observed(self.engine.connection)
        self.assert_invariants(seen, told)
        for what, rows in expected(self.oracle).items():
            if seen[what] != rows:
                raise NotAsItMustBe(
                    f"{what} {told}: missing {list((rows - seen[what]).elements())[:5]}, "
                    f"surplus {list((seen[what] - rows).elements())[:5]}"
                )

    def assert_invariants(self, seen: Observed, told: str) -> None:
        """The promises themselves, whatever the oracle says."""
        self.reported |= {row[2] for row in seen["exceptions"] if row[0] == "order_number_reused"}
        marks = (("uti", 1), ("ecs", 2), ("hist_uti", 1), ("hist_ecs", 2))
        uti, ecs, old_uti, old_ecs = (self.marked(seen, what, at) for what, at in marks)
        for what, orders in (("uti", orders_of(seen, "uti")), ("ecs", orders_of(seen, "ecs"))):
            hold(max(orders.values(), default=1) == 1, f"I1: one row per order in {what} {told}")
        for what, orders in (("hist_uti", old_uti), ("hist_ecs", old_ecs)):
            hold(max(orders.values(), default=1) == 1, f"I1: one row per order in {what} {told}")
        scans = Counter(row[:4] for row in seen["uts"].elements()) + Counter(
            row[1:5] for row in seen["hist_uts"].elements()
        )
        hold(max(scans.values(), default=1) == 1, f"I1: one row per scan across uts and its history {told}")
        hold(not set(uti) & set(old_uti), f"I4: an active order is not in hist_uti {told}")
        hold(not set(ecs) & set(old_ecs), f"ecs is in one place {told}")
        times: dict[int, int] = {}
        for order, time_held in chain(
            ((row[0], row[3]) for row in seen["uti"]), ((row[1], row[4]) for row in seen["hist_uti"])
        ):
            times[order] = max(times.get(order, 0), time_held)
        for order, time_before in self.newest.items():
            hold(order in times, f"I2: order {order} is in mart or history {told}")
            hold(times[order] >= time_before, f"I6: order {order} did not go back {told}")
        self.newest = times
        if self.before:
            self.assert_what_left_is_in_history(seen, told)
        self.assert_an_order_lies_in_one_half_year(seen, told)
        self.before = seen

    def marked(self, seen: Observed, what: str, mark: int) -> Counter[Row]:
        """Order number and what tells an order from another one of that number: tno, or when it was created.

        Without a tracking number nothing here tells them apart: such a number must be reported.
        """
        at = 1 if what.startswith("hist") else 0
        rows = Counter((row[at], row[at + mark]) for row in seen[what].elements())
        beyond = set(self.purged)
        if what in ("uti", "hist_uti"):
            beyond |= {order for order, tno in rows if order in self.reported and oracle.is_blank(tno)}
        return Counter({row: count for row, count in rows.items() if row[0] not in beyond})

    def assert_what_left_is_in_history(self, seen: Observed, told: str) -> None:
        """I3, from what was seen after the step before: what a mart no longer has, history holds."""
        left = {row[:4] for row in self.before["uts"]} - {row[:4] for row in seen["uts"]}
        lost = left - {row[1:5] for row in seen["hist_uts"]}
        hold(not lost, f"I3: a scan that left the mart is in history {told}: {sorted(lost, key=repr)[:5]}")
        for what, at in (("uti", 3), ("ecs", 2)):  # and there in this version, or one that came with the same step
            active = orders_of(seen, what)
            archived: dict[int, list[Row]] = {}
            for row in seen[f"hist_{what}"]:
                archived.setdefault(row[1], []).append(row[1:-1])
            for row in self.before[what]:
                held = [row] if row[0] in active else archived.get(row[0], [])
                kept = any(each == row or (each[at], each[-1]) > (row[at], row[-1]) for each in held)
                hold(kept, f"I3: what left {what} is in history {told}: {row}")

    def assert_an_order_lies_in_one_half_year(self, seen: Observed, told: str) -> None:
        """I5; not of an order whose metadata still waited for its restore when it fell silent again.

        Nor of a number with two orders in history: which metadata is whose the oracle says.
        """
        status, metadata = ({row[1]: row for row in seen[what]} for what in ("hist_uti", "hist_ecs"))
        renewed = {row[1] for row in self.before.get("hist_uti", ()) if status.get(row[1]) != row}
        self.unrestored = ((self.unrestored | renewed) & set(metadata)) - set(orders_of(seen, "ecs"))
        alone, reused = orders_of(seen, "hist_uti"), self.purged | self.reported
        for order in {each for each in set(status) & set(metadata) if alone[each] == 1} - self.unrestored - reused:
            same = status[order][0] == metadata[order][0]
            hold(same, f"I5: order {order} lies in one half-year {told}: {status[order]}, {metadata[order]}")
        split = (set(status) & set(orders_of(seen, "ecs"))) - set(orders_of(seen, "uti")) - reused
        hold(not split, f"I5: the metadata of an archived order is no longer in the mart {told}: {sorted(split)[:5]}")

    def assert_source_is_held(self) -> None:
        """I2 in the end, when all was reconciled: every row of the source that can be loaded is in its place."""
        seen = observed(self.engine.connection)
        scans = {row[:4] for row in seen["uts"]} | {row[1:5] for row in seen["hist_uts"]}
        lost = {row for row in self.oracle.source[UTS] if oracle.fault(UTS, row) is None} - scans
        hold(not lost, f"I2 in the end: a scan of the source is lost: {sorted(lost, key=repr)[:5]}")
        metadata = {row[:3] for row in seen["ecs"]} | {row[1:4] for row in seen["hist_ecs"]}
        orders = {row[0] for row in metadata}
        lost = {row for row in self.oracle.source[ECS] if oracle.fault(ECS, row) is None and row[0] not in orders}
        hold(not lost, f"I2 in the end: an order's metadata is lost: {sorted(lost, key=repr)[:5]}")
        lost = {
            row
            for row in self.oracle.source[UTI]
            if oracle.fault(UTI, row) is None and self.newest.get(row[0], 0) < row[3]
        }
        hold(not lost, f"I2 in the end: an order's status is lost: {sorted(lost, key=repr)[:5]}")


def orders_of(seen: Observed, what: str) -> Counter[int]:
    at = 1 if what.startswith("hist") else 0
    return Counter(row[at] for row in seen[what].elements())


def hold(promise: bool, told: str) -> None:
    if not promise:
        raise NotAsItMustBe(told)


def observed(connection: duckdb.DuckDBPyConnection) -> Observed:
    return {what: Counter(connection.execute(sql).fetchall()) for what, sql in OBSERVED.items()}


def expected(held: Oracle) -> Observed:
    """The oracle's warehouse in the shape of what is observed."""
    rows: Observed = {table: Counter(as_row(version) for version in held.raw[table]) for table in VERSION}
    for what, mart in (("uti", held.uti), ("ecs", held.ecs), ("uts", held.uts)):
        rows[what] = Counter(as_row(version) for version in mart.values())  # type: ignore[attr-defined]
    for what, archived in (
        ("hist_uti", chain.from_iterable(held.history_uti.values())),
        ("hist_ecs", chain.from_iterable(held.history_ecs.values())),
        ("hist_uts", held.history_uts.values()),
    ):
        rows[what] = Counter((each.period, *as_row(each.version), naive(each.at)) for each in archived)
    rows["rejected"] = Counter(
        (table, order, reason, payload + UNKNOWN[table]) for (table, payload), (order, reason) in held.rejected.items()
    )
    rows["exceptions"] = Counter((*key, True) for key in held.open)
    rows["exceptions"] += Counter({(*key, False): count for key, count in held.closed.items()})
    return rows


def as_row(version: oracle.Version) -> Row:
    return (*version.row, naive(version.landed))


def naive(moment: float) -> dt.datetime:
    """As a TIMESTAMP of the warehouse says it."""
    return dt.datetime.fromtimestamp(moment, dt.UTC).replace(tzinfo=None)


@dataclass
class Figures:
    """What the histories played so far held."""

    histories: int = 0
    cycles: int = 0
    rows: int = 0
    events: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)

    def add(self, others: Figures) -> None:
        self.histories += others.histories
        self.cycles += others.cycles
        self.rows += others.rows
        self.events += others.events
        self.kinds += others.kinds


def play_history(seed: int, figures: Figures | None = None) -> None:
    """Plays the history of a seed; a failure tells the seed and the smallest part that fails."""
    history = History(seed)
    player = Player(history.started, history.history_start)
    try:
        player.play(history.steps)
    except Exception as error:
        smallest, told = cut_down(history, kind_of(error))
        listed = "\n".join(f"    {step!r}," for step in smallest)
        raise NotAsItMustBe(
            f"history {seed} fails: {error}\n  play it again: SEED={seed} make prove\n  its smallest failing part "
            f"({told}), planned at {history.started}, history_start {history.history_start}:\n{listed}"
        ) from error
    finally:
        player.close()
    if figures is not None:
        figures.histories += 1
        figures.cycles += player.cycles
        figures.rows += player.rows
        figures.events += player.oracle.counts
        figures.kinds += history.drawn


def kind_of(error: Exception) -> str:
    """What is wrong, without the when and the which."""
    return f"{type(error).__name__} {str(error).split(' after ')[0].split(': ')[0]}"


def cut_down(history: History, kind: str, seconds: float = 60) -> tuple[list[Step], str]:
    """Leaves out steps, many at a time and then one by one, as long as what is left still fails in the same way."""
    until = time.monotonic() + seconds
    steps, told = list(history.steps), ""
    size = len(steps) // 2
    while size and time.monotonic() < until:
        at = 0
        while at < len(steps) and time.monotonic() < until:
            fewer = steps[:at] + steps[at + size :]
            error = failure_of(history, fewer)
            if error is None or kind_of(error) != kind:
                at += size
            else:
                steps, told = fewer, str(error)
        size //= 2
    return steps, told


def failure_of(history: History, steps: list[Step]) -> Exception | None:
    player = Player(history.started, history.history_start)
    try:
        player.play(steps)
    except Exception as error:
        return error
    finally:
        player.close()
    return None


def play_many(seeds: Sequence[int], processes: int, report: Callable[[], Any]) -> Figures:
    """Plays them in so many processes, and adds up what they held."""
    figures = Figures()
    project_models()  # loaded once, before the processes part
    with multiprocessing.get_context("fork").Pool(min(processes, len(seeds))) as pool:
        for played in pool.imap_unordered(figures_of, seeds):
            figures.add(played)
            report()
    return figures


def figures_of(seed: int) -> Figures:
    figures = Figures()
    play_history(seed, figures)
    return figures


@click.command()
@click.option("--histories", type=click.IntRange(1), default=100, metavar="N")
@click.option("--seed", type=int, help="Play this history, and so many after it as --histories says.")
@click.option(
    "--processes", type=click.IntRange(1), default=os.cpu_count() or 1, show_default=True, metavar="P", help="At once."
)
def main(histories: int, seed: int | None, processes: int) -> None:
    """Random histories against the oracle."""
    first = random.SystemRandom().randrange(10**9) if seed is None else seed
    started = time.monotonic()
    with Progress(
        console=Console(stderr=True), transient=True, auto_refresh=False, disable=not sys.stderr.isatty()
    ) as bars:
        bar = bars.add_task("histories", total=histories)
        try:
            figures = play_many(
                range(first, first + histories), processes, lambda: bars.update(bar, advance=1, refresh=True)
            )
        except NotAsItMustBe as error:
            print(error, file=sys.stderr)
            raise SystemExit(1) from None
    seconds = time.monotonic() - started
    print(
        f"{figures.histories} histories from seed {first}: {figures.cycles} cycles ({figures.cycles / seconds:.1f} a "
        f"second), {figures.rows} rows written by the source, {figures.events['archived']} orders archived, "
        f"{figures.events['came back']} came back. After each cycle the warehouse was where the oracle says."
    )
    never = [kind for kind in KINDS if not figures.kinds[kind]]
    if never:
        print(f"never drawn: {', '.join(never)}")


if __name__ == "__main__":
    main()
