"""Archive, check, trim: the statements that follow each mart's insert, as pure functions of a scope.

A scope (made in post_statements.py) says what one evaluation works on:
  mart, raw, uti     table names; uti is the anchor that says which orders are active
  short, time        the mart's short name and its event-time column; versioned: one row per order
  columns, sortkey   of the mart; identity: the columns in which a row and its copy agree
  start, end         the interval, half-open; newest: the status from which age is counted; cutoff: what is older has
                     aged out (all epoch seconds)
  history            period -> columns, of the mart's history tables that exist; uti_history: of the anchor's;
                     ecs_history: of the metadata's
  due                period -> range of event time (half-open) of the rows that must leave the mart now; history_start
  holding            the periods whose history may hold, before the archive step, a copy of what leaves now
  retention_months, raw_retention_days
Every statement can be repeated, and a crash between any two leaves every row in at least one place.

What a statement needs of a batch's orders in other tables is put in a temporary table first: found once, and so small
that no engine mistakes it for the larger side of a join.
"""

from __future__ import annotations

import typing as t

from sqlglot import exp

from macros.exceptions import EXCEPTIONS
from macros.history import (
    add_missing_columns,
    create_history_table,
    create_history_view,
    drop_history_view,
    history_table,
)
from macros.marts import NUMBER_USED_AGAIN, anchor, mart_of
from macros.periods import period_bounds
from macros.sql import columns_of, statement, table_node, timestamp, union_all
from macros.versions import another_order, identical, older, same

Scope = dict[str, t.Any]

RETURNED = "order_tracking_returned_orders"
DEPARTED = "order_tracking_departed_orders"
DUE = "order_tracking_due_rows"
CREATED = "order_tracking_created_orders"


def batch_orders(scope: Scope) -> exp.Query:
    """The orders of this batch: what landed in the interval; for ecs also those whose status landed."""
    landed = statement(
        "SELECT order_id FROM raw WHERE landed_at >= :start AND landed_at < :end",
        {},
        start=timestamp(scope["start"]),
        end=timestamp(scope["end"]),
    )
    raws = [scope["raw"], scope["anchor_raw"]] if scope["short"] == "ecs" else [scope["raw"]]
    queries = [t.cast(exp.Select, exp.replace_tables(landed, {"raw": raw})) for raw in raws]
    return exp.union(*queries) if len(queries) > 1 else queries[0].distinct()


def routed(scope: Scope) -> list[str]:
    """The periods of what is due that have, or get, a history table."""
    return [period for period in sorted(scope["due"]) if period >= scope["history_start"]]


def in_range(scope: Scope, period: str, table: str) -> exp.Expr:
    """The range of event time in which a period's due rows lie: what keeps a statement from reading the whole mart."""
    first, until = scope["due"][period]
    return exp.and_(exp.column(scope["time"], table) >= first, exp.column(scope["time"], table) < until)


def due_rows(scope: Scope, period: str) -> exp.Query:
    """The mart's rows that belong to this period's history now: by age, or for ecs what `due_ecs` has found."""
    columns = columns_of(scope["columns"], "mart")
    if scope["short"] == "ecs":
        of_period = exp.column("period", "mart").eq(exp.Literal.string(period))
        return exp.select(*columns).from_(table_node(DUE).as_("mart")).where(of_period)
    query = exp.select(*columns).from_(table_node(scope["mart"]).as_("mart"))
    return query.where(in_range(scope, period, "mart"))


def temporary(name: str, query: exp.Query) -> list[exp.Expr]:
    """The statements that put a query's rows in a temporary table, instead of what may be left there."""
    table = table_node(name)
    drop = exp.Drop(this=table.copy(), kind="TABLE", exists=True)
    properties = exp.Properties(expressions=[exp.TemporaryProperty()])
    return [drop, exp.Create(this=table, kind="TABLE", expression=query, properties=properties)]


def drop_temporaries() -> list[exp.Expr]:
    """The statements that end what `temporary` made."""
    return [exp.Drop(this=table_node(name), kind="TABLE", exists=True) for name in (RETURNED, DEPARTED, DUE, CREATED)]


def returned_orders(scope: Scope) -> list[exp.Expr]:
    """Statements that find the orders of this batch that are in the mart's history, with their periods."""
    history = every_period(scope["short"], scope["history"], ["order_id"])
    query = statement(
        "SELECT history.period, history.order_id FROM history JOIN batch ON batch.order_id = history.order_id",
        {"history": history, "batch": batch_orders(scope)},
    )
    return temporary(RETURNED, t.cast(exp.Query, query))


