"""Short sequences that once broke the gate's word, or that random ones seldom reach.

Each is what a search leaves when it has left everything else out. Those that still break are
marked: a mended engine fails the mark, which is then taken away.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.commands import OrderApproved
from engine.research.fuzz import replay
from engine.research.fuzz.steps import (
    Cancel,
    End,
    Fill,
    Kill,
    Lose,
    NextDay,
    Operate,
    Price,
    Restart,
    Send,
    Step,
    render,
)
from engine.research.fuzz.watched import WatchedWorld
from tests.limits import limits

FEWER = settings.default.max_examples // 4  # type: ignore[union-attr]

BOUGHT: list[Step] = [Send(0, 0, True, 0, 30), Fill(0, 30)]
DOWN, BACK, UP = Price(0, 980), Price(0, 1_000), Price(0, 1_010)
RESUME, RESUME_S = Operate(0, 0), Operate(1, 0)

LOSS: dict[str, Any] = {"max_daily_loss_amount": 25.0}
FALL: dict[str, Any] = {
    "max_drawdown": 0.0003, "max_daily_loss": "unlimited", "max_daily_loss_amount": "unlimited",
}  # fmt: skip
EACH: dict[str, Any] = {"per_strategy": {"max_daily_loss": 25.0}}
MARGIN: dict[str, Any] = {
    "max_leverage": 4.0, "max_position_size": 3.0, "maintenance_margin": 0.5,
    "max_total_exposure": "unlimited", "max_daily_loss": "unlimited",
    "max_daily_loss_amount": "unlimited", "max_order_size": "unlimited",
}  # fmt: skip
BORROWED: list[Step] = [Send(0, 0, True, 0, 1_900), Fill(0, 1_900)]
CALL = Price(0, 930)

SEQUENCES = [
    pytest.param(LOSS, [*BOUGHT, DOWN], id="loss"),
    pytest.param(LOSS, [*BOUGHT, DOWN, RESUME, Price(0, 970)], id="loss-resume-further"),
    pytest.param(LOSS, [*BOUGHT, DOWN, NextDay(), Price(0, 960)], id="loss-next-day"),
    pytest.param(LOSS, [*BOUGHT, Restart(), DOWN], id="loss-after-restart"),
    pytest.param(LOSS, [*BOUGHT, DOWN, RESUME, BACK, DOWN], id="loss-again"),
    pytest.param(LOSS, [*BOUGHT, DOWN, RESUME, UP, DOWN], id="loss-after-gain"),
    pytest.param(LOSS, [*BOUGHT, DOWN, RESUME, BACK, Restart(), DOWN], id="loss-again-restart"),
    pytest.param(LOSS, [Send(0, 0, True, 0, 30), Fill(0, 30, 100)], id="loss-by-fill"),
    pytest.param(FALL, [*BOUGHT, DOWN, RESUME, BACK, DOWN], id="fall-again"),
    pytest.param(FALL, [*BOUGHT, DOWN, RESUME, NextDay(), BACK, DOWN], id="fall-next-day"),
    pytest.param(EACH, [*BOUGHT, DOWN], id="strategy-loss"),
    pytest.param(EACH, [*BOUGHT, DOWN, RESUME_S, BACK, DOWN], id="strategy-again"),
    pytest.param(EACH, [Send(0, 0, True, 0, 30), Fill(0, 30, 100)], id="strategy-by-fill"),
    # T's symbol had a band of its own before S lost in another, and gets it back too late.
    pytest.param(
        EACH,
        [
            Send(1, 0, True, 0, 30),
            Fill(0, 30),
            Send(1, 0, False, 0, 30),
            Fill(1, 30),
            Send(0, 1, True, 0, 30),
            Fill(2, 30),
            Price(1, 980),
            Send(1, 0, True, 0, 30),
            Fill(3, 30),
            DOWN,
        ],
        id="strategy-beside-a-halted-one",
    ),
    pytest.param(MARGIN, [*BORROWED, CALL], id="margin"),
    pytest.param(MARGIN, [*BORROWED, CALL, NextDay(), CALL], id="margin-next-day"),
    pytest.param(MARGIN, [Send(0, 0, True, 0, 1_900), Fill(0, 1_900, 150)], id="margin-by-fill"),
    pytest.param(MARGIN, [*BORROWED, Restart(), CALL], id="margin-after-restart"),
]


@pytest.mark.req("R94", "R95", "R98", "P12", "D13")
@pytest.mark.parametrize(("changes", "steps"), SEQUENCES)
def test_a_limit_stops_trading_each_time_it_is_reached(
    changes: dict[str, Any], steps: list[Step]
) -> None:
    failure = replay(limits(**{"min_order_size": 0.0, **changes}), steps)
    assert failure is None, "\n".join([failure.sentence, failure.detail, *render(failure.steps)])


@pytest.mark.req("R94", "D13")
@given(st.lists(st.sampled_from((RESUME, DOWN, BACK, UP, Price(0, 975))), min_size=4, max_size=12))
@settings(max_examples=FEWER)
def test_prices_and_an_operator_alone_break_nothing(moves: list[Step]) -> None:
    failure = replay(limits(**LOSS, min_order_size=0.0), [*BOUGHT, *moves])
    assert failure is None, "\n".join([failure.sentence, failure.detail, *render(failure.steps)])


# What random numbers seldom hit: the very price of a guard, equal orders of two strategies.

SOLD: list[Step] = [Send(0, 0, False, 0, 30), Fill(0, 30)]
GUARDS: dict[str, dict[str, Any]] = {
    "stop": {"stop_loss_pct": 0.008, "stop_loss_buffer": 0.002},
    "trail": {"trailing_stop_pct": 0.01},
    "take": {"take_profit_pct": 0.01},
}


@pytest.mark.req("R96", "R97", "D12")
@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.parametrize("side", [1, -1], ids=["long", "short"])
def test_a_guard_closes_at_its_very_price_and_not_a_step_before(guard: str, side: int) -> None:
    adverse = side if guard == "take" else -side
    opened = BOUGHT if side > 0 else SOLD
    for step, closes in ((9, False), (10, True), (11, True)):
        steps = [*opened, Price(0, 1_000 + adverse * step)]
        chosen = limits(**GUARDS[guard], min_order_size=0.0)
        failure = replay(chosen, steps)
        assert failure is None, failure.detail
        world = WatchedWorld(chosen)
        for each in steps:
            world.run(each)
        closing = [e for e in world.events if type(e) is OrderApproved and e.closing]
        assert bool(closing) is closes


@pytest.mark.req("P13", "P14", "D14")
@pytest.mark.check("REPEATED_ORDER")
@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        pytest.param(
            {"max_repeated_orders": 2},
            [*[Send(who, 0, True, 1, 10, -5) for who in (0, 0, 1, 1, 0)], Price(0, 1_001)],
            id="repeats-of-two-strategies",
        ),
        pytest.param(
            {}, [*BOUGHT, Send(0, 0, False, 1, 30, 5, reduce_only=True), Kill(False)],
            id="kill-takes-back-what-reduces",
        ),
    ],
)  # fmt: skip
def test_nothing_breaks_in(changes: dict[str, Any], steps: list[Step]) -> None:
    failure = replay(limits(**{"min_order_size": 0.0, **changes}), steps)
    assert failure is None, "\n".join([failure.sentence, failure.detail, *render(failure.steps)])


# Going flat: S holds 30 and T bids for 10, above where the price is when S must go.

BID, BELOW = Send(1, 0, True, 1, 10, 5), Send(1, 0, True, 1, 10, -5)
ABOVE_MARKET: list[Step] = [*BOUGHT, BID]
STOP: dict[str, Any] = {"stop_loss_pct": 0.01, "stop_loss_buffer": 0.0}


@pytest.mark.req("P13", "D14", "R97")
@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        pytest.param({}, [*BOUGHT, Kill(True)], id="kill"),
        pytest.param({}, [*BOUGHT, BELOW, Kill(True)], id="kill-bid-below"),
        pytest.param({}, [*ABOVE_MARKET, Kill(True)], id="kill-bid"),
        pytest.param({}, [*ABOVE_MARKET, Cancel(0), End(0, 0), Kill(True)], id="kill-bid-gone"),
        pytest.param({}, [*ABOVE_MARKET, Lose(0), Kill(True)], id="kill-bid-unknown"),
        pytest.param(STOP, [*BOUGHT, Price(0, 985)], id="stop"),
        pytest.param(STOP, [*BOUGHT, BELOW, Lose(0), Price(0, 985)], id="stop-unknown"),
        pytest.param({**LOSS, "on_halt": "flatten"}, [*BOUGHT, BELOW, DOWN], id="halt-bid"),
    ],
)
def test_what_must_be_closed_is_being_closed(changes: dict[str, Any], steps: list[Step]) -> None:
    world = WatchedWorld(limits(**{"min_order_size": 0.0, **changes}))
    for step in steps:
        world.run(step)
    closing = [e.order.order_qty for e in world.events if type(e) is OrderApproved and e.closing]
    assert sum(closing) == world.positions["S", "A"] == 30
