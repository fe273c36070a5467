"""The risk book as a message: what a gate must know again after a restart.

Losses, counts, rates and reservations survive, so a restart never re-arms a limit (P12). The
trading state is not in it: it is kept by itself, and read before anything else.
"""

from __future__ import annotations

import msgspec

from engine.domain.exposure import Market
from engine.domain.orders import Order
from engine.domain.results import Result
from engine.domain.risk import NO_LIMIT
from engine.domain.risk_book import RiskBook
from engine.domain.throttle import Key, Sent

__all__ = ["RiskSnapshot", "restore", "take"]


class ReservationState(msgspec.Struct, frozen=True, array_like=True):
    """One working order and what it reserves; fields as those of ``Reservation``."""

    order: Order
    order_qty: int
    px: int
    cum_qty: int
    pending: list[tuple[int, int]]


class MarketState(msgspec.Struct, frozen=True, array_like=True):
    """One symbol: the price it was valued at, what each strategy holds, and its flags."""

    symbol: str
    px: int
    quantities: dict[str, int]
    is_halted: bool
    warned: bool
    is_fed: bool


class RiskSnapshot(msgspec.Struct, frozen=True, kw_only=True, tag="risk_snapshot"):
    """Everything that :class:`RiskBook` has learned since it was made.

    Attributes:
        ts_event: when it was taken, UTC nanoseconds.
        cash: of the account, cash units.
        flows: what each strategy's fills have paid and cost, in fine units.
        margin_called: whether the margin call of the day has been told.
        markets: symbols with positions or flags.
        reservations: working orders.
        account: results of the account.
        strategies: results of each strategy.
        trips: ``(strategy, symbol, realised)`` of open round trips.
        sent: what the account has sent.
        strategies_sent: what each strategy has sent.
        repeats: equal orders and when each was sent, within the window.
        judged: verdicts of the day; ``judged_before`` of the day before.
        day_began: when the trading day began; None for the first.
        known_since: from when on every order is remembered; None for the first two days.
    """

    ts_event: int
    cash: int
    flows: dict[str, int]
    margin_called: bool
    markets: list[MarketState]
    reservations: list[ReservationState]
    account: Result
    strategies: dict[str, Result]
    trips: list[tuple[str, str, int]]
    sent: Sent
    strategies_sent: dict[str, Sent]
    repeats: list[tuple[Key, list[int]]]
    judged: dict[str, bool]
    judged_before: dict[str, bool]
    day_began: int | None
    known_since: int | None


def take(book: RiskBook, now: int) -> RiskSnapshot:
    """Give the state of a book; nothing in it changes when the book does."""
    exposure, throttle, results = book.exposure, book.throttle, book.results
    exposure.sync()
    copy = msgspec.structs.replace
    return RiskSnapshot(
        ts_event=now,
        cash=exposure.cash,
        flows={
            name: total.equity - _held(book, name) for name, total in exposure.strategies.items()
        },
        margin_called=exposure.account.maintenance_ppm != book.bound.maintenance_ppm,
        markets=[
            _state(m)
            for m in exposure.markets.values()
            if m.exposures or m.is_halted or not m.is_fed
        ],
        reservations=[
            ReservationState(r.order, r.order_qty, r.px, r.cum_qty, list(r.pending or ()))
            for r in book.reservations.orders.values()
        ],
        account=copy(results.account),
        strategies={name: copy(result) for name, result in results.strategies.items()},
        trips=[(*key, realized) for key, realized in results.trips.items()],
        sent=copy(throttle.account),
        strategies_sent={name: copy(sent) for name, sent in throttle.strategies.items()},
        repeats=[(key, list(times)) for key, times in throttle.repeats.items()],
        judged=dict(book.judged),
        judged_before=dict(book.judged_before),
        day_began=None if book.day_began == -NO_LIMIT else book.day_began,
        known_since=None if book.known_since == -NO_LIMIT else book.known_since,
    )


def _held(book: RiskBook, strategy_id: str) -> int:
    markets = book.exposure.active.values()
    held = [(m, m.exposures[strategy_id]) for m in markets if strategy_id in m.exposures]
    return sum(exposure.held_per_px * market.px for market, exposure in held)


def _state(market: Market) -> MarketState:
    quantities = {name: e.quantity for name, e in market.exposures.items() if e.quantity}
    return MarketState(
        market.instrument.symbol,
        market.px,
        quantities,
        market.is_halted,
        market.warned,
        market.is_fed,
    )  # fmt: skip


def restore(book: RiskBook, snapshot: RiskSnapshot) -> None:
    """Bring a book that was just made to the state of a snapshot."""
    exposure, throttle, results = book.exposure, book.throttle, book.results
    exposure.cash = snapshot.cash
    exposure.account.equity = snapshot.cash * exposure.grain
    if snapshot.margin_called:
        exposure.account.maintenance_ppm = 0
    for name, flow in snapshot.flows.items():
        exposure.strategy(name).equity = flow
    for state in snapshot.markets:
        market = exposure.markets[state.symbol]
        market.px, market.is_halted, market.warned = state.px, state.is_halted, state.warned
        market.is_fed = state.is_fed
        for name, quantity in state.quantities.items():
            held = exposure.exposure(market, name)
            held.quantity = quantity
            exposure.resize(name, held)
    for kept in snapshot.reservations:
        book.reserve_again(kept.order, kept.order_qty, kept.px, kept.cum_qty, kept.pending)
    results.account = msgspec.structs.replace(snapshot.account)
    results.strategies = {k: msgspec.structs.replace(r) for k, r in snapshot.strategies.items()}
    results.trips = {(name, symbol): realized for name, symbol, realized in snapshot.trips}
    throttle.account = msgspec.structs.replace(snapshot.sent)
    throttle.strategies = {
        k: msgspec.structs.replace(sent) for k, sent in snapshot.strategies_sent.items()
    }
    throttle.put_repeats(snapshot.repeats)
    book.judged = dict(snapshot.judged)
    book.judged_before = dict(snapshot.judged_before)
    if snapshot.day_began is not None:
        book.day_began = snapshot.day_began
    if snapshot.known_since is not None:
        book.known_since = snapshot.known_since
    book.set_alarms()
