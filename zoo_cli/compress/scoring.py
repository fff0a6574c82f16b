"""How good and how fast a graph is, on the back end that will serve it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo_cli.compress.calibration import Arrays
from zoo_cli.compress.workloads import Workload
from zoo_cli.runtime.backends import Backend
from zoo_cli.tasks.base import Task, answer_all
from zoo_cli.tasks.features import IGNORE_INDEX

_WINDOW = 1024
"""Examples whose outputs are held at the same time."""
_NOTHING = 1e9
"""Numbers beyond this stand for what a text does not have, such as UTC's -1e12 for a missing choice."""
_ROUNDS = 7
_RESAMPLED = (100, 1000)
_MOST_COUNTED = 100_000
"""Resampled sets, at least and at most: as many as can be counted with so many examples in all."""


class DevelopmentSet:
    """Gold examples, encoded once.

    Args:
        work: what graphs are asked.
        examples: the development examples.
    """

    def __init__(self, work: Workload, examples: Iterable[Any]) -> None:
        self._work, self._task = work, work.task
        adapted = self._task.adapt(examples, training=False)
        self._examples = [(each, self._task.encode(each, training=False)) for each in adapted]

    def scores(self, backend: Backend) -> dict[str, Any]:
        """The task's scores of a graph, and ``loss`` where the graph gives that of each label."""
        tally = _Tally(self._task)
        for verdict in self._judged(backend):
            tally.record(verdict)
        return tally.result()

    def resampled(self, backend: Backend, metric: str) -> np.ndarray:
        """A score on sets of examples drawn with replacement (Poisson bootstrap, Chamandy et al., 2012): float64 [n].

        The draws are the same for every graph, so that differences can be taken one by one.
        """
        count = int(np.clip(_MOST_COUNTED // max(1, len(self._examples)), *_RESAMPLED))
        draws = np.random.default_rng(0).poisson(1.0, (len(self._examples), count))
        draws = draws[:, draws.any(axis=0)]  # of few examples some draws are empty
        tallies = [_Tally(self._task) for _ in range(draws.shape[1])]
        for verdict, drawn in zip(self._judged(backend), draws, strict=True):
            for tally, times in zip(tallies, drawn, strict=True):
                for _ in range(times):
                    tally.record(verdict)
        return np.array([tally.result()[metric] for tally in tallies], np.float64)

    def _judged(self, backend: Backend) -> Iterator[_Verdict]:
        """What becomes of each example with what the graph says of its features."""
        run, size, metrics = self._work.runner(backend), min(_WINDOW, self._task.most_at_once), self._task.metrics()
        for start in range(0, len(self._examples), size):
            window = self._examples[start : start + size]
            answers = answer_all([self._task.read(own) for _, own in window], run)
            for (example, own), outputs in zip(window, answers, strict=True):
                loss, labels = 0.0, 0
                for feature, output in zip(own, outputs, strict=False):  # a text that is written has no labels
                    if "label_losses" in output:
                        loss += float(output["label_losses"].sum(dtype=np.float64))
                        labels += int((feature["labels"] != IGNORE_INDEX).sum())
                yield _Verdict(metrics.judge(example, own, outputs), loss, labels)


class _Verdict(NamedTuple):
    """What counts of an example: for the task's scores, and the sum and number of its labels' losses."""

    of_task: Any
    loss: float
    labels: int


class _Tally:
    """Scores and, where there are losses of labels, their mean."""

    def __init__(self, task: Task[Any]) -> None:
        self._metrics = task.metrics()
        self._loss, self._labels = 0.0, 0

    def record(self, verdict: _Verdict) -> None:
        self._metrics.record(verdict.of_task)
        self._loss += verdict.loss
        self._labels += verdict.labels

    def result(self) -> dict[str, Any]:
        loss = {"loss": self._loss / self._labels} if self._labels else {}
        return {**loss, **self._metrics.result()}


def interval(values: np.ndarray) -> list[float]:
    """The middle 95 % of resampled values."""
    return [float(end) for end in np.percentile(values, [2.5, 97.5])]


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
