"""Sequences that wait for the model, and which of them go together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from zoo_cli.data.batching import cheapest
from zoo_cli.serve.jobs import Job, out_of_time


@dataclass(slots=True, eq=False)
class Row:
    """One thing that a job asks of the model.

    Args:
        job: the job.
        index: place among all that the job asks for in this stage.
        asked: what the model reads: a feature, or a request of the decoding engine.
        length: number of tokens that it takes.
        sequences: number of sequences that these are in, e.g. one for each choice of a question.
    """

    job: Job
    index: int
    asked: Any
    length: int
    sequences: int = 1
    since: float = field(default_factory=time.monotonic)


def choose(lengths: Sequence[int], first: int, allowed: Callable[[int], int]) -> list[int]:
    """Rows that are computed together: those that share a batch with one of them where all are computed at least cost.

    Args:
        lengths: tokens of each row.
        first: the row that must be among them.
        allowed: number of rows that a batch of that length may have.

    Returns:
        Indices of the rows, `first` among them.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    place, most = order.index(first), allowed(lengths[first])
    near = order[max(0, place - most) : place + most]  # a full batch on either side: a long queue costs no more
    batches = cheapest([lengths[index] for index in near], [1] * len(near), allowed)
    return next(near[batch] for batch in batches if first in near[batch])


class WaitingRows:
    """Rows of all jobs, shared by the compute threads; what is taken holds a row of the job that came first.

    Args:
        allowed: number of rows that a batch of that length may have.
        on_change: called with the change in waiting tokens.
    """

    def __init__(self, allowed: Callable[[int], int], on_change: Callable[[int], None]) -> None:
        self._allowed = allowed
        self._on_change = on_change
        self._rows: list[Row] = []
        self._condition = threading.Condition()
        self._closed = False
        self.tokens = 0

    def put(self, rows: list[Row]) -> None:
        """Add the rows of a job."""
        with self._condition:
            if self._closed:
                return
            self._rows += rows
            self._count(sum(row.length for row in rows))
            self._condition.notify()

    def take(self) -> list[Row] | None:
        """Wait for rows and take a batch of them; None when there will be no more."""
        return self._take(self._batch, wait=True)

    def take_first(self, fits: Callable[[Sequence[Row]], bool], wait: bool) -> list[Row] | None:
        """Take rows in the order in which their jobs came, as many as go together; None when there will be no more.

        Args:
            fits: whether these rows, of which the last one was added last, go together.
            wait: whether to wait until there is a row, instead of taking none.
        """

        def choose_first() -> list[int]:
            order = sorted(range(len(self._rows)), key=lambda index: self._rows[index].job.arrived)
            count = 0
            while count < len(order) and fits([self._rows[index] for index in order[: count + 1]]):
                count += 1
            return order[:count]

        return self._take(choose_first, wait)

    def _batch(self) -> list[int]:
        """A row of the job that came first, and those nearest to it in length.

        All have as many sequences as it has: a hundred short ones and one long one would be padded to a hundred long
        ones.
        """
        first = min(self._rows, key=lambda row: row.job.arrived)
        alike = [index for index, row in enumerate(self._rows) if row.sequences == first.sequences]
        rows = [self._rows[index] for index in alike]
        return [alike[place] for place in choose([row.length for row in rows], rows.index(first), self._allowed)]

    def _take(self, choice: Callable[[], list[int]], wait: bool) -> list[Row] | None:
        with self._condition:
            while True:
                self._drop_ended()
                if self._rows or not wait:
                    break
                if self._closed:
                    return None
                self._condition.wait()
            chosen = set(choice())
            batch = [self._rows[index] for index in chosen]
            self._rows = [row for index, row in enumerate(self._rows) if index not in chosen]
            self._count(-sum(row.length for row in batch))
            if self._rows:
                self._condition.notify()  # another compute thread may have slept through the last `put`
            return batch

    def deliver(self, rows: Sequence[Row], outputs: Sequence[Any]) -> list[Job]:
        """Give rows their outputs; returns the jobs that now have all they asked for."""
        complete = []
        with self._condition:
            for row, output in zip(rows, outputs, strict=True):
                row.job.outputs[row.index] = output
                row.job.missing -= 1
                if not row.job.missing:
                    complete.append(row.job)
        return complete

    def close(self) -> None:
        """Let the compute threads end when nothing waits any more."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def _drop_ended(self) -> None:
        kept = []
        for row in self._rows:
            if not row.job.over and row.job.expired:
                row.job.refuse(out_of_time())
            if row.job.over:
                self._count(-row.length)
            else:
                kept.append(row)
        self._rows = kept

    def _count(self, change: int) -> None:
        self.tokens += change
        self._on_change(change)
