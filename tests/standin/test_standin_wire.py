"""redshift_connector talks to the stand-in as to a Redshift: protocol, transactions, DDL, faults, TLS."""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import redshift_connector
from sqlglot import exp

from tests.redshift_standin import Properties, RedshiftStandin
from tests.support.certificates import certificate

LONG = "order_tracking__mart_uni_tracking_spath__1234567890_schema_tmp_and_more"  # over PostgreSQL's 63 bytes


@pytest.fixture(scope="module")
def standin() -> Iterator[RedshiftStandin]:
    with RedshiftStandin() as started:
        yield started


@pytest.fixture
def connection(standin: RedshiftStandin) -> Iterator[Any]:
    """A fresh connection and an empty schema `s`."""
    standin.memory.faults.clear()
    standin.memory.late_views.clear()
    standin.statements.clear()
    standin._postgres.run(standin.database, "DROP SCHEMA IF EXISTS s CASCADE", "CREATE SCHEMA s")
    connection = redshift_connector.connect(**standin.connection_arguments)
    yield connection
    with contextlib.suppress(redshift_connector.Error, OSError):
        connection.close()


def run(connection: Any, *statements: str) -> list[list[Any]]:
    """Execute statements and give the rows of the last one."""
    cursor = connection.cursor()
    for statement in statements:
        cursor.execute(statement)
    return list(cursor.fetchall()) if cursor.description else []


def error_of(connection: Any, sql: str) -> dict[str, str]:
    with pytest.raises(redshift_connector.ProgrammingError) as caught:
        run(connection, sql)
    return caught.value.args[0]


# Protocol ------------------------------------------------------------------------------------------------


def test_server_calls_itself_redshifts_version(connection: Any) -> None:
    assert (b"server_version", b"8.0.2") in list(connection.parameter_statuses)


def test_wrong_password_is_refused(standin: RedshiftStandin) -> None:
    with pytest.raises(redshift_connector.Error):
        redshift_connector.connect(**standin.connection_arguments | {"password": "wrong"})


@pytest.mark.parametrize(("style", "mark"), [("format", "%s"), ("qmark", "?"), ("numeric", ":1")])
def test_parameters_of_every_style_arrive(connection: Any, style: str, mark: str) -> None:
    cursor = connection.cursor()
    cursor.paramstyle = style
    cursor.execute("CREATE TABLE s.t (a VARCHAR(20))")
    cursor.execute(f"INSERT INTO s.t (a) VALUES ({mark})", ("grün",))
    assert run(connection, "SELECT a FROM s.t") == [["grün"]]


def test_types_come_back_as_python_values(connection: Any) -> None:
    sql = "SELECT 1::SMALLINT, 2::INTEGER, 3::BIGINT, 1.5::FLOAT8, TRUE, 'x'::VARCHAR(5), DATE '2025-01-02', "
    sql += "NULL"
    assert run(connection, sql) == [[1, 2, 3, 1.5, True, "x", dt.date(2025, 1, 2), None]]


def test_redshift_functions_work(connection: Any) -> None:
    rows = run(
        connection,
        "SELECT DATEADD(hour, -2, TIMESTAMP '2025-01-01 01:00:00'), NVL(NULL, 5), LEN('abc'), "
        "DATEDIFF(day, TIMESTAMP '2025-01-01 23:00:00', TIMESTAMP '2025-01-02 01:00:00'), GETDATE()",
    )
    assert rows[0][:4] == [dt.datetime(2024, 12, 31, 23), 5, 3, 1]
    assert abs(rows[0][4] - dt.datetime.now(dt.UTC).replace(tzinfo=None)) < dt.timedelta(minutes=1)


