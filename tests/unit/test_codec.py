"""What entered a run is written down and read back as it was."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.codec import TOLD, decode_inputs, encode_inputs
from engine.domain.events import OrderSubmitted
from engine.domain.market import Bar, Quote, Trade
from engine.errors import InvariantError
from engine.runtime.inputs import Finished, Started, Ticked, Told

UNITS = st.integers(-(2**63), 2**63 - 1)
NAMES = st.text(max_size=8)


def _any_of(kind: Any) -> st.SearchStrategy[Any]:
    return st.from_type(kind)


def _messages(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    fields = {
        field.name: _value(field.type) for field in msgspec.structs.fields(kind)
    }  # every field, also those with a default
    return st.builds(kind, **fields)


def _value(hint: Any) -> st.SearchStrategy[Any]:
    if hint is int:
        return UNITS
    if hint is float:
        return st.floats(allow_nan=False, allow_infinity=False)
    if hint is str:
        return NAMES
    if hint in (int | None, str | None):
        return st.none() | (UNITS if hint == int | None else NAMES)
    if hint == float | None:
        return st.none() | st.floats(allow_nan=False, allow_infinity=False)
    return _any_of(hint)


TOLD_ANY = st.one_of([_messages(kind) for kind in TOLD])
INPUTS = st.one_of(
    *(_messages(kind) for kind in (Bar, Trade, Quote, Started, Ticked, Finished)),
    st.builds(Told, NAMES, TOLD_ANY, UNITS),
)


@given(st.lists(INPUTS, max_size=12))
def test_every_input_comes_back(inputs: list[Any]) -> None:
    assert decode_inputs(encode_inputs(inputs)) == inputs


def test_a_message_that_nobody_may_send_is_not_written_down() -> None:
    with pytest.raises(InvariantError, match="OrderSubmitted entered the core and cannot be"):
        encode_inputs([Told("a", OrderSubmitted("O1", 1), 1)])


@pytest.mark.parametrize("record", [b"", b"\xc1", b"\x91\x91\xa3odd", b"\x91\x92\xa6ticked\xa1x"])
def test_what_is_no_record_is_refused(record: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_inputs(record)
