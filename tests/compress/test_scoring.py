"""Confidence intervals: as wide as they should be, with the same draws for every graph."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from zoo_cli.compress.scoring import DevelopmentSet, _Tally, interval
from zoo_cli.tasks.base import Feature, Metrics, Outputs, Steps


class Accuracy(Metrics[int]):
    def __init__(self) -> None:
        self.right = self.all = 0

    def add(self, example: int, features: Sequence[Feature], outputs: Sequence[Outputs]) -> None:
        self.right += bool(outputs[0]["right"])
        self.all += 1

    def result(self) -> dict[str, float]:
        return {"accuracy": self.right / max(1, self.all)}


def read(features: list[Feature]) -> Steps:
    return (yield features)


def development_set(count: int) -> DevelopmentSet:
    task = SimpleNamespace(
        adapt=lambda examples, training: examples,
        encode=lambda example, training: [{"number": np.array(example)}],
        metrics=Accuracy,
        read=read,
        most_at_once=64,
    )
    work: Any = SimpleNamespace(
        task=task,
        runner=lambda backend: lambda features: [{"right": backend(each["number"])} for each in features],
    )
    return DevelopmentSet(work, range(count))


@pytest.mark.parametrize("count", [100, 400])
def test_an_interval_is_that_of_the_binomial_distribution(count: int) -> None:
    develop = development_set(count)
    backend: Any = lambda number: number % 5 > 0  # noqa: E731
    assert develop.scores(backend) == {"accuracy": 0.8}
    low, high = interval(develop.resampled(backend, "accuracy"))
    assert low < 0.8 < high
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.8 * 0.2 / count), rel=0.3)


def test_differences_are_of_the_same_draws() -> None:
    develop = development_set(300)
    good: Any = lambda number: number % 5 > 0  # noqa: E731
    better: Any = lambda number: number % 5 > 0 or number < 30  # noqa: E731
    old, new = (develop.resampled(backend, "accuracy") for backend in (good, better))
    np.testing.assert_array_equal(old, develop.resampled(good, "accuracy"))
    assert ((new - old) >= 0).all()
    low, high = interval(new - old)
    assert high - low < 0.5 * np.diff(interval(old)).item()


def test_losses_of_labels_are_averaged() -> None:
    labels = {"labels": np.array([1, -100, 2])}
    answer = {"right": np.array(True), "label_losses": np.array([1.0, 0.0, 2.0])}
    tally = _Tally(SimpleNamespace(metrics=Accuracy))  # type: ignore[arg-type]
    tally.add(0, [labels], [answer])
    tally.add(1, [labels], [{**answer, "label_losses": np.array([3.0, 0.0, 2.0])}])
    assert tally.result() == {"loss": 2.0, "accuracy": 1.0}