def test_extract_from_a_timestamp_is_an_integer_and_loses_the_fraction(connection: Any) -> None:
    moment = "'2025-01-01 23:59:59.999999'"
    parts = [f"EXTRACT({part} FROM TIMESTAMP {moment})" for part in ("EPOCH", "second")]
    parts += [f"EXTRACT(epoch FROM TIMESTAMP {moment} + EXTRACT(day FROM DATE '2025-01-02') * INTERVAL '1 second')"]
    parts += [f"EXTRACT(EPOCH FROM TIMESTAMPTZ {moment})", "EXTRACT(epoch FROM INTERVAL '1.5 seconds')"]
    (row,) = run(connection, f"SELECT {', '.join(parts)}")
    assert row == [1735775999, 59, 1735776001, 1735775999.999999, 1]
    assert [type(value) for value in row] == [int, int, int, float, int]
    run(connection, f"CREATE TABLE s.t AS SELECT {parts[0]} AS a")
    assert run(connection, "SELECT data_type FROM svv_columns WHERE table_schema = 's'") == [["integer"]]
    # Redshift's EXTRACT has no room for it either.
    assert error_of(connection, "SELECT EXTRACT(epoch FROM TIMESTAMP '2100-01-01')")["C"] == "22003"


def test_backslash_escapes_in_strings_as_sqlglot_writes_them(connection: Any) -> None:
    text = exp.Literal.string("it's a \\ and\na line; DELETE FROM t AS x")
    assert run(connection, f"SELECT {text.sql('redshift')}::VARCHAR(60)") == [[text.this]]
    assert run(connection, r"SELECT 'it\'s', 'it''s'") == [["it's", "it's"]]


def test_simple_protocol_works_and_is_checked_too(standin: RedshiftStandin, connection: Any) -> None:
    with contextlib.closing(
        psycopg2.connect(
            host=standin.host,
            port=standin.port,
            user=standin.user,
            password=standin.password,
            dbname=standin.database,
        )
    ) as simple:
        cursor = simple.cursor()
        cursor.execute("CREATE TABLE s.t (a INT DISTKEY); INSERT INTO s.t VALUES (1), (2)")
        cursor.execute("SELECT SUM(a) FROM s.t")
        assert cursor.fetchall() == [(3,)]
        with pytest.raises(psycopg2.Error, match="truncate"):
            cursor.execute("TRUNCATE s.t")


def test_names_fold_to_lower_case_even_quoted(connection: Any) -> None:
    run(connection, 'CREATE TABLE "S"."Folded" ("OrderId" INT)', 'INSERT INTO s.folded ("ORDERID") VALUES (1)')
    assert run(connection, "SELECT orderid FROM S.FOLDED") == [[1]]


def test_names_longer_than_postgresql_allows_stay_themselves(connection: Any) -> None:
    run(connection, f"CREATE TABLE s.{LONG}1 (a INT)", f"CREATE TABLE s.{LONG}2 (a INT, b INT)")
    found = run(connection, f"SELECT table_name FROM svv_columns WHERE table_name = '{LONG}2' AND column_name = 'b'")
    assert found == [[f"{LONG}2"]]


# Refusals and transactions -------------------------------------------------------------------------------


def test_refused_statement_never_reaches_the_table_and_fails_the_transaction(connection: Any) -> None:
    run(connection, "CREATE TABLE s.t (a INT)", "INSERT INTO s.t VALUES (1)")
    connection.commit()
    assert error_of(connection, "DELETE FROM s.t AS x")["M"].startswith("delete-target-alias")
    assert error_of(connection, "SELECT 1")["C"] == "25P02"
    connection.rollback()
    assert run(connection, "SELECT a FROM s.t") == [[1]]


def test_rollback_takes_rows_and_tables_back(connection: Any) -> None:
    run(connection, "CREATE TABLE s.t (a INT)", "INSERT INTO s.t VALUES (1)")
    connection.rollback()
    assert error_of(connection, "SELECT a FROM s.t")["C"] == "42P01"


