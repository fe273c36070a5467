"""Laws of the whole core: random markets, random strategies, every actor the real one."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings

from engine.domain.commands import OrderApproved
from engine.domain.events import (
    OrderCanceled,
    OrderDenied,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    PositionChanged,
)
from engine.domain.ledger import AccountKind
from engine.domain.orders import Order, OrderStatus, Side
from engine.domain.risk import CheckInputs
from tests.simulation.rig import NO_LIMITS, Core, columns
from tests.simulation.scripts import Scenario, scenarios

STRATEGY = "S"
# Each example is a run of the whole core.
FEWER = settings(max_examples=settings.default.max_examples * 6 // 10)


def core_of(scenario: Scenario, **settings: Any) -> Core:
    changes = {**scenario.settings, **settings}
    return Core({STRATEGY: scenario.strategy()}, changes)


def run(scenario: Scenario, **settings: Any) -> Core:
    return core_of(scenario, **settings).run(columns(scenario.series))


@pytest.mark.req("P17")
@given(scenarios())
@FEWER
def test_debits_equal_credits_after_every_message(scenario: Scenario) -> None:
    core = core_of(scenario)
    imbalances: list[int] = []
    core.witness.check = lambda event: imbalances.append(core.ledger.books.imbalance("USD"))
    core.run(columns(scenario.series))
    assert not any(imbalances)
    assert type(core.ledger.cash) is int


@given(scenarios())
@FEWER
def test_everybody_holds_the_same_position(scenario: Scenario) -> None:
    core = core_of(scenario)
    filled: dict[str, int] = defaultdict(int)

    def check(event: Any) -> None:
        if type(event) is not PositionChanged:
            return
        symbol = event.fill.symbol
        filled[symbol] += event.fill.signed_qty
        views = {
            "fills": filled[symbol],
            "event": event.quantity,
            "gate": core.gate.book.quantity(core.gate.book.exposure.markets[symbol], STRATEGY),
            "host": core.host(STRATEGY).desk.positions[symbol].units,
        }
        assert len(set(views.values())) == 1, views
        assert core.host(STRATEGY).desk.positions[symbol].cost == event.cost
        assert core.gate.book.exposure.cash == core.host(STRATEGY).desk.cash == event.cash
        if not core.cell.queue:  # before that the ledger may be ahead of what it has told
            assert core.ledger.position(STRATEGY, symbol) == (event.quantity, event.cost)
            assert core.ledger.cash == event.cash

    core.witness.check = check
    core.run(columns(scenario.series))


@given(scenarios())
@FEWER
def test_cash_is_what_the_fills_left(scenario: Scenario) -> None:
    core = run(scenario)
    instruments = {i.symbol: i for i in core.instruments}
    cash = core.initial_cash
    for fill in core.events(OrderFilled):
        cash -= instruments[fill.symbol].notional(fill.last_px, fill.signed_qty) + fill.commission
    assert core.ledger.cash == cash


@given(scenarios())
@FEWER
def test_results_explain_the_change_of_equity(scenario: Scenario) -> None:
    core = run(scenario)
    books = core.ledger.books
    unrealized = 0
    for instrument in core.instruments:
        quantity, cost = core.ledger.position(STRATEGY, instrument.symbol)
        px = core.cell.last(instrument.symbol).last_px
        unrealized += instrument.notional(px, quantity) - cost
    realized = -books.total(AccountKind.REALIZED, "USD")
    costs = books.total(AccountKind.COMMISSION, "USD")
    assert realized + unrealized - costs == core.equity() - core.initial_cash
    assert realized == sum(changed.realized for changed in core.events(PositionChanged))
    assert costs == sum(fill.commission for fill in core.events(OrderFilled))


@pytest.mark.req("P1")
@given(scenarios())
@FEWER
def test_every_order_has_exactly_one_verdict(scenario: Scenario) -> None:
    core = run(scenario)
    judged = [event.order.client_order_id for event in core.events(OrderApproved, OrderDenied)]
    assert len(judged) == len(set(judged))
    approved = {e.order.client_order_id for e in core.events(OrderApproved)}
    assert set(core.router.orders) == approved
    assert {fill.client_order_id for fill in core.events(OrderFilled)} <= approved
    assert set(core.host(STRATEGY).desk.orders) <= approved


@given(scenarios())
@FEWER
def test_quantity_is_conserved(scenario: Scenario) -> None:
    core = run(scenario)
    filled: dict[str, int] = defaultdict(int)
    ordered = {e.order.client_order_id: e.order.order_qty for e in core.events(OrderApproved)}
    for event in core.events(OrderFilled, OrderReplaced):
        order_id = event.client_order_id
        if type(event) is OrderReplaced:
            ordered[order_id] = event.order_qty
            continue
        filled[order_id] += abs(event.signed_qty)
        assert event.signed_qty != 0
        assert event.cum_qty == filled[order_id]
        assert event.cum_qty + event.leaves_qty == ordered[order_id]
    for order_id, record in core.router.orders.items():
        assert record.cum_qty == filled[order_id] <= ordered[order_id]
        assert (record.status is OrderStatus.FILLED) == (
            record.leaves_qty == 0 and order_id in filled
        )


@given(scenarios())
@FEWER
def test_router_and_host_agree_on_what_is_open(scenario: Scenario) -> None:
    core = run(scenario)
    open_orders = {k for k, r in core.router.orders.items() if not r.status.is_terminal}
    assert (
        set(core.host(STRATEGY).desk.orders)
        == open_orders
        == set(core.gate.book.reservations.orders)
    )
    if not scenario.latency_ms:
        assert set(core.venue._working) == open_orders


@pytest.mark.req("P10")
@given(scenarios())
@FEWER
def test_reservations_are_those_of_the_open_orders(scenario: Scenario) -> None:
    core = core_of(scenario)

    def check(event: Any) -> None:
        if type(event) not in (PositionChanged, OrderCanceled, OrderExpired, OrderRejected):
            return
        for symbol, market in core.gate.book.exposure.markets.items():
            working = [
                r
                for r in core.router.orders.values()
                if r.order.symbol == symbol and not r.status.is_terminal and not r.order.reduce_only
            ]
            buys = sum(r.leaves_qty for r in working if r.order.side is Side.BUY)
            sells = sum(r.leaves_qty for r in working if r.order.side is Side.SELL)
            # Never less than what can still fill; more while a replacement is on its way.
            assert sum(e.buys for e in market.exposures.values()) >= buys
            assert sum(e.sells for e in market.exposures.values()) >= sells

    core.witness.check = check
    core.run(columns(scenario.series))
    for symbol, market in core.gate.book.exposure.markets.items():
        held = core.ledger.position(STRATEGY, symbol)[0]
        open_here = [
            r for r in core.gate.book.reservations.orders.values() if r.order.symbol == symbol
        ]
        if not open_here:
            assert all(e.buys == e.sells == 0 for e in market.exposures.values())
            assert bool(market.exposures) == bool(held)


@pytest.mark.req("P10")
@given(scenarios())
@FEWER
def test_gate_and_ledger_reserve_the_same(scenario: Scenario) -> None:
    core = core_of(scenario)

    def check(event: Any) -> None:
        # Each hears of an event at its place in the routes; a still queue is where they meet.
        if core.cell.queue:
            return
        gate, ledger = core.gate.book.reservations, core.ledger.reservations
        assert {k: (r.leaves_qty, r.amount) for k, r in gate.orders.items()} == {
            k: (r.leaves_qty, r.amount) for k, r in ledger.orders.items()
        }
        assert (gate.buys, gate.sells) == (ledger.buys, ledger.sells)
        booked = core.ledger.books.total(AccountKind.RESERVED, "USD")
        assert booked == gate.buys + gate.sells >= 0

    core.witness.check = check
    core.run(columns(scenario.series))
    if not core.gate.book.reservations.orders:
        assert core.ledger.books.total(AccountKind.RESERVED, "USD") == 0


def measured_anew(core: Core, order: Order) -> dict[str, int]:
    """Say what the gate must look at, from its open orders and the ledger alone."""
    book = core.gate.book
    worst: dict[str, int] = {}
    value: dict[str, int] = {}
    found: dict[str, int] = {}
    for instrument in core.instruments:
        symbol = instrument.symbol
        last = core.cell.last(symbol)
        if last is None:
            continue
        held = core.ledger.position(STRATEGY, symbol)[0]
        buys = sells = 0
        for working in book.reservations.orders.values():
            replaced = working.order.client_order_id == order.client_order_id
            if working.order.symbol == symbol and not working.order.reduce_only and not replaced:
                if working.order.side is Side.BUY:
                    buys += working.leaves_qty
                else:
                    sells += working.leaves_qty
        value[symbol] = instrument.notional(last.last_px, held)
        most = max(abs(held + buys), abs(held - sells))
        worst[symbol] = instrument.notional(last.last_px, most)
        if symbol != order.symbol:
            continue
        own_px = order.limit_px or order.stop_px or last.last_px
        found["order_value"] = instrument.notional(own_px, order.order_qty)
        found["position_before"] = found["position_after"] = worst[symbol]
        found["short_after"] = 0
        if not order.reduce_only:
            buys += order.order_qty if order.side is Side.BUY else 0
            sells += order.order_qty if order.side is Side.SELL else 0
            more = max(abs(held + buys), abs(held - sells))
            if more > most:
                after = instrument.notional(max(own_px, last.last_px), more)
                found["position_after"] = after
            if order.side is Side.SELL:
                found["short_after"] = max(sells - held, 0)
    grown = found["position_after"] - found["position_before"]
    found["exposure_after"] = found["strategy_exposure"] = sum(worst.values()) + grown
    found["equity"] = core.ledger.cash + sum(value.values())
    found["exempt"] = int(order.reduce_only)
    return found


@pytest.mark.req("P10", "D11")
@given(scenarios())
@FEWER
def test_the_gate_measures_what_is_there(scenario: Scenario) -> None:
    core = core_of(scenario)
    measure = core.gate.book.measure

    def checked(order: Order, *rest: Any) -> CheckInputs:
        inputs = measure(order, *rest)
        anew = measured_anew(core, order)
        assert {name: getattr(inputs, name) for name in anew} == anew
        return inputs

    core.gate.book.measure = checked  # type: ignore[method-assign]
    core.run(columns(scenario.series))


@pytest.mark.req("D14")
@given(scenarios())
@FEWER
def test_a_reduce_only_order_never_opens_raises_or_flips(scenario: Scenario) -> None:
    core = run(scenario)
    reducing = {e.order.client_order_id for e in core.events(OrderApproved) if e.order.reduce_only}
    held: dict[str, int] = defaultdict(int)
    for fill in core.events(OrderFilled):
        before = held[fill.symbol]
        after = held[fill.symbol] = before + fill.signed_qty
        if fill.client_order_id in reducing:
            assert abs(after) < abs(before)
            assert after * before >= 0


@pytest.mark.req("P10", "R93")
@given(scenarios())
@FEWER
def test_no_outcome_exceeds_the_limits(scenario: Scenario) -> None:
    # Exposure at the prices of the verdict: a limit on shares held, whatever the market does.
    limit = 60
    changes = {
        **NO_LIMITS,
        "account.cash": 10_000_000.0,
        "risk.max_total_exposure": limit * 100.0,
    }
    flat = tuple(tuple((10_000,) * 4 for _ in bars) for bars in scenario.series)
    core = core_of(scenario, **changes)
    held: dict[str, int] = defaultdict(int)

    def check(event: Any) -> None:
        if type(event) is OrderFilled:
            held[event.symbol] += event.signed_qty
            assert sum(map(abs, held.values())) <= limit

    core.witness.check = check
    core.run(columns(flat))  # type: ignore[arg-type]
