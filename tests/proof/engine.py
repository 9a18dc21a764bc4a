"""Cycles without starting SQLMesh for each: the project's own code and queries, many cycles a second in one process.

What runs here is the real thing: the extract, each model's query as SQLMesh renders it, and the models' own
post-statements. What is imitated is only the little that SQLMesh does around them, which is: which interval is due,
the insert of each kind of model, and the order of the models. tests/proof/test_engine.py holds it against real runs.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any, Self
from unittest import mock

import duckdb
from sqlglot import exp, parse_one
from sqlmesh.core import constants
from sqlmesh.core.context import Context
from sqlmesh.core.engine_adapter.duckdb import DuckDBEngineAdapter
from sqlmesh.core.model import Model

from extract import warehouse_duckdb
from extract.clock import Clock
from extract.crc32 import add_crc32
from extract.ensure_tables import ensure_tables
from extract.run import extract
from extract.settings import PROJECT
from extract.source import Source
from extract.source_duckdb import DuckDBSource
from extract.tables import ExtractConfig, load_config, project_variables
from extract.warehouse_duckdb import DuckDBWarehouse
from macros import sql as macros_sql
from macros import suspects
from macros.exceptions import keep_exceptions
from macros.retention import retention
from macros.sql import execute

QUARTER, DAY = 900, 86400
MARTS = ("mart_uni_tracking_info", "mart_ecs_order_info", "mart_uni_tracking_spath")
CHECKS = "consistency_failures"
POST_STATEMENTS = {"retention": retention, "keep_exceptions": keep_exceptions}

# Moments that a query is rendered for once; their texts are then replaced by those of each interval.
STENCIL = (981_173_100, 1_015_218_360, 1_049_522_820)
OTHER_STENCIL = (1_300_000_500, 1_400_000_400, 1_450_000_777)
RAW_SURELY_HELD = dt.timedelta(days=40)
"""`raw_retention_days` of config.yaml, and five: `raw_begins` in macros/checks.py."""


PRODUCTION = SimpleNamespace(name="prod")


class MemorySource(DuckDBSource):
    """A source in memory, read by the project's own reader."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._path = ":memory:"
        self._connection = connection


@cache
def project_context() -> Context:
    """The project as SQLMesh loads it."""
    constants.MAX_FORK_WORKERS = 1
    with mock.patch.dict(os.environ, {"ORDER_TRACKING_DUCKDB": ":memory:"}):
        return Context(paths=str(PROJECT), gateway="local")


@cache
def project_models() -> dict[str, Model]:
    """The models by the last part of their name."""
    return {model.name.split(".")[-1]: model for model in project_context().models.values()}


