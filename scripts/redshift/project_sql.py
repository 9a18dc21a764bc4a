"""Smoke probes of the project's own SQL: all of it over empty copies, and its plans over the tables as they are."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from sqlglot import exp

from extract.errors import WarehouseError, in_words
from extract.ownership import production_names
from extract.settings import PROJECT
from extract.tables import load_config, project_variables
from macros.exceptions import close_cleared_exceptions, log_checks, record_exceptions
from macros.marts import UTI, identity, mart_of, marts
from macros.periods import QUARTER_HOUR
from macros.retention import read_retention
from macros.sql import execute
from macros.steps import steps_by_name
from macros.suspects import comparisons, no_suspects, range_starts, reach
from scripts.display import plural
from scripts.redshift.copies import Copies, make_copies, plain_name, renamed
from scripts.redshift.explain import LARGE, is_of_redshift, moves
from scripts.redshift.probe import Cluster, NotAsNeeded, NotKnownHere, probe
from scripts.sqlmesh_session import open_context

AT = dt.datetime(2025, 9, 1, tzinfo=dt.UTC)
"""The end of the quarter-hour, and of the day, for which the statements are written."""
FINDINGS = "order_tracking.consistency_failures"


@probe("All that marts, retention and checks can send is sent to empty copies: Redshift takes it, types and all.")
def statements(cluster: Cluster) -> str:
    copies = cluster.shared["copies"] = sent_to_copies(cluster)
    if copies.refused:
        raise NotAsNeeded(f"{len(copies.refused)} of {len(copies.sent)} were refused. The first: {copies.refused[0]}")
    return f"{plural(len(copies.sent), 'statement')} taken"


def sent_to_copies(cluster: Cluster) -> Copies:
    """Everything that marts, retention and checks can send, sent to empty copies in the second scratch schema."""
    end = int(AT.timestamp())
    variables = project_variables(PROJECT)
    copies = Copies(cluster.warehouse, cluster.below)
    with closing(open_context("redshift", PROJECT, f"{AT - dt.timedelta(days=2):%Y-%m-%d}")) as context:
        snapshots = unsaved_snapshots(context)
        models = {model.name: model for model in context.models.values()}
        findings = models[FINDINGS].columns_to_types
        make_copies(cluster.warehouse, load_config(), cluster.below, end, {FINDINGS: findings})
        for mart in marts():
            model = models[mart.name]
            copies.execute(f"DELETE FROM {mart.name} WHERE order_id IS NULL")
            copies.execute(_insert(mart.name, model, snapshots, AT - dt.timedelta(seconds=QUARTER_HOUR)))
            found = read_retention(
                copies,
                model,
                table=mart.name,
                uti_table=UTI,
                start=end - QUARTER_HOUR,
                end=end,
                history_start=str(variables["history_start"]),
                retention_months=int(variables["retention_months"]),
                raw_retention_days=int(variables["raw_retention_days"]),
                reference=end,
            )
            execute(copies, [each for step in steps_by_name().values() for each in step(found)])
        _send_checks(copies, models, snapshots, end, int(variables["mismatch_tolerance_seconds"]))
    return copies


def _send_checks(copies: Copies, models: dict[str, Any], snapshots: dict[str, Any], end: int, tolerance: int) -> None:
    names = {mart.alias: mart.name for mart in marts()}
    ages = {alias: identity(mart_of(alias), models[mart_of(alias).name].columns_to_types) for alias in ("uti", "ecs")}
    execute(copies, no_suspects())
    range_starts(names["uti"], copies)
    execute(copies, comparisons(names, ages, reach(1, 2), tolerance))
    checks = models[FINDINGS]
    copies.execute(_insert(checks.name, checks, snapshots, AT - dt.timedelta(days=1)))
    found = exp.select("check_name", "table_name", "order_id", "detail").from_(checks.name)
    unjudged = exp.select("order_id", "''::VARCHAR(64) AS check_name").from_(mart_of("uti").raw)
    execute(copies, [*record_exceptions(found, end), close_cleared_exceptions(found, end, unjudged)])
    execute(copies, [log_checks(found, end)])
    for audit, arguments in checks.audits_with_args:
        copies.fetchall(checks.render_audit_query(audit, snapshots=snapshots, start=AT, end=AT, **arguments))


def _insert(name: str, model: Any, snapshots: dict[str, Any], start: dt.datetime) -> exp.Expr:
    query = model.render_query_or_raise(start=start, end=AT, execution_time=AT, snapshots=snapshots)
    columns = list(model.columns_to_types)
    return exp.insert(query, name, columns=columns, dialect="redshift")


def unsaved_snapshots(context: Any) -> dict[str, Any]:
    """A snapshot of each model, by its full name, as a first plan would make it; SQLMesh's state is not asked."""
    from sqlmesh.core.snapshot import Snapshot, SnapshotChangeCategory

    nodes = dict(context.models)
    made = {name: Snapshot.from_node(model, nodes=nodes) for name, model in nodes.items()}
    for snapshot in made.values():
        snapshot.categorize_as(SnapshotChangeCategory.BREAKING)
    return made


@probe(f"EXPLAIN of the same over the marts as they are: no join sends more than {LARGE:,} rows to other slices.")
def plans(cluster: Cluster) -> str:
    """EXPLAIN, which executes nothing, of each statement as production would send it."""
    physical = production_names(cluster.warehouse)
    if len(physical) < len(marts()):
        raise NotKnownHere("there are no marts yet: run this again after the first load")
    copies = cluster.shared.get("copies")
    if copies is None:
        raise NotKnownHere("`statements` did not come to its end. Mend what its line says, then run this again")
    explained, not_explained = 0, []
    for tree in _as_in_production(copies, physical):
        sql = tree.sql("redshift")
        try:
            plan = [str(row[0]) for row in cluster.warehouse.fetchall(f"EXPLAIN {sql}")]
        except WarehouseError as error:
            not_explained.append(f"{in_words(error)} It was the EXPLAIN of: {sql[:300]}")
            continue
        if not is_of_redshift(plan):
            raise NotKnownHere("the server's plans are not Redshift's")
        explained += 1
        large = [move for move in moves(plan) if move.rows > LARGE]
        if large:
            raise NotAsNeeded(f"{large[0].kind} of {large[0].rows:,} rows, in: {sql[:300]}")
    if not_explained:
        raise NotKnownHere(f"{plural(len(not_explained), 'statement')} without a plan. The first: {not_explained[0]}")
    return f"none of {plural(explained, 'statement')} sends more than {LARGE:,} rows"


def _as_in_production(copies: Copies, physical: Mapping[str, str]) -> Iterator[exp.Expr]:
    """The statements that join, with the names of production."""

    def rename(table: exp.Table) -> exp.Table:
        name = physical.get(plain_name(table))
        return exp.to_table(name) if name else table

    for sent in copies.sent:
        tree = sent.expression if isinstance(sent, exp.Create) else sent
        if isinstance(tree, (exp.Query, exp.DML)) and len(list(tree.find_all(exp.Table))) > 1:
            yield renamed(tree, rename)
