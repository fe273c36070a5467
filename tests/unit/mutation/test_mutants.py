"""What `make mutate` changes, and what it leaves alone."""

from __future__ import annotations

import ast
from textwrap import dedent

import pytest

from tests.mutation.__main__ import MODULES, explanations, importers
from tests.mutation.child import ROOT
from tests.mutation.mutants import Mutant, mutants_of


def mutants(source: str) -> list[Mutant]:
    return mutants_of("m.py", dedent(source).encode())


def changes(source: str) -> set[str]:
    return {mutant.after for mutant in mutants(source)}


@pytest.mark.parametrize(
    ("line", "after"),
    [
        ("a < b", {"a <= b", "a >= b", "return None"}),
        ("a == b", {"a != b", "return None"}),
        ("a is None", {"a is not None", "return None"}),
        ("a in b", {"a not in b", "return None"}),
        ("a and not b", {"(a or not b)", "a and (b)", "return None"}),
        ("a - b", {"(a + b)", "return None"}),
        ("-a", {"(a)", "return None"}),
        ("min(a, b)", {"max(a, b)", "return None"}),
        ("a[0]", {"a[1]", "return None"}),
        ("True", {"False", "return None"}),
        ("'CODE'", {"'CODEX'", "return None"}),
        ("'some words'", {"return None"}),
        ("f'{a + b} words'", {"return None"}),
        ("None", set()),
        ("a if b else c", {"(a if not b else c)", "return None"}),
        ("{a: K.A, b: K.B}", {
            "{ b: K.B}", "{a: K.A, }", "{a: K.B, b: K.B}", "{a: K.A, b: K.A}", "return None"
        }),
        ("(a, b)", {"( b)", "(a, )", "return None"}),
    ],
)  # fmt: skip
def test_expressions(line: str, after: set[str]) -> None:
    found = changes(f"def f(a, b, c):\n    return {line}\n")
    assert {text.removeprefix("return ") for text in found} == {
        text.removeprefix("return ") for text in after
    }


def test_statements() -> None:
    found = changes(
        """
        def f(self, a):
            if a:
                self.b = a
            else:
                print(a)
            self.c += a
            raise a
        """
    )
    # No argument is changed, and the whole body of a branch goes as well as each line of it.
    assert found == {"if not a:", "pass", "self.c -= a"}


def test_a_table_is_changed_row_by_row_and_says_which_row() -> None:
    found = mutants("T: dict[K, dict[str, K]] = {\n    K.A: {'x': K.A},\n    K.B: {'x': K.B},\n}\n")
    assert all(mutant.at_import for mutant in found)
    rows = {(mutant.function, mutant.after) for mutant in found}
    assert {("T", ""), ("T[K.A]", "K.A: {'x': K.B},"), ("T[K.B]", "K.B: {},")} <= rows


def test_what_no_test_should_pin_is_left_alone() -> None:
    assert not changes(
        '''
        """Says: one."""
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            x = 1
        class A(Base, frozen=True):
            """Says: two."""
            __slots__ = ("a", "b")
            a: dict[str, int]
        Either = int | str
        Limit = Callable[[Bounds, Inputs], int]
        '''
    )


def test_every_mutant_is_another_program_and_knows_its_lines() -> None:
    source = (ROOT / "tests/mutation/child.py").read_bytes()
    original = ast.dump(ast.parse(source))
    found = mutants_of("m.py", source)
    assert len(found) > 50
    for mutant in found[::10]:
        assert ast.dump(ast.parse(mutant.source)) != original
        assert mutant.before != mutant.after
        assert mutant.reached


def test_a_key_does_not_depend_on_the_lines_above() -> None:
    here, below = mutants("def f(a):\n    return a + 1\n"), mutants("\n\ndef f(a):\n  return a + 1")
    assert [m.key for m in here] == [m.key for m in below]
    assert [m.line for m in here] != [m.line for m in below]


def test_a_module_is_imported_by_name_or_by_the_package_that_gives_it_on() -> None:
    files = [
        f"tests/unit/domain/test_{name}.py" for name in ("risk_catalog", "guards", "calendars")
    ]
    by_package, by_name, _ = files
    assert importers(files, "engine/domain/guards.py") == {by_name}
    assert importers(files, "engine/domain/risk/catalog.py") == {by_package, by_name}
    assert importers(files, "engine/domain/risk/codes.py") == {by_package, by_name}
    assert importers(files, "engine/domain/latch.py") == set()


def test_every_explanation_is_a_sentence_about_a_module_that_is_changed() -> None:
    for (module, _, before, after), why in explanations().items():
        assert module.removesuffix(".py").startswith(MODULES)
        assert before != after
        assert why.endswith(".")
