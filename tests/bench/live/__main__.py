"""Measure the engine on real brokers, venues and a database: ``make bench-live``.

Each figure of a client stands beside the bare client's in the same run, taken in turns, because
the machine's speed drifts; what is reported is the median of the ratios. Everything runs on this
machine: brokers, database, order system and engine share its cores.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from adapters.postgres.embedded import EmbeddedPostgres
from engine.config import load_config
from engine.session import run_session
from tests.bench.live import feeds, orders
from tests.bench.live.orders import percentile
from tests.bench.workloads import build
from tests.feeds.kafka import apache, why_no_apache
from tests.feeds.servers import redis_server


class Row(msgspec.Struct):
    """One figure; ``must`` and ``aim`` are lower bounds when ``more`` is better."""

    name: str
    value: float
    unit: str
    must: float | None = None
    aim: float | None = None
    more: bool = True
    note: str = ""

    @property
    def verdict(self) -> str:
        """Say where the figure stands."""
        if self.must is None or self.aim is None:
            return ""
        sign = 1 if self.more else -1
        if sign * self.value >= sign * self.aim:
            return "aim"
        return "must" if sign * self.value >= sign * self.must else "MISSED"


class Bench:
    """Takes the figures and prints each as it comes."""

    def __init__(self, folder: Path, database: str, *, quick: bool) -> None:
        self.folder = folder
        self.database = database
        self.rounds = 2 if quick else 5
        self.scale = 1 if quick else 4
        self.rows: list[Row] = []
        self._numbers = 0

    def add(self, row: Row) -> None:
        self.rows.append(row)
        bounds = "" if row.must is None else f"{row.must:>10g} {row.aim:>8g}"
        print(
            f"{row.name:<44} {row.value:>12,.2f} {row.unit:<8} {bounds:<20} "
            f"{row.verdict:<7} {row.note}",
            flush=True,
        )

    def name(self) -> str:
        """Give a run a name of its own."""
        self._numbers += 1
        return f"run{self._numbers}"

    def new_folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.folder))

    def ratio(
        self, what: str, bare: Callable[[], float], ours: Callable[[], float], must: float,
        aim: float, unit: str,
    ) -> None:  # fmt: skip
        """Take both in turns; report both medians and the median of the ratios."""
        pairs = [(bare(), ours()) for _ in range(self.rounds)]
        floors, figures = zip(*pairs, strict=True)
        self.add(Row(f"{what}, bare client", statistics.median(floors), unit))
        self.add(Row(f"{what}, engine", statistics.median(figures), unit))
        ratio = statistics.median(figure / floor for floor, figure in pairs)
        self.add(Row("the same, of the bare client", ratio, "x", must, aim))


def feeds_of(bench: Bench) -> None:
    """Messages from broker to strategy."""
    count = 50_000 * bench.scale
    with redis_server(bench.new_folder()) as server:
        feeds.fill_redis(server, count)
        bench.ratio(
            "Redis messages to the strategy", lambda: feeds.bare_redis(server, count),
            lambda: feeds.engine_redis(server, bench.database, bench.name()), 0.3, 0.6, "1/s",
        )  # fmt: skip
    missing = why_no_apache()
    if missing is not None:
        print(f"Kafka is not measured: {missing}")
        return
    with apache(bench.new_folder()) as kafka:
        feeds.fill_kafka(kafka, count)
        bench.ratio(
            "Kafka messages to the strategy", lambda: feeds.bare_kafka(kafka, count),
            lambda: feeds.engine_kafka(kafka, bench.database, bench.name()), 0.3, 0.6, "1/s",
        )  # fmt: skip
        memory(bench, kafka, count)


def memory(bench: Bench, kafka: Any, count: int) -> None:
    """Memory over a long run: the last quarter against the second."""
    samples: list[int] = []
    feeds.WATCHES.append(lambda seen: samples.append(feeds.resident_kb()))
    try:
        feeds.engine_kafka(kafka, bench.database, bench.name())
    finally:
        feeds.WATCHES.clear()
    quarter = len(samples) // 4
    second = statistics.mean(samples[quarter : 2 * quarter])
    last = statistics.mean(samples[-quarter:])
    bench.add(
        Row("memory, last quarter against second", last / second, "x", 1.02, 1.02, more=False,
            note=f"{last / 1024:,.0f} MB, {count:,} messages")
    )  # fmt: skip


def orders_of(bench: Bench) -> None:
    """Orders over gRPC."""
    system = orders.oms(bench.new_folder())
    try:
        port = orders.port_of(system)
        with orders.echo_server() as echo:
            bench.ratio(
                "orders over gRPC to their answers", lambda: orders.bare_stream(echo, 5_000),
                lambda: orders.sustained(
                    bench.database, bench.name(), port, bench.new_folder(), 40 * bench.scale, 50
                ),
                0.25, 0.5, "1/s",
            )  # fmt: skip
        if why_no_apache() is None:
            publishing_of(bench, port)
        way = orders.latency(bench.database, bench.name(), port, bench.new_folder(), 300)
    finally:
        system.kill()
        system.communicate()
    own, whole = way.spans()
    for share, must, aim in ((0.5, 300, 100), (0.99, 2_000, 500)):
        value = percentile(own, share) * 1e6
        bench.add(
            Row(f"event in, order out, commit apart, p{share * 100:g}", value, "us", must, aim,
                more=False)
        )  # fmt: skip
    bench.add(Row("the same with the commit, p50", percentile(whole, 0.5) * 1e6, "us"))
    bench.add(Row("the same with the commit, p99", percentile(whole, 0.99) * 1e6, "us"))


def publishing_of(bench: Bench, port: int) -> None:
    """What it costs to tell of every order on Kafka."""
    with apache(bench.new_folder()) as kafka:
        told = {"publish.kind": "kafka", "kafka.bootstrap_servers": kafka.servers}
        for part in ("execution", "positions", "errors"):
            kafka.create(f"strategy.{part}")

        def rate(**more: str) -> float:
            return orders.sustained(
                bench.database, bench.name(), port, bench.new_folder(), 40 * bench.scale, 50, **more
            )

        pairs = [(rate(), rate(**told)) for _ in range(bench.rounds)]
    bench.add(Row("the same, published to Kafka", statistics.median(p for _, p in pairs), "1/s"))
    ratio = statistics.median(on / off for off, on in pairs)
    bench.add(Row("the same, of not published", ratio, "x"))


def store_of(bench: Bench) -> None:
    """The database: rows a second, and a long journal handled again."""
    rows = orders.rows_written(
        bench.database, bench.name(), bench.new_folder(), 2_500 * bench.scale
    )
    bench.add(Row("rows written, all tables", rows, "1/s", 5_000, 30_000))
    bars = 250_000 * bench.scale
    settings = {
        **orders.LIMITS, "data.paths": [str(p) for p in build("W1", bars=bars).paths],
        "store.url": bench.database, "store.timeout": 30, "run.name": bench.name(),
    }  # fmt: skip
    config = load_config("paper", settings=settings)
    run_session(config, feeds.Counting)
    began, going = time.perf_counter(), []
    run_session(config, feeds.Counting, going=lambda _: going.append(time.perf_counter()))
    seconds = going[0] - began
    bench.add(
        Row("recovery of 1,000,000 events", seconds * 1_000_000 / bars, "s", 20, 5, more=False,
            note=f"of {bars:,} measured")
    )  # fmt: skip


def main() -> int:
    """Take all figures; 0 when each reaches what it must."""
    parser = argparse.ArgumentParser(description=__doc__, prog="make bench-live")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and messages")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--only", choices=["feeds", "orders", "store"], help="one part only")
    chosen = parser.parse_args()
    parts = {"feeds": feeds_of, "orders": orders_of, "store": store_of}
    with tempfile.TemporaryDirectory(prefix="bench-live-") as place:
        folder = Path(place)
        server = EmbeddedPostgres(folder / "database", timeout_s=30)
        try:
            bench = Bench(folder, server.start(), quick=chosen.quick)
            for name, part in parts.items():
                if chosen.only in (None, name):
                    part(bench)
        finally:
            server.stop()
    if chosen.json is not None:
        chosen.json.write_bytes(msgspec.json.encode(bench.rows))
    return int(any(row.verdict == "MISSED" for row in bench.rows))


if __name__ == "__main__":
    raise SystemExit(main())
