"""What the stand-in remembers: statements seen, physical properties, late-binding views, faults to come."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from .backend import Backend
from .lexer import sql_string, without_head
from .rewrite import Plan, Properties, short_name


@dataclass
class Fault:
    """One planned failure: which statements, what happens, how often it still will."""

    matches: Callable[[str], bool]
    error_code: str
    message: str
    times: int
    drop_connection: bool
    after: bool


@dataclass
class Memory:
    """Shared by all connections of one stand-in."""

    statements: list[str] = field(default_factory=list)
    commits: list[str] = field(default_factory=list)  # each COMMIT, and each write that was a transaction by itself
    faults: list[Fault] = field(default_factory=list)
    late_views: dict[str, str] = field(default_factory=dict)
    long_names: dict[str, str] = field(default_factory=dict)  # short name → the name the client knows
    lock: threading.Lock = field(default_factory=threading.Lock)
    vacuum: threading.Lock = field(default_factory=threading.Lock)  # held while a VACUUM runs, whoever runs it

    def take_fault(self, sql: str) -> Fault | None:
        """The fault planned for this statement, used up by one."""
        text = without_head(sql)
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.matches(text):
                    fault.times -= 1
                    return fault
        return None


def matcher(what: str | re.Pattern[str] | Callable[[str], bool]) -> Callable[[str], bool]:
    """A predicate from a regular expression (searched, case ignored) or a predicate."""
    if callable(what):
        return what
    pattern = re.compile(what, re.IGNORECASE | re.DOTALL) if isinstance(what, str) else what
    return lambda sql: bool(pattern.search(sql))


def sql_name(table: str) -> str:
    """A dotted, folded name as PostgreSQL wants it quoted."""
    return ".".join('"' + short_name(part).replace('"', '""') + '"' for part in table.split("."))


def properties_query(table: str) -> str:
    """The query that reads a table's remembered properties, as JSON."""
    return (
        "SELECT obj_description(reltype, 'pg_type') FROM pg_catalog.pg_class "
        f"WHERE oid = to_regclass({sql_string(sql_name(table))})"
    )


def parse_properties(text: str | None) -> Properties:
    """The properties out of what `properties_query` read."""
    known = json.loads(text or "{}")
    return Properties(known.get("diststyle"), known.get("distkey"), tuple(known.get("sortkey") or ()))


def remember_properties(backend: Backend, plan: Plan) -> None:
    """Keep what a CREATE TABLE said about its table, or what the table that it is LIKE has."""
    text = json.dumps(asdict(plan.properties)) if plan.properties != Properties() else None
    if plan.like:
        text = backend.query(properties_query(plan.like)).value
    if text:
        backend.query(f"COMMENT ON TYPE {sql_name(plan.table)} IS {sql_string(text)}")


_DEPENDENTS = """
WITH RECURSIVE above(oid) AS (
  SELECT to_regclass({table})::oid
  UNION
  SELECT r.ev_class FROM above JOIN pg_catalog.pg_depend d ON d.refobjid = above.oid
    JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid AND d.classid = 'pg_catalog.pg_rewrite'::regclass
)
SELECT n.nspname || '.' || c.relname FROM above JOIN pg_catalog.pg_class c USING (oid)
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid <> to_regclass({table})::oid AND c.relkind = 'v'
"""


def release_views(backend: Backend, memory: Memory, plan: Plan) -> None:
    """Drop the late-binding views over a table that is about to change; on Redshift they do not hold it.

    An ordinary view among them does hold it there as here, so then nothing is dropped and PostgreSQL refuses.
    """
    found = backend.query(_DEPENDENTS.format(table=sql_string(sql_name(plan.table))))
    views = [row[0] or "" for row in found.rows]
    short = {".".join(map(short_name, name.split("."))) for name in memory.late_views}
    if views and all(view in short for view in views):
        backend.query("DROP VIEW IF EXISTS " + ", ".join(map(sql_name, views)) + " CASCADE")


# Not to_regclass: that wants rights on the schema, and fails the client's transaction without them.
_STANDS = """
SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname || '.' || c.relname = {name}
"""


def restore_views(backend: Backend, memory: Memory) -> None:
    """Create again the late-binding views that went with a table, as far as their tables exist (again)."""
    missing = {}
    for name, sql in list(memory.late_views.items()):
        if backend.query(_STANDS.format(name=sql_string(".".join(map(short_name, name.split(".")))))).value is None:
            missing[name] = sql
    progress = True
    while missing and progress:
        progress = False
        for name, sql in list(missing.items()):
            in_transaction = backend.status == b"T"
            if in_transaction:
                backend.query("SAVEPOINT standin_view")
            failed = backend.query(re.sub(r"(?i)\A(\s*CREATE) OR REPLACE", r"\1", sql)).error
            if in_transaction and failed:
                backend.query("ROLLBACK TO SAVEPOINT standin_view")
            if not failed:
                del missing[name]
                progress = True
