"""Keeping order_tracking_history.order_tracking_exceptions: one open row per check, table, order and topic.

A detail is a topic and, in brackets, the figures of the moment: ` (rows: 12)`, or the two values that disagree,
` (found: …; expected: …; difference: 61 s)`. An exception stays the same one when its figures change.
"""

from __future__ import annotations

from sqlglot import exp
from sqlmesh import macro

from macros.checks import EVERY_CHECK, is_accepted, unjudged_orders
from macros.details import topic
from macros.marts import CHECK_LOG, EXCEPTIONS
from macros.periods import half_open
from macros.production import production_snapshot
from macros.sql import sql_from_template, timestamp


@macro()
def keep_exceptions(evaluator):  # type: ignore[no-untyped-def]
    """After the daily checks: enter what they found, close what they no longer find, and log that they ran."""
    if production_snapshot(evaluator) is None:
        return []
    found = sql_from_template(
        "SELECT check_name, table_name, order_id, detail FROM failures WHERE checked_on = :day",
        {"failures": evaluator.locals["this_model"]},
        day=exp.cast(exp.Literal.string(evaluator.locals["end_ds"]), "DATE"),
    )
    _, checked_at = half_open(evaluator.locals["start_dt"], evaluator.locals["end_dt"])
    closed = close_cleared_exceptions(found, checked_at, unjudged_orders(evaluator))
    return [*record_exceptions(found, checked_at), closed, log_checks(found, checked_at)]


def log_checks(found: exp.Query, at: int) -> exp.Expr:
    """Enter that the checks ran and how much they found: checks that find nothing leave no other trace.

    Last of all, so that checks that were broken off count as not run. Entering the same moment twice changes nothing.
    """
    return sql_from_template(
        """
        INSERT INTO check_log (checked_at, findings)
        SELECT :at, counted.findings
        FROM (SELECT COUNT(*) AS findings FROM found) AS counted
        LEFT JOIN before ON before.checked_at = :at
        WHERE before.checked_at IS NULL
        """,
        {"check_log": CHECK_LOG, "before": CHECK_LOG, "found": found},
        at=timestamp(at),
    )


def same_finding(left: str, right: str) -> str:
    return f"""{left}.check_name = {right}.check_name AND {left}.table_name = {right}.table_name
          AND COALESCE({left}.order_id, -1) = COALESCE({right}.order_id, -1) AND {topic(left)} = {topic(right)}"""


def record_exceptions(failing: exp.Query, at: int) -> list[exp.Expr]:
    """Enter what fails now: an open exception is seen once more, with the figures of now; anything else is opened.

    But for what was accepted with these very figures: it stays closed.

    Args:
        failing: Query of check_name, table_name, order_id (may be NULL) and detail, one row an exception.
        at: The moment of the check, epoch seconds. Entering the same moment twice changes nothing.
    """
    tables: dict[str, str | exp.Expr] = {"exceptions": EXCEPTIONS, "failing": failing}
    seen = sql_from_template(
        f"""
        UPDATE exceptions SET last_seen_at = :at, times_seen = times_seen + 1, detail = failing.detail FROM failing
        WHERE {same_finding("exceptions", "failing")} AND exceptions.resolved_at IS NULL
          AND (exceptions.last_seen_at < :at OR exceptions.detail <> failing.detail)
        """,
        tables,
        at=timestamp(at),
    )
    opened = sql_from_template(
        f"""
        INSERT INTO exceptions (check_name, table_name, order_id, detail, first_seen_at, last_seen_at, times_seen)
        SELECT failing.check_name, failing.table_name, failing.order_id, failing.detail, :at, :at, 1
        FROM failing
        LEFT JOIN open_ones ON {same_finding("open_ones", "failing")} AND open_ones.resolved_at IS NULL
        LEFT JOIN accepted ON {same_finding("accepted", "failing")} AND accepted.detail = failing.detail AND :accepted
        WHERE open_ones.check_name IS NULL AND accepted.check_name IS NULL
        """,
        {**tables, "open_ones": EXCEPTIONS, "accepted": EXCEPTIONS},
        at=timestamp(at),
        accepted=is_accepted("accepted"),
    )
    return [seen, opened]


def close_cleared_exceptions(failing: exp.Query, at: int, unjudged: exp.Query) -> exp.Expr:
    """Close every open exception that no check finds any more, with the resolution `cleared`.

    Args:
        unjudged: Query of order_id and check_name (or EVERY_CHECK): what no check, or that one, has looked at. What is
            open of it stays as it is.
    """
    return sql_from_template(
        f"""
        UPDATE exceptions SET resolved_at = :at, resolution = 'cleared' FROM (
          SELECT open_ones.check_name, open_ones.table_name, open_ones.order_id, open_ones.detail
          FROM open_ones
          LEFT JOIN failing ON {same_finding("failing", "open_ones")}
          LEFT JOIN unjudged ON unjudged.order_id = open_ones.order_id AND unjudged.check_name = :every_check
          LEFT JOIN passed_over
            ON passed_over.order_id = open_ones.order_id AND passed_over.check_name = open_ones.check_name
          WHERE open_ones.resolved_at IS NULL AND failing.check_name IS NULL AND unjudged.order_id IS NULL
            AND passed_over.order_id IS NULL
        ) AS cleared
        WHERE exceptions.check_name = cleared.check_name AND exceptions.table_name = cleared.table_name
          AND COALESCE(exceptions.order_id, -1) = COALESCE(cleared.order_id, -1)
          AND exceptions.detail = cleared.detail AND exceptions.resolved_at IS NULL
        """,
        {
            "exceptions": EXCEPTIONS,
            "open_ones": EXCEPTIONS,
            "failing": failing,
            "unjudged": unjudged,
            "passed_over": unjudged,
        },
        every_check=EVERY_CHECK,
        at=timestamp(at),
    )
