"""What must hold whatever is done to the gate: each worked out naively, from events alone.

Nothing here trusts a running total of the gate's; where the two are compared, the naive one is a
loop over everything that was published.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

from engine.domain.commands import ClosePosition, OrderApproved
from engine.domain.events import OrderDenied, OrderFilled, PositionChanged
from engine.domain.guards import GuardBounds, levels
from engine.domain.latch import TradingState
from engine.domain.ledger import AccountKind
from engine.domain.orders import Order, OrderType, Side
from engine.domain.risk import (
    NO_LIMIT,
    PPM,
    DenyCode,
    bounds,
    checks,
    judge,
    loss_limit,
    symbol_bounds,
)
from engine.research.fuzz.shadow import at_stake
from engine.research.fuzz.stage import AtVenue
from engine.research.fuzz.world import CASH, World

__all__ = ["INVARIANTS", "BrokenInvariantError"]

SUBSETS_MAX = 7
"""Working orders of a position up to which every subset of their fills is tried."""


class BrokenInvariantError(Exception):
    """The gate broke its word.

    Attributes:
        name: name of the invariant.
        sentence: what must hold.
        detail: what was found instead.
    """

    def __init__(self, invariant: Callable[..., None], detail: str) -> None:
        self.name = invariant.__name__
        self.sentence = (invariant.__doc__ or "").split("\n", 1)[0]
        self.detail = detail
        super().__init__(f"{self.sentence} {detail}")


def _require(holds: bool, invariant: Callable[..., None], detail: str) -> None:
    if not holds:
        raise BrokenInvariantError(invariant, detail)


def nothing_leaves_without_an_approval_of_exactly_it(world: World, before: int) -> None:
    """Every order at the venue was approved, once, exactly as it was sent."""
    me, audit = nothing_leaves_without_an_approval_of_exactly_it, world.audit
    for event in world.events[before:]:
        if type(event) is OrderApproved:
            order_id = event.order.client_order_id
            _require(order_id not in audit.approved, me, f"{order_id} was approved twice")
            audit.approved[order_id] = event.order
    for order, _ in world.sent[audit.sent_seen :]:
        order_id = order.client_order_id
        fine = audit.approved.get(order_id) == order and order_id not in audit.sent
        _require(fine, me, f"{order} was not")
        audit.sent.add(order_id)


def an_order_has_one_verdict(world: World, before: int) -> None:
    """An order id is judged once; every further order of that id is denied."""
    seen = world.audit.judged
    for event in world.events[before:]:
        if type(event) in (OrderApproved, OrderDenied):
            order_id = event.order.client_order_id
            duplicate = event.verdict.code is DenyCode.DUPLICATE_ORDER_ID
            fine = type(event) is OrderDenied if order_id in seen else not duplicate
            _require(fine, an_order_has_one_verdict, f"{event}")
            seen.add(order_id)


def positions_are_the_sum_of_fills(world: World, before: int) -> None:
    """A position is the sum of its distinct fills, and each fill is booked once."""
    me, audit = positions_are_the_sum_of_fills, world.audit
    for fill in world.fills[len(audit.filled) :]:
        audit.filled.add(fill.exec_id)
        audit.totals[fill.strategy_id, fill.symbol] += fill.signed_qty
    for event in world.events[before:]:
        if type(event) is PositionChanged:
            exec_id = event.fill.exec_id
            _require(exec_id not in audit.booked, me, f"{exec_id} was booked twice")
            audit.booked.add(exec_id)
    _require(audit.booked == audit.filled, me, f"{audit.booked ^ audit.filled} are not booked")
    for key, quantity in audit.totals.items():
        found = world.ledger.position(*key)[0]
        _require(found == quantity, me, f"{key}: {found} held, {quantity} filled")


def the_books_balance(world: World, before: int) -> None:
    """Debits equal credits, and results explain the change of equity exactly."""
    books = world.ledger.books
    _require(books.imbalance("USD") == 0, the_books_balance, f"by {books.imbalance('USD')}")
    cost = books.total(AccountKind.POSITION, "USD")
    value = world.equity() - world.ledger.cash
    realized = -books.total(AccountKind.REALIZED, "USD")
    paid = books.total(AccountKind.COMMISSION, "USD")
    change = realized + (value - cost) - paid
    _require(change == world.equity() - CASH, the_books_balance, f"{change}")


def quantity_is_conserved(world: World, before: int) -> None:
    """Filled and open quantity of a working order are what the venue has."""
    router: Any = world.cell.actors["order_router"]
    for order_id, at in world.venue.orders.items():
        record = router.orders[order_id]
        filled = record.cum_qty == at.cum_qty
        open_too = not at.is_open or record.leaves_qty == at.leaves_qty
        detail = f"{order_id}: router {record.cum_qty}+{record.leaves_qty}"
        _require(filled and open_too, quantity_is_conserved, detail)


def reservations_cover_what_can_fill(world: World, before: int) -> None:
    """Gate and ledger reserve the same, at least what can fill, and nothing when nothing works."""
    me = reservations_cover_what_can_fill
    gate, ledger = world.gate.book.reservations, world.ledger.reservations
    mine = {k: (r.leaves_qty, r.amount) for k, r in gate.orders.items()}
    its = {k: (r.leaves_qty, r.amount) for k, r in ledger.orders.items()}
    _require(mine == its, me, f"gate {mine}, ledger {its}")
    _require((gate.buys, gate.sells) == (ledger.buys, ledger.sells), me, "totals differ")
    _require(min(gate.buys, gate.sells) >= 0, me, f"{gate.buys}, {gate.sells}")
    booked = world.ledger.books.total(AccountKind.RESERVED, "USD")
    _require(booked == gate.buys + gate.sells, me, f"booked {booked}")
    for order_id, at in world.venue.orders.items():
        held = mine.get(order_id, (0, 0))[0]
        exact = held == at.leaves_qty or (at.changes and held >= at.leaves_qty)
        _require(bool(exact), me, f"{order_id}: {held} for {at.leaves_qty}")
    if not any(at.is_open for at in world.venue.orders.values()):
        _require(not mine and gate.buys == gate.sells == 0, me, f"left over: {mine}")


def _working(world: World) -> list[AtVenue]:
    return [at for at in world.venue.orders.values() if at.leaves_qty]


def totals_are_what_a_loop_over_everything_gives(world: World, before: int) -> None:
    """Equity, gross exposure, worst case and counts are those of a loop over everything."""
    me = totals_are_what_a_loop_over_everything_gives
    book = world.gate.book
    book.exposure.sync()
    _require(book.equity() == world.equity(), me, f"equity {book.equity()} / {world.equity()}")
    gross = worst = 0
    grain = book.exposure.grain
    for symbol, instrument in world.instruments.items():
        market = book.exposure.markets[symbol]
        factor, divisor = instrument.cash_scale()
        value = world.px[symbol] * factor * grain // divisor
        for strategy_id in ("S", "T"):
            held = world.positions.get((strategy_id, symbol), 0)
            gross += abs(held) * value
            found = market.exposures.get(strategy_id)
            reserved = (found.buys, found.sells) if found else (0, 0)
            worst += max(held + reserved[0], reserved[1] - held) * value
    account = book.exposure.account
    _require((account.gross, account.worst) == (gross, worst), me, f"gross {gross} worst {worst}")
    counted, working = book.throttle.account.working, len(book.reservations.orders)
    _require(counted == working, me, f"{counted} counted, {working} working")
    resting = sum(len(m.bids) + len(m.asks) for m in book.exposure.markets.values())
    limits = [r for r in book.reservations.orders.values() if r.order.order_type is OrderType.LIMIT]
    expected = sum(1 + len(r.pending or ()) for r in limits)
    _require(resting == expected, me, f"{resting} prices rest, {expected} should")


def no_outcome_exceeds_the_limits(world: World, before: int) -> None:
    """Whatever subset of the working orders fills, an order let through has broken no limit."""
    for event in world.events[before:]:
        if type(event) is OrderApproved and not event.order.reduce_only:
            inputs = event.verdict.inputs
            if inputs is not None and inputs.position_after > inputs.position_before:
                _require_room(world, event.order)


def _require_room(world: World, order: Order) -> None:
    equity, total, of_symbol = world.equity(), 0, 0
    for symbol, instrument in world.instruments.items():
        for strategy_id in ("S", "T"):
            most = _most(world, strategy_id, symbol)
            value = instrument.notional(world.px[symbol], most)
            total += value
            of_symbol += value if symbol == order.symbol else 0
    bound = bounds(world.limits)
    own = symbol_bounds(world.limits, world.instruments[order.symbol])
    me = no_outcome_exceeds_the_limits
    slack = 6  # each notional above is rounded to a cash unit
    for ppm, value, name in (
        (own.position_ppm, of_symbol, "position"),
        (bound.leverage_ppm, total, "leverage"),
    ):
        fits = ppm == NO_LIMIT or (value - slack) * PPM <= equity * ppm
        _require(fits, me, f"{name}: {value} of {equity} after {order.client_order_id}")
    _require(total - slack <= bound.exposure, me, f"exposure: {total}")


def _most(world: World, strategy_id: str, symbol: str) -> int:
    """Give the largest position that any subset of fills could make, by trying them all."""
    held = world.positions.get((strategy_id, symbol), 0)
    signed = [
        at.order.side.sign * at.leaves_qty
        for at in _working(world)
        if (at.order.strategy_id, at.order.symbol) == (strategy_id, symbol)
        and not at.order.reduce_only
    ]
    if len(signed) > SUBSETS_MAX:
        up, down = sum(q for q in signed if q > 0), sum(q for q in signed if q < 0)
        return max(abs(held + up), abs(held + down))
    return max(
        abs(held + sum(chosen))
        for size in range(len(signed) + 1)
        for chosen in combinations(signed, size)
    )


def what_only_reduces_never_opens(world: World, before: int) -> None:
    """An order that may only reduce never opens, raises or flips a position."""
    audit = world.audit
    for event in world.events[before:]:
        if type(event) is PositionChanged:
            fill: OrderFilled = event.fill
            key = fill.strategy_id, fill.symbol
            was, audit.held[key] = audit.held[key], event.quantity
            if audit.approved[fill.client_order_id].reduce_only:
                fine = abs(event.quantity) < abs(was) and event.quantity * was >= 0
                _require(fine, what_only_reduces_never_opens, f"{was} -> {event.quantity}")


def a_halt_lets_nothing_through(world: World, before: int) -> None:
    """Nothing leaves in HALTED but what the engine closes, in REDUCING only what reduces."""
    for order, states in world.sent[world.audit.sent_seen :]:
        closes = order.reduce_only and order.client_order_id in world.closing
        if TradingState.HALTED in states:
            _require(closes, a_halt_lets_nothing_through, f"{order}")
        elif TradingState.REDUCING in states:
            _require(order.reduce_only, a_halt_lets_nothing_through, f"{order}")
    world.audit.sent_seen = len(world.sent)


def a_halt_takes_back_what_could_increase(world: World, before: int) -> None:
    """In HALTED every working order that could increase a position has been canceled."""
    for order_id, at in world.venue.orders.items():
        halted = TradingState.HALTED in (
            world.latch.state(),
            world.latch.state(at.order.strategy_id),
        )
        if halted and at.is_open and not at.order.reduce_only:
            canceled = order_id in world.venue.canceling
            _require(canceled, a_halt_takes_back_what_could_increase, order_id)


def a_verdict_is_what_its_inputs_say(world: World, before: int) -> None:
    """The code of a verdict is the first failing check, by the table and by the judge."""
    bound = bounds(world.limits)
    for event in world.events[before:]:
        if type(event) not in (OrderApproved, OrderDenied) or event.verdict.inputs is None:
            continue
        instrument = world.instruments[event.order.symbol]
        own, inputs = symbol_bounds(world.limits, instrument), event.verdict.inputs
        failed = [c.code for c in checks(inputs, bound, own, instrument) if not c.passed]
        first = failed[0] if failed else None
        said = {first, judge(inputs, bound, own), event.verdict.code}
        _require(len(said) == 1, a_verdict_is_what_its_inputs_say, f"{said}")


def what_passed_is_within_the_plain_limits(world: World, before: int) -> None:
    """An order that passed is within the limits of value, quantity, price, count and symbol."""
    for event in world.events[before:]:
        if type(event) is OrderApproved:
            wrong = _plain_faults(world, event.order, event.closing)
            _require(not wrong, what_passed_is_within_the_plain_limits, f"{wrong}: {event.order}")


def _plain_faults(world: World, order: Order, closing: bool) -> list[str]:
    limits, instrument = world.limits, world.instruments[order.symbol]
    own, px = symbol_bounds(limits, instrument), world.px[order.symbol]
    value = instrument.notional(at_stake(order, px), order.order_qty)
    reference = order.stop_px or px
    through = 0 if order.limit_px is None else (order.limit_px - reference) * order.side.sign
    held = world.positions.get((order.strategy_id, order.symbol), 0)
    working = len(_working(world))
    opens = order.side is Side.SELL and order.order_qty > held
    faults = {
        "value": value > own.max_order,
        "small": not order.reduce_only and value < bounds(limits).min_order,
        "quantity": order.order_qty > own.max_qty,
        "collar": through * PPM > own.collar_ppm * reference,
        "count": not closing and working > bounds(limits).open_orders,
        "restricted": order.symbol in limits.restricted_symbols and not order.reduce_only,
        "short": not limits.short_selling and opens and not order.reduce_only,
        "halted": world.gate.book.exposure.markets[order.symbol].is_halted and not closing,
    }
    return [name for name, is_wrong in faults.items() if is_wrong]


def a_loss_that_is_reached_has_stopped_trading(world: World, before: int) -> None:
    """A day's loss at its limit has halted trading, unless an operator resumed it since."""
    loss = world.day_start - world.equity()
    reached = loss > 0 and loss >= loss_limit(world.day_start, bounds(world.limits))
    stopped = world.latch.state() is TradingState.HALTED or world.resumed
    detail = f"lost {loss} of {world.day_start}"
    _require(stopped or not reached, a_loss_that_is_reached_has_stopped_trading, detail)


