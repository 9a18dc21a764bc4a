"""Judging rows: what a source holds becomes what a raw column can hold, exactly, or the row is rejected with a reason.

A source gives integers, floats, bytes and texts as it holds them. Here a batch of them becomes a staged batch: each
value has its column's type, and two columns more say of each row whether it can land. Nothing is done row by row while
all is well: a look at each column's smallest and largest value, and at the lengths of its texts, is enough.
"""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from extract.config import Table

REASON = "rejected_because"
"""The staged column that says why a row cannot land; NULL where it can."""

ROW = "rejected_row"
"""The staged column that holds a row that cannot land as text, as the source showed it; NULL where it can."""

YEAR_2100 = 4_102_444_800
INTEGER_LIMIT = 2**31
EXACT_FLOATS = 2**53
"""From here on a DOUBLE skips whole numbers: which one was meant is unknown."""

KEPT_CHARACTERS = 4_000
"""How much of one text rejected_rows shows."""

KEPT_OF_ROW = 16_000
"""Characters of a whole row: at most 64,000 bytes, which a VARCHAR(65535) holds."""

NAMED_CHARACTERS = 24
"""How much of a value the reason shows, which is a VARCHAR(256)."""

_WHOLE = re.compile(r"[+-]?[0-9]+(\.0+)?")
_SURELY_64_BITS = r"^-?([0-9]{1,18}|[1-8][0-9]{18})$"


def staged_columns(table: Table) -> list[tuple[str, str]]:
    """Name and type of each column of a table's staging: its own, the source's id, and the two that judge."""
    kinds = _kinds(table)
    own = [(name, "BIGINT" if _limit(kind) is None else "VARCHAR(65535)") for name, kind in kinds.items()]
    return [*own, (REASON, "VARCHAR(256)"), (ROW, "VARCHAR(65535)")]


def judged(batch: pa.RecordBatch, table: Table) -> pa.RecordBatch:
    """A batch as the source gave it, with the staged columns. A value that its column cannot hold is NULL there."""
    columns: dict[str, pa.Array] = {}
    unfit: dict[str, list[pa.Array]] = {}
    for name, kind in _kinds(table).items():
        limit = _limit(kind)
        if limit is None:
            columns[name], unfit[name] = _integers(name, batch.column(name), kind)
        else:
            columns[name], unfit[name] = _texts(name, batch.column(name), limit)
    first = {"order_id": None, table.time: YEAR_2100}
    reasons = [
        reason for name, end in first.items() for reason in (*unfit[name], *_misplaced(name, columns[name], end))
    ]
    reasons += [reason for name in columns if name not in first for reason in unfit[name]]
    nothing = pa.nulls(batch.num_rows, pa.string())
    if not reasons:
        columns |= {REASON: nothing, ROW: nothing}
    else:
        reason = pc.coalesce(*reasons)
        rejected = pc.is_valid(reason)
        columns[REASON] = reason
        columns[ROW] = pc.replace_with_mask(nothing, rejected, _as_texts(batch.filter(rejected), list(table.columns)))
    return pa.record_batch(columns)


def _kinds(table: Table) -> dict[str, exp.DataType]:
    return table.columns | ({"source_id": exp.DataType.build("BIGINT")} if table.source.id_column else {})


def _limit(kind: exp.DataType) -> int | None:
    """How many bytes a text column holds; None for a column of integers."""
    return int(kind.expressions[0].name) if kind.is_type(*exp.DataType.TEXT_TYPES) else None


def _where(mask: pa.Array, reason: str) -> pa.Array:
    return pc.if_else(mask, reason, pa.scalar(None, pa.string()))


def _only(mask: pa.Array, values: pa.Array) -> pa.Array:
    """The values where the mask is true, NULL elsewhere."""
    return pc.if_else(mask, values, pa.scalar(None, values.type))


# Key and time


def _misplaced(name: str, values: pa.Array, end: int | None) -> list[pa.Array]:
    """Why a key or an event time cannot be used."""
    reasons = []
    bounds = pc.min_max(values).as_py()
    if values.null_count:
        reasons.append(_where(pc.is_null(values), f"{name} is NULL"))
    if bounds["min"] is not None and bounds["min"] <= 0:
        reasons.append(_where(pc.less_equal(values, 0), f"{name} is zero or negative"))
    if end is not None and bounds["max"] is not None and bounds["max"] >= end:
        reasons.append(_where(pc.greater_equal(values, end), f"{name} is beyond the year 2100 (milliseconds?)"))
    return reasons


# Integers


def _integers(name: str, values: pa.Array, kind: exp.DataType) -> tuple[pa.Array, list[pa.Array]]:
    numbers = values if pa.types.is_int64(values.type) else _whole_numbers(values)
    if kind.is_type("INT"):
        bounds = pc.min_max(numbers).as_py()
        if bounds["min"] is not None and not -INTEGER_LIMIT <= bounds["min"] <= bounds["max"] < INTEGER_LIMIT:
            fits = pc.and_(pc.greater_equal(numbers, -INTEGER_LIMIT), pc.less(numbers, INTEGER_LIMIT))
            numbers = _only(fits, numbers)
    if numbers.null_count == values.null_count:
        return numbers, []
    unfit = pc.and_(pc.is_valid(values), pc.is_null(numbers))
    article = "an INTEGER" if kind.is_type("INT") else "a BIGINT"
    return numbers, [_naming(unfit, f"{name} does not fit {article}", values)]


