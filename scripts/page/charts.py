"""The page's drawings: Altair describes them, vl-convert makes them SVG. Times are UTC, whatever the process's zone.

Text and lines take their colours from style.css, so that they can be read in light, dark and print.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import altair as alt
import vl_convert

from macros.marts import marts
from scripts.cycle_log import LoggedCycle
from scripts.page.facts import Late, Moved, OpenFindings
from scripts.page.lineage import Lineage
from scripts.page.row_counts import Living

WIDTH, HEIGHT = 390, 190
"""So wide that labels can still be read when a phone shrinks the drawing."""

COLOURS = ("#2b7bba", "#c5690f", "#3a8a41", "#9457b8", "#c2413c", "#1b8585", "#a86a3a", "#6b7688")
"""Each has a contrast of 3 and more with the page's background, light or dark."""

FONT_SIZE = 13
WHOLE = "datum.value % 1 ? '' : format(datum.value, '~s')"
"""Labels of an axis that counts: there is no half a finding."""

CONFIG = {
    "background": None,
    "font": "sans-serif",
    "axis": {"labelFontSize": FONT_SIZE, "titleFontSize": FONT_SIZE, "titleFontWeight": "normal", "labelOverlap": True},
    "legend": {
        "labelFontSize": FONT_SIZE,
        "title": None,
        "orient": "bottom",
        "columns": 4,
        "columnPadding": 20,
        "labelLimit": 200,
    },
    "range": {"category": list(COLOURS)},
    "view": {"stroke": None},
}

TABLES = [mart.alias for mart in marts()]
OF_TABLES = alt.Scale(domain=TABLES, range=list(COLOURS[: len(TABLES)]))
"""A table has the same colour in every drawing."""

BOX = (118, 40)
"""Width and height of an object in the lineage."""


def svg(chart: alt.TopLevelMixin) -> str:
    """The drawing as an SVG element."""
    specification = chart.to_dict(validate=False)
    return vl_convert.vegalite_to_svg({**specification, "config": {**specification.get("config", {}), **CONFIG}})


def cycles_by_phase(
    phases: Sequence[dict[str, Any]], stopped: Sequence[LoggedCycle], at: dt.datetime
) -> alt.TopLevelMixin:
    """Seconds of each cycle of the day before `at`, stacked by phase; a triangle where one did not end well.

    Args:
        phases: Each with `at` (a datetime), `phase` and `seconds`.
    """
    scale = alt.Scale(type="utc", domain=[_utc(at - dt.timedelta(days=1)), _utc(at)])
    axis = alt.Axis(format="%H:%M", title=None, tickCount=6, grid=False)
    bars = (
        _chart([{**each, "at": _utc(each["at"])} for each in phases])
        .mark_bar(size=3)
        .encode(
            x=alt.X("at:T", scale=scale, axis=axis),
            y=alt.Y("seconds:Q", title="seconds"),
            color=alt.Color("phase:N", sort=None),
        )
    )
    if not stopped:
        return bars
    marks = _chart([{"at": _utc(cycle.cycle_at), "seconds": 0} for cycle in stopped])
    triangles = marks.mark_point(shape="triangle-up", size=70, filled=True, color=COLOURS[4], opacity=1)
    return alt.layer(bars, triangles.encode(x=alt.X("at:T", scale=scale, axis=axis), y="seconds:Q"))


def moved_by_day(moved: Sequence[Moved]) -> alt.Chart:
    """Rows landed and archived, a pair of bars a day."""
    rows = [
        {"day": f"{each.day:%d %b}", "what": what, "rows": count}
        for each in moved
        for what, count in (("landed", each.landed), ("archived", each.archived))
    ]
    return (
        _chart(rows)
        .mark_bar()
        .encode(
            x=alt.X("day:O", sort=None, title=None, axis=alt.Axis(labelAngle=0, grid=False)),
            xOffset=alt.XOffset("what:N", sort=None),
            y=alt.Y("rows:Q", title="rows", axis=alt.Axis(format="~s")),
            color=alt.Color("what:N", sort=None),
        )
    )


def lateness(late: Sequence[Late]) -> alt.Chart:
    """Minutes that each table was behind, by hour: a line a table, each dashed in its own way."""
    rows = [{"hour": _utc(each.hour), "table": each.table, "minutes": each.minutes} for each in late]
    axis = alt.Axis(format="%d %b %H:%M", title=None, grid=False, tickCount=4)
    dashes = alt.StrokeDash("table:N", scale=alt.Scale(domain=TABLES, range=[[1, 0], [6, 3], [2, 3]]))
    return (
        _chart(rows)
        .mark_line(point=alt.OverlayMarkDef(size=14, filled=True), strokeWidth=2)
        .encode(
            x=alt.X("hour:T", scale=alt.Scale(type="utc"), axis=axis),
            y=alt.Y("minutes:Q", title="minutes late"),
            color=alt.Color("table:N", scale=OF_TABLES),
            strokeDash=dashes,
        )
    )


