"""What is extracted: the tables, their columns and how they are read, from external_models.yaml and tables.yaml."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

import jinja2
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from sqlglot import exp
from sqlglot.errors import SqlglotError

from extract.clock import RECONCILE_DAYS
from extract.column_names import why_unusable
from extract.column_types import KNOWN, arrow_type
from extract.errors import ConfigurationError
from extract.settings import PROJECT, mistakes_of
from extract.source_reads import Limits, SourceTable
from macros.marts import RAW_SCHEMA, Mart, mart_of, marts, needed_columns, scan_key
from macros.periods import parse_period

WHOLE_NUMBERS = ("BIGINT", "INTEGER", "SMALLINT")

EXTRACTED = tuple(mart.table for mart in marts())
"""The tables of tables.yaml, the anchor first."""


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
    def raw_columns(self) -> dict[str, exp.DataType]:
        """Its columns as raw and mart have them: with the moment at which a row landed."""
        return {**self.columns, "landed_at": exp.DataType.build("TIMESTAMP")}

    @property
    def history_columns(self) -> dict[str, exp.DataType]:
        """Its columns as history has them: also with the moment at which a row was archived."""
        return {**self.raw_columns, "archived_at": exp.DataType.build("TIMESTAMP")}

    @property
    def time(self) -> str:
        return self.mart.event_time

    @property
    def compared(self) -> list[str]:
        """The columns in which a row that comes agrees with one that is held: of a scan its key, otherwise all."""
        return list(self.columns) if self.mart.one_row_per_order else scan_key()

    @property
    def compared_of_order(self) -> list[str]:
        """The same of two rows of one order."""
        return [name for name in self.compared if name != "order_id"]

    @property
    def key_and_time(self) -> list[str]:
        """What tells a row from all others: its order and its time, of a scan its whole key."""
        return ["order_id", self.time] if self.mart.one_row_per_order else scan_key()


@dataclass(frozen=True)
class ExtractConfig:
    tables: tuple[Table, ...]
    buffer_seconds: int
    chunk_rows: int | None
    """None: as many as suit the warehouse."""
    history_start: str
    """The first half-year that has history tables."""
    limits: Limits = field(default_factory=Limits)
    """What the source's owner allows."""
    stale_seconds: int | None = None
    """So old may a source's newest row become; None: as is usual at that hour."""

    def select(self, names: Sequence[str] | None) -> tuple[Table, ...]:
        """The tables named, in the configured order; all of them without names."""
        known = [table.name for table in self.tables]
        unknown = sorted({*(names or ())} - {*known})
        if unknown:
            raise ConfigurationError(f"No such table: {', '.join(unknown)}. There are: {', '.join(known)}.")
        return tuple(table for table in self.tables if not names or table.name in names)


class _Entry(BaseModel):
    """How tables.yaml says that a table is read."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    source: str = Field(min_length=1)
    time: str = Field(min_length=1)
    columns: dict[str, str] = {}
    """Column of external_models.yaml -> what the source calls it, where that is another name."""
    id_column: str | None = None
    id_overlap: int = Field(default=10_000, ge=0)
    cursor: Literal["time", "id"] = "time"

    @model_validator(mode="after")
    def _only_a_cursor_has_an_id(self) -> Self:
        given = sorted({"id_column", "id_overlap"} & self.model_fields_set)
        if given and self.cursor != "id":
            raise ValueError(f"{' and '.join(given)} do nothing without cursor: id; write it, or leave them out")
        return self

    @field_validator("cursor")
    @classmethod
    def _an_id_has_a_column(cls, cursor: str, read_before: ValidationInfo) -> str:
        if cursor == "id" and not read_before.data.get("id_column"):
            raise ValueError("is id, but there is no id_column")
        return cursor


class _Versions(_Entry):
    """The rows change, each under the id that it has."""

    @field_validator("cursor")
    @classmethod
    def _they_are_read_by_time(cls, cursor: str) -> str:
        if cursor == "id":
            raise ValueError("is id, which would miss every change of a row; write time")
        return cursor


class _Tables(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    uni_tracking_info: _Versions
    ecs_order_info: _Versions
    uni_tracking_spath: _Entry


class _File(BaseModel):
    """tables.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    buffer_minutes: int = Field(ge=1, le=RECONCILE_DAYS * 24 * 60)
    chunk_rows: int | None = Field(default=None, ge=1)
    connections: int = Field(default=4, ge=1)
    statement_seconds: int = Field(default=60, ge=1)
    stale_after_minutes: int | None = Field(default=None, ge=1)
    tables: _Tables


