"""The exceptions that the checks keep, and what an operator does about them: restore, resolve, accept.

As `order-tracking exceptions`: scripts/commands/exceptions.py.
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Sequence
from typing import Any

from sqlglot import exp

from extract.clock import Clock, next_stamp
from extract.errors import ConfigurationError
from extract.extract_log import Landed, log, log_state, refuse_to_go_back, stamp_literal
from extract.settings import PROJECT
from extract.tables import ExtractConfig, Table
from extract.warehouse import Warehouse
from macros.details import ACCEPTED, topic
from macros.history import history_view
from macros.marts import ECS, EXCEPTIONS, HISTORY_SCHEMA, UTI
from macros.sql import columns_of, sql_from_template, table_node, timestamp
from macros.versions import CREATION_TOLERANCE
from scripts.open_exceptions import RESTORABLE_CHECK, OpenException, OpenLine, open_exceptions, open_lines


def restorable_orders(warehouse: Warehouse) -> list[int]:
    """The active orders whose metadata is only in history, of those that the check has found."""
    candidates = sorted(
        {e.order_id for e in open_exceptions(warehouse, check=RESTORABLE_CHECK) if e.order_id is not None}
    )
    return [order for order, fault in _restore_faults(warehouse, candidates).items() if fault is None]


def restore(warehouse: Warehouse, config: ExtractConfig, orders: Sequence[int], clock: Clock) -> dict[int, str | None]:
    """Lands the archived metadata of active orders in raw again, newest version; order -> why not, or None.

    Where raw holds a newer version already, restored or corrected, nothing lands: the next cycle takes that one.
    """
    table = ecs_table(config)
    faults = _restore_faults(warehouse, orders)
    waiting = _waiting_for_a_cycle(warehouse, table, [order for order, fault in faults.items() if fault is None])
    wanted = [order for order, fault in faults.items() if fault is None and order not in waiting]
    if not wanted:
        return faults
    # A column that was added reaches history with the next archive; until then it has nothing to tell.
    known = warehouse.columns_of_schemas([HISTORY_SCHEMA])[history_view("ecs")] or table.columns.keys()
    names = [name for name in table.columns if name in known]
    now = clock.now()
    refuse_to_go_back(log_state(warehouse), now)
    stamp = next_stamp(now, None)
    with warehouse.transaction():
        landed = warehouse.execute(
            sql_from_template(
                """
                INSERT INTO raw (:target, landed_at)
                SELECT :columns, :stamp FROM (
                  SELECT archived.*, ROW_NUMBER() OVER (
                    PARTITION BY archived.order_id ORDER BY archived.add_time DESC, archived.landed_at DESC
                  ) AS recency_rank
                  FROM archived WHERE archived.order_id IN (:orders)
                ) AS newest
                WHERE newest.recency_rank = 1
                """,
                {"raw": table.raw, "archived": history_view("ecs")},
                target=[exp.to_identifier(name) for name in names],
                columns=columns_of(names, "newest"),
                stamp=stamp_literal(stamp),
                orders=[exp.convert(order) for order in wanted],
            )
        )
        done = Landed(rows_read=len(wanted), rows_landed=landed, rows_rejected=0, bytes=0)
        log(warehouse, table, done, kind="restore", now=now, seconds=0, window_start=None, stamp=stamp)
    return faults


def _waiting_for_a_cycle(warehouse: Warehouse, table: Table, orders: Sequence[int]) -> set[int]:
    """Of these orders those of which raw holds metadata that is newer than all that history holds."""
    if not orders:
        return set()

    def newest(rows: str) -> dict[int, tuple[Any, ...]]:
        """Order -> creation and arrival of its newest metadata."""
        found = warehouse.fetchall(
            sql_from_template(
                """
                SELECT order_id, add_time, landed_at FROM (
                  SELECT order_id, add_time, landed_at,
                    ROW_NUMBER() OVER (PARTITION BY order_id ORDER BY add_time DESC, landed_at DESC) AS place
                  FROM rows WHERE order_id IN (:orders)
                ) AS ranked
                WHERE place = 1
                """,
                {"rows": rows},
                orders=[exp.convert(order) for order in orders],
            )
        )
        return {int(order): (add_time, landed or dt.datetime.min) for order, add_time, landed in found}

    archived = newest(history_view("ecs"))
    return {order for order, landed in newest(table.raw).items() if order not in archived or landed > archived[order]}


def _restore_faults(warehouse: Warehouse, orders: Sequence[int]) -> dict[int, str | None]:
    """Order -> what stands against restoring it, or None."""
    if not orders:
        return {}

    def among(table: str) -> set[int]:
        query = exp.select("order_id").distinct().from_(table_node(table))
        return {int(row[0]) for row in warehouse.fetchall(query.where(exp.column("order_id").isin(*orders)))}

    def newest(table: str, time: str) -> dict[int, int]:
        query = exp.select("order_id", exp.func("MAX", exp.column(time))).from_(table_node(table))
        rows = warehouse.fetchall(query.where(exp.column("order_id").isin(*orders)).group_by("order_id"))
        return {int(order): int(moment) for order, moment in rows}

    archived, active, present = newest(history_view("ecs"), "add_time"), among(UTI), among(ECS)
    namesakes = newest(history_view("uti"), "update_time")  # of an active order history holds no status of its own
    faults: dict[int, str | None] = {}
    for order in orders:
        if order in present:
            faults[order] = "the mart has its metadata already"
        elif order not in archived:
            faults[order] = "history holds no metadata of it"
        elif order not in active:
            faults[order] = "it is not active; its metadata belongs in history"
        elif order in namesakes and archived[order] <= namesakes[order] + CREATION_TOLERANCE:
            faults[order] = "history holds only the metadata of an earlier order under this number"
        else:
            faults[order] = None
    return faults


def refuse_unknown_check(check: str) -> None:
    """A check that is misspelled has found nothing; raises ConfigurationError with the names that there are."""
    known = sorted(file.stem for file in (PROJECT / "models" / "checks").glob("*.sql"))
    if check not in known:
        raise ConfigurationError(f"There is no check {check}; nothing was asked. There are: {', '.join(known)}.")


def ecs_table(config: ExtractConfig) -> Table:
    return next(table for table in config.tables if table.mart.alias == "ecs")


def close_exceptions(warehouse: Warehouse, what: str, note: str, clock: Clock, *, accept: bool = False) -> int:
    """Closes open exceptions with an operator's note; how many.

    Args:
        what: A check's name; or the key of a line of the list, for all that it stands for, or of one exception.
        accept: What is closed is known, and stays quiet until its detail changes.

    Raises ConfigurationError where nothing open is meant, or the note is none.
    """
    note = note.strip()
    if not note or note.lower() == "cleared" or note.lower().startswith(ACCEPTED.strip()):
        raise ConfigurationError(
            "Say in --note what was done ('cleared' and 'accepted:' are written by the project); nothing was changed."
        )
    with warehouse.transaction():
        return warehouse.execute(
            sql_from_template(
                "UPDATE exceptions SET resolved_at = :at, resolution = :note WHERE :meant AND resolved_at IS NULL",
                {"exceptions": EXCEPTIONS},
                at=timestamp(clock.now()),
                note=f"{ACCEPTED if accept else ''}{note[:1000]}",
                meant=_meant(warehouse, what),
            )
        )


def _meant(warehouse: Warehouse, what: str) -> exp.Expr:
    """The condition of the exceptions that a check's name or a key stands for."""
    lines = open_lines(warehouse)
    if any(line.check_name == what for line in lines):
        return exp.column("check_name").eq(what)
    one: OpenException | OpenLine | None = next((line for line in lines if line.key == what), None)
    if one is None:
        one = next((exception for exception in open_exceptions(warehouse) if exception.key == what), None)
    if one is None:
        raise ConfigurationError(
            f"Nothing open has the key {what}, and no check of that name has found anything that is open; nothing was "
            "changed. See: exceptions list."
        )
    parts = [
        exp.column("check_name").eq(one.check_name),
        exp.column("table_name").eq(one.table_name),
        sql_from_template(f"{topic('exceptions')} = :topic", {}, topic=one.topic),
    ]
    if isinstance(one, OpenException):
        order = exp.column("order_id")
        parts.append(order.is_(exp.null()) if one.order_id is None else order.eq(one.order_id))
    return exp.and_(*parts)


if __name__ == "__main__":
    from scripts.cli import main

    raise SystemExit(main(["exceptions", *sys.argv[1:]]))
