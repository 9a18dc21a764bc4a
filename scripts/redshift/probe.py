"""One line of the smoke report: what is tried and what its answer means; and the scratch schemas that all work in."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from extract.errors import WarehouseError, in_words
from extract.settings import RedshiftSettings
from extract.warehouse import Warehouse


class NotAsNeeded(Exception):
    """A finding that stands against running the project on this cluster; the message says what to do."""


class NotKnownHere(Exception):
    """This server, or this user on it, cannot say; the message says why."""


class Mark(Enum):
    """The first word of a line."""

    OK = "ok"
    NO = "NO"
    UNKNOWN = "?"
    TOLD = "-"


@dataclass(frozen=True)
class Cluster:
    """What the probes work with. `schema` is the scratch schema; `below` is another one, for what lies below views."""

    warehouse: Warehouse
    settings: RedshiftSettings
    schema: str
    clean_up: list[str] = field(default_factory=list)
    """Statements that take away what was made, in the order in which it was made; they are run from the last on."""
    shared: dict[str, Any] = field(default_factory=dict)
    """What one probe leaves for another, by name."""

    @property
    def below(self) -> str:
        return f"{self.schema}_below"

    @property
    def reader(self) -> str:
        """A user of the probes' own, who reads."""
        return self.schema.replace("smoke", "reader")


@dataclass(frozen=True)
class Probe:
    """One thing to try.

    name: the word in the report, and in docs/redshift.md
    meaning: what the line says, in one sentence
    run: gives what is told; raises NotAsNeeded, NotKnownHere or WarehouseError
    judges: whether the answer can stand against the project; else it is only told
    """

    name: str
    meaning: str
    run: Callable[[Cluster], str]
    judges: bool = True

    def answer(self, cluster: Cluster) -> tuple[Mark, str]:
        """Tries it; how it went, and the words for it. Whatever goes wrong is an answer, too."""
        try:
            told = self.run(cluster)
        except NotKnownHere as error:
            return Mark.UNKNOWN, f"not known here: {error}"
        except Exception as error:
            foreseen = isinstance(error, (NotAsNeeded, WarehouseError))
            cause = in_words(error) if foreseen else f"{type(error).__name__}: {in_words(error)}"
            return (Mark.NO, cause) if self.judges else (Mark.UNKNOWN, f"not known here: {cause}")
        return (Mark.OK if self.judges else Mark.TOLD), told


def probe(meaning: str, *, judges: bool = True) -> Callable[[Callable[[Cluster], str]], Probe]:
    """Makes a Probe of a function; the function's name is its word in the report."""
    return lambda run: Probe(run.__name__, meaning, run, judges)


@contextmanager
def scratch(warehouse: Warehouse, settings: RedshiftSettings, left: list[str]) -> Iterator[Cluster]:
    """Two schemas for the probes, dropped in the end, with all else that was made.

    What could not be taken away is put into `left`, as statements to run by hand.
    """
    cluster = Cluster(warehouse, settings, f"order_tracking_smoke_{uuid.uuid4().hex[:8]}")
    try:
        for schema in (cluster.schema, cluster.below):
            warehouse.execute(f"CREATE SCHEMA {schema}")
            cluster.clean_up.append(f"DROP SCHEMA {schema} CASCADE")
        yield cluster
    finally:
        for statement in reversed(cluster.clean_up):
            try:
                warehouse.execute(statement)
            except Exception as error:
                left.append(f"{statement};  -- {in_words(error)}")


def fetch_if_known(warehouse: Warehouse, query: str) -> list[tuple[object, ...]]:
    """Rows of a system view or setting; NotKnownHere where the server has none or this user may not see it."""
    try:
        return list(warehouse.fetchall(query))
    except WarehouseError as error:
        raise NotKnownHere(in_words(error)) from error


def seconds_of(work: Callable[[], object], times: int = 1) -> float:
    """Seconds that the work takes on average."""
    began = time.monotonic()
    for _ in range(times):
        work()
    return (time.monotonic() - began) / times


def region_in(host: str) -> str | None:
    """The AWS region in an endpoint's name, None where it has none.

    Example:
        >>> region_in("wh.abc123.eu-west-1.redshift.amazonaws.com"), region_in("127.0.0.1")
        ('eu-west-1', None)
    """
    found = re.search(r"\.([a-z]{2}(?:-[a-z]+)+-\d)\.redshift(?:-serverless)?\.amazonaws\.com", host)
    return found.group(1) if found else None
