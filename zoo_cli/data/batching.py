"""Batches: which sequences go together, how they are padded, and how the model's answers are cut apart again.

Training, offline prediction and the server all pad and unpad with these functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cache

import numpy as np

NOTHING: frozenset[str] = frozenset()
_CALL_TOKENS = 32
"""Padding that a batch less is worth in prediction: about what a call of a small model costs beside its products."""


def pad(
    features: Sequence[Mapping[str, np.ndarray]],
    padding: Mapping[str, float] | None = None,
    multiple_of: int = 1,
    *,
    square: AbstractSet[str] = NOTHING,
    fixed: AbstractSet[str] = NOTHING,
    left: bool = False,
) -> dict[str, np.ndarray]:
    """Stack features into one batch, filling up shorter sequences.

    Args:
        features: B features with the same names; an array is a scalar, a sequence [S], several of them [C, S] (the
            choices of a question), or for `square` names [..., S, S]. C may differ between features, too.
        padding: name -> value that fills up (0 unless named).
        multiple_of: lengthen the sequences to a multiple of this, so that back ends meet fewer shapes.
        square: names whose last two axes are both the sequence.
        fixed: names that have no sequence axis (e.g. a vector of classes) and are stacked as they are.
        left: put the padding before the sequence instead of after it.

    Returns:
        Name -> array [B], [B, S], [B, C, S] or [B, ..., S, S]; floats as float32, integers and booleans as int64.

    Raises:
        ValueError: there are no features, or they differ in names or in the axes that are not padded.
    """
    if not features:
        raise ValueError("a batch needs at least one feature")
    names = features[0].keys()
    if any(feature.keys() != names for feature in features):
        raise ValueError("the features of a batch differ in their names")
    fill = padding or {}
    batch = {}
    for name in names:
        arrays = [np.asarray(feature[name]) for feature in features]
        dtype = np.float32 if any(array.dtype.kind == "f" for array in arrays) else np.int64
        if name in fixed or arrays[0].ndim == 0:
            batch[name] = np.stack(arrays).astype(dtype)
            continue
        shape = [max(sizes) for sizes in zip(*(array.shape for array in arrays), strict=True)]
        shape[-1] = -(-shape[-1] // multiple_of) * multiple_of
        if name in square:
            shape[-2] = shape[-1]
        sequence_axes = (-2, -1) if name in square else (-1,)
        rows = np.full((len(arrays), *shape), fill.get(name, 0), dtype)
        for row, array in zip(rows, arrays, strict=True):
            place = [slice(size) for size in array.shape]
            for axis in sequence_axes if left else ():
                place[axis] = slice(shape[axis] - array.shape[axis], shape[axis])
            row[tuple(place)] = array
        batch[name] = rows
    return batch


def unpad(
    outputs: Mapping[str, np.ndarray],
    lengths: Sequence[int],
    sequence_outputs: AbstractSet[str] = NOTHING,
    *,
    square: AbstractSet[str] = NOTHING,
    left: bool = False,
) -> list[dict[str, np.ndarray]]:
    """Cut a batch of outputs into those of each sequence; the inverse of `pad`.

    Args:
        outputs: name -> array [B, ...].
        lengths: number of tokens of each of the B sequences.
        sequence_outputs: names of shape [B, S, ...], from which padding is cut.
        square: names of shape [B, ..., S, S], from which padding is cut on both axes.
        left: the padding is before the sequence.

    Returns:
        For each sequence name -> array without batch axis and padding (a view of the batch).
    """
    result = []
    for index, length in enumerate(lengths):
        # A stop of None rather than a negative start keeps an empty sequence empty.
        def kept(size: int, length: int = int(length)) -> slice:
            return slice(size - length, size) if left else slice(length)

        row = {}
        for name, array in outputs.items():
            value = array[index]
            if name in square:
                value = value[..., kept(value.shape[-2]), kept(value.shape[-1])]
            elif name in sequence_outputs:
                value = value[kept(value.shape[0])]
            row[name] = value
        result.append(row)
    return result


def _shapes(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Lengths [N] or [N, axes] as int64 [N, axes]."""
    shapes = np.asarray(lengths, np.int64)
    return shapes.reshape(len(shapes), -1) if len(shapes) else shapes.reshape(0, 1)


def _check(batch_size: int | None, batch_tokens: int | None) -> None:
    if batch_size is None and batch_tokens is None:
        raise ValueError("give batch_size, batch_tokens or both")
    if (batch_size is not None and batch_size < 1) or (batch_tokens is not None and batch_tokens < 1):
        raise ValueError("batch_size and batch_tokens are at least 1")


