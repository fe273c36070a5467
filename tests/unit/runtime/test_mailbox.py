"""Bounds and policies of a mailbox, seen by its two sides."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from engine.domain.market import Quote
from engine.errors import EngineHaltedError
from engine.runtime.clock import EventClock, WallClock
from engine.runtime.mailbox import Mailbox, MailboxRules, Overflow
from tests.unit.runtime.rig import POLICIES, TIMEOUT_S, Kill, Note, Order, bar, eventually, quote

TICK = object()


class Letter:
    def __init__(self, message: Any) -> None:
        self.message = message
        self.reply_to: Any = None


class Box(Mailbox):
    """A mailbox that remembers what it refused and for what it had no room."""

    def __init__(self, capacity: int = 4, deadline_s: float = TIMEOUT_S, **extra: Any) -> None:
        self.refused: list[tuple[Any, str]] = []
        self.overruns: list[Any] = []
        overflow = extra.pop("overflow", POLICIES)
        rules = MailboxRules(
            capacity=capacity, deadline_s=deadline_s, overflow=overflow, urgent=frozenset({Kill})
        )
        super().__init__(
            rules,
            extra.pop("clock", EventClock(0)),
            tick=TICK,
            refused=lambda message, reason: self.refused.append((message, reason)),
            overrun=self.overruns.append,
        )

    def send(self, *messages: Any) -> None:
        for message in messages:
            self.put(Letter(message))

    def take(self, count: int) -> list[Any]:
        return [self.get().message for _ in range(count)]


def in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_messages_come_out_in_order() -> None:
    box = Box()
    box.send(bar(1), Note("a"), ("probe", Order(1), 5))
    assert box.take(3) == [bar(1), Note("a"), ("probe", Order(1), 5)]
    assert box.empty()


@pytest.mark.parametrize("message", [bar(1), Note("a"), Order(1)])
def test_a_producer_waits_for_room_and_loses_nothing(message: Any) -> None:
    box = Box(capacity=2)
    box.send(Note("1"), Note("2"))
    producer = in_thread(lambda: box.send(message))
    eventually(lambda: box.waits == 1)
    assert box.depth == 2
    assert producer.is_alive()
    assert box.take(3) == [Note("1"), Note("2"), message]
    producer.join(TIMEOUT_S)
    assert not producer.is_alive()
    assert not box.overruns


@pytest.mark.parametrize("kind", [Order(1), ("gate", Order(1), 7)])
def test_what_must_not_be_lost_halts_when_there_is_no_room_in_time(kind: Any) -> None:
    box = Box(capacity=1, deadline_s=0.01)
    box.send(Note("1"))
    with pytest.raises(
        EngineHaltedError, match=r"no room for Order in the mailbox of 1 within 0\.01 s"
    ):
        box.send(kind)
    assert box.overruns == [kind]
    assert box.take(1) == [Note("1")]


def test_waiting_quotes_of_a_symbol_become_one_the_newest_in_the_oldest_place() -> None:
    box = Box(capacity=3)
    box.send(quote(1, "A"), quote(2, "B"), Note("n"), *(quote(ts, "A") for ts in range(3, 9)))
    assert box.depth == 3
    assert box.conflated == 6
    assert box.take(3) == [quote(8, "A"), quote(2, "B"), Note("n")]
    box.send(quote(9, "A"))
    assert box.take(1) == [quote(9, "A")]
    assert box.conflated == 6


def test_quotes_to_different_actors_are_not_conflated() -> None:
    box = Box()
    box.send(("x", quote(1), 0), ("y", quote(2), 0), ("x", quote(3), 0))
    assert box.take(2) == [("x", quote(3), 0), ("y", quote(2), 0)]


def test_telemetry_drops_its_oldest_and_counts() -> None:
    box = Box(capacity=2, overflow={Note: Overflow.DROP_OLDEST})
    box.send(*(Note(str(i)) for i in range(5)))
    assert box.take(2) == [Note("3"), Note("4")]
    assert box.dropped == 3
    assert box.empty()


def test_urgent_messages_overtake_and_never_wait() -> None:
    box = Box(capacity=2, deadline_s=0.01)
    box.send(bar(1), bar(2))
    box.send(Kill())
    assert box.take(3) == [Kill(), bar(1), bar(2)]
    box.send(bar(3))
    assert box.take(1) == [bar(3)]


def test_peak_depth_and_waits_are_counted() -> None:
    box = Box(capacity=10)
    box.send(*(Note(str(i)) for i in range(7)))
    box.take(7)
    box.send(Note("x"))
    assert box.peak_depth == 7
    assert box.waits == 0


def test_what_waits_at_the_close_and_what_comes_after_is_refused_in_order() -> None:
    box = Box()
    box.send(Note("1"), quote(1), quote(2), Kill())
    box.close("STOPPED")
    box.send(Note("2"))
    box.close("HALTED")
    box.send(Order(3))
    assert box.refused == [
        (Kill(), "STOPPED"),
        (Note("1"), "STOPPED"),
        (quote(2), "STOPPED"),
        (Note("2"), "STOPPED"),
        (Order(3), "STOPPED"),
    ]
    assert box.empty()


def test_a_waiting_producer_is_let_go_by_the_close() -> None:
    box = Box(capacity=1)
    box.send(Note("1"))
    producer = in_thread(lambda: box.send(Order(2)))
    eventually(lambda: box.waits == 1)
    box.close("HALTED")
    producer.join(TIMEOUT_S)
    assert not producer.is_alive()
    assert box.refused == [(Note("1"), "HALTED"), (Order(2), "HALTED")]


def test_no_message_is_lost_between_producers_consumer_and_close() -> None:
    box = Box(capacity=8)
    each, producers = 300, 4
    taken: list[Any] = []

    def produce(number: int) -> None:
        for i in range(each):
            box.send(("probe", Order(number * each + i), 0))

    def consume() -> None:
        taken.extend(box.get().message for _ in range(each))
        box.close("STOPPED")

    threads = [in_thread(lambda n=n: produce(n)) for n in range(producers)]
    consumer = in_thread(consume)
    for thread in (*threads, consumer):
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()
    refused = [message for message, _ in box.refused]
    numbers = [message[1].number for message in taken + refused]
    assert sorted(numbers) == list(range(each * producers))
    assert box.peak_depth <= 8 + producers


def test_a_deadline_on_a_real_clock_gives_the_tick() -> None:
    clock = WallClock()
    box = Box(clock=clock)
    box.deadline = clock.now() + 2_000_000
    assert box.get() is TICK
    assert clock.now() >= box.deadline
    box.deadline = clock.now() + 3_600 * 10**9
    box.send(Note("1"))
    assert box.take(1) == [Note("1")]


def test_a_deadline_on_a_clock_of_events_waits_for_messages_only() -> None:
    box = Box()
    box.deadline = 1
    box.send(Note("1"))
    assert box.take(1) == [Note("1")]


@pytest.mark.parametrize(
    ("capacity", "deadline_s", "what"),
    [(0, 1.0, "capacity"), (-1, 1.0, "capacity"), (1, 0.0, "deadline_s"), (1, -1.0, "deadline_s")],
)
def test_limits_that_make_no_sense_are_refused(capacity: int, deadline_s: float, what: str) -> None:
    with pytest.raises(ValueError, match=f"{what} of a mailbox"):
        MailboxRules(
            capacity=capacity,
            deadline_s=deadline_s,
            overflow={Quote: Overflow.WAIT},
            urgent=frozenset(),
        )


def test_a_question_left_in_the_mailbox_gets_an_answer() -> None:
    answers: list[Any] = []

    class Future:
        def set_exception(self, exc_info: Any) -> None:
            answers.append(exc_info)

    box = Box()
    letter = Letter(Note("?"))
    letter.reply_to = Future()
    box.put(letter)
    box.close("STOPPED")
    assert answers[0][0] is EngineHaltedError
