"""The benches still run and enter what they measured; their figures are nobody's business here."""

from __future__ import annotations

import csv
import os
import re
import shutil
from collections import Counter
from pathlib import Path

import duckdb
import pytest

from bench.__main__ import Bench, main
from bench.extract import fill, measure
from bench.report import CYCLES, KEPT, growth, phases
from bench.tables import mart_tables
from tests.support.mariadb_server import MariaDB

SMALL = 0.0002


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled")
    Bench(folder, SMALL).fill()
    return folder


def test_the_kept_figures_are_what_the_kept_drawings_show() -> None:
    """Another font or version may move a line; what is written there is the figures'."""
    with (KEPT / CYCLES).open() as file:
        rows = list(csv.DictReader(file))
    for draw, name in ((growth, "growth.svg"), (phases, "phases.svg")):
        texts = re.findall(r"<text[^>]*>([^<]+)</text>", draw(rows))
        assert texts == re.findall(r"<text[^>]*>([^<]+)</text>", (KEPT / name).read_text())
    steady = [f"{float(row['wall']):.1f} s" for row in rows if row["kind"] == "steady"]
    assert f"steady: {', '.join(steady)}" in growth(rows)
    assert f"steady, at {rows[-1]['scale']}: {steady[-1]}" in phases(rows)


@pytest.mark.slow
@pytest.mark.xdist_group("bench")
def test_whole_cycles_at_a_small_fraction_are_measured_and_drawn(filled: Path, tmp_path: Path) -> None:
    shutil.copytree(filled, tmp_path / "bench")
    where = ["--folder", str(tmp_path / "bench"), "--keep", "--results", str(tmp_path / "kept")]
    main(["--scale", str(SMALL), *where, "--kind", "ageing", "--rounds", "1"], standalone_mode=False)
    with (tmp_path / "kept" / "cycles.csv").open() as file:
        (cycle,) = csv.DictReader(file)
    assert int(cycle["rows"]) > 80_000 and int(cycle["archived"]) > 0
    assert cycle["commit"] and int(cycle["cores"]) == os.cpu_count() and int(cycle["memory_gb"]) > 0
    assert float(cycle["wall"]) >= float(cycle["extract"]) + float(cycle["marts"]) + float(cycle["close"])
    with (tmp_path / "kept" / "statements.csv").open() as file:
        shares = list(csv.DictReader(file))
    (merged,) = [share for share in shares if share["statement"] == "INSERT mart_uni_tracking_spath"]
    assert float(merged["seconds"]) > 0 and merged["share"].endswith("%")
    for drawing in ("growth.svg", "phases.svg"):
        assert (tmp_path / "kept" / drawing).read_text().startswith("<svg")


@pytest.mark.slow
@pytest.mark.xdist_group("bench")
def test_a_warehouse_that_is_half_filled_or_of_another_scale_is_not_kept(filled: Path, tmp_path: Path) -> None:
    shutil.copytree(filled, tmp_path / "bench")
    assert not Bench(tmp_path / "bench", 2 * SMALL).resume()
    (tmp_path / "bench" / "filled").unlink()  # as where the filling was interrupted
    assert not Bench(tmp_path / "bench", SMALL).resume()


@pytest.mark.slow
@pytest.mark.xdist_group("bench")
def test_the_bare_statements_do_the_work_of_a_cycle(filled: Path, tmp_path: Path) -> None:
    """Otherwise they would be no limit."""
    ours, bare = Bench(tmp_path / "ours", SMALL), Bench(tmp_path / "bare", SMALL)
    for each in (ours, bare):
        shutil.copytree(filled, each.folder)
    assert ours.measure("ageing")["archived"] > 0
    bare.measure("bare ageing")
    done, by_hand = everything(ours), everything(bare)
    assert {name: len(rows) for name, rows in by_hand.items()} == {name: len(rows) for name, rows in done.items()}
    assert by_hand == done


def everything(bench: Bench) -> dict[str, Counter[tuple[object, ...]]]:
    """Every row of marts, history and raw."""
    with duckdb.connect(str(bench.folder / "warehouse.duckdb")) as warehouse:
        marts = mart_tables(warehouse)
        others = warehouse.execute(
            "SELECT table_schema || '.' || table_name FROM information_schema.tables "
            "WHERE table_name LIKE 'hist_%' OR table_name LIKE '%_raw'"
        ).fetchall()
        tables = {**marts, **{name: name for (name,) in others}}
        return {short: Counter(warehouse.execute(f"SELECT * FROM {name}").fetchall()) for short, name in tables.items()}


@pytest.mark.slow
def test_the_extract_from_a_real_server_is_measured(mariadb: MariaDB, tmp_path: Path) -> None:
    fill(mariadb, "bench_small", 1000)
    try:
        assert measure(mariadb.url("bench_small"), tmp_path, 1000)["rows"] == 1000
    finally:
        mariadb.execute("DROP DATABASE bench_small")
