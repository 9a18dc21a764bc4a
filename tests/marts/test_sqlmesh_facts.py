"""What the code takes for granted about SQLMesh, one test a fact, so that an upgrade that changes one fails loudly.

A project of two models on a warehouse of its own; a macro among their statements notes what it sees.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import pytest
from sqlmesh.core.config import Config, DuckDBConnectionConfig, GatewayConfig, ModelDefaultsConfig
from sqlmesh.core.console import NoopConsole, set_console
from sqlmesh.core.context import Context
from sqlmesh.core.engine_adapter.base import EngineAdapter

from scripts.statement_times import StatementLog

MACROS = """
import inspect
import json

from sqlglot import exp
from sqlmesh import macro


@macro()
def note(evaluator, label, path):
    known = evaluator.locals
    if known["runtime_stage"] in ("loading", "testing"):
        return []
    snapshot = known.get("snapshot")
    resolve = evaluator._resolve_tables
    closure = inspect.getclosurevars(resolve).nonlocals if resolve else {}
    index = closure.get("deployability_index")
    adapter = evaluator.engine_adapter
    try:
        rows = adapter.fetchone("SELECT COUNT(*) FROM " + known["this_model"].sql("duckdb"))[0]
    except Exception:
        rows = None
    seen = {
        "label": label.name,
        "model": None if snapshot is None else snapshot.model.name,
        "stage": str(known["runtime_stage"]),
        "start": str(known.get("start_dt")),
        "end": str(known.get("end_dt")),
        "unpaused": None if snapshot is None else snapshot.unpaused_ts,
        "intervals": None if snapshot is None else len(snapshot.intervals),
        "index": None if index is None else type(index).__name__,
        "deployable": None if index is None or snapshot is None else index.is_deployable(snapshot),
        "this_model": known["this_model"].sql("duckdb"),
        "rows": rows,
        "notes": adapter.fetchone("SELECT COUNT(*) FROM src.noted")[0],
    }
    with open(path.name, "a") as file:
        file.write(json.dumps(seen) + "\\n")
    return []


@macro()
def note_before(evaluator, path):
    if evaluator.runtime_stage == "before_all":
        seen = {"label": "before_all", "model": None, "environment": evaluator.this_env}
        seen["views"] = [view.replace('"', "") for view in evaluator.locals["views"]]
        with open(path.name, "a") as file:
            file.write(json.dumps(seen) + "\\n")
    return exp.select("1")


@macro()
def columns_of_rows(evaluator):
    columns = evaluator.columns_to_types("src.rows")
    return [exp.alias_(exp.cast(exp.column(name), kind), name) for name, kind in columns.items()]
"""

EXTERNAL = """
- name: src.rows
  columns:
    id: BIGINT
    v: DECIMAL(10, 2)
    tno: VARCHAR(64)
    landed_at: TIMESTAMP
"""

MODEL = """
MODEL (
  name facts.{name},
  kind {kind},
  cron '*/15 * * * *',
  start '2025-09-01',
  optimize_query FALSE,
  columns (id BIGINT, v INTEGER, landed_at TIMESTAMP)
);

@note('before', '{path}');

SELECT id::BIGINT AS id, v::INTEGER AS v, landed_at::TIMESTAMP AS landed_at
FROM src.rows WHERE landed_at BETWEEN @start_ts AND @end_ts;

INSERT INTO src.noted SELECT 1;

