"""`order-tracking verify`"""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import click

from scripts.commands.reconcile import reconcile_start
from scripts.options import Time, at_option, chosen_gateway, gateway_option, source_option, table_option

if TYPE_CHECKING:
    from extract.verify import Verdict

EXIT_CODES = """
    \b
    Exit codes:
      0   nothing differs
      1   something differs, or the comparison failed
      2   usage or configuration; nothing was done
      75  another command holds the lock; nothing was done
"""


@click.command(short_help="Compare source and warehouse, and land nothing.", epilog=EXIT_CODES)
@click.option("--since", type=Time(), metavar="TIME", help="From this event time on (default: 35 days back).")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@source_option
@table_option
@gateway_option
@at_option
def command(
    since: dt.datetime | None,
    as_json: bool,
    source: str | None,
    tables: tuple[str, ...],
    gateway: str | None,
    at: dt.datetime | None,
) -> int:
    """Compare the source with the warehouse: hours, rows and columns that differ.

    It compares up to the newest row that an extract has seen, first by the hour, then row by row where an hour differs.
    Rows that cannot be loaded are named, and are no difference.

    Changes nothing. `order-tracking reconcile` brings in what is missing, `order-tracking refresh` other values.

    \b
    Example:
      order-tracking verify --since 2026-01-05 --json
    """
    gateway = chosen_gateway(gateway, needs_source=True, source=source)
    from contextlib import closing

    from extract.clock import Clock
    from extract.ensure_tables import ensure_tables
    from extract.lock import run_lock
    from extract.settings import configured_source
    from extract.source import open_source
    from extract.tables import load_config
    from extract.verify import verify
    from extract.warehouse import open_warehouse
    from scripts.display import answer

    config, clock = load_config(), Clock(at)
    config.select(tables)
    with (
        run_lock(gateway),
        closing(open_source(configured_source(source, gateway), config.limits)) as rows,
        closing(open_warehouse(gateway)) as warehouse,
    ):
        ensure_tables(warehouse, config, clock.now())
        now = rows.clock() or clock.now()
        start = Clock(reconcile_start(since, at)).now()
        verdicts = verify(rows, warehouse, config, min(now, clock.now()), max(start, 0), tables=tables)
    answer(as_json_text(verdicts) if as_json else as_text(verdicts))
    return 0 if all(verdict.equal for verdict in verdicts) else 1


def as_text(verdicts: list[Verdict]) -> str:
    from scripts.display import table

    differing = [verdict for verdict in verdicts if not verdict.equal]
    lines = [
        f"Nothing differs in {sum(verdict.hours for verdict in verdicts):,} hours of {len(verdicts)} tables."
        if not differing
        else f"The source and the warehouse differ in {', '.join(verdict.table for verdict in differing)}."
    ]
    compared = [
        (verdict.table, _utc(verdict.since), _utc(verdict.until), verdict.hours, verdict.unequal_hours)
        for verdict in verdicts
    ]
    lines += ["", table(("table", "from", "until", "hours", "that differ"), compared)]
    if differing:
        found = [
            (verdict.table, reason, rows, ", ".join(map(str, verdict.orders[reason])))
            for verdict in differing
            for reason, rows in verdict.rows.items()
        ]
        lines += ["", table(("table", "what differs", "rows", "orders, for example"), found)]
    columns = [(verdict.table, name, rows) for verdict in differing for name, rows in verdict.columns.items()]
    if columns:
        lines += ["", table(("table", "column", "rows with another value"), columns)]
    for verdict in verdicts:
        if verdict.rejected:
            lines.append(f"{verdict.table}: {verdict.rejected:,} rows cannot be loaded, of hours that differ.")
        if verdict.not_compared:
            lines.append(f"{verdict.table}: not compared by the hour: {', '.join(verdict.not_compared)}.")
    return "\n".join(lines)


def as_json_text(verdicts: list[Verdict]) -> str:
    def of(verdict: Verdict) -> dict[str, Any]:
        return {
            "table": verdict.table,
            "since": _utc(verdict.since),
            "until": _utc(verdict.until),
            "hours": verdict.hours,
            "unequal_hours": verdict.unequal_hours,
            "differences": [
                {"reason": reason, "rows": rows, "orders": verdict.orders[reason]}
                for reason, rows in verdict.rows.items()
            ],
            "columns": verdict.columns,
            "rejected": verdict.rejected,
            "not_compared": verdict.not_compared,
        }

    equal = all(verdict.equal for verdict in verdicts)
    return json.dumps({"equal": equal, "tables": [of(verdict) for verdict in verdicts]}, indent=2)


def _utc(epoch_seconds: int | None) -> str | None:
    return None if epoch_seconds is None else f"{dt.datetime.fromtimestamp(epoch_seconds, dt.UTC):%Y-%m-%d %H:%M:%S}"
