"""One cycle as it goes: its phases, what they did, and what there is to warn of."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from extract.errors import in_words
from extract.settings import without_secrets
from scripts.statement_times import TimedStatement

Report = Callable[[str], None]


def unheard(line: str) -> None:
    """A report to nobody."""


@dataclass
class Phase:
    """One phase of a cycle: what it is called, what it did, how long it took."""

    name: str
    summary: str
    seconds: float
    rows: dict[str, int] = field(default_factory=dict)
    """read, landed and rejected; or archived, of all marts and of each."""


@dataclass
class Cycle:
    """What a cycle did; of one that fails, until then."""

    at: dt.datetime
    phases: list[Phase] = field(default_factory=list)
    statements: list[TimedStatement] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    gateway: str = "local"
    source: str | None = None
    """The source's URL as given: no warning shows its password."""
    report: Report = unheard

    @property
    def seconds(self) -> float:
        return sum(phase.seconds for phase in self.phases)

    def add(self, phase: Phase) -> None:
        """Enters a phase that has ended, and tells it."""
        self.phases.append(phase)
        self.report(f"{phase.name:<10} {phase.seconds:6.1f} s  {phase.summary}".rstrip())

    @contextmanager
    def as_warning(self, what: str) -> Iterator[None]:
        """What goes wrong inside is a warning, and fails no cycle."""
        try:
            yield
        except Exception as fault:
            words = in_words(fault)
            if isinstance(fault, OSError) and isinstance(fault.filename, str) and fault.strerror:
                words = f"{fault.filename}: {fault.strerror}"
            self.warnings.append(f"{what}: {without_secrets(words, self.source)}")
