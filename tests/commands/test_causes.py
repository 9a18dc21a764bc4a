"""No cause is lost: whatever layer fails, the text of the first error stands in what the user sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest

from extract import jobs, landing, run, s3_parts, staging
from extract.errors import CycleFailed, SourceError, first_line, in_words, with_first, within
from extract.source_duckdb import DuckDBSource
from tests.conftest import START
from tests.support.commands import cycle as cycle_command
from tests.support.commands import extract as extract_command
from tests.support.redshift_world import RedshiftWorld
from tests.support.world import DAY, MINUTE, World

TEXT = "the very first cause 4711"
AT = "2025-09-01T00:15:00"
RAW = "order_tracking_raw.uni_tracking_info_raw"
ERRORS = [SourceError(TEXT), ValueError(f"{TEXT}\nmore"), LookupError()]
Patch = Callable[[pytest.MonkeyPatch, Exception], None]


def source_read(patch: pytest.MonkeyPatch, error: Exception) -> None:
    """After the first batch, as a source that dies half-way."""
    whole = DuckDBSource.read

    def read(*arguments: Any, **options: Any) -> Iterator[pa.RecordBatch]:
        yield from whole(*arguments, **options)
        raise error

    patch.setattr(DuckDBSource, "read", read)


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*arguments: Any, **options: Any) -> Any:
        raise error

    return fail


def value_conversion(patch: pytest.MonkeyPatch, error: Exception) -> None:
    patch.setattr(run, "judged", failing(error))


def landing_statement(patch: pytest.MonkeyPatch, error: Exception) -> None:
    patch.setattr(landing, "_landing", failing(error))


def log_entry(patch: pytest.MonkeyPatch, error: Exception) -> None:
    patch.setattr(landing, "log_entry", failing(error))


def log_entry_and_that_of_the_failure(patch: pytest.MonkeyPatch, error: Exception) -> None:
    log_entry(patch, error)
    patch.setattr(run, "log", failing(RuntimeError("a second error")))


def estimate_of_hours(patch: pytest.MonkeyPatch, error: Exception) -> None:
    patch.setattr(jobs, "warehouse_figures", failing(error))


def sqlmesh_run(patch: pytest.MonkeyPatch, error: Exception) -> None:
    from sqlmesh.core.scheduler import Scheduler

    patch.setattr(Scheduler, "evaluate", failing(error))


def sqlmesh_state(patch: pytest.MonkeyPatch, error: Exception) -> None:
    from sqlmesh.core.state_sync.db.facade import EngineAdapterStateSync

    patch.setattr(EngineAdapterStateSync, "get_environment", failing(error))


LAYERS: list[Patch] = [source_read, value_conversion, landing_statement, log_entry, log_entry_and_that_of_the_failure]
LAYERS += [estimate_of_hours, sqlmesh_run, sqlmesh_state]


@pytest.mark.parametrize("layer", LAYERS, ids=[layer.__name__ for layer in LAYERS])
@pytest.mark.parametrize(
    "error", [SourceError(TEXT), ValueError(f"{TEXT}\nmore"), LookupError()], ids=lambda e: type(e).__name__
)
def test_the_command_line_shows_the_first_cause(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    layer: Patch,
    error: Exception,
) -> None:
    world.order(1, START)
    layer(monkeypatch, error)
    assert cycle_command(["--source", world.source_url, "--at", AT]) == 1
    told = capsys.readouterr().err
    assert (TEXT if error.args else "LookupError") in told, told
    assert "GeneratorExit" not in told and "a second error" not in told


def test_a_batch_of_another_schema_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.order(1, START)
    monkeypatch.setattr(run, "judged", lambda batch, table: batch)
    assert cycle_command(["--source", world.source_url, "--at", AT]) == 1
    told = capsys.readouterr().err
    assert "A batch has the columns order_id int64" in told and "GeneratorExit" not in told


def test_a_reading_that_is_given_up_keeps_no_error() -> None:
    """It ends with GeneratorExit, which is not the cause: that the engine says itself."""
    batch = pa.record_batch({"order_id": [1]})
    counted = staging.CountedBatches([batch, batch], batch.schema)
    reading = iter(counted)
    next(reading)
    reading.close()  # type: ignore[attr-defined]
    counted.raise_error()
    assert counted.rows == 1


def test_a_decoder_that_fails_is_told(
    world: World, mysql_database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.source_tables import SOURCE_TABLES
    from tests.extract.test_source import Database

    for table, columns in SOURCE_TABLES.items():
        Database(mysql_database).table(table, columns, [])
    Database(mysql_database).insert("uni_tracking_info", [(1, "T", 1, START)])
    monkeypatch.setattr("extract.mysql_rows._decode", failing(IndexError(TEXT)))
    assert extract_command(["--source", mysql_database, "--at", AT]) == 1
    assert TEXT in capsys.readouterr().err


def test_the_landing_of_the_chunk_before_is_told_beside_the_error_of_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One chunk lands while the next one is read; where both fail, the first is as much a cause."""
    monkeypatch.setattr("extract.warehouse_duckdb.DuckDBWarehouse.chunk_rows", 1)
    world.order(1, START)
    world.order(2, START)
    landing_statement(monkeypatch, ValueError(TEXT))
    judged, seen = run.judged, []

    def second_fails(batch: pa.RecordBatch, table: Any) -> pa.RecordBatch:
        if table.name == "ecs_order_info":
            seen.append(batch)
            if len(seen) == 2:
                raise LookupError("the second chunk")
        return judged(batch, table)

    monkeypatch.setattr(run, "judged", second_fails)
    assert extract_command(["--source", world.source_url, "--at", AT, "--table", "ecs_order_info"]) == 1
    told = capsys.readouterr().err
    assert TEXT in told and "the second chunk" in told


