"""Finds the literals that a query projects without a cast: their type is `unknown` on Redshift.

Where a column of that type meets a UNION, a DISTINCT, an INSERT or another column, the statement fails ("failed to find
conversion function from unknown to text"). Some of what is refused here would work; a cast works everywhere.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

# Literals that have no type of their own, beside strings.
_UNTYPED = (exp.Null, exp.National, exp.ByteString, exp.RawString)
# What has the type of the one expression that it holds.
_WRAPPERS = (exp.Alias, exp.Paren, exp.Collate, exp.Window, exp.IgnoreNulls, exp.RespectNulls)
_WRAPPERS += (exp.Min, exp.Max, exp.AnyValue, exp.FirstValue, exp.LastValue, exp.NthValue, exp.Lag, exp.Lead)
# What has the type that its values agree on. (Two strings side by side are one literal: sqlglot calls it Concat.)
_CHOICES: dict[type[exp.Expression], Callable[[exp.Expression], list[exp.Expression | None]]] = {
    exp.Case: lambda case: [*(when.args["true"] for when in case.args["ifs"]), case.args.get("default")],
    exp.If: lambda choice: [choice.args["true"], choice.args.get("false")],
    exp.Nvl2: lambda choice: [choice.args["true"], choice.args.get("false")],
    exp.DecodeCase: lambda decode: _results_of_decode(decode.expressions),
    exp.Nullif: lambda choice: [choice.this],
    exp.Coalesce: lambda choice: [choice.this, *choice.expressions],
    exp.Greatest: lambda choice: [choice.this, *choice.expressions],
    exp.Least: lambda choice: [choice.this, *choice.expressions],
    exp.Concat: lambda strings: list(strings.expressions),
}


def untyped_literals(tree: exp.Expression, *, to_client: bool) -> list[str]:
    """One line when a query in the tree projects a bare literal, [] when none does.

    Args:
        to_client: The rows of the outermost query go to the client, who takes a literal as it is.
    """
    outermost = tree.unnest() if to_client else None
    for select in tree.find_all(exp.Select):
        plain = select is outermost and not select.args.get("distinct") and not select.args.get("into")
        if not plain and not isinstance(select.parent, exp.Exists) and any(map(_is_untyped, select.expressions)):
            return ["untyped-literal: a projected string or NULL has no type; cast it, 'x'::VARCHAR(16)"]
    return []


def _is_untyped(node: exp.Expression | None) -> bool:
    """Is there nothing in the expression that says its type?"""
    if node is None or isinstance(node, _UNTYPED):
        return True
    if isinstance(node, exp.Literal):
        return bool(node.is_string)
    if isinstance(node, _WRAPPERS):
        return _is_untyped(node.this)
    values = _CHOICES.get(type(node))
    return values is not None and all(map(_is_untyped, values(node)))


def _results_of_decode(parts: list[exp.Expression]) -> list[exp.Expression | None]:
    """DECODE(value, search, result, …, default): the results and, where there is one, the default."""
    return [*parts[2::2], *(parts[-1:] if len(parts) % 2 == 0 else [])]
