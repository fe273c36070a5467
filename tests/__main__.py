"""Run every test: ``make test``. The two halves run at once, each on a core of its own.

The half that starts processes and servers runs beside the one that computes. Its output is shown
when both are done, so that a reader meets one after the other.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent
BESIDE = ("chaos", "cli", "docs", "feeds", "integration", "postgres")
"""Folders of the half that mostly waits for other processes."""


def main() -> int:
    """Run both halves; give the worst of their exit codes."""
    pytest = [sys.executable, "-m", "pytest", *sys.argv[1:]]
    folders = [path for path in ROOT.iterdir() if any(path.rglob("test_*.py"))]
    beside = sorted(str(path) for path in folders if path.name in BESIDE)
    here = sorted(str(path) for path in folders if path.name not in BESIDE)
    with tempfile.TemporaryFile("w+") as output:
        with subprocess.Popen([*pytest, *beside], stdout=output, stderr=output) as other:
            code = subprocess.run([*pytest, *here], check=False).returncode
        output.seek(0)
        sys.stdout.write(output.read())
    return max(code, other.returncode)


if __name__ == "__main__":
    raise SystemExit(main())