def test_vacuum_and_widening_need_autocommit(connection: Any) -> None:
    run(connection, "CREATE TABLE s.t (a VARCHAR(3))")
    connection.commit()
    for sql in ("VACUUM DELETE ONLY s.t TO 99 PERCENT", "ALTER TABLE s.t ALTER COLUMN a TYPE VARCHAR(9)"):
        assert "in-transaction" in error_of(connection, sql)["M"]
        connection.rollback()
        connection.autocommit = True
        run(connection, sql)
        connection.autocommit = False
    assert run(connection, "SELECT character_maximum_length FROM svv_columns WHERE table_schema = 's'") == [[9]]


def test_varchar_counts_bytes_and_is_256_by_default(connection: Any) -> None:
    run(connection, "CREATE TABLE s.t (a VARCHAR(3), b VARCHAR, c VARCHAR(MAX))")
    lengths = run(connection, "SELECT character_maximum_length FROM svv_columns WHERE table_schema = 's' ORDER BY 1")
    assert lengths == [[3], [256], [65535]]
    assert error_of(connection, "INSERT INTO s.t (a) VALUES ('ää')")["C"] == "22001"


def test_serialization_conflict_is_redshifts_1023(standin: RedshiftStandin, connection: Any) -> None:
    run(connection, "CREATE TABLE s.t (a INT)", "CREATE TABLE s.u (a INT)")
    connection.commit()
    other = redshift_connector.connect(**standin.connection_arguments)
    run(connection, "SELECT COUNT(*) FROM s.t", "INSERT INTO s.u VALUES (1)")
    run(other, "SELECT COUNT(*) FROM s.u", "INSERT INTO s.t VALUES (1)")
    connection.commit()
    with pytest.raises(redshift_connector.ProgrammingError) as caught:
        other.commit()
    assert caught.value.args[0]["M"] == "1023"
    other.close()


# Physical properties and views ---------------------------------------------------------------------------


def test_physical_properties_are_remembered_in_every_spelling(standin: RedshiftStandin, connection: Any) -> None:
    run(
        connection,
        "CREATE TABLE s.a (k BIGINT ENCODE az64 DISTKEY, t INT SORTKEY) BACKUP NO",
        'CREATE TABLE s.b (k INT, t INT) DISTSTYLE KEY DISTKEY("k") COMPOUND SORTKEY("t", "k")',
        "CREATE TABLE s.c DISTSTYLE ALL SORTKEY (t) AS SELECT k, t FROM s.b",
        "CREATE TABLE s.d (LIKE s.b)",
        "ALTER TABLE s.d RENAME TO e",
        "CREATE TABLE s.f (k INT)",
    )
    connection.commit()
    layout = Properties("key", "k", ("t", "k"))
    assert standin.properties("s.a") == Properties("key", "k", ("t",))
    assert standin.properties("s.b") == standin.properties("s.e") == layout
    assert standin.properties("s.c") == Properties("all", None, ("t",))
    assert standin.properties("s.f") == standin.properties("s.missing") == Properties()


def test_if_not_exists_leaves_the_properties_of_the_table_that_is_there(
    standin: RedshiftStandin, connection: Any
) -> None:
    run(
        connection,
        "CREATE TABLE s.t (k INT) DISTKEY (k)",
        "CREATE TABLE IF NOT EXISTS s.t (j INT) DISTKEY (j)",
    )
    connection.commit()
    assert standin.properties("s.t").distkey == "k"


@pytest.mark.parametrize("column", ["k", "t"])
def test_column_of_a_key_cannot_be_dropped(connection: Any, column: str) -> None:
    run(
        connection,
        "CREATE TABLE s.t (k INT, t INT, x INT) DISTKEY (k) SORTKEY (t)",
        "ALTER TABLE s.t DROP COLUMN x",
    )
    assert "cannot drop" in error_of(connection, f"ALTER TABLE s.t DROP COLUMN {column} CASCADE")["M"]


