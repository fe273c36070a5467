"""The charts of a report, as plain dictionaries in plotly's figure format.

Colours are written ``var(--name)`` and filled in by the page from its style sheet, so that a
chart follows the light or the dark theme. Numbers travel as base64 typed arrays.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from engine.analytics.notional import Bools, Floats, Ints

POINTS_MAX = 3_000
"""Points drawn per curve; a screen has fewer pixels than that."""

CANDLES_MAX = 2_500
PRICE_POINTS_ALL_MAX = 90_000
"""Points of all symbols' prices together, which bounds the size of the file."""

TRADES_DRAWN_MAX = 1_000
_DAY_MS = 86_400_000
_NS_PER_MS = 1_000_000

Figure = dict[str, Any]


def reduced(values: Floats, points_max: int) -> Ints:
    """Choose rows that draw the same picture: first, lowest, highest and last of each bucket.

    This is M4 (Jugel et al., 2014, "M4: A Visualization-Oriented Time Series Data Aggregation"):
    on a canvas as wide as there are buckets the drawn line is the one of all rows.

    Args:
        values: the curve, without NaN.
        points_max: rows to choose at most; at least 8.

    Returns:
        Sorted row numbers, the first and the last among them.

    >>> reduced(np.array([0.0, 9.0, 1.0, -5.0, 2.0, 3.0, 4.0, 5.0, 6.0]), 8).tolist()
    [0, 1, 3, 4, 8]
    """
    count = len(values)
    if count <= points_max:
        return np.arange(count)
    buckets = points_max // 4
    edges = np.linspace(0, count, buckets + 1).astype(np.int64)
    width = int(np.diff(edges).max())
    # A bucket one row short repeats its last row: argmin and argmax do not mind.
    rows = np.minimum(edges[:-1, None] + np.arange(width), edges[1:, None] - 1)
    block = values[rows]
    at = np.arange(buckets)
    chosen = (edges[:-1], rows[at, block.argmin(1)], rows[at, block.argmax(1)], edges[1:] - 1)
    return np.unique(np.concatenate(chosen))


def typed(values: Floats | Ints, dtype: str = "f8") -> dict[str, str]:
    """Encode numbers as plotly's typed array (``f8`` or ``f4``, little-endian, base64)."""
    raw = np.ascontiguousarray(values, dtype=f"<{dtype}").tobytes()
    return {"dtype": dtype, "bdata": base64.b64encode(raw).decode("ascii")}


def milliseconds(ts: Ints) -> Floats:
    """Turn UTC nanoseconds into the milliseconds plotly draws dates with.

    Daily and longer steps are drawn at the end of the day they close, not at the midnight after.
    """
    if len(ts) > 1 and float(np.median(np.diff(ts))) >= _DAY_MS * _NS_PER_MS:
        ts = ts - _NS_PER_MS
    exact: Floats = ts / _NS_PER_MS
    return exact


def equity_figure(equity: pl.DataFrame) -> Figure:
    """Draw equity against the benchmark, and the drawdown of both below."""
    x = milliseconds(equity["ts"].to_numpy())
    value, benchmark = equity["equity"].to_numpy(), equity["benchmark"].to_numpy()
    under = -100 * equity["drawdown"].to_numpy()
    peaks = np.maximum.accumulate(benchmark) if len(benchmark) else benchmark
    benchmark_under = 100 * (benchmark / peaks - 1)
    day = _hover_date(x)
    money, share = "%{y:,.2f}<extra>%{fullData.name}</extra>", "%{y:.2f} %<extra></extra>"
    return {
        "data": [
            _line(x, benchmark, "Buy and hold", "var(--muted-line)", money, width=1.2),
            _line(x, value, "Strategy", "var(--accent)", money, width=1.8),
            _line(x, benchmark_under, "Buy and hold", "var(--muted-line)", share, yaxis="y2")
            | {"showlegend": False, "hoverinfo": "skip", "hovertemplate": None},
            _line(x, under, "Drawdown", "var(--loss)", share, yaxis="y2")
            | {"fill": "tozeroy", "fillcolor": "var(--loss-soft)", "showlegend": False},
        ],
        "layout": {
            "hovermode": "x unified",
            "xaxis": {"type": "date", "anchor": "y2", "hoverformat": day},
            "yaxis": {"domain": [0.34, 1], "tickformat": "~s"},
            "yaxis2": {"domain": [0, 0.27], "ticksuffix": " %", "rangemode": "tozero"},
            "legend": {"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom"},
        },
    }


