"""The peers' harness: a peer that fails is a row with its reason, a difference is never silent."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.bench.oracle import RULES
from tests.bench.peers import __main__ as harness
from tests.bench.peers.__main__ import CASH, Row, explained, run_ours, run_peer, table
from tests.bench.peers.catalog import OURS, PEERS, Peer
from tests.bench.peers.runs import HERE, RunFailedError, last_json, measure

PREDICTED = {
    "next_open": {"fills": 4, "trades": 2, "final_equity": 1000.25},
    "signal_close_cents": {"fills": 5, "trades": 2, "final_equity": 999.0},
}


def row(name: str, rule: str = "next_open", **figures: float | str) -> Row:
    base: dict[str, object] = {"wall_s": 2.0, "loop_s": 0.5, "bars": 1000, "fills": 4, "trades": 2}
    return Row(name=name, rule=rule, note="a note", **{**base, "final_equity": 1000.25, **figures})  # type: ignore[arg-type]


def cells(text: str, name: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {name}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_every_peer_has_its_script_pins_and_rule() -> None:
    for peer in PEERS:
        assert (HERE / peer.script).exists()
        assert all("==" in pin for pin in peer.requirements)
        assert peer.rule in RULES
    assert len({peer.name for peer in PEERS}) == len(PEERS)


def test_a_finished_process_is_measured() -> None:
    measured = measure([sys.executable, "-c", "print('{\"fills\": 3}')"], seconds_max=60)
    assert last_json(measured.output) == {"fills": 3}
    assert measured.cpu_s > 0
    assert 0 < measured.wall_s < 60
    assert 1 < measured.peak_rss_mb < 1000


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import sys; sys.exit('no data')", "exit 1: no data"),
        ("import os; os.kill(os.getpid(), 11)", "killed by signal 11: no output"),
        ("import threading; threading.Event().wait()", r"no result in 0.2 s"),
    ],
)
def test_a_failed_process_gives_its_reason(code: str, reason: str) -> None:
    with pytest.raises(RunFailedError, match=reason):
        measure([sys.executable, "-c", code], seconds_max=0.2 if "wait" in code else 60)


def test_a_program_that_is_not_there_gives_its_reason() -> None:
    with pytest.raises(RunFailedError, match="cannot start /no/such/program"):
        measure(["/no/such/program"], seconds_max=1)


def test_output_without_json_is_refused() -> None:
    with pytest.raises(RunFailedError, match="printed no JSON object: hello"):
        last_json("hello\n")


def test_an_install_that_fails_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "envs").write_text("a file where the folder should be")
    broken = Peer(name="broken", script="none.py", requirements=("x==1",), rule="", note="")
    found = run_peer(broken, tmp_path, "W1", tmp_path, 1.0)
    assert found.reason.startswith(f"cannot make room for {tmp_path}/envs/broken: ")


def test_our_engine_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "STRATEGY_FILE", tmp_path / "none.py")
    assert f"{tmp_path}/none.py" in run_ours(tmp_path, 1.0).reason


def test_our_engine_is_read_from_its_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = tmp_path / "engine"
    engine.write_text(
        "#!/bin/sh\n"
        'echo \'{"fills": 4, "trades": 2, "final_equity": "1000.25",\'\n'
        'echo \' "elapsed_s": 0.5, "bars": 1000}\'\n'
    )
    engine.chmod(0o755)
    for name, path in (("ENGINE", engine), ("STRATEGY_FILE", engine), ("PROFILE", engine)):
        monkeypatch.setattr(harness, name, path)
    found = run_ours(tmp_path, 60.0)
    assert (found.reason, found.fills, found.bars) == ("", 4, 1000)
    assert (found.final_equity, found.loop_s) == (1000.25, 0.5)
    engine.write_text("#!/bin/sh\necho '{}'\n")
    assert run_ours(tmp_path, 60.0).reason == "its JSON lacks or spoils 'bars': {}"


def test_a_failed_row_keeps_its_place_and_shape() -> None:
    text = table([row(OURS), row("zipline", reason="exit 1: boom")], PREDICTED)
    assert cells(text, "zipline")[1] == "exit 1: boom"
    assert len(cells(text, "zipline")) == len(cells(text, OURS)) == 10


def test_a_row_is_compared_with_ours_and_with_its_rules() -> None:
    other = row("nautilus", rule="signal_close_cents", wall_s=9.0, fills=5, final_equity=999.0)
    same = row("backtrader", wall_s=5.0, final_equity=1000.2501)
    text = table([row(OURS), other, same], PREDICTED)
    assert cells(text, "nautilus")[3] == "4.5"
    assert cells(text, "nautilus")[8:] == ["+1 fills, -1.25", "yes"]
    assert cells(text, "backtrader")[8:] == ["yes", "yes"]


def test_without_ours_nothing_is_compared_with_it() -> None:
    text = table([row(OURS, reason="not run"), row("backtrader")], PREDICTED)
    assert cells(text, "backtrader")[3] == "-"
    assert cells(text, "backtrader")[8:] == ["-", "yes"]


@pytest.mark.parametrize("figures", [{"final_equity": 1000.26}, {"fills": 5}], ids=str)
def test_an_unexplained_difference_is_marked(figures: dict[str, float]) -> None:
    odd = row("backtrader", **figures)
    assert not explained(odd, PREDICTED)
    assert "UNEXPLAINED" in cells(table([row(OURS), odd], PREDICTED), "backtrader")[9]


def test_the_scripts_and_the_harness_use_the_same_cash() -> None:
    assert f"CASH = {CASH:_}\n" in (HERE / "row.py").read_text(encoding="utf-8")
