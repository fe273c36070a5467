"""Approved strategies as they come over the wire: read exactly, or refused with a name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.domain.approved_wire import read_approved
from engine.domain.market_wire import RejectedError
from engine.strategy.allocation import Allocation
from engine.strategy.base import Strategy
from engine.strategy.parameters import resolve

# As document 001 has it.
MESSAGE: dict[str, Any] = {
    "type": "strategy.approved",
    "strategy_id": "550e8400-e29b-41d4-a716-446655440000",
    "user_id": "660e8400-e29b-41d4-a716-446655440000",
    "timestamp": "2024-01-01T00:00:00Z",
    "config": {
        "name": "Tech Growth Strategy",
        "type": "MOMENTUM",
        "symbols": ["AAPL", "MSFT", "GOOGL"],
        "allocation": {"AAPL": 0.35, "MSFT": 0.35, "GOOGL": 0.30},
        "initial_capital": 100000.00,
        "risk_params": {"max_position_size": 0.30, "stop_loss_pct": 0.05, "max_daily_loss": 0.05},
        "entry_rules": {
            "indicators": ["RSI", "MACD"], "rsi_threshold": 40, "macd_signal": "bullish",
        },
    },
}  # fmt: skip
ABSENT = object()


def changed(path: str, value: Any) -> bytes:
    """Give the message with one field another, or absent."""
    message = json.loads(json.dumps(MESSAGE))
    *parents, last = path.split(".")
    place = message
    for name in parents:
        place = place[name]
    if value is ABSENT:
        del place[last]
    else:
        place[last] = value
    return json.dumps(message).encode()


def refusal(content: bytes, *, strict: bool = True) -> tuple[str, str]:
    with pytest.raises(RejectedError) as caught:
        read_approved(content, refuse_unknown=strict)
    return caught.value.code.name, str(caught.value)


@pytest.mark.req("R83", "R84", "R85", "R86", "R99")
def test_the_message_of_the_document_is_read() -> None:
    approved = read_approved(json.dumps(MESSAGE).encode(), refuse_unknown=True)
    assert approved.strategy_id == MESSAGE["strategy_id"]
    assert approved.user_id == MESSAGE["user_id"]
    assert approved.ts_event == 1_704_067_200 * 10**9
    assert approved.symbols == ("AAPL", "MSFT", "GOOGL")
    assert json.loads(approved.config) == MESSAGE["config"]
    assert approved.parameters == {
        "allocation": {"AAPL": 0.35, "MSFT": 0.35, "GOOGL": 0.30},
        "initial_capital": 100_000.0,
        "max_position_size": 0.30,
        "stop_loss_pct": 0.05,
        "max_daily_loss": 0.05,
        "rsi_threshold": 40.0,
        "macd_bullish": True,
    }
    taken = resolve(Allocation, Strategy, approved.parameters)
    assert {name: taken[name] for name in approved.parameters} == approved.parameters


@pytest.mark.req("D1", "D3")
@pytest.mark.parametrize(
    ("path", "value", "attribute", "read"),
    [
        ("strategy_id", 17, "strategy_id", 17),
        ("user_id", "any-text", "user_id", "any-text"),
        ("timestamp", 1_704_067_200_123, "ts_event", 1_704_067_200_123 * 10**6),
        ("timestamp", "2024-01-01T01:00:00+01:00", "ts_event", 1_704_067_200 * 10**9),
    ],
)
def test_ids_and_times_in_every_form(path: str, value: Any, attribute: str, read: Any) -> None:
    approved = read_approved(changed(path, value), refuse_unknown=True)
    assert getattr(approved, attribute) == read
    assert type(getattr(approved, attribute)) is type(read)


@pytest.mark.req("D2")
def test_numbers_may_be_text_and_add_up_exactly() -> None:
    tenths = {"AAPL": "0.7", "MSFT": "0.1", "GOOGL": 0.2}  # as doubles their sum is above 1
    approved = read_approved(changed("config.allocation", tenths), refuse_unknown=True)
    assert approved.parameters["allocation"] == {"AAPL": 0.7, "MSFT": 0.1, "GOOGL": 0.2}


def test_rules_and_limits_may_be_absent() -> None:
    message = json.loads(changed("config.risk_params", ABSENT))
    del message["config"]["entry_rules"]
    approved = read_approved(json.dumps(message).encode(), refuse_unknown=True)
    assert approved.parameters.keys() == {"allocation", "initial_capital"}


@pytest.mark.req("R127", "D20")
@pytest.mark.parametrize(
    ("path", "value", "code", "says"),
    [
        ("type", "strategy.rejected", "WRONG_SHAPE", "type"),
        ("strategy_id", ABSENT, "WRONG_SHAPE", "strategy_id"),
        ("strategy_id", "", "WRONG_SHAPE", "strategy_id must be"),
        ("strategy_id", "x" * 65, "WRONG_SHAPE", "1 to 64 visible characters"),
        ("strategy_id", "a b", "WRONG_SHAPE", "visible"),
        ("user_id", "a\x00", "WRONG_SHAPE", "user_id must be"),
        ("user_id", None, "WRONG_SHAPE", "user_id"),
        ("timestamp", "yesterday", "BAD_TIME", "yesterday"),
        ("timestamp", 1.5, "BAD_TIME", "double"),
        ("config", [], "WRONG_SHAPE", "object"),
        ("config.symbols", [], "WRONG_SHAPE", "1 to 1000 symbols"),
        ("config.symbols", ["AAPL", "MSFT", "MSFT"], "WRONG_SHAPE", "twice"),
        ("config.symbols", ["AAPL", "MSFT"], "WRONG_SHAPE", "a share to each"),
        ("config.allocation.AAPL", 0, "BAD_NUMBER", "config.allocation.AAPL must be above 0"),
        ("config.allocation.AAPL", -0.1, "BAD_NUMBER", "above 0"),
        ("config.allocation.AAPL", 0.36, "BAD_NUMBER", "adds up to more than 1"),
        ("config.allocation.AAPL", "NaN", "BAD_NUMBER", "above 0"),
        ("config.allocation.AAPL", "many", "WRONG_SHAPE", "AAPL|decimal"),
        ("config.initial_capital", 0, "BAD_NUMBER", "initial_capital must be above 0"),
        ("config.initial_capital", "Infinity", "BAD_NUMBER", "initial_capital"),
        ("config.initial_capital", 1e11, "BAD_NUMBER", "at most"),
        ("config.risk_params.stop_loss_pct", 1.5, "BAD_NUMBER", "stop_loss_pct"),
        ("config.risk_params.other", 1, "WRONG_SHAPE", "other"),
        ("config.entry_rules.indicators", ["RSI", "ADX"], "WRONG_SHAPE", "ADX"),
        ("config.entry_rules.indicators", ["MACD"], "WRONG_SHAPE", "RSI in indicators"),
        ("config.entry_rules.macd_signal", ABSENT, "WRONG_SHAPE", "MACD in indicators"),
        ("config.entry_rules.macd_signal", "bearish", "WRONG_SHAPE", "bearish"),
        ("config.entry_rules.rsi_threshold", 101, "BAD_NUMBER", "rsi_threshold"),
        ("config.name", "a\x00b", "WRONG_SHAPE", "NUL"),
    ],
)
def test_what_cannot_be_meant_is_refused(path: str, value: Any, code: str, says: str) -> None:
    found, detail = refusal(changed(path, value))
    assert found == code
    assert any(each in detail for each in says.split("|")), detail


def test_an_unknown_field_is_refused_or_kept() -> None:
    content = changed("config.colour", "green")
    assert refusal(content)[0] == "WRONG_SHAPE"
    approved = read_approved(content, refuse_unknown=False)
    assert json.loads(approved.config)["colour"] == "green"


@pytest.mark.parametrize(
    "raw",
    [b'{"colour": "\\u0000"}', b'{"colour": "\\ud800"}', b'{"colour": 1e999}', b'{"colour": \xff}'],
)
def test_what_the_database_could_not_keep_is_refused_though_nobody_reads_it(raw: bytes) -> None:
    config = json.dumps(MESSAGE["config"]).encode()[:-1] + b"," + raw[1:]
    content = changed("config", 0).replace(b'"config": 0', b'"config": ' + config)
    assert refusal(content, strict=False)[0] in ("WRONG_SHAPE", "NOT_JSON", "NOT_UTF8")
