"""Every key of every shipped recipe, deleted, misspelt and retyped: what is wrong is refused with its line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from zoo_cli.base.errors import ErrorGroup, ZooError
from zoo_cli.recipe.loading import load_recipe, recipe_names

RECIPES = recipe_names()
# Mappings whose keys are the user's own words.
OPEN = {("data", "labels"), ("task", "schema")}


def _nodes(node: yaml.Node, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], yaml.Node, yaml.Node]]:
    found = []
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, key.value)
            found.append((here, key, value))
            if _schema_path(here) not in OPEN:
                found += _nodes(value, here)
    return found


def _schema_path(path: tuple[str, ...]) -> tuple[str, ...]:
    return path[1:] if path[0] == "tiny" else path


def _replace(text: str, start: yaml.Mark, end: yaml.Mark, new: str) -> str:
    return text[: start.index] + new + text[end.index :]


def _outcome(path: Path) -> list[ZooError]:
    try:
        load_recipe(str(path))
    except ErrorGroup as group:
        return list(group.errors)
    except ZooError as error:
        return [error]
    return []


def _other_type(value: yaml.Node) -> str:
    """A value of a type that no key with such a value takes."""
    if isinstance(value, yaml.SequenceNode):
        return "{wrong: type}"
    if isinstance(value, yaml.MappingNode):
        return "12"
    return "[[wrong]]"


def _different_keys() -> list[str]:
    """One recipe of all that have the same keys."""
    names: dict[frozenset[tuple[str, ...]], str] = {}
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # each worker reads all recipes
    for name, path in sorted(RECIPES.items()):
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=loader)
        assert root is not None
        names.setdefault(frozenset(keys for keys, _, _ in _nodes(root)), name)
    return list(names.values())


@pytest.mark.parametrize("name", _different_keys())
def test_mutations(name: str, tmp_path: Path) -> None:
    text = RECIPES[name].read_text(encoding="utf-8")
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    for sibling in RECIPES[name].parent.glob("*.yaml"):  # the recipe may extend one of them
        shutil.copy(sibling, tmp_path)
    target = tmp_path / "mutant.yaml"
    invalid = refused = 0
    missed = []

    def check(mutant: str, must_fail: bool, line: int, what: Any) -> None:
        nonlocal invalid, refused
        target.write_text(mutant, encoding="utf-8")
        errors = _outcome(target)  # anything but a ZooError would end the test with its traceback
        if not must_fail and not errors:
            return
        invalid += 1
        if any(
            error.exit_code == 2 and error.at and error.at.file == str(target) and error.at.line for error in errors
        ) and (not must_fail or any(error.at and error.at.line == line for error in errors)):
            refused += 1
        else:
            missed.append((what, [str(error) for error in errors]))

    assert root is not None
    for path, key, value in _nodes(root):
        line = key.start_mark.line + 1
        check(_replace(text, key.start_mark, key.end_mark, key.value + "_x"), True, line, ("misspelt", path))
        if _schema_path(path) not in OPEN:
            # A block ends where the next key begins, whose indentation must stay.
            rest = text[value.start_mark.index : value.end_mark.index]
            other = _other_type(value) + (rest[len(rest.rstrip()) :] or "\n")
            check(_replace(text, value.start_mark, value.end_mark, other), True, line, ("retyped", path))
        lines = text.splitlines(keepends=True)
        last = value.end_mark.line if value.end_mark.column == 0 else value.end_mark.line + 1
        if key.start_mark.column == len(lines[line - 1]) - len(lines[line - 1].lstrip()):
            check("".join(lines[: line - 1] + lines[last:]), False, line, ("deleted", path))
    assert invalid
    assert refused / invalid >= 0.95, missed
