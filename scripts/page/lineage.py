"""What feeds what, from the source's tables to history, exceptions and views: found in the project, never listed here.

A model reads what it names: the names are taken from the models' files, which costs milliseconds; SQLMesh itself would
need seconds to load them. What a model's macros write is told by the macros that it calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from sqlglot.dialects.redshift import Redshift
from sqlglot.tokens import Token, TokenType

from extract.settings import PROJECT
from extract.tables import ExtractConfig
from macros.history import history_view
from macros.marts import CHECK_LOG, EXCEPTIONS, HISTORY_SCHEMA, MART_SCHEMA, RAW_SCHEMA, anchor, mart_of

CHECKS = f"{MART_SCHEMA}.consistency_failures"
"""The model that runs all checks; what they read it reads."""

WRITTEN_BY = {"keep_exceptions": (EXCEPTIONS, CHECK_LOG)}
"""Macro -> what a model that calls it writes beside its own table."""

ARCHIVES = "retention"
"""The macro by which a mart moves rows to its history."""


@dataclass(frozen=True)
class Lineage:
    """Layers from the top to the bottom, each with its objects (schema.name; of the source: name); who feeds whom."""

    layers: tuple[tuple[str, tuple[str, ...]], ...]
    feeds: tuple[tuple[str, str], ...]


def lineage(config: ExtractConfig, project: Path = PROJECT) -> Lineage:
    """The objects of the project in layers, and from which to which rows go. The anchor stands in the middle."""
    tables = sorted(config.tables, key=lambda table: table.mart.alias)
    # By name: SQLMesh loads macros/ once more, and a Mart of the one loading equals none of the other.
    tables.insert(1, tables.pop([table.mart.alias for table in tables].index(anchor().alias)))
    by_extract = [(table.source.name, table.raw) for table in tables]
    feeds = tuple(dict.fromkeys([*by_extract, *_of_models(project / "models")]))
    named = list(dict.fromkeys(name for feed in feeds for name in feed))
    layers: dict[str, list[str]] = {
        "source": [table.source.name for table in tables],
        "raw": [table.raw for table in tables],
        "marts": [table.mart.name for table in tables],
        "history": [history_view(table.mart.alias) for table in tables],
        "views": [],
        "set aside": [],
        "checks": [],
    }
    placed = {name for names in layers.values() for name in names}
    for name in named:
        if name not in placed:
            written = name == CHECKS or (CHECKS, name) in feeds
            layers["checks" if written else "set aside" if name.startswith(RAW_SCHEMA) else "views"].append(name)
    return Lineage(tuple((layer, tuple(names)) for layer, names in layers.items() if names), feeds)


def _of_models(folder: Path) -> Iterator[tuple[str, str]]:
    """Who feeds whom, by the models' files. The checks and their parts are no tables: CHECKS stands for all of them."""
    texts = {file: file.read_text(encoding="utf-8") for file in sorted(folder.rglob("*.sql"))}
    tokens_of = {file: Redshift.Tokenizer().tokenize(text) for file, text in texts.items()}
    named_in = {file: list(_names(tokens)) for file, tokens in tokens_of.items()}  # a model names itself first
    inner = {named[0] for file, named in named_in.items() if folder / "checks" in file.parents}
    for file, named in named_in.items():
        model = CHECKS if named[0] in inner else named[0]
        yield from ((read, model) for read in named if read not in inner and read != model)
        tokens = tokens_of[file]
        called = {name.text for at, name in pairwise(tokens) if at.text == "@"}
        if ARCHIVES in called:
            yield model, history_view(mart_of(model).alias)
        for macro in sorted(called & {*WRITTEN_BY}):
            yield from ((model, written) for written in WRITTEN_BY[macro])


def _names(tokens: Sequence[Token]) -> Iterator[str]:
    """Every schema.name of the project. Comments are no tokens."""
    for schema, dot, name in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if dot.token_type == TokenType.DOT and schema.text in (RAW_SCHEMA, MART_SCHEMA, HISTORY_SCHEMA):
            yield f"{schema.text}.{name.text}"
