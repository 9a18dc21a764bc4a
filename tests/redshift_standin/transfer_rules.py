"""The shape of COPY and UNLOAD: reads them into a `Transfer` and says what Redshift would refuse.

Both move Parquet only. COPY reads a manifest, so that one statement loads exactly the files that were sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from .lexer import Token, closing, qualified_name

_ROLE = re.compile(r"default|arn:aws[\w-]*:iam::\d{12}:role/[\w+=,.@/-]+")
_SECRET = re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b|aws_(access_key_id|secret_access_key)|\btoken\s*=", re.IGNORECASE)
_KEY_OPTIONS = {"ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "CREDENTIALS", "WITH"}
# Option → does a value follow: "" no, "?" perhaps, "!" always.
_COPY_OPTIONS = {"IAM_ROLE": "!", "FORMAT": "!", "MANIFEST": "", "FILLRECORD": "", "STATUPDATE": "?"}
_COPY_OPTIONS |= {"ACCEPTINVCHARS": "?"}
_UNLOAD_OPTIONS = {"IAM_ROLE": "!", "FORMAT": "!", "MANIFEST": "?", "ALLOWOVERWRITE": "", "CLEANPATH": ""}
_UNLOAD_OPTIONS |= {"PARALLEL": "?"}
_BARE_VALUES = {"ON", "OFF", "TRUE", "FALSE", "VERBOSE"}


@dataclass
class Transfer:
    """A COPY (table, columns) or an UNLOAD (query): the S3 address, options in capitals, what is wrong."""

    verb: str
    address: str = ""
    table: str = ""
    columns: list[str] = field(default_factory=list)
    query: str = ""
    options: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_transfer(items: list[Token]) -> Transfer:
    """Read the tokens of a COPY or UNLOAD; whatever is wrong ends up in `problems`."""
    transfer = Transfer(items[0].upper)
    if transfer.verb == "COPY":
        transfer.table, at = qualified_name(items, 1)
        if at < len(items) and items[at].raw == "(":
            end = closing(items, at)
            transfer.columns = [item.value for item in items[at + 1 : end] if item.is_name]
            at = end + 1
        keyword, known = "FROM", _COPY_OPTIONS
    else:
        shape = [item.raw if item.kind == "op" else item.kind for item in items[1:4]]
        if shape != ["(", "string", ")"] or items[2].raw[0] != "'":
            transfer.problems.append(
                "unload-query-quoting: UNLOAD ('query') in single quotes, the quotes in it doubled"
            )
            return transfer
        transfer.query, at, keyword, known = items[2].value, 4, "TO", _UNLOAD_OPTIONS
    verb = transfer.verb.lower()
    if at + 1 >= len(items) or items[at].upper != keyword or items[at + 1].kind != "string":
        transfer.problems.append(f"{verb}-address: {keyword} 's3://bucket/…' comes after the table or query")
        return transfer
    transfer.address = items[at + 1].value
    if not transfer.address.startswith("s3://"):
        transfer.problems.append(f"{verb}-address: only s3:// addresses")
    _read_options(transfer, items[at + 2 :], known)
    if transfer.options.get("FORMAT", "").upper() != "PARQUET":
        transfer.problems.append(f"{verb}-format: say FORMAT AS PARQUET")
    if not _ROLE.fullmatch(transfer.options.get("IAM_ROLE", "")):
        transfer.problems.append(f"{verb}-role: say IAM_ROLE 'arn:aws:iam::<account>:role/<name>' or default")
    if verb == "copy" and "MANIFEST" not in transfer.options:
        transfer.problems.append("copy-manifest: load through a MANIFEST: one COPY for many files")
    return transfer


def _read_options(transfer: Transfer, items: list[Token], known: dict[str, str]) -> None:
    verb, at = transfer.verb.lower(), 0
    while at < len(items):
        name = items[at].upper
        at += 1
        if name in _KEY_OPTIONS:
            transfer.problems.append(f"{verb}-keys: never keys in the statement; use IAM_ROLE")
            return
        if name not in known:
            transfer.problems.append(f"{verb}-option: {name} is not among {', '.join(known)}")
            return
        if at < len(items) and items[at].upper == "AS":
            at += 1
        takes = at < len(items) and (
            known[name] == "!"
            or (known[name] == "?" and (items[at].kind == "string" or items[at].upper in _BARE_VALUES))
        )
        transfer.options[name] = items[at].value if takes else ""
        at += takes


def broken_transfer(sql: str, items: list[Token], lint: Callable[[str], list[str]]) -> list[str]:
    """The refusals of a COPY or UNLOAD; `lint` looks at the query of an UNLOAD."""
    transfer = read_transfer(items)
    found = transfer.problems
    if _SECRET.search(sql):
        found.append(f"{transfer.verb.lower()}-keys: never keys in the statement; use IAM_ROLE")
    if transfer.query:
        if re.search(r"\bLIMIT\s+\d+\s*;?\s*$", transfer.query, re.IGNORECASE):
            found.append("unload-limit: no LIMIT in the outer SELECT of UNLOAD; put it into a subquery")
        found += lint(transfer.query)
    return found