def test_late_binding_view_does_not_hold_its_table(connection: Any) -> None:
    run(
        connection,
        "CREATE TABLE s.t (a INT)",
        "CREATE VIEW s.v AS SELECT * FROM s.t WITH NO SCHEMA BINDING",
        "CREATE VIEW s.w AS SELECT * FROM s.v WITH NO SCHEMA BINDING",
    )
    connection.commit()
    run(connection, "DROP TABLE s.t", "CREATE TABLE s.n (a INT, b INT)", "INSERT INTO s.n VALUES (1, 2)")
    run(connection, "ALTER TABLE s.n RENAME TO t")
    connection.commit()
    assert run(connection, "SELECT * FROM s.w") == [[1, 2]]
    run(connection, "ALTER TABLE s.t DROP COLUMN b")
    assert run(connection, "SELECT * FROM s.w") == [[1]]


def test_the_reader_of_a_late_binding_view_needs_usage_on_each_schema_below_it(
    standin: RedshiftStandin, connection: Any
) -> None:
    """Of one below a view below it, too; whoever reads an ordinary view needs neither."""
    standin.fetch("DROP SCHEMA IF EXISTS below CASCADE")
    standin.fetch("DROP SCHEMA IF EXISTS deepest CASCADE")
    standin.fetch("DROP ROLE IF EXISTS reader")
    run(
        connection,
        "CREATE SCHEMA below",
        "CREATE SCHEMA deepest",
        f"CREATE TABLE deepest.{LONG} AS SELECT 1 AS a",
        f"CREATE VIEW below.w AS SELECT a FROM deepest.{LONG} WITH NO SCHEMA BINDING",
        "CREATE VIEW s.v AS SELECT a FROM below.w WITH NO SCHEMA BINDING",
        f"CREATE VIEW s.bound AS SELECT a FROM deepest.{LONG}",
        "CREATE USER reader PASSWORD 'Change-me-1'",
        "GRANT USAGE ON SCHEMA s TO reader",
        "GRANT SELECT ON s.v, s.bound TO reader",
    )
    connection.commit()
    reader = redshift_connector.connect(**standin.connection_arguments | {"user": "reader", "password": "Change-me-1"})
    with contextlib.closing(reader):
        reader.autocommit = True
        for schema in ("below", "deepest"):
            denied = error_of(reader, "SELECT a FROM s.v")
            assert (denied["C"], denied["M"]) == ("42501", f"permission denied for schema {schema}")
            run(connection, f"GRANT USAGE ON SCHEMA {schema} TO reader")
            connection.commit()
            assert run(reader, "SELECT a FROM s.bound") == [[1]]
        assert run(reader, "SELECT a FROM s.v") == [[1]]
    run(connection, "DROP SCHEMA s CASCADE", "DROP SCHEMA below CASCADE", "DROP SCHEMA deepest CASCADE")
    run(connection, "DROP USER reader")
    connection.commit()


def test_ordinary_view_holds_its_table(connection: Any) -> None:
    run(connection, "CREATE TABLE s.t (a INT)", "CREATE VIEW s.v AS SELECT a FROM s.t")
    assert error_of(connection, "DROP TABLE s.t")["C"] == "2BP01"


def test_rolled_back_view_stays_away(connection: Any) -> None:
    run(connection, "CREATE TABLE s.t (a INT)")
    connection.commit()
    run(connection, "CREATE VIEW s.v AS SELECT a FROM s.t WITH NO SCHEMA BINDING")
    connection.rollback()
    run(connection, "CREATE TABLE s.u (a INT)")
    connection.commit()
    assert error_of(connection, "SELECT a FROM s.v")["C"] == "42P01"


# Maintenance ---------------------------------------------------------------------------------------------


