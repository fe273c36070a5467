"""The judge finds everything that it is there to find, and nothing where all is well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import msgspec
import pytest

from engine.domain.events import OrderAccepted, OrderCanceled, OrderFilled, PricedBy
from engine.domain.orders import Liquidity, Order, OrderType, Side
from tests.chaos.judge import judge
from tests.chaos.record import Asked, Books, Kept

ORDER = Order("O", "S", "AAA", Side.BUY, OrderType.LIMIT, 5, 1, limit_px=100)
FILL = OrderFilled(
    "O", "E1", "S", "AAA", 5, 99, 5, 0, 0, 0, Liquidity.TAKER, 9, PricedBy.TRADE, 0, 9
)
KEPT = Kept("AAA", "BUY", "LIMIT", 5, 100, None, "GTC", False, "FILLED", None, True)


def sides() -> tuple[dict[str, Asked], Books]:
    """Give an order that was filled, as both sides tell of it."""
    asked = Asked(ORDER, denied=0, reports=[OrderAccepted("O", "V", 2), FILL], in_time=2)
    books = Books(
        orders={"O": KEPT},
        fills={"E1": ("O", 5, 99)},
        fill_rows=1,
        positions={"AAA": Decimal(5)},
        journal=(3, "x"),
        broken=None,
        status="COMPLETED",
    )
    return {"O": asked}, books


def found(change: Callable[[dict[str, Asked], Books], object]) -> set[str]:
    """Give the kinds of what the judge finds after a change."""
    asked, books = sides()
    change(asked, books)
    return {kind for kind, _ in judge(asked, books)}


def body(asked: dict[str, Asked], books: Books) -> None:
    asked["O"].order = msgspec.structs.replace(ORDER, order_qty=6)


def keep(**changes: object) -> Callable[[dict[str, Asked], Books], None]:
    def change(asked: dict[str, Asked], books: Books) -> None:
        books.orders["O"] = replace(KEPT, **changes)  # type: ignore[arg-type]

    return change


def set_in(what: str, **changes: object) -> Callable[[dict[str, Asked], Books], None]:
    def change(asked: dict[str, Asked], books: Books) -> None:
        for name, value in changes.items():
            setattr(asked["O"] if what == "asked" else books, name, value)

    return change


@pytest.mark.req("P1", "P2")
@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        (lambda asked, books: None, set()),
        (lambda asked, books: books.orders.clear(), {"unapproved"}),
        (keep(is_approved=False), {"unapproved"}),
        (body, {"unapproved"}),
        (set_in("asked", differs=True), {"unapproved"}),
        (set_in("asked", arrivals=2), {"doubled"}),
        (set_in("asked", arrivals=2, denied=1), {"doubled"}),
        (lambda asked, books: asked["O"].reports.append(OrderAccepted("O", "V2", 3)), {"doubled"}),
        (
            lambda asked, books: asked["O"].reports.append(
                msgspec.structs.replace(FILL, exec_id="E2")
            ),
            {"doubled"},
        ),
        (keep(status="CANCELED"), {"lost"}),
        (keep(status="UNKNOWN"), {"lost"}),
        (lambda asked, books: asked.clear(), {"lost", "invented", "positions"}),
        (set_in("books", fills={}), {"missing", "booked_twice"}),
        (set_in("books", fills={}, fill_rows=0), {"missing"}),
        (set_in("books", fills={"E1": ("O", 4, 99)}), {"invented"}),
        (set_in("books", fill_rows=2), {"booked_twice"}),
        (set_in("books", positions={}), {"positions"}),
        (set_in("books", broken=1), {"journal"}),
        (set_in("books", status="RUNNING"), {"journal"}),
    ],
)
def test_what_is_wrong_is_found(
    change: Callable[[dict[str, Asked], Books], object], kinds: set[str]
) -> None:
    assert found(change) == kinds


@pytest.mark.req("P19")
@pytest.mark.parametrize(("in_time", "kinds"), [(1, set()), (2, {"lost", "missing"})])
def test_only_what_was_told_in_time_is_to_be_known(in_time: int, kinds: set[str]) -> None:
    asked, books = sides()
    asked["O"].in_time = in_time
    books.orders["O"] = replace(KEPT, status="ACCEPTED")
    books.fills.clear()
    books.fill_rows = 0
    books.positions.clear()
    assert {kind for kind, _ in judge(asked, books)} - {"positions"} == kinds


def test_an_order_that_was_canceled_here_and_works_there_is_lost() -> None:
    asked, books = sides()
    asked["O"].reports[1:] = [OrderCanceled("O", "USER", 9)]
    asked["O"].in_time = 1  # it was canceled after the engine had ended
    books.orders["O"] = replace(KEPT, status="CANCELED")
    books.fills.clear()
    books.fill_rows = 0
    books.positions.clear()
    assert judge(asked, books) == []
    asked["O"].reports.pop()
    assert [kind for kind, _ in judge(asked, books)] == ["lost"]
