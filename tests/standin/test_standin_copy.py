"""COPY and UNLOAD through the stand-in keep Redshift's rules and the client's transaction."""

from __future__ import annotations

import datetime as dt
import io
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redshift_connector

from tests.redshift_standin import RedshiftStandin, S3Server

ROLE = "IAM_ROLE 'arn:aws:iam::123456789012:role/loader'"
LOAD = f"COPY s.t FROM 's3://landing/manifest' {ROLE} FORMAT AS PARQUET MANIFEST"
UNLOAD = f"TO 's3://landing/out/' {ROLE} FORMAT AS PARQUET"


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with S3Server() as started:
        yield started


@pytest.fixture(scope="module")
def standin(s3: S3Server) -> Iterator[RedshiftStandin]:
    with RedshiftStandin(s3_endpoint_url=s3.endpoint_url) as started:
        yield started


@pytest.fixture
def connection(standin: RedshiftStandin, s3: S3Server) -> Iterator[Any]:
    """A connection, an empty schema `s` and an empty bucket."""
    for item in s3.client.list_objects_v2(Bucket=s3.bucket).get("Contents", []):
        s3.client.delete_object(Bucket=s3.bucket, Key=item["Key"])
    standin._postgres.run(standin.database, "DROP SCHEMA IF EXISTS s CASCADE", "CREATE SCHEMA s")
    connection = redshift_connector.connect(**standin.connection_arguments)
    yield connection
    connection.close()


def run(connection: Any, *statements: str) -> list[list[Any]]:
    cursor = connection.cursor()
    for statement in statements:
        cursor.execute(statement)
    return list(cursor.fetchall()) if cursor.description else []


def error_of(connection: Any, sql: str) -> str:
    """The message and the detail of the error that a statement gives."""
    with pytest.raises(redshift_connector.ProgrammingError) as caught:
        run(connection, sql)
    error = caught.value.args[0]
    return f"{error['M']} {error.get('D', '')}"


def send(s3: S3Server, *tables: pa.Table, **changes: Any) -> None:
    """Put the tables into the bucket as Parquet files, with a manifest; `changes` go into its entries."""
    entries = []
    for number, table in enumerate(tables):
        out = io.BytesIO()
        pq.write_table(table, out)
        s3.client.put_object(Bucket=s3.bucket, Key=f"part{number}", Body=out.getvalue())
        entry = {
            "url": f"s3://landing/part{number}",
            "mandatory": True,
            "meta": {"content_length": out.tell()},
        }
        entries.append(entry | changes)
    s3.client.put_object(Bucket=s3.bucket, Key="manifest", Body=json.dumps({"entries": entries}).encode())


def test_values_of_every_type_arrive_unchanged(connection: Any, s3: S3Server) -> None:
    moment = dt.datetime(2025, 1, 2, 3, 4, 5, 678901)
    table = pa.table(
        {
            "a": pa.array([1, None], pa.int64()),
            "b": pa.array([-2, None], pa.int32()),
            "c": pa.array([3, None], pa.int16()),
            "d": pa.array(['grün, "x"\n\\N', ""], pa.string()),
            "e": pa.array([None, "y"], pa.string()),
            "f": pa.array([moment, None], pa.timestamp("us")),
            "g": pa.array([1.1, None], pa.float64()),
            "h": pa.array([moment.date(), None], pa.date32()),
            "i": pa.array([True, False], pa.bool_()),
        }
    )
    send(s3, table)
    run(
        connection,
        "CREATE TABLE s.t (a BIGINT, b INTEGER, c SMALLINT, d VARCHAR(20), e VARCHAR(20), f TIMESTAMP, "
        "g DOUBLE PRECISION, h DATE, i BOOLEAN)",
        LOAD,
    )
    assert run(connection, "SELECT * FROM s.t") == [list(row.values()) for row in table.to_pylist()]


def test_rollback_takes_a_copy_back(connection: Any, s3: S3Server) -> None:
    send(s3, pa.table({"a": pa.array([1, 2], pa.int64())}))
    run(connection, "CREATE TABLE s.t (a BIGINT)")
    connection.commit()
    run(connection, LOAD)
    assert run(connection, "SELECT PG_LAST_COPY_COUNT()") == [[2]]
    assert run(connection, "SELECT COUNT(*) FROM s.t") == [[2]]
    connection.rollback()
    assert run(connection, "SELECT COUNT(*) FROM s.t") == [[0]]


