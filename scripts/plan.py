"""`sqlmesh plan` under the run lock, with everything that a plan needs in place. This is how the schema changes."""

from __future__ import annotations

import datetime as dt
import sys
from contextlib import closing

from extract.clock import Clock
from extract.config import PROJECT, load_config
from extract.ensure_tables import ensure_tables, look_before_plan
from extract.errors import ConfigurationError, CycleFailed
from extract.lock import run_lock
from extract.ownership import refuse_foreign
from extract.warehouse import open_warehouse


def plan(environment: str, *, gateway: str, at: dt.datetime | None, yes: bool) -> None:
    """Shows what would change and asks before it applies it; with `yes` it does not ask."""
    from sqlmesh.core.console import create_console, set_console
    from sqlmesh.core.context import Context
    from sqlmesh.core.environment import EnvironmentNamingInfo
    from sqlmesh.utils.errors import SQLMeshError

    from scripts.run_cycle import production_stands, refuse_environment_of_others, refuse_without_the_marts
    from scripts.sqlmesh_session import keep_alerts_from_failing_a_run, keep_quiet_about_names_not_taken

    config = load_config()
    with run_lock(gateway), closing(open_warehouse(gateway)) as warehouse:
        name = EnvironmentNamingInfo.sanitize_name(environment).lower()
        held, foreign = look_before_plan(warehouse, config.tables, name)
        refuse_foreign(foreign)
        set_console(create_console())
        keep_alerts_from_failing_a_run()
        keep_quiet_about_names_not_taken()
        try:
            context = Context(paths=str(PROJECT), gateway=gateway)
            with closing(context):
                refuse_environment_of_others(context.state_reader.get_environment(name))
                ensure_tables(warehouse, config, Clock(at).now(), held)
                if production_stands(context.state_reader.get_environment("prod")):
                    refuse_without_the_marts(warehouse, [table.mart.name for table in config.tables])
                context.plan(
                    environment,
                    execution_time=Clock(at).now_utc(),
                    auto_apply=yes,
                    no_prompts=yes,
                    include_unmodified=environment != "prod",
                )
        except (SQLMeshError, ValueError) as error:
            raise CycleFailed(f"The plan failed: {error}. What was applied before stays; plan again.") from error
        except EOFError:
            raise ConfigurationError(
                "The plan is only shown, and nothing was applied: there is nobody here to answer. Run it in a "
                "terminal, or apply it without being asked: --yes (make plan ARGS=--yes)."
            ) from None


if __name__ == "__main__":
    from scripts.cli import main

    raise SystemExit(main(["plan", *sys.argv[1:]]))