def due_ecs(scope: Scope) -> list[exp.Expr]:
    """Statements that find the rows of ecs that must leave, with the periods that they belong to.

    They are those of an order that uti has archived and that is not active; absence from uti is no proof, for an
    order's status may arrive after its metadata. What history still holds of an active number is another order's (uti
    has cleaned before), and metadata that was created before that one's last status belongs to it.
    """
    query = statement(
        """
        SELECT departed.period, departed.update_time AS last_status, :columns
        FROM departed JOIN mart ON mart.order_id = departed.order_id
        LEFT JOIN active ON active.order_id = departed.order_id
        WHERE active.order_id IS NULL OR mart.add_time <= departed.update_time
        """,
        {"departed": DEPARTED, "mart": scope["mart"], "active": scope["uti"]},
        columns=columns_of(scope["columns"], "mart"),
    )
    return temporary(DUE, t.cast(exp.Query, query))


def later_metadata_statement(scope: Scope) -> exp.Expr:
    """Takes from the due rows of ecs the metadata of orders that were given an archived order's number.

    It was created after the archived order's last status, and history holds metadata that is older: the number's new
    order has no status yet.
    """
    query = """
        SELECT history.order_id, MIN(history.add_time) AS first_created
        FROM history JOIN leaving ON leaving.order_id = history.order_id GROUP BY history.order_id
    """
    history = every_period("ecs", scope["history"], ["order_id", "add_time"])
    return statement(
        """
        DELETE FROM due USING earlier WHERE due.order_id = earlier.order_id
        AND due.add_time > due.last_status AND due.add_time > earlier.first_created
        """,
        {"due": DUE, "earlier": statement(query, {"history": history, "leaving": DUE})},
    )


def departed_orders(scope: Scope) -> list[exp.Expr]:
    """Statements that find what uti archived: since the interval's start, and of the orders of this batch.

    They give period, order_id and last status; of a number that was used again those of its last order. The orders
    whose metadata the daily checks have found left behind are among them.
    """
    left_behind = statement(
        "SELECT order_id FROM exceptions WHERE check_name = 'archived_but_in_mart' AND resolved_at IS NULL",
        {"exceptions": EXCEPTIONS},
    )
    columns = {"order_id": "BIGINT", "update_time": "BIGINT", "archived_at": "TIMESTAMP"}
    if scope["uti_history"]:
        archived = every_period("uti", scope["uti_history"], columns)
    else:
        nothing = {"period": "VARCHAR(7)", **columns}
        archived = exp.select(*(exp.cast(exp.null(), kind).as_(name) for name, kind in nothing.items()))
        archived = archived.where(exp.false())
    departed = statement(
        """
        SELECT archived.period, archived.order_id, archived.update_time FROM archived
        WHERE archived.archived_at > :start
        UNION
        SELECT archived.period, archived.order_id, archived.update_time
        FROM archived JOIN batch ON batch.order_id = archived.order_id
        """,
        {"archived": archived, "batch": exp.union(batch_orders(scope), t.cast(exp.Query, left_behind))},
        start=timestamp(scope["start"]),
    )
    query = """
        SELECT ranked.period, ranked.order_id, ranked.update_time FROM (
          SELECT departed.period, departed.order_id, departed.update_time, ROW_NUMBER() OVER (
            PARTITION BY departed.order_id ORDER BY departed.update_time DESC
          ) AS recency_rank
          FROM departed
        ) AS ranked WHERE ranked.recency_rank = 1
    """
    return temporary(DEPARTED, t.cast(exp.Query, statement(query, {"departed": departed})))


def every_period(short: str, periods: t.Iterable[str], columns: t.Iterable[str]) -> exp.Query:
    """The rows of these history tables of a mart, with the period first."""
    names = columns_of(columns)
    kind = exp.DataType.build("VARCHAR(7)")
    return union_all(
        [
            exp.select(exp.cast(exp.Literal.string(period), kind).as_("period"), *names).from_(
                table_node(history_table(short, period))
            )
            for period in sorted(periods)
        ]
    )


