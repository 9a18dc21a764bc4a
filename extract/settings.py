"""What comes from the environment, typed and checked; config.yaml reads the same variables for SQLMesh.

A field's name, in capitals and behind its class's prefix, is the variable's. An empty variable is not set. What is
missing or wrong is named at once, by the variables' names alone: no value stands in a message.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from dotenv import dotenv_values, load_dotenv
from dotenv.parser import parse_stream
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SecretStr,
    Tag,
    ValidationError,
    model_validator,
)

from extract.errors import ConfigurationError
from macros.periods import parse_period

PROJECT = Path(__file__).resolve().parent.parent
"""The project's folder: every relative path of a setting is relative to it, wherever a command is run."""

WAREHOUSE_FILE = "warehouse.duckdb"
EARLIER_WAREHOUSE_FILE = "order_tracking.duckdb"
"""What the file was called by default before: a stem that is a schema's name too makes every query ambiguous."""

APPLICATION = "order-tracking"
KEEPALIVE_SECONDS = 30
CONNECT_SECONDS = 30

HINTS = {
    "ORDER_TRACKING_SOURCE": "or --source: mysql://user:password@host:port/database or duckdb:///path/to/file",
    "ORDER_TRACKING_GATEWAY": "or --gateway",
    "REDSHIFT_CLUSTER_IDENTIFIER": "or REDSHIFT_SERVERLESS_WORK_GROUP",
    "REDSHIFT_DB_USER": "or REDSHIFT_SERVERLESS_WORK_GROUP",
}
"""What else would do in place of a variable."""

PREFIXES = ("ORDER_TRACKING_", "REDSHIFT_", "STATE_", "ALERT_", "STATUS_")
"""How the names of settings begin."""

_ROLE = r"default|arn:aws[\w-]*:iam::\d{12}:role/[\w+=,.@/:-]+"
_PREFIX = r"s3://[a-z0-9][a-z0-9.-]+(/[^'\\\s]*)?"

PLAIN_LENGTH = 6
"""A secret of so many characters is no part of other words by chance ..."""
ORDINARY_LENGTH = 14
"""... and one of letters or of digits alone is, with so many, no word or number."""

PLACES = (r"(:){}(?=@)", r"(?i:(?<!using )((?:password|passwd|pwd)['\"]?\s?[:=]\s?['\"]?)){}(?!\w)")
"""Where a password stands in a text: in a URL, or behind its name (`password=...`). MySQL's `using password: YES` does
not tell it."""

OWN_NAMES = (APPLICATION, APPLICATION.replace("-", "_"))
"""What this project calls itself, in commands and schemas: no password, even if somebody uses it as one."""


def _flag(value: Any) -> bool:
    if value not in ("0", "1", True, False):
        raise ValueError("is none of 0, 1")
    return value in ("1", True)


def _written_as(pattern: str, wanted: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"is no {wanted}")
        return value

    return AfterValidator(check)


def _encrypted(ssl: bool) -> bool:
    if not ssl:
        raise ValueError("may not be off with REDSHIFT_IAM")
    return ssl


def split_urls(text: str) -> list[str]:
    """The URLs of a text that has commas or white space between them.

    Example:
        >>> split_urls("json://a/?x=1,2,slack://b  mailto://c")
        ['json://a/?x=1,2', 'slack://b', 'mailto://c']
    """
    return [url for url in re.split(r"\s+|,(?=\s*[\w+]+://)", text.strip(" \t\r\n,")) if url]


def _period(value: str) -> str:
    parse_period(value)
    return value


Gateway = Literal["local", "redshift"]
GATEWAYS = get_args(Gateway)
Flag = Annotated[bool, BeforeValidator(_flag)]
Port = Annotated[int, Field(ge=1, le=65535)]


