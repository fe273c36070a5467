"""A connection to PostgreSQL on which nothing is waited for without end."""

from __future__ import annotations

from typing import Any

import psycopg

from engine.errors import ConfigError, StoreError

__all__ = ["connect", "connection_options", "is_misspelt", "said"]


def connect(conninfo: str, *, timeout_s: float) -> psycopg.Connection:
    """Reach a server; each statement then has its deadline, and a dead peer is noticed.

    Args:
        conninfo: a URL or a libpq connection string.
        timeout_s: longest that connecting (2 s at least) and any one statement may take, seconds.

    Raises:
        ConfigError: a value in the connection string is none that there is.
        StoreError: it does not answer.
    """
    try:
        return psycopg.connect(conninfo, **connection_options(timeout_s))
    except psycopg.Error as error:
        if is_misspelt(said(error)):
            raise ConfigError(f"store.url (DATABASE_URL) is refused: {said(error)}") from error
        raise StoreError(
            f"the database does not answer: {said(error)}; is it running, and is store.url right?"
        ) from error


def connection_options(timeout_s: float) -> dict[str, Any]:
    """Give what every connection is opened with; see :func:`connect`."""
    milliseconds = max(1, round(timeout_s * 1000))
    return {
        "autocommit": True,
        "application_name": "tetrad",
        "connect_timeout": max(2, round(timeout_s)),
        "options": f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds} "
        f"-c idle_in_transaction_session_timeout={milliseconds} -c TimeZone=UTC "
        # The server notices an engine that is gone, or its run would stay taken for hours.
        f"-c tcp_keepalives_idle=2 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=2 "
        f"-c tcp_user_timeout={milliseconds}",
        "tcp_user_timeout": milliseconds,
        "keepalives_idle": 2,
        "keepalives_interval": 1,
        "keepalives_count": 2,
    }


def is_misspelt(words: str) -> bool:
    """Tell whether libpq refused a value before it asked any server."""
    return words.startswith("connection is bad: invalid ")


def said(error: psycopg.Error) -> str:
    """Give what an error says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
