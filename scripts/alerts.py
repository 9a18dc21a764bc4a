"""Alerts: what must reach somebody is sent to every URL of ALERT_URLS, by Apprise. An alert never fails anything."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from extract.errors import LockHeld, in_words
from extract.settings import split_urls, without_secrets


def send_alert(title: str, body: str) -> list[str]:
    """Sends to every URL; gives a warning for each that was not reached. No warning names more than the URL's scheme.

    ALERT_URLS: Apprise's URLs (slack://…, mailtos://…, json://…), with commas or white space between them.
    """
    return [
        f"an alert could not be delivered: URL {number} of ALERT_URLS ({scheme(url)}) {fault}. See why with: "
        "apprise -vv -b test URL"
        for number, url in enumerate(split_urls(os.environ.get("ALERT_URLS", "")), start=1)
        if (fault := _send(url, title, body))
    ]


def scheme(url: str) -> str:
    """What stands before ://, which is never secret.

    Example:
        >>> scheme("slack://T1/T2/T3"), scheme("T1/T2")
        ('slack', 'it has no ://')
    """
    found = re.match(r"[\w+]+(?=://)", url)
    return found.group() if found else "it has no ://"


def _send(url: str, title: str, body: str) -> str:
    """What is wrong with the URL or with its delivery; empty where it was delivered."""
    import apprise

    with apprise.LogCapture(level=logging.CRITICAL):  # what Apprise logs may hold the URL
        try:
            target = apprise.Apprise.instantiate(url)
            if not isinstance(target, apprise.NotifyBase):
                return "is no URL that Apprise knows"
            return "" if target.notify(body=body, title=title) else "did not take it"
        except Exception as error:
            return f"failed with {type(error).__name__}"


@contextmanager
def alert_of_failure(
    what: str,
    report: Callable[[str], None] | None,
    *,
    source: str | None = None,
    except_for: tuple[type[Exception], ...] = (LockHeld,),
) -> Iterator[None]:
    """Alerts when the work inside fails; the error goes on as it came. `source`: its password is shown nowhere."""
    try:
        yield
    except except_for:
        raise
    except Exception as error:
        for warning in send_alert(f"order-tracking: {what} failed", without_secrets(in_words(error), source)):
            if report:
                report(f"warning: {warning}")
        raise