@note('after', '{path}');
"""

KINDS = {
    "by_key": "INCREMENTAL_BY_UNIQUE_KEY (unique_key id, lookback 1, forward_only TRUE, disable_restatement TRUE)",
    "by_time": "INCREMENTAL_BY_TIME_RANGE (time_column landed_at, lookback 1, forward_only TRUE, "
    "disable_restatement TRUE)",
}
NINE = dt.datetime(2025, 9, 1, 9, tzinfo=dt.UTC)
QUARTER = dt.timedelta(minutes=15)


@dataclass
class Project:
    folder: Path

    @property
    def warehouse(self) -> str:
        return str(self.folder / "warehouse.duckdb")

    @property
    def noted(self) -> Path:
        return self.folder / "noted.json"

    @contextmanager
    def context(self) -> Iterator[Context]:
        set_console(NoopConsole())
        config = Config(
            gateways={"local": GatewayConfig(connection=DuckDBConnectionConfig(database=self.warehouse))},
            model_defaults=ModelDefaultsConfig(dialect="redshift"),
            before_all=[f"@note_before('{self.noted}')"],
        )
        with closing(Context(paths=str(self.folder), config=config)) as context:
            yield context

    def plan(self, at: dt.datetime, environment: str = "prod", **options: Any) -> None:
        with self.context() as context:
            context.plan(environment, execution_time=at, auto_apply=True, no_prompts=True, **options)

    def run(self, at: dt.datetime) -> None:
        with self.context() as context:
            context.run(end=at, execution_time=at, skip_janitor=True)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(self.warehouse) as connection:
            return connection.execute(sql).fetchall()

    def notes(self, label: str, model: str | None = "facts.by_key") -> list[dict[str, Any]]:
        lines = self.noted.read_text().splitlines() if self.noted.exists() else []
        notes = [json.loads(line) for line in lines]
        return [note for note in notes if note["label"] == label and note["model"] == model]

    def forget(self) -> None:
        self.noted.unlink(missing_ok=True)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    for folder, files in {
        "macros": {"__init__.py": "", "note.py": MACROS},
        "models": {
            f"{name}.sql": MODEL.format(name=name, kind=kind, path=project.noted) for name, kind in KINDS.items()
        },
    }.items():
        (tmp_path / folder).mkdir()
        for name, text in files.items():
            (tmp_path / folder / name).write_text(text)
    project.query("CREATE SCHEMA src")
    project.query("CREATE TABLE src.rows (id BIGINT, v INTEGER, landed_at TIMESTAMP)")
    project.query("CREATE TABLE src.noted (one INTEGER)")
    return project


def land(project: Project, *rows: tuple[int, int, str]) -> None:
    for order, value, landed_at in rows:
        project.query(f"INSERT INTO src.rows VALUES ({order}, {value}, TIMESTAMP '2025-09-01 {landed_at}')")


def test_post_statements_are_rendered_once_an_evaluation_after_the_insert_and_before_one_of_them_runs(
    project: Project,
) -> None:
    """A macro that executes its statements while it is rendered does so once, and sees the batch."""
    project.plan(NINE)
    land(project, (1, 1, "09:14:59"))
    project.forget()
    before = project.query("SELECT COUNT(*) FROM src.noted")[0][0]
    project.run(NINE + QUARTER)
    (pre,), (post,) = project.notes("before"), project.notes("after")
    assert (pre["rows"], post["rows"]) == (0, 1)
    assert post["notes"] <= before + 1, "by_time may have run before; its own statement has not"
    assert project.query("SELECT COUNT(*) FROM src.noted")[0][0] == before + 2


def test_bounds_are_utc_and_end_with_the_last_microsecond_and_lookback_takes_the_interval_before(
    project: Project,
) -> None:
    project.plan(NINE)
    project.forget()
    project.run(NINE + QUARTER + dt.timedelta(minutes=7))
    (note,) = project.notes("after")
    assert note["start"] == "2025-09-01 08:45:00+00:00"
    assert note["end"] == "2025-09-01 09:14:59.999999+00:00"


def test_intervals_that_were_missed_are_made_good_in_one_evaluation(project: Project) -> None:
    project.plan(NINE)
    project.forget()
    project.run(NINE + dt.timedelta(hours=5))
    (note,) = project.notes("after")
    assert (note["start"], note["end"]) == ("2025-09-01 08:45:00+00:00", "2025-09-01 13:59:59.999999+00:00")


def test_what_lands_behind_a_boundary_is_taken_in_by_the_next_run(project: Project) -> None:
    project.plan(NINE)
    project.run(NINE + QUARTER)
    land(project, (1, 1, "09:14:59"))
    project.run(NINE + 2 * QUARTER)
    assert project.query("SELECT id FROM facts.by_key UNION ALL SELECT id FROM facts.by_time") == [(1,), (1,)]


def test_the_first_insert_replaces_the_whole_table_and_later_ones_do_not(project: Project) -> None:
    """Why a mart whose state is lost must not be filled from raw that was trimmed."""
    land(project, (1, 1, "08:00:00"))
    project.plan(NINE)
    land(project, (2, 2, "09:14:59"))
    project.run(NINE + QUARTER)
    assert project.query("SELECT id FROM facts.by_key ORDER BY 1") == [(1,), (2,)]
    project.query("DELETE FROM src.rows WHERE id = 1")
    project.query("DROP SCHEMA sqlmesh CASCADE")
    project.forget()
    project.plan(NINE + QUARTER)
    assert project.query("SELECT id FROM facts.by_key ORDER BY 1") == [(2,)]
    assert [note["intervals"] for note in project.notes("before")] == [0], "which the refusal goes by"


def test_a_snapshot_is_unpaused_by_a_production_plan_only(project: Project) -> None:
    """Before that a first production plan and a dev plan look alike, and neither has side effects."""
    project.plan(NINE, "dev", start="2025-08-31")
    assert {note["unpaused"] for note in project.notes("after")} == {None}
    project.plan(NINE)
    project.forget()
    project.run(NINE + QUARTER)
    (note,) = project.notes("after")
    assert note["unpaused"] is not None
    assert note["deployable"] is True


@pytest.mark.slow
def test_a_dev_plan_of_an_unchanged_model_resolves_this_model_to_production_but_is_not_deployable(
    project: Project,
) -> None:
    project.plan(NINE)
    land(project, (1, 1, "09:14:59"))
    (project.folder / "models" / "below.sql").write_text(
        "MODEL (name facts.below, kind VIEW, cron '*/15 * * * *', start '2025-09-01');\n\nSELECT id FROM facts.by_key"
    )
    project.forget()
    project.plan(NINE + QUARTER, "dev", include_unmodified=True)
    notes = project.notes("after")
    assert notes, "the unchanged model is evaluated"
    assert not any(note["deployable"] for note in notes)
    assert not any(note["this_model"].strip('"').endswith("__dev") for note in notes)
    assert project.query("SELECT COUNT(*) FROM facts.by_key") == [(0,)]


def test_statements_know_what_is_written_through_a_private_closure_only(project: Project) -> None:
    """macros/production.py reads it there. Gone or renamed, every evaluation refuses: adapt that file."""
    project.plan(NINE)
    project.run(NINE + QUARTER)
    assert {note["index"] for note in project.notes("after")} == {"DeployabilityIndex"}


def test_dry_creates_hand_statements_no_snapshot(project: Project) -> None:
    project.plan(NINE)
    model = project.folder / "models" / "by_key.sql"
    model.write_text(
        model.read_text()
        .replace("v INTEGER, landed_at", "v INTEGER, w INTEGER, landed_at")
        .replace("v::INTEGER AS v,", "v::INTEGER AS v, NULL::INTEGER AS w,")
    )
    project.forget()
    project.plan(NINE)
    assert project.notes("after", None), "the statements ran on a throw-away table"


def test_two_runs_at_once_are_not_kept_apart(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLMesh has no run lock (its issue 3866): a second run evaluates what a first one is evaluating."""
    project.plan(NINE)
    project.forget()
    now = NINE + QUARTER
    real = EngineAdapter._execute
    with project.context() as one, project.context() as other:

        def execute(adapter: EngineAdapter, sql: str, *args: Any, **kwargs: Any) -> None:
            if "noted" in sql and "INSERT" in sql:
                monkeypatch.setattr(EngineAdapter, "_execute", real)
                other.run(end=now, execution_time=now, skip_janitor=True)
            real(adapter, sql, *args, **kwargs)

        monkeypatch.setattr(EngineAdapter, "_execute", execute)
        one.run(end=now, execution_time=now, skip_janitor=True)
    assert len(project.notes("after")) == 2


