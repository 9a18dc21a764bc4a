"""What makes hundreds of cycles in one process fast, for tests alone: SQLMesh keeps what cannot change between two.

Commands use SQLMesh as it comes. A test that takes the fixture `plain_sqlmesh` does too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from sqlglot import exp
from sqlmesh.core import macros, scheduler
from sqlmesh.core.console import set_console
from sqlmesh.core.model import definition as model_definition
from sqlmesh.core.snapshot import definition as snapshot_definition
from sqlmesh.core.snapshot.cache import SnapshotCache

from scripts import run_cycle
from scripts.cycle_console import CycleConsole
from scripts.sqlmesh_session import open_context

SETTINGS = ("ORDER_TRACKING_", "REDSHIFT_", "STATE_", "SQLMESH__")
"""What the names of the environment variables begin with that a context depends on."""

PLAIN_PREPARE_ENV = macros.prepare_env
PLAIN_GET_OR_LOAD = SnapshotCache.get_or_load
PLAIN_EXPAND_RANGE = snapshot_definition.expand_range

_kept: dict[Any, Any] = {}
prepared: dict[Any, dict[str, Any]] = {}
snapshots: dict[Any, Any] = {}


@contextmanager
def kept_session(gateway: str, project: Path, start: str) -> Iterator[tuple[Any, CycleConsole]]:
    """In place of `sqlmesh_session`: the context of the cycle before, where nothing that it depends on has changed."""
    console = CycleConsole()
    set_console(console)
    settings = tuple(sorted(item for item in os.environ.items() if item[0].startswith(SETTINGS)))
    key = (gateway, project, settings, start)
    context = _kept.pop(key, None)
    if context is None or not context.state_sync.get_versions(validate=False).schema_version:
        context = open_context(gateway, project, start, load=False)  # the first, or the state is gone
    context.console = console
    try:
        yield context, console
    finally:
        context.close()
    _kept.clear()  # never more than one, and none after a failure
    context.state_sync.clear_cache()  # another process may plan meanwhile
    _kept[key] = context


def prepare_once(python_env: dict[str, Any], env: dict[str, Any] | None = None) -> dict[str, Any]:
    """SQLMesh compiles all of a model's macros for each of the six statements that it renders of it; here once.

    What is kept is found again by the macros' text, so planned code is what runs.
    """
    env = {} if env is None else env
    key = tuple((name, each.kind, each.name, each.alias, each.payload) for name, each in python_env.items())
    if key not in prepared:
        others = {name: value for name, value in env.items() if name != "self"}
        prepared[key] = PLAIN_PREPARE_ENV(python_env, others)
    env.update(prepared[key])
    return env


def get_or_load(self: Any, snapshot_ids: set[Any], loader: Any) -> tuple[dict[Any, Any], set[Any]]:
    """SQLMesh unpickles each snapshot from a file whenever it is asked for; here those that were read are kept.

    A snapshot never changes but for its intervals and a few marks, and these SQLMesh reads from the state in any case.
    """
    known = {snapshot_id: snapshots[snapshot_id] for snapshot_id in snapshot_ids & snapshots.keys()}
    for snapshot in known.values():
        snapshot.intervals, snapshot.dev_intervals = [], []
    loaded, found = PLAIN_GET_OR_LOAD(self, snapshot_ids - known.keys(), loader)
    snapshots.update(loaded)
    return {**known, **loaded}, found | known.keys()


@lru_cache(maxsize=1024)
def expand_range(start_ts: int, end_ts: int, interval_unit: Any) -> list[int]:
    """SQLMesh asks its cron for each of a range's intervals; here they are added up, where all are equally long."""
    step = interval_unit.croniter(start_ts).interval_seconds * 1000
    if not step:
        return PLAIN_EXPAND_RANGE(start_ts, end_ts, interval_unit)
    values = [start_ts, *range(start_ts + step, end_ts + 1, step)]
    return values if values[-1] == end_ts else [*values, end_ts]


REPLACED: tuple[tuple[Any, str, Any], ...] = (
    (run_cycle, "sqlmesh_session", kept_session),
    (macros, "prepare_env", prepare_once),
    (model_definition, "prepare_env", prepare_once),
    # sqlglot notes at each name where in the text it stood, for editors, and every copy of a tree copies the notes.
    (exp.Expression, "update_positions", lambda self, *token, **position: self),
    (SnapshotCache, "get_or_load", get_or_load),
    (snapshot_definition, "expand_range", expand_range),
    (scheduler, "expand_range", expand_range),
)
PLAIN = tuple((owner, name, getattr(owner, name)) for owner, name, _ in REPLACED)
"""What stood there before, as SQLMesh and sqlglot come."""


def put(functions: tuple[tuple[Any, str, Any], ...], patch: pytest.MonkeyPatch) -> None:
    """Puts REPLACED in place, or PLAIN back, until the patch is undone."""
    for owner, name, function in functions:
        patch.setattr(owner, name, function)
