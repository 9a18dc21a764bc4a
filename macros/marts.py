"""What tells the three marts apart, in one place; their columns stand in the models."""

from __future__ import annotations

import typing as t

RAW_SCHEMA = "order_tracking_raw"
HISTORY_SCHEMA = "order_tracking_history"
UTI = "order_tracking.mart_uni_tracking_info"
ECS = "order_tracking.mart_ecs_order_info"

NUMBER_USED_AGAIN = "history holds another order under this number: its tracking number or its metadata differ"
"""What an exception says of it, whoever finds it: the mart at once, or the daily check."""


def mart_facts(name: str) -> dict[str, t.Any]:
    """The facts of a mart, by the last part of its name.

    `short` names its history tables, `time` is its event time in epoch seconds, `raw` the table it is fed from, and
    `versioned` says that an order has one row, of which the newest version counts (otherwise rows never change).
    """
    return {
        "mart_uni_tracking_info": {
            "short": "uti",
            "time": "update_time",
            "raw": f"{RAW_SCHEMA}.uni_tracking_info_raw",
            "versioned": True,
        },
        "mart_ecs_order_info": {
            "short": "ecs",
            "time": "add_time",
            "raw": f"{RAW_SCHEMA}.ecs_order_info_raw",
            "versioned": True,
        },
        "mart_uni_tracking_spath": {
            "short": "uts",
            "time": "pathtime",
            "raw": f"{RAW_SCHEMA}.uni_tracking_spath_raw",
            "versioned": False,
        },
    }[name]


def scan_key() -> list[str]:
    """What makes a scan the same scan."""
    return ["order_id", "pathtime", "code", "traceseq"]


def order_mark(short: str) -> str:
    """The column that tells an order from an earlier one under the same number: its tracking number, its creation.

    Scans have none: a scan is told by its whole key.
    """
    return {"uti": "tno", "ecs": "add_time"}[short]


def identity_columns(columns: t.Iterable[str], time: str, versioned: bool) -> list[str]:
    """The columns, beside order_id, in which a row and its copy must agree; the deciding ones first.

    A version is told by its event time, then its arrival, then every other column; a scan by its key.
    """
    if not versioned:
        return scan_key()[1:]
    return [time, "landed_at", *(name for name in columns if name not in ("order_id", time, "landed_at"))]
