"""What ``engine doctor`` says of a Redis server's encryption, of its clock and of slow readers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from adapters.redis.client import reaching
from adapters.redis.doctor import examine
from adapters.redis.publisher import RedisPublisher
from engine.domain.findings import Finding, Level, exit_code
from engine.errors import ConfigError, FeedError
from engine.sections import RedisConfig
from tests.feeds.servers import free_port, wait_until
from tests.feeds.test_doctor import about
from tests.feeds.tls import TlsFront
from tests.integration.test_grpc_link import CERTIFICATES

ROOT = f"ssl_ca_certs={CERTIFICATES}/ca.pem"
OURS = f"ssl_certfile={CERTIFICATES}/client.pem&ssl_keyfile={CERTIFICATES}/client.key"
LIMIT = "client-output-buffer-limit"


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def look(url: str) -> list[Finding]:
    return list(examine(RedisConfig(url=url, timeout=1)))


def refused(url: str) -> Finding:
    """Give the one problem, which waiting does not mend: the doctor and a run agree."""
    findings = look(url)
    (found,) = findings
    assert exit_code(findings) == 2, findings
    config = RedisConfig(url=url, timeout=1)
    with pytest.raises(ConfigError), reaching(config) as client:
        client.ping()
    publisher = RedisPublisher(config, kind="bar")
    with pytest.raises(ConfigError):
        publisher.begin(["IBM"])
    publisher.close()
    return found


@pytest.fixture
def encrypted(redis_at: str) -> Iterator[int]:
    """Give the port of a Redis server that speaks TLS."""
    with TlsFront(port_of(redis_at)) as front:
        yield front.port


def test_a_server_with_encryption(encrypted: int) -> None:
    findings = look(f"rediss://127.0.0.1:{encrypted}?ssl_check_hostname=false&{ROOT}")
    assert exit_code(findings) == 0, findings
    assert about(findings, "Redis encryption").found == "TLS"


@pytest.mark.parametrize("query", ["", f"?{ROOT}"], ids=["by whom", "for whom"])
def test_a_certificate_that_is_refused(encrypted: int, query: str) -> None:
    found = refused(f"rediss://127.0.0.1:{encrypted}{query}")
    assert "its certificate is refused: " in found.found
    assert "ssl_ca_certs" in found.advice


def test_a_server_that_speaks_no_tls(redis_at: str) -> None:
    found = refused(redis_at.replace("redis://", "rediss://"))
    assert found.found.endswith("it speaks no TLS")
    with redis.Redis.from_url(redis_at) as client:
        client.config_set("requirepass", "the-right-one")
        try:
            found = refused(redis_at.replace("redis://", "rediss://:wrong@"))
        finally:
            client.config_set("requirepass", "")
    assert found.found.endswith("it speaks no TLS")


def test_a_server_that_speaks_tls_alone(encrypted: int) -> None:
    assert refused(f"redis://127.0.0.1:{encrypted}").found.endswith("it speaks TLS alone")


def test_a_server_that_wants_a_certificate_of_ours(redis_at: str) -> None:
    with TlsFront(port_of(redis_at), asks=True) as front:
        url = f"rediss://127.0.0.1:{front.port}?ssl_check_hostname=false&{ROOT}"
        assert "TLS fails" in refused(url).found
        assert exit_code(look(f"{url}&{OURS}")) == 0


def test_files_that_are_not_there(encrypted: int) -> None:
    found = refused(f"rediss://127.0.0.1:{encrypted}?ssl_ca_certs=/none.pem")
    assert "a file named in redis.url is not there" in found.found


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_a_server_that_is_down_or_says_nothing_may_come_back(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        for port in (free_port(), mute.getsockname()[1]):
            findings = look(f"{scheme}://127.0.0.1:{port}")
            assert exit_code(findings) == 75, findings
            config = RedisConfig(url=f"{scheme}://127.0.0.1:{port}", timeout=0.5)
            with pytest.raises(FeedError), reaching(config) as client:
                client.ping()


def test_a_socket_of_this_machine_that_is_not_there(tmp_path: Path) -> None:
    assert exit_code(look(f"unix://{tmp_path}/redis.sock")) == 75


@pytest.fixture
def admin(redis_at: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_at) as client:
        before = client.config_get(LIMIT)[LIMIT]
        client.config_resetstat()
        yield client
        client.config_set(LIMIT, before)
        client.config_resetstat()


@pytest.mark.parametrize(
    ("limit", "level", "words"),
    [
        ("33554432 8388608 60", Level.OK, "behind by 32 MiB, or by 8 MiB for 60 s, is disconn"),
        ("0 0 0", Level.OK, "no limit to how far"),
        ("67108864 0 0", Level.OK, "behind by 64 MiB is disconnected"),
        ("1048576 0 0", Level.WARNING, "behind by 1 MiB is disconnected, and what it has not"),
        ("0 1048576 60", Level.WARNING, "behind by 1 MiB for 60 s is disconnected"),
        ("33554432 8388608 5", Level.WARNING, "8 MiB for 5 s"),
    ],
)
def test_how_far_a_reader_may_fall_behind(
    admin: redis.Redis, redis_at: str, limit: str, level: Level, words: str
) -> None:
    admin.config_set(LIMIT, f"pubsub {limit}")
    found = about(look(redis_at), "Redis output buffer")
    assert (found.level, words in found.found) == (level, True), found
    assert ("pubsub 33554432 8388608 60" in found.advice) == (level is Level.WARNING)


def test_a_reader_that_was_disconnected_is_told_of(admin: redis.Redis, redis_at: str) -> None:
    with socket.create_connection(("127.0.0.1", port_of(redis_at))) as slow:
        slow.sendall(b"SUBSCRIBE market_data:IBM\r\n")
        wait_until(lambda: admin.pubsub_numsub("market_data:IBM")[0][1] == 1, "the subscription")

        def publish() -> bool:
            pipeline = admin.pipeline(transaction=False)
            for _ in range(400):
                pipeline.publish("market_data:IBM", b"x" * 10_000)
            return pipeline.execute()[-1] == 0

        wait_until(publish, "the end of the reader")
    found = about(look(redis_at), "Redis output buffer")
    assert found.level is Level.WARNING
    assert "this has been done to 1 since" in found.found


def test_a_server_that_may_not_be_asked(admin: redis.Redis, redis_at: str) -> None:
    admin.acl_setuser(
        "reader", enabled=True, passwords=["+right"], keys=["*"], channels=["*"],
        commands=["+ping", "+info", "+time", "+smembers", "+subscribe", "+client|setname"],
    )  # fmt: skip
    try:
        findings = look(redis_at.replace("redis://", "redis://reader:right@"))
    finally:
        admin.acl_deluser("reader")
    assert exit_code(findings) == 0, findings
    assert "not known" in about(findings, "Redis output buffer").found


# This machine's clock is wrong, and not those of two servers: neither takes another time from us.
SHIFTED = """
import sys, time
real = time.time
time.time = lambda: real() + float(sys.argv[1])
from engine.cli import main
main(["doctor", "--services"])
"""


@pytest.mark.parametrize(("ahead", "level"), [("0.5", "OK"), ("5", "WARNING"), ("-5", "WARNING")])
def test_clocks_that_differ(database: str, redis_at: str, ahead: str, level: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHIFTED, ahead],
        env={**os.environ, "DATABASE_URL": database, "REDIS_URL": redis_at},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line for line in done.stdout.splitlines() if " clock " in line]
    assert [line.split()[:2] for line in lines] == [[level, "PostgreSQL"], [level, "Redis"]]
    sign = "+" if ahead.startswith("-") else "-"
    assert all(f" {sign}" in line for line in lines)
