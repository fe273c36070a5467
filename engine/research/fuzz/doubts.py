"""What must hold in a watched attack: the gate and its shadow are of one opinion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from engine.domain.commands import ClosePosition
from engine.domain.events import RiskEvent, Severity
from engine.domain.orders import OrderType, Side
from engine.research.fuzz.invariants import INVARIANTS, BrokenInvariantError
from engine.research.fuzz.steps import SYMBOLS
from engine.research.fuzz.watched import WatchedWorld

__all__ = ["WATCHED_INVARIANTS"]


def _require(holds: bool, invariant: Callable[..., None], detail: str) -> None:
    if not holds:
        raise BrokenInvariantError(invariant, detail)


def every_verdict_is_the_shadows(world: WatchedWorld, before: int) -> None:
    """Each verdict, and each number it rests on, is what loops over all that happened give."""
    _require(not world.doubts, every_verdict_is_the_shadows, "; ".join(world.doubts[:3]))


def every_total_is_the_shadows(world: WatchedWorld, before: int) -> None:
    """Each running total of the account, strategies, sectors and symbols is that of a loop."""
    shadow, exposure = world.shadow, world.gate.book.exposure
    exposure.sync()
    grain, keys = exposure.grain, shadow.keys()
    worst = {key: shadow.worth(key[1], shadow.worst(key)) * grain for key in keys}
    account, pairs = exposure.account, []
    pairs.append(("equity", account.equity, (shadow.cash + shadow.held_worth()) * grain))
    pairs.append(("gross", account.gross, shadow.gross() * grain))
    pairs.append(("worst", account.worst, sum(worst.values())))
    for name, total in exposure.strategies.items():
        earned = (shadow.paid[name] + shadow.held_worth(name)) * grain
        pairs.append((f"{name} equity", total.equity, earned))
        mine = sum(value for key, value in worst.items() if key[0] == name)
        pairs.append((f"{name} worst", total.worst, mine))
    for symbol in SYMBOLS:
        market = exposure.markets[symbol]
        quantities = [shadow.worst(key) for key in keys if key[1] == symbol]
        pairs.append((f"{symbol} worst_qty", market.worst_qty, sum(quantities)))
        if market.sector is not None:
            sector = market.instrument.sector
            peers = {x for x, i in world.instruments.items() if i.sector == sector}
            value = sum(v for key, v in worst.items() if key[1] in peers)
            pairs.append((f"{symbol} sector", market.sector.worst, value))
        pairs.append((f"{symbol} halted", int(market.is_halted), int(symbol in shadow.halted)))
    wrong = [f"{name}: {found}, should be {mine}" for name, found, mine in pairs if found != mine]
    _require(not wrong, every_total_is_the_shadows, "; ".join(wrong))


def every_reservation_is_the_shadows(world: WatchedWorld, before: int) -> None:
    """Gate, ledger and a fold of the events reserve the same for every working order."""
    me, shadow, book = every_reservation_is_the_shadows, world.shadow, world.gate.book
    mine = {
        order_id: (
            w.leaves,
            0 if w.order.reduce_only else round(shadow.worth(w.order.symbol, w.leaves, w.dearest)),
        )
        for order_id, w in shadow.working.items()
    }
    for name, kept in (("gate", book.reservations), ("ledger", world.ledger.reservations)):
        its = {k: (r.leaves_qty, r.amount) for k, r in kept.orders.items()}
        _require(its == mine, me, f"{name}: {its}, should be {mine}")
        sums = shadow.reserved(Side.BUY), shadow.reserved(Side.SELL)
        _require((kept.buys, kept.sells) == sums, me, f"{name}: {kept.buys}, {kept.sells}")
    owners = Counter(w.order.strategy_id for w in shadow.working.values())
    counted = {k: sent.working for k, sent in book.throttle.strategies.items()}
    for name in {*owners, *counted}:
        detail = f"{name}: {counted.get(name, 0)} counted, {owners[name]} work"
        _require(counted.get(name, 0) == owners[name], me, detail)


def every_resting_price_is_the_shadows(world: WatchedWorld, before: int) -> None:
    """The prices against which a self-trade is judged are those of the working limit orders."""
    for symbol, market in world.gate.book.exposure.markets.items():
        for side, ladder in ((Side.BUY, market.bids), (Side.SELL, market.asks)):
            mine = sorted(
                px
                for w in world.shadow.working.values()
                if w.order.symbol == symbol and w.order.side is side
                and w.order.order_type is OrderType.LIMIT
                for px in (w.px, *(asked for _, asked in w.asked))
            )  # fmt: skip
            detail = f"{symbol} {side}: {ladder}, should be {mine}"
            _require(ladder == mine, every_resting_price_is_the_shadows, detail)


def a_limit_that_is_reached_stops(world: WatchedWorld, before: int) -> None:
    """A loss, drawdown, margin or streak at its limit stops trading until somebody ends that."""
    loose = world.too_loose()
    _require(not loose, a_limit_that_is_reached_stops, "; ".join(loose))


def a_guard_closes_at_its_price(world: WatchedWorld, before: int) -> None:
    """Each price at or beyond a guard asks for the position to be closed, and no other does."""
    events = world.events[before:]
    guards = {"STOP_LOSS", "TRAILING_STOP", "TAKE_PROFIT"}
    asked = Counter(
        (e.strategy_id, e.symbol, e.reason)
        for e in events
        if type(e) is ClosePosition and e.reason in guards
    )
    mine = Counter(world.awaited)
    _require(asked == mine, a_guard_closes_at_its_price, f"{dict(asked)}, should be {dict(mine)}")


def a_halt_goes_flat_where_the_limits_say_so(world: WatchedWorld, before: int) -> None:
    """With on_halt = flatten a halt asks for every position to be closed."""
    if world.limits.on_halt != "flatten":
        return
    events: list[Any] = world.events[before:]
    closed = {(e.strategy_id, e.symbol) for e in events if type(e) is ClosePosition}
    for event in events:
        if type(event) is RiskEvent and event.severity is Severity.CRITICAL:
            if event.action_taken not in ("TRADING_HALTED", "STRATEGY_HALTED"):
                continue
            for key, quantity in world.shadow.held.items():
                open_yet = quantity != 0 and event.strategy_id in (None, key[0])
                fine = not open_yet or key in closed
                _require(fine, a_halt_goes_flat_where_the_limits_say_so, f"{key} is kept")


def the_kill_switch_takes_everything_back(world: WatchedWorld, before: int) -> None:
    """Every order that worked when the kill switch was thrown is canceled, whatever it is."""
    for order_id in world.killed:
        fine = order_id in world.venue.canceling or not world.venue.orders[order_id].is_open
        _require(fine, the_kill_switch_takes_everything_back, order_id)


def an_overfill_halts_its_symbol(world: WatchedWorld, before: int) -> None:
    """A fill beyond what was ever allowed is booked, and trading in its symbol halts."""
    trades_on = world.shadow.overfilled - world.shadow.halted
    _require(not trades_on, an_overfill_halts_its_symbol, f"{trades_on}")


WATCHED_INVARIANTS: tuple[Callable[[Any, int], None], ...] = (
    *INVARIANTS,
    every_verdict_is_the_shadows,
    every_total_is_the_shadows,
    every_reservation_is_the_shadows,
    every_resting_price_is_the_shadows,
    a_limit_that_is_reached_stops,
    a_guard_closes_at_its_price,
    a_halt_goes_flat_where_the_limits_say_so,
    the_kill_switch_takes_everything_back,
    an_overfill_halts_its_symbol,
)
"""Those of every attack, and those that need the shadow."""
