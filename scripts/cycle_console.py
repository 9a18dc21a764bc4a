"""What SQLMesh tells while it works, kept instead of printed: failures, warnings and the seconds of each model."""

from __future__ import annotations

from typing import Any

from sqlmesh.core.console import NoopConsole

from extract.errors import in_words, with_first
from macros.marts import mart_of
from scripts.statement_times import StatementLog


class CycleConsole(NoopConsole):
    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = {}
        self.warnings: list[str] = []
        self.errors: list[str] = []
        self.log = StatementLog()

    def update_snapshot_evaluation_progress(
        self, snapshot: Any, interval: Any, batch_idx: int, duration_ms: int | None, *args: Any, **kwargs: Any
    ) -> None:
        self.log.end()
        name = snapshot.name.replace('"', "").split(".")[-1]
        self.seconds[name] = self.seconds.get(name, 0.0) + (duration_ms or 0) / 1000

    def forget_models(self) -> None:
        """What the models did until now, a first plan say, is not told of what comes."""
        self.seconds.clear()
        self.log.archived.clear()

    def models(self) -> str:
        """Each model with its seconds and, where rows left it, how many were archived."""
        archived = {mart_of(alias).name.split(".")[-1]: rows for alias, rows in self.log.archived.items()}
        return ", ".join(
            f"{model} {seconds:.1f} s" + (f" ({archived[model]:,} archived)" if model in archived else "")
            for model, seconds in self.seconds.items()
        )

    def log_warning(self, short_message: str, long_message: str | None = None, *args: Any, **kwargs: Any) -> None:
        """The short message names the check and its rows; the long one is the audit's whole query."""
        self.warnings.append(short_message.strip())

    def log_error(self, message: str, *args: Any, **kwargs: Any) -> None:
        self.errors.append(message)

    def log_failed_models(self, errors: list[Any]) -> None:
        """Where SQLMesh's clean-up fails too, it reports that; what came first is told beside it."""
        for error in errors:
            cause = error.__cause__
            self.errors.append(with_first(error) if cause is None else f"{in_words(error)}: {with_first(cause)}")
