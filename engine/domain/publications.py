"""What the engine tells the world of a run, as messages: JSON objects for Kafka.

Numbers are JSON numbers and exact, in plain notation (never ``1E-8``): prices and amounts with at
least two digits after the point, quantities with as many as they need. Only averages are rounded,
half to even, to the digits of the price and no fewer than eight. Whoever reads them into doubles
keeps about fifteen digits. Times are ISO-8601 text with ``Z``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

import msgspec

from engine.domain.executions import WireId
from engine.domain.instruments import Instrument
from engine.domain.money import CASH_DECIMALS, div_half_even

__all__ = [
    "ErrorTold",
    "ExecutionCompleted",
    "ExecutionFailed",
    "ExecutionStarted",
    "ExecutionStopped",
    "Fill",
    "InitialOrder",
    "Message",
    "OrderChanged",
    "PositionMoved",
    "Publication",
    "RefusalTold",
    "RiskTold",
    "amount",
    "average",
    "price",
    "quantity",
    "render",
    "shortened",
]

TEXT_MAX = 4_096
"""Longest text of somebody else's in a message, in characters; the rest is cut off."""
_CUT = " [...]"
_NULL = msgspec.Raw(b"null")

Destination = Literal["execution", "positions", "errors"]
"""Which topic a message is for: the key in ``kafka.topics``."""


