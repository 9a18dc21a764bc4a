"""What the project makes itself, ahead of need: raw tables, the extract's log, exceptions, history tables and views."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from sqlglot import exp

from extract.clock import utc
from extract.errors import ConfigurationError, WarehouseError
from extract.ownership import Foreign, foreign_models, foreign_tables, refuse_foreign, shown_models, table_below
from extract.settings import PROJECT
from extract.tables import ExtractConfig, Table
from extract.warehouse import Standing, Warehouse
from macros.details import VALUES
from macros.history import (
    add_column,
    create_table,
    drop_history_view,
    history_period,
    history_table,
    history_view,
    renew_history_view,
    shown_periods,
    shows_columns,
    shows_periods,
)
from macros.marts import CHECK_LOG, EXCEPTIONS, HISTORY_SCHEMA, MART_SCHEMA, RAW_SCHEMA
from macros.periods import period_bounds, periods_between
from macros.sql import query_from_template, union_all

SCHEMAS = (RAW_SCHEMA, HISTORY_SCHEMA, MART_SCHEMA, f"sqlmesh__{MART_SCHEMA}")
"""The project's own, and where SQLMesh keeps the tables that the marts' views show."""

EXTRACT_LOG = f"{RAW_SCHEMA}.extract_log"
REJECTED_ROWS = f"{RAW_SCHEMA}.rejected_rows"
UNEQUAL_HOURS = f"{RAW_SCHEMA}.unequal_hours"
CYCLE_LOG = f"{HISTORY_SCHEMA}.cycle_log"

OWN_TABLES = {
    EXTRACT_LOG: """
        table_name VARCHAR(127), kind VARCHAR(16), cutoff BIGINT, watermark BIGINT, watermark_id BIGINT,
        rows_read BIGINT, rows_landed BIGINT, rows_rejected BIGINT, bytes BIGINT, landed_at TIMESTAMP,
        started_at TIMESTAMP, finished_at TIMESTAMP, error VARCHAR(4096)""",
    REJECTED_ROWS: """
        table_name VARCHAR(127), order_id BIGINT, reason VARCHAR(256), payload VARCHAR(65535),
        rejected_at TIMESTAMP""",
    UNEQUAL_HOURS: """
        table_name VARCHAR(127), event_hour BIGINT, reason VARCHAR(127), row_count BIGINT, examples VARCHAR(256),
        more_rows BIGINT, more_keys DECIMAL(38, 0), more_times DECIMAL(38, 0), more_content DECIMAL(38, 0),
        found_at TIMESTAMP""",
    EXCEPTIONS: """
        check_name VARCHAR(64), table_name VARCHAR(127), order_id BIGINT, detail VARCHAR(4096),
        first_seen_at TIMESTAMP, last_seen_at TIMESTAMP, times_seen INTEGER,
        resolved_at TIMESTAMP, resolution VARCHAR(4096)""",
    CHECK_LOG: "checked_at TIMESTAMP, findings BIGINT",
    CYCLE_LOG: """
        cycle_at TIMESTAMP, started_at TIMESTAMP, seconds DOUBLE PRECISION, outcome VARCHAR(16),
        rows_landed BIGINT, rows_rejected BIGINT, rows_archived BIGINT,
        newest_uti BIGINT, newest_ecs BIGINT, newest_uts BIGINT,
        phases VARCHAR(4096), warnings VARCHAR(65535), error VARCHAR(4096)""",
}


AHEAD_SECONDS = 366 * 86400
"""So long before a half-year begins its history tables stand: marts that run without an extract find them, too."""


def ensure_tables(
    warehouse: Warehouse, config: ExtractConfig, now: int, held: Mapping[str, Standing] | None = None
) -> list[str]:
    """Creates what is missing and adds columns that external_models.yaml has gained; repeating it changes nothing.

    Gives a warning for each history table that somebody has dropped, which opens the finding `history_table_gone` too,
    and for each view over history that could not get a new column, because of a view that somebody else has built upon
    it: everything else goes on.

    Args:
        now: Epoch seconds; every half-year from `history_start` to a year after it gets its history tables.
        held: What stands in SCHEMAS, where the caller has read it already (`objects_of_schemas`).

    Raises, before it makes anything, NameTaken where an object that is not this project's stands in the way, and
    ConfigurationError where external_models.yaml or `history_start` would leave out what stands.
    """
    if held is None:
        held = warehouse.objects_of_schemas(SCHEMAS)
    refuse_foreign(foreign_tables(held, config.tables, OWN_TABLES))
    refuse_lost_columns(held, config.tables)
    refuse_hidden_history(held, config)
    gone = [
        history_table(table.mart.alias, period)
        for table in config.tables
        for period in _gone_periods(table, held)
        if period >= config.history_start  # an earlier one is not made again
    ]
    statements = missing_objects(config, now, held, warehouse.is_redshift)
    if gone:  # with the tables, in one transaction: who makes them anew hides that they were gone
        from macros.exceptions import record_exceptions  # it loads SQLMesh

        statements += record_exceptions(_gone_history(gone, now), now)
    if statements:
        lacking = [  # where a schema stands it needs no right to create one
            schema for schema in (RAW_SCHEMA, HISTORY_SCHEMA) if not any(name.startswith(f"{schema}.") for name in held)
        ]
        warehouse.change([*(f"CREATE SCHEMA IF NOT EXISTS {schema}" for schema in lacking), *statements])
    widened = [
        _widen_view(warehouse, table, create)
        for table, create, gains in _views_to_renew(config, now, held, warehouse.is_redshift)
        if gains and warehouse.is_redshift
    ]
    return [*map(_gone_history_warning, gone), *(warning for warning in widened if warning)]


def refuse_hidden_history(held: Mapping[str, Standing], config: ExtractConfig) -> None:
    """ConfigurationError where history stands that is older than `history_start`: no retention would look into it."""
    periods = {period for table in config.tables for period in standing_periods(held, table.mart.alias)}
    if hidden := sorted(period for period in periods if period < config.history_start):
        raise ConfigurationError(
            f"History begins with {hidden[0]}, and history_start (ORDER_TRACKING_HISTORY_START) is "
            f"{config.history_start}; nothing was done, for an order that comes back would not be found before that. "
            f"Set it to {hidden[0]}, or drop older history tables that hold no row."
        )


def _gone_periods(table: Table, held: Mapping[str, Standing]) -> list[str]:
    """The half-years that a mart's view over history shows although they have no table: somebody dropped it."""
    view = held.get(history_view(table.mart.alias))
    standing = standing_periods(held, table.mart.alias)
    return sorted(shown_periods(view.definition, table.mart.alias) - standing) if view else []


