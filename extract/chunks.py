"""A reading in chunks of bounded size, so that a source of any size lands in transactions of bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa


class Chunks:
    """Batches, handed out in chunks of at most `limit` rows; the first chunk may be empty.

    Each chunk must be taken to its end before the next is asked for. `ended` is known once a chunk was taken.
    """

    def __init__(self, batches: Iterable[pa.RecordBatch], limit: int):
        self.rows = 0
        self.ended = False
        self._batches = (batch for batch in batches if batch.num_rows)
        self._limit = limit
        self._rest: pa.RecordBatch | None = None

    def read_next(self) -> Iterator[pa.RecordBatch]:
        """The batches of the next chunk."""
        left = self._limit
        while (batch := next(self._batches, None) if self._rest is None else self._rest) is not None:
            if not left:
                self._rest = batch
                return
            self._rest = batch.slice(left) if batch.num_rows > left else None
            batch = batch.slice(0, left)
            left -= batch.num_rows
            self.rows += batch.num_rows
            yield batch
        self.ended = True
