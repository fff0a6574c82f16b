"""`/v1/<task>`: the answers are those of `zoo predict`, whatever else is asked at the same time."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serve.bundles import WORDS
from tests.serve.live import Live
from zoo_cli import registry
from zoo_cli.runtime import load
from zoo_cli.runtime.golden import same_answer


def texts(count: int, seed: int, longest: int = 150) -> list[str]:
    draw = random.Random(seed)
    return ["".join(draw.choices(WORDS, k=draw.randint(0, longest))) for _ in range(count)]


SCHEMAS: list[Any] = [
    "人物",
    ["人物", "地点"],
    {"地点": ["人物", "时间"]},
    ["公司", {"人物": {"地点": "公司"}}],
    "态度[好，坏]",
]


def test_mixed_concurrent_requests_are_answered_as_by_predict(server: Live, bundles: dict[str, Path]) -> None:
    pipelines = {name: load(bundles[name]) for name in ("uie", "single", "multi")}
    draw = random.Random(0)
    requests: list[tuple[str, dict[str, Any]]] = []
    for text in texts(600, 1):
        name = draw.choice(["uie", "uie", "single", "multi"])
        fields = (
            {"schema": draw.choice(SCHEMAS), "position_threshold": draw.choice([0.5, 0.9])} if name == "uie" else {}
        )
        requests.append((name, {"text": text, **fields}))

    def ask(request: tuple[str, dict[str, Any]]) -> Any:
        name, fields = request
        task = "extraction" if name == "uie" else "sequence_classification"
        response = client.post(f"{server.url}/v1/{task}", json={**fields, "model": name})
        assert response.status_code == 200, response.text
        return response.json()["answer"]

    with httpx.Client(timeout=60) as client, ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(ask, requests))
    for (name, fields), answer in zip(requests, answers, strict=True):
        assert same_answer(pipelines[name](fields), answer, 1e-5), (name, fields)
    assert server.metric("zoo_batch_rows_sum") > server.metric("zoo_batch_rows_count")  # some batches were shared


def test_several_inputs_share_fields_but_may_have_their_own(server: Live, bundles: dict[str, Path]) -> None:
    inputs = [{"text": WORDS}, {"text": WORDS[5:], "schema": "公司"}]
    response = server.post("/v1/extraction", {"inputs": inputs, "schema": ["时间"]})
    pipeline = load(bundles["uie"])
    expected = [pipeline({"text": WORDS, "schema": ["时间"]}), pipeline({"text": WORDS[5:], "schema": "公司"})]
    assert same_answer(response.json()["answers"], expected, 1e-5)
    # The schema of one request is no other's.
    assert same_answer(server.post("/v1/extraction", {"text": WORDS}).json()["answer"], pipeline(WORDS), 1e-5)


def test_answers_name_model_and_version_and_fit_the_documented_type(server: Live) -> None:
    models = {model["id"]: model for model in server.client.get("/v1/models").json()["data"]}
    for name, fields in (("uie", {"schema": SCHEMAS[3]}), ("single", {}), ("multi", {})):
        task = models[name]["task"]
        answer = server.post(models[name]["endpoint"], {"text": WORDS, "model": name, **fields}).json()
        assert (answer["model"], answer["version"]) == (name, models[name]["version"])
        model: Any = registry.task(task).answer
        model.model_validate(answer["answer"])


def test_truncation_is_reported(server: Live) -> None:
    long, short = (server.post("/v1/sequence_classification", {"text": text}).json() for text in (WORDS, WORDS[:5]))
    assert long["answer"]["truncated"] is True
    assert "truncated" not in short["answer"]


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({}, "text", "no-text"),
        ({"text": None}, "text", "no-text"),
        ({"text": 3}, "text", "bad-request"),
        ({"text": "a", "shema": "b"}, "shema", "bad-request"),
        ({"text": "a", "schema": ["b", {"c": 3}]}, "schema[1].c", "bad-schema"),
        ({"text": "a", "schema": []}, "schema", "bad-schema"),
        ({"text": "a", "position_threshold": 2}, "position_threshold", "bad-request"),
        ({"text": "a", "max_length": 100_000}, None, "bad-request"),
        ({"text": "a", "schema": "名" * 60}, None, "prompt-too-long"),
        ({"inputs": []}, "inputs", "bad-request"),
        ({"inputs": [{"text": "a"}, {"text": None}]}, "inputs[1].text", "no-text"),
        ({"inputs": [{"text": "a"}, {"text": 3}]}, "inputs[1].text", "bad-request"),
        ({"inputs": [{"text": "a"}, {"text": "a", "schema": {"b": 1}}]}, "inputs[1].schema.b", "bad-schema"),
        ([], None, "bad-request"),
        ("text", None, "bad-request"),
    ],
)
def test_faults_are_422_with_the_place(server: Live, body: Any, field: str | None, code: str) -> None:
    response = server.post("/v1/extraction", body)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (422, code), response.text
    if field is not None:
        assert error["param"] == field
    assert error["request_id"] == response.headers["x-request-id"]


def test_unknown_models_and_paths(server: Live) -> None:
    assert server.post("/v1/extraction", {"text": "a", "model": "single"}).status_code == 404
    assert server.post("/v1/extraction", {"text": "a", "model": "nobody"}).json()["error"]["param"] == "model"
    assert server.post("/v1/token_classification", {"text": "a"}).status_code == 404
    assert server.client.get("/v1/nothing").status_code in (404, 405)
    refused = server.client.put("/v1/extraction", json={})
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/metrics", "/v1/models"])
def test_what_can_be_read_has_a_head(server: Live, path: str) -> None:
    head, whole = server.client.head(path), server.client.get(path)
    assert head.status_code == whole.status_code == 200 and head.content == b""
    assert head.headers["content-type"] == whole.headers["content-type"]
    assert server.client.head("/v1/extraction").status_code == 405


def test_documentation_shows_the_loaded_tasks_only(server: Live) -> None:
    document = server.client.get("/openapi.json").json()
    assert "/v1/extraction" in document["paths"] and "/v1/multiple_choice" not in document["paths"]
    assert "position_threshold" in document["components"]["schemas"]["ExtractionRequest"]["properties"]
    assert "schema" in document["components"]["schemas"]["ExtractionRequest"]["properties"]
