"""The tables of a bench's source and warehouse."""

from __future__ import annotations

import duckdb

SOURCE_TABLES = {
    "uni_tracking_info": "order_id BIGINT, tno VARCHAR, status INTEGER, update_time BIGINT",
    "ecs_order_info": "order_id BIGINT, partner_id INTEGER, add_time BIGINT",
    "uni_tracking_spath": "order_id BIGINT, pathTime BIGINT, code INTEGER, traceSeq INTEGER",
}


def mart_tables(warehouse: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """The marts' physical tables, by the source's name."""
    query = """SELECT schema_name || '.' || table_name FROM duckdb_tables()
        WHERE schema_name = 'sqlmesh__order_tracking' AND table_name LIKE 'order_tracking__mart_' || ? || '__%'"""
    return {name: warehouse.execute(query, [name]).fetchall()[0][0] for name in SOURCE_TABLES}