class _About(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """What every message says first.

    Attributes:
        execution_id: the strategy's execution in its run; None for the whole account.
        strategy_id: the strategy; None for the whole account.
        user_id: whose it is; None when nobody said.
        timestamp: when it was so, by the clock of the run.
    """

    execution_id: str | None
    strategy_id: WireId | None
    user_id: WireId | None
    timestamp: str


class InitialOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order that an execution began with (R87).

    Attributes:
        symbol: instrument.
        side: ``BUY`` or ``SELL``.
        quantity: how much.
        price: its limit or stop price, or the latest price when it was approved.
        value: quantity at that price.
    """

    symbol: str
    side: str
    quantity: msgspec.Raw
    price: msgspec.Raw
    value: msgspec.Raw


class ExecutionStarted(_About, frozen=True, kw_only=True, tag="strategy.execution.started"):
    """A strategy has begun; with the orders approved at the first moment of market data."""

    status: str = "active"
    initial_orders: list[InitialOrder]


class ExecutionCompleted(_About, frozen=True, kw_only=True, tag="strategy.execution.completed"):
    """The run has ended for good."""

    status: str = "completed"


class ExecutionStopped(_About, frozen=True, kw_only=True, tag="strategy.execution.stopped"):
    """A strategy was stopped, and has no order working any more.

    Attributes:
        reason: why it was stopped.
        is_flat: whether it holds nothing.
    """

    status: str = "stopped"
    reason: str
    is_flat: bool


class ExecutionFailed(_About, frozen=True, kw_only=True, tag="strategy.execution.failed"):
    """The strategy's own code raised; what it was is told on the topic of errors."""

    status: str = "error"


class OrderChanged(_About, frozen=True, kw_only=True, tag="strategy.execution.order"):
    """An order has come to be, or is another than before; named as in ``execution_orders``.

    Attributes:
        order_id: our id.
        oms_order_id: the venue's id, once it has given one.
        symbol: instrument.
        side: ``BUY`` or ``SELL``.
        order_type: such as ``LIMIT``.
        quantity: how much.
        price: limit price.
        stop_price: stop price.
        status: the word of the wire (decision D7).
        inner_status: the exact one.
        filled_quantity: filled so far.
        filled_price: average price of that.
        reason: why it was refused or ended; the code of the check for a denied one.
    """

    order_id: str
    oms_order_id: str | None
    symbol: str
    side: str
    order_type: str
    quantity: msgspec.Raw
    price: msgspec.Raw
    stop_price: msgspec.Raw
    status: str
    inner_status: str
    filled_quantity: msgspec.Raw
    filled_price: msgspec.Raw
    reason: str | None


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    """An execution of an order.

    Attributes:
        exec_id: the venue's id of it.
        order_id: our id of the order.
        side: ``BUY`` or ``SELL``.
        quantity: how much.
        price: at which price.
        commission: what it cost.
    """

    exec_id: str
    order_id: str
    side: str
    quantity: msgspec.Raw
    price: msgspec.Raw
    commission: msgspec.Raw


class PositionMoved(_About, frozen=True, kw_only=True, tag="strategy.positions.changed"):
    """A fill was booked: the position that it left.

    Attributes:
        symbol: instrument.
        quantity: held now; negative when sold short.
        average_price: of what is held; None when nothing is.
        realized_pnl: what this fill realised, before commission.
        cash: the account's cash now.
        fill: what was booked.
    """

    symbol: str
    quantity: msgspec.Raw
    average_price: msgspec.Raw
    realized_pnl: msgspec.Raw
    cash: msgspec.Raw
    fill: Fill


class RiskTold(_About, frozen=True, kw_only=True, tag="strategy.errors.risk"):
    """A risk event; named as in the table ``risk_events``."""

    event_type: str
    severity: str
    symbol: str | None
    value: float
    limit_value: float | None
    action_taken: str
    description: str


class RefusalTold(_About, frozen=True, kw_only=True, tag="strategy.errors.refused"):
    """A strategy could not begin.

    Attributes:
        error: why.
    """

    error: str


class ErrorTold(_About, frozen=True, kw_only=True, tag="strategy.errors.strategy"):
    """A strategy's own code raised.

    Attributes:
        hook: in which hook.
        event: on what.
        error: ``Type: message``.
        traceback: where; the end of it when it is long.
    """

    hook: str
    event: str
    error: str
    traceback: str


Message = (
    ExecutionStarted
    | ExecutionStopped
    | RefusalTold
    | ExecutionCompleted
    | ExecutionFailed
    | OrderChanged
    | PositionMoved
    | RiskTold
    | ErrorTold
)


class Publication(NamedTuple):
    """A message on its way out.

    Attributes:
        sequence: its number in the run, from 0; the same however often the run is started again.
        topic: which topic it is for.
        key: what keeps its order: the strategy, or the run for the whole account.
        content: the message.
    """

    sequence: int
    topic: str
    key: str
    content: str


def render(message: Message) -> str:
    """Write a message as JSON text, without line ends."""
    return _encode(message).decode()


_encode = msgspec.json.Encoder().encode


@lru_cache(maxsize=4_096)
def _number(units: int, decimals: int, least: int) -> msgspec.Raw:
    """Write a scaled integer, without the zeros at its end beyond ``least`` digits."""
    digits = str(abs(units)).rjust(decimals + 1, "0")
    whole, fraction = digits[: len(digits) - decimals], digits[len(digits) - decimals :]
    fraction = fraction.rstrip("0").ljust(least, "0")
    sign = "-" if units < 0 else ""
    return msgspec.Raw(f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}")


def price(px: int | None, instrument: Instrument) -> msgspec.Raw:
    """Write a price given in price units; None is null."""
    return _NULL if px is None else _number(px, instrument.price_decimals, 2)


def quantity(qty: int, instrument: Instrument) -> msgspec.Raw:
    """Write a quantity given in quantity units."""
    return _number(qty, instrument.quantity_decimals, 0)


def amount(units: int | None) -> msgspec.Raw:
    """Write an amount given in cash units; None is null."""
    return _NULL if units is None else _number(units, CASH_DECIMALS, 2)


def average(numerator: int, denominator: int, instrument: Instrument) -> msgspec.Raw:
    """Write ``numerator / denominator`` as a price in currency; null when there is nothing.

    Rounded half to even to the digits of the instrument's prices, and no fewer than eight.
    """
    if not denominator:
        return _NULL
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    digits = max(CASH_DECIMALS, instrument.price_decimals)
    return _number(div_half_even(numerator * 10**digits, denominator), digits, 2)


def shortened(text: str, *, from_end: bool = False) -> str:
    """Give a text that somebody else wrote, at most ``TEXT_MAX`` characters of it.

    What cannot be written as UTF-8 (half of a surrogate pair) becomes a question mark.
    """
    text = text.encode("utf-8", "replace").decode()
    if len(text) <= TEXT_MAX:
        return text
    room = TEXT_MAX - len(_CUT)
    return f"{_CUT.strip()} {text[-room:]}" if from_end else text[:room] + _CUT
