"""One order, whole: every row that the warehouse holds of a number, and where each lives. As `order-tracking order`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp

from extract.ensure_tables import REJECTED_ROWS
from extract.held import places_of
from extract.tables import ExtractConfig, Table
from extract.warehouse import Warehouse
from macros.history import history_view
from macros.marts import HISTORY_SCHEMA, MART_SCHEMA, RAW_SCHEMA, UTI
from macros.sql import table_node, union_all
from macros.versions import CREATION_TOLERANCE
from scripts.open_exceptions import OpenException, open_exceptions
from scripts.reading import nothing_yet

MART = "mart"
LARGEST = 2**63 - 1
"""What a BIGINT holds."""

Row = dict[str, Any]
"""Column -> value; with `lives_in` (mart, or a half-year of history) and `number_use`."""


@dataclass(frozen=True)
class Order:
    """What is known of an order number. Several orders may have had it: `number_use` counts them, from 1."""

    order_id: int
    statuses: list[Row] = field(default_factory=list)
    metadata: list[Row] = field(default_factory=list)
    scans: list[Row] = field(default_factory=list)
    landed: dict[str, dt.datetime] = field(default_factory=dict)
    """Table -> when a row of it last landed, as far back as raw reaches."""
    exceptions: list[OpenException] = field(default_factory=list)
    rejected: list[Row] = field(default_factory=list)

    @property
    def known(self) -> bool:
        return bool(self.statuses or self.metadata or self.scans or self.landed or self.rejected or self.exceptions)

    @property
    def state(self) -> str:
        """What the order is, in a word or two."""
        if any(row["lives_in"] == MART for row in self.statuses):
            return "active"
        if self.statuses:
            return f"archived in {self.statuses[-1]['lives_in']}"
        if self.metadata or self.scans:
            held = [name for name, rows in (("metadata", self.metadata), ("scans", self.scans)) if rows]
            return f"without a status: only {' and '.join(held)}"
        if any(finding.check_name == "landed_but_missing" for finding in self.exceptions):
            return "landed, and neither in a mart nor in history: it is missing, and no cycle takes it by itself"
        if self.landed:
            return "landed, and not in the marts yet: the next cycle takes it there"
        return "only rejected rows" if self.rejected else "only findings" if self.exceptions else "unknown"

    @property
    def notes(self) -> list[str]:
        """What is remarkable, and what to do about it."""
        notes = []
        if len(self.statuses) > 1:
            notes.append(f"{len(self.statuses)} orders had this number: number_use tells whose row it is.")
        uses = {row["number_use"] for row in self.metadata}
        if self.state == "active" and self.statuses[-1]["number_use"] not in uses:
            notes.append("Nothing holds its metadata: the exceptions say more once the checks have run.")
        elif self.state == "active" and self.metadata[-1]["lives_in"] != MART:
            notes.append(f"It came back; history has its metadata: order-tracking exceptions restore {self.order_id}")
        return notes


def find_orders(warehouse: Warehouse, config: ExtractConfig, texts: Sequence[str]) -> dict[str, list[Order]]:
    """What was asked for -> the orders under that order number or tracking number; one that is not `known` if none.

    Raises ConfigurationError where nothing has ever been loaded: of no order can it be said that it is unknown.
    """
    if not all(table.raw in warehouse.columns_of_schemas([RAW_SCHEMA]) for table in config.tables):
        raise nothing_yet("This warehouse has no tables of orders yet")
    by_mark = _orders_of_marks(warehouse, texts)
    numbers = {text: [*_as_number(text), *by_mark.get(text, [])] for text in texts}
    wanted = sorted({number for found in numbers.values() for number in found})
    orders = _read(warehouse, config, wanted) if wanted else {}
    answers = {}
    for text, found in numbers.items():
        known = [orders[number] for number in dict.fromkeys(found) if orders[number].known]
        answers[text] = known or [Order(found[0] if found else 0)]
    return answers


def _as_number(text: str) -> list[int]:
    plain = text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST))  # int() refuses thousands of digits
    return [int(text)] if plain and int(text) <= LARGEST else []


def _orders_of_marks(warehouse: Warehouse, texts: Sequence[str]) -> dict[str, list[int]]:
    """Tracking number -> the orders that have it or had it."""
    found: dict[str, list[int]] = {}
    standing = warehouse.columns_of_schemas([MART_SCHEMA, HISTORY_SCHEMA])
    places = [
        exp.select("tno", "order_id").from_(table_node(name)).where(exp.column("tno").isin(*texts))
        for name in (UTI, history_view("uti"))
        if name in standing
    ]
    for text, order in warehouse.fetchall(union_all(places)) if places else ():
        found.setdefault(text, []).append(int(order))
    return {text: sorted({*orders}) for text, orders in found.items()}


def _read(warehouse: Warehouse, config: ExtractConfig, wanted: Sequence[int]) -> dict[int, Order]:
    orders = {number: Order(number) for number in wanted}
    parts = {
        "uti": {number: order.statuses for number, order in orders.items()},
        "ecs": {number: order.metadata for number, order in orders.items()},
        "uts": {number: order.scans for number, order in orders.items()},
    }
    standing = warehouse.columns_of_schemas([MART_SCHEMA, HISTORY_SCHEMA])
    for table in config.tables:
        rows = _rows(warehouse, table, wanted, standing)
        for row in sorted(rows, key=lambda row: _in_time(row, table)):
            parts[table.mart.alias][row["order_id"]].append(row)
        raw = exp.select("order_id", "MAX(landed_at)").from_(table_node(table.raw)).group_by("order_id")
        for number, landed_at in warehouse.fetchall(raw.where(exp.column("order_id").isin(*wanted))):
            orders[number].landed[table.name] = landed_at
    for exception in open_exceptions(warehouse, wanted):
        if exception.order_id is not None:
            orders[exception.order_id].exceptions.append(exception)
    for row in _rejected(warehouse, wanted):
        orders[row["order_id"]].rejected.append(row)
    for order in orders.values():
        _number_uses(order, config)
    return orders


def _rows(warehouse: Warehouse, table: Table, wanted: Sequence[int], standing: Mapping[str, set[str]]) -> list[Row]:
    """Every row of a table in mart and history. A column that was added since the last plan is NULL there."""
    names = [*table.raw_columns]
    queries: list[exp.Query] = []
    for place, query in places_of(table, names, standing).items():
        home = exp.Literal.string(MART) if place == table.mart.name else exp.column("period")
        lives_in = exp.cast(home, exp.DataType.build("VARCHAR(16)")).as_("lives_in")
        queries.append(query.select(lives_in).where(exp.column("order_id").isin(*wanted)))
    found = warehouse.fetchall(union_all(queries)) if queries else []
    return [dict(zip([*names, "lives_in"], row, strict=True)) for row in found]


def _in_time(row: Row, table: Table) -> tuple[Any, ...]:
    """In order of event time; within a second as the marts order them."""
    return row[table.time], row.get("traceseq") or 0, row["lives_in"] == MART, row["landed_at"]


def _rejected(warehouse: Warehouse, wanted: Sequence[int]) -> list[Row]:
    columns = ["order_id", "table_name", "reason", "payload", "rejected_at"]
    query = exp.select(*columns).from_(table_node(REJECTED_ROWS)).where(exp.column("order_id").isin(*wanted))
    return [dict(zip(columns, row, strict=True)) for row in warehouse.fetchall(query.order_by("rejected_at"))]


def _number_uses(order: Order, config: ExtractConfig) -> None:
    """The nth status is of the nth order under the number; metadata and a scan are of the order that ended next.

    As order_lookup and order_timeline tell them apart.
    """
    uti, ecs, uts = (table.time for table in config.tables)
    for use, status in enumerate(order.statuses, start=1):
        status["number_use"] = use
    ends = [(status[uti] + CREATION_TOLERANCE, status["lives_in"] != MART) for status in order.statuses]
    most = max(len(order.statuses), len(order.metadata))
    for metadata in order.metadata:
        metadata["number_use"] = min(1 + sum(end < metadata[ecs] for end, _ in ends), most)
    for scan in order.scans:
        several = len(order.statuses) > 1
        scan["number_use"] = 1 + sum(end < scan[uts] and archived and several for end, archived in ends)
