"""Every statement that the project can send to Redshift passes the linter, without a server: written out and looked at.

What SQLMesh adds of its own (CREATE, its DELETE and INSERT) is in test_standin_linter.py, COPY in test_standin_copy.py.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlglot import exp, parse_one
from sqlmesh.core.context import Context

from extract.clock import Clock
from extract.ensure_tables import OWN_TABLES, ensure_tables
from extract.extract_log import Landed, load_begun, log, log_state
from extract.landing import Moment, Reading, land
from extract.ownership import columns_of_own
from extract.reconcile import warehouse_figures
from extract.settings import PROJECT
from extract.tables import ExtractConfig, load_config
from extract.warehouse import Staged, Standing
from macros.exceptions import close_cleared_exceptions, record_exceptions
from macros.history import history_table, history_view
from macros.marts import mart_of, marts
from macros.retention import read_retention
from macros.sql import execute
from macros.steps import archive, check, clean, forget_raw, trim
from macros.suspects import comparisons, no_suspects, range_starts, reach
from scripts.exceptions import close_exceptions, restore
from scripts.ledger import read_ledger
from scripts.open_exceptions import open_exceptions, open_lines
from scripts.redshift_maintain import TableInfo, chores_for, table_infos
from tests.conftest import START
from tests.redshift_standin import refusals
from tests.support.world import DAY, moment

OLD = START - 550 * DAY
PERIODS = ("2024_h1", "2024_h2", "2025_h1")


class Redshift:
    """Writes down what it is told in Redshift's dialect, and answers so that every branch is taken."""

    is_redshift = True
    dialect = "redshift"

    def __init__(self, standing: dict[str, set[str]] | None = None):
        self.standing = standing or {}
        self.sent: list[str] = []

    def execute(self, sql: str | exp.Expr) -> int:
        self.sent.append(sql if isinstance(sql, str) else sql.sql("redshift"))
        return 1

    def change(self, statements: Sequence[str | exp.Expr]) -> None:
        for statement in statements:
            self.execute(statement)

    def fetchall(self, sql: str | exp.Expr) -> list[tuple[Any, ...]]:
        self.execute(sql)
        tree = parse_one(self.sent[-1], dialect="redshift")
        return [tuple(_value(column) for column in branch.selects) for branch in _branches(tree)]

    def fetchone(self, sql: str | exp.Expr) -> tuple[Any, ...]:
        return self.fetchall(sql)[0]

    def table_exists(self, name: str) -> bool:
        return True

    @contextmanager
    def transaction(self, locking: str | None = None) -> Iterator[None]:
        if locking:
            self.execute(f"LOCK TABLE {locking}")
        yield

    def objects_of_schemas(self, schemas: Sequence[str]) -> dict[str, Standing]:
        kinds = {name: kind for table in load_config().tables for name, kind in table.columns.items()}
        kinds |= {name: kind for listed in OWN_TABLES.values() for name, kind in columns_of_own(listed).items()}
        return {
            name: Standing(
                name,
                "view" if name.endswith("_all") else "table",
                {column: kinds[column].sql("redshift") if column in kinds else "timestamp" for column in columns},
                definition="SELECT NULL AS period, NULL AS archived_at",
                parts=(name,),
            )
            for name, columns in self.columns_of_schemas(schemas).items()
        }

    def columns_of_schemas(self, schemas: Sequence[str]) -> dict[str, set[str]]:
        return {name: held for name, held in self.standing.items() if name.split(".")[0] in schemas}


def _branches(tree: exp.Expr) -> list[exp.Select]:
    """A row of each SELECT of a look-up, which asks for several things; of another query one."""
    if isinstance(tree, exp.Union) and tree.named_selects[0] == "subject":
        return [*_branches(tree.this), *_branches(tree.expression)]
    return [tree]  # type: ignore[list-item]


