"""hftbacktest on the bench rule: bars turned into order-book events, strategy compiled by numba.

It knows no bars. Each becomes four events: at its open, an empty book, a best bid one book tick
(2**-12) below the open price and a best ask at it; near its end, a trade at the close. The
strategy wakes after that trade, and its market order reaches the book just after the next open.
Selling at the bid costs one book tick per exit against the other peers. The first, short run
compiles; it counts in the whole process, and ``loop_s`` is the second.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
from hftbacktest import (
    BUY_EVENT,
    DEPTH_CLEAR_EVENT,
    DEPTH_EVENT,
    EXCH_EVENT,
    GTC,
    LOCAL_EVENT,
    MARKET,
    SELL_EVENT,
    TRADE_EVENT,
    BacktestAsset,
    HashMapMarketDepthBacktest,
    event_dtype,
)
from numba import njit
from row import CASH, COMMISSION_RATE, FAST_BARS, SLOW_BARS, Outcome, main

BOOK_TICK = 2.0**-12
BAR_NS = 60_000_000_000
BEFORE_END_NS = 1_000
WAKE_NS = BAR_NS - BEFORE_END_NS // 2
LATENCY_NS = BEFORE_END_NS
WARM_UP_BARS = 64
BOTH = EXCH_EVENT | LOCAL_EVENT


def to_events(opens, closes):
    """Four events per bar, in order: clear the book, bid, ask at the open; trade at the close."""
    count = len(opens)
    events = np.zeros((count, 4), dtype=event_dtype)
    start = np.arange(1, count + 1, dtype=np.int64) * BAR_NS
    kinds = (
        # Without a side it drops the whole book at once; with one it walks it tick by tick.
        DEPTH_CLEAR_EVENT,
        DEPTH_EVENT | BUY_EVENT,
        DEPTH_EVENT | SELL_EVENT,
        TRADE_EVENT | BUY_EVENT,
    )
    prices = (np.zeros(count), opens - BOOK_TICK, opens, closes)
    for at, (kind, px) in enumerate(zip(kinds, prices, strict=True)):
        events["ev"][:, at] = kind | BOTH
        events["px"][:, at] = px
        events["exch_ts"][:, at] = start
    events["exch_ts"][:, 3] += BAR_NS - BEFORE_END_NS
    events["local_ts"] = events["exch_ts"]
    events["qty"][:, 1:] = 1_000_000.0
    return events.reshape(-1)


@njit
def trade(hbt, bars, fast_bars, slow_bars):
    """Long one unit from a cross up to a cross down; returns the count of orders sent."""
    window = np.zeros(slow_bars)
    fast_sum = slow_sum = fast_before = slow_before = 0.0
    sent = 0
    held = False
    hbt.elapse(WAKE_NS)
    for seen in range(bars):
        trades = hbt.last_trades(0)
        close = trades[len(trades) - 1].px
        hbt.clear_last_trades(0)
        fast_sum += close - window[(seen - fast_bars) % slow_bars]
        slow_sum += close - window[seen % slow_bars]
        window[seen % slow_bars] = close
        fast, slow = fast_sum / fast_bars, slow_sum / slow_bars
        # After the last bar the book stays as it was: there is no next open to fill at.
        if slow_bars <= seen < bars - 1:
            if not held:
                if fast_before <= slow_before and fast > slow:
                    hbt.submit_buy_order(0, sent, close, 1.0, GTC, MARKET, False)
                    sent += 1
                    held = True
            elif fast_before >= slow_before and fast < slow:
                hbt.submit_sell_order(0, sent, close, 1.0, GTC, MARKET, False)
                sent += 1
                held = False
        fast_before, slow_before = fast, slow
        hbt.elapse(BAR_NS)
        hbt.clear_inactive_orders(0)
    return sent


def replay(opens, closes):
    """Run one symbol; returns fills, position, gain at the last close and CPU seconds."""
    # hftbacktest reads the array through a bare pointer: it must outlive the run.
    events = to_events(opens, closes)
    asset = (
        BacktestAsset()
        .data(events)
        .linear_asset(1.0)
        .constant_order_latency(LATENCY_NS, LATENCY_NS)
        .risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(COMMISSION_RATE, COMMISSION_RATE)
        .tick_size(BOOK_TICK)
        .lot_size(1.0)
        .last_trades_capacity(16)
    )
    hbt = HashMapMarketDepthBacktest([asset])
    started = time.process_time()
    trade(hbt, len(opens), FAST_BARS, SLOW_BARS)
    loop_s = time.process_time() - started
    state = hbt.state_values(0)
    gain = state.balance - state.fee + state.position * closes[-1]
    fills, position = int(state.num_trades), int(state.position)
    hbt.close()
    del events
    return fills, position, float(gain), loop_s


def run(paths: list[Path], workload: str) -> Outcome:
    """Run every file on its own and add the results up."""
    loop_s, fills, trades, gain, bars = 0.0, 0, 0, 0.0, 0
    for index, path in enumerate(paths):
        frame = pd.read_parquet(path, columns=["open", "close"])
        opens, closes = frame["open"].to_numpy(), frame["close"].to_numpy()
        if index == 0:
            replay(opens[:WARM_UP_BARS], closes[:WARM_UP_BARS])
        made, position, earned, spent = replay(opens, closes)
        loop_s += spent
        fills += made
        trades += (made - position) // 2
        gain += earned
        bars += len(opens)
    return Outcome(loop_s, fills, trades, CASH + gain, bars)


if __name__ == "__main__":
    main("hftbacktest", run)
