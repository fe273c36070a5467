"""The gateway: orders over HTTP, for sessions whose users have a balance that covers them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.config import Config
from engine.domain.clients import QueryAnswered, QueryOrder
from engine.domain.events import OrderNotFound
from engine.oms import Ask, ReferenceOms
from engine.oms_ports import GatewayBook, OmsEdge, OmsState
from engine.ports import MarketHistory

__all__ = ["BOOK_SESSION", "Gateway"]

BOOK_SESSION = 0
"""The desk's session of the book itself."""
NO_LONGER_KNOWN = "EXCHANGE_RESTARTED"


class _BooksToo:
    """An edge whose session 0 is the book.

    Args:
        edge: the edge that clients talk to.
        book: what the desk says to session 0 is for it.
    """

    def __init__(self, edge: OmsEdge, book: GatewayBook) -> None:
        self._book = book
        self.start = edge.start
        self.stop = edge.stop
        self.recall = edge.recall
        self._deliver = edge.deliver

    def deliver(self, session: int, event: Any) -> None:
        """Book it, or say it to the client whose session it is."""
        if session != BOOK_SESSION:
            self._deliver(session, event)
        elif isinstance(event, OrderNotFound):
            self._book.withdraw(event.client_order_id, NO_LONGER_KNOWN)
        elif not isinstance(event, QueryAnswered):
            self._book.report(event)


class Gateway(ReferenceOms):
    """A reference exchange with a book of who may order what.

    Args:
        config: sections ``fill``, ``costs`` and ``orders`` are used.
        history: the market data.
        edge: makes the side that clients talk to.
        book: what users may order, ordered and hold.
        speed: seconds of data in a real second, above zero; None: see ``ReferenceOms``.
        state: keeps what the exchange was asked, so that it goes on where it was; without it, the
            orders that were open are canceled when the gateway starts again.
    """

    def __init__(
        self,
        config: Config,
        history: MarketHistory,
        edge: Callable[[Ask], OmsEdge],
        book: GatewayBook,
        *,
        speed: float | None,
        state: OmsState | None = None,
    ) -> None:
        super().__init__(
            config,
            history,
            lambda ask: _BooksToo(edge(ask), book),
            speed=speed,
            state=state,
            keep=book.report,
        )
        self._book = book

    def serve(self, host: str, port: int) -> int:
        """Agree with the exchange on every open order, then take orders; give the port.

        Raises:
            ConfigError: the address cannot be listened on.
            StoreError: the book does not answer.
            EngineHaltedError: the desk or the venue has failed.
        """
        for order_id in self._book.open_orders():
            self.ask(BOOK_SESSION, QueryOrder(order_id))
        return super().serve(host, port)
