"""Verdicts of the risk gate: every check with its input, its limit and its headroom."""

from __future__ import annotations

from enum import Enum

import msgspec


class DenyCode(Enum):
    """Why an order was denied, in order of precedence: the first failing check names it."""

    TRADING_HALTED = "TRADING_HALTED"
    TRADING_REDUCING = "TRADING_REDUCING"
    WARMING_UP = "WARMING_UP"
    PARENT_DENIED = "PARENT_DENIED"
    INVALID_ORDER = "INVALID_ORDER"
    NO_REFERENCE_PRICE = "NO_REFERENCE_PRICE"
    PRICE_PRECISION = "PRICE_PRECISION"
    QUANTITY_PRECISION = "QUANTITY_PRECISION"
    ORDER_VALUE_BELOW_MIN = "ORDER_VALUE_BELOW_MIN"
    ORDER_VALUE_ABOVE_MAX = "ORDER_VALUE_ABOVE_MAX"
    POSITION_SIZE = "POSITION_SIZE"
    TOTAL_EXPOSURE = "TOTAL_EXPOSURE"
    INSUFFICIENT_CASH = "INSUFFICIENT_CASH"
    SHORT_SELLING = "SHORT_SELLING"
    DAILY_LOSS = "DAILY_LOSS"
    REDUCE_ONLY = "REDUCE_ONLY"


class Check(msgspec.Struct, frozen=True, tag="check"):
    """One check of one order.

    Attributes:
        code: what it guards.
        value: the measured input, in the unit of the limit.
        limit: the limit; None when the profile says ``"unlimited"``.
        headroom: distance to the limit, negative when broken; None without a limit.
        passed: the outcome; limits are inclusive.
    """

    code: DenyCode
    value: float
    limit: float | None
    headroom: float | None
    passed: bool


class Verdict(msgspec.Struct, frozen=True, gc=False, tag="verdict"):
    """The one answer of the gate to one order.

    Attributes:
        client_order_id: the order it judges.
        ts_event: when, UTC nanoseconds.
        approved: True when every check passed.
        code: the first failing check, None when approved.
        inputs: what the checks looked at (cash in cash units), in the order of
            :data:`INPUT_NAMES`; the list of checks is a pure function of these and the limits.
    """

    client_order_id: str
    ts_event: int
    approved: bool
    code: DenyCode | None
    inputs: tuple[int, ...]