class _Variables(BaseModel):
    """A part of the environment; a subclass gives `alias_generator` the prefix of its variables."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class StateSettings(_Variables, alias_generator=lambda field: f"STATE_{field.upper()}"):
    """The PostgreSQL database that holds SQLMesh's state and the run lock."""

    host: str
    port: Port = 5432
    database: str
    user: str
    password: SecretStr
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = "require"

    def connection_arguments(self) -> dict[str, Any]:
        """Keyword arguments of psycopg2.connect."""
        return {
            "host": self.host,
            "port": self.port,
            "dbname": self.database,
            "user": self.user,
            "password": self.password.get_secret_value(),
            "sslmode": self.sslmode,
            "connect_timeout": CONNECT_SECONDS,
            "keepalives": 1,
            "keepalives_idle": KEEPALIVE_SECONDS,
            "keepalives_interval": 10,
            "keepalives_count": 3,
        }


class _Redshift(_Variables, alias_generator=lambda field: f"REDSHIFT_{field.upper()}"):
    """Variables of the warehouse."""


class PasswordLogin(_Redshift):
    user: str
    password: SecretStr

    def arguments(self) -> dict[str, Any]:
        return {"user": self.user, "password": self.password.get_secret_value()}


class _IamLogin(_Redshift):
    region: str
    ssl: Annotated[Flag, AfterValidator(_encrypted)] = True

    def arguments(self) -> dict[str, Any]:
        return {"iam": True, **self.model_dump(exclude={"ssl"}, exclude_none=True)}


class ClusterLogin(_IamLogin):
    cluster_identifier: str
    db_user: str


class ServerlessLogin(_IamLogin):
    serverless_work_group: str
    serverless_acct_id: str | None = None

    def arguments(self) -> dict[str, Any]:
        return {"is_serverless": True, **super().arguments()}


def _kind_of_login(variables: Any) -> str:
    if variables.get("REDSHIFT_IAM") != "1":
        return "password"
    return "serverless" if variables.get("REDSHIFT_SERVERLESS_WORK_GROUP") else "cluster"


Login = Annotated[
    Annotated[PasswordLogin, Tag("password")]
    | Annotated[ClusterLogin, Tag("cluster")]
    | Annotated[ServerlessLogin, Tag("serverless")],
    Discriminator(_kind_of_login),
]


class RedshiftSettings(_Redshift):
    """The warehouse, the way to S3, and the state database. Printed without passwords."""

    host: str
    port: Port = 5439
    database: str
    iam: Flag = False
    ssl: Flag = True
    sslmode: Literal["verify-full", "verify-ca"] = "verify-full"
    region: str | None = None
    s3_prefix: Annotated[str, _written_as(_PREFIX, "s3://bucket/prefix"), AfterValidator(lambda text: text.rstrip("/"))]
    copy_role: Annotated[str, _written_as(_ROLE, "role (arn:aws:iam::<account>:role/<name>, or default)")]
    s3_endpoint_url: str | None = None
    s3_kms_key: str | None = None
    slices: Annotated[int, Field(ge=1, le=128)] = 16
    """A long load is sent in so many files at a time."""
    lock_seconds: Annotated[int, Field(ge=1, le=3600)] = 300
    """So long a plan, a cycle's marts or a change of a table wait for another session's lock."""
    login: Login
    state: StateSettings

    @model_validator(mode="before")
    @classmethod
    def _one_environment(cls, variables: dict[str, Any]) -> dict[str, Any]:
        """Each part looks for its own variables in all of them."""
        return {**variables, "REDSHIFT_LOGIN": variables, "REDSHIFT_STATE": variables}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> RedshiftSettings:
        """Reads and checks everything; one ConfigurationError names all that is missing or wrong."""
        try:
            return cls.model_validate(_variables(os.environ if environment is None else environment))
        except ValidationError as error:
            raise ConfigurationError(_in_one_message(mistakes_of(error))) from None

    def connection_arguments(self) -> dict[str, Any]:
        """Keyword arguments of redshift_connector.connect."""
        return {
            "host": self.host,
            "port": self.port,
            "database": self.database,
            "ssl": self.ssl,
            **({"sslmode": self.sslmode} if self.ssl else {}),
            "application_name": APPLICATION,
            "tcp_keepalive": True,
            "tcp_keepalive_idle": KEEPALIVE_SECONDS,
            "tcp_keepalive_interval": 10,
            "tcp_keepalive_count": 6,
            **self.login.arguments(),
        }

    def without_secrets(self, text: str) -> str:
        """A text, of an error say, in which no password of these settings stands."""
        passwords = [self.state.password, *([self.login.password] if isinstance(self.login, PasswordLogin) else [])]
        return without(text, [password.get_secret_value() for password in passwords])


