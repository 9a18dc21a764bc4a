"""`order-tracking verify`"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import click

from extract.clock import Clock, reconcile_start, utc
from scripts.display import answer, json_text, table
from scripts.options import Time, at_option, chosen_gateway, exit_codes, gateway_option, source_option, table_option

if TYPE_CHECKING:
    from extract.verify import Verdict
    from scripts.ledger import TableLedger

VERIFY_CODES = exit_codes("nothing differs", "something differs, or the comparison failed")


@click.command(short_help="Compare source and warehouse, and land nothing.", epilog=VERIFY_CODES)
@click.option("--ledger", is_flag=True, help="Balance the warehouse's own books instead; needs no source.")
@click.option("--since", type=Time(), metavar="TIME", help="From this event time on (default: 35 days back).")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@source_option
@table_option
@gateway_option
@at_option
def command(
    ledger: bool,
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

    With --ledger: what landed must be in mart or history, or waiting for the next cycle, or superseded by a newer
    version. What raw still holds is looked up row by row, and the orders of missing rows are named.

    Changes nothing. `order-tracking reconcile` brings in what is missing, `order-tracking refresh` other values.

    \b
    Examples:
      order-tracking verify --since 2026-01-05 --json
      order-tracking verify --ledger
    """
    if ledger:
        if since or source:
            raise click.UsageError("--ledger takes no --since and no --source.")
        return _ledger(as_json, tables, gateway, at)
    gateway = chosen_gateway(gateway, needs_source=True, source=source)
    from contextlib import closing

    from extract.ensure_tables import ensure_tables
    from extract.lock import run_lock
    from extract.settings import configured_source
    from extract.source import open_source
    from extract.tables import load_config
    from extract.verify import verify
    from extract.warehouse import open_warehouse
    from scripts.reading import warn

    config, clock = load_config(), Clock(at)
    config.select(tables)
    start = Clock(reconcile_start(since, at)).now()
    with (
        run_lock(gateway),
        closing(open_source(configured_source(source, gateway), config.limits)) as opened,
        closing(open_warehouse(gateway)) as warehouse,
    ):
        warn(ensure_tables(warehouse, config, clock.now()))
        now = opened.clock() or clock.now()
        verdicts = verify(opened, warehouse, config, min(now, clock.now()), max(start, 0), tables=tables)
    answer(as_json_text(verdicts) if as_json else as_text(verdicts))
    return 0 if all(verdict.equal for verdict in verdicts) else 1


def _ledger(as_json: bool, tables: tuple[str, ...], gateway: str | None, at: dt.datetime | None) -> int:
    gateway = chosen_gateway(gateway)
    from extract.tables import load_config
    from scripts.ledger import read_ledger
    from scripts.reading import checked_warehouse

    config, clock = load_config(), Clock(at)
    config.select(tables)
    with checked_warehouse(gateway, config, clock, asks=False) as warehouse:
        ledgers = read_ledger(warehouse, config, clock.now(), tables)
    answer(ledger_as_json(ledgers) if as_json else ledger_as_text(ledgers))
    return 0 if all(each.balances for each in ledgers) else 1


def ledger_as_text(ledgers: list[TableLedger]) -> str:
    """Whether it balances, all that ever landed, where it lives by half-year, and whose rows are missing."""
    wrong = [each.table for each in ledgers if not each.balances]
    lines = [f"The ledger does not balance: {', '.join(wrong)}." if wrong else "The ledger balances."]
    columns = ("landed", "mart", "history", "superseded", "waiting", "difference", "rejected")
    rows = [(each.table, *(getattr(each, name) for name in columns)) for each in ledgers]
    lines += ["", "All that ever landed, in rows. Rejected rows did not land.", table(("table", *columns), rows)]
    halves = [
        (each.table, name, half.mart, half.history, half.in_raw, half.of_raw.get("superseded", 0), half.missing)
        for each in ledgers
        for name, half in each.half_years.items()
    ]
    header = ("table", "half-year", "mart", "history", "in raw", "superseded", "missing")
    lines += [
        "",
        "By half-year. What raw still holds is looked up row by row: so many of it are superseded or missing.",
        table(header, halves),
    ]
    for each in ledgers:
        for name, half in each.half_years.items():
            if half.missing:
                orders = ", ".join(map(str, half.missing_orders))
                lines.append(f"{each.table}, {name}: {half.missing:,} rows are missing, of orders {orders}.")
        if (unnamed := each.difference - each.missing) > 0:
            lines.append(
                f"{each.table}: {unnamed:,} more rows are missing that raw holds no more; their orders are not known "
                "here. `order-tracking verify --since` compares with the source and names them."
            )
        elif unnamed < 0:
            lines.append(
                f"{each.table}: {-unnamed:,} rows are held that never landed: who else writes the mart? (After a "
                "repair by hand: docs/recovery.md, 'The ledger is off after a repair'.)"
            )
    return "\n".join(lines)


def ledger_as_json(ledgers: list[TableLedger]) -> str:
    def of(ledger: TableLedger) -> dict[str, Any]:
        names = ("landed", "mart", "history", "superseded", "waiting", "missing", "difference", "rejected", "in_both")
        halves = {
            name: {
                "mart": half.mart,
                "history": half.history,
                "in_raw": half.of_raw,
                "missing": half.missing,
                "missing_orders": half.missing_orders,
            }
            for name, half in ledger.half_years.items()
        }
        figures = {name: getattr(ledger, name) for name in names}
        return {"table": ledger.table, "balances": ledger.balances, **figures, "half_years": halves}

    balances = all(ledger.balances for ledger in ledgers)
    return json_text({"balances": balances, "tables": [of(ledger) for ledger in ledgers]})


def as_text(verdicts: list[Verdict]) -> str:
    differing = [verdict for verdict in verdicts if not verdict.equal]
    lines = [_outcome(verdicts)]
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


def _outcome(verdicts: list[Verdict]) -> str:
    differing = [verdict.table for verdict in verdicts if not verdict.equal]
    hours = sum(verdict.hours for verdict in verdicts)
    if differing:
        return f"The source and the warehouse differ in {', '.join(differing)}."
    if not hours:
        return "Nothing was compared: neither side has a row between these times. Give an earlier --since."
    return f"Nothing differs in {hours:,} hours of {len(verdicts)} tables."


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
    return json_text({"equal": equal, "tables": [of(verdict) for verdict in verdicts]})


def _utc(epoch_seconds: int | None) -> str | None:
    return None if epoch_seconds is None else f"{utc(epoch_seconds):%Y-%m-%d %H:%M:%S}"
