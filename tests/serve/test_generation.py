"""`/v1/generation` and its like: the texts are those of `zoo generate`, whatever is written at the same time."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serve.bundles import WORDS
from tests.serve.live import Live, serving
from tests.serve.writers import VOCABULARIES, make_writer
from zoo_cli import registry
from zoo_cli.runtime import load
from zoo_cli.runtime.golden import same_answer

DECODING: list[dict[str, Any]] = [
    {},
    {"max_new_tokens": 3},
    {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2},
    {"decode_strategy": "beam_search", "num_beams": 3, "num_return_sequences": 2},
    {"decode_strategy": "sampling", "top_k": 50, "seed": 3},
    {"decode_strategy": "sampling", "num_return_sequences": 4, "max_new_tokens": 40},
]


@pytest.fixture(scope="module")
def writers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A bundle of each task, and `slow`, whose 400 tokens take some seconds."""
    folder = tmp_path_factory.mktemp("writers")
    found = {task: make_writer(folder / task, task) for task in VOCABULARIES}
    endless = {"max_new_tokens": 400, "min_new_tokens": 400}
    return {**found, "slow": make_writer(folder / "slow", "generation", layers=500, decoding=endless)}


@pytest.fixture(scope="module")
def writing(writers: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server of all of them."""
    with serving(tmp_path_factory.mktemp("writing"), *map(str, writers.values()), "serve.threads=1") as live:
        yield live


def events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in response.iter_lines():
        if line:
            assert line.startswith("data: ")
            yield json.loads(line[6:])


def wait_for(condition: Any, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_mixed_concurrent_requests_are_answered_as_by_the_pipeline(writing: Live, writers: dict[str, Path]) -> None:
    draw = random.Random(0)
    requests: list[tuple[str, dict[str, Any], bool]] = []
    for number in range(90):
        task = draw.choice(list(VOCABULARIES))
        fields: dict[str, Any] = {"text": "".join(draw.choices(WORDS, k=draw.randint(1, 60)))}
        decoding = draw.choice(DECODING)
        if task == "dialogue":
            fields["history"] = ["你好"] * draw.randint(0, 3)
        if number % 5:
            fields["decoding"] = decoding
        requests.append((task, fields, "num_return_sequences" not in decoding and draw.random() < 0.5))

    def ask(request: tuple[str, dict[str, Any], bool]) -> Any:
        task, fields, stream = request
        if not stream:
            response = client.post(f"{writing.url}/v1/{task}", json=fields)
            assert response.status_code == 200, response.text
            return response.json()["answer"]
        with client.stream("POST", f"{writing.url}/v1/{task}", json={**fields, "stream": True}) as response:
            assert response.status_code == 200
            *pieces, last = events(response)
        assert "".join(piece["piece"] for piece in pieces) == last["answer"]["text"]
        return last["answer"]

    before = writing.metric("zoo_batch_rows_sum") - writing.metric("zoo_batch_rows_count")
    with httpx.Client(timeout=60) as client, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, requests))
    pipelines = {task: load(writers[task]) for task in VOCABULARIES}
    for (task, fields, _), answer in zip(requests, answers, strict=True):
        assert same_answer(pipelines[task](fields), answer, 1e-4), (task, fields)
        model: Any = registry.task(task).answer
        model.model_validate(answer)
    # Tokens of several requests were computed together.
    assert writing.metric("zoo_batch_rows_sum") - writing.metric("zoo_batch_rows_count") > before + 90
    assert writing.metric("zoo_queue_items") == writing.metric("zoo_queue_tokens") == 0


def test_several_inputs_in_one_request(writing: Live, writers: dict[str, Path]) -> None:
    pipeline = load(writers["generation"])
    inputs = [{"text": WORDS}, {"text": WORDS[5:], "decoding": DECODING[3]}, {"text": ""}]
    response = writing.post("/v1/generation", {"inputs": inputs, "decoding": {"max_new_tokens": 5}})
    expected = [pipeline({"decoding": {"max_new_tokens": 5}, **each}) for each in inputs]
    assert same_answer(response.json()["answers"], expected, 1e-4)


def test_a_text_is_sent_while_it_is_written_and_others_join(writing: Live) -> None:
    body = {"text": WORDS, "model": "slow", "stream": True}
    with writing.client.stream("POST", "/v1/generation", json=body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        news = events(response)
        next(news)
        # Another text that is shorter comes and goes meanwhile.
        short = {"text": WORDS, "model": "slow", "decoding": {"max_new_tokens": 4, "min_new_tokens": 0}}
        assert writing.post("/v1/generation", short).json()["answer"]["tokens"] <= 4
        assert writing.metric("zoo_queue_items", model="slow") == 1
        *pieces, last = news
    assert len(pieces) > 100 and last["answer"]["tokens"] == 400
    assert last["model"] == "slow" and last["version"]


def test_nothing_is_written_for_a_client_that_is_gone(writing: Live) -> None:
    body = {"text": WORDS, "model": "slow", "stream": True}
    with writing.client.stream("POST", "/v1/generation", json=body) as response:
        news = events(response)  # kept, since closing it closes the connection
        next(news)
        assert writing.metric("zoo_queue_items", model="slow") == 1
    wait_for(lambda: writing.metric("zoo_queue_items", model="slow") == 0, 1.5)
    wait_for(lambda: writing.metric("zoo_refused_total", reason="client-gone") == 1)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{writing.url}/v1/generation", json={**body, "stream": False}, timeout=0.5)
    wait_for(lambda: writing.metric("zoo_queue_items", model="slow") == 0, 1.5)
    computed = writing.metric("zoo_tokens_total", model="slow")
    time.sleep(0.3)
    assert writing.metric("zoo_tokens_total", model="slow") == computed


def test_the_time_is_up(writing: Live) -> None:
    body = {"text": WORDS, "model": "slow"}
    response = writing.post("/v1/generation", body, request_timeout="0.4")
    assert response.status_code == 504 and response.json()["error"]["code"] == "deadline"
    headers = {"Request-Timeout": "0.6"}
    with writing.client.stream("POST", "/v1/generation", json={**body, "stream": True}, headers=headers) as streamed:
        assert streamed.status_code == 200
        *pieces, last = events(streamed)
    assert pieces and last["error"]["code"] == "deadline"
    wait_for(lambda: writing.metric("zoo_queue_items", model="slow") == 0)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"decoding": {"max_new_tokens": 512}}, 422, "bad-decoding", None),
        ({"decoding": {"num_return_sequences": 2}}, 422, "bad-decoding", None),
        ({"decoding": {"beams": 2}}, 422, "bad-request", "decoding.beams"),
        ({"decoding": {"decode_strategy": "beam_search", "num_beams": 65}}, 413, "too-many-sequences", None),
        ({"text": 3}, 422, "bad-request", "text"),
        ({"text": "好" * 20_001}, 413, "too-many-characters", None),
    ],
)
def test_refusals(
    writing: Live, fields: dict[str, Any], status: int, code: str, param: str | None, stream: bool
) -> None:
    response = writing.post("/v1/generation", {"text": WORDS, **fields, "stream": stream})
    assert (response.status_code, response.json()["error"]["code"]) == (status, code), response.text
    assert response.json()["error"]["param"] == param


def test_what_cannot_be_streamed(writing: Live) -> None:
    several = {"decode_strategy": "sampling", "num_return_sequences": 2}
    response = writing.post("/v1/generation", {"text": WORDS, "decoding": several, "stream": True})
    assert (response.status_code, response.json()["error"]["param"]) == (422, "stream")
    response = writing.post("/v1/generation", {"inputs": [{"text": WORDS}], "stream": True})
    assert (response.status_code, response.json()["error"]["param"]) == (422, "stream")


def test_answers_that_are_drawn_anew_are_not_kept(writers: dict[str, Path], tmp_path: Path) -> None:
    with serving(tmp_path, str(writers["generation"]), "serve.cache_entries=8") as live:
        drawn = {"decode_strategy": "sampling", "seed": None}
        texts = {
            live.post("/v1/generation", {"text": WORDS, "decoding": drawn}).json()["answer"]["text"] for _ in "123"
        }
        assert len(texts) > 1 and live.metric("zoo_cache_lookups_total") == 0
        same = {live.post("/v1/generation", {"text": WORDS}).json()["answer"]["text"] for _ in "123"}
        assert len(same) == 1 and live.metric("zoo_cache_lookups_total", result="hit") == 2
        # SimpleServing and the Open Inference Protocol give the same text.
        simple = live.post("/generation", {"data": {"text": [WORDS]}, "parameters": {}}).json()["result"]
        assert {answer["text"] for answer in simple} == same