class Settings(_Variables, alias_generator=lambda field: f"ORDER_TRACKING_{field.upper()}"):
    """What every command needs to know."""

    gateway: Gateway = "local"
    source: SecretStr | None = None
    history_start: Annotated[str, AfterValidator(_period)] = "2024_h1"
    debug: Flag = False
    """Both are only judged here: config.yaml and `is_debugged` read the variables."""
    status_page: str | None = Field(default=None, alias="STATUS_PAGE")
    """A file or s3://bucket/key. A wrong one is a warning of the cycle, so it is judged where it is written."""
    redshift: RedshiftSettings | None = None
    """None on the gateway local, which needs none of it."""

    @model_validator(mode="before")
    @classmethod
    def _one_environment(cls, variables: dict[str, Any]) -> dict[str, Any]:
        needed = variables.get("ORDER_TRACKING_GATEWAY") == "redshift"
        return {**variables, "ORDER_TRACKING_REDSHIFT": variables if needed else None}


def read_settings(gateway: str | None = None, source: str | None = None, *, needs_source: bool = False) -> Settings:
    """Reads and checks all settings; one ConfigurationError names everything that is missing or wrong.

    Args:
        gateway, source: What the command line gives goes before the environment.
        needs_source: The command reads the source.
    """
    given = {"ORDER_TRACKING_GATEWAY": gateway, "ORDER_TRACKING_SOURCE": source}
    variables = _variables(os.environ) | {name: value for name, value in given.items() if value}
    mistakes: list[Mistake] = []
    settings = None
    try:
        settings = Settings.model_validate(variables)
    except ValidationError as error:
        mistakes = mistakes_of(error)
    if needs_source and "ORDER_TRACKING_SOURCE" not in variables:
        mistakes.append((("ORDER_TRACKING_SOURCE",), MISSING))
    if variables.get("ORDER_TRACKING_GATEWAY", "local") == "local":
        try:
            warehouse_file()
        except ConfigurationError as error:
            mistakes.append((("ORDER_TRACKING_DUCKDB",), str(error)))
    if settings is None or mistakes:
        raise ConfigurationError(_in_one_message(mistakes))
    return settings


def configured_source(url: str | None, gateway: str) -> str:
    """The source's URL, as given or from the environment; what is missing is named with all other settings."""
    source = read_settings(gateway, url, needs_source=True).source
    return source.get_secret_value() if source else ""


def _variables(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if value}


# Mistakes

MISSING = "is missing"
WORDS = {
    "missing": MISSING,
    "value_error": "{error}",
    "literal_error": "is not {expected}",
    "int_parsing": "is no number",
    "int_type": "is no number",
    "string_type": "is no text",
    "string_too_short": "is empty",
    "greater_than_equal": "is less than {ge}",
    "less_than_equal": "is more than {le}",
    "extra_forbidden": "is not known",
    "model_type": "has nothing below it",
}
"""Pydantic's kind of a mistake -> what a message says of it, after the name. None shows the value."""

Mistake = tuple[tuple[str, ...], str]
"""Where, as names from the outermost to the innermost, and what is wrong there."""


def mistakes_of(error: ValidationError) -> list[Mistake]:
    """All of them, each once."""
    found = [
        (
            tuple(str(name) for name in each["loc"]),
            WORDS.get(each["type"], f"is wrong ({each['msg']})").format(**each.get("ctx", {})),
        )
        for each in error.errors(include_url=False, include_input=False)
    ]
    return list(dict.fromkeys(found))


