"""A risk book alone: orders, fills and prices in, what it knows of them out."""

from __future__ import annotations

from typing import Any

from engine.domain.events import OrderFilled, PositionChanged, PricedBy
from engine.domain.exposure import Market
from engine.domain.instruments import Instrument
from engine.domain.market import Bar
from engine.domain.money import CASH_UNIT
from engine.domain.orders import Liquidity, Order, OrderType, Side
from engine.domain.risk import CheckInputs
from engine.domain.risk_book import Reached, RiskBook
from tests.limits import UNLIMITED, limits

A, B = Instrument(symbol="A"), Instrument(symbol="B")
FINE = Instrument(symbol="C", price_decimals=5, quantity_decimals=4)
"""In a book with it a cash unit has ten fine units."""
LIMIT = OrderType.LIMIT


class Lane:
    def __init__(self, last: Any) -> None:
        self.last = last


class Rig:
    """A book of 100,000 without limits but those that are given; A and B at 100.00."""

    def __init__(self, *instruments: Instrument, cash: int = 100_000, **changes: Any) -> None:
        given = instruments or (A, B)
        self.cash = cash * CASH_UNIT
        self.book = RiskBook(
            limits(**{**UNLIMITED, **changes}), {i.symbol: i for i in given}, self.cash
        )
        self.instruments = {i.symbol: i for i in given}
        self.held: dict[tuple[str, str], int] = {}
        self.count = 0
        for symbol in self.instruments:
            self.price(symbol, 10_000)

    def market(self, symbol: str = "A") -> Market:
        return self.book.exposure.markets[symbol]

    def price(self, symbol: str, px: int) -> bool:
        """Mark a symbol; say whether an alarm went off."""
        return self.book.exposure.mark(self.market(symbol), self._event(symbol, px))

    def wait(self, symbol: str, px: int) -> None:
        """Let a price come inside its band: it is marked when somebody asks."""
        self._event(symbol, px)
        self.market(symbol).is_stale = True
        self.book.exposure.stale.append(self.market(symbol))

    def _event(self, symbol: str, px: int) -> Bar:
        event = Bar(symbol, 0, 0, 0, px, px, px, px, 1, 100, 1)
        self.market(symbol).lane = Lane(event)
        return event

    def order(self, qty: int, symbol: str = "A", **fields: Any) -> Order:
        """Make an order: a limit order when it is given a limit price, else a market order."""
        self.count += 1
        given: dict[str, Any] = {
            "client_order_id": f"O{self.count}",
            "strategy_id": "S",
            "symbol": symbol,
            "side": Side.BUY if qty > 0 else Side.SELL,
            "order_type": LIMIT if "limit_px" in fields else OrderType.MARKET,
            "order_qty": abs(qty),
            "ts_init": 0,
            **fields,
        }
        return Order(**given)

    def works(self, qty: int, symbol: str = "A", **fields: Any) -> Order:
        """Measure an order and let it work."""
        order = self.order(qty, symbol, **fields)
        self.measure(order)
        self.book.reserve(order, self.market(symbol), 0)
        return order

    def measure(self, order: Order, exempt: int = 0) -> CheckInputs:
        market = self.market(order.symbol)
        return self.book.measure(order, market, market.seen, 0, exempt)

    def fill(
        self, order: Order, qty: int, leaves: int = 0, *, realized: int = 0, fee: int = 0
    ) -> bool:
        """Book a fill at the latest price; amounts in cash units."""
        market = self.market(order.symbol)
        signed, key = order.side.sign * qty, (order.strategy_id, order.symbol)
        self.held[key] = self.held.get(key, 0) + signed
        self.cash -= self.instruments[order.symbol].notional(market.px, signed) + fee
        fill = OrderFilled(
            order.client_order_id, f"E{leaves}", order.strategy_id, order.symbol, signed,
            market.px, order.order_qty - leaves, leaves, fee, 0, Liquidity.TAKER, 0,
            PricedBy.TRADE, 0, 0,
        )  # fmt: skip
        return self.book.book(PositionChanged(fill, self.held[key], 0, realized, self.cash))

    def hold(self, qty: int, symbol: str = "A", strategy: str = "S", **costs: int) -> bool:
        """Send an order and fill it."""
        return self.fill(self.works(qty, symbol, strategy_id=strategy), abs(qty), **costs)

    def lose(self, strategy: str = "S", symbol: str = "B") -> bool:
        """Lose a cash unit in a round trip."""
        self.hold(1, symbol, strategy)
        return self.hold(-1, symbol, strategy, realized=-1)

    def reached(self) -> list[Reached]:
        return self.book.reached()

    def room(self, symbol: str = "A", strategy: str = "S") -> tuple[int, int]:
        """Give the quantities of working buys and sells that count."""
        found = self.market(symbol).all[strategy]
        return found.buys, found.sells

    def ladders(self, symbol: str = "A") -> tuple[list[int], list[int]]:
        """Give the prices at which own orders rest."""
        return self.market(symbol).bids, self.market(symbol).asks
