"""From the source to raw on the Redshift stand-in: files, COPY, landing, and what goes wrong on the way."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.stub import Stubber
from sqlglot import parse_one

from extract import lock_postgres
from extract.clock import Clock
from extract.ensure_tables import ensure_tables
from extract.errors import ConfigurationError, ExtractFailed, LockHeld, WarehouseError
from extract.lock import assert_lock_held, run_lock
from extract.run import TableRun
from extract.run import extract as run_extract
from extract.s3_parts import S3Parts, Sent
from extract.settings import PROJECT, RedshiftSettings
from extract.source import open_source
from extract.tables import load_config
from extract.warehouse import open_warehouse
from extract.warehouse_redshift import RedshiftWarehouse
from tests.redshift_standin.server import DATABASE
from tests.support.commands import cycle as cycle_command
from tests.support.conftest_redshift import START
from tests.support.redshift_world import RedshiftWorld
from tests.support.world import HOUR, MINUTE, moment

RAW = "order_tracking_raw.uni_tracking_spath_raw"


def extract(world: RedshiftWorld, minutes: int = 15, tables: Sequence[str] | None = None) -> list[TableRun]:
    """An extract, and nothing after it, at START and so many minutes."""
    with (
        closing(open_source(world.source_url)) as source,
        closing(open_warehouse("redshift")) as warehouse,
    ):
        return run_extract(source, warehouse, load_config(), Clock(moment(START + minutes * MINUTE)), tables=tables)


def raw_scans(world: RedshiftWorld) -> list[tuple[Any, ...]]:
    return world.query(f"SELECT order_id, pathtime FROM {RAW} ORDER BY 1, 2")


@pytest.fixture
def world(redshift_world: RedshiftWorld) -> RedshiftWorld:
    """A world with two orders that nothing has read yet."""
    redshift_world.order(1, START - HOUR)
    redshift_world.order(2, START - MINUTE)
    return redshift_world


@pytest.fixture(params=["repeatable read", pytest.param("serializable", marks=pytest.mark.slow)])
def either_world(world: RedshiftWorld, request: pytest.FixtureRequest) -> RedshiftWorld:
    """The same under each isolation. `repeatable read` is PostgreSQL's SNAPSHOT: nothing conflicts at COMMIT there."""
    setting = f"ALTER DATABASE {DATABASE} SET default_transaction_isolation = '{request.param}'"
    world.standin._postgres.run("postgres", setting)  # of new connections
    return world


@pytest.mark.parametrize("table", ["uni_tracking_info", "ecs_order_info", "uni_tracking_spath"])
def test_rows_are_not_landed_twice_when_the_connection_is_lost_after_commit(
    either_world: RedshiftWorld, table: str
) -> None:
    world = either_world
    raw = f"order_tracking_raw.{table}_raw"
    seen: list[str] = []

    def landing_commit(sql: str) -> bool:
        """The COMMIT that follows the landing (COPY has its own transaction before)."""
        seen.append(sql)
        return sql.lower().startswith("commit") and any("INSERT INTO " + raw in text for text in seen)

    world.standin.fail_when(landing_commit, drop_connection=True, after=True)
    with pytest.raises(ExtractFailed, match="Whether the transaction took effect is unknown") as failed:
        extract(world, tables=[table])  # alone, or the COMMIT of another table might come in between
    assert "running again lands nothing twice" in str(failed.value)
    landed = world.query(f"SELECT * FROM {raw} ORDER BY order_id")
    assert len(landed) == 2, "the fault was to strike after the COMMIT"
    (again,) = [run for run in extract(world) if run.table == table]
    assert again.landed.rows_landed == 0
    assert world.query(f"SELECT * FROM {raw} ORDER BY order_id") == landed


