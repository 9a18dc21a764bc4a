"""Alerts: what must reach somebody is sent to every URL of ALERT_URLS, by Apprise. An alert never fails anything.

What a URL did not take waits in a small file, and whoever alerts next tries it again. What is told, and when, stands in
scripts/news.py.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extract.errors import ConfigurationError, LockHeld, in_words
from extract.settings import split_urls, without_secrets
from scripts import cycle_log

SECONDS = 20.0
"""So long may the URLs take, all together."""

KEPT = 20
"""So many alerts wait at most; of more the oldest are given up."""

SEE_WHY = "See why with: order-tracking alert --test"


@dataclass(frozen=True)
class Alert:
    """What is told: a title of a few words, and a text that says what, since when, and what to do."""

    title: str
    body: str


def alert_urls() -> list[str]:
    """ALERT_URLS: Apprise's URLs (slack://…, mailtos://…, json://…), with commas or white space between them."""
    return split_urls(os.environ.get("ALERT_URLS", ""))


def send_alerts(gateway: str, alerts: Sequence[Alert], source: str | None = None) -> list[str]:
    """Sends what waits and then these; gives a warning for each URL that did not take all of it.

    Args:
        source: The source's URL as given: no alert shows its password.
    """
    urls = {_fingerprint(url): url for url in alert_urls()}
    if not urls:
        return []
    with remembered(gateway) as memory:
        texts = [
            *(_readdressed(text, urls) for text in memory.get("waiting", [])),
            *({"title": each.title, "body": without_secrets(each.body, source), "to": [*urls]} for each in alerts),
        ]
        memory["waiting"] = texts[-KEPT:]
        memory.keep()  # whoever kills this process while a URL hangs loses no text
        results = deliver(
            {
                name: (url, [Alert(text["title"], text["body"]) for text in texts if name in text["to"]])
                for name, url in urls.items()
            }
        )
        for name, (taken, _) in results.items():
            for text in [text for text in texts if name in text["to"]][:taken]:
                text["to"].remove(name)
                text.setdefault("reached", []).append(name)
        memory["waiting"] = [text for text in texts if text["to"]][-KEPT:]
    then = "The next cycle tries it again." if memory.is_kept else f"It could not be kept in {memory_file(gateway)}."
    return [
        f"an alert could not be delivered: URL {number} of ALERT_URLS ({scheme(url)}) {fault}. {then} {SEE_WHY}"
        for number, (name, url) in enumerate(urls.items(), start=1)
        if (fault := results[name][1])
    ]


def _readdressed(text: dict[str, Any], urls: Iterable[str]) -> dict[str, Any]:
    """What waits for a URL that is gone, because it was wrong perhaps, goes to those that have not had it."""
    is_gone = not {*text["to"]} <= {*urls}
    to = [name for name in urls if name in text["to"] or (is_gone and name not in text.get("reached", []))]
    return {**text, "to": to}


def deliver(by_name: Mapping[str, tuple[str, Sequence[Alert]]]) -> dict[str, tuple[int, str]]:
    """Sends to all URLs at once, to each in order until it does not take one; waits SECONDS at most.

    Args:
        by_name: Any name -> a URL, and what it is to be sent.

    Gives for each name how many it took, and what was wrong with the next one; empty if nothing was.
    """
    late = f"did not answer within {SECONDS:.0f} s"
    results = {name: (0, late if alerts else "") for name, (_, alerts) in by_name.items()}

    def work(name: str, url: str, alerts: Sequence[Alert]) -> None:
        for taken, alert in enumerate(alerts):
            if fault := _send(url, alert):
                results[name] = taken, fault
                return
            results[name] = taken + 1, late  # if the next one hangs, this one is not sent again
        results[name] = len(alerts), ""

    # Daemons: one that hangs does not keep the process from ending.
    threads = [
        threading.Thread(target=work, args=(name, url, alerts), daemon=True)
        for name, (url, alerts) in by_name.items()
        if alerts
    ]
    for thread in threads:
        thread.start()
    end = time.monotonic() + SECONDS
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return dict(results)


def scheme(url: str) -> str:
    """What stands before ://, which is never secret.

    Example:
        >>> scheme("slack://T1/T2/T3"), scheme("T1/T2")
        ('slack', 'it has no ://')
    """
    found = re.match(r"[\w+]+(?=://)", url)
    return found.group() if found else "it has no ://"


def _send(url: str, alert: Alert) -> str:
    """What is wrong with the URL or with its delivery; empty if it was delivered."""
    import apprise

    logger = logging.getLogger("apprise")  # what it logs may hold the URL
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    try:
        target = apprise.Apprise.instantiate(url)
        if not isinstance(target, apprise.NotifyBase):
            return "is no URL that Apprise knows"
        taken = target.notify(body=alert.body, title=f"order-tracking: {alert.title}")
        return "" if taken else "did not take it"
    except Exception as error:
        return f"failed with {type(error).__name__}"


def _fingerprint(url: str) -> str:
    """Tells a URL from the others, and gives nothing of it away."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


# What is remembered


def memory_file(gateway: str) -> Path:
    """What waits to be sent, and which silences have been told: beside the kept rows of the cycles' log."""
    return cycle_log.kept_file(gateway).with_suffix(".alerts")


class Memory(dict[str, Any]):
    """The content of the file, if there is one."""

    is_kept = False
    """It has been written back."""

    def __init__(self, file: io.FileIO | None = None):
        super().__init__()
        self._file = file
        self._written = b"" if file is None else file.read()
        with suppress(ValueError, TypeError):  # it may have been broken off
            self.update(json.loads(self._written or b"{}"))

    def keep(self) -> None:
        """Writes the content back. Where there is no room for it the file says again what it said before."""
        if self._file is None:
            return
        content = json.dumps(self).encode()
        self.is_kept = self._write(content)
        if self.is_kept:
            self._written = content
        else:
            self._write(self._written)

    def _write(self, content: bytes) -> bool:
        """Whether all of it was written."""
        assert self._file is not None
        try:
            self._file.truncate(0)
            return self._file.write(content) == len(content)
        except OSError:
            return False


@contextmanager
def remembered(gateway: str) -> Iterator[Memory]:
    """The file's content, which is written back afterwards. Whoever alerts meanwhile waits.

    Where there is no such file and none can be made, or the disk is full, nothing is remembered; alerts are sent all
    the same.
    """
    try:
        file = memory_file(gateway).open("a+b", buffering=0)
    except OSError:
        yield Memory()
        return
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        memory = Memory(file)
        yield memory
        memory.keep()


# Commands that are run by hand


@contextmanager
def alert_of_failure(what: str, gateway: str, report: Callable[[str], None]) -> Iterator[None]:
    """Alerts when the work inside fails; the error goes on as it came. What only was refused is not told."""
    try:
        yield
    except (LockHeld, ConfigurationError):
        raise
    except Exception as error:
        for warning in send_alerts(gateway, [Alert(f"{what} failed", in_words(error))]):
            report(f"warning: {warning}")
        raise
