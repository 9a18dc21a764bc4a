"""MySQL's binary row protocol straight into Arrow: what a server sends, column by column, without a Python row.

PyMySQL makes the connection (login, TLS, session); this module prepares and executes one SELECT on it and takes
the rows off the socket itself. A row that is not decoded yet stays in the server: a slow consumer slows the
server down and costs no memory. The protocol marks the end of the rows with a packet of its own, so a stream
without that packet is known to be cut.

Why not a ready-made reader: docs/performance.md has the measurements.
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

_NUMBER_DTYPES = {
    FIELD_TYPE.TINY: "i1",
    FIELD_TYPE.SHORT: "i2",
    FIELD_TYPE.YEAR: "i2",
    FIELD_TYPE.INT24: "i4",
    FIELD_TYPE.LONG: "i4",
    FIELD_TYPE.LONGLONG: "i8",
    FIELD_TYPE.FLOAT: "f4",
    FIELD_TYPE.DOUBLE: "f8",
}
_TIMES = frozenset({FIELD_TYPE.DATE, FIELD_TYPE.NEWDATE, FIELD_TYPE.TIME, FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP})
"""The only types, but for numbers, that do not come as a length and bytes; they are asked for as text. The type of a
column that is NULL in a view's own query needs no reading: its values are NULL in the bitmap, and take no bytes."""
_ROW, _END, _ERROR = 0x00, 0xFE, 0xFF
_SHORTEST_RUN = 32  # rows of one length in a row from which finding them in bulk beats stepping through them
_STEPS = 512
_WINDOW = 1024  # rows looked at together; what one read of the socket brings is mostly less


class CutStream(Exception):
    """The rows cannot be had whole: the connection ended before them, or one of them cannot be represented."""


@dataclass(frozen=True)
class Column:
    """One output column; `dtype` is NumPy's little-endian type of a number, None for text and bytes."""

    name: str
    dtype: np.dtype[Any] | None
    is_text: bool = False

    @classmethod
    def described(cls, field: Any) -> Column:
        """From a column definition packet. Raises CutStream for times, which must be asked for as text."""
        if field.type_code in _NUMBER_DTYPES:
            kind = _NUMBER_DTYPES[field.type_code]
            return cls(field.name, np.dtype("<" + (kind.replace("i", "u") if field.flags & FLAG.UNSIGNED else kind)))
        if field.type_code in _TIMES:
            raise CutStream(f"column {field.name} has a type that is not read (its number is {field.type_code})")
        return cls(field.name, None, field.charsetnr != BINARY_CHARSET)


def stream(connection: pymysql.connections.Connection, sql: str) -> Iterator[pa.RecordBatch]:
    """Executes `sql` and yields its rows: integers as int64, floats as such, text as string, bytes as binary.

    A batch's column is uint64 where a value needs it, and binary where a text is no UTF-8.

    Batches of at most BUFFER_BYTES as the server sends them. Raises pymysql.Error for what the server says,
    OSError for the network, CutStream when the connection ends before the rows do, or a packet is none of theirs.
    The connection serves nothing else before the last row, and must be closed when the iterator is given up early.
    """
    columns = _execute(connection, sql)
    number = connection._next_seq_id
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
        number = _number_after(buffer, filled, starts, number)
        found += starts
        if ended:
            _assert_end(buffer, scanned, number)
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


def _number_after(buffer: bytearray, filled: int, found: list[np.ndarray], number: int) -> int:
    """The number of the packet that follows these rows. Raises CutStream unless theirs count on from `number`."""
    numbers = np.ndarray((filled,), "u1", buffer)
    for starts in found:
        if (numbers[starts + 3] != (number + np.arange(len(starts))).astype("u1")).any():
            raise CutStream("the packets of the rows are not numbered one after another")
        number = (number + len(starts)) % 256
    return number


def _assert_end(buffer: bytearray, position: int, number: int) -> None:
    """CutStream unless the packet at `position` is the end of the rows, with this number, or an error."""
    kind = buffer[position + 4]  # a server that shuts down numbers its error as it likes
    if kind != _ERROR and (kind != _END or buffer[position + 3] != number):
        raise CutStream("something that is neither a row nor their end came in the middle of the rows")


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
            values = _numbers(buffer, filled, position, null, column.dtype)
            arrays.append(pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), rows, [valid, pa.py_buffer(values)]))
            width: Any = column.dtype.itemsize
        else:
            offsets, text, width = _texts(content, position, null)
            buffers = [valid, pa.py_buffer(offsets), pa.py_buffer(text)]
            arrays.append(_text_array(rows, buffers) if column.is_text else _bytes_array(rows, buffers))
        position = position + (width if null is None else np.where(null, 0, width))
    return pa.record_batch(arrays, names=[column.name for column in columns])


def _bytes_array(rows: int, buffers: list[Any]) -> pa.Array:
    return pa.Array.from_buffers(pa.binary(), rows, buffers)


def _text_array(rows: int, buffers: list[Any]) -> pa.Array:
    """As string; as binary where one of the texts is no UTF-8, for that must not pass for one."""
    array = pa.Array.from_buffers(pa.string(), rows, buffers)
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return _bytes_array(rows, buffers)
    return array


def _numbers(
    buffer: bytearray, filled: int, position: np.ndarray, null: np.ndarray | None, dtype: np.dtype[Any]
) -> np.ndarray:
    """The numbers at `position`, integers as int64, but as uint64 where one is beyond that; 0 where NULL."""
    # One overlapping value for every byte of the buffer, so that any position can be picked.
    everywhere = np.ndarray((filled - dtype.itemsize + 1,), dtype, buffer, 0, (1,))
    values = everywhere[position if null is None else np.where(null, 0, position)]
    if null is not None:
        values[null == 1] = 0
    if dtype.kind == "f" or (dtype == np.dtype("<u8") and values.size and values.max() > np.iinfo(np.int64).max):
        return values
    return values.astype(np.int64, copy=False)


def _texts(
    content: np.ndarray, position: np.ndarray, null: np.ndarray | None
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
