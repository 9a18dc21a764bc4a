"""The SQL of each step of retention, as SQLMesh hands it to the engine: what a reader of `--dry-run` sees."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlglot import exp
from sqlmesh.core.context import Context

from macros.due import Due, Retention, departed_orders, returned_orders
from macros.marts import Mart, identity, mart_of, marts
from macros.periods import epoch
from macros.steps import archive, check, clean, forget_raw, trim

END = epoch(2025, 9)
COLUMNS = {
    "uti": {"order_id": "BIGINT", "tno": "VARCHAR(64)", "update_time": "BIGINT", "landed_at": "TIMESTAMP"},
    "ecs": {"order_id": "BIGINT", "partner_id": "INTEGER", "add_time": "BIGINT", "landed_at": "TIMESTAMP"},
    "uts": {
        "order_id": "BIGINT",
        "pathtime": "BIGINT",
        "code": "INTEGER",
        "traceseq": "INTEGER",
        "landed_at": "TIMESTAMP",
    },
}
FEBRUARY = Due(period="2025_h1", first=epoch(2025, 2), until=epoch(2025, 2, 2), rows=3)
TOO_OLD = Due(period="2024_h1", first=epoch(2024, 2), until=epoch(2024, 2, 2), rows=1)


def found(alias: str, **facts: Any) -> Retention:
    """What an evaluation of a mart has read; history begins with 2024_h2."""
    nothing: dict[str, Any] = {
        "returned_periods": (),
        "metadata_tables": (),
        "due": (),
        "copy_periods": (),
        "batch_begins": 0,
    }
    nothing |= {"order_range": (17, 29)}
    nothing |= {"unrouted_is_open": False, "forgettable": 1, "leaving_before": 0}
    return Retention(
        **{
            "mart": mart_of(alias),
            "table": f"s.{alias}",
            "uti_table": "s.uti",
            "identity": identity(mart_of(alias), COLUMNS[alias]),
            "columns": {name: exp.DataType.build(kind) for name, kind in COLUMNS[alias].items()},
            "start": END - 900,
            "end": END,
            "history_start": "2024_h2",
            "periods": ("2024_h2", "2025_h1", "2025_h2"),
            "raw_retention_days": 35,
            "age_reference": END,
            "cutoff": epoch(2025, 3),
            **nothing,
            **facts,
        }
    )


def test_history_is_asked_in_the_range_of_the_batchs_order_numbers_alone() -> None:
    """It grows for ever; its blocks tell by their lowest and highest numbers that none of the batch is in them."""
    for query in (returned_orders(found("uti")), returned_orders(found("ecs")), departed_orders(found("ecs"))):
        (condition,) = [where for where in query.find_all(exp.Where) if "29" in where.sql("redshift")]
        assert re.fullmatch(r"WHERE (\w+)\.order_id >= 17 AND \1\.order_id <= 29", condition.sql("redshift"))
    assert "WHERE FALSE" in returned_orders(found("uti", order_range=None)).sql("redshift")


def texts(statements: list[exp.Expr]) -> list[str]:
    return [each.sql("redshift").replace("order_tracking_history.", "h.") for each in statements]


@pytest.mark.parametrize("alias", ["uti", "ecs"])
def test_nothing_is_cleaned_where_no_order_came_back_and_nothing_moves_where_nothing_is_due(alias: str) -> None:
    assert [step(found(alias)) for step in (clean, archive, check, trim)] == [[], [], [], []]


def test_clean_deletes_of_a_returned_order_only_what_is_older_and_of_the_same_order() -> None:
    statements = texts(clean(found("uti", returned_periods=("2024_h2", "2025_h1"), metadata_tables=("raw.ecs",))))
    deletions = [sql for sql in statements if sql.startswith("DELETE FROM")]
    assert [sql.split(" USING ")[0] for sql in deletions] == [
        "DELETE FROM h.hist_uti_2024_h2",
        "DELETE FROM h.hist_uti_2025_h1",
    ]
    assert "h.hist_uti_2024_h2.update_time < present.update_time" in deletions[0]
    assert "NOT (COALESCE(h.hist_uti_2024_h2.tno = present.tno" in deletions[0], (
        "another tracking number, another order"
    )
    inserted = [sql for sql in statements if sql.startswith("INSERT INTO h.order_tracking_exceptions")]
    assert len(inserted) == 1 and any("order_number_reused" in sql for sql in statements)
    assert statements.index(inserted[0]) < statements.index(deletions[0]), "told before anything is deleted"


def test_clean_deletes_metadata_of_an_active_order_also_where_it_is_the_same_version() -> None:
    (deletion,) = texts(clean(found("ecs", returned_periods=("2025_h1",))))
    assert deletion.startswith("DELETE FROM h.hist_ecs_2025_h1 USING")
    assert "NOT present.active_order_id IS NULL" in deletion
    assert "h.hist_ecs_2025_h1.add_time = present.add_time" in deletion, (
        "metadata of another creation is another order's"
    )


def test_archive_copies_what_is_due_to_its_half_year_with_named_columns() -> None:
    (insert,) = texts(archive(found("uts", due=(TOO_OLD, FEBRUARY))))
    assert insert.startswith(
        "INSERT INTO h.hist_uts_2025_h1 (order_id, pathtime, code, traceseq, landed_at, archived_at) SELECT "
    ), "a half-year before history_start has no table"
    assert "CAST('2025-09-01 00:00:00' AS TIMESTAMP) FROM (" in insert
    assert f"mart.pathtime >= {FEBRUARY.first} AND mart.pathtime < {FEBRUARY.until}" in insert
    assert f"FROM h.hist_uts_2025_h1 WHERE pathtime >= {FEBRUARY.first} AND pathtime < {FEBRUARY.until}" in insert


def test_archive_looks_for_newer_versions_of_a_status_in_its_half_year_and_later_ones_only() -> None:
    (insert,) = texts(archive(found("uti", due=(FEBRUARY,))))
    assert "FROM h.hist_uti_2025_h1" in insert and "FROM h.hist_uti_2025_h2" in insert
    assert "hist_uti_2024_h2" not in insert
    assert "NOT (held.update_time < due.update_time OR " in insert, "an older copy is no copy"


def test_archive_takes_metadata_to_the_half_year_of_its_orders_status() -> None:
    (insert,) = texts(archive(found("ecs", due=(FEBRUARY,))))
    assert insert.startswith("INSERT INTO h.hist_ecs_2025_h1 (order_id, partner_id, add_time, landed_at, archived_at)")
    assert "FROM order_tracking_due_rows_ecs_1756684800 AS mart WHERE mart.period = '2025_h1'" in insert
    assert "LEFT JOIN" not in insert, "history holds no metadata of what leaves, so there is no copy to look for"
    (insert,) = texts(archive(found("ecs", due=(FEBRUARY,), copy_periods=("2024_h2",))))
    assert "FROM h.hist_ecs_2024_h2" in insert


def test_check_tells_of_each_half_year_what_has_no_copy_with_a_count() -> None:
    due = (TOO_OLD, FEBRUARY)
    drop, create, update, insert = texts(check(found("uts", due=due, unrouted_is_open=True)))
    assert drop.startswith("DROP TABLE IF EXISTS order_tracking_unrouted_rows")
    assert "'2024_h1'" in create and "'2025_h1'" in create
    assert "copied.order_id IS NULL" in create, "only what has no identical copy"
    for sql in (update, insert):
        assert "archive_unrouted" in sql and "COUNT(*)" in sql and "which begins with 2024_h2" in sql
    (alone,) = texts(check(found("uts", due=due)))
    assert alone.startswith("INSERT INTO h.order_tracking_exceptions"), "while none is open none is seen again"
    assert "copied.order_id IS NULL" in alone and "'2024_h1'" in alone and "'2025_h1'" in alone


def test_trim_deletes_only_rows_that_have_their_identical_copy() -> None:
    (delete,) = texts(trim(found("uts", due=(TOO_OLD, FEBRUARY))))
    assert delete.startswith(
        "DELETE FROM s.uts USING (SELECT order_id, pathtime, code, traceseq FROM h.hist_uts_2025_h1"
    )
    for column in ("code", "traceseq"):
        assert f"COALESCE(s.uts.{column}, 0) = COALESCE(copied.{column}, 0)" in delete
    assert f"s.uts.pathtime >= {FEBRUARY.first} AND s.uts.pathtime < {FEBRUARY.until}" in delete


def test_trim_compares_every_column_of_a_version() -> None:
    (delete,) = texts(trim(found("uti", due=(FEBRUARY,))))
    assert "s.uti.update_time = copied.update_time" in delete and "s.uti.landed_at = copied.landed_at" in delete
    assert "COALESCE(s.uti.tno, '') = COALESCE(copied.tno, '')" in delete
    blanks = "COALESCE(LENGTH(s.uti.tno), -1) = COALESCE(LENGTH(copied.tno), -1)"
    assert blanks in delete, "Redshift takes 'A' and 'A ' for equal; no server here does"


def test_raw_is_forgotten_by_age_and_never_what_this_interval_takes() -> None:
    assert forget_raw(found("uts", forgettable=0)) == [], "once a day there is something"
    (later,) = texts(forget_raw(found("uts", end=END + 3600, age_reference=END + 3600)))
    assert "CAST('2025-07-28 00:00:00' AS TIMESTAMP)" in later, "by whole days"
    (delete,) = texts(forget_raw(found("uts")))
    floor, raw = END - 35 * 86400, "order_tracking_raw.uni_tracking_spath_raw"
    assert delete == (
        f"DELETE FROM {raw} WHERE {raw}.landed_at < CAST('2025-07-28 00:00:00' AS TIMESTAMP) "
        f"AND {raw}.pathtime < {floor}"
    )
    (delete,) = texts(forget_raw(found("uts", start=END - 90 * 86400)))
    assert "CAST('2025-06-03 00:00:00' AS TIMESTAMP)" in delete, "what landed in the interval has not been consumed yet"


@pytest.mark.parametrize("mart", marts(), ids=lambda mart: mart.alias)
def test_history_has_the_keys_that_the_model_gives_its_mart(mart: Mart, context: Context) -> None:
    """The models say them for SQLMesh, `Mart` says them for history."""
    properties = context.get_model(mart.name).physical_properties
    assert tuple(column.name for column in properties["sortkey"].expressions) == mart.sortkey
    assert properties["distkey"].name == "order_id"
