"""The page in a real Chromium: with data, with none, with ten thousand findings; readable wherever it is read."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from tests.commands.test_status import NOW, log_cycle
from tests.page.conftest import find
from tests.support.world import DAY, HOUR, MINUTE, World

Render = Callable[[], str]
Open = Callable[..., Page]

pytestmark = pytest.mark.xdist_group("page")

HEADINGS = [
    "Cycles of the last day, by phase",
    "Rows in and archived, by day",
    "Lateness in the last week",
    "Where rows live, by half-year",
    "What landed, and where it is",
    "Findings by check over time",
    "Open now",
    "What feeds what",
]

CONTRASTS = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const channels = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const paper = element => {
    for (let each = element; each; each = each.parentElement) {
      const colour = channels(getComputedStyle(each).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [0, 0, 0, 255];  // of a page without paper of its own: a dark browser has it dark, in print too
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.textContent.trim() || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const inDrawing = element instanceof SVGElement;
    const ink = channels(inDrawing ? style.fill : style.color);
    const [a, b] = [light(ink), light(paper(element))].sort((x, y) => y - x);
    found.push({text: node.textContent.trim(), inDrawing, contrast: (a + 0.05) / (b + 0.05)});
  }
  return found;
}"""


def headings(page: Page) -> list[str]:
    return page.locator("h2").all_inner_texts()


def test_with_data_every_section_has_its_drawing(lively_page: str, open_page: Open) -> None:
    page = open_page(lively_page)
    assert page.locator(".verdict").inner_text() == "WRONG: 1 thing"
    assert page.title() == "WRONG: 1 thing · order-tracking · 2025-09-02 10:00 UTC"
    assert headings(page) == HEADINGS
    assert page.locator(".drawing svg").count() == len(HEADINGS) - 2, "tables alone: the ledger, what is open"
    assert page.get_by_text("24 of 25 cycles ended well").count() == 1
    page.get_by_text("The figures").first.click()
    assert page.get_by_text("the source is away").is_visible()


def test_with_no_data_it_says_so(world: World, render: Render, open_page: Open) -> None:
    world.execute("DELETE FROM order_tracking_history.cycle_log")
    page = open_page(render())
    assert headings(page) == [heading for heading in HEADINGS if heading != "Open now"]
    assert page.locator(".drawing svg").count() == 1, "what feeds what is known without any data"
    for said in (
        "No cycle has ended well yet.",
        "No cycle is known of the last 24 hours.",
        "No cycle is known of the last 30 days.",
        "No cycle of the last week knew of any event.",
        "No table has a row yet.",
        "Nothing has landed yet, or the catalog does not show this user the tables' rows.",
        "Nothing was open in the last 30 days.",
    ):
        assert page.get_by_text(said, exact=True).is_visible(), said


@pytest.mark.slow
def test_ten_thousand_findings_are_a_line_a_check(
    lively: World, lively_page: str, render: Render, open_page: Open
) -> None:
    find(lively, "update_time_mismatch", range(100, 10_100), NOW - HOUR, detail="x" * 500)
    text = render()
    assert len(text) < len(lively_page) + 10_000
    page = open_page(text)
    row = page.locator("section", has_text="Open now").locator("tbody tr").first
    assert row.locator("td").nth(3).inner_text() == "10,000"
    assert row.locator("td").nth(5).inner_text() == "100, 101, 102, …"
    assert len(row.locator("td").nth(1).inner_text()) <= 240


def test_all_that_is_open_is_in_sight_and_names_and_times_are_whole(
    lively: World, render: Render, open_page: Open
) -> None:
    """What must be done is not looked for behind a scroll bar; of a hundred kinds the rest is said to be missing."""
    values = "(found: 2026-01-05 10:01:30; expected: 2026-01-05 10:00:00; difference: 90 s)"
    for number in range(60):
        find(lively, "update_time_mismatch", range(number, number + 1), NOW - DAY, detail=f"kind {number} {values}")
    page = open_page(render())
    section = page.locator("section", has=page.locator("h2", has_text="Open now"))
    assert section.locator("tbody tr").count() == 50
    assert "11 more lines are left out here." in section.locator(".text").inner_text()
    region = section.locator(".figures")
    assert region.evaluate("element => element.scrollHeight <= element.clientHeight + 1")
    first = section.locator("tbody tr", has_text="update_time_mismatch").first
    for place in (2, 4):
        assert first.locator("td").nth(place).evaluate("cell => getComputedStyle(cell).whiteSpace") == "nowrap"


