"""What Alpaca's API says, as structs: decimals and times stay the text they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from engine.domain import wire_time
from engine.link.wire import units

__all__ = [
    "FINAL",
    "QTY_DECIMALS",
    "Account",
    "FillSaid",
    "MarketClock",
    "Named",
    "OrderSaid",
    "Refusal",
    "base_id",
    "before",
    "decode",
    "items",
    "plain_symbol",
    "quantity",
    "refusal_of",
    "time_ns",
]

QTY_DECIMALS = 9
"""Digits after the point of a quantity at Alpaca."""
FINAL = frozenset({"filled", "canceled", "expired", "rejected"})
"""Statuses that nothing follows, but for a late execution."""
_WORDS_MAX = 1_000
_SECOND = 10**9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Account(msgspec.Struct, frozen=True):
    """``GET /v2/account``, the part that shows that it is one."""

    id: str
    status: str


class MarketClock(msgspec.Struct, frozen=True):
    """``GET /v2/clock``: the broker's own time."""

    timestamp: str


class OrderSaid(msgspec.Struct, frozen=True):
    """An order as ``/v2/orders`` has it; one of several legs has no symbol of its own."""

    id: str
    client_order_id: str
    status: str
    symbol: str | None = None
    side: str | None = None
    qty: str | None = None
    filled_qty: str = "0"
    limit_price: str | None = None
    stop_price: str | None = None
    created_at: str | None = None
    submitted_at: str | None = None
    canceled_at: str | None = None
    expired_at: str | None = None
    failed_at: str | None = None
    replaced_by: str | None = None
    replaces: str | None = None


class FillSaid(msgspec.Struct, frozen=True):
    """An execution as ``/v2/account/activities/FILL`` has it."""

    id: str
    order_id: str
    symbol: str
    side: str
    price: str
    qty: str
    transaction_time: str


class Named(msgspec.Struct, frozen=True):
    """Whatever has an id."""

    id: str


class Refusal(msgspec.Struct, frozen=True):
    """What Alpaca says when it does not do what it was asked."""

    code: int
    message: str


_REFUSAL = msgspec.json.Decoder(Refusal)
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])


def items(body: bytes) -> list[msgspec.Raw]:
    """Split a list; what is in it is read one by one, so that one bad item spoils no other.

    Raises:
        msgspec.DecodeError: it is no list.
    """
    return _ITEMS.decode(body)


def refusal_of(body: bytes) -> str | None:
    """Give the words of a refusal of Alpaca's own; None when it is none."""
    try:
        said = _REFUSAL.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return " ".join(said.message.split())[:_WORDS_MAX] or f"code {said.code}"


def quantity(text: str | None) -> int:
    """Read a quantity in units of ``10 ** -QTY_DECIMALS``.

    Raises:
        ValueError: it is no such number, or below zero.
    """
    number = units(text or "", QTY_DECIMALS)
    if number < 0:
        raise ValueError(f"a quantity of {text}")
    return number


def time_ns(text: str | None, now: int) -> int:
    """Read a time, UTC nanoseconds; ``now`` when there is none that anybody could read."""
    if not text:
        return now
    try:
        return wire_time.read_time(text)
    except ValueError:
        return now


def before(text: str | None) -> str | None:
    """Give the moment a second before a time, as text; None when that cannot be read."""
    ns = time_ns(text, -1)
    if ns < _SECOND:
        return None
    moment = _EPOCH + timedelta(seconds=ns // _SECOND - 1)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def plain_symbol(symbol: str | None) -> str:
    """Give a symbol as it can be compared: a pair of currencies is written with a slash or none."""
    return (symbol or "").replace("/", "")


def base_id(client_order_id: str) -> str:
    """Give the client order id of the order that a replacement goes back to."""
    return client_order_id.partition("~")[0]


def decode(kind: type[Any], raw: bytes | msgspec.Raw) -> Any:
    """Read a struct.

    Raises:
        msgspec.DecodeError: it is not one; broken text and endless nesting included.
    """
    try:
        return msgspec.json.decode(raw, type=kind)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from None
