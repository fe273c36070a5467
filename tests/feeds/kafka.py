"""Kafka for the tests: Apache Kafka from its published jars, and librdkafka's mock cluster."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import confluent_kafka
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.feeds.servers import bound, free_port, wait_until

VERSION = "4.1.1"
JARS = Path(__file__).resolve().parents[2] / ".venv" / f"kafka-{VERSION}"
LOCK = Path(__file__).with_name("kafka.lock")
_POM = f"""<project><modelVersion>4.0.0</modelVersion>
<groupId>tests</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
<dependencies><dependency><groupId>org.apache.kafka</groupId>
<artifactId>kafka_2.13</artifactId><version>{VERSION}</version></dependency></dependencies></project>
"""
_PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{advertised}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={folder}/log
offsets.topic.replication.factor=1
auto.create.topics.enable=false
log.retention.check.interval.ms=200
log.cleaner.enable=false
"""


class Kafka(Protocol):
    """A cluster of the tests.

    Attributes:
        servers: where clients find it.
    """

    servers: str

    def create(self, topic: str, partitions: int = 1) -> None: ...


def why_no_apache() -> str | None:
    """Say what is missing for Apache Kafka; None when nothing is."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            return f"Apache Kafka needs {program}"
    return None


def jars() -> Path:
    """Give the folder of the jars, fetched on first use and held against their lock."""
    if not JARS.is_dir():
        partial = JARS.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        (partial / "pom.xml").write_text(_POM)
        subprocess.run(
            ["mvn", "--quiet", "--batch-mode", "dependency:copy-dependencies",
             f"-DoutputDirectory={partial}"],
            cwd=partial, check=True, timeout=600,
        )  # fmt: skip
        (partial / "pom.xml").unlink()
        partial.rename(JARS)
    found = "".join(
        f"{hashlib.sha256(jar.read_bytes()).hexdigest()}  {jar.name}\n"
        for jar in sorted(JARS.glob("*.jar"))
    )
    assert found == LOCK.read_text(), f"the jars in {JARS} are not those of {LOCK.name}"
    return JARS


class ApacheKafka:
    """One node of Apache Kafka (KRaft), broker and controller in one."""

    def __init__(self, folder: Path, *, advertised: int | None = None) -> None:
        self.port = free_port()
        self.servers = f"127.0.0.1:{self.port}"
        self._folder = folder
        self._properties = folder / "server.properties"
        self._properties.write_text(
            _PROPERTIES.format(
                port=self.port, controller=free_port(), folder=folder,
                advertised=advertised or self.port,
            )
        )  # fmt: skip
        format_log = self._java(
            "kafka.tools.StorageTool", "format", "-t", "5L6g3nShT-eMCtK--X86sw", "-c",
            str(self._properties),
        )  # fmt: skip
        assert format_log.wait(60) == 0, (folder / "kafka.out").read_text()
        self._process: subprocess.Popen[bytes] | None = None

    def _java(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._folder / "kafka.out").open("ab") as log:
            return subprocess.Popen(
                bound("java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp",
                      f"{jars()}/*", *arguments),
                stdout=log, stderr=log,
            )  # fmt: skip

    def start(self) -> None:
        self._process = self._java("kafka.Kafka", str(self._properties))
        wait_until(self._answers, "an answer of Apache Kafka", 90)

    def _answers(self) -> bool:
        with suppress(KafkaException):
            client = AdminClient({"bootstrap.servers": self.servers}, logger=_SILENT)
            return bool(client.list_topics(timeout=1).brokers)
        return False

    def create(self, topic: str, partitions: int = 1) -> None:
        client = AdminClient({"bootstrap.servers": self.servers})
        new = NewTopic(topic, partitions, 1)
        client.create_topics([new], operation_timeout=20)[topic].result(20)

    def delete(self, topic: str) -> None:
        client = AdminClient({"bootstrap.servers": self.servers})
        client.delete_topics([topic], operation_timeout=20)[topic].result(20)
        wait_until(lambda: topic not in client.list_topics(timeout=5).topics, "the deletion")

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()


class _Silent:
    def log(self, *message: object) -> None:
        pass


_SILENT = _Silent()


class MockKafka:
    """librdkafka's mock cluster: a broker inside this process, on a real socket."""

    def __init__(self) -> None:
        self._library = _library()
        error = ctypes.create_string_buffer(512)
        call = self._library.rd_kafka_conf_new
        call.restype = ctypes.c_void_p
        make = self._library.rd_kafka_new
        make.restype = ctypes.c_void_p
        make.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
        self._handle = make(0, call(), error, 512)
        assert self._handle, error.value
        cluster = self._library.rd_kafka_mock_cluster_new
        cluster.restype = ctypes.c_void_p
        cluster.argtypes = [ctypes.c_void_p, ctypes.c_int]
        self._cluster = ctypes.c_void_p(cluster(self._handle, 1))
        servers = self._library.rd_kafka_mock_cluster_bootstraps
        servers.restype = ctypes.c_char_p
        servers.argtypes = [ctypes.c_void_p]
        self.servers = servers(self._cluster).decode()

    def create(self, topic: str, partitions: int = 1) -> None:
        self._library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, 1)

    def down(self) -> None:
        self._library.rd_kafka_mock_broker_set_down(self._cluster, 1)

    def up(self) -> None:
        self._library.rd_kafka_mock_broker_set_up(self._cluster, 1)

    def refuse_next(self, *codes: int) -> None:
        """Answer the next requests to produce with errors."""
        push = self._library.rd_kafka_mock_push_request_errors_array
        push.argtypes = [ctypes.c_void_p, ctypes.c_int16, ctypes.c_size_t, ctypes.c_void_p]
        push(self._cluster, 0, len(codes), (ctypes.c_int * len(codes))(*codes))

    def stop(self) -> None:
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(ctypes.c_void_p(self._handle))


def _library() -> ctypes.CDLL:
    folder = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
    return ctypes.CDLL(str(next(folder.glob("librdkafka*.so*"))))


@contextmanager
def apache(folder: Path) -> Iterator[ApacheKafka]:
    server = ApacheKafka(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def must_be_apache() -> bool:
    """Tell whether this is where the real thing has to be there."""
    return os.environ.get("TETRAD_REAL_BROKERS") == "1"