def test_one_copy_loads_all_files_of_the_manifest_and_only_them(connection: Any, s3: S3Server) -> None:
    one = pa.table({"a": pa.array([1], pa.int64())})
    send(s3, one, one, one)
    s3.client.copy_object(Bucket="landing", Key="part9", CopySource="landing/part0")
    run(connection, "CREATE TEMP TABLE t (a BIGINT)", LOAD.replace("s.t", "t"))
    assert run(connection, "SELECT COUNT(*) FROM t") == [[3]]
    assert "3 record(s) loaded" in str(connection.notices[-1])


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("BIGINT", pa.array([1], pa.int32())),
        ("INTEGER", pa.array([1], pa.int64())),
        ("BIGINT", pa.array([1], pa.uint32())),
        ("SMALLINT", pa.array([1], pa.int8())),
        ("TIMESTAMP", pa.array([1], pa.timestamp("ns"))),
        ("TIMESTAMP", pa.array([1], pa.timestamp("us", tz="UTC"))),
        ("TIMESTAMP", pa.array([1], pa.timestamp("ms"))),
        ("VARCHAR(9)", pa.array(["x"], pa.large_string())),
        ("VARCHAR(9)", pa.array(["x"]).dictionary_encode()),
        ("VARCHAR(9)", pa.array([b"x"], pa.binary())),
        ("DOUBLE PRECISION", pa.array([1], pa.float32())),
    ],
    ids=lambda value: str(getattr(value, "type", value)),
)
def test_type_that_is_not_exactly_the_columns_is_refused(
    connection: Any, s3: S3Server, column: str, values: pa.Array
) -> None:
    send(s3, pa.table({"a": values}))
    run(connection, f"CREATE TABLE s.t (a {column})")
    assert "incompatible Parquet schema for column 'a'" in error_of(connection, LOAD)


def test_columns_go_by_position_not_by_name(connection: Any, s3: S3Server) -> None:
    send(s3, pa.table({"b": pa.array([1], pa.int64()), "a": pa.array([2], pa.int64())}))
    run(connection, "CREATE TABLE s.t (a BIGINT, b BIGINT)", LOAD)
    assert run(connection, "SELECT a, b FROM s.t") == [[1, 2]]


def test_number_of_columns_must_match_unless_fillrecord(connection: Any, s3: S3Server) -> None:
    run(connection, "CREATE TABLE s.t (a BIGINT, b VARCHAR(5))")
    connection.commit()
    send(s3, pa.table({"a": pa.array([1], pa.int64())}))
    assert "Unmatched number of columns" in error_of(connection, LOAD)
    connection.rollback()
    assert run(connection, LOAD + " FILLRECORD", "SELECT a, b FROM s.t") == [[1, None]]
    send(s3, pa.table({name: pa.array([1], pa.int64()) for name in "abc"}))
    assert "Unmatched number of columns" in error_of(connection, LOAD + " FILLRECORD")


def test_string_longer_in_bytes_than_the_column_is_an_error(connection: Any, s3: S3Server) -> None:
    send(s3, pa.table({"a": ["ääää"]}))
    run(connection, "CREATE TABLE s.t (a VARCHAR(7))")
    assert "longer than the length defined in the table. Table: 7, Data: 8" in error_of(connection, LOAD)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"meta": {}}, "content_length"),
        ({"meta": {"content_length": 7}}, "content_length 7"),
        ({"url": "s3://landing/gone"}, "Mandatory url is not present"),
    ],
)
def test_manifest_must_be_true(connection: Any, s3: S3Server, changes: dict[str, Any], words: str) -> None:
    send(s3, pa.table({"a": pa.array([1], pa.int64())}), **changes)
    run(connection, "CREATE TABLE s.t (a BIGINT)")
    assert words in error_of(connection, LOAD)


def test_missing_file_that_is_not_mandatory_is_skipped_in_silence(connection: Any, s3: S3Server) -> None:
    send(s3, pa.table({"a": pa.array([1], pa.int64())}), url="s3://landing/gone", mandatory=False)
    assert run(connection, "CREATE TABLE s.t (a BIGINT)", LOAD, "SELECT COUNT(*) FROM s.t") == [[0]]


