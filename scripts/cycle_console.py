"""What SQLMesh tells while it works, kept instead of printed: failures, warnings and the seconds of each model."""

from __future__ import annotations

from typing import Any

from sqlmesh.core.console import NoopConsole

from extract.errors import in_words, with_first


class CycleConsole(NoopConsole):
    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = {}
        self.warnings: list[str] = []
        self.errors: list[str] = []

    def update_snapshot_evaluation_progress(
        self, snapshot: Any, interval: Any, batch_idx: int, duration_ms: int | None, *args: Any, **kwargs: Any
    ) -> None:
        name = snapshot.name.replace('"', "").split(".")[-1]
        self.seconds[name] = self.seconds.get(name, 0.0) + (duration_ms or 0) / 1000

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
