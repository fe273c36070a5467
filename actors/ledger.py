"""The ledger: the one writer of postings and positions."""

from __future__ import annotations

from collections.abc import Mapping

from engine.domain.events import OrderFilled, PositionChanged
from engine.domain.instruments import Instrument
from engine.domain.ledger import AccountKind, Books
from engine.domain.money import div_half_even
from engine.domain.positions import apply_fill
from engine.runtime.actor import Actor, Handler


class _Holding:
    """One strategy's position in one symbol and the accounts that carry it."""

    __slots__ = ("commission", "cost", "divisor", "factor", "position", "quantity", "realized")

    def __init__(self, books: Books, strategy_id: str, instrument: Instrument) -> None:
        self.quantity = 0
        self.cost = 0
        self.factor, self.divisor = instrument.cash_scale()
        where = (instrument.currency, strategy_id, instrument.symbol)
        self.position = books.account(AccountKind.POSITION, *where)
        self.realized = books.account(AccountKind.REALIZED, *where)
        self.commission = books.account(AccountKind.COMMISSION, *where)


class Ledger(Actor):
    """Books every fill once, in double entry, and tells what position and cash it left.

    Args:
        name: actor name.
        instruments: scales by symbol.
        initial_cash: opening capital, in cash units.
        currency: currency of the account.
    """

    def __init__(
        self,
        name: str,
        *,
        instruments: Mapping[str, Instrument],
        initial_cash: int,
        currency: str = "USD",
    ) -> None:
        super().__init__(name)
        self.books = Books()
        self._instruments = instruments
        self._holdings: dict[tuple[str, str], _Holding] = {}
        self._cash = self.books.account(AccountKind.CASH, currency)
        capital = self.books.account(AccountKind.CAPITAL, currency)
        self.books.post((self._cash, initial_cash), (capital, -initial_cash))

    def handlers(self) -> Mapping[type, Handler]:
        """Handle fills."""
        return {OrderFilled: self.on_order_filled}

    @property
    def cash(self) -> int:
        """Cash of the account, in cash units."""
        return self._cash.balance

    def position(self, strategy_id: str, symbol: str) -> tuple[int, int]:
        """Give ``(signed quantity, signed cost basis)`` of one strategy in one symbol."""
        holding = self._holdings.get((strategy_id, symbol))
        return (holding.quantity, holding.cost) if holding else (0, 0)

    def on_order_filled(self, fill: OrderFilled) -> None:
        """Book one execution: cash against position, result and commission."""
        key = (fill.strategy_id, fill.symbol)
        holding = self._holdings.get(key)
        if holding is None:
            holding = _Holding(self.books, fill.strategy_id, self._instruments[fill.symbol])
            self._holdings[key] = holding
        signed_qty = fill.signed_qty
        notional = fill.last_px * signed_qty * holding.factor
        if holding.divisor != 1:
            notional = div_half_even(notional, holding.divisor)
        cost_before = holding.cost
        quantity, cost, realized = apply_fill(holding.quantity, cost_before, signed_qty, notional)
        holding.quantity = quantity
        holding.cost = cost
        self.books.post_fill(
            self._cash,
            holding.position,
            holding.realized,
            holding.commission,
            cost - cost_before,
            realized,
            fill.commission,
        )
        self.ctx.publish(PositionChanged(fill, quantity, cost, realized, self._cash.balance))
