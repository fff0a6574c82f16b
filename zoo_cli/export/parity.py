"""Do the exported graphs compute what the model computes? On many shapes, number by number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from zoo_cli.tasks.base import Task

Arrays = dict[str, np.ndarray]
Compute = Callable[[Arrays], Sequence[np.ndarray]]

BATCHES = (1, 3, 8)
LENGTHS = (1, 7, 64)


@dataclass(frozen=True)
class Comparison:
    """One back end against the model on one shape.

    Args:
        backend: name of the back end.
        batch: sequences.
        length: tokens of the longest.
        difference: largest absolute difference of any output; infinite where shapes differ.
    """

    backend: str
    batch: int
    length: int
    difference: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def shapes(max_length: int) -> list[tuple[int, int]]:
    """Batch sizes and lengths to compare: at least twelve, unless the model reads very short texts only."""
    lengths = sorted({length for length in LENGTHS if length < max_length} | {max_length})
    return [(batch, length) for batch in BATCHES for length in lengths]


def random_batch(task: Task[Any], vocab_size: int, batch: int, length: int, seed: int) -> Arrays:
    """Inputs of a task's model with ragged padding: the first text is full, the others end earlier.

    Axes that are neither the batch nor the length, such as choices, get two to four places. Integers whose name says
    nothing else are places in the text.

    Args:
        task: says which inputs there are (`Task.input_axes`).
        vocab_size: ids are below it.
        batch: texts B.
        length: tokens S of the first text.
        seed: of the random numbers.
    """
    generator = np.random.default_rng(seed)
    sizes = {"length": length, "choices": 2 + seed % 3}
    ends = np.maximum(1, length - np.arange(batch) * length // (2 * batch))  # [B]
    made = {}
    for name, axes in task.input_axes().items():
        shape = (batch, *(sizes[axis] if isinstance(axis, str) else axis for axis in axes))
        if name in task.states:
            made[name] = generator.normal(size=shape).astype(np.float32)
            continue
        end = ends.reshape(-1, *[1] * len(axes))
        places = np.broadcast_to(np.arange(length), shape) if "length" in axes else np.zeros(shape, np.int64)
        inside = places < end
        if name == "input_ids":
            value = np.where(inside, generator.integers(1, vocab_size, shape), task.padding.get(name, 0))
        elif name == "token_type_ids":
            value = (places >= end // 2) & inside
        elif name == "attention_mask":
            # A mask of pairs of tokens hides some of them; every token sees itself.
            sees = (generator.random(shape) < 0.8) | np.eye(length, dtype=bool) if axes.count("length") == 2 else True
            value = inside & sees
        elif name == "position_ids":
            value = places
        else:
            value = generator.integers(0, end, shape)
        made[name] = np.ascontiguousarray(value, np.int64)
    return made


def largest_difference(
    expected: Sequence[np.ndarray], found: Sequence[np.ndarray], counts: Sequence[np.ndarray | None] | None = None
) -> float:
    """Largest absolute difference of any two numbers: infinite if shapes differ, NaN if there is a NaN.

    Args:
        expected, found: arrays.
        counts: of each of them, booleans that fit it from the first axis on, false where finite differences do not
            count; None for an array in which all of them count.
    """
    largest = [0.0]
    for one, other, told in zip(expected, found, counts or [None] * len(expected), strict=True):
        if one.shape != other.shape:
            return float("inf")
        difference = np.abs(one - other)
        if told is not None:
            told = told.reshape(*told.shape, *[1] * (one.ndim - told.ndim))
            difference = np.where(told | ~np.isfinite(difference), difference, 0.0)
        largest.append(difference.max(initial=0.0))
    return float(np.max(largest))


def compare(
    reference: Compute, backends: Mapping[str, Compute], task: Task[Any], vocab_size: int, max_length: int
) -> Iterator[Comparison]:
    """Run the model and every back end on the same random inputs of each shape.

    Args:
        reference: the model.
        backends: by name.
        task: of the model.
        vocab_size: ids are below it.
        max_length: tokens of the longest text.
    """
    for number, (batch, length) in enumerate(shapes(max_length)):
        inputs = random_batch(task, vocab_size, batch, length, number)
        expected, told = reference(inputs), task.comparable(inputs)
        counts = [told.get(name) for name in task.output_names]
        for name, compute in backends.items():
            yield Comparison(name, batch, length, largest_difference(expected, compute(inputs), counts))
