"""Market data as JSON: exact, or refused with a name."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.control_wire import ControlEvent, read_control, render_control
from engine.domain.deliveries import RejectionCode
from engine.domain.instruments import Instrument
from engine.domain.market import Bar, MarketEvent, Quote, Trade
from engine.domain.market_wire import MarketReader, RejectedError, render

SHARE = Instrument(symbol="IBM", price_decimals=2)
COIN = Instrument(symbol="BTC", price_decimals=2, quantity_decimals=8)
INSTRUMENTS = {each.symbol: each for each in (SHARE, COIN)}
DAY = 86_400 * 10**9
MARCH = 1_709_251_200 * 10**9  # 2024-03-01


def reader(kind: Any = "bar", **changes: Any) -> MarketReader:
    settings: dict[str, Any] = {
        "label": "open", "interval_ns": None, "refuse_unknown": True, "size_max": 10_000,
    }  # fmt: skip
    return MarketReader(kind, INSTRUMENTS, {"IBM": 7, "BTC": 0}, **{**settings, **changes})


def read(content: bytes, kind: Any = "bar", **changes: Any) -> MarketEvent | None:
    parsed = reader(kind, **changes).read(content)
    return None if parsed is None else parsed.event


def code_of(content: bytes, kind: Any = "bar", **changes: Any) -> RejectionCode:
    with pytest.raises(RejectedError) as refused:
        reader(kind, **changes).read(content)
    assert str(refused.value)
    return refused.value.code


BAR: dict[str, Any] = {
    "symbol": "IBM", "timeframe": "1Day", "open": 175.5, "high": "176.25", "low": 175,
    "close": 176, "volume": 1200, "timestamp": "2024-03-01T00:00:00Z",
}  # fmt: skip
TRADE: dict[str, Any] = {
    "symbol": "BTC", "price": "61000.5", "size": 0.00000001, "timestamp": MARCH, "tickType": "up",
}  # fmt: skip
QUOTE: dict[str, Any] = {
    "symbol": "BTC", "bid": 61000, "ask": 61000.01, "bidSize": 1, "askSize": "2.5",
    "timestamp": MARCH,
}  # fmt: skip


def text(base: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps({**base, **changes}).encode()


@pytest.mark.req("R29")
@pytest.mark.req("D2")
def test_a_bar_is_read_exactly_and_numbered() -> None:
    expected = Bar("IBM", 7, MARCH, MARCH + DAY, 17550, 17625, 17500, 17600, 1200, 100, 1)
    assert read(text(BAR)) == expected
    closes = text(BAR, timestamp="2024-03-02T00:00:00Z")
    assert read(closes, label="close") == expected
    ended = text(BAR, timestampEnd=MARCH + DAY // 4)
    assert read(ended) == msgspec.structs.replace(expected, ts_event=MARCH + DAY // 4)


@pytest.mark.req("R30")
@pytest.mark.req("D2")
def test_a_trade_and_a_quote_are_read_exactly() -> None:
    assert read(text(TRADE), "trade") == Trade("BTC", 0, MARCH, 6_100_050, 1, 100, 10**8)
    expected = Quote("BTC", 0, MARCH, 6_100_000, 6_100_001, 10**8, 25 * 10**7, 100, 10**8)
    assert read(text(QUOTE), "quote") == expected


def test_bars_of_another_length_and_other_symbols_are_nobodys() -> None:
    assert read(text(BAR, timeframe="1Min"), interval_ns=DAY) is None
    assert read(text(BAR, symbol="AAPL")) is None
    alone = {key: value for key, value in BAR.items() if key != "timeframe"}
    assert read(text(alone), interval_ns=DAY) is not None


@pytest.mark.req("P11")
@pytest.mark.req("D2")
@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e5", "0x10", "", " 1", "1.", "9" * 21])
def test_text_that_is_no_plain_number_is_refused(value: str) -> None:
    assert code_of(text(BAR, close=value)) is RejectionCode.BAD_NUMBER


@pytest.mark.req("P11")
@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "NOT_JSON"),
        (b'{"symbol": "IBM", "open": NaN}', "NOT_JSON"),
        (b'{"symbol": "IBM", "open": 1e999}', "WRONG_SHAPE"),
        (text(BAR)[:-1], "NOT_JSON"),
        (text(BAR) + b"x", "NOT_JSON"),
        (b'{"symbol": "\xc3\x28"}', "NOT_UTF8"),
        (b"null", "WRONG_SHAPE"),
        (b"[]", "WRONG_SHAPE"),
        (text(BAR, symbol=None), "WRONG_SHAPE"),
        (text(BAR, sequence="1"), "WRONG_SHAPE"),
        (text(BAR, extra=1), "WRONG_SHAPE"),
        (text(BAR, close=0), "BAD_NUMBER"),
        (text(BAR, close=-1), "BAD_NUMBER"),
        (text(BAR, close=176.001), "BAD_NUMBER"),
        (text(BAR, close="176.001"), "BAD_NUMBER"),
        (text(BAR, volume=0.5), "BAD_NUMBER"),
        (text(BAR, volume=1e19), "BAD_NUMBER"),
        (text(BAR, timestamp=1.5), "BAD_TIME"),
        (text(BAR, timestamp="\0"), "BAD_TIME"),
        (text(BAR, timestampEnd=MARCH), "BAD_TIME"),
        (text(BAR, timeframe=None), "BAD_TIMEFRAME"),
        (text(BAR, high=175.25), "IMPOSSIBLE"),
        (text(BAR, low=176.25), "IMPOSSIBLE"),
    ],
)
def test_what_cannot_be_used_has_a_name(content: bytes, code: str) -> None:
    assert code_of(content).value == code


def test_a_message_may_be_too_long_or_too_deep() -> None:
    assert code_of(text(BAR), size_max=50) is RejectionCode.TOO_LARGE
    deep = text(BAR)[:-1] + b', "x": ' + b"[" * 5_000 + b"]" * 5_000 + b"}"
    assert code_of(deep, refuse_unknown=False, size_max=20_000) is RejectionCode.TOO_DEEP
    assert read(text(BAR, x=[[]]), refuse_unknown=False) is not None


def test_a_quote_may_not_be_crossed() -> None:
    assert code_of(text(QUOTE, bid=61001), "quote") is RejectionCode.IMPOSSIBLE


_px = st.integers(1, 10**15)
_qty = st.integers(0, 2**60)


@pytest.mark.req("D2")
@given(st.lists(_px, min_size=4, max_size=4), _qty, st.integers(0, 9), st.integers(0, 8))
def test_what_is_written_is_read_again_to_the_unit(
    prices: list[int], volume: int, decimals: int, digits: int
) -> None:
    instrument = Instrument(symbol="X", price_decimals=decimals, quantity_decimals=digits)
    low, first, last, high = sorted(prices)
    units = instrument.price_unit, instrument.quantity_unit
    bar = Bar("X", 0, MARCH, MARCH + DAY, first, high, low, last, volume, *units)
    reads = MarketReader(
        "bar", {"X": instrument}, {"X": 0}, label="open", interval_ns=None, refuse_unknown=True,
        size_max=10_000,
    )  # fmt: skip
    parsed = reads.read(render(bar, 5))
    assert parsed is not None
    assert parsed == (bar, 5)


@given(st.decimals(0, 10**9, places=6), st.integers(0, 9))
def test_a_number_is_exact_or_refused(number: Decimal, decimals: int) -> None:
    instrument = Instrument(symbol="X", price_decimals=2, quantity_decimals=min(decimals, 8))
    reads = MarketReader(
        "trade", {"X": instrument}, {"X": 0}, label="open", interval_ns=None, refuse_unknown=True,
        size_max=10_000,
    )  # fmt: skip
    content = b'{"symbol":"X","price":1,"timestamp":0,"size":%s}' % str(number).encode()
    exact = number * instrument.quantity_unit
    if exact != int(exact):
        with pytest.raises(RejectedError, match="digits after the point"):
            reads.read(content)
        return
    parsed = reads.read(content)
    assert parsed is not None
    event = parsed.event
    assert isinstance(event, Trade)
    assert event.qty == exact


_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.req("P11")
@pytest.mark.req("P25")
@given(
    st.binary(max_size=200)
    | st.builds(lambda key, value: text(BAR, **{key: value}), st.sampled_from([*BAR, "x"]), _json)
    | st.builds(lambda at, b: text(BAR)[:at] + bytes([b]) + text(BAR)[at + 1 :],
                st.integers(0, len(text(BAR)) - 1), st.integers(0, 255)),
)  # fmt: skip
def test_no_message_does_more_than_be_refused(content: bytes) -> None:
    try:
        event = read(content)
    except RejectedError:
        return
    assert event is None or isinstance(event, Bar)


@pytest.mark.req("R31")
@pytest.mark.req("D1")
def test_a_control_event_is_read_and_written() -> None:
    event = ControlEvent(
        action="subscribe", symbol="BTC", type="crypto", strategy_id=5, session_id="s"
    )
    assert read_control(render_control(event)) == event
    assert read_control(b'{"action":"unsubscribe","symbol":"A","type":"stock"}').strategy_id is None
    for bad in (b"", b"{}", b'{"action":"x","symbol":"A","type":"stock"}',
                b'{"action":"subscribe","symbol":"","type":"stock"}'):  # fmt: skip
        with pytest.raises(RejectedError):
            read_control(bad)
