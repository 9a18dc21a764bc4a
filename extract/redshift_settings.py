"""What the `redshift` gateway needs to know, from environment variables only; config.yaml reads the same ones."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from extract.errors import ConfigurationError

APPLICATION = "order-tracking"
KEEPALIVE_SECONDS = 30
CONNECT_SECONDS = 30

_ROLE = re.compile(r"default|arn:aws[\w-]*:iam::\d{12}:role/[\w+=,.@/:-]+")
_PREFIX = re.compile(r"s3://[a-z0-9][a-z0-9.-]+(/[^'\\\s]*)?")


@dataclass(frozen=True)
class StateSettings:
    """The PostgreSQL database that holds SQLMesh's state and the run lock."""

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    sslmode: str = "require"

    def connection_arguments(self) -> dict[str, Any]:
        """Keyword arguments of psycopg2.connect."""
        return {
            "host": self.host,
            "port": self.port,
            "dbname": self.database,
            "user": self.user,
            "password": self.password,
            "sslmode": self.sslmode,
            "connect_timeout": CONNECT_SECONDS,
            "keepalives": 1,
            "keepalives_idle": KEEPALIVE_SECONDS,
            "keepalives_interval": 10,
            "keepalives_count": 3,
        }


@dataclass(frozen=True)
class RedshiftSettings:
    """The warehouse, the way to S3, and the state database. Printed without passwords."""

    host: str
    port: int
    database: str
    s3_prefix: str
    copy_role: str
    state: StateSettings
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    iam: bool = False
    cluster_identifier: str | None = None
    db_user: str | None = None
    serverless_work_group: str | None = None
    serverless_acct_id: str | None = None
    region: str | None = None
    ssl: bool = True
    sslmode: str = "verify-full"
    s3_endpoint_url: str | None = None
    s3_kms_key: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> RedshiftSettings:
        """Reads and checks everything; one ConfigurationError names all that is missing or wrong."""
        reader = _Reader(os.environ if environment is None else environment)
        settings = cls(**_warehouse(reader), **_files(reader), state=_state(reader))
        reader.raise_mistakes()
        return settings

    def connection_arguments(self) -> dict[str, Any]:
        """Keyword arguments of redshift_connector.connect."""
        arguments: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "database": self.database,
            "ssl": self.ssl,
            "application_name": APPLICATION,
            "tcp_keepalive": True,
            "tcp_keepalive_idle": KEEPALIVE_SECONDS,
            "tcp_keepalive_interval": 10,
            "tcp_keepalive_count": 6,
        }
        if self.ssl:
            arguments["sslmode"] = self.sslmode
        if not self.iam:
            return arguments | {"user": self.user, "password": self.password}
        arguments |= {"iam": True, "region": self.region}
        if self.serverless_work_group:
            arguments |= {"is_serverless": True, "serverless_work_group": self.serverless_work_group}
            return arguments | ({"serverless_acct_id": self.serverless_acct_id} if self.serverless_acct_id else {})
        return arguments | {"cluster_identifier": self.cluster_identifier, "db_user": self.db_user}

    def without_secrets(self, text: str) -> str:
        """A text, of an error say, in which no password of these settings stands."""
        for secret in (self.password, self.state.password):
            if secret:
                text = text.replace(secret, "***")
        return text


def check_gateway(gateway: str) -> None:
    """Raises ConfigurationError when the gateway lacks settings; `local` needs none."""
    if gateway == "redshift":
        RedshiftSettings.from_environment()
    elif gateway != "local":
        raise ConfigurationError(f"No gateway '{gateway}'; nothing was done. There are: local, redshift.")


