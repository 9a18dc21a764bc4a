"""Says what Redshift would refuse in a statement that PostgreSQL or DuckDB accept.

`refusals` gives one line per broken rule: the rule's name and how to mend the statement. The stand-in asks it
about every statement that passes; tests ask it about the SQL that the project renders. What needs the tree is
in `TREE_RULES`, what shows in the text is in `TEXT_RULES`, correlated subqueries have `correlation.py`, literals
without a type `literals.py`, and COPY and UNLOAD `transfer_rules.py`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any

import sqlglot
from sqlglot import exp

from .correlation import broken_correlations
from .lexer import bare, statements, tokens
from .literals import untyped_literals
from .transfer_rules import broken_transfer

MAX_NAME_BYTES = 127
MAX_VARCHAR_BYTES = 65535

# Rule name → (pattern over the bare text, how to mend). Bare text: capitals, one blank between tokens.
TEXT_RULES: dict[str, tuple[str, str]] = {
    "merge": (r"^MERGE\b", "write a DELETE … USING and an INSERT in one transaction"),
    "truncate": (r"^TRUNCATE\b", "TRUNCATE commits the transaction; write DELETE FROM"),
    "delete-without-from": (r"^DELETE (?!FROM\b)", "write DELETE FROM"),
    "on-conflict": (r"\bON (CONFLICT|DUPLICATE KEY)\b", "DELETE the keys first, then INSERT"),
    "returning": (r"\bRETURNING\b", "read the rows with a SELECT in the same transaction"),
    "lateral": (r"\bLATERAL\b", "join a derived table or rank with a window function"),
    "filter": (r"\) FILTER \( WHERE\b", "write the condition as CASE WHEN inside the aggregate"),
    "distinct-on": (r"\bDISTINCT ON \(", "rank with ROW_NUMBER() and keep the first"),
    "is-distinct-from": (
        r"\bDISTINCT FROM\b|<=>",
        "compare with = and handle NULL on both sides, or compare COALESCE(…)",
    ),
    "index": (r"^(CREATE (UNIQUE )?INDEX|DROP INDEX|REINDEX)\b", "there are no indexes: choose a SORTKEY"),
    "check": (r"(^CREATE (\w+ )*TABLE|^ALTER TABLE)\b.*\bCHECK \(", "check in an audit, not in the table"),
    "keys": (
        r"(^CREATE (\w+ )*TABLE|^ALTER TABLE)\b.*\b(PRIMARY KEY|UNIQUE|FOREIGN KEY|REFERENCES)\b",
        "keys are not enforced but trusted by the planner: leave the declaration out",
    ),
    "sequence": (
        r"^(CREATE|ALTER|DROP) SEQUENCE\b|\b(NEXTVAL|CURRVAL|SETVAL|LASTVAL) \(|\b(SMALL|BIG)?SERIAL\b",
        "there are no sequences: use keys of the source or an IDENTITY column",
    ),
    "type": (
        r"^(CREATE (\w+ )*TABLE|ALTER TABLE) .*?([(,] |\bADD (COLUMN )?+)\S+ "
        r"(JSONB?|UUID|HSTORE|BYTEA|XML|INET|CIDR|MONEY|TSVECTOR)\b|\[ \]|\bARRAY \[",
        "no such type: use VARCHAR (or SUPER)",
    ),
    "function": (
        r"\b(GENERATE_SERIES|STRING_AGG|ARRAY_AGG|CLOCK_TIMESTAMP|STATEMENT_TIMESTAMP|TRANSACTION_TIMESTAMP|UNNEST"
        r"|PG_(TRY_)?ADVISORY\w*|PG_SLEEP|JSONB?_(AGG|BUILD_\w+|OBJECT\w*|EACH|ARRAY_ELEMENTS)|ROW_TO_JSON|TO_JSONB?"
        r"|GEN_RANDOM_UUID|REGEXP_MATCHES|REGEXP_SPLIT_TO_\w+|STRING_TO_ARRAY|ARRAY_TO_STRING|MAKE_(DATE|TIMESTAMP"
        r"|INTERVAL|TIME)|TO_REGCLASS|WIDTH_BUCKET|JUSTIFY_\w+|BOOL_XOR|EVERY|QUOTE_NULLABLE|BIT_LENGTH) \(",
        "no such function: LISTAGG for lists, GETDATE() for the clock, a numbers table for series",
    ),
    "like-including": (
        r"\( LIKE .*\bINCLUDING (?!DEFAULTS\b)",
        "(LIKE t) copies columns, DISTKEY and SORTKEY; leave INCLUDING out",
    ),
    "like-attributes": (
        r"\( LIKE [^()]*\) .*\b(DISTSTYLE|DISTKEY|SORTKEY|BACKUP|ENCODE)\b",
        "(LIKE t) takes no further attributes: it copies them",
    ),
    "create-or-replace-table": (
        r"^CREATE OR REPLACE (\w+ )*TABLE\b",
        "DROP TABLE IF EXISTS, then CREATE TABLE",
    ),
    "create-if-not-exists-as": (
        r"^CREATE (\w+ )*TABLE IF NOT EXISTS \S+( \. \S+)*( DIST\w+( \w+)?| \w*SORTKEY| \([^()]*\))* AS\b",
        "ask svv_columns whether the table is there, then CREATE TABLE … AS",
    ),
    "add-column-if-not-exists": (
        r"^ALTER TABLE .*\b(ADD|DROP)( COLUMN)? IF (NOT )?EXISTS\b",
        "ask svv_columns for the column first",
    ),
    "alter-several": (
        r"^ALTER TABLE .*\b(ADD|DROP|ALTER) .*, (ADD|DROP|ALTER)\b",
        "one ALTER TABLE statement per column",
    ),
    "alter-column-type": (
        r"^ALTER TABLE .*\bALTER (COLUMN )?\S+ (SET DATA )?TYPE (?!VARCHAR|CHARACTER VARYING|NVARCHAR)",
        "only VARCHAR can be widened: add a column, copy, rename",
    ),
    "add-not-null": (
        r"^ALTER TABLE .*\bADD (COLUMN )?(?!.*\bDEFAULT\b).*\bNOT NULL\b",
        "a new NOT NULL column wants a DEFAULT",
    ),
    "alter-column": (
        r"^ALTER TABLE .*\bALTER (COLUMN )?\S+ (SET|DROP) (NOT NULL|DEFAULT|STATISTICS|STORAGE)\b",
        "NOT NULL and DEFAULT are for life: add a column, copy, rename",
    ),
    "values": (r"^VALUES \(", "write SELECT … UNION ALL SELECT …"),
    "select-clause": (
        r"\b(FOR (NO KEY )?UPDATE|FOR (KEY )?SHARE|TABLESAMPLE|FETCH (FIRST|NEXT) (\d+ )?ROWS? ONLY)\b",
        "no such clause: LOCK the table; LIMIT",
    ),
    "partition": (
        r"^CREATE (\w+ )*TABLE .*\) (PARTITION BY (RANGE|LIST|HASH)|INHERITS) \(|^CREATE UNLOGGED\b",
        "tables are not partitioned: choose a SORTKEY, or one table a period",
    ),
    "savepoint": (
        r"^(SAVEPOINT|RELEASE|ROLLBACK TO)\b",
        "there are no savepoints: make the transaction smaller",
    ),
    "do-block": (r"^DO\b", "send the statements one by one"),
    "trigger": (r"^(CREATE|DROP) (\w+ )*(TRIGGER|RULE|DOMAIN|EXTENSION)\b", "not there on Redshift"),
}
# Refused only inside a transaction.
TRANSACTION_RULES: dict[str, tuple[str, str]] = {
    "vacuum-in-transaction": (r"^VACUUM\b", "VACUUM on an autocommit connection"),
    "alter-type-in-transaction": (
        r"^ALTER TABLE .*\bALTER (COLUMN )?\S+ (SET DATA )?TYPE\b",
        "widen columns on an autocommit connection",
    ),
    "append-in-transaction": (r"^ALTER TABLE .*\bAPPEND FROM\b", "append on an autocommit connection"),
    "database-in-transaction": (r"^(CREATE|DROP) DATABASE\b", "use an autocommit connection"),
}
_LEADER_FUNCTION = re.compile(
    r"(?<!\. )\b(NOW|CURRENT_SCHEMAS?|HAS_\w+_PRIVILEGE|PG_\w+|ISFINITE|TIMEOFDAY) \("
    r"|(?<!\. )\b(CURRENT_TIMESTAMP|CURRENT_TIME|LOCALTIMESTAMP|LOCALTIME|CURRENT_SCHEMA)\b"
)
_MISSING_TYPES = {
    exp.DataType.Type[name] for name in ("ARRAY", "JSON", "JSONB", "UUID", "HSTORE", "XML", "MONEY", "INET")
}
_SYSTEM_TABLE = re.compile(r"^(pg_|svv_|svl_|svcs_|stl_|stv_|sys_)")


class RefusedByRedshift(Exception):
    """A statement that Redshift would not take; the message says why and how to mend it."""


def check(sql: str, *, in_transaction: bool = False) -> None:
    """Raise RefusedByRedshift when `refusals` finds anything."""
    if found := refusals(sql, in_transaction=in_transaction):
        raise RefusedByRedshift("; ".join(found) + f"\nin: {sql}")


def refusals(sql: str, *, in_transaction: bool = False) -> list[str]:
    """What Redshift would refuse in the text: "rule: how to mend", one per broken rule, [] when nothing.

    Several statements may be given, semicolons between them; BEGIN and COMMIT among them are followed.
    """
    found: list[str] = []
    for statement in statements(sql):
        text = bare(tokens(statement))
        found += _refusals_of_one(statement)
        if in_transaction:
            found += _matching(TRANSACTION_RULES, text)
        if re.match(r"(BEGIN|START TRANSACTION)\b", text):
            in_transaction = True
        elif re.match(r"(COMMIT|END|ROLLBACK|ABORT)\b", text):
            in_transaction = False
    return list(dict.fromkeys(found))


@lru_cache(maxsize=4096)
def _refusals_of_one(sql: str, *, to_client: bool = True) -> list[str]:
    items = tokens(sql)
    text = bare(items)
    found = _matching(TEXT_RULES, text)
    if any(item.is_name and len(item.value.encode()) > MAX_NAME_BYTES for item in items):
        found.append(f"name-too-long: names have at most {MAX_NAME_BYTES} bytes")
    lengths = re.findall(r"\b(?:VARCHAR|VARYING|NVARCHAR) \( (\d+)", text)
    if any(int(length) > MAX_VARCHAR_BYTES for length in lengths):
        found.append(f"varchar-too-long: VARCHAR counts bytes, at most {MAX_VARCHAR_BYTES}")
    if text.startswith(("COPY ", "UNLOAD ")):
        # The query of an UNLOAD is a statement in a string: it is looked at like any other.
        return found + broken_transfer(sql, items, partial(_refusals_of_one, to_client=False))
    tree = _parse(sql)
    if tree is None:
        if text.startswith(("SELECT ", "WITH ", "INSERT ", "UPDATE ", "DELETE ", "(")):
            found.append("unreadable: sqlglot cannot parse it as Redshift SQL; write it more plainly")
        return found
    catalogs, user_tables = _origins(tree)
    if user_tables and (catalogs or _LEADER_FUNCTION.search(text)):
        found.append(
            "leader-node: functions and catalogs of the leader node do not mix with user tables; "
            "use a literal, or GETDATE()"
        )
    for name, (broken, mend) in TREE_RULES.items():
        if any(broken(node) for node in tree.walk()):
            found.append(f"{name}: {mend}")
    if not (to_client and isinstance(tree, exp.Query) and catalogs and not user_tables):  # SQLMesh asks catalogs so
        found += untyped_literals(tree, to_client=to_client)
    return found + broken_correlations(tree)


def _matching(rules: dict[str, tuple[str, str]], text: str) -> list[str]:
    return [f"{name}: {mend}" for name, (pattern, mend) in rules.items() if re.search(pattern, text)]


def _parse(sql: str) -> Any:
    for item in reversed(tokens(sql)):
        if item.kind == "param":  # sqlglot takes $1,$2 for the begin of a dollar-quoted string
            sql = sql[: item.start] + "NULL" + sql[item.end :]
    logger = logging.getLogger("sqlglot")
    level = logger.level
    logger.setLevel(logging.ERROR)  # "falling back to Command" is what we expect of VACUUM and the like
    try:
        return sqlglot.parse_one(sql, dialect="redshift")
    except sqlglot.errors.SqlglotError:
        return None
    finally:
        logger.setLevel(level)


def _same_table(left: exp.Expression, right: exp.Expression) -> bool:
    if not isinstance(left, exp.Table) or not isinstance(right, exp.Table):
        return False
    same_schema = not left.db or not right.db or left.db.lower() == right.db.lower()
    return left.name.lower() == right.name.lower() and same_schema


def _using_items(delete: exp.Delete) -> Iterator[exp.Expression]:
    for item in delete.args.get("using") or []:
        yield item
        for join in item.args.get("joins") or []:
            yield join.this


def _target_alias(kind: type[exp.Expression]) -> Callable[[exp.Expression], bool]:
    return lambda node: isinstance(node, kind) and isinstance(node.this, exp.Table) and bool(node.this.alias)


def _target_again_in_using(node: exp.Expression) -> bool:
    return isinstance(node, exp.Delete) and any(_same_table(node.this, item) for item in _using_items(node))


def _values_as_table(node: exp.Expression) -> bool:
    return isinstance(node, exp.Values) and not isinstance(node.parent, exp.Insert)


def _not_in_subquery(node: exp.Expression) -> bool:
    """NOT IN and <> ALL over a query; sqlglot writes the first as NOT x IN (SELECT …)."""
    if isinstance(node, exp.Not):
        inner = node.this.unnest()
        return isinstance(inner, exp.In) and bool(inner.args.get("query"))
    return isinstance(node, exp.NEQ) and isinstance(node.expression, exp.All)


def _holds_string(node: exp.Expression) -> bool:
    return any(literal.is_string for literal in node.find_all(exp.Literal))


def _joins_outwards(of: exp.Expression | None) -> bool:
    """LEFT, RIGHT or FULL JOIN among the tables of a FROM themselves, and not within a derived table of it."""
    return isinstance(of, exp.From) and any(join.side for join in of.this.args.get("joins") or [])


def _writes(node: exp.Expression | None) -> bool:
    return isinstance(node, (exp.Insert, exp.Update, exp.Delete, exp.Merge))


# Rule name → (does this node break it?, how to mend).
TREE_RULES: dict[str, tuple[Callable[[exp.Expression], bool], str]] = {
    "delete-target-alias": (
        _target_alias(exp.Delete),
        "name the target table in full, aliases only in USING",
    ),
    "delete-target-in-using": (
        _target_again_in_using,
        "the target must not stand in USING again: stage the keys, or wrap them in a subquery",
    ),
    "update-target-alias": (_target_alias(exp.Update), "name the target in full, aliases only in FROM"),
    "update-from-outer-join": (
        lambda node: isinstance(node, exp.Update) and _joins_outwards(node.args.get("from_")),
        "an UPDATE takes no outer join beside its target: put the join in a derived table",
    ),
    "writing-cte": (
        lambda node: isinstance(node, exp.CTE) and _writes(node.this),
        "a WITH query only reads: write two statements",
    ),
    "nested-with": (
        lambda node: isinstance(node, exp.With) and node.find_ancestor(exp.CTE) is not None,
        "no WITH within the query of a WITH clause: name both side by side, or take the outer one as a derived table",
    ),
    "with-before-insert": (
        lambda node: isinstance(node, exp.Insert) and bool(node.args.get("with_")),
        "write INSERT INTO t (…) WITH … SELECT",
    ),
    "partition-by-string": (
        lambda node: isinstance(node, exp.Window) and any(_holds_string(by) for by in node.args["partition_by"]),
        "PARTITION BY takes no string literal: compute the column in a query below",
    ),
    "not-in-subquery": (_not_in_subquery, "write LEFT JOIN … WHERE key IS NULL or NOT EXISTS"),
    "values-as-table": (_values_as_table, "write SELECT … UNION ALL SELECT …"),
    "type-cast": (
        lambda node: isinstance(node, exp.DataType) and node.this in _MISSING_TYPES,
        "no array, JSON or UUID types: use VARCHAR (or SUPER)",
    ),
}


def _origins(tree: exp.Expression) -> tuple[bool, bool]:
    """Does the statement name the leader node's catalogs, and does it name a user's table?"""
    names = {cte.alias_or_name.lower() for cte in tree.find_all(exp.CTE)}
    system = user = False
    for table in tree.find_all(exp.Table):
        if not table.name or (not table.db and table.name.lower() in names):
            continue
        if table.db.lower() in ("information_schema", "pg_catalog") or _SYSTEM_TABLE.match(table.name.lower()):
            system = True
        else:
            user = True
    return system, user
