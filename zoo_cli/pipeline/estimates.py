"""What a step will probably cost: as it was measured the last time, else by a simple model.

The model counts arithmetic: a forward pass takes 2 operations for each weight of the layers and token, a backward pass
4; a core does `OPERATIONS_PER_SECOND`, and texts fill half of the longest length. Training keeps weights, gradients and
two moments of each weight in float32, and the activations of one batch. It is right within a factor of three or so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from zoo_cli import registry
from zoo_cli.base.environment import owned_cores
from zoo_cli.data.sources import read_examples
from zoo_cli.pipeline.state import Record
from zoo_cli.pipeline.steps import BENCH, CHECK, DISTILL, EXPORT, FINETUNE, PRETRAIN, PRUNE, QUANTIZE, Step
from zoo_cli.recipe.loading import LoadedRecipe
from zoo_cli.recipe.schema import TrainSection

OPERATIONS_PER_SECOND = 15e9
_START_SECONDS, _BASE_MEGABYTES = 4.0, 400.0
"""Time and memory of a process that imports PaddlePaddle."""
_ACTIVATIONS = 20
"""Vectors of the model's width that a layer keeps for the backward pass, for each token."""
_MOST_ROWS = 200_000
_FLOAT = 4


@dataclass(frozen=True)
class Estimate:
    """What a step will take.

    Args:
        seconds: wall time.
        megabytes: largest memory.
        disk_megabytes: size of what it leaves.
        basis: ``measured`` the last time, or by the ``model`` of this module.
    """

    seconds: float
    megabytes: float
    disk_megabytes: float
    basis: Literal["measured", "model"]


@dataclass(frozen=True)
class _Model:
    """Sizes of a model: all weights, those of the layers, width and number of layers."""

    weights: float
    layers: float
    hidden: int
    depth: int

    @classmethod
    def of(cls, family: str, values: Mapping[str, Any]) -> _Model:
        config = registry.family(family).config.model_validate({**values, "architectures": None})
        hidden, depth = config.hidden_size, config.num_hidden_layers
        layers = depth * (4.0 * hidden**2 + 2.0 * hidden * config.intermediate_size)
        return cls(layers + (config.vocab_size + config.max_position_embeddings) * hidden, layers, hidden, depth)

    def scaled(self, width: float) -> _Model:
        """The model with a share of its heads and neurons."""
        return _Model(self.weights - self.layers * (1 - width), self.layers * width, self.hidden, self.depth)


class Estimates:
    """Estimates for the steps of a recipe.

    Args:
        loaded: the recipe; its training rows are counted.
        records: what was measured.
    """

    def __init__(self, loaded: LoadedRecipe, records: Mapping[str, Record]) -> None:
        self._loaded, self._records = loaded, records
        recipe = loaded.recipe
        self._model = _Model.of(recipe.model.family, recipe.model.config)
        section = recipe.data
        rows = sum(1 for _ in islice(read_examples(section.train, section), _MOST_ROWS)) if section.train else 0
        self._rows = rows * (1 - section.dev_fraction) if not section.dev else rows
        length = recipe.pretrain.max_length if recipe.pretrain else getattr(loaded.task, "max_length", None) or 128
        self._tokens = max(1.0, length / 2)

    def of(self, step: Step) -> Estimate:
        """What a step will take."""
        record = self._records.get(step.name)
        if record is not None and record.state == "done":
            return Estimate(record.seconds, record.peak_megabytes, record.disk_bytes / 1e6, "measured")
        seconds, megabytes, disk = self._modelled(step)
        return Estimate(round(seconds, 1), round(megabytes, 1), round(disk, 1), "model")

    def _modelled(self, step: Step) -> tuple[float, float, float]:
        recipe, model = self._loaded.recipe, self._model
        if step.name in (FINETUNE, PRETRAIN):
            return self._training(model, recipe.train, 6 * model.layers)
        if step.name == DISTILL and recipe.distill is not None:
            student = _Model.of(recipe.distill.student.family, recipe.distill.student.config)
            costs = [
                self._training(student, stage.training(recipe.train), 6 * student.layers + 2 * model.layers)
                for stage in recipe.distill.stages.values()
            ]
            return self._together(costs)
        if step.name == PRUNE and recipe.prune is not None:
            options = recipe.prune.stage.training(recipe.train)
            smaller = [model.scaled(width) for width in recipe.prune.widths]
            return self._together(
                [self._training(each, options, 6 * each.layers + 2 * model.layers) for each in smaller]
            )
        weights = model.weights * _FLOAT / 1e6
        if step.name == EXPORT:
            return 10 + weights / 20, _BASE_MEGABYTES + 5 * weights, weights * (1 + len(recipe.export.backends))
        if step.name == QUANTIZE:
            seconds = 10 + 4 * self._seconds(2 * model.layers * self._tokens * self._rows * 0.2)
            return seconds, _BASE_MEGABYTES + 4 * weights, weights / 3
        if step.name == BENCH:
            calls = 4 * self._seconds(2 * model.layers * 9 * 160 * 8)
            return _START_SECONDS + calls, 100 + 2 * weights, 0.0
        if step.name == CHECK:
            return 1 + self._rows / 20_000, 60 + self._rows / 2000, 0.0
        return _START_SECONDS, 100 + 2 * weights, 0.0

    def _training(self, model: _Model, options: TrainSection, operations: float) -> tuple[float, float, float]:
        """Cost of a training whose steps take so many operations for each token."""
        group = options.batch_size * options.gradient_accumulation
        steps = options.max_steps or max(1.0, options.epochs * self._rows / group)
        seconds = _START_SECONDS + self._seconds(operations * self._tokens * group * steps) + steps * 0.02
        kept = options.batch_size * self._tokens * model.hidden * model.depth * _ACTIVATIONS
        memory = _BASE_MEGABYTES + (4 * model.weights + kept) * _FLOAT / 1e6
        return seconds, memory, (3 * options.keep_checkpoints + 1) * model.weights * _FLOAT / 1e6

    @staticmethod
    def _seconds(operations: float) -> float:
        return operations / (OPERATIONS_PER_SECOND * owned_cores())

    @staticmethod
    def _together(costs: list[tuple[float, float, float]]) -> tuple[float, float, float]:
        """Trainings one after another."""
        return sum(cost[0] for cost in costs), max(cost[1] for cost in costs), sum(cost[2] for cost in costs)
