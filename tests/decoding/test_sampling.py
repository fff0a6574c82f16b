from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import chisquare, kstest

from zoo_cli.decoding.options import GenerationOptions
from zoo_cli.decoding.sampling import sample, uniform

DRAWS = 4000


def exact(logits: np.ndarray, temperature: float, top_k: int, top_p: float) -> np.ndarray:
    """The distribution by its definition: softmax, then top-k, then top-p, then renormalise."""
    z = logits.astype(np.float64) / temperature
    p = np.exp(z - z.max())
    p /= p.sum()
    if top_k:
        p = np.where(p >= np.sort(p)[::-1][min(top_k, len(p)) - 1], p, 0)
    order = np.argsort(-p, kind="stable")
    cumulative = np.cumsum(p[order])
    kept = order[np.concatenate([[True], cumulative[:-1] <= top_p])]
    final = np.zeros_like(p)
    final[kept] = p[kept]
    return final / final.sum()


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [(1.0, 0, 1.0), (0.7, 0, 1.0), (1.0, 5, 1.0), (1.0, 0, 0.8), (1.5, 8, 0.6), (0.5, 3, 0.95), (2.0, 0, 0.01)],
)
@pytest.mark.parametrize("size", [20, 2000])
def test_draws_follow_the_exact_distribution(temperature: float, top_k: int, top_p: float, size: int) -> None:
    logits = np.random.default_rng(size).normal(size=size).astype(np.float32) * 2
    options = GenerationOptions(decode_strategy="sampling", temperature=temperature, top_k=top_k, top_p=top_p)
    counts = np.zeros(size)
    for step in range(DRAWS):
        counts[sample(logits, options, uniform(11, 0, step))[0]] += 1
    expected = exact(logits, temperature, top_k, top_p) * DRAWS
    assert not counts[expected == 0].any()
    # rare tokens are counted together, as the test asks for at least five expected draws in each cell
    order = np.argsort(-expected)
    common = order[expected[order] >= 5]
    rare = np.setdiff1d(order, common)
    found, wanted = counts[common], expected[common]
    if expected[rare].sum() >= 5:
        found, wanted = np.append(found, counts[rare].sum()), np.append(wanted, expected[rare].sum())
    else:
        wanted = wanted * (found.sum() / wanted.sum())
    if len(wanted) > 1:
        assert chisquare(found, wanted).pvalue > 1e-4


def test_the_score_is_the_log_probability_before_any_cut() -> None:
    logits = np.array([1.0, 2.0, 3.0], dtype=np.float32)
    token, score = sample(logits, GenerationOptions(decode_strategy="sampling", top_k=1, temperature=0.3), 0.999)
    assert token == 2
    assert score == pytest.approx(3 - np.log(np.exp([1.0, 2.0, 3.0]).sum()), abs=1e-6)


def test_top_k_keeps_ties_and_top_p_the_smaller_id() -> None:
    logits = np.zeros(6, dtype=np.float32)
    draws = [uniform(0, 0, step) for step in range(300)]
    top_k = GenerationOptions(decode_strategy="sampling", top_k=2)
    assert {sample(logits, top_k, number)[0] for number in draws} == set(range(6))
    top_p = GenerationOptions(decode_strategy="sampling", top_p=0.4)
    assert {sample(logits, top_p, number)[0] for number in draws} == {0, 1, 2}


def test_top_p_after_top_k_counts_shares_of_the_whole_vocabulary() -> None:
    logits = np.log(np.array([0.3, 0.2, 0.1] + [0.04] * 10, dtype=np.float32))
    options = GenerationOptions(decode_strategy="sampling", top_k=3, top_p=0.55)
    drawn = {sample(logits, options, uniform(0, 0, step))[0] for step in range(300)}
    assert drawn == {0, 1, 2}  # of the three alone, two would hold more than 0.55


def test_uniform_numbers() -> None:
    numbers = [uniform(*key) for key in itertools.product((0, 1, 2**64 - 1), range(4), range(200))]
    assert len(set(numbers)) == len(numbers)
    assert kstest(numbers, "uniform").pvalue > 1e-3
    assert uniform(5, 1, 3) == uniform(5, 1, 3)
