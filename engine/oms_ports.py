"""What the reference systems that take orders of others need, as Protocols; see engine.ports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from engine.domain.commands import ReplaceOrder
from engine.domain.gateway import AskedOrder, GatewayOrder, RefusalCode
from engine.domain.market import MarketEvent
from engine.domain.orders import Order
from engine.runtime.inputs import Input

__all__ = ["GatewayBook", "OmsEdge", "OmsState"]


class OmsState(Protocol):
    """Keeps what entered the reference Order Management System, so that it outlives its process.

    Attributes:
        events: market events of an earlier life that were handled.
        requests: what clients asked in an earlier life.
        ts: the time it had come to, UTC nanoseconds; 0 before anything.
    """

    events: int
    requests: int
    ts: int

    def open(self, header: Mapping[str, Any]) -> None:
        """Take it for this process, beginning it if it is not there yet.

        Raises:
            ConfigError: another process has it, or it was begun with another header.
        """

    def history(self, events: Iterator[MarketEvent]) -> Iterator[Input]:
        """Give what entered the system, in order; ``events`` are the data from their start.

        Raises:
            ConfigError: it is not what was written, or other reports come of it now.
        """

    def keep(self, entered: Input) -> None:
        """Keep what is about to be handled."""

    def report(self, event: Any) -> None:
        """Keep what came of it, before anybody is told."""

    def close(self) -> None:
        """Let it go. May be called again."""


class GatewayBook(Protocol):
    """What a gateway's users may order, ordered and hold, kept durably; for any thread."""

    def admit(self, asked: AskedOrder) -> GatewayOrder | RefusalCode:
        """Take an order if its session runs and the balance covers it; durable on return.

        The same order again gives what has become of it, whatever the balance is now.

        Raises:
            StoreError: it is not known to be taken; asking again is safe.
        """

    def admit_replace(self, replace: ReplaceOrder) -> RefusalCode | None:
        """Let an order's quantity and price become others, if the balance covers them.

        Raises:
            StoreError: it is not known to be let.
        """

    def report(self, event: Any) -> None:
        """Book what the venue says of an order; what is booked already changes nothing.

        Raises:
            StoreError: it is not known to be booked.
        """

    def withdraw(self, client_order_id: str, reason: str) -> None:
        """Give up an order that the venue has never had, or knows no more.

        Raises:
            StoreError: it is not known to be given up.
        """

    def find(self, client_order_id: str) -> GatewayOrder | None:
        """Give an order as it is now.

        Raises:
            StoreError: the database does not answer.
        """

    def open_orders(self) -> Sequence[str]:
        """Name the orders that have not ended, the oldest first.

        Raises:
            StoreError: the database does not answer.
        """

    def session(self, session_id: str) -> Mapping[str, Any] | None:
        """Say how a session stands: its user, balance, what is free of it, positions, trades.

        Raises:
            StoreError: the database does not answer.
        """

    def close(self) -> None:
        """Let go of the database."""


class OmsEdge(Protocol):
    """The side of a reference system that clients talk to, over some protocol."""

    def start(self, host: str, port: int) -> int:
        """Listen; give the port, a free one where it is 0.

        Raises:
            ConfigError: the address cannot be listened on.
        """

    def stop(self, *, timeout_s: float) -> None:
        """End every connection and stop listening; wait at most so many seconds."""

    def recall(self, order: Order) -> None:
        """Take in an order of an earlier life."""

    def deliver(self, session: int, event: Any) -> None:
        """Say something to a client, for any thread; never waits and never raises."""
