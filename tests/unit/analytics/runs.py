"""Small runs for the analytics tests: bars and fills written by hand, and a slow exact oracle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import polars as pl

from engine.domain.instruments import Instrument
from engine.domain.money import CASH_UNIT

DAY_NS = 86_400_000_000_000
MONDAY_NS = 1_704_067_200_000_000_000
"""2024-01-01T00:00Z."""

FILL_SCHEMA = {
    "order_id": pl.String,
    "exec_id": pl.String,
    "strategy_id": pl.String,
    "symbol": pl.String,
    "side": pl.String,
    "quantity": pl.Float64,
    "price": pl.Float64,
    "signed_qty": pl.Int64,
    "last_px": pl.Int64,
    "commission": pl.Int64,
    "slippage": pl.Int64,
    "liquidity": pl.String,
    "ts": pl.Int64,
    "priced_by": pl.String,
    "datum_seq": pl.Int64,
    "datum_ts": pl.Int64,
    "realized": pl.Int64,
    "position_after": pl.Int64,
    "cash_after": pl.Int64,
    "notional": pl.Int64,
    "tag": pl.String,
}


@dataclass(frozen=True, slots=True)
class BarRow:
    series: int
    seq: int
    ts_open: int
    ts_event: int
    open_px: int
    close_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FillRow:
    symbol: str
    qty: int
    px: int
    seq: int
    ts: int
    strategy: str = "s"
    commission: int = 0
    slippage: int = 0
    tag: str | None = None


@dataclass(slots=True)
class Run:
    instruments: tuple[Instrument, ...]
    bars: list[BarRow]
    fills: list[FillRow] = field(default_factory=list)
    initial_cash: int = 1_000 * CASH_UNIT

    def chunks(self, rows: int = 3) -> Iterator[pl.DataFrame]:
        ordered = sorted(self.bars, key=lambda bar: (bar.ts_event, bar.series))
        for at in range(0, len(ordered), rows):
            part = ordered[at : at + rows]
            yield pl.DataFrame(
                {
                    "series": [bar.series for bar in part],
                    "seq": [bar.seq for bar in part],
                    "ts_open": [bar.ts_open for bar in part],
                    "ts_event": [bar.ts_event for bar in part],
                    "open": [bar.open_px for bar in part],
                    "high": [max(bar.open_px, bar.close_px) for bar in part],
                    "low": [min(bar.open_px, bar.close_px) for bar in part],
                    "close": [bar.close_px for bar in part],
                    "volume": [1 for _ in part],
                },
                schema_overrides={"series": pl.UInt16},
            )

    def fill_frame(self) -> pl.DataFrame:
        by_symbol = {instrument.symbol: instrument for instrument in self.instruments}
        held: dict[tuple[str, str], int] = {}
        cash = self.initial_cash
        rows = []
        for i, fill in enumerate(self.fills):
            instrument = by_symbol[fill.symbol]
            worth = instrument.notional(fill.px, fill.qty)
            key = fill.strategy, fill.symbol
            held[key] = held.get(key, 0) + fill.qty
            cash -= worth + fill.commission
            rows.append(
                {
                    "order_id": f"o{i}",
                    "exec_id": f"e{i}",
                    "strategy_id": fill.strategy,
                    "symbol": fill.symbol,
                    "side": "BUY" if fill.qty > 0 else "SELL",
                    "quantity": abs(fill.qty) / instrument.quantity_unit,
                    "price": fill.px / instrument.price_unit,
                    "signed_qty": fill.qty,
                    "last_px": fill.px,
                    "commission": fill.commission,
                    "slippage": fill.slippage,
                    "liquidity": "TAKER",
                    "ts": fill.ts,
                    "priced_by": "bar.open" if fill.seq >= 0 else "report",
                    "datum_seq": fill.seq,
                    "datum_ts": fill.ts,
                    "realized": 0,
                    "position_after": held[key],
                    "cash_after": cash,
                    "notional": worth,
                    "tag": fill.tag,
                }
            )
        return pl.DataFrame(rows, schema=FILL_SCHEMA)


def daily_bars(
    closes: Sequence[int], *, series: int = 0, first_day: int = 0, opens: Sequence[int] = ()
) -> list[BarRow]:
    """One bar a day from 2024-01-01 on; a bar opens at the close before unless told otherwise."""
    bars = []
    for i, close in enumerate(closes):
        ts_open = MONDAY_NS + (first_day + i) * DAY_NS
        open_px = opens[i] if opens else closes[max(i - 1, 0)]
        bars.append(BarRow(series, i, ts_open, ts_open + DAY_NS, open_px, close))
    return bars


def slow_curve(run: Run) -> list[tuple[int, Fraction, Fraction, Fraction]]:
    """(ts, equity, gross exposure, benchmark) per timestamp, in currency, one row at a time."""
    count = len(run.instruments)
    index = {instrument.symbol: i for i, instrument in enumerate(run.instruments)}
    share = Fraction(run.initial_cash, CASH_UNIT * count)
    cash, held, px = run.initial_cash, [0] * count, [0] * count
    first: dict[int, int] = {}
    rows: dict[int, tuple[int, Fraction, Fraction, Fraction]] = {}
    for bar in sorted(run.bars, key=lambda bar: (bar.ts_event, bar.series)):
        first.setdefault(bar.series, bar.open_px)
        px[bar.series] = bar.close_px
        for fill in run.fills:
            if index[fill.symbol] == bar.series and fill.seq == bar.seq:
                worth = run.instruments[bar.series].notional(fill.px, fill.qty)
                cash -= worth + fill.commission
                held[bar.series] += fill.qty
        values = [run.instruments[i].notional(px[i], held[i]) for i in range(count)]
        benchmark = sum(
            (share * px[i] / first[i] if i in first else share for i in range(count)), Fraction(0)
        )
        rows[bar.ts_event] = (
            bar.ts_event,
            Fraction(cash + sum(values), CASH_UNIT),
            Fraction(sum(map(abs, values)), CASH_UNIT),
            benchmark,
        )
    return [rows[ts] for ts in sorted(rows)]
