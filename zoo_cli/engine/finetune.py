"""`zoo finetune`: supervised training on labelled text."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from zoo_cli.base.errors import DataError
from zoo_cli.data.dataset import FeatureStore
from zoo_cli.data.parts import read_parts
from zoo_cli.engine.batches import Batches, FeatureBatches
from zoo_cli.engine.distributed import World
from zoo_cli.engine.document_batches import DocumentBatches
from zoo_cli.engine.evaluation import Evaluation
from zoo_cli.engine.loop import train
from zoo_cli.engine.objectives.base import Objective
from zoo_cli.engine.objectives.recurrent import Recurrent
from zoo_cli.engine.objectives.supervised import Supervised
from zoo_cli.engine.run import open_run
from zoo_cli.engine.setup import from_recipe
from zoo_cli.recipe.loading import LoadedRecipe
from zoo_cli.recipe.presets import FileProgress
from zoo_cli.recipe.render import to_yaml
from zoo_cli.recipe.schema import TrainSection
from zoo_cli.registry import task as task_spec
from zoo_cli.tasks.base import Task

logger = logging.getLogger(__name__)


class EncodedExamples:
    """Features of examples with, for each, the place that it came from; and their number in each example."""

    def __init__(self, task: Task[Any], examples: Iterable[Any]) -> None:
        self.sources: list[str] = []
        self.sizes: list[int] = []
        self._task = task
        self.features = FeatureStore(self._encode(examples))

    def _encode(self, examples: Iterable[Any]) -> Iterator[dict[str, np.ndarray]]:
        for number, example in enumerate(self._task.adapt(examples, training=True)):
            features = self._task.encode(example, training=True)
            self.sizes.append(len(features))
            for feature in features:
                self.sources.append(str(getattr(example, "source", None) or f"example {number}"))
                yield feature


def finetune(
    loaded: LoadedRecipe,
    folder: Path,
    source: Path | None = None,
    resume: bool = False,
    force: bool = False,
    progress: FileProgress | None = None,
) -> None:
    """Fine-tune a model as a recipe says; the run folder has the result.

    Args:
        loaded: the recipe.
        folder: run folder.
        source: model folder to start from instead of `model.init`.
        resume: go on with an unfinished run.
        force: replace a run that is there.
        progress: shows downloads.

    Raises:
        ZooError: see `zoo_cli.engine.loop.train`, `from_recipe` and `read_parts`.
    """
    metric = task_spec(loaded.task_name).metric
    section = loaded.recipe.data
    if not section.train:
        raise DataError("no-training-data", "the recipe names no training files", fix="set data.train")
    parts = read_parts(section, loaded.recipe.train.seed, ("train", "dev"))
    assembly = from_recipe(loaded, parts["train"], source, progress)
    encoded = EncodedExamples(assembly.task, parts["train"])
    if not len(encoded.features):
        raise DataError("no-training-data", "the training files hold nothing to learn from", fix="look at data.train")
    options = loaded.recipe.train
    world = World.join(options.parallel)
    objective, batches = training(assembly.task, encoded, options, world)
    evaluate = None
    if parts.get("dev"):
        evaluate = Evaluation(assembly.model, assembly.task, parts["dev"], options, tune=True)
    logger.info("%d training features, %d development examples", len(encoded.features), len(parts.get("dev", ())))
    run = open_run(folder, to_yaml(loaded, defaults=True, origins=False), resume=resume, force=force)
    train(
        assembly.model,
        objective,
        batches,
        options,
        run,
        assembly.save,
        evaluate,
        metric=metric,
        world=world,
    )


def training(
    task: Task[Any], encoded: EncodedExamples, options: TrainSection, world: World
) -> tuple[Objective, Batches]:
    """What is minimised, and the batches for it."""
    if not task.states:
        return Supervised(task.label_smoothing), FeatureBatches(encoded.features, options, task.stack, encoded.sources)
    batches = DocumentBatches(
        encoded.features, encoded.sizes, options, task.stack, encoded.sources, task.readings, world
    )
    return Recurrent(task.initial_state()), batches
