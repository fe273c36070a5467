"""What ``engine doctor`` says of a gateway whose clock is wrong, and of the installation."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path

import pytest

from adapters.files.installation import examine_installation
from adapters.http.doctor import examine
from engine.config import load_config
from engine.domain.findings import Level
from engine.sections import GatewayConfig
from engine.wiring import doctor
from tests.feeds.test_doctor import about


@contextmanager
def gateway(ahead_s: float | None) -> Iterator[int]:
    """Give the port of a gateway of plain orders whose clock is ahead, or that tells no time."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(404)
            if ahead_s is not None:
                self.send_header("Date", self.date_time_string(int(time.time() + ahead_s)))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("ahead_s", "level"), [(0.0, Level.OK), (30.0, Level.WARNING), (-30.0, Level.WARNING)]
)
def test_the_clock_of_a_gateway(ahead_s: float, level: Level) -> None:
    with gateway(ahead_s) as port:
        findings = list(examine(GatewayConfig(url=f"http://127.0.0.1:{port}")))
    found = about(findings, "Gateway clock")
    assert found.level is level
    if ahead_s:
        assert found.found.startswith("+" if ahead_s > 0 else "-")


def test_a_gateway_that_tells_no_time() -> None:
    with gateway(None) as port:
        findings = list(examine(GatewayConfig(url=f"http://127.0.0.1:{port}")))
    assert "Gateway clock" not in {each.what for each in findings}


def test_the_version_of_python_is_told() -> None:
    findings = doctor.examine(load_config("backtest"), {})
    assert about(findings, "Python").found.startswith(platform.python_version())


def test_packages_that_are_those_of_the_lock(tmp_path: Path) -> None:
    (tmp_path / "requirements.lock").write_text(
        f"msgspec=={version('msgspec')} \\\n    --hash=sha256:00\n"
        f"psycopg_pool=={version('psycopg-pool')}\n"
        "numpy==0.1 ; python_full_version < '3.1' \\\n"
        f"numpy=={version('numpy')} ; python_full_version >= '3.1' \\\n"
        "other==1\n"
    )
    found = about(list(examine_installation(tmp_path)), "Packages")
    assert (found.level, found.found) == (
        Level.OK,
        "3 that are required are those of requirements.lock",
    )


def test_packages_that_are_others(tmp_path: Path) -> None:
    (tmp_path / "requirements.lock").write_text("msgspec==0.0.1\nother==1\n")
    found = about(list(examine_installation(tmp_path)), "Packages")
    assert found.level is Level.WARNING
    assert f"msgspec {version('msgspec')} (0.0.1)" in found.found
    assert "make setup" in found.advice


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"other==1\n"])
def test_nothing_is_said_of_packages_without_a_lock(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "requirements.lock").write_bytes(content)
    assert [each.what for each in examine_installation(tmp_path)] == ["Python"]
