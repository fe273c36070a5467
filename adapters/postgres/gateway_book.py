"""A gateway's users, sessions, orders, positions and trades, in PostgreSQL.

Every change of a user's affairs is one transaction that begins by locking the user, so what the
balance covers is decided for one order after another, whatever comes at the same time.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, LiteralString

import msgspec
import psycopg
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from adapters.postgres.connection import connection_options, said
from engine.domain.commands import ReplaceOrder
from engine.domain.events import (
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    ReplaceRejected,
)
from engine.domain.gateway import AskedOrder, GatewayOrder, RefusalCode, Resting, taken_by
from engine.domain.instruments import Instrument
from engine.domain.money import CASH_DECIMALS, to_units
from engine.domain.orders import Side
from engine.domain.positions import apply_fill
from engine.errors import StoreError

__all__ = ["PostgresGatewayBook"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ENDS: Mapping[type, str] = {
    OrderRejected: "REJECTED",
    OrderCanceled: "CANCELED",
    OrderExpired: "EXPIRED",
}

_SESSION: LiteralString = "SELECT user_id, status FROM gateway.sessions WHERE id = %s"
_LOCK: LiteralString = "SELECT virtual_balance FROM gateway.users WHERE id = %s FOR UPDATE"
_RESTING: LiteralString = """
SELECT session_id, symbol, side,
    greatest(quantity, coalesce(next_quantity, 0)) - filled_quantity AS leaves,
    greatest(price, coalesce(next_price, 0)) AS price
FROM gateway.orders JOIN gateway.sessions ON sessions.id = session_id
WHERE user_id = %s AND closed_at IS NULL"""
_HELD: LiteralString = """
SELECT session_id, symbol, quantity, cost
FROM gateway.positions JOIN gateway.sessions ON sessions.id = session_id
WHERE user_id = %s AND quantity <> 0"""
_SECURITY: LiteralString = "SELECT active FROM gateway.securities WHERE ticker = %s"
_SIGNAL: LiteralString = """
INSERT INTO gateway.signals
    (session_id, client_order_id, symbol, action, quantity, price, confidence, refused)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"""
_INSERT: LiteralString = """
INSERT INTO gateway.orders
    (client_order_id, session_id, symbol, side, quantity, price, status, fingerprint)
VALUES (%s, %s, %s, %s, %s, %s, 'PENDING_NEW', %s)"""
_FIND: LiteralString = "SELECT * FROM gateway.orders WHERE client_order_id = %s"
_OWNER: LiteralString = """
SELECT user_id FROM gateway.orders JOIN gateway.sessions ON sessions.id = session_id
WHERE client_order_id = %s"""
_OPEN: LiteralString = """
SELECT client_order_id FROM gateway.orders WHERE closed_at IS NULL
ORDER BY created_at, client_order_id"""
_STATUS: LiteralString = """
UPDATE gateway.orders SET status = 'ACCEPTED', venue_order_id = %s
WHERE client_order_id = %s AND closed_at IS NULL AND filled_quantity = 0"""
_ASK_CHANGE: LiteralString = """
UPDATE gateway.orders SET next_quantity = greatest(next_quantity, %(quantity)s),
    next_price = greatest(next_price, %(price)s)
WHERE client_order_id = %(id)s AND closed_at IS NULL"""
_CHANGE: LiteralString = """
UPDATE gateway.orders SET quantity = coalesce(%(quantity)s, quantity),
    price = coalesce(%(price)s, price), next_quantity = NULL, next_price = NULL
WHERE client_order_id = %(id)s AND closed_at IS NULL"""
_END: LiteralString = """
UPDATE gateway.orders SET status = %s, reason = %s, closed_at = now()
WHERE client_order_id = %s AND closed_at IS NULL"""
_FORGET: LiteralString = """
DELETE FROM gateway.orders WHERE client_order_id = %s AND status = 'PENDING_NEW'"""
_TRADE: LiteralString = """
INSERT INTO gateway.trades (client_order_id, exec_id, session_id, symbol, side, quantity, price,
    commission, realized_pnl, balance_after, ts_event)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"""
_IS_BOOKED: LiteralString = """
SELECT 1 FROM gateway.trades WHERE client_order_id = %s AND exec_id = %s"""
_POSITION: LiteralString = """
SELECT quantity, cost FROM gateway.positions WHERE session_id = %s AND symbol = %s"""
_SET_POSITION: LiteralString = """
INSERT INTO gateway.positions AS kept (session_id, symbol, quantity, cost, realized_pnl)
VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (session_id, symbol) DO UPDATE SET quantity = excluded.quantity,
    cost = excluded.cost, realized_pnl = kept.realized_pnl + excluded.realized_pnl"""
_SET_BALANCE: LiteralString = "UPDATE gateway.users SET virtual_balance = %s WHERE id = %s"
_FILLED: LiteralString = """
UPDATE gateway.orders SET filled_quantity = %(filled)s, filled_cost = filled_cost + %(cost)s,
    status = CASE WHEN closed_at IS NULL THEN %(status)s ELSE status END,
    closed_at = CASE WHEN %(is_over)s AND closed_at IS NULL THEN now() ELSE closed_at END
