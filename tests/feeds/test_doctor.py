"""`engine doctor` beside real servers: what is there, what is missing, and what to do about it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
import yaml

from engine.config import load_config
from tests.feeds.kafka import ApacheKafka, Kafka
from tests.feeds.rig import ENGINE, EXAMPLES
from tests.feeds.servers import free_port, redis_server
from tests.integration.proxy import FaultProxy

ROOT = EXAMPLES.parent
SILENT = 75


def doctor(*arguments: str, **environment: str) -> tuple[int, str]:
    inherited = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REDIS_URL")}
    done = subprocess.run(
        [str(ENGINE), "doctor", *arguments], env={**inherited, **environment},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_all_is_well(database: str, redis_at: str, kafka: Kafka) -> None:
    names = ("market_data", "strategy.approved", "strategy.execution", "strategy.positions",
             "strategy.errors")  # fmt: skip
    for name in names:
        kafka.create(name, 1)
    settings = (
        "publish.kind=kafka", "run.executions=kafka", f"kafka.bootstrap_servers={kafka.servers}",
        "feed.kind=kafka",
    )  # fmt: skip
    given = [part for setting in settings for part in ("--set", setting)]
    code, output = doctor(*given, "--json", DATABASE_URL=database, REDIS_URL=redis_at)
    found = json.loads(output)
    assert code == 0, output
    assert {each["level"] for each in found} == {"OK"}
    text = " ".join(each["found"] for each in found)
    assert all(f"topic {name}, 1 partitions" in text for name in names)
    code, output = doctor("--services", DATABASE_URL=database, REDIS_URL=redis_at)
    assert code == 0
    assert "OK       redis              Redis " in output
    assert "OK       postgresql schema  strategy_worker is up to date, at 0" in output


def test_the_engines_own_database_and_files(tmp_path: Path) -> None:
    code, output = doctor(
        "--set", f"store.folder={tmp_path}/data", "--set", f"data.paths=['{EXAMPLES}/data']"
    )
    assert code == 0, output
    assert "migrations are missing; a run applies them when it starts" in output
    assert "bars of 5 symbols" in output
    code, output = doctor(
        "--set", f"store.folder={tmp_path}/data", "--set", f"data.paths=['{tmp_path}/nothing']"
    )
    assert code == 2
    assert "PROBLEM  data" in output


def test_nobody_is_there() -> None:
    port = free_port()
    code, output = doctor(
        "--set", f"kafka.bootstrap_servers=127.0.0.1:{port}", "--set", "kafka.timeout=1",
        "--set", "run.executions=kafka", "--set", "feed.kind=redis",
        "--set", "venue.kind=grpc", "--set", f"oms_grpc.port={port}",
        DATABASE_URL=f"postgresql://me:hidden@127.0.0.1:{port}/x",
        REDIS_URL=f"redis://:hidden@127.0.0.1:{port}",
    )  # fmt: skip
    assert code == SILENT
    subjects = ("postgresql", "redis", "kafka", "venue grpc")
    assert all(f"PROBLEM  {subject}" in output for subject in subjects)
    assert output.count("-> start it, or correct") == len(subjects)
    assert "hidden" not in output


@pytest.mark.req("P24")
def test_a_peer_that_says_nothing_is_given_up(redis_at: str) -> None:
    with FaultProxy(int(redis_at.rpartition(":")[2])) as proxy:
        proxy.blackhole()
        given = ["--set", "venue.kind=http", "--set", f"gateway.url=http://127.0.0.1:{proxy.port}"]
        code, output = doctor(
            "--set", "feed.kind=redis", "--set", "redis.timeout=0.5", *given,
            "--set", "gateway.timeout=0.5", "--set", "store.timeout=0.5",
            DATABASE_URL=f"postgresql://me@127.0.0.1:{proxy.port}/x",
            REDIS_URL=f"redis://127.0.0.1:{proxy.port}",
        )  # fmt: skip
    assert code == SILENT
    problems = [line for line in output.splitlines() if line.startswith("PROBLEM")]
    assert [line.split()[1] for line in problems] == ["postgresql", "redis", "venue"]


def test_a_password_that_is_wrong(tmp_path: Path, database: str) -> None:
    with redis_server(tmp_path) as server:
        with redis.Redis.from_url(server.url) as client:
            client.config_set("requirepass", "secret-of-redis")
        code, output = doctor(
            "--set", "feed.kind=redis", "--set", "redis.password=wrong-guess",
            DATABASE_URL=database, REDIS_URL=server.url,
        )  # fmt: skip
    assert code == SILENT
    assert "invalid username-password pair" in output
    assert "wrong-guess" not in output


def test_a_schema_that_is_of_a_newer_engine(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO strategy_worker.schema_migrations (version, name, checksum) "
            "VALUES (9999, '9999_future.sql', 'x')"
        )
    code, output = doctor(DATABASE_URL=database)
    assert code == 2
    assert "PROBLEM  postgresql         the database has migration 9999_future.sql of a newer" in (
        output
    )


def test_a_user_that_may_not_write(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS looker")
        connection.execute("CREATE ROLE looker LOGIN")
        connection.execute("GRANT USAGE ON SCHEMA strategy_worker TO looker")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA strategy_worker TO looker")
    code, output = doctor(DATABASE_URL=f"{database} user=looker")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP OWNED BY looker")
        connection.execute("DROP ROLE looker")
    assert code == 2
    assert "this user may not write the journal" in output


def test_a_topic_that_is_missing(database: str, apache_kafka: ApacheKafka) -> None:
    code, output = doctor(
        "--set", "run.executions=kafka", "--set", "kafka.topics.approved=not.there",
        "--set", f"kafka.bootstrap_servers={apache_kafka.servers}", DATABASE_URL=database,
    )  # fmt: skip
    assert code == 2
    assert "there is no topic not.there" in output
    assert f"--bootstrap-server {apache_kafka.servers} --create --topic not.there" in output


# The file for those who have Docker; it is not here, so it is held against what reads it.


@pytest.fixture(scope="module")
def composed() -> Any:
    return yaml.safe_load(ROOT.joinpath("compose.yaml").read_text("utf-8"))["services"]


@pytest.mark.req("R105", "R108")
def test_the_services_of_compose_are_those_of_the_profile(composed: Any) -> None:
    config = load_config("services", environment={})
    user, password = (composed["postgres"]["environment"][f"POSTGRES_{n}"]
                      for n in ("USER", "PASSWORD"))  # fmt: skip
    assert password == "${DB_PASSWORD:-postgres}"
    assert config.store.password == "postgres"
    ports = {name: each.get("ports", [""])[0] for name, each in composed.items()}
    assert ports["postgres"] == "127.0.0.1:5432:5432"
    assert config.store.url == f"postgresql://{user}@localhost:5432/postgres"
    assert ports["redis"] == "127.0.0.1:6379:6379"
    assert config.redis.url == "redis://localhost:6379"
    assert ports["kafka"] == "127.0.0.1:9092:9092"
    assert config.kafka.bootstrap_servers == "localhost:9092"
    assert "HOST://localhost:9092" in composed["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]


@pytest.mark.req("R70", "R71")
def test_compose_makes_every_topic(composed: Any) -> None:
    topics = load_config("services", environment={}).kafka.topics
    wanted = {getattr(topics, name) for name in topics.__struct_fields__}
    assert set(composed["topics"]["environment"]["TOPICS"].split()) == wanted
