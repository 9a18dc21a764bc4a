"""What is listed in more than one place is whole in each, and history's tables stand before they are needed."""

from __future__ import annotations

import re

from extract.ensure_tables import missing_objects
from extract.settings import PROJECT
from extract.tables import load_config
from macros.periods import epoch


def test_every_check_is_in_the_union_and_has_its_audit() -> None:
    checks = {file.stem for file in (PROJECT / "models" / "checks").glob("*.sql")}
    text = (PROJECT / "models" / "consistency_failures.sql").read_text()
    union = text.partition("@failures_of(")[2].partition(")")[0]
    audits = text.partition("audits (")[2].partition(")")[0]
    defined = re.findall(r"^\s*name (\w+)", (PROJECT / "audits" / "consistency.sql").read_text(), re.MULTILINE)
    for listed in (re.findall(r"\w+", union), re.findall(r"\w+", audits), defined):
        assert sorted(listed) == sorted(checks)


def test_history_tables_stand_a_year_ahead() -> None:
    statements = missing_objects(load_config(), epoch(2025, 9), {}, False)
    made = {name for each in statements for name in re.findall(r"hist_uts_\d{4}_h\d", str(each))}
    assert {"hist_uts_2025_h2", "hist_uts_2026_h1", "hist_uts_2026_h2"} <= made
    assert "hist_uts_2027_h1" not in made