WHERE client_order_id = %(id)s"""
_POSITIONS: LiteralString = """
SELECT symbol, quantity, average_entry_price, realized_pnl FROM gateway.positions
WHERE session_id = %s ORDER BY symbol"""
_TRADES: LiteralString = """
SELECT client_order_id, exec_id, symbol, side, quantity, price, commission, realized_pnl, ts_event
FROM gateway.trades WHERE session_id = %s ORDER BY ts_event, created_at LIMIT 1000"""

Row = dict[str, Any]


class PostgresGatewayBook:
    """A :class:`~engine.oms_ports.GatewayBook` with the schema ``gateway``.

    Args:
        conninfo: a URL or a libpq connection string; the schema is there.
        instruments: what can be traded, by symbol.
        timeout_s: longest that connecting and any one statement may take, seconds.
        connections: how many are kept, and how many there may be.

    Raises:
        StoreError: it does not answer.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        instruments: Mapping[str, Instrument],
        timeout_s: float,
        connections: tuple[int, int] = (5, 20),
    ) -> None:
        self._instruments = instruments
        self._pool = ConnectionPool(
            conninfo,
            kwargs={**connection_options(timeout_s), "row_factory": dict_row},
            min_size=connections[0],
            max_size=connections[1],
            timeout=timeout_s,
            name="gateway",
            open=False,
        )
        try:
            self._pool.open(wait=True, timeout=max(timeout_s, 5.0))
        except PoolTimeout as error:
            self._pool.close()
            raise StoreError(f"the database does not answer: {error}") from error

    def close(self) -> None:
        """Let go of the database."""
        self._pool.close()

    @contextmanager
    def _transaction(self) -> Iterator[psycopg.Connection[Row]]:
        try:
            with self._pool.connection() as connection, connection.transaction():
                yield connection  # type: ignore[misc]
        except psycopg.Error as error:  # a timeout of the pool is one
            raise StoreError(f"the database of the gateway: {said(error)}") from error

    # Orders that come in.

    def admit(self, asked: AskedOrder) -> GatewayOrder | RefusalCode:
        """Take an order; see the port."""
        order = asked.order
        instrument = self._instruments.get(order.symbol)
        with self._transaction() as connection:
            session = connection.execute(_SESSION, [asked.session_id]).fetchone()
            if session is None:
                return RefusalCode.UNKNOWN_SESSION
            balance = _one(connection.execute(_LOCK, [session["user_id"]]))["virtual_balance"]
            known = connection.execute(_FIND, [order.client_order_id]).fetchone()
            if known is not None:
                is_same = known["fingerprint"] == _fingerprint(asked)
                return self._order(known) if is_same else RefusalCode.KEY_REUSED
            refused = self._refusal(connection, asked, session)
            if instrument is not None:
                insert = partial(self._insert, connection, asked, instrument)
                if refused is None and not self._covers(
                    connection, session["user_id"], balance, insert
                ):
                    refused = RefusalCode.INSUFFICIENT_FUNDS
                self._note(connection, asked, instrument, refused)
            if refused is not None:
                return refused
            return self._order(_one(connection.execute(_FIND, [order.client_order_id])))

    def _refusal(
        self, connection: psycopg.Connection[Row], asked: AskedOrder, session: Row
    ) -> RefusalCode | None:
        if session["status"] != "RUNNING":
            return RefusalCode.SESSION_STOPPED
        if asked.order.symbol not in self._instruments:
            return RefusalCode.UNKNOWN_SYMBOL
        security = connection.execute(_SECURITY, [asked.order.symbol]).fetchone()
        is_active = security is None or security["active"]
        return None if is_active else RefusalCode.SYMBOL_INACTIVE

    def _covers(
        self,
        connection: psycopg.Connection[Row],
        user: str,
        balance: Decimal,
        change: Callable[[], object],
    ) -> bool:
        """Make a change if the balance covers it; one that takes no more than before always is."""
        is_covered = False
        before = self._taken(connection, user)
        with connection.transaction() as attempt:
            change()
            after = self._taken(connection, user)
            is_covered = after <= before or after <= balance
            if not is_covered:
                raise psycopg.Rollback(attempt)
        return is_covered

    def _taken(self, connection: psycopg.Connection[Row], user: str) -> Decimal:
        """Give what a user's positions and open orders take of the balance."""
        held = {
            (row["session_id"], row["symbol"]): (
                to_units(row["quantity"], self._instruments[row["symbol"]].quantity_decimals),
                to_units(row["cost"], CASH_DECIMALS),
            )
            for row in connection.execute(_HELD, [user])
        }
        resting: defaultdict[tuple[str, str], list[Resting]] = defaultdict(list)
        for row in connection.execute(_RESTING, [user]):
            instrument = self._instruments[row["symbol"]]
            resting[row["session_id"], row["symbol"]].append(
                Resting(
                    Side[row["side"]],
                    to_units(row["leaves"], instrument.quantity_decimals),
                    to_units(row["price"], instrument.price_decimals),
                )
            )
        return _cash(
            sum(
                taken_by(self._instruments[key[1]], *held.get(key, (0, 0)), resting[key])
                for key in held.keys() | resting.keys()
            )
        )

    def _insert(
        self, connection: psycopg.Connection[Row], asked: AskedOrder, instrument: Instrument
    ) -> None:
        order = asked.order
        connection.execute(
            _INSERT,
            [
                order.client_order_id, asked.session_id, order.symbol, order.side.name,
                _number(order.order_qty, instrument.quantity_decimals),
                _number(asked.px, instrument.price_decimals), _fingerprint(asked),
            ],
        )  # fmt: skip

    def _note(
        self,
        connection: psycopg.Connection[Row],
        asked: AskedOrder,
        instrument: Instrument,
        refused: RefusalCode | None,
    ) -> None:
        order = asked.order
        connection.execute(
            _SIGNAL,
            [
                asked.session_id, order.client_order_id, order.symbol, order.side.name,
                _number(order.order_qty, instrument.quantity_decimals),
                _number(asked.px, instrument.price_decimals), order.confidence, refused,
            ],
        )  # fmt: skip

    def admit_replace(self, replace: ReplaceOrder) -> RefusalCode | None:
        """Let an order become another one; see the port.

        Until the venue has answered, it takes the more of both.
        """
        with self._of_order(replace.client_order_id) as (connection, row, balance):
            if row is None:
                return RefusalCode.UNKNOWN_ORDER
            qty, px = replace.order_qty, replace.limit_px or replace.stop_px
            change = partial(connection.execute, _ASK_CHANGE, self._change(row, qty, px))
            if not self._covers(connection, row["user_id"], balance, change):
                return RefusalCode.INSUFFICIENT_FUNDS
        return None

    def _change(self, row: Row, qty: int | None, px: int | None) -> Row:
        instrument = self._instruments[row["symbol"]]
        return {
            "id": row["client_order_id"],
            "quantity": None if qty is None else _number(qty, instrument.quantity_decimals),
            "price": None if px is None else _number(px, instrument.price_decimals),
        }

    # What the venue says.

    def report(self, event: Any) -> None:
        """Book what the venue says of an order; see the port."""
        handle = _REPORTS.get(type(event))
        if handle is None:
            return
        with self._of_order(event.client_order_id) as (connection, row, balance):
            if row is not None:
                handle(self, connection, row, balance, event)

    def _on_accepted(
        self, connection: psycopg.Connection[Row], row: Row, balance: Decimal, event: OrderAccepted
    ) -> None:
        connection.execute(_STATUS, [event.venue_order_id, event.client_order_id])

    def _on_end(
        self, connection: psycopg.Connection[Row], row: Row, balance: Decimal, event: Any
    ) -> None:
        connection.execute(_END, [_ENDS[type(event)], event.reason, event.client_order_id])

    def _on_replaced(
        self, connection: psycopg.Connection[Row], row: Row, balance: Decimal, event: OrderReplaced
    ) -> None:
        px = event.limit_px or event.stop_px
        connection.execute(_CHANGE, self._change(row, event.order_qty, px))

    def _on_replace_rejected(
        self, connection: psycopg.Connection[Row], row: Row, balance: Decimal, event: Any
    ) -> None:
        connection.execute(_CHANGE, self._change(row, None, None))

    def _on_filled(
        self, connection: psycopg.Connection[Row], row: Row, balance: Decimal, fill: OrderFilled
    ) -> None:
        """Book an execution: cash, position, trade, and what the order still takes."""
        order_id, session_id = fill.client_order_id, row["session_id"]
        if connection.execute(_IS_BOOKED, [order_id, fill.exec_id]).fetchone() is not None:
            return
        instrument = self._instruments[fill.symbol]
        decimals = instrument.quantity_decimals
        position = connection.execute(_POSITION, [session_id, fill.symbol]).fetchone()
        held = 0 if position is None else to_units(position["quantity"], decimals)
        cost = 0 if position is None else to_units(position["cost"], CASH_DECIMALS)
        notional = instrument.notional(fill.last_px, fill.signed_qty)
        held, cost, realized = apply_fill(held, cost, fill.signed_qty, notional)
        after = balance - _cash(notional + fill.commission)
        connection.execute(_SET_BALANCE, [after, row["user_id"]])
        connection.execute(
            _SET_POSITION,
            [session_id, fill.symbol, _number(held, decimals), _cash(cost), _cash(realized)],
        )
        qty = abs(fill.signed_qty)
        connection.execute(
            _TRADE,
            [
                order_id, fill.exec_id, session_id, fill.symbol, row["side"],
                _number(qty, decimals), _number(fill.last_px, instrument.price_decimals),
                _cash(fill.commission), _cash(realized), after,
                _EPOCH + timedelta(microseconds=fill.ts_event // 1000),
            ],
        )  # fmt: skip
        filled = to_units(row["filled_quantity"], decimals) + qty
        leaves = max(to_units(row["quantity"], decimals) - filled, 0)
        connection.execute(
            _FILLED,
            {
                "id": order_id,
                "filled": _number(filled, decimals),
                "cost": _cash(abs(notional)),
                "status": "PARTIALLY_FILLED" if leaves else "FILLED",
                "is_over": leaves == 0,
            },
        )

    def withdraw(self, client_order_id: str, reason: str) -> None:
        """Give up an order; see the port. One that the venue never had may be asked for again."""
        with self._of_order(client_order_id) as (connection, row, _):
            if row is not None:
                connection.execute(_FORGET, [client_order_id])
                connection.execute(_END, ["CANCELED", reason, client_order_id])

    @contextmanager
    def _of_order(
        self, client_order_id: str
    ) -> Iterator[tuple[psycopg.Connection[Row], Row | None, Decimal]]:
        """Give an order and its user's balance, the user locked."""
        with self._transaction() as connection:
            owner = connection.execute(_OWNER, [client_order_id]).fetchone()
            if owner is None:
                yield connection, None, Decimal(0)
                return
            balance = _one(connection.execute(_LOCK, [owner["user_id"]]))["virtual_balance"]
            row = connection.execute(_FIND, [client_order_id]).fetchone()
            yield connection, None if row is None else {**row, **owner}, balance

    # Questions.

    def find(self, client_order_id: str) -> GatewayOrder | None:
        """Give an order as it is now; see the port."""
        with self._transaction() as connection:
            row = connection.execute(_FIND, [client_order_id]).fetchone()
            return None if row is None else self._order(row)

    def open_orders(self) -> Sequence[str]:
        """Name the orders that have not ended; see the port."""
        with self._transaction() as connection:
            return [row["client_order_id"] for row in connection.execute(_OPEN)]

    def session(self, session_id: str) -> Mapping[str, Any] | None:
        """Say how a session stands; see the port."""
        with self._transaction() as connection:
            session = connection.execute(_SESSION, [session_id]).fetchone()
            if session is None:
                return None
            user = session["user_id"]
            balance = _one(connection.execute(_LOCK, [user]))["virtual_balance"]
            return {
                **session,
                "virtual_balance": balance,
                "free": balance - self._taken(connection, user),
                "positions": connection.execute(_POSITIONS, [session_id]).fetchall(),
                "trades": connection.execute(_TRADES, [session_id]).fetchall(),
            }

    def _order(self, row: Row) -> GatewayOrder:
        instrument = self._instruments[row["symbol"]]
        return GatewayOrder(
            client_order_id=row["client_order_id"],
            symbol=row["symbol"],
            status=row["status"],
            venue_order_id=row["venue_order_id"],
            filled_qty=to_units(row["filled_quantity"], instrument.quantity_decimals),
            filled_cost=to_units(row["filled_cost"], CASH_DECIMALS),
            reason=row["reason"],
        )


_REPORTS: Mapping[type, Callable[..., None]] = {
    OrderAccepted: PostgresGatewayBook._on_accepted,
    OrderFilled: PostgresGatewayBook._on_filled,
    OrderReplaced: PostgresGatewayBook._on_replaced,
    ReplaceRejected: PostgresGatewayBook._on_replace_rejected,
    **dict.fromkeys(_ENDS, PostgresGatewayBook._on_end),
}


def _fingerprint(asked: AskedOrder) -> bytes:
    return hashlib.sha256(msgspec.msgpack.encode(asked)).digest()


def _one(cursor: psycopg.Cursor[Row]) -> Row:
    row = cursor.fetchone()
    assert row is not None  # an aggregate, or a row that a foreign key names
    return row


def _number(units: int, decimals: int) -> Decimal:
    return Decimal(units).scaleb(-decimals)


def _cash(units: int) -> Decimal:
    return _number(units, CASH_DECIMALS)
