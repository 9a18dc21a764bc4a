"""Whose is what stands under a name that this project would take: nothing is replaced that it did not make.

SQLMesh drops what it finds under the name of a view of its own, and the project's CREATE … IF NOT EXISTS would take any
table for its own. So each object is judged first. A name of a model is ours only as SQLMesh's view of a versioned
table, a history view only as a view over our history tables, and a table by its shape.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sqlglot import exp, parse_one

from extract.errors import NameTaken
from extract.settings import PROJECT
from extract.tables import Table
from extract.warehouse import Standing, Warehouse
from macros.history import history_period, history_view
from macros.marts import MART_SCHEMA, marts
from macros.ownership import plain, shows_versioned_table

Columns = Mapping[str, exp.DataType]

MARKS = {
    "extract_log": ("table_name", "watermark", "rows_landed", "landed_at"),
    "rejected_rows": ("table_name", "reason", "payload", "rejected_at"),
    "order_tracking_exceptions": ("check_name", "first_seen_at", "times_seen", "resolved_at"),
}
"""The columns by which such a table is known to be ours. Others may be lacking: a later version adds them."""

FAMILIES = {
    "integer": "tinyint smallint int2 int integer int4 bigint int8 hugeint utinyint usmallint uinteger ubigint",
    "number": "decimal numeric double float real float4 float8",
    "text": "varchar char character bpchar text nvarchar nchar string",
    "timestamp": "timestamp datetime timestamp_s timestamp_ms timestamp_ns",
}
"""Types of one family stand for each other: widening a column does not make its table another's."""

OF_A_FAMILY = {name: family for family, names in FAMILIES.items() for name in names.split()}


@dataclass(frozen=True)
class Foreign:
    """An object that is not this project's, and by what that is known."""

    object: Standing
    fault: str

    def __str__(self) -> str:
        return f"{self.object.name} is a {self.object.kind}{self.fault}"

    @property
    def rename(self) -> str:
        """The statement that makes room for the project and keeps the object."""
        kind = "VIEW" if self.object.kind == "view" and not self.object.of_redshift else "TABLE"
        return f"ALTER {kind} {self.object.path} RENAME TO {self.object.name.split('.')[-1]}_old"


def refuse_foreign(foreign: Sequence[Foreign]) -> None:
    """Raises NameTaken, which names every foreign object and says how to make room; passes where there is none."""
    if not foreign:
        return
    of_redshift = foreign[0].object.of_redshift
    where = "database (REDSHIFT_DATABASE)" if of_redshift else "file (ORDER_TRACKING_DUCKDB)"
    # Redshift renames no materialized view.
    retyped = any(" has " in each.fault for each in foreign)
    renames = [f"  {each.rename};" for each in foreign if "materialized" not in each.object.kind]
    raise NameTaken(
        "\n".join(
            [
                "This warehouse has objects that this project did not make, under names that the project takes:",
                *(f"  {each}" for each in foreign),
                "Nothing was made, changed or dropped. Rename them, or copy them to another schema and drop them here:",
                *renames,
                *(["Was a type changed in external_models.yaml? Then take that back instead."] if retyped else []),
                f"Or give the project another {where}. See docs/recovery.md, 'A name is taken'.",
            ]
        )
    )


# Models


@cache
def project_models(project: Path = PROJECT) -> tuple[str, ...]:
    """schema.name of every model that SQLMesh shows under its name, as the files in models/ say."""
    names = []
    for file in sorted((project / "models").rglob("*.sql")):
        header = file.read_text(encoding="utf-8").partition("MODEL (")[2]
        name = re.search(r"^\s*name\s+([\w.]+)", header, re.MULTILINE)
        if name and not re.search(r"^\s*kind\s+EMBEDDED\b", header, re.MULTILINE):
            names.append(name.group(1).lower())
    return tuple(names)


def shown_models(environment: str = "prod", project: Path = PROJECT) -> dict[str, str]:
    """The name under which an environment shows a model -> the model's own name."""
    names = {}
    for model in project_models(project):
        schema, name = model.split(".")
        names[f"{schema}.{name}" if environment == "prod" else f"{schema}__{environment}.{name}"] = model
    return names


def foreign_models(
    standing: Mapping[str, Standing], environment: str = "prod", project: Path = PROJECT
) -> list[Foreign]:
    """What a plan of the environment would drop, though SQLMesh did not make it."""
    found = []
    for name, model in shown_models(environment, project).items():
        held = standing.get(name)
        if held is None or is_view_of_sqlmesh(held, model):
            continue
        found.append(Foreign(held, " that SQLMesh did not make" if held.kind == "view" else _instead_of("view")))
    return found


def is_view_of_sqlmesh(held: Standing, model: str) -> bool:
    """It shows the model's versioned table, all of it and nothing else."""
    return held.kind == "view" and shows_versioned_table(held.definition, model)


