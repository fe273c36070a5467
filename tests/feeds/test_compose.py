"""compose.yaml offers what the profile ``services`` and the settings' defaults look for."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import yaml
from confluent_kafka.admin import AdminClient
from psycopg.conninfo import conninfo_to_dict

from adapters.redis.doctor import examine as examine_redis
from engine.config import load_config
from engine.domain.findings import exit_code
from engine.wiring import doctor
from tests.feeds.kafka import ApacheKafka, must_be_apache, why_no_apache
from tests.feeds.servers import free_port, redis_server, wait_until

ROOT = Path(__file__).parents[2]
CONFIG = load_config("services")
DEFAULT_OF = re.compile(r"\$\{(?P<name>\w+):-(?P<default>[^}]*)\}")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    whole = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
    found: dict[str, Any] = whole["services"]
    mounted = {each.split(":")[0] for service in found.values() for each in volumes(service)}
    assert mounted == set(whole["volumes"])
    return found


def filled(word: str, environment: dict[str, str]) -> str:
    """Give a word of the file with the variables of an environment in it."""
    return DEFAULT_OF.sub(lambda said: environment.get(said["name"]) or said["default"], word)


def volumes(service: dict[str, Any]) -> list[str]:
    return list(service.get("volumes", []))


def test_every_server_is_there_kept_and_looked_after(services: dict[str, Any]) -> None:
    images = {name: service["image"] for name, service in services.items()}
    assert images["postgres"] == "postgres:17"
    assert images["redis"] == "redis:7"
    assert images["kafka"] == images["topics"]
    assert re.fullmatch(r"apache/kafka:4\.\d+\.\d+", images["kafka"])
    for name in ("postgres", "redis", "kafka"):
        assert services[name]["healthcheck"]["test"][0] == "CMD"
        assert volumes(services[name])
    assert services["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}
    assert services["topics"]["restart"] == "no"


def test_ports_are_those_that_the_profile_looks_for(services: dict[str, Any]) -> None:
    wanted = {
        "postgres": conninfo_to_dict(str(CONFIG.store.url))["port"],
        "redis": str(urlsplit(CONFIG.redis.url).port),
        "kafka": CONFIG.kafka.bootstrap_servers.rpartition(":")[2],
    }
    assert wanted == {"postgres": "5432", "redis": "6379", "kafka": "9092"}
    for name, port in wanted.items():
        # Of this machine alone: Kafka asks for no password.
        assert services[name]["ports"] == [f"127.0.0.1:{port}:{port}"]


@pytest.mark.parametrize("environment", [{}, {"DB_PASSWORD": "another"}])
def test_the_database_lets_the_profile_in(
    services: dict[str, Any], environment: dict[str, str]
) -> None:
    given = services["postgres"]["environment"]
    config = load_config("services", environment=environment)
    url = conninfo_to_dict(str(config.store.url))
    assert (url["user"], url["dbname"]) == (given["POSTGRES_USER"], given["POSTGRES_DB"])
    assert "password" not in url  # or DB_PASSWORD would not win over it
    said = DEFAULT_OF.fullmatch(given["POSTGRES_PASSWORD"])
    assert said is not None
    assert config.store.password == environment.get(said["name"], said["default"])


@pytest.mark.parametrize("environment", [{}, {"REDIS_PASSWORD": "of 'two' $words"}])
def test_redis_lets_the_profile_in(
    services: dict[str, Any], environment: dict[str, str], tmp_path: Path
) -> None:
    """Its command runs, on a free port: it asks for the password that the profile sends."""
    config = load_config("services", environment=environment)
    assert config.redis.password == environment.get("REDIS_PASSWORD")
    name, *options = (filled(word, environment) for word in services["redis"]["command"])
    assert name == "redis-server"
    with redis_server(tmp_path, *options) as server:
        settings = {"redis.url": server.url}
        config = load_config("services", environment=environment, settings=settings)
        findings = list(examine_redis(config.redis))
        assert exit_code(findings) == 0, findings
        for wrong in ("another", None) if environment else ():
            config = load_config("services", settings={**settings, "redis.password": wrong})
            assert exit_code(examine_redis(config.redis)) == 2


@pytest.mark.parametrize("password", ["", "of 'two' $words"])
def test_redis_is_asked_with_its_password(
    services: dict[str, Any], password: str, tmp_path: Path
) -> None:
    """The check runs in a shell, against a program that tells what it is called with."""
    program = tmp_path / "redis-cli"
    program.write_text('#!/bin/sh\necho "${REDISCLI_AUTH-none}" "$@"\n')
    program.chmod(0o755)
    (name, value), *more = services["redis"]["environment"].items()
    assert not more
    kind, *check = services["redis"]["healthcheck"]["test"]
    assert kind == "CMD"
    done = subprocess.run(
        [word.replace("$$", "$") for word in check],
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            name: filled(value, {"REDIS_PASSWORD": password}),
        },
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    assert done.stdout == f"{password or 'none'} -e ping\n"


def test_topics_are_those_of_the_settings(services: dict[str, Any]) -> None:
    made = services["topics"]["environment"]["TOPICS"].split()
    assert sorted(made) == sorted(msgspec.to_builtins(CONFIG.kafka.topics).values())


def test_topics_are_made_one_by_one(services: dict[str, Any], tmp_path: Path) -> None:
    """The script runs in a shell, against a program that writes down what it is asked."""
    topics = services["topics"]
    asked = tmp_path / "asked"
    program = tmp_path / "kafka-topics.sh"
    program.write_text(f'#!/bin/sh\necho "$@" >> {asked}\n')
    program.chmod(0o755)
    (script,) = topics["command"]
    script = script.replace("$$", "$").replace("/opt/kafka/bin/kafka-topics.sh", str(program))
    assert "/opt" not in script
    subprocess.run(
        [*topics["entrypoint"], script],
        check=True,
        env={**os.environ, **topics["environment"]},
        timeout=30,
    )
    lines = asked.read_text().splitlines()
    assert [line.split("--topic ")[1].split()[0] for line in lines] == (
        topics["environment"]["TOPICS"].split()
    )
    assert all("--create --if-not-exists" in line for line in lines)


def test_apache_kafka_takes_its_settings(services: dict[str, Any], tmp_path: Path) -> None:
    """The same settings, on free ports of this machine, make a cluster of all the topics."""
    missing = why_no_apache()
    if missing is not None:
        (pytest.fail if must_be_apache() else pytest.skip)(missing)
    given = dict(services["kafka"]["environment"])
    server = ApacheKafka(tmp_path)
    assert given.pop("CLUSTER_ID") == "5L6g3nShT-eMCtK--X86sw"  # that the folder is made for
    given["KAFKA_LOG_DIRS"] = f"{tmp_path}/log"
    ports = {"9092": server.port, "29092": free_port(), "9093": free_port()}
    lines = []
    for name, value in given.items():
        text = re.sub(r"(?<=:)(\d{4,5})\b", lambda found: str(ports[found[1]]), str(value))
        key = name.removeprefix("KAFKA_").lower().replace("_", ".")
        lines.append(f"{key}={text.replace('kafka:', '127.0.0.1:')}\n")
    (tmp_path / "server.properties").write_text("".join(lines))
    server.start()
    try:
        for topic in services["topics"]["environment"]["TOPICS"].split():
            server.create(topic)
        client = AdminClient({"bootstrap.servers": f"localhost:{server.port}"})
        wait_until(lambda: len(client.list_topics(timeout=5).topics) == 7, "all topics")
        settings = {
            "store.folder": str(tmp_path / "runs"),
            "publish.kind": "kafka",
            "feed.kind": "kafka",
            "run.executions": "kafka",
            "kafka.bootstrap_servers": f"localhost:{server.port}",
        }
        findings = doctor.examine(load_config("paper", settings=settings), {})
        assert exit_code(findings) == 0, findings
    finally:
        server.stop()
