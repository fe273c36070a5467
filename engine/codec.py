"""How what entered a run is written down: MessagePack, one array per input.

Each input carries its tag, so a record explains itself; what a :class:`Told` carries is decoded by
the tag of its type. Integers stay integers: nothing is rounded on the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from engine.domain.commands import (
    CancelOrder,
    ClosePosition,
    KillSwitch,
    OrderMassStatusRequest,
    ReplaceOrder,
    SetSymbolState,
    SetTradingState,
    StopStrategy,
)
from engine.domain.deliveries import Consumed, SetFeedState
from engine.domain.events import (
    BadAnswer,
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OrderReplaced,
    OrderStatusGiven,
    OrdersWorking,
    OrderUnknown,
    ReplaceRejected,
    VenueDown,
    VenueUp,
)
from engine.domain.executions import BeginExecution, EndExecution
from engine.domain.market import Bar, Quote, Trade
from engine.domain.signals import Signal
from engine.errors import InvariantError
from engine.runtime.inputs import Finished, Input, Started, Ticked, Told

__all__ = ["TOLD", "decode_inputs", "encode_inputs"]

TOLD: Sequence[type[msgspec.Struct]] = (
    BadAnswer, BeginExecution, CancelOrder, CancelRejected, ClosePosition, EndExecution, KillSwitch,
    OrderAccepted, OrderCanceled, OrderExpired, OrderFilled, OrderMassStatusRequest, OrderNotFound,
    OrderRejected, OrderReplaced, OrderStatusGiven, OrdersWorking, OrderUnknown, ReplaceOrder,
    ReplaceRejected, SetFeedState, SetSymbolState, SetTradingState, Signal, StopStrategy,
    VenueDown, VenueUp,
)  # fmt: skip
"""Types that another cell or an edge may send to the core."""


def _tag(kind: type[msgspec.Struct]) -> str:
    return str(kind.__struct_config__.tag)


class _Told(msgspec.Struct, frozen=True, array_like=True, tag=_tag(Told)):
    """A :class:`Told` as it is written: the message by itself, behind its tag."""

    actor: str
    kind: str
    message: msgspec.Raw
    ts: int


_KINDS = {_tag(kind): msgspec.msgpack.Decoder(kind) for kind in TOLD}
_TAGS = {kind: _tag(kind) for kind in TOLD}
_encoder = msgspec.msgpack.Encoder()
_Entered = Bar | Trade | Quote | Started | _Told | Ticked | Finished | Consumed
_decoder = msgspec.msgpack.Decoder(list[_Entered])


def _written(entered: Input) -> Any:
    if type(entered) is not Told:
        return entered
    kind = _TAGS.get(type(entered.message))
    if kind is None:
        name = type(entered.message).__name__
        raise InvariantError(f"{name} entered the core and cannot be written down")
    return _Told(entered.actor, kind, msgspec.Raw(_encoder.encode(entered.message)), entered.ts)


def _read(entered: _Entered) -> Input:
    if isinstance(entered, _Told):
        return Told(entered.actor, _KINDS[entered.kind].decode(entered.message), entered.ts)
    return entered


def encode_inputs(inputs: Iterable[Input]) -> bytes:
    """Write inputs down, in order.

    Raises:
        InvariantError: a message of a type that nobody may send from outside.
    """
    return _encoder.encode([_written(entered) for entered in inputs])


def decode_inputs(record: bytes) -> list[Input]:
    """Read what :func:`encode_inputs` wrote.

    Raises:
        msgspec.MsgspecError: it is not that.
        KeyError: a message of a type that this version does not know.
    """
    return [_read(entered) for entered in _decoder.decode(record)]
