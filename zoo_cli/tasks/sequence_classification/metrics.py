"""Scores of classification and regression, from arrays; they agree with scikit-learn's and SciPy's."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_cli.tasks.scores import label_scores, middle, ratio


def single_label_scores(names: list[str], gold: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    """Scores of one class per text.

    Args:
        names: class names.
        gold: index of the right class, int [N].
        predicted: index of the predicted class, int [N].

    Returns:
        ``accuracy``, ``mcc`` (Matthews correlation; Gorodkin 2004 for more than two classes; 0 where undefined) and
        the names of `label_scores`, over the classes that occur in `gold` or `predicted`.
    """
    confusion = np.zeros((len(names), len(names)), np.int64)
    np.add.at(confusion, (gold, predicted), 1)
    correct, wanted, guessed = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    hits, total = float(correct.sum()), float(len(gold))
    covariance = hits * total - float(wanted @ guessed)
    spread = np.sqrt(total**2 - float(guessed @ guessed)) * np.sqrt(total**2 - float(wanted @ wanted))
    seen = np.flatnonzero(wanted + guessed)
    return {
        "accuracy": float(ratio(hits, total)),
        "mcc": float(ratio(covariance, spread)),
        **label_scores([names[index] for index in seen], correct[seen], guessed[seen], wanted[seen]),
    }


def multi_label_scores(names: list[str], gold: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    """Scores of any number of classes per text.

    Args:
        names: L class names.
        gold: the right classes, bool [N, L].
        predicted: the predicted classes, bool [N, L].

    Returns:
        ``accuracy`` (share of texts whose classes are all right) and the names of `label_scores`, over all classes.
    """
    right = (gold == predicted).all(axis=1)
    return {
        "accuracy": float(ratio(right.sum(), len(right))),
        **label_scores(names, (gold & predicted).sum(axis=0), predicted.sum(axis=0), gold.sum(axis=0)),
    }


def pearson(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's correlation of two arrays [N]; 0 where one is constant."""
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    first, second = (values - values.mean() for values in (np.asarray(first, float), np.asarray(second, float)))
    # Scaled first: squares of very small or large numbers would leave the range of floats.
    first, second = first / np.abs(first).max(), second / np.abs(second).max()
    return float(np.clip((first @ second) / np.sqrt((first @ first) * (second @ second)), -1.0, 1.0))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two arrays [N]; 0 where one is constant."""
    return pearson(_ranks(first), _ranks(second)) if len(first) else 0.0


def best_threshold(scores: np.ndarray, gold: np.ndarray, default: float) -> float:
    """The threshold with the highest F1 of ``scores > threshold``.

    Args:
        scores: probabilities, [N].
        gold: the truth, bool [N].
        default: threshold where no score is right; of equally good ones the nearest to it is taken.
    """
    if not gold[scores > 0].any():
        return default
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order].astype(np.float64)
    following = np.append(ranked[1:], 0.0)
    f1 = 2 * np.cumsum(gold[order]) / (np.arange(1, len(ranked) + 1) + gold.sum())
    f1[ranked == following] = -1.0  # no threshold parts equal scores
    cuts = middle(following, ranked)
    best = np.flatnonzero(f1 == f1.max())
    # The default stands as it is if it parts the scores in the same place.
    if ((following[best] <= default) & (default < ranked[best])).any():
        return default
    return float(cuts[best][np.abs(cuts[best] - default).argmin()])