@pytest.mark.parametrize(
    "what", ["^copy staged_uni_tracking_spath", f"^insert into {RAW}", "^insert into .*extract_log"]
)
def test_a_table_lands_whole_or_not_at_all(either_world: RedshiftWorld, what: str) -> None:
    world = either_world
    world.standin.fail_when(what, message="disk full", times=2)  # for all tables together, and for one by itself
    with pytest.raises(ExtractFailed, match="disk full") as failed:
        extract(world)
    assert "Password" not in str(failed.value)
    failing = world.query("SELECT table_name FROM order_tracking_raw.extract_log WHERE error LIKE '%disk full%'")
    assert len(failing) == 1, "the failure is in the log"
    table = f"order_tracking_raw.{failing[0][0]}_raw"
    assert world.query(f"SELECT COUNT(*) FROM {table}") == [(0,)]
    left = world.objects_in_s3()
    assert left and all(failing[0][0] in key for key in left), "its files, and only its, are left for inspection"
    extract(world)
    assert len(raw_scans(world)) == 2
    assert world.query(f"SELECT COUNT(*) FROM {table}") == [(2,)]


def test_what_kept_the_tables_from_landing_together_is_told_although_each_lands_by_itself(
    either_world: RedshiftWorld,
) -> None:
    world = either_world
    world.standin.fail_when(f"^insert into {RAW}", message="disk full")
    runs = extract(world)
    assert [run.landed.rows_landed for run in runs] == [2, 2, 2]
    (told,) = [warning for run in runs for warning in run.warnings]
    assert "disk full" in told and "Each has landed by itself." in told


def test_a_connection_lost_in_the_landing_lands_nothing_and_the_next_run_does(either_world: RedshiftWorld) -> None:
    world = either_world
    world.standin.fail_when(f"^insert into {RAW}", drop_connection=True, times=2)
    with pytest.raises(ExtractFailed, match="connection to Redshift was lost"):
        extract(world)
    assert raw_scans(world) == []
    extract(world)
    assert len(raw_scans(world)) == 2


ONE_EXTRACT = """
import datetime as dt, sys
from contextlib import closing
from extract.clock import Clock
from extract.run import extract
from extract.source import open_source
from extract.tables import load_config
from extract.warehouse import open_warehouse

with closing(open_source(sys.argv[1])) as source, closing(open_warehouse("redshift")) as warehouse:
    runs = extract(source, warehouse, load_config(), Clock(dt.datetime.fromisoformat(sys.argv[2])))
print(sum(run.landed.rows_landed for run in runs))
"""


def test_two_processes_that_land_the_same_rows_at_once_land_them_once(either_world: RedshiftWorld) -> None:
    """Without the run lock."""
    world = either_world
    arguments = [sys.executable, "-c", ONE_EXTRACT, world.source_url, moment(START + 15 * MINUTE).isoformat()]
    with closing(world.standin._postgres.connect(DATABASE)) as holder, holder.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE order_tracking_raw.extract_log")
        both = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=PROJECT) for _ in range(2)]
        waiting = "SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'"
        deadline = time.monotonic() + 120
        while world.query(waiting) != [(2,)] and time.monotonic() < deadline:
            time.sleep(0.1)
        cursor.execute("ROLLBACK")
    landed = [int(process.communicate(timeout=120)[0]) for process in both]
    assert sorted(landed) == [0, 6]
    assert len(raw_scans(world)) == 2
    logged = world.query("SELECT SUM(rows_landed) FROM order_tracking_raw.extract_log")
    assert logged == [(6,)], "the log counts what raw holds"


def test_what_has_landed_is_not_landed_again(either_world: RedshiftWorld) -> None:
    world = either_world
    assert sum(run.landed.rows_landed for run in extract(world)) == 6
    assert sum(run.landed.rows_landed for run in extract(world, minutes=30)) == 0
    assert len(raw_scans(world)) == 2


@pytest.mark.parametrize(
    ("what", "code", "message"),
    [
        ("^copy staged_uni_tracking_spath", "XX000", "could not open relation with OID 12345"),
        ("^create temporary table staged_ecs", "XX000", "1023"),
        (f"^insert into {RAW}", "XX000", "could not complete because of conflict with concurrent transaction"),
        ("^lock table", "40P01", "deadlock detected"),
    ],
)
def test_every_kind_of_conflict_is_tried_again_wherever_it_comes(
    world: RedshiftWorld, monkeypatch: pytest.MonkeyPatch, what: str, code: str, message: str
) -> None:
    monkeypatch.setattr("extract.conflicts.CONFLICT_PAUSES", (0.01, 0.01))
    fault = world.standin.fail_when(what, error_code=code, message=message, times=2)
    assert sum(run.landed.rows_landed for run in extract(world)) == 6
    assert fault.times == 0, "the fault was to strike"
    errors = world.query("SELECT COUNT(*) FROM order_tracking_raw.extract_log WHERE NOT error IS NULL")
    assert errors == [(0,)], "a conflict that passes is no failure"
    assert world.objects_in_s3() == []


