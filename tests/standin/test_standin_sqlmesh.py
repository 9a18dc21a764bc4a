"""A small SQLMesh project runs against the stand-in as it would against Redshift."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redshift_connector
from sqlmesh import Context
from sqlmesh.core.config import Config, GatewayConfig, ModelDefaultsConfig
from sqlmesh.core.config.connection import PostgresConnectionConfig, RedshiftConnectionConfig

from tests.redshift_standin import Properties, RedshiftStandin, refusals

MODELS = {
    "external_models.yaml": """
- name: src.orders
  columns: {order_id: bigint, status: int, tno: varchar(64), landed_at: timestamp}
""",
    "models/orders.sql": """
MODEL (
  name shop.orders,
  kind INCREMENTAL_BY_UNIQUE_KEY (
    unique_key order_id, forward_only true, disable_restatement true, on_destructive_change error
  ),
  start '2025-01-01',
  cron '@daily',
  columns (order_id BIGINT, status INTEGER, tno VARCHAR(64)),
  physical_properties (diststyle = key, distkey = order_id, sortkey = (status, order_id))
);
SELECT order_id::BIGINT AS order_id, status::INTEGER AS status, tno::VARCHAR(64) AS tno
FROM src.orders WHERE landed_at BETWEEN @start_ts AND @end_ts
""",
    "models/scans.sql": """
MODEL (
  name shop.scans,
  kind INCREMENTAL_BY_TIME_RANGE (time_column landed_at, forward_only true),
  start '2025-01-01',
  cron '@daily',
  columns (order_id BIGINT, landed_at TIMESTAMP),
  physical_properties (diststyle = key, distkey = order_id, sortkey = (landed_at, order_id))
);
SELECT order_id::BIGINT AS order_id, landed_at::TIMESTAMP AS landed_at
FROM src.orders WHERE landed_at BETWEEN @start_ts AND @end_ts
""",
    "models/both.sql": """
MODEL (name shop.both, kind VIEW);
SELECT o.order_id::BIGINT AS order_id, o.status::INTEGER AS status, s.landed_at::TIMESTAMP AS landed_at
FROM shop.orders AS o JOIN shop.scans AS s ON s.order_id = o.order_id
""",
}


@pytest.fixture(scope="module")
def standin() -> Iterator[RedshiftStandin]:
    with RedshiftStandin() as started:
        yield started


class Project:
    """The models in a folder, planned and run against the stand-in."""

    def __init__(self, folder: Path, standin: RedshiftStandin) -> None:
        self.folder, self.standin = folder, standin
        (folder / "models").mkdir()
        for name, text in MODELS.items():
            (folder / name).write_text(text)

    def context(self) -> Context:
        gateway = GatewayConfig(
            connection=RedshiftConnectionConfig(**self.standin.connection_arguments, concurrent_tasks=1),
            state_connection=PostgresConnectionConfig(**self.standin.postgres_arguments),
        )
        defaults = ModelDefaultsConfig(dialect="redshift")
        config = Config(gateways={"redshift": gateway}, default_gateway="redshift", model_defaults=defaults)
        return Context(paths=str(self.folder), config=config)

    def plan(self, now: str, environment: str = "prod") -> None:
        self.context().plan(environment, auto_apply=True, no_prompts=True, execution_time=now)

    def sql(self, *statements: str) -> list[list[Any]]:
        """Execute as another client would, with autocommit."""
        with contextlib.closing(redshift_connector.connect(**self.standin.connection_arguments)) as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []


@pytest.mark.slow
def test_plan_run_dev_and_added_column(tmp_path: Path, standin: RedshiftStandin) -> None:
    project = Project(tmp_path, standin)
    project.sql(
        "CREATE SCHEMA src",
        "CREATE TABLE src.orders (order_id BIGINT, status INTEGER, tno VARCHAR(64), landed_at TIMESTAMP)",
        "INSERT INTO src.orders VALUES (1, 1, 'a', '2025-01-01 10:00'), (2, 1, 'b', '2025-01-02 10:00'), "
        "(1, 2, 'a', '2025-01-02 11:00')",
    )
    project.plan("2025-01-02 00:10:00")
    assert project.sql("SELECT order_id, status FROM shop.both") == [[1, 1]]

    assert project.context().run(execution_time="2025-01-03 00:10:00").is_success
    both = project.sql("SELECT order_id, status FROM shop.both ORDER BY order_id, landed_at")
    assert both == [[1, 2], [1, 2], [2, 1]]

    model = tmp_path / "models" / "orders.sql"
    text = model.read_text().replace("VARCHAR(64)),", "VARCHAR(64), extra INTEGER),")
    model.write_text(text.replace("AS tno\n", "AS tno, 5::INTEGER AS extra\n"))
    project.plan("2025-01-03 00:10:00", "dev")
    assert project.sql("SELECT DISTINCT extra FROM shop__dev.orders") == [[5]]
    with pytest.raises(redshift_connector.ProgrammingError, match="extra"):
        project.sql("SELECT extra FROM shop.orders")

    project.plan("2025-01-03 00:10:00")
    project.sql("INSERT INTO src.orders VALUES (3, 1, 'c', '2025-01-03 10:00')")
    assert project.context().run(execution_time="2025-01-04 00:10:00").is_success
    assert project.sql("SELECT order_id, extra FROM shop.orders ORDER BY order_id") == [
        [1, None],
        [2, None],
        [3, 5],
    ]

    layouts = {
        table.split("__")[1]: standin.properties(f"sqlmesh__shop.{table}")
        for (table,) in standin.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'sqlmesh__shop'")
    }
    assert layouts == {
        "orders": Properties("key", "order_id", ("status", "order_id")),
        "scans": Properties("key", "order_id", ("landed_at", "order_id")),
    }
    assert [sql for sql in standin.statements if refusals(sql)] == []
    assert any("__temp_" in sql for sql in standin.statements)  # the merge went its Redshift way
