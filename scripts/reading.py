"""The warehouse for commands that only ask: no lock is taken, and on DuckDB nothing can be written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from extract.errors import ConfigurationError
from extract.settings import warehouse_file
from extract.warehouse import Warehouse, open_warehouse

READING_PATIENCE = 10.0
"""Seconds that a question waits for a cycle that holds the DuckDB file."""


@contextmanager
def warehouse_to_read(gateway: str) -> Iterator[Warehouse]:
    """ConfigurationError where there is no warehouse; LockHeld where a cycle holds it for long."""
    if gateway != "local":
        with closing(open_warehouse(gateway)) as warehouse:
            yield warehouse
        return
    from extract.warehouse_duckdb import DuckDBWarehouse

    if not (file := warehouse_file()).is_file():
        raise ConfigurationError(
            f"There is no warehouse file {file}; nothing was asked. Run a cycle first, or correct "
            "ORDER_TRACKING_DUCKDB or --gateway."
        )
    with closing(DuckDBWarehouse.open_to_read(READING_PATIENCE)) as warehouse:
        yield warehouse
