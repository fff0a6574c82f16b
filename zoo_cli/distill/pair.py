"""Teacher and student that read the same tokens."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from zoo_cli import models, registry
from zoo_cli.base.errors import Location, UsageError
from zoo_cli.distill.strategies import section_of
from zoo_cli.engine.setup import Assembly, find_model_folder, load_tokenizer
from zoo_cli.recipe.loading import LoadedRecipe, preset_name
from zoo_cli.recipe.presets import FileProgress, fetch
from zoo_cli.tasks.base import Task, load_task
from zoo_cli.tokenizers.base import Tokenizer

_COMPARED = 64
"""Examples that are encoded with both tokenizers."""


def build_student(
    loaded: LoadedRecipe,
    teacher: Assembly,
    folder: Path,
    examples: Sequence[Any],
    progress: FileProgress | None = None,
) -> Assembly:
    """The student as the recipe describes it, with the tokenizer, labels and task options of the teacher.

    Args:
        loaded: the recipe.
        teacher: the fine-tuned model.
        folder: the teacher's folder.
        examples: on some of them the tokenizers of teacher and student are compared.
        progress: see `zoo_cli.recipe.presets.fetch`.

    Raises:
        ArtifactError: the student's weights cannot be had or do not fit.
        UsageError: the student reads other tokens than the teacher (`other-tokens`).
    """
    section = section_of(loaded.recipe).student
    spec = registry.family(section.family)
    task = load_task(folder, teacher.tokenizer, spec.inputs)
    architecture = section.architecture or spec.tasks[loaded.task_name]
    values = {**section.config, **task.model_config()}
    paddle.seed(loaded.recipe.train.seed)
    if section.is_fresh:
        config = teacher.model.config
        values |= {"vocab_size": config.vocab_size, "pad_token_id": config.pad_token_id}
        return Assembly(models.build(architecture, values), teacher.tokenizer, task)
    source = fetch(section.init, progress) if preset_name(section.init) else find_model_folder(Path(section.init))
    tokenizer = load_tokenizer(source, spec.tokenizer)
    own_task = load_task(folder, tokenizer, spec.inputs)
    require_same_tokens(teacher.tokenizer, tokenizer, task, own_task, examples, source)
    return Assembly(models.load(source, architecture, overrides=values), teacher.tokenizer, task)


def require_same_tokens(
    teacher: Tokenizer, student: Tokenizer, task: Task[Any], own_task: Task[Any], examples: Sequence[Any], folder: Path
) -> None:
    """Refuse a student that would read a text as other ids than the teacher.

    Args:
        teacher: tokenizer of the teacher.
        student: tokenizer of the student.
        task: the task with the teacher's tokenizer.
        own_task: the same task with the student's.
        examples: gold examples.
        folder: where the student is from, for the message.

    Raises:
        UsageError: the numbers of tokens differ, or the ids of an example (`other-tokens`).
    """
    if len(teacher) != len(student):
        raise _other_tokens(folder, f"{len(student)} tokens instead of {len(teacher)}")
    pairs = zip(*(each.adapt(examples, training=False) for each in (task, own_task)), strict=False)
    for one, other in islice(pairs, _COMPARED):
        features = (task.encode(one, training=False), own_task.encode(other, training=False))
        for first, second in zip(*features, strict=False):
            if not np.array_equal(first["input_ids"], second["input_ids"]):
                raise _other_tokens(folder, f"other ids for {getattr(one, 'source', None) or 'an example'}")


def _other_tokens(folder: Path, difference: str) -> UsageError:
    return UsageError(
        "other-tokens",
        "the student's tokenizer does not agree with the teacher's: {difference}",
        at=Location.of(folder),
        fix="take a student with the teacher's vocabulary, or one from scratch, which takes the teacher's tokenizer",
        difference=difference,
    )
