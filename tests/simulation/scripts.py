"""Random markets and random strategies, drawn by hypothesis as plain small numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from hypothesis import strategies as st

from engine.domain.market import Bar
from engine.domain.orders import Side
from engine.strategy.base import Strategy
from tests.simulation.rig import Prices

Step = tuple[int, int, int, int]
"""Which action, on which symbol, how much, at which offset; each taken modulo what there is."""

TIMINGS = ("next_open", "next_tick", "intrabar_path")


class Scripted(Strategy):
    """Does what its script says: at each bar the steps that the script has for it."""

    script: ClassVar[Sequence[Sequence[Step]]] = ()
    on_bar_only: ClassVar[bool] = False

    def on_start(self) -> None:
        self.bar_count = 0
        self.sent: list[Any] = []

    def on_bar(self, bar: Bar) -> None:
        if self.bar_count < len(self.script):
            for step in self.script[self.bar_count]:
                self.act(step, bar)
        self.bar_count += 1

    def act(self, step: Step, bar: Bar) -> None:
        what, where, size, offset = step
        symbol = self.symbols[where % len(self.symbols)]
        price = self.price(symbol)
        if price is None:
            return
        actions = _ACTIONS[:_SIMPLE] if self.on_bar_only else _ACTIONS
        actions[what % len(actions)](self, symbol, size % 40 + 1, price, (offset % 21 - 10) / 10)

    def on_fill(self, fill: Any) -> None:
        if fill.quantity % 3 == 0 and not self.on_bar_only:
            self.sell(fill.symbol, 1, reduce_only=True)

    def on_order(self, order: Any) -> None:
        if order.reason == "USER" and order.quantity % 4 == 0 and not self.on_bar_only:
            self.buy(order.symbol, 1)


Action = Callable[[Scripted, str, int, float, float], Any]


def _stop_sell(s: Scripted, symbol: str, size: int, price: float, offset: float) -> None:
    s.sell(symbol, size, stop=price - abs(offset) - 0.01, reduce_only=True)


def _bracket(s: Scripted, symbol: str, size: int, price: float, offset: float) -> None:
    way = 1 if offset >= 0 else -1
    s.bracket(
        symbol,
        size,
        side=Side.BUY if way > 0 else Side.SELL,
        take_profit=price + way * 0.5,
        stop_loss=price - way * 0.5,
    )


def _oco(s: Scripted, symbol: str, size: int, price: float, offset: float) -> None:
    with s.oco():
        s.buy(symbol, size, limit=price - 0.3)
        s.buy(symbol, size, stop=price + 0.3)


def _cancel(s: Scripted, symbol: str, size: int, price: float, offset: float) -> None:
    if s.orders:
        s.cancel(s.orders[size % len(s.orders)])


def _replace(s: Scripted, symbol: str, size: int, price: float, offset: float) -> None:
    working = [o for o in s.orders if o.order.limit_px is not None and o.symbol == symbol]
    if working:
        s.replace(working[size % len(working)], quantity=size, limit=price + offset)


_ACTIONS: tuple[Action, ...] = (
    lambda s, symbol, size, price, offset: s.buy(symbol, size),
    lambda s, symbol, size, price, offset: s.sell(symbol, size),
    lambda s, symbol, size, price, offset: s.buy(symbol, size, limit=price + offset),
    lambda s, symbol, size, price, offset: s.sell(symbol, size, limit=price + offset, tif="DAY"),
    lambda s, symbol, size, price, offset: s.buy(symbol, size, stop=price + abs(offset) + 0.01),
    _stop_sell,
    lambda s, symbol, size, price, offset: s.sell(symbol, size, trail=abs(offset) + 0.1),
    lambda s, symbol, size, price, offset: s.buy(symbol, size, limit=price + offset, tif="IOC"),
    lambda s, symbol, size, price, offset: s.target_quantity(symbol, size - 20),
    lambda s, symbol, size, price, offset: s.close(symbol),
    lambda s, symbol, size, price, offset: s.sell(symbol, size, reduce_only=True),
    _bracket,
    _oco,
    _cancel,
    _replace,
    lambda s, symbol, size, price, offset: s.target_percent(symbol, offset / 10),
)
_SIMPLE = 11


@dataclass(frozen=True)
class Scenario:
    """A market of some symbols and a script for it."""

    series: tuple[tuple[Prices, ...], ...]
    script: tuple[tuple[Step, ...], ...]
    timing: str
    latency_ms: int = 0
    volume_limit: float = 0.0
    slippage_ticks: int = 0

    def strategy(self, *, simple: bool = False) -> Scripted:
        chosen = {"script": self.script, "on_bar_only": simple}
        return type("Drawn", (Scripted,), chosen)()

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "fill.timing": self.timing,
            "fill.latency_ms": self.latency_ms,
            "fill.volume_limit": self.volume_limit,
            "costs.commission_bps": 7.5,
            "costs.commission_min": 0.35,
            "costs.slippage": "ticks" if self.slippage_ticks else "none",
            "costs.slippage_ticks": self.slippage_ticks,
        }


Move = tuple[int, int, int, int]


def _bars(moves: Sequence[Move]) -> tuple[Prices, ...]:
    bars: list[Prices] = []
    close = 10_000
    for gap, move, above, below in moves:
        opened = max(close + gap, 100)
        close = max(opened + move, 100)
        bars.append((opened, max(opened, close) + above, min(opened, close) - below, close))
    return tuple(bars)


_move = st.tuples(
    st.integers(-60, 60), st.integers(-150, 150), st.integers(0, 40), st.integers(0, 40)
)
_step = st.tuples(st.integers(0, 15), st.integers(0, 1), st.integers(0, 39), st.integers(0, 20))


@st.composite
def scenarios(draw: st.DrawFn, *, symbols: int = 2, bars: int = 14) -> Scenario:
    length = draw(st.integers(4, bars))
    moves = st.lists(_move, min_size=length, max_size=length).map(_bars)
    return Scenario(
        series=tuple(draw(moves) for _ in range(symbols)),
        script=tuple(
            draw(
                st.lists(
                    st.lists(_step, max_size=3).map(tuple),
                    min_size=length,
                    max_size=symbols * length,
                )
            )
        ),
        timing=draw(st.sampled_from(TIMINGS)),
        latency_ms=draw(st.sampled_from((0, 0, 1, 60_000, 90_000))),
        volume_limit=draw(st.sampled_from((0.0, 0.0, 0.01, 0.02))),
        slippage_ticks=draw(st.sampled_from((0, 2))),
    )
