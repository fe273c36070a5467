"""All that the risk gate knows of an account: exposure, reservations, traffic and results.

The gate turns messages into calls of this book and its answers into messages. Nothing here sends
anything or knows the time other than by argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from engine.domain.events import OrderReplaced, PositionChanged
from engine.domain.exposure import ExposureBook, Market, Total
from engine.domain.instruments import Instrument
from engine.domain.latch import Reset, TradingState
from engine.domain.money import CASH_UNIT
from engine.domain.order_shape import crossed_px, through_ppm
from engine.domain.orders import Order, OrderType, Side
from engine.domain.reservations import Reservation, Reservations
from engine.domain.results import Result, Results
from engine.domain.risk import (
    NO_LIMIT,
    PPM,
    CheckInputs,
    DenyCode,
    RiskLimits,
    bounds,
    loss_limit,
    symbol_bounds,
)
from engine.domain.throttle import NO_REPEATS, Throttle

__all__ = ["MARGIN_CALL", "Reached", "RiskBook"]

# Bound once: reaching a member through its Enum class costs a tenth of a microsecond.
_BUY, _LIMIT = Side.BUY, OrderType.LIMIT

MARGIN_CALL = "MARGIN_CALL"

_new = tuple.__new__


class Reached(NamedTuple):
    """A limit that has been reached, or nearly.

    Attributes:
        reason: code of the rule.
        strategy_id: whose limit; empty for the account.
        state: the trading state that follows; None for a warning.
        reset: what ends that state.
        value: what was measured, in the unit of the limit.
        limit: the limit; None when no number was reached (an operator's command).
    """

    reason: str
    strategy_id: str
    state: TradingState | None
    reset: Reset
    value: float
    limit: float | None


LOST_AGE = 2**63 - 1
"""Age of a price that may have been followed by others unheard, in nanoseconds."""


class RiskBook:
    """The state behind every verdict on one account.

    Args:
        limits: the limits file.
        instruments: scales by symbol.
        cash: opening cash, cash units.

    Attributes:
        bound: the limits, scaled.
        exposure: what is held and what could be.
        reservations: what working orders reserve.
        throttle: what was sent.
        results: what was won and lost.
        judged: whether an order of this trading day was approved, by id; ``judged_before`` is
            that of the day before.
        day_began: when this trading day began, UTC nanoseconds.
        known_since: from when on every order is remembered.
    """

    def __init__(
        self, limits: RiskLimits, instruments: Mapping[str, Instrument], cash: int
    ) -> None:
        self.bound = bounds(limits)
        self._daily: Reset = limits.halt_reset
        self.exposure = ExposureBook(
            instruments, lambda i: symbol_bounds(limits, i), cash, self.bound.maintenance_ppm
        )
        self.reservations = Reservations(instruments)
        self.throttle = Throttle(self.bound)
        self.results = Results(cash)
        self.judged: dict[str, bool] = {}
        self.judged_before: dict[str, bool] = {}
        self.day_began = self.known_since = -NO_LIMIT
        self.set_alarms()

    # Orders.

    def was_denied(self, order_id: str) -> bool:
        """Say whether an order of this id was denied, today or the day before."""
        return not (self.judged.get(order_id, True) and self.judged_before.get(order_id, True))

    def quantity(self, market: Market, strategy_id: str) -> int:
        """Give the signed quantity that a strategy holds in a symbol."""
        found = market.exposures.get(strategy_id)
        return 0 if found is None else found.quantity

    def measure(
        self, order: Order, market: Market, event: Any, now: int, exempt: int
    ) -> CheckInputs:
        """Look at everything the measured checks of one order need.

        Args:
            order: the order, not yet reserved; its symbol is marked at ``event``.
            market: its symbol.
            event: latest market event of the symbol.
            now: the time, UTC nanoseconds.
            exempt: see :class:`CheckInputs`.
        """
        book, held, results = self.exposure, self.reservations, self.results
        strategy_id = order.strategy_id
        strategy = results.strategies.get(strategy_id) or self._meet(strategy_id)
        exposure = market.all.get(strategy_id) or book.exposure(market, strategy_id)
        account, px = results.account, market.px
        earned = exposure.totals[1].equity
        if book.grain != 1:
            earned = book.cash_units(earned)
        # Built as the tuple that it is: the generated __new__ takes twice as long.
        return _new(
            CheckInputs,
            (
                order.order_qty,
                0 if order.limit_px is None else through_ppm(order, px),
                px,
                now - event.ts_event if market.is_fed else LOST_AGE,
                crossed_px(order, market) if market.asks or market.bids else 0,
                *self.throttle.measure(order, now),
                *book.measure(order, exposure, exempt, (held.buys, held.sells)),
                account.day_start,
                account.peak,
                strategy.day_start - earned,
                account.losing_streak,
                strategy.losing_streak,
                exempt,
            ),
        )

    def _meet(self, strategy_id: str) -> Result:
        self.exposure.strategy(strategy_id)
        result = self.results.of(strategy_id)
        self.set_alarms()
        return result

    def reserve(self, order: Order, market: Market, now: int) -> None:
        """Take in an approved order."""
        self.reservations.reserve(order, market.px)
        if not order.reduce_only:
            self._work(market, order, order.order_qty)
        if order.order_type is _LIMIT and order.parent_id is None:
            market.rest(order.client_order_id, order.side, order.limit_px or 0)
        self.throttle.sent(order, now)

    def reserve_again(
        self, order: Order, order_qty: int, px: int, cum_qty: int, pending: list[tuple[int, int]]
    ) -> None:
        """Take in an order that was working before a restart."""
        held = self.reservations.again(order, order_qty, px, cum_qty, pending)
        market = self.exposure.markets[order.symbol]
        if not order.reduce_only:
            self._work(market, order, held.leaves_qty)
        self._rest(held, market)

    def _rest(self, held: Reservation, market: Market) -> None:
        order = held.order
        if order.order_type is _LIMIT and order.parent_id is None:
            market.unrest(order.client_order_id)
            for px in (held.px, *(px for _, px in held.pending or ())):
                market.rest(order.client_order_id, order.side, px)

    def release(self, order_id: str) -> Market | None:
        """Take in the definitive end of an order; give its symbol, None when it is unknown."""
        held = self.reservations.orders.get(order_id)
        if held is None:
            return None
        leaves = held.leaves_qty
        self.reservations.end(order_id)
        market = self.exposure.markets[held.order.symbol]
        self._forget(held, market)
        if not held.order.reduce_only:
            self._work(market, held.order, -leaves)
        return market

    def book(self, changed: PositionChanged) -> bool:
        """Turn a reservation into a position; say whether a limit may have been reached."""
        fill = changed.fill
        book = self.exposure
        market = book.markets[fill.symbol]
        strategy_id = fill.strategy_id
        exposure = market.all.get(strategy_id) or book.exposure(market, strategy_id)
        exposure.quantity = changed.quantity
        book.pay(exposure, changed.cash)
        held = self.reservations.orders.get(fill.client_order_id)
        if held is not None:
            before = held.leaves_qty
            self.reservations.fill(held, fill.cum_qty, fill.leaves_qty)
            order = held.order
            if not order.reduce_only:
                if order.side is _BUY:
                    exposure.buys -= before - held.leaves_qty
                else:
                    exposure.sells -= before - held.leaves_qty
            if not fill.leaves_qty:
                self._forget(held, market)
        book.resize(strategy_id, exposure)
        rings = book.grant(market)
        return (self.results.book(changed) and self._streak_ended(strategy_id)) or rings

    def _streak_ended(self, strategy_id: str) -> bool:
        results, bound = self.results, self.bound
        return (
            results.account.losing_streak >= bound.streak
            or results.of(strategy_id).losing_streak >= bound.strategy_streak
        )

    def _work(self, market: Market, order: Order, change: int) -> None:
        strategy_id = order.strategy_id
        exposure = market.all.get(strategy_id) or self.exposure.exposure(market, strategy_id)
        if order.side is _BUY:
            exposure.buys += change
        else:
            exposure.sells += change
        self.exposure.resize(strategy_id, exposure)

    def _forget(self, held: Reservation, market: Market) -> None:
        self.throttle.ended(held.order.strategy_id)
        if held.order.order_type is _LIMIT:
            market.unrest(held.order.client_order_id)

    # Replacements.

    def measure_replaced(
        self, held: Reservation, changed: Order, event: Any, now: int, exempt: int
    ) -> CheckInputs:
        """Look at a replacement as if the order it replaces were not there."""
        order, amount = held.order, held.amount
        market = self.exposure.markets[order.symbol]
        leaves = 0 if order.reduce_only else held.leaves_qty
        self.reservations.count(order.side, -amount)
        self._work(market, order, -leaves)
        inputs = self.measure(changed, market, event, now, exempt)
        self._work(market, order, leaves)
        self.reservations.count(order.side, amount)
        return inputs._replace(
            repeats=NO_REPEATS,
            open_orders=inputs.open_orders - 1,
            strategy_open_orders=inputs.strategy_open_orders - 1,
        )

    def widen(self, held: Reservation, changed: Order, now: int) -> Market:
        """Take in an approved replacement: until it is answered, either could be in force."""
        order = held.order
        market = self.exposure.markets[order.symbol]
        before = held.leaves_qty
        self.reservations.widen(held, changed, market.px)
        self._rework(held, market, before)
        self.throttle.amended(order.strategy_id, now)
        return market

    def settle(self, event: OrderReplaced) -> Market | None:
        """Take in what a replacement has put in force."""
        held = self.reservations.orders.get(event.client_order_id)
        if held is None:
            return None
        before = held.leaves_qty
        self.reservations.settle(event)
        market = self.exposure.markets[held.order.symbol]
        self._rework(held, market, before)
        return market

    def refuse(self, order_id: str) -> Market | None:
        """Take in that a replacement was refused by the router or the venue."""
        held = self.reservations.orders.get(order_id)
        if held is None:
            return None
        before = held.leaves_qty
        self.reservations.refuse(order_id)
        market = self.exposure.markets[held.order.symbol]
        self._rework(held, market, before)
        return market

    def _rework(self, held: Reservation, market: Market, before: int) -> None:
        order = held.order
        if not order.reduce_only:
            self._work(market, order, held.leaves_qty - before)
        self._rest(held, market)

    # Losses.

    def equity(self) -> int:
        """Give cash plus positions at the latest prices, in cash units."""
        self.exposure.sync()
        return self.exposure.cash_units(self.exposure.account.equity)

    def reached(self) -> list[Reached]:
        """List the loss limits that have been reached, or nearly, and set the alarms anew."""
        found = [*self._account_reached()]
        for strategy_id in self.exposure.strategies:
            found += self._strategy_reached(strategy_id)
        self.set_alarms()
        return found

    def _account_reached(self) -> list[Reached]:
        bound, result, total = self.bound, self.results.account, self.exposure.account
        equity = self.equity()
        found = self._loss_reached("", DenyCode.DAILY_LOSS, result, result.day_start - equity)
        fall = result.peak - equity
        if fall > 0 and fall * PPM >= result.peak * bound.drawdown_ppm:
            found.append(
                Reached(
                    DenyCode.DRAWDOWN.name, "", TradingState.HALTED, "manual",
                    fall / result.peak, bound.drawdown_ppm / PPM,
                )
            )  # fmt: skip
        if total.maintenance_ppm and total.equity * PPM < total.gross * total.maintenance_ppm:
            needed = self.exposure.cash_units(total.gross) * total.maintenance_ppm // PPM
            total.maintenance_ppm = 0  # told once a day
            found.append(
                Reached(
                    MARGIN_CALL, "", TradingState.REDUCING, self._daily,
                    equity / CASH_UNIT, needed / CASH_UNIT,
                )
            )  # fmt: skip
        found += self._streak_reached("", DenyCode.LOSING_STREAK, result, bound.streak)
        return found

    def _strategy_reached(self, strategy_id: str) -> list[Reached]:
        result = self.results.of(strategy_id)
        earned = self.exposure.cash_units(self.exposure.strategy(strategy_id).equity)
        found = self._loss_reached(
            strategy_id, DenyCode.STRATEGY_LOSS, result, result.day_start - earned
        )
        code = DenyCode.STRATEGY_LOSING_STREAK
        found += self._streak_reached(strategy_id, code, result, self.bound.strategy_streak)
        return found

    def _limit_of(self, strategy_id: str, result: Result) -> int:
        return self.bound.strategy_loss if strategy_id else loss_limit(result.day_start, self.bound)

    def _loss_reached(
        self, strategy_id: str, code: DenyCode, result: Result, loss: int
    ) -> list[Reached]:
        limit = self._limit_of(strategy_id, result)
        if loss <= 0 or limit >= NO_LIMIT:
            return []
        value, bar = loss / CASH_UNIT, limit / CASH_UNIT
        if loss >= limit:
            result.warned = True
            return [Reached(code.name, strategy_id, TradingState.HALTED, self._daily, value, bar)]
        if not result.warned and loss * PPM >= limit * self.bound.loss_warning_ppm:
            result.warned = True
            return [Reached(code.name, strategy_id, None, self._daily, value, bar)]
        return []

    def _streak_reached(
        self, strategy_id: str, code: DenyCode, result: Result, limit: int
    ) -> list[Reached]:
        if not 0 < result.losing_streak >= limit:
            return []
        streak = float(result.losing_streak)
        return [
            Reached(code.name, strategy_id, TradingState.HALTED, "next_day", streak, float(limit))
        ]

    def set_alarms(self) -> None:
        """Work out the equities at which :meth:`reached` has something new to say."""
        result = self.results.account
        equity = self.equity()
        levels = self._loss_levels("", result)
        ppm = self.bound.drawdown_ppm
        if ppm != NO_LIMIT:
            levels.append(result.peak - -(-result.peak * ppm // PPM))
        self._set_alarm(self.exposure.account, equity, levels)
        for strategy_id, total in self.exposure.strategies.items():
            earned = self.exposure.cash_units(total.equity)
            levels = self._loss_levels(strategy_id, self.results.of(strategy_id))
            self._set_alarm(total, earned, levels)
        self.exposure.grant_all()

    def _loss_levels(self, strategy_id: str, result: Result) -> list[int]:
        limit = self._limit_of(strategy_id, result)
        if limit >= NO_LIMIT:
            return []
        warning = -(-limit * self.bound.loss_warning_ppm // PPM)
        return [result.day_start - limit] + [result.day_start - warning] * (not result.warned)

    def _set_alarm(self, total: Total, equity: int, levels: list[int]) -> None:
        # The highest that has not been passed, and the lowest that has; half a grain early,
        # because reading rounds.
        grain = self.exposure.grain
        below = [level for level in levels if level < equity]
        passed = [level for level in levels if level >= equity]
        total.alarm = max(below) * grain + grain // 2 if below else -NO_LIMIT
        total.rearm = min(passed) * grain + grain // 2 if passed else NO_LIMIT

    def end_day(self, now: int) -> None:
        """Begin the next trading day."""
        self.known_since, self.day_began = self.day_began, now
        self.results.account.start_day(self.equity())
        for strategy_id, result in self.results.strategies.items():
            total = self.exposure.strategy(strategy_id)
            result.start_day(self.exposure.cash_units(total.equity))
        self.exposure.account.maintenance_ppm = self.bound.maintenance_ppm
        self.throttle.end_day()
        self.judged_before, self.judged = self.judged, {}
        self.set_alarms()
