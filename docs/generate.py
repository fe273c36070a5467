"""Fill the generated blocks of the documentation from the code they describe.

``python docs/generate.py`` rewrites what stands between ``<!-- generated: NAME -->`` and
``<!-- end -->`` in README.md and docs/*.md; ``tests/docs/test_docs.py`` fails when that would
change anything.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from cyclopts import Parameter

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # tests is no part of the installed package

from actors.executor import EXECUTIONS  # noqa: E402
from engine import cli  # noqa: E402
from engine.config import Config  # noqa: E402
from engine.domain.risk import SPEC_OF, CheckInputs, DenyCode, SymbolLimits  # noqa: E402
from engine.domain.risk.catalog import CheckSpec  # noqa: E402
from engine.domain.risk.verdict import CLOSING, REDUCING  # noqa: E402
from engine.wiring import routes  # noqa: E402
from tests.bench.peers.catalog import PEERS  # noqa: E402

BLOCK = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def pages() -> list[Path]:
    """List the pages of the documentation."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def filled(text: str) -> str:
    """Give a page with its generated blocks as they should be."""
    return BLOCK.sub(lambda m: f"{m[1]}\n{BLOCKS[m[2]]()}\n{m[3]}", text)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Render a markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


# Settings.


def settings() -> str:
    """Describe every setting: name, type and range, default, meaning."""
    parts = [table(HEADS, list(setting_rows(Config, "")))]
    for name, hint in get_type_hints(Config).items():
        if is_section(hint):
            parts.append(section(hint, name, LIMITS if name == "risk" else {}))
    return "\n".join(parts)


HEADS = ("setting", "type", "default", "meaning")
LIMITS: Mapping[str, Any] = tomllib.loads(
    (ROOT / "engine" / "limits.toml").read_text(encoding="utf-8")
)["risk"]


def is_section(hint: Any) -> bool:
    """Say whether a setting is a section of settings."""
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def section(kind: type[msgspec.Struct], name: str, shipped: Mapping[str, Any]) -> str:
    """Describe one section and those in it; ``shipped`` has defaults that lie in a file."""
    rows = table(HEADS, list(setting_rows(kind, name, shipped)))
    parts = [f"### `[{name}]`\n\n{_for_people(summary(kind))}\n\n{rows}"]
    for inner, hint in get_type_hints(kind).items():
        if is_section(hint):
            parts.append(section(hint, f"{name}.{inner}", shipped.get(inner, {})))
    if name == "risk":
        parts.append(section(SymbolLimits, "risk.symbols.SYMBOL", {}))
    return "\n".join(parts)


def setting_rows(
    struct: type[msgspec.Struct], section: str, shipped: Mapping[str, Any] | None = None
) -> Iterator[list[str]]:
    """Give one row for each field of a section."""
    meanings = attributes(struct)
    hints = get_type_hints(struct, include_extras=True)
    for field in msgspec.structs.fields(struct):
        if field.name not in meanings or is_section(hints[field.name]):
            continue
        default = default_text(field)
        if shipped and field.name in shipped:
            value = shipped[field.name]
            default = "empty" if value == [] else f"`{msgspec.json.encode(value).decode()}`"
        yield [
            f"`{section}.{field.name}`".replace("`.", "`"),
            type_text(hints[field.name]),
            default,
            meanings[field.name],
        ]


def summary(kind: type) -> str:
    """Give the first line of a docstring."""
    return inspect.getdoc(kind).split("\n", 1)[0]  # type: ignore[union-attr]


def attributes(kind: type) -> dict[str, str]:
    """Read the Attributes section of a docstring: name -> meaning, as one paragraph."""
    text = (inspect.getdoc(kind) or "").split("Attributes:\n", 1)[1]
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        match = re.match(r"    ([a-z_]+): (.*)", line)
        if match:
            name, found[match[1]] = match[1], match[2]
        elif line.startswith("     "):
            found[name] += f" {line.strip()}"
    return {key: _for_people(value) for key, value in found.items()}


def _for_people(text: str) -> str:
    text = re.sub(r" \((?:defaults of )?decision D\d+\)", "", text)
    return re.sub(r"\bNone\b", "unset", text.replace("``", "`"))


