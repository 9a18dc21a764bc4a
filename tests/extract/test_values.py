"""Whatever a source column holds either lands exactly or is rejected with a reason, row by row, on both engines.

Each case is a type that the source's column has, and what stands in it. Good values land, the others are rejected with
a reason that names the column and shows the value, and a second extract lands and rejects nothing more.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from sqlglot import exp

from extract import values
from extract.errors import SourceError
from extract.source import open_source
from extract.tables import load_config
from tests.conftest import START
from tests.extract.conftest import Setting
from tests.support.commands import cycle as cycle_command
from tests.support.world import MINUTE, moment

INTEGER, TEXT = "status does not fit an INTEGER: ", "tno holds bytes that are no text: "
NUL = "tno holds a NUL character: "
FULL_KEY = 2**63 - 1


@dataclass(frozen=True)
class Case:
    """`held`: the SQL literal of a value -> what lands, or the reason (a str that begins with the column's name)."""

    column: str
    kind: str
    held: dict[str, Any]
    lands: str = ""
    """The type of the raw column, where it is not that of `column`."""

    def __str__(self) -> str:
        return f"{self.lands or self.column} of {self.kind}"


TEXTS_FOR_NUMBERS = {
    "'200'": 200,
    "'-7'": -7,
    "'+5'": 5,
    "'007'": 7,
    "'3.00'": 3,
    "'2147483647'": 2**31 - 1,
    "NULL": None,
    "'N/A'": INTEGER + "'N/A'",
    "''": INTEGER + "''",
    "' 12 '": INTEGER + "' 12 '",
    "'1e3'": INTEGER + "'1e3'",
    "'0x10'": INTEGER + "'0x10'",
    "'1_0'": INTEGER + "'1_0'",
    "'+-5'": INTEGER + "'+-5'",
    "'5.'": INTEGER + "'5.'",
    "'3.5'": INTEGER + "'3.5'",
    "'١٢'": INTEGER + "'١٢'",
    "'2147483648'": INTEGER + "'2147483648'",
    "'99999999999999999999'": INTEGER + "'99999999999999999999'",
    "'a text that goes on for long'": INTEGER + "'a text that goes on for …'",
    "repeat('9', 5000)": INTEGER + f"'{'9' * 24}…'",
}
DECIMALS = {"3.00": 3, "-12.00": -12, "0": 0, "3.50": INTEGER + "'3.50'", "NULL": None, "99999999999.00": INTEGER}
DOUBLES = {"3": 3, "-0e0": 0, "3.5": INTEGER + "3.5", "1e300": INTEGER + "1e+300", "NULL": None, "1.0000001": INTEGER}
EXACT_KEYS = {"9223372036854775807": FULL_KEY}
NO_BIGINT = "order_id does not fit a BIGINT: "

LARGEST = "9999999999999999999999999999.9999999999"
SMALL, FLAG, MONEY = (
    "typed does not fit a SMALLINT: ",
    "typed does not fit a BOOLEAN: ",
    "typed does not fit a DECIMAL(5, 2): ",
)
WIDE = "typed does not fit a DECIMAL(38, 0): '170141183460469231731687…'"
REAL, DAY, MOMENT = (f"typed does not fit a {kind}: " for kind in ("DOUBLE PRECISION", "DATE", "TIMESTAMP"))
TYPED = [
    Case("typed", "SMALLINT", {"32767": 2**15 - 1, "-32768": -(2**15), "NULL": None}, "SMALLINT"),
    Case("typed", "BIGINT", {"32767": 2**15 - 1, "32768": SMALL + "32768", "-32769": SMALL + "-32769"}, "SMALLINT"),
    Case("typed", "BOOLEAN", {"true": True, "false": False, "NULL": None}, "BOOLEAN"),
    Case("typed", "INT", {"1": True, "0": False, "2": FLAG + "2", "-1": FLAG + "-1"}, "BOOLEAN"),
    Case("typed", "VARCHAR(9)", {"'1'": True, "'0'": False, "'yes'": FLAG + "'yes'"}, "BOOLEAN"),
    Case(
        "typed",
        "DECIMAL(38, 10)",
        {
            LARGEST: Decimal(LARGEST),
            f"-{LARGEST}": Decimal(f"-{LARGEST}"),
            "0.0000000001": Decimal("1e-10"),
            "NULL": None,
        },
        "DECIMAL(38, 10)",
    ),
    Case(
        "typed",
        "DECIMAL(20, 3)",
        {
            "999.990": Decimal("999.99"),
            "-0.010": Decimal("-0.01"),
            "0.005": MONEY + "'0.005'",
            "1000": MONEY + "'1000.000'",
        },
        "DECIMAL(5, 2)",
    ),
    Case("typed", "INT", {"-999": Decimal(-999), "1000": MONEY + "1000", "NULL": None}, "DECIMAL(5, 2)"),
    Case(
        "typed",
        "VARCHAR(30)",
        {
            "'+5'": Decimal(5),
            "'007.50000'": Decimal("7.5"),
            "''": MONEY + "''",
            "'1e2'": MONEY + "'1e2'",
            "'1,5'": MONEY,
        },
        "DECIMAL(5, 2)",
    ),
    Case(
        "typed",
        "DOUBLE",
        {"0.1": Decimal("0.1"), "1e-2": Decimal("0.01"), "0.125": MONEY, "1e300": MONEY},
        "DECIMAL(5, 2)",
    ),
    Case("typed", "DECIMAL(38, 0)", {"9" * 38: Decimal("9" * 38), "-1": Decimal(-1), "NULL": None}, "DECIMAL(38)"),
    Case("typed", "DECIMAL(9, 9)", {"0.999999999": Decimal("0.999999999"), "-0.5": Decimal("-0.5")}, "DECIMAL(9, 9)"),
    Case(
        "typed",
        "DOUBLE",
        {"1.7976931348623157e308": 1.7976931348623157e308, "-2.2250738585072014e-308": -2.2250738585072014e-308}
        | {"0.1": 0.1, "NULL": None},
        "DOUBLE PRECISION",
    ),
    Case(
        "typed",
        "DECIMAL(30, 20)",
        {
            "0.1": 0.1,
            "-123456789.123456": -123456789.123456,
            "0.12345678901234567890": REAL + "'0.12345678901234567890'",
        },
        "DOUBLE PRECISION",
    ),
    Case(
        "typed",
        "BIGINT",
        {"9007199254740992": 2.0**53, "9007199254740993": REAL + "9007199254740993"},
        "DOUBLE PRECISION",
    ),
    Case("typed", "VARCHAR(30)", {"'-0.5'": -0.5, "'nan'": REAL + "'nan'", "'x'": REAL + "'x'"}, "DOUBLE PRECISION"),
    Case(
        "typed",
        "DATE",
        {"'9999-12-31'": date(9999, 12, 31), "'1000-01-01'": date(1000, 1, 1), "NULL": None},
        "DATE",
    ),
    Case(
        "typed",
        "VARCHAR(40)",
        {
            "'2026-01-02 00:00:00.0'": date(2026, 1, 2),
            "'2026-01-02 00:00:01'": DAY,
            "'2026-02-30'": DAY + "'2026-02-30'",
        }
        | {
            "'0001-01-01'": date(1, 1, 1),
            "'0000-01-01'": DAY,
            "'20260102'": DAY,
            "'2026-1-2'": DAY,
            "'٢٠٢٦-01-02'": DAY,
        },
        "DATE",
    ),
    Case("typed", "INT", {"20260102": DAY + "20260102", "NULL": None}, "DATE"),
    Case(
        "typed",
        "VARCHAR(41)",
        {
            "'2026-01-02T03:04:05.120000000'": datetime(2026, 1, 2, 3, 4, 5, 120_000),
            "'2026-01-02'": datetime(2026, 1, 2),
        }
        | {"'0001-01-01 00:00:00.000001'": datetime(1, 1, 1, 0, 0, 0, 1), "'2026-02-30 00:00:00'": MOMENT}
        | {
            "'2026-01-02 03:04:05.1234567'": MOMENT,
            "'2026-01-02 24:00:00'": MOMENT,
            "'2026-01-02 03:04:05+01'": MOMENT,
        },
        "TIMESTAMP",
    ),
    Case("typed", "TIME", {"'03:04:05'": MOMENT + "'03:04:05'"}, "TIMESTAMP"),
]
LAST_MOMENT = datetime(9999, 12, 31, 23, 59, 59, 999_999)

SHARED = [
    *TYPED,
    Case("status", "VARCHAR(5000)", TEXTS_FOR_NUMBERS),
    Case("status", "DECIMAL(20, 2)", DECIMALS),
    Case("status", "DOUBLE", DOUBLES),
    Case("status", "BOOLEAN", {"true": 1, "false": 0, "NULL": None}),
    Case("status", "DATE", {"'2026-01-02'": INTEGER + "'2026-01-02'", "NULL": None}),
    Case("status", "TIME", {"'01:02:03'": INTEGER + "'01:02:03'"}),
    Case("status", "BIGINT", {"2147483648": INTEGER + "2147483648", "-2147483648": -(2**31), "NULL": None}),
    Case("tno", "INT", {"12": "12", "-1": "-1", "NULL": None}),
    Case("tno", "DOUBLE", {"0.1": "0.1", "12": "12", "NULL": None}),
    Case("tno", "DECIMAL(20, 3)", {"12.500": "12.500"}),
    Case("order_id", "VARCHAR(40)", {f"'{FULL_KEY}'": FULL_KEY, "'x'": NO_BIGINT + "'x'", "'0'": "order_id is zero"}),
    Case("order_id", "VARCHAR(41)", {f"'{2**63}'": NO_BIGINT + f"'{2**63}'", "'9000000000000000000'": 9 * 10**18}),
    Case("order_id", "DECIMAL(25, 1)", {"17.0": 17, "18.5": NO_BIGINT + "'18.5'", f"{2**64 - 1}": NO_BIGINT}),
    Case("update_time", "DECIMAL(20, 3)", {f"{START}.000": START, f"{START}.500": "update_time does not fit a BIGINT"}),
]
MYSQL = [  # every type is in test_types.py
    Case("order_id", "BIGINT UNSIGNED", EXACT_KEYS | {str(n): NO_BIGINT + str(n) for n in (2**63, 2**64 - 1)}),
    Case("update_time", "BIGINT UNSIGNED", {str(START): START, str(2**64 - 1): "update_time does not fit a BIGINT"}),
]
DUCKDB = [
    Case("typed", "UBIGINT", {"18446744073709551615": Decimal(2**64 - 1)}, "DECIMAL(20, 0)"),
    Case("typed", "FLOAT", {"0.5": Decimal("0.5"), "0.1": Decimal("0.1"), "1000": MONEY}, "DECIMAL(5, 2)"),
    Case("typed", "DOUBLE", {f"'{text}'": REAL + text for text in ("nan", "inf", "-inf")}, "DOUBLE PRECISION"),
    Case("typed", "DATE", {"'infinity'": DAY + "'infinity'", "'4000-01-01 (BC)'": DAY + "'4000-01-01 (BC)'"}, "DATE"),
    Case(
        "typed",
        "TIMESTAMP",
        {"'9999-12-31 23:59:59.999999'": LAST_MOMENT, "'0001-01-01'": datetime(1, 1, 1), "NULL": None}
        | {"'-infinity'": MOMENT + "'-infinity'", "'10000-01-01'": MOMENT},
        "TIMESTAMP",
    ),
    Case(
        "typed",
        "TIMESTAMPTZ",
        {"'2026-01-02 03:04:05.5+01'": datetime(2026, 1, 2, 2, 4, 5, 500_000), "NULL": None}
        | {"'infinity'": MOMENT + "'infinity'"},
        "TIMESTAMP",
    ),
    Case("typed", "TIMESTAMPTZ", {"'2026-01-02 23:00:00-01'": date(2026, 1, 3)}, "DATE"),
    Case(
        "typed",
        "TIMESTAMP_NS",
        {
            "'2026-01-02 03:04:05.123456'": datetime(2026, 1, 2, 3, 4, 5, 123_456),
            "'2026-01-02 03:04:05.123456789'": MOMENT + "'2026-01-02 03:04:05.1234…'",
        },
        "TIMESTAMP",
    ),
    Case(
        "typed",
        "DOUBLE /*extremes*/",
        {"'-0.0'": -0.0, "5e-324": 5e-324, "-1.7976931348623157e308": -1.7976931348623157e308},
        "DOUBLE PRECISION",
    ),
    Case("typed", "FLOAT /*extremes*/", {"0.1": 0.10000000149011612, "1e-45": 1.401298464324817e-45}, "DOUBLE"),
    Case("typed", "HUGEINT", {str(10**38 - 1): Decimal(10**38 - 1), str(2**127 - 1): WIDE}, "DECIMAL(38, 0)"),
    Case("typed", "BIT", {"'1'": True, "'0'": False, "'10'": FLAG + "'2'"}, "BOOLEAN"),
    Case("typed", "ENUM('1', 'N')", {"'1'": True, "'N'": FLAG + "'N'"}, "BOOLEAN"),
    Case("order_id", "UBIGINT", EXACT_KEYS | {str(n): NO_BIGINT + str(n) for n in (2**63, 2**64 - 1)}),
    Case("order_id", "HUGEINT", EXACT_KEYS | {str(2**100): NO_BIGINT + f"'{2**100}'"[:24]}),
    Case("update_time", "UBIGINT", {str(START): START, str(2**64 - 1): "update_time does not fit a BIGINT"}),
    Case("status", "DOUBLE /*not finite*/", {f"'{text}'": INTEGER + text for text in ("nan", "inf", "-inf")}),
    Case("status", "DOUBLE /*beyond 2^53*/", {"9007199254740993": INTEGER, "-9007199254740992": INTEGER}),
    Case("status", "FLOAT", {"16777216": 2**24, "0.5": INTEGER + "0.5"}),
    Case("status", "BIT", {"'101'": 5, f"'{'1' * 70}'": INTEGER + "'0b1"}),
    Case("status", "BLOB", {"'12'": 12, "'\\xFF'::BLOB": INTEGER + "0xff"}),
    Case("status", "JSON", {"'3'": 3, "'[3]'": INTEGER + "'[3]'"}),
    Case("status", "INTEGER[]", {"[3]": INTEGER + "'[3]'"}),
    Case("tno", "BLOB", {"'text'": "text", "'\\xFF'::BLOB": TEXT + "0xff"}),
    Case(
        "tno",
        "VARCHAR",
        {"chr(0)": "tno holds a NUL character: '\ufffd'", "repeat('z', 200000)": "tno is longer than 64 bytes"},
    ),
    Case("tno", "TIMESTAMP", {"'2026-01-02 03:04:05'": "2026-01-02 03:04:05"}),
    Case("tno", "TIMESTAMPTZ", {"'2026-01-02 03:04:05+01'": "2026-01-02 02:04:05"}),
    Case("tno", "TIME", {"'23:59:59.999999'": "23:59:59.999999", "'24:00:00'": "24:00:00"}),
    Case("tno", "ENUM('in transit', 'Zürich')", {"'Zürich'": "Zürich", "NULL": None}),
    Case("tno", "UUID", {"'123E4567-E89B-12D3-A456-426655440000'": "123e4567-e89b-12d3-a456-426655440000"}),
    Case("tno", "INTERVAL", {"INTERVAL 1 MONTH": "1 month"}),
    Case("tno", "INTEGER[]", {"[1, NULL]": "[1, NULL]"}),
    Case("tno", "DOUBLE /*extremes*/", {"'-0.0'": "-0", "5e-324": "5e-324", "'nan'": "nan"}),
]
CASES = [(source, case) for source, own in (("mysql", MYSQL), ("duckdb", DUCKDB)) for case in SHARED + own]
KINDS = {"order_id": "BIGINT", "tno": "VARCHAR(64)", "status": "INT", "update_time": "BIGINT"}


@pytest.mark.parametrize("source", ["mysql", "duckdb"])
@pytest.mark.parametrize("gateway", ["local", "redshift"])
def test_each_value_lands_exactly_or_is_rejected_with_a_reason(
    make_setting: Callable[..., Setting], source: str, gateway: str
) -> None:
    """A table with a column for each case of an ordinary column, and a row for each value, the others NULL in it."""
    setting = make_setting(source, gateway, planned=False)  # or each column would be added to a table by itself
    cases = [case for of, case in CASES if of == source and case.column in ("status", "tno", "typed")]
    config = load_config()
    uti = config.tables[0]
    added = {
        f"v{number}": exp.DataType.build(case.lands, dialect="redshift") if case.lands else uti.columns[case.column]
        for number, case in enumerate(cases)
    }
    columns = uti.columns | added
    wide = replace(uti, columns=columns, source=replace(uti.source, columns=tuple(columns)))
    listed = ", ".join(f"{name} {kind}" for name, kind in KINDS.items())
    listed += "".join(f", v{number} {case.kind}" for number, case in enumerate(cases))
    setting.run("DROP TABLE uni_tracking_info", f"CREATE TABLE uni_tracking_info ({listed})")
    wanted: dict[int, tuple[str, Any]] = {}
    inserts = []
    for number, case in enumerate(cases):
        for literal, expected in case.held.items():
            order = len(wanted) + 1
            inserts.append(
                f"INSERT INTO uni_tracking_info (order_id, tno, status, update_time, v{number}) "
                f"VALUES ({order}, 'T', 1, {START}, {literal})"
            )
            if isinstance(expected, str) and expected.startswith(case.column):
                expected = Rejected(expected.replace(case.column, f"v{number}", 1))
            wanted[order] = (f"{case} {literal[:40]}", expected)
    setting.run(*inserts)
    both = [setting.extract(replace(config, tables=(wide, *config.tables[1:])), minutes) for minutes in (15, 16)]
    assert [run["uni_tracking_info"].rows_read for run in both] == [len(wanted)] * 2
    assert both[1]["uni_tracking_info"].rows_landed == 0
    assert both[0]["uni_tracking_info"].newest == START, "the watermark moves"
    landed = {
        row[0]: [value for value in row[1:] if value is not None]
        for row in setting.raw(f"order_id, {', '.join(added)}")
    }
    rejected: dict[int, list[str]] = {}
    for _, order, reason, payload in setting.rejected():
        assert payload.startswith(f"order_id={order}, tno=T, status=1, update_time={START}, v0=")
        rejected.setdefault(order, []).append(reason)
    wrong = []
    for order, (what, expected) in wanted.items():
        if isinstance(expected, Rejected):
            (reason,) = rejected.get(order, [""])[:1]
            if not reason.startswith(expected) or len(rejected[order]) > 1 or order in landed:
                wrong.append(f"{what}: {expected!r}, but landed {landed.get(order)}, rejected {rejected.get(order)}")
        elif landed.get(order) != [expected][: expected is not None] or order in rejected:
            wrong.append(f"{what}: {expected!r}, but landed {landed.get(order)}, rejected {rejected.get(order)}")
    assert not wrong, "\n".join(wrong)


class Rejected(str):
    """How a reason begins."""


@pytest.mark.slow
@pytest.mark.parametrize("source", ["mysql", "duckdb"])
@pytest.mark.parametrize("gateway", ["local", "redshift"])
def test_a_key_and_a_time_of_another_type_are_judged_row_by_row(
    make_setting: Callable[[str, str], Setting], source: str, gateway: str
) -> None:
    """And the comparison by hours, which sums both up, works: it reads nothing that has landed."""
    setting = make_setting(source, gateway)
    for number, case in enumerate(
        case for of, case in CASES if of == source and case.column not in ("status", "tno", "typed")
    ):
        columns = KINDS | {case.column: case.kind}
        setting.run(
            "DROP TABLE uni_tracking_info",
            f"CREATE TABLE uni_tracking_info ({', '.join(f'{name} {kind}' for name, kind in columns.items())})",
        )
        good = {"order_id": str(number + 1), "tno": f"'T{number}'", "status": "1", "update_time": str(START)}
        for literal in case.held:
            setting.run(f"INSERT INTO uni_tracking_info VALUES ({', '.join((good | {case.column: literal}).values())})")
        refused = [what for what in case.held.values() if isinstance(what, str)]
        before = len(setting.rejected())
        (run, again) = [setting.extract(minutes=15 + 2 * number + more)["uni_tracking_info"] for more in (0, 1)]
        assert (run.rows_read, run.rows_rejected) == (len(case.held), len(refused)), case
        assert again.rows_landed == 0
        of_case = setting.raw(f"tno, {case.column}")
        assert sorted(value for tno, value in of_case if tno == f"T{number}") == sorted(
            what for what in case.held.values() if not isinstance(what, str)
        ), case
        reasons = [reason for _, _, reason, payload in setting.rejected() if f"tno=T{number}," in payload]
        assert len(reasons) == len(refused) == len(setting.rejected()) - before
        assert all(any(reason.startswith(what) for reason in reasons) for what in refused), (case, reasons)
        with closing(open_source(setting.url)) as rows:
            counts = rows.hourly_figures(load_config().tables[0].source, None)
        assert sum(figures.rows for figures in counts.values()) == len(case.held)
        if not refused:
            assert sum(figures.keys for figures in counts.values()) == sum(case.held.values())


@pytest.mark.parametrize("gateway", ["local", pytest.param("redshift", marks=pytest.mark.slow)])
def test_a_value_that_stopped_every_cycle_is_set_aside_and_all_else_goes_on(
    make_setting: Callable[[str, str], Setting], gateway: str
) -> None:
    """Whole cycles on a real server: one text among codes, one key beyond 63 bits, a decimal status."""
    setting = make_setting("mysql", gateway)
    setting.run(
        "ALTER TABLE uni_tracking_spath MODIFY code VARCHAR(16)",
        "ALTER TABLE ecs_order_info MODIFY order_id BIGINT UNSIGNED",
        "ALTER TABLE uni_tracking_info MODIFY status DECIMAL(10, 2)",
        f"INSERT INTO uni_tracking_info VALUES (1, 'A', 200.00, {START}), (2, 'B', 3.50, {START})",
        f"INSERT INTO ecs_order_info VALUES (1, 7, {START}), (18446744073709551615, 7, {START})",
        f"INSERT INTO uni_tracking_spath VALUES (1, {START}, '200', 0), (1, {START}, 'N/A', 1)",
    )
    for minutes in (15, 30):
        at = f"{moment(START + minutes * MINUTE):%Y-%m-%dT%H:%M:%S}"
        assert cycle_command(["--gateway", gateway, "--source", setting.url, "--at", at, "--reconcile"]) == 0
        assert sorted(row[:3] for row in setting.rejected()) == [
            ("ecs_order_info", None, "order_id does not fit a BIGINT: 18446744073709551615"),
            ("uni_tracking_info", 2, "status does not fit an INTEGER: '3.50'"),
            ("uni_tracking_spath", 1, "code does not fit an INTEGER: 'N/A'"),
        ]
        assert setting.rows("SELECT order_id, status FROM order_tracking.mart_uni_tracking_info") == [(1, 200)]
        assert setting.rows("SELECT order_id, partner_id FROM order_tracking.mart_ecs_order_info") == [(1, 7)]
        assert setting.rows("SELECT code, traceseq FROM order_tracking.mart_uni_tracking_spath") == [(200, 0)]


@pytest.mark.parametrize("gateway", ["local", pytest.param("redshift", marks=pytest.mark.slow)])
def test_the_longest_text_lands_and_one_beyond_it_is_set_aside(
    make_setting: Callable[[str, str], Setting], gateway: str
) -> None:
    """Even one that no packet of 16 MB holds, and rows whose bad key leaves two long texts to be shown."""
    setting = make_setting("mysql", gateway)
    config = load_config()
    uti = config.tables[0]
    columns = uti.columns | {
        name: exp.DataType.build("VARCHAR(65535)", dialect="redshift") for name in ("note", "more")
    }
    long = replace(uti, columns=columns, source=replace(uti.source, columns=tuple(columns)))
    (allowed,) = setting.run("SELECT @@GLOBAL.max_allowed_packet")
    setting.run("SET GLOBAL max_allowed_packet = 64 << 20")
    try:
        setting.run(
            "ALTER TABLE uni_tracking_info ADD note LONGTEXT, ADD more MEDIUMTEXT",
            f"INSERT INTO uni_tracking_info VALUES (1, 'A', 1, {START}, REPEAT('z', 65535), NULL)",
            f"INSERT INTO uni_tracking_info VALUES (2, 'B', 1, {START}, REPEAT('z', 65536), NULL)",
            f"INSERT INTO uni_tracking_info VALUES (3, 'C', 1, {START}, REPEAT('é', 20000000), NULL)",
            f"INSERT INTO uni_tracking_info VALUES (-4, 'D', 1, {START}, REPEAT('🚚', 10000), REPEAT('é', 32000))",
        )
    finally:
        setting.run(f"SET GLOBAL max_allowed_packet = {allowed[0]}")
    for minutes in (15, 16):
        run = setting.extract(replace(config, tables=(long, *config.tables[1:])), minutes)["uni_tracking_info"]
        assert (run.rows_read, run.rows_rejected) == (4, 3)
    assert setting.raw("order_id, note") == [(1, "z" * 65535)]
    assert sorted((order, reason) for _, order, reason, _ in setting.rejected()) == [
        (-4, "order_id is zero or negative"),
        (2, "note is longer than 65535 bytes"),
        (3, "note is longer than 65535 bytes"),
    ]
    assert all(len(payload.encode()) < 65535 for *_, payload in setting.rejected())


@pytest.mark.parametrize("source", ["mysql", "duckdb"])
@pytest.mark.parametrize("kind", ["TIME", "VARCHAR(20)", "DOUBLE"])
def test_a_time_that_is_no_whole_number_by_its_type_is_refused_before_anything_is_read(
    make_setting: Callable[[str, str], Setting], source: str, kind: str
) -> None:
    setting = make_setting(source, "local")
    setting.run(
        "DROP TABLE uni_tracking_info",
        f"CREATE TABLE uni_tracking_info (order_id BIGINT, tno VARCHAR(64), update_time {kind})",
    )
    with pytest.raises(SourceError, match=r"no column uni_tracking_info.status; it holds neither whole .*update_time"):
        setting.extract()


def test_a_text_that_is_no_utf8_is_given_as_bytes_and_rejected_alone() -> None:
    """A server may hold what its own character set does not allow."""
    config = load_config()
    broken = pa.array([b"good", b"\xff", None], pa.binary())
    ones = pa.array([1, 2, 3])
    batch = pa.record_batch({"order_id": ones, "tno": broken, "status": ones, "update_time": ones})
    rows = values.judged(batch, config.tables[0]).to_pylist()
    assert [(row["tno"], row[values.REASON]) for row in rows] == [("good", None), (None, TEXT + "0xff"), (None, None)]
    assert rows[1][values.ROW] == "order_id=2, tno=0xff, status=2, update_time=2"
