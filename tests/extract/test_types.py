"""Every type of MySQL times its extremes: what lands in raw, or why its row is rejected, on both engines.

The table below is written by hand: of each column the type at the source, the type in external_models.yaml, and of
each value what lands. Values that land come together, many to a row, so that no column shifts another; a value that is
rejected has a row of its own. The types and what is recommended for them are those of docs/source.md.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlglot import exp

from extract.reconcile import warehouse_figures
from extract.settings import PROJECT
from extract.source import open_source
from extract.tables import Table, load_config
from extract.warehouse import open_warehouse
from tests.conftest import START
from tests.extract.conftest import Setting

WRITERS_ZONE, SERVERS_ZONE = "-08:00", "+05:30"
"""Who writes to the source, and the server itself, are in other time zones than UTC."""


class No(str):
    """The reason of a rejection, without the column's name before it."""


def no(declared: str, shown: object) -> No:
    return No(f"does not fit {'an' if declared[0] == 'I' else 'a'} {declared}: {shown}")


def no_text(digits: str) -> No:
    return No(f"holds bytes that are no text: 0x{digits}")


def too_long(most: int) -> No:
    return No(f"is longer than {most} bytes")


def text(value: str) -> str:
    """A literal in which nothing has to be escaped."""
    return f"_utf8mb4 x'{value.encode().hex()}'"


@dataclass(frozen=True)
class Column:
    """A type, and what becomes of its values (as SQL literals) under the type that is recommended, and under others."""

    documented: str
    """As docs/source.md calls it."""
    kind: str
    declared: str
    held: dict[str, Any]
    others: dict[str, dict[str, Any]] = field(default_factory=dict)


def whole(documented: str, kind: str, declared: str, *values: int, **others: dict[str, Any]) -> Column:
    """Of a number that lands as it is, and in a text column as its digits."""
    held = {str(value): value for value in values}
    return Column(documented, kind, declared, held, {"VARCHAR(20)": {key: key for key in held}, **others})


LETTERS = {
    "": "",
    " ": " ",
    "a  ": "a  ",
    "NULL": "NULL",
    "Zu\u0308rich": "Zu\u0308rich",
    "👩\u200d👧 𠀀": "👩\u200d👧 𠀀",
    '\ufeffit\'s "so" \\ \\n %s': '\ufeffit\'s "so" \\ \\n %s',
    "a\n\r\tb\x01\x7f": "a\n\r\tb\x01\x7f",
}
TEXTS = {text(key): value for key, value in LETTERS.items()}
LATIN1 = {
    text(""): "",
    text("a  "): "a  ",
    text("grün €"): "grün €",
    "_latin1 x'80818d9fff'": "€\x81\x8dŸÿ",
    "_latin1 x'c3a9'": "Ã©",
}
NUL = {text("a\0b"): No("holds a NUL character: 'a\ufffdb'")}

D38 = "9999999999999999999999999999.9999999999"
D65 = "9" * 35 + "." + "9" * 30
MOST_DOUBLE, LEAST_DOUBLE = "1.7976931348623157e308", "2.2250738585072014e-308"
LAST = datetime(9999, 12, 31, 23, 59, 59)

