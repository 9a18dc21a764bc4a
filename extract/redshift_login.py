"""A connection to Redshift: the login has a time limit, the statements after it have none."""

from __future__ import annotations

from typing import Any

import redshift_connector

from extract.settings import RedshiftSettings

CONNECT_SECONDS = 60
"""So long an endpoint may say nothing before and during the login; a Serverless workgroup that sleeps wakes in less."""


def connect(settings: RedshiftSettings) -> Any:
    """A connection. Raises whatever the driver does; `fell_silent` tells the time limit."""
    arguments = settings.connection_arguments()
    connection = redshift_connector.connect(**arguments, timeout=CONNECT_SECONDS)
    # The driver's limit goes on after the login and would cut long statements. It has no public way to lift it.
    if (socket := getattr(connection, "_usock", None)) is None:
        connection.close()
        return redshift_connector.connect(**arguments)
    socket.settimeout(None)
    return connection


def fell_silent(error: BaseException) -> bool:
    """Whether a login failed because the endpoint said nothing for too long."""
    return any(isinstance(each, TimeoutError) for each in (error, *error.args))
