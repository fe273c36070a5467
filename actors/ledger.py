"""The ledger: the one writer of postings and positions."""

from __future__ import annotations

from collections.abc import Mapping

from engine.domain.commands import OrderApproved, ReplaceApproved
from engine.domain.events import (
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    PositionChanged,
    ReplaceRejected,
)
from engine.domain.instruments import Instrument
from engine.domain.ledger import Account, AccountKind, Books
from engine.domain.money import div_half_even
from engine.domain.positions import apply_fill
from engine.domain.reservations import Reservation, Reservations
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

    It keeps what working orders reserve too, by the same rules as the gate and from the events
    alone, so that the one can be held against the other.

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
        self.reservations = Reservations(instruments)
        self._reserved: dict[tuple[str, str], Account] = {}
        self._reservations = self.books.account(AccountKind.RESERVATIONS, currency)

    def handlers(self) -> Mapping[type, Handler]:
        """Handle fills, and what makes and ends reservations."""
        return {
            OrderFilled: self.on_order_filled,
            OrderApproved: self.on_order_approved,
            ReplaceApproved: self.on_replace_approved,
            OrderReplaced: self.on_order_replaced,
            ReplaceRejected: self.on_replace_rejected,
            **dict.fromkeys((OrderCanceled, OrderExpired, OrderRejected), self.on_order_ended),
        }

    @property
    def cash(self) -> int:
        """Cash of the account, in cash units."""
        return self._cash.balance

    @property
    def held(self) -> dict[tuple[str, str], int]:
        """Signed quantities that are not zero, by strategy and symbol; for any thread."""
        holdings = list(self._holdings.items())
        return {key: holding.quantity for key, holding in holdings if holding.quantity}

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
        held = self.reservations.orders.get(fill.client_order_id)
        if held is not None:
            before = held.amount
            self.reservations.fill(held, fill.cum_qty, fill.leaves_qty)
            self._post(held, before)
        self.ctx.publish(PositionChanged(fill, quantity, cost, realized, self._cash.balance))

    # Reservations.

    def on_order_approved(self, approved: OrderApproved) -> None:
        """Reserve what an approved order could cost or bring."""
        inputs = approved.verdict.inputs
        px = 0 if inputs is None else inputs.reference_px
        self._post(self.reservations.reserve(approved.order, px), 0)

    def on_replace_approved(self, approved: ReplaceApproved) -> None:
        """Reserve for an approved replacement too."""
        held = self.reservations.orders.get(approved.replace.client_order_id)
        if held is None:
            return
        before, inputs = held.amount, approved.verdict.inputs
        changed = self.reservations.replaced(held, approved.replace)
        self.reservations.widen(held, changed, 0 if inputs is None else inputs.reference_px)
        self._post(held, before)

    def on_order_replaced(self, event: OrderReplaced) -> None:
        """Give back what a replacement no longer needs."""
        held = self.reservations.orders.get(event.client_order_id)
        if held is not None:
            before = held.amount
            self.reservations.settle(event)
            self._post(held, before)

    def on_replace_rejected(self, event: ReplaceRejected) -> None:
        """Give back what a refused replacement would have needed."""
        held = self.reservations.orders.get(event.client_order_id)
        if held is not None:
            before = held.amount
            self.reservations.refuse(event.client_order_id)
            self._post(held, before)

    def on_order_ended(self, event: OrderCanceled | OrderExpired | OrderRejected) -> None:
        """Release what an order still reserved."""
        held = self.reservations.orders.get(event.client_order_id)
        if held is not None:
            before = held.amount
            self.reservations.end(event.client_order_id)
            self._post(held, before)

    def _post(self, held: Reservation, before: int) -> None:
        if held.amount != before:
            key = (held.order.strategy_id, held.order.symbol)
            account = self._reserved.get(key)
            if account is None:
                account = self.books.account(AccountKind.RESERVED, self._cash.currency, *key)
                self._reserved[key] = account
            self.books.reserve(account, self._reservations, held.amount - before)
