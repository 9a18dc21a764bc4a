"""SQLMesh as a cycle uses it: a context that knows what was planned last, kept for the next cycle of the same process.

Reading the configuration and preparing the macros takes SQLMesh longer than running them. Neither changes between two
cycles, so both are done once a process; what the state says is read anew each time.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from extract.errors import in_words
from extract.settings import without_secrets
from scripts.cycle_console import CycleConsole

SETTINGS = ("ORDER_TRACKING_", "REDSHIFT_", "STATE_", "ALERT_", "SQLMESH__")
"""What the names of the environment variables begin with that a context depends on."""

_kept: dict[Any, Any] = {}


@contextmanager
def sqlmesh_session(gateway: str, project: Path) -> Iterator[tuple[Any, CycleConsole]]:
    """A context of the project, and the console that keeps what it is told. It holds no connection afterwards.

    The context does not load the project: a run works with what was planned last.
    """
    from sqlmesh.core.console import set_console

    console = CycleConsole()
    set_console(console)
    settings = tuple(sorted(item for item in os.environ.items() if item[0].startswith(SETTINGS)))
    key = (gateway, project, settings)
    context = _kept.pop(key, None)
    if context is None or not context.state_sync.get_versions(validate=False).schema_version:
        context = _new_context(gateway, project)  # the first, or the state is gone
    context.console = console
    try:
        yield context, console
    finally:
        context.close()
    _kept.clear()  # never more than one, and none after a failure
    context.state_sync.clear_cache()  # another process may plan meanwhile
    _kept[key] = context


def _new_context(gateway: str, project: Path) -> Any:
    from sqlmesh.core import constants
    from sqlmesh.core.context import Context

    constants.MAX_FORK_WORKERS = 1  # it would fork to read its cache: slow, and not safe beside DuckDB's threads
    prepare_macros_once()
    forget_positions()
    keep_snapshots()
    add_up_intervals()
    keep_alerts_from_failing_a_run()
    keep_quiet_about_names_not_taken()
    return Context(paths=str(project), gateway=gateway, load=False)


def keep_quiet_about_names_not_taken() -> None:
    """SQLMesh warns of a statement that has nothing to execute: of `refuse_taken_names` whenever nothing is taken."""
    logging.getLogger("sqlmesh.core.renderer").addFilter(_is_of_another_statement)


def _is_of_another_statement(record: logging.LogRecord) -> bool:
    return "@refuse_taken_names()" not in record.getMessage()


def prepare_macros_once() -> None:
    """SQLMesh compiles all of a model's macros for each of the six statements that it renders of it; now once.

    What is kept is found again by the macros' text, so planned code is what runs.
    """
    from sqlmesh.core import macros
    from sqlmesh.core.model import definition

    if hasattr(macros.prepare_env, "prepared"):
        return
    original = macros.prepare_env
    prepared: dict[Any, dict[str, Any]] = {}

    def prepare_env(python_env: dict[str, Any], env: dict[str, Any] | None = None) -> dict[str, Any]:
        env = {} if env is None else env
        key = tuple((name, each.kind, each.name, each.alias, each.payload) for name, each in python_env.items())
        if key not in prepared:
            prepared[key] = original(python_env, {name: value for name, value in env.items() if name != "self"})
        env.update(prepared[key])
        return env

    prepare_env.prepared = prepared  # type: ignore[attr-defined]
    macros.prepare_env = prepare_env
    definition.prepare_env = prepare_env


def forget_positions() -> None:
    """sqlglot notes at each name where in the text it stood, for editors, and every copy of a tree copies the notes."""
    from sqlglot import exp

    original = exp.Expression.update_positions
    if hasattr(original, "original"):
        return

    def update_positions(self: Any, *token: Any, **position: Any) -> Any:
        return self

    update_positions.original = original  # type: ignore[attr-defined]
    exp.Expression.update_positions = update_positions  # type: ignore[method-assign]


def keep_snapshots() -> None:
    """SQLMesh unpickles each snapshot from a file whenever it is asked for; a context now keeps those it has read.

    A snapshot never changes but for its intervals and a few marks, and these SQLMesh reads from the state in any case.
    """
    from sqlmesh.core.snapshot.cache import SnapshotCache

    if hasattr(SnapshotCache.get_or_load, "original"):
        return
    original = SnapshotCache.get_or_load

    def get_or_load(self: Any, snapshot_ids: set[Any], loader: Any) -> tuple[dict[Any, Any], set[Any]]:
        kept = self.__dict__.setdefault("kept", {})
        known = {snapshot_id: kept[snapshot_id] for snapshot_id in snapshot_ids & kept.keys()}
        for snapshot in known.values():
            snapshot.intervals, snapshot.dev_intervals = [], []
        loaded, found = original(self, snapshot_ids - known.keys(), loader)
        kept.update(loaded)
        return {**known, **loaded}, found | known.keys()

    get_or_load.original = original  # type: ignore[attr-defined]
    SnapshotCache.get_or_load = get_or_load  # type: ignore[method-assign]


def keep_alerts_from_failing_a_run() -> None:
    """SQLMesh sends alerts in the middle of its work: where one cannot be delivered, the run would fail each time."""
    from sqlmesh.core.console import get_console
    from sqlmesh.core.notification_target import NotificationTargetManager

    original = NotificationTargetManager._get_notification_function
    if hasattr(original, "original"):
        return

    def get_notification_function(self: Any, target: Any, event: Any) -> Any:
        notify = original(self, target, event)

        def attempt(*args: Any, **options: Any) -> None:
            try:
                notify(*args, **options)
            except Exception as error:
                told = without_secrets(in_words(error))
                get_console().log_warning(f"an alert could not be delivered ({target.type_}: {told})")

        return attempt

    get_notification_function.original = original  # type: ignore[attr-defined]
    NotificationTargetManager._get_notification_function = get_notification_function  # type: ignore


def add_up_intervals() -> None:
    """A first plan goes through 560,000 quarter-hours, and SQLMesh asks its cron for each of them; now it adds.

    Only where every interval is as long as the next: SQLMesh's own estimate is that sum, too.
    """
    from sqlmesh.core import scheduler
    from sqlmesh.core.snapshot import definition

    original = definition.expand_range
    if hasattr(original, "original"):
        return

    @lru_cache(maxsize=1024)
    def expand_range(start_ts: int, end_ts: int, interval_unit: Any) -> list[int]:
        step = interval_unit.croniter(start_ts).interval_seconds * 1000
        if not step:
            return original(start_ts, end_ts, interval_unit)
        values = [start_ts, *range(start_ts + step, end_ts + 1, step)]
        return values if values[-1] == end_ts else [*values, end_ts]

    expand_range.original = original  # type: ignore[attr-defined]
    definition.expand_range = scheduler.expand_range = expand_range
