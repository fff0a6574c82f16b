"""Tiny models, bundles and recipes that the tests of export, runtime and compression share."""

from __future__ import annotations

import functools
from itertools import islice
from pathlib import Path
from typing import Any

from zoo_cli.base.files import write_manifest
from zoo_cli.data.parts import read_parts
from zoo_cli.engine.setup import from_recipe
from zoo_cli.export.bundle import export
from zoo_cli.recipe.loading import LoadedRecipe, load_recipe
from zoo_cli.recipe.schema import ExportSection

RECIPES = {"bert": "bert/sst2.yaml", "uie": "uie/msra.yaml", "ernie": "ernie-3.0/tnews.yaml"}


def tiny_recipe(name: str, *overrides: str) -> LoadedRecipe:
    """A tiny recipe; its fresh weights are large enough that answers differ from text to text."""
    return load_recipe(RECIPES[name], ["model.config.initializer_range=0.2", *overrides], tiny=True)


def model_folder(name: str, folder: Path) -> Path:
    """An untrained tiny model as a model folder."""
    loaded = tiny_recipe(name)
    assembly = from_recipe(loaded, read_parts(loaded.recipe.data, 0, ("train",))["train"])
    folder.mkdir(parents=True)
    assembly.save(folder)
    write_manifest(folder)
    return folder


@functools.cache
def requests(name: str, count: int = 4) -> list[dict[str, Any]]:
    """Requests from a tiny recipe's development data."""
    loaded = tiny_recipe(name)
    parts = read_parts(loaded.recipe.data, 0, ("train", "dev"))
    task = from_recipe(loaded, parts["train"]).task
    return [task.request_of(example) for example in islice(task.adapt(parts["dev"], False), count)]


def bundle(name: str, folder: Path, *backends: str) -> Path:
    """An untrained tiny model as a bundle."""
    section = ExportSection(backends=list(backends))  # type: ignore[arg-type]
    return Path(export(model_folder(name, folder / "model"), folder, section, requests(name))["bundle"])
