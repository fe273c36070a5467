"""The listener: what messages make of strategies, counted to the last one and read once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from actors.listener import Listener, Reader
from engine.domain.deliveries import (
    Consumed,
    Delivery,
    Fed,
    FeedDown,
    FeedFailed,
    FeedUp,
    Position,
    SymbolBegan,
    SymbolEnded,
)
from engine.domain.executions import BeginExecution, EndExecution
from engine.domain.listening import ApprovalReader, Heard, SessionReader
from engine.errors import FeedError
from engine.runtime.actor import Actor, Handler
from engine.runtime.cell import Cell
from tests.unit.domain.test_approved_wire import MESSAGE, changed

NOW = 1_700_000_000 * 10**9
TOPIC = "approved"
STRATEGY = MESSAGE["strategy_id"]
APPROVED = json.dumps(MESSAGE).encode()


class Core(Actor):
    """Keeps what it is fed."""

    def __init__(self) -> None:
        super().__init__("core")
        self.fed: list[Fed] = []

    def handlers(self) -> Mapping[type, Handler]:
        return {Fed: self.fed.append}


def identify(strategy_id: str, occasion: str) -> str:
    return f"{strategy_id} at {occasion}"


class Rig:
    """A listener to approvals, or to sessions, and what the core gets of it."""

    def __init__(self, heard: Heard | None = None, *, sessions: bool = False) -> None:
        self.heard = heard or Heard((TOPIC,))
        reader: Reader = ApprovalReader(self.heard, identify, refuse_unknown=True)
        if sessions:
            reader = SessionReader(self.heard, identify, symbols={"A", "B"}, strategy="Sma")
        self.core = Core()
        listener = Listener(
            "listener", reader=reader, heard=self.heard, core="core", executor="executor",
            size_max=1_000,
        )  # fmt: skip
        self.cell = Cell("c", [listener, self.core], {})
        self.cell.now = NOW
        self.cell.start()

    def tell(self, message: Any) -> Fed | None:
        """Tell it something; give what the core got of that."""
        before = len(self.core.fed)
        self.cell.deliver("listener", message)
        assert len(self.core.fed) <= before + 1
        return self.core.fed[before] if len(self.core.fed) > before else None

    def deliver(self, *contents: bytes, at: int = -1) -> Fed:
        messages = tuple(
            (TOPIC, -1 if at < 0 else 0, -1 if at < 0 else at + n, content)
            for n, content in enumerate(contents)
        )
        fed = self.tell(Delivery(messages))
        assert fed is not None
        assert fed.consumed.received == len(contents)
        return fed


def commands(fed: Fed | None) -> list[Any]:
    assert fed is not None
    assert fed.events == ()
    assert all(actor == "executor" for actor, _ in fed.told)
    return [command for _, command in fed.told]


@pytest.mark.req("R58", "R99")
def test_an_approval_becomes_a_command() -> None:
    fed = Rig().deliver(APPROVED, at=5)
    (begin,) = commands(fed)
    assert begin == BeginExecution(
        execution_id=f"{STRATEGY} at 1704067200000000000", strategy_id=STRATEGY, wire_id=STRATEGY,
        user_id=MESSAGE["user_id"], symbols=("AAPL", "MSFT", "GOOGL"),
        parameters=begin.parameters, config=begin.config, on_stop="flatten", ts_init=NOW,
    )  # fmt: skip
    assert fed.consumed == Consumed((Position(TOPIC, 0, 6),), 1, 0, ())


def test_every_message_is_one_of_applied_repeated_and_dead() -> None:
    rig = Rig()
    large = changed("config.name", "x" * 1_000)
    fed = rig.deliver(b"{", APPROVED, APPROVED, large, changed("strategy_id", 7), at=0)
    assert [begin.wire_id for begin in commands(fed)] == [STRATEGY, 7]
    consumed = fed.consumed
    assert (consumed.applied, consumed.repeated) == (2, 1)
    assert [(dead.offset, dead.code.name) for dead in consumed.rejected] == [
        (0, "NOT_JSON"),
        (3, "TOO_LARGE"),
    ]
    assert consumed.rejected[1].content == large[:1_000]
    assert rig.deliver(APPROVED, APPROVED, at=3).consumed.repeated == 2  # offsets that were read


def test_a_restart_knows_what_was_heard() -> None:
    first = Rig()
    fed = first.deliver(APPROVED, at=0)
    heard = Heard((TOPIC,))
    for entered in (fed.consumed, *commands(fed), Consumed((Position("bars", 0, 9),), 0, 0, ())):
        heard.recall(entered)
    assert heard.positions == {(TOPIC, 0): 1}
    rig = Rig(heard)
    assert rig.deliver(APPROVED, at=1).consumed.repeated == 1
    (end,) = commands(rig.tell(SymbolEnded(STRATEGY, Position(TOPIC, 0, 3))))
    assert end == EndExecution(strategy_id=STRATEGY, reason="REVOKED", ts_init=NOW)
    assert heard.positions == {(TOPIC, 0): 3}


def test_the_end_of_a_strategy_that_is_not_at_work_is_read_all_the_same() -> None:
    fed = Rig().tell(SymbolEnded("nobody", Position(TOPIC, 0, 1)))
    assert commands(fed) == []
    assert fed is not None
    assert fed.consumed.positions == (Position(TOPIC, 0, 1),)


def test_where_reading_begins_is_kept_once() -> None:
    rig = Rig()
    up = FeedUp((Position(TOPIC, 0, 4),))
    fed = rig.tell(up)
    assert fed is not None
    assert fed.consumed.positions == up.positions
    assert rig.tell(up) is None
    assert rig.tell(FeedDown("FEED_DOWN")) is None


def test_a_feed_that_fails_ends_the_run() -> None:
    rig = Rig()
    with pytest.raises(FeedError, match="messages about strategies do not come any more: gone"):
        rig.tell(FeedFailed("gone"))


def control(action: str, symbol: str, **more: Any) -> bytes:
    return json.dumps({"action": action, "symbol": symbol, "type": "stock", **more}).encode()


@pytest.mark.req("R11", "R12", "R20", "R31")
def test_sessions_begin_and_end_by_symbol_and_strategy() -> None:
    rig = Rig(sessions=True)
    fed = rig.deliver(
        control("subscribe", "A", strategyId=1, sessionId="x"), control("subscribe", "A"),
        control("subscribe", "B", strategyId=1), control("subscribe", "A", strategyId=1),
        control("subscribe", "Z"), control("unsubscribe", "Z"),
    )  # fmt: skip
    first, second, third = commands(fed)
    assert (first.strategy_id, first.wire_id, first.execution_id) == ("1/A", 1, "1/A at x")
    assert (second.strategy_id, second.wire_id, second.on_stop) == ("Sma/A", "Sma", "keep")
    assert (third.strategy_id, third.symbols) == ("1/B", ("B",))
    assert second.execution_id == f"Sma/A at {NOW}"
    assert (fed.consumed.applied, fed.consumed.repeated) == (4, 1)
    assert [dead.code.name for dead in fed.consumed.rejected] == ["WRONG_SYMBOL"]
    (end,) = commands(rig.deliver(control("unsubscribe", "A", strategyId=1)))
    assert end == EndExecution(strategy_id="1/A", reason="UNSUBSCRIBED", ts_init=NOW)
    rig.deliver(control("subscribe", "A", strategyId=2))
    ends = commands(rig.deliver(control("unsubscribe", "A")))
    assert [each.strategy_id for each in ends] == ["Sma/A", "2/A"]
    assert rig.heard.running == {"1/B": ("B",)}


@pytest.mark.req("D10")
def test_active_symbols_have_a_session() -> None:
    rig = Rig(sessions=True)
    (begin,) = commands(rig.tell(SymbolBegan("A")))
    assert begin.strategy_id == "Sma/A"
    assert rig.tell(SymbolBegan("A")) is None
    assert rig.tell(SymbolBegan("Z")) is None
    (end,) = commands(rig.tell(SymbolEnded("A")))
    assert end.strategy_id == "Sma/A"


def test_what_a_person_ends_may_begin_again() -> None:
    rig = Rig(sessions=True)
    rig.deliver(control("subscribe", "A"))
    stop = EndExecution(strategy_id="Sma/A", reason="OPERATOR", ts_init=NOW)
    assert commands(rig.tell(stop)) == [stop]
    rig.cell.now = NOW + 1
    (again,) = commands(rig.deliver(control("subscribe", "A")))
    assert again.execution_id == f"Sma/A at {NOW + 1}"
