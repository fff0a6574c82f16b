"""Quantisation-aware training: a fine-tuned model is trained on with rounded weights and activations.

The result is an ordinary model folder with one file more, `ranges.json`: the learnt range of what each linear layer
reads. `zoo quantize` writes those ranges into the integer graph of ONNX Runtime or OpenVINO; activations of products
that are no linear layers, such as the scores of a vocabulary, get the ranges that are observed.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import paddle
from onnx import numpy_helper

from zoo_cli.base.errors import DataError
from zoo_cli.base.files import read_json, write_json
from zoo_cli.compress.fake_quant import QuantizedModel
from zoo_cli.compress.onnx_int8 import Ranges, weight_products
from zoo_cli.engine.distributed import World
from zoo_cli.engine.evaluation import Evaluation
from zoo_cli.engine.finetune import EncodedExamples, training
from zoo_cli.engine.loop import train as train_loop
from zoo_cli.engine.run import BEST, RECIPE, RESULT, SECTIONS, check_same, open_run
from zoo_cli.engine.setup import load_folder
from zoo_cli.models.checkpoint import read_weights
from zoo_cli.recipe.loading import LoadedRecipe
from zoo_cli.recipe.render import to_yaml
from zoo_cli.recipe.schema import AwareTrainingSection
from zoo_cli.registry import task as task_spec

RUN, RANGES = "qat", "ranges.json"
_OBSERVED = 8
"""Batches by which ranges begin."""
_SAME = 1e-4


def train(
    loaded: LoadedRecipe,
    section: AwareTrainingSection,
    source: Path,
    folder: Path,
    parts: dict[str, list[Any]],
    resume: bool = False,
    force: bool = False,
) -> Path:
    """Train a model on with rounding, unless that is done.

    Args:
        loaded: the recipe.
        section: its `quantize.qat`.
        source: model folder to start from.
        folder: run folder of the training.
        parts: examples of ``train`` and ``dev``.
        resume: go on with an unfinished training.
        force: train anew.

    Returns:
        The folder of the best model.

    Raises:
        DataError: there is nothing to learn from (`no-training-data`).
        ZooError: see `zoo_cli.engine.loop.train`, `open_run` and `load_folder`.
    """
    recipe, sections = to_yaml(loaded, defaults=True, origins=False), (*SECTIONS, "quantize.qat")
    if (folder / RESULT).is_file() and not force:
        check_same(folder / RECIPE, recipe, sections)
        return folder / BEST
    assembly, options = load_folder(source), section.training(loaded.recipe.train)
    encoded = EncodedExamples(assembly.task, parts.get("train", ()))
    if not len(encoded.features):
        raise DataError("no-training-data", "the recipe names no training files", fix="set data.train")
    world = World.join()
    objective, batches = training(assembly.task, encoded, options, world)

    def read_some(model: paddle.nn.Layer) -> None:
        observed, _ = training(assembly.task, encoded, options, world)  # one of its own, which may remember texts
        for rows in islice(batches.plan(0), _OBSERVED):
            observed.loss(model, batches.load(0, rows).arrays, step=0)

    model = QuantizedModel(assembly.model, section.quanter, read_some)

    def save(place: Path) -> None:
        assembly.save(place)
        write_json(place / RANGES, model.ranges())

    evaluate = Evaluation(assembly.model, assembly.task, parts["dev"], options, tune=True) if parts.get("dev") else None
    run = open_run(folder, recipe, resume=resume, force=force, sections=sections)
    metric = task_spec(loaded.task_name).metric
    train_loop(model, objective, batches, options, run, save, evaluate, metric=metric, world=world)
    return folder / BEST


def ranges_of_graph(folder: Path, graph: Path) -> Ranges:
    """The learnt ranges by the names of the graph's activations.

    The layers' names are lost in export, so layers are told by their weights; a factor that the export has moved into
    them, as that of the queries, does not matter.

    Args:
        folder: model folder with `ranges.json`.
        graph: the ONNX graph that was made of it.
    """
    weights, learned = read_weights(folder), read_json(folder / RANGES)
    model = onnx.load(str(graph))
    activations = weight_products(model)
    left = {
        tensor.name: _shape_of(numpy_helper.to_array(tensor))
        for tensor in model.graph.initializer
        if tensor.name in activations
    }
    found: dict[str, tuple[float, float]] = {}
    for name, (low, high) in learned.items():
        own = _shape_of(weights[f"{name}.weight"])
        match = next(
            (key for key, value in left.items() if value.shape == own.shape and np.abs(value - own).max() < _SAME), None
        )
        if match is not None:
            del left[match]
            found[activations[match]] = (low, high)
    return found


def _shape_of(weight: np.ndarray) -> np.ndarray:
    """A weight without its scale."""
    return weight / max(float(np.abs(weight).max()), 1e-30)
