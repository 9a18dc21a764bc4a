"""Judging rows: what a source holds becomes what a raw column can hold, exactly, or the row is rejected with a reason.

A source gives integers, floats, bytes and texts as it holds them. Here a batch of them becomes a staged batch: each
value has its column's type, and two columns more say of each row whether it can land. Nothing is done row by row while
all is well: a look at each column's smallest and largest value, and at the shape of its texts, is enough.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime, time
from decimal import Decimal
from functools import partial
from math import isfinite
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from extract.column_types import arrow_type, with_article
from extract.tables import Table

REASON = "rejected_because"
"""The staged column that says why a row cannot land; NULL where it can."""

ROW = "rejected_row"
"""The staged column that holds a row that cannot land as text, as the source showed it; NULL where it can."""

YEAR_2100 = 4_102_444_800
EXACT_FLOATS = 2**53
"""From here on a DOUBLE skips whole numbers: which one was meant is unknown."""

KEPT_CHARACTERS = 4_000
"""How much of one text rejected_rows shows."""

KEPT_OF_ROW = 16_000
"""Characters of a whole row: at most 64,000 bytes, which a VARCHAR(65535) holds."""

NAMED_CHARACTERS = 24
"""How much of a value the reason shows, which is a VARCHAR(256)."""


def staged_columns(table: Table) -> dict[str, exp.DataType]:
    """The columns of a table's staging with their types: its own, the source's id, and the two that judge."""
    judging = {REASON: exp.DataType.build("VARCHAR(256)"), ROW: exp.DataType.build("VARCHAR(65535)")}
    return _own_columns(table) | judging


def _own_columns(table: Table) -> dict[str, exp.DataType]:
    return table.columns | ({"source_id": exp.DataType.build("BIGINT")} if table.source.id_column else {})


def judged(batch: pa.RecordBatch, table: Table) -> pa.RecordBatch:
    """A batch as the source gave it, with the staged columns. A value that its column cannot hold is NULL there."""
    columns: dict[str, pa.Array] = {}
    unfit: dict[str, list[pa.Array]] = {}
    for name, kind in _own_columns(table).items():
        judge = _texts if kind.is_type("VARCHAR") else _converted
        columns[name], unfit[name] = judge(name, batch.column(name), kind)
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


# Numbers, truth values and times


def _converted(name: str, values: pa.Array, kind: exp.DataType) -> tuple[pa.Array, list[pa.Array]]:
    """The values in their column's type, NULL for what does not fit it, and why it does not."""
    wanted = arrow_type(kind)
    if pa.types.is_integer(wanted) or pa.types.is_boolean(wanted):
        fitting = _narrowed(_whole_numbers(values), wanted)
    elif pa.types.is_floating(wanted) and pa.types.is_floating(values.type):
        fitting = _only(pc.is_finite(values), values).cast(wanted)
    else:
        fitting = _parsed(_plain_texts(values), *_way_to_parse(wanted), wanted)
    if fitting.null_count == values.null_count:
        return fitting, []
    unfit = pc.and_(pc.is_valid(values), pc.is_null(fitting))
    return fitting, [_naming(unfit, f"{name} does not fit {with_article(kind)}", values)]


def _narrowed(numbers: pa.Array, wanted: pa.DataType) -> pa.Array:
    """Numbers of 64 bits as fewer, or as true for 1 and false for 0."""
    if wanted == numbers.type:
        return numbers
    half = 2 ** (wanted.bit_width - 1)
    least, most = (0, 1) if pa.types.is_boolean(wanted) else (-half, half - 1)
    bounds = pc.min_max(numbers).as_py()
    if bounds["min"] is not None and not least <= bounds["min"] <= bounds["max"] <= most:
        numbers = _only(pc.and_(pc.greater_equal(numbers, least), pc.less_equal(numbers, most)), numbers)
    return numbers.cast(wanted)


def _whole_numbers(values: pa.Array) -> pa.Array:
    """As int64; NULL for what is no whole number of 64 bits."""
    kind = values.type
    if pa.types.is_int64(kind):
        return values
    if pa.types.is_uint64(kind):
        return _only(pc.less_equal(values, pa.scalar(2**63 - 1, kind)), values).cast(pa.int64())
    if pa.types.is_floating(kind):
        values = values.cast(pa.float64())
        whole = pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), float(EXACT_FLOATS)))
        return _only(whole, values).cast(pa.int64())
    return _parsed(_plain_texts(values), *_way_to_parse(pa.int64()), pa.int64())