def test_table_info_shows_chosen_numbers_until_maintenance(standin: RedshiftStandin, connection: Any) -> None:
    numbers = (
        "SELECT tbl_rows, estimated_visible_rows, unsorted, vacuum_sort_benefit, stats_off, "
        "diststyle, sortkey1 FROM svv_table_info WHERE \"schema\" = 's' AND \"table\" = 't'"
    )
    run(connection, "CREATE TABLE s.t (k INT) DISTKEY (k) SORTKEY (k)")
    connection.commit()
    connection.autocommit = True
    assert run(connection, numbers) == []  # Redshift shows no empty tables
    run(connection, "INSERT INTO s.t VALUES (1), (2)")
    standin.set_table_info("s.t", ghosts=3, unsorted=40, vacuum_sort_benefit=9, stats_off=12)
    assert run(connection, numbers) == [[5, 2, 40, 9, 12, "KEY(k)", "k"]]
    assert run(connection, "VACUUM DELETE ONLY s.t TO 99 PERCENT", numbers)[0][:5] == [2, 2, 40, 9, 12]
    assert run(connection, "VACUUM SORT ONLY s.t BOOST", numbers)[0][:5] == [2, 2, 0, 0, 12]
    assert run(connection, "ANALYZE s.t", numbers)[0][:5] == [2, 2, 0, 0, 0]


# Log and faults ------------------------------------------------------------------------------------------


def test_a_second_vacuum_is_refused_while_one_runs(standin: RedshiftStandin, connection: Any) -> None:
    connection.autocommit = True
    run(connection, "CREATE TABLE s.t (a INTEGER)")
    with standin.vacuum_running():
        refused = error_of(connection, "VACUUM DELETE ONLY s.t")
        assert refused["M"] == "VACUUM is running"
        run(connection, "ANALYZE s.t")
    run(connection, "VACUUM DELETE ONLY s.t", "VACUUM RECLUSTER s.t")


@pytest.mark.parametrize("binding", ["", "WITH NO SCHEMA BINDING"], ids=["ordinary", "late-binding"])
def test_dropping_a_view_waits_for_its_reader_that_is_idle_in_a_transaction(
    standin: RedshiftStandin, connection: Any, binding: str
) -> None:
    """The same for replacing it. A reader whose transaction has ended is in nobody's way."""
    connection.autocommit = True
    create = f"VIEW s.v AS SELECT a FROM s.t {binding}"
    run(connection, "CREATE TABLE s.t (a INTEGER)", f"CREATE {create}", "SET statement_timeout TO 300")
    with contextlib.closing(redshift_connector.connect(**standin.connection_arguments)) as reader:
        run(reader, "SELECT a FROM s.v")  # opens a transaction, and does not end it
        for waits in ("DROP VIEW s.v", f"CREATE OR REPLACE {create}"):
            assert error_of(connection, waits)["C"] == "57014", waits
        reader.commit()
        run(connection, f"CREATE OR REPLACE {create}", "DROP VIEW s.v")


def test_log_holds_every_statement_once_in_order(standin: RedshiftStandin, connection: Any) -> None:
    run(connection, "CREATE TABLE s.t (k INT) DISTKEY (k)", "INSERT INTO s.t VALUES (1)")
    error_of(connection, "TRUNCATE s.t")
    connection.rollback()
    assert standin.statements == [
        "begin transaction",
        "CREATE TABLE s.t (k INT) DISTKEY (k)",
        "INSERT INTO s.t VALUES (1)",
        "TRUNCATE s.t",
        "rollback",
    ]


def test_planned_error_hits_the_chosen_statement_as_often_as_said(standin: RedshiftStandin, connection: Any) -> None:
    run(connection, "CREATE TABLE s.t (a INT)")
    connection.commit()
    standin.fail_when(r"^insert into s\.t", error_code="XX000", message="disk full", times=2)
    for _ in range(2):
        assert error_of(connection, "INSERT INTO s.t VALUES (1)")["M"] == "disk full"
        connection.rollback()
    assert run(connection, "INSERT INTO s.t VALUES (1)", "SELECT COUNT(*) FROM s.t") == [[1]]


