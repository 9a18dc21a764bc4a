"""One extract: read what changed since the last one, or what the source counts differently, and land it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from extract.chunks import Chunks
from extract.clock import Clock
from extract.compare import EXAMPLES, Unequal
from extract.conflicts import again_after_conflicts
from extract.ensure_tables import ensure_tables
from extract.errors import ExtractFailed, SourceError, TooLong, in_words, within
from extract.extract_log import (
    NOTHING,
    Landed,
    Seen,
    log,
    log_state,
    refuse_to_go_back,
    refuse_to_run_ahead,
)
from extract.jobs import Job, Jobs
from extract.landing import Moment, Reading, land, land_together, renew_scans
from extract.reconcile import Part, gathered
from extract.settle import settle
from extract.source import Source
from extract.source_reads import Batches, with_index
from extract.staging import Sending
from extract.tables import ExtractConfig, Table
from extract.values import judged, staged_columns
from extract.warehouse import Staged, Warehouse
from macros.due import RAW_DAYS_AT_LEAST

RAW_SUFFICES = (RAW_DAYS_AT_LEAST - 1) * 86400
"""For what is younger (seconds of event time) raw alone is asked; it keeps a day more at least."""

Progress = Callable[[str, int, int], None]
"""Called with a table's name, rows read so far and rows expected."""


@dataclass(frozen=True)
class TableRun:
    """What an extract did for one table."""

    table: str
    kind: str
    landed: Landed
    seconds: float
    renewed: int = 0
    """Scans, held already, that a refresh gave other values."""
    unequal: list[Unequal] = field(default_factory=list)
    """What a reconcile could not make equal, and had not told before."""
    warnings: list[str] = field(default_factory=list)


def extract(
    source: Source,
    warehouse: Warehouse,
    config: ExtractConfig,
    clock: Clock,
    *,
    tables: Sequence[str] | None = None,
    since: int | None = None,
    kind: str = "extract",
    orders: Sequence[int] | None = None,
    progress: Progress | None = None,
    seen: Mapping[str, Seen] | None = None,
    allow_empty: bool = False,
) -> list[TableRun]:
    """Lands what changed, for each table: the ordinary window, or from `since` on what is counted differently.

    Args:
        since: Epoch seconds of event time; None reads the ordinary window, and everything where nothing has landed.
        kind: What extract_log calls it, where `since` or `orders` is given: reconcile, since or refresh. A refresh
            reads every row, and gives scans that are held already the values that the source shows.
        orders: Reads these orders instead, whatever their times.
        seen: What the log says (`log_state`), where the caller has read it and ensured the tables (`ensure_tables`).
        allow_empty: A table without a row is no error although rows of it have landed.

    Raises SourceError before anything is read when a table or a column is missing, or a table is empty that was not,
    ConfigurationError when the clock cannot be right, ExtractFailed when a table was not landed whole; the other tables
    are. The error's notes are the warnings that there were until then.
    """
    selected = config.select(tables)
    source.check([table.source for table in selected])
    of_source = source.clock()
    refuse_to_run_ahead(clock, of_source)  # before tables are made for half-years far ahead
    warnings: list[str] = []
    work: list[Job] = []
    try:
        if seen is None:
            warnings = ensure_tables(warehouse, config, clock.now())
            seen = log_state(warehouse)
        refuse_to_go_back(seen, clock.now())
        if not allow_empty:
            refuse_emptied(source, [table for table in selected if seen[table.name].watermark is not None])
        with warehouse.little_memory():
            started = clock.now()
            source_clock = min(started, of_source or started)
            jobs = Jobs(source, warehouse, config, source_clock)
            worker = _Worker(jobs, clock, started, progress)
            for table in selected:
                work.append(jobs.of(table, seen[table.name], since, kind, orders))
            work[0].warnings.extend(warnings)
            return worker.run(work)
    except BaseException as error:  # some are given only once
        for warning in dict.fromkeys([*warnings, *(each for job in work for each in job.warnings)]):
            error.add_note(warning)
        raise


