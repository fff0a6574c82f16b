"""How good and how fast a graph is, on the back end that will serve it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from zoo_cli.runtime.backends import Backend
from zoo_cli.runtime.pipeline import Runner
from zoo_cli.tasks.base import Feature, Task

BATCH_TOKENS = 1024


def runner_of(task: Task[Any], backend: Backend) -> Runner:
    """A back end as a function from features to their outputs."""
    return Runner(task, lambda batch: dict(zip(task.output_names, backend(batch), strict=True)), BATCH_TOKENS)


class DevelopmentSet:
    """Gold examples, encoded once.

    Args:
        task: encodes them and counts scores.
        examples: the development examples.
    """

    def __init__(self, task: Task[Any], examples: Iterable[Any]) -> None:
        self._task = task
        self._examples = [(each, task.encode(each, training=False)) for each in task.adapt(examples, training=False)]

    def scores(self, backend: Backend) -> dict[str, Any]:
        """The task's scores of a graph."""
        run, metrics = runner_of(self._task, backend), self._task.metrics()
        outputs = iter(run([feature for _, own in self._examples for feature in own]))
        for example, own in self._examples:
            metrics.add(example, own, [next(outputs) for _ in own])
        return metrics.result()


def outputs_of(task: Task[Any], backend: Backend, features: Sequence[Feature]) -> np.ndarray:
    """All numbers that a graph computes for some features, in one row."""
    rows = runner_of(task, backend)(features)
    return np.concatenate([np.ravel(row[name]) for row in rows for name in task.output_names])


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Root of the mean squared difference, as a share of that of the expected numbers."""
    scale = float(np.sqrt(np.mean(np.square(expected)))) or 1.0
    return float(np.sqrt(np.mean(np.square(found - expected)))) / scale


def speed_up(
    task: Task[Any], before: Backend, after: Backend, features: Sequence[Feature], rounds: int = 7
) -> dict[str, Any]:
    """Processor time of two graphs in turn: one text at a time, and in batches.

    Args:
        task: pads the features.
        before: the uncompressed graph.
        after: the compressed graph.
        features: what to compute, of the lengths that occur.
        rounds: how often; medians are compared, since other programs disturb single measurements.

    Returns:
        Milliseconds a text and the factor for either way, and the lower factor as ``speed_up``.
    """
    runs = [runner_of(task, backend) for backend in (before, after)]
    alone = features[:: max(1, len(features) // 16)]

    def one_by_one(run: Runner) -> None:
        for feature in alone:
            run([feature])

    def together(run: Runner) -> None:
        run(features)

    result: dict[str, Any] = {}
    ways: list[tuple[str, Callable[[Runner], None], int]] = [
        ("alone", one_by_one, len(alone)),
        ("batches", together, len(features)),
    ]
    for name, work, count in ways:
        seconds: list[list[float]] = [[], []]
        for number in range(rounds + 1):
            for run, times in zip(runs, seconds, strict=True):
                begin = time.process_time()
                work(run)
                if number:  # the first round warms up
                    times.append(time.process_time() - begin)
        old, new = (statistics.median(times) / count * 1000 for times in seconds)
        result[name] = {"before_ms": old, "after_ms": new, "factor": old / max(new, 1e-9)}
    return {**result, "speed_up": min(result["alone"]["factor"], result["batches"]["factor"])}