def _in_one_message(mistakes: list[Mistake]) -> str:
    """By the variables' names; one that two parts look for is named once."""
    named = [(f"{name} ({HINTS[name]})" if name in HINTS else name, words) for (*_, name), words in mistakes]
    missing = dict.fromkeys(name for name, words in named if words == MISSING)
    wrong = dict.fromkeys(f"{name} {words}" for name, words in named if words != MISSING)
    said = [*([f"Not set: {', '.join(missing)}"] if missing else []), *wrong]
    return (
        f"Settings are missing or wrong; nothing was done. {'. '.join(each.rstrip('.') for each in said)}. "
        "Set these in the environment or in .env (.env.example explains each), then run this again."
    )


# Paths


def in_project(path: str | Path) -> Path:
    """An absolute path; a relative one is relative to the project's folder, whatever the current one is."""
    return PROJECT / path


def warehouse_file() -> Path:
    """The local warehouse's file, absolute, from ORDER_TRACKING_DUCKDB.

    ConfigurationError if it is not set, and the file of an earlier version stands there instead of the default one.
    """
    if given := os.environ.get("ORDER_TRACKING_DUCKDB"):
        return in_project(given)
    file, earlier = in_project(WAREHOUSE_FILE), in_project(EARLIER_WAREHOUSE_FILE)
    if earlier.exists() and not file.exists():
        raise ConfigurationError(
            f"The warehouse of an earlier version stands in {earlier}, and by default the file is now called "
            f"{WAREHOUSE_FILE}; nothing was done, for an empty warehouse would begin beside it. To go on with it, set "
            f"ORDER_TRACKING_DUCKDB={earlier.name} in .env; to begin anew, move it elsewhere."
        )
    return file


def share_warehouse_file(gateway: str) -> None:
    """Tells SQLMesh where the local warehouse stands, for it reads the environment by itself. Before any Context."""
    if gateway == "local":
        os.environ["ORDER_TRACKING_DUCKDB"] = str(warehouse_file())


def load_settings_file() -> None:
    """Takes what the environment does not set from the project's .env file, if there is one.

    SQLMesh reads the same file by itself, but lets it override the environment; so it is told not to.
    Raises ConfigurationError where it cannot be understood, or has a name like a setting's that is none, or where the
    environment has one that is misspelled: what it means would count as not set, and the command would work on another
    warehouse.
    """
    file = PROJECT / ".env"
    if not os.environ.get("PYTHON_DOTENV_DISABLED") and file.exists():
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{file} cannot be read: {error}; nothing was done.") from error
        _refuse_mistakes(file, text)
        load_dotenv(stream=StringIO(text), override=False)
    os.environ["PYTHON_DOTENV_DISABLED"] = "1"
    if wrong := _no_settings(os.environ, cutoff=MISSPELLED):
        raise ConfigurationError(
            f"The environment has mistakes; nothing was done. {'. '.join(wrong)}. .env.example explains each setting."
        )


def known_names() -> list[str]:
    """All variables that a user sets; .env.example explains each."""
    parts = (Settings, RedshiftSettings, PasswordLogin, ClusterLogin, ServerlessLogin, StateSettings)
    named = {str(field.alias) for part in parts for field in part.model_fields.values()}
    asked_elsewhere = {"ORDER_TRACKING_DUCKDB", "ORDER_TRACKING_START", "ALERT_URLS"}
    return sorted((named | asked_elsewhere) - {"ORDER_TRACKING_REDSHIFT", "REDSHIFT_LOGIN", "REDSHIFT_STATE"})


TO_TELL_A_MISTAKE = ("ALERT_URLS", "ORDER_TRACKING_DUCKDB", "ORDER_TRACKING_GATEWAY")
"""What is taken from a file with mistakes all the same: whom a cycle tells of them, and where it logs them."""


def _refuse_mistakes(file: Path, text: str) -> None:
    """Names no value: it may be a password."""
    lines = [*parse_stream(StringIO(text))]
    wrong = [
        f"line {line.original.line} is no NAME=value (are its quotation marks closed?)" for line in lines if line.error
    ]
    names = [line.key for line in lines if line.key]
    wrong += _no_settings(name for name in names if name.startswith(PREFIXES))
    wrong += _no_settings((name for name in names if not name.startswith(PREFIXES)), cutoff=MISSPELLED)
    if wrong:
        for name, value in dotenv_values(stream=StringIO(text)).items():
            if name in TO_TELL_A_MISTAKE and value:
                os.environ.setdefault(name, value)
        raise ConfigurationError(
            f"{file} has mistakes; nothing was done. {'. '.join(wrong)}. .env.example explains each setting."
        )


