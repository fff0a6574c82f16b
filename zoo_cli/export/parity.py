"""Do the exported graphs compute what the model computes? On many shapes, number by number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

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
        difference: largest absolute difference of any output.
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


def random_batch(
    input_names: Sequence[str],
    vocab_size: int,
    batch: int,
    length: int,
    seed: int,
    state_shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Arrays:
    """Inputs with ragged padding: the first row is full, the others end earlier.

    Args:
        input_names: of `input_ids`, `token_type_ids`, `attention_mask`, `position_ids` and the states.
        vocab_size: ids are below it.
        batch: rows B.
        length: tokens S of the first row.
        seed: of the random ids.
        state_shapes: float inputs -> shape without the batch axis.
    """
    generator = np.random.default_rng(seed)
    ends = np.maximum(1, length - np.arange(batch) * length // (2 * batch))[:, None]  # [B, 1]
    places = np.arange(length)[None, :]  # [1, S]
    inside = places < ends
    made = {
        "input_ids": np.where(inside, generator.integers(1, vocab_size, (batch, length)), 0),
        "token_type_ids": ((places >= ends // 2) & inside).astype(np.int64),
        "attention_mask": inside.astype(np.int64),
        "position_ids": np.broadcast_to(places, (batch, length)).copy(),
    }
    states = state_shapes or {}
    return {
        name: generator.normal(size=(batch, *states[name])).astype(np.float32)
        if name in states
        else made[name].astype(np.int64)
        for name in input_names
    }


def compare(
    reference: Compute,
    backends: dict[str, Compute],
    input_names: Sequence[str],
    vocab_size: int,
    max_length: int,
    state_shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Iterator[Comparison]:
    """Run the model and every back end on the same random inputs of each shape."""
    for number, (batch, length) in enumerate(shapes(max_length)):
        inputs = random_batch(input_names, vocab_size, batch, length, number, state_shapes)
        expected = reference(inputs)
        for name, compute in backends.items():
            found = compute(inputs)
            difference = max(
                float(np.abs(np.asarray(a) - np.asarray(b)).max(initial=0.0))
                if np.shape(a) == np.shape(b)
                else float("inf")
                for a, b in zip(expected, found, strict=True)
            )
            yield Comparison(name, batch, length, difference)
