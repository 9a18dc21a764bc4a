"""What happens at the source between two cycles, written into its file; and rows in the marts that have aged.

python -m bench.batch --folder F --scale 0.1 --at T batch [--quarters 1]
python -m bench.batch --folder F --scale 0.1 --at T age
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import click
import duckdb

from bench.fill import END, FIRST_ARCHIVED_ORDER, SCANS, Volume, stamp
from bench.tables import ECS, SPATH, UTI, mart_tables
from macros.periods import months_before
from scripts.options import Time

CHANGES = 10_000
NEW_ORDERS = 10_000
BATCH_SCANS = 68_000
FAR_AWAY = 100  # so many of the changes are of orders of any age, so that no range of order numbers can help
RETURNING = 2  # so many archived orders come back with a new status
FIRST_NEW_ORDER = 50_000_000_000
FIRST_AGED_ORDER = 5_000_000_000


def write_batch(source: duckdb.DuckDBPyConnection, volume: Volume, at: int, quarters: int = 1) -> None:
    """The events of the quarter-hours before `at`: new orders, status changes, and scans (a status is the newest)."""
    start, seconds = at - 900 * quarters, 900 * quarters
    new, changes = NEW_ORDERS * quarters, CHANGES * quarters
    under_way = min(volume.block * (SCANS - 1) * max(1, quarters // 8), volume.orders // 2)
    changes = min(changes, under_way)
    near = changes - FAR_AWAY
    number = f"""CASE WHEN r < {near} THEN {volume.orders - 1} - (r * {under_way // near} + {at} // 900 % 7)
      ELSE {volume.orders // 10} + (r - {near}) * {volume.orders // 4 // FAR_AWAY} + {at} // 900 % 1000 END"""
    again, rest = divmod(BATCH_SCANS * quarters - new, changes)
    source.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE changed AS
        SELECT DISTINCT ON (order_id) * FROM (
          SELECT r, {volume.order_id(f"({number})")} AS order_id, {start} + r * {seconds} // {changes} AS t
          FROM range({changes}) AS numbers (r))
        """
    )
    first = FIRST_NEW_ORDER + at // 900 * 1_000_000
    created = f"FROM (SELECT {first} + r AS id, {start} + r * {seconds} // {new} AS t FROM range({new}) AS n (r))"
    source.execute(f"INSERT INTO {ECS} SELECT id, (hash(id) % 320)::INTEGER, t {created}")
    source.execute(f"INSERT INTO {SPATH} SELECT id, t, 200, 0 {created}")
    returning = f"({FIRST_ARCHIVED_ORDER + volume.archived - at // 900 % 100_000 * RETURNING} - r)"
    source.execute(
        f"INSERT INTO changed SELECT {changes} + r, {returning}, {at} - 60 - r FROM range({RETURNING}) AS n (r)"
    )
    source.execute(
        f"""
        INSERT INTO {SPATH}
        SELECT order_id, t - (t - {start}) * again // {again + 1}, 300 + again, 20 + {again} - again
        FROM changed CROSS JOIN range({again + 1}) AS numbers (again) WHERE again < {again} OR r < {rest}
        """
    )
    source.execute("DELETE FROM uni_tracking_info WHERE order_id IN (SELECT order_id FROM changed)")
    source.execute(f"INSERT INTO {UTI} SELECT id, 'T' || id, 200, t {created}")
    source.execute(f"INSERT INTO {UTI} SELECT order_id, 'T' || order_id, 300, t FROM changed")


def age_a_day(warehouse: duckdb.DuckDBPyConnection, volume: Volume, at: int) -> None:
    """As many orders and scans as a day at this scale ages, in the quarter-hour that the next cycle archives anyhow.

    So they lie next to what is archived already, as after a day without cycles, and meet none of it. Their numbers are
    lower than those of the orders that stay: what ages was created before.
    """
    tables = mart_tables(warehouse)
    orders, newest = volume.block * 2, months_before(at, 6) - 120
    rows = f"""(SELECT {FIRST_AGED_ORDER + (at - END) // 900 * 1_000_000} + r AS id,
      {newest} + r * 60 // {orders} AS t FROM range({orders}) AS numbers (r))"""
    landed = f"{stamp('t')} AS landed_at"
    queries = {
        "uni_tracking_info": f"SELECT id AS order_id, 'T' || id AS tno, 212 AS status, t AS update_time, {landed}",
        "ecs_order_info": f"SELECT id AS order_id, 7 AS partner_id, t - 7200 AS add_time, {landed}",
        "uni_tracking_spath": f"SELECT id AS order_id, t - s * 60 AS pathtime, 212 - s AS code, 12 - s AS traceseq, "
        f"{landed}",
    }
    for name, query in queries.items():
        scans = f"CROSS JOIN range({SCANS}) AS steps (s)" if name == "uni_tracking_spath" else ""
        warehouse.execute(f"INSERT INTO {tables[name]} BY NAME {query} FROM {rows} {scans}")
    warehouse.execute("CHECKPOINT")


@click.command(help=__doc__)
@click.argument("action", type=click.Choice(["batch", "age"]))
@click.option("--folder", type=click.Path(path_type=Path), required=True)
@click.option("--scale", type=float, required=True)
@click.option("--at", type=Time(), required=True)
@click.option("--quarters", type=int, default=1)
def main(action: str, folder: Path, scale: float, at: dt.datetime, quarters: int) -> None:
    if action == "batch":
        with duckdb.connect(str(folder / "source.duckdb")) as connection:
            write_batch(connection, Volume(scale), int(at.timestamp()), quarters)
    else:
        with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
            age_a_day(connection, Volume(scale), int(at.timestamp()))


if __name__ == "__main__":
    main()
