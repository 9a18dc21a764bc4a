"""The tables of a bench's source and warehouse."""

from __future__ import annotations

import duckdb

from bench.source_tables import SOURCE_TABLES

UTI = "uni_tracking_info (order_id, tno, status, update_time)"
ECS = "ecs_order_info (order_id, partner_id, add_time)"
SPATH = "uni_tracking_spath (order_id, pathTime, code, traceSeq)"
"""What a bench writes of each table."""


def mart_tables(warehouse: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """The marts' physical tables, by the source's name."""
    query = """SELECT schema_name || '.' || table_name FROM duckdb_tables()
        WHERE schema_name = 'sqlmesh__order_tracking' AND table_name LIKE 'order_tracking__mart_' || ? || '__%'"""
    return {name: warehouse.execute(query, [name]).fetchall()[0][0] for name in SOURCE_TABLES}
