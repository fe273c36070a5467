from __future__ import annotations

from itertools import product

import pytest

from engine.domain.events import (
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderDenied,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    OrderSubmitted,
    OrderUnknown,
    ReplaceRejected,
)
from engine.domain.order_state import TRANSITIONS, next_status
from engine.domain.orders import OrderStatus
from engine.errors import InvariantError

S = OrderStatus
EVENTS: dict[str, type] = {
    "denied": OrderDenied,
    "submitted": OrderSubmitted,
    "accepted": OrderAccepted,
    "filled": OrderFilled,
    "canceled": OrderCanceled,
    "expired": OrderExpired,
    "rejected": OrderRejected,
    "unknown": OrderUnknown,
    "replaced": OrderReplaced,
    "cancel_rejected": CancelRejected,
    "replace_rejected": ReplaceRejected,
}

# One line a status: what each event makes of it while something is left to fill; what is not
# named is impossible. Written down again on purpose, so that a change of the table is seen here.
EXPECTED: dict[S, str] = {
    S.INITIALIZED: "denied:DENIED submitted:PENDING_NEW canceled:CANCELED",
    S.DENIED: "",
    S.PENDING_NEW: (
        "accepted:ACCEPTED filled:PARTIALLY_FILLED canceled:CANCELED expired:EXPIRED "
        "rejected:REJECTED unknown:UNKNOWN"
    ),
    S.ACCEPTED: (
        "accepted:ACCEPTED filled:PARTIALLY_FILLED canceled:CANCELED expired:EXPIRED "
        "rejected:REJECTED unknown:UNKNOWN replaced:ACCEPTED cancel_rejected:ACCEPTED "
        "replace_rejected:ACCEPTED"
    ),
    S.PARTIALLY_FILLED: (
        "accepted:PARTIALLY_FILLED filled:PARTIALLY_FILLED canceled:CANCELED expired:EXPIRED "
        "rejected:REJECTED replaced:PARTIALLY_FILLED cancel_rejected:PARTIALLY_FILLED "
        "unknown:UNKNOWN replace_rejected:PARTIALLY_FILLED"
    ),
    S.FILLED: "accepted:FILLED filled:FILLED cancel_rejected:FILLED replace_rejected:FILLED",
    S.PENDING_CANCEL: (
        "accepted:PENDING_CANCEL filled:PENDING_CANCEL canceled:CANCELED expired:EXPIRED "
        "rejected:REJECTED replaced:PENDING_CANCEL cancel_rejected:ACCEPTED "
        "replace_rejected:PENDING_CANCEL unknown:UNKNOWN"
    ),
    S.PENDING_REPLACE: (
        "accepted:PENDING_REPLACE filled:PENDING_REPLACE canceled:CANCELED expired:EXPIRED "
        "rejected:REJECTED replaced:ACCEPTED cancel_rejected:PENDING_REPLACE "
        "replace_rejected:ACCEPTED unknown:UNKNOWN"
    ),
    S.CANCELED: "filled:CANCELED cancel_rejected:CANCELED replace_rejected:CANCELED",
    S.REJECTED: "filled:REJECTED",
    S.EXPIRED: "filled:EXPIRED cancel_rejected:EXPIRED replace_rejected:EXPIRED",
    S.UNKNOWN: (
        "accepted:ACCEPTED filled:PARTIALLY_FILLED canceled:CANCELED expired:EXPIRED "
        "rejected:REJECTED unknown:UNKNOWN replaced:UNKNOWN cancel_rejected:UNKNOWN "
        "replace_rejected:UNKNOWN"
    ),
}


def expected(status: S, event: str) -> S | None:
    table = dict(part.split(":") for part in EXPECTED[status].split())
    return S[table[event]] if event in table else None


@pytest.mark.req("D7")
@pytest.mark.parametrize(("status", "event"), list(product(S, EVENTS)))
def test_every_pair_is_in_the_table_or_raises(status: S, event: str) -> None:
    after = expected(status, event)
    cum_qty = 1 if status is S.PARTIALLY_FILLED else 0
    if after is None:
        with pytest.raises(InvariantError, match=f"cannot happen to a {status.name} order"):
            next_status(status, EVENTS[event], cum_qty, 5)
    else:
        assert next_status(status, EVENTS[event], cum_qty, 5) is after


def test_the_table_knows_every_status_and_no_foreign_event() -> None:
    assert set(TRANSITIONS) == set(S) == set(EXPECTED)
    assert {kind for row in TRANSITIONS.values() for kind in row} <= set(EVENTS.values())


@pytest.mark.parametrize("status", [s for s in S if not s.is_terminal and s is not S.INITIALIZED])
def test_the_last_fill_makes_it_filled(status: S) -> None:
    assert next_status(status, OrderFilled, 10, 0) is S.FILLED


@pytest.mark.req("P6")
@pytest.mark.parametrize("status", [S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED])
@pytest.mark.parametrize("leaves_qty", [0, 3])
def test_a_late_fill_leaves_an_ended_order_ended(status: S, leaves_qty: int) -> None:
    assert next_status(status, OrderFilled, 10, leaves_qty) is status


@pytest.mark.parametrize(
    ("status", "event"),
    [
        (S.PENDING_CANCEL, CancelRejected),
        (S.PENDING_REPLACE, OrderReplaced),
        (S.PENDING_REPLACE, ReplaceRejected),
        (S.PENDING_NEW, OrderAccepted),
        (S.UNKNOWN, OrderAccepted),
    ],
)
def test_back_to_work_means_partially_filled_once_something_is(status: S, event: type) -> None:
    assert next_status(status, event, 0, 10) is S.ACCEPTED
    assert next_status(status, event, 4, 6) is S.PARTIALLY_FILLED


def test_terminal_statuses() -> None:
    ended = {S.DENIED, S.FILLED, S.CANCELED, S.REJECTED, S.EXPIRED}
    assert {status for status in S if status.is_terminal} == ended
    for status in ended:
        assert all(after is status for after in TRANSITIONS[status].values())
