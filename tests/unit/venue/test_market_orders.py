"""Market orders under the default timing, and what they cost."""

from __future__ import annotations

import pytest

from engine.domain.costs import CostsConfig
from engine.domain.events import OrderAccepted, OrderFilled, OrderRejected, PricedBy
from engine.domain.matching import FillConfig
from engine.domain.orders import Liquidity
from tests.unit.venue.rig import MINUTE, Rig


def test_fills_at_the_next_open() -> None:
    rig = Rig()
    rig.bar((100_00, 101_00, 99_00, 100_50))
    order_id = rig.order("BUY", 7)
    now = rig.cell.now
    assert rig.take() == [OrderAccepted(order_id, "sim-O1", now)]
    bar = rig.bar((100_60, 102_00, 100_00, 101_00))
    assert rig.take() == [
        OrderFilled(
            order_id, "sim-E1", "S", "X", 7, 100_60, 7, 0, 0, 0, Liquidity.TAKER,
            now, PricedBy.BAR_OPEN, bar.seq, bar.ts_open,
        )
    ]  # fmt: skip


def test_a_bar_in_progress_is_not_used() -> None:
    # The order arrives half way through the bar: its open was known before.
    rig = Rig(FillConfig(latency_ms=30_000))
    rig.order("BUY", 1)
    rig.bar((100_00, 101_00, 99_00, 100_50))
    assert [type(r) for r in rig.take()] == [OrderAccepted]
    bar = rig.bar((100_70, 101_00, 99_00, 100_50))
    (fill,) = rig.take()
    assert (fill.last_px, fill.ts_event, fill.datum_ts) == (100_70, bar.ts_open, bar.ts_open)


def test_latency_moves_the_arrival_to_the_nanosecond() -> None:
    rig = Rig(FillConfig(latency_ms=60_000))
    rig.order("BUY", 1)
    rig.bar((1_00, 1_00, 1_00, 1_00))
    rig.bar((2_00, 2_00, 2_00, 2_00))  # opens exactly when the order arrives
    accepted, fill = rig.take()
    assert (accepted.ts_event, fill.ts_event, fill.last_px) == (MINUTE, MINUTE, 2_00)


def test_unknown_symbol_is_rejected() -> None:
    rig = Rig()
    rig.order("BUY", 1, symbol="Y")
    assert rig.take() == [OrderRejected("O1", "UNKNOWN_SYMBOL", 0)]


def test_the_venue_watches_only_while_it_has_orders() -> None:
    rig = Rig()
    assert not rig.cell.lane("X").handlers
    rig.order("BUY", 1)
    rig.order("SELL", 1)
    assert [len(rig.cell.lane("X").handlers), len(rig.cell.lane("Y").handlers)] == [1, 0]
    rig.bar((1_00, 1_00, 1_00, 1_00))
    assert [len(rig.cell.lane("X").handlers), len(rig.cell.lane("Y").handlers)] == [0, 0]


COMMISSIONS = [
    # 7 at 100.60 is 704.20; cash units are 1e-8
    (CostsConfig(commission_bps=10), 70_420_000),
    (CostsConfig(commission_bps=0.1), 704_200),
    (CostsConfig(commission_per_share=0.005), 3_500_000),
    (CostsConfig(commission_per_order=1), 100_000_000),
    (CostsConfig(commission_min=1.5, commission_bps=10), 150_000_000),
    (CostsConfig(commission_min=0.5, commission_bps=10), 70_420_000),
    (
        CostsConfig(commission_bps=10, commission_per_share=0.01, commission_per_order=1),
        177_420_000,
    ),
    (CostsConfig(commission_min=1.7, commission_bps=10, commission_per_order=1), 170_420_000),
]  # fmt: skip


@pytest.mark.parametrize(("costs", "commission"), COMMISSIONS)
def test_commission(costs: CostsConfig, commission: int) -> None:
    rig = Rig(costs=costs)
    rig.order("BUY", 7)
    rig.bar((100_60, 102_00, 100_00, 101_00))
    assert rig.take()[-1].commission == commission
