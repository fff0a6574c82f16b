"""Model folders put to work: a pipeline that answers, and scores on gold examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo_cli.base.errors import DataError
from zoo_cli.engine.evaluation import Evaluation
from zoo_cli.engine.predictor import Predictor
from zoo_cli.engine.setup import load_folder, read_parts
from zoo_cli.recipe.loading import LoadedRecipe
from zoo_cli.runtime.pipeline import DEFAULT_BATCH_TOKENS, Pipeline


def load_pipeline(folder: Path, batch_tokens: int = DEFAULT_BATCH_TOKENS) -> Pipeline:
    """A pipeline on a model folder, run by paddle.

    Raises:
        ArtifactError: a file is missing, damaged, or does not fit.
    """
    assembly = load_folder(folder)
    return Pipeline(assembly.task, Predictor(assembly.model, assembly.task, batch_tokens=batch_tokens))


def evaluate_folder(folder: Path, loaded: LoadedRecipe, part: str) -> dict[str, Any]:
    """Scores of a model folder.

    Args:
        folder: the model.
        loaded: says where the examples are and how they are written.
        part: ``dev``, ``test`` or ``train``.

    Raises:
        ArtifactError: the model cannot be read.
        DataError: there are no such examples, or they cannot be read.
    """
    examples = read_parts(loaded.recipe.data, loaded.recipe.train.seed, (part,)).get(part)
    if not examples:
        raise DataError("no-data", "the recipe names no {part} files", fix="set data.{part}", part=part)
    assembly = load_folder(folder)
    return Evaluation(assembly.model, assembly.task, examples, loaded.recipe.train)()
