"""Indicators on aggregated bars: known beforehand or computed as they come, the same run."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from engine import Bar, Quote, Strategy, Trade, crossed, ta
from engine.research.backtest import backtest
from tests.simulation.rig import MINUTE, START, Core

DATA = Path(__file__).resolve().parents[2] / "examples" / "data"


class SlowerBars(Strategy):
    """Trade the crossing of two averages of aggregated bars, and remember what was read."""

    every: str = "1w"
    reads: ClassVar[list[tuple[float, ...]]] = []

    def on_start(self) -> None:
        slow = self.aggregate(self.every)
        self.cross = self.use(crossed(ta.SMA(3), ta.SMA(8)), on=slow)
        self.average = self.use(ta.EMA(5), on=slow)
        self.daily = self.use(ta.RSI(14))

    def on_bar(self, bar: Bar) -> None:
        values = (self.cross.value, self.average.value, self.average[-2], self.daily.value)
        self.reads.append(values)
        if self.cross.value > 0 and not self.position(bar.symbol):
            self.target_percent(bar.symbol, 0.18)
        elif self.cross.value < 0:
            self.close(bar.symbol)


class Handed(SlowerBars):
    """The same, handed the completed bars too, which takes the streaming way."""

    def on_start(self) -> None:
        super().on_start()
        self.bars_seen = 0
        self.aggregate(self.every, then=self.on_slow)

    def on_slow(self, bar: Bar) -> None:
        self.bars_seen += 1


@pytest.mark.parametrize("every", ["1w", "1mo", "count:7", "volume:5e7", "value:1e9"])
def test_batch_and_streaming_make_the_same_run(every: str) -> None:
    hashes, reads, fills = set(), set(), 0
    for mode in ("batch", "streaming"):
        SlowerBars.reads.clear()
        settings = {"indicators.mode": mode, "strategy.every": every, "data.adjust": True}
        result = backtest(SlowerBars, DATA, settings=settings)
        hashes.add(result.run_hash)
        reads.add(repr(SlowerBars.reads))
        fills = result.summary["fills"]
    assert len(hashes) == len(reads) == 1
    assert fills > 10


def test_being_handed_the_bars_changes_nothing() -> None:
    plain, handed = (
        backtest(cls, DATA, settings={"data.adjust": True}) for cls in (SlowerBars, Handed)
    )
    assert plain.fills.drop("order_id", "strategy_id").equals(
        handed.fills.drop("order_id", "strategy_id")
    )


class Ticks(Strategy):
    """Remember what an average of minutes says on every tick, of the tick's symbol by its name."""

    warm_up = False

    def on_start(self) -> None:
        self.closes: list[float] = []
        self.reads: list[float] = []
        self.average = self.use(ta.SMA(2), on=self.aggregate("1m", then=self.on_minute))

    def on_minute(self, bar: Bar) -> None:
        self.closes.append(bar.close)

    def on_trade(self, trade: Trade) -> None:
        self.read(trade.symbol)

    def on_quote(self, quote: Quote) -> None:
        self.read(quote.symbol)

    def read(self, symbol: str) -> None:
        handle = self.average.of(symbol)
        self.reads.append(handle.value if handle.ready else 0.0)


@pytest.mark.parametrize("kinds", [(Trade,), (Quote,), (Trade, Quote), (Quote, Trade)])
def test_bars_of_ticks_are_made_of_one_kind_and_read_by_symbol(kinds: tuple[type, ...]) -> None:
    strategy = Ticks()
    run = Core({"S": strategy}, kinds=kinds).start()
    for minute in range(5):
        for nth, kind in enumerate(kinds):
            # A trade moves the price by one a minute; where there are both, a quote is far off.
            far = 50_000 if kind is Quote and Trade in kinds else 0
            run.tick(kind, "A", 10_000 + 100 * minute + far, START + minute * MINUTE + nth + 1)
    assert strategy.closes == [100.0, 101.0, 102.0, 103.0]
    by_minute = strategy.reads[:: len(kinds)]
    if kinds == (Quote, Trade):  # its minute is complete with the trade, which comes later here
        by_minute = strategy.reads[1::2]
    assert by_minute == [0.0, 0.0, 100.5, 101.5, 102.5]