def table_below(definition: str) -> str | None:
    """The table (schema.name) that SQLMesh's view of this definition shows: it holds the model's rows.

    Example:
        >>> table_below('SELECT * FROM "db"."sqlmesh__order_tracking"."order_tracking__mart_x__12"')
        'sqlmesh__order_tracking.order_tracking__mart_x__12'
    """
    below = re.search(r'(sqlmesh__\w+)"?\."?(\w+)', definition)
    return f"{below[1]}.{below[2]}" if below else None


def production_names(warehouse: Warehouse) -> Mapping[str, str]:
    """Plain name of a mart -> the table (schema.name) that its view reads; {} before the first plan."""
    standing = warehouse.objects_of_schemas([MART_SCHEMA])
    shown = {mart.name: table_below(standing[mart.name].definition) for mart in marts() if mart.name in standing}
    return {name.split(".")[-1]: below for name, below in shown.items() if below}


# Tables, and the views over history


def foreign_tables(
    standing: Mapping[str, Standing], tables: Iterable[Table], own_tables: Mapping[str, str]
) -> list[Foreign]:
    """What stands under a name of raw, history, log, rejected rows or exceptions and is not ours."""
    found: list[Foreign | None] = []
    for table in tables:
        keys = ("order_id", table.time)
        found.append(_judge_table(standing.get(table.raw), table.raw_columns, (*keys, "landed_at"), keys))
        short = table.mart.alias
        for name, held in standing.items():
            if history_period(name, short):
                found.append(_judge_table(held, table.history_columns, (*keys, "archived_at"), keys))
        found.append(_judge_history_view(standing.get(history_view(short)), short))
    for name, listed in own_tables.items():
        columns = columns_of_own(listed)
        found.append(_judge_table(standing.get(name), columns, MARKS.get(name.split(".")[-1], tuple(columns)), ()))
    return [each for each in found if each is not None]


def _judge_table(held: Standing | None, columns: Columns, needed: Sequence[str], keys: Sequence[str]) -> Foreign | None:
    """Not ours: no table, one that lacks a needed column, or one with a column of a type that cannot be meant.

    A column that is not needed may be lacking (it was added to external_models.yaml and is made next), and columns that
    the project does not know may stand there (one that was taken out of the file, or the user's own).
    """
    if held is None:
        return None
    if held.kind != "table":
        return Foreign(held, _instead_of("table"))
    faults = []
    if lacking := [name for name in needed if name not in held.columns]:
        faults.append(f"lacks {', '.join(lacking)}")
    faults += [
        f"has {name} as {held.columns[name].upper()}, not {kind.sql('redshift')}"
        for name, kind in columns.items()
        if name in held.columns and not fits(held.columns[name], kind.this.value, exactly=name in keys)
    ]
    return Foreign(held, f" that {' and '.join(faults)}") if faults else None


def _judge_history_view(held: Standing | None, short: str) -> Foreign | None:
    if held is None:
        return None
    if held.kind != "view":
        return Foreign(held, _instead_of("view"))
    text = plain(held.definition)
    read = re.findall(r"\b(?:from|join) \(*([^\s,();]+)", text)
    # Without any half-year it reads nothing, but has these two columns all the same.
    if all(history_period(table, short) for table in read) and all(
        re.search(rf"\b{name}\b", text) for name in ("period", "archived_at")
    ):
        return None
    return Foreign(held, " that reads something else than the tables of this project's history")


def fits(held: str, wanted: str, *, exactly: bool = False) -> bool:
    """A column of one type can be meant where the other is wanted; `exactly`: whole numbers and others are apart.

    Example:
        >>> fits("character varying(256)", "VARCHAR(64)"), fits("VARCHAR", "BIGINT")
        (True, False)
    """
    families = [family(held), family(wanted)]
    if not exactly:
        families = ["number" if each == "integer" else each for each in families]
    return families[0] == families[1]


@cache
def family(kind: str) -> str:
    """The family of a type, by whichever name an engine calls it; its own name where it has none.

    Example:
        >>> family("timestamp(6) without time zone"), family("NUMERIC(10,2)"), family("timestamp with time zone")
        ('timestamp', 'number', 'timestamp with time zone')
    """
    name = " ".join(re.sub(r"\(.*?\)", " ", kind).lower().split()).removesuffix(" without time zone")
    first = name.split(" ")[0]
    return OF_A_FAMILY.get(name) or (OF_A_FAMILY.get(first, name) if first in ("double", "character") else name)


@cache
def columns_of_own(listed: str) -> dict[str, exp.DataType]:
    """Column -> type, of a table that OWN_TABLES lists (extract/ensure_tables.py)."""
    tree = parse_one(f"CREATE TABLE own ({listed})", dialect="redshift")
    return {column.name: column.kind for column in tree.find_all(exp.ColumnDef) if column.kind is not None}


def _instead_of(kind: str) -> str:
    return f", and the project makes a {kind} there"
