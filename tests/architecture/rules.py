"""The house rules that neither ruff, mypy nor import-linter can express.

A rule looks at one file and yields findings. A finding says where (file:line), which rule, and
how to mend it; ``test_tree.py`` runs every rule on every file of the repository, and
``test_rules.py`` proves on snippets that each rule can fail.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
CORE_FUNCTION_LINES_MAX = 50  # engine/domain and actors: what must fit on a screen

PRODUCT = ("engine/", "actors/", "adapters/")
CORE = ("engine/domain/", "actors/")
CLOCK_ZONE = ("engine/runtime/", "adapters/")
PRINT_ZONE = ("engine/cli", "engine/__main__.py")
# Supervision, and the import of a user's file, which may raise anything.
BROAD_EXCEPT_ZONE = ("engine/runtime/", "engine/registry.py")
MOCK_ZONE = ("tests/unit/adapters/",)
SEED_ZONE = ("tests/conftest.py",)  # draws the seed that it prints


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule at one place."""

    path: str
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: [{self.rule}] {self.message}"


@dataclass(frozen=True)
class Source:
    """One text file of the repository, its path relative to the root, with forward slashes."""

    path: str
    text: str

    @cached_property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, filename=self.path)

    @cached_property
    def references(self) -> list[tuple[str, ast.expr]]:
        """Names and attribute chains the module refers to, resolved through its imports."""
        aliases = _import_aliases(self.tree)
        inner = {id(node.value) for node in ast.walk(self.tree) if isinstance(node, ast.Attribute)}
        found: list[tuple[str, ast.expr]] = []
        for node in ast.walk(self.tree):
            if isinstance(node, (ast.Attribute, ast.Name)) and id(node) not in inner:
                dotted = _dotted(node, aliases)
                if dotted:
                    found.append((dotted, node))
        return found

    def within(self, zones: tuple[str, ...]) -> bool:
        return self.path.startswith(zones)


Rule = Callable[[Source], Iterator[Finding]]


def _import_aliases(tree: ast.Module) -> dict[str, str]:
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                first = name.name.partition(".")[0]
                aliases[name.asname or first] = name.name if name.asname else first
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for name in node.names:
                aliases[name.asname or name.name] = f"{node.module}.{name.name}"
    return aliases


def _dotted(node: ast.expr, aliases: dict[str, str]) -> str | None:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in aliases:
        return None
    return ".".join([aliases[node.id], *reversed(parts)])


