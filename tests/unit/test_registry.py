from __future__ import annotations

import hashlib
import pickle
import sys
from pathlib import Path

import pytest

from engine.errors import StrategyLoadError
from engine.registry import code_hash, load_strategy
from engine.strategy.base import Strategy

ONE = "from engine import Strategy\nclass One(Strategy):\n    pass\n"


def write(folder: Path, text: str, name: str = "mine.py") -> str:
    file = folder / name
    file.write_text(text)
    return str(file)


def test_a_class_is_found_by_file_and_name(tmp_path: Path) -> None:
    path = write(tmp_path, ONE)
    cls = load_strategy(f"{path}:One")
    assert issubclass(cls, Strategy)
    assert cls.__name__ == "One"
    assert load_strategy(path).__name__ == "One"
    assert code_hash(cls) == hashlib.sha256(ONE.encode()).hexdigest()


def test_two_files_of_one_name_are_two_modules(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = load_strategy(write(tmp_path / "a", ONE + "    mark = 1\n"))
    second = load_strategy(write(tmp_path / "b", ONE + "    mark = 2\n"))
    assert (first.mark, second.mark) == (1, 2)  # type: ignore[attr-defined]
    assert pickle.loads(pickle.dumps(first)) is first


def test_what_is_imported_does_not_count(tmp_path: Path) -> None:
    path = write(tmp_path, ONE + "class Two(One):\n    pass\n")
    with pytest.raises(StrategyLoadError, match=r"holds One, Two; name one: .*mine.py:ClassName"):
        load_strategy(path)
    assert load_strategy(f"{path}:Two").__name__ == "Two"


BAD_FILES = [
    ("", "", "holds no strategy"),
    (ONE, "Onne", "has no class Onne; did you mean One? (it has: One)"),
    (ONE, "Zzz", "has no class Zzz (it has: One)"),
    ("", "One", "has no class One (it has: none)"),
    (ONE + "x = 5\n", "x", "mine.py:x is not a subclass of engine.Strategy"),
    ("class One:\n    pass\n", "One", "mine.py:One is not a subclass of engine.Strategy"),
    ("def f(:\n", "One", "does not import: line 1: SyntaxError: "),
    ("x = 1\n\ny = 1 / 0\n", "One", "does not import: line 3: ZeroDivisionError: "),
    ("import nowhere_to_be_found\n", "One", "line 1: ModuleNotFoundError: No module named"),
    ("raise SystemExit(3)\n", "One", "line 1: SystemExit: 3"),
]


@pytest.mark.parametrize(("text", "name", "words"), BAD_FILES)
def test_a_file_that_cannot_be_used_is_explained(
    tmp_path: Path, text: str, name: str, words: str
) -> None:
    path = write(tmp_path, text)
    before = set(sys.modules)
    with pytest.raises(StrategyLoadError) as caught:
        load_strategy(f"{path}:{name}" if name else path)
    assert words in str(caught.value)
    assert "mine.py" in str(caught.value)
    if "does not import" in words:
        assert set(sys.modules) == before


@pytest.mark.parametrize(
    ("raising", "line"), [("import json\njson.loads('{')\n", 2), ("def f():\n    g()\n\nf()\n", 2)]
)
def test_the_line_of_a_failing_import_is_one_of_the_file(
    tmp_path: Path, raising: str, line: int
) -> None:
    with pytest.raises(StrategyLoadError, match=f"line {line}: "):
        load_strategy(write(tmp_path, raising))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StrategyLoadError, match=r"strategy file .*none.py does not exist"):
        load_strategy(f"{tmp_path / 'none.py'}:One")
    with pytest.raises(StrategyLoadError, match="does not exist"):
        load_strategy(f"{tmp_path}/folder.py:One")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_bytes(b"\x00\xff")
    with pytest.raises(StrategyLoadError, match=r"mine\.py does not import"):
        load_strategy(str(tmp_path / "mine.py"))


@pytest.mark.parametrize("reference", ["smaa", "", "package.module:Class", "file.txt:One"])
def test_a_name_that_nobody_registered(reference: str) -> None:
    with pytest.raises(StrategyLoadError, match="no strategy is registered as"):
        load_strategy(reference)


def test_a_path_with_a_colon_is_a_path(tmp_path: Path) -> None:
    folder = tmp_path / "C:odd"
    folder.mkdir()
    assert load_strategy(f"{write(folder, ONE)}:One").__name__ == "One"
