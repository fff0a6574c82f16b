"""Scores agree with scikit-learn's and SciPy's on random data."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats
from sklearn import metrics as reference

from zoo_cli.tasks.scores import sigmoid, softmax
from zoo_cli.tasks.sequence_classification.metrics import (
    best_threshold,
    multi_label_scores,
    pearson,
    single_label_scores,
    spearman,
)

NAMES = ["a", "b", "c", "d", "e"]
classes = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60)


@given(classes)
def test_single_label(rows: list[tuple[int, int]]) -> None:
    gold, predicted = np.array(rows).T
    scores = single_label_scores(NAMES, gold, predicted)
    assert scores["accuracy"] == pytest.approx(reference.accuracy_score(gold, predicted))
    assert scores["micro_f1"] == pytest.approx(scores["accuracy"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert scores["mcc"] == pytest.approx(reference.matthews_corrcoef(gold, predicted))
        macro = reference.precision_recall_fscore_support(gold, predicted, average="macro", zero_division=0)
        each = reference.precision_recall_fscore_support(gold, predicted, zero_division=0)
    assert [scores[f"macro_{name}"] for name in ("precision", "recall", "f1")] == pytest.approx(macro[:3])
    seen = sorted({*gold.tolist(), *predicted.tolist()})
    assert list(scores["labels"]) == [NAMES[index] for index in seen]
    for column, name in enumerate(("precision", "recall", "f1", "support")):
        assert [row[name] for row in scores["labels"].values()] == pytest.approx(each[column])


@given(arrays.arrays(bool, st.tuples(st.just(2), st.integers(1, 30), st.just(4))))
def test_multi_label(rows: np.ndarray) -> None:
    gold, predicted = rows
    scores = multi_label_scores(NAMES[:4], gold, predicted)
    assert scores["accuracy"] == pytest.approx(reference.accuracy_score(gold, predicted))
    for average in ("micro", "macro"):
        expected = reference.precision_recall_fscore_support(gold, predicted, average=average, zero_division=0)
        assert [scores[f"{average}_{name}"] for name in ("precision", "recall", "f1")] == pytest.approx(expected[:3])


numbers = st.one_of(st.integers(0, 5).map(float), st.floats(-1e6, 1e6).map(lambda x: round(x, 3)))


@given(st.lists(st.tuples(numbers, numbers), min_size=3, max_size=50))
def test_correlations(rows: list[tuple[float, float]]) -> None:
    first, second = np.array(rows).T
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        assert pearson(first, second) == spearman(first, second) == 0
        return
    assert spearman(first, second) == pytest.approx(stats.spearmanr(first, second)[0], abs=1e-9)
    assert pearson(first, second) == pytest.approx(stats.pearsonr(first, second)[0], abs=1e-6)


@given(
    st.lists(st.tuples(st.integers(0, 20).map(lambda k: k / 20), st.booleans()), min_size=1, max_size=25),
    st.sampled_from([0.3, 0.5]),
)
def test_best_threshold(rows: list[tuple[float, bool]], default: float) -> None:
    scores, gold = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])

    def f1(threshold: float) -> float:
        chosen = scores > threshold
        return 2 * (chosen & gold).sum() / max(chosen.sum() + gold.sum(), 1)

    found = best_threshold(scores, gold, default)
    assert 0 <= found <= 1
    assert f1(found) == pytest.approx(max(f1(threshold) for threshold in [*(np.arange(20) / 20), default]))
    if f1(default) == pytest.approx(f1(found)):
        assert found == default


@given(arrays.arrays(np.float32, (3, 4), elements=st.floats(-200, 200, width=32)))
def test_probabilities(logits: np.ndarray) -> None:
    np.testing.assert_allclose(softmax(logits).sum(axis=-1), 1)
    np.testing.assert_allclose(sigmoid(logits), 1 / (1 + np.exp(-logits.astype(np.float64))), rtol=1e-9)
