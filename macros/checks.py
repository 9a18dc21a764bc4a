"""What the daily checks share: when a row is settled, how two values that disagree are told, what was accepted."""

from __future__ import annotations

from sqlglot import exp
from sqlmesh import macro

from macros.details import ACCEPTED, VALUES
from macros.history import history_view
from macros.marts import EXCEPTIONS, NUMBER_USED_AGAIN, marts, scan_key
from macros.periods import half_open, settled_before
from macros.sql import columns_of, query_from_template, sql_from_template, timestamp, union_all

CHECKED = ("check_name", "table_name", "order_id", "detail")
EVERY_CHECK = "every check"
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
    return timestamp(grace_cutoff_seconds(evaluator))


def grace_cutoff_seconds(evaluator) -> int:  # type: ignore[no-untyped-def]
    """The moment of `grace_cutoff`, epoch seconds."""
    return settled_before(int(evaluator.locals["execution_dt"].timestamp()))


@macro()
def raw_begins(evaluator):  # type: ignore[no-untyped-def]
    """Before this moment raw may have forgotten what landed: its retention, and some days for a source that is silent.

    Example:
        >>> import datetime as dt
        >>> from sqlmesh.core.macros import MacroEvaluator
        >>> evaluator = MacroEvaluator("redshift")
        >>> evaluator.locals["execution_dt"] = dt.datetime(2025, 9, 2, 0, 20, tzinfo=dt.UTC)
        >>> evaluator.locals["__sqlmesh__vars__"] = {"raw_retention_days": 35}
        >>> raw_begins(evaluator).sql("redshift")
        "CAST('2025-07-23 23:45:00' AS TIMESTAMP)"
    """
    return timestamp(grace_cutoff_seconds(evaluator) - (int(evaluator.var("raw_retention_days")) + 5) * 86400)


def unjudged_orders(evaluator):  # type: ignore[no-untyped-def]
    """Query of order_id and check_name (or EVERY_CHECK): what a check passes over because it landed lately.

    It goes with the WHERE of these checks. A day is that of metadata_without_status, which a status ends.
    """
    settled = grace_cutoff(evaluator)
    uti, ecs, uts = (mart.raw for mart in marts())
    passed_over = [
        (uti, EVERY_CHECK),
        (uts, EVERY_CHECK),
        (ecs, "landed_but_missing"),
        (ecs, "archived_but_in_mart"),
    ]
    landed = "SELECT order_id, :check::VARCHAR(64) AS check_name FROM raw WHERE landed_at >= :settled"
    queries = [query_from_template(landed, {"raw": raw}, check=check, settled=settled) for raw, check in passed_over]
    waiting = query_from_template(
        """
        SELECT metadata.order_id, 'metadata_without_status'::VARCHAR(64) AS check_name
        FROM metadata
        LEFT JOIN status
          ON status.order_id = metadata.order_id AND status.landed_at >= :settled - INTERVAL '1 DAY'
        WHERE metadata.landed_at >= :settled - INTERVAL '1 DAY' AND status.order_id IS NULL
        """,
        {"metadata": ecs, "status": uti},
        settled=settled,
    )
    return union_all([*queries, waiting])


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
def disagreement(evaluator, topic: exp.Expr, found: exp.Expr, expected: exp.Expr):  # type: ignore[no-untyped-def]
    """A detail of two times that disagree (epoch seconds, or NULL where there is none), and by how many seconds.

    Example:
        >>> from sqlglot import exp
        >>> from sqlmesh.core.macros import MacroEvaluator
        >>> topic, found, expected = exp.Literal.string("late"), exp.column("a"), exp.column("b")
        >>> disagreement(MacroEvaluator("redshift"), topic, found, expected).sql("redshift")[:27]
        "CAST('late' || ' (found: ' "
    """
    template = f"""
        CAST(:topic || '{VALUES}' || COALESCE(CAST(:found_at AS VARCHAR(19)), 'none')
          || '; expected: ' || COALESCE(CAST(:expected_at AS VARCHAR(19)), 'none')
          || COALESCE('; difference: ' || CAST(ABS(:found - :expected) AS VARCHAR(20)) || ' s', '') || ')'
          AS VARCHAR(4096))
    """
    moments = {
        f"{name}_at": sql_from_template("'epoch'::TIMESTAMP + :seconds * INTERVAL '1 SECOND'", {}, seconds=seconds)
        for name, seconds in (("found", found), ("expected", expected))
    }
    return sql_from_template(template, {}, topic=topic, found=found, expected=expected, **moments)