def test_before_all_runs_before_a_plan_and_before_a_run_that_has_something_to_do_and_knows_the_views(
    project: Project,
) -> None:
    """macros/before_plan.py looks there for names that are taken."""
    project.plan(NINE)
    project.plan(NINE, "dev", include_unmodified=True, start="2025-08-31")
    project.forget()
    project.run(NINE + QUARTER)
    (note,) = project.notes("before_all", None)
    assert note["environment"] == "prod"
    assert sorted(note["views"]) == ["facts.by_key", "facts.by_time"]
    project.run(NINE + QUARTER)
    assert len(project.notes("before_all", None)) == 1, "nothing was due"


def test_what_before_all_knows_in_a_dev_environment(project: Project) -> None:
    project.plan(NINE, "dev", start="2025-08-31")
    (note,) = project.notes("before_all", None)
    assert (note["environment"], sorted(note["views"])) == ("dev", ["facts__dev.by_key", "facts__dev.by_time"])


def test_a_macro_knows_the_columns_of_an_external_model_and_sqlmesh_takes_the_types_from_its_casts(
    project: Project,
) -> None:
    """macros/columns.py projects them; a model needs no list of its own."""
    (project.folder / "external_models.yaml").write_text(EXTERNAL)
    (project.folder / "models" / "same.sql").write_text(
        "MODEL (name facts.same, kind FULL);\n\nSELECT @columns_of_rows() FROM src.rows"
    )
    with project.context() as context:
        columns = context.get_model("facts.same").columns_to_types
    types = {name: kind.sql("redshift") for name, kind in columns.items()}
    assert types == {"id": "BIGINT", "v": "DECIMAL(10, 2)", "tno": "VARCHAR(64)", "landed_at": "TIMESTAMP"}


def test_each_statement_is_logged_as_it_begins(project: Project) -> None:
    """scripts/statement_times.py tells their seconds from that."""
    project.plan(NINE)
    log = StatementLog()
    counts: list[int] = []
    real = EngineAdapter._execute

    def execute(adapter: EngineAdapter, sql: str, *args: Any, **kwargs: Any) -> None:
        counts.append(len(log.statements) + 1)
        assert log._running is not None and log._running[0] == sql
        real(adapter, sql, *args, **kwargs)

    with log.attached(), mock.patch.object(EngineAdapter, "_execute", execute):
        project.run(NINE + QUARTER)
    assert counts == list(range(1, len(log.statements) + 1)), "one line for each, and before it runs"
    labels = [statement.label for statement in log.statements]
    assert labels.count("INSERT noted") == 2 and "SELECT _environments" in labels


def test_a_daily_model_that_has_no_interval_gets_no_table_and_its_view_fails(project: Project) -> None:
    """Why the models start a day before the first plan: scripts/sqlmesh_session.py."""
    (project.folder / "models" / "daily.sql").write_text(
        "MODEL (name facts.daily, kind INCREMENTAL_BY_TIME_RANGE (time_column day), cron '@daily', "
        "start '2025-09-01');\n\nSELECT id, @end_ds::DATE AS day FROM src.rows"
    )
    with pytest.raises(Exception, match="daily"):
        project.plan(NINE)
    project.plan(NINE + dt.timedelta(days=1))