def _plain_texts(values: pa.Array) -> pa.Array:
    """As texts, numbers without exponents; NULL for bytes that are no text."""
    if pa.types.is_binary(values.type):
        return _decoded(values)
    texts = values.cast(pa.string())
    if not pa.types.is_floating(values.type):
        return texts
    return pa.array([text and format(Decimal(text), "f") for text in texts.to_pylist()], pa.string())


Parse = Callable[[str], Any]


def _way_to_parse(wanted: pa.DataType) -> tuple[str, Parse]:
    """A pattern of texts that Arrow casts to this type exactly, and what becomes of any other text (None: unfit)."""
    if pa.types.is_decimal(wanted):
        whole = f"[0-9]{{1,{wanted.precision - wanted.scale}}}" if wanted.precision > wanted.scale else "0?"
        fraction = rf"(\.[0-9]{{1,{wanted.scale}}})?" if wanted.scale else ""
        return f"^-?{whole}{fraction}$", partial(_decimal, digits=wanted.precision, decimals=wanted.scale)
    if pa.types.is_floating(wanted):
        return r"^-?[0-9]{1,9}(\.[0-9]{1,6})?$", _float
    if pa.types.is_date(wanted):
        return f"^{_DAY}$", _day
    if pa.types.is_timestamp(wanted):
        return rf"^{_DAY} ([01][0-9]|2[0-3])(:[0-5][0-9]){{2}}(\.[0-9]{{1,6}})?$", _moment
    return r"^-?([0-9]{1,18}|[1-8][0-9]{18})$", _whole_number


_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]+)?|\.[0-9]+)")
"""Nothing else is a number here."""

_DAY = "[1-9][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_MOMENT = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[ T]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,6})0*)?)?")


def _parsed(texts: pa.Array, plain: str, parse: Parse, wanted: pa.DataType) -> pa.Array:
    """The texts as values of a type, NULL for those that are none: at once if they are plain, the others one by one."""
    values = pa.nulls(len(texts), wanted)
    with suppress(pa.ArrowInvalid):  # a 30th of February is plain; where one is, all are looked at
        values = _only(pc.match_substring_regex(texts, plain), texts).cast(wanted)
    if values.null_count == texts.null_count:
        return values
    others = pc.and_(pc.is_valid(texts), pc.is_null(values))
    return pc.replace_with_mask(values, others, pa.array(map(parse, texts.filter(others).to_pylist()), wanted))


def _whole_number(text: str) -> int | None:
    number = _decimal(text, digits=19, decimals=0)
    return None if number is None or not -(2**63) <= number < 2**63 else int(number)


def _decimal(text: str, *, digits: int, decimals: int) -> Decimal | None:
    """A number without more digits before and behind the point than are allowed; zeros at the ends do not count."""
    if not _NUMBER.fullmatch(text):
        return None
    whole, _, fraction = text.lstrip("+-").partition(".")
    whole, fraction = whole.lstrip("0"), fraction.rstrip("0")
    if len(whole) > digits - decimals or len(fraction) > decimals:
        return None
    return Decimal(f"{'-' if text[0] == '-' else ''}{whole or 0}.{fraction or 0}")


def _float(text: str) -> float | None:
    """Only a number that a DOUBLE shows again as it was."""
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if isfinite(value) and Decimal(repr(value)) == Decimal(text) else None


def _moment(text: str) -> datetime | None:
    found = _MOMENT.fullmatch(text)
    if not found:
        return None
    *parts, fraction = found.groups()
    with suppress(ValueError):  # a 30th of February, a year 0000
        return datetime(*(int(part or 0) for part in parts), int((fraction or "0").ljust(6, "0")))  # type: ignore
    return None


def _day(text: str) -> date | None:
    """A day, also one that is written as its midnight."""
    moment = _moment(text)
    return moment.date() if moment and moment.time() == time() else None


# Texts


def _texts(name: str, values: pa.Array, kind: exp.DataType) -> tuple[pa.Array, list[pa.Array]]:
    limit, reasons = int(kind.expressions[0].name), []
    given = values if pa.types.is_binary(values.type) else values.cast(pa.string())
    texts = _decoded(given) if pa.types.is_binary(given.type) else given
    size = pc.binary_length(given)
    # Before anything else: of what is too long only the beginning is here, and it may end within a letter.
    if (pc.max(size).as_py() or 0) > limit:
        reasons.append(_where(pc.greater(size, limit), f"{name} is longer than {limit} bytes"))
    if texts.null_count != values.null_count:
        unfit = pc.and_(pc.is_valid(values), pc.is_null(texts))
        reasons.append(_naming(unfit, f"{name} holds bytes that are no text", values))
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
    named = pc.binary_join_element_wise(f"{reason}: ", texts, "")
    return pc.replace_with_mask(pa.nulls(len(values), pa.string()), pc.fill_null(unfit, False), named)


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
