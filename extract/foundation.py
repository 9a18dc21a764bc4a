"""The objects that must stand before the first plan: raw tables, the extract's log, history schema, exceptions."""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp

from extract.config import Table
from extract.warehouse import Warehouse
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


def lay_foundation(warehouse: Warehouse, tables: Iterable[Table]) -> None:
    """Creates what is missing and adds columns that external_models.yaml has gained; repeating it changes nothing."""
    held = warehouse.columns_of_schemas((RAW_SCHEMA, HISTORY_SCHEMA))
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
                for name in columns.keys() - held[table.raw]:
                    kind = columns[name].sql("redshift")
                    warehouse.execute(f"ALTER TABLE {table.raw} ADD COLUMN {name} {kind}")
        for own, listed in OWN_TABLES.items():
            if own not in held:
                warehouse.execute(f"CREATE TABLE IF NOT EXISTS {own} ({listed})")
        for table in tables:
            short = str(table.facts["short"])
            if f"{HISTORY_SCHEMA}.hist_{short}_all" not in held:
                # The tables of half-years that stand already, where somebody has dropped the view alone.
                start = f"{HISTORY_SCHEMA}.hist_{short}_"
                periods = {name.removeprefix(start): held[name] for name in held if name.startswith(start)}
                periods = {name: columns for name, columns in periods.items() if is_period(name)}
                columns = {**table.columns, "landed_at": exp.DataType.build("TIMESTAMP")}
                columns = {name: kind for name, kind in columns.items() if all(name in of for of in periods.values())}
                warehouse.execute(create_history_view(short, periods, columns, warehouse.is_redshift))
