"""The contract between the loop and what it minimises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import paddle

from zoo_cli.engine.batches import Arrays


@dataclass(frozen=True)
class Losses:
    """Losses of one forward pass.

    Args:
        total: the scalar that is minimised, an average over `weight` labels; 0 where `weight` is 0.
        weight: how many labels `total` averages over. The passes of a step are averaged by it, so that a step is the
            same however its labels are spread over forward passes and processes.
        parts: scalars to report beside the total, e.g. the terms that it sums up.
    """

    total: paddle.Tensor
    weight: float
    parts: Mapping[str, paddle.Tensor] = field(default_factory=dict)


class Objective(Protocol):
    """Something to minimise: supervised training, pretraining, distillation."""

    def loss(self, model: paddle.nn.Layer, batch: Arrays, step: int) -> Losses:
        """Run the model on one batch.

        Args:
            model: the model in training; gradients go to its parameters only.
            batch: name -> array with the batch as first axis.
            step: number of finished optimiser steps. Paddle's generator is seeded for this forward pass already; other
                random choices must be functions of the seed and this number.
        """


@runtime_checkable
class Counting(Protocol):
    """An objective that sums up several averages, each over labels of its own, of which passes may have any number."""

    def counts(self, batch: Arrays) -> Sequence[int]:
        """How many labels each average has in a batch; nothing where one weight for the whole pass will do."""

    def loss(self, model: paddle.nn.Layer, batch: Arrays, step: int, shares: Sequence[float] | None = None) -> Losses:
        """As `Objective.loss`; `shares` are factors for the averages of a pass, which then has the weight 1."""


@runtime_checkable
class Carrying(Protocol):
    """An objective that hands tensors from one forward pass to the next ones; checkpoints have them, too."""

    def carried(self) -> dict[str, paddle.Tensor]:
        """The tensors by name, none where there is nothing to hand on."""

    def carry(self, values: Mapping[str, np.ndarray]) -> None:
        """Go on with what `carried` gave."""


def to_tensors(batch: Arrays) -> dict[str, paddle.Tensor]:
    """The arrays on the current device."""
    return {name: paddle.to_tensor(array) for name, array in batch.items()}
