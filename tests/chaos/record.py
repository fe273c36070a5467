"""Both sides of the account: what the order system was asked and did, what the engine keeps."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from engine.domain.events import (
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    ReplaceRejected,
)
from engine.domain.orders import Order

Report = (
    OrderAccepted
    | OrderCanceled
    | OrderExpired
    | OrderFilled
    | OrderRejected
    | OrderReplaced
    | CancelRejected
    | ReplaceRejected
)
_report = msgspec.json.Decoder(Report).decode
_order = msgspec.json.Decoder(Order).decode
PRICE, CASH = Decimal("0.01"), Decimal("0.00000001")


@dataclass(slots=True)
class Asked:
    """One order at the order system.

    Attributes:
        order: as it came first.
        arrivals: how often it came.
        denied: how often it was asked for before it had come, and said to be unknown.
        differs: it came again with another body.
        reports: everything that was told of it, in order.
        in_time: how many of them were told before the system was asked for the last time what is
            working; an engine that has ended need not know of the rest.
    """

    order: Order
    denied: int
    arrivals: int = 1
    differs: bool = False
    reports: list[Report] = field(default_factory=list)
    in_time: int = 0

    def of(self, kind: type) -> list[Any]:
        """Give its reports of a type."""
        return [report for report in self.reports if type(report) is kind]

    @property
    def statuses(self) -> set[str]:
        """What had become of it when the system was last asked, and what became of it since."""
        return {_status(self.reports[: self.in_time]), _status(self.reports)}

    @property
    def due(self) -> set[str]:
        """Its executions that the engine must know of, by id."""
        return {r.exec_id for r in self.reports[: self.in_time] if type(r) is OrderFilled}


_ENDS = {OrderRejected: "REJECTED", OrderCanceled: "CANCELED", OrderExpired: "EXPIRED"}


def _status(reports: list[Report]) -> str:
    for report in reports:
        if type(report) in _ENDS:
            return _ENDS[type(report)]
        if type(report) is OrderFilled and report.leaves_qty == 0:
            return "FILLED"
    return "OPEN"


def read_oms(state: Path) -> dict[str, Asked]:
    """Read the file of the order system: every order it ever had, by id, in order of arrival."""
    orders: dict[str, Asked] = {}
    unknown: dict[str, int] = {}
    with state.open("rb") as file:
        for raw in file:
            if not raw.endswith(b"\n"):
                break  # it died while it wrote this
            line = json.loads(raw)
            kind, what = line["kind"], line.get("what")
            if kind == "order":
                order = _order(json.dumps(what))
                asked = orders.get(order.client_order_id)
                if asked is None:
                    denied = unknown.get(order.client_order_id, 0)
                    orders[order.client_order_id] = Asked(order, denied)
                else:
                    asked.arrivals += 1
                    asked.differs = asked.differs or _body(order) != _body(asked.order)
            elif kind == "query" and what["client_order_id"] not in orders:
                order_id = what["client_order_id"]
                unknown[order_id] = unknown.get(order_id, 0) + 1
            elif kind == "report":
                report = _report(json.dumps(what))
                orders[report.client_order_id].reports.append(report)
            elif kind == "list":
                for asked in orders.values():
                    asked.in_time = len(asked.reports)
    return orders


def _body(order: Order) -> Order:
    return msgspec.structs.replace(order, ts_init=0)


@dataclass(frozen=True, slots=True)
class Kept:
    """One order in the engine's database, with amounts in units."""

    symbol: str
    side: str
    order_type: str
    quantity: int
    price: int | None
    stop_price: int | None
    time_in_force: str
    reduce_only: bool
    status: str
    reason: str | None
    is_approved: bool


@dataclass(slots=True)
class Books:
    """What the engine's database holds of a run.

    Attributes:
        orders: by id.
        fills: execution id, with the order, the signed quantity and the price, in units.
        fill_rows: rows of fills.
        positions: symbol to quantity.
        journal: number of batches, and their last events hash.
        broken: the first batch that is not what was written; None when the chain is whole.
        status: of the run.
    """

    orders: dict[str, Kept]
    fills: dict[str, tuple[str, int, int]]
    fill_rows: int
    positions: dict[str, Decimal]
    journal: tuple[int, str]
    broken: int | None
    status: str


def read_books(connection: psycopg.Connection, run_name: str) -> Books:
    """Read a run from the database, by SQL alone."""
    runs = connection.execute(
        "SELECT status FROM strategy_worker.runs WHERE run_name = %s", [run_name]
    ).fetchone()
    executions = connection.execute(
        "SELECT execution_id, positions FROM strategy_worker.strategy_executions "
        "WHERE run_name = %s",
        [run_name],
    ).fetchone()
    if runs is None or executions is None:
        return Books({}, {}, 0, {}, (0, ""), None, "")
    key = executions[0]
    fills = connection.execute(
        "SELECT exec_id, order_id, quantity, price FROM strategy_worker.execution_fills "
        "WHERE execution_id = %s",
        [key],
    ).fetchall()
    journal, broken = _chain(connection, run_name)
    return Books(
        orders=read_orders(connection, run_name),
        fills={exec_id: (order, int(qty), _units(px) or 0) for exec_id, order, qty, px in fills},
        fill_rows=len(fills),
        positions={s: Decimal(each["quantity"]) for s, each in executions[1].items()},
        journal=journal,
        broken=broken,
        status=runs[0],
    )


def read_orders(connection: psycopg.Connection, run_name: str) -> dict[str, Kept]:
    """Read the orders of a run."""
    rows = connection.execute(
        "SELECT order_id, symbol, side, order_type, quantity, price, stop_price, time_in_force, "
        "reduce_only, inner_status, reason, verdict ->> 'code' "
        "FROM strategy_worker.execution_orders "
        "JOIN strategy_worker.strategy_executions USING (execution_id) WHERE run_name = %s",
        [run_name],
    ).fetchall()
    return {
        row[0]: Kept(
            *row[1:4], int(row[4]), _units(row[5]), _units(row[6]), *row[7:11], row[11] is None
        )
        for row in rows
    }


def _units(price: Decimal | None) -> int | None:
    return None if price is None else int(price / PRICE)


def _chain(connection: psycopg.Connection, run_name: str) -> tuple[tuple[int, str], int | None]:
    """Work the hash chain of the journal out anew."""
    rows = connection.execute(
        "SELECT batch, first_input, inputs, record, events_hash, hash "
        "FROM strategy_worker.journal WHERE run_name = %s ORDER BY batch",
        [run_name],
    ).fetchall()
    before, inputs, last = b"", 0, ""
    for expected, (batch, first, count, record, events_hash, kept) in enumerate(rows):
        found = hashlib.sha256(before + record + events_hash).digest()
        if batch != expected or first != inputs or found != kept:
            return (len(rows), last), expected
        before, inputs, last = kept, inputs + count, events_hash.hex()
    return (len(rows), last), None
