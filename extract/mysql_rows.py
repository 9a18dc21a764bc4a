"""MySQL's binary row protocol straight into Arrow: what a server sends, column by column, without a Python row.

PyMySQL makes the connection (login, TLS, session); this module prepares and executes one SELECT on it and takes
the rows off the socket itself. A row that is not decoded yet stays in the server: a slow consumer slows the
server down and costs no memory. The protocol marks the end of the rows with a packet of its own, so a stream
without that packet is known to be cut.

Why not a ready-made reader: docs/decisions.md has the measurements.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pymysql
from pymysql.constants import COMMAND, FIELD_TYPE, FLAG
from pymysql.protocol import FieldDescriptorPacket

BUFFER_BYTES = 4 << 20
BINARY_CHARSET = 63
LONGEST_PACKET = 0xFFFFFF  # a longer row comes in several packets

_INTEGER_DTYPES = {
    FIELD_TYPE.TINY: "i1",
    FIELD_TYPE.SHORT: "i2",
    FIELD_TYPE.YEAR: "i2",
    FIELD_TYPE.INT24: "i4",
    FIELD_TYPE.LONG: "i4",
    FIELD_TYPE.LONGLONG: "i8",
}
_TEXT_TYPES = frozenset(
    {FIELD_TYPE.VARCHAR, FIELD_TYPE.VAR_STRING, FIELD_TYPE.STRING, FIELD_TYPE.ENUM, FIELD_TYPE.SET}
    | {FIELD_TYPE.TINY_BLOB, FIELD_TYPE.BLOB, FIELD_TYPE.MEDIUM_BLOB, FIELD_TYPE.LONG_BLOB}
)
_ROW, _END, _ERROR = 0x00, 0xFE, 0xFF
_SHORTEST_RUN = 32  # rows of one length in a row from which finding them in bulk beats stepping through them
_STEPS = 512
_WINDOW = 1024  # rows looked at together; what one read of the socket brings is mostly less


class CutStream(Exception):
    """The rows cannot be had whole: the connection ended before them, or one of them cannot be represented."""


@dataclass(frozen=True)
class Column:
    """One output column; `dtype` is NumPy's little-endian integer type, None for text."""

    name: str
    dtype: np.dtype[Any] | None

    @classmethod
    def described(cls, field: Any) -> Column:
        """From a column definition packet. Raises CutStream for types that are neither integer nor text."""
        if field.type_code in _INTEGER_DTYPES:
            kind = _INTEGER_DTYPES[field.type_code]
            return cls(field.name, np.dtype("<" + (kind.replace("i", "u") if field.flags & FLAG.UNSIGNED else kind)))
        if field.type_code in _TEXT_TYPES and field.charsetnr != BINARY_CHARSET:
            return cls(field.name, None)
        raise CutStream(f"column {field.name} holds bytes, neither integers nor text")


def stream(connection: pymysql.connections.Connection, sql: str) -> Iterator[pa.RecordBatch]:
    """Executes `sql` and yields its rows: integers as int64, text as string, NULL as null.

    Batches of at most BUFFER_BYTES as the server sends them. Raises pymysql.Error for what the server says,
    OSError for the network, CutStream when the connection ends before the rows do. The connection serves
    nothing else before the last row, and must be closed when the iterator is given up early.
    """
    columns = _execute(connection, sql)
    buffer, scanned = bytearray(BUFFER_BYTES), 0
    # What PyMySQL's reader took off the socket beyond the columns. Asked for more than it holds, `readinto1`
    # would wait for the network although these bytes may be the last.
    first = connection._rfile.read1()
    buffer[: len(first)] = first
    got = filled = len(first)
    found: list[np.ndarray] = []
    while True:
        if not got:
            raise CutStream("the connection was closed in the middle of the rows")
        starts, scanned, ended = _find_rows(buffer, scanned, filled)
        found += starts
        if ended or filled >= len(buffer) - len(buffer) // 8:
            if found:
                yield _decode(buffer, filled, np.concatenate(found), columns)
            if not ended:
                rest = buffer[scanned:filled]
                if len(rest) > len(buffer) // 2:
                    buffer = bytearray(2 * len(buffer))
                buffer[: len(rest)] = rest
                found, filled, scanned = [], len(rest), 0
        if ended:
            if buffer[scanned + 4] == _ERROR:
                pymysql.err.raise_mysql_exception(bytes(buffer[scanned + 4 : filled]))
            if buffer[scanned + 4] != _END:
                raise CutStream("something that is neither a row nor their end came in the middle of the rows")
            return
        got = connection._rfile.readinto1(memoryview(buffer)[filled:])
        filled += got


def _execute(connection: pymysql.connections.Connection, sql: str) -> list[Column]:
    """Prepares and executes; returns the columns and leaves the socket before the first row."""
    connection._execute_command(COMMAND.COM_STMT_PREPARE, sql)
    prepared = connection._read_packet().get_all_data()
    statement, described = struct.unpack_from("<IH", prepared, 1)
    for _ in range(described + 1):  # the columns and the packet that ends them
        connection._read_packet()
    connection._execute_command(COMMAND.COM_STMT_EXECUTE, struct.pack("<IBI", statement, 0, 1))
    count = connection._read_packet().read_length_encoded_integer()
    fields = [connection._read_packet(FieldDescriptorPacket) for _ in range(count)]
    connection._read_packet()
    return [Column.described(field) for field in fields]


