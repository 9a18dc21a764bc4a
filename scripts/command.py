"""The settings that a command needs: all of them checked at once, and none of them shown."""

from __future__ import annotations

import os
from contextlib import suppress
from urllib.parse import unquote, urlsplit

from dotenv import load_dotenv

from extract.config import PROJECT
from extract.errors import ConfigurationError

MAIL_SETTINGS = tuple(f"ALERT_SMTP_{name}" for name in ("HOST", "USER", "PASSWORD", "SENDER", "RECIPIENTS"))
"""With one of them missing SQLMesh would send no mail, and not say so."""


def configured_source(url: str | None, gateway: str) -> str:
    """The source's URL, as given or from the environment; what is missing is named with all other settings."""
    check_settings(gateway, needs_source=True, source=url)
    return str(url or os.environ.get("ORDER_TRACKING_SOURCE"))


def check_settings(gateway: str, *, needs_source: bool, source: str | None = None) -> None:
    """Raises ConfigurationError that names every setting that is missing: of the gateway, the source and the alerts."""
    from extract.redshift_settings import check_gateway

    mistakes = []
    try:
        check_gateway(gateway)
    except ConfigurationError as error:
        mistakes.append(str(error))
    given = [name for name in MAIL_SETTINGS if os.environ.get(name)]
    missing = [name for name in MAIL_SETTINGS if name not in given]
    if given and missing:
        mistakes.append(f"{given[0]} is set, but not {', '.join(missing)}; nothing was done.")
    if needs_source and not (source or os.environ.get("ORDER_TRACKING_SOURCE")):
        mistakes.append(
            "No source is set; nothing was done. Give --source, or set ORDER_TRACKING_SOURCE, to "
            "mysql://user:password@host:port/database or duckdb:///path/to/file."
        )
    if mistakes:
        raise ConfigurationError(" ".join(mistakes))


def load_settings_file() -> None:
    """Takes what the environment does not set from the project's .env file, where there is one.

    SQLMesh reads the same file by itself, but lets it override the environment; so it is told not to.
    """
    load_dotenv(PROJECT / ".env", override=False)
    os.environ["PYTHON_DOTENV_DISABLED"] = "1"


def without_secrets(text: str, source: str | None = None) -> str:
    """A text in which no password of the environment, nor of the source's URL as given, stands."""
    secrets = [value for name, value in os.environ.items() if name.endswith("_PASSWORD")]
    secrets.append(os.environ.get("ALERT_SLACK_WEBHOOK", ""))
    for url in (os.environ.get("ORDER_TRACKING_SOURCE"), source):
        with suppress(ValueError):
            password = urlsplit(url or "").password or ""
            secrets += [password, unquote(password)]
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return text