def type_text(hint: Any) -> str:
    """Render a type with its range: ``number >= 0 or "unlimited"``."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return (type_text(args[0]) + bounds_text(args[1])).strip()
    if origin is Literal:
        return ", ".join(f'`"{word}"`' for word in args)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return ", ".join(f'`"{member.value}"`' for member in hint)
    if origin in (list, dict):
        return {list: "list of text", dict: "table"}[origin]
    plain = {float: "number", int: "whole number", str: "text", bool: "true or false"}
    if hint in plain:
        return plain[hint]
    return " or ".join(type_text(part) for part in args if part is not type(None))


def bounds_text(meta: msgspec.Meta) -> str:
    """Render a range: ``0 to 9``, ``>= 0``, or a pattern."""
    if meta.ge is not None and meta.le is not None:
        return f", {meta.ge:,.15g} to {meta.le:,.15g}"
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    known = {sign: getattr(meta, key) for key, sign in signs.items()}
    limits = [f"{sign} {limit:,.15g}" for sign, limit in known.items() if limit is not None]
    if meta.pattern is not None:
        limits.append(f"`{meta.pattern}`")
    return f" {', '.join(limits)}"


def default_text(field: msgspec.structs.FieldInfo) -> str:
    """Render a default value as TOML has it."""
    if field.default_factory is not msgspec.NODEFAULT:
        return "empty"
    if field.required:
        return "required"
    value = msgspec.to_builtins(field.default)
    return "unset" if value is None else f"`{msgspec.json.encode(value).decode()}`"


# Tables of the design and of the risk gate.


def route_table() -> str:
    """Give the routes of a run, in the order of delivery; a group of hosts is named as one."""
    return table(
        ("message", "is delivered to, in this order"),
        [
            [f"`{kind.__name__}`", ", ".join(f"`{name}`" for name in names if name != EXECUTIONS)]
            for kind, names in routes(["strategy_host"], executes=True).items()
        ],
    )


def layers() -> str:
    """Give the import direction that import-linter checks, one layer a line."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (contract,) = (each for each in contracts if each["id"] == "layers")
    lines = []
    for layer in contract["layers"]:
        names = [name.strip().strip("()") for name in layer.split("|")]
        there = [name for name in names if importlib.util.find_spec(name)]
        lines.append("   ".join(there))
    return "```text\n" + "\n".join(lines) + "\n```\n"


def check_table() -> str:
    """List every check of the gate, in order of precedence, with the tests that prove it."""
    proofs = check_proofs()
    heads = ("code", "denies when", "what is compared", "adds up over", "limit as shipped",
             "exempt", "proven by")  # fmt: skip
    return table(heads, [_check_row(code, proofs.get(code.name, [])) for code in DenyCode])


def _check_row(code: DenyCode, proofs: Sequence[str]) -> list[str]:
    spec = SPEC_OF.get(code)
    if spec is None:
        compared, scope, names, exempt = UNMEASURED[code]
    else:
        compared = f"{spec.formula}: {RULES[spec.rule]}"
        scope, exempt = spec.scope, _exempt(spec)
        names = tuple(f"risk.{name}" for name in spec.setting.split(", "))
    shown = "<br>".join(f"`{name}`: {shipped_limit(name)}" for name in names)
    proven = "<br>".join(f"`{name}`" for name in proofs[:2])
    return [f"`{code.value}`", code.meaning, compared, scope, shown or "none", exempt, proven]


def _exempt(spec: CheckSpec) -> str:
    """Say which orders a measured check does not concern, by asking it."""
    nothing = CheckInputs(*[0] * len(CheckInputs._fields))
    exempt = {REDUCING: [REDUCES], CLOSING: [CLOSES]}.get(spec.exempt_from, [])
    if not spec.concerns(nothing):
        grows, buys = nothing._replace(position_after=1), nothing._replace(buys=1)
        exempt.append(
            "orders that do not raise the worst case of their symbol"
            if spec.concerns(grows)
            else "sells"
            if spec.concerns(buys)
            else "orders after which nothing could be short"
        )
    return ", ".join(exempt) or "none"


REDUCES, CLOSES = "reduce-only orders", "the engine's closings"
RULES = {
    "most": "at most the limit",
    "least": "at least the limit",
    "room": "room for one more",
    "below": "below the limit",
    "none": "there must be none",
}

