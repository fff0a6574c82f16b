"""`/v1/embeddings`, asked by OpenAI's own client."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.serve.bundles import WORDS, make_bundle
from tests.serve.live import Live, serving
from zoo_cli.cli.predict import predict
from zoo_cli.runtime import load
from zoo_cli.runtime.golden import same_answer

openai = pytest.importorskip("openai")
TEXTS = [WORDS, WORDS[3:7], "", WORDS * 2]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "vectors", "embedding", max_length=48)


@pytest.fixture(scope="module")
def live(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, str(bundle), "serve.cache_entries=4", "serve.limits.items=8") as live:
        yield live


@pytest.fixture(scope="module")
def client(live: Live) -> Any:
    return openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0, timeout=30)


@pytest.mark.parametrize("form", ["float", "base64", None])
def test_vectors_are_those_of_the_bundle(client: Any, bundle: Path, form: str | None) -> None:
    # The client asks for base64 by itself and gives numbers.
    chosen = {} if form is None else {"encoding_format": form}
    found = client.embeddings.create(model="vectors", input=TEXTS, **chosen)
    expected = load(bundle)(TEXTS)
    assert [entry.index for entry in found.data] == [0, 1, 2, 3] and found.object == "list"
    for entry, answer in zip(found.data, expected, strict=True):
        vector: Any = entry.embedding
        if form == "base64":
            vector = np.frombuffer(base64.b64decode(vector), "<f4")
        np.testing.assert_allclose(vector, answer["embedding"], atol=1e-6)
        assert getattr(entry, "truncated", None) == answer.get("truncated")
    assert found.usage.prompt_tokens == found.usage.total_tokens == sum(answer["tokens"] for answer in expected)
    assert expected[3]["truncated"] is True


def test_one_text(client: Any, bundle: Path) -> None:
    found = client.embeddings.create(model="vectors", input=WORDS, dimensions=4, user="me")
    np.testing.assert_allclose(found.data[0].embedding, load(bundle)(WORDS)["embedding"], atol=1e-6)


def test_native_and_predict_give_the_same(live: Live, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "texts").write_text("".join(f"{text}\n" for text in TEXTS), encoding="utf-8")
    predict(source=bundle, input_file=str(tmp_path / "texts"), output=str(tmp_path / "answers"))
    lines = [json.loads(line) for line in (tmp_path / "answers").read_text(encoding="utf-8").splitlines()]
    answers = live.post("/v1/embedding", {"inputs": [{"text": text} for text in TEXTS]}).json()["answers"]
    assert same_answer(answers, lines, 1e-6)


def test_identical_texts_are_answered_from_the_cache(live: Live, client: Any) -> None:
    first = client.embeddings.create(model="vectors", input=["一次", "两次"])
    computed = live.metric("zoo_tokens_total")
    again = client.embeddings.create(model="vectors", input=["两次", "一次"])
    assert live.metric("zoo_tokens_total") == computed
    assert again.usage == first.usage and again.data[0].embedding == first.data[1].embedding


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ({"input": [1, 2, 3]}, 422, "token-ids", "input[0]"),
        ({"input": [[1, 2], [3]]}, 422, "token-ids", "input[0]"),
        ({"input": ["a", [3]]}, 422, "token-ids", "input[1]"),
        ({"input": 3}, 422, "token-ids", "input"),
        ({"input": []}, 422, "bad-request", "input"),
        ({"input": ["a", None]}, 422, "bad-request", "input[1]"),
        ({"input": True}, 422, "bad-request", "input"),
        ({}, 422, "bad-request", "input"),
        ({"input": "a", "encoding_format": "hex"}, 422, "bad-request", "encoding_format"),
        ({"input": "a", "dimensions": 3}, 422, "bad-request", "dimensions"),
        ({"input": "a", "inputs": 3}, 422, "bad-request", "inputs"),
        ({"input": "a", "model": "other"}, 404, "unknown-model", "model"),
        ({"input": ["a"] * 9}, 413, "too-many-items", "input"),
        ({"input": ["a", "a" * 20_001]}, 413, "too-many-characters", "input[1]"),
    ],
)
def test_refusals(live: Live, body: Any, status: int, code: str, param: str) -> None:
    response = live.post("/v1/embeddings", body)
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert (error["code"], error["param"]) == (code, param)


def test_only_models_of_vectors_have_it(server: Live, live: Live) -> None:
    assert "/v1/embeddings" in live.client.get("/openapi.json").json()["paths"]
    assert "/v1/embeddings" not in server.client.get("/openapi.json").json()["paths"]
