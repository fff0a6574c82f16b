"""Model folders put to work: a pipeline that answers, and scores on gold examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo_cli import models, registry
from zoo_cli.base.errors import DataError, UsageError
from zoo_cli.data.parts import read_parts
from zoo_cli.engine.evaluation import Evaluation
from zoo_cli.engine.generation import generation_runner
from zoo_cli.engine.predictor import Predictor
from zoo_cli.engine.setup import Assembly, load_folder, load_tokenizer
from zoo_cli.recipe.loading import LoadedRecipe
from zoo_cli.runtime.pipeline import DEFAULT_BATCH_TOKENS, Pipeline
from zoo_cli.tasks.base import TASK_FILE
from zoo_cli.tasks.generative import GenerativeTask, require_generative

GENERATIVE_TASKS = {"unimo": "generation", "unified_transformer": "dialogue", "gpt": "language_modeling"}
"""What a family's published checkpoints are used for."""


def load_pipeline(folder: Path, batch_tokens: int = DEFAULT_BATCH_TOKENS) -> Pipeline:
    """A pipeline on a model folder, run by paddle.

    Raises:
        ArtifactError: a file is missing, damaged, or does not fit.
    """
    return _pipeline(load_folder(folder), batch_tokens=batch_tokens)


def load_generator(folder: Path) -> Pipeline:
    """A pipeline that generates text, run by paddle, on a model folder.

    A folder without a `task.json`, as PaddleNLP and Hugging Face write them, gets its family's task with its defaults:
    generation for UNIMO, dialogue for UnifiedTransformer, language modelling for GPT.

    Raises:
        ArtifactError: a file is missing, damaged, or does not fit.
        UsageError: the model does not generate text (`no-generation`).
    """
    assembly = load_folder(folder) if (folder / TASK_FILE).is_file() else _with_default_task(folder)
    require_generative(assembly.task)
    return _pipeline(assembly)


def _pipeline(assembly: Assembly, **limits: Any) -> Pipeline:
    """A model's pipeline; the limits are those of a `Predictor`."""
    if isinstance(assembly.task, GenerativeTask):
        return Pipeline(assembly.task, generation_runner(assembly.model))
    return Pipeline(assembly.task, Predictor(assembly.model, assembly.task, **limits))


def _with_default_task(folder: Path) -> Assembly:
    config = models.load_config(folder)
    name = GENERATIVE_TASKS.get(config.family)
    if name is None:
        raise UsageError(
            "no-generation", "models of {family} do not generate text", fix="use `zoo predict`", family=config.family
        )
    length = min(512, config.max_position_embeddings)
    values: dict[str, Any] = {"max_length": length, "decoding": {"max_new_tokens": min(64, length // 2)}}
    if getattr(config, "role_type_size", None) is not None:  # PLATO-XL
        values |= {"roles": True, "position_style": "relative"}
    return _with_task(folder, name, registry.task(name).options.model_validate(values))


def _with_task(folder: Path, name: str, options: Any) -> Assembly:
    """A checkpoint as published, whose head the task needs nothing to be learnt for."""
    spec = registry.family(models.load_config(folder).family)
    tokenizer = load_tokenizer(folder, spec.tokenizer)
    task = registry.resolve(registry.task(name).implementation)(options, tokenizer, spec.inputs)
    return Assembly(models.load(folder, spec.tasks[name], overrides=task.model_config()), tokenizer, task)


def evaluate_folder(folder: Path, loaded: LoadedRecipe, part: str) -> dict[str, Any]:
    """Scores of a model folder; of each file where there are several; and where a task's answers have several stages,
    those of whole answers.

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
    task_class = registry.resolve(registry.task(loaded.task_name).implementation)
    if issubclass(task_class, GenerativeTask) and not (folder / TASK_FILE).is_file():  # a checkpoint as published
        assembly = _with_task(folder, loaded.task_name, loaded.task)
    else:
        assembly = load_folder(folder)
    options = loaded.recipe.train
    scores = Evaluation(assembly.model, assembly.task, examples, options, by_file=True)()
    pipeline = _pipeline(assembly, batch_size=options.batch_size, batch_tokens=options.batch_tokens)
    return scores | assembly.task.score_answers(examples, pipeline.stream)
