"""What runs in a forked child: pytest, once, with one module changed in memory.

Nothing is written to the checkout. An import hook gives the changed source in place of the file,
so functions, class bodies and tables change alike, and every importer sees the change.

The child is killed by its own timers when a test takes many times the processor time it took
unchanged: a mutant that loops for ever is a killed mutant. Hypothesis does not shrink what it
finds; that would take minutes and only the exit code is read.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import pickle
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import coverage
import hypothesis
import pytest

from tests.mutation.mutants import Mutant

ROOT = Path(__file__).resolve().parents[2]
FEW, ALL = 12, 100
"""Examples of a property test: a first look, and as many as ``make test`` takes."""
_SLACK = 5.0
_MEMORY = 6 * 2**30
_OPTIONS = (
    "-x", "-q", "--no-header", "--timeout=0", "--assert=plain",
    "-p", "no:cacheprovider", "-p", "no:cov", "-W", "ignore::pytest.PytestAssertRewriteWarning",
)  # fmt: skip


@dataclass
class Baseline:
    """What the tests do when nothing is changed.

    Attributes:
        seconds: processor time by test.
        random: tests that hypothesis drives.
        reached: tests by line, by module; the test ``""`` is the collection.
        third_party: modules from elsewhere that the tests imported.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    random: set[str] = field(default_factory=set)
    reached: dict[str, dict[int, list[str]]] = field(default_factory=dict)
    third_party: list[str] = field(default_factory=list)


class _Changed(importlib.abc.MetaPathFinder, importlib.machinery.SourceFileLoader):
    """Finds one module in memory."""

    def __init__(self, mutant: Mutant) -> None:
        name = mutant.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        super().__init__(name, str(ROOT / mutant.path))
        self._source = mutant.source

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self)

    def get_code(self, fullname: str) -> CodeType | None:
        # Not the file's own get_code, which would take the byte code cached beside it.
        code: CodeType = compile(self._source, self.path, "exec", dont_inherit=True)
        return code


class _Plugin:
    """Chooses the tests, the fastest first, and sets the examples and the timers."""

    def __init__(self, examples: int, wanted: set[str] | None, baseline: Baseline) -> None:
        self.examples = examples
        self.wanted = wanted
        self.baseline = baseline

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self) -> None:
        # The default profile of the repository is loaded by now; modules of tests are not.
        profile = hypothesis.settings(
            max_examples=self.examples,
            phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
            suppress_health_check=list(hypothesis.HealthCheck),
            deadline=None,
            database=None,
        )
        hypothesis.settings.register_profile("mutation", profile)
        hypothesis.settings.load_profile("mutation")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        known = self.baseline.seconds
        if self.wanted is not None:
            # A test that only the change has made (of a table's rows, say) runs too.
            items[:] = [i for i in items if i.nodeid in self.wanted or i.nodeid not in known]
            items.sort(key=lambda item: known.get(item.nodeid, 0.0))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        if self.wanted is not None:
            usual = self.baseline.seconds.get(item.nodeid, 1.0)
            set_timers(_SLACK + usual * 10 * max(1, self.examples / FEW))
        return (yield)


class _Watcher(_Plugin):
    """Learns the baseline."""

    def __init__(self, tracer: coverage.Coverage, baseline: Baseline) -> None:
        super().__init__(FEW, None, baseline)
        self.tracer = tracer

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.tracer.switch_context(item.nodeid)
        if getattr(getattr(item, "function", None), "is_hypothesis_test", False):
            self.baseline.random.add(item.nodeid)
        begin = time.process_time()
        result = yield
        self.baseline.seconds[item.nodeid] = time.process_time() - begin
        self.tracer.switch_context("")
        return result


def set_timers(seconds: float) -> None:
    """Die by a signal after so much processor time, or, if stuck, so much time of day."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, seconds * 20)


def fork(work: Callable[[], int], log: Path | None = None) -> int:
    """Do work in a child of its own, its output in ``log`` or nowhere; give its process id."""
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        os.setpgid(0, 0)
        out = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        status = work()
    finally:
        os._exit(status)  # neither the parent's exit handlers nor its buffers


def try_mutant(
    mutant: Mutant | None, files: Sequence[str], tests: set[str], examples: int, base: Baseline
) -> int:
    """Run tests against a mutant, or against the module as it is; give pytest's exit code."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    set_timers(60.0)
    if mutant is not None:
        sys.meta_path.insert(0, _Changed(mutant))
    return int(pytest.main([*_OPTIONS, *files], plugins=[_Plugin(examples, tests, base)]))


def learn(files: Sequence[str], modules: Sequence[str], target: Path) -> int:
    """Run all tests as they are and write the :class:`Baseline`; give pytest's exit code."""
    before = set(sys.modules)
    tracer = coverage.Coverage(
        data_file=None, include=[str(ROOT / m) for m in modules], config_file=False, branch=False
    )
    baseline = Baseline()
    tracer.start()
    code = int(pytest.main([*_OPTIONS, *files], plugins=[_Watcher(tracer, baseline)]))
    tracer.stop()
    data: Any = tracer.get_data()
    baseline.reached = {m: data.contexts_by_lineno(str(ROOT / m)) for m in modules}
    own = ("engine", "actors", "adapters", "tests", "examples", "conftest")
    baseline.third_party = sorted(
        name for name in set(sys.modules) - before if name.split(".")[0] not in own
    )
    target.write_bytes(pickle.dumps(baseline))
    return code
