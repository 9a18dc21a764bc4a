"""The objects that must stand before the first plan: raw tables, the extract's log, history schema, exceptions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from sqlglot import exp

from extract.ownership import Foreign, foreign_models, foreign_tables, refuse_foreign, shown_models
from extract.settings import PROJECT
from extract.tables import Table
from extract.warehouse import Standing, Warehouse
from macros.exceptions import EXCEPTIONS
from macros.history import create_history_view
from macros.marts import HISTORY_SCHEMA, RAW_SCHEMA
from macros.periods import is_period

EXTRACT_LOG = f"{RAW_SCHEMA}.extract_log"
REJECTED_ROWS = f"{RAW_SCHEMA}.rejected_rows"

OWN_TABLES = {
    EXTRACT_LOG: """
        table_name VARCHAR(127), kind VARCHAR(16), cutoff BIGINT, watermark BIGINT, watermark_id BIGINT,
        rows_read BIGINT, rows_landed BIGINT, rows_rejected BIGINT, bytes BIGINT, landed_at TIMESTAMP,
        started_at TIMESTAMP, finished_at TIMESTAMP, error VARCHAR(4096)""",
    REJECTED_ROWS: """
        table_name VARCHAR(127), order_id BIGINT, reason VARCHAR(256), payload VARCHAR(65535),
        rejected_at TIMESTAMP""",
    EXCEPTIONS: """
        check_name VARCHAR(64), table_name VARCHAR(127), order_id BIGINT, detail VARCHAR(4096),
        first_seen_at TIMESTAMP, last_seen_at TIMESTAMP, times_seen INTEGER,
        resolved_at TIMESTAMP, resolution VARCHAR(4096)""",
}


def lay_foundation(warehouse: Warehouse, tables: Iterable[Table], held: Mapping[str, Standing] | None = None) -> None:
    """Creates what is missing and adds columns that external_models.yaml has gained; repeating it changes nothing.

    Args:
        held: What stands, where the caller has read it already (`objects_of_schemas`).

    Raises NameTaken, before it makes anything, where an object that is not this project's stands in the way.
    """
    tables = tuple(tables)
    if held is None:
        held = warehouse.objects_of_schemas((RAW_SCHEMA, HISTORY_SCHEMA))
    refuse_foreign(foreign_tables(held, tables, OWN_TABLES))
    with warehouse.transaction():
        for schema in (RAW_SCHEMA, HISTORY_SCHEMA):
            if not any(name.startswith(f"{schema}.") for name in held):  # else it needs no right to create one
                warehouse.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        for table in tables:
            columns = {**table.columns, "landed_at": exp.DataType.build("TIMESTAMP")}
            if table.raw not in held:
                listed = ", ".join(f"{name} {kind.sql('redshift')}" for name, kind in columns.items())
                physical = " DISTSTYLE KEY DISTKEY(order_id) SORTKEY(landed_at)" if warehouse.is_redshift else ""
                warehouse.execute(f"CREATE TABLE IF NOT EXISTS {table.raw} ({listed}){physical}")
            else:
                for name in columns.keys() - held[table.raw].columns.keys():
                    kind = columns[name].sql("redshift")
                    warehouse.execute(f"ALTER TABLE {table.raw} ADD COLUMN {name} {kind}")
        for own, listed in OWN_TABLES.items():
            if own not in held:
                warehouse.execute(f"CREATE TABLE IF NOT EXISTS {own} ({listed})")
        for table in tables:
            short = table.mart.alias
            if f"{HISTORY_SCHEMA}.hist_{short}_all" not in held:
                # The tables of half-years that stand already, where somebody has dropped the view alone.
                start = f"{HISTORY_SCHEMA}.hist_{short}_"
                periods = {name.removeprefix(start): held[name].columns for name in held if name.startswith(start)}
                periods = {name: columns for name, columns in periods.items() if is_period(name)}
                columns = {**table.columns, "landed_at": exp.DataType.build("TIMESTAMP")}
                columns = {name: kind for name, kind in columns.items() if all(name in of for of in periods.values())}
                warehouse.execute(create_history_view(short, periods, columns, warehouse.is_redshift))


def look_before_plan(
    warehouse: Warehouse, tables: Iterable[Table], environment: str = "prod", project: Path = PROJECT
) -> tuple[dict[str, Standing], list[Foreign]]:
    """What stands in the schemas of the project and of an environment, and what of it a plan must not replace."""
    shown = shown_models(environment, project)
    schemas = {RAW_SCHEMA, HISTORY_SCHEMA, *(name.split(".")[0] for name in shown)}
    held = warehouse.objects_of_schemas(sorted(schemas))
    return held, [*foreign_models(held, environment, project), *foreign_tables(held, tables, OWN_TABLES)]
