"""Every place that keeps the trading state keeps the same promises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.files.latch import FileLatchStore
from adapters.memory.latch import MemoryLatchStore
from engine.domain.latch import Hold, TradingState
from engine.errors import ConfigError
from engine.ports import LatchStore

HALT = Hold(TradingState.HALTED, "KILL_SWITCH", "manual", 5)
REDUCE = Hold(TradingState.REDUCING, "MARGIN_CALL", "next_day", 6)

Reopen = Callable[[], LatchStore]


@pytest.fixture(params=["memory", "file"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Reopen:
    """Give the store as it is after a restart; memory lives as long as its process."""
    if request.param == "file":
        return lambda: FileLatchStore(tmp_path / "state" / "latch.json")
    store = MemoryLatchStore()
    return lambda: store


@pytest.mark.req("P12", "P13")
def test_what_was_saved_is_there_again(reopen: Reopen) -> None:
    assert reopen().load() == {}
    reopen().save({"": HALT, "S": REDUCE})
    assert reopen().load() == {"": HALT, "S": REDUCE}
    reopen().save({"S": REDUCE})
    assert reopen().load() == {"S": REDUCE}
    reopen().save({})
    assert reopen().load() == {}


def test_what_is_kept_does_not_change_with_what_was_given(reopen: Reopen) -> None:
    holds = {"": HALT}
    reopen().save(holds)
    holds.clear()
    found = reopen().load()
    found.clear()
    assert reopen().load() == {"": HALT}


@pytest.mark.req("P13")
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"": 1}', b"\xff\xfe", b'{"": ["hold"]}'])
def test_a_state_that_cannot_be_read_stops_everything(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "latch.json"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"latch\.json cannot be read: .*nothing trades"):
        FileLatchStore(file).load()


def test_a_kill_in_the_middle_of_writing_leaves_the_state_before(tmp_path: Path) -> None:
    store = FileLatchStore(tmp_path / "latch.json")
    store.save({"": HALT})
    (tmp_path / ".latch.json.partial").write_bytes(b'{"": ["ho')
    assert store.load() == {"": HALT}
    store.save({})
    assert [path.name for path in tmp_path.iterdir()] == ["latch.json"]
