"""The events of a run as rows that people and tools read: executions, orders, fills, risk events.

A row says no more than the journal does; it is written in the transaction that keeps the events,
so there is never one without the other. Amounts are exact decimals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from adapters.postgres.dead_letters import write_consumed
from engine.domain.commands import OrderApproved
from engine.domain.deliveries import Consumed
from engine.domain.events import (
    OrderAccepted,
    OrderCanceled,
    OrderDenied,
    OrderExpired,
    OrderRejected,
    OrderReplaced,
    OrderSubmitted,
    OrderUnknown,
    PositionChanged,
    RiskEvent,
    StrategyFailed,
)
from engine.domain.executions import ExecutionBegan, ExecutionEnded
from engine.domain.instruments import Instrument
from engine.domain.market import Bar, Quote, Trade
from engine.domain.money import CASH_DECIMALS
from engine.domain.orders import TERMINAL, Order, OrderStatus
from engine.domain.risk import Verdict
from engine.naming import execution_id

__all__ = ["Projection"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MARKET = (Bar, Trade, Quote)

_ORDER: LiteralString = """
INSERT INTO strategy_worker.execution_orders (execution_id, order_id, symbol, side, order_type,
    quantity, price, stop_price, time_in_force, reduce_only, status, inner_status, reason,
    verdict, ts_init, oms_order_id)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT DO NOTHING"""
_STATUS_AT, _INNER_AT, _REASON_AT, _VENUE_ID_AT = 10, 11, 12, 15
"""Where these columns are in a row of it."""
_TERMINAL = frozenset(each.value for each in TERMINAL)
_STATUS: LiteralString = """
UPDATE strategy_worker.execution_orders
SET status = %s, inner_status = %s, reason = coalesce(%s, reason),
    oms_order_id = coalesce(%s, oms_order_id)
WHERE execution_id = %s AND order_id = %s
    AND inner_status NOT IN ('DENIED', 'FILLED', 'CANCELED', 'REJECTED', 'EXPIRED')"""
_REPLACED: LiteralString = """
UPDATE strategy_worker.execution_orders SET quantity = %s, price = %s, stop_price = %s
WHERE execution_id = %s AND order_id = %s"""
_FILL: LiteralString = """
INSERT INTO strategy_worker.execution_fills (execution_id, exec_id, order_id, symbol, quantity,
    price, commission, position_after, realized_pnl, cash_after, ts_event)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"""
_FILLED: LiteralString = """
UPDATE strategy_worker.execution_orders
SET filled_price = (coalesce(filled_price, 0) * filled_quantity + %(price)s * %(quantity)s)
        / (filled_quantity + %(quantity)s),
    filled_quantity = filled_quantity + %(quantity)s,
    status = CASE WHEN inner_status IN ('CANCELED', 'EXPIRED', 'REJECTED') THEN status
        ELSE %(status)s END,
    inner_status = CASE WHEN inner_status IN ('CANCELED', 'EXPIRED', 'REJECTED')
        THEN inner_status ELSE %(status)s END
WHERE execution_id = %(execution)s AND order_id = %(order)s"""
_RISK: LiteralString = """
INSERT INTO strategy_worker.risk_events (execution_id, event_type, severity, description,
    action_taken, run_name, symbol, value, limit_value, ts_event)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"""
_EXECUTION: LiteralString = """
UPDATE strategy_worker.strategy_executions
SET positions = %s, realized_pnl = %s, unrealized_pnl = %s, total_pnl = %s, commission = %s,
    total_trades = %s, winning_trades = %s, losing_trades = %s
WHERE execution_id = %s"""
_BEGAN: LiteralString = """
INSERT INTO strategy_worker.strategy_executions
    (execution_id, strategy_id, user_id, config, run_name, run_strategy_id)
VALUES (%s, %s, %s, %s, %s, %s)"""
_ENDED: LiteralString = """
UPDATE strategy_worker.strategy_executions SET status = %s WHERE execution_id = %s"""
_SNAPSHOT: LiteralString = """
INSERT INTO strategy_worker.position_snapshots
    (execution_id, positions, total_value, total_pnl, unrealized_pnl, ts_event)
