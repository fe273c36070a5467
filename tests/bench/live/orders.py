"""How fast orders leave over gRPC and are kept, beside a bare gRPC stream in the same run."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
import psycopg

from adapters.grpc.link import GrpcVenueLink
from adapters.grpc.pb import order_pb2
from adapters.postgres.store import PostgresStore
from engine import Bar, Strategy
from engine.config import load_config
from engine.domain.market import Bar as BarEvent
from engine.runtime.mailbox import Mailbox
from engine.session import run_session
from tests.chaos.market import write_market
from tests.chaos.strategies.dense import Dense

HERE = Path(__file__).resolve().parent
METHOD = "/order.OrderService/StreamOrders"
# Orders are many and small and none is to be denied; each still takes the whole way of a check.
LIMITS: dict[str, Any] = {
    **dict.fromkeys(
        ("risk.min_order_size", "risk.max_position_size", "risk.max_total_exposure",
         "risk.max_leverage", "risk.intent_ttl", "risk.max_open_orders", "risk.max_order_rate",
         "risk.max_repeated_orders", "risk.max_daily_loss", "risk.max_daily_loss_amount"),
        "unlimited",
    ),
    "account.cash": 1_000_000_000,
    "report.html": False,
}  # fmt: skip
# A server that says ACCEPTED to everything: what any Python server of this contract costs.
ECHO = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
import grpc
from adapters.grpc.pb import order_pb2 as pb
def stream(requests, context):
    for each in requests:
        yield pb.OrderResponse(order_id="v", request_id=each.id, status=pb.ACCEPTED, timestamp=1)
handler = grpc.stream_stream_rpc_method_handler(
    stream, pb.OrderRequest.FromString, pb.OrderResponse.SerializeToString)
server = grpc.server(ThreadPoolExecutor(4))
server.add_generic_rpc_handlers(
    [grpc.method_handlers_generic_handler("order.OrderService", {"StreamOrders": handler})])
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
sys.stdin.read()
"""


class Burst(Strategy):
    """Sends so many orders with each bar, none of which can fill, and notes their answers."""

    per_bar: int = 1
    sent = answered = 0
    began = ended = 0.0

    def on_bar(self, bar: Bar) -> None:
        cls = type(self)
        if not cls.sent:
            cls.began = time.perf_counter()
        for number in range(self.per_bar):
            self.buy(bar.symbol, 1, limit=round(50 + (cls.sent + number) % 1_000 / 100, 2))
        cls.sent += self.per_bar

    def on_order(self, order: Any) -> None:
        cls = type(self)
        if order.status.name == "ACCEPTED":
            cls.answered += 1
            cls.ended = time.perf_counter()


