from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_cli.decoding.numeric import at_least_kth, draw, log_softmax, nucleus, top

SIZES = st.sampled_from([1, 2, 7, 100, 1000, 5000])
SEEDS = st.integers(0, 10_000)


def values(seed: int, size: int, ties: bool) -> np.ndarray:
    """Random numbers, on request with many that are equal."""
    x = np.random.default_rng(seed).normal(size=size).astype(np.float32) * 3
    return np.round(x) if ties else x


@given(SEEDS, SIZES, st.booleans(), st.integers(1, 400))
@settings(deadline=None)
def test_top_is_a_stable_sort(seed: int, size: int, ties: bool, k: int) -> None:
    x = values(seed, size, ties)
    np.testing.assert_array_equal(top(x, k), np.argsort(-x, kind="stable")[:k])


@given(SEEDS, SIZES, st.booleans(), st.integers(1, 400))
@settings(deadline=None)
def test_at_least_kth_keeps_ties(seed: int, size: int, ties: bool, k: int) -> None:
    x = values(seed, size, ties)
    np.testing.assert_array_equal(at_least_kth(x, k), np.flatnonzero(x >= np.sort(x)[::-1][min(k, size) - 1]))


def test_at_least_kth_in_the_tail_that_fills_no_block() -> None:
    x = np.zeros(64 * 100 + 5, dtype=np.float32)
    x[-5:] = 1
    np.testing.assert_array_equal(at_least_kth(x, 5), np.arange(len(x) - 5, len(x)))


@given(SEEDS, SIZES, st.booleans(), st.floats(0, 1), st.floats(0.01, 3))
@settings(deadline=None)
def test_nucleus_is_the_shortest_prefix_of_the_sorted_weights(
    seed: int, size: int, ties: bool, share: float, sharpness: float
) -> None:
    weights = np.exp(values(seed, size, ties) * np.float32(sharpness))
    weights /= weights.max()
    order = np.argsort(-weights, kind="stable")
    sums = np.cumsum(weights[order], dtype=np.float64)
    limit, rounding = share * sums[-1], 1e-9 * sums[-1]
    kept = nucleus(weights, limit)
    np.testing.assert_array_equal(np.sort(kept), np.sort(order[: len(kept)]))
    assert len(kept) == size or sums[len(kept) - 1] > limit - rounding
    assert len(kept) == 1 or sums[len(kept) - 2] <= limit + rounding


@given(SEEDS, SIZES, st.floats(0, 1, exclude_max=True))
@settings(deadline=None)
def test_draw_inverts_the_cumulative_sum(seed: int, size: int, uniform: float) -> None:
    weights = np.random.default_rng(seed).integers(0, 3, size).astype(np.float32)  # exact sums, many zeros
    weights[size // 2] = 1
    sums = np.cumsum(weights, dtype=np.float64)
    place = draw(weights, uniform)
    assert weights[place] > 0
    assert place == np.searchsorted(sums, uniform * sums[-1], side="right")


def test_draw_at_the_very_end_takes_a_weight_above_zero() -> None:
    weights = np.zeros(1000, dtype=np.float32)
    weights[[3, 700]] = 0.1
    assert draw(weights, np.nextafter(1.0, 0.0)) == 700
    assert draw(weights, 0.0) == 3


@given(SEEDS)
@settings(deadline=None)
def test_log_softmax(seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(3, 50)).astype(np.float32) * 20 + 500
    expected = (
        x.astype(np.float64) - np.log(np.exp(x.astype(np.float64) - x.max()).sum(axis=1, keepdims=True)) - x.max()
    )
    np.testing.assert_allclose(log_softmax(x), expected, atol=1e-4)
