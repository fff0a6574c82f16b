"""Imports point downwards: the house of the project, held by its own walls."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import zoo_cli

PACKAGE = Path(zoo_cli.__file__).parent

# Two packages with the same number do not import one another.
FLOORS = {
    "base": 0,
    "registry": 1,
    "recipe": 1.5,
    "tokenizers": 2,
    "data": 2.5,
    "tasks": 3,
    "decoding": 2.5,
    "models": 4,
    "runtime": 4,
    "engine": 5,
    "export": 6,
    "distill": 7,
    "compress": 8,
    "pipeline": 9,
    "serve": 10,
    "cli": 11,
}
NEVER = {("serve", "models"), ("serve", "engine"), ("serve", "export"), ("runtime", "models")}
PADDLE_FREE = {"base", "registry", "recipe", "tokenizers", "data", "tasks", "decoding", "serve", "cli"}


def _modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem in FLOORS)


def _floor(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path) -> list[tuple[str, int, bool]]:
    """(module, line, at top level) of each import."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = {id(node) for node in tree.body}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            found.append((node.module or "", node.lineno, id(node) in top))
            if node.module == "zoo_cli":
                found += [(f"zoo_cli.{alias.name}", node.lineno, id(node) in top) for alias in node.names]
    return found


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    own = _floor(path)
    for module, line, at_top in _imports(path):
        parts = module.split(".")
        if parts[0] == "zoo_cli" and len(parts) > 1 and parts[1] in FLOORS:
            other = parts[1]
            assert own == other or FLOORS[other] < FLOORS[own], f"{path}:{line}: {own} imports {other}"
            assert (own, other) not in NEVER, f"{path}:{line}: {own} imports {other}"
        if parts[0] == "paddle" and own in PADDLE_FREE:
            assert not at_top, f"{path}:{line}: {own} imports paddle"


def test_every_folder_is_on_a_floor() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert folders <= set(FLOORS)


_BLOCK_PADDLE = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "paddle":
            raise AssertionError("paddle was imported")
sys.meta_path.insert(0, Block())
"""


def test_specifications_need_no_paddle() -> None:
    code = _BLOCK_PADDLE + (
        "from zoo_cli import registry\n"
        "for name in registry.FAMILIES: registry.family(name)\n"
        "for name in registry.TASKS: registry.resolve(registry.task(name).implementation)\n"
        "import zoo_cli.models, zoo_cli.runtime, zoo_cli.tokenizers, zoo_cli.cli.app\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)


def test_validation_needs_no_paddle() -> None:
    code = _BLOCK_PADDLE + (
        "from zoo_cli.recipe.loading import load_recipe, recipe_names\n"
        "for name in recipe_names(): load_recipe(name)\n"
        "assert recipe_names()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)
