"""What the daily checks share: when a row is settled, and how a rejected row is told."""

from __future__ import annotations

from sqlglot import exp
from sqlmesh import macro

from macros.marts import NUMBER_USED_AGAIN, mart_of
from macros.periods import half_open
from macros.sql import sql_from_template, timestamp, union_all

CHECKED = ("check_name", "table_name", "order_id", "detail")
GRACE_SECONDS = 2 * 900
TURN_SECONDS = 28 * 86400


@macro()
def grace_cutoff(evaluator):  # type: ignore[no-untyped-def]
    """What landed before this moment has had two cycles to reach its place.

    Example:
        >>> import datetime as dt
        >>> from sqlmesh.core.macros import MacroEvaluator
        >>> evaluator = MacroEvaluator("redshift")
        >>> evaluator.locals["execution_dt"] = dt.datetime(2025, 9, 2, 0, 20, tzinfo=dt.UTC)
        >>> grace_cutoff(evaluator).sql("redshift")
        "CAST('2025-09-01 23:45:00' AS TIMESTAMP)"
    """
    now = int(evaluator.locals["execution_dt"].timestamp())
    return timestamp(now // 900 * 900 - GRACE_SECONDS)


def unjudged_orders(evaluator):  # type: ignore[no-untyped-def]
    """Query of the orders whose status or scans landed within the grace: the checks pass them over."""
    queries = [
        sql_from_template(
            "SELECT order_id FROM raw WHERE landed_at >= :settled", {"raw": raw}, settled=grace_cutoff(evaluator)
        )
        for raw in (mart_of("uti").raw, mart_of("uts").raw)
    ]
    return exp.union(*queries)


@macro()
def is_checked_today(evaluator, seconds: exp.Expr):  # type: ignore[no-untyped-def]
    """The days checked are the turn of a row whose number of seconds this is: each day comes again after 28.

    Example:
        >>> import datetime as dt
        >>> from sqlglot import exp
        >>> from sqlmesh.core.macros import MacroEvaluator
        >>> evaluator = MacroEvaluator("redshift")
        >>> end = dt.datetime(2025, 9, 1, 23, 59, 59, 999999, dt.UTC)
        >>> evaluator.locals.update(start_dt=dt.datetime(2025, 9, 1, tzinfo=dt.UTC), end_dt=end)
        >>> is_checked_today(evaluator, exp.column("pathtime")).sql("redshift")
        '(pathtime - 1756684800 + 2419200000) % 2419200 < 86400'
    """
    # The bounds are literals: Redshift's EXTRACT would lose the last second of the turn with its fraction.
    start, end = half_open(evaluator.locals["start_dt"], evaluator.locals["end_dt"])
    # So many turns are added that nothing is negative: the rest of a negative number is.
    turn = "(:seconds - :start + :turns) % :turn < :length"
    values = {"start": start, "turns": 1000 * TURN_SECONDS, "turn": TURN_SECONDS, "length": end - start}
    return sql_from_template(turn, {}, seconds=seconds, **values)


@macro()
def rejection_detail(evaluator, row: exp.Column):  # type: ignore[no-untyped-def]
    """A rejected row in one line: the reason, and the row as far as there is room for it.

    Example:
        >>> from sqlglot import exp
        >>> from sqlmesh.core.macros import MacroEvaluator
        >>> rejection_detail(MacroEvaluator("redshift"), exp.column("r")).sql("redshift")
        "r.reason || ': ' || LEFT(r.payload, 900)"
    """
    payload = exp.func("LEFT", exp.column("payload", row.name), exp.Literal.number(900))
    parts = [exp.column("reason", row.name), exp.Literal.string(": "), payload]
    return exp.DPipe(this=exp.DPipe(this=parts[0], expression=parts[1]), expression=parts[2])


@macro()
def number_used_again(evaluator):  # type: ignore[no-untyped-def]
    """What is said of an order whose number an archived order had: the same words as when its mart finds it.

    Example:
        >>> from sqlmesh.core.macros import MacroEvaluator
        >>> number_used_again(MacroEvaluator("redshift")).sql("redshift")[:46]
        "CAST('history holds another order under this n"
    """
    return exp.cast(exp.Literal.string(NUMBER_USED_AGAIN), "VARCHAR(4096)")


@macro()
def failures_of(evaluator, *checks: exp.Column):  # type: ignore[no-untyped-def]
    """What the checks find, one after another; each is the model that bears its name.

    Example:
        >>> from sqlglot import exp
        >>> from sqlmesh.core.macros import MacroEvaluator
        >>> failures_of(MacroEvaluator("redshift"), exp.column("a"), exp.column("b")).sql("redshift")[:61]
        'SELECT check_name, table_name, order_id, detail FROM order_tr'
    """
    return union_all([exp.select(*CHECKED).from_(f"order_tracking.{check.name}") for check in checks])
