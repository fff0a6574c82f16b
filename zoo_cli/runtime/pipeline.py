"""Text in, answers out: a task and something that runs its model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from zoo_cli.base.errors import ZooError
from zoo_cli.data.batching import plan_batches
from zoo_cli.runtime.backends import Backend
from zoo_cli.tasks.base import Feature, Outputs, Task, answer_all

Forward = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]
"""A back end: padded inputs [B, S] by name in, the task's outputs [B, ...] by name out."""

DEFAULT_BATCH_TOKENS = 384
"""What layers hand on stays in the processor's cache: texts of 40 tokens were read 1.1 (integers) to 1.2 times (floats)
as fast as with 1024, by a model of 4 x 312 on one core."""


class Runner:
    """Runs features in batches of like length.

    Args:
        task: says which inputs and outputs there are, and how they are padded.
        forward: the back end.
        batch_tokens: padded tokens in one batch at most; a longer feature runs alone.
    """

    def __init__(self, task: Task[Any], forward: Forward, batch_tokens: int = DEFAULT_BATCH_TOKENS) -> None:
        self.task = task
        self.forward = forward
        self.batch_tokens = batch_tokens

    @classmethod
    def of_backend(cls, task: Task[Any], backend: Backend, batch_tokens: int = DEFAULT_BATCH_TOKENS) -> Runner:
        """A runner of a loaded graph, whose outputs are in the order in which the task names them."""
        return cls(task, lambda batch: dict(zip(task.output_names, backend(batch), strict=True)), batch_tokens)

    def __call__(self, features: Sequence[Feature]) -> list[Outputs]:
        """Outputs of each feature, in order, without padding."""
        shapes = np.array([feature["input_ids"].shape for feature in features], np.int64)
        results: list[Outputs] = [{}] * len(features)
        for rows in plan_batches(shapes, batch_tokens=self.batch_tokens):
            for row, part in zip(rows, self.one_batch([features[row] for row in rows]), strict=True):
                results[row] = part
        return results

    def one_batch(self, features: Sequence[Feature]) -> list[Outputs]:
        """Outputs of features that are computed together, whatever their lengths."""
        inputs = [{name: feature[name] for name in self.task.graph_inputs} for feature in features]
        outputs = self.forward(self.task.stack(inputs))
        return self.task.unstack(outputs, [feature["input_ids"].shape[-1] for feature in features])


class Pipeline:
    """A model that answers requests; the same for a dygraph model, a bundle and the server.

    Args:
        task: the task.
        run: function from what the task's conversations yield to what they are sent (`zoo_cli.tasks.base.Steps`), e.g.
            a `Runner`.
    """

    def __init__(self, task: Task[Any], run: Callable[[Sequence[Any]], list[Any]]) -> None:
        self.task = task
        self.run = run

    def __call__(self, inputs: Any, **parameters: Any) -> Any:
        """Answer one input or a list of them.

        Args:
            inputs: a text or an object with the task's fields (``{"text": ..., "text_pair": ...}``), or a list of such.
            **parameters: request fields that all inputs share, e.g. ``schema`` for extraction.

        Returns:
            One answer, or a list in the same order.

        Raises:
            DataError: an input lacks a field or has a wrong one.
        """
        if isinstance(inputs, list):
            return list(self.stream(inputs, **parameters))
        return next(self.stream([inputs], **parameters))

    def stream(self, inputs: Iterable[Any], window: int = 256, **parameters: Any) -> Iterator[Any]:
        """Answer inputs one after another as they come, at most `window` at a time in shared batches.

        Raises:
            ZooError: of the first input that is wrong, or that `inputs` raised, after the answers before it.
        """
        source, window = iter(inputs), min(window, self.task.most_at_once)
        fault: ZooError | None = None
        while fault is None:
            requests: list[Any] = []
            try:
                for value in islice(source, window):
                    requests.append(self.task.request(with_parameters(value, parameters)))
            except ZooError as error:
                fault = error
            if not requests:
                break
            yield from answer_all(self.task.conversations(requests), self.run)
        if fault is not None:
            raise fault


def with_parameters(value: Any, parameters: dict[str, Any]) -> Any:
    """An input with request fields filled in where it has none of its own."""
    if not parameters:
        return value
    fields = {"text": value} if isinstance(value, str) else value
    return {**parameters, **fields} if isinstance(fields, dict) else value