def _find_rows(buffer: bytearray, position: int, filled: int) -> tuple[list[np.ndarray], int, bool]:
    """Where the whole rows in buffer[position:filled] start, where the search goes on, and whether rows ended.

    A packet is 3 bytes of length, 1 of sequence, then the payload, which begins with 0 for a row. After the
    last row the position is that of the packet that ended the rows: the end marker or an error.
    """
    starts: list[np.ndarray] = []
    stepping = 0
    singles: list[int] = []
    ended = False
    while position + 5 <= filled:
        length = buffer[position] | buffer[position + 1] << 8 | buffer[position + 2] << 16
        following = position + 4 + length
        if following > filled:
            break
        if buffer[position + 4] != _ROW:
            ended = True
            break
        if length == LONGEST_PACKET:
            raise CutStream("a row is longer than 16 MB")
        if stepping:
            stepping -= 1
            singles.append(position)
            position = following
            continue
        run = _run(buffer, position, 4 + length, filled)
        if singles:
            starts.append(np.array(singles, np.int64))
            singles = []
        starts.append(position + (4 + length) * np.arange(run, dtype=np.int64))
        position += (4 + length) * run
        stepping = 0 if run >= _SHORTEST_RUN else _STEPS
    if singles:
        starts.append(np.array(singles, np.int64))
    return starts, position, ended


def _run(buffer: bytearray, position: int, stride: int, filled: int) -> int:
    """How many whole rows from `position` on are `stride` bytes long; the first is known to be.

    By induction: where one row has this length, the next header stands one stride further.
    """
    possible = (filled - position) // stride
    run, window = 1, _WINDOW
    while run < possible:
        size = min(window, possible - run)
        at = position + run * stride
        headers = np.ndarray((size,), "<u4", buffer, at, (stride,)) & 0xFFFFFF
        kinds = np.ndarray((size,), "u1", buffer, at + 4, (stride,))
        same = (headers == stride - 4) & (kinds == _ROW)
        if not same.all():
            return run + int(same.argmin())
        run, window = run + size, window * 4
    return run


def _decode(buffer: bytearray, filled: int, starts: np.ndarray, columns: list[Column]) -> pa.RecordBatch:
    """The rows that start at `starts`: after header and kind a bitmap of NULLs, then the values that are not."""
    rows = len(starts)
    bitmap = (len(columns) + 7 + 2) // 8  # its first two bits are unused
    content = np.ndarray((filled,), "u1", buffer)
    bits = [content[starts + 5 + byte] for byte in range(bitmap)]
    position = starts + 5 + bitmap
    arrays = []
    for number, column in enumerate(columns):
        of_byte = bits[(number + 2) // 8]
        null = (of_byte >> ((number + 2) % 8)) & 1 if of_byte.any() else None
        if null is not None and not null.any():
            null = None
        valid = None if null is None else pa.py_buffer(np.packbits(null == 0, bitorder="little"))
        if column.dtype is not None:
            values = _integers(buffer, filled, position, null, column)
            buffers = [valid, pa.py_buffer(values)]
            arrays.append(pa.Array.from_buffers(pa.int64(), rows, buffers))
            width: Any = column.dtype.itemsize
        else:
            offsets, text, width = _texts(content, position, null, column)
            buffers = [valid, pa.py_buffer(offsets), pa.py_buffer(text)]
            array = pa.Array.from_buffers(pa.string(), rows, buffers)
            array.validate(full=True)  # never hands on what is not UTF-8
            arrays.append(array)
        position = position + (width if null is None else np.where(null, 0, width))
    return pa.record_batch(arrays, names=[column.name for column in columns])


def _integers(
    buffer: bytearray, filled: int, position: np.ndarray, null: np.ndarray | None, column: Column
) -> np.ndarray:
    """The integers at `position`, as int64; 0 where NULL."""
    assert column.dtype is not None
    # One overlapping value for every byte of the buffer, so that any position can be picked.
    everywhere = np.ndarray((filled - column.dtype.itemsize + 1,), column.dtype, buffer, 0, (1,))
    values = everywhere[position if null is None else np.where(null, 0, position)]
    if null is not None:
        values[null == 1] = 0
    if column.dtype == np.dtype("<u8") and values.size and values.max() > np.iinfo(np.int64).max:
        raise CutStream(
            f"column {column.name} holds a value beyond 9223372036854775807, which must be mended in the source"
        )
    return values.astype(np.int64, copy=False)


def _texts(
    content: np.ndarray, position: np.ndarray, null: np.ndarray | None, column: Column
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arrow's offsets and bytes of the texts at `position`, and how many bytes each takes in its row.

    A text is preceded by its length: one byte, or 252 and two bytes, or 253 and three.
    """
    if null is not None:
        position = np.where(null, 0, position)
    lead = content[position]
    length = lead.astype(np.int64)
    prefix = np.ones(len(position), np.int64)
    for mark, size in ((0xFC, 2), (0xFD, 3)):
        marked = np.flatnonzero(lead == mark)
        if marked.size:
            at = position[marked]
            length[marked] = sum(content[at + 1 + byte].astype(np.int64) << (8 * byte) for byte in range(size))
            prefix[marked] = 1 + size
    if null is not None:
        length[null == 1] = 0
    offsets = np.zeros(len(position) + 1, np.int64)
    np.cumsum(length, out=offsets[1:])
    first = position + prefix
    text = content[np.repeat(first - offsets[:-1], length) + np.arange(offsets[-1])]
    return offsets.astype(np.int32), text, prefix + length
