"""Who may order at a gateway: users and their sessions, set up by a person."""

from __future__ import annotations

from decimal import Decimal
from typing import LiteralString

import psycopg

from engine.errors import ConfigError

__all__ = ["add_session", "add_user", "stop_session"]

_USER: LiteralString = """
INSERT INTO gateway.users (id, virtual_balance) VALUES (%s, %s)
ON CONFLICT (id) DO UPDATE SET virtual_balance = excluded.virtual_balance"""
_STRATEGY: LiteralString = """
INSERT INTO gateway.strategies (strategyid, user_id, name) VALUES (%s, %s, %s)
ON CONFLICT (strategyid) DO NOTHING"""
_SESSION: LiteralString = """
INSERT INTO gateway.sessions AS kept (id, strategy_id, user_id) VALUES (%s, %s, %s)
ON CONFLICT (id) DO UPDATE SET status = 'RUNNING'
    WHERE kept.user_id = excluded.user_id AND kept.strategy_id = excluded.strategy_id"""
_STOP: LiteralString = "UPDATE gateway.sessions SET status = 'STOPPED' WHERE id = %s"


def add_user(connection: psycopg.Connection, user_id: str, balance: Decimal) -> None:
    """Make a user with a balance, or give one that is there another balance."""
    connection.execute(_USER, [user_id, balance])


def add_session(
    connection: psycopg.Connection, session_id: str, user_id: str, strategy_id: str
) -> None:
    """Let a strategy of a user trade: its session runs from now on.

    Raises:
        ConfigError: there is no such user, or the session is another's.
    """
    with connection.transaction():
        try:
            connection.execute(_STRATEGY, [strategy_id, user_id, strategy_id])
        except psycopg.errors.ForeignKeyViolation:
            raise ConfigError(
                f"there is no user {user_id!r}: make one with engine gateway user {user_id} "
                "--balance AMOUNT"
            ) from None
        done = connection.execute(_SESSION, [session_id, strategy_id, user_id])
        if not done.rowcount:
            raise ConfigError(
                f"session {session_id!r} is of another user or strategy: give it another name"
            )


def stop_session(connection: psycopg.Connection, session_id: str) -> None:
    """Let a session order nothing more; its open orders work on.

    Raises:
        ConfigError: there is no such session.
    """
    if not connection.execute(_STOP, [session_id]).rowcount:
        raise ConfigError(f"there is no session {session_id!r}")