def _gone_history(names: Sequence[str], now: int) -> exp.Query:
    """What is found of history tables that somebody has dropped, as a check finds it: each time anew."""
    finding = """
        SELECT CAST('history_table_gone' AS VARCHAR(64)) AS check_name, CAST(:name AS VARCHAR(127)) AS table_name,
          CAST(NULL AS BIGINT) AS order_id,
          CAST(:detail AS VARCHAR(4096)) AS detail
    """
    detail = "it was dropped by somebody, with its rows, and stands again without them"
    detail += f"{VALUES}missing at {utc(now):%Y-%m-%d %H:%M:%S})"
    return union_all([query_from_template(finding, {}, name=name, detail=detail) for name in names])


def _gone_history_warning(name: str) -> str:
    return (
        f"{name} was dropped by somebody, with its rows. It stands again, empty: restore its rows from a backup "
        "(docs/recovery.md, 'A history table is gone')."
    )


def refuse_lost_columns(held: Mapping[str, Standing], tables: Iterable[Table]) -> None:
    """ConfigurationError where a mart has a column that external_models.yaml has lost: it would land as NULL unseen.

    Raw and history may have more: what somebody else has added, or a line that was never planned, taken back again.
    """
    lost = []
    for table in tables:
        view, raw = held.get(table.mart.name), held.get(table.raw)
        mart = held.get(table_below(view.definition) or "") if view else None
        if mart and raw and (columns := sorted({*raw.columns} & {*mart.columns} - {*table.raw_columns})):
            lost.append(f"{table.raw} has {', '.join(columns)}")
    if lost:
        raise ConfigurationError(
            f"external_models.yaml lacks columns that the marts have: {'; '.join(lost)}; nothing was done, for "
            "rows would land without them. Put their lines back. (No column is taken away: make plan refuses it, too.) "
            "More: docs/recovery.md, 'Changes of the schema'."
        )


