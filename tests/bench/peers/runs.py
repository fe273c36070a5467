"""Environments and processes: install a peer, run a command, measure it from outside.

The measuring process imports nothing heavy on purpose: Linux carries the peak memory of the
process that forks into the figure of its child.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.peers.catalog import Peer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
INSTALL_SECONDS_MAX = 1_800
REASON_CHARS_MAX = 300


class RunFailedError(Exception):
    """An install or a run failed; the message is the reason the table shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A finished process, seen from outside.

    Attributes:
        wall_s: Seconds from start to exit.
        cpu_s: User and system CPU seconds of the process and the children it waited for.
        peak_rss_mb: Peak resident memory, MiB.
        output: What it wrote to standard output.
    """

    wall_s: float
    cpu_s: float
    peak_rss_mb: float
    output: str


def environment(peer: Peer, cache: Path) -> tuple[Path, bool]:
    """Return the interpreter of a peer's environment, building it when its pins changed.

    Args:
        peer: The peer.
        cache: Folder outside the repository; the environment goes to ``envs/<peer>`` in it.

    Returns:
        The interpreter, and whether the environment is new (its caches are cold).

    Raises:
        RunFailedError: If a step of the installation fails, with its last words.
    """
    folder = cache / "envs" / peer.name
    python, marker = folder / "bin" / "python", folder / "requirements.txt"
    wanted = "\n".join(peer.requirements) + "\n"
    if marker.exists() and marker.read_text(encoding="utf-8") == wanted and python.exists():
        return python, False
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFailedError(f"cannot make room for {folder}: {error}") from error
    _step([sys.executable, "-m", "venv", str(folder)], f"cannot create {folder}")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _step([*pip, *peer.requirements], f"pip install {peer.requirements[0]}")
    # Written last: an interrupted installation is not taken for a finished one.
    marker.write_text(wanted, encoding="utf-8")
    return python, True


def measure(command: Sequence[str], *, seconds_max: float) -> Measured:
    """Run a command to its end and measure wall time, CPU and peak memory.

    Raises:
        RunFailedError: If it cannot start, exits with an error or takes longer than
            ``seconds_max``; the message ends with its last lines.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        try:
            process = subprocess.Popen(command, stdout=output, stderr=errors, cwd=ROOT)
        except OSError as error:
            raise RunFailedError(f"cannot start {command[0]}: {error}") from error
        overdue = threading.Event()

        def kill() -> None:
            overdue.set()
            process.kill()

        timer = threading.Timer(seconds_max, kill)
        timer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        finally:
            timer.cancel()
        wall_s = time.perf_counter() - started
        # Reaped here, so that Popen does not look for it again.
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        text = output.read().decode(errors="replace")
        complaint = errors.read().decode(errors="replace")
    if process.returncode != 0:
        cause = f"no result in {seconds_max:g} s" if overdue.is_set() else _exit(process.returncode)
        raise RunFailedError(f"{cause}: {_last_words(complaint or text)}")
    return Measured(
        wall_s=wall_s,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_rss_mb=usage.ru_maxrss / 1024,
        output=text,
    )


def last_json(text: str) -> dict[str, object]:
    """Return the JSON object a program printed: all of its output, or the last line.

    Raises:
        RunFailedError: If neither is a JSON object.
    """
    lines = text.strip().splitlines()
    for candidate in (text, lines[-1] if lines else ""):
        try:
            found = json.loads(candidate)
        except json.JSONDecodeError:
            continue
        if isinstance(found, dict):
            return found
    raise RunFailedError(f"printed no JSON object: {_last_words(text)}")


def _step(command: list[str], what: str) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_SECONDS_MAX, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise RunFailedError(f"{what}: not done in {INSTALL_SECONDS_MAX} s") from error
    if done.returncode != 0:
        raise RunFailedError(f"{what}: {_last_words(done.stderr or done.stdout)}")


def _exit(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit {code}"


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " / ".join(lines[-2:])[-REASON_CHARS_MAX:] or "no output"
