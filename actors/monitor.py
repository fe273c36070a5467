"""The monitor: closes positions whose guards are triggered, whatever their strategies do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.domain import notices
from engine.domain.commands import ClosePosition
from engine.domain.events import PositionChanged
from engine.domain.guards import GuardBounds, Levels, levels
from engine.domain.instruments import Instrument
from engine.domain.market import Bar, Quote, Trade
from engine.runtime.actor import Actor, Handler


class _Guarded:
    """One position and the prices between which nothing can happen to it."""

    __slots__ = ("best_px", "cost", "high", "levels", "low", "quantity", "told")

    def __init__(self) -> None:
        self.quantity = self.cost = self.best_px = 0
        self.levels = Levels(None, None, None)
        self.low = self.high = 0
        self.told = False


class Monitor(Actor):
    """Watches the symbols in which something is held, and nothing when no guard is set.

    It looks at the last price of each event (a bar's close). A guard that has triggered asks for
    the position to be closed at every further event until it is flat or the price is back, and
    tells so once; the host sends nothing while a closing order already works.

    Args:
        name: actor name.
        guards: stop loss, trailing stop and take profit.
        instruments: scales by symbol.
    """

    def __init__(
        self, name: str, *, guards: GuardBounds, instruments: Mapping[str, Instrument]
    ) -> None:
        super().__init__(name)
        self._guards = guards
        self._instruments = instruments
        self._positions: dict[str, dict[str, _Guarded]] = {symbol: {} for symbol in instruments}

    def handlers(self) -> Mapping[type, Handler]:
        """Handle positions and prices."""
        return {
            PositionChanged: self.on_position_changed,
            **dict.fromkeys((Bar, Trade, Quote), self.on_market),
        }

    def on_start(self) -> None:
        """Watch what was held before a restart."""
        for symbol, held in self._positions.items():
            if held:
                self.ctx.watch(symbol)

    def on_position_changed(self, changed: PositionChanged) -> None:
        """Guard a position from its first fill to its last."""
        if not self._guards.any:
            return
        fill = changed.fill
        held = self._positions[fill.symbol]
        if not changed.quantity:
            held.pop(fill.strategy_id, None)
            if not held:
                self.ctx.unwatch(fill.symbol)
            return
        guarded = held.get(fill.strategy_id)
        if guarded is None or (guarded.quantity > 0) != (changed.quantity > 0):
            guarded = held[fill.strategy_id] = _Guarded()
            guarded.best_px = fill.last_px
        guarded.quantity, guarded.cost = changed.quantity, changed.cost
        self._guard(fill.symbol, guarded)
        self.ctx.watch(fill.symbol)

    def _guard(self, symbol: str, guarded: _Guarded) -> None:
        scale = self._instruments[symbol].cash_scale()
        found = guarded.levels = levels(
            guarded.quantity, guarded.cost, guarded.best_px, scale, self._guards
        )
        adverse = [px for px in (found.stop, found.trail) if px is not None]
        favorable = [px for px in (found.take,) if px is not None]
        if found.trail is not None:
            favorable.append(guarded.best_px)
        if guarded.quantity < 0:
            adverse, favorable = favorable, adverse
        guarded.low = max(adverse, default=-1)
        guarded.high = min(favorable, default=1 << 63)

    def on_market(self, event: Bar | Trade | Quote) -> None:
        """Look at the positions of a symbol whose price has left what was safe."""
        px = event.last_px
        for strategy_id, guarded in self._positions[event.symbol].items():
            if not guarded.low < px < guarded.high:
                self._look(event.symbol, strategy_id, guarded, px)

    def _look(self, symbol: str, strategy_id: str, guarded: _Guarded, px: int) -> None:
        way = 1 if guarded.quantity > 0 else -1
        if (px - guarded.best_px) * way > 0:
            guarded.best_px = px
            self._guard(symbol, guarded)
        reason = guarded.levels.reason(guarded.quantity, px)
        if reason is None:
            return
        ctx: Any = self.ctx
        close = ClosePosition(
            strategy_id=strategy_id, symbol=symbol, reason=reason, ts_init=ctx.now
        )
        if not guarded.told:
            guarded.told = True
            unit = self._instruments[symbol].price_unit
            level = getattr(guarded.levels, _LEVEL_OF[reason])
            ctx.publish(notices.guarded(close, px / unit, level / unit))
        ctx.publish(close)


_LEVEL_OF = {"STOP_LOSS": "stop", "TRAILING_STOP": "trail", "TAKE_PROFIT": "take"}
