"""`sqlmesh plan` under the run lock, with everything that a plan needs in place. This is how the schema changes."""

from __future__ import annotations

import datetime as dt
import sys
from contextlib import closing

from extract.clock import Clock
from extract.ensure_tables import ensure_tables, look_before_plan
from extract.errors import ConfigurationError, CycleFailed
from extract.extract_log import log_state
from extract.lock import run_lock
from extract.ownership import refuse_foreign
from extract.settings import PROJECT, share_warehouse_file
from extract.tables import load_config
from extract.warehouse import open_warehouse
from scripts.alerts import alert_of_failure
from scripts.display import tell
from scripts.guards import production_stands, refuse_environment_of_others, refuse_without_the_marts
from scripts.sqlmesh_session import bounded_waits, first_day, open_context


def plan(
    environment: str = "prod",
    *,
    gateway: str = "local",
    at: dt.datetime | None = None,
    yes: bool = False,
    no_diff: bool = False,
) -> None:
    """Plans an environment as of `at` (default: now), and applies it; without `yes` it asks before.

    `no_diff` names what changes, and leaves the text of it out.

    Raises LockHeld, ConfigurationError, WarehouseError or CycleFailed; what was applied before stays.
    """
    from sqlmesh.core.console import create_console, set_console
    from sqlmesh.core.environment import EnvironmentNamingInfo
    from sqlmesh.utils.errors import SQLMeshError

    config, clock = load_config(), Clock(at)
    share_warehouse_file(gateway)
    name = EnvironmentNamingInfo.sanitize_name(environment).lower()
    with (
        alert_of_failure("a plan", gateway, tell),
        run_lock(gateway),
        closing(open_warehouse(gateway)) as warehouse,
    ):
        held, foreign = look_before_plan(warehouse, config.tables, name)
        refuse_foreign(foreign)
        set_console(create_console())
        try:
            with closing(open_context(gateway, PROJECT, first_day(log_state(warehouse, held), clock.now()))) as context:
                refuse_environment_of_others(context.state_reader.get_environment(name))
                for warning in ensure_tables(warehouse, config, clock.now(), held):
                    tell(f"warning: {warning}")
                if production_stands(context.state_reader.get_environment("prod")):
                    refuse_without_the_marts(warehouse, [table.mart.name for table in config.tables])
                with bounded_waits(context, gateway, asks=not yes):
                    context.plan(
                        environment,
                        execution_time=clock.now_utc(),
                        auto_apply=yes,
                        no_prompts=yes,
                        no_diff=no_diff,
                        include_unmodified=environment != "prod",
                    )
        except (SQLMeshError, ValueError) as error:
            raise CycleFailed(f"The plan failed: {error}. What was applied before stays; plan again.") from error
        except SystemExit as stopped:  # so Rich ends a process whose output goes into a closed pipe
            raise CycleFailed(
                "The plan was broken off, because nobody reads what it prints any more. What was applied before stays; "
                "plan again, and let it print into a file."
            ) from stopped
        except EOFError:
            raise ConfigurationError(
                "The plan is only shown, and nothing was applied: there is nobody here to answer. Run it in a "
                "terminal, or apply it without being asked: --yes (make plan ARGS=--yes)."
            ) from None


if __name__ == "__main__":
    from scripts.cli import main

    raise SystemExit(main(["plan", *sys.argv[1:]]))
