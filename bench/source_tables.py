"""The source's tables, as every source that is made here has them: simulated, replayed, a test's or a bench's."""

UTI, ECS, SPATH = "uni_tracking_info", "ecs_order_info", "uni_tracking_spath"

SOURCE_TABLES = {
    UTI: "order_id BIGINT, tno VARCHAR(64), status INT, update_time BIGINT",
    ECS: "order_id BIGINT, partner_id INT, add_time BIGINT",
    SPATH: "order_id BIGINT, pathTime BIGINT, code INT, traceSeq INT",
}
"""Table -> its columns, for DuckDB and MySQL alike."""

MYSQL_KEYS = {
    UTI: "PRIMARY KEY (order_id)",
    ECS: "PRIMARY KEY (order_id)",
    SPATH: "id BIGINT AUTO_INCREMENT PRIMARY KEY",
}