def _widen_view(warehouse: Warehouse, table: Table, create: exp.Expr) -> str:
    """Drops and makes a view over history that gets a column, since Redshift replaces none by one with other columns.

    Gives a warning where that cannot be; the view then stays as it is, and the next time it is tried again.
    """
    try:
        warehouse.change([drop_history_view(table.mart.alias), create])
    except WarehouseError as error:
        if "depend" not in str(error):
            raise
        return (
            f"{history_view(table.mart.alias)} lacks a column that was added, for a view stands on it that is not this "
            f"project's: {error} Make that view WITH NO SCHEMA BINDING, or drop it; the next cycle adds the column."
        )
    return ""


def _views_to_renew(
    config: ExtractConfig, now: int, held: Mapping[str, Standing], redshift: bool
) -> Iterator[tuple[Table, exp.Expr, bool]]:
    """The views over history that are missing or out of date: what makes each anew, and whether it gains a column."""
    for table in config.tables:
        alias, periods = table.mart.alias, _periods(config, table, now, held)
        view = held.get(history_view(alias))
        gains = view is not None and not shows_columns(view.definition, table.columns)
        if view is None or gains or not shows_periods(view.definition, alias, periods):
            yield table, renew_history_view(alias, periods, table.history_columns, redshift), gains


def _periods(config: ExtractConfig, table: Table, now: int, held: Mapping[str, Standing]) -> list[str]:
    """The half-years of a mart's history: those that must stand, and those that do."""
    wanted = periods_between(period_bounds(config.history_start)[0], now + AHEAD_SECONDS)
    return sorted({*wanted} | standing_periods(held, table.mart.alias))


def missing_objects(
    config: ExtractConfig, now: int, held: Mapping[str, Standing], redshift: bool
) -> list[str | exp.Expr]:
    """The statements that make what `ensure_tables` would find missing where `held` stands."""
    own = [f"CREATE TABLE IF NOT EXISTS {name} ({listed})" for name, listed in OWN_TABLES.items() if name not in held]
    statements: list[str | exp.Expr] = [*own]
    for table in config.tables:
        statements += _table(held, table.raw, table.raw_columns, ("landed_at",), redshift)
        for period in _periods(config, table, now, held):
            history = history_table(table.mart.alias, period)
            statements += _table(held, history, table.history_columns, table.mart.sortkey, redshift)
    views = _views_to_renew(config, now, held, redshift)
    statements += [create for _, create, gains in views if not (gains and redshift)]  # there `_widen_view` makes it
    return statements


def _table(
    held: Mapping[str, Standing],
    name: str,
    columns: Mapping[str, exp.DataType],
    sortkey: Sequence[str],
    redshift: bool,
) -> list[exp.Expr]:
    """What makes a table, or adds the columns that it lacks."""
    if name not in held:
        return [create_table(name, columns, sortkey, redshift)]
    return [add_column(name, column, kind) for column, kind in columns.items() if column not in held[name].columns]


def standing_periods(names: Iterable[str], alias: str) -> set[str]:
    """The half-years of a mart that have a history table among these names, also those before `history_start`."""
    return {period for name in names if (period := history_period(name, alias))}


def look_before_plan(
    warehouse: Warehouse, tables: Iterable[Table], environment: str = "prod", project: Path = PROJECT
) -> tuple[dict[str, Standing], list[Foreign]]:
    """What stands in the schemas of the project and of an environment, and what of it a plan must not replace."""
    shown = shown_models(environment, project)
    schemas = {*SCHEMAS, *(name.split(".")[0] for name in shown)}
    held = warehouse.objects_of_schemas(sorted(schemas))
    return held, [*foreign_models(held, environment, project), *foreign_tables(held, tables, OWN_TABLES)]