@dataclass(frozen=True)
class _Read:
    """A table that was read whole, in one chunk, and sent; it lands with the others."""

    job: Job
    sending: Sending
    began: float


class _Worker:
    def __init__(self, jobs: Jobs, clock: Clock, started: int, progress: Progress | None):
        self._jobs = jobs
        self._source = jobs.source
        self._warehouse = jobs.warehouse
        self._config = jobs.config
        self._clock = clock
        self._progress = progress
        self._turn = threading.Lock()
        self._given_up = threading.Event()
        self._renewed: dict[str, int] = {}
        self._most_ids: dict[str, int | None] = {}
        self._chunk_rows = jobs.config.chunk_rows or jobs.warehouse.chunk_rows
        self._started = started
        self._source_clock = jobs.source_clock

    def run(self, jobs: list[Job]) -> list[TableRun]:
        """All tables at once; the anchor's snapshot is opened first, so what it shows the others show too."""
        first_opened = threading.Event()
        with ThreadPoolExecutor(len(jobs)) as pool:
            futures: list[Future[TableRun | _Read]] = []
            try:
                for job in jobs:
                    if futures:
                        first_opened.wait()
                    futures.append(pool.submit(self._run_table, job, first_opened))
                wait(futures)
            except BaseException:  # Ctrl-C reaches this thread alone, and the others may have hours to go
                self._given_up.set()
                raise
        outcomes = [future.exception() or future.result() for future in futures]
        landed = self._land_together([each for each in outcomes if isinstance(each, _Read)])
        ended = [landed[each.job.table.name] if isinstance(each, _Read) else each for each in outcomes]
        failures = [(job, each) for job, each in zip(jobs, ended, strict=True) if isinstance(each, BaseException)]
        if failures:
            tables_of: dict[str, list[str]] = {}
            for job, error in failures:
                tables_of.setdefault(in_words(error), []).append(job.table.name)
            causes = "; ".join(f"{', '.join(names)}: {words}" for words, names in tables_of.items())
            raise ExtractFailed(
                f"{causes} | Not landed whole: {', '.join(job.table.name for job, _ in failures)}; what had landed "
                "before stays, nothing is half-landed. Run it again once the cause is mended."
            ) from failures[0][1]
        for job in jobs:
            if len(job.parts) > 1:  # a long load
                self._warehouse.renew_statistics(job.table.raw)
        runs = [each for each in ended if isinstance(each, TableRun)]
        pairs = zip(jobs, runs, strict=True)
        return [self._settled(job, run) if job.kind == "reconcile" else run for job, run in pairs]

    def _settled(self, job: Job, run: TableRun) -> TableRun:
        """A reconcile's run with what it could not make equal."""
        now, since = self._source_clock, job.window_start or 0
        unequal = settle(self._source, self._warehouse, self._config, job.table, job.counted, since, now)
        return replace(run, unequal=unequal)

    def _land_together(self, read: Sequence[_Read]) -> dict[str, TableRun | BaseException]:
        """Lands tables that were read whole, in one transaction; if it fails, each by itself, so that the others land.

        Table -> its run, or what it failed of. Where all land in the end, a warning says why they did not together.
        """
        if not read:
            return {}
        readings = [(self._reading(each.job, each.began), each.sending) for each in read]
        try:
            with self._warehouse.session() as session:
                results = again_after_conflicts(lambda: land_together(session, readings, self._moment()))
        except Exception as error:
            if len(read) > 1:
                alone = {name: outcome for each in read for name, outcome in self._land_together([each]).items()}
                if all(isinstance(outcome, TableRun) for outcome in alone.values()):
                    read[0].job.warnings.append(
                        f"The tables did not land together ({in_words(error)}). Each has landed by itself."
                    )
                return alone
            with suppress(Exception):
                self._log_failure(read[0].job, in_words(error), time.monotonic() - read[0].began)
            return {read[0].job.table.name: error}
        return {
            each.job.table.name: TableRun(
                each.job.table.name, each.job.kind, result, time.monotonic() - each.began, warnings=each.job.warnings
            )
            for each, result in zip(read, results, strict=True)
        }

    def _run_table(self, job: Job, first_opened: threading.Event) -> TableRun | _Read:
        """Lands chunk after chunk, each in one transaction, while the next one is read into a session of its own.

        Where tables land together and one chunk is all, it is sent and lands with theirs.
        The chunks land in their order, and none after one that failed. Parts that fit into one chunk land together.
        What was read says how far they have seen only with their last chunk: the source's order is not that of time.
        A reading ends where its landing fails: an error that is kept would keep the source's connection with it.
        """
        started, total, rows = time.monotonic(), NOTHING, 0
        waiting, expected, number = deque(job.parts), sum(part.rows for part in job.parts), 0
        landing: Future[Landed] | None = None
        try:
            with ExitStack() as opened, ThreadPoolExecutor(1) as pool:
                sessions = [opened.enter_context(self._warehouse.session())]
                while waiting:
                    parts = gathered(waiting, self._chunk_rows)
                    with closing(self._read(job, parts)) as read:
                        chunks = Chunks(self._watched(read, job, first_opened, rows, expected), self._chunk_rows)
                        while not chunks.ended:
                            if number == 1:
                                sessions.append(opened.enter_context(self._warehouse.session()))
                            session = sessions[number % len(sessions)]
                            began = time.monotonic()
                            judging = (judged(batch, job.table) for batch in chunks.read_next())
                            columns = staged_columns(job.table)
                            if number == 0 and self._warehouse.lands_together and not self._renews_scans(job):
                                sending = session.send(job.table.name, columns, judging)
                                if chunks.ended and not waiting:
                                    return _Read(job, sending, started)
                                staged = session.take(sending)
                            else:
                                staged = session.stage(job.table.name, columns, judging)
                            total = landing.result() if landing else NOTHING
                            all_read = chunks.ended and not waiting
                            landing = pool.submit(
                                self._land, session, job, staged, began, total, chunks.ended, all_read
                            )
                            number += 1
                    rows += chunks.rows
                total = landing.result() if landing else NOTHING
        except BaseException as error:
            before = landing.exception() if landing else None  # of the chunk before, while this one was read
            words = " | ".join(dict.fromkeys(in_words(cause) for cause in (before, error) if cause))
            with self._turn, suppress(Exception):  # a log that cannot be written must not hide what happened
                self._log_failure(job, words, time.monotonic() - started)
            if before is None or before is error:
                raise
            raise ExtractFailed(words) from before
        finally:
            first_opened.set()
        renewed = self._renewed.get(job.table.name, 0)
        return TableRun(job.table.name, job.kind, total, time.monotonic() - started, renewed, warnings=job.warnings)

    def _shorter(self, job: Job, part: Part, error: TooLong) -> list[Part]:
        """The part in halves, and what was read by its id by hours: after a long outage that is much.

        Where it cannot be halved any more, the error, with what would help.
        """
        if job.since_id is not None and not part.ranges:
            job.warnings.append(
                f"{job.table.source.name} has too much above id {job.since_id} for one statement "
                "(statement_seconds in extract/tables.yaml). What differs by the hour is read instead, "
                "and the next cycle goes by the id again. Should this come again: has the id an index?"
            )
            parts, self._most_ids[job.table.name] = self._jobs.all_that_differs(job.table)
            return parts
        if halves := part.halves(self._source_clock):
            return halves
        raise with_index(
            error, self._source.missing_index, job.table.source, of_orders=job.orders is not None
        ) from error

    def _read(self, job: Job, parts: deque[Part]) -> Batches:
        """The rows of parts, a statement each. One that takes too long is read again in shorter ones.

        What had come of it comes twice then, and lands once, as whatever the source shows twice.
        """
        unseen = {*(job.orders or ())}
        while parts:
            part = parts.popleft()
            try:
                since_id = None if part.ranges else job.since_id
                reading = self._source.read(job.table.source, part.ranges, since_id=since_id, orders=job.orders)
                with closing(reading) as batches:
                    for batch in batches:
                        if unseen:
                            unseen -= {*judged(batch, job.table)["order_id"].to_pylist()}
                        yield batch
            except TooLong as error:
                parts.extendleft(reversed(self._shorter(job, part, error)))
        if unseen:
            named = ", ".join(map(str, sorted(unseen)[:EXAMPLES]))
            job.warnings.append(
                f"{job.table.source.name} has no row of {len(unseen):,} of these orders ({named}"
                f"{', …' if len(unseen) > EXAMPLES else ''}). What is held of them stays as it is."
            )

    def _land(
        self,
        session: Warehouse,
        job: Job,
        staged: Staged,
        began: float,
        before: Landed,
        whole: bool,
        all_read: bool,
    ) -> Landed:
        """Gives what was done before and here. `whole`: the part has no more chunks; `all_read`: nor the job."""
        reading = self._reading(
            job,
            began,
            before=before,
            moves_watermark=job.moves_watermark and whole,
            moves_id=job.moves_id and all_read,
        )
        with self._turn:  # one table at a time, always whole: on Redshift they share the log
            if self._renews_scans(job):
                renewed = again_after_conflicts(lambda: renew_scans(session, job.table, staged))
                self._renewed[job.table.name] = self._renewed.get(job.table.name, 0) + renewed
            return before + again_after_conflicts(lambda: land(session, reading, staged, self._moment()))

    def _renews_scans(self, job: Job) -> bool:
        return job.kind == "refresh" and not job.table.mart.one_row_per_order

    def _reading(self, job: Job, began: float, **facts: Any) -> Reading:
        """What a landing must know of rows that were read; of a table that was read whole all is known."""
        whole = {
            "moves_watermark": job.moves_watermark,
            "moves_id": job.moves_id,
            "most_id": self._most_ids.get(job.table.name, job.most_id),
            "ids_anew": job.ids_anew,
        }
        seconds = time.monotonic() - began
        return Reading(job.table, job.kind, seconds, job.window_start, job.stamp_before, **{**whole, **facts})

    def _moment(self) -> Moment:
        return Moment(now=self._now(), source_clock=self._source_clock, raw_floor=self._now() - RAW_SUFFICES)

    def _now(self) -> int:
        """Never before the start: what lands behind that the marts may have passed, should the clock be set back."""
        return max(self._clock.now(), self._started)

    def _watched(
        self,
        batches: Iterable[pa.RecordBatch],
        job: Job,
        first_opened: threading.Event,
        rows: int,
        expected: int,
    ) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            first_opened.set()
            if self._given_up.is_set():
                raise ExtractFailed("interrupted")
            rows += batch.num_rows
            self._show(job.table.name, rows, expected)
            yield batch
        first_opened.set()

    def _show(self, table: str, rows: int, expected: int) -> None:
        """A display that fails is given up, and nothing else."""
        try:
            if progress := self._progress:
                progress(table, rows, expected)
        except Exception as error:
            self._progress = None
            logging.getLogger(__name__).warning("Progress is shown no more: %s. The reading goes on.", in_words(error))

    def _log_failure(self, job: Job, error: str, seconds: float) -> None:
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


def refuse_emptied(source: Source, landed: Sequence[Table]) -> None:
    """SourceError where a table of which rows have landed has none any more: it was emptied, or is another one."""
    emptied = [table.source.name for table in landed if not source.holds_rows(table.source)]
    if emptied:
        raise SourceError(
            f"The source has not a single row in {', '.join(emptied)}, although rows of it have landed before; nothing "
            "was read, and nothing that the warehouse holds was changed. Was it emptied, or is it another database? If "
            "it is meant to be empty, run with --allow-empty."
        )