def test_a_conflict_that_lasts_is_given_up_with_a_message(
    world: RedshiftWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extract.conflicts.CONFLICT_PAUSES", (0.01, 0.01))
    fault = world.standin.fail_when(f"^insert into {RAW}", error_code="40001", message="1023", times=99)
    with pytest.raises(ExtractFailed, match="1023"):
        extract(world)
    assert fault.times == 93, "three attempts for the three tables together, three for scans alone"
    assert raw_scans(world) == []


def test_copy_that_loads_fewer_rows_than_were_sent_lands_nothing(
    world: RedshiftWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a file of the manifest is skipped: the count has to tell."""
    monkeypatch.setattr("extract.s3_parts.GROUP_BYTES", 1)
    monkeypatch.setattr("extract.s3_parts.PART_BYTES", 1)
    send = S3Parts.send

    def losing(self: Any, prefix: str, schema: pa.Schema, batches: Any) -> Any:
        sent = send(self, prefix, schema, (row for batch in batches for row in one_by_one(batch)))
        if "spath" in prefix:
            assert len(sent.entries) == 2, "a file a batch"
            body = json.dumps({"entries": sent.entries[:1]}).encode()
            self._client.put_object(Bucket="landing", Key=sent.manifest.removeprefix("s3://landing/"), Body=body)
        return sent

    monkeypatch.setattr("extract.s3_parts.S3Parts.send", losing)
    with pytest.raises(ExtractFailed, match="2 rows were read and 2 sent, but COPY loaded 1"):
        extract(world)
    assert raw_scans(world) == []


def one_by_one(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    return (batch.slice(row, 1) for row in range(batch.num_rows))


def test_files_have_the_staged_tables_schema_are_encrypted_and_named_with_their_length(
    world: RedshiftWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extract.s3_parts.GROUP_BYTES", 1)
    monkeypatch.setattr("extract.s3_parts.PART_BYTES", 1)
    parts = S3Parts(RedshiftSettings.from_environment())
    schema = pa.schema([("order_id", pa.int64()), ("tno", pa.string())])
    batch = pa.record_batch([pa.array([1, None]), pa.array(["a", None])], schema=schema)
    sent = parts.send("s3://landing/extract/test", schema, [batch, batch.slice(0, 0), batch])
    assert (sent.rows, len(sent.entries)) == (4, 2)
    for entry in sent.entries:
        key = entry["url"].removeprefix("s3://landing/")
        there = world.s3.client.get_object(Bucket="landing", Key=key)
        assert there["ServerSideEncryption"] == "AES256"
        body = there["Body"].read()
        assert entry["mandatory"] is True
        assert entry["meta"]["content_length"] == len(body)
        assert pq.read_schema(io.BytesIO(body)).equals(schema)
    parts.remove(sent)
    assert world.objects_in_s3() == []


class Bucket(ThreadingHTTPServer):
    """An S3 that answers with what stands in `answers`, then with success; keeps the requests' headers."""

    def __init__(self, *answers: int):
        super().__init__(("127.0.0.1", 0), BucketHandler)
        self.answers = list(answers)
        self.requests: list[dict[str, str]] = []

    def __enter__(self) -> Bucket:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class BucketHandler(BaseHTTPRequestHandler):
    server: Bucket
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append({name.lower(): value for name, value in self.headers.items()})
        answer = self.server.answers.pop(0) if self.server.answers else 200
        if answer == RESET:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(answer)
        self.send_header("ETag", '"0"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


RESET = 0
S3_SETTINGS = {"REDSHIFT_HOST": "h", "REDSHIFT_DATABASE": "d", "REDSHIFT_USER": "u", "REDSHIFT_PASSWORD": "p"}
S3_SETTINGS |= {"REDSHIFT_S3_PREFIX": "s3://landing/extract", "REDSHIFT_COPY_ROLE": "default"}
S3_SETTINGS |= {f"STATE_{name}": "x" for name in ("HOST", "DATABASE", "USER", "PASSWORD")}


def send_one_file(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, **settings: str) -> list[float]:
    """A file and its manifest; gives the pauses that were made (and does not wait for them)."""
    pauses: list[float] = []
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=pauses.append))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    endpoint = {"REDSHIFT_S3_ENDPOINT_URL": f"http://127.0.0.1:{bucket.server_port}"}
    parts = S3Parts(RedshiftSettings.from_environment(S3_SETTINGS | endpoint | settings))
    batch = pa.record_batch({"order_id": pa.array([1, 2])})
    assert parts.send("s3://landing/extract/one", batch.schema, [batch]).rows == 2
    return pauses


def test_files_that_may_not_be_deleted_are_told_to_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """S3 answers 200, and lists them. (moto deletes whatever it is asked to: the answer is botocore's stub's.)"""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    parts = S3Parts(RedshiftSettings.from_environment(S3_SETTINGS))
    refused = {"Errors": [{"Key": "extract/one/0.parquet", "Code": "AccessDenied", "Message": "no right to delete"}]}
    with Stubber(parts._client) as s3:
        s3.add_response("delete_objects", refused)
        parts.remove(Sent("s3://landing/extract/one", 1, [{"url": "s3://landing/extract/one/0.parquet"}]))
    (record,) = caplog.records
    assert "s3://landing/extract/one" in record.getMessage() and "AccessDenied" in record.getMessage()


def test_a_file_that_s3_turns_away_is_sent_again_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    with Bucket(503, RESET, 500, 503) as bucket:
        pauses = send_one_file(bucket, monkeypatch)
    assert len(bucket.requests) == 6, "the file five times, then the manifest"
    assert all(0 < pause <= 2**number for number, pause in enumerate(pauses)) and len(pauses) == 4, pauses


def test_a_bucket_that_stays_away_is_given_up_with_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    with Bucket(*[503] * 99) as bucket, pytest.raises(WarehouseError, match="cannot be written"):
        send_one_file(bucket, monkeypatch)
    assert len(bucket.requests) == 9, "the first, and eight more"


def test_files_are_encrypted_with_the_key_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    with Bucket() as bucket:
        send_one_file(bucket, monkeypatch, REDSHIFT_S3_KMS_KEY="arn:aws:kms:eu-west-1:123456789012:key/k")
    name = "x-amz-server-side-encryption"
    assert [(sent[name], sent[f"{name}-aws-kms-key-id"]) for sent in bucket.requests] == [
        ("aws:kms", "arn:aws:kms:eu-west-1:123456789012:key/k")
    ] * 2


def test_text_that_redshift_cannot_hold_is_set_aside_and_stops_nothing(world: RedshiftWorld) -> None:
    world.insert("uni_tracking_info", [(3, "x" * 100_000, 1, START), (4, "a\0b", 1, START), (5, "é" * 33, 1, START)])
    extract(world)
    rejected = dict(world.query("SELECT order_id, reason FROM order_tracking_raw.rejected_rows"))
    assert rejected == {
        3: "tno is longer than 64 bytes",
        4: "tno holds a NUL character: 'a\ufffdb'",
        5: "tno is longer than 64 bytes",
    }


def test_the_foundation_needs_no_right_to_create_once_it_stands_and_keeps_the_history_views(
    world: RedshiftWorld,
) -> None:
    world.standin.statements.clear()
    with closing(open_warehouse("redshift")) as warehouse:
        ensure_tables(warehouse, load_config(), START)
    assert [sql for sql in world.standin.statements if sql.upper().startswith(("CREATE", "ALTER", "DROP"))] == []


# The run lock


def test_a_second_command_is_refused_while_one_runs(
    world: RedshiftWorld, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it calls the cluster by another name: a tunnel, say."""
    with run_lock("redshift"):
        with monkeypatch.context() as patch, pytest.raises(LockHeld):
            patch.setenv("REDSHIFT_HOST", "through.a.tunnel")
            patch.setenv("REDSHIFT_PORT", "15439")
            with run_lock("redshift"):
                pass
        with pytest.raises(LockHeld, match="order-tracking lock"), run_lock("redshift"):
            pass
        assert cycle_command(["--gateway", "redshift", "--source", world.source_url]) == 75
    assert "nothing was done" in capsys.readouterr().err
    with run_lock("redshift"):
        pass


def advisory_locks() -> int:
    """How many are held in the state database, as another session sees it."""
    with closing(psycopg2.connect(**RedshiftSettings.from_environment().state.connection_arguments())) as other:
        cursor = other.cursor()
        cursor.execute("SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory'")
        return int(cursor.fetchone()[0])


@pytest.mark.parametrize("error", [None, ValueError("the command failed"), KeyboardInterrupt()])
def test_the_lock_is_free_before_its_session_ends(
    world: RedshiftWorld, monkeypatch: pytest.MonkeyPatch, error: BaseException | None
) -> None:
    """A session may take its time to end, and the next command begins at once."""
    held_at_the_end: list[int] = []
    connect = lock_postgres._connect

    class Slow:
        def __init__(self, connection: Any) -> None:
            self._connection = connection

        def __getattr__(self, name: str) -> Any:
            return getattr(self._connection, name)

        def close(self) -> None:
            held_at_the_end.append(advisory_locks())
            self._connection.close()

    monkeypatch.setattr(lock_postgres, "_connect", lambda settings: Slow(connect(settings)))
    with nullcontext() if error is None else pytest.raises(type(error)), run_lock("redshift"):
        assert advisory_locks() == 1
        if error:
            raise error
    assert held_at_the_end == [0]


@pytest.mark.slow
def test_short_commands_one_after_another_never_find_the_lock_held(world: RedshiftWorld) -> None:
    code = "from extract.lock import run_lock\nfor _ in range(100):\n with run_lock('redshift'): pass"
    root = Path(__file__).resolve().parents[2]
    for _ in range(3):
        for _ in range(100):
            with run_lock("redshift"):
                pass
        subprocess.run([sys.executable, "-c", code], cwd=root, check=True)


def test_a_lock_that_was_lost_does_not_hide_how_the_command_ended(world: RedshiftWorld) -> None:
    with pytest.raises(ValueError, match="the command failed"), run_lock("redshift"):
        with closing(psycopg2.connect(**RedshiftSettings.from_environment().state.connection_arguments())) as other:
            other.cursor().execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        raise ValueError("the command failed")


def test_a_killed_process_gives_the_lock_back(world: RedshiftWorld) -> None:
    code = "from extract.lock import run_lock\nwith run_lock('redshift'):\n print('held', flush=True)\n input()"
    root = Path(__file__).resolve().parents[2]
    holder = subprocess.Popen([sys.executable, "-c", code], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout and holder.stdin
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(LockHeld), run_lock("redshift"):
        pass
    holder.kill()
    holder.wait()
    for _ in range(100):
        try:
            with run_lock("redshift"):
                return
        except LockHeld:
            time.sleep(0.05)
    pytest.fail("the lock is still held")


def test_what_is_written_after_the_lock_was_lost_is_rolled_back(world: RedshiftWorld) -> None:
    """A failover of the state database, say, while a first load goes on."""
    log = parse_one("SELECT COUNT(*) FROM order_tracking_raw.extract_log")
    with run_lock("redshift"), closing(open_warehouse("redshift")) as warehouse:
        ensure_tables(warehouse, load_config(), START)
        before = warehouse.fetchall(log)
        with pytest.raises(WarehouseError, match="run lock is lost"), warehouse.transaction():
            warehouse.execute("INSERT INTO order_tracking_raw.extract_log (table_name) VALUES ('x')")
            with closing(psycopg2.connect(**RedshiftSettings.from_environment().state.connection_arguments())) as other:
                other.cursor().execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        assert warehouse.fetchall(log) == before
        with pytest.raises(WarehouseError, match="run lock is lost"):
            assert_lock_held("redshift")
    assert_lock_held("redshift")


def test_a_cycle_that_has_lost_its_lock_leaves_the_marts_alone(world: RedshiftWorld) -> None:
    """The extract is done by then; the next cycle takes in what it landed."""

    def told(line: str) -> None:
        if line.startswith("extract"):
            with closing(psycopg2.connect(**RedshiftSettings.from_environment().state.connection_arguments())) as other:
                other.cursor().execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")

    with pytest.raises(WarehouseError, match="run lock is lost"):
        world.cycle(report=told)
    assert len(world.query("SELECT order_id FROM order_tracking_raw.uni_tracking_info_raw")) == 2
    assert world.uti() == {}
    world.cycle()
    assert set(world.uti()) == {1, 2}


# Settings


def test_every_missing_setting_is_named_at_once_before_anything_is_done(
    make_redshift_world: Callable[..., RedshiftWorld],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("REDSHIFT_HOST", "REDSHIFT_COPY_ROLE", "STATE_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REDSHIFT_S3_PREFIX", "bucket/without/scheme")
    assert cycle_command(["--gateway", "redshift"]) == 2
    told = capsys.readouterr().err
    for name in ("REDSHIFT_HOST", "REDSHIFT_COPY_ROLE", "STATE_PASSWORD", "REDSHIFT_S3_PREFIX"):
        assert name in told


def test_iam_asks_for_a_cluster_or_a_workgroup_and_for_no_password() -> None:
    base = {"REDSHIFT_HOST": "h", "REDSHIFT_DATABASE": "d", "REDSHIFT_S3_PREFIX": "s3://bucket/p"}
    base |= {"REDSHIFT_COPY_ROLE": "default", "REDSHIFT_IAM": "1", "REDSHIFT_REGION": "eu-west-1"}
    base |= {f"STATE_{name}": "x" for name in ("HOST", "DATABASE", "USER", "PASSWORD")}
    with pytest.raises(ConfigurationError, match=r"REDSHIFT_CLUSTER_IDENTIFIER.*REDSHIFT_DB_USER"):
        RedshiftSettings.from_environment(base)
    serverless = RedshiftSettings.from_environment(base | {"REDSHIFT_SERVERLESS_WORK_GROUP": "w"})
    assert serverless.connection_arguments()["is_serverless"] is True
    assert "password" not in serverless.connection_arguments()
    cluster = {"REDSHIFT_CLUSTER_IDENTIFIER": "c", "REDSHIFT_DB_USER": "u"}
    arguments = RedshiftSettings.from_environment(base | cluster).connection_arguments()
    assert (arguments["cluster_identifier"], arguments["db_user"]) == ("c", "u")
    assert (arguments["ssl"], arguments["sslmode"]) == (True, "verify-full")


def test_no_password_is_shown_by_settings_or_errors(world: RedshiftWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDSHIFT_PASSWORD", "hunter2-secret")
    settings = RedshiftSettings.from_environment()
    assert "hunter2-secret" not in repr(settings)
    assert "Standin-Password-1" not in repr(settings)
    with pytest.raises(WarehouseError, match="cannot be reached") as failed:
        RedshiftWarehouse.open(settings)
    assert "hunter2-secret" not in str(failed.value)


def test_ids_that_begin_anew_are_noted_in_the_log_on_redshift(world: RedshiftWorld) -> None:
    """The tables land in one transaction, which takes the ids before out of the log."""
    world.source("ALTER TABLE uni_tracking_spath ADD COLUMN id BIGINT")
    world.source("UPDATE uni_tracking_spath SET id = 1000 + order_id")
    config = load_config()
    tables = [
        replace(table, id_overlap=2, source=replace(table.source, id_column="id"))
        if table.name == "uni_tracking_spath"
        else table
        for table in config.tables
    ]
    noted = []
    for minutes in (15, 30):
        with closing(open_source(world.source_url)) as source, closing(open_warehouse("redshift")) as warehouse:
            clock = Clock(moment(START + minutes * MINUTE))
            runs = run_extract(source, warehouse, replace(config, tables=tables), clock)
        noted += world.query("SELECT MAX(watermark_id) FROM order_tracking_raw.extract_log")
        world.source("UPDATE uni_tracking_spath SET id = order_id")
    assert noted == [(1002,), (2,)]
    assert [warning[:40] for run in runs for warning in run.warnings] == ["The ids of uni_tracking_spath begin anew"]
