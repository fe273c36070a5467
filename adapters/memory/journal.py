"""The journal of a backtest: hashed as it is written, kept as columns, given out as frames."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
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
    ReplaceDenied,
    ReplaceRejected,
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


ORDER_COLUMNS: Columns = {
    "order_id": (pl.String, attrgetter("client_order_id")),
    "strategy_id": (pl.String, attrgetter("strategy_id")),
    "symbol": (pl.String, attrgetter("symbol")),
    "side": (pl.String, attrgetter("side._name_")),
    "order_type": (pl.String, attrgetter("order_type._name_")),
    "time_in_force": (pl.String, attrgetter("time_in_force._name_")),
    "order_qty": (pl.Int64, attrgetter("order_qty")),
    "limit_px": (pl.Int64, attrgetter("limit_px")),
    "stop_px": (pl.Int64, attrgetter("stop_px")),
    "reduce_only": (pl.Boolean, attrgetter("reduce_only")),
    "parent_id": (pl.String, attrgetter("parent_id")),
    "group_id": (pl.String, attrgetter("group_id")),
    "tag": (pl.String, attrgetter("tag")),
    "confidence": (pl.Float64, attrgetter("confidence")),
    "ts_init": (pl.Int64, attrgetter("ts_init")),
}

FILL_COLUMNS: Columns = {
    "order_id": (pl.String, attrgetter("fill.client_order_id")),
    "exec_id": (pl.String, attrgetter("fill.exec_id")),
    "strategy_id": (pl.String, attrgetter("fill.strategy_id")),
    "symbol": (pl.String, attrgetter("fill.symbol")),
    "signed_qty": (pl.Int64, attrgetter("fill.signed_qty")),
    "last_px": (pl.Int64, attrgetter("fill.last_px")),
    "commission": (pl.Int64, attrgetter("fill.commission")),
    "slippage": (pl.Int64, attrgetter("fill.slippage")),
    "liquidity": (pl.String, attrgetter("fill.liquidity._name_")),
    "ts": (pl.Int64, attrgetter("fill.ts_event")),
    "priced_by": (pl.String, attrgetter("fill.priced_by._value_")),
    "datum_seq": (pl.Int64, attrgetter("fill.datum_seq")),
    "datum_ts": (pl.Int64, attrgetter("fill.datum_ts")),
    "realized": (pl.Int64, attrgetter("realized")),
    "position_after": (pl.Int64, attrgetter("quantity")),
    "cash_after": (pl.Int64, attrgetter("cash")),
}


VERDICT_COLUMNS: Columns = {
    "order_id": (pl.String, attrgetter("client_order_id")),
    "ts": (pl.Int64, attrgetter("ts_event")),
    "code": (pl.String, lambda v: _name(v.code)),
}

END_COLUMNS: Columns = {
    "order_id": (pl.String, attrgetter("client_order_id")),
    "reason": (pl.String, attrgetter("reason")),
    "ts": (pl.Int64, attrgetter("ts_event")),
}

REPLACED_COLUMNS: Columns = {
    "order_id": (pl.String, attrgetter("client_order_id")),
    "order_qty": (pl.Int64, attrgetter("order_qty")),
    "limit_px": (pl.Int64, attrgetter("limit_px")),
    "stop_px": (pl.Int64, attrgetter("stop_px")),
    "ts": (pl.Int64, attrgetter("ts_event")),
}

SIGNAL_COLUMNS: Columns = {
    "strategy_id": (pl.String, attrgetter("strategy_id")),
    "symbol": (pl.String, attrgetter("symbol")),
    "ts": (pl.Int64, attrgetter("ts_event")),
    "signal": (pl.Boolean, attrgetter("signal")),
    "score": (pl.Float64, attrgetter("score")),
    "action": (pl.String, attrgetter("action")),
    "extra": (pl.String, lambda s: msgspec.json.encode(s.extra).decode() if s.extra else None),
}

RISK_COLUMNS: Columns = {
    "ts": (pl.Int64, attrgetter("ts_event")),
    "event_type": (pl.String, attrgetter("event_type")),
    "severity": (pl.String, attrgetter("severity.name")),
    "strategy_id": (pl.String, attrgetter("strategy_id")),
    "symbol": (pl.String, attrgetter("symbol")),
    "value": (pl.Float64, attrgetter("value")),
    "limit": (pl.Float64, attrgetter("limit")),
    "action_taken": (pl.String, attrgetter("action_taken")),
    "description": (pl.String, attrgetter("description")),
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
        self.packed = 0

    def pack(self) -> None:
        if self.rows:
            self._pieces.append(self._packed())
            self.packed += len(self.rows)
            self.rows.clear()

    def _packed(self) -> pl.DataFrame:
        # Each column is one pass of a C function over the rows.
        return pl.DataFrame(
            {
                name: pl.Series(name, list(map(extract, self.rows)), dtype=dtype, strict=True)
                for name, (dtype, extract) in self._columns.items()
            }
        )

    def _schema(self) -> dict[str, Any]:
        return {name: dtype for name, (dtype, _) in self._columns.items()}

    def frame(self) -> pl.DataFrame:
        self.pack()
        return pl.concat(self._pieces) if self._pieces else pl.DataFrame(schema=self._schema())


class _OrderTable(_Table):
    """Orders, each with the number of fills booked before it: what its strategy had seen."""

    def __init__(self, columns: Columns) -> None:
        super().__init__(columns)
        self.fills_before: list[int] = []

    def _packed(self) -> pl.DataFrame:
        before = pl.Series("fills_before", self.fills_before, dtype=pl.Int64)
        self.fills_before.clear()
        return super()._packed().with_columns(before)

    def _schema(self) -> dict[str, Any]:
        return super()._schema() | {"fills_before": pl.Int64}


class _VerdictTable(_Table):
    """Verdicts, with the inputs of the checks spread over columns (null where there are none)."""

    def _packed(self) -> pl.DataFrame:
        nothing = (None,) * len(CheckInputs._fields)
        inputs = [verdict.inputs or nothing for verdict in self.rows]
        columns = zip(CheckInputs._fields, zip(*inputs, strict=True), strict=True)
        return super()._packed().with_columns(_amounts(name, values) for name, values in columns)

    def _schema(self) -> dict[str, Any]:
        return super()._schema() | dict.fromkeys(CheckInputs._fields, pl.Int64)


def _amounts(name: str, values: Sequence[int | None]) -> pl.Series:
    try:
        return pl.Series(name, values, dtype=pl.Int64, strict=True)
    except (OverflowError, TypeError):
        # An order beyond all measure is recorded with the largest amount a column holds.
        held = [None if v is None else max(-MAX_UNITS, min(v, MAX_UNITS)) for v in values]
        return pl.Series(name, held, dtype=pl.Int64, strict=True)


class FrameJournal:
    """Keeps the events of one run and their hash.

    The hash is SHA-256 over the MessagePack of every event in order, so two runs have the same
    hash exactly when they made the same events.
    """

    def __init__(self) -> None:
        self._sha = hashlib.sha256()
        self._encode = msgspec.msgpack.Encoder().encode
        self._orders = _OrderTable(ORDER_COLUMNS)
        self._verdicts = _VerdictTable(VERDICT_COLUMNS)
        self._fills = _Table(FILL_COLUMNS)
        self._replaced = _Table(REPLACED_COLUMNS)
        self._signals = _Table(SIGNAL_COLUMNS)
        self._risk_events = _Table(RISK_COLUMNS)
        self._ends = {kind: _Table(END_COLUMNS) for kind in _ENDED}
        self.failures: list[StrategyFailed] = []
        self.refusals: Counter[str] = Counter()
        self.events = 0
        self._unpacked = 0
        self._add: dict[type, Callable[[Any], None]] = {
            OrderApproved: self._add_judged,
            OrderDenied: self._add_judged,
            PositionChanged: self._fills.rows.append,
            OrderReplaced: self._replaced.rows.append,
            Signal: self._signals.rows.append,
            RiskEvent: self._risk_events.rows.append,
            ReplaceRejected: self._count_refusal,
            ReplaceDenied: self._count_refusal,
            StrategyFailed: self.failures.append,
            **{kind: table.rows.append for kind, table in self._ends.items()},
        }

    def _add_judged(self, event: OrderApproved | OrderDenied) -> None:
        fills = self._fills
        self._orders.rows.append(event.order)
        self._orders.fills_before.append(fills.packed + len(fills.rows))
        self._verdicts.rows.append(event.verdict)

    def _count_refusal(self, event: ReplaceDenied | ReplaceRejected) -> None:
        self.refusals[event.reason] += 1

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
        """Every order as it was judged, one row each, in order.

        ``fills_before`` is the number of rows of ``fills`` that were booked before it.
        """
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
