"""order_tracking_history.cycle_log: one row a cycle that ended, however it did (one that was killed leaves none).

A cycle writes its row itself, in one INSERT, just before it closes the warehouse. Where it cannot (the warehouse cannot
be opened, another command holds the lock, the log does not stand yet), the row is kept in a small file, and the next
cycle enters it. Nothing here fails a cycle.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import os
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlglot import exp

from extract.clock import epoch_of
from extract.ensure_tables import CYCLE_LOG, EXTRACT_LOG, OWN_TABLES
from extract.errors import ConfigurationError, LockHeld, SourceUrlError, in_words, within
from extract.ownership import columns_of_own
from extract.settings import in_project, warehouse_file, without_secrets
from extract.tables import EXTRACTED
from extract.warehouse import Warehouse, insert_rows
from macros.marts import mart_of
from macros.periods import QUARTER_HOUR
from macros.sql import columns_of, sql_from_template, table_node, timestamp
from scripts.cycle import Cycle

DONE, FAILED, REFUSED, LOCKED = "done", "failed", "refused", "locked"
"""How a cycle ends, by its exit code: 0, 1, 2 and 75."""

INTERRUPTED = ("KeyboardInterrupt", "Terminated")
"""A cycle that somebody ended, by Ctrl-C or SIGTERM, says nothing about the next."""

OVERDUE = dt.timedelta(seconds=3 * QUARTER_HOUR)
"""If no cycle has ended for so long, none was started, or one hangs."""

SIZES = {"phases": 4096, "warnings": 65535, "error": 4096}


@dataclass(frozen=True)
class LoggedCycle:
    """A row of cycle_log. Times are UTC, without a zone."""

    cycle_at: dt.datetime
    started_at: dt.datetime
    outcome: str
    error: str | None = None
    warnings: str | None = None
    phases: str | None = None
    seconds: float = 0.0
    rows_landed: int = 0
    rows_archived: int = 0

    @classmethod
    def of(cls, row: dict[str, Any]) -> LoggedCycle:
        """From a row as it waits in the file."""
        times = {name: dt.datetime.fromisoformat(row[name]) for name in ("cycle_at", "started_at")}
        return cls(**{**{name: row[name] for name in COLUMNS if name in row}, **times})

    @property
    def ended_at(self) -> dt.datetime:
        """When it wrote its row."""
        return self.cycle_at + dt.timedelta(seconds=self.seconds)

    @property
    def counts(self) -> bool:
        """It tried to work: it neither found the lock held nor was interrupted."""
        return self.outcome != LOCKED and self.error not in INTERRUPTED

    @property
    def warning_lines(self) -> list[str]:
        return (self.warnings or "").splitlines()

    @property
    def timed_phases(self) -> list[dict[str, Any]]:
        """Each with `phase`, `seconds` and its rows by name; none if the log's text was cut."""
        with suppress(ValueError):
            return list(json.loads(self.phases or "[]"))
        return []

    @property
    def archived(self) -> Counter[str]:
        """Mart's alias -> rows."""
        rows: Counter[str] = Counter()
        for phase in self.timed_phases:
            rows.update({k.removeprefix("archived_"): n for k, n in phase.items() if k.startswith("archived_")})
        return rows


COLUMNS = tuple(LoggedCycle.__dataclass_fields__)


class CycleEntry:
    """The row of one cycle, from its start on."""

    def __init__(self, cycle: Cycle):
        self._cycle = cycle
        self._started_at = dt.datetime.now(dt.UTC).replace(tzinfo=None)
        self._began = time.monotonic()
        self._written: tuple[str, int] | None = None
        """What the written row says: the outcome, and how many warnings."""
        self.log_stands = False
        """The warehouse has the table, and it is ours."""

    def write(self, warehouse: Warehouse, error: BaseException | None) -> None:
        """Writes the row of the cycle that ends, and those that earlier cycles left behind."""
        if self.log_stands:
            with self._cycle.as_warning(f"{CYCLE_LOG} could not be written, the next cycle does it"):
                enter(warehouse, self._row(error))
                self._written = self._state(error)
                enter_kept(warehouse, self._cycle.gateway)

    def keep(self, error: BaseException | None) -> None:
        """A row that was not written goes to the file, or one that has changed since."""
        if self._written != self._state(error):
            with self._cycle.as_warning(f"{CYCLE_LOG} lacks this cycle"):
                keep(self._cycle.gateway, self._row(error))

    def _state(self, error: BaseException | None) -> tuple[str, int]:
        return outcome_of(error), len(self._cycle.warnings)

    def _row(self, error: BaseException | None) -> dict[str, Any]:
        rows = [phase.rows for phase in self._cycle.phases]
        phases = [{"phase": p.name, "seconds": round(p.seconds, 2), **p.rows} for p in self._cycle.phases]
        texts = {
            "phases": json.dumps(phases),
            "warnings": self._plain("\n".join(" ".join(warning.split()) for warning in self._cycle.warnings)),
            "error": None if error is None else self._plain(" ".join(in_words(error).split())),
        }
        return {
            "cycle_at": f"{self._cycle.at.replace(tzinfo=None)}",
            "started_at": str(self._started_at),
            "seconds": round(time.monotonic() - self._began, 2),
            "outcome": outcome_of(error),
            "rows_landed": sum(each.get("landed", 0) for each in rows),
            "rows_rejected": sum(each.get("rejected", 0) for each in rows),
            "rows_archived": sum(each.get("archived", 0) for each in rows),
            **{name: within(text, SIZES[name]) if text else None for name, text in texts.items()},
        }

    def _plain(self, text: str) -> str:
        return without_secrets(text, self._cycle.source)


