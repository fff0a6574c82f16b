"""A training step of a model on one batch, without data, recipe or run folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle

from zoo_cli.engine.batches import Arrays, Batch, Group
from zoo_cli.engine.checkpoint import Progress
from zoo_cli.engine.distributed import World
from zoo_cli.engine.objectives.supervised import Supervised
from zoo_cli.engine.optimizer import AdamW
from zoo_cli.engine.recompute import recomputing
from zoo_cli.engine.step import Stepper
from zoo_cli.recipe.schema import TrainSection


class OneBatch:
    """A training set of one batch, which does not change."""

    def __init__(self, arrays: Arrays) -> None:
        self._batch = Batch(arrays, next(iter(arrays.values())).size)

    def plan(self, epoch: int) -> list[np.ndarray]:
        return [np.arange(1)]

    def load(self, epoch: int, indices: np.ndarray) -> Batch:
        return self._batch

    def describe(self, indices: np.ndarray) -> list[str]:
        return []

    def fingerprint(self) -> str:
        return ""


def step_of(model: paddle.nn.Layer, arrays: Arrays, recompute: bool) -> Callable[[], None]:
    """A function that makes an optimiser step of two forward passes."""
    options = TrainSection(recompute=recompute)
    model.train()
    stepper = Stepper(
        model, Supervised(), OneBatch(arrays), AdamW(model, options), options, 10, World(), Path("nowhere")
    )
    group = Group(0, 0, [np.arange(1)] * 2, 2)

    def step() -> None:
        with recomputing(model, recompute):
            stepper.step(group, Progress(2, ""), 0)

    return step
