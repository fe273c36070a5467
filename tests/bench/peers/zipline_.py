"""zipline-reloaded on the bench rule: data in memory behind its own portal, one event per bar.

Minute bars run on the 24/7 calendar, W0 in daily mode on the New York calendar. zipline fills an
order on the next bar at that bar's close; a slippage model of eight lines makes it the open, as
its users do. The strategy keeps running sums, because ``data.history`` on every bar is far slower.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import sqlalchemy
from exchange_calendars import get_calendar
from row import CASH, COMMISSION_RATE, FAST_BARS, SLOW_BARS, Outcome, main
from zipline.algorithm import TradingAlgorithm
from zipline.assets import AssetDBWriter, AssetFinder
from zipline.data.bar_reader import NoDataOnDate
from zipline.data.data_portal import DataPortal
from zipline.data.session_bars import SessionBarReader
from zipline.finance.commission import PerDollar
from zipline.finance.slippage import SlippageModel
from zipline.finance.trading import SimulationParameters

FIELDS = ("open", "high", "low", "close", "volume")
MINUTE_NS = 60_000_000_000


class NextOpen(SlippageModel):
    """Fill whole orders at the open of the bar after the one that sent them."""

    def process_order(self, data, order):
        """Return the price and quantity of the fill."""
        return data.current(order.asset, "open"), order.open_amount


class MemoryReader(SessionBarReader):
    """Bars of equal-length series, all starting together, served from arrays in memory."""

    def __init__(self, frames, calendar, sessions, minute):
        """Keep columns as lists of Python floats, which are the fastest to index."""
        self._columns = [{name: frame[name].tolist() for name in FIELDS} for frame in frames]
        self._index = frames[0].index
        self._calendar, self._sessions, self._minute = calendar, sessions, minute
        self._first_ns = self._index[0].value
        self._count = len(self._index)
        self._row_by_ns = {} if minute else {ts.value: row for row, ts in enumerate(self._index)}

    data_frequency = property(lambda self: "minute" if self._minute else "daily")
    trading_calendar = property(lambda self: self._calendar)
    sessions = property(lambda self: self._sessions)
    first_trading_day = property(lambda self: self._sessions[0])

    @property
    def last_available_dt(self):
        """The last minute of the last session, or the last session."""
        return (
            self._calendar.session_last_minute(self._sessions[-1])
            if self._minute
            else (self._sessions[-1])
        )

    def currency_codes(self, sids):
        """All in dollars."""
        return np.array(["USD"] * len(sids), dtype=object)

    def get_value(self, sid, dt, field):
        """One value; NaN (volume 0) after the last bar."""
        if self._minute:
            row = (dt.value - self._first_ns) // MINUTE_NS
        else:
            row = self._row_by_ns.get(dt.value, self._count)
        if 0 <= row < self._count:
            return self._columns[sid][field][row]
        if not self._minute:
            raise NoDataOnDate(dt)
        return 0 if field == "volume" else np.nan

    def get_last_traded_dt(self, asset, dt):
        """The latest bar at or before ``dt``."""
        stamps = self._index if dt.tzinfo is None else self._index.tz_localize("UTC")
        row = stamps.searchsorted(dt, side="right") - 1
        return stamps[row] if row >= 0 else pd.NaT

    def load_raw_arrays(self, columns, start_date, end_date, assets):
        """Windows of columns, one array of shape (bars, assets) for each."""
        first, last = self._index.searchsorted([start_date, end_date])
        return [
            np.array([self._columns[sid][name][first : last + 1] for sid in assets]).T
            for name in columns
        ]


class Lane:
    """One symbol's window, running sums, averages of the bar before, and whether it is held."""

    __slots__ = ("asset", "closes", "fast", "fast_sum", "held", "slow", "slow_sum")

    def __init__(self, asset):
        """Start empty."""
        self.asset = asset
        self.closes = []
        self.fast_sum = self.slow_sum = self.fast = self.slow = 0.0
        self.held = False


