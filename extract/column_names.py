"""The names that a column of external_models.yaml may not have; tables.yaml says what the source calls it instead."""

from __future__ import annotations

import re

from sqlglot.dialects.redshift import Redshift

OWN_NAMES = frozenset(
    """
    active_order_id archived_at first_arrival first_created is_held last_created last_status period
    place_of_row rank_of_place recency_rank rejected_because rejected_row row_content source_id
    """.split()  # noqa: SIM905
)
"""What this project's SQL calls a column that it adds to those of a table. Of two columns of one name it would look at
the wrong one, and leave rows out without a word."""

NEED_QUOTES = frozenset(
    """
    all alter and anti any as asc asof at authorization between binary by case check collation concurrently constraint
    create cross current_catalog current_date current_schema current_time current_timestamp current_user current_user_id
    desc describe distinct drop else end except false fetch for freeze from full glob grant group having if ilike in
    inner insert intersect into is isnull join lambda lateral left like localtime localtimestamp minus natural not
    notnull null on only or out outer overlaps partitioned_by pivot pivot_longer pivot_wider positional qualify regexp
    returning revoke right rlike rollback select semi session_user show similar summarize sysdate tablesample then top
    true uncache union unique unpack unpivot user using variadic verbose when where with xor
    """.split()  # noqa: SIM905
)
"""Words that sqlglot or DuckDB does not take for a column's name as they stand."""


RESERVED_ON_REDSHIFT = frozenset(word.strip() for word in Redshift.Generator.RESERVED_KEYWORDS) - {"type"}
"""What a COPY takes only in quotes, which it is not given; `type` it takes."""


def why_unusable(name: str) -> str | None:
    """Why a column may not have this name (in lower case), in words; None where it may.

    Example:
        >>> why_unusable("desc"), why_unusable("description")
        ('a reserved word', None)
    """
    if name in OWN_NAMES:
        return "a name that this project's SQL uses itself"
    if name in NEED_QUOTES or name in RESERVED_ON_REDSHIFT:
        return "a reserved word"
    return None if re.fullmatch(r"[^\W\d]\w*", name) else "no plain name (letters, digits and _)"
