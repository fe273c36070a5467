"""A strategy's opinion, which is not yet an order."""

from __future__ import annotations

import msgspec


class Signal(msgspec.Struct, frozen=True, kw_only=True, tag="signal"):
    """One opinion of one strategy on one symbol at one time (decision D6: an instance).

    Attributes:
        strategy_id: who says it.
        symbol: about what.
        ts_event: time of the event it answers, UTC nanoseconds.
        signal: True for "yes, now"; False records that the rule was looked at and said no.
        score: strength, for ranking; larger is stronger.
        action: ``BUY``, ``SELL`` or None when the signal has no direction.
        extra: further named values, kept in the outputs.
    """

    strategy_id: str
    symbol: str
    ts_event: int
    signal: bool
    score: float
    action: str | None = None
    extra: dict[str, float | int | str | bool] = {}