def rows_by_half_year(living: Sequence[Living]) -> alt.Chart:
    """Rows of each table by the place where they live."""
    rows = [{"place": each.place, "table": each.table, "rows": each.rows} for each in living]
    places = sorted({each.place for each in living}, key=lambda place: (place == "mart", place))
    return (
        _chart(rows)
        .mark_bar()
        .encode(
            x=alt.X("place:O", sort=places, title=None, axis=alt.Axis(labelAngle=0)),
            xOffset=alt.XOffset("table:N", sort=TABLES),
            y=alt.Y("rows:Q", title="rows", axis=alt.Axis(format="~s")),
            color=alt.Color("table:N", scale=OF_TABLES),
        )
    )


def findings_by_day(findings: Sequence[OpenFindings], days: Sequence[dt.date]) -> alt.Chart:
    """Open findings at the end of each day, stacked by check."""
    rows = [{"day": f"{each.day:%d %b}", "check": each.check, "open": each.open} for each in findings]
    return (
        _chart(rows)
        .mark_bar()
        .encode(
            x=alt.X(
                "day:O",
                scale=alt.Scale(domain=[f"{day:%d %b}" for day in days]),
                title=None,
                axis=alt.Axis(labelAngle=0, grid=False),
            ),
            y=alt.Y("open:Q", title="open", axis=alt.Axis(labelExpr=WHOLE)),
            color=alt.Color("check:N", sort=None, legend=alt.Legend(columns=2)),
        )
    )


def lineage_drawing(found: Lineage) -> alt.TopLevelMixin:
    """The objects as boxes, a row a layer; a line from each to what it feeds, with a dot where it arrives."""
    wide, high = BOX
    places: dict[str, tuple[float, float]] = {}
    columns = max(len(names) for _, names in found.layers)
    for row, (_, names) in enumerate(found.layers):
        for number, name in enumerate(names):
            left = (columns - len(names)) / 2 + number
            places[name] = (left * (wide + 14) + wide / 2, row * (high + 26) + high / 2)
    boxes = [
        {"x": x - wide / 2, "x2": x + wide / 2, "y": y - high / 2, "y2": y + high / 2, "layer": layer}
        for layer, names in found.layers
        for x, y in (places[name] for name in names)
    ]
    texts = [
        {"x": places[name][0], "y": places[name][1] + (number - (len(lines) - 1) / 2) * 15, "text": line}
        for name in places
        for lines in [_lines(name.split(".")[-1])]
        for number, line in enumerate(lines)
    ]
    lines = [_between(places[giver], places[taker]) for giver, taker in found.feeds]
    layers = [layer for layer, _ in found.layers]
    legend = alt.Legend(symbolFillColor="transparent", symbolStrokeWidth=2)
    colour = alt.Stroke("layer:N", scale=alt.Scale(domain=layers, range=list(COLOURS)), legend=legend)
    size = {"width": columns * (wide + 14) - 14, "height": len(found.layers) * (high + 26) - 26}
    return alt.layer(
        _chart(lines, "feeds").mark_rule(strokeWidth=1).encode(_across("x"), _down("y"), x2="x2:Q", y2="y2:Q"),
        _chart(lines, "arrivals").mark_point(filled=True, size=22, opacity=1).encode(_across("x2"), _down("y2")),
        _chart(boxes, "boxes")
        .mark_rect(strokeWidth=2, cornerRadius=4)
        .encode(_across("x"), _down("y"), x2="x2:Q", y2="y2:Q", stroke=colour),
        _chart(texts, "names").mark_text(fontSize=FONT_SIZE - 0.5).encode(_across("x"), _down("y"), text="text:N"),
    ).properties(**size)


def _across(field: str) -> alt.X:
    return alt.X(f"{field}:Q", axis=None, scale=alt.Scale(nice=False, zero=False))


def _down(field: str) -> alt.Y:
    return alt.Y(f"{field}:Q", axis=None, scale=alt.Scale(nice=False, zero=False, reverse=True))


def _between(start: tuple[float, float], end: tuple[float, float]) -> dict[str, float]:
    """A line from the edge of one box to the edge of another: downwards, upwards, or sideways within a row."""
    wide, high = BOX
    if start[1] == end[1]:
        side = wide / 2 if end[0] > start[0] else -wide / 2
        return {"x": start[0] + side, "y": start[1], "x2": end[0] - side, "y2": end[1]}
    side = high / 2 if end[1] > start[1] else -high / 2
    return {"x": start[0], "y": start[1] + side, "x2": end[0], "y2": end[1] - side}


def _lines(name: str) -> list[str]:
    """A name in lines of 16 characters at most, which fit a box, broken behind underscores."""
    lines = [""]
    for part in name.replace("_", "_ ").split():
        if lines[-1] and len(lines[-1]) + len(part) > 16:
            lines.append("")
        lines[-1] += part
    return lines


def _chart(rows: Sequence[dict[str, Any]], name: str | None = None) -> alt.Chart:
    chart = alt.Chart(alt.Data(values=list(rows)), width=WIDTH, height=HEIGHT)
    return chart if name is None else chart.properties(name=name)


def _utc(moment: dt.datetime) -> str:
    """With its zone: without one, a drawing would take a time for one of its process's zone."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
