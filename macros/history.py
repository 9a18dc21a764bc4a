"""The history tables and views: plain objects in their own schema, made and kept up by the archive step."""

from __future__ import annotations

import typing as t

from sqlglot import exp

from macros.marts import HISTORY_SCHEMA
from macros.sql import columns_of, statement, table_node, union_all


def history_table(short: str, period: str) -> str:
    """Name of one period's history table of a mart, for example order_tracking_history.hist_uti_2024_h1."""
    return f"{HISTORY_SCHEMA}.hist_{short}_{period}"


def history_view(short: str) -> str:
    """Name of the view over all periods of a mart."""
    return f"{HISTORY_SCHEMA}.hist_{short}_all"


def create_history_table(
    short: str, period: str, columns: t.Mapping[str, exp.DataType], sortkey: t.Sequence[str], redshift: bool
) -> exp.Expr:
    """CREATE TABLE of one period: the mart's columns and `archived_at`, the mart's DISTKEY and SORTKEY."""
    create = statement("CREATE TABLE IF NOT EXISTS history (archived_at TIMESTAMP)", {})
    schema = create.this
    definitions = [exp.ColumnDef(this=exp.to_identifier(name), kind=kind.copy()) for name, kind in columns.items()]
    schema.set("this", table_node(history_table(short, period)))
    schema.set("expressions", [*definitions, *schema.expressions])
    if redshift:
        properties = [
            exp.DistStyleProperty(this=exp.var("KEY")),
            exp.DistKeyProperty(this=exp.to_identifier("order_id")),
            exp.SortKeyProperty(this=[exp.to_identifier(name) for name in sortkey], compound=False),
        ]
        create.set("properties", exp.Properties(expressions=properties))
    return create


def add_missing_columns(
    short: str, history: t.Mapping[str, t.Collection[str]], columns: t.Mapping[str, exp.DataType]
) -> list[exp.Expr]:
    """One ALTER TABLE for each column that the mart has and a history table lacks; Redshift takes one a statement."""
    return [
        exp.Alter(
            this=table_node(history_table(short, period)),
            kind="TABLE",
            actions=[exp.ColumnDef(this=exp.to_identifier(name), kind=kind.copy())],
        )
        for period, held in sorted(history.items())
        for name, kind in columns.items()
        if name not in held
    ]


def create_history_view(
    short: str, periods: t.Collection[str], columns: t.Mapping[str, exp.DataType], redshift: bool
) -> exp.Expr:
    """CREATE VIEW over all periods, with the period's name first; without any period: no rows.

    Redshift replaces a view only by one with the same columns and types, so there an old one is dropped first.
    """
    names = [*columns, "archived_at"]
    period_type = exp.DataType.build("VARCHAR(7)")
    if periods:
        query = union_all(
            [
                exp.select(exp.cast(exp.Literal.string(period), period_type).as_("period"), *columns_of(names)).from_(
                    table_node(history_table(short, period))
                )
                for period in sorted(periods)
            ]
        )
    else:
        kinds = {"period": period_type, **columns, "archived_at": exp.DataType.build("TIMESTAMP")}
        query = exp.select(*(exp.cast(exp.null(), kind.copy()).as_(name) for name, kind in kinds.items())).where(
            exp.false()
        )
    create = exp.Create(this=table_node(history_view(short)), kind="VIEW", replace=not redshift, expression=query)
    if redshift:
        # Late binding: the view can be made anew under the views that read it.
        create.set("no_schema_binding", True)
    return create


def drop_history_view(short: str) -> exp.Expr:
    """DROP VIEW IF EXISTS of the view over all periods."""
    return exp.Drop(this=table_node(history_view(short)), kind="VIEW", exists=True)
