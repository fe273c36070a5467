"""Every file of the repository keeps the house rules."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.architecture.layers import ROOT, declared_layers, modules, unplaced
from tests.architecture.rules import PYTHON_RULES, TEXT_RULES, Finding, Rule, Source

# What .gitignore lists, for a tree that came without git.
GENERATED = re.compile(
    r"(^|/)(\.git|\.venv|\.hypothesis|[^/]*_cache|__pycache__|demo-out|bench-out|build|dist"
    r"|htmlcov|\.coverage[^/]*|\.env)(/|$)"
)
TEXT_SUFFIXES = {"", ".md", ".py", ".toml", ".lock", ".txt", ".sql", ".proto", ".yml", ".cfg"}


def repository_files() -> list[Path]:
    """Give the files git knows or would take; outside a git checkout, all but the generated."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0:
        paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        paths = [
            path
            for path in ROOT.rglob("*")
            if not GENERATED.search(path.relative_to(ROOT).as_posix())
        ]
    return sorted(path for path in paths if path.is_file() and path.suffix in TEXT_SUFFIXES)


def sources(suffixes: set[str]) -> list[Source]:
    return [
        Source(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
        for path in repository_files()
        if path.suffix in suffixes
    ]


@pytest.fixture(scope="module")
def python_sources() -> list[Source]:
    return sources({".py"})


@pytest.fixture(scope="module")
def text_sources() -> list[Source]:
    return sources(TEXT_SUFFIXES)


def assert_clean(findings: list[Finding]) -> None:
    if findings:
        pytest.fail("\n" + "\n".join(map(str, findings)), pytrace=False)


@pytest.mark.parametrize("rule", PYTHON_RULES, ids=lambda rule: rule.__name__)
def test_python_files_keep(rule: Rule, python_sources: list[Source]) -> None:
    assert_clean([finding for source in python_sources for finding in rule(source)])


@pytest.mark.parametrize("rule", TEXT_RULES, ids=lambda rule: rule.__name__)
def test_text_files_keep(rule: Rule, text_sources: list[Source]) -> None:
    assert_clean([finding for source in text_sources for finding in rule(source)])


def test_every_module_stands_in_a_layer() -> None:
    placed_nowhere = unplaced((name for name, _ in modules()), declared_layers())
    assert not placed_nowhere, (
        f"{placed_nowhere} stand in no layer: put each into the layers contract of "
        "pyproject.toml, at the height of what it imports"
    )


def test_every_folder_of_modules_is_a_package() -> None:
    # import-linter does not see a folder without __init__.py, and so would not check it.
    bare = sorted(
        {
            path.parent.relative_to(ROOT).as_posix()
            for _, path in modules()
            if not (path.parent / "__init__.py").exists()
        }
    )
    assert not bare, f"{bare}: add an __init__.py with a docstring to each"
