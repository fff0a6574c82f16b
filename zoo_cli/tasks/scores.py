"""Small numpy functions that several tasks' answers and metrics need."""

from __future__ import annotations

from typing import Any

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis in float64."""
    values = np.asarray(logits, np.float64)
    exponentials = np.exp(values - values.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Logistic function in float64, without overflow."""
    values = np.asarray(logits, np.float64)
    small = np.exp(-np.abs(values))
    return np.where(values >= 0, 1.0, small) / (1.0 + small)


def ratio(part: Any, whole: Any) -> np.ndarray:
    """`part / whole` in float64, 0 where `whole` is 0."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole != 0)


def label_scores(names: list[str], correct: np.ndarray, predicted: np.ndarray, gold: np.ndarray) -> dict[str, Any]:
    """Precision, recall and F1 from counts per label; what is undefined (0 / 0) counts as 0.

    Args:
        names: L labels.
        correct: how often each label was rightly predicted, [L].
        predicted: how often it was predicted, [L].
        gold: how often it should have been, [L].

    Returns:
        ``micro_precision, micro_recall, micro_f1`` (from the sums of the counts), ``macro_precision, macro_recall,
        macro_f1`` (means over the labels), and ``labels``: name -> ``precision, recall, f1, support``.
    """
    precision, recall = ratio(correct, predicted), ratio(correct, gold)
    f1 = ratio(2 * np.asarray(correct), np.asarray(predicted) + np.asarray(gold))
    hits, guesses, wanted = np.sum(correct), np.sum(predicted), np.sum(gold)
    scores: dict[str, Any] = {
        "micro_precision": float(ratio(hits, guesses)),
        "micro_recall": float(ratio(hits, wanted)),
        "micro_f1": float(ratio(2 * hits, guesses + wanted)),
    }
    for name, values in (("precision", precision), ("recall", recall), ("f1", f1)):
        scores[f"macro_{name}"] = float(values.mean()) if names else 0.0
    scores["labels"] = {
        name: {
            "precision": float(precision[index]),
            "recall": float(recall[index]),
            "f1": float(f1[index]),
            "support": int(gold[index]),
        }
        for index, name in enumerate(names)
    }
    return scores


def middle(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """A threshold t with `low <= t < high`, halfway where floats are dense enough.

    Halfway, and not at one of the values, so that a difference in the last digit between back ends decides nothing.
    """
    halves = low + (high - low) / 2
    return np.where(halves < high, halves, low)
