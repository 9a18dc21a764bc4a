"""The tests' small world, with cycles run by the proof's engine: for replays of hundreds of cycles."""

from __future__ import annotations

import os
import time
from contextlib import closing
from typing import Any

import duckdb

from extract.source import open_source
from scripts.cycle import Cycle, Phase
from tests.proof.engine import Engine
from tests.support.world import MINUTE, World, moment


class FastWorld(World):
    """Between cycles the warehouse file is closed, so that commands and tests can open it."""

    engine: Engine | None = None

    def cycle(self, now: int | None = None, *, reconcile_since: int | None = None, **options: Any) -> Cycle:
        assert not options, "the fast engine knows no options"
        self.now = self.now + 15 * MINUTE if now is None else now
        started = time.monotonic()
        with (
            duckdb.connect(str(self.warehouse_file), config={"threads": 1}) as warehouse,
            closing(open_source(self.source_url)) as source,
        ):
            if self.engine is None:
                self.engine = Engine(warehouse, self.now)
            self.engine.connection = warehouse
            self.engine.cycle(source, self.now, reconcile_since=reconcile_since)
        return Cycle(moment(self.now), [Phase("cycle", os.fspath(self.warehouse_file), time.monotonic() - started)])
