"""DuckDB's CRC32 is zlib's, for every kind of text and however the file is opened."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from zlib import crc32

import duckdb
import pytest

from extract.crc32 import add_crc32


@pytest.mark.parametrize("text", ["", "x", "é€𝄞", "\x1e\x1f", "y" * 70_000])
def test_it_is_the_checksum_of_the_text_in_utf8(text: str) -> None:
    with duckdb.connect() as connection:
        add_crc32(connection)
        assert connection.execute("SELECT crc32(?), crc32(NULL)", [text]).fetchall() == [(crc32(text.encode()), None)]


def test_many_texts_of_several_chunks() -> None:
    with duckdb.connect() as connection:
        add_crc32(connection)
        rows = connection.execute("SELECT SUM(crc32(i || 'ü')) FROM range(100000) AS numbers(i) WHERE i % 3 = 1")
        assert rows.fetchall() == [(sum(crc32(f"{i}ü".encode()) for i in range(1, 100_000, 3)),)]


def test_it_outlives_the_connection_that_added_it(tmp_path: Path) -> None:
    """SQLMesh and the extract hold one file at a time: the first of them may close."""
    first = duckdb.connect(str(tmp_path / "file.duckdb"))
    with closing(duckdb.connect(str(tmp_path / "file.duckdb"))) as second:
        add_crc32(first)
        add_crc32(second)
        first.close()
        assert second.execute("SELECT crc32('x')").fetchall() == [(crc32(b"x"),)]
