"""The journal of a backtest: hashed as it is written, kept as columns, given out as frames."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import polars as pl

from engine.domain.commands import OrderApproved
from engine.domain.events import (
    OrderCanceled,
    OrderDenied,
    OrderExpired,
    OrderRejected,
    OrderReplaced,
    PositionChanged,
    RiskEvent,
    StrategyFailed,
)
from engine.domain.money import MAX_UNITS
from engine.domain.risk import CheckInputs
from engine.domain.signals import Signal

__all__ = ["FrameJournal"]

PIECE_EVENTS = 20_000
"""Events kept as objects before they are packed into columns: bounds memory, not meaning."""

Extract = Callable[[Any], Any]
Columns = Mapping[str, tuple[Any, Extract]]


def _name(value: Any) -> str | None:
    return None if value is None else value.name


def _bounded(amount: int) -> int:
    """Give an amount, or the largest a column holds when the order was beyond all measure."""
    return max(-MAX_UNITS, min(amount, MAX_UNITS))


ORDER_COLUMNS: Columns = {
    "order_id": (pl.String, lambda o: o.client_order_id),
    "strategy_id": (pl.String, lambda o: o.strategy_id),
    "symbol": (pl.String, lambda o: o.symbol),
    "side": (pl.String, lambda o: o.side._name_),
    "order_type": (pl.String, lambda o: o.order_type._name_),
    "time_in_force": (pl.String, lambda o: o.time_in_force._name_),
    "order_qty": (pl.Int64, lambda o: o.order_qty),
    "limit_px": (pl.Int64, lambda o: o.limit_px),
    "stop_px": (pl.Int64, lambda o: o.stop_px),
    "reduce_only": (pl.Boolean, lambda o: o.reduce_only),
    "parent_id": (pl.String, lambda o: o.parent_id),
    "group_id": (pl.String, lambda o: o.group_id),
    "tag": (pl.String, lambda o: o.tag),
    "confidence": (pl.Float64, lambda o: o.confidence),
    "ts_init": (pl.Int64, lambda o: o.ts_init),
}

FILL_COLUMNS: Columns = {
    "order_id": (pl.String, lambda c: c.fill.client_order_id),
    "exec_id": (pl.String, lambda c: c.fill.exec_id),
    "strategy_id": (pl.String, lambda c: c.fill.strategy_id),
    "symbol": (pl.String, lambda c: c.fill.symbol),
    "signed_qty": (pl.Int64, lambda c: c.fill.signed_qty),
    "last_px": (pl.Int64, lambda c: c.fill.last_px),
    "commission": (pl.Int64, lambda c: c.fill.commission),
    "slippage": (pl.Int64, lambda c: c.fill.slippage),
    "liquidity": (pl.String, lambda c: c.fill.liquidity._name_),
    "ts": (pl.Int64, lambda c: c.fill.ts_event),
    "priced_by": (pl.String, lambda c: c.fill.priced_by._value_),
    "datum_seq": (pl.Int64, lambda c: c.fill.datum_seq),
    "datum_ts": (pl.Int64, lambda c: c.fill.datum_ts),
    "realized": (pl.Int64, lambda c: c.realized),
    "position_after": (pl.Int64, lambda c: c.quantity),
    "cash_after": (pl.Int64, lambda c: c.cash),
}


def _input(i: int) -> Extract:
    return lambda verdict: None if verdict.inputs is None else _bounded(verdict.inputs[i])


VERDICT_COLUMNS: Columns = {
    "order_id": (pl.String, lambda v: v.client_order_id),
    "ts": (pl.Int64, lambda v: v.ts_event),
    "code": (pl.String, lambda v: _name(v.code)),
    **{name: (pl.Int64, _input(i)) for i, name in enumerate(CheckInputs._fields)},
}

END_COLUMNS: Columns = {
    "order_id": (pl.String, lambda e: e.client_order_id),
    "reason": (pl.String, lambda e: e.reason),
    "ts": (pl.Int64, lambda e: e.ts_event),
}

REPLACED_COLUMNS: Columns = {
    "order_id": (pl.String, lambda e: e.client_order_id),
    "order_qty": (pl.Int64, lambda e: e.order_qty),
    "limit_px": (pl.Int64, lambda e: e.limit_px),
    "stop_px": (pl.Int64, lambda e: e.stop_px),
    "ts": (pl.Int64, lambda e: e.ts_event),
}

SIGNAL_COLUMNS: Columns = {
    "strategy_id": (pl.String, lambda s: s.strategy_id),
    "symbol": (pl.String, lambda s: s.symbol),
    "ts": (pl.Int64, lambda s: s.ts_event),
    "signal": (pl.Boolean, lambda s: s.signal),
    "score": (pl.Float64, lambda s: s.score),
    "action": (pl.String, lambda s: s.action),
    "extra": (pl.String, lambda s: msgspec.json.encode(s.extra).decode() if s.extra else None),
}

RISK_COLUMNS: Columns = {
    "ts": (pl.Int64, lambda e: e.ts_event),
    "event_type": (pl.String, lambda e: e.event_type),
    "severity": (pl.String, lambda e: e.severity.name),
    "strategy_id": (pl.String, lambda e: e.strategy_id),
    "symbol": (pl.String, lambda e: e.symbol),
    "value": (pl.Float64, lambda e: e.value),
    "limit": (pl.Float64, lambda e: e.limit),
    "action_taken": (pl.String, lambda e: e.action_taken),
    "description": (pl.String, lambda e: e.description),
}

_ENDED: Mapping[type, str] = {
    OrderCanceled: "CANCELED",
    OrderExpired: "EXPIRED",
    OrderRejected: "REJECTED",
}


class _Table:
    """Rows of one kind: objects first, columns once there are many."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._pieces: list[pl.DataFrame] = []
        self.rows: list[Any] = []

    def pack(self) -> None:
        if self.rows:
            data = {
                name: pl.Series(name, list(map(extract, self.rows)), dtype=dtype, strict=True)
                for name, (dtype, extract) in self._columns.items()
            }
            self._pieces.append(pl.DataFrame(data))
            self.rows.clear()

    def frame(self) -> pl.DataFrame:
        self.pack()
        if not self._pieces:
            return pl.DataFrame(schema={name: kind for name, (kind, _) in self._columns.items()})
        return pl.concat(self._pieces)