def outcome_of(error: BaseException | None) -> str:
    """How a cycle ended that ended with this error, or without one."""
    match error:
        case None:
            return DONE
        case LockHeld():
            return LOCKED
        case ConfigurationError() | SourceUrlError():
            return REFUSED
        case _:
            return FAILED


# In the warehouse


def logged_cycles(
    warehouse: Warehouse, since: dt.datetime, at: dt.datetime, kept: Iterable[dict[str, Any]]
) -> list[LoggedCycle]:
    """The cycles from one moment to another (UTC, no zone), in their order. kept: `kept_rows`."""
    rows = warehouse.fetchall(
        sql_from_template(
            "SELECT :columns FROM log WHERE cycle_at >= :since AND cycle_at <= :at",
            {"log": CYCLE_LOG},
            columns=columns_of(COLUMNS, "log"),
            since=timestamp(epoch_of(since)),
            at=timestamp(epoch_of(at)),
        )
    )
    return with_kept([LoggedCycle(*row) for row in rows], kept, at)


def first_and_last_done(warehouse: Warehouse, at: dt.datetime) -> tuple[dt.datetime | None, dt.datetime | None]:
    """The moments of the first and of the last cycle until `at` (UTC, no zone) that ended well, by the log."""
    (row,) = warehouse.fetchall(
        sql_from_template(
            "SELECT MIN(cycle_at), MAX(cycle_at) FROM log WHERE outcome = :done AND cycle_at <= :at",
            {"log": CYCLE_LOG},
            done=DONE,
            at=timestamp(epoch_of(at)),
        )
    )
    return row[0], row[1]


def enter(warehouse: Warehouse, row: dict[str, Any]) -> None:
    """Writes a cycle's row, in one statement; how far each table's landings have come is read in it."""
    newest = [
        sql_from_template("MAX(CASE WHEN table_name = :name THEN watermark END)", {}, name=name) for name in EXTRACTED
    ]
    columns = [*row, *(f"newest_{mart_of(name).alias}" for name in EXTRACTED)]
    warehouse.execute(
        sql_from_template(
            "INSERT INTO cycle_log (:target) SELECT :row FROM extract_log",
            {"cycle_log": CYCLE_LOG, "extract_log": EXTRACT_LOG},
            target=[exp.to_identifier(name) for name in columns],
            row=[*_typed(row).values(), *newest],
        )
    )


def enter_kept(warehouse: Warehouse, gateway: str) -> None:
    """Enters what earlier cycles left in the file, and empties it; rows that stand already get their later end."""
    path = kept_file(gateway)
    if not path.exists():
        return
    with path.open("r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # a cycle that is refused meanwhile waits with its line
        rows = _rows_of(file.read())
        if rows:
            _enter_all(warehouse, rows)
        file.truncate(0)
    # The file itself stays: who waits for it would otherwise write to one that has no name any more.


def _enter_all(warehouse: Warehouse, rows: dict[str, dict[str, Any]]) -> None:
    started = exp.column("started_at").isin(*(exp.cast(exp.Literal.string(name), "TIMESTAMP") for name in rows))
    with warehouse.transaction():
        query = exp.select("started_at").from_(table_node(CYCLE_LOG)).where(started)
        known = {str(row[0]) for row in warehouse.fetchall(query)}
        for name in known & {*rows}:
            warehouse.execute(
                sql_from_template(
                    """
                    UPDATE cycle_log SET outcome = :outcome, seconds = :seconds, warnings = :warnings, error = :error
                    WHERE started_at = CAST(:started AS TIMESTAMP)
                    """,
                    {"cycle_log": CYCLE_LOG},
                    started=name,
                    **{column: rows[name][column] for column in ("outcome", "seconds", "warnings", "error")},
                )
            )
        insert_rows(warehouse, CYCLE_LOG, [_typed(row) for name, row in rows.items() if name not in known])


def _typed(row: dict[str, Any]) -> dict[str, exp.Expr]:
    kinds = columns_of_own(OWN_TABLES[CYCLE_LOG])
    return {name: exp.cast(exp.convert(value), kinds[name].copy()) for name, value in row.items()}


# In the file


def with_kept(logged: Iterable[LoggedCycle], kept: Iterable[dict[str, Any]], at: dt.datetime) -> list[LoggedCycle]:
    """What is logged and what is kept until `at` (UTC, no zone): a kept row knows better how its cycle ended."""
    known = [each for each in map(LoggedCycle.of, kept) if each.cycle_at <= at]
    found = {each.started_at: each for each in (*logged, *known)}
    return sorted(found.values(), key=lambda each: (each.cycle_at, each.started_at))


def kept_file(gateway: str) -> Path:
    """Where rows wait for the next cycle: beside the warehouse's file, or in the project's folder on Redshift."""
    if gateway == "local":
        file = warehouse_file()
        return file.with_name(f"{file.name}.cycle_log")
    return in_project(f"{gateway}.cycle_log")


def keep(gateway: str, row: dict[str, Any]) -> None:
    """Adds a row to the file, on a line of its own also if the one before was broken off."""
    with kept_file(gateway).open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        begins = b"\n" if file.read() not in (b"", b"\n") else b""
        file.write(begins + json.dumps(row).encode() + b"\n")


def kept_rows(gateway: str) -> list[dict[str, Any]]:
    """What waits in the file, the oldest first."""
    try:
        return list(_rows_of(kept_file(gateway).read_text(encoding="utf-8")).values())
    except OSError:
        return []


def _rows_of(text: str) -> dict[str, dict[str, Any]]:
    """started_at -> the last row of it; a line that was broken off is left out."""
    rows: dict[str, dict[str, Any]] = {}
    for line in text.splitlines():
        with suppress(ValueError, KeyError, TypeError):
            row = json.loads(line)
            rows[row["started_at"]] = row
    return rows
