"""What may not change the decisions of a run: the future, the unit of money, the neighbors."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine.domain.commands import OrderApproved
from engine.domain.events import OrderDenied, OrderFilled, PositionChanged
from engine.domain.instruments import Instrument
from tests.simulation.rig import NO_LIMITS, Core, columns, cut
from tests.simulation.scripts import TIMINGS, Scenario, scenarios

# Each example is two runs or more of the whole core.
FEWER = settings(max_examples=settings.default.max_examples // 2)


def seen(core: Core, until: int) -> list[tuple[int, bytes]]:
    encode = msgspec.json.encode
    return [(now, encode(event)) for now, event in core.witness.seen if now <= until]


@pytest.mark.req("P35")
@pytest.mark.parametrize("timing", TIMINGS)
@given(scenario=scenarios(), data=st.data())
@FEWER
def test_a_run_on_less_data_is_a_prefix_of_the_full_run(
    timing: str, scenario: Scenario, data: st.DataObject
) -> None:
    chunk = columns(scenario.series)
    rows = data.draw(st.integers(1, len(chunk["ts_event"])))
    last = chunk["ts_event"][rows - 1]
    # Cut between moments: what shares a moment is one piece of news.
    assume(rows == len(chunk["ts_event"]) or chunk["ts_event"][rows] > last)
    changes = {**scenario.settings, "fill.timing": timing}
    full = Core({"S": scenario.strategy()}, changes).run(chunk)
    part = Core({"S": scenario.strategy()}, changes).run(cut(chunk, rows))
    assert seen(part, last) == seen(full, last)
    assert len(seen(part, last)) == len(part.witness.seen)


@pytest.mark.req("P33")
@given(scenarios(), st.sampled_from((1, 2, 7, 8192)))
@FEWER
def test_the_same_run_has_the_same_hash(scenario: Scenario, chunk_rows: int) -> None:
    chunk = columns(scenario.series)
    once = Core({"S": scenario.strategy()}, scenario.settings).run(chunk)
    again = Core({"S": scenario.strategy()}, scenario.settings).run(chunk, chunk_rows=chunk_rows)
    assert once.journal.hash == again.journal.hash
    assert once.journal.events == again.journal.events


def _scaled(scenario: Scenario, factor: int) -> list[list[Any]]:
    return [[tuple(px * factor for px in bar) for bar in bars] for bars in scenario.series]


@given(scenarios(), st.sampled_from((2, 3, 10)))
@FEWER
def test_the_unit_of_money_does_not_matter(scenario: Scenario, factor: int) -> None:
    # Steps that name prices would not scale, so the scripts are cut to quantities and shares.
    script = tuple(
        tuple(s for s in steps if s[0] in (0, 1, 8, 9, 10, 15)) for steps in scenario.script
    )
    scenario = replace(scenario, script=script)
    runs = []
    for scale in (1, factor):
        changes: dict[str, Any] = {
            **scenario.settings,
            **NO_LIMITS,
            "risk.max_position_size": 0.30,
            "account.cash": 10_000.0 * scale,
            "costs.commission_min": 0.35 * scale,
            "costs.slippage": "none",
        }
        core = Core({"S": scenario.strategy()}, changes)
        runs.append(core.run(columns(_scaled(scenario, scale))))
    one, other = runs
    assert [_deed(e, factor) for e in one.events(OrderFilled, OrderDenied)] == [
        _deed(e, 1) for e in other.events(OrderFilled, OrderDenied)
    ]
    assert one.equity() * factor == other.equity()
    assert one.ledger.cash * factor == other.ledger.cash


def _deed(event: Any, factor: int) -> tuple[Any, ...]:
    if type(event) is OrderDenied:
        return event.order.client_order_id, event.verdict.code
    price = event.last_px * factor
    return event.client_order_id, event.signed_qty, price, event.commission * factor


@given(scenarios())
@FEWER
def test_independent_symbols_do_not_touch_each_other(scenario: Scenario) -> None:
    # Without limits, quantities that do not depend on equity, no order caused by a fill's id.
    changes = {**scenario.settings, **NO_LIMITS}
    a, b = Instrument(symbol="A"), Instrument(symbol="B")
    first, second = scenario.series
    script = {"A": scenario.script[0::2], "B": scenario.script[1::2]}

    def deeds(instruments: list[Instrument], series: list[Any]) -> dict[str, list[Any]]:
        strategies = {i.symbol: _Alone(scenario, i.symbol, script[i.symbol]) for i in instruments}
        core = Core({k: s.make() for k, s in strategies.items()}, changes, instruments)
        core.run(columns(series))
        found: dict[str, list[Any]] = defaultdict(list)
        for event in core.events(OrderApproved, OrderDenied, PositionChanged):
            if type(event) is PositionChanged:
                fill = event.fill
                row: tuple[Any, ...] = (*_deed(fill, 1), fill.ts_event, event.quantity, event.cost)
                found[fill.symbol].append(row)
            else:
                found[event.order.symbol].append((event.order, event.verdict.code))
        return found

    both = deeds([a, b], [first, second])
    swapped = deeds([b, a], [second, first])
    alone = deeds([a], [first])
    assert both == swapped
    assert both["A"] == alone["A"]


class _Alone:
    """Makes a scripted strategy that acts on the bars of one symbol only."""

    def __init__(self, scenario: Scenario, symbol: str, script: Any) -> None:
        self._base = type(scenario.strategy(simple=True))
        self._symbol = symbol
        self._script = script

    def make(self) -> Any:
        symbol, base = self._symbol, self._base

        class Alone(base):  # type: ignore[misc, valid-type]
            script = self._script

            @property
            def symbols(self) -> tuple[str, ...]:
                return (symbol,)

            def on_bar(self, bar: Any) -> None:
                if bar.symbol == symbol:
                    base.on_bar(self, bar)

        return Alone()
