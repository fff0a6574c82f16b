"""How a graph is put to work while it is compressed: by features, or by the decoding engine step by step.

Search, gates and measurements are the same for both; they ask a `Workload` for what differs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Protocol

import numpy as np

from zoo_cli.base.errors import DataError
from zoo_cli.compress import calibration
from zoo_cli.compress.calibration import Arrays
from zoo_cli.decoding.engine import Prompt, Request, StepModel
from zoo_cli.runtime.backends import Backend
from zoo_cli.runtime.decoder import DecoderFacts, GraphBatch
from zoo_cli.runtime.generation import MAX_ROWS, GenerationRunner
from zoo_cli.runtime.loading import Bundle
from zoo_cli.runtime.pipeline import Pipeline, Runner
from zoo_cli.tasks.base import Feature, Outputs, Task
from zoo_cli.tasks.features import IGNORE_INDEX
from zoo_cli.tasks.generative import GenerativeTask

_ALONE = 16
"""Texts whose time is measured one by one."""
_PROMPTS = 32
_PROMPT_TOKENS = 128
"""Prompts that are recorded, and tokens of each: a call holds the keys and values of all of them."""
_TOGETHER = 4
_STEPS = 2


@dataclass(frozen=True)
class Sample:
    """Calls of a graph that stand for what it will be asked.

    Args:
        inputs: batches of several texts.
        alone: batches of one text.
        lengths: tokens of each text.
        sha256: of the texts, to say what a model was calibrated with.
    """

    inputs: list[Arrays]
    alone: list[Arrays]
    lengths: list[int]
    sha256: str


class Workload(Protocol):
    """What a graph is asked."""

    @property
    def task(self) -> Task[Any]:
        """What the graph is for."""

    def runner(self, backend: Backend) -> Callable[[Sequence[Any]], list[Any]]:
        """What computes the development examples, see `zoo_cli.tasks.base.answer_all`."""

    def pipeline(self, backend: Backend) -> Pipeline:
        """What answers requests."""

    def sample(self, backend: Backend, examples: Iterable[Any], count: int, seed: int) -> Sample:
        """Calls from training examples of all lengths that occur.

        Args:
            backend: the float graph.
            examples: training examples.
            count: how many texts.
            seed: of the draw.

        Raises:
            DataError: there are no examples (`no-calibration-data`).
        """


def workload(bundle: Bundle) -> Workload:
    """The workload of a bundle's task."""
    if isinstance(bundle.task, GenerativeTask):
        return DecoderWorkload(bundle.task, DecoderFacts.load(bundle.folder))
    return EncoderWorkload(bundle.task)


