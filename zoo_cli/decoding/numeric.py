"""Selections over a vocabulary that neither sort it nor pass over it more often than they must."""

from __future__ import annotations

import numpy as np

_ROWS = 64
_BLOCK = 256
_HEAD = 128


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities along the last axis; float32 [..., V]."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted


def at_least_kth(values: np.ndarray, k: int) -> np.ndarray:
    """Places of the k largest of [n] values and of those equal to the k-th, in order of place."""
    size = len(values)
    if k >= size:
        return np.arange(size)
    columns = size // _ROWS
    places = np.arange(size)
    if 4 * k <= columns:
        # k columns have a maximum of at least the k-th largest maximum, so the k largest values lie above it
        maxima = values[: _ROWS * columns].reshape(_ROWS, columns).max(axis=0)
        places = np.flatnonzero(values >= np.partition(maxima, columns - k)[columns - k])
    found = values[places]
    return places[found >= np.partition(found, len(found) - k)[len(found) - k]]


def top(values: np.ndarray, k: int) -> np.ndarray:
    """Places of the k largest of [n] values, largest first; equal ones in order of place."""
    places = at_least_kth(values, k)
    return places[np.argsort(-values[places], kind="stable")[:k]]


def nucleus(weights: np.ndarray, limit: float) -> np.ndarray:
    """Places of the largest weights, up to and including the one with which their sum exceeds the limit.

    Equal weights count in order of place; without a sum above the limit all places are returned.

    Args:
        weights: float32 [n], not negative, contiguous.
        limit: not negative.
    """
    above, inside = np.zeros(0, dtype=np.int64), at_least_kth(weights, _HEAD)
    if len(inside) < len(weights) and weights[inside].sum(dtype=np.float64) <= limit:
        # the leading bits of a positive float grow with it: a histogram over them finds the narrow range of weights in
        # which the sum passes the limit, and only that range is sorted
        ranges = weights.view(np.uint32) >> 17
        sums = np.cumsum(np.bincount(ranges.astype(np.int64), weights)[::-1])
        passing = int(np.searchsorted(sums, limit, side="right"))
        if passing == len(sums):
            return np.arange(len(weights))
        last = len(sums) - 1 - passing
        above, inside = np.flatnonzero(ranges > last), np.flatnonzero(ranges == last)
        limit -= sums[passing - 1] if passing else 0.0
    inside = inside[np.argsort(-weights[inside], kind="stable")]
    wanted = int(np.searchsorted(np.cumsum(weights[inside], dtype=np.float64), limit, side="right")) + 1
    return np.concatenate([above, inside[:wanted]])


def draw(weights: np.ndarray, uniform: float) -> int:
    """The place in whose share of the weights [n] a number in [0, 1) falls; never one of weight zero."""
    starts = np.arange(0, len(weights), _BLOCK)
    blocks = np.cumsum(np.add.reduceat(weights, starts), dtype=np.float64)
    sought = uniform * blocks[-1]
    block = _first_beyond(blocks, sought)
    start = starts[block]
    inside = np.cumsum(weights[start : start + _BLOCK], dtype=np.float64)
    return int(start) + _first_beyond(inside, sought - (blocks[block - 1] if block else 0.0))


def _first_beyond(sums: np.ndarray, value: float) -> int:
    """Place of the first of the growing sums above the value; where rounding leaves none, of the first largest."""
    return int(min(np.searchsorted(sums, value, side="right"), np.searchsorted(sums, sums[-1])))
