"""Random numbers that are functions of what they are for.

Each number is a hash of a key and of a counter, so that a batch is the same whoever makes it, whenever, and in whatever
order: no generator has a state. The hash is SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
generators", 2014), whose definition, other than that of numpy's generators, will never change.
"""

from __future__ import annotations

import numpy as np

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_MASK = (1 << 64) - 1
_ROUNDS = 6


def _mix(values: np.ndarray) -> np.ndarray:
    values = (values ^ (values >> np.uint64(30))) * _FIRST
    values = (values ^ (values >> np.uint64(27))) * _SECOND
    mixed: np.ndarray = values ^ (values >> np.uint64(31))
    return mixed


def hashes(keys: np.ndarray, numbers: np.ndarray | int) -> np.ndarray:
    """A random uint64 for each pair of a key and a number; the arrays are broadcast against each other.

    Args:
        keys: uint64, e.g. earlier hashes.
        numbers: integers that are not negative.
    """
    counters = np.asarray(numbers).astype(np.uint64) + np.uint64(1)
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is what is wanted
        return _mix(_mix(np.asarray(keys, np.uint64)) + counters * _GAMMA)


def key(*parts: int) -> np.ndarray:
    """One key, an array without axes, for a tuple of integers."""
    value = np.zeros((), np.uint64)
    for part in parts:
        value = hashes(value, np.array(part & _MASK, np.uint64))
    return value


def uniforms(keys: np.ndarray, numbers: np.ndarray | int) -> np.ndarray:
    """A random float64 in [0, 1) for each pair of a key and a number, as `hashes`."""
    drawn: np.ndarray = (hashes(keys, numbers) >> np.uint64(11)) * 2.0**-53
    return drawn


def integers(keys: np.ndarray, numbers: np.ndarray | int, below: np.ndarray | int) -> np.ndarray:
    """A random int64 in [0, below) for each pair of a key and a number."""
    drawn: np.ndarray = (uniforms(keys, numbers) * below).astype(np.int64)
    return drawn


def permute(numbers: np.ndarray, size: int, permutation_key: np.ndarray) -> np.ndarray:
    """Where a random permutation of `range(size)` takes some of its numbers, without making all of it.

    A Feistel network permutes the next power of four; numbers that land outside of the range go through it again.

    Args:
        numbers: int64 [N], each in `range(size)`.
        size: of the range.
        permutation_key: from `key`; each gives another permutation.

    Returns:
        int64 [N], different for different numbers.
    """
    half = np.uint64(max(1, ((size - 1).bit_length() + 1) // 2))
    low = np.uint64((1 << int(half)) - 1)
    result = np.asarray(numbers).astype(np.uint64)
    pending = np.arange(len(result))
    while len(pending):
        left, right = result[pending] >> half, result[pending] & low
        for number in range(_ROUNDS):
            left, right = right, left ^ (hashes(hashes(permutation_key, number), right) & low)
        result[pending] = (left << half) | right
        pending = pending[result[pending] >= size]
    return result.astype(np.int64)
