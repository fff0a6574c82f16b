"""One input on its way through a model."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from zoo_cli.serve.refusals import Refusal
from zoo_cli.tasks.base import Steps, Task
from zoo_cli.tasks.joining import TextStream


class Outbox:
    """Carries answers to the event loop, which is woken once for all that came while it was busy.

    Args:
        loop: the event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._called = False

    def post(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call a function on the loop, in the order of posting; from any thread."""
        self._calls.append((function, arguments))
        if not self._called:
            self._called = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._called = False  # before looking, so that what comes from now on calls again
        while self._calls:
            function, arguments = self._calls.popleft()
            function(*arguments)


def _settle(future: asyncio.Future[Any], value: Any, reason: Refusal | None) -> None:
    if future.done():
        return
    if reason is None:
        future.set_result(value)
    else:
        future.set_exception(reason)


@dataclass(slots=True, eq=False)
class Stream:
    """The text of an answer while it is written.

    Args:
        text: makes text of tokens; it belongs to the preparation thread.

    Attributes:
        tokens: written and not yet told; a compute thread adds them.
        count: tokens told.
        pieces: of the event loop: pieces of text, and None at the end.
    """

    text: TextStream
    tokens: deque[int] = field(default_factory=deque)
    count: int = 0
    pieces: asyncio.Queue[str | None] = field(default_factory=asyncio.Queue)


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
        stream: gets the answer while it is written, if anybody wants it.

    Attributes:
        tokens: that the model has to read and write for it.
        prompt_tokens: of these, the tokens of prompts that are continued.
    """

    task: Task[Any]
    value: Any
    deadline: float
    future: asyncio.Future[Any]
    outbox: Outbox
    stream: Stream | None = None
    arrived: float = field(default_factory=time.monotonic)
    steps: Steps | None = None
    outputs: list[Any] = field(default_factory=list)
    missing: int = 0
    tokens: int = 0
    prompt_tokens: int = 0
    over: bool = False

    def advance(self) -> list[Any]:
        """Run the task until it needs the model again; returns what it asks of the model.

        Raises:
            StopIteration: with the answer.
            ZooError: the input does not suit the task.
        """
        if self.steps is None:
            self.steps = self.task.steps(self.task.request(self.value))
            asked = next(self.steps)
        else:
            asked = self.steps.send(self.outputs)
        while not asked:
            asked = self.steps.send([])
        self.outputs, self.missing = [None] * len(asked), len(asked)
        return asked

    @property
    def expired(self) -> bool:
        """Whether its deadline has passed."""
        return time.monotonic() >= self.deadline

    def tell(self, last: bool = False) -> None:
        """Send what was written since, if anybody wants it; on the preparation thread.

        Args:
            last: whether the text ends here.
        """
        if self.stream is None:
            return
        piece = ""
        while self.stream.tokens:
            piece += self.stream.text.add(self.stream.tokens.popleft())
            self.stream.count += 1
        if last:
            piece += self.stream.text.end()
        if piece:
            self.outbox.post(self.stream.pieces.put_nowait, piece)

    def answer(self, value: Any) -> None:
        """Give the answer; on the preparation thread."""
        self.tell(last=True)
        self._end(value, None)

    def refuse(self, reason: Refusal) -> None:
        """Give no answer; from any thread."""
        self._end(None, reason)

    def _end(self, value: Any, reason: Refusal | None) -> None:
        if self.over:
            return
        self.over = True
        self.outbox.post(_settle, self.future, value, reason)


def out_of_time() -> Refusal:
    """The refusal of a job whose deadline has passed."""
    return Refusal("deadline", "the request was not answered in time")


class WrittenAnswer:
    """An answer that is being written: its pieces of text, as they come.

    Args:
        job: in work.
        stream: the job's.
        place: path of the input in the request's body, for errors.

    Attributes:
        answer: the whole answer, once all pieces have been taken.
    """

    def __init__(self, job: Job, stream: Stream, place: str) -> None:
        self._job = job
        self._stream = stream
        self._place = place
        self.answer: Any = None
        job.future.add_done_callback(lambda future: stream.pieces.put_nowait(None))

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt."""
        return self._job.prompt_tokens

    @property
    def tokens(self) -> int:
        """Tokens of the pieces so far."""
        return self._stream.count

    async def __aiter__(self) -> AsyncIterator[str]:
        """The pieces.

        Raises:
            Refusal: the input is wrong, or the time is up.
        """
        while (piece := await self._next()) is not None:
            yield piece
        try:
            self.answer = self._job.future.result()
        except Refusal as refusal:
            raise refusal.within(self._place) from None

    async def _next(self) -> str | None:
        try:
            async with asyncio.timeout(self._job.deadline - time.monotonic()):
                return await self._stream.pieces.get()
        except TimeoutError:
            raise out_of_time() from None

    def close(self) -> None:
        """Stop writing unless the answer is complete."""
        self._job.over = True
        self._job.future.cancel()
