"""Cuts SQL text into tokens that know their place, so that text can be edited without being re-rendered.

sqlglot's tokenizer swallows the rest of commands such as VACUUM or UNLOAD as one string; this one does not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""
    (?P<skip>\s+|--[^\n]*|/\*.*?\*/)
  | (?P<string>[eE]?'(?:[^'\\]|\\.|'')*'|\$\$.*?\$\$)
  | (?P<quoted>"(?:[^"]|"")*")
  | (?P<word>[A-Za-z_\u0080-\U0010ffff][\w$]*)
  | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
  | (?P<param>\$\d+)
  | (?P<op>::|<=>|<>|!=|<=|>=|\|\||.)
    """,
    re.VERBOSE | re.DOTALL,
)

# A backslash escapes in Redshift's strings; sqlglot writes \' for a quote and \n for a line's end.
_ESCAPE = re.compile(r"''|\\(.)", re.DOTALL)


def _unescape(match: re.Match[str]) -> str:
    return {None: "'", "n": "\n", "t": "\t", "r": "\r"}.get(match.group(1), match.group(1))


def sql_string(text: str) -> str:
    """A string literal of this text."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


@dataclass(frozen=True)
class Token:
    """One token: its kind (string, quoted, word, number, param, op), its raw text and its offsets."""

    kind: str
    raw: str
    start: int
    end: int

    @property
    def upper(self) -> str:
        """The word in capitals; strings and quoted names give a mark that no keyword equals."""
        return {"string": "''", "quoted": '"x"'}.get(self.kind, self.raw.upper())

    @property
    def value(self) -> str:
        """What the token stands for: a string's content, a name folded to lower case as Redshift does."""
        if self.kind == "string":
            if self.raw[0] == "$":
                return self.raw[2:-2]
            return _ESCAPE.sub(_unescape, self.raw.lstrip("eE")[1:-1])
        if self.kind == "quoted":
            return self.raw[1:-1].replace('""', '"').lower()
        return self.raw.lower()

    @property
    def is_name(self) -> bool:
        return self.kind in ("word", "quoted")


def tokens(sql: str) -> list[Token]:
    """All tokens of a text, comments and blanks left out."""
    return [
        Token(m.lastgroup or "op", m.group(), m.start(), m.end()) for m in _TOKEN.finditer(sql) if m.lastgroup != "skip"
    ]


def without_head(sql: str) -> str:
    """The statement without the comments before it: SQLMesh puts the id of its plan or run there."""
    items = tokens(sql)
    return sql[items[0].start :] if items else sql


def statements(sql: str) -> list[str]:
    """The text cut at its semicolons; empty statements are left out."""
    found, start = [], 0
    for token in [*tokens(sql), Token("op", ";", len(sql), len(sql))]:
        if token.raw == ";":
            piece = sql[start : token.start]
            if tokens(piece):
                found.append(piece.strip())
            start = token.end
    return found


def bare(items: Sequence[Token]) -> str:
    """The tokens in capitals, one blank between them, contents of strings and quoted names blanked."""
    return " ".join(token.upper for token in items)


def qualified_name(items: Sequence[Token], at: int) -> tuple[str, int]:
    """The dotted name that begins at token `at`, folded, and the index of the token after it."""
    parts = [items[at].value]
    at += 1
    while at + 1 < len(items) and items[at].raw == "." and items[at + 1].is_name:
        parts.append(items[at + 1].value)
        at += 2
    return ".".join(parts), at


def closing(items: Sequence[Token], at: int) -> int:
    """The index of the parenthesis that closes the one at `at`."""
    depth = 0
    for index in range(at, len(items)):
        depth += {"(": 1, ")": -1}.get(items[index].raw, 0)
        if depth == 0:
            return index
    return len(items) - 1
