"""A real Chromium for tests: Debian's, or the one in ORDER_TRACKING_TEST_CHROMIUM; none is downloaded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str | None:
    """The browser's program; None where there is none."""
    return os.environ.get("ORDER_TRACKING_TEST_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if (found := chromium()) is None:
        pytest.skip("no Chromium: the status page was not opened in a browser (make chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a page's text offline, as a browser's user sees it; the test fails at its end if the browser complained."""
    complaints: list[str] = []
    contexts: list[Any] = []

    def opened(html: str, **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.append(f"asked for {request.url}"))
        page.set_content(html)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not complaints