def _whole_numbers(values: pa.Array) -> pa.Array:
    """As int64; NULL for what is no whole number of 64 bits."""
    kind = values.type
    if pa.types.is_uint64(kind):
        return _only(pc.less_equal(values, pa.scalar(2**63 - 1, kind)), values).cast(pa.int64())
    if pa.types.is_floating(kind):
        values = values.cast(pa.float64())
        whole = pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), float(EXACT_FLOATS)))
        return _only(whole, values).cast(pa.int64())
    if pa.types.is_binary(kind):
        return _parsed(_decoded(values))
    return _parsed(values) if pa.types.is_string(kind) else values.cast(pa.int64())


def _parsed(texts: pa.Array) -> pa.Array:
    """Decimal digits with a sign or without, and no fraction but zeros: nothing else is a number here."""
    plain = pc.match_substring_regex(texts, _SURELY_64_BITS)
    numbers = _only(plain, texts).cast(pa.int64())
    if numbers.null_count == texts.null_count:
        return numbers
    others = pc.fill_null(pc.invert(plain), False)
    parsed = [_number(text) for text in texts.filter(others).to_pylist()]
    return pc.replace_with_mask(numbers, others, pa.array(parsed, pa.int64()))


def _number(text: str) -> int | None:
    if not _WHOLE.fullmatch(text):
        return None
    whole = text.split(".")[0]
    digits = whole.lstrip("+-").lstrip("0") or "0"
    number = int(digits) * (-1 if whole.startswith("-") else 1) if len(digits) < 20 else 2**63
    return number if -(2**63) <= number < 2**63 else None


# Texts


def _texts(name: str, values: pa.Array, limit: int) -> tuple[pa.Array, list[pa.Array]]:
    kind, reasons = values.type, []
    texts = _decoded(values) if pa.types.is_binary(kind) else values.cast(pa.string())
    if texts.null_count != values.null_count:
        unfit = pc.and_(pc.is_valid(values), pc.is_null(texts))
        reasons.append(_naming(unfit, f"{name} holds bytes that are no text", values))
    size = pc.binary_length(texts)
    if (pc.max(size).as_py() or 0) > limit:
        reasons.append(_where(pc.greater(size, limit), f"{name} is longer than {limit} bytes"))
    if _has_zero_byte(texts) and pc.any(nul := pc.match_substring(texts, "\0")).as_py():
        reasons.append(_naming(nul, f"{name} holds a NUL character", texts))
    return _only(pc.is_null(pc.coalesce(*reasons)), texts) if reasons else texts, reasons


def _decoded(values: pa.Array) -> pa.Array:
    """Bytes as text; NULL for what is no UTF-8."""
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([None if value is None else _utf8(value) for value in values.to_pylist()], pa.string())


def _utf8(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _has_zero_byte(texts: pa.Array) -> bool:
    """Many times as fast as a search in each text; may also be true for the bytes below a NULL."""
    _, offsets, content = texts.buffers()
    if content is None or not len(texts):
        return False
    begins = np.frombuffer(offsets, np.int32, len(texts) + 1, 4 * texts.offset)
    used = np.frombuffer(content, np.uint8)[begins[0] : begins[-1]]
    return bool(used.size) and not used.min()


# Words


def _naming(unfit: pa.Array, reason: str, values: pa.Array) -> pa.Array:
    """The reason with the value's beginning, where `unfit`. Only there is anything put into words."""
    found = values.filter(unfit)
    texts = _shown(found, NAMED_CHARACTERS)
    if pa.types.is_string(values.type):
        texts = pc.binary_join_element_wise("'", texts, "'", "")
    told = pc.binary_join_element_wise(f"{reason}: ", texts, "")
    return pc.replace_with_mask(pa.nulls(len(values), pa.string()), pc.fill_null(unfit, False), told)


def _as_texts(batch: pa.RecordBatch, names: list[str]) -> pa.Array:
    """Each row as one text: `order_id=1, tno=NULL, …`."""
    parts: list[str | pa.Array] = []
    for name in names:
        parts += [f"{', ' if parts else ''}{name}=", _shown(batch.column(name), KEPT_CHARACTERS)]
    join = partial(pc.binary_join_element_wise, null_handling="replace", null_replacement="NULL")
    return pc.utf8_slice_codeunits(join(*parts, ""), 0, KEPT_OF_ROW)


def _shown(values: pa.Array, characters: int) -> pa.Array:
    """As text for a reader: of a long one the beginning, bytes that are no text as hexadecimal digits."""
    if pa.types.is_binary(values.type):
        texts = [None if value is None else _utf8(value) or f"0x{value.hex()}" for value in values.to_pylist()]
        values = pa.array(texts, pa.string())
    texts = pc.replace_substring(values.cast(pa.string()), "\0", "\ufffd")
    cut = pc.greater(pc.utf8_length(texts), characters)
    if not pc.any(cut).as_py():
        return texts
    beginning = pc.binary_join_element_wise(pc.utf8_slice_codeunits(texts, 0, characters), "…", "")
    return pc.if_else(cut, beginning, texts)
