"""One extract: read what changed since the last one, or what the source counts differently, and land it."""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace

import pyarrow as pa

from extract.chunks import Chunks
from extract.clock import Clock
from extract.ensure_tables import EXTRACT_LOG, ensure_tables
from extract.errors import ExtractFailed, in_words, within
from extract.landing import NOTHING, Landed, land, last_stamp, log, refuse_to_go_back, refuse_to_run_ahead
from extract.reconcile import HOUR, Part, hours_that_differ, parts_of, warehouse_hourly_counts
from extract.source import Source, TimeRange
from extract.tables import ExtractConfig, Table
from extract.values import judged, staged_columns
from extract.warehouse import Staged, Warehouse, again_after_conflicts

LONG_WINDOW = 86400
"""A window longer than this (seconds), after cycles were missed, is read by the hours that differ, in chunks."""

RAW_SUFFICES = 2 * 86400
"""For what is younger (seconds of event time) raw alone is asked; it keeps a day more at least: macros/retention.py."""

Progress = Callable[[str, int, int], None]
"""Called with a table's name, rows read so far and rows expected."""


@dataclass(frozen=True)
class TableRun:
    """What an extract did for one table."""

    table: str
    kind: str
    landed: Landed
    seconds: float


def extract(
    source: Source,
    warehouse: Warehouse,
    config: ExtractConfig,
    clock: Clock,
    *,
    tables: Sequence[str] | None = None,
    since: int | None = None,
    kind: str = "extract",
    progress: Progress | None = None,
    tables_stand: bool = False,
) -> list[TableRun]:
    """Lands what changed, for each table: the ordinary window, or from `since` on what is counted differently.

    Args:
        since: Epoch seconds of event time; None reads the ordinary window, and everything where nothing has landed.
        kind: What extract_log calls it, where `since` is given: reconcile or since.
        tables_stand: The caller has ensured them (`ensure_tables`), which reads the catalog.

    Raises SourceError before anything is read when a table or a column is missing, ConfigurationError when the clock
    cannot be right, ExtractFailed when a table was not landed whole; the other tables are.
    """
    selected = config.select(tables)
    source.check([table.source for table in selected])
    if not tables_stand:
        ensure_tables(warehouse, config, clock.now())
    of_source = source.clock()
    refuse_to_go_back(warehouse, clock.now())
    refuse_to_run_ahead(clock, of_source)
    with warehouse.little_memory():
        worker = _Worker(source, warehouse, config, clock, of_source, progress)
        jobs = [worker.job(table, since, kind) for table in selected]
        return worker.run(jobs)


@dataclass(frozen=True)
class _Job:
    """One table's work: parts to read one after another, each some ranges and the rows expected there, if counted."""

    table: Table
    kind: str
    parts: list[Part]
    window_start: int | None
    since_id: int | None = None
    moves_watermark: bool = True
    moves_id: bool = False
    """Once all is landed no row with a lower id is left, but for those that an extract by time misses as well."""


