"""Times whole cycles at a fraction of peak volume, as cron runs them: a process each.

    python -m bench [--scale 0.1] [--folder F] [--keep] [--kind steady --kind "bare ageing" …] [--rounds N]

Fills a warehouse (bench/fill.py), unless --keep finds one in the folder, and writes docs/bench/*.csv and *.svg.
Kinds of cycles, each measured on the one warehouse, taking turns:
  steady    10K status changes, 10K new orders, 68K scans; a quarter-hour's share of the mart ages and is archived
  ageing    the same, and a whole day's share of the mart (orders and scans) is archived in one cycle
  bare steady, bare ageing
            the limit: the steps of such a cycle as bare SQL in one DuckDB session (bench/bare.py)
  checks    the cycle after midnight, with the daily checks; without the reconcile that cron adds, for the source holds
            the batch alone, and all else would be compared with what is not there
  catch-up  the cycle after a day of missed ones: 6.5M scans (at scales up to 0.1)
"""

from __future__ import annotations

import csv
import json
import os
import re
import statistics
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from bench.fill import MODELS_START
from bench.report import KEPT, write_report
from extract.settings import PROJECT

ROUNDS = {"steady": 5, "bare steady": 5, "ageing": 5, "bare ageing": 5, "checks": 1, "catch-up": 1}
QUARTER, DAY = 900, 86_400
END = 1_757_937_600  # 2025-09-15T12:00:00, as in bench/fill.py
STATEMENTS = 12


@dataclass
class Bench:
    """One scale's warehouse in a folder, at a moment that each cycle moves on."""

    folder: Path
    scale: float
    now: int = END

    def fill(self) -> None:
        for note in (self._moment, self._filled):
            note.unlink(missing_ok=True)
        self._python("bench.fill", "--folder", str(self.folder), "--scale", str(self.scale))
        self._filled.write_text(str(self.scale))

    @property
    def _moment(self) -> Path:
        return self.folder / "moment"

    @property
    def _filled(self) -> Path:
        """Says the scale of the warehouse; written when all of it is there."""
        return self.folder / "filled"

    def resume(self) -> bool:
        """Goes on with a warehouse that is there already, whole and of this scale."""
        if not self._filled.exists() or float(self._filled.read_text()) != self.scale:
            return False
        self.now = int(self._moment.read_text()) if self._moment.exists() else END
        self._python("scripts.plan", "--yes", "--at", iso(self.now))  # a cycle works with what was planned last
        return True

    def measure(self, kind: str) -> dict[str, Any]:
        """One cycle of a kind: what it cost, its phases and its statements."""
        quarters = 1
        if kind == "checks":
            self.now = self.now // DAY * DAY + DAY - QUARTER
        if kind == "catch-up":
            quarters = 96
        self.now += quarters * QUARTER
        self._moment.write_text(str(self.now))
        at = iso(self.now)
        where = ["--folder", str(self.folder), "--scale", str(self.scale), "--at", at]
        self._python("bench.batch", *where, "batch", "--quarters", str(quarters))
        if kind.endswith("ageing"):
            self._python("bench.batch", *where, "age")
        if kind.startswith("bare"):
            return self._cycle(at, "bench.bare", "--folder", str(self.folder))
        source = f"duckdb:///{self.folder / 'source.duckdb'}"
        return self._cycle(at, "scripts.run_cycle", "--source", source)

    def _cycle(self, at: str, module: str, *arguments: str) -> dict[str, Any]:
        """Runs a module that does a cycle's work, and gathers what it cost and told."""
        cost, statements = self.folder / "cost.json", self.folder / "statements.csv"
        command = [sys.executable, "-m", module, *arguments, "--at", at, "--statements", str(statements)]
        told = self._python("bench.measure", str(cost), *command)
        result: dict[str, Any] = json.loads(cost.read_text())
        if result.pop("exit"):
            raise SystemExit(f"the cycle at {at} failed; its message stands above")
        for phase, seconds in re.findall(r"^(\w+) +([\d.]+) s", told, re.MULTILINE):
            result[phase] = float(seconds)
        result["start"] = result.get("start", 0.0) + result["wall"] - result.pop("total", result["wall"])
        for rows, pattern in (("rows", r"read, ([\d,]+) landed"), ("archived", r"([\d,]+) arch")):
            result[rows] = sum(int(number.replace(",", "")) for number in re.findall(pattern, told))
        spent: dict[str, float] = defaultdict(float)
        with statements.open() as lines:
            for line in csv.DictReader(lines):
                spent[line["what"]] += float(line["seconds"])
        result["statements"] = dict(spent)
        return result

    def _python(self, module: str, *arguments: str) -> str:
        """Runs a module in a process of its own and gives what it printed."""
        environment = os.environ | {
            "ORDER_TRACKING_DUCKDB": str(self.folder / "warehouse.duckdb"),
            "ORDER_TRACKING_GATEWAY": "local",
            "ORDER_TRACKING_START": MODELS_START,
            "PYTHON_DOTENV_DISABLED": "1",
        }
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{module} failed:\n{done.stdout}")
        return done.stdout


