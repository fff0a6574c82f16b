"""Confidence intervals: as wide as they should be, with the same draws for every graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from zoo_cli.compress.scoring import DevelopmentSet, interval
from zoo_cli.tasks.base import Feature, Metrics, Outputs, Steps


class Accuracy(Metrics[int]):
    def __init__(self) -> None:
        self.right = self.all = 0

    def judge(self, example: int, features: Sequence[Feature], outputs: Sequence[Outputs]) -> bool:
        return bool(outputs[0]["right"])

    def record(self, verdict: bool) -> None:
        self.right += verdict
        self.all += 1

    def result(self) -> dict[str, float]:
        return {"accuracy": self.right / max(1, self.all)}


def read(features: list[Feature]) -> Steps:
    return (yield features)


def development_set(count: int, labels: Callable[[int], Feature] = lambda example: {}) -> DevelopmentSet:
    """Of the numbers below ``count``; a backend says of each number what a graph would."""
    task = SimpleNamespace(
        adapt=lambda examples, training: examples,
        encode=lambda example, training: [{"number": np.array(example), **labels(example)}],
        metrics=Accuracy,
        read=read,
        most_at_once=64,
    )
    work: Any = SimpleNamespace(
        task=task,
        runner=lambda backend: lambda features: [backend(int(each["number"])) for each in features],
    )
    return DevelopmentSet(work, range(count))


@pytest.mark.parametrize("count", [100, 400])
def test_an_interval_is_that_of_the_binomial_distribution(count: int) -> None:
    develop = development_set(count)
    backend: Any = lambda number: {"right": number % 5 > 0}  # noqa: E731
    assert develop.scores(backend) == {"accuracy": 0.8}
    low, high = interval(develop.resampled(backend, "accuracy"))
    assert low < 0.8 < high
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.8 * 0.2 / count), rel=0.3)


def test_differences_are_of_the_same_draws() -> None:
    develop = development_set(300)
    good: Any = lambda number: {"right": number % 5 > 0}  # noqa: E731
    better: Any = lambda number: {"right": number % 5 > 0 or number < 30}  # noqa: E731
    old, new = (develop.resampled(backend, "accuracy") for backend in (good, better))
    np.testing.assert_array_equal(old, develop.resampled(good, "accuracy"))
    assert ((new - old) >= 0).all()
    low, high = interval(new - old)
    assert high - low < 0.5 * np.diff(interval(old)).item()


def test_losses_of_labels_are_averaged() -> None:
    labels = [np.array([1, -100, 2]), np.array([1, -100, -100])]
    losses = [np.array([1.0, 0.0, 2.0]), np.array([6.0, 0.0, 0.0])]
    develop = development_set(2, lambda example: {"labels": labels[example]})
    backend: Any = lambda number: {"right": True, "label_losses": losses[number]}  # noqa: E731
    assert develop.scores(backend) == {"loss": 3.0, "accuracy": 1.0}
