"""What a session with MySQL or MariaDB is set to before a source is read: a server's own settings decide nothing.

Every setting is here that can change what a SELECT returns, how it is written, or how long it may take. They are set
after the login, because `init_connect` runs before; with the names of MySQL and of MariaDB, and a server that does
not know a name is none the worse. Left out is what touches writing alone, what SQL asks for that this project does not
write (weeks, names of months, GROUP_CONCAT), and the optimizer, which may choose a way but not the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import pymysql

IDLE_SECONDS = 300
"""The server keeps a connection for so long that nothing is asked of."""


@dataclass(frozen=True)
class Setting:
    """A system variable: the value to set, as SQL, and which of the values that SHOW prints are right."""

    name: str
    value: str
    right: Callable[[str], bool]
    why: str
    everywhere: bool = False
    """Every MySQL and MariaDB has it, so it is set before the server is asked what it has."""
    must: bool = True
    """False where a wrong value shows as an error and never as a wrong row: it is left if the server refuses."""


def one_of(*values: str) -> Callable[[str], bool]:
    return lambda shown: shown in values


def at_least(seconds: int) -> Callable[[str], bool]:
    return lambda shown: shown.isdigit() and int(shown) >= seconds


def utf8mb4(shown: str) -> bool:
    return shown.split("_")[0] == "utf8mb4"


EVERY_ROW = str(2**64 - 1)

SETTINGS: Sequence[Setting] = (
    # Which rows
    Setting("sql_select_limit", EVERY_ROW, one_of(EVERY_ROW), "every SELECT and SHOW ends there, without a word", True),
    Setting("tx_isolation", "'REPEATABLE-READ'", one_of("REPEATABLE-READ"), "a read needs one snapshot"),
    Setting("transaction_isolation", "'REPEATABLE-READ'", one_of("REPEATABLE-READ"), "the same by its newer name"),
    Setting("autocommit", "1", one_of("ON"), "without it each query sees the moment of the first one", True),
    Setting("completion_type", "0", one_of("NO_CHAIN"), "a transaction would be followed by another one", True),
    Setting("sql_auto_is_null", "0", one_of("OFF"), "IS NULL would find the row inserted last", True),
    Setting("system_versioning_asof", "DEFAULT", one_of("DEFAULT"), "MariaDB would show the rows of another day"),
    Setting("wsrep_dirty_reads", "0", one_of("OFF"), "a node that has left its cluster would show old rows"),
    Setting("query_cache_type", "0", one_of("OFF", "0"), "a read is to come from the tables", must=False),
    # How they are written, and how what is asked is understood. A number, for to some modes '' is NULL.
    Setting("sql_mode", "0", one_of(""), "modes change quotes, operators, and the spaces after a CHAR", True),
    Setting("character_set_client", "utf8mb4", utf8mb4, "a name in a query would be misread", True),
    Setting("character_set_connection", "utf8mb4", utf8mb4, "a number cast to text would be misread", True),
    Setting("collation_connection", "utf8mb4_general_ci", utf8mb4, "names would not compare", True),
    Setting(
        "character_set_results", "utf8mb4", utf8mb4, "texts would lose letters, or come in several alphabets", True
    ),
    Setting("time_zone", "'+00:00'", one_of("+00:00"), "a TIMESTAMP is written in the session's time zone", True),
    Setting("timestamp", "DEFAULT", lambda shown: True, "the source's clock would stand still", True),
    Setting(
        "show_gipk_in_create_table_and_information_schema", "1", one_of("ON"), "MySQL may hide a key column", must=False
    ),
    # How many
    Setting("sql_big_selects", "1", one_of("ON"), "a read of many rows would be refused", True, must=False),
    Setting("sql_buffer_result", "0", one_of("OFF"), "each read would fill the server's disk first", True, must=False),
    # A promise to the source's owner
    Setting("tx_read_only", "1", one_of("ON"), "a source is never written"),
    Setting("transaction_read_only", "1", one_of("ON"), "the same by its newer name"),
)


def time_limits(seconds: int) -> list[Setting]:
    """How long the server lets a statement run, wait for a lock and wait for its reader: no longer than `seconds`.

    Nor shorter: a limit of a DBA's own would end a read that the settings of this project allow.
    """
    limit, milliseconds = str(seconds), str(1000 * seconds)
    return [
        Setting("max_statement_time", limit, lambda shown: float(shown) == seconds, "a long read", must=False),
        Setting("max_execution_time", milliseconds, one_of(milliseconds), "the same in MySQL", must=False),
        Setting("lock_wait_timeout", limit, one_of(limit), "an ALTER TABLE", True, must=False),
        Setting("net_read_timeout", limit, at_least(seconds), "a slow network", True, must=False),
        Setting("net_write_timeout", limit, at_least(seconds), "a slow landing", True, must=False),
        Setting("wait_timeout", str(max(seconds, IDLE_SECONDS)), at_least(seconds), "a slow landing", True, must=False),
        Setting("idle_transaction_timeout", limit, one_of(limit), "the same", must=False),
        Setting("idle_readonly_transaction_timeout", limit, one_of(limit), "the same", must=False),
    ]


def shorten(connection: pymysql.connections.Connection, seconds: float) -> None:
    """Lets the statements that follow run for no longer than `seconds`, where the server can limit them."""
    for assignment in (f"max_statement_time = {seconds:.3f}", f"max_execution_time = {1000 * seconds:.0f}"):
        with connection.cursor() as cursor, suppress(pymysql.Error):
            cursor.execute(f"SET SESSION {assignment}")
            return


def pin(connection: pymysql.connections.Connection, seconds: int = 60) -> list[str]:
    """Sets a connection's session; returns, in words, each setting that matters and is wrong all the same.

    Two round trips where what both servers know is set and the rest is right already, else four. What both know comes
    first: among it the limits that would cut or refuse the answer to the question which variables there are.

    Args:
        seconds: How long a statement may take.
    """
    settings = [*SETTINGS, *time_limits(seconds)]
    _set(connection, [setting for setting in settings if setting.everywhere])
    wrong = _wrong(connection, settings)
    if wrong:
        _set(connection, [setting for setting, _ in wrong])
        wrong = _wrong(connection, settings)
    return [
        f"{setting.name} is '{shown}' and was to be {setting.value} ({setting.why})"
        for setting, shown in wrong
        if setting.must
    ]


def _set(connection: pymysql.connections.Connection, settings: Sequence[Setting]) -> None:
    """All at once; where the server refuses one of them, one by one."""
    with connection.cursor() as cursor:
        assignments = [f"SESSION {setting.name} = {setting.value}" for setting in settings]
        try:
            cursor.execute(f"SET {', '.join(assignments)}")
        except pymysql.Error:
            for assignment in assignments:
                with suppress(pymysql.Error):  # what came of it `_wrong` sees
                    cursor.execute(f"SET {assignment}")


def _wrong(connection: pymysql.connections.Connection, settings: Sequence[Setting]) -> list[tuple[Setting, str]]:
    """The settings that the server knows and that are not right, with what it shows."""
    names = ", ".join(f"'{setting.name}'" for setting in settings)
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW SESSION VARIABLES WHERE Variable_name IN ({names})")
        shown = {str(name).lower(): str(value) for name, value in cursor.fetchall()}
    return [
        (setting, shown[setting.name])
        for setting in settings
        if setting.name in shown and not setting.right(shown[setting.name])
    ]
