"""Round trips: fills folded into trades from flat to flat.

A trade of a (strategy, symbol) begins with the fill that leaves zero and ends with the fill that
returns to it; what is added or taken off in between belongs to it. A fill that flips the position
is split by quantity: the part that closes ends one trade, the rest begins the next, and
commission and slippage are divided in the same proportion (the rounding unit goes to the rest, so
nothing is lost). Entry and exit prices are quantity-weighted averages of the fills that enlarged
and that reduced the position. Over a whole trip FIFO and average cost give the same profit; it is
the cash the trip brought in, so the sum over all trades is the change of equity, exactly.

An open trade is valued at the symbol's last price and flagged ``open``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from engine.analytics.equity import Mark
from engine.analytics.notional import Bools, Floats, Ints, cash_scales, notional
from engine.domain.instruments import Instrument
from engine.domain.money import CASH_UNIT

TRADES_SCHEMA = {
    "strategy_id": pl.String,
    "symbol": pl.String,
    "side": pl.String,
    "open": pl.Boolean,
    "entry_ts": pl.Int64,
    "exit_ts": pl.Int64,
    "entry_price": pl.Float64,
    "exit_price": pl.Float64,
    "quantity": pl.Float64,
    "pnl": pl.Float64,
    "return": pl.Float64,
    "commission": pl.Float64,
    "slippage": pl.Float64,
    "duration_ns": pl.Int64,
    "bars": pl.Int64,
    "fills": pl.Int64,
    "entry_order_id": pl.String,
    "exit_order_id": pl.String,
    "entry_tag": pl.String,
    "exit_tag": pl.String,
}


def round_trips(
    fills: pl.DataFrame, instruments: Sequence[Instrument], marks: Mapping[str, Mark]
) -> pl.DataFrame:
    """Fold fills into trades.

    Args:
        fills: executions in the order they happened, with ``strategy_id``, ``symbol``,
            ``order_id``, ``tag``, ``ts``, ``datum_seq`` and, in units, ``signed_qty``,
            ``last_px``, ``notional``, ``commission`` and ``slippage``.
        instruments: at least those that the fills name.
        marks: last price of each symbol, as :attr:`EquityBuilder.marks` gives them; a symbol
            without one is valued at its last fill.

    Returns:
        One row per trade, in the order of entry: times in UTC nanoseconds (``exit_ts`` is null
        while ``open``, and ``exit_price`` then includes the last price); prices; ``quantity``, the
        largest held, unsigned; ``pnl`` after commission, ``commission`` and ``slippage`` (a part
        of the prices already) in currency units; ``return``, the pnl over the entry notional;
        ``duration_ns`` and ``bars`` (datums from entry to exit, null for a real venue's reports)
        up to the last price while open; ``fills``, the executions that took part.
    """
    if fills.is_empty():
        return pl.DataFrame(schema=TRADES_SCHEMA)
    legs = _legs(fills, instruments)
    starts = np.flatnonzero(legs.before == 0)
    ends = np.append(starts[1:], len(legs.before)) - 1
    is_open = legs.after[ends] != 0
    marked = _marked(legs, ends, is_open, instruments, marks)
    enlarges = np.abs(legs.after) > np.abs(legs.before)

    def total(column: Ints) -> Ints:
        summed: Ints = np.add.reduceat(column, starts)
        return summed

    bought = total(np.where(enlarges, legs.notional, 0))
    sold = total(np.where(enlarges, 0, legs.notional)) - marked.notional
    # What is still open counts as given back at its mark, so as much went out as came in.
    size = total(np.where(enlarges, np.abs(legs.quantity), 0))
    commission = total(legs.commission)
    pnl = -(bought + sold) - commission
    unit = np.array([i.quantity_unit for i in instruments])[legs.series[ends]]
    money = size / unit * np.array([i.multiplier for i in instruments])[legs.series[ends]]
    exit_ts = np.where(is_open, marked.ts, legs.ts[ends])
    first, last = fills[legs.row[starts]], fills[legs.row[ends]]
    frame = pl.DataFrame(
        {
            "strategy_id": first["strategy_id"],
            "symbol": first["symbol"],
            "side": np.where(legs.after[starts] > 0, "LONG", "SHORT"),
            "open": is_open,
            "entry_ts": legs.ts[starts],
            "exit_ts": exit_ts,
            "entry_price": _price(bought, money),
            "exit_price": _price(sold, money),
            "quantity": np.maximum.reduceat(np.abs(legs.after), starts) / unit,
            "pnl": pnl / CASH_UNIT,
            "return": pl.Series(pnl) / pl.Series(np.abs(bought)),
            "commission": commission / CASH_UNIT,
            "slippage": total(legs.slippage) / CASH_UNIT,
            "duration_ns": exit_ts - legs.ts[starts],
            "bars": marked.seq - legs.seq[starts],
            "fills": ends - starts + 1,
            "entry_order_id": first["order_id"],
            "exit_order_id": last["order_id"],
            "entry_tag": first["tag"],
            "exit_tag": last["tag"],
        },
        schema_overrides=TRADES_SCHEMA,
    )
    known = pl.Series((legs.seq[starts] >= 0) & (marked.seq >= 0))
    kept = {"bars": known, "return": pl.Series(bought != 0)}
    kept |= dict.fromkeys(("exit_ts", "exit_order_id", "exit_tag"), pl.Series(~is_open))
    frame = frame.with_columns(
        pl.when(rows).then(pl.col(name)).alias(name) for name, rows in kept.items()
    )
    return frame[np.argsort(legs.row[starts])]


class _Legs(NamedTuple):
    # Fills by (strategy, symbol), in time, those that flip split in two; units throughout.
    row: Ints
    series: Ints
    ts: Ints
    seq: Ints
    before: Ints
    after: Ints
    quantity: Ints
    notional: Ints
    commission: Ints
    slippage: Ints


class _Marked(NamedTuple):
    # Per trade: value of what is still held, and the datum that ended or valued it.
    notional: Ints
    ts: Ints
    seq: Ints


def _legs(fills: pl.DataFrame, instruments: Sequence[Instrument]) -> _Legs:
    index = {instrument.symbol: i for i, instrument in enumerate(instruments)}
    series = fills["symbol"].replace_strict(index, return_dtype=pl.Int64).to_numpy()
    strategy = fills["strategy_id"].rank("dense").cast(pl.Int64).to_numpy()
    owner = strategy * len(instruments) + series
    row = np.argsort(owner, kind="stable")
    quantity = fills["signed_qty"].to_numpy()[row]
    held = np.cumsum(quantity)
    fresh = np.flatnonzero(np.diff(owner[row], prepend=-1))
    elsewhere = np.repeat(held[fresh] - quantity[fresh], np.diff(np.append(fresh, len(row))))
    after = held - elsewhere
    before = after - quantity
    flips = (np.sign(before) * np.sign(after)) < 0
    # A flip becomes two legs: the first closes, the second opens.
    leg = np.repeat(np.arange(len(row)), 1 + flips)
    closes = np.zeros(len(leg), dtype=np.bool_)
    closes[:-1] = leg[:-1] == leg[1:]
    opens = np.zeros(len(leg), dtype=np.bool_)
    opens[1:] = closes[:-1]
    row, before, after = row[leg], before[leg], after[leg]
    whole = quantity[leg]
    after[closes] = 0
    before[opens] = 0
    quantity = after - before
    series = series[row]
    px = fills["last_px"].to_numpy()[row]
    factor, divisor = cash_scales(instruments)
    closing = notional(px, quantity, factor[series], divisor[series])
    share = quantity / whole
    return _Legs(
        row=row,
        series=series,
        ts=fills["ts"].to_numpy()[row],
        seq=fills["datum_seq"].to_numpy()[row],
        before=before,
        after=after,
        quantity=quantity,
        notional=_split(fills["notional"].to_numpy()[row], closing, closes, opens),
        commission=_split_by(fills["commission"].to_numpy()[row], share, closes, opens),
        slippage=_split_by(fills["slippage"].to_numpy()[row], share, closes, opens),
    )


def _split(whole: Ints, part: Ints, closes: Bools, opens: Bools) -> Ints:
    # The closing leg takes its part, the opening leg the rest, every other leg the whole.
    divided = whole.copy()
    divided[closes] = part[closes]
    divided[opens] -= part[closes]
    return divided


def _split_by(whole: Ints, share: Floats, closes: Bools, opens: Bools) -> Ints:
    return _split(whole, np.rint(whole * share).astype(np.int64), closes, opens)


def _marked(
    legs: _Legs,
    ends: Ints,
    is_open: Bools,
    instruments: Sequence[Instrument],
    marks: Mapping[str, Mark],
) -> _Marked:
    held, ts, seq = np.zeros(len(ends), dtype=np.int64), legs.ts[ends], legs.seq[ends]
    for trade in np.flatnonzero(is_open).tolist():
        end = int(ends[trade])
        instrument = instruments[int(legs.series[end])]
        mark = marks.get(instrument.symbol)
        quantity = int(legs.after[end])
        if mark is None:
            held[trade] = quantity * int(legs.notional[end]) // int(legs.quantity[end])
            continue
        held[trade] = instrument.notional(mark.px, quantity)
        ts[trade], seq[trade] = max(mark.ts, int(ts[trade])), mark.seq
    return _Marked(held, ts, seq)


def _price(value: Ints, size: Floats) -> Floats:
    # Average price of a notional in cash units over a quantity times the multiplier.
    price: Floats = np.abs(value) / CASH_UNIT / size
    return price