_D = DenyCode
Unmeasured = tuple[str, str, tuple[str, ...], str]
"""What is compared, over what, the settings, and which orders are exempt."""
UNMEASURED: Mapping[DenyCode, Unmeasured] = {
    _D.TRADING_HALTED: ("state of the account: not HALTED", "account", (), CLOSES),
    _D.TRADING_REDUCING: ("state of the account: not REDUCING", "account", (), REDUCES),
    _D.STRATEGY_HALTED: ("state of the strategy: not HALTED", "strategy", (), CLOSES),
    _D.STRATEGY_REDUCING: ("state of the strategy: not REDUCING", "strategy", (), REDUCES),
    _D.UNKNOWN_ORDER: ("working orders: it is one of them", "account", (), "new orders"),
    _D.NOT_OWNER: ("owner of the order: the same strategy", "strategy", (), "new orders"),
    _D.DUPLICATE_ORDER_ID: (
        "ids judged today and the day before: not among them", "account", (), "replacements",
    ),
    _D.PARENT_DENIED: (
        "orders denied today and the day before: its parent is not among them", "account", (),
        "orders without a parent",
    ),
    _D.INTENT_EXPIRED: (
        "now - time of the event that caused the order: at most the limit", "account",
        ("risk.intent_ttl",), "none",
    ),
    _D.SYMBOL_HALTED: ("state of the symbol: not halted", "symbol", (), CLOSES),
    _D.SYMBOL_RESTRICTED: (
        "the list: the symbol is not on it", "symbol", ("risk.restricted_symbols",), REDUCES,
    ),
    _D.SESSION_CLOSED: (
        "sessions of data.calendar: one is open", "account", ("risk.trading_hours",), CLOSES,
    ),
    _D.QUANTITY_PRECISION: ("quantity: a positive multiple of the lot", "symbol", (), "none"),
    _D.PRICE_PRECISION: ("each price: a positive multiple of the tick", "symbol", (), "none"),
    _D.INVALID_ORDER: ("fields of the order: those its type needs", "symbol", (), "none"),
    _D.REDUCE_ONLY: (
        "position of the strategy: on the other side", "strategy", (),
        "orders that are not reduce-only, or that have a parent",
    ),
    _D.NO_REFERENCE_PRICE: ("latest price of the symbol: there is one", "symbol", (), "none"),
}  # fmt: skip
"""The checks that need no price; the measured ones are in :mod:`engine.domain.risk.catalog`."""


def shipped_limit(name: str) -> str:
    """Give a limit as it stands in the shipped file."""
    value: Any = LIMITS
    for part in name.split(".")[1:]:
        value = value[part]
    return f"`{msgspec.json.encode(value).decode()}`"


def check_proofs() -> dict[str, list[str]]:
    """Find the tests that are marked to prove a check: code -> path::name of tests."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        where = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef):
                continue
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.check":
                    for code in mark.args:
                        tests = found.setdefault(ast.literal_eval(code), [])
                        tests.append(f"{where}::{node.name}")
    return found


# The command line.


def options() -> str:
    """List the arguments and options of ``engine backtest``."""
    rows = []
    hints = get_type_hints(cli.backtest, include_extras=True)
    for name, parameter in inspect.signature(cli.backtest).parameters.items():
        given: Parameter = get_args(hints[name])[1]
        positional = parameter.kind is inspect.Parameter.POSITIONAL_ONLY
        label = name.upper() if positional else (given.name or (f"--{name}",))[0]
        rows.append([f"`{label}`", given.help or ""])
    return table(("argument", "meaning"), rows)


def peers() -> str:
    """List the other backtesters and where their rules differ."""
    rows = [[peer.requirements[0].replace("==", " "), peer.note] for peer in PEERS]
    return table(("peer", "what differs from our rule, and what its figures include"), rows)


BLOCKS: Mapping[str, Callable[[], str]] = {
    "settings": settings,
    "routes": route_table,
    "layers": layers,
    "checks": check_table,
    "options": options,
    "peers": peers,
}


def main() -> None:
    """Rewrite every page whose blocks have changed."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        new = filled(text)
        if new != text:
            page.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