COLUMNS = [
    # Whole numbers
    whole("`TINYINT`", "TINYINT", "SMALLINT", -128, 0, 127),
    whole("`TINYINT UNSIGNED`", "TINYINT UNSIGNED", "SMALLINT", 0, 255),
    whole("`SMALLINT`", "SMALLINT", "SMALLINT", -(2**15), 0, 2**15 - 1),
    whole("`SMALLINT UNSIGNED`", "SMALLINT UNSIGNED", "INTEGER", 0, 2**16 - 1),
    whole("`MEDIUMINT`", "MEDIUMINT", "INTEGER", -(2**23), 0, 2**23 - 1),
    whole("`MEDIUMINT UNSIGNED`", "MEDIUMINT UNSIGNED", "INTEGER", 0, 2**24 - 1),
    whole("`INT`", "INT", "INTEGER", -(2**31), 0, 2**31 - 1),
    Column(
        "`INT UNSIGNED`",
        "INT UNSIGNED",
        "BIGINT",
        {"0": 0, "4294967295": 2**32 - 1},
        {
            "INTEGER": {"2147483647": 2**31 - 1, "2147483648": no("INTEGER", 2**31)},
            "DECIMAL(5, 2)": {"999": Decimal(999), "1000": no("DECIMAL(5, 2)", 1000)},
        },
    ),
    Column(
        "`INT UNSIGNED`",
        "INT(6) UNSIGNED ZEROFILL",
        "BIGINT",
        {"0": 0, "7": 7, "4294967295": 2**32 - 1},
        {"VARCHAR(10)": {"7": "7", "4294967295": "4294967295"}},
    ),
    Column(
        "`BIGINT`",
        "BIGINT",
        "BIGINT",
        {str(value): value for value in (-(2**63), 0, 2**63 - 1)},
        {
            "VARCHAR(20)": {str(-(2**63)): str(-(2**63))},
            "DOUBLE PRECISION": {str(2**53): 2.0**53, str(2**53 + 1): no("DOUBLE PRECISION", 2**53 + 1)},
            "DATE": {"20260102": no("DATE", 20260102)},
            "TIMESTAMP": {"1767323045": no("TIMESTAMP", 1767323045)},
        },
    ),
    Column(
        "`BIGINT UNSIGNED`",
        "BIGINT UNSIGNED",
        "DECIMAL(20, 0)",
        {"0": Decimal(0), str(2**63): Decimal(2**63), str(2**64 - 1): Decimal(2**64 - 1)},
        {
            "BIGINT": {str(2**63 - 1): 2**63 - 1, str(2**63): no("BIGINT", 2**63)},
            "VARCHAR(20)": {str(2**64 - 1): str(2**64 - 1)},
        },
    ),
    # Truth values and bits
    Column(
        "`BOOLEAN`, `TINYINT(1)`",
        "BOOLEAN",
        "BOOLEAN",
        {"0": False, "1": True, "2": no("BOOLEAN", 2), "-1": no("BOOLEAN", -1)},
        {"SMALLINT": {"-128": -128, "1": 1, "127": 127}, "VARCHAR(4)": {"1": "1", "-128": "-128"}},
    ),
    Column(
        "`BIT(1)`",
        "BIT(1)",
        "BOOLEAN",
        {"b'0'": False, "b'1'": True},
        {"INTEGER": {"b'1'": 1}, "VARCHAR(1)": {"b'0'": "0", "b'1'": "1"}},
    ),
    Column(
        "`BIT(2)` to `BIT(63)`",
        "BIT(63)",
        "BIGINT",
        {"b'0'": 0, "b'101'": 5, f"b'{'1' * 63}'": 2**63 - 1},
        {"BOOLEAN": {"b'1'": True, "b'10'": no("BOOLEAN", 2)}},
    ),
    Column(
        "`BIT(64)`",
        "BIT(64)",
        "DECIMAL(20, 0)",
        {"b'0'": Decimal(0), f"b'{'1' * 64}'": Decimal(2**64 - 1)},
        {
            "BIGINT": {"b'101'": 5, f"b'{'1' * 64}'": no("BIGINT", 2**64 - 1)},
            "VARCHAR(20)": {f"b'{'1' * 64}'": str(2**64 - 1)},
        },
    ),
    # Numbers with a fraction
    Column(
        "`DECIMAL(p, s)` up to 38 digits",
        "DECIMAL(38, 10)",
        "DECIMAL(38, 10)",
        {D38: Decimal(D38), f"-{D38}": Decimal(f"-{D38}"), "0": Decimal(0), "-0.0000000001": Decimal("-1e-10")},
        {
            "VARCHAR(40)": {f"-{D38}": f"-{D38}", "0": "0.0000000000"},
            "INTEGER": {"-3": -3, "3.5": no("INTEGER", "'3.5000000000'")},
            "DOUBLE PRECISION": {
                "0.1": 0.1,
                "12345678901234567.1": no("DOUBLE PRECISION", "'12345678901234567.100000…'"),
            },
            "DECIMAL(5, 2)": {"-999.99": Decimal("-999.99"), "0.005": no("DECIMAL(5, 2)", "'0.0050000000'")},
        },
    ),
    Column(
        "`DECIMAL(p, s)` up to 38 digits",
        "DECIMAL(10, 2) UNSIGNED ZEROFILL",
        "DECIMAL(10, 2)",
        {"0": Decimal(0), "7.5": Decimal("7.50"), "99999999.99": Decimal("99999999.99")},
    ),
    Column(
        "`DECIMAL(p, s)` beyond 38 digits",
        "DECIMAL(65, 30)",
        "VARCHAR(67)",
        {D65: D65, f"-{D65}": f"-{D65}", "0": "0." + "0" * 30},
        {
            "DECIMAL(38, 10)": {
                "1.5": Decimal("1.5"),
                "-2e-10": Decimal("-2e-10"),
                D65: no("DECIMAL(38, 10)", f"'{'9' * 24}…'"),
                "2e-11": no("DECIMAL(38, 10)", "'0.0000000000200000000000…'"),
            }
        },
    ),
    Column(
        "`FLOAT`, `FLOAT(p, s)`",
        "FLOAT",
        "DOUBLE PRECISION",
        {
            "0.1": 0.10000000149011612,
            "-0e0": 0.0,
            "16777217": 16777216.0,
            "3.402823466e38": 3.4028234663852886e38,
            "-3.402823466e38": -3.4028234663852886e38,
            "1e-45": 1.401298464324817e-45,
        },
        {
            "DECIMAL(38, 10)": {
                "0.1": Decimal("0.1"),
                "3e38": no("DECIMAL(38, 10)", "3e+38"),
                "1e-45": no("DECIMAL(38, 10)", "1e-45"),
            },
            "VARCHAR(20)": {"0.1": "0.1", "3.402823466e38": "3.4028235e+38", "1e-45": "1e-45"},
        },
    ),
    Column(
        "`FLOAT`, `FLOAT(p, s)`",
        "FLOAT(7, 4)",
        "DOUBLE PRECISION",
        {"123.45678": 123.45680236816406, "-999.9999": -999.9998779296875, "0": 0.0},
        {"DECIMAL(7, 4)": {"123.45678": Decimal("123.4568"), "-999.9999": Decimal("-999.9999")}},
    ),
    Column(
        "`DOUBLE`",
        "DOUBLE",
        "DOUBLE PRECISION",
        {
            "0.1": 0.1,
            "-0e0": 0.0,
            MOST_DOUBLE: float(MOST_DOUBLE),
            f"-{MOST_DOUBLE}": -float(MOST_DOUBLE),
            LEAST_DOUBLE: float(LEAST_DOUBLE),
            "5e-324": 5e-324,
        },
        {
            "DECIMAL(38, 10)": {
                "0.1": Decimal("0.1"),
                "1e22": Decimal(10**22),
                "-0e0": Decimal(0),
                "1e300": no("DECIMAL(38, 10)", "1e+300"),
                "1e-11": no("DECIMAL(38, 10)", "1e-11"),
            },
            "INTEGER": {"-3e0": -3, "3.5e0": no("INTEGER", "3.5"), "1e300": no("INTEGER", "1e+300")},
            "BIGINT": {"9007199254740991": 2**53 - 1, "9007199254740992": no("BIGINT", "9.007199254740992e+15")},
            "VARCHAR(30)": {
                "0.1": "0.1",
                MOST_DOUBLE: "1.7976931348623157e+308",
                "5e-324": "5e-324",
            },
        },
    ),
    # Times
    Column(
        "`DATE`",
        "DATE",
        "DATE",
        {
            "'1000-01-01'": date(1000, 1, 1),
            "'9999-12-31'": date(9999, 12, 31),
            "'0001-01-01'": date(1, 1, 1),
            "'2024-02-29'": date(2024, 2, 29),
            "'0000-00-00'": no("DATE", "'0000-00-00'"),
            "'2024-00-00'": no("DATE", "'2024-00-00'"),
            "'2024-02-30'": no("DATE", "'2024-02-30'"),
            "'0000-01-01'": no("DATE", "'0000-01-01'"),
        },
        {
            "VARCHAR(10)": {
                "'0000-00-00'": "0000-00-00",
                "'2024-00-00'": "2024-00-00",
                "'2024-02-30'": "2024-02-30",
                "'9999-12-31'": "9999-12-31",
            },
            "TIMESTAMP": {
                "'2024-02-29'": datetime(2024, 2, 29),
                "'0000-00-00'": no("TIMESTAMP", "'0000-00-00'"),
            },
        },
    ),
    Column(
        "`DATETIME(f)`",
        "DATETIME",
        "TIMESTAMP",
        {
            "'1000-01-01'": datetime(1000, 1, 1),
            "'9999-12-31 23:59:59'": LAST,
            "'0000-00-00 00:00:00'": no("TIMESTAMP", "'0000-00-00 00:00:00'"),
            "'2024-00-00 00:00:00'": no("TIMESTAMP", "'2024-00-00 00:00:00'"),
            "'2024-02-30 01:02:03'": no("TIMESTAMP", "'2024-02-30 01:02:03'"),
        },
        {
            "DATE": {
                "'2024-02-29 00:00:00'": date(2024, 2, 29),
                "'2024-02-29 00:00:01'": no("DATE", "'2024-02-29 00:00:01'"),
            },
            "VARCHAR(19)": {
                "'0000-00-00 00:00:00'": "0000-00-00 00:00:00",
                "'2024-02-30 01:02:03'": "2024-02-30 01:02:03",
            },
        },
    ),
    Column(
        "`DATETIME(f)`",
        "DATETIME(6)",
        "TIMESTAMP",
        {
            "'9999-12-31 23:59:59.999999'": LAST.replace(microsecond=999_999),
            "'0001-01-01 00:00:00.000001'": datetime(1, 1, 1, microsecond=1),
            "'0000-00-00'": no("TIMESTAMP", "'0000-00-00 00:00:00.0000…'"),
        },
        {
            "DATE": {
                "'2024-02-29'": date(2024, 2, 29),
                "'2024-02-29 00:00:00.000001'": no("DATE", "'2024-02-29 00:00:00.0000…'"),
            },
            "VARCHAR(26)": {
                "'0000-00-00'": "0000-00-00 00:00:00.000000",
                "'2024-02-29 01:02:03.5'": "2024-02-29 01:02:03.500000",
            },
        },
    ),
    Column(
        "`TIMESTAMP(f)`",
        "TIMESTAMP(3) NULL",
        "TIMESTAMP",
        {
            "'1969-12-31 16:00:01'": datetime(1970, 1, 1, 0, 0, 1),
            "'2026-01-01 23:04:05.678'": datetime(2026, 1, 2, 7, 4, 5, 678_000),
            "'2038-01-18 19:14:07.999'": datetime(2038, 1, 19, 3, 14, 7, 999_000),
            "'0000-00-00'": no("TIMESTAMP", "'0000-00-00 00:00:00.000'"),
        },
    ),
    Column(
        "`TIMESTAMP(f)`",
        "TIMESTAMP(6) NULL",
        "TIMESTAMP",
        {"'2026-01-01 23:04:05.000001'": datetime(2026, 1, 2, 7, 4, 5, 1)},
        {
            "VARCHAR(26)": {"'2026-01-01 23:04:05.000001'": "2026-01-02 07:04:05.000001"},
            "DATE": {
                "'2026-01-01 16:00:00'": date(2026, 1, 2),
                "'2026-01-01 00:00:00'": no("DATE", "'2026-01-01 08:00:00.0000…'"),
            },
            "BIGINT": {"'2026-01-01 16:00:00'": no("BIGINT", "'2026-01-02 00:00:00.0000…'")},
        },
    ),
    Column(
        "`TIME(f)`",
        "TIME(6)",
        "VARCHAR(17)",
        {
            "'-838:59:59.999999'": "-838:59:59.999999",
            "'838:59:59.999999'": "838:59:59.999999",
            "'00:00:00'": "00:00:00.000000",
            "'-00:00:00.5'": "-00:00:00.500000",
        },
        {"TIMESTAMP": {"'03:04:05'": no("TIMESTAMP", "'03:04:05.000000'")}},
    ),
    Column("`TIME(f)`", "TIME", "VARCHAR(17)", {"'-838:59:59'": "-838:59:59", "'24:00:00'": "24:00:00"}),
    Column(
        "`YEAR`",
        "YEAR",
        "SMALLINT",
        {"'0000'": 0, "1901": 1901, "2155": 2155},
        {"VARCHAR(4)": {"'0000'": "0000", "2155": "2155"}, "DATE": {"2026": no("DATE", "'2026'")}},
    ),
    # Texts
    Column(
        "`CHAR(n)`, `VARCHAR(n)`",
        "CHAR(20)",
        "VARCHAR(80)",
        TEXTS | {text(" "): "", text("a  "): "a", "REPEAT('🚚', 20)": "🚚" * 20, **NUL},
    ),
    Column(
        "`CHAR(n)`, `VARCHAR(n)`",
        "VARCHAR(255)",
        "VARCHAR(1020)",
        TEXTS | {"REPEAT('🚚', 255)": "🚚" * 255, **NUL},
        {
            "VARCHAR(8)": {text("Zürich "): "Zürich ", text("Zürich  "): too_long(8), text("🚚🚚"): "🚚🚚"},
            "INTEGER": {
                "'200'": 200,
                "'-7'": -7,
                "'+007'": 7,
                "'3.00'": 3,
                "'N/A'": no("INTEGER", "'N/A'"),
                "''": no("INTEGER", "''"),
                "' 12'": no("INTEGER", "' 12'"),
                "'1e3'": no("INTEGER", "'1e3'"),
            },
            "BOOLEAN": {"'1'": True, "'0'": False, "'Y'": no("BOOLEAN", "'Y'")},
            "DATE": {"'2024-02-29'": date(2024, 2, 29), "'29.2.2024'": no("DATE", "'29.2.2024'")},
            "TIMESTAMP": {
                "'2024-02-29T01:02:03.5'": datetime(2024, 2, 29, 1, 2, 3, 500_000),
                "'2024-02-29 01:02:03+01'": no("TIMESTAMP", "'2024-02-29 01:02:03+01'"),
            },
            "DOUBLE PRECISION": {"'-0.5'": -0.5, "'nan'": no("DOUBLE PRECISION", "'nan'")},
            "DECIMAL(5, 2)": {"'007.50'": Decimal("7.5"), "'7,50'": no("DECIMAL(5, 2)", "'7,50'")},
        },
    ),
    Column(
        "`CHAR(n)`, `VARCHAR(n)` in latin1",
        "CHAR(20) CHARACTER SET latin1",
        "VARCHAR(60)",
        LATIN1 | {text("a  "): "a", "REPEAT('€', 20)": "€" * 20, **NUL},
    ),
    Column(
        "`CHAR(n)`, `VARCHAR(n)` in latin1",
        "VARCHAR(255) CHARACTER SET latin1",
        "VARCHAR(765)",
        LATIN1 | {"REPEAT('€', 255)": "€" * 255, **NUL},
        {"VARCHAR(5)": {text("grün"): "grün", text("grüne"): too_long(5)}},
    ),
    Column("`TINYTEXT`", "TINYTEXT", "VARCHAR(255)", TEXTS | {"REPEAT('é', 127)": "é" * 127, **NUL}),
    Column(
        "`TINYTEXT` in latin1",
        "TINYTEXT CHARACTER SET latin1",
        "VARCHAR(765)",
        LATIN1 | {"REPEAT('€', 255)": "€" * 255, **NUL},
    ),
    Column(
        "`TEXT`",
        "TEXT",
        "VARCHAR(65535)",
        TEXTS | {"REPEAT('z', 65535)": "z" * 65535, "REPEAT('🚚', 16383)": "🚚" * 16383, **NUL},
    ),
    Column(
        "`TEXT` in latin1",
        "TEXT CHARACTER SET latin1",
        "VARCHAR(65535)",
        LATIN1 | {"REPEAT('z', 65535)": "z" * 65535, "REPEAT('é', 32768)": too_long(65535), **NUL},
    ),
    Column(
        "`MEDIUMTEXT`, `LONGTEXT`",
        "MEDIUMTEXT",
        "VARCHAR(65535)",
        TEXTS | {"REPEAT('z', 65535)": "z" * 65535, "REPEAT('z', 65536)": too_long(65535), **NUL},
    ),
    Column(
        "`MEDIUMTEXT`, `LONGTEXT`",
        "LONGTEXT",
        "VARCHAR(65535)",
        TEXTS | {"REPEAT('é', 32767)": "é" * 32767, "REPEAT('🚚', 1000000)": too_long(65535), **NUL},
        {"VARCHAR(64)": {"REPEAT('z', 64)": "z" * 64, "REPEAT('🚚', 1000000)": too_long(64)}},
    ),
    Column(
        "`JSON`",
        "JSON",
        "VARCHAR(65535)",
        {
            text('{"a": [1, null, "é👍\\u00e9"]}'): '{"a": [1, null, "é👍\\u00e9"]}',
            "'null'": "null",
            "CONCAT('[', REPEAT('1,', 40000), '1]')": too_long(65535),
        },
        {"INTEGER": {"'3'": 3, "'[3]'": no("INTEGER", "'[3]'"), "'\"3\"'": no("INTEGER", "'\"3\"'")}},
    ),
    Column(
        "`ENUM`, `SET`",
        "ENUM('new', 'in transit', 'Zürich')",
        "VARCHAR(40)",
        {"'new'": "new", "'in transit'": "in transit", text("Zürich"): "Zürich", "'no such member'": ""},
        {"SMALLINT": {"'new'": no("SMALLINT", "'new'")}},
    ),
    Column(
        "`ENUM`, `SET`",
        "SET('a', 'b', 'ü')",
        "VARCHAR(20)",
        {"''": "", "'b,a'": "a,b", text("a,b,ü"): "a,b,ü"},
    ),
    # Bytes
    Column(
        "`BINARY(n)`, `VARBINARY(n)`",
        "BINARY(4)",
        "VARCHAR(4)",
        {
            "'abcd'": "abcd",
            "'ab'": No("holds a NUL character: 'ab\ufffd\ufffd'"),
            "x'ff000102'": no_text("ff000102"),
        },
    ),
    Column(
        "`BINARY(n)`, `VARBINARY(n)`",
        "VARBINARY(20)",
        "VARCHAR(20)",
        {
            "''": "",
            text("grün  "): "grün  ",
            "REPEAT('z', 20)": "z" * 20,
            "x'c3'": no_text("c3"),
            "x'eda080'": no_text("eda080"),
            **NUL,
        },
        {"INTEGER": {"'12'": 12, "x'ff'": no("INTEGER", "0xff"), "'N/A'": no("INTEGER", "N/A")}},
    ),
    Column(
        "`TINYBLOB` to `LONGBLOB`",
        "BLOB",
        "VARCHAR(65535)",
        {"'text'": "text", "REPEAT('z', 65535)": "z" * 65535, "x'fffefd'": no_text("fffefd")},
    ),
    Column(
        "`TINYBLOB` to `LONGBLOB`",
        "LONGBLOB",
        "VARCHAR(65535)",
        {
            "''": "",
            "CONCAT('a', REPEAT('é', 32767))": "a" + "é" * 32767,
            "CONCAT('a', REPEAT('é', 40000))": too_long(65535),
            "REPEAT(x'ff', 70000)": too_long(65535),
        },
    ),
    # MariaDB's own
    Column(
        "`INET4`, `INET6`", "INET4", "VARCHAR(39)", {"'0.0.0.0'": "0.0.0.0", "'255.255.255.255'": "255.255.255.255"}
    ),
    Column(
        "`INET4`, `INET6`",
        "INET6",
        "VARCHAR(39)",
        {
            "'::'": "::",
            "'::ffff:1.2.3.4'": "::ffff:1.2.3.4",
            "'FFFF:ffff:ffff:ffff:ffff:ffff:ffff:ffff'": "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        },
    ),
    Column(
        "`UUID`",
        "UUID",
        "VARCHAR(36)",
        {
            "'00000000-0000-0000-0000-000000000000'": "00000000-0000-0000-0000-000000000000",
            "'123E4567-E89B-12D3-A456-426655440000'": "123e4567-e89b-12d3-a456-426655440000",
        },
    ),
    # What no column can hold
    Column(
        "`POINT` and other geometry",
        "POINT",
        "",
        {},
        {
            "VARCHAR(64)": {
                "POINT(1, 2)": no_text("0000000001010000000000…"),
                "POINT(0, 0)": No("holds a NUL character: '\ufffd\ufffd\ufffd\ufffd\x01\x01" + "\ufffd" * 18 + "…'"),
            }
        },
    ),
]


SECTION = (PROJECT / "docs" / "source.md").read_text().partition("## Types\n")[2].partition("\n## ")[0]
TABLE = [[cell.strip() for cell in line.strip("|").split("|")] for line in SECTION.splitlines() if line[:1] == "|"][2:]


@dataclass(frozen=True)
class Reading:
    """One column of the source under one declared type."""

    name: str
    column: Column
    declared: str
    lands: dict[str, Any]
    rejected: dict[str, No]


def readings() -> list[Reading]:
    """Each column of the table once for each type that it is declared as."""
    found = []
    for column in COLUMNS:
        tried = ({column.declared: column.held} if column.declared else {}) | column.others
        for declared, held in tried.items():
            lands = {literal: value for literal, value in held.items() if not isinstance(value, No)}
            rejected = {literal: value for literal, value in held.items() if isinstance(value, No)}
            found.append(Reading(f"c{len(found)}", column, declared, lands, rejected))
    return found


def alike(one: Any, other: Any) -> bool:
    """Of one type and equal, and of the same sign: 1 is not True, and -0.0 is not 0.0."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return type(one) is type(other) and bool(one == other)


def short(value: Any) -> str:
    return repr(value) if len(repr(value)) < 90 else f"{repr(value)[:90]}… ({len(repr(value))})"


@pytest.mark.parametrize("gateway", ["local", pytest.param("redshift", marks=pytest.mark.slow)])
def test_each_type_lands_exactly_or_is_rejected_with_its_reason(
    make_setting: Callable[..., Setting], gateway: str
) -> None:
    setting = make_setting("mysql", gateway, planned=False)  # or each column would be added to a table by itself
    every = readings()
    config = load_config()
    uti = config.tables[0]
    columns = uti.columns | {
        reading.name: exp.DataType.build(reading.declared, dialect="redshift") for reading in every
    }
    wide = replace(uti, columns=columns, source=replace(uti.source, columns=tuple(columns)))
    listed = ", ".join(f"{reading.name} {reading.column.kind}" for reading in every)
    wanted: dict[int, dict[str, Any]] = {}
    rejected: dict[int, str] = {}
    inserts: list[str] = []

    def add(values: dict[str, str]) -> int:
        order = len(inserts) + 1
        names = ", ".join(["order_id", "tno", "status", "update_time", *values])
        literals = ", ".join([str(order), "'T'", "1", str(START), *values.values()])
        inserts.append(f"INSERT INTO uni_tracking_info ({names}) VALUES ({literals})")
        return order

    most = max(len(reading.lands) for reading in every)
    for number in range(most):
        chosen = {}
        for reading in every:
            if reading.lands:
                literals = list(reading.lands)
                chosen[reading.name] = literals[number % len(literals)]
        order = add(chosen)
        wanted[order] = {
            reading.name: reading.lands[chosen[reading.name]] if reading.lands else None for reading in every
        }
    wanted[add({})] = {reading.name: None for reading in every}
    for reading in every:
        for literal, reason in reading.rejected.items():
            rejected[add({reading.name: literal})] = f"{reading.name} {reason}"

    setting.run(
        "DROP TABLE uni_tracking_info",
        f"CREATE TABLE uni_tracking_info (order_id BIGINT, tno VARCHAR(64), status INT, update_time BIGINT, {listed}) "
        "ROW_FORMAT=DYNAMIC",
        f"SET SESSION sql_mode = 'ALLOW_INVALID_DATES', time_zone = '{WRITERS_ZONE}'",
        *inserts,
    )
    ((zone,),) = setting.run("SELECT @@GLOBAL.time_zone")
    setting.run(f"SET GLOBAL time_zone = '{SERVERS_ZONE}'")
    try:
        run = setting.extract(replace(config, tables=(wide, *config.tables[1:])))["uni_tracking_info"]
    finally:
        setting.run(f"SET GLOBAL time_zone = '{zone}'")
    assert run.rows_read == len(inserts)
    landed = {order: values for order, *values in setting.raw(f"order_id, {', '.join(r.name for r in every)}")}
    reasons: dict[int, list[str]] = {}
    for _, order, reason, _ in setting.rejected():
        reasons.setdefault(order, []).append(reason)
    wrong = [
        f"row {order}: landed: {order in landed}, rejected: {reasons.get(order)}"
        for order in range(1, len(inserts) + 1)
        if (order in landed) is not (order in wanted) or (order in reasons) is not (order in rejected)
    ]
    for order, values in wanted.items():
        for reading, value in zip(every, landed.get(order, []), strict=order in landed):
            if not alike(value, values[reading.name]):
                wrong.append(
                    f"{reading.column.kind} as {reading.declared}: "
                    f"{short(values[reading.name])} was expected, {short(value)} landed"
                )
    for order, reason in rejected.items():
        if reasons.get(order) != [reason]:
            reading = next(one for one in every if one.name == reason.split()[0])
            wrong.append(
                f"{reading.column.kind} as {reading.declared}: {reason!r} was expected, rejected {reasons.get(order)}"
            )
    assert not wrong, "\n".join(dict.fromkeys(wrong))
    setting.run(f"DELETE FROM uni_tracking_info WHERE order_id IN ({', '.join(map(str, rejected))})")
    disagreeing = disagreeing_fingerprints(setting, wide, [one.name for one in every])
    unlike = [f"{one.column.kind} as {one.declared}" for one in every if one.name in disagreeing]
    assert not unlike, f"the source's fingerprint is another one than the warehouse's: {unlike}"


def disagreeing_fingerprints(setting: Setting, table: Table, columns: Sequence[str]) -> set[str]:
    """The columns of which a reconcile would compare one fingerprint of the source with another of the warehouse."""
    with closing(open_source(setting.url)) as source, closing(open_warehouse(setting.gateway)) as warehouse:

        def agree(names: Iterable[str]) -> bool:
            kinds = {name: table.columns[name] for name in ("order_id", *names)}
            shown = replace(table.source, columns=tuple(kinds), types=kinds)
            theirs = source.hourly_figures(shown, None, content=True)
            return theirs == warehouse_figures(warehouse, table, 0, content=list(kinds))

        types = {name: table.columns[name] for name in columns}
        compared = source.content_columns(replace(table.source, columns=tuple(types), types=types))
        return set() if agree(compared) else {name for name in compared if not agree([name])}


EMBEDDED = [
    ("BOOLEAN", "true", "BOOLEAN"),
    ("BOOLEAN", "true", "VARCHAR(5)"),
    ("BIT", "'0101'", "VARCHAR(20)"),
    ("BIT", "'0101'", "BIGINT"),
    ("BIT", f"'{'01' * 40}'", "VARCHAR(100)"),
    ("BLOB", "encode('grün\n\\x')", "VARCHAR(20)"),
    ("BLOB", "encode('12')", "INTEGER"),
    ("BLOB", f"encode('{'ü' * 200}')", "VARCHAR(400)"),
    ("TIMESTAMPTZ", "'2026-01-02 03:04:05.5+01'", "TIMESTAMP"),
    ("TIMESTAMPTZ", "'2026-01-02 03:04:05.5+01'", "VARCHAR(40)"),
    ("TIMESTAMP_NS", "'2026-01-02 03:04:05.123456'", "TIMESTAMP"),
    ("TIMESTAMP_MS", "'2026-01-02 03:04:05.1'", "VARCHAR(40)"),
    ("DATE", "'2026-01-02'", "TIMESTAMP"),
    ("UBIGINT", str(2**64 - 1), "DECIMAL(20, 0)"),
    ("HUGEINT", str(-(2**100)), "VARCHAR(40)"),
    ("DECIMAL(38, 10)", D38, "DECIMAL(38, 10)"),
    ("DECIMAL(38, 10)", "1.5", "VARCHAR(40)"),
    ("DECIMAL(3, 1)", "1.0", "BOOLEAN"),
    ("DOUBLE", "0.1", "DOUBLE PRECISION"),
    ("VARCHAR", "'007.50'", "DECIMAL(5, 2)"),
    ("UUID", "'5e9fc5a8-5b5e-4f0f-9c1a-0f7f3b0f6f11'", "VARCHAR(40)"),
    ("INTEGER[]", "[1, NULL]", "VARCHAR(40)"),
]
"""Type at an embedded source, a value, and the type it lands as."""


def test_the_fingerprint_of_an_embedded_source_is_of_what_lands(make_setting: Callable[..., Setting]) -> None:
    setting = make_setting("duckdb", "local", planned=False)
    listed = ", ".join(f"c{number} {kind}" for number, (kind, *_) in enumerate(EMBEDDED))
    literals = ", ".join(literal for _, literal, _ in EMBEDDED)
    setting.run(
        "DROP TABLE uni_tracking_info",
        f"CREATE TABLE uni_tracking_info (order_id BIGINT, tno VARCHAR, status INT, update_time BIGINT, {listed})",
        f"INSERT INTO uni_tracking_info VALUES (1, 'T', 1, {START}, {literals})",
        f"INSERT INTO uni_tracking_info (order_id, tno, status, update_time) VALUES (2, 'T', 1, {START})",
    )
    config = load_config()
    added = {
        f"c{number}": exp.DataType.build(landed, dialect="redshift") for number, (*_, landed) in enumerate(EMBEDDED)
    }
    columns = config.tables[0].columns | added
    wide = replace(config.tables[0], columns=columns, source=replace(config.tables[0].source, columns=tuple(columns)))
    assert setting.extract(replace(config, tables=(wide, *config.tables[1:])))["uni_tracking_info"].rows_rejected == 0
    disagreeing = disagreeing_fingerprints(setting, wide, added)
    unlike = [of for name, of in zip(added, EMBEDDED, strict=True) if name in disagreeing]
    assert not unlike


@pytest.mark.parametrize("kind", ["DECIMAL(12, 2)", "INT(12) UNSIGNED ZEROFILL", "BIGINT", "DATETIME"])
def test_the_fingerprint_of_an_event_time_is_of_its_seconds(make_setting: Callable[..., Setting], kind: str) -> None:
    setting = make_setting("mysql", "local", planned=False)
    setting.run(
        f"ALTER TABLE uni_tracking_info MODIFY update_time {kind}",
        "INSERT INTO uni_tracking_info VALUES "
        f"(1, 'T', 1, {f'FROM_UNIXTIME({START})' if kind == 'DATETIME' else START})",
    )
    config = load_config()
    assert setting.extract(config)["uni_tracking_info"].rows_read == 1
    assert not disagreeing_fingerprints(setting, config.tables[0], ["update_time"])


def test_a_column_that_a_view_gives_as_null_is_null(make_setting: Callable[..., Setting]) -> None:
    """It has a type of its own in the protocol, whatever it is declared as, and may stand between others."""
    setting = make_setting("mysql", "local", planned=False)
    kinds = ["INTEGER", "BOOLEAN", "DECIMAL(5, 2)", "DOUBLE PRECISION", "DATE", "TIMESTAMP", "VARCHAR(9)"]
    empty = {f"c{number}": kind for number, kind in enumerate(kinds)}
    listed = ", ".join(f"NULL AS {name}" for name in empty)
    setting.run(
        "ALTER TABLE uni_tracking_info ADD note VARCHAR(9), RENAME TO kept",
        f"INSERT INTO kept VALUES (1, 'A', 200, {START}, 'text'), (2, 'B', NULL, {START}, NULL)",
        f"CREATE VIEW uni_tracking_info AS SELECT order_id, {listed}, tno, status, update_time, note FROM kept",
    )
    config = load_config()
    uti = config.tables[0]
    added = {name: exp.DataType.build(kind, dialect="redshift") for name, kind in empty.items()}
    columns = added | uti.columns | {"note": exp.DataType.build("VARCHAR(9)")}
    wide = replace(uti, columns=columns, source=replace(uti.source, columns=tuple(columns)))
    run = setting.extract(replace(config, tables=(wide, *config.tables[1:])))["uni_tracking_info"]
    assert (run.rows_read, run.rows_rejected) == (2, 0)
    nothing = (None,) * len(empty)
    rows = setting.raw(f"order_id, {', '.join(empty)}, tno, status, note")
    assert sorted(rows) == [(1, *nothing, "A", 200, "text"), (2, *nothing, "B", None, None)]


def test_views_at_the_source_show_bytes_and_mend_letters(make_setting: Callable[..., Setting]) -> None:
    """As docs/source.md says."""
    shown = re.findall(r"`(\w+\(.* AS (?:note|hash))`", SECTION)
    assert len(shown) == 2
    setting = make_setting("mysql", "local", planned=False)
    setting.run(
        "ALTER TABLE uni_tracking_info ADD note VARCHAR(9) CHARACTER SET latin1, ADD hash BINARY(3), RENAME TO kept",
        f"INSERT INTO kept VALUES (1, 'A', 200, {START}, _latin1 x'c3a9', x'00ff01'), (2, 'B', 1, {START}, NULL, NULL)",
        f"CREATE VIEW uni_tracking_info AS SELECT order_id, tno, status, update_time, {', '.join(shown)} FROM kept",
    )
    config = load_config()
    uti = config.tables[0]
    columns = uti.columns | {"note": exp.DataType.build("VARCHAR(9)"), "hash": exp.DataType.build("VARCHAR(6)")}
    wide = replace(uti, columns=columns, source=replace(uti.source, columns=tuple(columns)))
    setting.extract(replace(config, tables=(wide, *config.tables[1:])))
    assert sorted(setting.raw("order_id, note, hash")) == [(1, "é", "00FF01"), (2, None, None)]


def test_the_documents_table_is_this_one() -> None:
    """Each type, in this order, with what to write; `n`, `p` and `s` stand for the numbers of the type."""
    documented = list(dict.fromkeys(column.documented for column in COLUMNS))
    assert [kind for kind, *_ in TABLE] == documented
    for kind, write, *_ in TABLE:
        for column in of_kind(kind):
            assert in_numbers(write.strip("`"), column) == (column.declared or "leave it out"), column.kind


def test_the_documents_show_what_is_seen_here() -> None:
    """`nothing` is rejected where no value is. A value that is shown has landed, or stands in a reason."""
    for kind, _, lands, rejected in TABLE:
        columns = [column for column in of_kind(kind) if column.declared]
        refused = any(isinstance(value, No) for column in columns for value in column.held.values())
        assert (rejected == "nothing") is not (refused or not columns), kind
        tried = [pair for column in columns for pair in [(column.declared, column.held), *column.others.items()]]
        values = [value for _, held in tried for value in held.values()]
        seen = {str(value) for value in values if not isinstance(value, No)} | {declared for declared, _ in tried}
        reasons = [value for value in values if isinstance(value, No)]
        for shown in re.findall(r"`([^`]+)`", f"{lands} {rejected}"):
            assert shown in seen or any(shown in reason for reason in reasons), (kind, shown)


def of_kind(documented: str) -> list[Column]:
    return [column for column in COLUMNS if column.documented == documented]


def in_numbers(written: str, column: Column) -> str:
    """A type as the document writes it, with the column's numbers: `VARCHAR(4n)` of 20 letters is VARCHAR(80)."""
    letters = max([len(value) for value in column.held.values() if type(value) is str], default=0)
    digits = [*re.findall(r"[0-9]+", column.kind), "", ""]
    written = re.sub(r"\b([0-9]*)n\b", lambda found: str(int(found[1] or 1) * letters), written)
    written = written.replace("p + 2", str(int(digits[0] or 0) + 2))
    return re.sub(r"\b[ps]\b", lambda found: digits["ps".index(found[0])], written)
