"""SQLMesh as the commands use it: one context, which is closed at the end, and the day with which its models start."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from extract.clock import epoch_of, utc
from extract.extract_log import Seen
from macros.periods import QUARTER_HOUR, quarter_hour_of
from scripts.cycle_console import CycleConsole

DAY = 86_400
START = "ORDER_TRACKING_START"
CACHE = "SQLMESH__CACHE_DIR"


@contextmanager
def sqlmesh_session(gateway: str, project: Path, start: str) -> Iterator[tuple[Any, CycleConsole]]:
    """A context of the project, and the console that keeps what SQLMesh says. It holds no connection afterwards.

    The context does not load the project: a run works with what was planned last. `start`: see `open_context`.
    """
    from sqlmesh.core.console import set_console

    console = CycleConsole()
    set_console(console)
    loggers = [logging.getLogger(name) for name in ("sqlmesh.core.renderer", "sqlglot")]
    for logger in loggers:
        logger.addFilter(_is_news)
    try:
        with closing(open_context(gateway, project, start, load=False)) as context:
            yield context, console
    finally:
        for logger in loggers:
            logger.removeFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """Two warnings say what is meant so, and would be mail from cron.

    SQLMesh warns before every run that `@refuse_taken_names` has no statement: it has one before a plan alone. And
    sqlglot that DuckDB has no DISTKEY, which temporary tables get for Redshift.
    """
    message = record.getMessage()
    return "refuse_taken_names" not in message and message != "Unsupported property distkeyproperty"


def open_context(gateway: str, project: Path, start: str, *, load: bool = True) -> Any:
    """A context whose models start on the day `start` (ISO), unless the environment says another."""
    from sqlmesh.core.context import Context

    _ensure_cache(project)
    given = os.environ.get(START)
    os.environ[START] = given or start
    try:
        return Context(paths=str(project), gateway=gateway, load=load)
    finally:
        if given is None:
            del os.environ[START]
        else:
            os.environ[START] = given


@contextmanager
def bounded_waits(context: Any, gateway: str, *, asks: bool = False) -> Iterator[None]:
    """Inside, SQLMesh waits no longer for another session's lock than REDSHIFT_LOCK_SECONDS; on DuckDB there is none.

    `asks`: SQLMesh may ask somebody first; meanwhile its session is in no transaction. Raises WarehouseError, with the
    lock's holder, where a statement was ended.
    """
    if gateway != "redshift":
        yield
        return
    from extract.lock_waits import lock_watch
    from extract.settings import RedshiftSettings

    with lock_watch(RedshiftSettings.from_environment()) as watch:
        cursor = context.engine_adapter.cursor  # not its `fetchone`, which costs a transaction
        cursor.execute("SELECT PG_BACKEND_PID()")
        watch.sessions.add(int(cursor.fetchone()[0]))
        if asks:
            cursor.execute("COMMIT")
        yield


def _ensure_cache(project: Path) -> None:
    """Where the user may not write the project's folder, SQLMesh caches in a folder of this process alone.

    Not in one that others could have made before: what it reads there it unpickles.
    """
    folder = project / ".cache"
    if CACHE not in os.environ and not os.access(folder if folder.exists() else project, os.W_OK):
        os.environ[CACHE] = tempfile.mkdtemp(prefix="order-tracking-")
        atexit.register(shutil.rmtree, os.environ[CACHE], ignore_errors=True)


def first_day(seen: Mapping[str, Seen], now: int) -> str:
    """The day (ISO, UTC) with which the models start: as the user sets it, or the day before the first extract's.

    Before anything has landed it goes by `now`; the log then gives the same day. A state that is lost gets it again.
    The day before, because of a model that has no interval yet SQLMesh makes no table, and the daily checks need one
    day that is over; and the day is that of the quarter-hour before, in which a first plan and a landing work.

    Args:
        seen: What the extracts' log says. now: epoch seconds.
    """
    if given := os.environ.get(START):
        return given
    stamps = [epoch_of(each.first_stamp) + 1 for each in seen.values() if each.first_stamp]  # the second before its end
    moments = [*stamps, *(epoch_of(each.first_finished) for each in seen.values() if each.first_finished)] or [now]
    begin = quarter_hour_of(min(moments)) - QUARTER_HOUR - DAY
    return f"{utc(begin):%Y-%m-%d}"
