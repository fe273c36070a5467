"""Deadlines, numbers and the table of orders: the small parts of the link."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.grpc.plain import request_id
from engine.domain.money import MAX_UNITS, format_units
from engine.link.deadlines import Deadlines
from engine.link.wire import epoch_ns, units, words

A, B, C = ("ack", "a"), ("ack", "b"), ("ack", "c")


def test_deadlines_come_in_order_and_once() -> None:
    deadlines = Deadlines()
    deadlines.set(A, 0.0)
    deadlines.set(B, -1.0)
    deadlines.set(C, 100.0)
    assert deadlines.wait_s() == 0
    assert list(deadlines.due()) == [B, A]
    assert list(deadlines.due()) == []
    assert list(deadlines) == [C]
    assert 59 < deadlines.wait_s() <= 60


def test_what_was_dropped_or_set_anew_does_not_come() -> None:
    deadlines = Deadlines()
    deadlines.set(A, 0.0)
    deadlines.set(B, 0.0)
    deadlines.set(B, 100.0)
    assert deadlines.drop(A)
    assert not deadlines.drop(A)
    assert A not in deadlines
    assert B in deadlines
    assert list(deadlines.due()) == []
    assert deadlines.wait_s() > 50


def test_a_key_may_be_set_while_others_are_due() -> None:
    deadlines = Deadlines()
    deadlines.set(A, 0.0)
    deadlines.set(B, 0.0)
    for key in deadlines.due():
        if key == A:
            deadlines.drop(B)
            deadlines.set(C, -1.0)
    assert list(deadlines) == []


@given(st.integers(-MAX_UNITS, MAX_UNITS), st.integers(0, 9))
def test_decimal_text_is_exact(number: int, decimals: int) -> None:
    assert units(format_units(number, decimals), decimals) == number


@pytest.mark.req("P11")
@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 ",
        "+1",
        "1e3",
        "NaN",
        "Infinity",
        "-",
        ".5",
        "5.",
        "1_0",
        "0x1",
        "9" * 21,
        "1\n",
    ],
)
def test_what_is_no_plain_decimal_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a decimal number"):
        units(text, 2)


@given(st.text())
def test_text_is_decimal_or_refused(text: str) -> None:
    try:
        number = units(text, 4)
    except ValueError:
        return
    assert abs(number) <= MAX_UNITS


@pytest.mark.parametrize("year", [1985, 2000, 2024, 2100])
@pytest.mark.parametrize("scale", [1, 10**3, 10**6, 10**9])
def test_the_unit_of_a_timestamp_is_told_by_its_size(year: int, scale: int) -> None:
    seconds = (year - 1970) * 31_556_952
    assert epoch_ns(seconds * scale, 0) == seconds * 10**9


def test_a_timestamp_of_nothing_is_now() -> None:
    assert epoch_ns(0, 7) == epoch_ns(-1, 7) == 7


def test_silence_is_said_otherwise() -> None:
    assert words("  ", "VENUE") == "VENUE"
    assert words(" no ", "VENUE") == "no"


@given(st.text(), st.text())
def test_different_orders_have_different_uuids(one: str, other: str) -> None:
    assert (request_id(one) == request_id(other)) == (one == other)
