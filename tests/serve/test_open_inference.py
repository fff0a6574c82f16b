"""The Open Inference Protocol, through Triton's own client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.serve.bundles import WORDS
from tests.serve.live import Live
from zoo_cli.runtime import load
from zoo_cli.runtime.golden import same_answer

http = pytest.importorskip("tritonclient.http")
InferenceServerException = pytest.importorskip("tritonclient.utils").InferenceServerException


@pytest.fixture
def client(server: Live) -> Any:
    with http.InferenceServerClient(server.url.removeprefix("http://")) as client:
        yield client


def text_input(name: str, values: list[Any], binary: bool = True, shape: list[int] | None = None) -> Any:
    tensor = http.InferInput(name, shape or [len(values)], "BYTES")
    array = np.array([value.encode() for value in values], object).reshape(shape or [len(values)])
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def test_health_and_metadata(client: Any) -> None:
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("single")
    assert not client.is_model_ready("nobody")
    assert client.get_server_metadata()["name"] == "zoo"
    metadata = client.get_model_metadata("single")
    assert {tensor["name"] for tensor in metadata["inputs"]} == {"text", "text_pair"}
    assert [tensor["datatype"] for tensor in metadata["outputs"]][:1] == ["BYTES"]
    assert client.is_model_ready("single", metadata["versions"][0])
    assert not client.is_model_ready("single", "0")
    assert {entry["name"] for entry in client.get_model_repository_index()} == {"uie", "single", "multi"}


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("column", [True, False])
def test_classification(client: Any, bundles: dict[str, Path], binary: bool, column: bool) -> None:
    texts = [WORDS[:4], WORDS[:9], "a" * 3]
    outputs = [http.InferRequestedOutput(name, binary_data=binary) for name in ("label", "score", "result")]
    tensor = text_input("text", texts, binary, [3, 1] if column else None)
    result = client.infer("single", [tensor], outputs=outputs, request_id="7")
    expected = load(bundles["single"])(texts)
    labels = [label.decode() if binary else label for label in result.as_numpy("label").tolist()]
    assert labels == [answer["label"] for answer in expected]
    np.testing.assert_allclose(result.as_numpy("score"), [answer["score"] for answer in expected], atol=1e-5)
    answers = [json.loads(answer) for answer in result.as_numpy("result").tolist()]
    assert same_answer(answers, expected, 1e-5)
    assert result.get_response()["id"] == "7"


def test_extraction_with_a_schema_for_each_element(client: Any, bundles: dict[str, Path]) -> None:
    schemas = [["人物"], {"地点": ["时间"]}]
    tensors = [text_input("text", [WORDS, WORDS[4:]]), text_input("schema", [json.dumps(each) for each in schemas])]
    result = client.infer("uie", tensors)
    expected = load(bundles["uie"])([{"text": WORDS, "schema": schemas[0]}, {"text": WORDS[4:], "schema": schemas[1]}])
    assert same_answer([json.loads(answer) for answer in result.as_numpy("result")], expected, 1e-5)


@pytest.mark.parametrize(
    ("name", "tensors"),
    [
        ("single", [text_input("txt", ["a"])]),
        ("single", []),
        ("single", [text_input("text", ["a", "b"]), text_input("text_pair", ["a"])]),
        ("uie", [text_input("text", ["a"]), text_input("schema", ["{"])]),
        ("nobody", [text_input("text", ["a"])]),
    ],
)
def test_faults_reach_the_client_as_its_exceptions(client: Any, name: str, tensors: list[Any]) -> None:
    with pytest.raises(InferenceServerException) as error:
        client.infer(name, tensors)
    assert error.value.status() in ("404", "422") and error.value.message()


@pytest.mark.parametrize(
    ("body", "length", "status"),
    [
        (b"{", None, 400),
        (b"{}", None, 422),
        (b"{}", "99", 400),
        (b"{}", "x", 400),
        (b'{"inputs":[{"name":"text","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":9}}]}', None, 422),
        (b'{"inputs":[{"name":"text","shape":[2],"datatype":"BYTES","data":["a"]}]}', None, 422),
        (b'{"inputs":[{"name":"text","shape":[-1],"datatype":"BYTES","data":["a"]}]}', None, 422),
        (b'{"inputs":[{"name":"text","shape":[1],"datatype":"BYTES","data":[3]}]}', None, 422),
        (
            b'{"inputs":[{"name":"text","shape":[1],"datatype":"BYTES","data":["a"]}],"outputs":[{"name":"x"}]}',
            None,
            422,
        ),
        (b"[" * 100_000, None, 400),
    ],
)
def test_malformed_bodies(server: Live, body: bytes, length: str | None, status: int) -> None:
    headers = {} if length is None else {"Inference-Header-Content-Length": length}
    response = server.client.post("/v2/models/single/infer", content=body, headers=headers)
    assert response.status_code == status and isinstance(response.json()["error"], str)


def test_truncated_binary_strings(server: Live) -> None:
    head = json.dumps(
        {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 6}}]}
    ).encode()
    for data in (b"\x09\x00\x00\x00ab", b"\x02\x00\x00\x00\xff\xfe"):
        headers = {"Inference-Header-Content-Length": str(len(head))}
        response = server.client.post("/v2/models/single/infer", content=head + data, headers=headers)
        assert response.status_code == 422, response.text
