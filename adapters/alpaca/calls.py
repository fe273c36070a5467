"""What the dialect asks of a session, and what a session finds out for it."""

from __future__ import annotations

import msgspec

from adapters.alpaca.wire import FillSaid, OrderSaid

__all__ = ["Call", "Found", "Listed", "Missing", "Refused", "Spoiled"]


class Call(msgspec.Struct, frozen=True):
    """A request.

    Attributes:
        about: ``order``, ``cancel``, ``replace``, ``query`` or ``list``.
        wire_id: client order id at the broker; empty for ``list``.
        fields: those of the JSON body. The ``qty`` of a replacement is the new total, what has
            filled included; the broker wants what is still to fill.
    """

    about: str
    wire_id: str
    fields: dict[str, str]


class Found(msgspec.Struct, frozen=True):
    """What the broker has of an order, all of one moment.

    Attributes:
        wire_id: client order id of its first form.
        chain: its forms, each the replacement of the one before.
        fills: executions of all of them.
        is_whole: the executions are all that the forms speak of.
        is_replaced: a replacement has come into force that was not told yet, or that was asked for.
        was_asked: it answers a query.
        cancel_asked: we have asked for its cancel.
    """

    wire_id: str
    chain: tuple[OrderSaid, ...]
    fills: tuple[FillSaid, ...]
    is_whole: bool
    is_replaced: bool
    was_asked: bool
    cancel_asked: bool


class Missing(msgspec.Struct, frozen=True):
    """The broker has never had an order."""

    wire_id: str


class Refused(msgspec.Struct, frozen=True):
    """The broker has definitely not done what it was asked.

    Attributes:
        about: what that was.
        wire_id: of which order.
        reason: its words.
    """

    about: str
    wire_id: str
    reason: str


class Listed(msgspec.Struct, frozen=True):
    """The orders that are open, by client order id of their first form."""

    wire_ids: tuple[str, ...]


class Spoiled(msgspec.Struct, frozen=True):
    """An answer that nobody can use.

    Attributes:
        wire_id: the order it was about; empty when that is not known.
        code: what is wrong.
        detail: one sentence.
    """

    wire_id: str
    code: str
    detail: str
