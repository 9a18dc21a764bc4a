"""A process killed before and after every different statement: what the next run of the same cycle makes of it.

The cycle runs in a child process on a DuckDB file, which kills itself with SIGKILL at one statement. Then the cycle is
run again, and the warehouse must be the same as where nothing was ever interrupted, `archived_at` included. Which
cycles: those of random histories that between them execute every statement that any of these histories does.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from extract.crc32 import add_crc32
from tests.proof.engine import Engine
from tests.proof.histories import History, Step
from tests.proof.oracle import Row
from tests.proof.play import FailingSource, Observed, Player, observed
from tests.proof.scenes import STORIES
from tests.support.world import make_tables

CYCLES = ("cycle", "extract", "run", "repeat", "restore")
READS = ("SELECT", "WITH", "EXPLAIN", "PRAGMA", "SET", "SHOW", "FROM", "DESCRIBE")


class Watched:
    """A connection that keeps the statements which change something, and may kill its process at one of them."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, statements: list[str], kill_after: int | None = None):
        self._connection, self._statements, self._kill_after = connection, statements, kill_after

    def execute(self, sql: str, *args: Any) -> Watched:
        """Kills once so many changing statements were executed; one that failed (the source gave up) counts too."""
        if re.sub(r"/\*.*?\*/", "", sql).split(None, 1)[0].upper() in READS:
            self._connection.execute(sql, *args)
            return self
        self._kill()
        self._statements.append(sql)
        self._connection.execute(sql, *args)
        self._kill()
        return self

    def cursor(self) -> Watched:
        return Watched(self._connection.cursor(), self._statements, self._kill_after)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def _kill(self) -> None:
        if len(self._statements) == self._kill_after:
            os.kill(os.getpid(), signal.SIGKILL)


class Reached(dict[str, int]):
    """How far each model has come, kept in the warehouse's file as SQLMesh keeps it, model by model."""

    def __init__(self, world: FileWorld, values: dict[str, int]):
        super().__init__(values)
        self._world = world
        world.engine.connection.execute("CREATE TABLE reached (model VARCHAR, until BIGINT)")
        for model in values:
            world.engine.connection.execute("INSERT INTO reached VALUES (?, ?)", [model, values[model]])

    def __setitem__(self, model: str, until: int) -> None:
        super().__setitem__(model, until)
        self._world.engine.connection.execute("UPDATE reached SET until = ? WHERE model = ?", [until, model])

    def read(self) -> None:
        self.update(self._world.engine.connection.execute("FROM reached").fetchall())


class FileWorld(Player):
    """A source and a warehouse in files, so that a child process can work on them and die."""

    def __init__(self, folder: Path, started: int, history_start: str):
        self.folder = folder
        self.statements: list[str] = []
        super().__init__(started, history_start)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.close()
        self.engine = Engine(
            duckdb.connect(str(self.folder / "warehouse")),
            self.started,
            {"ORDER_TRACKING_HISTORY_START": self.history_start},
        )
        self.engine.reached = Reached(self, self.engine.reached)
        self.connection = self._source_file()
        make_tables(self.connection, wide=True)
        self.source = FailingSource(self.connection)

    def open(self, kill_after: int | None = None) -> None:
        """Opens both files, and finds how far the models have come."""
        config = {"threads": 1}
        self.statements = []
        self.engine.connection = Watched(
            duckdb.connect(str(self.folder / "warehouse"), config=config), self.statements, kill_after
        )  # type: ignore[assignment]
        self.connection = self._source_file(config=config)
        self.source._connection = self.connection
        self.engine.reached.read()  # type: ignore[attr-defined]

    def _source_file(self, **options: Any) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect(str(self.folder / "source"), **options)
        add_crc32(connection)
        return connection

    @contextmanager
    def opened(self) -> Iterator[None]:
        self.open()
        yield
        self.close()

    def keep(self) -> None:
        shutil.copy(self.folder / "warehouse", self.folder / "kept")

    def put_back(self) -> None:
        (self.folder / "warehouse.wal").unlink(missing_ok=True)
        shutil.copy(self.folder / "kept", self.folder / "warehouse")

    def killed_in(self, step: Step, after: int) -> bool:
        """Runs a step in a child process that kills itself after so many statements; False when it ended before."""
        child = os.fork()
        if child == 0:
            try:
                self.open(after)
                self.apply(step)
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def shape(sql: str) -> str:
    """The whole statement without what differs from cycle to cycle: its values, half-years, and how many of them."""
    plain = re.sub(r"/\*.*?\*/|\"|memory\.", "", sql)
    plain = re.sub(r"'(?:[^']|'')*'|\d{4}_h[12]|(?<![\w.])-?\d+(?:\.\d+)?", "?", plain)
    return without_repetitions(re.sub(r"\s+", " ", plain).strip())


