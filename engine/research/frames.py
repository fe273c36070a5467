"""What a run leaves: frames for people, from the journal's integers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from engine.analytics.notional import notional
from engine.domain.instruments import Instrument
from engine.domain.money import CASH_UNIT
from engine.domain.risk import (
    SPEC_OF,
    Bounds,
    CheckInputs,
    DenyCode,
    RiskLimits,
    bounds,
    check_of,
    symbol_bounds,
)

__all__ = ["fills_frame", "instances_frame", "orders_frame", "per", "verdicts_frame"]


def _scale(instruments: Sequence[Instrument], scales: Sequence[int]) -> pl.Expr:
    """Give each row the scale of its symbol. No join: a join would copy every other column."""
    if len(set(scales)) == 1:
        return pl.lit(scales[0], pl.Int64)
    symbols = [instrument.symbol for instrument in instruments]
    return pl.col("symbol").replace_strict(symbols, scales, return_dtype=pl.Int64)


def _px_unit(instruments: Sequence[Instrument]) -> pl.Expr:
    return _scale(instruments, [i.price_unit for i in instruments])


def _qty_unit(instruments: Sequence[Instrument]) -> pl.Expr:
    return _scale(instruments, [i.quantity_unit for i in instruments])


def per(units: pl.Expr, unit: pl.Expr | int) -> pl.Expr:
    """Divide, correctly rounded.

    polars divides by a scalar by multiplying with its reciprocal, which is off by a bit for many
    numbers, and a column that a join filled with one value counts as a scalar.
    """
    return units / (unit + 0 * units)


def fills_frame(
    fills: pl.DataFrame, orders: pl.DataFrame, instruments: Sequence[Instrument]
) -> pl.DataFrame:
    """Add to the journal's fills what people read: side, quantity, price and notional.

    Args:
        fills: one row per booked execution, integers in units.
        orders: one row per order, for the tags.
        instruments: scales.

    Returns:
        The rows in their order with ``side``, ``quantity`` and ``price`` (Float64), ``tag``, and
        ``notional`` (Int64 cash units, signed like ``signed_qty``, rounded half to even).
    """
    if orders["tag"].null_count() < len(orders):
        tags = orders.select("order_id", "tag")
        fills = fills.join(tags, on="order_id", how="left", maintain_order="left")
    else:
        fills = fills.with_columns(tag=pl.lit(None, pl.String))
    factors = _scale(instruments, [i.cash_scale()[0] for i in instruments])
    divisors = _scale(instruments, [i.cash_scale()[1] for i in instruments])
    scales = fills.select(factor=factors + 0 * pl.col("ts"), divisor=divisors + 0 * pl.col("ts"))
    columns = (fills["last_px"], fills["signed_qty"], scales["factor"], scales["divisor"])
    return fills.with_columns(
        pl.when(pl.col("signed_qty") > 0)
        .then(pl.lit("BUY"))
        .otherwise(pl.lit("SELL"))
        .alias("side"),
        per(pl.col("signed_qty").abs(), _qty_unit(instruments)).alias("quantity"),
        per(pl.col("last_px"), _px_unit(instruments)).alias("price"),
        pl.Series("notional", notional(*(column.to_numpy() for column in columns))),
    )


def orders_frame(
    orders: pl.DataFrame,
    verdicts: pl.DataFrame,
    fills: pl.DataFrame,
    replaced: pl.DataFrame,
    ends: pl.DataFrame,
    instruments: Sequence[Instrument],
) -> pl.DataFrame:
    """Join each order with what became of it.

    Returns:
        One row per order in the order of submission: the instruction in floats, ``status`` (its
        last, decision D7), ``filled_quantity``, ``average_price``, ``reason`` and ``ts_last``.
    """
    filled = fills.group_by("order_id").agg(
        pl.col("signed_qty").abs().sum().alias("cum_qty"),
        (pl.col("signed_qty").abs() * pl.col("last_px")).sum().alias("cum_value"),
        pl.col("ts").max().alias("fill_ts"),
    )
    # Orders and verdicts come in pairs, so the code needs no join.
    joined = orders.with_columns(verdicts["code"]).hstack(_aligned(orders, filled))
    joined = _with_last(joined, ends, ("status", "reason", "ts"))
    joined = _with_last(joined, replaced.drop("ts"), ("order_qty", "limit_px", "stop_px"))
    cum = pl.col("cum_qty").fill_null(0)
    status = (
        pl.when(pl.col("code").is_not_null())
        .then(pl.lit("DENIED"))
        .when(pl.col("status").is_not_null())
        .then(pl.col("status"))
        .when(cum >= pl.col("order_qty"))
        .then(pl.lit("FILLED"))
        .when(cum > 0)
        .then(pl.lit("PARTIALLY_FILLED"))
        .otherwise(pl.lit("ACCEPTED"))
    )
    px_unit, qty_unit = _px_unit(instruments), _qty_unit(instruments)
    return joined.select(
        "order_id",
        "strategy_id",
        "symbol",
        "side",
        "order_type",
        "time_in_force",
        per(pl.col("order_qty"), qty_unit).alias("quantity"),
        per(pl.col("limit_px"), px_unit).alias("limit_price"),
        per(pl.col("stop_px"), px_unit).alias("stop_price"),
        status.alias("status"),
        per(cum, qty_unit).alias("filled_quantity"),
        per(pl.col("cum_value") / pl.col("cum_qty"), px_unit).alias("average_price"),
        "ts_init",
        pl.max_horizontal("ts_init", "fill_ts", "ts").alias("ts_last"),
        pl.coalesce("code", "reason").alias("reason"),
        "reduce_only",
        "parent_id",
        "group_id",
        "tag",
        "confidence",
    )


def _aligned(orders: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Give each order its row of another frame; joined by id alone, so nothing else is copied."""
    ids = orders.select("order_id")
    return ids.join(rows, on="order_id", how="left", maintain_order="left").drop("order_id")


