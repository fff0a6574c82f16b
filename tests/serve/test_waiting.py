"""Which sequences are computed together."""

from __future__ import annotations

import asyncio
import threading
import time
from itertools import pairwise, product
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zoo_cli.serve.jobs import Job, Outbox
from zoo_cli.serve.memory import Ceiling
from zoo_cli.serve.waiting import Row, WaitingRows, choose


@given(
    lengths=st.lists(st.integers(1, 512), min_size=1, max_size=80),
    first=st.integers(0, 79),
    budget=st.integers(1, 4096),
)
def test_a_batch_keeps_its_promises(lengths: list[int], first: int, budget: int) -> None:
    first %= len(lengths)
    chosen = choose(lengths, first, Ceiling(budget))
    assert first in chosen and len(set(chosen)) == len(chosen)
    taken = [lengths[index] for index in chosen]
    assert max(taken) * len(taken) <= budget or len(taken) == 1
    # No row in between in length is left behind.
    left = [length for index, length in enumerate(lengths) if index not in chosen]
    assert not any(min(taken) < length < max(taken) for length in left)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=7, unique=True), st.data())
def test_no_other_way_to_compute_all_rows_costs_less(lengths: list[int], data: st.DataObject) -> None:
    def cost(batches: list[list[int]]) -> int:
        return sum(32 + len(batch) * max(batch) for batch in batches)

    waiting, computed = list(lengths), []
    while waiting:
        batch = choose(waiting, data.draw(st.integers(0, len(waiting) - 1)), Ceiling(10**6))
        computed.append([waiting[index] for index in batch])
        waiting = [length for index, length in enumerate(waiting) if index not in batch]
    ordered = sorted(lengths)
    ways = []
    for cuts in product((False, True), repeat=len(ordered) - 1):
        edges = [0, *(place for place, cut in enumerate(cuts, 1) if cut), len(ordered)]
        ways.append([ordered[begin:end] for begin, end in pairwise(edges)])
    assert cost(computed) == min(map(cost, ways))


def test_equal_lengths_fill_the_budget() -> None:
    assert len(choose([32] * 100, 50, Ceiling(1024))) == 32


def make_job(loop: asyncio.AbstractEventLoop, seconds: float = 10.0, arrived: float = 0.0) -> Job:
    task: Any = None
    job = Job(task, None, time.monotonic() + seconds, loop.create_future(), Outbox(loop))
    job.arrived = arrived
    return job


def rows_of(job: Job, *lengths: int) -> list[Row]:
    job.outputs, job.missing = [{}] * len(lengths), len(lengths)
    return [Row(job, index, {"input_ids": np.ones(length)}, length) for index, length in enumerate(lengths)]


def test_the_job_that_came_first_is_in_the_next_batch() -> None:
    loop = asyncio.new_event_loop()
    waiting = WaitingRows(Ceiling(64), lambda change: None)
    late, early = make_job(loop, arrived=2.0), make_job(loop, arrived=1.0)
    waiting.put(rows_of(late, 8, 8, 8))
    waiting.put(rows_of(early, 64))
    batch = waiting.take()
    assert batch is not None and [row.job for row in batch] == [early]
    loop.close()


def test_questions_with_other_numbers_of_choices_are_computed_apart() -> None:
    loop = asyncio.new_event_loop()
    waiting = WaitingRows(Ceiling(256), lambda change: None)
    jobs = [make_job(loop, arrived=float(index)) for index in range(4)]
    for job, (sequences, length) in zip(jobs, [(32, 2), (1, 64), (32, 2), (1, 60)], strict=True):
        job.outputs, job.missing = [{}], 1
        waiting.put([Row(job, 0, None, sequences * length, sequences)])
    batches = [waiting.take() or [] for _ in range(2)]
    assert [{row.sequences for row in batch} for batch in batches] == [{32}, {1}]
    assert {row.job for row in batches[0]} == {jobs[0], jobs[2]}
    loop.close()


def test_expired_and_abandoned_rows_are_never_computed() -> None:
    loop = asyncio.new_event_loop()
    counted: list[int] = []
    waiting = WaitingRows(Ceiling(64), counted.append)
    expired, abandoned, alive = make_job(loop, -1), make_job(loop), make_job(loop)
    for job in (expired, abandoned, alive):
        waiting.put(rows_of(job, 8))
    abandoned.over = True
    batch = waiting.take()
    assert batch is not None and [row.job for row in batch] == [alive]
    assert expired.over and sum(counted) == waiting.tokens == 0
    loop.run_until_complete(asyncio.sleep(0))
    assert getattr(expired.future.exception(), "code", None) == "deadline"
    loop.close()


def test_a_job_is_complete_once_after_its_last_row() -> None:
    loop = asyncio.new_event_loop()
    waiting = WaitingRows(Ceiling(8), lambda change: None)
    job = make_job(loop)
    waiting.put(rows_of(job, 8, 8, 8))
    batches = [waiting.take() for _ in range(3)]
    complete = [waiting.deliver(batch, [{"x": np.array(row.index)} for row in batch]) for batch in batches if batch]
    assert [len(jobs) for jobs in complete] == [0, 0, 1]
    assert [int(output["x"]) for output in job.outputs] == [0, 1, 2]
    loop.close()


def test_close_wakes_sleepers() -> None:
    waiting = WaitingRows(Ceiling(8), lambda change: None)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(waiting.take()))
    thread.start()
    waiting.close()
    thread.join(5)
    assert found == [None]