def load_config(project: Path = PROJECT, settings: Path | None = None) -> ExtractConfig:
    """Reads both files and the variables of config.yaml; one ConfigurationError names every mistake in them."""
    mistakes: list[str] = []
    columns = _read_columns(project / "external_models.yaml", mistakes)
    content = _read_tables_file(settings or project / "extract" / "tables.yaml", mistakes)
    history_start = _read_history_start(project, mistakes)
    if content is None or mistakes:
        raise ConfigurationError(f"The extract configuration is wrong; nothing was read. {'; '.join(mistakes)}.")
    for name in EXTRACTED:
        mistakes += _unknown_names(name, getattr(content.tables, name), columns[name])
    if mistakes:
        raise ConfigurationError(f"The extract configuration is wrong; nothing was read. {'; '.join(mistakes)}.")
    return ExtractConfig(
        tables=tuple(_table(name, getattr(content.tables, name), columns[name]) for name in EXTRACTED),
        buffer_seconds=content.buffer_minutes * 60,
        chunk_rows=content.chunk_rows,
        history_start=history_start,
        limits=Limits(content.connections, content.statement_seconds),
        stale_seconds=None if content.stale_after_minutes is None else 60 * content.stale_after_minutes,
    )


def project_variables(project: Path = PROJECT) -> dict[str, Any]:
    """The variables of config.yaml, read the way SQLMesh reads them."""
    text = _template((project / "config.yaml").read_text(encoding="utf-8")).render(
        env_var=lambda name, default="": os.environ.get(name) or default
    )
    return dict(_parsed(text)["variables"])


def _table(name: str, entry: _Entry, columns: dict[str, exp.DataType]) -> Table:
    by_id = entry.cursor == "id"
    mart = mart_of(name)
    names = {column.lower(): source for column, source in entry.columns.items()}
    return Table(
        name=name,
        source=SourceTable(
            name=entry.source,
            time_column=entry.time,
            columns=tuple(columns),
            id_column=entry.id_column if by_id else None,
            event_time=mart.event_time,
            names={**names, mart.event_time: entry.time},
            types=columns,
        ),
        columns=columns,
        mart=mart,
        id_overlap=entry.id_overlap if by_id else None,
    )


def _unknown_names(name: str, entry: _Entry, columns: dict[str, exp.DataType]) -> list[str]:
    """What tables.yaml gives a name of the source for, and is not listed, or has one already."""
    event_time = mart_of(name).event_time
    where = f"tables.yaml: tables.{name}.columns"
    given = {column.lower(): source for column, source in entry.columns.items()}
    unknown = [
        f"{where} names {each}, which is no column of external_models.yaml" for each in given if each not in columns
    ]
    if given.get(event_time, entry.time).lower() != entry.time.lower():
        unknown.append(f"{where}.{event_time} is not what `time` names; leave it out")
    return unknown


def _read_history_start(project: Path, mistakes: list[str]) -> str:
    try:
        start = str(project_variables(project)["history_start"])
        parse_period(start)
        return start
    except (OSError, YAMLError, UnicodeDecodeError, jinja2.TemplateError, TypeError, KeyError) as error:
        mistakes.append(f"{project / 'config.yaml'} cannot be read: {' '.join(str(error).split())}")
    except ValueError as error:
        mistakes.append(f"config.yaml: history_start (ORDER_TRACKING_HISTORY_START) {error}")
    return ""


