"""The engine of models that write: faults and requests that leave."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from zoo_cli.decoding.engine import Prompt, Request
from zoo_cli.decoding.options import GenerationOptions
from zoo_cli.recipe.schema import ServeLimits
from zoo_cli.serve.jobs import Stream
from zoo_cli.serve.memory import Ceiling
from zoo_cli.serve.metrics import Metrics, ModelMetrics
from zoo_cli.serve.refusals import Refusal
from zoo_cli.serve.writing import WritingEngine
from zoo_cli.tasks.base import Steps
from zoo_cli.tasks.joining import TextStream

VOCABULARY = 50
POISON = 49


class Counting:
    """A model that counts: after each token comes the next higher one; it fails on one of them, or waits."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.token_logits: dict[int, float] = {}
        self.seconds = seconds
        self.widest = 0
        self.rows = 0

    def room(self, prompt: Prompt) -> int:
        return 100 - len(prompt["input_ids"])

    def prefill(self, prompts: Sequence[Prompt]) -> np.ndarray:
        self.rows += len(prompts)
        return self._after(np.array([prompt["input_ids"][-1] for prompt in prompts]))

    def step(self, tokens: np.ndarray) -> np.ndarray:
        self.widest = max(self.widest, len(tokens))
        assert len(tokens) == self.rows
        return self._after(tokens)

    def select(self, rows: np.ndarray) -> None:
        self.rows = len(rows)

    def _after(self, tokens: np.ndarray) -> np.ndarray:
        time.sleep(self.seconds)
        if POISON in tokens:
            raise RuntimeError("poison")
        return np.eye(VOCABULARY, dtype=np.float32)[tokens + 1]


class Numbers:
    """A task: the tokens that follow a number, as many as asked for."""

    def request(self, value: Any) -> Any:
        return value

    def steps(self, request: tuple[int, int]) -> Steps:
        first, count = request
        prompt = {"input_ids": np.full(3 if first >= 0 else 0, first, np.int64)}
        (sequences,) = yield [Request(prompt, GenerationOptions(max_new_tokens=count))]
        return sequences[0].ids.tolist()


def make_engine(model: Counting, max_rows: int = 64) -> WritingEngine:
    return WritingEngine([lambda: model], Ceiling(1024), max_rows, ServeLimits(), ModelMetrics(Metrics(), "m"))


async def ask(engine: WritingEngine, *values: Any, seconds: float = 10.0) -> list[Any]:
    task: Any = Numbers()
    jobs = engine.submit(task, values, time.monotonic() + seconds)
    return await asyncio.gather(*(job.future for job in jobs), return_exceptions=True)


@pytest.mark.parametrize("max_rows", [1, 3, 64])
def test_each_gets_its_own_numbers(max_rows: int) -> None:
    model = Counting(0.001)
    engine = make_engine(model, max_rows)
    values = [(first, 1 + first % 7) for first in range(40)]
    answers = asyncio.run(ask(engine, *values))
    engine.close()
    assert answers == [list(range(first + 1, first + 1 + count)) for first, count in values]
    assert 1 <= model.widest <= max_rows and model.rows == 0


def test_a_wrong_prompt_is_its_own_fault_only() -> None:
    engine = make_engine(Counting(0.005))
    good, empty, long, other = asyncio.run(ask(engine, (1, 30), (-1, 3), (5, 99), (7, 2)))
    engine.close()
    assert good == list(range(2, 32)) and other == [8, 9]
    assert (empty.code, long.code) == ("empty-prompt", "prompt-too-long")


@pytest.mark.parametrize("value", [(POISON, 2), (POISON - 3, 9)])  # fails on the prompt, or on a token of its own
def test_an_input_that_the_model_cannot_take_fails_alone(value: tuple[int, int]) -> None:
    model = Counting(0.002)
    engine = make_engine(model)
    fault, *others = asyncio.run(ask(engine, value, *[(first, 5) for first in range(10)]))
    engine.close()
    assert isinstance(fault, Refusal) and fault.code == "fault"
    assert others == [list(range(first + 1, first + 6)) for first in range(10)]


def test_who_is_gone_or_late_leaves_the_batch() -> None:
    model = Counting(0.02)
    engine = make_engine(model)

    async def run() -> list[Any]:
        task: Any = Numbers()
        gone, late, stays = (
            engine.submit(task, [(first, 40)], time.monotonic() + seconds)[0]
            for first, seconds in ((0, 9.0), (1, 0.2), (2, 9.0))
        )
        await asyncio.sleep(0.1)
        gone.over = True
        gone.future.cancel()
        found = await asyncio.gather(gone.future, late.future, stays.future, return_exceptions=True)
        assert engine.items == 0
        return found

    gone, late, stays = asyncio.run(run())
    engine.close()
    assert isinstance(gone, asyncio.CancelledError) and late.code == "deadline"
    assert stays == list(range(3, 43)) and model.rows == 0


def test_pieces_come_in_order_and_before_the_answer() -> None:
    engine = make_engine(Counting(0.002))

    async def run() -> tuple[list[str], list[int]]:
        task: Any = Numbers()
        stream = Stream(TextStream(lambda ids: "".join(f"{number}," for number in ids)))
        (job,) = engine.submit(task, [(0, 20)], time.monotonic() + 10, stream)
        answer = await job.future
        return [stream.pieces.get_nowait() or "" for _ in range(stream.pieces.qsize())], answer

    pieces, answer = asyncio.run(run())
    engine.close()
    assert answer == list(range(1, 21))
    assert len(pieces) > 3 and "".join(pieces) == "".join(f"{number}," for number in answer)
