"""One input on its way through a model."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from zoo_cli.serve.refusals import Refusal
from zoo_cli.tasks.base import Feature, Outputs, Steps, Task


class Outbox:
    """Carries answers to the event loop, which is woken once for all that came while it was busy.

    Args:
        loop: the event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._answers: deque[tuple[asyncio.Future[Any], Any, Refusal | None]] = deque()
        self._called = False

    def post(self, future: asyncio.Future[Any], value: Any, reason: Refusal | None) -> None:
        """Settle a future of the loop with a value or a reason; from any thread."""
        self._answers.append((future, value, reason))
        if not self._called:
            self._called = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        self._called = False  # before looking, so that what comes from now on calls again
        while self._answers:
            future, value, reason = self._answers.popleft()
            if future.done():
                continue
            if reason is None:
                future.set_result(value)
            else:
                future.set_exception(reason)


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
        outbox: carries the answer to the event loop.
    """

    task: Task[Any]
    value: Any
    deadline: float
    future: asyncio.Future[Any]
    outbox: Outbox
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
        self.outbox.post(self.future, value, reason)


def out_of_time() -> Refusal:
    """The refusal of a job whose deadline has passed."""
    return Refusal("deadline", "the request was not answered in time")