def _cut(order: np.ndarray, shapes: np.ndarray, batch_size: int | None, batch_tokens: int | None) -> list[np.ndarray]:
    """Cut an order into batches of at most `batch_size` rows and `batch_tokens` tokens, padding counted."""
    _check(batch_size, batch_tokens)
    if batch_tokens is None:
        assert batch_size is not None
        return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    batches = []
    start = 0
    largest = [0] * shapes.shape[1]
    for stop, shape in enumerate(shapes[order].tolist()):
        padded, rows = list(map(max, largest, shape)), stop - start + 1
        too_many = math.prod(padded) * rows > batch_tokens or (batch_size is not None and rows > batch_size)
        if rows > 1 and too_many:
            batches.append(order[start:stop])
            start, padded = stop, shape
        largest = padded
    if len(order):
        batches.append(order[start:])
    return batches


def plan_batches(
    lengths: Sequence[int] | np.ndarray, batch_size: int | None = None, batch_tokens: int | None = None
) -> list[list[int]]:
    """Batches with little padding, for prediction: the longest sequences first.

    With a limit of tokens, batches are cut where padding and the number of calls together cost least: few texts of
    many lengths, as in a single request, would otherwise be a quarter padding.

    Args:
        lengths: number of tokens of each sequence [N], or number of choices and tokens of each question [N, 2].
        batch_size: most sequences (or questions) in a batch.
        batch_tokens: most tokens in a batch, padding counted; a longer sequence is a batch by itself.

    Returns:
        Indices of each batch; every index is in exactly one.

    Raises:
        ValueError: neither limit is given, or one is less than 1.
    """
    _check(batch_size, batch_tokens)
    shapes = _shapes(lengths)
    order = np.argsort(-shapes[:, -1], kind="stable")
    if batch_tokens is None:
        return [batch.tolist() for batch in _cut(order, shapes, batch_size, batch_tokens)]
    most = batch_size or max(1, len(order))
    batches = cheapest(
        shapes[order, -1].tolist(),
        shapes[order, :-1].prod(axis=1).tolist(),
        lambda size: min(most, batch_tokens // max(1, size)),
    )
    return [order[batch].tolist() for batch in batches]


def cheapest(lengths: Sequence[int], sequences: Sequence[int], allowed: Callable[[int], int]) -> list[slice]:
    """Cut rows into the batches that together cost least: their tokens with padding, and `_CALL_TOKENS` for each.

    Args:
        lengths: tokens of the longest sequence of each row; the longest row comes first.
        sequences: number of sequences in each row, such as the choices of a question.
        allowed: from the tokens of a padded row to the number of such rows in a batch; one is always allowed.

    Returns:
        The places of the rows of each batch.
    """
    allowed = cache(allowed)
    costs, starts = [0], [0]  # of the cheapest batches of the first rows, and where the last of them starts
    for stop in range(1, len(lengths) + 1):
        best, most = stop - 1, 0
        least = math.inf
        for start in range(stop - 1, -1, -1):
            count, most = stop - start, max(most, sequences[start])
            size = most * lengths[start]
            if count > 1 and count > allowed(size):
                break
            if costs[start] + count * size < least:
                least, best = costs[start] + count * size, start
        costs.append(int(least) + _CALL_TOKENS)
        starts.append(best)
    batches, stop = [], len(lengths)
    while stop:
        batches.append(slice(starts[stop], stop))
        stop = starts[stop]
    return batches[::-1]


def epoch_batches(
    lengths: Sequence[int] | np.ndarray,
    seed: int,
    epoch: int,
    batch_size: int | None = None,
    batch_tokens: int | None = None,
    shuffle: bool = True,
    bucket: int = 64,
) -> list[np.ndarray]:
    """The batches of one epoch of training: a pure function of its arguments, so that a resumed run sees the same.

    Rows are shuffled, sorted by length inside windows of `bucket` batches (which saves most of the padding and keeps
    batches random), cut into batches, and the batches are shuffled.

    Args:
        lengths: as in `plan_batches`.
        seed: of the run.
        epoch: number of the epoch.
        batch_size: most sequences (or questions) in a batch.
        batch_tokens: most tokens in a batch, padding counted.
        shuffle: False keeps the order of the data and does not sort.
        bucket: number of batches in a window; 1 draws batches without regard to length.

    Returns:
        int64 indices of each batch; every index is in exactly one.

    Raises:
        ValueError: neither limit is given, or one is less than 1.
    """
    shapes = _shapes(lengths)
    order = np.arange(len(shapes))
    if not shuffle:
        return _cut(order, shapes, batch_size, batch_tokens)
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(order)
    if bucket > 1 and len(order):
        rows = batch_size or len(order)
        if batch_tokens is not None:
            rows = min(rows, max(1, batch_tokens // max(1, int(shapes.prod(axis=1).mean()))))
        window = rows * bucket
        order = np.concatenate(
            [
                part[np.argsort(shapes[part, -1], kind="stable")]
                for part in np.split(order, range(window, len(order), window))
            ]
        )
    batches = _cut(order, shapes, batch_size, batch_tokens)
    return [batches[index] for index in generator.permutation(len(batches))]
