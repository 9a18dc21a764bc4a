"""The three marts and what tells them apart. Their columns stand in external_models.yaml, each once."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

RAW_SCHEMA = "order_tracking_raw"
MART_SCHEMA = "order_tracking"
HISTORY_SCHEMA = "order_tracking_history"
EXCEPTIONS = f"{HISTORY_SCHEMA}.order_tracking_exceptions"
CHECK_LOG = f"{HISTORY_SCHEMA}.check_log"
UTI = f"{MART_SCHEMA}.mart_uni_tracking_info"
ECS = f"{MART_SCHEMA}.mart_ecs_order_info"
UTS = f"{MART_SCHEMA}.mart_uni_tracking_spath"

NUMBER_USED_AGAIN = "history holds another order under this number: its tracking number or its metadata differ"
"""What an exception says of it, whoever finds it: the mart at once, or the daily check."""


@dataclass(frozen=True)
class Mart:
    """A mart and its rules. (No properties: SQLMesh stores the class with the models that use it.)

    alias: uti, ecs or uts; names its history tables
    table: what the source, the logs and extract/tables.yaml call its table
    name, raw: the mart's table, and the raw table that feeds it
    event_time: its column of epoch seconds that says when something happened
    one_row_per_order: the newest version of an order counts; otherwise rows are events that never change
    follows_anchor: a row leaves when uti has archived its order, and not by its own age
    order_mark: the column that tells an order from an earlier one under the same number; '' for events
    sortkey: what its rows, and those of its history, are sorted by on Redshift
    """

    alias: str
    table: str
    name: str
    raw: str
    event_time: str
    one_row_per_order: bool
    follows_anchor: bool
    order_mark: str
    sortkey: tuple[str, ...]


def marts() -> tuple[Mart, ...]:
    """All three, the anchor first."""
    return (
        Mart(
            alias="uti",
            table="uni_tracking_info",
            name=UTI,
            raw=f"{RAW_SCHEMA}.uni_tracking_info_raw",
            event_time="update_time",
            one_row_per_order=True,
            follows_anchor=False,
            order_mark="tno",
            sortkey=("update_time", "order_id"),
        ),
        Mart(
            alias="ecs",
            table="ecs_order_info",
            name=ECS,
            raw=f"{RAW_SCHEMA}.ecs_order_info_raw",
            event_time="add_time",
            one_row_per_order=True,
            follows_anchor=True,
            order_mark="add_time",
            sortkey=("partner_id", "add_time", "order_id"),
        ),
        Mart(
            alias="uts",
            table="uni_tracking_spath",
            name=UTS,
            raw=f"{RAW_SCHEMA}.uni_tracking_spath_raw",
            event_time="pathtime",
            one_row_per_order=False,
            follows_anchor=False,
            order_mark="",
            sortkey=("pathtime", "order_id"),
        ),
    )


def anchor() -> Mart:
    """uti: it says which orders are active. ecs follows it, scans do not."""
    return marts()[0]


def mart_of(name: str) -> Mart:
    """The mart with this alias, source's table or name; KeyError where there is none.

    Example:
        >>> mart_of("ecs").event_time, mart_of(UTS).alias, mart_of("uni_tracking_info").alias
        ('add_time', 'uts', 'uti')
    """
    return {known: mart for mart in marts() for known in (mart.alias, mart.table, mart.name)}[name]


def scan_key() -> list[str]:
    """What makes a scan the same scan."""
    return ["order_id", "pathtime", "code", "traceseq"]


def needed_columns(mart: Mart) -> list[str]:
    """The columns that the rules are made of; all others may be as the source has them.

    Example:
        >>> needed_columns(mart_of("uti"))
        ['order_id', 'update_time', 'tno']
    """
    named = ["order_id", mart.event_time, mart.order_mark, *mart.sortkey]
    return [*dict.fromkeys([*filter(None, named), *([] if mart.one_row_per_order else scan_key())])]


def identity(mart: Mart, columns: t.Iterable[str]) -> list[str]:
    """The columns, beside order_id, in which a row and its copy agree; the deciding ones first.

    A version is told by its event time, then its arrival, then every other column; a scan by its key.
    """
    if not mart.one_row_per_order:
        return scan_key()[1:]
    first = [mart.event_time, "landed_at"]
    return [*first, *(name for name in columns if name not in ("order_id", *first))]
