from __future__ import annotations

import msgspec
import pytest

from engine.domain.latch import Hold, Reset, TradingLatch, TradingState
from engine.domain.risk import DenyCode

D, S = DenyCode, TradingState


def hold(state: TradingState, reset: Reset = "manual") -> Hold:
    return Hold(state, "TEST", reset, 0)


@pytest.mark.req("D13", "P12")
@pytest.mark.parametrize(
    ("before", "entered", "after"),
    [
        ((S.REDUCING, "next_day"), (S.HALTED, "next_day"), (S.HALTED, "next_day")),
        ((S.HALTED, "next_day"), (S.REDUCING, "manual"), (S.HALTED, "next_day")),
        ((S.HALTED, "next_day"), (S.HALTED, "manual"), (S.HALTED, "manual")),
        ((S.HALTED, "manual"), (S.HALTED, "next_day"), (S.HALTED, "manual")),
        ((S.REDUCING, "manual"), (S.HALTED, "next_day"), (S.HALTED, "manual")),
        ((S.REDUCING, "next_day"), (S.REDUCING, "next_day"), (S.REDUCING, "next_day")),
        ((S.REDUCING, "manual"), (S.REDUCING, "manual"), (S.REDUCING, "manual")),
        ((S.HALTED, "manual"), (S.HALTED, "manual"), (S.HALTED, "manual")),
    ],
)
def test_a_rule_tightens_and_never_loosens(
    before: tuple[TradingState, Reset],
    entered: tuple[TradingState, Reset],
    after: tuple[TradingState, Reset],
) -> None:
    latch = TradingLatch()
    assert latch.enter(hold(*before))
    assert latch.enter(hold(*entered)) is (before != after)
    assert (latch.holds[""].state, latch.holds[""].reset) == after


@pytest.mark.req("P12")
@pytest.mark.parametrize(
    ("state", "word"),
    [(S.ACTIVE, "ACTIVE"), (S.REDUCING, "REDUCING"), (S.HALTED, "HALTED")],
)
def test_a_state_is_written_as_it_is_called(state: TradingState, word: str) -> None:
    """The words of the latch file, which a later version must still read."""
    written = f'["hold","{word}","DAILY_LOSS","next_day",7]'.encode()
    kept = Hold(state, "DAILY_LOSS", "next_day", 7)
    assert msgspec.json.encode(kept) == written
    assert msgspec.json.decode(written, type=Hold) == kept


def test_an_operator_sets_what_it_wants() -> None:
    latch = TradingLatch({"": hold(S.HALTED)})
    latch.set(hold(S.REDUCING))
    assert latch.state() is S.REDUCING
    assert not latch.is_open
    assert latch.release()
    assert not latch.release()
    assert latch.is_open
    assert latch.state() is S.ACTIVE


def test_a_day_ends_what_was_held_for_the_day() -> None:
    latch = TradingLatch()
    latch.enter(hold(S.HALTED, "next_day"))
    latch.enter(hold(S.HALTED, "next_day"), "S")
    latch.enter(hold(S.HALTED, "manual"), "T")
    assert latch.end_day() == ["", "S"]
    assert set(latch.holds) == {"T"}
    assert not latch.is_open
    assert latch.end_day() == []


@pytest.mark.req("D14")
@pytest.mark.parametrize(
    ("account", "strategy", "plain", "reducing"),
    [
        (None, None, None, None),
        (S.HALTED, None, D.TRADING_HALTED, D.TRADING_HALTED),
        (S.REDUCING, None, D.TRADING_REDUCING, None),
        (None, S.HALTED, D.STRATEGY_HALTED, D.STRATEGY_HALTED),
        (None, S.REDUCING, D.STRATEGY_REDUCING, None),
        (S.REDUCING, S.HALTED, D.TRADING_REDUCING, D.STRATEGY_HALTED),
        (S.HALTED, S.REDUCING, D.TRADING_HALTED, D.TRADING_HALTED),
    ],
)
def test_what_may_leave(
    account: TradingState | None,
    strategy: TradingState | None,
    plain: DenyCode | None,
    reducing: DenyCode | None,
) -> None:
    latch = TradingLatch()
    if account is not None:
        latch.enter(hold(account))
    if strategy is not None:
        latch.enter(hold(strategy), "S")
    assert latch.refusal("S", reduce_only=False, closing=False) is plain
    assert latch.refusal("S", reduce_only=True, closing=False) is reducing
    assert latch.refusal("S", reduce_only=True, closing=True) is None
    assert latch.refusal("S", reduce_only=False, closing=True) is plain
    if account is None:
        assert latch.refusal("T", reduce_only=False, closing=False) is None