def initialize(context):
    """Set fills, commission and one lane for each symbol."""
    context.set_slippage(us_equities=NextOpen())
    context.set_commission(us_equities=PerDollar(cost=COMMISSION_RATE))
    finder = context.asset_finder
    context.lanes = [Lane(asset) for asset in finder.retrieve_all(sorted(finder.sids))]


def handle_data(context, data):
    """Decide on one closed bar of every symbol."""
    for lane in context.lanes:
        close = data.current(lane.asset, "close")
        if close != close:  # NaN: the minutes of the last session after the last bar
            continue
        closes = lane.closes
        lane.fast_sum += close
        lane.slow_sum += close
        if len(closes) >= FAST_BARS:
            lane.fast_sum -= closes[-FAST_BARS]
        seen = len(closes)
        closes.append(close)
        if seen >= SLOW_BARS:
            lane.slow_sum -= closes[0]
            del closes[0]
        fast, slow = lane.fast_sum / FAST_BARS, lane.slow_sum / SLOW_BARS
        if seen >= SLOW_BARS:
            if not lane.held:
                if lane.fast <= lane.slow and fast > slow:
                    context.order(lane.asset, 1)
                    lane.held = True
            elif lane.fast >= lane.slow and fast < slow:
                context.order(lane.asset, -1)
                lane.held = False
        lane.fast, lane.slow = fast, slow


def asset_finder(symbols, sessions):
    """An in-memory asset database with one equity for each symbol."""
    engine = sqlalchemy.create_engine(
        "sqlite://", poolclass=sqlalchemy.pool.StaticPool, connect_args={"check_same_thread": False}
    )
    equities = pd.DataFrame(
        {
            "symbol": symbols,
            "asset_name": symbols,
            "start_date": sessions[0],
            "end_date": sessions[-1],
            "exchange": "BENCH",
        },
        index=range(len(symbols)),
    )
    exchanges = pd.DataFrame(
        {"exchange": ["BENCH"], "canonical_name": ["BENCH"], "country_code": ["US"]}
    )
    AssetDBWriter(engine).write(equities=equities, exchanges=exchanges)
    return AssetFinder(engine)


def run(paths: list[Path], workload: str) -> Outcome:
    """Run all files in one account."""
    warnings.simplefilter("ignore")
    minute = workload != "W0"
    frames = [pd.read_parquet(path).set_index("ts").tz_localize(None) for path in paths]
    first_session = frames[0].index[0].normalize()
    last_session = frames[0].index[-1].normalize()
    if minute:
        # zipline labels a minute by its end; with labels by the start its clock would give the
        # midnight bar twice, as the last of one session and the first of the next.
        for frame in frames:
            frame.index = frame.index + pd.Timedelta(minutes=1)
    calendar = get_calendar(
        "24/7" if minute else "XNYS",
        start=first_session - pd.Timedelta(days=30),
        end=last_session + pd.Timedelta(days=30),
        side="right",
    )
    sessions = calendar.sessions_in_range(first_session, last_session)
    reader = MemoryReader(frames, calendar, sessions, minute)
    readers = {"equity_minute_reader" if minute else "equity_daily_reader": reader}
    finder = asset_finder([path.stem for path in paths], sessions)
    algorithm = TradingAlgorithm(
        sim_params=SimulationParameters(
            start_session=sessions[0],
            end_session=sessions[-1],
            trading_calendar=calendar,
            capital_base=CASH,
            emission_rate="daily",
            data_frequency="minute" if minute else "daily",
        ),
        data_portal=DataPortal(finder, calendar, first_trading_day=sessions[0], **readers),
        initialize=initialize,
        handle_data=handle_data,
        benchmark_returns=pd.Series(0.0, index=sessions),
    )
    started = time.process_time()
    result = algorithm.run()
    loop_s = time.process_time() - started
    amounts = [fill["amount"] for day in result["transactions"] for fill in day]
    return Outcome(
        loop_s,
        len(amounts),
        sum(1 for amount in amounts if amount < 0),
        float(result["portfolio_value"].iloc[-1]),
        sum(len(frame) for frame in frames),
    )


if __name__ == "__main__":
    main("zipline-reloaded", run)
