"""The classic mistakes, put into a copy of the project one at a time: the proof must catch each.

    python -m tests.proof.mutants [NAME ...]

First come the histories that have shown faults before and some random ones; a mistake that lies outside of what they
play names the tests that must catch it. Caught is what a comparison with the oracle, an invariant or a test finds. A
mutant that merely breaks (an SQL error, say) is not caught, unless it says that it must be refused. The run fails when
one survives or breaks, when its text is no longer found, and when the unchanged copy, played first, fails.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from itertools import chain
from pathlib import Path

import click

PROJECT = Path(__file__).resolve().parents[2]
HISTORIES = 12
"""So many random histories may try to catch a mutant."""


@dataclass(frozen=True)
class Mutant:
    """One mistake: in `file`, `old` becomes `new`."""

    name: str
    file: str
    old: str
    new: str
    mistake: str
    tests: tuple[str, ...] = ()
    """Tests that must catch it; without any the histories must."""
    refused: str = ""
    """Why the project, rather than a comparison, must stop it with an error of its own."""


@dataclass(frozen=True)
class Outcome:
    """What came of a copy: the comparison, invariant or test that failed, and the first error that was none of them."""

    failed: str = ""
    error: str = ""


RETENTION, DUE, STEPS = (f"macros/{name}.py" for name in ("retention", "due", "steps"))
UTI, ECS, UTS = (f"models/mart_{name}.sql" for name in ("uni_tracking_info", "ecs_order_info", "uni_tracking_spath"))
EVERY_ORDER = (
    '"SELECT CAST(:p AS VARCHAR(7)) AS period, order_id, CAST(4000000000 AS BIGINT) AS update_time, '
    "CAST('2100-01-01' AS TIMESTAMP) AS archived_at FROM mart\""
)


def trim_by_age(cutoff: str, since: str = "0") -> str:
    """A list before a step's that deletes by age alone, what is older than the one and not older than the other."""
    return (
        '([] if found.mart.follows_anchor else [sql_from_template("DELETE FROM mart WHERE :time >= :since '
        'AND :time < :cutoff", {"mart": found.table}, time=exp.column(found.mart.event_time), '
        f"since={since}, cutoff={cutoff})]) + "
    )


