"""What the smoke report says, without the names of whoever runs it: no host, user, bucket, role or cluster."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from extract.settings import RedshiftSettings

PLACES = {
    r"\bs3://[^\s'\",]+": "<bucket>",
    r"\barn:[\w-]+:[^\s'\",]+": "<arn>",
    r"\bIAMR?:[^\s'\",]+": "<user>",
    r"[\w.-]+\.amazonaws\.com(?:\.cn)?": "<host>",
    r"\b(?:\d{1,3}\.){3}\d{1,3}\b": "<host>",
    r"(?i)\b(user|role|host) ([\"'])[^\"']+\2": r"\1 <\1>",
}
"""Where a server writes a name that no setting has: pattern -> what stands there instead."""


def without_names(text: str, settings: RedshiftSettings, users: Iterable[str] = ()) -> str:
    """A text without the hosts, users, bucket and cluster of these settings, and without further `users`.

    Names of another kind that servers write are found by their place: `user "x"`, an ARN, an address.
    """
    for place, instead in PLACES.items():
        text = re.sub(place, instead, text)
    for name, instead in sorted(_names(settings, users), key=lambda each: len(each[0]), reverse=True):
        text = re.sub(rf"(?i)(?<!\w){re.escape(name)}(?!\w)", instead, text)
    return text


def _names(settings: RedshiftSettings, users: Iterable[str]) -> list[tuple[str, str]]:
    """Each name, and what stands for it."""
    login, prefix = settings.login.arguments(), urlsplit(settings.s3_prefix)
    names: dict[str, list[str | None]] = {
        "<host>": [settings.host, settings.state.host, urlsplit(settings.s3_endpoint_url or "").hostname],
        "<user>": [login.get("user"), login.get("db_user"), settings.state.user, *users],
        "<bucket>": [prefix.netloc, f"{prefix.netloc}{prefix.path}"],
        "<key>": [settings.s3_kms_key],
        "<cluster>": [
            login.get(name) for name in ("cluster_identifier", "serverless_work_group", "serverless_acct_id")
        ],
    }
    return [(name, instead) for instead, found in names.items() for name in found if name]
