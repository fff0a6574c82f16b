"""Whether `zoo serve` answers as `zoo predict` does, whatever else it is asked at the same time.

    python benchmarks/agreement.py [--requests 4000] [--clients 32] [--seed 0] [BUNDLE...] [serve.KEY=VALUE...]

Without bundles, one of a small model with drawn weights is made for every task (needs paddle). Requests of very
different lengths, with schemas, choices and decoding options of their own, are answered by `zoo predict`, model after
model. Then one server has all models and is asked the same over HTTP, in random order and by many clients at a time:
alone or several in a body, and texts that are written as streams or not. Words, places, classes and the number of finds
must be the same, and numbers equal to `--tolerance`: a batch of another shape rounds differently. Prints one JSON
object; exits with 1 if an answer differs or is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from load import Server, zoo_server
from mixture import Model, make_bundles, name_models, open_models

from zoo_cli.runtime.golden import same_answer

SETTINGS = (
    "serve.threads=1",
    "serve.access_log=false",
    "serve.limits.timeout=600",
    "serve.limits.queue_items=100000",
    "serve.limits.queue_tokens=100000000",
    "serve.limits.tokens=100000000",
)
"""Nothing is refused: a request without an answer would not be compared."""
SHOWN = 10


# -- asking ------------------------------------------------------------------------------------------------------------

Asked = tuple[Model, list[int], bool]
"""A model, the numbers of the requests that are in one body, and whether the answer is streamed."""


def bodies_of(models: list[Model], draw: random.Random) -> list[Asked]:
    """All requests in random order; one body in five has several of them."""
    asked: list[Asked] = []
    for model in models:
        numbers = list(range(len(model.requests)))
        while numbers:
            size = draw.choice([1, 1, 1, 1, 5])
            taken, numbers = numbers[:size], numbers[size:]
            alone = len(taken) == 1 and "num_return_sequences" not in model.requests[taken[0]].get("decoding", {})
            asked.append((model, taken, model.writes and alone and draw.random() < 0.5))
    draw.shuffle(asked)
    return asked


async def _ask(client: httpx.AsyncClient, asked: Asked) -> list[Any]:
    """The answers to one body."""
    model, numbers, stream = asked
    inputs = [model.requests[number] for number in numbers]
    body = {**inputs[0], "stream": True} if stream else inputs[0] if len(inputs) == 1 else {"inputs": inputs}
    response = await client.post(f"/v1/{model.task}", json={**body, "model": model.name})
    response.raise_for_status()
    if not stream:
        content = response.json()
        return content["answers"] if len(inputs) > 1 else [content["answer"]]
    *pieces, last = (json.loads(line.removeprefix("data: ")) for line in response.text.splitlines() if line)
    if "".join(piece["piece"] for piece in pieces) != last["answer"]["text"]:
        raise ValueError("the pieces of the text are not the text")
    return [last["answer"]]


async def ask_all(server: Server, asked: list[Asked], clients: int) -> dict[tuple[str, int], Any]:
    """What the server answers to each request, or the error."""
    found: dict[tuple[str, int], Any] = {}
    pending = iter(asked)

    async def ask_forever(client: httpx.AsyncClient) -> None:
        for each in pending:
            model, numbers, _ = each
            try:
                answers = await _ask(client, each)
            except (httpx.HTTPError, ValueError, KeyError) as error:
                answers = [error] * len(numbers)
            found.update({(model.name, number): answer for number, answer in zip(numbers, answers, strict=True)})

    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=server.url, timeout=600, limits=limits, trust_env=False) as client:
        await asyncio.gather(*(ask_forever(client) for _ in range(clients)))
    return found


# -- comparing ---------------------------------------------------------------------------------------------------------


def numbers_of(answer: Any) -> Iterator[float]:
    """All numbers of an answer that are no integers, in order."""
    if isinstance(answer, float):
        yield answer
    elif isinstance(answer, dict | list):
        for part in answer.values() if isinstance(answer, dict) else answer:
            yield from numbers_of(part)


def rows_in_a_batch(server: Server) -> float:
    """How many sequences the models read at once, on average."""
    lines = httpx.get(f"{server.url}/metrics", trust_env=False).text.splitlines()
    found = {
        part: sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"zoo_batch_rows_{part}{{"))
        for part in ("sum", "count")
    }
    return round(found["sum"] / found["count"], 2)


def compare(models: list[Model], found: dict[tuple[str, int], Any], tolerance: float) -> dict[str, Any]:
    """What differs, and by how much what is the same differs."""
    by_task: dict[str, Counter[str]] = {}
    largest: dict[str, float] = {}
    different = []
    for model in models:
        counts = by_task.setdefault(model.task, Counter(requests=0, numbers=0, different=0))
        for number, expected in enumerate(model.answers):
            answer = found[model.name, number]
            counts["requests"] += 1
            if not same_answer(expected, answer, tolerance):
                counts["different"] += 1
                row = {"model": model.name, "request": model.requests[number], "predict": expected}
                different.append({**row, "serve": repr(answer) if isinstance(answer, Exception) else answer})
                continue
            pairs = list(zip(numbers_of(expected), numbers_of(answer), strict=True))
            counts["numbers"] += len(pairs)
            largest[model.task] = max([largest.get(model.task, 0.0), *(abs(one - other) for one, other in pairs)])
    return {
        "requests": sum(counts["requests"] for counts in by_task.values()),
        "different": len(different),
        "tasks": {task: {**counts, "largest_difference": largest.get(task)} for task, counts in by_task.items()},
        "examples": different[:SHOWN],
    }


def main() -> int:
    """Run all; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tolerance", type=float, default=1e-4, help="by how much numbers may differ")
    parser.add_argument("arguments", nargs="*", help="bundles, and serve.KEY=VALUE")
    options = parser.parse_args()
    settings = [each for each in options.arguments if not Path(each).is_dir()]
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        bundles = [Path(each).resolve() for each in options.arguments if each not in settings] or make_bundles(scratch)
        models = open_models(bundles, options.requests, scratch, options.seed)
        with zoo_server(bundles, [*SETTINGS, *settings]) as server:
            name_models(models, server)
            begin = time.perf_counter()
            asked = bodies_of(models, random.Random(options.seed))
            found = asyncio.run(ask_all(server, asked, options.clients))
            seconds = time.perf_counter() - begin
            rows = rows_in_a_batch(server)
    report = {
        "models": len(models),
        "bodies": len(asked),
        "rows_in_a_batch": rows,
        **compare(models, found, options.tolerance),
    }
    print(json.dumps({**report, "seconds": round(seconds, 1)}, ensure_ascii=False))
    return 1 if report["different"] else 0


if __name__ == "__main__":
    sys.exit(main())
