"""How good and how fast a graph is, on the back end that will serve it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from zoo_cli.compress.calibration import Arrays
from zoo_cli.runtime.backends import Backend
from zoo_cli.runtime.pipeline import Runner
from zoo_cli.tasks.base import Task, answer_all

_WINDOW = 1024
"""Examples whose outputs are held at the same time."""
_NOTHING = 1e9
"""Numbers beyond this stand for what a text does not have, such as UTC's -1e12 for a missing choice."""
_ROUNDS = 7


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
        run, metrics = Runner.of_backend(self._task, backend), self._task.metrics()
        size = min(_WINDOW, self._task.most_at_once)
        for start in range(0, len(self._examples), size):
            window = self._examples[start : start + size]
            answers = answer_all([self._task.read(own) for _, own in window], run)
            for (example, own), outputs in zip(window, answers, strict=True):
                metrics.add(example, own, outputs)
        return metrics.result()


def outputs_of(backend: Backend, inputs: Sequence[Arrays]) -> np.ndarray:
    """All numbers that a graph computes for some batches, in one row."""
    numbers = np.concatenate([np.ravel(output) for batch in inputs for output in backend(batch)])
    return numbers[~(np.abs(numbers) > _NOTHING)]


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Root of the mean squared difference, as a share of that of the expected numbers."""
    scale = float(np.sqrt(np.mean(np.square(expected)))) or 1.0
    return float(np.sqrt(np.mean(np.square(found - expected)))) / scale


def speed_up(before: Backend, after: Backend, alone: Sequence[Arrays], together: Sequence[Arrays]) -> dict[str, Any]:
    """Processor time of two graphs in turn; medians are compared, since other programs disturb single measurements.

    Args:
        before: the uncompressed graph.
        after: the compressed graph.
        alone: batches of one text each.
        together: batches of many texts.

    Returns:
        Milliseconds a text and the factor for either way, and the lower factor as ``speed_up``.
    """
    result: dict[str, Any] = {}
    for name, inputs in (("alone", alone), ("batches", together)):
        texts = sum(len(batch["input_ids"]) for batch in inputs)
        taken: tuple[list[float], list[float]] = ([], [])
        for number in range(_ROUNDS + 1):
            for backend, times in zip((before, after), taken, strict=True):
                begin = time.process_time()
                for batch in inputs:
                    backend(batch)
                if number:  # the first round warms up
                    times.append(time.process_time() - begin)
        old, new = (statistics.median(times) / texts * 1000 for times in taken)
        result[name] = {"before_ms": old, "after_ms": new, "factor": old / max(new, 1e-9)}
    return {**result, "speed_up": min(result["alone"]["factor"], result["batches"]["factor"])}