def may_hold(scope: Scope, period: str, archived: bool = True) -> exp.Query | None:
    """The history rows that may be copies of what is due in a period; None while there is no such table.

    A copy is never older than the row, so it lies at or after it: for scans in the same range, for uti there or
    later, and for ecs, whose period is that of its order, wherever history holds an order that leaves now. Once the
    archive step has run (`archived`) the half-years that it fills hold copies too.
    """
    tables = sorted({*scope["holding"], *(routed(scope) if archived else ())})
    time = exp.column(scope["time"])
    first, until = scope["due"][period]
    in_reach = time >= first if scope["versioned"] else exp.and_(time >= first, time < until)
    if scope["short"] == "uts":
        tables = [name for name in tables if name == period]
    elif scope["short"] == "uti":
        tables = [name for name in tables if name >= period]
    queries = [
        exp.select(*columns_of(["order_id", *scope["identity"]]))
        .from_(table_node(history_table(scope["short"], name)))
        .where(in_reach.copy())
        for name in tables
    ]
    return union_all(queries) if queries else None


def with_copy(scope: Scope, period: str, archived: bool = True) -> exp.Query:
    """What is due in a period and superfluous in the mart: history holds its copy or a newer version of its order.

    Of scans it is history's rows of the range themselves, for they are compared with the due ones in every column.
    """
    if not scope["versioned"]:
        return t.cast(exp.Query, may_hold(scope, period, archived))
    is_copy = exp.and_(
        exp.not_(older("held", "due", scope["identity"])), same(mart_of(scope["short"]).order_mark, "held", "due")
    )
    return t.cast(
        exp.Query,
        statement(
            "SELECT :columns FROM due JOIN held ON held.order_id = due.order_id AND :is_copy",
            {"due": due_rows(scope, period), "held": t.cast(exp.Query, may_hold(scope, period, archived))},
            columns=columns_of(["order_id", *scope["identity"]], "due"),
            is_copy=is_copy,
        ),
    )


def without_copy(scope: Scope, period: str, archived: bool = True) -> exp.Query:
    """What is due in a period and not in history yet."""
    due = due_rows(scope, period)
    if may_hold(scope, period, archived) is None:
        return due
    return t.cast(
        exp.Query,
        statement(
            """
            SELECT :columns FROM due
            LEFT JOIN copied ON copied.order_id = due.order_id AND :identical
            WHERE copied.order_id IS NULL
            """,
            {"due": due, "copied": with_copy(scope, period, archived)},
            columns=columns_of(scope["columns"], "due"),
            identical=identical("copied", "due", scope["identity"], scope["columns"]),
        ),
    )


def clean_statements(scope: Scope, periods: t.Iterable[str]) -> list[exp.Expr]:
    """Step 1: of this batch's orders, delete the history rows that the mart's row makes stale.

    Older versions: the order came back, or its aged row is replaced by a newer one that is itself aged. Of ecs also the
    very same version of an order that is active. The mart holds what is deleted here, or a newer version of it, so
    nothing is lost; should it have aged too, the archive step copies it. Of another order under the same number
    nothing is deleted.
    """
    stale = older("history", "present", scope["identity"])
    if scope["short"] == "ecs":
        not_newer = exp.not_(older("present", "history", scope["identity"]))
        active = exp.not_(exp.column("active", "present").is_(exp.null()))
        stale = exp.paren(exp.or_(stale, exp.and_(not_newer, active)))
    return [
        statement(
            "DELETE FROM history USING present WHERE history.order_id = present.order_id AND :same_order AND :stale",
            {"history": history_table(scope["short"], period), "present": present_rows(scope, period)},
            same_order=same_order(scope),
            stale=stale,
        )
        for period in sorted(periods)
    ]


def same_order(scope: Scope) -> exp.Expr:
    """The rows of `history` and `present` are of one order, and not of two that had the same number."""
    if scope["short"] == "uti":
        return exp.not_(another_order("history", "present", created="present"))
    return same("add_time", "history", "present")


def created_orders(scope: Scope, metadata: t.Iterable[str]) -> list[exp.Expr]:
    """Statements that find when the orders that came back were created: by all the metadata of their numbers.

    `metadata` names the tables beside history that hold any.
    """
    tables = [*metadata, *(history_table("ecs", period) for period in sorted(scope["ecs_history"]))]
    places = [exp.select(*columns_of(["order_id", "add_time"])).from_(table_node(table)) for table in tables]
    query = statement(
        """
        SELECT metadata.order_id, MIN(metadata.add_time) AS first_created, MAX(metadata.add_time) AS last_created
        FROM metadata JOIN (SELECT DISTINCT order_id FROM returned) AS asked ON asked.order_id = metadata.order_id
        GROUP BY metadata.order_id
        """,
        {"metadata": union_all(places), "returned": RETURNED},
    )
    return temporary(CREATED, t.cast(exp.Query, query))