class EncoderWorkload:
    """One forward pass for each feature."""

    def __init__(self, task: Task[Any]) -> None:
        self.task = task

    def runner(self, backend: Backend) -> Runner:
        return Runner.of_backend(self.task, backend)

    def pipeline(self, backend: Backend) -> Pipeline:
        return Pipeline(self.task, self.runner(backend))

    def sample(self, backend: Backend, examples: Iterable[Any], count: int, seed: int) -> Sample:
        features = calibration.choose_features(self.task, self.runner(backend), examples, count, seed)
        return Sample(
            calibration.batches(self.task, features),
            [self.task.stack([feature]) for feature in features[:: max(1, len(features) // _ALONE)]],
            [feature["input_ids"].shape[-1] for feature in features],
            calibration.digest(features),
        )


class DecoderWorkload:
    """Prompts, and then one token of each text at a time.

    Args:
        task: writes texts.
        facts: of the model.
    """

    def __init__(self, task: GenerativeTask[Any], facts: DecoderFacts) -> None:
        self.task = task
        self._facts = facts

    def _model(self, backend: Backend) -> GraphBatch:
        return GraphBatch(backend, self._facts)

    def runner(self, backend: Backend) -> Callable[[Sequence[Any]], list[Any]]:
        generate = GenerationRunner(partial(self._model, backend))

        def run(asked: Sequence[Any]) -> list[Any]:
            if asked and isinstance(asked[0], Request):
                return generate(asked)
            if not self.task.output_names:  # only the loss in training needs the gold answer read
                return [{} for _ in asked]
            return label_scores(partial(self._model, backend), asked)

        return run

    def pipeline(self, backend: Backend) -> Pipeline:
        return Pipeline(self.task, GenerationRunner(partial(self._model, backend)))

    def sample(self, backend: Backend, examples: Iterable[Any], count: int, seed: int) -> Sample:
        prompts = self._prompts(examples, min(count, _PROMPTS), seed)
        digest = hashlib.sha256(b"".join(prompt["input_ids"].tobytes() for prompt in prompts))
        groups = [prompts[start : start + _TOGETHER] for start in range(0, len(prompts), _TOGETHER)]
        return Sample(
            [call for group in groups for call in self._calls(backend, group)],
            [call for prompt in prompts[:: max(1, len(prompts) // _ALONE)] for call in self._calls(backend, [prompt])],
            [len(prompt["input_ids"]) for prompt in prompts],
            digest.hexdigest(),
        )

    def _prompts(self, examples: Iterable[Any], count: int, seed: int) -> list[Prompt]:
        """Prompts by length, evenly spread over the lengths that occur."""
        rows = list(self.task.adapt(examples, training=False))
        order = np.random.default_rng(seed).permutation(len(rows))
        found = [self._prompt(rows[row]) for row in islice(order, 4 * count)]
        if not found:
            raise DataError(
                "no-calibration-data", "there are no training examples to calibrate with", fix="set data.train"
            )
        found.sort(key=lambda prompt: len(prompt["input_ids"]))
        places = np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int)
        return [found[place] for place in places]

    def _prompt(self, example: Any) -> Prompt:
        """The end of an example's prompt."""
        (request,) = next(self.task.steps(self.task.request(self.task.request_of(example))))
        cut = slice(-_PROMPT_TOKENS, None)
        return {name: values[(cut,) * values.ndim] for name, values in request.prompt.items()}

    def _calls(self, backend: Backend, prompts: Sequence[Prompt]) -> list[Arrays]:
        """What the graph is asked for some prompts and the first tokens behind them."""
        recorder = _Recorder(backend)
        model = self._model(recorder)
        logits = model.prefill(prompts)
        for _ in range(_STEPS):
            logits = model.step(logits.argmax(-1))
        return recorder.calls


class _Recorder:
    """A back end that remembers what it was asked."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.input_names = backend.input_names
        self.calls: list[Arrays] = []

    def __call__(self, batch: Arrays) -> list[np.ndarray]:
        self.calls.append({name: values.copy() for name, values in batch.items()})  # the cache changes in place
        return self._backend(batch)

    def clone(self) -> _Recorder:
        return self


def label_scores(open_model: Callable[[], StepModel], features: Sequence[Feature]) -> list[Outputs]:
    """`label_losses` and `label_hits` [S] of features with `labels`, each label's text read by prompt and steps.

    Args:
        open_model: makes the model with an empty batch.
        features: texts with at least one label that counts.
    """
    outputs: list[Outputs] = [
        {name: np.zeros(len(feature["labels"]), np.float32) for name in ("label_losses", "label_hits")}
        for feature in features
    ]
    longest_first = sorted(range(len(features)), key=lambda index: -_steps(features[index]))
    for start in range(0, len(features), MAX_ROWS):
        running = longest_first[start : start + MAX_ROWS]
        model = open_model()
        firsts = {index: _first(features[index]) for index in running}
        logits = model.prefill([{"input_ids": features[index]["input_ids"][: firsts[index] + 1]} for index in running])
        for step in range(_steps(features[running[0]]) + 1):
            for row, index in enumerate(running):
                place = firsts[index] + step
                label = features[index]["labels"][place]
                if label != IGNORE_INDEX:
                    scores = logits[row].astype(np.float64)
                    top = scores.max()
                    loss = top + np.log(np.exp(scores - top).sum()) - scores[label]
                    outputs[index]["label_losses"][place] = loss
                    outputs[index]["label_hits"][place] = scores.argmax() == label
            running = [index for index in running if _steps(features[index]) > step]
            if running:  # the longest come first, so those that end are the last rows
                model.select(np.arange(len(running)))
                tokens = [features[index]["input_ids"][firsts[index] + step + 1] for index in running]
                logits = model.step(np.array(tokens, np.int64))
    return outputs


def _first(feature: Feature) -> int:
    """Place of the first label that counts."""
    return int(np.argmax(feature["labels"] != IGNORE_INDEX))


def _steps(feature: Feature) -> int:
    """Tokens behind that of the first label."""
    return len(feature["input_ids"]) - 1 - _first(feature)
