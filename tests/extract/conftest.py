"""A source of one kind and a warehouse of one engine, for tests of what becomes of a source's values."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import duckdb
import pytest

from bench.source_tables import SOURCE_TABLES
from extract.clock import Clock
from extract.mysql_address import Address
from extract.run import extract
from extract.source import open_source
from extract.tables import ExtractConfig, load_config
from extract.warehouse import open_warehouse
from tests.conftest import START
from tests.support.world import MINUTE, World, moment


class Setting:
    """A source whose three plain tables are empty, and a warehouse of one engine."""

    def __init__(self, url: str, gateway: str, world: World):
        self.url, self.gateway, self.world = url, gateway, world

    def run(self, *statements: str) -> tuple[Any, ...]:
        """Gives the rows of the last statement."""
        if self.url.startswith("mysql"):
            connection: Any = Address.parse(self.url).connect(autocommit=True)
            with closing(connection), connection.cursor() as cursor:
                cursor.execute("SET SESSION sql_mode = '', SESSION max_recursive_iterations = 1000")
                for statement in statements:
                    cursor.execute(statement)
                return tuple(cursor.fetchall())
        else:
            with duckdb.connect(self.url.removeprefix("duckdb:///")) as connection:
                for statement in statements:
                    result = connection.execute(statement)
                return tuple(result.fetchall())

    def extract(
        self, config: ExtractConfig | None = None, minutes: int = 15, since: int | None = None
    ) -> dict[str, Any]:
        """Table -> what an extract did."""
        with closing(open_source(self.url)) as source, closing(open_warehouse(self.gateway)) as warehouse:
            runs = extract(source, warehouse, config or load_config(), Clock(moment(START + minutes * MINUTE)))
        return {run.table: run.landed for run in runs}

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.world.query(sql)

    def raw(self, columns: str = "*") -> list[tuple[Any, ...]]:
        return self.rows(f"SELECT {columns} FROM order_tracking_raw.uni_tracking_info_raw")

    def rejected(self) -> list[tuple[Any, ...]]:
        return self.rows("SELECT table_name, order_id, reason, payload FROM order_tracking_raw.rejected_rows")


@pytest.fixture
def make_setting(request: pytest.FixtureRequest, make_world: Callable[..., World]) -> Callable[..., Setting]:
    def make(source: str, gateway: str, planned: bool = True) -> Setting:
        make_one = make_world if gateway == "local" else request.getfixturevalue("make_redshift_world")
        world = make_one(planned=planned)
        if source == "duckdb":
            return Setting(world.source_url, gateway, world)
        url = request.getfixturevalue("mysql_database")
        with closing(Address.parse(url).connect(autocommit=True)) as connection, connection.cursor() as cursor:
            for table, columns in SOURCE_TABLES.items():
                cursor.execute(f"CREATE TABLE {table} ({columns})")
        return Setting(url, gateway, world)

    return make