MISSPELLED = 0.93
"""So like a setting is what is meant for one. What else stands in the environment is somebody else's: Kubernetes writes
there whatever a service is called."""


def _no_settings(names: Iterable[str], cutoff: float = 0.0) -> list[str]:
    """A sentence for each of these names that is no setting, if it is as like one as the cutoff says (0 to 1)."""
    known, wrong = known_names(), []
    for name in names:
        if name in known or name.startswith("ORDER_TRACKING_TEST_"):
            continue
        meant = get_close_matches(name, known, 1, max(cutoff, 0.6))
        if cutoff and meant and meant[0] in os.environ:
            continue  # what is meant is set: this is somebody else's
        if meant or not cutoff:
            wrong.append(f"{name} is no setting{f' (is {meant[0]} meant?)' if meant else ''}")
    return wrong


def is_debugged() -> bool:
    """ORDER_TRACKING_DEBUG is 1. Asked of the environment: a failure is told also where other settings are wrong."""
    return os.environ.get("ORDER_TRACKING_DEBUG") == "1"


# Secrets


def without_secrets(text: str, source: str | None = None) -> str:
    """A text in which no password of the environment, nor of the source's URL as given, stands."""
    secrets = [value for name, value in os.environ.items() if name.endswith("_PASSWORD")]
    secrets += split_urls(os.environ.get("ALERT_URLS", ""))
    shown = [value for name, value in os.environ.items() if name.endswith(("_USER", "_HOST", "_DATABASE"))]
    for url in (os.environ.get("ORDER_TRACKING_SOURCE"), source):
        with suppress(ValueError):
            parts = urlsplit(url or "")
            secrets += [parts.password or "", unquote(parts.password or "")]
            shown += [unquote(parts.username or ""), parts.hostname or "", unquote(parts.path.lstrip("/"))]
            shown += [value for _, value in parse_qsl(parts.query)]
    return without(text, secrets, shown)


def without(text: str, secrets: Iterable[str], shown: Iterable[str] = ()) -> str:
    """A text in which `***` stands for each secret, and for nothing else.

    One that may be a word, a number or a part of them by chance is hidden only at a password's own place: in a URL,
    and behind the word password. So is any where it stands in one of the names that may be `shown`: users, hosts,
    databases, files.

    Example:
        >>> without("no way to mysql://a:a@a, says a", ["a"])
        'no way to mysql://a:***@a, says a'
        >>> without("'orders_7'@'h' with orders_7-x", ["orders_7"], shown=["orders_7"])
        "'orders_7'@'h' with orders_7-x"
        >>> without("got hunter-2 of 'hunter-2s'", ["hunter-2"], shown=["hunter-2s"])
        "got *** of 'hunter-2s'"
    """
    spelled = {spelling for secret in secrets if secret for spelling in _spellings(secret)}
    names = [*filter(None, shown), *OWN_NAMES]
    for secret in sorted(spelled, key=len, reverse=True):
        for place in PLACES:
            text = re.sub(place.format(re.escape(secret)), r"\1***", text)
        if _is_told_apart(secret):
            kept = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True) if secret in name)
            text = re.sub(f"({kept or '(?!)'})|{re.escape(secret)}", lambda found: found[1] or "***", text)
    return text


def _spellings(secret: str) -> set[str]:
    """A secret as it is, as a URL has it, and as Python shows it."""
    return {secret, quote(secret, safe=""), repr(secret)[1:-1], repr(secret.encode())[2:-1]}


def _is_told_apart(secret: str) -> bool:
    """Whether it can hardly stand in a message by chance: as an ordinary word or number can."""
    ordinary = secret.isalpha() or secret.isdigit()
    return len(secret) >= (ORDINARY_LENGTH if ordinary else PLAIN_LENGTH)
