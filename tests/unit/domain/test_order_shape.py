from __future__ import annotations

from typing import Any

import pytest

from engine.domain.exposure import Market
from engine.domain.instruments import Instrument
from engine.domain.order_shape import crossed_px, shape_error, through_ppm
from engine.domain.orders import Order, OrderType, Side
from engine.domain.risk import DenyCode, symbol_bounds
from tests.limits import limits

LIMIT, STOP, STOP_LIMIT = OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT
TRAIL = OrderType.TRAILING_STOP
A = Instrument(symbol="A")


def order(side: Side, **fields: Any) -> Order:
    given: dict[str, Any] = {"order_type": LIMIT, "order_qty": 1, "ts_init": 0}
    return Order("O", "S", "A", side, **(given | fields))


@pytest.mark.req("P11")
@pytest.mark.parametrize(
    ("order_type", "fields", "code"),
    [
        # One unit is the smallest price and the smallest quantity.
        (LIMIT, {"limit_px": 1}, None),
        (STOP, {"stop_px": 1}, None),
        (STOP_LIMIT, {"limit_px": 1, "stop_px": 1}, None),
        (TRAIL, {"trail_px": 1}, None),
        (TRAIL, {"trail_bps": 1}, None),
        (TRAIL, {"trail_bps": 0}, DenyCode.INVALID_ORDER),
        (TRAIL, {"trail_bps": -1}, DenyCode.INVALID_ORDER),
        (LIMIT, {"limit_px": 0}, DenyCode.PRICE_PRECISION),
        (STOP, {"stop_px": 0}, DenyCode.PRICE_PRECISION),
        (TRAIL, {"trail_px": 0}, DenyCode.PRICE_PRECISION),
    ],
)
def test_the_smallest_numbers_of_an_order(
    order_type: OrderType, fields: dict[str, Any], code: DenyCode | None
) -> None:
    assert shape_error(order(Side.BUY, order_type=order_type, **fields), A) is code


@pytest.mark.parametrize(
    ("side", "fields", "ppm"),
    [
        (Side.BUY, {}, 0),
        (Side.BUY, {"limit_px": 105}, 50_000),
        (Side.BUY, {"limit_px": 95}, -50_000),
        (Side.SELL, {"limit_px": 95}, 50_000),
        (Side.SELL, {"limit_px": 105}, -50_000),
        (Side.BUY, {"limit_px": 220, "stop_px": 200}, 100_000),
        (Side.SELL, {"limit_px": 180, "stop_px": 200}, 100_000),
    ],
)
def test_how_far_a_limit_goes_through_the_market(
    side: Side, fields: dict[str, Any], ppm: int
) -> None:
    assert through_ppm(order(side, **fields), 100) == ppm


def test_the_distance_rounds_up() -> None:
    assert through_ppm(order(Side.BUY, limit_px=4), 3) == 333_334
    assert through_ppm(order(Side.BUY, limit_px=2), 3) == -333_333


CROSSING = [
    (Side.BUY, {"limit_px": 109}, 0),
    (Side.BUY, {"limit_px": 110}, 110),
    (Side.BUY, {"limit_px": 125}, 110),
    (Side.SELL, {"limit_px": 91}, 0),
    (Side.SELL, {"limit_px": 90}, 90),
    (Side.SELL, {"limit_px": 70}, 90),
    (Side.BUY, {"order_type": OrderType.MARKET}, 0),
    (Side.SELL, {"order_type": OrderType.MARKET}, 0),
    (Side.BUY, {"limit_px": 125, "parent_id": "P"}, 0),
    (Side.BUY, {"limit_px": 125, "stop_px": 120, "order_type": OrderType.STOP_LIMIT}, 0),
    (Side.SELL, {"stop_px": 80, "order_type": OrderType.STOP}, 0),
]


@pytest.mark.parametrize(("side", "fields", "px"), CROSSING)
def test_which_own_order_it_could_meet(side: Side, fields: dict[str, Any], px: int) -> None:
    market = Market(A, symbol_bounds(limits(), A), 1)
    market.px = 100
    assert crossed_px(order(side, **fields), market) == 0
    for order_id, of, at in (
        ("1", Side.BUY, 80), ("2", Side.BUY, 90), ("3", Side.SELL, 110), ("4", Side.SELL, 120),
    ):  # fmt: skip
        market.rest(order_id, of, at)
    assert crossed_px(order(side, **fields), market) == px


@pytest.mark.parametrize(("side", "px", "met"), [(Side.BUY, 110, 110), (Side.SELL, 90, 90)])
def test_a_market_order_reaches_the_latest_price(side: Side, px: int, met: int) -> None:
    market = Market(A, symbol_bounds(limits(), A), 1)
    market.rest("1", Side.BUY, 90)
    market.rest("2", Side.SELL, 110)
    market.px = 100
    assert crossed_px(order(side, order_type=OrderType.MARKET), market) == 0
    market.px = px
    assert crossed_px(order(side, order_type=OrderType.MARKET), market) == met