def utc(moment: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(moment, dt.UTC)


def rendered(name: str, start: int, end: int, now: int) -> str:
    """A model's query for the interval [start, end), evaluated at `now`; all in epoch seconds."""
    stencil = stencil_of(name)
    if stencil is None:
        return render(name, start, end, now)
    return filled_in(stencil, texts_of(start, end, now))


@cache
def stencil_of(name: str) -> str | None:
    """The query for STENCIL, or None where more of it than the known texts depends on the moments."""
    stencil = render(name, *STENCIL)
    faithful = filled_in(stencil, texts_of(*OTHER_STENCIL)) == render(name, *OTHER_STENCIL)
    return stencil if faithful else None


def render(name: str, start: int, end: int, now: int) -> str:
    moments = {"start": utc(start), "end": utc(end), "execution_time": utc(now)}
    query = project_models()[name].render_query(**moments, snapshots=project_context().snapshots)
    assert query is not None
    return query.sql("duckdb", identify=True).replace('"memory".', "")


def texts_of(start: int, end: int, now: int) -> list[str]:
    """What a rendered query may say: first and last microsecond, when rows are settled, since when raw surely holds
    what landed, last day, start and length."""
    last = utc(end) - dt.timedelta(microseconds=1)
    settled = utc(now // QUARTER * QUARTER - 2 * QUARTER)
    return [
        f"{utc(start):%Y-%m-%d %H:%M:%S}",
        f"{last:%Y-%m-%d %H:%M:%S.%f}",
        f"{settled:%Y-%m-%d %H:%M:%S}",
        f"{settled - RAW_SURELY_HELD:%Y-%m-%d %H:%M:%S}",
        f"'{last:%Y-%m-%d}'",
        f" {start} ",
        f" {end - start}",
    ]


def filled_in(stencil: str, texts: list[str]) -> str:
    for old, new in zip(texts_of(*STENCIL), texts, strict=True):
        stencil = stencil.replace(old, new)
    return stencil


@dataclass
class Evaluation:
    """The part of SQLMesh's macro evaluator that post-statements use, for an evaluation that writes production."""

    locals: dict[str, Any]
    engine_adapter: DuckDBEngineAdapter
    variables: dict[str, Any]
    dialect: str = "redshift"

    def var(self, name: str) -> Any:
        return self.variables[name]

    @staticmethod
    def resolve_table(name: str) -> str:
        return name

    @staticmethod
    def columns_to_types(name: str) -> dict[str, exp.DataType]:
        return dict(project_models()[name.split(".")[-1]].columns_to_types or {})

    @property
    def _resolve_tables(self) -> Callable[..., Any]:
        deployability_index = SimpleNamespace(is_deployable=lambda snapshot: True)

        def resolve() -> Any:
            return deployability_index

        return resolve


class Engine:
    """A warehouse, and how far each model has come in it. `connection` may be replaced between cycles."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, planned_at: int, settings: dict[str, str] | None = None):
        """Makes what the first plan at `planned_at` leaves: empty marts, one quarter-hour back."""
        with mock.patch.dict(os.environ, settings or {}):
            self.variables = project_variables()
            self.config: ExtractConfig = load_config()
        self.connection = connection
        ensure_tables(self.warehouse, self.config, planned_at)
        connection.execute("CREATE SCHEMA IF NOT EXISTS order_tracking")
        before = planned_at // QUARTER * QUARTER - QUARTER
        self.reached: dict[str, int] = {}
        self.last: dict[str, tuple[int, int, int]] = {}
        for name in (*MARTS, CHECKS):
            model = project_models()[name]
            columns = ", ".join(f'"{column}" {kind.sql("duckdb")}' for column, kind in model.columns_to_types.items())
            connection.execute(f"CREATE TABLE order_tracking.{name} ({columns})")
            self.reached[name] = before // unit(model) * unit(model)

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        return self._connection

    @connection.setter
    def connection(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        add_crc32(connection)
        self.warehouse = DuckDBWarehouse(connection)
        self.adapter = DuckDBEngineAdapter(lambda *args, **kwargs: connection)

    def cycle(self, source: Source, now: int, *, reconcile_since: int | None = None) -> None:
        """What scripts.run_cycle does: extract, reconcile, marts and checks."""
        self.extract(source, now)
        if reconcile_since is not None:
            self.extract(source, now, since=reconcile_since, kind="reconcile")
        self.run(now)

    def extract(self, source: Source, now: int, **options: Any) -> None:
        with quickly():
            extract(source, self.warehouse, self.config, Clock(utc(now)), allow_empty=True, **options)

    def run(self, now: int) -> None:
        """What `sqlmesh run` does at `now`: each model for what is due, with its lookback, in order."""
        for name in (*MARTS, CHECKS):
            model = project_models()[name]
            end = now // unit(model) * unit(model)
            if end > self.reached[name]:
                self.last[name] = (self.reached[name] - model.lookback * unit(model), end, now)
                self.evaluate(model, *self.last[name])
                self.reached[name] = end

    def repeat(self) -> None:
        """The marts' last interval once more, as after a crash before SQLMesh had recorded it."""
        for name in MARTS:
            if name in self.last:
                self.evaluate(project_models()[name], *self.last[name])

    def evaluate(
        self, model: Model, start: int, end: int, now: int, environment_naming_info: SimpleNamespace = PRODUCTION
    ) -> None:
        """One interval of one model: its insert, then its post-statements, which ask for that local of a caller."""
        name = model.name.split(".")[-1]
        insert: Callable[[str], Any] = self.connection.execute
        if name == CHECKS:
            (call,) = model.pre_statements
            with quickly():
                suspects.find_suspects(self.evaluation(model, start, end, now), *call.this.expressions)
            insert = self.adapter.execute  # a temporary table is seen by the adapter's cursor alone
        for sql in insert_statements(model, rendered(name, start, end, now), start, end):
            insert(sql)
        evaluation = self.evaluation(model, start, end, now)
        with quickly():
            for call in model.post_statements:
                statements = POST_STATEMENTS[call.this.name.lower()](evaluation, *call.this.expressions)
                execute(self.adapter, statements)

    def evaluation(self, model: Model, start: int, end: int, now: int) -> Evaluation:
        table = exp.to_table(model.name)
        snapshot = SimpleNamespace(
            model=model, unpaused_ts=1, previous_versions=(), table_name=lambda is_deployable: model.name
        )
        last = utc(end) - dt.timedelta(microseconds=1)
        moments = {"start_dt": utc(start), "end_dt": last, "end_ds": f"{last:%Y-%m-%d}", "execution_dt": utc(now)}
        facts = {"snapshot": snapshot, "this_model": table, "runtime_stage": "evaluating"}
        return Evaluation({**facts, **moments}, self.adapter, self.variables)


def unit(model: Model) -> int:
    """Seconds of one interval."""
    return int(model.interval_unit.seconds)


def insert_statements(model: Model, query: str, start: int, end: int) -> Sequence[str]:
    """What SQLMesh executes on DuckDB to put the rows of one interval into a model's table."""
    table = ".".join(f'"{part}"' for part in model.name.split("."))
    columns = ", ".join(f'"{name}"' for name in model.columns_to_types)
    if model.kind.is_incremental_by_unique_key:
        key = ", ".join(f'"{column.name}"' for column in model.unique_key)
        return (
            f"CREATE TEMP TABLE batch_of_mart AS {query}",
            f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM batch_of_mart)",
            f"INSERT INTO {table} ({columns}) SELECT DISTINCT ON ({key}) {columns} FROM batch_of_mart",
            "DROP TABLE batch_of_mart",
        )
    time = f'"{model.time_column.column.name}"'
    last = f"{utc(end) - dt.timedelta(microseconds=1):%Y-%m-%d %H:%M:%S.%f}"
    kind = model.columns_to_types[model.time_column.column.name].sql("duckdb")
    within = f"{time} BETWEEN CAST('{utc(start):%Y-%m-%d %H:%M:%S}' AS {kind}) AND CAST('{last}' AS {kind})"
    return (
        f"DELETE FROM {table} WHERE {within}",
        f"INSERT INTO {table} ({columns}) SELECT {columns} FROM ({query}) AS rendered WHERE {within}",
    )


@contextmanager
def quickly() -> Iterator[None]:
    """Templates are parsed once and not each time, and the three tables are read one after another in this thread."""
    with ExitStack() as patches:
        for module in (macros_sql, warehouse_duckdb):  # not by name: SQLMesh imports the project's macros once more
            patches.enter_context(mock.patch.object(module, "parse_one", parsed))
        patches.enter_context(mock.patch("extract.run.ThreadPoolExecutor", OneAfterAnother))
        yield


def parsed(sql: str, dialect: str) -> exp.Expr:
    return parsed_once(sql, dialect).copy()


@cache
def parsed_once(sql: str, dialect: str) -> exp.Expr:
    return parse_one(sql, dialect=dialect)


class OneAfterAnother:
    """In the place of a pool of threads: does what it is given at once."""

    def __init__(self, workers: int) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None: ...

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


def memory_engine(planned_at: int, history_start: str) -> Engine:
    """An engine on a warehouse in memory."""
    connection = duckdb.connect(":memory:", config={"threads": 1})
    return Engine(connection, planned_at, {"ORDER_TRACKING_HISTORY_START": history_start})