MUTANTS = (
    Mutant(
        "delete_in_a_window_of_20_days",
        "tests/proof/engine.py",
        'f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM batch_of_mart)",\n',
        'f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM batch_of_mart)"\n'
        '            + (f" AND update_time >= {end - 20 * DAY}" if "update_time" in model.columns_to_types else ""),\n',
        "the old row is looked for among those of the last 20 days: one that was silent for longer stands twice",
    ),
    Mutant(
        "delete_by_arrival",
        UTI,
        "kind INCREMENTAL_BY_UNIQUE_KEY (\n    unique_key order_id,",
        "kind INCREMENTAL_BY_TIME_RANGE (\n    time_column landed_at,",
        "the old row is looked for among those of the interval, not by its key",
    ),
    Mutant(
        "older_replaces_newer",
        UTI,
        "PARTITION BY order_id ORDER BY @newest_first(uti), is_held",
        "PARTITION BY order_id, is_held ORDER BY @newest_first(uti)",
        "a replay takes a status back",
    ),
    Mutant(
        "ties_by_value",
        "macros/marts.py",
        'return [*first, *(name for name in columns if name not in ("order_id", *first))]',
        'return [mart.event_time, *(name for name in columns if name not in ("order_id", *first)), "landed_at"]',
        "of two statuses of one second the later arrival does not win",
    ),
    Mutant("no_lookback", UTI, "    lookback 1,\n", "", "what landed behind a boundary is never taken"),
    Mutant(
        "event_time_intervals",
        UTS,
        "    landed_at BETWEEN @start_ts AND @end_ts\n",
        "    'epoch'::TIMESTAMP + pathtime * INTERVAL '1 SECOND' BETWEEN @start_ts AND @end_ts\n",
        "a model selects by event time: what comes late is dropped",
    ),
    Mutant(
        "no_post_statements",
        UTS,
        '@retention(archive, "check", trim, forget_raw)',
        "",
        "a mart is never archived or trimmed",
    ),
    Mutant(
        "copy_by_order_alone",
        STEPS,
        "SELECT :columns FROM due JOIN held ON held.order_id = due.order_id AND :is_copy",
        "SELECT :columns FROM due JOIN held ON held.order_id = due.order_id AND (:is_copy OR 1 = 1)",
        "NOT EXISTS on order_id: an older archived row passes for this one",
        ("tests/marts/test_retention.py::test_an_older_copy_between_rows_that_leave_is_no_copy_either",),
    ),
    Mutant(
        "trim_without_copy",
        STEPS,
        '{"mart": found.table, "copied": copied}',
        '{"mart": found.table, "copied": due_rows(found, due)}',
        "what is old is trimmed, archived or not",
    ),
    Mutant(
        "trim_before_archive",
        STEPS,
        '    return [\n        sql_from_template(\n            "INSERT INTO history',
        "    return " + trim_by_age("found.cutoff") + '[\n        sql_from_template(\n            "INSERT INTO history',
        "trim runs before archive",
    ),
    Mutant(
        "cutoff_recomputed_for_the_trim",
        STEPS,
        '    return [\n        sql_from_template(\n            "DELETE FROM mart USING copied',
        "    from macros.periods import months_before\n    return "
        + trim_by_age("months_before(found.end, 6)", "found.cutoff")
        + '[\n        sql_from_template(\n            "DELETE FROM mart USING copied',
        "trim draws its line later than archive drew it, and takes what lies between",
    ),
    Mutant(
        "scans_are_copied_blindly",
        STEPS,
        "    copied = with_copy(found, due, before=before)\n",
        "    copied = with_copy(found, due) if found.mart.one_row_per_order or not before else None\n",
        "an archived scan that the lookback takes into the mart again is archived twice",
    ),
    Mutant(
        "cutoff_of_its_own",
        RETENTION,
        "    if status is None:\n",
        '    if evaluation.mart.alias == "uts":\n'
        '        (status,) = engine.fetchone(f"SELECT MAX(pathtime) FROM {evaluation.table}")\n'
        "    if status is None:\n",
        "the cutoff is computed per mart, so that the marts draw different lines",
    ),
    Mutant(
        "history_is_asked_for_too_few_orders",
        DUE,
        "exp.and_(order >= lowest, order.copy() <= highest)",
        "exp.and_(order >= lowest, order.copy() < highest)",
        "the order of the highest number comes back and stays in history",
    ),
    Mutant(
        "no_least_on_the_cutoff",
        RETENTION,
        "min(int(moment), evaluation.end)",
        "int(moment)",
        "one future-dated row archives the mart",
    ),
    Mutant(
        "cutoff_without_a_status",
        RETENTION,
        "return 0 if moment is None else min(",
        "return evaluation.end if moment is None else min(",
        "the line moves back when the first status comes",
    ),
    Mutant(
        "months_of_30_days",
        "macros/periods.py",
        "    date = dt.datetime.fromtimestamp(moment, dt.UTC)\n    year, month = divmod",
        "    return moment - months * 30 * 86400\n    date = dt.datetime.fromtimestamp(moment, dt.UTC)\n"
        "    year, month = divmod",
        "six months are 180 days",
    ),
    Mutant(
        "cutoff_takes_its_own_second",
        DUE,
        ".where(time.copy() < found.cutoff)",
        ".where(time.copy() <= found.cutoff)",
        "a row that is exactly six months old leaves",
    ),
    Mutant(
        "ecs_by_absence",
        DUE,
        'every_period(anchor().alias, found.periods, ["order_id", "update_time", "archived_at"])',
        f'sql_from_template({EVERY_ORDER}, {{"mart": found.table}}, p=max(found.periods))',
        "metadata leaves when uti lacks its order: at birth, when the status comes later",
    ),
    Mutant(
        "ecs_in_a_period_of_its_own",
        STEPS,
        '{"history": history_table(found.mart.alias, due.period), "missing"',
        '{"history": history_table(found.mart.alias, max(found.periods) if found.mart.follows_anchor else due.period), '
        '"missing"',
        "metadata goes to another half-year than its order",
    ),
    Mutant(
        "ecs_of_this_cycle_only",
        DUE,
        "FROM archived JOIN batch ON batch.order_id = archived.order_id",
        "FROM archived JOIN batch ON batch.order_id = -archived.order_id",
        "metadata that comes after its order was archived stays in the mart",
    ),
    Mutant(
        "history_not_cleaned",
        STEPS,
        "*exceptions, *deletions]",
        "*exceptions]",
        "an order that comes back stays in history",
    ),
    Mutant(
        "a_key_is_an_identity",
        STEPS,
        'exp.and_(exp.not_(another_order("history", "present", "present")), stale_status(found))',
        "stale_status(found)",
        "an order that was given an archived order's number takes that one's history",
    ),
    Mutant(
        "tracking_numbers_alone_tell_orders_apart",
        "macros/versions.py",
        'exp.or_(another_tno, exp.func("COALESCE", before_creation, exp.false()))',
        "exp.or_(another_tno)",
        "an order without a tracking number takes the history of another one under its number",
    ),
    Mutant(
        "a_number_is_used_again_only_by_two_creations",
        "macros/versions.py",
        "exp.paren(exp.or_(first < last.copy(), _is_blank(tno)))",
        "first < last.copy()",
        "without tracking numbers a later order takes the history of one whose metadata never came",
        tests=(
            "tests/marts/test_reused_numbers.py::"
            "test_without_tracking_numbers_a_later_creation_alone_tells_another_order",
        ),
    ),
    Mutant(
        "restore_over_a_correction",
        "scripts/exceptions.py",
        "if fault is None and order not in waiting]",
        "if fault is None]",
        "archived metadata is restored over a correction that has landed, and is the newest for good",
        tests=("tests/marts/test_checks.py::test_restore_leaves_a_correction_that_has_landed_the_newest",),
    ),
    Mutant(
        "a_later_orders_metadata_follows_the_first",
        RETENTION,
        '    if rows_counted(answers, "later"):\n',
        "    if False:\n",
        "metadata that comes before its status is archived with the number's earlier order",
    ),
    Mutant(
        "metadata_of_a_namesake_counts_as_active",
        DUE,
        "WHERE active.order_id IS NULL OR NOT :later",
        "WHERE active.order_id IS NULL",
        "the metadata of an earlier order stays in the mart for the later one",
    ),
    Mutant(
        "copies_stay_where_the_line_was",
        RETENTION,
        "return cutoff if archived is None else max(int(archived) + 1, cutoff)",
        "return cutoff",
        "where `retention_months` is raised an order or a scan stands in mart and history",
        ("tests/marts/test_retention.py::test_a_line_that_was_moved_back_does_not_split_what_comes_again",),
    ),
    Mutant(
        "the_line_moves_back",
        "macros/periods.py",
        "return epoch(year + (month + 1) // 12, (month + 1) % 12 + 1)",
        "return int(date.replace(year=year, month=month + 1, day=28).timestamp())",
        "where the day does not exist six months before, the line moves back",
        ("tests/marts/test_retention.py::test_where_a_month_is_shorter_the_line_waits_and_never_moves_back",),
    ),
    Mutant(
        "newest_history_only",
        RETENTION,
        "returned_periods=tuple(returned)",
        "returned_periods=tuple(returned and found.periods[-1:])",
        "only the newest half-year is cleaned",
    ),
    Mutant(
        "older_statuses_stay_unrouted",
        STEPS,
        "        if (copied := with_copy(found, due)) is not None\n",
        "        if (copied := with_copy(found, due)) is not None and due.period in found.periods\n",
        "an old status that comes back from before history begins stays beside the newer one",
    ),
    Mutant(
        "null_is_not_null",
        "macros/versions.py",
        '        parts.append(exp.func("COALESCE", a, blank_of(kind)).eq(exp.func("COALESCE", b, blank_of(kind))))\n',
        "        parts.append(a.eq(b))\n",
        "a row with a NULL never finds its copy",
    ),
    Mutant(
        "raw_by_arrival_alone",
        DUE,
        'return exp.and_(landed_before, exp.column(found.mart.event_time, "raw") < floor)',
        "return landed_before",
        "what is dated into the future is forgotten and lands again",
    ),
    Mutant(
        "raw_before_it_was_consumed",
        DUE,
        "timestamp(min(floor, found.start))",
        "timestamp(found.end)",
        "raw is deleted without looking at the interval",
    ),
    Mutant(
        "watermark_of_raw",
        "extract/jobs.py",
        "        watermark = seen.watermark\n",
        "        ((watermark,),) = self.warehouse.fetchall(f'SELECT MAX({table.time}) FROM {table.raw}')\n",
        "one future-dated row decides where the next read begins",
    ),
    Mutant(
        "watermark_not_capped",
        "extract/landing.py",
        "Landed(*read, survey.newest, survey.highest_id,",
        "Landed(*read, survey.last, survey.highest_id,",
        "no LEAST on the watermark",
    ),
    Mutant(
        "every_chunk_moves_the_watermark",
        "extract/run.py",
        "moves_watermark=job.moves_watermark and whole",
        "moves_watermark=job.moves_watermark",
        "a load that dies has seen less than its newest row says",
        ("tests/extract/test_chunks.py::test_only_the_last_chunk_tells_how_far_was_seen",),
    ),
    Mutant(
        "no_buffer",
        "extract/jobs.py",
        "return min(watermark, source_clock) - buffer_seconds",
        "return min(watermark, source_clock) + 1",
        "only what is newer is read",
    ),
    Mutant(
        "a_reconcile_moves_the_watermark",
        "extract/jobs.py",
        'first = watermark is None and kind == "since"',
        "first = watermark is None",
        "a first load that a reconcile overtakes ends there",
        tests=(
            "tests/extract/test_extract.py::test_a_reconcile_does_not_pass_over_what_a_first_load_has_still_to_read",
        ),
    ),
    Mutant(
        "no_dedup_in_the_landing",
        "extract/landing.py",
        "WHERE place_of_row = 1",
        "WHERE place > 0",
        "a scan that the source holds twice lands twice",
    ),
    Mutant(
        "raw_alone_tells_what_is_held",
        "extract/held.py",
        "if reaches_back else ()",
        "if False else ()",
        "what raw has forgotten lands again",
    ),
    Mutant(
        "hours_without_their_times",
        "extract/reconcile.py",
        "if any(hours[hour])",
        "if any(hours[hour][:2])",
        "a status renewed within its hour is not seen by reconcile",
    ),
    Mutant(
        "hours_without_their_content",
        "extract/reconcile.py",
        "if any(hours[hour])",
        "if any(hours[hour][:3])",
        "a value that was corrected without a new time is never seen",
        ("tests/extract/test_source_changes.py::test_a_value_corrected_without_a_new_time_is_found_and_comes_in",),
    ),
    Mutant(
        "any_version_of_a_second_is_held",
        "extract/held.py",
        'WHERE recency_rank = 1\n        """,\n        {"versions": within,',
        'WHERE recency_rank > 0\n        """,\n        {"versions": within,',
        "a value that is changed and changed back stays changed",
        ("tests/extract/test_source_changes.py::test_a_value_that_is_changed_and_changed_back_comes_in_both_times",),
    ),
    Mutant(
        "what_stays_unequal_is_read_every_night",
        "extract/settle.py",
        "if known.get(hour) != differ[hour]}",
        "}",
        "rows that the source no longer shows are told again every night",
        (
            "tests/extract/test_source_changes.py::test_a_scan_that_got_another_code_comes_in_and_the_old_ones_fate_is_told_once",
        ),
    ),
    Mutant(
        "hours_already_seen_are_trusted",
        "extract/jobs.py",
        "if hour * HOUR <= seen_until}",
        "if False}",
        "a status renewed within its second is not seen after missed cycles",
    ),
    Mutant(
        "stamp_is_now",
        "extract/clock.py",
        "return quarter_hour_of(now) - 1",
        "return now",
        "rows are stamped into an interval that is still open",
    ),
    Mutant(
        "one_stamp_a_quarter_hour",
        "extract/clock.py",
        "else before + dt.timedelta(microseconds=1)",
        "else stamp",
        "of two statuses of one second that land in one quarter-hour, the one of the greater value wins for good",
    ),
    Mutant(
        "a_part_moves_the_id",
        "extract/run.py",
        "moves_id=job.moves_id and all_read",
        "moves_id=job.moves_id and whole",
        "rows of lower ids that no part has read yet are passed over",
        tests=("tests/extract/test_extract.py::test_a_first_load_by_id_that_died_skips_no_id",),
    ),
    Mutant(
        "reconcile_moves_the_id",
        "extract/jobs.py",
        "            return self._by_hours(table, kind, since, first)\n",
        "            return replace(self._by_hours(table, kind, since, first), moves_id=True)\n",
        "rows of lower ids from before the reconcile's reach are passed over",
        tests=("tests/extract/test_extract.py::test_a_reconcile_does_not_move_the_id_over_rows_out_of_its_reach",),
    ),
    Mutant(
        "clock_may_go_back",
        "extract/run.py",
        "        refuse_to_go_back(seen, clock.now())\n",
        "",
        "rows land behind what the marts have passed",
        tests=("tests/extract/test_extract.py::test_nothing_lands_behind_an_earlier_landing",),
    ),
    Mutant(
        "raw_forgets_by_the_clock_alone",
        DUE,
        "floor = max(found.age_reference - max(",
        "floor = max(found.end - max(",
        "one cycle under a clock that is ahead makes raw forget what an extract reads again",
        ("tests/proof/test_lost_state.py::test_a_clock_that_was_a_year_ahead_is_made_good_by_the_runbook",),
    ),
    Mutant(
        "unjudged_exceptions_are_closed",
        "macros/exceptions.py",
        " AND failing.check_name IS NULL AND unjudged.order_id IS NULL",
        " AND failing.check_name IS NULL",
        "an exception is closed although no check has looked",
    ),
    Mutant(
        "no_guard_in_dev",
        "macros/production.py",
        "    if snapshot is None or not deployability(evaluator).is_deployable(snapshot):\n",
        "    if snapshot is None:\n",
        "in dev the name of the table is believed, which is that of production",
        ("tests/marts/test_production_only.py::test_a_dev_plan_of_a_downstream_change_touches_only_dev",),
        refused="the write of another environment is refused before",
    ),
    Mutant(
        "dev_writes_production",
        "macros/production.py",
        '    if environment != "prod":\n',
        "    if False:\n",
        "a dev environment does what production has left to do",
        ("tests/marts/test_production_only.py::test_a_dev_plan_of_a_changed_owner_never_writes_production",),
    ),
    Mutant(
        "held_rows_are_looked_for_from_the_batchs_newest",
        "macros/batch.py",
        'query = exp.select(exp.func("MIN"',
        'query = exp.select(exp.func("MAX"',
        "an old status in a batch of newer ones replaces the newer one that the mart holds",
        ("tests/marts/test_marts.py::test_old_status_in_a_batch_of_newer_ones_never_replaces_what_the_mart_holds",),
    ),
    Mutant(
        "a_held_row_wins_a_tie",
        UTI,
        "@newest_first(uti), is_held)",
        "@newest_first(uti), is_held DESC)",
        "where SQLMesh replaces the whole mart (a lost state) what the mart held already is gone",
        ("tests/proof/test_lost_state.py::test_state_lost_before_anything_was_trimmed_is_made_good",),
    ),
    Mutant(
        "a_conflict_is_final",
        "extract/conflicts.py",
        "        except TransactionConflict:\n",
        "        except NotImplementedError:\n",
        "what would pass when tried again fails the extract",
        ("tests/redshift/test_redshift_loading.py::test_every_kind_of_conflict_is_tried_again_wherever_it_comes",),
        refused="the conflict is an error of the extract then",
    ),
    Mutant(
        "a_lock_has_no_holder",
        "extract/lock_waits.py",
        "        if pid is not None\n",
        "        if False\n",
        "who waited for a lock is not told who holds it",
        ("tests/redshift/test_lock_waits.py::test_who_may_not_see_the_holder_is_told_how_to_find_it",),
    ),
    Mutant(
        "the_ledger_takes_the_missing_for_replaced",
        "scripts/ledger.py",
        "return max(self.rest - self.missing, 0) if self.one_row_per_order else 0",
        "return self.rest",
        "the ledger balances although rows are lost",
        ("tests/marts/test_ledger.py::test_scans_that_never_landed_are_an_error",),
    ),
    Mutant(
        "recovery_is_not_told",
        "scripts/news.py",
        "    elif broken:\n",
        "    elif False:\n",
        "nobody hears that cycles end well again",
        ("tests/commands/test_alerts.py::test_a_cycle_that_fails_is_told_when_it_begins_and_when_it_ends",),
    ),
)


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--jobs", default=1, show_default=True, help="So many copies at once.")
@click.option("--play", is_flag=True, hidden=True)
def main(names: tuple[str, ...], jobs: int, play: bool) -> None:
    """Each mistake must be caught; with names, only these."""
    if play:
        print(json.dumps(astuple(what_fails())))
        return
    if unknown := set(names) - {mutant.name for mutant in MUTANTS}:
        raise click.UsageError(f"no such mutant: {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    with tempfile.TemporaryDirectory() as folder:
        if not unchanged_copy_passes(chosen, Path(folder)):
            print("The project fails unchanged, so that nothing can be said of any mutant.")
            raise SystemExit(1)
        with ThreadPoolExecutor(jobs) as copies:  # the work is done by the processes that each thread waits for
            ends = list(copies.map(lambda mutant: caught(mutant, Path(folder)), chosen))
    survivors = [mutant.name for mutant, was_caught in zip(chosen, ends, strict=True) if not was_caught]
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutants caught.")
    if survivors:
        print(f"Not caught: {', '.join(survivors)}")
    raise SystemExit(1 if survivors else 0)


def unchanged_copy_passes(chosen: Sequence[Mutant], folder: Path) -> bool:
    """The control: without a mistake the same histories and tests find nothing."""
    started = time.monotonic()
    outcomes = []
    with copied(folder / "unchanged") as copy:
        if any(not mutant.tests for mutant in chosen):
            outcomes.append(failing_history(copy))
        tests = sorted({test for mutant in chosen for test in mutant.tests})
        if tests:
            outcomes.append(failing_test(tests, copy))
    told = [outcome.failed or outcome.error for outcome in outcomes if outcome != Outcome()]
    tell("the unchanged copy", started, f"FAILS: {told[0]}" if told else "passes")
    return not told


def caught(mutant: Mutant, folder: Path) -> bool:
    """Tells what caught it and why, or that nothing did."""
    started = time.monotonic()
    with copied(folder / mutant.name) as copy:
        file = copy / mutant.file
        text = file.read_text()
        if text.count(mutant.old) != 1:
            tell(mutant.name, started, f"NOT APPLIED: its text stands {text.count(mutant.old)} times in {mutant.file}")
            return False
        file.write_text(text.replace(mutant.old, mutant.new))
        outcome = failing_test(mutant.tests, copy) if mutant.tests else failing_history(copy)
    refused = bool(outcome.error and mutant.refused)
    if outcome.failed:
        tell(mutant.name, started, outcome.failed)
    elif refused:
        tell(mutant.name, started, f"refused, for {mutant.refused}: {outcome.error}")
    elif outcome.error:
        tell(mutant.name, started, f"NOT CAUGHT, BROKEN: {outcome.error}")
    else:
        tell(mutant.name, started, f"SURVIVED: {mutant.mistake}")
    return bool(outcome.failed) or refused


def tell(name: str, started: float, what: str) -> None:
    print(f"{name:<32} {time.monotonic() - started:5.0f} s  {' '.join(what.split())[:200]}", flush=True)


@contextmanager
def copied(folder: Path) -> Iterator[Path]:
    """A copy of the project, for as long as it is needed."""
    skipped = shutil.ignore_patterns(".*", "*.duckdb*", "*.parquet", "logs", "build", "*.egg-info", "__pycache__")
    shutil.copytree(PROJECT, folder, ignore=skipped)
    yield folder
    shutil.rmtree(folder)


def failing_history(project: Path) -> Outcome:
    """What the histories find there."""
    run = run_there(project, "-m", "tests.proof.mutants", "--play")
    if run.returncode:
        return Outcome(error=last_line(run.stderr))
    return Outcome(*json.loads(last_line(run.stdout)))


def failing_test(tests: Sequence[str], project: Path) -> Outcome:
    """What the first of the tests finds there, if each of them finds something; an error is no finding."""
    run = run_there(project, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
    failed = [line for line in run.stdout.splitlines() if line.startswith("FAILED")]
    found = [line for line in failed if line.partition(" - ")[2].startswith(FOUND)]
    if all(any(line.startswith(f"FAILED {test}") for line in found) for test in tests):
        return Outcome(failed=found[0])
    errors = [line for line in failed if line not in found] or [last_line(run.stdout + run.stderr)]
    return Outcome(error=errors[0]) if run.returncode else Outcome()


FOUND = ("assert ", "AssertionError", "Failed: DID NOT RAISE")
"""How the reason of a failed test begins that has compared something."""


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["nothing was told"])[-1]


def run_there(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    settings = {"SQLMESH__CACHE_DIR": str(project / "cache"), "PYTHON_DOTENV_DISABLED": "1", "COLUMNS": "300"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=project, env={**os.environ, **settings}, capture_output=True, text=True)


def what_fails() -> Outcome:
    """In the copy: plays histories until a comparison or an invariant fails; errors of other kinds do not end it."""
    from tests.proof.histories import History
    from tests.proof.play import NotAsItMustBe, Player
    from tests.proof.scenes import STORIES

    error = ""
    drawn = ((f"history {seed}", History(seed)) for seed in range(HISTORIES))
    played = ((name, (history.started, history.history_start, history.steps)) for name, history in drawn)
    for name, (planned_at, history_start, steps) in chain(STORIES.items(), played):
        player = Player(planned_at, history_start)
        try:
            player.play(steps)
        except NotAsItMustBe as found:
            return Outcome(f"{found} ({name})", error)
        except Exception as broken:
            error = error or f"{type(broken).__name__} {broken} ({name})"
        finally:
            player.close()
    return Outcome(error=error)


if __name__ == "__main__":
    main()
