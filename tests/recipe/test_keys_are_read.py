"""No dead knobs: every key of the schema is read by some code."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest
from pydantic import BaseModel

import zoo_cli
from zoo_cli import registry
from zoo_cli.data.formats import FORMATS
from zoo_cli.recipe.schema import Recipe

PACKAGE = Path(zoo_cli.__file__).parent


@cache
def _read_names() -> set[str]:
    """Names of all attributes that some code reads (`options.max_length`), the schema itself left out."""
    names = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                names.add(node.attr)
            # getattr(options, "max_length", None), given.get("teacher_layer", 1)
            if isinstance(node, ast.Call):
                called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                if called in ("getattr", "get"):
                    names |= {each.value for each in node.args if isinstance(each, ast.Constant)}
    return names


def _sections(model: type[BaseModel]) -> list[type[BaseModel]]:
    found = [model]
    for field in model.model_fields.values():
        for candidate in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                found += _sections(candidate)
    return found


def _all_sections() -> list[type[BaseModel]]:
    roots = [Recipe, *(registry.task(name).options for name in registry.TASKS), *(f.options for f in FORMATS.values())]
    return sorted({section for root in roots for section in _sections(root)}, key=lambda section: section.__name__)


# Read from the merged tree before it becomes a `Recipe`.
BY_THE_LOADER = {"extends", "tiny", "name"}


@pytest.mark.parametrize("section", _all_sections(), ids=lambda section: section.__name__)
def test_every_key_is_read(section: type[BaseModel]) -> None:
    assert set(section.model_fields) <= _read_names() | BY_THE_LOADER


@pytest.mark.parametrize("section", _all_sections(), ids=lambda section: section.__name__)
def test_every_key_is_documented(section: type[BaseModel]) -> None:
    assert all(field.description for name, field in section.model_fields.items() if name != "name")