@pytest.mark.parametrize(
    ("scheme", "media"), [("light", "screen"), ("dark", "screen"), ("light", "print"), ("dark", "print")]
)
def test_every_text_stands_out(lively_page: str, open_page: Open, scheme: str, media: str) -> None:
    """WCAG AA: a contrast of 4.5 and more; in the drawings too."""
    page = open_page(lively_page, color_scheme=scheme)
    page.emulate_media(media=media, color_scheme=scheme)  # type: ignore[arg-type]
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    found = page.evaluate(CONTRASTS)
    assert not [each for each in found if each["contrast"] < 4.5]
    assert len([each for each in found if each["inDrawing"]]) > 60
    assert len(found) > (100 if media == "print" else 300)
    dark = page.evaluate("getComputedStyle(document.querySelector('header')).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == ((scheme, media) == ("dark", "screen"))


def test_every_drawing_is_told_in_words(lively_page: str, open_page: Open) -> None:
    page = open_page(lively_page)
    pictures = page.locator(".drawing[role=img]")
    words = [picture.get_attribute("aria-label") or "" for picture in pictures.all()]
    assert page.locator("svg").count() == len(words) == page.locator(".drawing svg").count()
    assert all(len(each.split()) > 10 for each in words) and len({*words}) == len(words)
    assert "24 of 25 cycles ended well" in words[0] and "1 failed or were refused" in words[0]
    for picture in pictures.all():
        section = picture.locator("xpath=ancestor::section")
        assert section.locator("th[scope=col]").count() >= 2, "its figures stand in a table"


def test_a_phone_shows_it_without_scrolling_sideways(lively: World, render: Render, open_page: Open) -> None:
    find(lively, "update_time_mismatch", range(100, 102), NOW - HOUR, detail="a_name_without_a_break_" * 20)
    page = open_page(render(), viewport={"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    sizes = page.evaluate(
        """() => [...document.querySelectorAll('.drawing text')].filter(text => text.textContent).map(text =>
             parseFloat(getComputedStyle(text).fontSize) * Math.hypot(text.getScreenCTM().a, text.getScreenCTM().b))"""
    )
    assert len(sizes) > 60 and min(sizes) >= 8.5


def test_it_can_be_printed(lively_page: str, open_page: Open) -> None:
    page = open_page(lively_page)
    assert page.pdf(format="A4").startswith(b"%PDF-")
    page.emulate_media(media="print")
    assert not page.get_by_text("The figures").first.is_visible()
    cut = "() => [...document.querySelectorAll('section')].map(each => getComputedStyle(each).breakInside)"
    assert {*page.evaluate(cut)} == {"avoid"}


def test_what_an_error_says_is_text(lively: World, render: Render, open_page: Open) -> None:
    hostile = "</style></svg><script>document.title = 'taken'</script><img src=x onerror=alert(1)>"
    log_cycle(lively, NOW - MINUTE, "failed", error=hostile, phases='[{"phase": "<b>x</b>", "seconds": 1}]')
    find(lively, hostile, range(7, 8), NOW - DAY, detail=hostile)
    page = open_page(render())
    assert "taken" not in page.title()
    assert page.locator("script, img, section b").count() == 0
    assert page.get_by_text(hostile).count() >= 3


@pytest.mark.slow
def test_a_long_error_fills_no_page(lively: World, render: Render, open_page: Open) -> None:
    log_cycle(lively, NOW - MINUTE, "failed", error=f"It broke. {'Words follow. ' * 200}See docs/recovery.md.")
    told = open_page(render()).locator("header li").first.inner_text()
    assert "It broke." in told and told.endswith("See docs/recovery.md.") and len(told) < 620


def test_a_script_that_came_in_all_the_same_would_not_run(lively_page: str, open_page: Open) -> None:
    page = open_page(lively_page)
    policy = page.locator("meta[http-equiv=Content-Security-Policy]").get_attribute("content") or ""
    assert policy.startswith("default-src 'none'") and "script-src" not in policy
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(each => each.id)")
    assert len({*ids}) == len(ids), "a drawing refers to its own parts, not to another one's"
