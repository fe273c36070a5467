"""Strategies that were approved elsewhere, as JSON on a topic (R83 to R86)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

import msgspec

from engine.domain.deliveries import RejectionCode
from engine.domain.executions import WireId
from engine.domain.market_wire import RejectedError, undecodable
from engine.domain.wire_time import read_time

__all__ = ["Approved", "read_approved"]

ID_MAX = 64
SYMBOLS_MAX = 1_000
CAPITAL_MAX = Decimal(10_000_000_000)


class _Risk(msgspec.Struct, frozen=True, kw_only=True):
    max_position_size: Decimal | None = None
    stop_loss_pct: Decimal | None = None
    max_daily_loss: Decimal | None = None


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    indicators: tuple[Literal["RSI", "MACD"], ...] = ()
    rsi_threshold: Decimal | None = None
    macd_signal: Literal["bullish"] | None = None


class _Config(msgspec.Struct, frozen=True, kw_only=True):
    name: str = ""
    type: str = ""
    symbols: tuple[str, ...]
    allocation: dict[str, Decimal]
    initial_capital: Decimal
    risk_params: _Risk = _Risk()
    entry_rules: _Entry | None = None


class _Message(msgspec.Struct, frozen=True, kw_only=True):
    type: Literal["strategy.approved"]
    strategy_id: str | int
    user_id: str | int
    timestamp: int | float | str
    config: msgspec.Raw


class _StrictRisk(_Risk, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class _StrictEntry(_Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class _StrictConfig(_Config, frozen=True, kw_only=True, forbid_unknown_fields=True):
    risk_params: _StrictRisk = _StrictRisk()
    entry_rules: _StrictEntry | None = None


class _StrictMessage(_Message, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


_DECODERS = {
    False: (msgspec.json.Decoder(_Message).decode, msgspec.json.Decoder(_Config).decode),
    True: (msgspec.json.Decoder(_StrictMessage).decode, msgspec.json.Decoder(_StrictConfig).decode),
}


class Approved(msgspec.Struct, frozen=True, kw_only=True):
    """A strategy that is to be executed.

    Attributes:
        strategy_id: its id, in the type it came in; likewise the next (decision D1).
        user_id: whose it is.
        ts_event: when it was approved, UTC nanoseconds.
        symbols: what it trades, in order.
        config: what it was approved with, as JSON without white space.
        parameters: the same as parameters of the strategy ``allocation``.
    """

    strategy_id: WireId
    user_id: WireId
    ts_event: int
    symbols: tuple[str, ...]
    config: str
    parameters: dict[str, Any]


def read_approved(content: bytes, *, refuse_unknown: bool) -> Approved:
    """Read one message.

    Args:
        content: the message.
        refuse_unknown: whether a field that nobody knows is refused.

    Raises:
        RejectedError: it cannot be used.
    """
    decode, decode_config = _DECODERS[refuse_unknown]
    try:
        message = decode(content)
        config = decode_config(message.config)
        # What nobody asked for is decoded too: all of it must be storable as it is kept.
        msgspec.json.decode(message.config)
        text = msgspec.json.format(message.config, indent=-1).decode()
    except (ValueError, RecursionError) as error:
        raise undecodable(error) from None
    if "\\u0000" in text:
        raise _shape("config holds a NUL character")
    return Approved(
        strategy_id=_id(message.strategy_id, "strategy_id"),
        user_id=_id(message.user_id, "user_id"),
        ts_event=_time(message.timestamp),
        symbols=_symbols(config),
        config=text,
        parameters=_parameters(config),
    )


def _shape(detail: str) -> RejectedError:
    return RejectedError(RejectionCode.WRONG_SHAPE, detail)


def _id(value: WireId, name: str) -> WireId:
    text = str(value)
    if not 0 < len(text) <= ID_MAX or not text.isprintable() or " " in text:
        raise _shape(f"{name} must be an integer or 1 to {ID_MAX} visible characters")
    return value


def _time(value: float | str) -> int:
    try:
        return read_time(value)
    except ValueError as error:
        raise RejectedError(RejectionCode.BAD_TIME, str(error)) from None


def _symbols(config: _Config) -> tuple[str, ...]:
    symbols = config.symbols
    if not 0 < len(symbols) <= SYMBOLS_MAX:
        raise _shape(f"config.symbols must name 1 to {SYMBOLS_MAX} symbols")
    if len(set(symbols)) != len(symbols):
        raise _shape("config.symbols names a symbol twice")
    if not all(symbol and symbol.isprintable() and len(symbol) <= ID_MAX for symbol in symbols):
        raise _shape("config.symbols holds what is no symbol")
    if config.allocation.keys() != set(symbols):
        raise _shape("config.allocation must give a share to each of config.symbols, and no other")
    return symbols


def _parameters(config: _Config) -> dict[str, Any]:
    allocation = {
        symbol: _share(config.allocation[symbol], f"config.allocation.{symbol}")
        for symbol in config.symbols
    }
    if sum(allocation.values()) > 1:
        raise RejectedError(RejectionCode.BAD_NUMBER, "config.allocation adds up to more than 1")
    capital = config.initial_capital
    if not capital.is_finite() or not 0 < capital <= CAPITAL_MAX:
        raise RejectedError(
            RejectionCode.BAD_NUMBER,
            f"config.initial_capital must be above 0, at most {CAPITAL_MAX}",
        )
    risk, given = config.risk_params, {}
    for name in ("max_position_size", "stop_loss_pct", "max_daily_loss"):
        value = getattr(risk, name)
        if value is not None:
            given[name] = float(_share(value, f"config.risk_params.{name}"))
    return {
        "allocation": {symbol: float(share) for symbol, share in allocation.items()},
        "initial_capital": float(capital),
        **given,
        **_entry(config.entry_rules),
    }


def _share(value: Decimal, name: str) -> Decimal:
    if not value.is_finite() or not 0 < value <= 1:
        raise RejectedError(RejectionCode.BAD_NUMBER, f"{name} must be above 0 and at most 1")
    return value


def _entry(rules: _Entry | None) -> dict[str, Any]:
    """Give the rules that a buy waits for (decision D20).

    A rule without the number or word that it needs is refused, and so is one of those without its
    indicator: to guess would be to trade otherwise than was approved.
    """
    if rules is None:
        return {}
    given: dict[str, Any] = {}
    if ("RSI" in rules.indicators) != (rules.rsi_threshold is not None):
        raise _shape("config.entry_rules: RSI in indicators goes with rsi_threshold")
    if ("MACD" in rules.indicators) != (rules.macd_signal is not None):
        raise _shape("config.entry_rules: MACD in indicators goes with macd_signal")
    if rules.rsi_threshold is not None:
        threshold = rules.rsi_threshold
        if not threshold.is_finite() or not 0 < threshold <= 100:
            raise RejectedError(
                RejectionCode.BAD_NUMBER,
                "config.entry_rules.rsi_threshold must be above 0 and at most 100",
            )
        given["rsi_threshold"] = float(threshold)
    if rules.macd_signal is not None:
        given["macd_bullish"] = True
    return given
