"""The book of a gateway: what a balance covers, and where it stands after every report."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.postgres.gateway_book import PostgresGatewayBook
from adapters.postgres.gateway_setup import add_session, add_user, stop_session
from engine.domain.commands import ReplaceOrder
from engine.domain.events import (
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    PricedBy,
    ReplaceRejected,
)
from engine.domain.gateway import AskedOrder, GatewayOrder, RefusalCode
from engine.domain.instruments import Instrument
from engine.domain.orders import Liquidity, Order, OrderType, Side
from engine.errors import ConfigError, StoreError

INSTRUMENTS = {"A": Instrument(symbol="A"), "C": Instrument(symbol="C", quantity_decimals=4)}
CENT = 10**6  # cash units
_NUMBERS = itertools.count()


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        add_user(connection, "u", Decimal(10_000))
        add_session(connection, "s", "u", "s")
        yield connection


@pytest.fixture
def book(database: str, connection: psycopg.Connection) -> Iterator[PostgresGatewayBook]:
    book = PostgresGatewayBook(database, instruments=INSTRUMENTS, timeout_s=5, connections=(1, 4))
    yield book
    book.close()


def asked(name: str, side: Side = Side.BUY, qty: int = 100, px: int = 1_000, **more: Any) -> Any:
    fields = {"symbol": "A", "session": "s", **more}
    order = Order(
        name, "s", fields["symbol"], side, OrderType.LIMIT, qty, 0, limit_px=px, confidence=0.5
    )
    return AskedOrder(session_id=fields["session"], order=order, px=px)


def filled(name: str, side: Side, qty: int, px: int, number: int = 1, commission: int = 0) -> Any:
    return OrderFilled(
        client_order_id=name, exec_id=f"{name}-{number}", strategy_id="s", symbol="A",
        signed_qty=side.sign * qty, last_px=px, cum_qty=qty, leaves_qty=0, commission=commission,
        slippage=0, liquidity=Liquidity.TAKER, ts_event=10**18 + number, priced_by=PricedBy.REPORT,
        datum_seq=-1, datum_ts=0,
    )  # fmt: skip


def trade(book: PostgresGatewayBook, name: str, side: Side, qty: int, px: int) -> None:
    taken = book.admit(asked(name, side, qty, px))
    assert isinstance(taken, GatewayOrder), taken
    book.report(OrderAccepted(name, f"V-{name}", 0))
    book.report(filled(name, side, qty, px))


def free(book: PostgresGatewayBook) -> Decimal:
    return standing(book)["free"]


def standing(book: PostgresGatewayBook) -> Any:
    found = book.session("s")
    assert found is not None
    return found


@pytest.mark.req("R36", "R37", "R38", "R39")
class TestAdmission:
    def test_an_order_takes_what_it_may_cost(self, book: PostgresGatewayBook) -> None:
        taken = book.admit(asked("o", qty=900))
        assert taken == GatewayOrder("o", "A", "PENDING_NEW", "", 0, 0, "")
        assert free(book) == 1_000
        assert book.admit(asked("p", qty=101)) is RefusalCode.INSUFFICIENT_FUNDS
        assert isinstance(book.admit(asked("q", qty=100)), GatewayOrder)  # to the last cent
        assert free(book) == 0
        assert list(book.open_orders()) == ["o", "q"]

    def test_the_same_order_again_is_the_same(self, book: PostgresGatewayBook) -> None:
        order = asked("o", qty=900)
        first = book.admit(order)
        assert book.admit(order) == first
        assert free(book) == 1_000
        other = asked("o", qty=901)
        assert book.admit(other) is RefusalCode.KEY_REUSED

    def test_who_may_not(self, book: PostgresGatewayBook, connection: psycopg.Connection) -> None:
        assert book.admit(asked("o", session="none")) is RefusalCode.UNKNOWN_SESSION
        assert book.admit(asked("o", symbol="B")) is RefusalCode.UNKNOWN_SYMBOL
        connection.execute("INSERT INTO gateway.securities (ticker, active) VALUES ('A', false)")
        assert book.admit(asked("o")) is RefusalCode.SYMBOL_INACTIVE
        connection.execute("UPDATE gateway.securities SET active = true")
        stop_session(connection, "s")
        assert book.admit(asked("o")) is RefusalCode.SESSION_STOPPED
        assert not book.open_orders()
        assert book.session("none") is None
        assert book.find("o") is None

    def test_signals_are_kept_the_refused_ones_too(
        self, book: PostgresGatewayBook, connection: psycopg.Connection
    ) -> None:
        book.admit(asked("o"))
        book.admit(asked("p", Side.SELL, qty=5_000))
        rows = connection.execute(
            "SELECT client_order_id, action, quantity, price, confidence, refused "
            "FROM gateway.signals ORDER BY signal_id"
        ).fetchall()
        assert rows == [
            ("o", "BUY", 100, 10, 0.5, None),
            ("p", "SELL", 5_000, 10, 0.5, "INSUFFICIENT_FUNDS"),
        ]

    def test_closing_takes_nothing_and_only_what_is_held_closes(
        self, book: PostgresGatewayBook
    ) -> None:
        trade(book, "b", Side.BUY, 1_000, 1_000)
        assert free(book) == 0
        assert isinstance(book.admit(asked("close", Side.SELL, 600)), GatewayOrder)
        assert isinstance(book.admit(asked("rest", Side.SELL, 400)), GatewayOrder)
        assert book.admit(asked("over", Side.SELL, 1)) is RefusalCode.INSUFFICIENT_FUNDS
        book.report(OrderCanceled("rest", "USER", 0))
        assert isinstance(book.admit(asked("again", Side.SELL, 400)), GatewayOrder)

    def test_whichever_fills_first_the_rest_is_covered(self, book: PostgresGatewayBook) -> None:
        trade(book, "b", Side.BUY, 500, 1_000)  # 5,000 are left
        assert isinstance(book.admit(asked("first", Side.SELL, 500)), GatewayOrder)
        assert isinstance(book.admit(asked("second", Side.SELL, 500)), GatewayOrder)
        assert free(book) == 0
        book.report(filled("second", Side.SELL, 500, 1_000))  # it closes; the first one would open
        assert free(book) == 5_000
        book.report(filled("first", Side.SELL, 500, 1_000))
        assert free(book) == 5_000

    def test_a_short_position_takes_as_much_as_a_long_one(self, book: PostgresGatewayBook) -> None:
        trade(book, "short", Side.SELL, 600, 1_000)
        assert standing(book)["virtual_balance"] == 16_000
        assert free(book) == 4_000
        assert book.admit(asked("more", Side.SELL, 401)) is RefusalCode.INSUFFICIENT_FUNDS
        trade(book, "cover", Side.BUY, 600, 900)
        assert free(book) == standing(book)["virtual_balance"] == 10_600

    def test_two_at_once_cannot_both_have_the_last_of_it(self, book: PostgresGatewayBook) -> None:
        results: list[Any] = []
        threads = [
            threading.Thread(target=lambda n=n: results.append(book.admit(asked(f"o{n}", qty=300))))  # type: ignore[misc]
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        refused = [each for each in results if each is RefusalCode.INSUFFICIENT_FUNDS]
        assert len(results) == 8
        assert len(refused) == 5
        assert free(book) == 1_000

    def test_a_database_that_is_gone_is_said(self, book: PostgresGatewayBook) -> None:
        book.close()
        with pytest.raises(StoreError, match="the database of the gateway"):
            book.admit(asked("o"))


@pytest.mark.req("R41")
class TestReports:
    def test_a_fill_moves_balance_position_and_trades(
        self, book: PostgresGatewayBook, connection: psycopg.Connection
    ) -> None:
        book.admit(asked("o", qty=300))
        book.report(OrderAccepted("o", "V", 0))
        book.report(filled("o", Side.BUY, 100, 990, 1, commission=50 * CENT))
        assert standing(book)["virtual_balance"] == Decimal("9009.50")
        assert free(book) == Decimal("9009.50") - 2_000
        found = book.find("o")
        assert found is not None
        assert (found.status, found.filled_qty, found.venue_order_id) == (
            "PARTIALLY_FILLED",
            100,
            "V",
        )
        book.report(filled("o", Side.BUY, 200, 1_000, 2))
        now = standing(book)
        assert now["virtual_balance"] == now["free"] == Decimal("7009.50")
        assert [(p["symbol"], p["quantity"]) for p in now["positions"]] == [("A", 300)]
        assert round(now["positions"][0]["average_entry_price"], 4) == Decimal("9.9667")
        assert [(t["quantity"], t["price"], t["commission"]) for t in now["trades"]] == [
            (100, Decimal("9.90"), Decimal("0.50")),
            (200, 10, 0),
        ]
        assert not book.open_orders()
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
            connection.execute("DELETE FROM gateway.trades")

    def test_a_report_that_is_told_again_changes_nothing(self, book: PostgresGatewayBook) -> None:
        book.admit(asked("o"))
        events = [
            OrderAccepted("o", "V", 0),
            filled("o", Side.BUY, 40, 1_000),
            OrderCanceled("o", "USER", 0),
        ]
        for event in events:
            book.report(event)
        before = standing(book), book.find("o")
        for event in [*events, *events[::-1]]:
            book.report(event)
        assert (standing(book), book.find("o")) == before
        assert free(book) == 9_600

    def test_a_fill_after_the_end_is_booked(self, book: PostgresGatewayBook) -> None:
        book.admit(asked("o"))
        book.report(OrderCanceled("o", "USER", 0))
        book.report(filled("o", Side.BUY, 40, 1_000))
        assert free(book) == 9_600
        found = book.find("o")
        assert found is not None
        assert (found.status, found.filled_qty, found.reason) == ("CANCELED", 40, "USER")

    @pytest.mark.parametrize(
        ("event", "status"),
        [
            (OrderRejected("o", "no", 0), "REJECTED"),
            (OrderExpired("o", "over", 0), "EXPIRED"),
            (OrderCanceled("o", "USER", 0), "CANCELED"),
        ],
    )
    def test_an_end_gives_back_what_it_took(
        self, book: PostgresGatewayBook, event: Any, status: str
    ) -> None:
        book.admit(asked("o"))
        book.report(event)
        found = book.find("o")
        assert found is not None
        assert (found.status, found.reason) == (status, event.reason)
        assert free(book) == 10_000

    def test_what_is_nobody_s_is_nothing(self, book: PostgresGatewayBook) -> None:
        book.report(OrderAccepted("x", "V", 0))
        book.report(filled("x", Side.BUY, 1, 1))
        book.withdraw("x", "why")
        assert free(book) == 10_000

    def test_a_replacement_takes_the_more_of_both_until_it_is_answered(
        self, book: PostgresGatewayBook
    ) -> None:
        book.admit(asked("o", qty=100))
        more = ReplaceOrder("o", "s", 0, order_qty=300, limit_px=1_100)
        assert book.admit_replace(more) is None
        assert free(book) == 6_700
        book.report(ReplaceRejected("o", "no", 0))
        assert free(book) == 9_000
        assert book.admit_replace(more) is None
        book.report(OrderReplaced("o", 300, 1_100, None, 0))
        assert free(book) == 6_700
        less = ReplaceOrder("o", "s", 0, order_qty=10)
        assert book.admit_replace(less) is None
        assert free(book) == 6_700
        book.report(OrderReplaced("o", 10, 1_100, None, 0))
        assert free(book) == 9_890
        beyond = ReplaceOrder("o", "s", 0, order_qty=1_000)
        assert book.admit_replace(beyond) is RefusalCode.INSUFFICIENT_FUNDS
        assert book.admit_replace(ReplaceOrder("x", "s", 0)) is RefusalCode.UNKNOWN_ORDER

    def test_what_never_left_may_be_asked_for_again(self, book: PostgresGatewayBook) -> None:
        book.admit(asked("new"))
        book.admit(asked("known"))
        book.report(OrderAccepted("known", "V", 0))
        book.withdraw("new", "GONE")
        book.withdraw("known", "GONE")
        assert book.find("new") is None
        found = book.find("known")
        assert found is not None
        assert (found.status, found.reason) == ("CANCELED", "GONE")
        assert free(book) == 10_000
        assert isinstance(book.admit(asked("new")), GatewayOrder)


def test_setting_up(connection: psycopg.Connection) -> None:
    with pytest.raises(ConfigError, match="there is no user 'nobody'"):
        add_session(connection, "t", "nobody", "t")
    add_user(connection, "v", Decimal(5))
    with pytest.raises(ConfigError, match="session 's' is of another user"):
        add_session(connection, "s", "v", "s")
    with pytest.raises(ConfigError, match="there is no session 'none'"):
        stop_session(connection, "none")
    stop_session(connection, "s")
    add_session(connection, "s", "u", "s")
    add_user(connection, "v", Decimal(7))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "fill", "end", "replace"]),
        st.sampled_from(list(Side)),
        st.integers(1, 600),
        st.integers(500, 1_500),
        st.integers(0, 5),
    ),
    max_size=25,
)


@pytest.mark.req("R38", "R41")
@given(steps=STEPS)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_books_agree_whatever_happens(
    steps: list[Any], database: str, connection: psycopg.Connection
) -> None:
    """The balance is what the trades left of it, and the position is their sum."""
    user = f"u{next(_NUMBERS)}"
    add_user(connection, user, Decimal(10_000))
    add_session(connection, user, user, user)
    book = PostgresGatewayBook(database, instruments=INSTRUMENTS, timeout_s=5, connections=(1, 2))
    open_orders: dict[str, list[int]] = {}
    try:
        for number, (what, side, qty, px, which) in enumerate(steps):
            name = f"{user}-{number}"
            if what == "ask":
                taken = book.admit(asked(name, side, qty, px, session=user))
                if isinstance(taken, GatewayOrder):
                    open_orders[name] = [side.sign, qty, px]
            elif open_orders:
                chosen = sorted(open_orders)[which % len(open_orders)]
                sign, leaves, limit = open_orders[chosen]
                if what == "end":
                    book.report(OrderCanceled(chosen, "USER", 0))
                    del open_orders[chosen]
                elif what == "replace":
                    if book.admit_replace(ReplaceOrder(chosen, "s", 0, limit_px=px)) is None:
                        order_qty = connection.execute(
                            "SELECT quantity::int FROM gateway.orders WHERE client_order_id = %s",
                            [chosen],
                        ).fetchone()
                        assert order_qty is not None
                        book.report(OrderReplaced(chosen, order_qty[0], px, None, 0))
                        open_orders[chosen][2] = px
                else:
                    done = min(qty, leaves)
                    fill = filled(chosen, Side.BUY, done, limit, number)
                    book.report(msgspec.structs.replace(fill, signed_qty=sign * done))
                    open_orders[chosen][1] -= done
                    if open_orders[chosen][1] == 0:
                        del open_orders[chosen]
            now = book.session(user)
            assert now is not None
            moved = sum(
                (1 if t["side"] == "BUY" else -1) * t["quantity"] * t["price"]
                for t in now["trades"]
            )
            assert now["virtual_balance"] == 10_000 - moved
            held = sum((1 if t["side"] == "BUY" else -1) * t["quantity"] for t in now["trades"])
            assert sum(p["quantity"] for p in now["positions"]) == held
    finally:
        book.close()
