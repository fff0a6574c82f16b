"""Every shipped recipe cut short, in another encoding, or with a line of megabytes: refused with its place, at once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Zoo
from zoo_cli.base.errors import ErrorGroup, ZooError
from zoo_cli.recipe.loading import load_recipe, recipe_names

RECIPES = recipe_names()


def cut(text: str) -> bytes:
    """Cut in the middle of a key."""
    place = text.index("\ntask:" if "\ntask:" in text else "\nmodel:" if "\nmodel:" in text else "\nextends:")
    return text[: place + 4].encode()


def chinese_encoding(text: str) -> bytes:
    return f"# 说明\n{text}".encode("gb18030")


def wide_encoding(text: str) -> bytes:
    return text.encode("utf-16")


def null_byte(text: str) -> bytes:
    return text.replace("\n", "\n\0", 2).encode()


def huge_line(text: str) -> bytes:
    return f"{text.rstrip()}\nnote: [{'a' * 300_000}\n".encode()


MUTATIONS: list[Callable[[str], bytes]] = [cut, chinese_encoding, wide_encoding, null_byte, huge_line]


@pytest.mark.parametrize("name", RECIPES)
def test_broken_recipes_are_refused(name: str, tmp_path: Path) -> None:
    text = RECIPES[name].read_text(encoding="utf-8")
    for sibling in RECIPES[name].parent.glob("*.yaml"):  # the recipe may extend one of them
        shutil.copy(sibling, tmp_path)
    path = tmp_path / "broken.yaml"
    for mutation in MUTATIONS:
        path.write_bytes(mutation(text))
        with pytest.raises(ZooError) as caught:
            load_recipe(str(path))
        errors = caught.value.errors if isinstance(caught.value, ErrorGroup) else (caught.value,)
        for error in errors:
            assert error.exit_code == 2, mutation
            assert error.at and error.at.file == str(path) and error.at.line, (mutation, error)
            assert len(error.message) < 500, mutation


@pytest.mark.parametrize("mutation", MUTATIONS)
@pytest.mark.parametrize("verb", ["finetune", "run", "export"])
def test_commands_leave_nothing_behind(zoo: Zoo, tmp_path: Path, verb: str, mutation: Callable[[str], bytes]) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(mutation(RECIPES["uie/msra"].read_text(encoding="utf-8")))
    status, out, _ = zoo(verb, "-r", str(path), "--tiny", "--json")
    assert status == 2
    assert json.loads(out)["error"]["line"]
    assert list((tmp_path / "work").iterdir()) == []
