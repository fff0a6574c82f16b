"""PaddleNLP's SimpleServing, asked as its clients do."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.serve.bundles import LABELS, WORDS
from tests.serve.live import Live
from zoo_cli.runtime import load
from zoo_cli.runtime.golden import same_answer
from zoo_cli.tasks.base import Task


@pytest.mark.parametrize("route", ["/uie", "/taskflow/uie"])
def test_extraction_as_taskflow_writes_it(server: Live, bundles: dict[str, Path], route: str) -> None:
    texts = [WORDS, WORDS[3:]]
    body = {"data": {"text": texts}, "parameters": {"schema": ["时间", "公司"]}}
    expected = load(bundles["uie"])([{"text": text, "schema": ["时间", "公司"]} for text in texts])
    assert same_answer(server.post(route, body).json(), {"result": expected}, 1e-5)
    # A lone string is answered by a list, and without a schema the model's own is asked.
    response = server.post(route, {"data": {"text": WORDS}})
    assert same_answer(response.json()["result"], [load(bundles["uie"])(WORDS)], 1e-5)


def logits_of(bundle: Path, texts: list[str], max_length: int) -> np.ndarray:
    pipeline = load(bundle)
    task: Task[Any] = pipeline.task
    encodings = task.tokenizer.encode_batch(texts, max_length=max_length)
    features = [
        {"input_ids": each.ids, "token_type_ids": each.type_ids, "attention_mask": np.ones_like(each.ids)}
        for each in encodings
    ]
    return np.stack([output["logits"] for output in pipeline.run(features)])


def test_multi_class_gives_numbers_and_confidences(server: Live, bundles: dict[str, Path]) -> None:
    texts = [WORDS[:4], WORDS[:9], WORDS]
    logits = logits_of(bundles["single"], texts, 16).astype(np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    body = {"data": {"text": texts, "text_pair": None}, "parameters": {"max_seq_len": 16, "batch_size": 2}}
    result = server.post("/models/cls_multi_class", body).json()["result"]
    assert result["label"] == logits.argmax(axis=1).tolist()
    np.testing.assert_allclose(result["confidence"], shares.max(axis=1), atol=1e-6)


@pytest.mark.parametrize("limit", [None, 0.1, 0.9])
def test_multi_label_obeys_prob_limit(server: Live, bundles: dict[str, Path], limit: float | None) -> None:
    texts = [WORDS[:4], WORDS[:9], WORDS[:20]]
    shares = 1 / (1 + np.exp(-logits_of(bundles["multi"], texts, 32).astype(np.float64)))
    wanted = [np.flatnonzero(row > (limit or 0.5)).tolist() for row in shares]
    parameters = {} if limit is None else {"prob_limit": limit}
    result = server.post("/multi", {"data": {"text": texts}, "parameters": parameters}).json()["result"]
    assert result["label"] == wanted
    for row, places, confidence in zip(shares, wanted, result["confidence"], strict=True):
        np.testing.assert_allclose(confidence, row[places], atol=1e-6)
    assert len(LABELS) == shares.shape[1]


def test_curl_as_in_its_documentation(server: Live) -> None:
    body = json.dumps({"data": {"text": [WORDS]}, "parameters": {"schema": ["人物"]}})
    command = [
        "curl",
        "-s",
        "-X",
        "POST",
        f"{server.url}/taskflow/uie",
        "-H",
        "Content-Type: application/json",
        "-d",
        body,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert list(json.loads(done.stdout)) == ["result"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"data": {"text": "a"}, "extra": 1}, 422),
        ({"parameters": {}}, 422),
        ({"data": {}}, 422),
        ({"data": {"text": ["a", "b"], "text_pair": ["c"]}}, 422),
        ({"data": {"text": [1]}}, 422),
        ({"data": {"text": "a"}, "parameters": {"max_seq_len": "x"}}, 422),
        ({"data": {"text": "a"}, "parameters": {"max_seq_len": 1}}, 422),
        ({"data": {"text": "a"}, "parameters": None}, 200),
        ({"data": {"text": "a"}, "parameters": {"unknown": 1}}, 200),
    ],
)
def test_what_is_taken(server: Live, body: Any, status: int) -> None:
    assert server.post("/single", body).status_code == status


def test_unknown_names_are_404(server: Live) -> None:
    assert server.post("/taskflow/nothing", {"data": {"text": "a"}}).status_code == 404
