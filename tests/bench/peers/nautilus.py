"""nautilus_trader on the bench rule: Rust and Cython core, Python strategy.

It has no next-open mode on bars: a market order sent in ``on_bar`` fills at that bar's close. Money
in USD is rounded to cents, each commission on its own. Its SMA indicators run on every bar; the
strategy keeps their values of the bar before.
"""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path

import pandas as pd
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, StrategyConfig
from nautilus_trader.indicators import SimpleMovingAverage
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, TraderId, Venue
from nautilus_trader.model.instruments import Equity
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.persistence.wranglers import BarDataWrangler
from nautilus_trader.trading.strategy import Strategy
from row import CASH, COMMISSION_RATE, FAST_BARS, SLOW_BARS, Outcome, main

VENUE = Venue("SIM")


class SmaCrossConfig(StrategyConfig, frozen=True):
    """The bar types to trade."""

    bar_types: tuple[BarType, ...]


class Lane:
    """One symbol's averages, their values of the bar before, and whether it is held."""

    __slots__ = ("fast", "fast_before", "held", "instrument_id", "seen", "slow", "slow_before")

    def __init__(self, instrument_id):
        """Start empty."""
        self.instrument_id = instrument_id
        self.fast = SimpleMovingAverage(FAST_BARS)
        self.slow = SimpleMovingAverage(SLOW_BARS)
        self.fast_before = self.slow_before = 0.0
        self.seen = 0
        self.held = False


class SmaCross(Strategy):
    """Long one unit of each symbol from a cross up to a cross down."""

    def on_start(self):
        """Subscribe and declare two averages for each symbol."""
        self.fills = 0
        self.lanes = {}
        self.by_instrument = {}
        self.one = Quantity.from_int(1)
        for bar_type in self.config.bar_types:
            lane = Lane(bar_type.instrument_id)
            self.lanes[bar_type] = self.by_instrument[bar_type.instrument_id] = lane
            self.register_indicator_for_bars(bar_type, lane.fast)
            self.register_indicator_for_bars(bar_type, lane.slow)
            self.subscribe_bars(bar_type)

    def on_bar(self, bar):
        """Decide on one closed bar; the averages already include it."""
        lane = self.lanes[bar.bar_type]
        fast, slow = lane.fast.value, lane.slow.value
        lane.seen += 1
        if lane.seen > SLOW_BARS:
            if not lane.held:
                if lane.fast_before <= lane.slow_before and fast > slow:
                    self.send(lane, OrderSide.BUY)
            elif lane.fast_before >= lane.slow_before and fast < slow:
                self.send(lane, OrderSide.SELL)
        lane.fast_before, lane.slow_before = fast, slow

    def send(self, lane, side):
        """Send a market order for one unit."""
        self.submit_order(self.order_factory.market(lane.instrument_id, side, self.one))

    def on_order_filled(self, event):
        """Count executions and note the position."""
        self.fills += 1
        self.by_instrument[event.instrument_id].held = event.order_side == OrderSide.BUY


def instrument(symbol: str, tick: str) -> Equity:
    """An equity with the bench's tick and commission."""
    rate = Decimal(str(COMMISSION_RATE))
    return Equity(
        instrument_id=InstrumentId(Symbol(symbol), VENUE),
        raw_symbol=Symbol(symbol),
        currency=USD,
        price_precision=2,
        price_increment=Price.from_str(tick),
        lot_size=Quantity.from_int(1),
        maker_fee=rate,
        taker_fee=rate,
        ts_event=0,
        ts_init=0,
    )


def run(paths: list[Path], workload: str) -> Outcome:
    """Run all files in one account."""
    quiet = LoggingConfig(bypass_logging=True)
    engine = BacktestEngine(BacktestEngineConfig(trader_id=TraderId("BENCH-1"), logging=quiet))
    engine.add_venue(
        venue=VENUE,
        oms_type=OmsType.NETTING,
        account_type=AccountType.CASH,
        base_currency=USD,
        starting_balances=[Money(CASH, USD)],
    )
    step, tick = ("1-DAY", "0.01") if workload == "W0" else ("1-MINUTE", "0.25")
    bar_types, last_px, data = [], {}, []
    for path in paths:
        traded = instrument(path.stem, tick)
        engine.add_instrument(traded)
        bar_type = BarType.from_str(f"{traded.id}-{step}-LAST-EXTERNAL")
        frame = pd.read_parquet(path).set_index("ts").astype(float)
        data.extend(BarDataWrangler(bar_type, traded).process(frame))
        bar_types.append(bar_type)
        last_px[traded.id] = float(frame["close"].iloc[-1])
    # Sorted once here: engine.add_data sorts all there is each time it is called.
    data.sort(key=lambda bar: bar.ts_init)
    engine.add_data(data, sort=False)
    strategy = SmaCross(SmaCrossConfig(bar_types=tuple(bar_types)))
    engine.add_strategy(strategy)
    started = time.process_time()
    engine.run()
    loop_s = time.process_time() - started
    equity = float(engine.portfolio.account(VENUE).balance_total(USD).as_decimal())
    for position in engine.cache.positions_open():
        equity += float(position.signed_qty) * last_px[position.instrument_id]
    held = sum(1 for lane in strategy.lanes.values() if lane.held)
    return Outcome(loop_s, strategy.fills, (strategy.fills - held) // 2, equity, len(data))


if __name__ == "__main__":
    main("nautilus_trader", run)
