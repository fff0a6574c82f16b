"""Export as a recipe describes it."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

from zoo_cli.data.parts import read_parts
from zoo_cli.engine.setup import load_folder
from zoo_cli.export.bundle import export
from zoo_cli.export.receipt import provenance
from zoo_cli.recipe.loading import LoadedRecipe


def export_recipe(loaded: LoadedRecipe, source: Path, folder: Path, force: bool = False) -> dict[str, Any]:
    """Export a model folder with golden requests from the recipe's development data, or its training data.

    Args:
        loaded: the recipe.
        source: model folder.
        folder: run folder.
        force: replace a bundle that is there.

    Raises:
        ZooError: see `zoo_cli.export.bundle.export`; or the data cannot be read.
    """
    options = loaded.recipe.export
    parts = read_parts(loaded.recipe.data, loaded.recipe.train.seed, ("dev",))
    # Without development data the training data ask: what is proven is that graphs and model agree.
    examples = parts.get("dev") or read_parts(loaded.recipe.data, loaded.recipe.train.seed, ("train",))["train"]
    task = load_folder(source).task
    requests = [task.request_of(example) for example in islice(task.adapt(examples, False), options.golden_requests)]
    return export(source, folder, options, requests, force, provenance(loaded, source))
