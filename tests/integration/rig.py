"""A link, what it reports, and ways to wait for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from engine.domain.events import BadAnswer, VenueUp
from engine.domain.orders import Order, OrderType, Side
from engine.oms_ports import OmsEdge
from engine.ports import MarketHistory, VenueLink
from engine.wiring import open_oms_server
from tests.integration.peers import NOW, WAIT_S


def make_order(name: str, **changes: Any) -> Order:
    """Give a limit order for 100 A at 10.00."""
    fields: dict[str, Any] = {
        "client_order_id": name,
        "strategy_id": "s",
        "symbol": "A",
        "side": Side.BUY,
        "order_type": OrderType.LIMIT,
        "order_qty": 100,
        "ts_init": NOW,
        "limit_px": 1_000,
    }
    return Order(**{**fields, **changes})


class Heard:
    """Collects the reports and bad answers of a link."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.moments: list[float] = []
        self.bad: list[BadAnswer] = []
        self._changed = threading.Condition()

    def report(self, event: Any) -> None:
        with self._changed:
            self.events.append(event)
            self.moments.append(time.monotonic())
            self._changed.notify_all()

    def on_bad_answer(self, bad: BadAnswer) -> None:
        with self._changed:
            self.bad.append(bad)
            self._changed.notify_all()

    def of(self, *kinds: type) -> list[Any]:
        return [event for event in self.events if type(event) in kinds]

    def wait(self, kind: type, count: int = 1, timeout_s: float = WAIT_S) -> Any:
        """Wait for so many reports of a type; give the last of them."""
        self.wait_until(lambda: len(self.of(kind)) >= count, timeout_s)
        return self.of(kind)[count - 1]

    def wait_bad(self, count: int = 1) -> BadAnswer:
        self.wait_until(lambda: len(self.bad) >= count)
        return self.bad[count - 1]

    def wait_until(self, is_so: Callable[[], bool], timeout_s: float = WAIT_S) -> None:
        with self._changed:
            assert self._changed.wait_for(is_so, timeout_s), (self.events, self.bad)


def oms_edge(history: MarketHistory) -> Callable[[Callable[[Any], None]], OmsEdge]:
    """Give what serves both services of gRPC."""
    return partial(open_oms_server, history.instruments, extended=True)


def opened(link: VenueLink, heard: Heard) -> VenueLink:
    """Open a link and wait for its connection."""
    link.open(heard.report)
    heard.wait(VenueUp)
    return link
