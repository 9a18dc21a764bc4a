"""The benches still run and enter what they measured; their figures are nobody's business here."""

from __future__ import annotations

import csv
from pathlib import Path

from bench.__main__ import main as bench
from bench.extract import fill, measure
from tests.mariadb_server import MariaDB


def test_whole_cycles_at_a_small_fraction_are_measured_and_drawn(tmp_path: Path) -> None:
    where = ["--folder", str(tmp_path / "bench"), "--results", str(tmp_path / "kept")]
    assert bench(["--scale", "0.0002", *where, "--kinds", "ageing", "--rounds", "1"]) == 0
    with (tmp_path / "kept" / "cycles.csv").open() as file:
        (cycle,) = csv.DictReader(file)
    assert int(cycle["rows"]) > 80_000 and int(cycle["in"]) >= int(cycle["rows"]) and int(cycle["archived"]) > 0
    assert float(cycle["wall"]) >= float(cycle["extract"]) + float(cycle["marts"]) + float(cycle["close"])
    with (tmp_path / "kept" / "statements.csv").open() as file:
        shares = list(csv.DictReader(file))
    (merged,) = [share for share in shares if share["statement"] == "INSERT mart_uni_tracking_spath"]
    assert int(merged["rows"]) > 0 and merged["share"].endswith("%")
    for drawing in ("growth.svg", "phases.svg"):
        assert (tmp_path / "kept" / drawing).read_text().startswith("<svg")


def test_the_extract_from_a_real_server_is_measured(mariadb: MariaDB, tmp_path: Path) -> None:
    fill(mariadb, "bench_small", 1000)
    try:
        assert measure(mariadb.url("bench_small"), tmp_path, 1000)["rows"] == 1000
    finally:
        mariadb.execute("DROP DATABASE bench_small")
