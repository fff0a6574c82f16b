"""The engine: shared batches, stages, faults, deadlines, cancellation."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from zoo_cli.base.errors import DataError
from zoo_cli.recipe.schema import ServeLimits
from zoo_cli.serve.engine import Engine
from zoo_cli.serve.memory import Ceiling
from zoo_cli.serve.metrics import Metrics, ModelMetrics
from zoo_cli.serve.refusals import Refusal
from zoo_cli.serve.served import ServedModel
from zoo_cli.tasks.base import Feature, Outputs, Steps

SECRET = "a text of a client"


class Doubling:
    """A task of several stages: asks the model to double a number again and again."""

    def request(self, value: Any) -> Any:
        if value == "bad":
            raise DataError("bad-request", "{place} is bad", place="text")
        return value

    def steps(self, request: tuple[int, int]) -> Steps:
        number, stages = request
        for _ in range(stages):
            outputs = yield [{"input_ids": np.full(4, number)}, {"input_ids": np.full(6, number)}]
            assert [output["sum"] for output in outputs] == [4 * number, 6 * number]
            number *= 2
        return number


class Summing:
    """A model: the sum of each feature; notes its batches, and fails or waits on demand."""

    def __init__(self, seconds: float = 0.0, poison: int | None = None) -> None:
        self.seconds = seconds
        self.poison = poison
        self.batches: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def one_batch(self, features: Sequence[Feature]) -> list[Outputs]:
        self.gate.wait(10)
        time.sleep(self.seconds)
        self.batches.append(len(features))
        if any(self.poison in feature["input_ids"] for feature in features):
            raise RuntimeError(SECRET)
        return [{"sum": feature["input_ids"].sum()} for feature in features]


def make_engine(model: Summing, threads: int = 1, **limits: Any) -> Engine:
    make: Callable[[], Any] = lambda: model  # noqa: E731
    return Engine([make] * threads, Ceiling(1024), ServeLimits(**limits), ModelMetrics(Metrics(), "m"))


async def ask(engine: Engine, *values: Any, seconds: float = 10.0) -> list[Any]:
    task: Any = Doubling()
    jobs = engine.submit(task, values, time.monotonic() + seconds)
    return await asyncio.gather(*(job.future for job in jobs), return_exceptions=True)


def test_stages_of_many_requests_share_batches_and_answers_do_not_mix() -> None:
    model = Summing(0.005)
    engine = make_engine(model, threads=2)

    async def run() -> list[Any]:
        return await asyncio.gather(*(ask(engine, (number, 1 + number % 4)) for number in range(100)))

    answers = asyncio.run(run())
    assert answers == [[number * 2 ** (1 + number % 4)] for number in range(100)]
    assert max(model.batches) > 10 and sum(model.batches) == 2 * sum(1 + number % 4 for number in range(100))
    assert engine.items == 0
    engine.close()


def test_one_bad_input_fails_alone_and_the_worker_starts_again(caplog: pytest.LogCaptureFixture) -> None:
    model = Summing(0.01, poison=13)
    engine = make_engine(model)

    async def run() -> list[Any]:
        return await ask(engine, *((number, 2) for number in range(10, 20)))

    answers = asyncio.run(run())
    assert [answer for answer in answers if not isinstance(answer, Refusal)] == [
        4 * n for n in range(10, 20) if n != 13
    ]
    assert isinstance(answers[3], Refusal) and answers[3].status == 500
    assert engine.metrics.restarts._value.get() >= 1
    assert "RuntimeError" in caplog.text and SECRET not in caplog.text
    engine.close()


def test_an_input_that_the_task_refuses_is_a_422_with_its_field() -> None:
    engine = make_engine(Summing())

    async def run() -> list[Any]:
        return await ask(engine, "bad", (1, 1))

    refused, fine = asyncio.run(run())
    assert (refused.status, refused.field, fine) == (422, "text", 2)
    engine.close()


def test_nothing_is_computed_after_its_deadline() -> None:
    model = Summing()
    engine = make_engine(model)

    async def run() -> Any:
        model.gate.clear()
        first = asyncio.ensure_future(ask(engine, (1, 1)))
        await asyncio.sleep(0.05)
        late = asyncio.ensure_future(ask(engine, (2, 1), seconds=0.05))
        await asyncio.sleep(0.2)
        model.gate.set()
        return await first, await late

    (first,), (late,) = asyncio.run(run())
    assert (first, late.code, late.status) == (2, "deadline", 504)
    assert sum(model.batches) == 2
    engine.close()


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back() -> None:
    model = Summing()
    engine = make_engine(model, queue_items=3)

    async def run() -> None:
        model.gate.clear()
        jobs = asyncio.ensure_future(ask(engine, (1, 1), (2, 1)))
        await asyncio.sleep(0.02)
        with pytest.raises(Refusal) as refusal:
            await ask(engine, (3, 1), (4, 1))  # all or none
        assert (refusal.value.status, refusal.value.code) == (429, "queue-full")
        assert refusal.value.retry_after is not None and refusal.value.retry_after >= 1
        assert engine.items == 2
        model.gate.set()
        assert await jobs == [2, 4]
        assert await ask(engine, (3, 1), (4, 1)) == [6, 8]

    asyncio.run(run())
    engine.close()


def test_a_job_that_asks_too_much_of_the_model_is_stopped() -> None:
    model = Summing()
    engine = make_engine(model, tokens=35)

    async def run() -> list[Any]:
        return await ask(engine, (1, 3), (1, 4))

    fine, stopped = asyncio.run(run())
    assert (fine, stopped.code, stopped.status) == (8, "too-many-tokens", 413)
    engine.close()


def test_what_does_not_fit_into_the_memory_is_refused_alone() -> None:
    model: Any = Summing()
    ceiling = Ceiling(1024, {5: 100}, room=100)  # rows of six tokens are too long
    engine = Engine([lambda: model], ceiling, ServeLimits(), ModelMetrics(Metrics(), "m"))

    async def run() -> list[Any]:
        return await ask(engine, (1, 1), (2, 0))

    refused, fine = asyncio.run(run())
    assert (refused.code, refused.status, fine, model.batches) == ("too-many-tokens", 413, 2, [])
    engine.close()


def test_what_would_wait_too_long_is_refused_at_once_and_the_rest_is_in_time() -> None:
    limits = ServeLimits(queue_items=100_000)
    model: Any = Summing(0.02)
    engine = Engine([lambda: model], Ceiling(16), limits, ModelMetrics(Metrics(), "m"))  # 60 values a second at most

    async def run() -> list[Any]:
        await asyncio.gather(*(ask(engine, (number, 1)) for number in range(20)))  # it knows its pace now
        asked = []
        for number in range(800):
            asked.append(asyncio.ensure_future(_submit(engine, (number, 1), 1.0)))
            await asyncio.sleep(0.0005)
        return await asyncio.gather(*asked)

    answers = asyncio.run(run())
    codes = {answer.code for answer in answers if isinstance(answer, Refusal)}
    assert codes == {"queue-full"}
    answered = [number for number, answer in enumerate(answers) if not isinstance(answer, Refusal)]
    assert all(answers[number] == 2 * number for number in answered) and len(answered) > 20
    assert engine.wait == 0
    engine.close()


def test_an_input_that_fails_while_the_time_of_others_is_up() -> None:
    async def run() -> None:
        futures: list[asyncio.Future[Any]] = [asyncio.get_running_loop().create_future() for _ in range(2)]
        jobs: Any = [SimpleNamespace(future=future) for future in futures]
        model: Any = None
        waiting = asyncio.ensure_future(ServedModel._wait(model, jobs, time.monotonic() + 10, ["a", "b"]))
        await asyncio.sleep(0.01)
        futures[1].set_exception(Refusal("bad-request", "wrong", field="text"))
        futures[0].cancel()
        with pytest.raises(Refusal) as raised:
            await waiting
        assert raised.value.field == "b.text"

    asyncio.run(run())


async def _submit(engine: Engine, value: Any, seconds: float) -> Any:
    try:
        (answer,) = await ask(engine, value, seconds=seconds)
    except Refusal as refusal:
        return refusal
    return answer
