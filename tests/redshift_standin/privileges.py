"""Who reads a late-binding view needs USAGE on each schema below it, not only SELECT on the view."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache

import sqlglot
from sqlglot import exp

from .rewrite import short_name


def schemas_below(sql: str, late_views: Mapping[str, str]) -> set[str]:
    """The schemas that the late-binding views of a statement read, and those of the views below them."""
    schemas: set[str] = set()
    views = {_short(name): text for name, text in late_views.items()}
    seen: set[str] = set()
    waiting = [name for name in _tables(sql) if name in views]
    while waiting:
        view = waiting.pop()
        if view in seen:
            continue
        seen.add(view)
        below = _tables(views[view])
        schemas |= {name.split(".")[0] for name in below if "." in name}
        waiting += [name for name in below if name in views]
    return schemas


@lru_cache(maxsize=1024)
def _tables(sql: str) -> tuple[str, ...]:
    """The tables and views that a statement names, as schema.name in lower case; a view's own name is none."""
    logger = logging.getLogger("sqlglot")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        tree = sqlglot.parse_one(sql, dialect="redshift")
    except sqlglot.errors.SqlglotError:
        return ()
    finally:
        logger.setLevel(level)
    if isinstance(tree, exp.Create) and tree.kind == "VIEW":
        tree = tree.expression
    return tuple(_short(f"{table.db}.{table.name}") for table in tree.find_all(exp.Table) if table.db)


def _short(name: str) -> str:
    """As PostgreSQL knows it: names longer than it allows are shortened everywhere but in what the client wrote."""
    return ".".join(short_name(part.lower()) for part in name.split("."))
