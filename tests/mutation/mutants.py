"""Small changes of a module's source, each of which some test should notice.

:func:`mutants_of` reads a source and gives every mutant as a span of bytes and what replaces it,
so that the diff shown is exactly what was run. It changes functions as well as what only runs
when the module is imported: tables, defaults of structs, members of enums.

Left alone: annotations, docstrings, decorators, ``__slots__``, f-strings (Python 3.11 does not
say where their parts lie), texts with spaces in them (they are for people), and type aliases.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

_SWAPS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_PLAIN = (ast.Name, ast.Attribute, ast.Constant)
Replacement = tuple[ast.AST, ast.AST, str]
"""First and last node of what is replaced, and the new text; ``_GONE`` takes the comma along."""
_GONE = ""


@dataclass(frozen=True)
class Mutant:
    """One change of one module.

    Attributes:
        path: file of the module, from the root of the repository.
        function: the function, class or table row around it; empty at the top.
        line: where it starts.
        reached: lines one of which runs before the change can matter.
        at_import: True when importing the module runs it, not a call.
        source: the whole module, changed.
        before: the lines changed, as they were, white space folded.
        after: the same lines afterwards.
    """

    path: str
    function: str
    line: int
    reached: range
    at_import: bool
    source: bytes
    before: str
    after: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What names it however the lines around it move."""
        return self.path, self.function, self.before, self.after

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}"
        where += f" ({self.function})" if self.function else ""
        return f"{where}\n    - {self.before}\n    + {self.after}"


@dataclass(frozen=True)
class _Place:
    """Where a node stands."""

    function: str = ""
    statement: ast.stmt | None = None
    body: range | None = None  # lines of the innermost function, None at import


class _Text:
    """A source by bytes, which is how the nodes of a tree say where they lie."""

    def __init__(self, path: str, source: bytes) -> None:
        self.path = path
        self.source = source
        self.tree = ast.parse(source, filename=path)
        self.starts = [0]
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    @cached_property
    def dump(self) -> str:
        """The tree as text, to see whether a change changes anything."""
        return ast.dump(self.tree)

    @cached_property
    def members(self) -> dict[str, list[str]]:
        """Attributes read of each name, to change one member of an enum into another."""
        found: dict[str, set[str]] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                found.setdefault(node.value.id, set()).add(node.attr)
        return {name: sorted(attributes) for name, attributes in found.items()}

    def mutant(self, place: _Place, change: Replacement) -> Mutant | None:
        """Apply one change; None when that gives no other program."""
        first, last, text = change
        line, end_line = first.lineno, last.end_lineno  # type: ignore[attr-defined]
        begin = self.starts[line - 1] + first.col_offset  # type: ignore[attr-defined]
        end = self.starts[end_line - 1] + last.end_col_offset  # type: ignore[attr-defined]
        if text is _GONE:
            begin -= 2 * self.source[:begin].endswith(b"**")
            end += self.source[end:].startswith(b",")
        changed = self.source[:begin] + text.encode() + self.source[end:]
        try:
            tree = ast.parse(changed)
        except SyntaxError:
            return None
        if ast.dump(tree) == self.dump:
            return None
        head, tail = self.starts[line - 1], self.starts[end_line]
        reached = _header(place.statement)
        at_import = place.body is None
        if place.body is not None and isinstance(place.statement, _FUNCTIONS):
            reached = place.body  # a default: it matters wherever the function runs
        return Mutant(
            path=self.path,
            function=place.function,
            line=line,
            reached=reached,
            at_import=at_import,
            source=changed,
            before=_fold(self.source[head:tail]),
            after=_fold(self.source[head:begin] + text.encode() + self.source[end:tail]),
        )


def mutants_of(path: str, source: bytes) -> list[Mutant]:
    """Give every mutant of a module, in the order of its lines, each once."""
    text = _Text(path, source)
    found: dict[bytes, Mutant] = {}
    for place, change in _walk(text, text.tree, _Place()):
        mutant = text.mutant(place, change)
        if mutant is not None:
            found.setdefault(mutant.source, mutant)
    return sorted(found.values(), key=lambda mutant: mutant.line)


def _fold(text: bytes) -> str:
    return " ".join(text.decode().split())


def _header(statement: ast.stmt | None) -> range:
    """Give the lines of a statement without those of the statements inside it."""
    assert statement is not None
    end = statement.end_lineno or statement.lineno
    body = getattr(statement, "body", None)
    if isinstance(body, list) and body:
        end = max(body[0].lineno - 1, statement.lineno)
    return range(statement.lineno, end + 1)


def _walk(text: _Text, node: ast.AST, place: _Place) -> Iterator[tuple[_Place, Replacement]]:
    """Give the changes of a node and of all below it."""
    if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
        name = f"{place.function}.{node.name}" if place.function else node.name
        body = place.body
        if isinstance(node, _FUNCTIONS):
            body = range(node.body[0].lineno, (node.end_lineno or node.lineno) + 1)
        place = _Place(name, node, body)
    elif isinstance(node, ast.stmt):
        if _is_left_alone(node):
            return
        place = _Place(_row(place, node), node, place.body)
    if isinstance(node, (ast.JoinedStr, ast.Import, ast.ImportFrom)):
        return
    for change in _changes(text, node, place):
        yield place, change
    if isinstance(node, ast.Dict):
        for key, entry in zip(node.keys, node.values, strict=True):
            name = f"{place.function}[{ast.unparse(key)}]" if key else place.function
            yield from _walk(text, entry, replace(place, function=name))
        return
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "bases", "ctx"):
            continue
        if isinstance(node, ast.ClassDef) and field == "keywords":
            continue  # frozen, gc: no behaviour that a test should pin
        if isinstance(node, ast.Subscript) and field == "slice" and _is_type(node):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _walk(text, child, place)


