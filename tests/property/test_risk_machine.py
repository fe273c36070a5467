"""Sequences of everything that can happen, against the real gate, router, ledger and monitor.

The invariants are those of ``engine.research.fuzz.invariants``, which is also what ``engine risk
fuzz`` runs on a user's own limits. Each planted fault takes one rule out of the engine and must be
found: that is what shows that the invariants can fail.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import actors.risk_gate
from actors.ledger import Ledger
from actors.monitor import Monitor
from actors.order_router import OrderRouter
from actors.risk_gate import RiskGate
from engine.domain import risk_snapshot
from engine.domain.events import RiskEvent, Severity
from engine.domain.exposure import FAR, ExposureBook, Market
from engine.domain.latch import TradingLatch
from engine.domain.money import CASH_UNIT
from engine.domain.order_state import TRANSITIONS
from engine.domain.reservations import Reservations
from engine.domain.results import Results
from engine.domain.risk import DenyCode, judge
from engine.domain.risk_book import RiskBook
from engine.domain.throttle import Throttle
from engine.errors import ConfigError
from engine.research.fuzz import Case, fuzz, read_case, replay
from engine.research.fuzz.steps import Accept, Fill, Kill, Lose, Price, Send, render
from tests.limits import UNLIMITED, limits
from tests.unit.actors.gate_rig import Rig

CENT = CASH_UNIT // 100
# Each example is some thirty messages and every invariant after each.
EXAMPLES = settings.default.max_examples * 3 // 10  # type: ignore[union-attr]
TRIES = 300

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
    "each": {
        "min_order_size": 0.0, "per_strategy": {"max_daily_loss": 30.0, "max_exposure": 3_000.0},
    },
    "guarded": {
        "stop_loss_pct": 0.01, "stop_loss_buffer": 0.005, "trailing_stop_pct": 0.012,
        "take_profit_pct": 0.015, "on_halt": "flatten", "max_daily_loss": 0.002,
        "halt_reset": "manual", "max_order_quantity": 15,
        "symbols": {"C": {"max_order_size": 700.0}},
    },
    "stale": {
        "max_price_age": 4.0, "max_orders_per_day": 20, "max_net_leverage": 0.05,
        "min_cash": 97_000.0, "min_order_size": 0.0,
    },
    "margins": {
        "max_leverage": 5.0, "max_position_size": 4.0, "initial_margin": 0.25,
        "maintenance_margin": 0.2, "max_drawdown": 0.03, "max_daily_loss": "unlimited",
        "max_daily_loss_amount": "unlimited", "max_losing_trades": 2,
    },
    "free": {**UNLIMITED, "self_trade_prevention": False},
}  # fmt: skip


@pytest.mark.req("P1", "P4", "P6", "P10", "P13", "P15", "P17", "R88", "D11", "D14")
@pytest.mark.parametrize("name", TIGHT)
def test_nothing_breaks_the_gates_word(name: str) -> None:
    found = fuzz(limits(**TIGHT[name]), examples=EXAMPLES, seed=20_240_101, simplest=False)
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


def forgetful_restart(patch: pytest.MonkeyPatch) -> None:
    whole = risk_snapshot.restore

    def restore(book: RiskBook, snapshot: Any) -> None:
        whole(book, snapshot)
        book.throttle.account.today = 0

    patch.setattr(risk_snapshot, "restore", restore)


def kill_spares_what_reduces(patch: pytest.MonkeyPatch) -> None:
    whole = RiskGate._take_back

    def take_back(gate: RiskGate, strategy_id: str, *, everything: bool) -> None:
        whole(gate, strategy_id, everything=False)

    patch.setattr(RiskGate, "_take_back", take_back)


def deaf_to_margin(patch: pytest.MonkeyPatch) -> None:
    def rings(book: ExposureBook, totals: Any) -> bool:
        return bool(totals[0].equity <= totals[0].alarm or totals[1].equity <= totals[1].alarm)

    patch.setattr(ExposureBook, "_rings", rings)


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
    "changes are not counted": ("counted", replaced(Throttle, "amended", NOTHING)),
    "repeats are not noted": ("counted", replaced(Throttle, "_note", NOTHING)),
    "a restart forgets what was sent": ("counted", forgetful_restart),
    "losing streaks are not counted": ("counted", replaced(Results, "book", NOTHING)),
    "the shorts of others are forgotten": (
        "shipped", replaced(ExposureBook, "_other_shorts", lambda *args: 0),
    ),
    "prices rest nowhere": ("shipped", replaced(Market, "rest", NOTHING)),
    "days never end": ("losing", replaced(RiskGate, "on_day_ended", NOTHING)),
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


# Too seldom to wait for: what must come together for them is written down.
SELDOM: dict[str, tuple[Plant, dict[str, Any], str, list[Any]]] = {
    "the kill switch spares what reduces": (
        kill_spares_what_reduces, {}, "the_kill_switch_takes_everything_back",
        [Send(0, 0, True, 0, 10), Fill(0, 10), Send(0, 0, False, 0, 5, reduce_only=True),
         Kill(False)],
    ),
    "margin calls are not heard": (
        deaf_to_margin, {**TIGHT["margins"], "max_drawdown": "unlimited"},
        "a_limit_that_is_reached_stops",
        [*[Send(0, 0, True, 0, 900), Fill(0, 900)], *[Send(0, 1, True, 0, 900), Fill(1, 900)],
         *[Send(1, 0, True, 0, 900), Fill(2, 900)], Price(0, 650)],
    ),
}  # fmt: skip


@pytest.mark.req("P10", "P17")
@pytest.mark.parametrize("name", SELDOM)
def test_a_seldom_fault_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, changes, broken, steps = SELDOM[name]
    assert replay(limits(**changes), steps) is None
    plant(monkeypatch)
    failure = replay(limits(**changes), steps)
    assert failure is not None
    assert failure.name == broken


@pytest.mark.req("P10", "D13", "R90")
def test_a_strategys_loss_that_a_fill_reaches_halts_it() -> None:
    steps: list[Any] = [Send(0, 0, False, 0, 28), Fill(0, 28, -150)]
    assert replay(limits(**TIGHT["each"]), steps) is None


def test_a_fault_in_the_table_of_states_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.domain.events import OrderUnknown
    from engine.domain.orders import OrderStatus

    row = {k: v for k, v in TRANSITIONS[OrderStatus.ACCEPTED].items() if k is not OrderUnknown}
    monkeypatch.setitem(TRANSITIONS, OrderStatus.ACCEPTED, row)
    failure = replay(limits(), [Send(0, 0, True, 0, 10), Accept(0), Lose(0)])
    assert failure is not None
    assert failure.name == "InvariantError"


@pytest.mark.parametrize("content", [b"", b"{}", b'{"limits": 1, "steps": []}', b"\xff"])
def test_a_file_that_is_no_sequence_is_told(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "case.json"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"case\.json is no sequence of engine risk fuzz"):
        read_case(file)


def test_the_same_seed_tries_the_same() -> None:
    one, two = (fuzz(limits(), examples=10, seed=5) for _ in range(2))
    assert one == two
    assert fuzz(limits(), examples=10, seed=6) != one


def test_every_step_has_words() -> None:
    assert render([Send(0, 1, True, 1, 30, -5, reduce_only=True)]) == [
        "1. S buys 30 B, limit at -0.5 %, to reduce only"
    ]


# Alarms.

HELD = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(-60, 60)), min_size=1, max_size=6
)
PATH = st.lists(st.tuples(st.integers(0, 2), st.integers(-900, 900)), min_size=5, max_size=60)


class Valued:
    """What some positions are worth, added up anew each time; prices in cents."""

    def __init__(self) -> None:
        self.px = dict.fromkeys(("A", "T1", "T2"), 10_000)
        self.held: dict[tuple[str, str], int] = {}

    def worth(self, name: str | None = None) -> int:
        return sum(
            q * (self.px[symbol] - 10_000) * CENT
            for (who, symbol), q in self.held.items()
            if name in (None, who)
        )

    def gross(self) -> int:
        return sum(abs(q) * self.px[symbol] * CENT for (_, symbol), q in self.held.items())


def hold(rig: Rig, valued: Valued, positions: list[tuple[int, int, int]]) -> None:
    for symbol, px in valued.px.items():
        rig.price(symbol, px)
    for which, who, quantity in positions:
        key = "ST"[who], ("A", "T1", "T2")[which]
        if quantity:
            rig.hold(quantity, key[1], strategy=key[0])
            valued.held[key] = valued.held.get(key, 0) + quantity


def heard(rig: Rig, symbol: str, px: int) -> list[tuple[str, str | None, str]]:
    rig.world.heard.clear()
    rig.price(symbol, px)
    told = [e for e in rig.world.heard if type(e) is RiskEvent]
    return [(e.event_type, e.strategy_id, e.severity) for e in told]


@pytest.mark.req("D13", "P10", "R90", "R92")
@given(HELD, PATH, st.integers(1, 4_000), st.integers(1, 3_000), st.sampled_from((0.3, 0.7, 1.0)))
def test_a_loss_is_noticed_at_the_event_that_reaches_it(
    positions: list[tuple[int, int, int]], path: list[tuple[int, int]], most: int, each: int,
    warning: float,
) -> None:  # fmt: skip
    rig, valued = (
        Rig(**{**TIGHT["free"], "max_daily_loss_amount": float(most), "daily_loss_warning": warning,
               "per_strategy": {"max_daily_loss": float(each)}}),
        Valued(),
    )  # fmt: skip
    hold(rig, valued, positions)
    told: dict[str, int] = {}  # 1: warned, 2: halted
    for which, change in path:
        symbol = ("A", "T1", "T2")[which]
        px = valued.px[symbol] = max(valued.px[symbol] + change, 1)
        expected = []
        for name, code, limit in (("", "DAILY_LOSS", most), ("S", "STRATEGY_LOSS", each),
                                  ("T", "STRATEGY_LOSS", each)):  # fmt: skip
            loss, level = -valued.worth(name or None), limit * CASH_UNIT
            if loss >= level and told.get(name, 0) < 2:
                told[name] = 2
                expected.append((code, name or None, Severity.CRITICAL))
            elif told.get(name, 0) < 1 and loss > 0 and loss >= level * Fraction(str(warning)):
                told[name] = 1
                expected.append((code, name or None, Severity.WARNING))
        assert sorted(heard(rig, symbol, px)) == sorted(expected)


@pytest.mark.req("D13", "P10", "R91", "P17")
@given(
    HELD, PATH, st.sampled_from(("unlimited", 0.01, 0.05, 0.2)), st.sampled_from((0.25, 0.5, 0.9)),
    st.integers(3_000, 60_000),
)  # fmt: skip
def test_drawdowns_and_margin_calls_are_noticed_at_the_event_that_reaches_them(
    positions: list[tuple[int, int, int]], path: list[tuple[int, int]], fall: float | str,
    maintenance: float, cash: int,
) -> None:  # fmt: skip
    rig = Rig(cash, **{**TIGHT["free"], "max_drawdown": fall, "maintenance_margin": maintenance})
    valued, share = Valued(), Fraction(str(maintenance))
    told: set[str] = set()
    for symbol, px in valued.px.items():
        rig.price(symbol, px)
    for which, who, quantity in positions:
        key = "ST"[who], ("A", "T1", "T2")[which]
        if quantity:
            rig.fill(rig.order(quantity, key[1], strategy_id=key[0]), abs(quantity), 0)
            valued.held[key] = valued.held.get(key, 0) + quantity
        if cash * CASH_UNIT < valued.gross() * share:
            told.add("MARGIN_CALL")
        assert {hold.reason for hold in rig.gate.latch.holds.values()} == told
    for which, change in path:
        symbol = ("A", "T1", "T2")[which]
        px = valued.px[symbol] = max(valued.px[symbol] + change, 1)
        expected = []
        equity = cash * CASH_UNIT + valued.worth()
        lost = -valued.worth()
        if fall != "unlimited" and lost > 0 and "DRAWDOWN" not in told and (
            lost >= cash * CASH_UNIT * Fraction(str(fall))
        ):  # fmt: skip
            told.add("DRAWDOWN")
            expected.append(("DRAWDOWN", None, Severity.CRITICAL))
        if "MARGIN_CALL" not in told and equity < valued.gross() * share:
            told.add("MARGIN_CALL")
            if "DRAWDOWN" not in told:
                expected.append(("MARGIN_CALL", None, Severity.CRITICAL))
        assert sorted(heard(rig, symbol, px)) == sorted(expected)