VALUES (%s, %s, %s, %s, %s, %s)"""


def _cash(units: int) -> Decimal:
    return Decimal(units).scaleb(-CASH_DECIMALS)


def _time(ts: int) -> datetime:
    """Give a time to the microsecond, rounded down: the database keeps no nanoseconds."""
    return _EPOCH + timedelta(microseconds=ts // 1000)


class _Execution:
    """What is known of one strategy's execution, to be written when it has changed."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.held: dict[str, tuple[int, int]] = {}
        """Symbol to signed quantity in units and signed cost in cash units."""
        self.realized = self.commission = 0
        self.trades = self.won = self.lost = 0
        self.is_over = False

    def book(self, changed: PositionChanged) -> None:
        fill = changed.fill
        before, _ = self.held.get(fill.symbol, (0, 0))
        self.held[fill.symbol] = (changed.quantity, changed.cost)
        if not changed.quantity:
            del self.held[fill.symbol]
        self.realized += changed.realized
        self.commission += fill.commission
        if before * fill.signed_qty < 0:
            self.trades += 1
            self.won += changed.realized > 0
            self.lost += changed.realized < 0


class Projection:
    """Writes the rows of one run.

    Args:
        run_name: the run.
        strategy_ids: its strategies.
        instruments: scales by symbol.
        snapshot_ns: time between snapshots of positions, nanoseconds of market time.
    """

    def __init__(
        self,
        run_name: str,
        strategy_ids: Sequence[str],
        instruments: Mapping[str, Instrument],
        snapshot_ns: int,
    ) -> None:
        self._run_name = run_name
        self._executions = {s: _Execution(execution_id(run_name, s)) for s in strategy_ids}
        self._instruments = instruments
        self._snapshot_ns = snapshot_ns
        self._snapshot_at = 0
        self._owners: dict[str, Order] = {}
        self._keys: dict[str, str] = {}
        """Whose an order is: a strategy may have had several executions."""
        self._new: dict[str, list[Any]] = {}
        self._changed: list[list[Any]] = []
        self._prices: dict[str, int] = {}
        self._write: Mapping[type, Callable[[psycopg.Cursor, Any], None]] = {
            OrderApproved: self._judged,
            OrderDenied: self._judged,
            OrderSubmitted: self._status(OrderStatus.PENDING_NEW, "PENDING"),
            OrderAccepted: self._status(OrderStatus.ACCEPTED, "ACCEPTED"),
            OrderUnknown: self._status(OrderStatus.UNKNOWN, "PENDING"),
            OrderRejected: self._status(OrderStatus.REJECTED, "REJECTED"),
            OrderCanceled: self._status(OrderStatus.CANCELED, "CANCELLED"),
            OrderExpired: self._status(OrderStatus.EXPIRED, "CANCELLED"),
            OrderReplaced: self._replaced,
            PositionChanged: self._filled,
            RiskEvent: self._risk,
            StrategyFailed: self._failed,
            ExecutionBegan: self._began,
            ExecutionEnded: self._ended,
        }

    def recall(self, events: Iterable[Any]) -> None:
        """Take in events whose rows are there already, after a restart."""
        for event in events:
            if isinstance(event, OrderApproved | OrderDenied):
                self._own(event.order)
            elif type(event) is PositionChanged:
                self._executions[event.fill.strategy_id].book(event)
            elif type(event) is ExecutionBegan:
                self._begin(event)
            elif type(event) is ExecutionEnded:
                self._executions[event.strategy_id].is_over = True

    def apply(self, cursor: psycopg.Cursor, inputs: Iterable[Any], events: Iterable[Any]) -> None:
        """Write the rows of events, in order, in the transaction that is open."""
        ts, changed = 0, False
        consumed = []
        for entered in inputs:
            if type(entered) is Consumed:
                consumed.append(entered)
            elif type(entered) in _MARKET:
                ts = entered.ts_event
                self._prices[entered.symbol] = (
                    entered.close_px if type(entered) is Bar else entered.last_px
                )
        if consumed:
            write_consumed(cursor, self._run_name, consumed)
        for event in events:
            write = self._write.get(type(event))
            if write is not None:
                write(cursor, event)
                changed = changed or type(event) is PositionChanged
        self._write_orders(cursor)
        due = ts >= self._snapshot_at
        if changed or due:
            for execution in self._executions.values():
                # What is over and holds nothing stays as it is.
                if execution.held or not execution.is_over:
                    self._refresh(cursor, execution, ts if due else 0)
        if due:
            self._snapshot_at = ts + self._snapshot_ns

    def end(self, cursor: psycopg.Cursor, status: str) -> None:
        """Give every execution that is still active its last status."""
        cursor.execute(
            "UPDATE strategy_worker.strategy_executions SET status = %s "
            "WHERE run_name = %s AND status = 'active'",
            [status, self._run_name],
        )

    # Executions that begin and end while the run is at work.

    def _begin(self, event: ExecutionBegan) -> _Execution:
        execution = _Execution(event.execution_id)
        earlier = self._executions.get(event.strategy_id)
        if earlier is not None:
            execution.held, earlier.held = earlier.held, {}
        self._executions[event.strategy_id] = execution
        return execution

    def _began(self, cursor: psycopg.Cursor, event: ExecutionBegan) -> None:
        self._begin(event)
        cursor.execute(
            _BEGAN,
            [
                event.execution_id, str(event.wire_id),
                None if event.user_id is None else str(event.user_id), event.config,
                self._run_name, event.strategy_id,
            ],
        )  # fmt: skip

    def _ended(self, cursor: psycopg.Cursor, event: ExecutionEnded) -> None:
        self._write_orders(cursor)
        execution = self._executions[event.strategy_id]
        self._refresh(cursor, execution, 0)
        execution.is_over = True
        cursor.execute(_ENDED, [event.status, event.execution_id])

    # Orders.

    def _own(self, order: Order) -> None:
        order_id = order.client_order_id
        if order_id not in self._owners:
            self._owners[order_id] = order
            self._keys[order_id] = self._executions[order.strategy_id].key

    def _judged(self, cursor: psycopg.Cursor, event: OrderApproved | OrderDenied) -> None:
        order, verdict = event.order, event.verdict
        instrument = self._instruments.get(order.symbol) or Instrument(symbol=order.symbol)
        self._own(order)
        approved = verdict.code is None
        self._new.setdefault(
            order.client_order_id,
            [
                self._key(order), order.client_order_id, order.symbol, order.side.value,
                order.order_type.value, _quantity(order.order_qty, instrument),
                _price(order.limit_px, instrument), _price(order.stop_px, instrument),
                order.time_in_force.value, order.reduce_only,
                "PENDING" if approved else "REJECTED",
                (OrderStatus.INITIALIZED if approved else OrderStatus.DENIED).value,
                None if verdict.code is None else verdict.code.name,
                Jsonb(_verdict(verdict), msgspec.json.encode), _time(order.ts_init), None,
            ],
        )  # fmt: skip

    def _write_orders(self, cursor: psycopg.Cursor) -> None:
        """Write orders that are new, most of which have changed their status since, and changes.

        Many rows to a statement: its text is looked at once.
        """
        if self._new:
            cursor.executemany(_ORDER, list(self._new.values()))
            self._new.clear()
        if self._changed:
            cursor.executemany(_STATUS, self._changed)
            self._changed.clear()

    def _key(self, order: Order) -> str:
        return self._keys[order.client_order_id]

    def _status(self, inner: OrderStatus, status: str) -> Callable[[psycopg.Cursor, Any], None]:
        def write(cursor: psycopg.Cursor, event: Any) -> None:
            order = self._owners[event.client_order_id]
            reason = getattr(event, "reason", None)
            venue_id = getattr(event, "venue_order_id", None)
            row = self._new.get(order.client_order_id)
            if row is not None:
                if row[_INNER_AT] not in _TERMINAL:
                    row[_STATUS_AT], row[_INNER_AT] = status, inner.value
                    row[_REASON_AT] = row[_REASON_AT] if reason is None else reason
                    row[_VENUE_ID_AT] = row[_VENUE_ID_AT] if venue_id is None else venue_id
                return
            place = [self._key(order), order.client_order_id]
            self._changed.append([status, inner.value, reason, venue_id, *place])

        return write

    def _replaced(self, cursor: psycopg.Cursor, event: OrderReplaced) -> None:
        self._write_orders(cursor)
        order = self._owners[event.client_order_id]
        instrument = self._instruments[order.symbol]
        prices = [_price(event.limit_px, instrument), _price(event.stop_px, instrument)]
        cursor.execute(
            _REPLACED,
            [_quantity(event.order_qty, instrument), *prices, self._key(order),
             order.client_order_id],
        )  # fmt: skip

    def _filled(self, cursor: psycopg.Cursor, event: PositionChanged) -> None:
        self._write_orders(cursor)
        fill = event.fill
        execution, instrument = self._executions[fill.strategy_id], self._instruments[fill.symbol]
        execution.book(event)
        price = _price(fill.last_px, instrument)
        quantity = _quantity(fill.signed_qty, instrument)
        cursor.execute(
            _FILL,
            [
                self._keys[fill.client_order_id], fill.exec_id, fill.client_order_id, fill.symbol,
                quantity, price,
                _cash(fill.commission), _quantity(event.quantity, instrument),
                _cash(event.realized), _cash(event.cash), _time(fill.ts_event),
            ],
        )  # fmt: skip
        values = {
            "price": price, "quantity": abs(quantity),
            "execution": self._keys[fill.client_order_id], "order": fill.client_order_id,
            "status": "PARTIALLY_FILLED" if fill.leaves_qty else "FILLED",
        }  # fmt: skip
        cursor.execute(_FILLED, values)

    # The rest.

    def _risk(self, cursor: psycopg.Cursor, event: RiskEvent) -> None:
        owner = self._executions.get(event.strategy_id or "")
        cursor.execute(
            _RISK,
            [
                None if owner is None else owner.key, event.event_type, event.severity.value,
                event.description, event.action_taken, self._run_name, event.symbol, event.value,
                event.limit, _time(event.ts_event),
            ],
        )  # fmt: skip

    def _failed(self, cursor: psycopg.Cursor, event: StrategyFailed) -> None:
        cursor.execute(
            "UPDATE strategy_worker.strategy_executions SET status = 'error' "
            "WHERE execution_id = %s",
            [self._executions[event.strategy_id].key],
        )

    def _refresh(self, cursor: psycopg.Cursor, execution: _Execution, snapshot_ts: int) -> None:
        positions, unrealized, worth = {}, 0, 0
        for symbol, (quantity, cost) in execution.held.items():
            instrument = self._instruments[symbol]
            px = self._prices.get(symbol)
            value = cost if px is None else instrument.notional(px, quantity)
            unrealized += value - cost
            worth += value
            positions[symbol] = {
                "quantity": str(_quantity(quantity, instrument)),
                "cost": str(_cash(cost)),
                "value": str(_cash(value)),
            }
        total = execution.realized + unrealized - execution.commission
        cursor.execute(
            _EXECUTION,
            [
                Jsonb(positions), _cash(execution.realized), _cash(unrealized), _cash(total),
                _cash(execution.commission), execution.trades, execution.won, execution.lost,
                execution.key,
            ],
        )  # fmt: skip
        if snapshot_ts:
            cursor.execute(
                _SNAPSHOT,
                [execution.key, Jsonb(positions), _cash(worth), _cash(total), _cash(unrealized),
                 _time(snapshot_ts)],
            )  # fmt: skip


def _quantity(units: int, instrument: Instrument) -> Decimal:
    return Decimal(units).scaleb(-instrument.quantity_decimals)


def _price(units: int | None, instrument: Instrument) -> Decimal | None:
    return None if units is None else Decimal(units).scaleb(-instrument.price_decimals)


def _verdict(verdict: Verdict) -> dict[str, Any]:
    """Give what was decided and on what, amounts in cash, price and quantity units."""
    return {
        "code": None if verdict.code is None else verdict.code.name,
        "inputs": None if verdict.inputs is None else verdict.inputs._asdict(),
        "ts_event": verdict.ts_event,
    }
