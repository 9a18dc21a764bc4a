"""The columns of a mart, taken from external_models.yaml: the one place in which a column is listed."""

from __future__ import annotations

from sqlglot import exp
from sqlmesh import macro
from sqlmesh.utils.errors import SQLMeshError

from macros.marts import mart_of


def columns_with_types(evaluator, alias: str) -> dict[str, exp.DataType]:  # type: ignore[no-untyped-def]
    """Column -> type of a mart, in the order of external_models.yaml: of its raw table or, downstream, of itself."""
    mart = mart_of(alias)
    try:
        found = evaluator.columns_to_types(mart.raw)
    except SQLMeshError:
        found = evaluator.columns_to_types(mart.name)
    return {name: kind.copy() for name, kind in found.items()}


@macro()
def raw_columns(evaluator, mart: exp.Column, table: exp.Column | None = None):  # type: ignore[no-untyped-def]
    """Every column of a mart, qualified with a table's alias where one is given."""
    return [exp.column(name, table.name if table else None) for name in columns_with_types(evaluator, mart.name)]


@macro()
def typed_columns(evaluator, mart: exp.Column, table: exp.Column, *names: exp.Column):  # type: ignore[no-untyped-def]
    """A mart's columns (or those named), cast to the type that external_models.yaml gives: a last projection."""
    kinds = columns_with_types(evaluator, mart.name)
    unknown = exp.DataType.build("unknown")
    wanted = [column.name for column in names] or list(kinds)
    return [exp.cast(exp.column(name, table.name), kinds.get(name, unknown)).as_(name) for name in wanted]


@macro()
def no_values(evaluator, mart: exp.Column, *names: exp.Column):  # type: ignore[no-untyped-def]
    """NULL for each of these columns of a mart, with its type: for the side of a UNION that lacks them."""
    kinds = columns_with_types(evaluator, mart.name)
    unknown = exp.DataType.build("unknown")
    return [exp.cast(exp.null(), kinds.get(column.name, unknown)).as_(column.name) for column in names]
