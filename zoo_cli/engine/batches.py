"""What the loop is fed: batches that depend on nothing but the seed and their place, so that a run can be resumed."""

from __future__ import annotations

import hashlib
import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Protocol, overload

import numpy as np

from zoo_cli.base.errors import DataError
from zoo_cli.data.batching import epoch_batches
from zoo_cli.data.dataset import FeatureStore
from zoo_cli.recipe.schema import TrainSection

Arrays = dict[str, np.ndarray]
Pad = Callable[[Sequence[Arrays]], Arrays]
"""From features to one batch: `zoo_cli.tasks.base.Task.stack`."""


@dataclass(frozen=True)
class Batch:
    """The input of one forward pass.

    Args:
        arrays: name -> array with the batch as first axis.
        tokens: number of tokens in it, padding not counted.
    """

    arrays: Arrays
    tokens: int


class ComputedPlan(Sequence[np.ndarray]):
    """The batches of an epoch, each computed when it is asked for."""

    @abstractmethod
    def batch(self, number: int) -> np.ndarray:
        """The rows of a batch, counted from 0."""

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...

    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(index, slice):
            return [self.batch(number) for number in range(*index.indices(len(self)))]
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(index)
        return self.batch(number)


class Batches(Protocol):
    """A training set cut into forward passes. All methods are pure functions of their arguments."""

    def plan(self, epoch: int) -> Sequence[np.ndarray]:
        """For each forward pass of an epoch the indices of its rows."""

    def load(self, epoch: int, indices: np.ndarray) -> Batch:
        """The batch of these rows; whatever is drawn at random depends on the seed, `epoch` and `indices`."""

    def describe(self, indices: np.ndarray) -> list[str]:
        """Where each row comes from, for messages: ``file:line``, or its number."""

    def fingerprint(self) -> str:
        """A hash that tells whether a resumed run reads the same data."""


class FeatureBatches:
    """Batches of encoded features, those of like length together.

    Args:
        features: the training set.
        options: `batch_size`, `batch_tokens` and `seed` are read.
        pad: stacks features, see `Pad`.
        sources: where each feature comes from, e.g. ``train.txt:17``.
        shuffle: False keeps the order of the features in every epoch.
    """

    def __init__(
        self,
        features: FeatureStore,
        options: TrainSection,
        pad: Pad,
        sources: Sequence[str] | None = None,
        shuffle: bool = True,
    ) -> None:
        self._features = features
        self._shapes = features.shapes()
        self._options = options
        self._pad = pad
        self._sources = sources
        self._shuffle = shuffle

    def plan(self, epoch: int) -> list[np.ndarray]:
        options = self._options
        size = options.batch_size if options.batch_tokens is None else None
        return epoch_batches(self._shapes, options.seed, epoch, size, options.batch_tokens, shuffle=self._shuffle)

    def load(self, epoch: int, indices: np.ndarray) -> Batch:
        return Batch(self._pad(self._features.take(indices)), int(self._shapes[indices].prod(axis=1).sum()))

    def describe(self, indices: np.ndarray) -> list[str]:
        if self._sources is None:
            return [f"row {index}" for index in indices]
        return [self._sources[index] for index in indices]

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for index in range(len(self._features)):
            for name, array in sorted(self._features[index].items()):
                digest.update(f"{name}{array.shape}".encode())
                digest.update(array.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Group:
    """The forward passes of one optimiser step.

    Args:
        epoch: number of the epoch.
        start: forward passes of the epoch before these.
        members: indices of the rows of each forward pass.
        of: forward passes in the whole epoch.
    """

    epoch: int
    start: int
    members: Sequence[np.ndarray]
    of: int


def groups(batches: Batches, size: int, epoch: int, start: int) -> Iterator[Group]:
    """Optimiser steps without end, from forward pass `start` of `epoch` on.

    Args:
        batches: the training set.
        size: forward passes in a step; the last step of an epoch may have fewer.
        epoch: first epoch.
        start: forward passes of it that are done.

    Raises:
        DataError: an epoch has no batches (`no-training-data`).
    """
    for number in count(epoch):
        plan = batches.plan(number)
        if not len(plan):
            raise DataError("no-training-data", "there is nothing to train on", fix="look at data.train")
        for first in range(start, len(plan), size):
            yield Group(number, first, plan[first : first + size], len(plan))
        start = 0


def count_steps(batches: Batches, options: TrainSection, size: int) -> int:
    """Number of optimiser steps of the whole run, from `max_steps` or `epochs`.

    Args:
        batches: the training set; token budgets may give each epoch another number of batches.
        options: the recipe's `train` section.
        size: forward passes in a step.
    """
    if options.max_steps is not None:
        return options.max_steps
    whole = math.floor(options.epochs)
    steps = [math.ceil(len(batches.plan(epoch)) / size) for epoch in range(math.ceil(options.epochs))]
    return sum(steps[:whole]) + sum(math.ceil((options.epochs - whole) * part) for part in steps[whole:])
