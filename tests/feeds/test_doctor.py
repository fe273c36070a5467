"""``engine doctor``: right, down, silent, refused and incomplete peers, all of them real."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
import redis
from psycopg.conninfo import conninfo_to_dict

from adapters.postgres.migrations import SCHEMA, migrations
from engine.config import load_config
from engine.domain.findings import Finding, Level, exit_code
from engine.domain.latch import Hold, TradingState
from engine.wiring import doctor
from tests.cli.rig import command
from tests.feeds.kafka import Kafka, MockKafka
from tests.feeds.servers import free_port, wait_until
from tests.integration.alpaca import KEYS, AlpacaPeer
from tests.integration.peers import ExtendedPeer, PlainPeer
from tests.integration.proxy import FaultProxy
from tests.integration.test_grpc_link import CERTIFICATES, TRUSTED
from tests.postgres.conftest import empty_database  # noqa: F401 - a fixture

SECRET = "Zx9-hidden-Qw7"
TOPICS = ("strategy.execution", "strategy.positions", "strategy.errors")


def look(profile: str = "paper", **settings: Any) -> list[Finding]:
    changes = {name.replace("__", "."): value for name, value in settings.items()}
    return doctor.examine(load_config(profile, settings=changes), KEYS)


def about(findings: list[Finding], what: str) -> Finding:
    (found,) = (each for each in findings if each.what == what)
    return found


def problems(findings: list[Finding]) -> list[str]:
    for each in findings:
        assert each.advice or each.level is Level.OK, each
    return [each.what for each in findings if each.level is Level.PROBLEM]


@pytest.fixture
def silent(redis_at: str) -> Iterator[int]:
    """Give a port that takes connections and says nothing."""
    with FaultProxy(int(redis_at.rpartition(":")[2])) as proxy:
        proxy.blackhole()
        yield proxy.port


def test_all_is_right(database: str, redis_at: str) -> None:
    findings = look("services", store__url=database, redis__url=redis_at)
    assert exit_code(findings) == 0, findings
    (warning,) = [each for each in findings if each.level is not Level.OK]
    assert about(findings, "PostgreSQL schema").found == "strategy_worker is up to date"
    # The user of the tests owns the tables.
    assert (warning.level, warning.what) == (Level.WARNING, "PostgreSQL rights")
    assert warning.found == "may read and insert, and change what is kept of a run too"
    assert {"PostgreSQL clock", "PostgreSQL durability", "Redis version", "Redis clock"} <= {
        each.what for each in findings
    }


def test_sessions_of_redis_are_counted(database: str, redis_at: str) -> None:
    with redis.Redis.from_url(redis_at) as client:
        client.sadd("active_subscriptions:stock", "IBM", "AAPL")
    found = about(look("services", store__url=database, redis__url=redis_at), "Redis sessions")
    assert found.found == "2 symbols have a running session: AAPL, IBM"


def test_peers_that_are_down() -> None:
    port = free_port()
    findings = look(
        "services",
        store__url=f"postgresql://me:{SECRET}@127.0.0.1:{port}/db",
        redis__url=f"redis://:{SECRET}@127.0.0.1:{port}",
        publish__kind="kafka",
        kafka__bootstrap_servers=f"127.0.0.1:{port}",
        kafka__timeout=1,
        venue__kind="grpc",
        oms_grpc__port=port,
        oms_grpc__timeout=1,
    )
    assert problems(findings) == ["PostgreSQL", "Redis", "Kafka", "OMS over gRPC"]
    assert exit_code(findings) == 75
    assert SECRET not in str(findings)


@pytest.mark.parametrize("venue", ["grpc", "http", "alpaca"])
def test_peers_that_say_nothing(silent: int, venue: str) -> None:
    began = time.monotonic()
    findings = look(
        "services",
        store__url=f"postgresql://me@127.0.0.1:{silent}/db",
        store__timeout=1,
        redis__url=f"redis://127.0.0.1:{silent}",
        redis__timeout=1,
        publish__kind="kafka",
        kafka__bootstrap_servers=f"127.0.0.1:{silent}",
        kafka__timeout=1,
        venue__kind=venue,
        oms_grpc__port=silent,
        oms_grpc__timeout=1,
        gateway__url=f"http://127.0.0.1:{silent}",
        gateway__timeout=1,
        alpaca__url=f"http://127.0.0.1:{silent}",
        alpaca__timeout=1,
    )
    assert time.monotonic() - began < 10
    name = {"grpc": "OMS over gRPC", "http": "Gateway", "alpaca": "Alpaca"}[venue]
    assert problems(findings) == ["PostgreSQL", "Redis", "Kafka", name]
    assert exit_code(findings) == 75


def test_a_database_that_falls_silent_in_the_middle(server: str, database: str) -> None:
    parts = conninfo_to_dict(database)
    path = f"{parts['host']}/.s.PGSQL.5432"
    with FaultProxy(path) as proxy:
        url = f"host=127.0.0.1 port={proxy.port} user={parts['user']} dbname={parts['dbname']}"
        proxy.delay_s = 0.6  # more questions than its time allows
        began = time.monotonic()
        findings = look(store__url=url, store__timeout=0.5)
    assert time.monotonic() - began < 10
    assert "PostgreSQL" in problems(findings)
    assert exit_code(findings) == 75


def test_a_wrong_password_of_redis(database: str, redis_at: str) -> None:
    with redis.Redis.from_url(redis_at) as client:
        client.config_set("requirepass", "the-right-one")
        try:
            for password in (SECRET, None):
                findings = look(
                    "services", store__url=database, redis__url=redis_at, redis__password=password
                )
                assert problems(findings) == ["Redis"]
                assert "REDIS_PASSWORD" in about(findings, "Redis").advice
                assert exit_code(findings) == 2
                assert SECRET not in str(findings)
        finally:
            client.config_set("requirepass", "")


def test_a_database_that_is_not_there(server: str) -> None:
    findings = look(store__url=f"{server} dbname=nowhere")
    assert problems(findings) == ["PostgreSQL"]
    assert "create it" in about(findings, "PostgreSQL").advice
    assert exit_code(findings) == 2


def test_a_database_without_the_encryption_that_is_asked_for(database: str) -> None:
    parts = conninfo_to_dict(database)
    with FaultProxy(f"{parts['host']}/.s.PGSQL.5432") as proxy:
        url = f"host=127.0.0.1 port={proxy.port} user={parts['user']} sslmode=require"
        findings = look(store__url=url)
    assert problems(findings) == ["PostgreSQL"]
    assert "sslmode" in about(findings, "PostgreSQL").advice
    assert exit_code(findings) == 2


def test_no_connection_string() -> None:
    findings = look(store__url=f"postgresql://me:{SECRET}@[", store__password=SECRET)
    assert problems(findings) == ["PostgreSQL"]
    assert exit_code(findings) == 2
    assert SECRET not in str(findings)


def test_schemas(database: str, empty_database: str) -> None:  # noqa: F811 - a fixture
    found = about(look(store__url=empty_database), "PostgreSQL schema")
    assert (found.level, "engine db migrate" in found.advice) == (Level.WARNING, True)
    assert "not there yet" in found.found
    with psycopg.connect(database, autocommit=True) as connection:
        last = migrations()[-1]
        connection.execute(
            f"DELETE FROM {SCHEMA}.schema_migrations WHERE version = %s", [last.version]
        )
        findings = look(store__url=database)
        assert exit_code(findings) == 0
        assert f"older than this engine: 1 migrations to apply, {last.name}" in str(findings)
        connection.execute(
            f"INSERT INTO {SCHEMA}.schema_migrations VALUES (9999, '9999_later.sql', 'x')"
        )
    findings = look(store__url=database)
    assert problems(findings) == ["PostgreSQL schema"]
    assert "newer engine" in about(findings, "PostgreSQL schema").found
    assert exit_code(findings) == 2


def test_a_user_who_may_not_insert(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS reader")
        connection.execute("CREATE ROLE reader LOGIN")
        connection.execute(f"GRANT USAGE ON SCHEMA {SCHEMA} TO reader")
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {SCHEMA} TO reader")
        findings = look(store__url=f"{database} user=reader")
        connection.execute("DROP OWNED BY reader")
        connection.execute("DROP ROLE reader")
    assert problems(findings) == ["PostgreSQL rights"]
    assert "engine db migrate --role USER" in about(findings, "PostgreSQL rights").advice


def test_settings_that_lose_what_was_kept(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    found = about(look(store__url=database), "PostgreSQL synchronous_commit")
    assert (found.level, found.advice) == (
        Level.WARNING,
        "set synchronous_commit = on at the server",
    )


def test_the_embedded_server_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    findings = look(store__folder=str(folder))
    assert exit_code(findings) == 0
    assert "starts in" in about(findings, "PostgreSQL embedded").found
    assert list(tmp_path.iterdir()) == []
    folder.write_text("a file")
    assert problems(look(store__folder=str(folder))) == ["PostgreSQL embedded"]


def test_topics(kafka: Kafka, database: str) -> None:
    for topic in TOPICS[:2]:
        kafka.create(topic, 2)
    settings: dict[str, Any] = {
        "store__url": database, "publish__kind": "kafka",
        "kafka__bootstrap_servers": kafka.servers,
    }  # fmt: skip
    missing = f"Kafka topic {TOPICS[2]}"
    # Brokers hear of a new topic a moment after it is made.
    wait_until(lambda: problems(look(**settings)) == [missing], "one topic to be missing")
    findings = look(**settings)
    assert f"--create --topic {TOPICS[2]}" in about(findings, missing).advice
    assert exit_code(findings) == 2
    kafka.create(TOPICS[2])
    wait_until(lambda: exit_code(look(**settings)) == 0, "every topic to be there")
    findings = look(**settings)
    assert about(findings, f"Kafka topic {TOPICS[0]}").found == "2 partitions"


def test_options_of_kafka_that_are_refused(database: str, mock_kafka: MockKafka) -> None:
    findings = look(
        store__url=database,
        publish__kind="kafka",
        kafka__bootstrap_servers=mock_kafka.servers,
        kafka__options={"sasl.password": SECRET, "no.such": SECRET},
    )
    assert problems(findings) == ["Kafka"]
    assert exit_code(findings) == 2
    assert SECRET not in str(findings)


def test_services_of_an_oms(database: str) -> None:
    for peer, level in ((ExtendedPeer(), Level.OK), (PlainPeer(), Level.WARNING)):
        peer.start()
        try:
            findings = look(store__url=database, venue__kind="grpc", oms_grpc__port=peer.port)
        finally:
            peer.stop()
        assert exit_code(findings) == 0, findings
        assert about(findings, "OMS over gRPC service").level is level


def test_alpaca(database: str) -> None:
    peer = AlpacaPeer()
    peer.start()
    try:
        url = f"http://127.0.0.1:{peer.port}"
        settings = {"store.url": database, "venue.kind": "alpaca", "alpaca.url": url}
        config = load_config("paper", settings=settings)
        findings = doctor.examine(config, KEYS)
        # Its clock stands in another year.
        assert about(findings, "Alpaca clock").level is Level.WARNING
        assert exit_code(findings) == 0
        refused = doctor.examine(config, dict.fromkeys(KEYS, SECRET))
        assert problems(refused) == ["Alpaca"]
        assert SECRET not in str(refused)
        assert problems(doctor.examine(config, {})) == ["Alpaca"]
    finally:
        peer.stop()


def test_safety_is_told_and_not_raised(database: str) -> None:
    findings = look("live", store__url=database, kafka__timeout=0.5, oms_grpc__timeout=0.5)
    safety = [each for each in findings if each.what == "Safety"]
    assert [each.found for each in safety] == ["[instruments.SYMBOL] is missing"]
    assert exit_code(findings) == 2


def test_files(tmp_path: Path) -> None:
    from adapters.files.latch import FileLatchStore

    latch = tmp_path / "state.json"
    FileLatchStore(latch).save({"": Hold(TradingState.HALTED, "DAILY_LOSS", "manual", 1)})
    missing = str(tmp_path / "none.csv")
    findings = look("backtest", data__paths=["examples/data", missing], run__latch=str(latch))
    assert problems(findings) == ["Market data"]
    assert about(findings, "Trading state").found == "the account is HALTED since DAILY_LOSS"
    for impossible in (tmp_path / "state.json" / "under.json", Path("/proc/none/state.json")):
        assert "Trading state" in problems(look("backtest", run__latch=str(impossible)))
    latch.write_text("{")
    assert "Trading state" in problems(look("backtest", run__latch=str(latch)))


def test_the_command(database: str, redis_at: str) -> None:
    environment = {
        **os.environ, "DATABASE_URL": database, "REDIS_URL": redis_at, "GATEWAY_TOKEN": SECRET,
    }  # fmt: skip

    def called(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command("doctor", "--services", *more),
            env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    plain = called()
    assert (plain.returncode, plain.stderr) == (0, "")
    found = [line for line in plain.stdout.splitlines() if not line.startswith(" " * 11)]
    places = {line.index(line.split(maxsplit=1)[1]) for line in found}
    assert places == {len("  PROBLEM  ")}
    as_json = called("--json")
    assert {each["level"] for each in json.loads(as_json.stdout)} == {"OK", "WARNING"}
    port = free_port()
    down = called(
        "--set", "venue.kind=http", "--set", f"gateway.url=http://u:{SECRET}@127.0.0.1:{port}"
    )
    assert down.returncode == 75
    assert "GATEWAY_URL" in down.stdout
    assert SECRET not in plain.stdout + as_json.stdout + down.stdout + down.stderr
    wrong = called("--set", "store.urk=1")
    assert (wrong.returncode, wrong.stdout) == (2, "")


def test_a_wrong_password_of_the_database(database: str) -> None:
    guard = "local all guarded scram-sha-256\n"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS guarded")
        connection.execute("CREATE ROLE guarded LOGIN SUPERUSER PASSWORD 'the-right-one'")
        row = connection.execute("SHOW hba_file").fetchone()
        assert row is not None
        file = Path(row[0])
        before = file.read_text()
        file.write_text(guard + before)
        url = f"{database} user=guarded"

        def reload() -> None:
            connection.execute("SELECT pg_reload_conf()")

        try:
            reload()
            wait_until(lambda: exit_code(look(store__url=url)) == 2, "the rule of the server")
            for password in (None, SECRET):
                findings = look(store__url=url, store__password=password)
                assert problems(findings) == ["PostgreSQL"]
                assert "DB_PASSWORD" in about(findings, "PostgreSQL").advice
                assert SECRET not in str(findings)
            right = look(store__url=url, store__password="the-right-one")
            assert exit_code(right) == 0, right
            assert "the-right-one" not in str(right)
        finally:
            file.write_text(before)
            reload()
            connection.execute("DROP ROLE guarded")


def test_encryption_of_an_oms(database: str) -> None:
    peer = ExtendedPeer()
    key, chain, root = (
        (CERTIFICATES / name).read_bytes() for name in ("server.key", "server.pem", "ca.pem")
    )
    peer.credentials = grpc.ssl_server_credentials([(key, chain)], root, require_client_auth=True)
    peer.start()
    settings = {
        "store__url": database, "venue__kind": "grpc", "oms_grpc__port": peer.port,
        "oms_grpc__timeout": 2,
    }  # fmt: skip
    try:
        findings = look(**settings, oms_grpc__tls=TRUSTED)
        assert exit_code(findings) == 0, findings
        assert about(findings, "OMS over gRPC encryption").found == "TLS"
        for changes in ({"server_name": "another.test"}, {"root_certificate": None}):
            findings = look(**settings, oms_grpc__tls=TRUSTED | changes)
            assert problems(findings) == ["OMS over gRPC"]
            assert "oms_grpc.tls" in about(findings, "OMS over gRPC").advice
            assert exit_code(findings) == 2, findings
        findings = look(**settings, oms_grpc__tls=TRUSTED | {"root_certificate": "none.pem"})
        assert "none.pem" in about(findings, "OMS over gRPC").found
        assert exit_code(findings) == 2
    finally:
        peer.stop()