def test_comment_before_a_statement_hides_it_neither_from_faults_nor_from_rewriting(
    standin: RedshiftStandin, connection: Any
) -> None:
    run(
        connection,
        "/* SQLMESH_PLAN: 1 */ CREATE TABLE s.t (a INT) DISTKEY (a)",
        "/* SQLMESH_PLAN: 1 */ CREATE VIEW s.v AS SELECT a FROM s.t WITH NO SCHEMA BINDING",
        "/* PLAN: 1 */ CREATE OR REPLACE VIEW s.v AS SELECT a FROM s.t WHERE a > 0 WITH NO SCHEMA BINDING",
    )
    connection.commit()
    assert standin.properties("s.t").distkey == "a"
    standin.fail_when("^insert", message="disk full")
    assert error_of(connection, "/* SQLMESH_RUN: 1 */ INSERT INTO s.t VALUES (1)")["M"] == "disk full"


@pytest.mark.parametrize(("after", "rows"), [(False, 0), (True, 1)])
def test_connection_lost_around_commit(standin: RedshiftStandin, connection: Any, after: bool, rows: int) -> None:
    run(connection, "CREATE TABLE s.t (a INT)")
    connection.commit()
    run(connection, "INSERT INTO s.t VALUES (1)")
    standin.fail_when("^commit", drop_connection=True, after=after)
    with pytest.raises((redshift_connector.Error, OSError)):
        connection.commit()
    assert standin.fetch("SELECT COUNT(*) FROM s.t") == [(rows,)]


def test_error_after_the_statement_fails_the_transaction(standin: RedshiftStandin, connection: Any) -> None:
    run(connection, "CREATE TABLE s.t (a INT)")
    connection.commit()
    standin.fail_when(lambda sql: sql.startswith("INSERT"), message="late", after=True)
    assert error_of(connection, "INSERT INTO s.t VALUES (1)")["M"] == "late"
    connection.rollback()
    assert run(connection, "SELECT COUNT(*) FROM s.t") == [[0]]


def test_clients_are_served_side_by_side(standin: RedshiftStandin, connection: Any) -> None:
    run(connection, "CREATE TABLE s.t (a INT)")
    connection.commit()

    def insert(number: int) -> None:
        with redshift_connector.connect(**standin.connection_arguments) as other:
            run(other, f"INSERT INTO s.t VALUES ({number})")
            other.commit()

    threads = [threading.Thread(target=insert, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert run(connection, "SELECT COUNT(*) FROM s.t") == [[4]]


# TLS -----------------------------------------------------------------------------------------------------


def test_tls_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls = certificate(tmp_path, "localhost")
    with RedshiftStandin(tls=tls) as standin:
        arguments = standin.connection_arguments | {"host": "localhost"}
        with pytest.raises((redshift_connector.Error, OSError)):
            redshift_connector.connect(**arguments)  # nobody vouches for the certificate
        monkeypatch.setenv("SSL_CERT_FILE", str(tls[0]))
        for sslmode in ("verify-ca", "verify-full"):
            with redshift_connector.connect(**arguments, sslmode=sslmode) as connection:
                assert run(connection, "SELECT 1") == [[1]]
        with pytest.raises((redshift_connector.Error, OSError)):  # vouched for, but another name
            redshift_connector.connect(**arguments | {"host": "127.0.0.1"}, sslmode="verify-full")


def test_client_that_insists_on_tls_is_told_there_is_none(standin: RedshiftStandin) -> None:
    with pytest.raises(redshift_connector.InterfaceError, match="refuses SSL"):
        redshift_connector.connect(**standin.connection_arguments | {"ssl": True})


def test_nothing_is_left_behind() -> None:
    with RedshiftStandin() as standin:
        folder, process = standin._postgres.folder, standin._postgres.process
        assert folder.exists()
    assert not folder.exists()
    assert process is not None and process.poll() is not None