def _value(column: exp.Expr) -> Any:
    """Text where the column says so, a moment where it is one, otherwise a time long past."""
    name = column.alias_or_name or column.sql("redshift")
    if name == "subject":
        return column.find(exp.Literal).name  # type: ignore[union-attr]
    if name in ("period", "half_year"):
        return PERIODS[0]
    if name == "place":
        return "missing"
    if name.endswith(("_at", "landed_at)")):
        return dt.datetime(2025, 8, 1)
    return name if name in ("check_name", "table_name", "detail", "topic", "schema", "table") else OLD


def assert_takes(warehouse: Redshift, *, at_least: int) -> None:
    broken = {sql: found for sql in warehouse.sent if (found := refusals(sql))}
    assert not broken, "\n\n".join(f"{found}\n{sql}" for sql, found in broken.items())
    assert len(set(warehouse.sent)) >= at_least, "the test writes out less than it was made for"


@pytest.fixture(scope="module")
def config() -> ExtractConfig:
    return load_config()


def everything_standing(config: ExtractConfig) -> dict[str, set[str]]:
    standing = {name: set(columns_of_own(listed)) for name, listed in OWN_TABLES.items()}
    for table in config.tables:
        columns = {*table.columns, "landed_at"}
        standing |= {table.raw: columns, table.mart.name: columns}
        standing[history_view(table.mart.alias)] = {*columns, "period", "archived_at"}
        for period in PERIODS:
            standing[history_table(table.mart.alias, period)] = {*columns, "archived_at"}
    return standing


def test_what_the_extract_sends_passes(config: ExtractConfig) -> None:
    empty = Redshift()
    ensure_tables(empty, config, START)
    standing = everything_standing(config)
    missing = Redshift({name: columns - {"status", "code"} for name, columns in standing.items()})
    ensure_tables(missing, config, START)
    full = Redshift(standing)
    ensure_tables(full, config, START)
    log_state(full)
    for table in config.tables:
        load_begun(full, OLD)
        for content in ([], list(table.columns)):
            warehouse_figures(full, table, OLD, content=content)
        for raw_floor in (OLD - DAY, START):  # raw alone tells what is held, or mart and history too
            reading = Reading(table, "extract", 1.0, OLD)
            landing = Moment(now=START, source_clock=START, raw_floor=raw_floor)
            land(full, reading, Staged(f"staged_{table.name}", 10, 1000), landing)
        log(
            full,
            table,
            Landed(0, 0, 0, 0),
            kind="extract",
            now=START,
            seconds=1,
            window_start=None,
            stamp=None,
            error="it's",
        )
    for warehouse, at_least in ((empty, 11), (missing, 2), (full, 20)):
        assert_takes(warehouse, at_least=at_least)


def test_what_the_commands_send_passes(config: ExtractConfig) -> None:
    warehouse = Redshift(everything_standing(config))
    clock = Clock(moment(START))
    for key in (open_exceptions(warehouse)[0].key, open_lines(warehouse)[0].key, "check_name"):
        close_exceptions(warehouse, key, "the source's owner knows", clock, accept=True)
    open_exceptions(warehouse, [1, 2], check="duplicate_rows", limit=5)
    read_ledger(warehouse, config, START)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scripts.exceptions._restore_faults", lambda warehouse, orders: dict.fromkeys(orders))
        restore(warehouse, config, [1, 2], clock)
    restore(warehouse, config, [1, 2], clock)
    table_infos(warehouse)
    for name in ("uni_tracking_info_raw", "uni_tracking_spath_raw"):
        for chore in chores_for([TableInfo(f'order_tracking_raw."{name}"', 100, 50, 50, 50, 50)]):
            warehouse.execute(chore.statement)
    assert_takes(warehouse, at_least=30)


