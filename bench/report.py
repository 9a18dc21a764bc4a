"""The kept results: tables as CSV, one row a scale and kind of cycle, and two drawings of them."""

from __future__ import annotations

import csv
import statistics
from pathlib import Path
from typing import Any

import altair as alt

from scripts.page.charts import svg

KEPT = Path(__file__).resolve().parent.parent / "docs" / "bench"
CYCLES = "cycles.csv"
FIGURES = (
    *("runs", "rows", "archived"),  # rows landed by the extract, archived by the marts
    *("wall", "cpu", "peak_mb", "start", "extract", "reconcile", "marts", "close", "commit", "cores", "memory_gb"),
)
QUARTER_HOUR = 900
PHASES = (
    *(("start", "start"), ("extract", "extract"), ("reconcile", "reconcile"), ("marts", "marts")),
    ("close", "closing the file"),
)
"""A column of the table, and what the drawing calls it."""

Row = dict[str, str]


def write_report(folder: Path, scale: float, measured: dict[str, Any], machine: dict[str, Any]) -> None:
    """Enters one scale's figures in the tables (what was there of the same scale and kinds gives way) and draws."""
    folder.mkdir(parents=True, exist_ok=True)
    told, statements = [], []
    for kind, (figures, shares) in measured.items():
        values = {**figures, **machine}
        told.append({"scale": f"{scale:g}", "kind": kind, **{name: _short(values.get(name, "")) for name in FIGURES}})
        statements += [
            {
                **{"scale": f"{scale:g}", "kind": kind, "statement": name, "seconds": _short(seconds)},
                "share": f"{seconds / figures['wall']:.1%}",
            }
            for name, seconds in shares
        ]
    rows = _enter(folder / CYCLES, told)
    _enter(folder / "statements.csv", statements)
    (folder / "growth.svg").write_text(growth(rows))
    (folder / "phases.svg").write_text(phases(rows))
    for row in told:
        print("  ".join(f"{name} {value}" for name, value in row.items()))


def write_extract(folder: Path, rows: int, kind: str, rounds: list[dict[str, float]], machine: dict[str, Any]) -> None:
    """Enters and prints the medians of one table size's rounds of the extract from MySQL, and each round's rate."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    values = {**figures, "runs": len(rounds), **machine}
    names = ("runs", "rows_per_second", "seconds", "wall", "cpu", "peak_mb", "commit", "cores", "memory_gb")
    told = {"scale": str(rows), "kind": kind, **{name: _short(values[name]) for name in names}}
    _enter(folder / "extract.csv", [told])
    rates = ", ".join(f"{each['rows_per_second']:,.0f}" for each in rounds)
    print(f"{kind}, {rows:,} rows, rows a second: {rates}")
    print("  ".join(f"{name} {value}" for name, value in told.items()))


def _short(value: Any) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _enter(file: Path, new: list[Row]) -> list[Row]:
    held: list[Row] = []
    if file.exists():
        with file.open() as lines:
            held = list(csv.DictReader(lines))
    replaced = {(row["scale"], row["kind"]) for row in new}
    rows = [row for row in held if (row["scale"], row["kind"]) not in replaced] + new
    rows.sort(key=lambda row: float(row["scale"]))  # stable: kinds and statements stay in their order
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(new[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return rows


def growth(rows: list[Row]) -> str:
    """Cycle time against mart size, a line a kind; ten times as much is the same distance everywhere, both ways."""
    walls: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        walls.setdefault(row["kind"], []).append((float(row["scale"]), float(row["wall"])))
    named = {kind: f"{kind}: {', '.join(f'{wall:.1f} s' for _, wall in points)}" for kind, points in walls.items()}
    points = [
        {"scale": scale, "seconds": wall, "kind": named[kind]} for kind, each in walls.items() for scale, wall in each
    ]
    scales = sorted({scale for each in walls.values() for scale, _ in each})
    longest = max(wall for each in walls.values() for _, wall in each)
    ticks = [seconds for seconds in (1, 3, 10, 30, 100, 300) if seconds <= max(longest, 10)]
    chart = (
        alt.Chart(alt.Data(values=points), title="Seconds of a cycle against the size of the marts")
        .mark_line(point=alt.OverlayMarkDef(size=30, filled=True))
        .encode(
            x=alt.X(
                "scale:Q",
                scale=alt.Scale(type="log"),
                title="size (1 = 93M orders, 1.17B scans)",
                axis=alt.Axis(values=scales, format="~g", grid=False),
            ),
            y=alt.Y(
                "seconds:Q",
                scale=alt.Scale(type="log", domain=[1, max(longest, 10)]),
                title="seconds",
                axis=alt.Axis(values=ticks),
            ),
            color=alt.Color("kind:N", sort=None, legend=alt.Legend(orient="right", columns=1, labelLimit=300)),
        )
    )
    return _drawn(chart.properties(width=380, height=320))


def phases(rows: list[Row]) -> str:
    """A bar a kind of cycle at the largest scale it was measured at: its phases against the 15 minutes."""
    largest = {row["kind"]: row for row in rows if row["marts"]}  # bare statements have no phases
    named = {kind: f"{kind}, at {row['scale']}: {float(row['wall']):.1f} s" for kind, row in largest.items()}
    bars = [
        {"kind": named[kind], "phase": shown, "share": float(row.get(name) or 0) / QUARTER_HOUR, "place": place}
        for kind, row in largest.items()
        for place, (name, shown) in enumerate(PHASES)
    ]
    chart = (
        alt.Chart(alt.Data(values=bars), title="A cycle's phases against the 15 minutes (full width)")
        .mark_bar()
        .encode(
            x=alt.X("share:Q", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%"), title=None),
            y=alt.Y("kind:N", sort=None, title=None, axis=alt.Axis(labelLimit=300)),
            color=alt.Color("phase:N", sort=None, legend=alt.Legend(columns=5)),
            order="place:Q",
        )
    )
    return _drawn(chart.properties(width=400, height=30 * len(largest)))


def _drawn(chart: alt.Chart) -> str:
    return svg(chart.properties(background="white", padding={"left": 30, "right": 40, "top": 10, "bottom": 10})) + "\n"
