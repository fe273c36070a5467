"""Every house rule can fail: one table of snippets that break it, one of snippets that do not."""

from __future__ import annotations

import pytest

from tests.architecture import rules
from tests.architecture.layers import unplaced
from tests.architecture.rules import PYTHON_RULES, TEXT_RULES, Rule, Source

CORE = "engine/domain/x.py"
PRODUCT = "engine/research/x.py"
ADAPTER = "adapters/files/x.py"
ACTOR = "actors/x.py"
TEST = "tests/unit/test_x.py"
HOST = ".".join(("files", "pythonhosted", "org"))


def function(lines: int, docstring: str = "") -> str:
    return "def f():\n" + docstring + "    x = 1\n" * (lines - 1)


# (rule, path, text, line of the finding)
BROKEN: list[tuple[Rule, str, str, int]] = [
    (rules.file_length, PRODUCT, "x = 1\n" * 501, 501),
    (rules.function_length, CORE, function(51), 1),
    (rules.function_length, ACTOR, "\n" + function(51), 2),
    (rules.function_length, PRODUCT, function(71), 1),
    (rules.wall_clock, PRODUCT, "import time\ntime.time()", 2),
    (rules.wall_clock, PRODUCT, "import time as t\nclock = t.time_ns", 2),
    (rules.wall_clock, PRODUCT, "from time import time\ntime()", 2),
    (rules.wall_clock, ACTOR, "from datetime import datetime\ndatetime.now()", 2),
    (rules.wall_clock, ACTOR, "import datetime as dt\ndt.datetime.utcnow()", 2),
    (rules.wall_clock, PRODUCT, "from datetime import date\ndate.today()", 2),
    (rules.unseeded_random, ADAPTER, "from uuid import uuid4\nuuid4()", 2),
    (rules.unseeded_random, TEST, "import uuid\nuuid.uuid4()", 2),
    (rules.unseeded_random, PRODUCT, "import random\nrandom.choice([1])", 2),
    (rules.unseeded_random, PRODUCT, "import random\nrandom.Random()", 2),
    (rules.unseeded_random, TEST, "import numpy as np\nnp.random.normal()", 2),
    (rules.unseeded_random, TEST, "import numpy as np\nnp.random.default_rng()", 2),
    (rules.sleeping, TEST, "import time\ntime.sleep(1)", 2),
    (rules.printing, PRODUCT, "print(1)", 1),
    (rules.printing, ADAPTER, "def f():\n    print(1)", 2),
    (rules.broad_except, PRODUCT, "try:\n    f()\nexcept Exception:\n    g()", 3),
    (rules.broad_except, ADAPTER, "try:\n    f()\nexcept (OSError, BaseException):\n    g()", 3),
    (rules.broad_except, ACTOR, "try:\n    f()\nexcept:\n    g()", 3),
    (rules.bare_type_ignore, PRODUCT, "x = 1\ny = x  # type: ignore", 2),
    (rules.mocking, TEST, "from unittest.mock import Mock", 1),
    (rules.mocking, TEST, "from unittest import mock", 1),
    (rules.one_actor_a_file, ACTOR, "class A(Actor): ...\nclass B(runtime.Actor): ...", 2),
    (rules.class_names, PRODUCT, "class OrderManager: ...", 1),
    (rules.class_names, PRODUCT, "class Worker: ...", 1),
    (rules.class_names, PRODUCT, "class HTTPHandler: ...", 1),
    (rules.class_names, PRODUCT, "class BaseFeed: ...", 1),
    (rules.requirement_markers, TEST, "@pytest.mark.req('R1', 'X2')\ndef test(): ...", 1),
    (rules.requirement_markers, TEST, "@pytest.mark.req('R01')\ndef test(): ...", 1),
    (rules.requirement_markers, TEST, "@pytest.mark.req()\ndef test(): ...", 1),
    (rules.domain_imports, CORE, "import math\nimport polars as pl", 2),
    (rules.domain_imports, CORE, "from numpy.typing import NDArray", 1),
    (rules.foreign_text, "README.md", f"see https://{HOST}/x", 1),
    (rules.foreign_text, "docs/a.md", "one\ncd /" + "work/main", 2),
]

# (rule, path, text): near misses that are allowed
KEPT: list[tuple[Rule, str, str]] = [
    (rules.file_length, PRODUCT, "x = 1\n" * 500),
    (rules.function_length, CORE, function(50)),
    (rules.function_length, CORE, function(50, '    """Long.\n\n\n    """\n')),
    (rules.function_length, PRODUCT, function(70)),
    (rules.wall_clock, "engine/runtime/clock.py", "import time\ntime.time_ns()"),
    (rules.wall_clock, PRODUCT, "import time\ntime.perf_counter()"),
    (rules.wall_clock, PRODUCT, "def time(): ...\ntime()"),
    (rules.unseeded_random, PRODUCT, "import random\nrandom.Random(7)"),
    (rules.unseeded_random, PRODUCT, "import random\ndef f(rng: random.Random): ..."),
    (rules.unseeded_random, TEST, "import numpy as np\nnp.random.default_rng(7)"),
    (rules.sleeping, TEST, "import time\ntime.monotonic()"),
    (rules.printing, "engine/cli.py", "print(1)"),
    (rules.printing, "examples/strategies/x.py", "print(1)"),
    (rules.broad_except, "engine/runtime/supervision.py", "try:\n    f()\nexcept Exception: ..."),
    (rules.broad_except, PRODUCT, "try:\n    f()\nexcept (OSError, ValueError): ..."),
    (rules.bare_type_ignore, PRODUCT, "y = x  # type: ignore[attr-defined]"),
    (rules.mocking, "tests/unit/adapters/x.py", "from unittest.mock import Mock"),
    (rules.one_actor_a_file, ACTOR, "class A(Actor): ...\nclass Config(Struct): ..."),
    (rules.class_names, PRODUCT, "class DataError(Exception): ..."),
    (rules.class_names, PRODUCT, "class Dataset: ..."),
    (rules.class_names, "engine/strategy/base.py", "class BaseStrategy: ..."),
    (rules.requirement_markers, TEST, "@pytest.mark.req('R1', 'D20', 'P3')\ndef test(): ..."),
    (
        rules.domain_imports,
        CORE,
        "import math\nfrom engine.errors import EngineError\nimport msgspec",
    ),
    (rules.foreign_text, "README.md", "the src/work/ folder, and https://example.org/work/x"),
]


@pytest.mark.parametrize(("rule", "path", "text", "line"), BROKEN)
def test_rule_finds(rule: Rule, path: str, text: str, line: int) -> None:
    (finding,) = rule(Source(path, text))
    assert (finding.path, finding.line) == (path, line)
    assert str(finding).startswith(f"{path}:{line}: [{finding.rule}] ")


@pytest.mark.parametrize(("rule", "path", "text"), KEPT)
def test_rule_keeps_quiet(rule: Rule, path: str, text: str) -> None:
    assert list(rule(Source(path, text))) == []


def test_every_rule_is_in_the_table() -> None:
    assert {row[0] for row in BROKEN} == {*PYTHON_RULES, *TEXT_RULES}


def test_unplaced_modules_are_named() -> None:
    names = ["engine", "engine.runtime", "engine.wiring", "engine.domain.ids", "engine.newcomer"]
    layers = frozenset({"engine.wiring", "engine.domain"})
    assert unplaced(names, layers) == ["engine.newcomer"]
