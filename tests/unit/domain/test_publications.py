"""What is told of a run: the exact messages, and that batches and restarts change none of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.announcer import Announcer
from engine.domain.commands import OrderApproved
from engine.domain.events import (
    OrderAccepted,
    OrderCanceled,
    OrderDenied,
    OrderFilled,
    OrderReplaced,
    OrderUnknown,
    PositionChanged,
    PricedBy,
    RiskEvent,
    Severity,
    StrategyFailed,
)
from engine.domain.executions import ExecutionBegan, ExecutionEnded, ExecutionRefused
from engine.domain.instruments import Instrument
from engine.domain.orders import Liquidity, Order, OrderType, Side
from engine.domain.publications import (
    TEXT_MAX,
    Publication,
    amount,
    average,
    price,
    quantity,
    shortened,
)
from engine.domain.risk import CheckInputs, DenyCode, Verdict

SECOND = 10**9
T0 = 1_704_067_200 * SECOND
CASH = 10**8
EXECUTION, STRATEGY, USER = (
    f"{each}0e8400-e29b-41d4-a716-446655440000" for each in ("77", "55", "66")
)
ABOUT = f'"execution_id":"{EXECUTION}","strategy_id":"{STRATEGY}","user_id":"{USER}"'
# As document 001 has it, without the white space.
STARTED = (
    '{"type":"strategy.execution.started",'
    '"execution_id":"770e8400-e29b-41d4-a716-446655440000",'
    '"strategy_id":"550e8400-e29b-41d4-a716-446655440000",'
    '"user_id":"660e8400-e29b-41d4-a716-446655440000",'
    '"timestamp":"2024-01-01T00:00:00Z","status":"active",'
    '"initial_orders":[{"symbol":"AAPL","side":"BUY","quantity":200,"price":175.50,'
    '"value":35100.00}]}'
)


def announcer(told: int = 0) -> Announcer:
    instruments = {"AAPL": Instrument(symbol="AAPL")}
    made = Announcer("run", {STRATEGY: EXECUTION}, instruments, user_id=USER, told=told)
    made.begin(T0)
    return made


def order(number: int = 1, ts: int = T0, **more: Any) -> Order:
    kind = OrderType.LIMIT if "limit_px" in more else OrderType.MARKET
    return Order(f"o{number}", STRATEGY, "AAPL", Side.BUY, kind, 200, ts, **more)


def verdict(given: Order, code: DenyCode | None = None) -> Verdict:
    fields = dict.fromkeys(CheckInputs._fields, 0)
    inputs = CheckInputs(**fields)._replace(reference_px=17_550, order_value=35_100 * CASH)
    return Verdict(given.client_order_id, given.ts_init, code, inputs)


def approved(number: int = 1, ts: int = T0, **more: Any) -> OrderApproved:
    given = order(number, ts, **more)
    return OrderApproved(given, verdict(given))


def filled(qty: int, px: int, leaves: int, position: int, cost: int, ts: int) -> PositionChanged:
    fill = OrderFilled(
        client_order_id="o1", exec_id=f"e{ts}", strategy_id=STRATEGY, symbol="AAPL",
        signed_qty=qty, last_px=px, cum_qty=0, leaves_qty=leaves, commission=CASH // 4, slippage=0,
        liquidity=Liquidity.TAKER, ts_event=ts, priced_by=PricedBy.TRADE, datum_seq=0, datum_ts=ts,
    )  # fmt: skip
    return PositionChanged(fill, position, cost, 5 * CASH, 64_899_75 * CASH // 100)


def risk(ts: int, strategy: str | None = None, text: str = "Too much.") -> RiskEvent:
    return RiskEvent(
        event_type="DAILY_LOSS", severity=Severity.CRITICAL, strategy_id=strategy, symbol=None,
        limit=0.05, value=0.06, action_taken="TRADING_HALTED", description=text, ts_event=ts,
    )  # fmt: skip


def failed(ts: int, text: str = "Trace") -> StrategyFailed:
    return StrategyFailed(
        strategy_id=STRATEGY, hook="on_bar", event="Bar", error="ValueError: x", traceback=text,
        ts_event=ts,
    )  # fmt: skip


def told(*events: Any, until: int = T0 + SECOND) -> list[Publication]:
    """Give what is told of events, without the start."""
    made = announcer()
    made.market(T0)
    made.market(until)
    made.take(events)
    made.settle()
    return [each for each in made.drain() if "execution.started" not in each.content]


def content(*events: Any) -> str:
    return told(*events)[-1].content


@pytest.mark.req("R71")
@pytest.mark.req("R87")
def test_the_start_of_an_execution_is_told_to_the_letter() -> None:
    made = announcer()
    made.market(T0)
    made.take([approved()])
    made.settle()
    assert made.drain() == []  # the first moment is not over: another order may come
    made.market(T0 + SECOND)
    made.settle()
    started, first = made.drain()
    assert started == Publication(0, "execution", STRATEGY, STARTED)
    assert first.sequence == 1
    assert msgspec.json.decode(first.content)["order_id"] == "o1"


def test_orders_of_later_moments_are_not_what_it_began_with() -> None:
    made = announcer()
    made.market(T0)
    made.take([approved(), approved(2, T0 + 1)])
    started = msgspec.json.decode(made.drain()[0].content)
    assert len(started["initial_orders"]) == 1


def test_orders_are_told_with_the_words_of_the_wire() -> None:
    events = [
        approved(limit_px=17_600),
        OrderAccepted("o1", "v9", T0 + 1),
        OrderUnknown("o1", "TIMEOUT", T0 + 2),
        OrderAccepted("o1", "v9", T0 + 3),
        filled(1, 10_001, 199, 1, 1, T0 + 4),
        OrderReplaced("o1", 300, 17_700, None, T0 + 5),
        filled(2, 10_000, 297, 3, 1, T0 + 6),
        OrderCanceled("o1", "USER", T0 + 7),
        filled(1, 10_000, 296, 4, 1, T0 + 8),  # late: it was canceled
        OrderUnknown("o1", "TIMEOUT", T0 + 9),
    ]
    lines = [msgspec.json.decode(each.content) for each in told(*events)]
    statuses = [
        (each["status"], each["inner_status"], each["filled_quantity"], each["reason"])
        for each in lines
        if each["type"] == "strategy.execution.order"
    ]
    assert statuses == [
        ("PENDING", "INITIALIZED", 0, None),
        ("ACCEPTED", "ACCEPTED", 0, None),
        ("PENDING", "UNKNOWN", 0, "TIMEOUT"),
        ("ACCEPTED", "ACCEPTED", 0, None),
        ("PARTIALLY_FILLED", "PARTIALLY_FILLED", 1, None),
        ("PARTIALLY_FILLED", "PARTIALLY_FILLED", 1, None),
        ("PARTIALLY_FILLED", "PARTIALLY_FILLED", 3, None),
        ("CANCELLED", "CANCELED", 3, "USER"),
        ("CANCELLED", "CANCELED", 4, "USER"),
    ]


ORDER = (
    f'{{"type":"strategy.execution.order",{ABOUT},"timestamp":"2024-01-01T00:00:00.25Z",'
    '"order_id":"o1","oms_order_id":"v9","symbol":"AAPL","side":"BUY","order_type":"LIMIT",'
    '"quantity":200,"price":176.00,"stop_price":null,"status":"PARTIALLY_FILLED",'
    '"inner_status":"PARTIALLY_FILLED","filled_quantity":3,"filled_price":100.00333333,'
    '"reason":null}'
)
POSITION = (
    f'{{"type":"strategy.positions.changed",{ABOUT},"timestamp":"2024-01-01T00:00:00.25Z",'
    '"symbol":"AAPL","quantity":-3,"average_price":100.00333333,"realized_pnl":5.00,'
    '"cash":64899.75,"fill":{"exec_id":"e1704067200250000000","order_id":"o1","side":"SELL",'
    '"quantity":2,"price":100.00,"commission":0.25}}'
)
DENIED = (
    f'{{"type":"strategy.execution.order",{ABOUT},"timestamp":"2024-01-01T00:00:00Z",'
    '"order_id":"o1","oms_order_id":null,"symbol":"AAPL","side":"BUY","order_type":"MARKET",'
    '"quantity":200,"price":null,"stop_price":null,"status":"REJECTED","inner_status":"DENIED",'
    '"filled_quantity":0,"filled_price":null,"reason":"POSITION_SIZE"}'
)
RISK = (
    '{"type":"strategy.errors.risk","execution_id":null,"strategy_id":null,'
    f'"user_id":"{USER}","timestamp":"2024-01-01T00:00:00Z","event_type":"DAILY_LOSS",'
    '"severity":"CRITICAL","symbol":null,"value":0.06,"limit_value":0.05,'
    '"action_taken":"TRADING_HALTED","description":"Too much."}'
)
ERROR = (
    f'{{"type":"strategy.errors.strategy",{ABOUT},"timestamp":"2024-01-01T00:00:00Z",'
    '"hook":"on_bar","event":"Bar","error":"ValueError: x","traceback":"Trace"}'
)
FAILED = (
    f'{{"type":"strategy.execution.failed",{ABOUT},"timestamp":"2024-01-01T00:00:00Z",'
    '"status":"error"}'
)
COMPLETED = (
    f'{{"type":"strategy.execution.completed",{ABOUT},"timestamp":"2024-01-01T00:00:01Z",'
    '"status":"completed"}'
)


@pytest.mark.req("D7")
@pytest.mark.req("D10")
def test_every_message_is_told_to_the_letter() -> None:
    at = T0 + SECOND // 4
    begun = [approved(limit_px=17_600), OrderAccepted("o1", "v9", T0)]
    one = filled(1, 10_001, 199, 1, 1, T0 + 1)
    cost = -300_01 * CASH // 100
    *_, ordered, moved = told(*begun, one, filled(-2, 10_000, 1, -3, cost, at))
    assert ordered[1:] == ("execution", STRATEGY, ORDER)
    assert moved[1:] == ("positions", STRATEGY, POSITION)
    given = order()
    assert content(OrderDenied(given, verdict(given, DenyCode.POSITION_SIZE))) == DENIED
    (about_all,) = told(risk(T0))
    assert about_all[1:] == ("errors", "run", RISK)
    assert told(risk(T0, STRATEGY))[0].key == STRATEGY
    error, broken = told(failed(T0))
    assert error[1:] == ("errors", STRATEGY, ERROR)
    assert broken[1:] == ("execution", STRATEGY, FAILED)


def test_the_end_is_told_once_of_whom_it_is_true() -> None:
    made = announcer()
    made.market(T0 + SECOND)
    made.end()
    assert [each.content for each in made.drain()][1:] == [COMPLETED]
    made = announcer()
    made.take([failed(T0)])
    made.end()
    kinds = [msgspec.json.decode(each.content)["type"] for each in made.drain()]
    assert kinds == [
        "strategy.execution.started", "strategy.errors.strategy", "strategy.execution.failed",
    ]  # fmt: skip


def test_an_order_id_that_comes_twice_says_nothing_about_the_first() -> None:
    given = order()
    lines = told(approved(), OrderDenied(given, verdict(given, DenyCode.DUPLICATE_ORDER_ID)))
    assert [msgspec.json.decode(each.content)["status"] for each in lines] == ["PENDING"]


def began(number: int, ts: int) -> ExecutionBegan:
    return ExecutionBegan(
        execution_id=f"x{number}", strategy_id="T", wire_id=7, user_id=None, symbols=("AAPL",),
        config="{}", ts_event=ts,
    )  # fmt: skip


def theirs(number: int, ts: int) -> OrderApproved:
    given = Order(f"T{number}", "T", "AAPL", Side.BUY, OrderType.MARKET, 5, ts)
    return OrderApproved(given, verdict(given))


def ended(ts: int) -> ExecutionEnded:
    return ExecutionEnded(
        execution_id="x1", strategy_id="T", status="stopped", reason="REVOKED", is_flat=True,
        ts_event=ts,
    )  # fmt: skip


def refused(ts: int) -> ExecutionRefused:
    return ExecutionRefused(
        execution_id="x0", strategy_id="R", wire_id=9, user_id=None, reason="No.", ts_event=ts
    )


@pytest.mark.req("R87")
def test_an_execution_that_begins_at_work_is_told_with_its_own_ids() -> None:
    made = announcer()
    made.market(T0)
    made.market(T0 + SECOND)
    later = T0 + 5 * SECOND
    made.take([began(1, later), theirs(1, later)])
    made.settle()
    lines = [msgspec.json.decode(each.content) for each in made.drain()]
    assert [line["type"] for line in lines] == ["strategy.execution.started"]
    made.market(later + 1)
    made.settle()
    started, order_told = made.drain()
    assert started.key == "7"
    found = msgspec.json.decode(started.content)
    assert (found["execution_id"], found["strategy_id"], found["user_id"]) == ("x1", 7, None)
    assert found["timestamp"] == "2024-01-01T00:00:05Z"
    assert [each["quantity"] for each in found["initial_orders"]] == [5]
    assert msgspec.json.decode(order_told.content)["order_id"] == "T1"
    made.take([ended(later + SECOND)])
    (stopped,) = made.drain()
    assert msgspec.json.decode(stopped.content) == {
        "type": "strategy.execution.stopped", "execution_id": "x1", "strategy_id": 7,
        "user_id": None, "timestamp": "2024-01-01T00:00:06Z", "status": "stopped",
        "reason": "REVOKED", "is_flat": True,
    }  # fmt: skip
    made.end()
    (completed,) = made.drain()
    assert completed.key == STRATEGY


@pytest.mark.req("D17")
@pytest.mark.parametrize("later", [ended, refused, failed])
def test_what_comes_later_in_a_batch_is_told_after_the_starts_before_it(
    later: Callable[[int], Any],
) -> None:
    made = announcer()
    for ts in (T0, T0 + SECOND):
        made.market(ts)
    made.take([began(1, T0), later(T0 + SECOND)])
    first, second, *_ = (msgspec.json.decode(each.content) for each in made.drain())
    assert {first["type"], second["type"]} == {"strategy.execution.started"}
    assert (first["execution_id"], second["execution_id"]) == (EXECUTION, "x1")


def moments(draw: Callable[..., Any]) -> list[tuple[int, list[Any]]]:
    """Draw what happens at some times, the first of which may come more than once."""
    found, number, begun = [], 0, 0
    for step in draw(st.lists(st.integers(0, 2), min_size=1, max_size=8)):
        ts = T0 + step if not found else found[-1][0] + step
        events: list[Any] = []
        for kind in draw(st.lists(st.sampled_from("orfbexs"), max_size=3)):
            number += kind == "o"
            if kind in "be":
                # Odd: the other strategy is at work.
                begun += 1
                events += [began(begun, ts), theirs(begun, ts)] if begun % 2 else [ended(ts)]
            elif kind == "o":
                events += [approved(number, ts), OrderAccepted(f"o{number}", "v", ts)]
            elif kind in "rxs":
                events.append({"r": risk, "x": refused, "s": failed}[kind](ts))
            elif number:
                events.append(OrderCanceled("o1", "USER", ts))
        found.append((ts, events))
    return found


def pieces(draw: Callable[..., Any], items: list[Any]) -> list[list[Any]]:
    cuts = sorted(draw(st.sets(st.integers(0, len(items)))))
    return [items[a:b] for a, b in zip([0, *cuts], [*cuts, len(items)], strict=True)]


def live(made: Announcer, batch: list[tuple[int, list[Any]]]) -> list[Publication]:
    for ts, _ in batch:
        made.market(ts)
    made.take([event for _, events in batch for event in events])
    made.settle()
    return made.drain()


@pytest.mark.req("D17")
@given(st.data())
def test_neither_batches_nor_restarts_change_what_is_told(data: st.DataObject) -> None:
    happened = moments(data.draw)
    whole = announcer()
    expected = [each for moment in happened for each in live(whole, [moment])]
    whole.end()
    expected += whole.drain()
    assert [each.sequence for each in expected] == list(range(len(expected)))

    before = data.draw(st.integers(0, len(happened)))
    first, rest = happened[:before], happened[before:]
    made = announcer()
    got = [each for batch in pieces(data.draw, first) for each in live(made, batch)]
    again = announcer(told=len(got))
    for ts, _ in first:
        again.market(ts)
    for some in pieces(data.draw, [event for _, events in first for event in events]):
        again.take(some)
    got += [each for batch in pieces(data.draw, rest) for each in live(again, batch)]
    again.end()
    assert got + again.drain() == expected


PLAIN = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")


@given(st.integers(-(2**70), 2**70), st.integers(0, 9))
def test_numbers_are_exact_and_plain(units: int, decimals: int) -> None:
    instrument = Instrument(symbol="A", price_decimals=decimals, quantity_decimals=min(decimals, 8))
    scales = ((price, decimals), (quantity, min(decimals, 8)))
    for write, digits in scales:
        text = bytes(write(units, instrument)).decode()
        assert PLAIN.fullmatch(text)
        assert Decimal(text) * 10**digits == units
    assert Decimal(bytes(amount(units)).decode()) * CASH == units


@pytest.mark.parametrize(
    ("units", "text"), [(0, "0.00"), (5, "0.05"), (-5, "-0.05"), (100, "1.00"), (1_750, "17.50")]
)
def test_prices_have_two_digits_after_the_point(units: int, text: str) -> None:
    assert bytes(price(units, Instrument(symbol="A"))).decode() == text


def test_an_average_is_rounded_half_to_even() -> None:
    fine = Instrument(symbol="A", price_decimals=9)
    assert bytes(average(1, 3, fine)) == b"0.333333333"
    assert bytes(average(-25, -(10**9 * 10), Instrument(symbol="A"))) == b"0.00"
    assert bytes(average(15, 10**9, Instrument(symbol="A"))) == b"0.00000002"
    assert bytes(average(0, 0, fine)) == b"null"


def test_what_others_wrote_is_bounded_and_can_be_written() -> None:
    long = "x" * 10_000_000
    assert len(content(risk(T0, text=long))) < TEXT_MAX + 1_000
    error = msgspec.json.decode(told(failed(T0, long + "the end"))[0].content)
    assert error["traceback"].endswith("the end")
    assert len(error["traceback"]) <= TEXT_MAX
    assert shortened("a\ud800b\0") == "a?b\0"
    assert msgspec.json.decode(content(risk(T0, text="\ud800\0\n")))["description"] == "?\0\n"