@pytest.mark.parametrize("alias", ["uti", "ecs", "uts"])
@pytest.mark.parametrize("history_start", ["2026_h1", "2025_h1", "2024_h1"], ids=["no history", "some", "all"])
def test_what_a_marts_retention_sends_passes(context: Context, alias: str, history_start: str) -> None:
    """What is read and gathered, and every step: orders that came back; rows to archive, to report and to trim."""
    model = context.get_model(mart_of(alias).name)
    warehouse = Redshift()
    found = read_retention(
        warehouse,
        model,
        table=f'"dev"."sqlmesh__order_tracking"."order_tracking__{alias}__1"',
        uti_table='"dev"."sqlmesh__order_tracking"."order_tracking__uti__1"',
        start=START - 900,
        end=START,
        history_start=history_start,
        retention_months=6,
        raw_retention_days=35,
        reference=START,
        leaving_before=OLD if (alias, history_start) == ("ecs", "2025_h1") else 0,
    )
    execute(warehouse, [each for step in (clean, archive, check, trim, forget_raw) for each in step(found)])
    begins = {" ".join(sql.split()[:2]).upper() for sql in warehouse.sent}
    assert not begins & {"CREATE TABLE", "ALTER TABLE", "CREATE VIEW", "DROP VIEW"}, "tables are made ahead"
    if history_start != "2026_h1":
        assert begins >= {"INSERT INTO", "DELETE FROM"}, begins
        assert any(sql.startswith("UPDATE") for sql in warehouse.sent)
    assert_takes(warehouse, at_least=1 if history_start == "2026_h1" else 7)


def test_what_keeps_the_exceptions_passes() -> None:
    warehouse = Redshift()
    found = exp.select("check_name", "table_name", "order_id", "detail").from_("order_tracking.consistency_failures")
    raw = "order_tracking_raw.uni_tracking_info_raw"
    unjudged = exp.select("order_id", "''::VARCHAR(64) AS check_name").from_(raw)
    execute(warehouse, [*record_exceptions(found, START), close_cleared_exceptions(found, START, unjudged)])
    assert_takes(warehouse, at_least=3)


def test_what_finds_suspects_passes() -> None:
    warehouse = Redshift()
    names = {mart.alias: mart.name for mart in marts()}
    assert range_starts(names["uti"], warehouse) == []
    ages = {"uti": ["update_time", "landed_at", "tno", "status"], "ecs": ["add_time", "landed_at", "partner_id"]}
    execute(warehouse, [*no_suspects(), *comparisons(names, ages, reach(10, 20), 60)])
    assert_takes(warehouse, at_least=9)


def test_the_queries_of_models_and_audits_pass(context: Context) -> None:
    warehouse = Redshift()
    times = {"start": "2025-09-01", "end": "2025-09-01", "execution_time": "2025-09-02 00:20:00"}
    for model in context.models.values():
        if not model.kind.is_external:
            query = context.render(model.name, **times).sql("redshift")
            warehouse.execute(f"CREATE VIEW v AS {query}" if model.kind.is_view else f"INSERT INTO t {query}")
            for audit, arguments in model.audits_with_args:
                warehouse.execute(model.render_audit_query(audit, **times, **arguments))
    assert_takes(warehouse, at_least=15)


def test_the_sql_of_the_documents_passes() -> None:
    """The roles of docs/redshift.md and the queries of the README."""
    warehouse = Redshift()
    for page in ("README.md", "docs/redshift.md", "docs/operations.md"):
        text = (Path(PROJECT) / page).read_text()
        for block in text.split("```sql\n")[1:]:
            for sql in block.split("```")[0].split(";\n"):
                if sql.strip():
                    warehouse.execute(sql)
    assert_takes(warehouse, at_least=8)


def test_a_statement_that_redshift_refuses_is_found() -> None:
    """The check itself can fail."""
    warehouse = Redshift()
    warehouse.execute("DELETE FROM t AS x USING u WHERE x.a = u.a")
    with pytest.raises(AssertionError, match="delete-target-alias"):
        assert_takes(warehouse, at_least=1)


def test_what_landed_is_looked_for_as_far_back_as_raw_reaches(context: Context) -> None:
    """By the retention of raw, 35 days, and five more: not by a number of its own."""
    check = context.get_model("order_tracking.landed_but_missing", raise_if_missing=True)
    query = check.render_query_or_raise(execution_time="2025-09-02 00:20:00").sql("redshift")
    assert query.count("2025-07-23 23:45:00") == 2
