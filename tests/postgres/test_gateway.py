"""A gateway on real sockets, a real database and the reference exchange."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.http.link import HttpVenueLink
from adapters.http.server import BODY_MAX
from adapters.postgres.gateway_book import PostgresGatewayBook
from adapters.postgres.gateway_setup import add_session, add_user
from engine.config import load_config
from engine.domain.commands import CancelOrder, ReplaceOrder
from engine.domain.events import (
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OrderReplaced,
    OrderStatusGiven,
    OrdersWorking,
    OrderUnknown,
    ReplaceRejected,
    VenueDown,
    VenueUp,
)
from engine.domain.findings import exit_code
from engine.domain.orders import OrderType, Side, TimeInForce
from engine.gateway import Gateway
from engine.sections import GatewayConfig, RetryConfig
from engine.wiring import oms_state, open_history
from engine.wiring.doctor import examine
from engine.wiring.gateway import open_gateway_server
from tests.cli.rig import bar_text
from tests.integration.rig import Heard, make_order, opened

STILL = 24.0  # a bar of a day takes an hour
FAST = 864_000.0  # a tenth of a second


class Served:
    """A gateway at work.

    Attributes:
        port: where it listens.
        client: an HTTP client of it.
    """

    def __init__(self, gateway: Gateway, book: PostgresGatewayBook) -> None:
        self._gateway = gateway
        self.book = book
        gateway.start()
        self.port = gateway.serve("127.0.0.1", 0)
        self._feeding = threading.Thread(target=gateway.run)
        self._feeding.start()
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=20)

    def stop(self) -> None:
        self.client.close()
        self._gateway.stop()
        self._feeding.join(20)
        self.book.close()

    def execute(self, key: str | None = None, **fields: Any) -> httpx2.Response:
        body = {"sessionId": "s", "symbol": "A", "action": "BUY", "price": 50, "qty": 10, **fields}
        body = {name: value for name, value in body.items() if value is not None}
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.client.post("/internal/execute", json=body, headers=headers)

    def session(self) -> Any:
        return self.client.get("/v1/sessions/s").json()


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        add_user(connection, "u", Decimal(10_000))
        add_session(connection, "s", "u", "s")
        yield connection


Serve = Callable[..., Any]


@pytest.fixture
def serve(tmp_path: Path, database: str, connection: psycopg.Connection) -> Serve:
    (tmp_path / "A.csv").write_text(bar_text())

    @contextmanager
    def served(speed: float = STILL, *, token: str | None = None, state: bool = False) -> Any:
        config = load_config("backtest", settings={"data.paths": [str(tmp_path / "A.csv")]})
        history = open_history(config)
        by_symbol = {each.symbol: each for each in history.instruments}
        book = PostgresGatewayBook(database, instruments=by_symbol, timeout_s=5, connections=(1, 8))
        edge = partial(
            open_gateway_server, history.instruments, book, token=token, certificate=None, key=None
        )
        kept = oms_state(tmp_path / "exchange.state") if state else None
        gateway = Served(Gateway(config, history, edge, book, speed=speed, state=kept), book)
        try:
            yield gateway
        finally:
            gateway.stop()

    return served


@pytest.fixture
def heard() -> Heard:
    return Heard()


@contextmanager
def linked(
    served: Served, heard: Heard, client: str = "", backoff_ms: int = 20, **more: Any
) -> Iterator[HttpVenueLink]:
    config = GatewayConfig(
        url=f"http://127.0.0.1:{served.port}", retry=RetryConfig(backoff_ms=backoff_ms), **more
    )
    link = HttpVenueLink(
        config,
        instruments={"A": open_history_instrument(served)},
        keep_closed=100,
        on_bad_answer=heard.on_bad_answer,
        now=lambda: 1,
        client=client,
        price_of=lambda symbol: 100,
    )
    opened(link, heard)
    try:
        yield link
    finally:
        link.close(timeout_s=10)


def open_history_instrument(served: Served) -> Any:
    return served.book._instruments["A"]


@pytest.mark.req("D9", "R35")
class TestTheContractOfEveryGateway:
    @pytest.mark.req("R36", "R37", "R38", "R39", "R42")
    def test_orders_are_taken_or_refused(self, serve: Serve) -> None:
        with serve() as served:
            done = served.execute("o")
            assert done.status_code == 201
            answer = done.json()
            assert answer["clientOrderId"] == "o"
            assert (answer["status"], answer["filledQty"]) == ("ACCEPTED", 0)
            assert served.session()["free"] == 9_500
            again = served.execute("o")
            assert (again.status_code, again.json()) == (201, answer)
            refused = served.execute("p", qty=1_000)
            assert (refused.status_code, refused.json()["error"]) == (400, "Insufficient funds")
            other = served.execute("o", qty=11)
            assert (other.status_code, other.json()["code"]) == (422, "KEY_REUSED")
            nobody = served.execute("q", sessionId="none")
            assert (nobody.status_code, nobody.json()["code"]) == (404, "UNKNOWN_SESSION")
            symbol = served.execute("q", symbol="B")
            assert (symbol.status_code, symbol.json()["code"]) == (422, "UNKNOWN_SYMBOL")
            odd = served.execute("q", price=50.125)
            assert (odd.status_code, odd.json()["code"]) == (400, "INVALID_ORDER")
            assert served.session()["free"] == 9_500

    @pytest.mark.req("R40", "R41", "R42")
    def test_what_fills_moves_the_balance(self, serve: Serve) -> None:
        with serve(FAST) as served:
            assert served.execute("m", orderType="MARKET", price=200).status_code == 201
            waited = threading.Event()
            while not served.session()["trades"]:
                assert not waited.wait(0.02)
            now = served.session()
            (trade,) = now["trades"]
            assert (trade["side"], trade["quantity"]) == ("BUY", 10)
            assert now["virtual_balance"] == 10_000 - 10 * trade["price"]
            assert now["positions"][0]["quantity"] == 10
            done = served.execute("m", orderType="MARKET", price=200).json()
            assert (done["status"], done["filledQty"], done["filledAvgPrice"]) == (
                "FILLED",
                10,
                trade["price"],
            )

    def test_a_rejection_of_the_exchange_is_told(self, serve: Serve) -> None:
        with serve() as served:
            done = served.execute("o", timeInForce="FOK", orderType="STOP", stopPrice="50")
            assert done.status_code in (201, 422)
            lone = served.execute("p", parentId="nobody")
            assert lone.status_code == 422
            assert lone.json()["code"] == "REJECTED"
            assert served.session()["free"] in (9_500, 10_000)

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"qty": None}, "qty is missing"),
            ({"qty": 0}, "is not above 0"),
            ({"qty": -1}, "is not above 0"),
            ({"qty": 1.5}, "more than 0 digits"),
            ({"quantity": 11}, "is not quantity"),
            ({"price": None}, "price is missing"),
            ({"price": -1}, "price is missing"),
            ({"action": "HOLD"}, "none of BUY, SELL"),
            ({"orderType": "PEG"}, "none of MARKET"),
            ({"timeInForce": "GTD"}, "without expireTimestamp"),
            ({"confidence": 2}, "from 0 to 1"),
            ({"clientOrderId": "other"}, "to be the same"),
            ({"limitPrice": "1e3"}, "not a decimal number"),
            ({"symbol": 7}, "Expected `str`"),
            ({"clientOrderId": "x" * 201, "key": None}, "more than 200"),
        ],
    )
    def test_what_is_no_order(self, serve: Serve, fields: dict[str, Any], words: str) -> None:
        with serve() as served:
            done = served.execute(fields.pop("key", "o"), **fields)
            assert (done.status_code, done.json()["code"]) == (400, "INVALID_ORDER")
            assert words in done.json()["error"]

    def test_a_name_is_needed(self, serve: Serve) -> None:
        with serve() as served:
            assert "not empty" in served.execute().json()["error"]
            assert served.execute(clientOrderId="o").status_code == 201

    def test_the_door(self, serve: Serve) -> None:
        with serve(token="secret") as served:
            assert served.client.get("/health").json() == {"status": "ok"}
            assert served.execute("o").status_code == 401
            served.client.headers["Authorization"] = "Bearer wrong"
            assert served.execute("o").status_code == 401
            served.client.headers["Authorization"] = "Bearer secret"
            assert served.execute("o").status_code == 201
            big = served.client.post("/internal/execute", content=b" " * (BODY_MAX + 1))
            assert (big.status_code, big.json()["code"]) == (413, "TOO_LARGE")
            assert served.client.get("/v1/sessions/none").status_code == 404
            assert served.client.post("/v1/links/99/query").status_code == 410
            assert served.client.get("/v1/links/99/reports").status_code == 410
            assert served.execute("p", link="x").status_code == 201

    @pytest.mark.req("P22")
    def test_any_body_is_answered(self, serve: Serve) -> None:
        with serve() as served:
            texts = st.text() | st.integers() | st.floats() | st.none()
            bodies = st.binary(max_size=200) | st.dictionaries(
                st.sampled_from(
                    ["sessionId", "symbol", "action", "price", "qty", "orderType", "trailBps"]
                ),
                texts,
            ).map(lambda fields: str(fields).replace("'", '"').replace("None", "null").encode())

            @given(body=bodies)
            @settings(
                max_examples=150,
                deadline=None,
                suppress_health_check=[HealthCheck.function_scoped_fixture],
            )
            def try_all(body: bytes) -> None:
                done = served.client.post("/internal/execute", content=body)
                assert done.status_code == 400, done.text
                assert done.json()["error"]

            try_all()
            assert served.execute("o").status_code == 201


@pytest.mark.req("D8", "D9")
class TestLinks:
    def test_everything_an_order_may_go_through(self, serve: Serve, heard: Heard) -> None:
        with serve() as served, linked(served, heard) as link:
            link.submit(make_order("o", limit_px=50, order_qty=50))
            heard.wait(OrderAccepted)
            link.replace(ReplaceOrder("o", "s", 1, order_qty=60, limit_px=49))
            replaced = heard.wait(OrderReplaced)
            assert (replaced.order_qty, replaced.limit_px) == (60, 49)
            link.replace(ReplaceOrder("o", "s", 1, order_qty=60_000))
            assert heard.wait(ReplaceRejected).reason == "Insufficient funds"
            link.list_working()
            assert heard.wait(OrdersWorking).client_order_ids == ("o",)
            link.cancel(CancelOrder("o", "another", 1))
            assert heard.wait(CancelRejected).reason == "NOT_OWNER"
            link.query(make_order("o"))
            heard.wait(OrderStatusGiven)
            link.cancel(CancelOrder("o", "s", 1))
            assert heard.wait(OrderCanceled).reason == "USER"
            link.query(make_order("never"))
            assert heard.wait(OrderNotFound).client_order_id == "never"
            link.submit(make_order("rich", limit_px=50, order_qty=10_000))
            assert heard.wait(OrderRejected).reason == "Insufficient funds"
            stop = {"order_type": OrderType.TRAILING_STOP, "limit_px": None, "side": Side.SELL}
            link.submit(make_order("t", trail_bps=100, time_in_force=TimeInForce.DAY, **stop))
            heard.wait(OrderAccepted, 2)
            assert not heard.bad

    def test_an_order_fills(self, serve: Serve, heard: Heard) -> None:
        with serve(FAST) as served, linked(served, heard) as link:
            link.submit(make_order("m", order_type=OrderType.MARKET, limit_px=None, order_qty=7))
            fill = heard.wait(OrderFilled)
            assert (fill.client_order_id, fill.signed_qty, fill.leaves_qty) == ("m", 7, 0)
            link.query(make_order("m"))
            heard.wait(OrderStatusGiven)
            assert {event.exec_id for event in heard.of(OrderFilled)} == {fill.exec_id}
            assert served.session()["positions"][0]["quantity"] == 7

    @pytest.mark.req("P2", "P3")
    def test_a_client_that_comes_back_ends_its_earlier_link(
        self, serve: Serve, heard: Heard
    ) -> None:
        later = Heard()
        # Ended, the first must stay away, or it ends the second in its turn.
        with serve() as served, linked(served, heard, "engine", backoff_ms=60_000) as first:
            first.submit(make_order("o", limit_px=50))
            heard.wait(OrderAccepted)
            with linked(served, later, "engine") as second:
                assert heard.wait(VenueDown)
                second.query(make_order("o"))
                later.wait(OrderStatusGiven)
                assert later.of(OrderAccepted)

    def test_a_strange_session_rejects(self, serve: Serve, heard: Heard) -> None:
        with serve() as served, linked(served, heard, sessions={"s": "none"}) as link:
            link.submit(make_order("o"))
            assert heard.wait(OrderRejected).reason == "there is no such session"

    def test_reports_are_read_once(self, serve: Serve, heard: Heard) -> None:
        with serve() as served, linked(served, heard):
            twice = served.client.get("/v1/links/1/reports")
            assert (twice.status_code, twice.json()["code"]) == (409, "LINK_IS_READ")
            other = served.client.post("/v1/links/1/dance", content=b"{}")
            assert (other.status_code, other.json()["code"]) == (404, "UNKNOWN_REQUEST")
            assert served.client.post("/v1/links/1/query", content=b"[").status_code == 400


@pytest.mark.req("P1", "P42")
class TestRestarts:
    def test_an_exchange_that_forgets_leaves_no_order_open(self, serve: Serve) -> None:
        with serve() as served:
            assert served.execute("o").status_code == 201
        with serve() as served:
            assert served.session()["free"] == 10_000
            found = served.book.find("o")
            assert (found.status, found.reason) == ("CANCELED", "EXCHANGE_RESTARTED")
            gone = served.execute("o")
            assert (gone.status_code, gone.json()["status"]) == (201, "CANCELED")

    def test_an_exchange_that_is_kept_goes_on(self, serve: Serve, heard: Heard) -> None:
        with serve(state=True) as served:
            assert served.execute("o").status_code == 201
        with serve(state=True) as served, linked(served, heard) as link:
            assert served.session()["free"] == 9_500
            link.query(make_order("o"))
            heard.wait(OrderStatusGiven)
            link.cancel(CancelOrder("o", "s", 1))
            heard.wait(OrderCanceled)
            assert served.session()["free"] == 10_000

    def test_what_the_book_missed_is_booked_at_the_start(
        self, serve: Serve, connection: psycopg.Connection
    ) -> None:
        """As a kill leaves it, between the exchange's word and the book's."""
        with serve(state=True) as served:
            assert served.execute("o").status_code == 201
        connection.execute("UPDATE gateway.orders SET status = 'PENDING_NEW', venue_order_id = ''")
        with serve(state=True) as served:
            assert served.book.find("o").status == "ACCEPTED"

    def test_an_order_that_never_reached_the_exchange_may_come_again(
        self, serve: Serve, connection: psycopg.Connection
    ) -> None:
        with serve() as served:
            assert served.execute("o").status_code == 201
        connection.execute(
            "UPDATE gateway.orders SET status = 'PENDING_NEW', closed_at = NULL, reason = ''"
        )
        with serve() as served:
            assert served.book.find("o") is None
            assert served.execute("o").status_code == 201


@pytest.mark.req("P24")
def test_a_gateway_without_its_database_says_so(
    serve: Serve, heard: Heard, connection: psycopg.Connection
) -> None:
    with serve() as served, linked(served, heard, timeout=1.0) as link:
        connection.execute("ALTER TABLE gateway.orders RENAME TO gone")
        refused = served.execute("o")
        assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")
        link.submit(make_order("p", limit_px=50))
        assert heard.wait(OrderUnknown).reason in ("HTTP_503", "NO_ANSWER")
        connection.execute("ALTER TABLE gateway.gone RENAME TO orders")
        link.query(make_order("p", limit_px=50))
        assert heard.wait(OrderNotFound).client_order_id == "p"
        link.submit(make_order("p", limit_px=50))
        heard.wait(OrderAccepted)
        assert heard.of(VenueUp)


def test_the_doctor_asks_it_for_its_token_and_sessions(serve: Serve, database: str) -> None:
    with serve(token="right-token") as served:

        def look(token: str | None, session: str = "s") -> tuple[int, str]:
            settings = {
                "store.url": database,
                "venue.kind": "http",
                "gateway.url": f"http://127.0.0.1:{served.port}",
                "gateway.token": token,
                "gateway.sessions": {"x": session},
            }
            found = examine(load_config("paper", settings=settings), {})
            return exit_code(found), str(found)

        code, said = look("right-token")
        assert code == 0
        assert "is accepted" in said
        assert look("right-token", "gone")[0] == 2
        for wrong in ("wrong-token", None):
            code, said_wrong = look(wrong)
            assert code == 2
            assert "correct GATEWAY_TOKEN" in said_wrong
            said += said_wrong
    assert "right-token" not in said
    assert "wrong-token" not in said