def _warehouse(reader: _Reader) -> dict[str, Any]:
    """Where the warehouse is and who asks: a password, or IAM for a provisioned cluster or a serverless workgroup."""
    iam = reader.flag("REDSHIFT_IAM", False)
    found: dict[str, Any] = {
        "host": reader.text("REDSHIFT_HOST"),
        "port": reader.number("REDSHIFT_PORT", 5439),
        "database": reader.text("REDSHIFT_DATABASE"),
        "iam": iam,
        "ssl": reader.flag("REDSHIFT_SSL", True),
        "sslmode": reader.choice("REDSHIFT_SSLMODE", "verify-full", ("verify-full", "verify-ca")),
    }
    if not iam:
        return found | {"user": reader.text("REDSHIFT_USER"), "password": reader.text("REDSHIFT_PASSWORD")}
    if not found["ssl"]:
        reader.mistakes.append("REDSHIFT_SSL may not be off with REDSHIFT_IAM")
    found["region"] = reader.text("REDSHIFT_REGION")
    found["serverless_work_group"] = reader.optional("REDSHIFT_SERVERLESS_WORK_GROUP")
    if found["serverless_work_group"]:
        return found | {"serverless_acct_id": reader.optional("REDSHIFT_SERVERLESS_ACCT_ID")}
    hint = "or REDSHIFT_SERVERLESS_WORK_GROUP"
    return found | {
        "cluster_identifier": reader.text("REDSHIFT_CLUSTER_IDENTIFIER", hint),
        "db_user": reader.text("REDSHIFT_DB_USER", hint),
    }


def _files(reader: _Reader) -> dict[str, Any]:
    """Where the files stand on their way, and the role that lets Redshift read them."""
    prefix = reader.text("REDSHIFT_S3_PREFIX").rstrip("/")
    role = reader.text("REDSHIFT_COPY_ROLE")
    if prefix and not _PREFIX.fullmatch(prefix):
        reader.mistakes.append("REDSHIFT_S3_PREFIX is no s3://bucket/prefix")
    if role and not _ROLE.fullmatch(role):
        reader.mistakes.append("REDSHIFT_COPY_ROLE is no role (arn:aws:iam::<account>:role/<name>, or default)")
    return {
        "s3_prefix": prefix,
        "copy_role": role,
        "s3_endpoint_url": reader.optional("REDSHIFT_S3_ENDPOINT_URL"),
        "s3_kms_key": reader.optional("REDSHIFT_S3_KMS_KEY"),
    }


def _state(reader: _Reader) -> StateSettings:
    return StateSettings(
        host=reader.text("STATE_HOST"),
        port=reader.number("STATE_PORT", 5432),
        database=reader.text("STATE_DATABASE"),
        user=reader.text("STATE_USER"),
        password=reader.text("STATE_PASSWORD"),
        sslmode=reader.choice(
            "STATE_SSLMODE", "require", ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
        ),
    )


class _Reader:
    """Reads variables and gathers what is missing or wrong with them; a value never stands in a message."""

    def __init__(self, environment: Mapping[str, str]):
        self._environment = environment
        self.missing: list[str] = []
        self.mistakes: list[str] = []

    def optional(self, name: str) -> str | None:
        return self._environment.get(name) or None

    def text(self, name: str, hint: str = "") -> str:
        value = self.optional(name)
        if value is None:
            self.missing.append(f"{name} ({hint})" if hint else name)
        return value or ""

    def number(self, name: str, default: int) -> int:
        value = self.optional(name) or str(default)
        if not value.isdigit():
            self.mistakes.append(f"{name} is no number")
            return default
        return int(value)

    def flag(self, name: str, default: bool) -> bool:
        return self.choice(name, "1" if default else "0", ("0", "1")) == "1"

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        value = self.optional(name) or default
        if value not in allowed:
            self.mistakes.append(f"{name} is none of {', '.join(allowed)}")
        return value

    def raise_mistakes(self) -> None:
        said = [f"not set: {', '.join(self.missing)}"] if self.missing else []
        said += self.mistakes
        if said:
            raise ConfigurationError(
                f"The gateway redshift is not configured; nothing was done. {'; '.join(said)}. "
                "Set these environment variables (docs/redshift.md explains each), then run this again."
            )
