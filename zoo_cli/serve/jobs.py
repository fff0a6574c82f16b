"""One input on its way through a model."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import Any

from zoo_cli.serve.refusals import Refusal
from zoo_cli.tasks.base import Feature, Outputs, Steps, Task


@dataclass(slots=True, eq=False)
class Job:
    """One input: a conversation between its task and the model.

    It is handed from thread to thread: the event loop makes it, the preparation thread advances it, compute threads
    fill `outputs` (under the lock of the waiting rows), and the event loop gets its future.

    Args:
        task: answers it.
        value: what the client sent.
        deadline: on `time.monotonic`; nothing is computed after it.
        future: of the event loop; gets the answer or a `Refusal`.
        loop: the event loop.
    """

    task: Task[Any]
    value: Any
    deadline: float
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    arrived: float = field(default_factory=time.monotonic)
    steps: Steps | None = None
    outputs: list[Outputs] = field(default_factory=list)
    missing: int = 0
    tokens: int = 0
    over: bool = False

    def advance(self) -> list[Feature]:
        """Run the task until it needs the model again.

        Raises:
            StopIteration: with the answer.
            ZooError: the input does not suit the task.
        """
        if self.steps is None:
            self.steps = self.task.steps(self.task.request(self.value))
            features = next(self.steps)
        else:
            features = self.steps.send(self.outputs)
        while not features:
            features = self.steps.send([])
        self.outputs, self.missing = [{}] * len(features), len(features)
        return features

    @property
    def expired(self) -> bool:
        """Whether its deadline has passed."""
        return time.monotonic() >= self.deadline

    def answer(self, value: Any) -> None:
        """Give the answer; from any thread."""
        self._end(value, None)

    def refuse(self, reason: Refusal) -> None:
        """Give no answer; from any thread."""
        self._end(None, reason)

    def _end(self, value: Any, reason: Refusal | None) -> None:
        if self.over:
            return
        self.over = True
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(_settle, self.future, value, reason)


def _settle(future: asyncio.Future[Any], value: Any, reason: Refusal | None) -> None:
    if future.done():
        return
    if reason is None:
        future.set_result(value)
    else:
        future.set_exception(reason)


def out_of_time() -> Refusal:
    """The refusal of a job whose deadline has passed."""
    return Refusal("deadline", "the request was not answered in time")
