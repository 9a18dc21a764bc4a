"""`order-tracking lateness`"""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING, Any

import click

from scripts.display import answer, in_time, json_text, plural, table
from scripts.options import EXIT_CODES, at_option, chosen_gateway, gateway_option

if TYPE_CHECKING:
    from scripts.lateness import Arrivals, LatenessReport

BAR = 10
"""Cells of the longest bar."""


@click.command(short_help="Show how late rows arrive, and which buffer would do.", epilog=EXIT_CODES)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@gateway_option
@at_option
def command(as_json: bool, gateway: str | None, at: dt.datetime | None) -> None:
    """Show how late rows arrive, what the extract's buffer costs and catches, and which buffer would do.

    A row is late if it is older than the newest row that had landed before it. A cycle reads again what the buffer
    reaches back to (buffer_minutes in extract/tables.yaml); the nightly reconcile finds what is later.

    Changes nothing, and takes no lock. It reads the raw tables once, so it knows as many days as they keep.

    \b
    Example:
      order-tracking lateness
    """
    gateway = chosen_gateway(gateway)
    from extract.clock import Clock
    from extract.tables import load_config
    from scripts.lateness import read_lateness
    from scripts.reading import warehouse_to_read

    with warehouse_to_read(gateway) as warehouse:
        report = read_lateness(warehouse, load_config(), Clock(at).now())
    answer(json_text(as_data(report)) if as_json else as_text(report))


def as_text(report: LatenessReport) -> str:
    """The recommendation first, then ages, the drawing, and what each buffer would cost and leave."""
    from scripts.lateness import PERCENTILES, percentile

    def minutes(seconds: int | None) -> str:
        return "none yet" if seconds is None else f"{seconds // 60} (set: {report.buffer_seconds // 60})"

    lines = [
        f"Recommended buffer_minutes: {minutes(report.recommended)}",
        f"  {report.because}",
        "",
        f"Age of a row when it landed, by what {report.days:.1f} days of cycles brought",
    ]
    header = ("TABLE", "ROWS", *(f"{percent:g} %" for percent in PERCENTILES), "OLDEST", "DATED AHEAD")
    rows = [
        (
            each.table,
            each.rows,
            *(in_time(percentile(each.ages, percent)) if each.ages else None for percent in (*PERCENTILES, 100)),
            each.ahead,
        )
        for each in report.tables
    ]
    lines += [table(header, rows), "", *_drawing(report), ""]
    lines += ["What a buffer costs and leaves", _choices(report), "", *_remarks(report)]
    return "\n".join(lines)


def _drawing(report: LatenessReport) -> list[str]:
    """Rows by how late they were, a column a table; a bar grows with the logarithm of its rows."""
    from scripts.lateness import REACH, by_class, class_ends

    ends = class_ends(report)
    marks = {report.buffer_seconds: "  < the buffer ends", REACH: "  < the reconcile ends"}
    counts = [by_class(each.behind, ends) for each in report.tables]
    longest = math.log10(max(max(each) for each in counts) + 1)
    lines = ["Rows by how late they were (a bar grows with the logarithm)", f"{'':10}" + _heads(report)]
    for number, end in enumerate([*ends, None]):
        name = "later" if end is None else f"to {in_time(end)}" if end else "not late"
        cells = [
            f"{each[number]:>11,} {'█' * math.ceil(BAR * math.log10(each[number] + 1) / longest):{BAR}}"
            for each in counts
        ]
        lines.append((f"{name:<10}" + "".join(cells) + marks.get(end or -1, "")).rstrip())
    return lines


def _heads(report: LatenessReport) -> str:
    return "".join(f"{each.table:>{BAR + 12}}" for each in report.tables)


def _choices(report: LatenessReport) -> str:
    """A line a buffer: what is read again for it, and what it would have left to the reconcile."""
    from macros.marts import mart_of

    names = list(report.choices[0].left)
    aliases = [mart_of(name).alias for name in names]  # whole names fit no terminal
    header = ("MINUTES", "READ AGAIN A CYCLE", *(f"LEFT OF {alias}" for alias in aliases), "")
    rows = []
    for choice in report.choices:
        words = [
            word
            for word, seconds in (("set", report.buffer_seconds), ("recommended", report.recommended))
            if seconds == choice.buffer_seconds
        ]
        left = [choice.left[name] for name in names]
        rows.append((choice.buffer_seconds // 60, round(choice.read_again_a_cycle), *left, ", ".join(words)))
    return table(header, rows)


def _remarks(report: LatenessReport) -> list[str]:
    """What the buffer does today, what the reconcile brought, and what lies beyond both."""
    remarks = [f"buffer     {_of_buffer(each)}" for each in report.tables]
    found = ", ".join(f"{each.table} {each.reconciled.total():,}" for each in report.tables)
    remarks.append(f"reconcile  ended well on {plural(report.reconciles, 'day')} and brought: {found}")
    by_hand = sum(each.by_hand for each in report.tables)
    missing = sum(each.missing for each in report.tables)
    remarks += [
        f"beyond     {by_hand:,} rows came by hand (extract --since, refresh); {missing:,} are known to be missing",
        "           what comes after 35 days no cycle finds; this looks further: order-tracking verify --since TIME",
    ]
    return remarks


def _of_buffer(each: Arrivals) -> str:
    caught = sum(rows for late, rows in each.late.items() if late)
    if each.by_id:
        return f"{each.table}: read by its id, so the buffer is not asked; {caught:,} rows came late"
    size = each.bytes_again / each.cycles / 1e6 if each.cycles else 0.0
    return (
        f"{each.table}: late rows caught in {each.cycles:,} cycles: {caught:,}; rows read again in each: "
        f"{each.read_again_a_cycle:,.0f} ({size:.1f} MB)"
    )


def as_data(report: LatenessReport) -> dict[str, Any]:
    """The same for a machine. Spans are seconds; classes of lateness are named by their end."""
    from scripts.lateness import PERCENTILES, by_class, class_ends, percentile

    ends = class_ends(report)
    return {
        "at": f"{report.at:%Y-%m-%dT%H:%M:%SZ}",
        "days": round(report.days, 2),
        "buffer_seconds": report.buffer_seconds,
        "recommended_seconds": report.recommended,
        "because": report.because,
        "reconciles": report.reconciles,
        "tables": [
            {
                "table": each.table,
                "rows": each.rows,
                "age_seconds": {f"{p:g}": percentile(each.ages, p) if each.ages else None for p in (*PERCENTILES, 100)},
                "late_rows": dict(zip([*map(str, ends), "later"], by_class(each.behind, ends), strict=True)),
                "caught_by_buffer": sum(rows for late, rows in each.late.items() if late),
                "brought_by_reconcile": each.reconciled.total(),
                "brought_by_hand": each.by_hand,
                "only_in_source": each.missing,
                "dated_ahead": each.ahead,
                "cycles": each.cycles,
                "read_again_a_cycle": round(each.read_again_a_cycle, 1),
                "read_by_id": each.by_id,
            }
            for each in report.tables
        ],
        "buffers": [
            {
                "seconds": choice.buffer_seconds,
                "read_again_a_cycle": round(choice.read_again_a_cycle, 1),
                "left_to_reconcile": choice.left,
            }
            for choice in report.choices
        ],
    }
