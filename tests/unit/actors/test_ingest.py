"""The ingest: every message is an event, a repetition or a dead letter; prices can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.ingest import Channel, Ingest
from engine.domain.deliveries import (
    Consumed,
    Delivery,
    Fed,
    FeedDown,
    FeedFailed,
    FeedUp,
    Position,
    RejectionCode,
    SetFeedState,
    SymbolEnded,
)
from engine.domain.instruments import Instrument
from engine.domain.intake import RECENT, FeedState
from engine.domain.market import Bar
from engine.domain.market_wire import MarketReader
from engine.errors import FeedError
from engine.runtime.actor import Actor, Handler
from engine.runtime.cell import Cell

SYMBOLS = ("A", "B")
DAY = 86_400 * 10**9
BEGIN = 1_704_067_200 * 10**9  # 2024


def bar(day: int, symbol: str = "A", close: int = 100, **more: Any) -> bytes:
    fields = {
        "symbol": symbol, "open": 100, "high": 200, "low": 50, "close": close, "volume": 1,
        "timestamp": BEGIN + day * DAY, "timeframe": "1d", **more,
    }  # fmt: skip
    return msgspec.json.encode(fields)


class Sink(Actor):
    """Notes what reaches it."""

    def __init__(self, name: str, kinds: tuple[type, ...]) -> None:
        super().__init__(name)
        self.kinds = kinds
        self.got: list[Any] = []

    def handlers(self) -> Mapping[type, Handler]:
        return dict.fromkeys(self.kinds, self.got.append)


class Rig:
    def __init__(
        self,
        state: FeedState | None = None,
        *,
        silent_ns: int | None = None,
        ahead_ns: int | None = None,
        lossy: bool = False,
    ) -> None:
        self.state = state or FeedState([Bar], SYMBOLS)
        intake = self.state.intakes[Bar]
        reader = MarketReader(
            "bar", {s: Instrument(symbol=s) for s in SYMBOLS}, intake.numbers, label="open",
            interval_ns=None, refuse_unknown=True, size_max=1_000,
        )  # fmt: skip
        self.ended = 0
        self.advanced: list[int] = []
        self.core, self.gate = Sink("core", (Fed,)), Sink("gate", (SetFeedState,))
        ingest = Ingest(
            "ingest",
            channels={"bars": Channel(reader, intake), "bars:A": Channel(reader, intake, "A")},
            state=self.state,
            is_end=lambda end: end.strategy_id in (None, "S"),
            core="core",
            gate="gate",
            advance=self.advanced.append,
            ended=self._end,
            silent_ns=silent_ns,
            ahead_ns=ahead_ns,
            keep_bytes=20,
            lossy=lossy,
        )
        self.cell = Cell("c", [ingest, self.core, self.gate], {})
        self.cell.start()

    def _end(self) -> None:
        self.ended += 1

    def tell(self, message: Any) -> None:
        self.cell.deliver("ingest", message)

    def deliver(self, *contents: bytes, topic: str = "bars", at: int = -1) -> Consumed:
        """Deliver messages, from an offset on if one is given; give what became of them."""
        self.tell(
            Delivery(
                tuple(
                    (topic, -1 if at < 0 else 0, -1 if at < 0 else at + n, content)
                    for n, content in enumerate(contents)
                )
            )
        )
        fed = self.core.got[-1]
        assert isinstance(fed, Fed)
        assert fed.consumed.applied == len(fed.events)
        return fed.consumed

    @property
    def events(self) -> list[Bar]:
        return [event for fed in self.core.got for event in fed.events]

    @property
    def states(self) -> list[tuple[str, bool, str]]:
        return [(each.symbol, each.stale, each.reason) for each in self.gate.got]


@pytest.mark.req("P22")
def test_events_are_numbered_and_the_rest_is_counted() -> None:
    rig = Rig()
    consumed = rig.deliver(
        bar(1), bar(1), bar(1, close=99), bar(2), b"nonsense" * 9, bar(9, "X"), bar(1, "B"), bar(0)
    )
    assert [(e.symbol, e.seq, e.ts_open) for e in rig.events] == [
        ("A", 0, BEGIN + DAY), ("A", 1, BEGIN + 2 * DAY), ("B", 0, BEGIN + DAY),
    ]  # fmt: skip
    assert (consumed.received, consumed.applied, consumed.repeated) == (7, 3, 1)
    assert [each.code for each in consumed.rejected] == [
        RejectionCode.CONFLICTING, RejectionCode.NOT_JSON, RejectionCode.OUT_OF_ORDER,
    ]  # fmt: skip
    kept = consumed.rejected[1]
    assert (kept.size, kept.content, kept.topic) == (72, (b"nonsense" * 9)[:20], "bars")
    assert rig.advanced == [BEGIN + 3 * DAY]


def test_a_message_must_be_about_what_its_channel_says() -> None:
    consumed = Rig().deliver(bar(1, "B"), bar(1, "X"), bar(1), topic="bars:A")
    assert [each.code for each in consumed.rejected] == [RejectionCode.WRONG_SYMBOL] * 2


@pytest.mark.req("P21")
def test_an_offset_is_read_once() -> None:
    rig = Rig()
    rig.tell(FeedUp((Position("bars", 0, 4),)))
    assert rig.core.got[-1].consumed.positions == (Position("bars", 0, 4),)
    assert rig.deliver(bar(1), bar(2), at=4).positions == (Position("bars", 0, 6),)
    again = rig.deliver(bar(1), bar(2), bar(3), at=4)
    assert (again.repeated, again.applied) == (2, 1)
    assert rig.deliver(bar(3), at=2).repeated == 1
    assert rig.state.positions == {("bars", 0): 7}
    fed = len(rig.core.got)
    rig.tell(FeedUp((Position("bars", 0, 7),)))
    assert len(rig.core.got) == fed


def test_a_message_of_tomorrow_is_refused_where_the_clock_is_on_the_wall() -> None:
    rig = Rig(ahead_ns=DAY)
    rig.cell.now = BEGIN + 5 * DAY
    assert rig.deliver(bar(5)).applied == 1
    assert [r.code for r in rig.deliver(bar(6)).rejected] == [RejectionCode.IN_THE_FUTURE]


@pytest.mark.req("P23")
def test_a_gap_makes_a_price_stale_until_the_next_that_follows() -> None:
    rig = Rig()
    rig.deliver(bar(1, sequence=1), bar(2, sequence=2))
    rig.deliver(bar(3, sequence=4))
    rig.deliver(bar(3, sequence=4), bar(3, sequence=3))
    rig.deliver(bar(4, sequence=5))
    assert rig.states == [("A", True, "FEED_GAP"), ("A", False, "FEED_BACK")]


@pytest.mark.req("P23")
def test_no_price_is_trusted_without_a_connection() -> None:
    rig = Rig()
    rig.tell(FeedDown("FEED_DOWN", "gone"))
    assert rig.states == []  # there is no price yet
    rig.deliver(bar(1), bar(1, "B"))
    rig.tell(FeedDown("FEED_DOWN", "gone"))
    rig.tell(FeedDown("FEED_DOWN", "gone"))
    rig.tell(FeedUp())
    rig.deliver(bar(2, "B"))
    assert rig.states == [
        ("A", True, "FEED_DOWN"), ("B", True, "FEED_DOWN"), ("B", False, "FEED_BACK"),
    ]  # fmt: skip


@pytest.mark.req("P23")
def test_a_symbol_that_falls_silent_is_stale() -> None:
    rig = Rig(silent_ns=10)
    rig.cell.now = 100
    rig.deliver(bar(1))
    rig.cell.fire_timers(109)
    assert rig.states == []
    rig.cell.fire_timers(200)
    assert rig.states == [("A", True, "FEED_SILENT")]


def test_a_failed_feed_ends_the_run() -> None:
    with pytest.raises(FeedError, match="does not come any more: broken"):
        Rig().tell(FeedFailed("broken"))


@pytest.mark.req("D10")
def test_a_run_is_over_when_all_its_symbols_are() -> None:
    rig = Rig()
    rig.tell(SymbolEnded("X"))
    rig.tell(SymbolEnded("A", Position("bars", 0, 3)))
    rig.tell(SymbolEnded("A"))
    assert [fed.consumed.ended for fed in rig.core.got] == [("A",)]
    assert rig.core.got[0].consumed.positions == (Position("bars", 0, 3),)
    assert rig.ended == 0
    others = b'{"action":"unsubscribe","symbol":"B","type":"stock","strategyId":"T"}'
    begun = b'{"action":"subscribe","symbol":"B","type":"stock"}'
    assert rig.deliver(others, begun, b"{", topic="control").ended == ()
    ours = b'{"action":"unsubscribe","symbol":"B","type":"stock","strategyId":"S"}'
    assert rig.deliver(ours, topic="control").ended == ("B",)
    assert rig.ended == 1


def test_a_bar_is_known_for_a_while() -> None:
    rig = Rig()
    rig.deliver(*(bar(day) for day in range(1, RECENT + 2)))
    consumed = rig.deliver(bar(2), bar(1))
    assert consumed.repeated == 1
    assert [each.code for each in consumed.rejected] == [RejectionCode.OUT_OF_ORDER]


@pytest.mark.req("P18")
@pytest.mark.req("P21")
@given(
    st.lists(st.tuples(st.sampled_from("AB"), st.integers(1, 12), st.booleans()), max_size=40),
    st.integers(0, 40),
)
def test_a_restart_knows_what_the_journal_knows(
    messages: list[tuple[str, int, bool]], cut: int
) -> None:
    """Two ingests, one of which starts anew in the middle, make the same of the same messages."""
    contents = [bar(day, symbol, close=100 + odd) for symbol, day, odd in messages]
    whole, first = Rig(), Rig()
    for number, content in enumerate(contents):
        whole.deliver(content, at=number)
    for number, content in enumerate(contents[:cut]):
        first.deliver(content, at=number)
    state = FeedState([Bar], SYMBOLS)
    for fed in first.core.got:
        for entered in (*fed.events, fed.consumed):
            state.recall(entered)
    second = Rig(state, lossy=True)
    assert [symbol for symbol, _, _ in second.states] == state.seen
    for number, content in enumerate(contents[cut:], cut):
        second.deliver(content, at=number)
    assert [*first.core.got, *second.core.got] == whole.core.got