@contextmanager
def echo_server() -> Iterator[int]:
    """Run the bare server; give its port."""
    process = subprocess.Popen(
        [sys.executable, "-c", ECHO], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def bare_stream(port: int, count: int) -> float:
    """Give the orders a second of a bare Python client on one stream, answers included."""
    waiting: SimpleQueue[Any] = SimpleQueue()
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    call = channel.stream_stream(
        METHOD, request_serializer=order_pb2.OrderRequest.SerializeToString,
        response_deserializer=order_pb2.OrderResponse.FromString,
    )(iter(waiting.get, None))  # fmt: skip
    began = time.perf_counter()
    for number in range(count):
        waiting.put(order_pb2.OrderRequest(id=str(number), symbol="AAA", price=1.0, quantity=1))
    for got, _ in enumerate(call, 1):
        if got == count:
            break
    rate = count / (time.perf_counter() - began)
    waiting.put(None)
    call.cancel()
    channel.close()
    return rate


def sustained(
    database: str, name: str, port: int, folder: Path, bars: int, per_bar: int, **more: Any
) -> float:
    """Give the orders a second through gate, outbox, commit and stream, to their answers."""
    Burst.sent = Burst.answered = 0
    settings = {
        **LIMITS, "data.paths": [str(write_market(folder, bars))], "data.symbols": ["AAA"],
        "store.url": database, "store.timeout": 30, "run.name": name, "venue.kind": "grpc",
        "oms_grpc.port": port, "oms_grpc.timeout": 60, "feed.speed": 60 * 2_000,
        "strategy.per_bar": per_bar, **more,
    }  # fmt: skip
    _until(lambda: Burst.answered >= bars * per_bar, settings)
    return Burst.answered / (Burst.ended - Burst.began)


class _DoneError(Exception):
    """All that was to be measured has come."""


def _until(is_so: Callable[[], bool], settings: dict[str, Any]) -> None:
    """Run until all data is fed and something is so; then leave the run off.

    Raises:
        RuntimeError: that takes longer than two minutes.
    """

    def fed(done: int, total: int) -> None:
        if done < total:
            return
        limit, pause = time.monotonic() + 120, threading.Event()
        while not is_so():
            if time.monotonic() > limit:
                raise RuntimeError(f"{Burst.answered} of {Burst.sent} orders were answered")
            pause.wait(0.005)
        raise _DoneError

    with suppress(_DoneError):
        run_session(load_config("paper", settings=settings), Burst, progress=fed)


class Way:
    """Notes when a bar comes in, when its order is kept and when the order leaves."""

    def __init__(self) -> None:
        self.came: list[float] = []
        self.left: list[float] = []
        self.kept: list[float] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        put, commit, submit = Mailbox.put, PostgresStore.commit, GrpcVenueLink.submit
        way = self

        def noted_put(mailbox: Mailbox, letter: Any, /) -> None:
            if type(letter.message) is BarEvent:
                way.came.append(time.perf_counter())
            put(mailbox, letter)

        def noted_commit(store: PostgresStore, batches: Any) -> None:
            began = time.perf_counter()
            commit(store, batches)
            way.kept.append(time.perf_counter() - began)

        def noted_submit(link: GrpcVenueLink, order: Any) -> None:
            way.left.append(time.perf_counter())
            way.kept.append(-1.0)  # the commit before it was its own
            submit(link, order)

        Mailbox.put, PostgresStore.commit = noted_put, noted_commit  # type: ignore[method-assign]
        GrpcVenueLink.submit = noted_submit  # type: ignore[method-assign]
        try:
            yield
        finally:
            Mailbox.put, PostgresStore.commit = put, commit  # type: ignore[method-assign]
            GrpcVenueLink.submit = submit  # type: ignore[method-assign]

    def spans(self) -> tuple[list[float], list[float]]:
        """Give each order's way in seconds, without the commit and with it."""
        commits = [self.kept[n - 1] for n, each in enumerate(self.kept) if each < 0 and n]
        whole = [left - came for came, left in zip(self.came, self.left, strict=False)]
        own = [span - commit for span, commit in zip(whole, commits, strict=False)]
        return own, whole


def latency(database: str, name: str, port: int, folder: Path, bars: int) -> Way:
    """Send one order with each bar, fifty bars a second; give their ways."""
    way = Way()
    with way.watching():
        Burst.sent = Burst.answered = 0
        settings = {
            **LIMITS, "data.paths": [str(write_market(folder, bars))], "data.symbols": ["AAA"],
            "store.url": database, "store.timeout": 30, "run.name": name, "venue.kind": "grpc",
            "oms_grpc.port": port, "feed.speed": 60 * 50, "strategy.per_bar": 1,
        }  # fmt: skip
        _until(lambda: Burst.answered >= bars, settings)
    return way


def percentile(values: list[float], share: float) -> float:
    """Give the value below which a share of the values lies."""
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 1000) - 1]


def rows_written(database: str, name: str, folder: Path, bars: int) -> float:
    """Give the rows a second that a dense paper run writes, all tables, updates counted."""
    settings = {
        **LIMITS, "data.paths": [str(write_market(folder, bars))], "store.url": database,
        "store.timeout": 30, "run.name": name, "strategy.busy_bars": bars,
    }  # fmt: skip
    before, began = _touched(database), time.perf_counter()
    run_session(load_config("paper", settings=settings), Dense)
    seconds = time.perf_counter() - began
    return (_touched(database) - before) / seconds


def _touched(database: str) -> int:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SELECT pg_stat_force_next_flush()")
        row = connection.execute(
            "SELECT coalesce(sum(n_tup_ins + n_tup_upd), 0) FROM pg_stat_user_tables"
        ).fetchone()
    assert row is not None
    return int(row[0])


def oms(folder: Path) -> subprocess.Popen[str]:
    """Start the reference system on data that fills nothing for a long while."""
    data = write_market(folder, 2)
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("engine")), "oms", "--data", str(data), "--port", "0",
         "--speed", "0.001"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def port_of(process: subprocess.Popen[str]) -> int:
    """Read the port that a server says it has taken."""
    assert process.stdout is not None
    found = re.search(r":(\d+)$", process.stdout.readline().strip())
    assert found is not None
    return int(found[1])