@cache
def without_repetitions(sql: str) -> str:
    """One half-year, one row and one range stand for many."""
    return re.sub(r"(.{8,400}?)(?:(?: UNION ALL|,| OR)? \1)+", r"\1", sql)


Story = int | str
"""A random history's seed, or the name of a short one."""


def history_of(story: Story) -> tuple[int, str, list[Step]]:
    """When it was planned, where history starts, and its steps."""
    if isinstance(story, str):
        return STORIES[story]
    history = History(story)
    return history.started, history.history_start, history.steps


@dataclass(frozen=True)
class Scene:
    """A step of a history, and the shapes of the statements that it executes."""

    history: Story
    step: int
    shapes: frozenset[str]


def scenes(stories: Sequence[Story]) -> list[Scene]:
    """Every step that executes statements, of each of these histories."""
    found = []
    for story in stories:
        started, history_start, steps = history_of(story)
        player = Player(started, history_start)
        plain = player.engine.connection
        for number, step in enumerate(steps):
            statements: list[str] = []
            player.engine.connection = Watched(plain, statements)  # type: ignore[assignment]
            player.apply(step)
            if step[0] in CYCLES:
                found.append(Scene(story, number, frozenset(map(shape, statements))))
        player.close()
    return found


def covering(candidates: Sequence[Scene]) -> list[Scene]:
    """As few of them as it takes to execute every shape that any of them does: the one with most new ones first."""
    left = set().union(*(scene.shapes for scene in candidates))
    chosen = []
    while left:
        best = max(candidates, key=lambda scene: len(scene.shapes & left))
        chosen.append(best)
        left -= best.shapes
    return chosen


@dataclass
class Killer:
    """Kills steps of histories before and after every different statement; or at every so many-th of these points.

    points: at how many it has killed
    """

    folder: Path
    every: int = 1
    points: int = 0
    _met: int = 0
    _shapes: set[str] = field(default_factory=set)

    def play(self, story: Story, chosen: Collection[int]) -> None:
        """Plays a history once; each step that is chosen by its number is killed, and run again, point by point.

        Raises AssertionError where the end differs from that of the step that nobody killed.
        """
        started, history_start, steps = history_of(story)
        (folder := self.folder / str(story).replace(" ", "_")).mkdir()
        world = FileWorld(folder, started, history_start)
        for number, step in enumerate(steps[: max(chosen) + 1]):
            if number in chosen:
                world.close()
                self._kill_in(world, step, f"history {story}, step {number} {step}")
                world.open()
            else:
                world.apply(step)
        world.close()

    def _kill_in(self, world: FileWorld, step: Step, told: str) -> None:
        world.keep()
        with world.opened():
            world.apply(step)
            statements = list(world.statements)
            undisturbed = observed(world.engine.connection)
        for point in self._points_of(statements):
            at = f"{told}, killed after {point} of its statements, the last {[*statements, ''][point - 1][:300]}"
            world.put_back()
            assert world.killed_in(step, point), f"nobody was killed: {at}"
            with world.opened():
                world.apply(step)
                assert_same(observed(world.engine.connection), undisturbed, at)
            self.points += 1

    def _points_of(self, statements: Sequence[str]) -> Iterator[int]:
        """Before each statement of a shape that was not met before, and after it: by how many were executed."""
        found = set()
        for number, sent in enumerate(statements):
            if (seen := shape(sent)) not in self._shapes:
                self._shapes.add(seen)
                found |= {number, number + 1}
        for point in sorted(found):
            if self._met % self.every == 0:
                yield point
            self._met += 1


def assert_same(seen: Observed, undisturbed: Observed, told: str) -> None:
    for what, rows in undisturbed.items():
        missing: list[Row] = list((rows - seen[what]).elements())[:5]
        surplus: list[Row] = list((seen[what] - rows).elements())[:5]
        assert not missing and not surplus, f"{what}: missing {missing}, surplus {surplus}: {told}"
