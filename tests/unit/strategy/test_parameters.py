from __future__ import annotations

from enum import Enum
from typing import Any, ClassVar, Literal

import pytest

from engine.errors import ConfigError
from engine.strategy.base import Strategy
from engine.strategy.parameters import param, parameters_of


class Mode(Enum):
    UP = "up"
    DOWN = "down"


class Sample(Strategy):
    history: ClassVar[int] = 5
    fast: int = param(10, low=2, high=100, step=2)
    share: float = param(0.5, low=0.0, high=1.0)
    name: str = "x"
    loud: bool = False
    names: list[str] = ["A"]
    kind: Literal["a", "b"] = "a"
    mode: Mode = Mode.UP
    maybe: int | None = None
    note = "no annotation, no parameter"
    _private: int = 3


def test_the_annotated_attributes_are_the_parameters() -> None:
    declared = parameters_of(Sample, Strategy)
    assert list(declared) == ["fast", "share", "name", "loud", "names", "kind", "mode", "maybe"]
    assert declared["fast"][1].step == 2
    sample = Sample()
    assert sample.parameters == {
        "fast": 10, "share": 0.5, "name": "x", "loud": False, "names": ["A"], "kind": "a",
        "mode": Mode.UP, "maybe": None,
    }  # fmt: skip
    assert sample.fast == 10


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("fast", 2, 2),
        ("fast", 100, 100),
        ("fast", "7", 7),
        ("fast", 7.0, 7),
        ("share", 1, 1.0),
        ("share", "0.25", 0.25),
        ("loud", "true", True),
        ("loud", 1, True),
        ("name", "", ""),
        ("name", 600519, "600519"),
        ("names", ["B", "C"], ["B", "C"]),
        ("kind", "b", "b"),
        ("mode", "down", Mode.DOWN),
        ("maybe", 3, 3),
        ("maybe", None, None),
    ],
)
def test_values_become_the_declared_type(name: str, given: Any, value: Any) -> None:
    sample = Sample(**{name: given})
    assert getattr(sample, name) == value == sample.parameters[name]
    assert type(getattr(sample, name)) is type(value)


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("fast", 1, "must lie in [2, 100]"),
        ("fast", 101, "must lie in [2, 100]"),
        ("fast", 7.5, "Sample.fast takes int"),
        ("fast", "ten", "Sample.fast takes int"),
        ("fast", True, "Sample.fast takes int"),
        ("fast", None, "Sample.fast takes int"),
        ("share", float("nan"), "must lie in [0.0, 1.0]"),
        ("share", float("inf"), "must lie in [0.0, 1.0]"),
        ("share", -0.01, "must lie in [0.0, 1.0]"),
        ("loud", "maybe", "Sample.loud takes bool"),
        ("names", "B", "Sample.names takes list[str]"),
        ("kind", "c", "Sample.kind takes"),
        ("mode", "sideways", "Sample.mode takes Mode"),
    ],
)
@pytest.mark.req("R127")
def test_bad_values_are_refused_by_name(name: str, given: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Sample(**{name: given})
    assert str(caught.value).startswith(f"strategy.{name} = ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "hint"), [("fats", "did you mean 'fast'?"), ("xyzzy", "it has: fast, share")]
)
def test_an_unknown_name_is_refused_with_a_suggestion(name: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Sample(**{name: 1})
    assert f"Sample has no parameter {name!r}" in str(caught.value)
    assert hint in str(caught.value)


def test_a_parameter_without_a_default_is_refused() -> None:
    class Bare(Strategy):
        fast: int

    with pytest.raises(ConfigError, match=r"Bare\.fast has no default value; give it one"):
        Bare()


def test_a_default_is_checked_like_a_value() -> None:
    class Wrong(Strategy):
        fast: int = param(1, low=2)

    with pytest.raises(ConfigError, match=r"strategy\.fast = 1"):
        Wrong()


@pytest.mark.parametrize("name", ["cash", "orders", "symbols", "buy", "id", "parameters"])
def test_a_parameter_may_not_hide_what_every_strategy_has(name: str) -> None:
    hiding = type("Hiding", (Strategy,), {"__annotations__": {name: int}, name: 1})
    with pytest.raises(ConfigError, match=f"Hiding.{name} hides Strategy.{name}; "):
        hiding()


def test_parameters_are_inherited_and_overridden() -> None:
    class Child(Sample):
        fast: int = 3

    assert Child().fast == 3
    assert Child(fast=500).parameters["fast"] == 500
    assert list(parameters_of(Child, Strategy))[-1] == "maybe"


def test_instances_do_not_share_values() -> None:
    one, other = Sample(), Sample(fast=4)
    one.names.append("B")
    assert other.names == Sample().names == ["A"]
    assert (one.fast, other.fast, Sample.fast) == (
        10,
        4,
        parameters_of(Sample, Strategy)["fast"][1],
    )