def test_copy_without_manifest_or_table_fails(connection: Any, s3: S3Server) -> None:
    assert "nonexistent table s.t" in error_of(connection, LOAD)
    connection.rollback()
    run(connection, "CREATE TABLE s.t (a BIGINT)")
    assert "does not exist" in error_of(connection, LOAD)


def test_a_million_rows_arrive_whole(connection: Any, s3: S3Server) -> None:
    rows = 500_000
    table = pa.table({"a": pa.array(range(rows), pa.int64()), "b": pa.array(["x" * 20] * rows)})
    send(s3, table, table)
    run(connection, "CREATE TABLE s.t (a BIGINT, b VARCHAR(64))")
    run(connection, LOAD)
    assert run(connection, "SELECT COUNT(*), SUM(a) FROM s.t") == [[2 * rows, rows * (rows - 1)]]


def test_unload_writes_what_copy_reads(connection: Any, s3: S3Server) -> None:
    run(
        connection,
        "CREATE TABLE s.u (a BIGINT, b VARCHAR(20), c TIMESTAMP, d BOOLEAN)",
        "INSERT INTO s.u VALUES (1, 'it''s \"x\"', '2025-01-02 03:04:05.678901', TRUE), "
        "(2, '', NULL, FALSE), (3, NULL, NULL, NULL)",
        f"UNLOAD ('SELECT a, b, c, d FROM s.u WHERE b <> ''none'' OR b IS NULL') {UNLOAD} MANIFEST",
        "CREATE TABLE s.t (LIKE s.u)",
        LOAD.replace("landing/manifest", "landing/out/manifest"),
    )
    assert run(connection, "SELECT PG_LAST_UNLOAD_COUNT()") == [[3]]
    assert run(connection, "SELECT * FROM s.t ORDER BY a") == run(connection, "SELECT * FROM s.u ORDER BY a")


def test_unload_sees_its_own_transaction_and_overwrites_only_when_told(connection: Any, s3: S3Server) -> None:
    unload = f"UNLOAD ('SELECT a FROM s.t') {UNLOAD} PARALLEL OFF"
    run(connection, "CREATE TABLE s.t (a BIGINT)", "INSERT INTO s.t VALUES (7)", unload)
    body = s3.client.get_object(Bucket="landing", Key="out/0000_part_00.parquet")["Body"].read()
    assert pq.read_table(io.BytesIO(body)).to_pylist() == [{"a": 7}]
    run(connection, unload + " ALLOWOVERWRITE")
    assert "not empty" in error_of(connection, unload)


def test_unload_of_nothing_still_has_the_columns(connection: Any, s3: S3Server) -> None:
    run(connection, "CREATE TABLE s.t (a BIGINT, b VARCHAR(5))", f"UNLOAD ('SELECT a, b FROM s.t') {UNLOAD}")
    body = s3.client.get_object(Bucket="landing", Key="out/0000_part_00.parquet")["Body"].read()
    assert pq.read_schema(io.BytesIO(body)) == pa.schema([("a", pa.int64()), ("b", pa.string())])


def test_backslashes_survive_copy_and_both_quotings_of_unload(connection: Any, s3: S3Server) -> None:
    send(s3, pa.table({"a": ["x\\y", "it's"]}))
    run(connection, "CREATE TABLE s.t (a VARCHAR(9))", LOAD)
    assert run(connection, "SELECT a FROM s.t ORDER BY a") == [["it's"], ["x\\y"]]
    run(connection, rf"UNLOAD ('SELECT a FROM s.t WHERE a = \'it\\\'s\'') {UNLOAD}")
    assert run(connection, "SELECT PG_LAST_UNLOAD_COUNT()") == [[1]]


def test_error_in_the_unloaded_query_is_the_clients_error(connection: Any) -> None:
    assert "s.missing" in error_of(connection, f"UNLOAD ('SELECT a FROM s.missing') {UNLOAD}")


def test_planned_failure_after_a_copy_leaves_nothing(standin: RedshiftStandin, connection: Any, s3: S3Server) -> None:
    send(s3, pa.table({"a": pa.array([1], pa.int64())}))
    run(connection, "CREATE TABLE s.t (a BIGINT)")
    connection.commit()
    standin.fail_when("^copy", message="lost a slice", after=True)
    assert "lost a slice" in error_of(connection, LOAD)
    connection.rollback()
    assert run(connection, "SELECT COUNT(*) FROM s.t") == [[0]]