class FrameJournal:
    """Keeps the events of one run and their hash.

    The hash is SHA-256 over the MessagePack of every event in order, so two runs have the same
    hash exactly when they made the same events.
    """

    def __init__(self) -> None:
        self._sha = hashlib.sha256()
        self._encode = msgspec.msgpack.Encoder().encode
        self._orders = _Table(ORDER_COLUMNS)
        self._verdicts = _Table(VERDICT_COLUMNS)
        self._fills = _Table(FILL_COLUMNS)
        self._replaced = _Table(REPLACED_COLUMNS)
        self._signals = _Table(SIGNAL_COLUMNS)
        self._risk_events = _Table(RISK_COLUMNS)
        self._ends = {kind: _Table(END_COLUMNS) for kind in _ENDED}
        self.failures: list[StrategyFailed] = []
        self.events = 0
        self._unpacked = 0
        self._add: dict[type, Callable[[Any], None]] = {
            OrderApproved: self._add_judged,
            OrderDenied: self._add_judged,
            PositionChanged: self._fills.rows.append,
            OrderReplaced: self._replaced.rows.append,
            Signal: self._signals.rows.append,
            RiskEvent: self._risk_events.rows.append,
            StrategyFailed: self.failures.append,
            **{kind: table.rows.append for kind, table in self._ends.items()},
        }

    def _add_judged(self, event: OrderApproved | OrderDenied) -> None:
        self._orders.rows.append(event.order)
        self._verdicts.rows.append(event.verdict)

    def write(self, events: Sequence[Any]) -> None:
        """Append events in order."""
        self._sha.update(b"".join(map(self._encode, events)))
        adders = self._add
        for event in events:
            add = adders.get(type(event))
            if add is not None:
                add(event)
        self.events += len(events)
        self._unpacked += len(events)
        if self._unpacked >= PIECE_EVENTS:
            self._pack()

    def _pack(self) -> None:
        for table in self._tables():
            table.pack()
        self._unpacked = 0

    def _tables(self) -> Iterable[_Table]:
        yield from (self._orders, self._verdicts, self._fills, self._replaced)
        yield from (self._signals, self._risk_events, *self._ends.values())

    @property
    def hash(self) -> str:
        """SHA-256 of everything written, in hex."""
        return self._sha.hexdigest()

    def orders(self) -> pl.DataFrame:
        """Every order as it was judged, one row each, in order."""
        return self._orders.frame()

    def verdicts(self) -> pl.DataFrame:
        """Every verdict with its inputs in cash units, one row each, in order."""
        return self._verdicts.frame()

    def fills(self) -> pl.DataFrame:
        """Every booked execution, in order."""
        return self._fills.frame()

    def replaced(self) -> pl.DataFrame:
        """Every replacement, in order."""
        return self._replaced.frame()

    def signals(self) -> pl.DataFrame:
        """Every signal, in order."""
        return self._signals.frame()

    def risk_events(self) -> pl.DataFrame:
        """Every risk event, in order."""
        return self._risk_events.frame()

    def ends(self) -> pl.DataFrame:
        """Every terminal event other than the last fill: order, status, reason, time."""
        frames = [
            table.frame().with_columns(pl.lit(_ENDED[kind]).alias("status"))
            for kind, table in self._ends.items()
        ]
        return pl.concat(frames)
