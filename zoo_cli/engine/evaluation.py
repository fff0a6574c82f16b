"""Scores of a model on gold examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from zoo_cli.decoding.engine import Request
from zoo_cli.engine.generation import generation_runner
from zoo_cli.engine.objectives.supervised import label_count
from zoo_cli.engine.predictor import Predictor
from zoo_cli.recipe.schema import TrainSection
from zoo_cli.tasks.base import Feature, Metrics, Outputs, Task, answer_all

_WINDOW = 1024
"""Examples that are run together: enough to sort by length, few enough to hold their outputs."""


class Evaluation:
    """A development set, encoded once; each call scores the model as it then is.

    Args:
        model: the model.
        task: encodes examples and counts scores.
        examples: gold examples.
        options: `batch_size` and `batch_tokens` are read.
        tune: let the task choose its thresholds by these examples, see `Task.tune`.
        by_file: score each file that the examples come from too, e.g. one of each language.
    """

    def __init__(
        self,
        model: paddle.nn.Layer,
        task: Task[Any],
        examples: Iterable[Any],
        options: TrainSection,
        tune: bool = False,
        by_file: bool = False,
    ) -> None:
        self._model = model
        self._task = task
        self._tune = tune
        self._predictor = Predictor(model, task, options.batch_size, options.batch_tokens)
        self._examples = [(ex, task.encode(ex, training=False)) for ex in task.adapt(examples, training=False)]
        sources = (example.source for example, _ in self._examples) if by_file else ()
        self._by_file = len({source.file for source in sources if source is not None}) > 1

    def __call__(self) -> dict[str, Any]:
        """The task's scores, and ``loss``, the mean over all labels (and readings), if the model computes one.

        With `by_file`, and examples of two files or more, ``files`` holds the plain scores of each file and their
        means over the files.

        Raises:
            MemoryLimitError: memory did not suffice (`out-of-memory`).
        """
        metrics = self._task.metrics()
        of_files: dict[str, Metrics] = {}
        loss = labels = 0.0

        def run(features: list[Any]) -> list[Any]:
            nonlocal loss, labels
            if features and isinstance(features[0], Request):  # all examples ask the same kind of thing at a time
                return generation_runner(self._model)(features)
            outputs: list[Outputs] = [{}] * len(features)
            for indices, batch, result in self._predictor.batches(features):
                if result.loss is not None:
                    weight = label_count(batch)
                    loss += result.loss.item() * weight
                    labels += weight
                rows = self._predictor.rows(result, [features[index] for index in indices])
                for index, row in zip(indices, rows, strict=True):
                    outputs[index] = row
            return outputs

        for window in _windows(self._examples, min(_WINDOW, self._task.most_at_once)):
            answers = answer_all([self._task.read(own) for _, own in window], run)
            for (example, own), outputs in zip(window, answers, strict=True):
                verdict = metrics.judge(example, own, outputs)
                metrics.record(verdict)
                if self._by_file and example.source is not None:
                    of_files.setdefault(example.source.file, self._task.metrics()).record(verdict)
        if self._tune:
            self._task.tune(metrics)
        scores = dict(metrics.result())
        if self._by_file:
            scores["files"] = _table({file: own.result() for file, own in of_files.items()})
        return {"loss": loss / labels, **scores} if labels else scores


def _table(results: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Plain scores of each file, and their means over the files."""
    plain = {
        file: {name: value for name, value in result.items() if isinstance(value, int | float)}
        for file, result in results.items()
    }
    names = [Path(file).name for file in plain]
    rows = dict(zip(names if len(set(names)) == len(names) else plain, plain.values(), strict=True))
    scores = dict.fromkeys(name for row in plain.values() for name in row)
    mean = {name: float(np.mean([row[name] for row in plain.values() if name in row])) for name in scores}
    return {**rows, "mean": mean}


def _windows(examples: list[tuple[Any, list[Feature]]], size: int) -> Iterator[list[tuple[Any, list[Feature]]]]:
    for start in range(0, len(examples), size):
        yield examples[start : start + size]
