"""A warehouse that stands already, for commands that ask it something or mend what the checks found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext

import click

from extract.clock import Clock
from extract.ensure_tables import ensure_tables
from extract.errors import ConfigurationError
from extract.lock import run_lock
from extract.settings import warehouse_file
from extract.tables import ExtractConfig
from extract.warehouse import Warehouse, open_warehouse, stands
from macros.marts import UTI

READING_PATIENCE = 10.0
"""Seconds that a question waits for a cycle that holds the DuckDB file."""


def nothing_yet(what: str) -> ConfigurationError:
    """The answer of every command that finds nothing to work on; `what` says what is not there."""
    return ConfigurationError(
        f"{what}; nothing was done. Run a cycle first, or correct ORDER_TRACKING_DUCKDB or --gateway."
    )


@contextmanager
def warehouse_to_read(gateway: str) -> Iterator[Warehouse]:
    """The warehouse for who only asks: no lock is taken, and on DuckDB nothing can be written.

    Raises ConfigurationError where there is no warehouse, LockHeld where a cycle holds the DuckDB file for long.
    """
    if gateway != "local":
        with closing(open_warehouse(gateway)) as warehouse:
            yield warehouse
        return
    from extract.warehouse_duckdb import DuckDBWarehouse

    _refuse_without_file(gateway)
    with closing(DuckDBWarehouse.open_to_read(READING_PATIENCE)) as warehouse:
        yield warehouse


@contextmanager
def checked_warehouse(gateway: str, config: ExtractConfig, clock: Clock, *, asks: bool) -> Iterator[Warehouse]:
    """The warehouse, under the run lock, with the exceptions' table in place.

    What only asks takes no lock on Redshift, so that it need not wait for a cycle. A DuckDB file has one user.
    Raises ConfigurationError where there are no marts yet.
    """
    _refuse_without_file(gateway)
    asks = asks and gateway != "local"
    with nullcontext() if asks else run_lock(gateway), closing(open_warehouse(gateway)) as warehouse:
        refuse_before_first_plan(warehouse)
        if not asks:
            warn(ensure_tables(warehouse, config, clock.now()))
        yield warehouse


def warn(warnings: Iterable[str]) -> None:
    """On standard error, so that what is asked for stays as it is."""
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)


def refuse_before_first_plan(warehouse: Warehouse) -> None:
    """Raises ConfigurationError where there are no marts, which the first cycle makes."""
    if not stands(warehouse, UTI):
        raise nothing_yet("This warehouse has no marts yet")


def _refuse_without_file(gateway: str) -> None:
    if gateway == "local" and not (file := warehouse_file()).is_file():
        raise nothing_yet(f"There is no warehouse file {file}")
