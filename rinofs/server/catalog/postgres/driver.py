"""Connections to PostgreSQL, and what their failures mean to a client.

No transaction depends on session settings: behind a pooler in transaction mode (PgBouncer), the next
transaction of a connection may run in another session. For the same reason no statements are prepared.
https://www.psycopg.org/psycopg3/docs/advanced/prepare.html#using-prepared-statements-with-pgbouncer
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError

from rinofs.server.errors import (
    BadRequest,
    database_busy,
    database_failed,
    database_full,
    takes_too_long,
)

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy import Connection, Engine

    from rinofs.server.errors import ApiError

__all__ = ["UnusableDatabaseError", "driver_of", "parse_url", "postgresql_engine", "refusal", "shown"]

_log = logging.getLogger("rinofs.server")

_SCHEMES = {"postgresql", "postgres", "postgresql+psycopg"}
_SECRETS = ("password", "sslpassword", "passfile")

_ARGUMENTS = {
    "application_name": "rinofs",
    "client_encoding": "utf8",
    "connect_timeout": 4,
    # A peer that vanishes is detected within half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}

_BUSY = {
    "40001",  # serialization failure
    "40P01",  # deadlock
    "53300",  # too many connections
    "55P03",  # lock not available
    "55006",  # object in use
}
_FULL = {"53100"}
_INTERRUPTED = {"57014"}
_IDLE = "25P03"  # a transaction was idle for too long


class UnusableDatabaseError(Exception):
    """A server cannot use the database, because of what it is or how it is configured."""


def parse_url(url: str | URL) -> URL:
    """Return the URL of a PostgreSQL database.

    Raises
    ------
    UnusableDatabaseError
        If it is not one. The message does not repeat the URL, which may hold a password.
    """
    try:
        parsed = make_url(url)
        scheme = parsed.drivername
    except (ArgumentError, ValueError):
        scheme = ""
    if scheme not in _SCHEMES:
        raise UnusableDatabaseError(
            "the URL of the database is not postgresql://USER@HOST:PORT/NAME"
        ) from None
    if "@" in (parsed.host or ""):
        raise UnusableDatabaseError(
            "the user and the password in the URL of the database must be percent-encoded: write %40 for @"
        )
    return parsed.set(drivername="postgresql+psycopg")


def has_secret(url: URL) -> bool:
    """Return whether a URL holds a password."""
    return url.password is not None or any(name in url.query for name in _SECRETS[:2])


def shown(url: URL) -> str:
    """Return a URL as messages show it: without user, password and options."""
    host = f"[{url.host}]" if url.host and ":" in url.host else url.host or ""
    port = "" if url.port is None else f":{url.port}"
    return f"postgresql://{host}{port}/{url.database or ''}"


def postgresql_engine(url: URL, connections: int, timeout: float) -> Engine:
    """Make an engine; the caller's statements begin and end transactions.

    Parameters
    ----------
    url : URL
        As `parse_url` returns it.
    connections : int
        Maximum number of open connections.
    timeout : float
        Seconds to wait for one.

    Raises
    ------
    UnusableDatabaseError
        If psycopg is not installed.
    """
    arguments = {name: value for name, value in _ARGUMENTS.items() if name not in url.query}
    try:
        engine = create_engine(
            url,
            connect_args={**arguments, "autocommit": True, "prepare_threshold": None},
            pool_size=connections,
            max_overflow=0,
            pool_timeout=timeout,
            pool_use_lifo=True,
            use_native_hstore=False,
            hide_parameters=True,
        )
    except ModuleNotFoundError as error:
        if error.name != "psycopg":
            raise
        raise UnusableDatabaseError("PostgreSQL needs psycopg: pip install 'rinofs[postgresql]'") from error
    event.listen(engine, "connect", _note_time)
    return engine


def _note_time(_connection: object, record: Any) -> None:
    record.info["made"] = time.monotonic()


def driver_of(connection: Connection) -> psycopg.Connection[Any]:
    """Return the psycopg connection below an SQLAlchemy connection."""
    driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]
    return driver


def refusal(error: BaseException) -> ApiError:
    """Return the error that clients see for a failure: neither values nor SQL. The log gets the details."""
    below = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(below, "sqlstate", None)
    if state in _BUSY:
        return database_busy()
    if state in _FULL:
        return database_full()
    if state in _INTERRUPTED:
        return takes_too_long()
    if state is None and (isinstance(error, DataError) or type(below).__name__ == "DataError"):
        # The driver rejected it. https://www.postgresql.org/docs/current/datatype-character.html
        return BadRequest("a text in the request holds the character NUL")
    if state is None or state[:2] in {"08", "57"} or state == _IDLE:
        _log.warning("the connection to the database failed (SQLSTATE %s)", state)
        return database_failed("there is no connection to it")
    message = getattr(getattr(below, "diag", None), "message_primary", None)
    if state[:2] == "22":  # data exceptions, whose messages quote values
        message = "a value is not valid"
    _log.error("the database failed with SQLSTATE %s: %s", state, message)
    return database_failed(f"SQLSTATE {state}")