def _with_last(orders: pl.DataFrame, events: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Give each order some columns of its last event; its own stay where it had none."""
    if events.is_empty():
        missing = (name for name in names if name not in orders.columns)
        return orders.with_columns(
            pl.lit(None, events.schema[name]).alias(name) for name in missing
        )
    last = events.group_by("order_id", maintain_order=True).last()
    own = [name for name in names if name in orders.columns]
    joined = orders.hstack(_aligned(orders, last.rename({n: f"{n}_last" for n in own})))
    return joined.with_columns(pl.coalesce(f"{name}_last", name).alias(name) for name in own)


EXPLAINED_PER_CODE = 200
"""Denials of each code that get a sentence; the numbers of all of them are in the columns."""


SHOWN_AMOUNTS = (
    "order_value", "position_before", "position_after", "exposure_after", "equity",
    "day_start_equity",
)  # fmt: skip


def verdicts_frame(
    verdicts: pl.DataFrame,
    orders: pl.DataFrame,
    limits: RiskLimits,
    instruments: Sequence[Instrument],
) -> pl.DataFrame:
    """Turn verdicts into currency and explain the denials.

    Args:
        verdicts: one row per verdict, with every input of its checks as integers.
        orders: one row per order, in the same order.
        limits: the limits file.
        instruments: scales.

    Returns:
        One row per order: ``order_id, ts, approved, code``, the amounts the main checks looked at
        in currency (Float64; null where an earlier check had failed) and ``detail``, a sentence
        on the first denials of each code.
    """
    ranked = verdicts.with_columns(
        orders["symbol"], pl.int_range(pl.len()).over("code").alias("rank")
    )
    wanted = ranked.filter(pl.col("code").is_not_null() & (pl.col("rank") < EXPLAINED_PER_CODE))
    by_symbol = {instrument.symbol: instrument for instrument in instruments}
    bound = bounds(limits)
    details = [
        _detail(row, limits, bound, by_symbol[row["symbol"]])
        for row in wanted.iter_rows(named=True)
    ]
    explained = pl.DataFrame(
        {"order_id": wanted["order_id"], "detail": details},
        schema_overrides={"detail": pl.String},
    ).unique("order_id", keep="first", maintain_order=True)
    return verdicts.join(explained, on="order_id", how="left", maintain_order="left").select(
        "order_id",
        "ts",
        pl.col("code").is_null().alias("approved"),
        "code",
        *(per(pl.col(name), CASH_UNIT).alias(name) for name in SHOWN_AMOUNTS),
        (pl.col("exempt") > 0).alias("exempt"),
        "detail",
    )


def _detail(row: dict[str, Any], limits: RiskLimits, bound: Bounds, instrument: Instrument) -> str:
    code = DenyCode[str(row["code"])]
    if row["order_value"] is None:
        return code.meaning
    inputs = CheckInputs(**{name: row[name] for name in CheckInputs._fields})
    check = check_of(code, inputs, bound, symbol_bounds(limits, instrument), instrument)
    if check is None or check.limit is None or SPEC_OF[code].rule == "none":
        return code.meaning
    share = SPEC_OF[code].unit == "share"
    value, limit = _told_apart(check.value, check.limit, share=share)
    return f"{code.meaning} Measured {value}, limit {limit}."


def _told_apart(value: float, limit: float, *, share: bool) -> tuple[str, str]:
    """Write a measured value and its limit with as many digits as it takes to see a difference."""
    unit = "%" if share else "f"
    shown = bound = ""
    for digits in (2, 4, 8):
        shown, bound = (f"{x:,.{digits}{unit}}".replace("%", " %") for x in (value, limit))
        if shown != bound:
            break
    return shown, bound


def instances_frame(
    signals: pl.DataFrame, trades: pl.DataFrame, orders: pl.DataFrame, fills: pl.DataFrame
) -> pl.DataFrame:
    """List the instances of a run (decision D6): one row per emitted signal.

    A strategy that emits no signals has one per entry intent (:func:`_entry_intents`): its score
    is the order's confidence, else 1. The return is that of the round trip the instance opened
    (of a signal: the first of the strategy in the symbol whose entry order answers the same
    event); to the last price while it is open, null when it opened none.

    Args:
        signals: the journal's signals.
        trades: round trips.
        orders: the journal's orders.
        fills: the journal's fills.

    Returns:
        ``strategy_id, symbol, timestamp`` (UTC nanoseconds), ``signal, score, action,
        entry_price, exit_price, return, open, extra``.
    """
    outcome = ("entry_price", "exit_price", "return", "open")
    opened = trades.select("entry_order_id", *outcome).unique(
        "entry_order_id", keep="first", maintain_order=True
    )
    intents = _entry_intents(orders, trades, fills).join(
        opened, left_on="order_id", right_on="entry_order_id", how="left", maintain_order="left"
    )
    if not signals.is_empty():
        moment = ["strategy_id", "symbol", "ts"]
        entries = intents.filter(pl.col("entry_price").is_not_null()).select(*moment, *outcome)
        entries = entries.unique(moment, keep="first", maintain_order=True)
        intents = signals.join(entries, on=moment, how="left", maintain_order="left")
    return intents.select(
        "strategy_id",
        "symbol",
        pl.col("ts").alias("timestamp"),
        "signal",
        "score",
        "action",
        *outcome,
        "extra",
    )


def _entry_intents(orders: pl.DataFrame, trades: pl.DataFrame, fills: pl.DataFrame) -> pl.DataFrame:
    """List the orders that meant to open, enlarge or flip a position, as signals.

    What became of them does not matter: a denied order was an intent too. Reduce-only orders are
    none, nor orders that wait for one of the other side; an order that did open a round trip
    always is.
    """
    owner = ["strategy_id", "symbol"]
    held = fills.with_row_index("fills_before", offset=1).select(
        pl.col("fills_before").cast(pl.Int64), *owner, pl.col("position_after").alias("held")
    )
    parents = orders.select(pl.col("order_id").alias("parent_id"), pl.col("side").alias("of"))
    quantity, before = pl.col("order_qty"), pl.col("held").fill_null(0)
    grows = before.sign() * pl.when(pl.col("side") == "BUY").then(1).otherwise(-1) >= 0
    means_to = (
        ~pl.col("reduce_only")
        & (pl.col("of").is_null() | (pl.col("of") == pl.col("side")))
        & (grows | (quantity > before.abs()))
    )
    return (
        orders.join_asof(held, on="fills_before", by=owner, check_sortedness=False)
        .join(parents, on="parent_id", how="left", maintain_order="left")
        .filter(means_to | pl.col("order_id").is_in(trades["entry_order_id"].implode()))
        .select(
            "order_id",
            *owner,
            pl.col("ts_init").alias("ts"),
            pl.lit(True).alias("signal"),
            pl.col("confidence").fill_null(1.0).alias("score"),
            pl.col("side").alias("action"),
            pl.lit(None, dtype=pl.String).alias("extra"),
        )
    )