@macro()
def held_keys(evaluator):  # type: ignore[no-untyped-def]
    """Query of table_name (the source's), order_id, landed_at and the other columns of a scan's key (NULL elsewhere).

    It is of every row in mart or history.

    Example:
        >>> from sqlmesh.core.macros import MacroEvaluator
        >>> query = held_keys(MacroEvaluator("redshift"))
        >>> query.named_selects
        ['table_name', 'order_id', 'landed_at', 'pathtime', 'code', 'traceseq']
        >>> len(list(query.find_all(exp.Table)))
        6
    """
    queries = []
    for mart in marts():
        source = exp.Literal.string(mart.table)
        key = [exp.column(name) if not mart.one_row_per_order else exp.null() for name in scan_key()[1:]]
        columns = [
            exp.cast(source, "VARCHAR(127)").as_("table_name"),
            *columns_of(["order_id", "landed_at"]),
            *(exp.cast(value, "BIGINT").as_(name) for value, name in zip(key, scan_key()[1:], strict=True)),
        ]
        queries += [exp.select(*columns).from_(table) for table in (mart.name, history_view(mart.alias))]
    return union_all(queries)


@macro()
def is_same_scan(evaluator, rejected: exp.Column, good: exp.Column):  # type: ignore[no-untyped-def]
    """The scan aliased `good` has the key that the rejected row shows; what made it rejected need not be the same.

    Example:
        >>> from sqlglot import exp
        >>> from sqlmesh.core.macros import MacroEvaluator
        >>> same = is_same_scan(MacroEvaluator("redshift"), exp.column("r"), exp.column("g"))
        >>> len(list(same.find_all(exp.Like)))
        3
    """
    shown = """
        (rejected.reason LIKE :at_fault OR STRPOS(
          ', ' || rejected.payload || ',', :name || COALESCE(CAST(:value AS VARCHAR(20)), 'NULL') || ','
        ) > 0)
    """
    parts = [
        sql_from_template(
            shown.replace("rejected.", f"{rejected.name}."),
            {},
            at_fault=f"{name} %",
            name=f", {name}=",
            value=exp.column(name, good.name),
        )
        for name in scan_key()[1:]
    ]
    return exp.and_(*parts)


@macro()
def number_used_again(evaluator, last_status: exp.Expr):  # type: ignore[no-untyped-def]
    """What is said of an order whose number an archived order had: the same words as when its mart finds it.

    Example:
        >>> from sqlglot import exp
        >>> from sqlmesh.core.macros import MacroEvaluator
        >>> number_used_again(MacroEvaluator("redshift"), exp.column("a")).sql("redshift")[:46]
        "CAST('history holds another order under this n"
    """
    return used_again(last_status)


def used_again(last_status: exp.Expr) -> exp.Expr:
    """The detail of `order_number_reused`, with the archived order's last status: each further order is another one."""
    return sql_from_template(
        f"CAST(:topic || '{VALUES}its last status of ' || CAST(:moment AS VARCHAR(19)) || ')' AS VARCHAR(4096))",
        {},
        topic=NUMBER_USED_AGAIN,
        moment=sql_from_template("'epoch'::TIMESTAMP + :seconds * INTERVAL '1 SECOND'", {}, seconds=last_status),
    )


@macro()
def failures_of(evaluator, *checks: exp.Column):  # type: ignore[no-untyped-def]
    """What the checks find, one after another, but for what was accepted; each is the model that bears its name.

    Example:
        >>> from sqlglot import exp
        >>> from sqlmesh.core.macros import MacroEvaluator
        >>> failures_of(MacroEvaluator("redshift"), exp.column("a"), exp.column("b")).sql("redshift")[:23]
        'SELECT found.check_name'
    """
    found = union_all([exp.select(*CHECKED).from_(f"order_tracking.{check.name}") for check in checks])
    return sql_from_template(
        """
        SELECT :columns FROM found
        LEFT JOIN (
          SELECT DISTINCT known.check_name, known.table_name, known.order_id, known.detail FROM known WHERE :accepted
        ) AS accepted
          ON accepted.check_name = found.check_name AND accepted.table_name = found.table_name
          AND COALESCE(accepted.order_id, -1) = COALESCE(found.order_id, -1) AND accepted.detail = found.detail
        WHERE accepted.check_name IS NULL
        """,
        {"found": found, "known": EXCEPTIONS},
        columns=columns_of(CHECKED, "found"),
        accepted=is_accepted("known"),
    )


def is_accepted(table: str) -> exp.Expr:
    """An operator has accepted the exception: it stays quiet until its detail changes."""
    return exp.column("resolution", table).like(exp.Literal.string(f"{ACCEPTED}%"))
