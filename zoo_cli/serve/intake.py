"""What the engines of all models do: take inputs in, prepare them, and make answers of what the model computed.

    event loop  --submit-->  preparation thread  --rows-->  waiting rows  --batches-->  compute threads
                                     ^                                                        |
                                     +------------------- outputs of a job -------------------+

The preparation thread runs the task's Python: it tokenises new inputs and makes answers, or the next stage's features,
of outputs. It is one thread, since Python would not run two at once and tokenizers need not be shared. What the compute
threads do is the business of `zoo_cli.serve.engine` and `zoo_cli.serve.writing`.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from zoo_cli.base.errors import ZooError
from zoo_cli.recipe.schema import ServeLimits
from zoo_cli.serve.jobs import Job, Outbox, Stream, out_of_time
from zoo_cli.serve.metrics import ModelMetrics
from zoo_cli.serve.refusals import Refusal, refusal_of, report
from zoo_cli.serve.waiting import Row, WaitingRows
from zoo_cli.tasks.base import Task

_log = logging.getLogger(__name__)
PATIENCE = 0.5
"""Share of its time that an input may have to wait; the rest is for computing it, and for errors of the estimate."""
_KEPT = 0.9  # of the pace so far, at each batch
_FINISH, _START, _STOP = 0, 1, 2  # what has outputs comes before what is new


class Intake(ABC):
    """Takes the inputs of one model in.

    Args:
        allowed: number of rows of that length that may be computed together.
        limits: of the model.
        metrics: of the model.
    """

    def __init__(self, allowed: Callable[[int], int], limits: ServeLimits, metrics: ModelMetrics) -> None:
        self.limits = limits
        self.metrics = metrics
        self.items = 0
        self._pace = (0.0, 0.0)  # tokens computed, and the seconds that took, the more the less long ago
        self._order = itertools.count()
        self._outbox: Outbox | None = None
        self._work: queue.PriorityQueue[tuple[int, int, Job | None]] = queue.PriorityQueue()
        self._waiting = WaitingRows(allowed, metrics.queue_tokens.inc)
        self._threads: list[threading.Thread] = []
        self._computing = 1

    def _start(self, computing: Sequence[Callable[[], None]]) -> None:
        """Start the preparation thread and a thread for each function, which returns when `close` is called."""
        self._computing = len(computing)
        named = {"prepare": self._prepare_forever, **{f"compute-{i}": run for i, run in enumerate(computing)}}
        self._threads = [threading.Thread(target=run, name=name, daemon=True) for name, run in named.items()]
        for thread in self._threads:
            thread.start()

    # -- event loop -------------------------------------------------------------------------------------------------

    def submit(
        self, task: Task[Any], values: Sequence[Any], deadline: float, stream: Stream | None = None
    ) -> list[Job]:
        """Take inputs in, all or none; call it on the event loop.

        Args:
            task: answers them; one that differs in options only may stand in for the model's own.
            values: the inputs.
            deadline: on `time.monotonic`.
            stream: gets the answer while it is written, where there is one input.

        Raises:
            Refusal: too much is in work (`queue-full`).
        """
        self.refuse_if_full(len(values), deadline - time.monotonic())
        loop = asyncio.get_running_loop()
        if self._outbox is None:
            self._outbox = Outbox(loop)
        jobs = [Job(task, value, deadline, loop.create_future(), self._outbox, stream) for value in values]
        self.items += len(jobs)
        self.metrics.queue_items.inc(len(jobs))
        for job in jobs:
            job.future.add_done_callback(self._left)
            self._work.put((_START, next(self._order), job))
        return jobs

    def refuse_if_full(self, count: int, seconds: float) -> None:
        """Refuse what the queue has no room for, and what would wait too long in it to be answered in time.

        Args:
            count: number of inputs.
            seconds: in which they must be answered.

        Raises:
            Refusal: `queue-full`, with the time that what waits will take.
        """
        full = self.items + count > self.limits.queue_items or self._waiting.tokens >= self.limits.queue_tokens
        wait = self.wait
        if full or wait > PATIENCE * seconds:
            after = max(1, min(60, round(wait)))
            raise Refusal("queue-full", "the server has more work than it can do", retry_after=after)

    @property
    def wait(self) -> float:
        """Seconds that the model will need for what waits for it, as far as that is known."""
        tokens, seconds = self._pace
        return self._waiting.tokens * seconds / (tokens * self._computing) if tokens else 0.0

    def _left(self, future: asyncio.Future[Any]) -> None:
        self.items -= 1
        self.metrics.queue_items.dec()
        if not future.cancelled():
            future.exception()  # seen: nobody else may ask for it once another item of the request has failed

    def close(self) -> None:
        """Finish what is in work and end the threads; blocks until then."""
        self._work.put((_STOP, next(self._order), None))
        self._waiting.close()
        for thread in self._threads:
            thread.join(timeout=5)

    # -- preparation thread -----------------------------------------------------------------------------------------

    def _prepare_forever(self) -> None:
        while True:
            _, _, job = self._work.get()
            if job is None:
                return
            if job.over or job.future.done():
                job.over = True
                continue
            if job.expired:
                job.refuse(out_of_time())
                continue
            stage = "prepare" if job.steps is None else "finish"
            begin = time.perf_counter()
            try:
                if job.missing:  # a part of the answer has been written
                    job.tell()
                    continue
                self._advance(job)
            except Exception as error:
                report(_log, error, "an input could not be prepared")
                job.refuse(fault())
            self.metrics.stages[stage].observe(time.perf_counter() - begin)

    def _advance(self, job: Job) -> None:
        try:
            asked = job.advance()
            rows = [self._row(job, index, each) for index, each in enumerate(asked)]
        except StopIteration as stop:
            job.answer(stop.value)
            return
        except ZooError as error:
            job.refuse(refusal_of(error))
            return
        job.tokens += sum(row.length for row in rows)
        if job.tokens > self.limits.tokens:
            job.refuse(
                Refusal(
                    "too-many-tokens",
                    "the model would have to read {tokens} tokens or more; {most} are allowed",
                    tokens=job.tokens,
                    most=self.limits.tokens,
                )
            )
            return
        self._waiting.put(rows)

    @abstractmethod
    def _row(self, job: Job, index: int, asked: Any) -> Row:
        """What waits for the model.

        Args:
            job: whose it is.
            index: its place among all that the job asks for in this stage.
            asked: what the task's conversation yielded.

        Raises:
            Refusal: it is more than the model takes.
        """

    # -- compute threads --------------------------------------------------------------------------------------------

    def _note_batch(self, lengths: Sequence[int], seconds: float) -> None:
        """Count a batch of sequences of so many tokens, which took that long."""
        self.metrics.stages["compute"].observe(seconds)
        self.metrics.count_batch(lengths)
        tokens, before = self._pace
        self._pace = (_KEPT * tokens + sum(lengths), _KEPT * before + seconds)

    def _hand_back(self, rows: Sequence[Row], outputs: Sequence[Any]) -> None:
        for job in self._waiting.deliver(rows, outputs):
            self._prepare(job)

    def _prepare(self, job: Job) -> None:
        """Let the preparation thread look at a job again."""
        self._work.put((_FINISH, next(self._order), job))


def fault() -> Refusal:
    """The refusal of an input that the server failed on."""
    return Refusal("fault", "the server failed on this input")
