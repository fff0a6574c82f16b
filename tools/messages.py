"""Every message that users may see and every error code, found in the source.

    python tools/messages.py missing     templates without a Chinese text
    python tools/messages.py stale       Chinese texts whose template is gone
    python tools/messages.py codes       error codes with their exit codes

The tests of `zoo_cli.base.messages` and of `zoo explain` hold the catalogues in `configs/messages` to what is found
here.
"""

from __future__ import annotations

import ast
import inspect
import string
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import typer

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from zoo_cli.base import errors  # noqa: E402
from zoo_cli.base.messages import catalogue  # noqa: E402
from zoo_cli.cli import help  # noqa: E402
from zoo_cli.cli.app import app  # noqa: E402
from zoo_cli.recipe.render import template_comments  # noqa: E402

EXIT_CODES = {
    name: kind.exit_code
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, errors.ZooError) and kind is not errors.ErrorGroup
}
TABLES = {
    "zoo_cli/cli/help.py": "_FAULTS",
    "zoo_cli/data/corpus/reading.py": "FAULTS",
    "zoo_cli/data/report.py": "KINDS",
}
"""Tables of modules whose values are templates."""

SPOKEN = {"say", "progress", "answer", "show_table", "Table"}
"""Functions that translate what they are given: a template, or the titles of columns."""


@dataclass
class Found:
    """What the source says.

    Args:
        templates: template -> places, each ``file:line``.
        codes: error code -> exit codes.
        unresolved: places of templates and codes that cannot be read off the source.
    """

    templates: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    codes: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    unresolved: list[str] = field(default_factory=list)


class _Module:
    """Constants of one module, followed through names."""

    def __init__(self, path: Path) -> None:
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self.assigned: dict[str, list[ast.expr]] = defaultdict(list)
        self.calls: dict[str, list[ast.Call]] = defaultdict(list)
        self.owner: dict[ast.AST, ast.FunctionDef] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    self._assign(target, node.value)
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                self._assign(node.target, node.value)
            elif isinstance(node, ast.Call):
                self.calls[_name(node.func)].append(node)
            elif isinstance(node, ast.FunctionDef):
                for inner in ast.walk(node):
                    self.owner[inner] = node  # inner functions come later, and win

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self.assigned[target.id].append(value)
        elif isinstance(target, ast.Tuple) and isinstance(value, ast.IfExp):
            self._assign(target, value.body)
            self._assign(target, value.orelse)
        elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for each, part in zip(target.elts, value.elts, strict=True):
                self._assign(each, part)

    def texts(self, node: ast.expr, depth: int = 0) -> list[str] | None:
        """All strings that an expression can be, or None if that cannot be told."""
        if depth > 6:
            return None
        if isinstance(node, ast.Constant):
            return [node.value] if isinstance(node.value, str) else [] if node.value is None else None
        if isinstance(node, ast.IfExp):
            return self._all([node.body, node.orelse], depth)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = self.texts(node.left, depth + 1), self.texts(node.right, depth + 1)
            return None if left is None or right is None else [a + b for a in left for b in right]
        if isinstance(node, ast.Name):
            function = self.owner.get(node)
            if function and node.id in (names := [each.arg for each in function.args.args]):
                return self._all(self._arguments(function, node.id, names), depth)
            values = self.assigned.get(node.id)
            return self._all(values, depth) if values else None
        return None

    def _all(self, nodes: list[ast.expr], depth: int) -> list[str] | None:
        known = [self.texts(node, depth + 1) for node in nodes]
        return [text for texts in known for text in texts or ()] if None not in known else None

    def _arguments(self, function: ast.FunctionDef, name: str, names: list[str]) -> list[ast.expr]:
        """What the module's calls of a function give for one of its parameters."""
        position = names.index(name) - (names[0] == "self")
        found = []
        for call in self.calls[function.name]:
            found += [each.value for each in call.keywords if each.arg == name]
            found += call.args[position : position + 1]
        return found


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _strings(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value


@cache
def search() -> Found:
    """Look through the package."""
    found = Found()
    for path in sorted((ROOT / "zoo_cli").rglob("*.py")):
        module = _Module(path)
        name = path.relative_to(ROOT).as_posix()
        for function, calls in list(module.calls.items()):
            for call in calls:
                _read(function, call, module, f"{name}:{call.lineno}", found)
        for value in module.assigned.get(TABLES.get(name, ""), ()):
            if isinstance(value, ast.Dict):
                for text in (text for each in value.values for text in _strings(each)):
                    found.templates[text].append(name)
    for text, command in help.texts(typer.main.get_command(app)):
        found.templates[text].append(command)
    for text in template_comments():
        found.templates[text].append("zoo recipes new")
    return found


def _read(function: str, call: ast.Call, module: _Module, place: str, found: Found) -> None:
    wanted: list[ast.expr] = []
    # A name may stand for one of several classes.
    kinds = {
        each.id for value in module.assigned.get(function, ()) for each in ast.walk(value) if isinstance(each, ast.Name)
    }
    exits = {EXIT_CODES[kind] for kind in (function, *kinds) if kind in EXIT_CODES}
    if exits and call.args:
        codes = module.texts(call.args[0])
        for code in codes or ():
            found.codes[code] |= exits if len(exits) == 1 else set()
        if codes is None:
            found.unresolved.append(f"{place} code")
        wanted = [*call.args[1:2], *(each.value for each in call.keywords if each.arg == "fix")]
    elif function == "Check":
        wanted = [*call.args[:2], *(each.value for each in call.keywords if each.arg == "fix")]
    elif function == "translate" and not isinstance(call.func, ast.Attribute):
        wanted = [*call.args[:1]]
    elif function in SPOKEN:
        first = call.args[1 if function == "Table" else 0 :][:1]
        wanted = list(first[0].elts) if first and isinstance(first[0], ast.Tuple | ast.List) else [*first]
    for each in wanted:
        texts = module.texts(each)
        if texts is None and function not in ("show_table", "Table"):
            found.unresolved.append(f"{place} {ast.unparse(each)}")
        for text in texts or ():
            found.templates[text].append(place)


def fields(template: str) -> set[str]:
    """Names of a template's placeholders."""
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def needs_text(template: str) -> bool:
    """Whether there is a word outside of the placeholders."""
    return any(any(character.isalpha() for character in literal) for literal, *_ in string.Formatter().parse(template))


def missing() -> dict[str, list[str]]:
    """Templates without a Chinese text, with their places."""
    known = catalogue()
    return {text: places for text, places in search().templates.items() if needs_text(text) and text not in known}


def stale() -> list[str]:
    """Chinese texts whose template is no longer in the source."""
    return [text for text in catalogue() if text not in search().templates]


if __name__ == "__main__":
    wish = sys.argv[1] if len(sys.argv) == 2 else ""
    if wish == "missing":
        for text, places in missing().items():
            print(f"{places[0]}: {text}")
    elif wish == "stale":
        print(*stale(), sep="\n")
    elif wish == "codes":
        for code, exits in sorted(search().codes.items()):
            print(code, *sorted(exits))
    else:
        sys.exit(__doc__)