def price_figures(prices: Mapping[str, pl.DataFrame], trades: pl.DataFrame) -> dict[str, Figure]:
    """Draw each symbol's price with its trades; candles while they are few enough to see."""
    points = max(min(POINTS_MAX, PRICE_POINTS_ALL_MAX // max(len(prices), 1)), 200)
    by_symbol = {
        str(key[0]): part for key, part in trades.partition_by("symbol", as_dict=True).items()
    }
    return {
        symbol: _price_figure(frame, by_symbol.get(symbol), points)
        for symbol, frame in prices.items()
    }


def _price_figure(frame: pl.DataFrame, trades: pl.DataFrame | None, points: int) -> Figure:
    ts = frame["ts"].to_numpy()
    x: Floats = ts / _NS_PER_MS
    day = _hover_date(x)
    is_bars = "open" in frame.columns
    if is_bars and len(x) <= min(CANDLES_MAX, points):
        price: Figure = {
            "type": "candlestick",
            "name": "Price",
            "x": typed(x),
            **{name: typed(frame[name].to_numpy()) for name in ("open", "high", "low", "close")},
            # Hollow up, filled down, in grey: colour is left to the trades.
            "increasing": {
                "line": {"color": "var(--ink-faint)", "width": 1},
                "fillcolor": "var(--card)",
            },
            "decreasing": {
                "line": {"color": "var(--ink-faint)", "width": 1},
                "fillcolor": "var(--ink-faint)",
            },
            "showlegend": False,
        }
    else:
        name = "Close" if is_bars else "Price"
        hover = f"%{{y}}<extra>{name}</extra>"
        price = _line(x, frame["close"].to_numpy(), name, "var(--ink-soft)", hover, points)
        price["showlegend"] = False
    drawn = [] if trades is None else _trade_traces(trades, x[-1] if len(x) else 0.0)
    return {
        "data": [price, *drawn],
        "layout": {
            "hovermode": "closest",
            "xaxis": {"type": "date", "rangeslider": {"visible": False}, "hoverformat": day},
            "yaxis": {},
            "legend": {"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom"},
        },
        "note": _note(len(x) if is_bars else 0, 0 if trades is None else len(trades)),
    }


def _note(bars: int, trades: int) -> str:
    parts = []
    if bars > CANDLES_MAX:
        parts.append(f"{bars:,} bars drawn as a line of closes")
    if trades > TRADES_DRAWN_MAX:
        parts.append(f"the first {TRADES_DRAWN_MAX:,} of {trades:,} trades marked")
    return "; ".join(parts)


def _trade_traces(trades: pl.DataFrame, end_ms: float) -> list[Figure]:
    trades = trades.head(TRADES_DRAWN_MAX)
    entry_x = trades["entry_ts"].to_numpy() / _NS_PER_MS
    exit_x = trades["exit_ts"].cast(pl.Float64).to_numpy() / _NS_PER_MS
    exit_x = np.where(np.isnan(exit_x), np.maximum(end_ms, entry_x), exit_x)
    entry_y, exit_y = trades["entry_price"].to_numpy(), trades["exit_price"].to_numpy()
    is_gain = trades["pnl"].to_numpy() > 0
    is_long = (trades["side"] == "LONG").to_numpy()
    is_open = trades["open"].to_numpy()
    texts = _hover_texts(trades)
    traces = []
    for rows, color in ((is_gain, "var(--gain)"), (~is_gain, "var(--loss)")):
        if rows.any():
            traces.append(_links(entry_x[rows], entry_y[rows], exit_x[rows], exit_y[rows], color))
    kinds: list[tuple[str, Bools, Floats, Floats, str, str]] = [
        ("Long entry", is_long, entry_x, entry_y, "triangle-up", "var(--ink)"),
        ("Short entry", ~is_long, entry_x, entry_y, "triangle-down", "var(--ink)"),
        ("Exit with gain", is_gain & ~is_open, exit_x, exit_y, "circle", "var(--gain)"),
        ("Exit with loss", ~is_gain & ~is_open, exit_x, exit_y, "x", "var(--loss)"),
        ("Still open", is_open, exit_x, exit_y, "diamond-open", "var(--ink)"),
    ]
    for name, rows, x, y, shape, color in kinds:
        if rows.any():
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": name,
                    "x": typed(x[rows]),
                    "y": typed(y[rows]),
                    "text": [texts[i] for i in np.flatnonzero(rows).tolist()],
                    "hovertemplate": f"<b>{name}</b> at %{{y}}<br>%{{text}}<extra></extra>",
                    "marker": {
                        "symbol": shape,
                        "size": 9,
                        "color": color,
                        "line": {"width": 1, "color": "var(--card)"},
                    },
                }
            )
    return traces


def _hover_texts(trades: pl.DataFrame) -> list[str]:
    # plotly reads a small HTML in hover texts, so what the user named is escaped here too.
    return [
        f"{side.lower()} {quantity:,.10g}, P&amp;L {pnl:+,.2f}"
        + (f" ({gained:+.2%})" if gained is not None else "")
        + (f"<br>{html.escape(tag)}" if tag else "")
        for side, quantity, pnl, gained, tag in trades.select(
            "side", "quantity", "pnl", "return", "entry_tag"
        ).iter_rows()
    ]


def _links(x0: Floats, y0: Floats, x1: Floats, y1: Floats, color: str) -> Figure:
    # A dotted line from entry to exit of each trade; NaN lifts the pen.
    gap = np.full(len(x0), np.nan)
    return {
        "type": "scatter",
        "mode": "lines",
        "x": typed(np.stack((x0, x1, gap), axis=1).ravel()),
        "y": typed(np.stack((y0, y1, gap), axis=1).ravel()),
        "line": {"color": color, "width": 1.2, "dash": "dot"},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _line(
    x: Floats,
    y: Floats,
    name: str,
    color: str,
    hover: str,
    points: int = POINTS_MAX,
    *,
    width: float = 1.2,
    yaxis: str = "y",
) -> Figure:
    rows = reduced(y, points)
    return {
        "type": "scatter",
        "mode": "lines" if len(rows) > 1 else "markers",
        "name": name,
        "x": typed(x[rows]),
        "y": typed(y[rows]),
        "yaxis": yaxis,
        "line": {"color": color, "width": width},
        "marker": {"color": color},
        "hovertemplate": hover,
    }


def _hover_date(x: Floats) -> str:
    is_daily = len(x) > 1 and float(np.median(np.diff(x))) >= _DAY_MS
    return "%Y-%m-%d" if is_daily else "%Y-%m-%d %H:%M:%S"
