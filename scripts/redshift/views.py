"""Smoke probes of views and rights: late binding, a second user, and a reader that stands idle before a view."""

from __future__ import annotations

import secrets
from contextlib import closing

from pydantic import SecretStr

from extract.errors import WarehouseError, in_words
from extract.settings import PasswordLogin
from extract.warehouse_redshift import RedshiftWarehouse
from scripts.redshift.probe import Cluster, NotAsNeeded, NotKnownHere, probe

PATIENCE_MS = 3000
"""So long a statement waits for the idle reader before the server ends it."""


@probe("A view over views is read on while the lower one is made anew with one more column.")
def late_binding(cluster: Cluster) -> str:
    warehouse, view, table = cluster.warehouse, f"{cluster.schema}.lower_view", f"{cluster.schema}.period"
    upper = f"{cluster.schema}.upper_view"
    with warehouse.transaction():
        warehouse.execute(f"CREATE TABLE {table} (order_id BIGINT)")
        warehouse.execute(f"CREATE VIEW {view} AS SELECT order_id FROM {table} WITH NO SCHEMA BINDING")
        warehouse.execute(f"CREATE VIEW {upper} AS SELECT order_id FROM {view} WITH NO SCHEMA BINDING")
    with warehouse.transaction():
        warehouse.execute(f"ALTER TABLE {table} ADD COLUMN pieces INTEGER")
        warehouse.execute(f"DROP VIEW IF EXISTS {view}")
        warehouse.execute(f"CREATE VIEW {view} AS SELECT order_id, pieces FROM {table} WITH NO SCHEMA BINDING")
    warehouse.fetchall(f"SELECT order_id FROM {upper}")
    held = warehouse.columns_of_schemas([cluster.schema])
    if held.get(view) != {"order_id", "pieces"}:
        raise NotAsNeeded(f"svv_columns says {held.get(view)} of a late-binding view with order_id and pieces")
    return "as it should be"


@probe("A reader with the rights of docs/redshift.md reads what it may, also a view that was made anew, and no more.")
def second_user(cluster: Cluster) -> str:
    """A user of its own with a random password, which is printed nowhere; it goes with its rights in the end."""
    warehouse, user = cluster.warehouse, cluster.reader
    password = f"Aa1{secrets.token_hex(16)}"
    table, view = f"{cluster.below}.held", f"{cluster.schema}.shown"
    create = f"CREATE VIEW {view} AS SELECT order_id FROM {table} WITH NO SCHEMA BINDING"
    warehouse.execute(f"CREATE TABLE {table} (order_id BIGINT)")
    warehouse.execute(f"INSERT INTO {table} (order_id) SELECT 1")
    warehouse.execute(create)
    try:
        warehouse.execute(f"CREATE USER {user} PASSWORD '{password}'")
    except WarehouseError as error:
        raise NotKnownHere(
            f"this user may not make another one ({in_words(error)}) Run it as an administrator"
        ) from None
    cluster.clean_up.insert(0, f"DROP USER {user}")  # after the schemas, and so after its rights
    warehouse.execute(f"GRANT USAGE ON SCHEMA {cluster.schema}, {cluster.below} TO {user}")
    warehouse.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {cluster.schema} TO {user}")
    warehouse.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA {cluster.schema} GRANT SELECT ON TABLES TO {user}")
    warehouse.execute(f"DROP VIEW {view}")
    warehouse.execute(create)
    login = PasswordLogin.model_construct(user=user, password=SecretStr(password))
    try:
        reader = RedshiftWarehouse.open(cluster.settings.model_copy(update={"login": login}))
    except WarehouseError as error:
        raise NotKnownHere(f"it cannot sign in by password: {in_words(error)}") from None
    with closing(reader):
        try:
            reader.fetchall(f"SELECT order_id FROM {view}")
        except WarehouseError as error:
            raise NotAsNeeded(f"it may not read a view that was made anew: {in_words(error)}") from None
        for forbidden in (
            f"SELECT order_id FROM {table}",
            f"DELETE FROM {table}",
            f"CREATE TABLE {cluster.schema}.x (a INT)",
        ):
            try:
                reader.execute(forbidden)
            except WarehouseError:
                continue
            raise NotAsNeeded(f"it may do more than its rights say: {forbidden}")
    return "reads the view, also when it was made anew, and nothing else"


@probe(
    "A reader stands idle in a transaction after reading a view. What waits for it makes a plan, or the cycle that "
    "meets a new half-year, wait: let readers end their transactions (autocommit).",
    judges=False,
)
def idle_reader(cluster: Cluster) -> str:
    table, view = f"{cluster.schema}.read_table", f"{cluster.schema}.read_view"
    definition = f"VIEW {view} AS SELECT order_id FROM {table} WITH NO SCHEMA BINDING"
    cluster.warehouse.execute(f"CREATE TABLE {table} (order_id BIGINT)")
    cluster.warehouse.execute(f"CREATE {definition}")
    found = []
    with cluster.warehouse.session() as reader, cluster.warehouse.session() as writer:
        writer.execute(f"SET statement_timeout TO {PATIENCE_MS}")
        with reader.transaction():
            reader.fetchall(f"SELECT order_id FROM {view}")  # and then it stands idle
            for what, statement in (
                ("CREATE OR REPLACE VIEW", f"CREATE OR REPLACE {definition}"),
                ("DROP VIEW", f"DROP VIEW {view}"),
            ):
                try:
                    writer.execute(statement)
                    found.append(f"{what} passes")
                except WarehouseError as error:
                    if "(57014)" not in str(error):
                        raise
                    found.append(f"{what} waits")
    return ", ".join(found)


@probe("What waits for a lock is ended after a set time (REDSHIFT_LOCK_SECONDS), and the error names the holder.")
def lock_holder(cluster: Cluster) -> str:
    """What waits for an idle reader, through the project's own watch, with little patience."""
    table, view = f"{cluster.schema}.locked_table", f"{cluster.schema}.locked_view"
    cluster.warehouse.execute(f"CREATE TABLE {table} (order_id BIGINT)")
    cluster.warehouse.execute(f"CREATE VIEW {view} AS SELECT order_id FROM {table} WITH NO SCHEMA BINDING")
    impatient = cluster.settings.model_copy(update={"lock_seconds": PATIENCE_MS // 1000})
    with (
        cluster.warehouse.session() as reader,
        closing(RedshiftWarehouse.open(impatient)) as writer,
        reader.transaction(),
    ):
        reader.fetchall(f"SELECT order_id FROM {view}")  # and then it stands idle
        try:
            writer.change([f"DROP VIEW {view}"])
        except WarehouseError as error:
            if "waited for" not in str(error):
                raise
            if "may not see" in str(error):
                raise NotKnownHere(
                    "the statement was ended, and this user does not see the holder: ALTER USER … SYSLOG ACCESS "
                    "UNRESTRICTED"
                ) from None
            return "the statement was ended, and the holder is named"
    raise NotKnownHere("DROP VIEW does not wait for an idle reader here, so nothing had to be ended")
