"""Every import contract of pyproject.toml can fail: a small tree that breaks them all."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.architecture.layers import ROOT

# Against the direction, between siblings, in a circle, and out to the world.
TREE = {
    "engine/__init__.py": "",
    "engine/cli.py": "import engine.wiring, actors.gate",
    "engine/wiring/__init__.py": "",
    "engine/wiring/core.py": "import actors.gate, adapters.files",
    "engine/runtime/__init__.py": "",
    "engine/runtime/sim_runtime.py": "import pykka, polars",
    "engine/domain/__init__.py": "",
    "engine/domain/money.py": "import numpy, random\nimport engine.domain.orders, engine.wiring",
    "engine/domain/orders.py": "import engine.domain.money",
    "engine/strategy/__init__.py": "",
    "engine/analytics/__init__.py": "",
    "engine/errors.py": "",
    "actors/__init__.py": "",
    "actors/gate.py": "import threading, redis\nimport actors.router",
    "actors/router.py": "",
    "adapters/__init__.py": "",
    "adapters/files.py": "import adapters.redis",
    "adapters/redis.py": "",
}


def test_each_contract_breaks(tmp_path: Path) -> None:
    for name, text in TREE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    pyproject = ROOT / "pyproject.toml"
    contracts = tomllib.loads(pyproject.read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    code = (
        "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(cache_dir=None))"
    )
    (tmp_path / "pyproject.toml").write_text(pyproject.read_text("utf-8"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    verdicts = dict(re.findall(r"^(.+) (KEPT|BROKEN)\b", done.stdout, flags=re.MULTILINE))
    assert verdicts == {contract["name"]: "BROKEN" for contract in contracts}, done.stderr