def turn_about(rounds: dict[str, int]) -> list[str]:
    """Each kind as often as it says, taking turns: a machine's slow and fast minutes then fall on all of them.

    Example:
        >>> turn_about({"steady": 3, "checks": 1})
        ['steady', 'checks', 'steady', 'steady']
    """
    return [kind for number in range(max(rounds.values())) for kind, wanted in rounds.items() if number < wanted]


def iso(moment: int) -> str:
    import datetime as dt

    return dt.datetime.fromtimestamp(moment, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")


def middle(results: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of each figure."""
    figures = {name for result in results for name in result if name != "statements"}
    return {name: statistics.median(result.get(name, 0.0) for result in results) for name in sorted(figures)}


def statement_shares(results: list[dict[str, Any]]) -> list[tuple[str, float]]:
    """What took longest: what it does and to which table, and the median of its seconds in a cycle."""
    names = {name for result in results for name in result["statements"]}
    shares = [(name, statistics.median(each["statements"].get(name, 0.0) for each in results)) for name in names]
    return sorted(shares, key=lambda share: -share[1])[:STATEMENTS]


def machine() -> dict[str, Any]:
    """Where and on what this was measured."""

    def git(*arguments: str) -> str:
        told = subprocess.run(["git", "-C", str(PROJECT), *arguments], capture_output=True, text=True, check=False)
        return told.stdout.strip()

    # The results themselves may have changed since: benches write them one after another.
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs/bench")
    commit = (git("rev-parse", "--short", "HEAD") or "unknown") + ("-dirty" if changed else "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"commit": commit, "cores": os.cpu_count(), "memory_gb": round(memory)}


@click.command(help=__doc__)
@click.option("--scale", type=float, default=0.1, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="Default: build/bench_SCALE.")
@click.option("--keep", is_flag=True, help="Go on with the warehouse that is in the folder.")
@click.option("--kind", "chosen", type=click.Choice([*ROUNDS]), multiple=True, help="Only this; may be repeated.")
@click.option("--rounds", type=int, help=f"So many of each kind (default: {ROUNDS}).")
@click.option("--results", type=click.Path(path_type=Path), default=KEPT, help="Folder of the results: docs/bench.")
def main(
    scale: float, folder: Path | None, keep: bool, chosen: tuple[str, ...], rounds: int | None, results: Path
) -> None:
    folder = (folder or Path("build") / f"bench_{scale:g}").absolute()
    kinds = list(chosen) or [kind for kind in ROUNDS if kind != "catch-up" or scale <= 0.1]
    bench, where = Bench(folder, scale), machine()
    if not (keep and bench.resume()):
        print(f"filling {folder} at {scale:g} of peak volume", flush=True)
        bench.fill()
    costs: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
    for kind in turn_about({kind: rounds or ROUNDS[kind] for kind in kinds}):
        bench.measure("steady")  # what a cycle follows is an ordinary one
        cost = bench.measure(kind)
        costs[kind].append(cost)
        print(f"{kind}: {cost['wall']:.1f} s, CPU {cost['cpu']:.1f} s, {cost['peak_mb']:,.0f} MB", flush=True)
    measured = {kind: ({**middle(each), "runs": len(each)}, statement_shares(each)) for kind, each in costs.items()}
    write_report(results, scale, measured, where)


if __name__ == "__main__":
    main()