def reused_numbers(scope: Scope, periods: t.Iterable[str]) -> exp.Query:
    """Orders of this batch under whose number history holds another order, as exceptions."""
    texts = (
        ("check_name", "order_number_reused", "VARCHAR(64)"),
        ("table_name", scope["name"], "VARCHAR(127)"),
        ("detail", NUMBER_USED_AGAIN, "VARCHAR(4096)"),
    )
    told = [exp.cast(exp.Literal.string(text), kind).as_(name) for name, text, kind in texts]
    found = [
        t.cast(
            exp.Select,
            statement(
                "SELECT present.order_id FROM history JOIN present ON present.order_id = history.order_id "
                "WHERE :another",
                {"history": history_table("uti", period), "present": present_rows(scope, period)},
                another=another_order("history", "present", created="present"),
            ),
        )
        for period in sorted(periods)
    ]
    return exp.select("reused.order_id", *told).from_(union_all(found).subquery("reused")).distinct()


def clean_copies_statements(scope: Scope, not_due: t.Mapping[str, tuple[int, int]]) -> list[exp.Expr]:
    """Step 1 of uti and uts, where the line has moved back: delete the copies in history of what has not aged.

    `not_due` has the range of event time in which they lie. The mart holds what is deleted here.
    """
    return [
        statement(
            """
            DELETE FROM history USING mart WHERE history.order_id = mart.order_id AND :identical
            AND :of_history >= :first AND :of_history <= :last AND :of_mart >= :first AND :of_mart <= :last
            """,
            {"history": history_table(scope["short"], period), "mart": scope["mart"]},
            identical=identical("history", "mart", scope["identity"], scope["columns"]),
            of_history=exp.column(scope["time"], "history"),
            of_mart=exp.column(scope["time"], "mart"),
            first=first,
            last=last,
        )
        for period, (first, last) in sorted(not_due.items())
    ]


def outdated_statements(scope: Scope, periods: t.Iterable[str]) -> list[exp.Expr]:
    """Step 1 of uti, where the line has moved back: delete the batch's rows of which history holds a newer version.

    Where history's has aged, so has the mart's, and it is left to the trim.
    """
    newer = """
        SELECT :columns FROM returned JOIN history ON history.order_id = returned.order_id
        WHERE returned.period = :period AND history.update_time >= :cutoff
    """
    return [
        statement(
            "DELETE FROM mart USING newer WHERE mart.order_id = newer.order_id AND :outdated",
            {
                "mart": scope["mart"],
                "newer": t.cast(
                    exp.Query,
                    statement(
                        newer,
                        {"returned": RETURNED, "history": history_table("uti", period)},
                        columns=columns_of(["order_id", *scope["identity"]], "history"),
                        period=period,
                        cutoff=scope["cutoff"],
                    ),
                ),
            },
            outdated=exp.and_(older("mart", "newer", scope["identity"]), same(anchor().order_mark, "mart", "newer")),
        )
        for period in sorted(periods)
        if period_bounds(period)[1] > scope["cutoff"]
    ]


def present_rows(scope: Scope, period: str) -> exp.Query:
    """The mart's rows of the orders that came back from a period, and for ecs whether their order is active.

    For uti also when the orders of its number were created.

    An order of the batch is in uti with a row of the batch or a newer one, so what is older than all of the batch need
    not be looked at.
    """
    columns = columns_of(["order_id", *scope["identity"]], "mart")
    tables = {"returned": RETURNED, "mart": scope["mart"], "active": scope["uti"], "raw": scope["raw"]}
    tables |= {"created": CREATED, "departed": DEPARTED}
    if scope["short"] == "ecs":
        query = statement(
            """
            SELECT :columns, CASE WHEN departed.order_id IS NULL THEN active.order_id END AS active
            FROM returned JOIN mart ON mart.order_id = returned.order_id
            LEFT JOIN active ON active.order_id = mart.order_id
            LEFT JOIN departed ON departed.order_id = mart.order_id AND departed.update_time >= mart.add_time
            WHERE returned.period = :period
            """,
            tables,
            columns=columns,
            period=period,
        )
    else:
        query = statement(
            """
            SELECT :columns, created.first_created, created.last_created
            FROM returned JOIN mart ON mart.order_id = returned.order_id
            LEFT JOIN created ON created.order_id = mart.order_id
            WHERE returned.period = :period AND :time >= (
              SELECT MIN(:raw_time) FROM raw WHERE raw.landed_at >= :start AND raw.landed_at < :end
            )
            """,
            tables,
            columns=columns,
            period=period,
            time=exp.column(scope["time"], "mart"),
            raw_time=exp.column(scope["time"], "raw"),
            start=timestamp(scope["start"]),
            end=timestamp(scope["end"]),
        )
    return t.cast(exp.Query, query)


