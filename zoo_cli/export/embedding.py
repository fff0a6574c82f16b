"""An encoder as a bundle that gives vectors of texts, whatever it was trained for."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from zoo_cli import models, registry
from zoo_cli.base.errors import UsageError
from zoo_cli.engine.answering import GENERATIVE_TASKS
from zoo_cli.engine.setup import Assembly, load_tokenizer
from zoo_cli.export.bundle import export
from zoo_cli.recipe.schema import ExportSection
from zoo_cli.tasks.embedding.spec import EmbeddingOptions
from zoo_cli.tasks.embedding.task import EmbeddingTask

_ASKED = (
    "这家餐厅的菜很好吃。",
    "The food of this restaurant is very good.",
    "会议改到下周三上午十点，请各位同事提前准备材料。",
    "好",
)
"""Golden requests: what is asked does not matter, since a vector depends on nothing that was learnt for a task."""


def export_embedding(
    source: Path, folder: Path, task: EmbeddingOptions, options: ExportSection, force: bool = False
) -> dict[str, Any]:
    """Write a bundle of an encoder without its head, and prove it.

    Args:
        source: model folder of any layout, with a head or without one.
        folder: run folder.
        task: its options; texts may be as long as the model reads them unless `max_length` was set.
        options: the recipe's `export` section.
        force: replace a bundle that is there.

    Returns:
        The receipt, with the path of the bundle.

    Raises:
        UsageError: the model is no encoder of short texts (`no-embedding`).
        ZooError: see `zoo_cli.export.bundle.export`.
    """
    config = models.load_config(source)
    spec = registry.family(config.family)
    readers = [name for name in registry.FAMILIES if "sequence_classification" in registry.family(name).tasks]
    encoders = [name for name in readers if name not in GENERATIVE_TASKS]
    if spec.name not in encoders:
        raise UsageError(
            "no-embedding",
            "models of {family} do not give vectors of texts",
            fix="take an encoder: {names}",
            family=spec.name,
            names=", ".join(encoders),
        )
    if "max_length" not in task.model_fields_set:
        task = task.model_copy(update={"max_length": min(task.max_length, config.longest_text)})
    if task.max_length > config.longest_text:
        raise UsageError(
            "too-long",
            "task.max_length is {length}, and the model reads {longest} tokens",
            length=task.max_length,
            longest=config.longest_text,
        )
    tokenizer = load_tokenizer(source, spec.tokenizer)
    assembly = Assembly(models.load(source, spec.backbone), tokenizer, EmbeddingTask(task, tokenizer, spec.inputs))
    with tempfile.TemporaryDirectory() as scratch:
        assembly.save(Path(scratch))
        requests = [{"text": text} for text in _ASKED]
        return export(Path(scratch), folder, options, requests, force, {"source": str(source)})
