"""Run every test: ``make test``. Three parts run at once.

Those that start processes and servers mostly wait for them, and run beside the one that computes.
Their output is shown when all are done, so that a reader meets one after the other.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).parent
BESIDE = (("chaos", "cli", "feeds"), ("docs", "integration", "postgres"))
"""Folders of the parts that mostly wait for other processes; about the same time each."""


def main() -> int:
    """Run all parts; give the worst of their exit codes."""
    pytest = [sys.executable, "-m", "pytest", *sys.argv[1:]]
    folders = {path.name: str(path) for path in ROOT.iterdir() if any(path.rglob("test_*.py"))}
    apart = {name for part in BESIDE for name in part}
    here = sorted(path for name, path in folders.items() if name not in apart)
    with ExitStack() as stack:
        others = []
        for part in BESIDE:
            output = stack.enter_context(tempfile.TemporaryFile("w+"))
            command = [*pytest, *(folders[name] for name in part)]
            process = subprocess.Popen(command, stdout=output, stderr=output)
            others.append((stack.enter_context(process), output))
        codes = [subprocess.run([*pytest, *here], check=False).returncode]
        for process, output in others:
            codes.append(process.wait())
            output.seek(0)
            sys.stdout.write(output.read())
    return max(codes)


if __name__ == "__main__":
    raise SystemExit(main())