def widen_statements(scope: Scope) -> list[exp.Expr]:
    """Before step 1: history gets the columns that the mart has gained."""
    added = add_missing_columns(scope["short"], scope["history"], scope["columns"])
    return [*added, *renew_view(scope, scope["history"])] if added else []


def renew_view(scope: Scope, periods: t.Iterable[str]) -> list[exp.Expr]:
    """Make the view over all periods anew."""
    create = create_history_view(scope["short"], sorted(periods), scope["columns"], scope["redshift"])
    return [drop_history_view(scope["short"]), create] if scope["redshift"] else [create]


def archive_statements(scope: Scope) -> list[exp.Expr]:
    """Step 2: copy what is due to the period it belongs to, unless history holds it, or a newer version of it."""
    new_periods = [period for period in routed(scope) if period not in scope["history"]]
    statements: list[exp.Expr] = [
        create_history_table(scope["short"], period, scope["columns"], scope["sortkey"], scope["redshift"])
        for period in new_periods
    ]
    if new_periods or (routed(scope) and not scope["redshift"]):
        # Without transactions a crash may have left a new table that the view does not know.
        statements += renew_view(scope, {*scope["history"], *new_periods})
    names = list(scope["columns"])
    statements += [
        statement(
            "INSERT INTO history (:target, archived_at) SELECT :columns, :end FROM missing",
            {"history": history_table(scope["short"], period), "missing": without_copy(scope, period, archived=False)},
            target=[exp.to_identifier(name) for name in names],
            columns=columns_of(names, "missing"),
            end=timestamp(scope["end"]),
        )
        for period in routed(scope)
    ]
    return statements


def unrouted_rows(scope: Scope) -> exp.Query:
    """Step 3: what is due and has no copy in history, as exceptions: one per order and period."""
    return union_all([unrouted_rows_of(scope, period) for period in sorted(scope["due"])])


def unrouted_rows_of(scope: Scope, period: str) -> exp.Query:
    """What is due in one period and has no copy in history."""
    detail = f"half-year {period} has no copy in history, which begins with {scope['history_start']}"
    texts = (("check_name", "archive_unrouted", 64), ("table_name", scope["name"], 127), ("detail", detail, 4096))
    told = [exp.cast(exp.Literal.string(text), f"VARCHAR({size})").as_(name) for name, text, size in texts]
    query = exp.select("missing.order_id", *told, copy=False)
    return query.from_(without_copy(scope, period).subquery("missing", copy=False), copy=False).distinct(copy=False)


def trim_statements(scope: Scope) -> list[exp.Expr]:
    """Step 4: delete what is due and has its copy (or a newer version) in history, and nothing else.

    Also of periods without a history table: history may hold a newer version of such a row elsewhere.
    """
    return [
        statement(
            "DELETE FROM mart USING copied WHERE mart.order_id = copied.order_id AND :identical AND :in_range",
            {"mart": scope["mart"], "copied": with_copy(scope, period)},
            identical=identical("mart", "copied", scope["identity"], scope["columns"]),
            in_range=in_range(scope, period, "mart"),
        )
        for period in sorted(scope["due"])
        if may_hold(scope, period) is not None
    ]


def delete_consumed_raw_statement(scope: Scope) -> exp.Expr:
    """Step 5: forget raw rows past the raw retention that landed before this interval.

    A row whose event time lies inside the raw retention stays (it was dated into the future when it landed), so that
    for an ordinary extract raw alone tells what is held: of three days at least, whatever the variable says.
    """
    floor = max(scope["newest"] - max(scope["raw_retention_days"], 3) * 86400, 0)
    return statement(
        "DELETE FROM raw WHERE raw.landed_at < :landed_before AND :event_before",
        {"raw": scope["raw"]},
        landed_before=timestamp(min(floor, scope["start"])),
        event_before=exp.column(scope["time"], "raw") < floor,
    )
