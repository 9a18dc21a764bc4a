"""A source's columns may bear nearly any name: also one that the project's SQL uses for something of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from sqlglot import exp
from sqlglot.dialects.redshift import Redshift

from extract.clock import Clock
from extract.column_names import NEED_QUOTES, OWN_NAMES, why_unusable
from extract.errors import ConfigurationError
from extract.run import extract
from extract.source import open_source
from extract.tables import PROJECT, ExtractConfig, load_config
from extract.verify import verify
from extract.warehouse import open_warehouse
from tests.conftest import START
from tests.extract.conftest import Setting
from tests.support.world import HOUR, MINUTE, moment

ORDERS = 7
ALIASES = [
    *("content", "event_time", "fresh", "held", "hour", "landed_before", "newest", "key", "pairs", "place", "staged"),
    "type",
    "value",
]
"""What the extract's SQL calls columns and tables of its own, or did, and words that SQL has a use for."""

VALUE = 3
"""Of every further column; an alias that is taken for such a column is compared with 1 mostly."""


def with_columns(names: list[str]) -> ExtractConfig:
    """Every table with these columns more, INTEGER all of them."""
    config, kind = load_config(), exp.DataType.build("INT")
    tables = []
    for table in config.tables:
        columns = table.columns | {name: kind for name in names}
        source = replace(table.source, columns=tuple(columns), types=columns)
        tables.append(replace(table, columns=columns, source=source))
    return replace(config, tables=tuple(tables))


def run_through(setting: Setting, names: list[str]) -> None:
    """Load, compare, correct, reconcile, refresh and compare again, with further columns of these names."""
    config = with_columns(names)
    now = START + 10 * HOUR
    for table in config.tables:
        listed = ", ".join(f"ADD COLUMN `{name}` INT DEFAULT {VALUE}" for name in names)
        setting.run(f"ALTER TABLE {table.source.name} {listed}")
    setting.run(
        "INSERT INTO uni_tracking_info (order_id, tno, status, update_time) "
        f"SELECT seq, CONCAT('T', seq), 200, {START} + seq * 60 FROM seq_1_to_{ORDERS}",
        "INSERT INTO ecs_order_info (order_id, partner_id, add_time) "
        f"SELECT seq, 11, {START} + seq * 60 FROM seq_1_to_{ORDERS}",
        "INSERT INTO uni_tracking_spath (order_id, pathTime, code, traceSeq) "
        f"SELECT seq, {START} + seq * 60, 200, 0 FROM seq_1_to_{ORDERS}",
    )
    with closing(open_source(setting.url)) as source, closing(open_warehouse(setting.gateway)) as warehouse:
        first = extract(source, warehouse, config, Clock(moment(now)))
        assert [run.landed.rows_landed for run in first] == [ORDERS] * 3
        assert all(verdict.equal for verdict in verify(source, warehouse, config, now, START))
        setting.run(f"UPDATE uni_tracking_info SET `{names[0]}` = 9, status = 9 WHERE order_id = 2")
        (other,) = [each for each in verify(source, warehouse, config, now, START) if not each.equal]
        assert other.columns == {"status": 1, names[0]: 1}
        again = extract(source, warehouse, config, Clock(moment(now + MINUTE)), since=START, kind="reconcile")
        assert [(run.landed.rows_landed, run.unequal) for run in again] == [(1, []), (0, []), (0, [])]
        setting.run(f"UPDATE uni_tracking_spath SET `{names[-1]}` = 9 WHERE order_id = 3")
        renewed = extract(source, warehouse, config, Clock(moment(now + 2 * MINUTE)), orders=[3], kind="refresh")
        assert [run.landed.rows_landed for run in renewed] == [0, 0, 0]
        assert all(verdict.equal for verdict in verify(source, warehouse, config, now + 2 * MINUTE, START))


@pytest.mark.parametrize("gateway", ["local", pytest.param("redshift", marks=pytest.mark.slow)])
def test_a_column_may_bear_a_name_that_the_sql_uses_for_something_else(
    make_setting: Callable[..., Setting], gateway: str
) -> None:
    run_through(make_setting("mysql", gateway, planned=False), ALIASES)


@pytest.mark.slow
def test_every_keyword_can_be_a_column_or_is_refused(make_setting: Callable[..., Setting]) -> None:
    words = {word.lower().strip() for word in (*Redshift.Tokenizer.KEYWORDS, *Redshift.Generator.RESERVED_KEYWORDS)}
    with duckdb.connect() as connection:
        words |= {word for (word,) in connection.execute("SELECT keyword_name FROM duckdb_keywords()").fetchall()}
    names = sorted(word for word in words if not why_unusable(word))
    assert len(names) > 300 and {"type", "value", "key"} <= {*names}
    run_through(make_setting("mysql", "local", planned=False), names[::5])


def test_a_name_that_cannot_be_a_column_is_refused_with_what_to_write_instead(tmp_path: Path) -> None:
    for name in ("config.yaml", "external_models.yaml", "extract/tables.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(PROJECT / name, tmp_path / name)
    models = tmp_path / "external_models.yaml"
    bad = ["Desc", "order no", "Timestamp", "order", *OWN_NAMES, *NEED_QUOTES - {"desc", "null"}]
    lines = "".join(f"    {name}: INTEGER\n" for name in dict.fromkeys(bad))
    models.write_text(models.read_text().replace("    landed_at: TIMESTAMP\n", lines + "    landed_at: TIMESTAMP\n", 1))
    with pytest.raises(ConfigurationError) as error:
        load_config(tmp_path)
    said = str(error.value)
    assert "'desc', which is a reserved word: call it, say, desc_1, and write desc_1: desc in tables.yaml" in said
    assert "'order no', which is no plain name (letters, digits and _): call it, say, order_no_1" in said
    assert all(f"'{name.lower()}', which is " in said for name in bad)
    assert "'true', which is a reserved word" in said, "YAML's own words are names too"
