"""The kept results: tables as CSV, one row a scale and kind of cycle, and two drawings of them."""

from __future__ import annotations

import csv
import math
import statistics
from pathlib import Path
from typing import Any

KEPT = Path(__file__).resolve().parent.parent / "docs" / "bench"
CYCLES = "cycles.csv"
FIGURES = (
    *("runs", "rows", "archived"),  # rows landed by the extract, archived by the marts
    *("wall", "cpu", "peak_mb", "start", "extract", "reconcile", "marts", "close", "commit", "cores", "memory_gb"),
)
QUARTER_HOUR = 900
PHASES = (
    ("start", "#9aa7b4", "start"),
    ("extract", "#4a8fd0", "extract"),
    ("reconcile", "#9bc4e8", "reconcile"),
    ("marts", "#d9822b", "marts"),
    ("close", "#5a9e4b", "closing the file"),
)
COLOURS = ("#4a8fd0", "#d9822b", "#9bc4e8", "#edbd8d", "#5a9e4b", "#a05fb4")

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
    width, height, left, right, top, bottom = 700, 420, 160, 550, 40, 370
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    scales = sorted({float(row["scale"]) for row in rows})
    longest = max(float(row["wall"]) for row in rows)

    def x(scale: float) -> float:
        return left + (right - left) * math.log(scale / scales[0]) / (math.log(scales[-1] / scales[0]) or 1.0)

    def y(seconds: float) -> float:
        return bottom - (bottom - top) * math.log(max(seconds, 1.0)) / math.log(max(longest, 10.0))

    parts = [_text(20, 20, "Seconds of a cycle against the size of the marts (1 = 93M orders, 1.17B scans)")]
    parts += [_text(x(scale), bottom + 24, f"{scale:g}", "middle") for scale in scales]
    for seconds in (1, 3, 10, 30, 100, 300):
        if seconds <= longest:
            parts += [
                _line(50, y(seconds), right + 4, y(seconds), "#ddd"),
                _text(8, y(seconds) + 4, f"{seconds} s"),
            ]
    begins: list[tuple[float, str, str]] = []
    ends: list[tuple[float, str, str]] = []
    for kind, colour in zip(kinds, COLOURS, strict=False):
        points = [
            (x(float(row["scale"])), y(float(row["wall"])), float(row["wall"])) for row in rows if row["kind"] == kind
        ]
        path = " ".join(f"{a:.0f},{b:.0f}" for a, b, _ in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{a:.0f}" cy="{b:.0f}" r="3" fill="{colour}"/>' for a, b, _ in points]
        *before, (last_x, last_y, last) = points
        place = ends if last_x > left or len(scales) == 1 else begins
        place.append((last_y, f"{last:.1f} s  {kind}" if place is ends else f"{kind}  {last:.1f} s", colour))
        begins += [(b, f"{wall:.1f} s", colour) for a, b, wall in before if a == left]
    parts += [_text(left - 8, at + 4, told, "end", colour) for at, told, colour in apart(begins)]
    parts += [_text(right + 10, at + 4, told, "start", colour) for at, told, colour in apart(ends)]
    return _svg(width, height, parts)


def apart(labels: list[tuple[float, str, str]], distance: float = 14) -> list[tuple[float, str, str]]:
    """Labels (height, text, colour) from top to bottom, none nearer to the one above than `distance`.

    Example:
        >>> apart([(100, "b", ""), (98, "a", ""), (150, "c", "")])
        [(98, 'a', ''), (112, 'b', ''), (150, 'c', '')]
    """
    placed: list[tuple[float, str, str]] = []
    for height, text, colour in sorted(labels):
        placed.append((max(height, placed[-1][0] + distance) if placed else height, text, colour))
    return placed


def phases(rows: list[Row]) -> str:
    """A bar a kind of cycle at the largest scale it was measured at: its phases against the 15 minutes."""
    largest = {row["kind"]: row for row in rows if row["marts"]}  # bare statements have no phases
    width, left, scale = 640, 130, 440
    height = 70 + 30 * len(largest)
    parts = [_text(left, 18, "A cycle's phases against the 15 minutes (full width)")]
    for number, (kind, row) in enumerate(largest.items()):
        y, x = 32 + 30 * number, float(left)
        parts.append(_text(left - 8, y + 14, f"{kind}, at {row['scale']}", "end"))
        parts.append(f'<rect x="{left}" y="{y}" width="{scale}" height="20" fill="#eee"/>')
        for name, colour, _ in PHASES:
            wide = float(row.get(name) or 0) / QUARTER_HOUR * scale
            parts.append(f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="20" fill="{colour}"/>')
            x += wide
        share = float(row["wall"]) / QUARTER_HOUR
        parts.append(_text(x + 6, y + 14, f"{float(row['wall']):.1f} s, {share:.1%}"))
    for number, (_, colour, name) in enumerate(PHASES):
        parts.append(f'<rect x="{left + 100 * number}" y="{height - 28}" width="12" height="12" fill="{colour}"/>')
        parts.append(_text(left + 100 * number + 18, height - 18, name))
    return _svg(width, height, parts)


def _svg(width: int, height: int, parts: list[str]) -> str:
    style = 'font-family="sans-serif" font-size="12"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {style}>'
    return "\n".join([head, f'<rect width="{width}" height="{height}" fill="white"/>', *parts, "</svg>", ""])


def _text(x: float, y: float, text: str, anchor: str = "start", colour: str = "#222") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{colour}">{text}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}" stroke="{colour}"/>'
