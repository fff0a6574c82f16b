from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from zoo_cli.decoding.options import GenerationOptions
from zoo_cli.decoding.processors import LOWEST, apply_rules, set_token_logits


def ruled(scores: list, history: list, new_tokens: int = 0, taken: Sequence[int] = (), **options: Any) -> np.ndarray:
    array = np.array(scores, dtype=np.float32, ndmin=2)
    history_array = np.array(history, dtype=np.int64, ndmin=2)
    apply_rules(array, history_array, new_tokens, GenerationOptions(**options), taken)
    return array


def test_minimum_length_forbids_the_end_token_only() -> None:
    scores = [1.0, 2.0, 3.0]
    options = {"min_new_tokens": 2, "eos_token_id": 2}
    np.testing.assert_array_equal(ruled(scores, [0], 1, **options), [[1, 2, LOWEST]])
    np.testing.assert_array_equal(ruled(scores, [0, 0], 2, **options), [scores])


def test_repetition_penalty_counts_each_token_once_per_row() -> None:
    found = ruled([[2.0, -2.0, 4.0, 5.0]] * 2, [[0, 1, 0, 0], [2, 2, 2, 1]], repetition_penalty=2.0)
    np.testing.assert_array_equal(found, [[1, -4, 4, 5], [2, -4, 2, 5]])


def test_ngrams() -> None:
    scores = [1.0] * 6
    found = ruled([scores] * 2, [[1, 2, 3, 1, 2], [1, 2, 3, 4, 5]], no_repeat_ngram_size=3)
    np.testing.assert_array_equal(found == LOWEST, [[0, 0, 0, 1, 0, 0], [0] * 6])
    found = ruled(scores, [1, 2, 1, 3, 1], no_repeat_ngram_size=2)
    np.testing.assert_array_equal(np.flatnonzero(found[0] == LOWEST), [2, 3])
    found = ruled(scores, [1, 4], no_repeat_ngram_size=1)
    np.testing.assert_array_equal(np.flatnonzero(found[0] == LOWEST), [1, 4])
    np.testing.assert_array_equal(ruled(scores, [1, 1], no_repeat_ngram_size=3), [scores])


def test_tokens_of_earlier_groups_cost_by_count() -> None:
    found = ruled([3.0, 3.0, 3.0], [0], taken=(1, 2, 1), diversity_rate=0.5)
    np.testing.assert_array_equal(found, [[3, 2, 2.5]])


def test_forced_tokens() -> None:
    assert ruled([1.0, 2.0], [7], forced_bos_token_id=0).tolist() == [[0.0, LOWEST]]
    assert ruled([1.0, 2.0], [7, 7], forced_bos_token_id=0).tolist() == [[1.0, 2.0]]
    options = {"max_new_tokens": 3, "forced_eos_token_id": 0}
    assert ruled([1.0, 2.0], [7, 7], 2, **options).tolist() == [[0.0, LOWEST]]
    assert ruled([1.0, 2.0], [7, 7], 1, **options).tolist() == [[1.0, 2.0]]


def test_order_of_rules() -> None:
    """Diversity before repetition penalty, the forced token last of all."""
    found = ruled([4.0, 4.0], [0], taken=(0,), diversity_rate=1.0, repetition_penalty=3.0)
    assert found[0, 0] == 1.0
    found = ruled(
        [4.0, 4.0],
        [1],
        eos_token_id=1,
        min_new_tokens=1,
        max_new_tokens=1,
        forced_eos_token_id=1,
        no_repeat_ngram_size=1,
    )
    assert found.tolist() == [[LOWEST, 0.0]]


def test_a_penalty_on_a_forbidden_token_stays_quiet(recwarn: pytest.WarningsRecorder) -> None:
    found = ruled([1.0, 2.0], [1], eos_token_id=1, min_new_tokens=2, repetition_penalty=2.0)
    assert found[0, 1] <= LOWEST
    assert not list(recwarn)


def test_family_rules() -> None:
    scores = np.ones((2, 4), dtype=np.float32)
    set_token_logits(scores, {3: -1e9, 0: -1e4})
    np.testing.assert_array_equal(scores, [[-1e4, 1, 1, -1e9]] * 2)
    set_token_logits(scores, {})
