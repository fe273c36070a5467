"""Change the code in small ways and see that a test notices: ``make mutate``.

``make mutate`` changes every module of ``MODULES``; ``make mutate ARGS=actors/ledger.py`` only
that one. Each change (:mod:`tests.mutation.mutants`) is tested in a forked child
(:mod:`tests.mutation.child`) by the tests that reach the changed line, until one fails: first
those that import the module, then the rest, the random ones with few examples, and in the end
these with all of theirs.

It fails when a survivor is not explained in ``survivors.toml``, when an explanation there
explains nothing any more, or when fewer than 95 % of all mutants die. The last is asked of the
whole list only: a small module may have no more than it can explain.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import gc
import importlib
import os
import pickle
import signal
import sys
import tempfile
import time
import tomllib
import warnings
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.mutation.child import ALL, FEW, ROOT, Baseline, fork, learn, try_mutant
from tests.mutation.mutants import Mutant, mutants_of

# A module that became a package is changed file by file; one that is not there yet is left out.
MODULES = (
    "actors/risk_gate", "actors/ledger", "actors/order_router", "actors/monitor",
    "engine/domain/order_record", "engine/domain/order_state", "engine/domain/positions",
    "engine/domain/ledger",
    "engine/domain/exposure", "engine/domain/risk", "engine/domain/reservations",
    "engine/domain/throttle", "engine/domain/latch", "engine/domain/guards",
    "engine/domain/results", "engine/domain/risk_book", "engine/domain/order_shape",
    "engine/domain/venue_session", "engine/domain/venue_routes",
    "actors/archivist", "actors/outbox",
)  # fmt: skip
TESTS = (
    "tests/unit/actors/**/test_*.py", "tests/unit/domain/**/test_*.py",
    "tests/property/test_core_*.py", "tests/property/test_risk_sequences.py",
    "tests/property/test_risk_laws.py", "tests/property/test_risk_models.py",
)  # fmt: skip
SURVIVORS = ROOT / "tests/mutation/survivors.toml"
SCORE_MIN = 0.95
KILLED, LIVED = {1, 2, 3, 4}, {0, 5}
"""Exit codes of pytest: 2 to 4 are a module that no longer imports, or breaks pytest itself (the
control shows that nothing else does); 5 is no test left to run."""
TIMERS = {signal.SIGPROF, signal.SIGALRM}

Key = tuple[str, str, str, str]


@dataclass
class Job:
    """One mutant on its way through the tests; without a mutant, the control."""

    mutant: Mutant | None
    stages: deque[tuple[set[str], int]]
    """Tests to run, and examples for those that are random."""


@dataclass
class Outcome:
    """What became of the mutants."""

    total: dict[str, int] = field(default_factory=dict)
    survivors: list[Mutant] = field(default_factory=list)
    timeouts: int = 0
    seconds: float = 0.0

    def killed(self, module: str) -> int:
        return self.total[module] - sum(m.path == module for m in self.survivors)


def sources_of(names: Iterable[str]) -> list[str]:
    """Give the files of modules or packages, from the root of the repository."""
    found: list[str] = []
    for name in names:
        base = ROOT / name.removesuffix(".py").removesuffix("/")
        files = [base.with_suffix(".py")] if base.with_suffix(".py").exists() else []
        files += sorted(base.rglob("*.py"))
        if not files:
            print(f"{name}: not there, left out")
        found += [file.relative_to(ROOT).as_posix() for file in files]
    return found


def importers(files: Iterable[str], module: str) -> set[str]:
    """Give the files of tests that import a module by name, or the package that re-exports it."""
    dotted = module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    package = dotted.rpartition(".")[0]
    init = f"{package.replace('.', '/')}/__init__.py"
    is_reexported = (ROOT / init).exists() and _imports(init, dotted)
    return {
        file
        for file in files
        if _imports(file, dotted) or (is_reexported and _imports(file, package, below=False))
    }


def _imports(file: str, dotted: str, *, below: bool = True) -> bool:
    """Say whether a file imports a module, or (``below``) something in it."""
    for node in ast.walk(ast.parse((ROOT / file).read_bytes())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
        if any(name == dotted or (below and name.startswith(f"{dotted}.")) for name in names):
            return True
    return False


def stages(
    tests: set[str], baseline: Baseline, importing: set[str], brief: bool
) -> deque[tuple[set[str], int]]:
    """Order tests from those that likely kill, and soon, to those that take long."""
    near = {test for test in tests if test.split("::")[0] in importing}
    far = tests - near
    parts = [(near, FEW), (far - baseline.random, FEW), (far & baseline.random, FEW)]
    if not brief:  # takes most of the time, and finds nothing where a survivor is explained
        parts.append((tests & baseline.random, ALL))
    return deque(part for part in parts if part[0])


def chosen(mutant: Mutant, baseline: Baseline, importing: set[str]) -> set[str]:
    """Give the tests that can notice a mutant."""
    lines = baseline.reached[mutant.path]
    if mutant.at_import:
        reached = {test for tests in lines.values() for test in tests}
    else:
        reached = {test for line in mutant.reached for test in lines.get(line, ())}
    if mutant.at_import or "" in reached:
        # It ran while tests were collected; what came of it is in the tests' own tables.
        reached |= {t for t in baseline.seconds if t.split("::")[0] in importing}
    return reached - {""}


def learn_baseline(files: Sequence[str], modules: Sequence[str], folder: Path) -> Baseline:
    """Run the tests unchanged in a child, then import here what they all need."""
    target, log = folder / "baseline", folder / "log"
    _, status = os.waitpid(fork(lambda: learn(files, modules, target), log), 0)
    if status:
        sys.exit(f"{log.read_text()}\nmutate: the tests fail before anything is changed")
    baseline: Baseline = pickle.loads(target.read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in baseline.third_party:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    gc.freeze()  # or every collection in a child would go through all of this, and copy it
    return baseline


def run(jobs: deque[Job], baseline: Baseline, workers: int) -> Outcome:
    """Test every mutant."""
    outcome, running, begin, done = Outcome(), dict[int, Job](), time.monotonic(), 0
    for job in jobs:
        if job.mutant is not None:
            path = job.mutant.path
            outcome.total[path] = outcome.total.get(path, 0) + 1
    count = len(jobs)
    try:
        while jobs or running:
            while jobs and len(running) < workers:
                job = jobs.popleft()
                running[_start(job, baseline)] = job
            pid, status = os.wait()
            job = running.pop(pid)
            if _lives(job, status, outcome):
                if job.stages:
                    jobs.appendleft(job)
                    continue
                if job.mutant is not None:
                    outcome.survivors.append(job.mutant)
            done += 1
            if done % 50 == 0:
                spent = time.monotonic() - begin
                print(f"  {done} of {count}, {spent:.0f} s", file=sys.stderr, flush=True)
    finally:
        for pid in running:  # only after an error or an interrupt
            os.kill(pid, signal.SIGKILL)
    outcome.seconds = time.monotonic() - begin
    return outcome


def _start(job: Job, base: Baseline) -> int:
    if not job.stages:
        return fork(lambda: 0)  # no test reaches it: it lives
    tests, examples = job.stages.popleft()
    files = sorted({test.split("::")[0] for test in tests})
    return fork(lambda: try_mutant(job.mutant, files, tests, examples, base))


def _lives(job: Job, status: int, outcome: Outcome) -> bool:
    """Say whether a mutant lived through its tests; the control must."""
    signalled = os.WIFSIGNALED(status)
    code = os.WTERMSIG(status) if signalled else os.WEXITSTATUS(status)
    lived = not signalled and code in LIVED
    killed = code in (TIMERS if signalled else KILLED)
    if job.mutant is None and not lived:
        sys.exit(f"mutate: the tests fail although nothing is changed (status {status})")
    if not lived and not killed:
        sys.exit(f"mutate: ended with status {status}: {job.mutant}")
    outcome.timeouts += signalled
    return lived


def explanations() -> dict[Key, str]:
    """Read why survivors may live."""
    entries = tomllib.loads(SURVIVORS.read_text(encoding="utf-8")).get("survivor", [])
    return {(e["module"], e["function"], e["before"], e["after"]): e["why"] for e in entries}


def report(outcome: Outcome, modules: Sequence[str], whole: bool) -> bool:
    """Print the score and the survivors; say whether all is well."""
    known = explanations()
    unexplained = [m for m in outcome.survivors if not known.get(m.key, "").strip()]
    alive = {mutant.key for mutant in outcome.survivors}
    stale = [key for key in known if key[0] in modules and key not in alive]
    for mutant in sorted(outcome.survivors, key=lambda m: (m.path, m.line)):
        print(f"\nsurvived: {mutant}\n    {known.get(mutant.key, 'NOT EXPLAINED')}")
    for key in stale:
        print(f"\nnot alive any more, take it out of {SURVIVORS.name}: {key}")
    print(f"\n{'module':<40} killed  total  score")
    for module, total in outcome.total.items():
        killed = outcome.killed(module)
        print(f"{module:<40} {killed:>6} {total:>6} {killed / total:>6.1%}")
    total = sum(outcome.total.values())
    killed = total - len(outcome.survivors)
    score = killed / total if total else 1.0
    print(f"{'overall':<40} {killed:>6} {total:>6} {score:>6.1%}")
    print(
        f"{outcome.seconds:.0f} s, {outcome.timeouts} killed by their time limit, "
        f"{len(unexplained)} survivors not explained in {SURVIVORS.name}"
    )
    return (score >= SCORE_MIN or not whole) and not unexplained and not stale


def main() -> int:
    """Run ``make mutate``."""
    parser = argparse.ArgumentParser(prog="make mutate", description=__doc__)
    parser.add_argument("modules", nargs="*", default=MODULES, help="files or packages")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--quick", action="store_true", help="few examples only, more survivors")
    options = parser.parse_args()
    os.chdir(ROOT)
    modules = sources_of(options.modules)
    files = sorted({p.relative_to(ROOT).as_posix() for glob in TESTS for p in ROOT.glob(glob)})
    with tempfile.TemporaryDirectory(prefix="mutate-") as folder:
        baseline = learn_baseline(files, modules, Path(folder))
    # The control: nothing is changed, and all tests pass with all their examples.
    jobs = deque([Job(None, deque([(set(baseline.seconds), ALL)]))])
    known = explanations()
    for module in modules:
        importing = importers(files, module)
        for mutant in mutants_of(module, (ROOT / module).read_bytes()):
            tests = chosen(mutant, baseline, importing)
            brief = options.quick or mutant.key in known
            jobs.append(Job(mutant, stages(tests, baseline, importing, brief)))
    print(f"{len(jobs) - 1} mutants of {len(modules)} modules, {len(baseline.seconds)} tests")
    outcome = run(jobs, baseline, options.workers)
    return 0 if report(outcome, modules, whole=options.modules == MODULES) else 1


if __name__ == "__main__":
    sys.exit(main())
