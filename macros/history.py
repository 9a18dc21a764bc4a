"""The history tables and views: plain objects in their own schema, made ahead by plan, extract and cycle."""

from __future__ import annotations

import re
import typing as t

from sqlglot import exp

from macros.marts import HISTORY_SCHEMA
from macros.ownership import plain
from macros.periods import is_period
from macros.sql import columns_of, table_node, union_all


def history_table(alias: str, period: str) -> str:
    """Name of one period's history table of a mart, for example order_tracking_history.hist_uti_2024_h1."""
    return f"{HISTORY_SCHEMA}.hist_{alias}_{period}"


def history_period(name: str, alias: str) -> str | None:
    """The half-year of which this is a mart's history table; None for any other name.

    Example:
        >>> history_period("order_tracking_history.hist_uti_2024_h1", "uti")
        '2024_h1'
    """
    before, found, period = name.rpartition(history_table(alias, ""))
    return period if found and before[-1:] in ("", ".") and is_period(period) else None


def history_view(alias: str) -> str:
    """Name of the view over all periods of a mart."""
    return f"{HISTORY_SCHEMA}.hist_{alias}_all"


def every_period(alias: str, periods: t.Iterable[str], columns: t.Iterable[str]) -> exp.Query:
    """The rows of these history tables of a mart, with the period first."""
    kind = exp.DataType.build("VARCHAR(7)")
    return union_all(
        [
            exp.select(exp.cast(exp.Literal.string(period), kind).as_("period"), *columns_of(columns)).from_(
                table_node(history_table(alias, period))
            )
            for period in sorted(periods)
        ]
    )


def create_table(
    name: str, columns: t.Mapping[str, exp.DataType], sortkey: t.Sequence[str], redshift: bool
) -> exp.Expr:
    """CREATE TABLE of a raw or history table; on Redshift with DISTKEY(order_id), as its mart, and this SORTKEY."""
    definitions = [exp.ColumnDef(this=exp.to_identifier(column), kind=kind.copy()) for column, kind in columns.items()]
    create = exp.Create(this=exp.Schema(this=table_node(name), expressions=definitions), kind="TABLE", exists=True)
    if redshift:
        properties = [
            exp.DistStyleProperty(this=exp.var("KEY")),
            exp.DistKeyProperty(this=exp.to_identifier("order_id")),
            exp.SortKeyProperty(this=[exp.to_identifier(column) for column in sortkey], compound=False),
        ]
        create.set("properties", exp.Properties(expressions=properties))
    return create


def add_column(table: str, column: str, kind: exp.DataType) -> exp.Expr:
    """ALTER TABLE … ADD COLUMN of one column; Redshift takes one a statement."""
    added = exp.ColumnDef(this=exp.to_identifier(column), kind=kind.copy())
    return exp.Alter(this=table_node(table), kind="TABLE", actions=[added])


def shown_periods(definition: str, alias: str) -> set[str]:
    """The half-years of a mart that a view of this definition shows."""
    words = re.findall(r"[\w.]+", plain(definition))
    return {period for word in words if (period := history_period(word, alias))}


def shows_periods(definition: str, alias: str, periods: t.Collection[str]) -> bool:
    """Whether a view of this definition shows these half-years of a mart and no others."""
    return shown_periods(definition, alias) == {*periods}


def shows_columns(definition: str, columns: t.Iterable[str]) -> bool:
    """Whether a view of this definition has these columns."""
    text = plain(definition)
    return all(re.search(rf"\b{name}\b", text) for name in columns)


def renew_history_view(
    alias: str, periods: t.Sequence[str], columns: t.Mapping[str, exp.DataType], redshift: bool
) -> exp.Expr:
    """The view over all half-years, made anew, with the half-year's name first; without any half-year: no rows.

    Replaced, not dropped: rights on it stay, and so does what others have built upon it. Redshift replaces a view only
    by one with the same columns and types: `drop_history_view` first where they change.
    """
    if periods:
        query = every_period(alias, periods, columns)
    else:
        kinds = {"period": exp.DataType.build("VARCHAR(7)"), **columns}
        nothing = [exp.cast(exp.null(), kind.copy()).as_(name) for name, kind in kinds.items()]
        query = exp.select(*nothing).where(exp.false())
    create = exp.Create(this=table_node(history_view(alias)), kind="VIEW", replace=True, expression=query)
    if redshift:
        create.set("no_schema_binding", True)  # late binding: a table below can be changed or dropped
    return create


def drop_history_view(alias: str) -> exp.Expr:
    """DROP VIEW; an error where a bound view of somebody else's stands on it."""
    return exp.Drop(this=table_node(history_view(alias)), kind="VIEW", exists=True)
