"""Two strategies in one account, contracts and coins: whoever adds up gets the ledger's sum."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings

from engine.analytics.equity import EquityBuilder
from engine.analytics.performance import statistics
from engine.analytics.trades import round_trips
from engine.domain.events import OrderFilled, PositionChanged
from engine.domain.instruments import Instrument
from engine.domain.money import CASH_UNIT
from engine.research.frames import fills_frame
from tests.simulation.rig import NO_LIMITS, Core, columns
from tests.simulation.scripts import Scenario, scenarios

# Each example is a run of the whole core.
FEWER = settings(max_examples=settings.default.max_examples // 2)
FUTURE = Instrument(symbol="A", multiplier=5)
COIN = Instrument(symbol="B", price_decimals=9, quantity_decimals=8)
COIN_SCALE = 10**7
"""From a price in hundredths, as scenarios have them, to one of the coin."""
HOLDING = Scenario(
    series=(((10_000,) * 4,) * 4,) * 2,
    script=((), (), (), ((0, 0, 39, 0), (0, 1, 39, 0)), (), (), (), ()),
    timing="next_open",
)
"""Both are bought, and of the coin more than price times quantity in 64 bits."""


def run(scenario: Scenario) -> tuple[Core, pl.DataFrame]:
    """Run a script and its mirror image in one account; also give the market data."""
    first, second = scenario.series
    coin = tuple(tuple(px * COIN_SCALE for px in bar) for bar in second)
    mirrored = replace(scenario, script=tuple(reversed(scenario.script)))
    core = Core(
        {"S": scenario.strategy(), "T": mirrored.strategy()},
        {**scenario.settings, **NO_LIMITS},
        (FUTURE, COIN),
    )
    chunk = columns((first, coin), volume=10**11)  # type: ignore[arg-type]  # five prices a bar
    return core.run(chunk), pl.DataFrame(chunk)


@pytest.mark.req("P17")
@given(scenarios())
@example(HOLDING)
@FEWER
def test_the_statistics_end_with_the_ledgers_equity(scenario: Scenario) -> None:
    core, data = run(scenario)
    fills = fills_frame(core.journal.fills(), core.journal.orders(), core.instruments)
    builder = EquityBuilder(core.instruments, fills, core.initial_cash)
    builder.add(data)
    curve = builder.finish()
    trades = round_trips(fills, core.instruments, builder.marks)
    figures = statistics(
        curve, trades, fills, initial_cash=core.initial_cash, extremes=builder.extremes
    )
    # One rounding to a cash unit per symbol: the curve values what the strategies hold together.
    cent = 1 / 100
    assert curve["cash"][-1] == core.ledger.cash / CASH_UNIT
    assert curve["equity"][-1] == pytest.approx(core.equity() / CASH_UNIT, abs=cent / 10**4)
    assert figures["final_equity"] == curve["equity"][-1]
    assert trades["pnl"].sum() == pytest.approx(
        (core.equity() - core.initial_cash) / CASH_UNIT, abs=cent
    )


@given(scenarios())
@example(HOLDING)
@FEWER
def test_each_strategy_sees_its_own_positions_and_the_gate_all(scenario: Scenario) -> None:
    core, _ = run(scenario)
    held: dict[tuple[str, str], int] = defaultdict(int)
    for fill in core.events(OrderFilled):
        held[fill.strategy_id, fill.symbol] += fill.signed_qty
    changed: dict[tuple[str, str], Any] = {
        (e.fill.strategy_id, e.fill.symbol): e for e in core.events(PositionChanged)
    }
    for instrument in core.instruments:
        symbol = instrument.symbol
        for name in core.strategies:
            position = core.host(name).desk.positions[symbol]
            quantity, cost = core.ledger.position(name, symbol)
            assert position.units == quantity == held[name, symbol]
            assert position.cost == cost
            if quantity:
                assert changed[name, symbol].quantity == quantity
                price = cost / CASH_UNIT / instrument.multiplier / position.quantity
                assert position.average_price == pytest.approx(price)
        whole = sum(held[name, symbol] for name in core.strategies)
        exposures = core.gate.book.exposure.markets[symbol].exposures.values()
        assert sum(e.quantity for e in exposures) == whole
    for name in core.strategies:
        own = sum(
            i.notional(core.cell.last(i.symbol).last_px, held[name, i.symbol])
            for i in core.instruments
        )
        assert core.host(name).desk.equity_units() == core.ledger.cash + own
    assert core.gate.book.exposure.cash == core.ledger.cash
    assert {core.host(name).desk.cash for name in core.strategies} == {core.ledger.cash}
