"""The gateway: its book in PostgreSQL, its edge over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal

from adapters.http.server import GatewayServer
from adapters.postgres.connection import connect
from adapters.postgres.gateway_book import PostgresGatewayBook
from adapters.postgres.gateway_setup import add_session, add_user, stop_session
from adapters.postgres.migrations import migrate
from engine.config import Config
from engine.domain.clients import ClientGone, FromClient
from engine.domain.instruments import Instrument
from engine.oms_ports import GatewayBook, OmsEdge
from engine.wiring.session import database, reach_database

__all__ = [
    "add_gateway_session",
    "add_gateway_user",
    "open_gateway_book",
    "open_gateway_server",
    "stop_gateway_session",
]


@contextmanager
def open_gateway_book(config: Config, instruments: Sequence[Instrument]) -> Iterator[GatewayBook]:
    """Reach the book, starting a database of our own when the profile names none.

    Raises:
        ConfigError: there can be no server here, or its schema is of a newer engine.
        StoreError: the database does not answer.
    """
    with database(config.store) as conninfo:
        with connect(conninfo, timeout_s=config.store.timeout) as connection:
            migrate(connection)
        book = PostgresGatewayBook(
            conninfo,
            instruments={each.symbol: each for each in instruments},
            timeout_s=config.store.timeout,
        )
        try:
            yield book
        finally:
            book.close()


def open_gateway_server(
    instruments: Sequence[Instrument],
    book: GatewayBook,
    ask: Callable[[FromClient | ClientGone], None],
    *,
    token: str | None,
    certificate: str | None,
    key: str | None,
) -> OmsEdge:
    """Make the edge of a gateway; it does not listen yet.

    Args:
        instruments: what is traded.
        book: decides what a session may order.
        ask: carries a request to the desk.
        token: what a client must show; None lets in whoever comes.
        certificate: PEM file of the certificate; it encrypts when there is one.
        key: PEM file of that certificate's key.
    """
    by_symbol = {each.symbol: each for each in instruments}
    return GatewayServer(
        instruments=by_symbol, ask=ask, book=book, token=token, certificate=certificate, key=key
    )


def add_gateway_user(config: Config, user_id: str, balance: Decimal) -> None:
    """Make a user with a balance, or give one that is there another balance.

    Raises:
        StoreError: the database does not answer.
    """
    with (
        reach_database(config.store) as conninfo,
        connect(conninfo, timeout_s=config.store.timeout) as connection,
    ):
        migrate(connection)
        add_user(connection, user_id, balance)


def add_gateway_session(config: Config, session_id: str, user_id: str, strategy_id: str) -> None:
    """Let a strategy of a user trade: its session runs from now on.

    Raises:
        ConfigError: there is no such user, or the session is another's.
        StoreError: the database does not answer.
    """
    with (
        reach_database(config.store) as conninfo,
        connect(conninfo, timeout_s=config.store.timeout) as connection,
    ):
        migrate(connection)
        add_session(connection, session_id, user_id, strategy_id)


def stop_gateway_session(config: Config, session_id: str) -> None:
    """Let a session order nothing more; its open orders work on.

    Raises:
        ConfigError: there is no such session.
        StoreError: the database does not answer.
    """
    with (
        reach_database(config.store) as conninfo,
        connect(conninfo, timeout_s=config.store.timeout) as connection,
    ):
        migrate(connection)
        stop_session(connection, session_id)