def _read_tables_file(file: Path, mistakes: list[str]) -> _File | None:
    try:
        return _File.model_validate(_read_yaml(file))
    except _Unreadable as error:
        mistakes.append(str(error))
    except ValidationError as error:
        mistakes += [f"{file.name}: {'.'.join(place) or 'the file'} {words}" for place, words in mistakes_of(error)]
    return None


def _read_columns(file: Path, mistakes: list[str]) -> dict[str, dict[str, exp.DataType]]:
    """Table -> its columns (lower case) with their types, without landed_at."""
    try:
        models = [(model["name"], dict(model["columns"])) for model in _read_yaml(file)]
    except _Unreadable as error:
        mistakes.append(str(error))
        return {}
    except (TypeError, KeyError, ValueError):
        mistakes.append(f"{file.name} is no list of models, each with name and columns")
        return {}
    names = [name for name, _ in models]
    mistakes += [f"{file.name} lists {name} more than once" for name in dict.fromkeys(names) if names.count(name) > 1]
    return {name: _typed(f"{RAW_SCHEMA}.{name}_raw", dict(models), mistakes) for name in EXTRACTED}


def _typed(model: str, listed: dict[str, dict[str, Any]], mistakes: list[str]) -> dict[str, exp.DataType]:
    where, columns = f"external_models.yaml: {model}", {}
    for name, written in listed.get(model, {}).items():
        if str(name).lower() in columns:
            mistakes.append(f"{where} lists {str(name).lower()} more than once")
        try:
            kind = exp.DataType.build(str(written), dialect="redshift")
            if not isinstance(kind.this, exp.DataType.Type):
                raise ValueError(written)
            columns[str(name).lower()] = kind
        except (SqlglotError, ValueError):
            mistakes.append(f"{where} has {name} as {written}, which is no type")
    columns.pop("landed_at", None)
    mart = next(mart for mart in marts() if mart.raw == model)
    if lacking := [name for name in needed_columns(mart) if name not in columns]:
        mistakes.append(f"{where} lacks {', '.join(lacking)}, which the rules need")
    for name, kind in columns.items():
        if why := why_unusable(name):
            other = re.sub(r"\W", "_", name) + "_1"
            mistakes.append(
                f"{where} has a column '{name}', which is {why}: call it, say, {other}, and write {other}: {name} in "
                "tables.yaml, under the table's columns"
            )
        if arrow_type(kind) is None:
            mistakes.append(f"{where} has {name} as {kind.sql('redshift')}; an extract lands {KNOWN}")
    for name in ("order_id", mart.event_time):
        if name in columns and not columns[name].is_type("BIGINT"):
            mistakes.append(f"{where} has {name} as {columns[name].sql('redshift')}; it must be BIGINT")
    for name in () if mart.one_row_per_order else scan_key():
        if name in columns and not columns[name].is_type(*WHOLE_NUMBERS):
            written = columns[name].sql("redshift")
            mistakes.append(f"{where} has {name} as {written}; in a scan's key it must be {' or '.join(WHOLE_NUMBERS)}")
    return columns


class _Unreadable(Exception):
    """A file is not there or no YAML."""


def _read_yaml(file: Path) -> Any:
    try:
        return _parsed(file.read_text(encoding="utf-8"))
    except (OSError, YAMLError, UnicodeDecodeError) as error:
        raise _Unreadable(f"{file} cannot be read: {' '.join(str(error).split())}") from error


@cache
def _template(text: str) -> jinja2.Template:
    return jinja2.Template(text)


@cache
def _parsed(text: str) -> Any:
    """What a text says; to be read only, for the next cycle of the process gets the same."""
    return YAML(typ="safe", pure=True).load(text)
