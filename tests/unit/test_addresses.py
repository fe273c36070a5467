"""Addresses of servers: which are refused, and that no message repeats a password."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.addresses import host_fault, masked, servers_fault, shown, url_fault
from engine.config import load_config, parse_settings
from engine.errors import ConfigError

SECRET = "Zx9-hidden-Qw7"
REFUSED = {
    "redis.url": [
        "redis://[", "http://x", "redis://", "redis://host:notaport", "redis://host:99999",
        "redis://host:0", "redis://host/notadb", "redis://a b", "redis://h%00x", "unix://",
        f"redis://:{SECRET}@host:notaport", f"http://me:{SECRET}@x", f":{SECRET}@host:6379",
        f"redis:/:{SECRET}@host", f"redis://me:{SECRET}", f"redis://:{SECRET}/x@host",
        f"redis://[?password={SECRET}", f"redis://:one@{SECRET}@host:x", f"redis://:{SECRET} @h",
    ],
    "gateway.url": [
        "http://[", "http://h:99999", "http://..", "nonsense", "http://a b", "http://[::1]x",
        f"http://me:{SECRET}@h:x", f"me:{SECRET}@h", f"https://h/?token={SECRET}",
    ],
    "alpaca.url": ["https://[", "https://h:x", f"https://me:{SECRET}@h"],
    "kafka.bootstrap_servers": [
        "[", "h:x", "h:0", "h:99999", ",", "a b", "h:9092,", "http://h:1", "::1",
        f"me:{SECRET}@h:9092",
    ],
    "oms_grpc.host": ["h:50051", ":::", "..", "-", "a b", "[::1]", f"http://me:{SECRET}@x"],
}  # fmt: skip
TAKEN = {
    "redis.url": [
        "redis://localhost", "rediss://me:pass@h.example:6380/3", "redis://[::1]:6379/",
        "unix:///tmp/redis.sock?db=1", "redis://10.0.0.1?db=2", "redis://my_host:6379",
    ],
    "gateway.url": ["http://localhost:3000", "https://me:p%40ss@h.example/base", "http://[::1]:1"],
    "kafka.bootstrap_servers": ["one:9092,two:9092", "[::1]:9092", "h", "SASL_SSL://h:9093, i:1"],
    "oms_grpc.host": ["localhost", "::1", "10.0.0.1", "h.example.", "my_host"],
}  # fmt: skip


def pairs(table: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(key, value) for key, values in table.items() for value in values]


@pytest.mark.parametrize(("key", "value"), pairs(REFUSED))
def test_an_address_that_leads_nowhere_is_refused_by_name(key: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("paper", settings={key: value})
    said = str(caught.value)
    assert said.startswith(f"setting {key} = ")
    assert "write " in said
    assert SECRET not in said


@pytest.mark.parametrize(("key", "value"), pairs(TAKEN))
def test_an_address_as_it_should_be_is_taken(key: str, value: str) -> None:
    load_config("paper", settings={key: value})


@pytest.mark.parametrize(
    "settings",
    [
        {"store.password": [SECRET]},
        {"gateway.token": {"a": SECRET}},
        {"kafka.options": {"sasl.password": [SECRET]}},
        {"kafka.options": [f"sasl.password={SECRET}"]},
        {"store.url": [f"postgresql://me:{SECRET}@h/d"]},
        {"redis": f"redis://:{SECRET}@h"},
        {f"redis://:{SECRET}@h": "x"},
        {f"redis://:{SECRET}@h.b": "x", f"redis://:{SECRET}@h": "x"},
    ],
)
def test_no_refused_setting_shows_a_password(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("paper", settings=settings)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "pair", [f"redis://:{SECRET}@h", f"=postgresql://me:{SECRET}@h", f"store.password:{SECRET}"]
)
def test_no_refused_argument_shows_a_password(pair: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_settings([pair])
    assert SECRET not in str(caught.value)


def test_what_is_hidden_and_what_is_not() -> None:
    assert masked("redis://:a@b@h:1/2") == "redis://***@h:1/2"
    assert masked("host=h password='a b' user=u") == "host=h password=*** user=u"
    assert masked("postgresql://h/d?password=a&user=u") == "postgresql://h/d?password=***&user=u"
    assert masked("redis://h:6379/0") == "redis://h:6379/0"
    assert masked("ann@example.org") == "ann@example.org"
    assert shown({"sasl.password": "x", "client.id": "me"}) == (
        "{'sasl.password': '***', 'client.id': 'me'}"
    )
    assert shown(["a", 1]) == "['a', 1]"


@given(st.text(max_size=30), st.sampled_from(["", "redis://", "http://h:", "redis://["]))
def test_whatever_is_written_is_looked_at(text: str, start: str) -> None:
    for look in (url_fault, host_fault, servers_fault):
        look(start + text)
    masked(start + text)


@given(st.text(st.characters(exclude_characters="@", exclude_categories=("Cs",)), max_size=20))
def test_no_password_in_front_of_a_host_is_shown(text: str) -> None:
    secret = f"<{text}>"
    assert secret not in masked(f"redis://me:{secret}@host")
    assert secret not in masked(f"me:{secret}@host")