def _row(place: _Place, node: ast.stmt) -> str:
    """Name a table by what it is assigned to."""
    if place.body is None and isinstance(node, (ast.Assign, ast.AnnAssign)):
        target = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
        return f"{place.function}.{target}" if place.function else target
    return place.function


def _is_left_alone(node: ast.stmt) -> bool:
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING"
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) or "assert_never(" in ast.unparse(node)
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("__slots__", "__all__")


def _is_type(node: ast.Subscript) -> bool:
    """Say whether a subscript is of a type (``dict[str, int]``), but not one that validates."""
    name = ast.unparse(node.value)
    return name in {
        "dict", "list", "tuple", "set", "frozenset", "type", "deque", "Literal", "Callable",
    }  # fmt: skip


def _changes(text: _Text, node: ast.AST, place: _Place) -> Iterator[Replacement]:
    if isinstance(node, ast.expr):
        for new in _expressions(node, place):
            yield node, node, new
        yield from _entries(text, node)
    elif isinstance(node, ast.stmt):
        yield from _statements(node)


def _expressions(node: ast.expr, place: _Place) -> Iterator[str]:
    match node:
        case ast.Compare():
            for at, op in enumerate(node.ops):
                for swap in _SWAPS[type(op)]:
                    ops = [*node.ops[:at], swap(), *node.ops[at + 1 :]]
                    yield ast.unparse(ast.Compare(node.left, ops, node.comparators))
        case ast.BoolOp():
            swapped = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
            yield f"({ast.unparse(ast.BoolOp(swapped, node.values))})"
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield f"({ast.unparse(node.operand)})"
        case ast.BinOp() if type(node.op) in _ARITHMETIC:
            # At the top a | b is a type.
            if place.body is not None or not isinstance(node.op, ast.BitOr):
                other = ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right)
                yield f"({ast.unparse(other)})"
        case ast.IfExp():
            if not isinstance(node.test, ast.Compare):
                yield ast.unparse(ast.IfExp(_negated(node.test), node.body, node.orelse)).join("()")
        case ast.Constant():
            yield from _constants(node)
        case ast.Call(func=ast.Name(id=name)) if name in _CALLS:
            yield ast.unparse(ast.Call(ast.Name(_CALLS[name]), node.args, node.keywords))


def _constants(node: ast.Constant) -> Iterator[str]:
    value = node.value
    if isinstance(value, bool):
        yield repr(not value)
    elif isinstance(value, (int, float)):
        yield repr({0: 1, 1: 0}.get(value, value + 1))
    elif isinstance(value, str) and not any(map(str.isspace, value)):
        yield repr(value + "X" if value else "X")


def _entries(text: _Text, node: ast.expr) -> Iterator[Replacement]:
    """Take out each entry of a table, and make each value that is a member another member."""
    match node:
        case ast.Dict():
            for key, value in zip(node.keys, node.values, strict=True):
                yield key or value, value, _GONE
                match value:
                    case ast.Attribute(value=ast.Name(id=kind), attr=member) if member.isupper():
                        members = text.members[kind]
                        other = members[(members.index(member) + 1) % len(members)]
                        yield value, value, f"{kind}.{other}"
        case ast.Tuple(ctx=ast.Load()) | ast.List(ctx=ast.Load()) | ast.Set():
            if len(node.elts) > 1 and all(isinstance(element, _PLAIN) for element in node.elts):
                for element in node.elts:
                    yield element, element, _GONE


def _statements(node: ast.stmt) -> Iterator[Replacement]:
    match node:
        case ast.If() | ast.While():
            # A comparison has its own opposite among its swaps.
            plain = not isinstance(node.test, ast.Compare) or len(node.test.ops) > 1
            if plain and not isinstance(node.test, ast.UnaryOp):
                yield node.test, node.test, ast.unparse(_negated(node.test))
            yield node.body[0], node.body[-1], "pass"
            elif_ = len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If)
            if node.orelse and not elif_:
                yield node.orelse[0], node.orelse[-1], "pass"
        case ast.Return(value=ast.expr() as value):
            if not (isinstance(value, ast.Constant) and value.value is None):
                yield node, node, "return None"
        case ast.Expr(value=ast.Call() | ast.Await() | ast.YieldFrom() | ast.Yield()):
            yield node, node, "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_]):
            yield node, node, "pass"
        case ast.AugAssign():
            yield node, node, "pass"
            if type(node.op) in _ARITHMETIC:
                other = ast.AugAssign(node.target, _ARITHMETIC[type(node.op)](), node.value)
                yield node, node, ast.unparse(other)
        case ast.Raise() | ast.Delete() | ast.Assert():
            yield node, node, "pass"
        case ast.Continue():
            yield node, node, "break"
        case ast.Break():
            yield node, node, "continue"


def _negated(test: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), test)
