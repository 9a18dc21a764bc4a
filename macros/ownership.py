"""What stands in the warehouse, and which views are SQLMesh's own. No SQLMesh here."""

from __future__ import annotations

import re
import typing as t


def objects_query(schemas: t.Iterable[str], redshift: bool) -> str:
    """Every table and view of these schemas, whoever made it: schema, name, kind, definition, and each column's type.

    In the engine's own dialect. On Redshift pg_class knows also what this user may not read, which svv_columns leaves
    out. Of views there are no columns, for a late-binding view has none there.
    """
    listed = ", ".join(f"'{schema}'" for schema in sorted(schemas))
    if redshift:
        return f"""
            SELECT n.nspname, c.relname,
              CAST(CASE WHEN c.relkind = 'r' THEN 'table' WHEN c.relkind = 'm' THEN 'materialized view' ELSE 'view' END
                AS VARCHAR(32)) AS kind,
              CASE WHEN c.relkind <> 'r' THEN pg_get_viewdef(c.oid) END AS definition,
              a.attname, format_type(a.atttypid, a.atttypmod) AS data_type
            FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            LEFT JOIN pg_catalog.pg_attribute AS a
              ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind = 'r'
            WHERE LOWER(n.nspname) IN ({listed}) AND c.relkind IN ('r', 'v', 'm')
            """
    return f"""
        SELECT schema_name, table_name, 'table', NULL, column_name, data_type
        FROM duckdb_tables() JOIN duckdb_columns() USING (database_name, schema_name, table_name)
        WHERE database_name = current_database() AND LOWER(schema_name) IN ({listed})
        UNION ALL
        SELECT schema_name, view_name, 'view', sql, NULL, NULL FROM duckdb_views()
        WHERE database_name = current_database() AND LOWER(schema_name) IN ({listed})
        """


def shows_versioned_table(definition: str, model: str) -> bool:
    """A view of this definition shows the versioned table that SQLMesh made for a model, all of it and nothing else.

    Also where the state is lost, and where the file was copied to another name, which its views do not know. Engines
    keep a definition as it came, or write the columns in place of `*`.

    Example:
        >>> shows_versioned_table("SELECT * FROM f.sqlmesh__s.s__m__12", "s.m")
        True
        >>> shows_versioned_table("SELECT * FROM f.company.orders", "s.m")
        False
    """
    schema, name = model.split(".")
    versioned = rf"sqlmesh__{schema}\.{schema}__{name}__\d+(__\w+)?"
    shape = (
        rf"(create (or replace )?view .*?\bas )?select ((?! from )[\w*., ])+ from (\S+\.)?{versioned}"
        r"( with no schema binding)?"
    )
    return bool(re.fullmatch(shape, plain(definition)))


def plain(definition: str) -> str:
    """A view's definition in lower case, without line breaks, quotation marks (and what needs them) and semicolon."""
    unquoted = re.sub(r'"([^"]*)"', lambda name: re.sub(r"\W", "_", name.group(1)), definition)
    return " ".join(unquoted.lower().split()).removesuffix(";").strip()
