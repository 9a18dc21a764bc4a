"""A stand-in for Amazon Redshift: PostgreSQL behind a small wire proxy. README.md says what it shows."""

from .linter import RefusedByRedshift, check, refusals
from .rewrite import Properties
from .server import RedshiftStandin, S3Server, s3_client

__all__ = ["Properties", "RedshiftStandin", "RefusedByRedshift", "S3Server", "check", "refusals", "s3_client"]
