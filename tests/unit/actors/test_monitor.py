"""The monitor alone: positions and prices in, requests to close out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from actors.monitor import Monitor
from engine.domain.commands import ClosePosition
from engine.domain.events import OrderFilled, PositionChanged, PricedBy, RiskEvent, Severity
from engine.domain.guards import GuardBounds
from engine.domain.instruments import Instrument
from engine.domain.market import Bar, Quote, Trade
from engine.domain.orders import Liquidity
from engine.runtime.actor import Actor, Handler
from engine.runtime.cell import Cell
from tests.limits import limits

HEARD = (RiskEvent, ClosePosition)


class World(Actor):
    def __init__(self) -> None:
        super().__init__("world")
        self.heard: list[Any] = []

    def handlers(self) -> Mapping[type, Handler]:
        return dict.fromkeys(HEARD, self.heard.append)


class Rig:
    """A monitor of A, two decimals; prices in cents."""

    def __init__(self, **guards: float) -> None:
        instrument = Instrument(symbol="A")
        self.factor = instrument.cash_scale()[0]
        self.monitor = Monitor(
            "monitor", guards=GuardBounds.of(limits(**guards)), instruments={"A": instrument}
        )
        self.world = World()
        self.cell = Cell("core", [self.monitor, self.world], dict.fromkeys(HEARD, ("world",)))

    def hold(self, quantity: int, px: int, *, fill: int | None = None, name: str = "S") -> None:
        """Have a position at an average price, after a fill at it."""
        signed = quantity if fill is None else fill
        filled = OrderFilled(
            "O", "E", name, "A", signed, px, abs(signed), 0, 0, 0, Liquidity.TAKER, 0,
            PricedBy.TRADE, 0, 0,
        )  # fmt: skip
        changed = PositionChanged(filled, quantity, quantity * px * self.factor, 0, 0)
        self.cell.deliver("monitor", changed)

    def price(self, px: int, kind: str = "bar") -> list[str]:
        """Deliver a price; give the reasons for which positions are to be closed."""
        self.world.heard.clear()
        event: Any = {
            "bar": Bar("A", 0, 0, 0, px, px + 50, px - 50, px, 1, 100, 1),
            "trade": Trade("A", 0, 0, px, 1, 100, 1),
            "quote": Quote("A", 0, 0, px - 1, px + 1, 1, 1, 100, 1),
        }[kind]
        self.cell.deliver_market(event)
        return [e.reason for e in self.world.heard if type(e) is ClosePosition]

    def told(self) -> list[RiskEvent]:
        return [e for e in self.world.heard if type(e) is RiskEvent]


@pytest.mark.req("D12", "R55", "R97")
@pytest.mark.parametrize("kind", ["bar", "trade", "quote"])
@pytest.mark.parametrize(
    ("quantity", "safe", "trigger"), [(100, 9_301, 9_300), (-100, 10_699, 10_700)]
)
def test_a_stop_loss_triggers_at_its_share_plus_the_buffer(
    kind: str, quantity: int, safe: int, trigger: int
) -> None:
    rig = Rig(stop_loss_pct=0.05, stop_loss_buffer=0.02)
    rig.hold(quantity, 10_000)
    assert rig.price(safe, kind) == []
    assert rig.price(trigger, kind) == ["STOP_LOSS"]
    (event,) = rig.told()
    assert (event.severity, event.action_taken) == (Severity.CRITICAL, "POSITION_CLOSED")
    assert (event.value, event.limit) == (trigger / 100, trigger / 100)
    assert (event.strategy_id, event.symbol) == ("S", "A")


@pytest.mark.req("D12")
@pytest.mark.parametrize(("quantity", "gain"), [(100, 90_000), (-100, 1)])
def test_a_gain_never_triggers_a_stop_loss(quantity: int, gain: int) -> None:
    rig = Rig(stop_loss_pct=0.05)
    rig.hold(quantity, 10_000)
    assert rig.price(gain) == []


@pytest.mark.req("R97")
def test_it_asks_until_the_position_is_flat_and_tells_once() -> None:
    rig = Rig(stop_loss_pct=0.05)
    rig.hold(100, 10_000)
    assert rig.price(9_000) == ["STOP_LOSS"]
    assert len(rig.told()) == 1
    assert rig.price(8_900) == ["STOP_LOSS"]
    assert rig.told() == []
    assert rig.price(9_900) == []  # the price is back before anything was closed
    assert rig.price(9_000) == ["STOP_LOSS"]
    rig.hold(40, 10_000, fill=-60)
    assert rig.price(9_000) == ["STOP_LOSS"]
    assert rig.told() == []
    rig.hold(0, 9_000, fill=-40)
    assert rig.price(8_000) == []


@pytest.mark.parametrize(
    ("quantity", "best", "safe", "trigger"),
    [(100, 12_000, 10_801, 10_800), (-100, 8_000, 8_799, 8_800)],
)
def test_a_trailing_stop_follows_the_best_price(
    quantity: int, best: int, safe: int, trigger: int
) -> None:
    rig = Rig(trailing_stop_pct=0.10)
    rig.hold(quantity, 10_000)
    assert rig.price(best) == []
    assert rig.price((3 * best + 10_000) // 4) == []  # a lesser one moves nothing
    assert rig.price(safe) == []
    assert rig.price(trigger) == ["TRAILING_STOP"]


@pytest.mark.parametrize(
    ("quantity", "safe", "trigger"), [(100, 10_999, 11_000), (-100, 9_001, 9_000)]
)
def test_a_profit_is_taken(quantity: int, safe: int, trigger: int) -> None:
    rig = Rig(take_profit_pct=0.10)
    rig.hold(quantity, 10_000)
    assert rig.price(safe) == []
    assert rig.price(trigger) == ["TAKE_PROFIT"]


def test_a_flip_and_a_larger_position_are_guarded_anew() -> None:
    rig = Rig(stop_loss_pct=0.05, stop_loss_buffer=0.0, trailing_stop_pct=0.10)
    rig.hold(100, 10_000)
    assert rig.price(12_000) == []
    rig.hold(-50, 12_000, fill=-150)
    assert rig.price(11_500) == []  # a gain of the short, and its best price
    assert rig.price(12_600) == ["STOP_LOSS"]
    grown = Rig(stop_loss_pct=0.05, stop_loss_buffer=0.0)
    grown.hold(100, 10_000)
    grown.hold(200, 9_800, fill=100)  # the average is lower now
    assert grown.price(9_400) == []
    assert grown.price(9_310) == ["STOP_LOSS"]


def test_each_strategy_is_guarded_by_itself() -> None:
    rig = Rig(stop_loss_pct=0.05, stop_loss_buffer=0.0)
    rig.hold(100, 10_000)
    rig.hold(100, 9_000, name="T")
    assert rig.price(9_400) == ["STOP_LOSS"]
    (close,) = (e for e in rig.world.heard if type(e) is ClosePosition)
    assert close.strategy_id == "S"
    rig.hold(0, 9_400, fill=-100)
    assert rig.price(8_550) == ["STOP_LOSS"]


def test_it_watches_what_is_held_and_nothing_else() -> None:
    rig = Rig(stop_loss_pct=0.05)
    assert rig.cell.lane("A").handlers == ()
    rig.hold(100, 10_000)
    assert len(rig.cell.lane("A").handlers) == 1
    rig.hold(100, 10_000, name="T")
    rig.hold(0, 10_000, fill=-100)
    assert len(rig.cell.lane("A").handlers) == 1
    rig.hold(0, 10_000, fill=-100, name="T")
    assert rig.cell.lane("A").handlers == ()
    rig.hold(100, 10_000)
    again = Cell("core", [rig.monitor, rig.world], dict.fromkeys(HEARD, ("world",)))
    again.start()  # a restart of the cell
    assert len(again.lane("A").handlers) == 1
    empty = Cell("core", [Rig(stop_loss_pct=0.05).monitor], {})
    empty.start()
    assert empty.lane("A").handlers == ()


def test_prices_between_the_guards_are_not_looked_at() -> None:
    looked: list[int] = []
    rig = Rig(stop_loss_pct=0.05, stop_loss_buffer=0.0, take_profit_pct=0.05)
    rig.monitor._look = lambda *args: looked.append(args[-1])  # type: ignore[method-assign]
    for quantity in (100, -100):
        rig.hold(quantity, 10_000, fill=quantity)
        for px in (9_499, 9_500, 9_501, 10_000, 10_499, 10_500, 10_501):
            rig.price(px)
        assert looked == [9_499, 9_500, 10_500, 10_501]
        looked.clear()
        rig.hold(0, 10_000, fill=-quantity)
    trail = Rig(trailing_stop_pct=0.10)
    trail.monitor._look = lambda *args: looked.append(args[-1])  # type: ignore[method-assign]
    trail.hold(-100, 10_000)
    for px in (9_999, 10_000, 10_001, 10_999, 11_000, 10**9):
        trail.price(px)
    assert looked == [9_999, 10_000, 11_000, 10**9]


@pytest.mark.parametrize(
    ("guard", "quantity", "prices", "expected"),
    [
        ("stop_loss_pct", 100, (9_500, 9_501, 10**9), [9_500]),
        ("stop_loss_pct", -100, (0, 1, 10_499, 10_500), [10_500]),
        ("take_profit_pct", 100, (0, 1, 10_499, 10_500), [10_500]),
        ("take_profit_pct", -100, (9_500, 9_501, 10**9), [9_500]),
    ],
)
def test_on_the_side_without_a_guard_no_price_is_looked_at(
    guard: str, quantity: int, prices: tuple[int, ...], expected: list[int]
) -> None:
    looked: list[int] = []
    rig = Rig(**{guard: 0.05, "stop_loss_buffer": 0.0})
    rig.monitor._look = lambda *args: looked.append(args[-1])  # type: ignore[method-assign]
    rig.hold(quantity, 10_000)
    for px in prices:
        rig.price(px)
    assert looked == expected


def test_without_guards_nothing_is_watched() -> None:
    rig = Rig()
    rig.hold(100, 10_000)
    assert rig.price(1) == []
    assert rig.cell.lane("A").handlers == ()


@pytest.mark.parametrize("side", [1, -1])
def test_a_position_of_one_is_guarded_like_any_other(side: int) -> None:
    """One, two and one again: the best price, 20.00 to the good, is that of all of it."""
    rig = Rig(trailing_stop_pct=0.10)
    best = 10_000 + side * 2_000
    stop = best - side * best // 10
    rig.hold(side, 10_000)
    assert rig.price(best) == []
    rig.hold(2 * side, 10_000, fill=side)
    assert rig.price(stop + side) == []
    rig.hold(side, 10_000, fill=-side)
    assert rig.price(stop + side) == []
    assert rig.price(stop) == ["TRAILING_STOP"]


@pytest.mark.parametrize(
    ("quantity", "entry", "best", "safe", "trigger"),
    [
        (100, 10_009, 10_010, 9_010, 9_009),  # from 10,009 it would be 9,008.1, hence 9,008
        (-100, 10_001, 10_000, 10_999, 11_000),  # from 10,001 it would be 11,001.1
    ],
)
def test_a_trailing_stop_follows_a_best_price_that_is_one_unit_better(
    quantity: int, entry: int, best: int, safe: int, trigger: int
) -> None:
    rig = Rig(trailing_stop_pct=0.10)
    rig.hold(quantity, entry)
    assert rig.price(best) == []
    assert rig.price(safe) == []
    assert rig.price(trigger) == ["TRAILING_STOP"]


@pytest.mark.req("R97")
@pytest.mark.parametrize(
    ("quantity", "best", "safe", "trigger", "reason"),
    [
        (100, 10_000, 9_501, 9_500, "STOP_LOSS"),  # the trailing stop is at 90.00
        (100, 10_900, 9_811, 9_810, "TRAILING_STOP"),
        (100, 10_000, 10_999, 11_000, "TAKE_PROFIT"),
        (-100, 10_000, 10_499, 10_500, "STOP_LOSS"),  # the trailing stop is at 110.00
        (-100, 9_100, 10_009, 10_010, "TRAILING_STOP"),
        (-100, 10_000, 9_001, 9_000, "TAKE_PROFIT"),
    ],
)
def test_of_all_three_guards_the_first_that_is_reached_closes(
    quantity: int, best: int, safe: int, trigger: int, reason: str
) -> None:
    rig = Rig(
        stop_loss_pct=0.05, stop_loss_buffer=0.0, trailing_stop_pct=0.10, take_profit_pct=0.10
    )
    rig.hold(quantity, 10_000)
    assert rig.price(best) == []
    assert rig.price(safe) == []
    assert rig.price(trigger) == [reason]
