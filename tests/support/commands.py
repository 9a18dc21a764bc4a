"""The commands as tests call them: arguments in, exit code out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scripts.cli import main

Command = Callable[[Sequence[str]], int]


def _command(*name: str) -> Command:
    return lambda arguments: main([*name, *arguments])


cycle = _command("cycle")
status = _command("status")
alert = _command("alert")
lateness = _command("lateness")
reconcile = _command("reconcile")
refresh = _command("refresh")
verify = _command("verify")
order = _command("order")
extract = _command("extract")
plan = _command("plan")
retention = _command("retention")
exceptions = _command("exceptions")
simulate = _command("simulate")
maintain = _command("redshift", "maintain")
smoke = _command("redshift", "smoke")
