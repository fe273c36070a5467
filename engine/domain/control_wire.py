"""Sessions that begin and end, as JSON on a control channel."""

from __future__ import annotations

from typing import Literal

import msgspec

from engine.domain.deliveries import RejectionCode
from engine.domain.market_wire import RejectedError, undecodable

__all__ = ["ControlEvent", "read_control", "render_control"]


class ControlEvent(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A session of a strategy on a symbol begins or ends.

    Attributes:
        action: which of both.
        symbol: what is traded.
        type: what kind of thing that is.
        strategy_id: whose session; None means everybody's.
        session_id: which one.
    """

    action: Literal["subscribe", "unsubscribe"]
    symbol: str
    type: Literal["stock", "crypto"]
    strategy_id: str | int | None = None
    session_id: str | int | None = None


_decode = msgspec.json.Decoder(ControlEvent).decode


def read_control(content: bytes) -> ControlEvent:
    """Read one message.

    Raises:
        RejectedError: it cannot be used.
    """
    try:
        event = _decode(content)
    except (ValueError, RecursionError) as error:
        raise undecodable(error) from None
    if not event.symbol:
        raise RejectedError(RejectionCode.WRONG_SHAPE, "symbol is empty")
    return event


def render_control(event: ControlEvent) -> bytes:
    """Write a message."""
    return msgspec.json.encode(event)
