"""Sequences of everything that can happen, against the real gate, router, ledger and monitor.

The invariants are those of ``engine.research.fuzz.invariants``, which is also what ``engine risk
fuzz`` runs on a user's own limits. Each planted fault takes one rule out of the engine and must be
found: that is what shows that the invariants can fail.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import settings

import actors.risk_gate
from actors.ledger import Ledger
from actors.monitor import Monitor
from actors.order_router import OrderRouter
from actors.risk_gate import RiskGate
from engine.domain.exposure import FAR, ExposureBook
from engine.domain.latch import TradingLatch
from engine.domain.order_state import TRANSITIONS
from engine.domain.reservations import Reservations
from engine.domain.risk import DenyCode, judge
from engine.domain.risk_book import RiskBook
from engine.domain.throttle import Throttle
from engine.errors import ConfigError
from engine.research.fuzz import Case, fuzz, read_case, replay
from engine.research.fuzz.steps import Send, render
from tests.limits import UNLIMITED, limits

# Each example is some thirty messages and every invariant after each.
EXAMPLES = settings.default.max_examples * 6 // 10  # type: ignore[union-attr]
TRIES = 400

TIGHT: dict[str, dict[str, Any]] = {
    "shipped": {},
    "small": {
        "max_position_size": 0.05, "max_total_exposure": 4_000.0, "max_leverage": 0.1,
        "min_order_size": 0.0,
    },
    "losing": {
        "max_daily_loss_amount": 40.0, "on_halt": "flatten", "stop_loss_pct": 0.01,
        "stop_loss_buffer": 0.0, "max_order_size": 3_000.0, "max_order_quantity": 25,
    },
    "counted": {
        "max_open_orders": 3, "max_orders_per_day": 9, "max_repeated_orders": 2,
        "max_order_rate": 1.0, "order_burst": 3, "min_order_size": 0.0, "max_losing_trades": 2,
        "per_strategy": {"max_open_orders": 2, "max_orders_per_day": 5, "max_losing_trades": 1},
    },
    "levered": {
        "max_leverage": 3.0, "max_position_size": 2.0, "max_net_leverage": 0.5,
        "max_sector_exposure": 0.4, "initial_margin": 0.5, "maintenance_margin": 0.4,
        "max_drawdown": 0.05, "halt_reset": "manual", "min_cash": 0.0,
    },
    "barred": {
        "short_selling": False, "restricted_symbols": ["B"], "locates": {"A": 5},
        "symbols": {"A": {"max_order_size": 900.0, "price_collar": 0.01}},
    },
    "falling": {"max_daily_loss_amount": 40.0, "trailing_stop_pct": 0.5},
    "free": {**UNLIMITED, "self_trade_prevention": False},
}  # fmt: skip


@pytest.mark.req("P1", "P4", "P6", "P10", "P13", "P15", "P17", "R88", "D11", "D14")
@pytest.mark.parametrize("name", TIGHT)
def test_nothing_breaks_the_gates_word(name: str) -> None:
    found = fuzz(limits(**TIGHT[name]), examples=EXAMPLES, seed=20_240_101)
    assert found.failure is None, "\n".join(
        [found.failure.sentence, found.failure.detail, *render(found.failure.steps)]
    )
    assert found.steps > 15 * found.examples


# Faults.

Plant = Callable[[pytest.MonkeyPatch], None]


def blind_to(code: DenyCode) -> Plant:
    """Take one check out of the gate."""

    def judge_but_one(inputs: Any, bound: Any, own: Any) -> DenyCode | None:
        found = judge(inputs, bound, own)
        return None if found is code else found

    return lambda patch: patch.setattr(actors.risk_gate, "judge", judge_but_one)


def replaced(owner: Any, name: str, function: Any) -> Plant:
    return lambda patch: patch.setattr(owner, name, function)


def no_bands(patch: pytest.MonkeyPatch) -> None:
    def grant(book: ExposureBook, market: Any) -> bool:
        market.low, market.high = -FAR, FAR
        return False

    patch.setattr(ExposureBook, "grant", grant)
    patch.setattr(ExposureBook, "grant_all", lambda book: False)


def fills_twice(patch: pytest.MonkeyPatch) -> None:
    whole = OrderRouter.on_order_filled

    def forgetful(router: OrderRouter, fill: Any) -> None:
        router.orders[fill.client_order_id].exec_ids = None
        whole(router, fill)

    patch.setattr(OrderRouter, "on_order_filled", forgetful)


def half_of_the_worst_case(patch: pytest.MonkeyPatch) -> None:
    whole = ExposureBook.resize

    def resize(book: ExposureBook, strategy_id: str, exposure: Any) -> None:
        buys, exposure.buys = exposure.buys, exposure.buys // 2
        whole(book, strategy_id, exposure)
        exposure.buys = buys

    patch.setattr(ExposureBook, "resize", resize)


def let_go_of_what_is_unknown(patch: pytest.MonkeyPatch) -> None:
    whole = OrderRouter.on_report

    def on_report(router: OrderRouter, report: Any) -> None:
        whole(router, report)
        if type(report).__name__ == "OrderUnknown":
            gate: Any = router.ctx._cell.actors["risk_gate"]  # type: ignore[attr-defined]
            gate.book.release(report.client_order_id)

    patch.setattr(OrderRouter, "on_report", on_report)


def unrestricted(patch: pytest.MonkeyPatch) -> None:
    whole = RiskGate.on_start

    def on_start(gate: RiskGate) -> None:
        gate._restricted = frozenset()
        whole(gate)

    patch.setattr(RiskGate, "on_start", on_start)


NOTHING = lambda *args, **kwargs: None  # noqa: E731  # the shortest way to plant an omission

FAULTS: dict[str, tuple[str, Plant]] = {
    "position size unchecked": ("small", blind_to(DenyCode.POSITION_SIZE)),
    "exposure unchecked": ("small", blind_to(DenyCode.TOTAL_EXPOSURE)),
    "order value unchecked": ("barred", blind_to(DenyCode.ORDER_VALUE_ABOVE_MAX)),
    "quantity unchecked": ("losing", blind_to(DenyCode.ORDER_QUANTITY_ABOVE_MAX)),
    "collar unchecked": ("shipped", blind_to(DenyCode.PRICE_COLLAR)),
    "open orders unchecked": ("counted", blind_to(DenyCode.OPEN_ORDERS)),
    "shorts unchecked": ("barred", blind_to(DenyCode.SHORT_SELLING)),
    "ends release nothing": ("shipped", replaced(RiskBook, "release", NOTHING)),
    "fills release nothing": ("shipped", replaced(Reservations, "fill", NOTHING)),
    "unknown orders released": ("shipped", let_go_of_what_is_unknown),
    "the ledger is deaf": ("shipped", replaced(Ledger, "on_replace_approved", NOTHING)),
    "ended orders still counted": ("shipped", replaced(Throttle, "ended", NOTHING)),
    "half of the worst case": ("small", half_of_the_worst_case),
    "the latch says yes": ("shipped", replaced(TradingLatch, "refusal", NOTHING)),
    "a halt takes nothing back": ("shipped", replaced(RiskGate, "_take_back", NOTHING)),
    "fills booked twice": ("shipped", fills_twice),
    "no alarm rings": ("falling", no_bands),
    "the monitor sleeps": ("losing", replaced(Monitor, "on_market", NOTHING)),
    "restricted symbols trade": ("barred", unrestricted),
}  # fmt: skip


@pytest.mark.req("P10", "P13", "P6")
@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_and_told_in_a_few_steps(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    profile, plant = FAULTS[name]
    chosen = limits(**TIGHT[profile])
    plant(monkeypatch)
    found = fuzz(chosen, examples=TRIES, seed=7, simplest=False)
    assert found.failure is not None
    assert len(found.failure.steps) <= 8, render(found.failure.steps)
    again = replay(chosen, found.failure.steps)
    assert again == found.failure
    # The written sequence is the same sequence.
    file = tmp_path / "case.json"
    file.write_bytes(msgspec.json.encode(Case(limits=chosen, steps=found.failure.steps)))
    case = read_case(file)
    assert (case.limits, case.steps) == (chosen, found.failure.steps)


def test_a_fault_in_the_table_of_states_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.domain.events import OrderUnknown
    from engine.domain.orders import OrderStatus

    row = {k: v for k, v in TRANSITIONS[OrderStatus.ACCEPTED].items() if k is not OrderUnknown}
    monkeypatch.setitem(TRANSITIONS, OrderStatus.ACCEPTED, row)
    found = fuzz(limits(), examples=TRIES, seed=7, simplest=False)
    assert found.failure is not None
    assert found.failure.name == "InvariantError"


@pytest.mark.parametrize("content", [b"", b"{}", b'{"limits": 1, "steps": []}', b"\xff"])
def test_a_file_that_is_no_sequence_is_told(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "case.json"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"case\.json is no sequence of engine risk fuzz"):
        read_case(file)


def test_the_same_seed_tries_the_same() -> None:
    one, two = (fuzz(limits(), examples=20, seed=5) for _ in range(2))
    assert one == two
    assert fuzz(limits(), examples=20, seed=6) != one


def test_every_step_has_words() -> None:
    assert render([Send(0, 1, True, 1, 30, -5, reduce_only=True)]) == [
        "1. S buys 30 B, limit at -0.5 %, to reduce only"
    ]