def _imported_names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((name.name, node.lineno) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{name.name}", node.lineno) for name in node.names)


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def _classes(tree: ast.Module) -> Iterator[ast.ClassDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield node


def file_length(source: Source) -> Iterator[Finding]:
    """A file fits in a head."""
    if len(source.lines) > FILE_LINES_MAX:
        yield Finding(
            source.path,
            FILE_LINES_MAX + 1,
            "file-length",
            f"{len(source.lines)} lines, at most {FILE_LINES_MAX}: split the file by subject",
        )


def function_length(source: Source) -> Iterator[Finding]:
    """A function fits on a screen; its docstring does not count."""
    limit = CORE_FUNCTION_LINES_MAX if source.within(CORE) else FUNCTION_LINES_MAX
    for node in _functions(source.tree):
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        first = node.body[0]
        if ast.get_docstring(node, clean=False) is not None:
            length -= (first.end_lineno or first.lineno) - first.lineno + 1
        if length > limit:
            yield Finding(
                source.path,
                node.lineno,
                "function-length",
                f"{node.name} has {length} lines, at most {limit} here: keep the branches in it "
                "and move the computing into leaves",
            )


_CLOCKS = re.compile(
    r"time\.(time|time_ns|localtime|gmtime|ctime)"
    r"|datetime\.(datetime\.(now|utcnow|today)|date\.today)"
)
_RANDOM_SOURCES = re.compile(
    r"uuid\.uuid[14]|os\.urandom|secrets\.\w+|random\.(?!Random$)\w+"
    r"|numpy\.random\.(?!default_rng$|Generator$|PCG64$)\w+"
)
_SEEDED = {"random.Random", "numpy.random.default_rng", "numpy.random.PCG64"}


def wall_clock(source: Source) -> Iterator[Finding]:
    """One stray now() makes a backtest irreproducible."""
    if not source.within(PRODUCT) or source.within(CLOCK_ZONE):
        return
    for dotted, node in source.references:
        if _CLOCKS.fullmatch(dotted):
            yield Finding(
                source.path,
                node.lineno,
                "wall-clock",
                f"{dotted} reads the wall clock: take the time from ctx.now, the event or the "
                "clock that wiring passes in (only engine/runtime and adapters may read it)",
            )


def unseeded_random(source: Source) -> Iterator[Finding]:
    """Identity and randomness come from a seed or a counter, in tests too."""
    if source.within(SEED_ZONE):
        return
    seeded_calls = {
        id(node.func)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and (node.args or node.keywords)
    }
    called = {id(node.func) for node in ast.walk(source.tree) if isinstance(node, ast.Call)}
    for dotted, node in source.references:
        unseeded = dotted in _SEEDED and id(node) in called and id(node) not in seeded_calls
        if unseeded or _RANDOM_SOURCES.fullmatch(dotted):
            yield Finding(
                source.path,
                node.lineno,
                "unseeded-random",
                f"{dotted} cannot be reproduced: pass in a random.Random(seed), or build the id "
                "from session, strategy and a counter",
            )


def sleeping(source: Source) -> Iterator[Finding]:
    """Tests wait for a fact, not for a while; the product waits on timers."""
    for dotted, node in source.references:
        if dotted in {"time.sleep", "asyncio.sleep"} and not source.within(("adapters/",)):
            yield Finding(
                source.path,
                node.lineno,
                "sleep",
                f"{dotted}: set a timer on the context, or wait on an event with a timeout",
            )


def printing(source: Source) -> Iterator[Finding]:
    """Only the command line prints."""
    if not source.within(PRODUCT) or source.within(PRINT_ZONE):
        return
    for node in ast.walk(source.tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "print"
        ):
            yield Finding(
                source.path,
                node.lineno,
                "print",
                "print outside engine/cli*: return the value, publish an event, or raise",
            )


def broad_except(source: Source) -> Iterator[Finding]:
    """Only supervision catches what it does not know."""
    if not source.within(PRODUCT) or source.within(BROAD_EXCEPT_ZONE):
        return
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        for kind in caught:
            if kind is None or (
                isinstance(kind, ast.Name) and kind.id in {"Exception", "BaseException"}
            ):
                yield Finding(
                    source.path,
                    node.lineno,
                    "broad-except",
                    "catches everything: name the exceptions, or let it reach supervision in "
                    "engine/runtime",
                )


_TYPE_IGNORE = re.compile(r"#\s*type:\s*ignore(?!\[)")


def bare_type_ignore(source: Source) -> Iterator[Finding]:
    """A silenced type error says which."""
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT and _TYPE_IGNORE.search(token.string):
            yield Finding(
                source.path,
                token.start[0],
                "type-ignore",
                "write the error code in brackets, and why, or mend the type",
            )


def mocking(source: Source) -> Iterator[Finding]:
    """A mock agrees with whatever you believed."""
    if source.within(MOCK_ZONE):
        return
    for name, line in _imported_names(source.tree):
        if name.startswith("unittest.mock"):
            yield Finding(
                source.path,
                line,
                "mock",
                "use the real thing or a hand-written adapter (adapters/memory)",
            )


def one_actor_a_file(source: Source) -> Iterator[Finding]:
    """One role, one file."""
    if not source.within(("actors/",)):
        return
    actors = [
        node
        for node in source.tree.body
        if isinstance(node, ast.ClassDef)
        and any(
            (base.id if isinstance(base, ast.Name) else getattr(base, "attr", "")).endswith("Actor")
            for base in node.bases
        )
    ]
    for node in actors[1:]:
        yield Finding(
            source.path,
            node.lineno,
            "one-actor",
            f"{node.name} is the second actor of this file: give it its own",
        )


# As the last word of a name, these say nothing; so does Base anywhere outside base.py.
BANNED_WORDS = frozenset(
    {"Manager", "Service", "Handler", "Worker", "Helper", "Util", "Utils", "Processor", "Data"}
    | {"Info"}
)
ALLOWED_CLASS_NAMES = frozenset({"ScanWorker"})  # the actor that scans in its own process


def class_names(source: Source) -> Iterator[Finding]:
    """A class is named after its role, not after a shape that fits anything."""
    if not source.within(PRODUCT):
        return
    in_base = PurePosixPath(source.path).name == "base.py"
    for node in _classes(source.tree):
        words = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*", node.name) or [node.name]
        banned = BANNED_WORDS & {words[-1]}
        if "Base" in words and not in_base:
            banned |= {"Base"}
        if banned and node.name not in ALLOWED_CLASS_NAMES:
            yield Finding(
                source.path,
                node.lineno,
                "class-name",
                f"{node.name}: {', '.join(sorted(banned))} says nothing; name the role (Host, "
                "Gate, Router, Gateway, Recorder) or the thing itself",
            )


_REQUIREMENT = re.compile(r"[RDP][1-9]\d*")


def requirement_markers(source: Source) -> Iterator[Finding]:
    """``@pytest.mark.req`` names one requirement or more, each as a plain string."""
    for node in ast.walk(source.tree):
        if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.req"):
            continue
        ids = [arg.value if isinstance(arg, ast.Constant) else None for arg in node.args]
        wrong = [repr(i) for i in ids if not (isinstance(i, str) and _REQUIREMENT.fullmatch(i))]
        if wrong or not ids:
            yield Finding(
                source.path,
                node.lineno,
                "requirement",
                f"req({', '.join(wrong)}): name requirements as R12, D3 or P1, one string each",
            )


_DOMAIN_MAY_IMPORT = sys.stdlib_module_names | {"__future__", "engine", "msgspec"}


def domain_imports(source: Source) -> Iterator[Finding]:
    """The domain needs nothing but the standard library and msgspec."""
    if not source.within(("engine/domain/",)):
        return
    for name, line in _imported_names(source.tree):
        if name.partition(".")[0] not in _DOMAIN_MAY_IMPORT:
            yield Finding(
                source.path,
                line,
                "domain-import",
                f"{name} in the domain: move the code that needs it to analytics or an adapter",
            )


_HOSTS = "|".join(
    re.escape(".".join(parts))
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("crates", "io"),
        ("proxy", "golang", "org"),
        ("repo1", "maven", "org"),
        ("deb", "debian", "org"),
    )
)
_FOREIGN_TEXT = re.compile(
    rf"(?:{_HOSTS})\b|(?<![\w./-])/work/|--(?:extra-)?index-url|--find-links"
)


def foreign_text(source: Source) -> Iterator[Finding]:
    """The repository names no registry and no path of the machine it was written on."""
    for number, line in enumerate(source.lines, start=1):
        match = _FOREIGN_TEXT.search(line)
        if match and source.path != "tests/architecture/rules.py":
            yield Finding(
                source.path,
                number,
                "foreign-text",
                f"{match[0]!r} ties the repository to one machine or registry: remove it",
            )


PYTHON_RULES: tuple[Rule, ...] = (
    file_length,
    function_length,
    wall_clock,
    unseeded_random,
    sleeping,
    printing,
    broad_except,
    bare_type_ignore,
    mocking,
    one_actor_a_file,
    class_names,
    requirement_markers,
    domain_imports,
)
TEXT_RULES: tuple[Rule, ...] = (foreign_text,)
