"""Times on the wire: what is read, exactly, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.wire_time import epoch_ns, read_time, timeframe_ns

MAY = 1_714_573_800 * 10**9  # 2024-05-01T14:30:00Z


@pytest.mark.req("D3")
@pytest.mark.parametrize(
    ("value", "ns"),
    [
        ("2024-05-01T14:30:00Z", MAY),
        ("2024-05-01T14:30:00z", MAY),
        ("2024-05-01 14:30:00", MAY),
        ("2024-05-01T14:30", MAY),
        (" 2024-05-01T14:30:00 ", MAY),
        ("2024-05-01T16:30:00+02:00", MAY),
        ("2024-05-01T09:30:00-0500", MAY),
        ("2024-05-01T14:30:00.5Z", MAY + 500_000_000),
        ("2024-05-01T14:30:00,000000001Z", MAY + 1),
        ("2024-05-01T14:30:00.123456789+00:00", MAY + 123_456_789),
        ("2024-05-01", 1_714_521_600 * 10**9),
        ("1714573800", MAY),
        (1_714_573_800, MAY),
        (1_714_573_800_001, MAY + 1_000_000),
        (1_714_573_800_000_001, MAY + 1_000),
        (1_714_573_800_000_000_001, MAY + 1),
        (0, 0),
    ],
)
def test_a_time_is_read_exactly(value: int | str, ns: int) -> None:
    assert read_time(value) == ns


@pytest.mark.req("D3")
@pytest.mark.parametrize(
    "value",
    [
        "", "now", "2024-13-01", "2024-05-01T25:00:00Z", "2024-05-01T14:30:00.1234567890Z",
        "2024-05-01T14", "20240501T143000Z", "1969-12-31T23:59:59Z", "2300-01-01T00:00:00Z", "-1",
        "\u0661\u0662", "1e9", -1, 2**63, 1.5, 1_714_573_800.0, "9" * 400,
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused(value: float | str) -> None:
    with pytest.raises(ValueError, match=r"not a time|outside the years"):
        read_time(value)


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2261, 1, 1)),  # noqa: DTZ001 - a zone is drawn
    st.integers(-23 * 60, 23 * 60),
)
def test_any_moment_in_any_zone_is_that_moment(moment: datetime, minutes: int) -> None:
    there = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    since = there - datetime(1970, 1, 1, tzinfo=UTC)
    expected = (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000
    assert read_time(there.isoformat()) == expected


@given(st.integers(10**9, 2**62))
def test_an_integer_is_never_read_as_before_its_second(ns: int) -> None:
    assert epoch_ns(ns // 10**9) <= max(ns, 10**11 * 10**9)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1m", 60), ("1Min", 60), ("5Min", 300), ("15 minutes", 900), ("1h", 3600), ("1Hour", 3600),
        ("4hours", 14_400), ("1D", 86_400), ("1Day", 86_400), ("day", 86_400), ("1w", 604_800),
        ("30s", 30), ("10sec", 10),
    ],
)  # fmt: skip
def test_the_length_of_a_bar_is_read(text: str, seconds: int) -> None:
    assert timeframe_ns(text) == seconds * 10**9


@pytest.mark.parametrize("text", ["", "0m", "moment", "1", "-1m", "1.5m", "m1", "1month", "9" * 9])
def test_what_is_no_length_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not the length of a bar"):
        timeframe_ns(text)
