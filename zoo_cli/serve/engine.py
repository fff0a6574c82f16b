"""The engine of one model: many clients' inputs in, shared batches through the model, answers out.

    event loop  --submit-->  preparation thread  --rows-->  waiting rows  --batches-->  compute threads
                                     ^                                                        |
                                     +------------------- outputs of a job -------------------+

The preparation thread runs the task's Python: it tokenises new inputs and makes answers, or the next stage's features,
of outputs. It is one thread, since Python would not run two at once and tokenizers need not be shared. The compute
threads only pad, run the model (which needs no interpreter lock) and cut the outputs apart. A free compute thread takes
what is waiting and never waits for a batch to fill up.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from zoo_cli.base.errors import ZooError
from zoo_cli.recipe.schema import ServeLimits
from zoo_cli.runtime.pipeline import Runner
from zoo_cli.serve.jobs import Job, Outbox, out_of_time
from zoo_cli.serve.metrics import ModelMetrics
from zoo_cli.serve.refusals import Refusal, refusal_of, report
from zoo_cli.serve.waiting import Row, WaitingRows
from zoo_cli.tasks.base import Outputs, Task

_log = logging.getLogger(__name__)
_FINISH, _START, _STOP = 0, 1, 2  # what has outputs comes before what is new


class Engine:
    """Computes the inputs of one model.

    Args:
        make_runners: what computes, one for each compute thread.
        allowed: number of rows that a batch of that length may have.
        limits: of the model.
        metrics: of the model.
    """

    def __init__(
        self,
        make_runners: Sequence[Callable[[], Runner]],
        allowed: Callable[[int], int],
        limits: ServeLimits,
        metrics: ModelMetrics,
    ) -> None:
        self.limits = limits
        self.metrics = metrics
        self.items = 0
        self._speed = 0.0  # inputs per second, as a moving average
        self._last_end = time.monotonic()
        self._order = itertools.count()
        self._outbox: Outbox | None = None
        self._work: queue.PriorityQueue[tuple[int, int, Job | None]] = queue.PriorityQueue()
        self._waiting = WaitingRows(allowed, metrics.queue_tokens.inc)
        runners = [make() for make in make_runners]
        self._threads = [threading.Thread(target=self._prepare_forever, name="prepare", daemon=True)]
        self._threads += [
            threading.Thread(target=self._compute_forever, args=(runner, make), name=f"compute-{index}", daemon=True)
            for index, (runner, make) in enumerate(zip(runners, make_runners, strict=True))
        ]
        for thread in self._threads:
            thread.start()

    # -- event loop -------------------------------------------------------------------------------------------------

    def submit(self, task: Task[Any], values: Sequence[Any], deadline: float) -> list[Job]:
        """Take inputs in, all or none; call it on the event loop.

        Args:
            task: answers them; one that differs in options only may stand in for the model's own.
            values: the inputs.
            deadline: on `time.monotonic`.

        Raises:
            Refusal: too much is in work (`queue-full`).
        """
        self.refuse_if_full(len(values))
        loop = asyncio.get_running_loop()
        if self._outbox is None:
            self._outbox = Outbox(loop)
        jobs = [Job(task, value, deadline, loop.create_future(), self._outbox) for value in values]
        self.items += len(jobs)
        self.metrics.queue_items.inc(len(jobs))
        for job in jobs:
            job.future.add_done_callback(self._left)
            self._work.put((_START, next(self._order), job))
        return jobs

    def refuse_if_full(self, count: int = 1) -> None:
        """Refuse what the queue has no room for.

        Raises:
            Refusal: `queue-full`, with the time that what is in work will take.
        """
        if self.items + count <= self.limits.queue_items and self._waiting.tokens < self.limits.queue_tokens:
            return
        wait = self.items / self._speed if self._speed else 1.0
        raise Refusal("queue-full", "the server has more work than it can do", retry_after=max(1, min(60, round(wait))))

    def _left(self, future: asyncio.Future[Any]) -> None:
        self.items -= 1
        self.metrics.queue_items.dec()
        now = time.monotonic()
        gap, self._last_end = max(now - self._last_end, 1e-4), now
        weight = min(1.0, gap)  # the average forgets within about a second
        self._speed += weight * (1 / gap - self._speed)
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
                self._advance(job)
            except Exception as error:
                report(_log, error, "an input could not be prepared")
                job.refuse(_fault())
            self.metrics.stages[stage].observe(time.perf_counter() - begin)

    def _advance(self, job: Job) -> None:
        try:
            features = job.advance()
        except StopIteration as stop:
            job.answer(stop.value)
            return
        except ZooError as error:
            job.refuse(refusal_of(error))
            return
        rows = [Row(job, index, feature, feature["input_ids"].size) for index, feature in enumerate(features)]
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

    # -- compute threads --------------------------------------------------------------------------------------------

    def _compute_forever(self, runner: Runner, make_runner: Callable[[], Runner]) -> None:
        while (rows := self._waiting.take()) is not None:
            try:
                self._compute(runner, rows)
            except Exception as error:
                report(_log, error, "a compute worker failed and starts again")
                self.metrics.restarts.inc()
                runner = make_runner()
                self._compute_one_by_one(runner, rows)

    def _compute(self, runner: Runner, rows: list[Row]) -> None:
        begin = time.monotonic()
        for row in rows:
            self.metrics.stages["queue"].observe(begin - row.since)
        outputs = runner.one_batch([row.feature for row in rows])
        seconds = time.monotonic() - begin
        tokens, padded = sum(row.length for row in rows), len(rows) * max(row.length for row in rows)
        self.metrics.stages["compute"].observe(seconds)
        self.metrics.batch_rows.observe(len(rows))
        self.metrics.batch_padding.observe(1 - tokens / padded)
        self.metrics.text_tokens.inc(tokens)
        self.metrics.padding_tokens.inc(padded - tokens)
        self._hand_back(rows, outputs)

    def _compute_one_by_one(self, runner: Runner, rows: list[Row]) -> None:
        """After a fault: one input that the model cannot take must not fail its neighbours."""
        for row in rows:
            if row.job.over:
                continue
            try:
                outputs = runner.one_batch([row.feature])
            except Exception as error:
                report(_log, error, "an input could not be computed")
                row.job.refuse(_fault())
            else:
                self._hand_back([row], outputs)

    def _hand_back(self, rows: Sequence[Row], outputs: Sequence[Outputs]) -> None:
        for job in self._waiting.deliver(rows, outputs):
            self._work.put((_FINISH, next(self._order), job))


def _fault() -> Refusal:
    return Refusal("fault", "the server failed on this input")