def a_guard_that_is_reached_closes(world: World, before: int) -> None:
    """A position at its stop is being closed."""
    guards = GuardBounds.of(world.limits)
    if guards.stop_ppm == NO_LIMIT:
        return
    asked = {(e.strategy_id, e.symbol) for e in world.events if type(e) is ClosePosition}
    for (strategy_id, symbol), quantity in world.positions.items():
        if not quantity:
            continue
        cost, px = world.ledger.position(strategy_id, symbol)[1], world.px[symbol]
        scale = world.instruments[symbol].cash_scale()
        only = guards._replace(trail_ppm=NO_LIMIT, take_ppm=NO_LIMIT)
        reason = levels(quantity, cost, px, scale, only).reason(quantity, px)
        # A fill at a bad price is looked at with the next price.
        since = world.events[world.priced[symbol] :]
        moved = any(type(e) is PositionChanged and e.fill.symbol == symbol for e in since)
        closing = reason is None or moved or (strategy_id, symbol) in asked
        _require(closing, a_guard_that_is_reached_closes, f"{strategy_id} {symbol} at {px}")


INVARIANTS: tuple[Callable[[World, int], None], ...] = (
    nothing_leaves_without_an_approval_of_exactly_it,
    an_order_has_one_verdict,
    positions_are_the_sum_of_fills,
    the_books_balance,
    quantity_is_conserved,
    reservations_cover_what_can_fill,
    totals_are_what_a_loop_over_everything_gives,
    no_outcome_exceeds_the_limits,
    what_only_reduces_never_opens,
    a_halt_lets_nothing_through,
    a_halt_takes_back_what_could_increase,
    a_verdict_is_what_its_inputs_say,
    what_passed_is_within_the_plain_limits,
    a_loss_that_is_reached_has_stopped_trading,
    a_guard_that_is_reached_closes,
)
"""All of them; each is given the world and the number of events before the last step."""