def test_a_display_that_fails_fails_no_cycle(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.order(1, START)
    calls: list[str] = []

    def fails(table: str, *_: object) -> None:
        calls.append(table)
        raise OSError(TEXT)

    world.cycle(progress=fails)
    world.assert_whole()
    assert 1 <= len(calls) <= 3 and TEXT in caplog.text


def test_a_failure_in_the_log_is_cut_to_its_column_by_bytes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.order(1, START)
    source_read(monkeypatch, SourceError(f"{TEXT} \\ ' \0 {'é' * 5000}"))
    extract_command(["--source", world.source_url, "--at", AT])
    (size, text), *_ = world.query(
        "SELECT strlen(error), error FROM order_tracking_raw.extract_log WHERE error IS NOT NULL"
    )
    assert 4090 <= size <= 4096 and text.startswith(f"{TEXT} \\ ' \ufffd é")


def test_an_error_is_never_empty_and_names_the_one_before_it() -> None:
    assert in_words(ValueError()) == first_line(ValueError(" ")) == "ValueError"
    assert first_line(ValueError("\n one\ntwo")) == "one"
    assert within("é" * 3 + "\0", 5) == "éé"
    try:
        try:
            raise ValueError(TEXT)
        except ValueError:
            raise RuntimeError("current transaction is aborted")  # noqa: B904 - as a clean-up that fails
    except RuntimeError as error:
        assert with_first(error) == f"current transaction is aborted (before it: {TEXT})"


# On Redshift


@pytest.mark.slow
@pytest.mark.parametrize(
    "statement",
    [
        "^copy staged_uni",
        "^insert into order_tracking_raw.uni_tracking_info_raw",
        "^insert into .*extract_log",
        "^create temporary",
    ],
)
def test_a_statement_that_redshift_refuses_is_told(
    redshift_world: RedshiftWorld, capsys: pytest.CaptureFixture[str], statement: str
) -> None:
    redshift_world.order(1, START)
    redshift_world.standin.fail_when(statement, message=TEXT, times=2)  # for all tables together, and for one
    command = ["--gateway", "redshift", "--source", redshift_world.source_url, "--at", AT]
    assert extract_command(command) == 1
    assert TEXT in capsys.readouterr().err


@pytest.mark.parametrize(
    "statement", ["^insert into .*mart_uni_tracking_info", "^delete from .*mart_uni_tracking_spath"]
)
def test_the_first_failure_in_a_mart_is_told_not_that_the_transaction_is_aborted(
    redshift_world: RedshiftWorld, statement: str
) -> None:
    redshift_world.order(1, START)
    redshift_world.cycle()
    redshift_world.scan(1, START + DAY)
    redshift_world.standin.fail_when(statement, message=TEXT)
    with pytest.raises(CycleFailed, match=TEXT):
        redshift_world.cycle(START + DAY + 20 * MINUTE)


@pytest.mark.parametrize("error", [OSError(28, TEXT), LookupError()], ids=lambda e: type(e).__name__)
def test_a_file_that_cannot_be_written_or_sent_is_told(
    redshift_world: RedshiftWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    redshift_world.order(1, START)
    command = ["--gateway", "redshift", "--source", redshift_world.source_url, "--at", AT]
    wanted = TEXT if error.args else "LookupError"
    for layer in ("_Part.write", "S3Parts._put"):
        owner, method = layer.split(".")
        with monkeypatch.context() as patch:
            patch.setattr(getattr(s3_parts, owner), method, failing(error))
            assert extract_command(command) == 1
        assert wanted in capsys.readouterr().err, layer
