"""What is extracted: the tables, their columns and how they are read, from external_models.yaml and tables.yaml."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from sqlglot import exp
from sqlglot.errors import SqlglotError

from extract.errors import ConfigurationError
from extract.source import SourceTable
from macros.marts import RAW_SCHEMA, Mart, mart_of, scan_key
from macros.periods import parse_period

PROJECT = Path(__file__).resolve().parent.parent
EXTRACTED = ("uni_tracking_info", "ecs_order_info", "uni_tracking_spath")


@dataclass(frozen=True)
class Table:
    """One extracted table: its source, its raw table and the mart that consumes it."""

    name: str
    source: SourceTable
    columns: dict[str, exp.DataType]
    mart: Mart
    id_overlap: int | None = None

    @property
    def raw(self) -> str:
        return self.mart.raw

    @property
    def time(self) -> str:
        return self.mart.event_time

    @property
    def identity(self) -> list[str]:
        """The columns in which a row that is held already agrees: for a scan its key, otherwise the whole content."""
        return list(self.columns) if self.mart.one_row_per_order else scan_key()


@dataclass(frozen=True)
class ExtractConfig:
    tables: tuple[Table, ...]
    buffer_seconds: int
    chunk_rows: int | None
    """None: as many as suit the warehouse."""
    history_start: str
    """The first half-year that has history tables."""

    def select(self, names: Sequence[str] | None) -> tuple[Table, ...]:
        """The tables named, in the configured order; all of them without names."""
        known = [table.name for table in self.tables]
        unknown = sorted({*(names or ())} - {*known})
        if unknown:
            raise ConfigurationError(f"No such table: {', '.join(unknown)}. There are: {', '.join(known)}.")
        return tuple(table for table in self.tables if not names or table.name in names)


def load_config(project: Path = PROJECT, settings: Path | None = None) -> ExtractConfig:
    """Reads both files; every mistake found is named at once."""
    file = settings or project / "extract" / "tables.yaml"
    try:
        raw_models = {
            model["name"]: model["columns"] for model in _read_yaml((project / "external_models.yaml").read_text())
        }
        content = _read_yaml(file.read_text())
        variables = project_variables(project)
    except (OSError, YAMLError, TypeError, KeyError) as error:
        raise ConfigurationError(
            f"external_models.yaml, config.yaml or {file.name} cannot be read; nothing was done: {error}"
        ) from error
    mistakes = _mistakes(content, variables)
    tables = []
    for name, entry in _entries(content):
        try:
            columns = {
                column.lower(): exp.DataType.build(kind, dialect="redshift")
                for column, kind in raw_models.get(f"{RAW_SCHEMA}.{name}_raw", {}).items()
                if column != "landed_at"
            }
        except (SqlglotError, ValueError, AttributeError) as error:
            mistakes.append(f"external_models.yaml: a type of {RAW_SCHEMA}.{name}_raw is none: {error}")
            continue
        if unfit := [f"{column} {kind.sql('redshift')}" for column, kind in columns.items() if not can_land(kind)]:
            mistakes.append(
                f"external_models.yaml: {RAW_SCHEMA}.{name}_raw has {', '.join(unfit)}; an extract lands BIGINT, "
                "INTEGER and VARCHAR(n)"
            )
        by_id = entry.get("cursor") == "id"
        if not columns:
            mistakes.append(f"external_models.yaml lists no columns of {RAW_SCHEMA}.{name}_raw")
        if entry.get("cursor", "time") not in ("time", "id"):
            mistakes.append(f"tables.yaml: cursor of {name} is '{entry['cursor']}'; write time or id")
        if by_id and not entry.get("id_column"):
            mistakes.append(f"tables.yaml: {name} has cursor: id but no id_column")
        if by_id and name in EXTRACTED and mart_of(f"order_tracking.mart_{name}").one_row_per_order:
            mistakes.append(f"tables.yaml: {name} has cursor: id, which would miss every change of a row; write time")
        tables.append(
            Table(
                name=name,
                source=SourceTable(
                    name=str(entry.get("source")),
                    time_column=str(entry.get("time")),
                    columns=tuple(columns),
                    id_column=entry.get("id_column") if by_id else None,
                ),
                columns=columns,
                mart=mart_of(f"order_tracking.mart_{name}"),
                id_overlap=entry.get("id_overlap", 10_000) if by_id else None,
            )
        )
    if mistakes:
        raise ConfigurationError("The extract configuration is wrong; nothing was read. " + "; ".join(mistakes) + ".")
    return ExtractConfig(
        tables=tuple(tables),
        buffer_seconds=int(content["buffer_minutes"]) * 60,
        chunk_rows=int(content["chunk_rows"]) if "chunk_rows" in content else None,
        history_start=str(variables["history_start"]),
    )


def can_land(kind: exp.DataType) -> bool:
    """An extract can keep every value of this type, or reject it."""
    if kind.is_type("VARCHAR"):
        return bool(kind.expressions) and kind.expressions[0].name.isdigit()
    return kind.is_type("BIGINT", "INT")


def _entries(content: Any) -> list[tuple[str, dict[str, Any]]]:
    """The tables of tables.yaml that say anything, the anchor first, whatever their order there."""
    found = content.get("tables") if isinstance(content, dict) else None
    return sorted(
        ((name, entry) for name, entry in (found or {}).items() if isinstance(entry, dict)),
        key=lambda named: EXTRACTED.index(named[0]) if named[0] in EXTRACTED else len(EXTRACTED),
    )


def _mistakes(content: Any, variables: dict[str, Any]) -> list[str]:
    """What is missing in tables.yaml or is no number there, and a history_start that is no half-year."""
    mistakes = []
    try:
        parse_period(str(variables["history_start"]))
    except ValueError as error:
        mistakes.append(f"ORDER_TRACKING_HISTORY_START: {error}")
    numbers = content if isinstance(content, dict) else {}
    for name, value in (
        ("buffer_minutes", numbers.get("buffer_minutes")),
        ("chunk_rows", numbers.get("chunk_rows", 1)),
    ):
        if not isinstance(value, int) or value < 1:
            mistakes.append(f"tables.yaml: {name} is no number above zero")
    entries = dict(_entries(content))
    mistakes += [f"tables.yaml does not say how {name} is read" for name in EXTRACTED if name not in entries]
    mistakes += [
        f"tables.yaml: {name} is none of {', '.join(EXTRACTED)} (the source's own name goes to `source`)"
        for name in entries
        if name not in EXTRACTED
    ]
    for name, entry in entries.items():
        mistakes += [
            f"tables.yaml: {name} has no {setting}" for setting in ("source", "time") if not entry.get(setting)
        ]
        if not isinstance(entry.get("id_overlap", 0), int):
            mistakes.append(f"tables.yaml: id_overlap of {name} is no number")
    return mistakes


@cache
def _read_yaml(text: str) -> Any:
    """What a text says; to be read only, for the next cycle of the process gets the same."""
    return YAML(typ="safe", pure=True).load(text)


@cache
def _template(text: str) -> jinja2.Template:
    return jinja2.Template(text)


def project_variables(project: Path = PROJECT) -> dict[str, Any]:
    """The variables of config.yaml, read the way SQLMesh reads them."""
    text = _template((project / "config.yaml").read_text()).render(
        env_var=lambda name, default="": os.environ.get(name) or default
    )
    return dict(_read_yaml(text)["variables"])
