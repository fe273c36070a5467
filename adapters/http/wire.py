"""What goes over the wire between an engine and a gateway: JSON, and the lines of reports.

``POST /internal/execute`` takes :class:`Execute`; its first ten fields are the contract of every
gateway. The rest is ours: a link is opened with :class:`OpenLink`, its requests name it in the
header ``Tetrad-Link``, and what becomes of them comes as lines of ``GET /v1/links/N/reports``, each
a :class:`Report`; an empty line every second says that the gateway is there.

Prices and quantities of the contract are JSON numbers, written and read with all their digits;
those of ours are decimal text. Times are UTC nanoseconds.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

__all__ = [
    "BEAT_EVERY_S",
    "BEAT_MISSED_S",
    "EXECUTE",
    "KEY_HEADER",
    "LINKS",
    "LINK_HEADER",
    "REPORT",
    "UNREADABLE",
    "Accepted",
    "CancelBody",
    "CancelRejected",
    "Canceled",
    "Execute",
    "Executed",
    "Expired",
    "LinkOpened",
    "NotFound",
    "OpenLink",
    "Outcome",
    "QueryBody",
    "QueryDone",
    "Refusal",
    "Rejected",
    "ReplaceBody",
    "ReplaceRejected",
    "Replaced",
    "Report",
    "Working",
    "encode",
    "reason_of",
]

EXECUTE = "/internal/execute"
LINKS = "/v1/links"
KEY_HEADER = "Idempotency-Key"
LINK_HEADER = "Tetrad-Link"
BEAT_EVERY_S = 1.0
BEAT_MISSED_S = 3.0
"""Seconds without a line after which the gateway is taken for gone."""


class _Camel(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A JSON object with the names of the contract."""


class Execute(_Camel, frozen=True, kw_only=True):
    """An order.

    Attributes:
        session_id: the session it is for.
        strategy_id: whose it is.
        symbol: of what.
        action: ``BUY`` or ``SELL``.
        price: limit price, or the price its sender saw last, in currency.
        qty: how much; the same as ``quantity``, either may be left out.
        quantity: how much.
        confidence: of the strategy, from 0 to 1.
        client_order_id: its name; the same as the header ``Idempotency-Key``.
        order_type: as in FIX; LIMIT when there is a limit price and nothing is said.
        time_in_force: as in FIX.
        limit_price: of LIMIT and STOP_LIMIT.
        stop_price: of STOP and STOP_LIMIT; the first stop of a TRAILING_STOP.
        trail_distance: of a TRAILING_STOP, in currency.
        trail_bps: of a TRAILING_STOP, in 1/10000 of the best price.
        expire_timestamp: of GTD.
        reduce_only: may only shrink the position.
        parent_id: works once this order has filled.
        group_id: one cancels other.
        timestamp: time of the event that caused it.
    """

    session_id: str
    symbol: str
    action: str
    strategy_id: str = ""
    price: Decimal | None = None
    qty: Decimal | None = None
    quantity: Decimal | None = None
    confidence: float | None = None
    client_order_id: str = ""
    order_type: str = ""
    time_in_force: str = ""
    limit_price: str | None = None
    stop_price: str | None = None
    trail_distance: str | None = None
    trail_bps: int | None = None
    expire_timestamp: int | None = None
    reduce_only: bool = False
    parent_id: str | None = None
    group_id: str | None = None
    timestamp: int = 0


class Outcome(_Camel, frozen=True, kw_only=True):
    """What became of an order so far.

    Attributes:
        client_order_id: its name.
        status: as in FIX.
        order_id: the venue's name for it.
        filled_qty: filled so far.
        filled_avg_price: average price of that, in currency.
    """

    client_order_id: str = ""
    status: str = ""
    order_id: str = ""
    filled_qty: Decimal | None = None
    filled_avg_price: Decimal | None = None


