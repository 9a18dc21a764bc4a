"""The source's tables, as every source that is made here has them: simulated, replayed, a test's or a bench's.

Columns that external_models.yaml lists beyond those that the design needs come along, with invented values.
"""

from __future__ import annotations

from sqlglot import exp

from extract.tables import load_config

UTI, ECS, SPATH = "uni_tracking_info", "ecs_order_info", "uni_tracking_spath"

NEEDED = {
    UTI: "order_id BIGINT, tno VARCHAR(64), status INT, update_time BIGINT",
    ECS: "order_id BIGINT, partner_id INT, add_time BIGINT",
    SPATH: "order_id BIGINT, pathTime BIGINT, code INT, traceSeq INT",
}
"""Table -> the columns that the design needs, for DuckDB and MySQL alike."""

MYSQL_KEYS = {
    UTI: "PRIMARY KEY (order_id)",
    ECS: "PRIMARY KEY (order_id)",
    SPATH: "id BIGINT AUTO_INCREMENT PRIMARY KEY",
}


def _invented() -> dict[str, dict[str, exp.DataType]]:
    """Table -> its other columns, with the types that external_models.yaml gives them."""
    needed = {table: {part.split()[0].lower() for part in columns.split(", ")} for table, columns in NEEDED.items()}
    return {
        table.name: {name: kind for name, kind in table.columns.items() if name not in needed[table.name]}
        for table in load_config().tables
    }


def _source_type(kind: exp.DataType) -> str:
    """A type for DuckDB and MySQL alike; MySQL's TIMESTAMP would set itself."""
    return {"TIMESTAMP": "DATETIME", "DOUBLE": "DOUBLE"}.get(kind.this.value, kind.sql("redshift"))


INVENTED = _invented()

SOURCE_TABLES = {
    table: ", ".join([columns, *(f"{name} {_source_type(kind)}" for name, kind in INVENTED[table].items())])
    for table, columns in NEEDED.items()
}
"""Table -> its columns, for DuckDB and MySQL alike."""


def invented_values(table: str) -> str:
    """The invented columns as projections in DuckDB's SQL, each with a comma before it; the same each time."""
    return "".join(f", {_value(kind)} AS {name}" for name, kind in INVENTED[table].items())


def _value(kind: exp.DataType) -> str:
    """A value of a type, made of the order's number."""
    name = kind.this.value
    if name == "VARCHAR":
        return f"LEFT(CAST(order_id AS VARCHAR), {kind.expressions[0].name})"
    if name == "DATE":
        return "DATE '2025-01-01' + CAST(order_id % 365 AS INTEGER)"
    if name == "TIMESTAMP":
        return "TIMESTAMP '2025-01-01' + order_id % 86400 * INTERVAL '1 second'"
    if name == "BOOLEAN":
        return "order_id % 2 = 0"
    return f"CAST(order_id % 10 AS {kind.sql('duckdb')})"
