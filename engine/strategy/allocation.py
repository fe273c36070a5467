"""The strategy that carries an approved allocation: shares of a capital, kept by rebalancing."""

from __future__ import annotations

from engine.analytics.indicators import ta
from engine.domain.market import Bar, Quote, Trade
from engine.strategy.base import Strategy
from engine.strategy.parameters import param
from engine.strategy.views import Fill

__all__ = ["Allocation"]

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
REBALANCE = "rebalance"
EXACT = 1e-9
"""What a computed share may be off by: at a limit is at it."""


class Allocation(Strategy):
    """Holds a share of its capital in each symbol (R54, R59).

    Its capital is what it began with and what it has earned since: realised and unrealised profit,
    after commission. It buys its shares as soon as prices are known, and every
    ``rebalance_interval`` brings those back whose weight is off by more than ``drift``. A buy waits
    until its rules of entry hold on the newest bar (decision D20), a sale never waits. An order
    that is refused is tried again by the next rebalancing. A symbol that the stop loss has closed
    is not bought again.

    Parameters:
        allocation: share of the capital, by symbol.
        initial_capital: in currency; 0 is the account's cash at the start.
        rebalance_interval: seconds.
        drift: weight that may be lost or gained, as a share of the capital.
        max_position_size: largest share of the capital; a larger one is cut to it.
        stop_loss_pct: move against the average entry price after which a position is closed, once
            ``stop_loss_buffer`` is lost too (decision D12); 0 is never.
        stop_loss_buffer: as a share of the entry price.
        max_daily_loss: share of the capital at the start of a UTC day; who has lost as much sells
            everything and buys nothing until the next; 0 is no limit.
        rsi_threshold: buy only while RSI(14) is below; 0 asks for nothing.
        macd_bullish: buy only while MACD(12, 26) is above its signal line (9).
        rule_bars: length of the bars that both are of, such as ``1m``; those of the data when
            empty. On trades or quotes alone it must be given, or no rule ever holds.
    """

    warm_up = False

    allocation: dict[str, float] = {}
    initial_capital: float = param(0.0, low=0.0, high=1e10)
    rebalance_interval: int = param(300, low=1)
    drift: float = param(0.05, low=0.0, high=1.0)
    max_position_size: float = param(1.0, low=0.0, high=1.0)
    stop_loss_pct: float = param(0.0, low=0.0, high=1.0)
    stop_loss_buffer: float = param(0.02, low=0.0, high=1.0)
    max_daily_loss: float = param(0.0, low=0.0, high=1.0)
    rsi_threshold: float = param(0.0, low=0.0, high=100.0)
    macd_bullish: bool = False
    rule_bars: str = ""

    def on_start(self) -> None:
        """Buy what has a price; the rest when it has one.

        Raises:
            ValueError: there is nothing to hold.
            UnknownSymbolError: a share is of a symbol that is not there.
        """
        if not self.allocation:
            raise ValueError("allocation is empty: set strategy.allocation = {SYMBOL = 0.5}")
        for symbol in self.allocation:
            self.position(symbol)  # or it says which there are
        bars = self.aggregate(self.rule_bars) if self.rule_bars else None
        if self.rsi_threshold:
            self.rsi = self.use(ta.RSI(14), on=bars)
        if self.macd_bullish:
            self.macd = self.use(ta.MACD(12, 26, 9), on=bars)
        self._earned = 0.0
        self._base = self.initial_capital or self.cash
        self._stopped: set[str] = set()
        self._wanted = set(self.allocation)
        self._due = self.now + self.rebalance_interval * SECOND
        self._day = -1
        self._day_capital = self._base
        self._has_lost = False
        if not (self.rsi_threshold or self.macd_bullish):
            for symbol in sorted(self._wanted):
                self._buy(symbol)

    def on_bar(self, bar: Bar) -> None:
        """Look at limits, buy what waits, rebalance when it is time."""
        self._look(bar)

    def on_trade(self, trade: Trade) -> None:
        """Do as on a bar."""
        self._look(trade)

    def on_quote(self, quote: Quote) -> None:
        """Do as on a bar."""
        self._look(quote)

    def on_fill(self, fill: Fill) -> None:
        """Count what was earned."""
        self._earned += fill.realized - fill.commission

    def on_timer(self, name: str) -> None:
        """Rebalance: every price of the moment is known by now."""
        if not self._has_lost:
            for symbol in self.allocation:
                self._rebalance(symbol)

    @property
    def capital(self) -> float:
        """What it began with and has earned since, in currency."""
        held = sum(self.position(symbol).unrealized for symbol in self.symbols)
        return self._base + self._earned + held

    def _look(self, event: Bar | Trade | Quote) -> None:
        symbol = event.symbol
        if self._is_stopped_out(symbol) or self._has_lost_its_day():
            return
        if self.now >= self._due:
            self._due = self.now + self.rebalance_interval * SECOND
            # After all events of this moment, so that no price of it is missing.
            self.set_timer(REBALANCE, self.now)
        if symbol in self._wanted and self._may_enter(symbol):
            self._buy(symbol)

    def _share(self, symbol: str) -> float:
        return min(self.allocation[symbol], self.max_position_size)

    def _buy(self, symbol: str) -> None:
        if self.price(symbol) is not None:
            self._wanted.discard(symbol)
            self.target_value(symbol, self._share(symbol) * max(self.capital, 0.0))

    def _may_enter(self, symbol: str) -> bool:
        """Tell whether the rules of entry hold for a symbol; one that is not ready does not."""
        # Of this symbol by name: a trade or a quote is no bar, and moves no indicator to its own.
        if self.rsi_threshold:
            rsi = self.rsi.of(symbol)
            if not (rsi.ready and rsi.value < self.rsi_threshold):
                return False
        if self.macd_bullish:
            signal = self.macd.macdsignal.of(symbol)
            return signal.ready and self.macd.of(symbol).value > signal.value
        return True

    def _rebalance(self, symbol: str) -> None:
        capital = self.capital
        if symbol in self._stopped or capital <= 0 or self.price(symbol) is None:
            return
        off = self.position(symbol).value / capital - self._share(symbol)
        if off > self.drift + EXACT:
            self._wanted.discard(symbol)
            self.target_value(symbol, self._share(symbol) * capital)
        elif off < -self.drift - EXACT:
            self._wanted.add(symbol)
            if not (self.rsi_threshold or self.macd_bullish):
                self._buy(symbol)
        else:
            self._wanted.discard(symbol)

    def _is_stopped_out(self, symbol: str) -> bool:
        entry, price = self.position(symbol).average_price, self.price(symbol)
        if not self.stop_loss_pct or entry is None or price is None or symbol in self._stopped:
            return symbol in self._stopped
        if (entry - price) / entry < self.stop_loss_pct + self.stop_loss_buffer - EXACT:
            return False
        self._stopped.add(symbol)
        self._wanted.discard(symbol)
        self.close(symbol, tag="STOP_LOSS")
        return True

    def _has_lost_its_day(self) -> bool:
        if not self.max_daily_loss:
            return False
        day, capital = self.now // DAY, self.capital
        if day != self._day:
            self._day, self._day_capital, self._has_lost = day, capital, False
        lost = self._day_capital - capital
        if not self._has_lost and lost >= self.max_daily_loss * self._day_capital - EXACT:
            self._has_lost = True
            for symbol in self.allocation:
                self.close(symbol, tag="DAILY_LOSS")
            self._wanted.clear()
        return self._has_lost
