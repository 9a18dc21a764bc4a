"""Turns a Redshift statement into what PostgreSQL understands, by editing tokens; the rest stays as it was.

What PostgreSQL has no place for (DISTKEY, SORTKEY, NO SCHEMA BINDING …) is cut out and handed back in `Plan`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

from .lexer import Token, bare, closing, qualified_name, tokens, without_head

POSTGRES_NAME_BYTES = 63
_SETTINGS = {"query_group", "wlm_query_slot_count", "enable_result_cache_for_session"}
_SETTINGS |= {"enable_case_sensitive_identifier", "analyze_threshold_percent", "statement_timeout_action"}
_DATE_FUNCTIONS = {"DATEADD", "DATEDIFF", "DATE_DIFF", "DATE_ADD", "DATE_PART"}
_LONG_NAME = re.compile(r"[A-Za-z_][\w$]*")


@dataclass(frozen=True)
class Properties:
    """How a table is laid out: distribution style, distribution column, sort columns, all in lower case."""

    diststyle: str | None = None
    distkey: str | None = None
    sortkey: tuple[str, ...] = ()


@dataclass
class Plan:
    """What to do with one statement.

    kind: `query` (send `sql`), `create_table`, `create_view`, `release` (late-binding views over `table` must
    give way first), `drop_schema`, `vacuum`, `analyze`, `transfer` (COPY or UNLOAD).
    `shortened`: long name → short name.
    """

    kind: str
    sql: str
    table: str = ""
    properties: Properties = Properties()
    like: str = ""
    late_binding: bool = False
    dropped_column: str = ""
    drops_view: bool = False
    shortened: dict[str, str] = field(default_factory=dict)


class _Edit:
    """Collects replacements of token ranges and applies them from the back."""

    def __init__(self, sql: str, items: list[Token]) -> None:
        self.sql, self.items = sql, items
        self.spans: dict[int, tuple[int, str]] = {}

    def put(self, first: int, last: int, text: str = "") -> None:
        """Replace tokens first … last (both included) by a text."""
        self.spans[self.items[first].start] = (self.items[last].end, text)

    def text(self) -> str:
        sql, limit = self.sql, len(self.sql) + 1
        for start in sorted(self.spans, reverse=True):
            end, text = self.spans[start]
            if end <= limit:
                sql, limit = sql[:start] + text + sql[end:], start
        return sql


def plan(sql: str) -> Plan:
    """Read one statement and say what PostgreSQL gets instead."""
    sql = without_head(sql)
    items = tokens(sql)
    text = bare(items)
    if text.startswith(("COPY ", "UNLOAD ")):
        return Plan("transfer", sql)
    edit = _Edit(sql, items)
    made = Plan("query", sql)
    _fold_and_translate(edit, made)
    if re.match(r"CREATE (TEMP |TEMPORARY |LOCAL )*TABLE\b", text):
        _create_table(edit, made)
    elif re.match(r"CREATE (OR REPLACE )?VIEW\b", text):
        _create_view(edit, made)
    elif re.match(r"(ALTER TABLE|DROP TABLE|DROP VIEW)\b", text):
        _alter_or_drop(edit, made, text)
    elif text.startswith("DROP SCHEMA "):
        made.kind = "drop_schema"
        made.table, _ = qualified_name(items, 4 if bare(items[2:4]) == "IF EXISTS" else 2)
    elif text.startswith(("VACUUM", "ANALYZE")):
        _maintenance(edit, made)
    elif items and items[0].upper == "SET" and len(items) > 1 and items[1].value in _SETTINGS:
        edit.put(1, 1, f"standin.{items[1].value}")
    made.sql = edit.text()
    if made.kind in ("vacuum", "analyze"):
        made.sql = f"{made.kind.upper()} {made.table}".strip()
    return made


def short_name(name: str) -> str:
    """PostgreSQL's names end after 63 bytes, Redshift's after 127: a short name that stays unique."""
    if len(name.encode()) <= POSTGRES_NAME_BYTES:
        return name
    return name[:46] + "$$" + hashlib.sha256(name.encode()).hexdigest()[:12]


def _table_name(items: list[Token], at: int) -> tuple[str, int]:
    """schema.table at a token, without the database that SQLMesh puts before it, and where it ends."""
    name, at = qualified_name(items, at)
    return ".".join(name.split(".")[-2:]), at


def _fold_and_translate(edit: _Edit, made: Plan) -> None:
    items = edit.items
    for at, item in enumerate(items):
        following = items[at + 1].raw if at + 1 < len(items) else ""
        if item.is_name or (item.kind == "string" and _LONG_NAME.fullmatch(item.value)):
            short = short_name(item.value)
            if short != item.value:
                made.shortened[item.value] = short
                quote = "'" if item.kind == "string" else '"'
                edit.put(at, at, quote + short + quote)
            elif item.kind == "quoted" and item.raw != item.raw.lower():
                edit.put(at, at, item.raw.lower())
        if item.kind != "word":
            continue
        if item.upper == "SYSDATE":
            edit.put(at, at, "getdate()")
        elif item.upper == "EXTRACT" and following == "(" and bare(items[at + 3 : at + 4]) == "FROM":
            edit.put(at, at, "extracted")
            edit.put(at + 2, at + 3, f"'{items[at + 2].value}',")
        elif item.upper in _DATE_FUNCTIONS and following == "(" and items[at + 2].kind == "word":
            edit.put(at + 2, at + 2, f"'{items[at + 2].value}'")
        elif item.upper in ("VARCHAR", "NVARCHAR") and following == "(" and items[at + 2].upper == "MAX":
            edit.put(at + 2, at + 2, "65535")


def _create_table(edit: _Edit, made: Plan) -> None:
    """Cut the physical properties out of CREATE TABLE, of its columns and of what follows them."""
    items = edit.items
    at = next(i for i, item in enumerate(items) if item.upper == "TABLE") + 1
    if bare(items[at : at + 3]) == "IF NOT EXISTS":
        at += 3
    made.kind = "create_table"
    made.table, at = _table_name(items, at)
    style = key = None
    sort: tuple[str, ...] = ()
    if at < len(items) and items[at].raw == "(":
        end = closing(items, at)
        if items[at + 1].upper == "LIKE":
            made.like, _ = _table_name(items, at + 2)
        else:
            key, sort = _column_attributes(edit, at, end)
        at = end + 1
    while at < len(items) and items[at].upper != "AS":
        word, first = items[at].upper, at
        if word in ("COMPOUND", "INTERLEAVED"):
            at, word = at + 1, "SORTKEY"
        if word in ("DISTSTYLE", "BACKUP", "ENCODE"):
            at += 1
            style = items[at].value if word == "DISTSTYLE" else style
        elif word in ("DISTKEY", "SORTKEY"):
            at += 1
            end = closing(items, at)
            names = tuple(item.value for item in items[at:end] if item.is_name)
            key, sort = (names[0], sort) if word == "DISTKEY" else (key, names)
            at = end
        else:
            at += 1
            continue
        edit.put(first, at)
        at += 1
    if key and style is None:
        style = "key"
    made.properties = Properties(style, key, sort)


def _column_attributes(edit: _Edit, opened: int, closed: int) -> tuple[str | None, tuple[str, ...]]:
    """Cut DISTKEY, SORTKEY and ENCODE of single columns; a bare VARCHAR becomes VARCHAR(256)."""
    items, depth, column = edit.items, 0, opened + 1
    key: str | None = None
    sort: list[str] = []
    for at in range(opened + 1, closed):
        item = items[at]
        depth += {"(": 1, ")": -1}.get(item.raw, 0)
        if item.raw == "," and depth == 0:
            column = at + 1
        elif at == column or depth:
            continue
        elif item.upper == "DISTKEY":
            key = items[column].value
            edit.put(at, at)
        elif item.upper == "SORTKEY":
            sort.append(items[column].value)
            edit.put(at, at)
        elif item.upper == "ENCODE":
            edit.put(at, at + 1)
        elif item.upper == "IDENTITY":
            edit.put(at, closing(items, at + 1), "GENERATED BY DEFAULT AS IDENTITY")
        elif at == column + 1:
            _default_length(edit, at)
    return key, tuple(sort)


def _default_length(edit: _Edit, at: int) -> None:
    """VARCHAR and TEXT without a length mean VARCHAR(256) in a column definition."""
    items = edit.items
    last = at + 1 if bare(items[at : at + 2]) == "CHARACTER VARYING" else at
    if items[at].upper not in ("VARCHAR", "NVARCHAR", "TEXT") and last == at:
        return
    if items[at].upper == "NVARCHAR":
        edit.put(at, at, "VARCHAR")
    if last + 1 >= len(items) or items[last + 1].raw != "(":
        edit.put(at, last, "VARCHAR(256)")


def _create_view(edit: _Edit, made: Plan) -> None:
    items = edit.items
    at = next(i for i, item in enumerate(items) if item.upper == "VIEW") + 1
    made.kind = "create_view"
    made.table, _ = _table_name(items, at)
    if bare(items[-4:]) == "WITH NO SCHEMA BINDING":
        made.late_binding = True
        edit.put(len(items) - 4, len(items) - 1)


def _alter_or_drop(edit: _Edit, made: Plan, text: str) -> None:
    """Statements that PostgreSQL refuses or follows while a view stands on the table."""
    items = edit.items
    at = 4 if bare(items[2:4]) == "IF EXISTS" else 2
    made.table, at = _table_name(items, at)
    rest = bare(items[at:])
    if text.startswith("DROP") or re.match(r"RENAME|DROP|ALTER|ADD", rest):
        made.kind = "release"
        made.drops_view = text.startswith("DROP VIEW")
    if match := re.match(r"DROP (COLUMN )?", rest):
        made.dropped_column = items[at + (2 if match.group(1) else 1)].value
    if re.match(r"ADD ", rest):
        _default_length(edit, at + (3 if items[at + 1].upper == "COLUMN" else 2))
        for index in range(at, len(items) - 1):
            if items[index].upper == "ENCODE":
                edit.put(index, index + 1)


def _maintenance(edit: _Edit, made: Plan) -> None:
    """VACUUM [FULL | SORT ONLY | DELETE ONLY | REINDEX] [t] [TO n PERCENT] [BOOST]; ANALYZE [t] …"""
    items = edit.items
    made.kind = items[0].value
    noise = {"FULL", "SORT", "DELETE", "ONLY", "REINDEX", "RECLUSTER", "VERBOSE", "BOOST", "TO"}
    at = 1
    while at < len(items) and items[at].upper in noise:
        at += 1
    if at < len(items) and items[at].is_name:
        made.table, _ = _table_name(items, at)
        made.table = ".".join(f'"{short_name(part)}"' for part in made.table.split("."))
