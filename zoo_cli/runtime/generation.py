"""Requests of generating tasks, run in shared batches by whatever computes the next token's scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from zoo_cli.decoding import engine
from zoo_cli.decoding.engine import Request, StepModel, Update
from zoo_cli.decoding.search import Generated
from zoo_cli.runtime.pipeline import Pipeline
from zoo_cli.tasks.generative import GenerativeTask
from zoo_cli.tasks.joining import TextStream

MAX_ROWS = 64
"""Texts and beams that are written at the same time, unless told otherwise."""


class GenerationRunner:
    """What runs the conversations of `zoo_cli.tasks.generative.GenerativeTask` in a `Pipeline`.

    Args:
        open_model: makes the model behind the decoding engine, with an empty batch; called for each run, so that the
            model may have learnt in between.
        max_rows: texts and beams that are written at the same time.
    """

    def __init__(self, open_model: Callable[[], StepModel], max_rows: int = MAX_ROWS) -> None:
        self._open_model = open_model
        self._max_rows = max_rows

    def __call__(self, requests: Sequence[Request]) -> list[list[Generated]]:
        """The sequences of each request.

        Raises:
            DataError: a prompt is empty or too long for the model.
            ArtifactError: the model's scores are not finite.
        """
        return engine.generate(self._open_model(), requests, self._max_rows)

    def stream(self, requests: Sequence[Request]) -> Iterator[Update]:
        """Tokens as they come, and each request's sequences at its end; errors as for a call."""
        return engine.stream(self._open_model(), requests, self._max_rows)


class AnswerStream:
    """The text of one answer, piece by piece as it is written; beam search gives it in one piece.

    Args:
        pipeline: of a `GenerativeTask`, run by a `GenerationRunner`.
        value: the input, a text or an object with the task's fields. It must not ask for several texts.

    Attributes:
        answer: the whole answer, once all pieces have been taken.

    Raises:
        DataError: the input is wrong.
    """

    def __init__(self, pipeline: Pipeline, value: Any) -> None:
        assert isinstance(pipeline.task, GenerativeTask) and isinstance(pipeline.run, GenerationRunner)
        self._run = pipeline.run
        self._text = TextStream(pipeline.task.text)
        self._steps = pipeline.task.steps(pipeline.task.request(value))
        self._requests: list[Request] = next(self._steps)
        self.answer: Any = None

    def __iter__(self) -> Iterator[str]:
        for update in self._run.stream(self._requests):
            pieces = [self._text.add(token) for _, token in update.tokens]
            if update.sequences is not None:
                pieces.append(self._text.end())
                self._finish(update.sequences)
            if any(pieces):
                yield "".join(pieces)

    def _finish(self, sequences: list[Generated]) -> None:
        try:
            self._steps.send([sequences])
        except StopIteration as stop:
            self.answer = stop.value
