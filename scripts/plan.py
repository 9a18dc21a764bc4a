"""`sqlmesh plan` under the run lock, with everything that a plan needs in place.

    python -m scripts.plan [ENVIRONMENT] [--gateway G] [--at T] [--yes]

Shows what would change and asks before it applies it (--yes does not ask). This is how the schema changes.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

from extract.clock import Clock
from extract.config import PROJECT, load_config
from extract.ensure_tables import ensure_tables, look_before_plan
from extract.errors import ConfigurationError
from extract.lock import run_lock
from extract.ownership import refuse_foreign
from extract.warehouse import open_warehouse


def main(arguments: list[str] | None = None) -> int:
    from scripts.command import command_line, run_command

    parser = command_line("scripts.plan", __doc__)
    parser.add_argument("environment", nargs="?", default="prod")
    parser.add_argument("--yes", action="store_true", help="apply without asking")

    def command(options: Any) -> int:
        from sqlmesh.core.console import create_console, set_console
        from sqlmesh.core.context import Context
        from sqlmesh.core.environment import EnvironmentNamingInfo
        from sqlmesh.utils.errors import SQLMeshError

        from extract.errors import CycleFailed
        from scripts.run_cycle import production_stands, refuse_environment_of_others, refuse_without_the_marts
        from scripts.sqlmesh_session import keep_alerts_from_failing_a_run, keep_quiet_about_names_not_taken

        config = load_config()
        with run_lock(options.gateway), closing(open_warehouse(options.gateway)) as warehouse:
            environment = EnvironmentNamingInfo.sanitize_name(options.environment).lower()
            held, foreign = look_before_plan(warehouse, config.tables, environment)
            refuse_foreign(foreign)
            set_console(create_console())
            keep_alerts_from_failing_a_run()
            keep_quiet_about_names_not_taken()
            try:
                context = Context(paths=str(PROJECT), gateway=options.gateway)
                with closing(context):
                    refuse_environment_of_others(context.state_reader.get_environment(environment))
                    ensure_tables(warehouse, config, Clock(options.at).now(), held)
                    if production_stands(context.state_reader.get_environment("prod")):
                        refuse_without_the_marts(warehouse, [table.mart.name for table in config.tables])
                    context.plan(
                        options.environment,
                        execution_time=Clock(options.at).now_utc(),
                        auto_apply=options.yes,
                        no_prompts=options.yes,
                        include_unmodified=options.environment != "prod",
                    )
            except (SQLMeshError, ValueError) as error:
                raise CycleFailed(f"The plan failed: {error}. What was applied before stays; plan again.") from error
            except EOFError:
                raise ConfigurationError(
                    "The plan is only shown, and nothing was applied: there is nobody here to answer. Run it in a "
                    "terminal, or apply it without being asked: --yes (make plan ARGS=--yes)."
                ) from None
        return 0

    return run_command(parser, command, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
