"""What a cycle or a plan refuses before it changes anything, by what SQLMesh's state and the marts say."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from extract.clock import Clock
from extract.errors import ConfigurationError, CycleFailed, WarehouseError
from extract.ownership import project_models
from extract.settings import PROJECT
from extract.warehouse import Warehouse
from macros.periods import quarter_hour_of


def production_stands(environment: Any) -> bool:
    """SQLMesh's environment prod was planned once, to the end."""
    return environment is not None and bool(environment.finalized_ts or environment.previous_finalized_snapshots)


def refuse_environment_of_others(environment: Any, project: Path = PROJECT) -> None:
    """ConfigurationError where the environment has models, and none of this project's.

    Another SQLMesh project keeps its state here: a plan would drop its views, and a cycle run its models.
    """
    snapshots = environment.snapshots if environment else []
    held = {".".join(snapshot.name.replace('"', "").lower().split(".")[-2:]) for snapshot in snapshots}
    if held and held.isdisjoint(project_models(project)):
        raise ConfigurationError(
            f"SQLMesh's state holds the environment {environment.name} of another SQLMesh project, with "
            f"{', '.join(sorted(held)[:3])} and others. Nothing was made or changed: a plan would drop that project's "
            "views. Give this project a state of its own: another file (ORDER_TRACKING_DUCKDB), or on Redshift another "
            "state database (STATE_DATABASE). More: docs/recovery.md, 'A name is taken'."
        )


def refuse_half_a_plan(environment: Any) -> None:
    """CycleFailed where a plan has begun to change production and did not end."""
    if not environment.finalized_ts:
        raise CycleFailed(
            "A plan has begun to change production and did not end; nothing was read. Where it is not running any "
            "more, plan again (make plan), which does what is left of it, and then run the cycle (docs/recovery.md, "
            "'A plan broke off')."
        )


def refuse_behind_the_marts(reached: Iterable[dt.datetime], clock: Clock) -> None:
    """ConfigurationError where a plan or a cycle has brought the marts further than what would land now."""
    furthest = max(reached)
    if furthest.timestamp() <= quarter_hour_of(clock.now()):
        return
    raise ConfigurationError(
        f"It is {clock.now_utc():%Y-%m-%d %H:%M} UTC by --at or by this machine's clock, but a plan or a cycle has "
        f"worked for {furthest:%Y-%m-%d %H:%M} UTC already, and what lands behind "
        "that would never reach the marts; nothing was done. Give a later --at, or none, or set the clock; if it was "
        "wrong then, see docs/recovery.md, 'A clock was ahead'."
    )


def refuse_without_the_marts(warehouse: Warehouse, marts: Iterable[str]) -> None:
    """CycleFailed where a mart is gone that SQLMesh takes for filled: it would make it anew, of the last rows alone."""
    try:
        each = " UNION ALL ".join(f"SELECT order_id FROM {mart}" for mart in marts)
        # Redshift may answer a WHERE FALSE without looking at the tables.
        warehouse.fetchall(f"SELECT order_id FROM ({each}) AS held LIMIT 0")
    except WarehouseError as error:
        if renamed := re.search(r'Catalog "([^"]+)" does not exist', str(error)):
            raise CycleFailed(
                f"The warehouse file was made with the name {renamed[1]}.duckdb, by which its views find their tables; "
                f"nothing was landed. Give it this name again: a copy is called {renamed[1]}.duckdb in another folder."
            ) from error
        raise CycleFailed(
            f"A mart cannot be read: {error} Nothing was landed, for SQLMesh would make a mart that is gone anew, of "
            "the last rows alone; see docs/recovery.md, 'A mart is gone'."
        ) from error
