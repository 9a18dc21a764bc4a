"""The page's sections in their order: a function each, called in `sections`."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from statistics import median
from typing import Any

from scripts.cycle_log import DONE, LOCKED
from scripts.display import cut
from scripts.page import charts
from scripts.page.facts import DAYS, Facts
from scripts.page.lineage import Lineage
from scripts.page.row_counts import IN_MART
from scripts.status_text import moment

LINES = 50
"""So many kinds of findings are shown at most, the largest first."""

CELL = 240
"""So many characters of a text stand in a cell."""


@dataclass(frozen=True)
class Section:
    """A heading, a sentence that says what there is to see, and the figures; a drawing of them where there are any."""

    heading: str
    text: str
    header: tuple[str, ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()
    drawing: str | None = None
    """An SVG element."""
    alternative: str = ""
    """What the drawing shows, in words."""
    folded: bool = True
    """The figures are folded away, for the drawing shows them."""
    kind: str = ""
    """Its class in style.css, where it has one of its own."""


def sections(facts: Facts, found: Lineage) -> list[Section]:
    return [
        cycles(facts),
        moved(facts),
        lateness(facts),
        living(facts),
        ledger(facts),
        *findings(facts),
        lineage(found),
    ]


def cycles(facts: Facts) -> Section:
    heading = "Cycles of the last day, by phase"
    day = facts.status.day
    if not day:
        return Section(heading, "No cycle is known of the last 24 hours.")
    stopped = [cycle for cycle in day if cycle.outcome not in (DONE, LOCKED)]
    phases = [
        {"at": cycle.cycle_at, "phase": phase["phase"], "seconds": phase["seconds"]}
        for cycle in day
        for phase in cycle.timed_phases
        if phase["seconds"]
    ]
    done = [cycle.seconds for cycle in day if cycle.outcome == DONE]
    told = f"{len(done)} of {len(day)} cycles ended well"
    if done:
        told += f"; the middle one took {median(done):.1f} s, the longest {max(done):.1f} s"
    return Section(
        heading,
        f"{told}.",
        ("Cycle", "Outcome", "Seconds", "Landed", "Archived", "Warnings and errors"),
        tuple(
            (
                moment(cycle.cycle_at),
                cycle.outcome,
                round(cycle.seconds, 1),
                cycle.rows_landed,
                cycle.rows_archived,
                cut(" ".join([*cycle.warning_lines, *filter(None, [cycle.error])]), CELL),
            )
            for cycle in reversed(day)
        ),
        charts.svg(charts.cycles_by_phase(phases, stopped, facts.status.at)),
        f"Bars of each cycle's seconds over 24 hours, stacked by phase. {told}. {len(stopped)} failed or were refused, "
        "each marked by a triangle.",
    )


def moved(facts: Facts) -> Section:
    heading = "Rows in and archived, by day"
    if not facts.moved:
        return Section(heading, f"No cycle is known of the last {DAYS} days.")
    last = facts.moved[-1]
    told = f"On {last.day}: {last.landed:,} landed, {last.archived:,} archived"
    return Section(
        heading,
        f"{told}.",
        ("Day", "Landed", "Archived"),
        tuple((f"{each.day}", each.landed, each.archived) for each in reversed(facts.moved)),
        charts.svg(charts.moved_by_day(facts.moved)),
        f"Bars of the rows landed and archived on each of {len(facts.moved)} days. {told}.",
    )


def lateness(facts: Facts) -> Section:
    heading = "Lateness in the last week"
    if not facts.late:
        return Section(heading, "No cycle of the last week knew of any event.")
    worst = max(facts.late, key=lambda each: each.minutes)
    told = f"The greatest: {worst.table} with {worst.minutes:,.0f} minutes at {moment(worst.hour)}"
    return Section(
        heading,
        f"How far the newest event that had landed was behind each cycle that ended well. {told}.",
        ("Hour", "Table", "Minutes late"),
        tuple((moment(each.hour), each.table, each.minutes) for each in reversed(facts.late)),
        charts.svg(charts.lateness(facts.late)),
        f"A line for each table: minutes late, by hour of the last week. {told}.",
    )


def living(facts: Facts) -> Section:
    heading = "Where rows live, by half-year"
    if facts.living is None:
        return Section(
            heading, "The catalog does not show this user the tables' rows (GRANT SELECT ON svv_table_info)."
        )
    if not any(each.rows for each in facts.living):
        return Section(heading, "No table has a row yet.")
    in_mart = sum(each.rows for each in facts.living if each.place == "mart")
    archived = sum(each.rows for each in facts.living) - in_mart
    told = f"{in_mart:,} rows live in the marts, {archived:,} in history"
    return Section(
        heading,
        f"{told}.",
        ("Table", "Lives in", "Rows"),
        tuple((each.table, each.place, each.rows) for each in facts.living),
        charts.svg(charts.rows_by_half_year(facts.living)),
        f"Bars of the rows of each table in each half-year of history, and in its mart. {told}.",
    )


def ledger(facts: Facts) -> Section:
    heading = "What landed, and where it is"
    if facts.living is None or not any(each.landed for each in facts.landed):
        return Section(heading, "Nothing has landed yet, or the catalog does not show this user the tables' rows.")
    held = {
        (each.table, in_mart): sum(
            other.rows for other in facts.living if other.table == each.table and (other.place == IN_MART) is in_mart
        )
        for each in facts.landed
        for in_mart in (True, False)
    }
    return Section(
        heading,
        "Of all time. The rest waits for the next cycle or, of uti and ecs, was replaced by a newer version; less than "
        "nothing is a row that did not land by an extract. order-tracking verify --ledger proves it row by row.",
        ("Table", "Landed", "In the mart", "In history", "Rest", "Rejected"),
        tuple(
            (
                each.table,
                each.landed,
                mart := held[each.table, True],
                history := held[each.table, False],
                each.landed - mart - history,
                each.rejected,
            )
            for each in facts.landed
        ),
        folded=False,
    )


def findings(facts: Facts) -> list[Section]:
    """Over time, and what is open now."""
    heading = "Findings by check over time"
    over_time = Section(heading, f"Nothing was open in the last {DAYS} days.")
    if facts.findings:
        last = facts.status.at.date()
        days = [last - dt.timedelta(days=DAYS - 1 - number) for number in range(DAYS)]
        most = max(days, key=lambda day: sum(each.open for each in facts.findings if each.day == day))
        count = sum(each.open for each in facts.findings if each.day == most)
        told = f"The most were open on {most}: {count:,}"
        over_time = Section(
            heading,
            f"What was open at the end of each day. {told}.",
            ("Day", "Check", "Open"),
            tuple((f"{each.day}", each.check, each.open) for each in reversed(facts.findings)),
            charts.svg(charts.findings_by_day(facts.findings, days)),
            f"Bars of the open findings of each of {DAYS} days, stacked by check. {told}.",
        )
    if not facts.status.open_lines:
        return [over_time]
    lines = sorted(facts.status.open_lines, key=lambda line: -line.rows)
    hidden = f" {len(lines) - LINES:,} more lines are left out here." if len(lines) > LINES else ""
    now = Section(
        "Open now",
        "order-tracking exceptions list shows the same; docs/operations.md says what to do about each check." + hidden,
        ("Check", "What", "Table", "Open", "Since", "For example"),
        tuple(
            (
                line.check_name,
                cut(line.topic, CELL),
                line.table_name.split(".")[-1],
                line.rows,
                moment(line.first_seen_at),
                cut(line.examples_text, CELL),
            )
            for line in lines[:LINES]
        ),
        folded=False,
        kind="wide",
    )
    return [over_time, now]


def lineage(found: Lineage) -> Section:
    layers = ", ".join(f"{layer} ({len(names)})" for layer, names in found.layers)
    return Section(
        "What feeds what",
        "From the source's tables to history, as the models of this project name it. A dot is where rows arrive.",
        ("From", "To"),
        found.feeds,
        charts.svg(charts.lineage_drawing(found)),
        f"Boxes in rows, from the top: {layers}. Lines lead from each to what it feeds; the table below lists them.",
        kind="lineage",
    )
