"""Addresses that lead nowhere: one clear message and exit code 2, of a run and of the doctor."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.cli import main

SECRET = "Zx9-hidden-Qw7"
DOCTOR = ["doctor"]
RUN = ["run", "examples/strategies/sma_cross.py", "--symbols", "IBM"]
REDIS = ["--profile", "services", "--set", "redis.timeout=0.3"]
KAFKA = ["--profile", "paper", "--set", "feed.kind=kafka", "--set", "kafka.timeout=0.3"]
HTTP = ["--profile", "paper", "--set", "venue.kind=http", "--set", "feed.speed=1"]
GRPC = ["--profile", "paper", "--set", "venue.kind=grpc", "--set", "feed.speed=1"]
CASES = [
    (REDIS, "redis.url=redis://["),
    (REDIS, "redis.url=http://x"),
    (REDIS, "redis.url=redis://host:notaport"),
    (REDIS, f"redis.url=redis://me:{SECRET}@host:notaport"),
    (REDIS, "redis.url=redis://localhost:1?nosuch=1"),
    (REDIS, "redis.url=redis://localhost:1?db=x"),
    (HTTP, "gateway.url=http://["),
    (HTTP, f"gateway.url=http://me:{SECRET}@h:x"),
    (KAFKA, "kafka.bootstrap_servers=["),
    (KAFKA, "kafka.bootstrap_servers=h:x"),
    (GRPC, "oms_grpc.host=h:50051"),
    (GRPC, "oms.target=x"),
    (REDIS, "store.url=nonsense"),
    (REDIS, f"store.url=http://me:{SECRET}@x"),
    (REDIS, "store.url=postgresql://["),
    (REDIS, f"store.url=postgresql://me:{SECRET}"),
    (REDIS, f"store.url=postgresql://me:{SECRET}@h:notaport/db"),
    (REDIS, "store.url=postgresql://h/db?sslmode=bogus"),
    (REDIS, "store.url=postgresql://localhost:1/db?gssencmode=bogus"),
]  # fmt: skip


@pytest.mark.parametrize("command", [DOCTOR, RUN], ids=["doctor", "run"])
@pytest.mark.parametrize(("profile", "setting"), CASES, ids=[setting for _, setting in CASES])
def test_it_is_told_in_one_message(
    command: list[str],
    profile: list[str],
    setting: str,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DATABASE_URL", database)
    with pytest.raises(SystemExit) as ended:
        main([*command, *profile, "--set", setting])
    said = capsys.readouterr()
    assert ended.value.code == 2, said
    everything = said.out + said.err
    assert "Traceback" not in everything
    assert SECRET not in everything
    key = setting.partition("=")[0]
    problems = [line for line in said.out.splitlines() if "PROBLEM" in line]
    errors = [line for line in said.err.splitlines() if line.startswith("engine: ")]
    (line,) = errors or [each for each in problems if key in each]
    assert key.partition(".")[0] in line


@pytest.mark.parametrize("arguments", [["doctor"], ["doctor", "--set"], ["doctor", "--profile"]])
def test_an_address_in_the_wrong_place_keeps_its_password(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, f"redis://me:{SECRET}@h"])
    said = capsys.readouterr()
    assert ended.value.code == 2, said
    assert SECRET not in said.out + said.err


def test_a_socket_of_redis_is_an_address(tmp_path: Path) -> None:
    from adapters.redis.client import connect
    from engine.sections import RedisConfig

    connect(RedisConfig(url=f"unix://{tmp_path}/redis.sock")).close()
