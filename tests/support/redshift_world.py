"""The small world of tests/world.py on the Redshift stand-in: its own database and state, copies of planned ones."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from scripts.cycle import Cycle
from tests.redshift_standin import RedshiftStandin, S3Server
from tests.redshift_standin.server import DATABASE, PASSWORD, USER
from tests.support.world import World

ROLE = "arn:aws:iam::123456789012:role/loader"
MARTS = ("mart_uni_tracking_info", "mart_ecs_order_info", "mart_uni_tracking_spath")
SETTINGS = {
    "default_transaction_isolation": "'serializable'",
    "standard_conforming_strings": "off",
    "escape_string_warning": "off",
    "backslash_quote": "on",
    "search_path": '"$user", public, standin',
}


def environment(standin: RedshiftStandin, s3: S3Server) -> dict[str, str]:
    """What leads the project to the stand-in."""
    state = standin.postgres_arguments
    return {
        "REDSHIFT_HOST": standin.host,
        "REDSHIFT_PORT": str(standin.port),
        "REDSHIFT_DATABASE": DATABASE,
        "REDSHIFT_USER": USER,
        "REDSHIFT_PASSWORD": PASSWORD,
        "REDSHIFT_SSL": "0",
        "REDSHIFT_S3_PREFIX": f"s3://{s3.bucket}/extract",
        "REDSHIFT_S3_ENDPOINT_URL": s3.endpoint_url,
        "REDSHIFT_COPY_ROLE": ROLE,
        "STATE_HOST": str(state["host"]),
        "STATE_PORT": str(state["port"]),
        "STATE_DATABASE": "state",
        "STATE_USER": str(state["user"]),
        "STATE_PASSWORD": str(state["password"]),
        "STATE_SSLMODE": "disable",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


class Databases:
    """Copies of the stand-in's two databases, warehouse and state, so that a test need not plan."""

    def __init__(self, standin: RedshiftStandin):
        self._standin = standin
        self._late_views: dict[str, dict[str, str]] = {"empty": {}}

    def keep(self, name: str) -> None:
        """Keeps the present state of both under a name."""
        self._copy(DATABASE, f"{DATABASE}_{name}")
        self._copy("state", f"state_{name}")
        self._late_views[name] = dict(self._standin.memory.late_views)

    def put_back(self, name: str) -> None:
        """Makes both as they were when `keep` was called, and forgets statements and faults."""
        self._copy(f"{DATABASE}_{name}", DATABASE)
        self._copy(f"state_{name}", "state")
        settings = [f"ALTER DATABASE {DATABASE} SET {key} = {value}" for key, value in SETTINGS.items()]
        self._standin._postgres.run("postgres", *settings)
        memory = self._standin.memory
        memory.late_views.clear()
        memory.late_views.update(self._late_views[name])
        memory.statements.clear()
        memory.commits.clear()
        memory.faults.clear()

    def _copy(self, source: str, target: str) -> None:
        self._standin._postgres.run(
            "postgres",
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{source}'",
            f"DROP DATABASE IF EXISTS {target} WITH (FORCE)",
            f"CREATE DATABASE {target} TEMPLATE {source}",
        )


class RedshiftWorld(World):
    """A source file as ever, and the stand-in for a warehouse; reading it looks past the proxy."""

    def __init__(self, folder: Path, now: int, standin: RedshiftStandin, s3: S3Server):
        super().__init__(folder, now)
        self.standin = standin
        self.s3 = s3

    def cycle(self, now: int | None = None, *, reconcile_since: int | None = None, **options: Any) -> Cycle:
        return super().cycle(now, reconcile_since=reconcile_since, gateway="redshift", **options)

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(self.standin._postgres.connect(DATABASE)) as connection, connection.cursor() as cursor:
            connection.set_client_encoding("UTF8")
            cursor.execute(sql, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def history(self, short: str, columns: str = "order_id") -> list[tuple[Any, ...]]:
        return sorted(self.query(f"SELECT period, {columns} FROM order_tracking_history.hist_{short}_all"))

    def exceptions(self, *, open_only: bool = True) -> list[tuple[Any, ...]]:
        rows = self.query(
            "SELECT check_name, split_part(table_name, '.', 2), order_id, detail "
            "FROM order_tracking_history.order_tracking_exceptions "
            f"{'WHERE resolved_at IS NULL' if open_only else ''}"
        )
        return sorted(rows, key=repr)

    def assert_whole(self, source_file: Path | None = None) -> None:
        self.warehouse_file.unlink(missing_ok=True)
        copy_tables(self, self.warehouse_file)
        super().assert_whole(source_file)

    def objects_in_s3(self) -> list[str]:
        return [item["Key"] for item in self.s3.client.list_objects_v2(Bucket=self.s3.bucket).get("Contents", [])]


def copy_tables(world: RedshiftWorld, file: Path) -> None:
    """The marts, their history views, raw, and what checks and extract set aside, as tables of a DuckDB file."""
    names = [f"order_tracking.{mart}" for mart in MARTS]
    names += [f"order_tracking_history.hist_{short}_all" for short in ("uti", "ecs", "uts")]
    names += ["order_tracking_history.order_tracking_exceptions", "order_tracking.consistency_failures"]
    names += ["order_tracking_raw.extract_log", "order_tracking_raw.rejected_rows"]
    names += [f"order_tracking_raw.{mart.removeprefix('mart_')}_raw" for mart in MARTS]
    with duckdb.connect(str(file)) as warehouse:
        for name in names:
            schema, table = name.split(".")
            columns = world.query(
                "SELECT column_name, data_type FROM information_schema.columns "
                "WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
                schema,
                table,
            )
            assert columns, f"{name} is not there"
            warehouse.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            warehouse.execute(f"CREATE TABLE {name} ({', '.join(f'{n} {KINDS.get(k, k)}' for n, k in columns)})")
            _fill(warehouse, name, world.query(f"SELECT {', '.join(n for n, _ in columns)} FROM {name}"))


KINDS = {"character varying": "VARCHAR", "timestamp without time zone": "TIMESTAMP"}


def _fill(warehouse: duckdb.DuckDBPyConnection, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    rows = list(rows)
    if rows:
        columns = pa.table({str(at): list(values) for at, values in enumerate(zip(*rows, strict=True))})
        warehouse.register("rows", columns)
        warehouse.execute(f"INSERT INTO {table} SELECT * FROM rows")
        warehouse.unregister("rows")