class _Worker:
    def __init__(
        self,
        source: Source,
        warehouse: Warehouse,
        config: ExtractConfig,
        clock: Clock,
        of_source: int | None,
        progress: Progress | None,
    ):
        self._source = source
        self._warehouse = warehouse
        self._config = config
        self._clock = clock
        self._progress = progress
        self._landing = threading.Lock()
        self._given_up = threading.Event()
        self._stamp_before: dict[str, dt.datetime | None] = {}
        self._chunk_rows = config.chunk_rows or warehouse.chunk_rows
        self._started = clock.now()
        self._source_clock = min(self._started, of_source or self._started)

    def job(self, table: Table, since: int | None, kind: str) -> _Job:
        """What must be read for a table now."""
        self._stamp_before[table.name] = last_stamp(self._warehouse, table)
        watermark, watermark_id = last_watermark(self._warehouse, table)
        if since is not None:
            # Where a load has begun further back and died, all of that is still to be read.
            first = watermark is None and kind == "since" and since <= load_begun(self._warehouse, since)
            return self._job_by_hours(table, kind, since, first)
        if watermark is None:
            return replace(self._job_by_hours(table, "since", 0, True), moves_id=True)
        if table.id_overlap is not None and watermark_id is not None:
            since_id = max(watermark_id - table.id_overlap, 0)
            return _Job(table, "extract", [([], 0)], None, since_id, moves_id=True)
        start = window_start(watermark, self._source_clock, self._config.buffer_seconds)
        if start < self._source_clock - LONG_WINDOW:
            return replace(self._job_by_hours(table, "extract", start, True, seen_until=watermark), moves_id=True)
        return _Job(table, "extract", [([TimeRange(start, unplaceable=True)], 0)], start, moves_id=True)

    def _job_by_hours(self, table: Table, kind: str, since: int, moves_watermark: bool, seen_until: int = 0) -> _Job:
        """Only the hours that differ, in parts; where nothing is held, everything in one go: for what may be long.

        Up to `seen_until` every hour, as an ordinary window would: a status can change within its second.
        """
        held = warehouse_hourly_counts(self._warehouse, table, since)
        if not held:
            ranges = [TimeRange(since // HOUR * HOUR, unplaceable=True)]
            parts = [(ranges, self._source.about(table.source, ranges))]
        else:
            counts = self._source.hourly_counts(table.source, since or None)
            hours = hours_that_differ(counts, held)
            hours |= {hour: counts[hour][0] for hour in counts if hour * HOUR <= seen_until}
            parts = parts_of(dict(sorted(hours.items())), self._chunk_rows)
        return _Job(table, kind, parts, since, moves_watermark=moves_watermark)

    def run(self, jobs: list[_Job]) -> list[TableRun]:
        """All tables at once; the anchor's snapshot is opened first, so what it shows the others show too."""
        anchor_opened = threading.Event()
        with ThreadPoolExecutor(len(jobs)) as pool:
            futures: list[Future[TableRun]] = []
            try:
                for job in jobs:
                    if futures:
                        anchor_opened.wait()
                    futures.append(pool.submit(self._run_table, job, anchor_opened))
                wait(futures)
            except BaseException:  # Ctrl-C reaches this thread alone, and the others may have hours to go
                self._given_up.set()
                raise
        failures = [(job, f.exception()) for job, f in zip(jobs, futures, strict=True) if f.exception()]
        if failures:
            causes = "; ".join(f"{job.table.name}: {in_words(error)}" for job, error in failures if error)
            raise ExtractFailed(
                f"{causes} | Not landed whole: {', '.join(job.table.name for job, _ in failures)}; what had landed "
                "before stays, nothing is half-landed. Run it again once the cause is mended."
            ) from failures[0][1]
        return [future.result() for future in futures]

    def _run_table(self, job: _Job, anchor_opened: threading.Event) -> TableRun:
        """Lands chunk after chunk, each in one transaction, while the next one is read into a session of its own.

        The chunks land in their order, and none after one that failed. What was read says how far a part has seen
        only with its last chunk: the source's order within it is not that of time.
        """
        started, total, parts_read = time.monotonic(), NOTHING, 0
        landing: Future[Landed] | None = None
        try:
            with ExitStack() as opened, ThreadPoolExecutor(1) as pool:
                sessions = [opened.enter_context(self._warehouse.session())]
                for number, chunks in enumerate(self._chunks(job, anchor_opened)):
                    if number == 1:
                        sessions.append(opened.enter_context(self._warehouse.session()))
                    session = sessions[number % len(sessions)]
                    began = time.monotonic()
                    rows = (judged(batch, job.table) for batch in chunks.read_next())
                    staged = session.stage(job.table.name, staged_columns(job.table), rows)
                    total = landing.result() if landing else NOTHING
                    parts_read += chunks.ended
                    all_read = parts_read == len(job.parts)
                    landing = pool.submit(self._land, session, job, staged, began, total, chunks.ended, all_read)
                total = landing.result() if landing else NOTHING
        except BaseException as error:
            before = landing.exception() if landing else None  # of the chunk before, while this one was read
            words = " | ".join(dict.fromkeys(in_words(cause) for cause in (before, error) if cause))
            with self._landing, suppress(Exception):  # a log that cannot be written must not hide what happened
                self._log_failure(job, words, time.monotonic() - started)
            if before is None or before is error:
                raise
            raise ExtractFailed(words) from before
        finally:
            anchor_opened.set()
        return TableRun(job.table.name, job.kind, total, time.monotonic() - started)

    def _chunks(self, job: _Job, anchor_opened: threading.Event) -> Iterator[Chunks]:
        """One reading a part, as often as it has chunks."""
        rows, expected = 0, sum(rows for _, rows in job.parts)
        for ranges, _ in job.parts:
            batches = self._source.read(job.table.source, ranges, since_id=job.since_id)
            chunks = Chunks(self._with_progress(batches, job, anchor_opened, rows, expected), self._chunk_rows)
            while not chunks.ended:
                yield chunks
            rows += chunks.rows

    def _land(
        self,
        session: Warehouse,
        job: _Job,
        staged: Staged,
        began: float,
        before: Landed,
        whole: bool,
        all_read: bool,
    ) -> Landed:
        """Gives what was done before and here. `whole`: the part has no more chunks; `all_read`: nor the job."""
        with self._landing:  # one table at a time, always whole: on Redshift they share the log
            return before + again_after_conflicts(
                lambda: land(
                    session,
                    job.table,
                    staged,
                    kind=job.kind,
                    now=self._now(),
                    seconds=time.monotonic() - began,
                    source_clock=self._source_clock,
                    window_start=job.window_start,
                    raw_floor=self._now() - RAW_SUFFICES,
                    stamp_before=self._stamp_before[job.table.name],
                    before=before,
                    moves_watermark=job.moves_watermark and whole,
                    moves_id=job.moves_id and all_read,
                )
            )

    def _now(self) -> int:
        """Never before the start: what lands behind that the marts may have passed, should the clock be set back."""
        return max(self._clock.now(), self._started)

    def _with_progress(
        self,
        batches: Iterable[pa.RecordBatch],
        job: _Job,
        anchor_opened: threading.Event,
        rows: int,
        expected: int,
    ) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            anchor_opened.set()
            if self._given_up.is_set():
                raise ExtractFailed("interrupted")
            rows += batch.num_rows
            self._show(job.table.name, rows, expected)
            yield batch
        anchor_opened.set()

    def _show(self, table: str, rows: int, expected: int) -> None:
        """A display that fails is given up, and nothing else."""
        try:
            if progress := self._progress:
                progress(table, rows, expected)
        except Exception as error:
            self._progress = None
            logging.getLogger(__name__).warning("Progress is shown no more: %s. The reading goes on.", in_words(error))

    def _log_failure(self, job: _Job, error: str, seconds: float) -> None:
        log(
            self._warehouse,
            job.table,
            NOTHING,  # what had landed before has rows of its own in the log
            kind=job.kind,
            now=self._now(),
            seconds=seconds,
            window_start=job.window_start,
            stamp=None,
            error=within(error, 4096),
        )


def window_start(watermark: int, source_clock: int, buffer_seconds: int) -> int:
    """Where an ordinary read begins: the buffer before the newest row landed, or before the source's clock if earlier.

    All in epoch seconds. So one row that is dated into the future does not stop the extraction.
    """
    return min(watermark, source_clock) - buffer_seconds


def last_watermark(warehouse: Warehouse, table: Table) -> tuple[int | None, int | None]:
    """How far the landings of a table have seen: event time in epoch seconds, and id where the source has one."""
    (row,) = warehouse.fetchall(
        f"SELECT MAX(watermark), MAX(watermark_id) FROM {EXTRACT_LOG} WHERE table_name = '{table.name}'"
    )
    return row[0], row[1]


def load_begun(warehouse: Warehouse, since: int) -> int:
    """How far back the loads so far were to go: event time in epoch seconds, `since` where there was none.

    Of any table: they are loaded together, and one whose load was killed at once has no entry of its own.
    """
    ((begun,),) = warehouse.fetchall(f"SELECT MIN(cutoff) FROM {EXTRACT_LOG} WHERE kind = 'since'")
    return since if begun is None else int(begun)