class Refusal(_Camel, frozen=True, kw_only=True):
    """Why a request is refused: a sentence, and a code where there is one."""

    error: str = ""
    code: str = ""
    message: str = ""


class CancelBody(_Camel, frozen=True, kw_only=True):
    """Take an order off the venue."""

    client_order_id: str
    strategy_id: str = ""
    timestamp: int = 0


class ReplaceBody(_Camel, frozen=True, kw_only=True):
    """Change an order; what is not given stays."""

    client_order_id: str
    strategy_id: str = ""
    quantity: str | None = None
    limit_price: str | None = None
    stop_price: str | None = None
    timestamp: int = 0


class QueryBody(_Camel, frozen=True, kw_only=True):
    """Say again all that there is to say of an order."""

    client_order_id: str


class OpenLink(_Camel, frozen=True, kw_only=True):
    """Open a link; every earlier one of the same client is over before it is answered."""

    client: str = ""


class LinkOpened(_Camel, frozen=True, kw_only=True):
    """The number of the link."""

    link: int


class _Said(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, tag_field="type"
):
    """A report; reports on an order go to the link that last named it."""

    timestamp: int = 0


class _OfOrder(_Said, frozen=True, kw_only=True):
    client_order_id: str


class _Reasoned(_OfOrder, frozen=True, kw_only=True):
    reason: str = ""


class Accepted(_OfOrder, frozen=True, kw_only=True, tag="accepted"):
    """The venue has the order."""

    venue_order_id: str = ""


class Rejected(_Reasoned, frozen=True, kw_only=True, tag="rejected"):
    """The order is refused."""


class Executed(_OfOrder, frozen=True, kw_only=True, tag="executed"):
    """An execution; its id is unique for ever, and the same whenever it is told."""

    exec_id: str
    last_quantity: str
    last_price: str
    commission: str = "0"
    liquidity: str = "TAKER"


class Canceled(_Reasoned, frozen=True, kw_only=True, tag="canceled"):
    """The order is off the venue."""


class Expired(_Reasoned, frozen=True, kw_only=True, tag="expired"):
    """The order's time is over."""


class Replaced(_OfOrder, frozen=True, kw_only=True, tag="replaced"):
    """The values now in force."""

    quantity: str
    limit_price: str | None = None
    stop_price: str | None = None


class CancelRejected(_Reasoned, frozen=True, kw_only=True, tag="cancel_rejected"):
    """The order is not taken off."""


class ReplaceRejected(_Reasoned, frozen=True, kw_only=True, tag="replace_rejected"):
    """The order is not changed."""


class NotFound(_OfOrder, frozen=True, kw_only=True, tag="not_found"):
    """The gateway has never had the order, and what an earlier link sent will not arrive."""


class QueryDone(_OfOrder, frozen=True, kw_only=True, tag="query_done"):
    """All reports on the order have been said."""


class Working(_Said, frozen=True, kw_only=True, tag="working"):
    """Every order that is working, whoever sent it."""

    client_order_ids: list[str]


Report = (
    Accepted
    | Rejected
    | Executed
    | Canceled
    | Expired
    | Replaced
    | CancelRejected
    | ReplaceRejected
    | NotFound
    | QueryDone
    | Working
)

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding JSON may raise, whatever it holds."""
REPORT = msgspec.json.Decoder(Report)
_REFUSAL = msgspec.json.Decoder(Refusal)
_ENCODER = msgspec.json.Encoder(decimal_format="number")
_TEXT_MAX = 1_000


def encode(message: Any) -> bytes:
    """Give the JSON of a message."""
    return _ENCODER.encode(message)


def reason_of(status: int, body: bytes) -> str:
    """Give the words of a refusal: its error or message, the text as it is, or the status."""
    try:
        said = _REFUSAL.decode(body)
        text = said.error or said.message or said.code
    except UNREADABLE:
        text = body.decode(errors="replace")
    return " ".join(text.split())[:_TEXT_MAX] or f"HTTP {status}"
