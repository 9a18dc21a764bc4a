"""Makes docs/status_page.png from the page of the last demo: python -m tests.page.picture"""

from __future__ import annotations

from playwright.sync_api import sync_playwright

from extract.settings import PROJECT
from scripts.demo import FOLDER
from tests.support.conftest_browser import chromium


def main() -> None:
    """The page as a window of a laptop shows it, cut below the first drawings."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 1300}, device_scale_factor=1)
        page.goto((FOLDER / "status.html").as_uri())
        page.screenshot(path=PROJECT / "docs" / "status_page.png")
        browser.close()


if __name__ == "__main__":
    main()
