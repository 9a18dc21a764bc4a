"""The documents point to what is there: links, headings, files, and the sections that messages send an operator to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from extract.settings import PROJECT

PAGES = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").glob("*.md")])
CODE = sorted(
    file for folder in ("extract", "macros", "scripts", "models", "bench") for file in (PROJECT / folder).rglob("*.*")
)
FILE = re.compile(r"`((?:audits|bench|docs|extract|macros|models|scripts|tests)/[\w/.*-]*\.\w+)`")
SECTION = re.compile(r"docs/(\w+)\.md,\s+'([^']+)'")


def headings(page: Path) -> list[str]:
    """The texts of a page's headings, code blocks left out."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"^#+ (.+)$", text, re.MULTILINE)


def anchor(heading: str) -> str:
    """The anchor that a page on GitHub has for a heading.

    >>> anchor("3. Why delete+insert for uti")
    '3-why-deleteinsert-for-uti'
    """
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("http"):
            continue
        name, _, section = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (section and section not in {anchor(heading) for heading in headings(file)}):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    """A name in capitals stands for one that is yet to be chosen."""
    named = {name for name in FILE.findall(page.read_text()) if not Path(name).stem.isupper()}
    assert not [name for name in sorted(named) if not list(PROJECT.glob(name))]


OLD_WORDS = """incremental_predicates, safety check, hist_*_all, hist_uti_YYYY_HX, dormant, anti-join, NOT IN,
DELETE USING, NOT EXISTS, idempotent, dbt, post_hook, reactivation, order_tracking_exceptions, unresolved, monitoring,
source_cutoff, buffer, lookback, anchor, cutoff, period, routing, trim, archive, ranked, stale, co-located,
broadcast, extract_uti, Airflow, parallel, VACUUM, distkey, sort key"""


@pytest.mark.parametrize("word", re.split(r",\s+", OLD_WORDS))
def test_a_word_of_the_old_walkthrough_is_found_in_the_table(word: str) -> None:
    page = (PROJECT / "docs" / "walkthrough.md").read_text()
    table = page.split("## Find a word")[1].split("\n## ")[0]
    assert word in table


def test_every_function_that_the_walkthrough_names_stands_in_its_file() -> None:
    """Behind a link to a Python file, with nothing but commas, words and other names between."""
    named = [
        (file, name)
        for file, names in re.findall(
            r"\]\(\.\./([\w/]+\.py)\),?((?: *(?:,|function|functions|class|and)? *`\w+`)+)",
            (PROJECT / "docs" / "walkthrough.md").read_text(),
        )
        for name in re.findall(r"`(\w+)`", names)
    ]
    assert len(named) > 40
    assert not [
        (file, name)
        for file, name in named
        if not re.search(rf"^(?:def|class) {name}\b", (PROJECT / file).read_text(), re.MULTILINE)
    ]


def test_the_tree_in_contributing_names_every_file_and_no_other() -> None:
    tree = (PROJECT / "CONTRIBUTING.md").read_text().partition("```text\n")[2].partition("```")[0]
    folder, missing, listed = ".", [], set[Path]()
    for line in tree.splitlines():
        begins = re.match(r"(\w+)/", line)
        folder = begins.group(1) if begins else folder
        for name in re.findall(r"[\w*]+\.(?:py|yaml)", line):
            found = {*PROJECT.glob(name), *PROJECT.glob(f"{folder}/{name}")}
            missing += [] if found else [f"{folder}/{name}"]
            listed |= found
    files = {file for folder in ("macros", "extract", "scripts") for file in (PROJECT / folder).glob("[!_]*.py")}
    assert not missing and not files - listed


def test_every_section_that_a_message_names_is_there() -> None:
    """Messages are wrapped in the code: what stands between two parts of a string is taken out first."""
    named = {
        (page, section)
        for file in CODE
        for page, section in SECTION.findall(re.sub(r'"\s*\n\s*f?"', "", file.read_text()))
    }
    assert len(named) >= 4
    assert not {(page, section) for page, section in named if section not in headings(PROJECT / "docs" / f"{page}.md")}
