"""A model repository for Triton: its configuration by Triton's own schema, its Python model with tensors in and out."""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.serve.bundles import WORDS, make_bundle
from tests.serve.writers import make_writer
from zoo_cli.base.errors import ArtifactError, UsageError
from zoo_cli.base.files import write_manifest
from zoo_cli.cli.export import Layout
from zoo_cli.cli.export import export as export_command
from zoo_cli.export.triton import write_repository
from zoo_cli.runtime import load
from zoo_cli.runtime.golden import same_answer

onnxruntime = pytest.importorskip("onnxruntime")
model_config = pytest.importorskip("tritonclient.grpc.model_config_pb2")
protobuf = pytest.importorskip("google.protobuf")

from google.protobuf import json_format, text_format  # noqa: E402

TYPES = {"TYPE_INT64": np.int64, "TYPE_FP32": np.float32}
EXTRACTION: dict[str, Any] = {"schema": ["人物"], "max_length": 64, "overlap": 16}


def configuration(folder: Path) -> Any:
    """The parsed `config.pbtxt` of a model."""
    return text_format.Parse((folder / "config.pbtxt").read_text(), model_config.ModelConfig())


class Server(types.ModuleType):
    """Stands in for Triton at the edge of the Python model: its `triton_python_backend_utils`.

    The other model's tensors are checked against its configuration, as Triton does it.
    """

    TRITONSERVER_MEMORY_CPU = 0

    class TritonModelException(Exception):
        """What a failed request of another model raises."""

    class TritonError:
        def __init__(self, message: str) -> None:
            self._message = message

        def message(self) -> str:
            return self._message

    class Tensor:
        def __init__(self, name: str, array: np.ndarray) -> None:
            self._name, self._array = name, array

        def name(self) -> str:
            return self._name

        def as_numpy(self) -> np.ndarray:
            return self._array

    class PreferredMemory:
        def __init__(self, kind: int, device: int) -> None:
            assert (kind, device) == (0, 0)

    class InferenceResponse:
        def __init__(self, output_tensors: list[Any], error: Any = None) -> None:
            self.tensors, self._error = output_tensors, error

        def has_error(self) -> bool:
            return self._error is not None

        def error(self) -> Any:
            return self._error

    class Asked:
        """A client's request."""

        def __init__(self, inputs: list[Any], outputs: list[str]) -> None:
            self.inputs, self._outputs = inputs, outputs

        def requested_output_names(self) -> list[str]:
            return self._outputs

    def __init__(self, repository: Path) -> None:
        super().__init__("triton_python_backend_utils")
        self.repository = repository
        self.batches: list[int] = []
        self.sessions: dict[str, Any] = {}
        server = self

        class InferenceRequest:
            def __init__(
                self, model_name: str, requested_output_names: list[str], inputs: list[Any], preferred_memory: Any
            ) -> None:
                self.model, self.names, self.inputs = model_name, requested_output_names, inputs

            def exec(self) -> Any:
                return server.compute(self.model, self.names, self.inputs)

        self.InferenceRequest = InferenceRequest

    def get_input_tensor_by_name(self, request: Any, name: str) -> Any:
        return next((tensor for tensor in request.inputs if tensor.name() == name), None)

    def get_output_tensor_by_name(self, response: Any, name: str) -> Any:
        return next(tensor for tensor in response.tensors if tensor.name() == name)

    def compute(self, model: str, names: list[str], inputs: list[Any]) -> Any:
        """Run another model."""
        config = configuration(self.repository / model)
        given = {}
        for tensor, declared in zip(inputs, config.input, strict=True):
            array = tensor.as_numpy()
            assert tensor.name() == declared.name
            assert array.dtype == TYPES[model_config.DataType.Name(declared.data_type)]
            assert len(array) <= config.max_batch_size and array.ndim == 1 + len(declared.dims)
            assert all(size in (-1, found) for size, found in zip(declared.dims, array.shape[1:], strict=True))
            given[declared.name] = array[:, 0] if declared.HasField("reshape") else array
        self.batches.append(len(array))
        if model not in self.sessions:
            path = self.repository / model / "1" / "model.onnx"
            self.sessions[model] = onnxruntime.InferenceSession(str(path))
        found = self.sessions[model].run(names, given)
        return self.InferenceResponse([self.Tensor(name, value) for name, value in zip(names, found, strict=True)])


class Client:
    """A repository in its server."""

    def __init__(self, bundle: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        name, _ = write_repository(bundle, folder)
        self.server, self.config = Server(folder), configuration(folder / name)
        monkeypatch.setitem(sys.modules, "triton_python_backend_utils", self.server)
        spec = importlib.util.spec_from_file_location("model", folder / name / "1" / "model.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.model = module.TritonPythonModel()
        config = json.dumps(json_format.MessageToDict(self.config, preserving_proto_field_name=True))
        self.model.initialize({"model_config": config, "model_repository": str(folder / name), "model_version": "1"})

    def ask(self, *requests: dict[str, list[Any]], outputs: tuple[str, ...] = ("result",)) -> list[Any]:
        """The responses to requests: each is the elements of its inputs."""
        declared = {tensor.name for tensor in self.config.output}
        assert set(outputs) <= declared
        asked = []
        for request in requests:
            inputs = []
            for name, values in request.items():
                cells = [value if isinstance(value, str) else json.dumps(value) for value in values]
                inputs.append(Server.Tensor(name, np.array([cell.encode() for cell in cells], object).reshape(-1, 1)))
            asked.append(Server.Asked(inputs, list(outputs)))
        return self.model.execute(asked)

    def answers(self, *requests: dict[str, list[Any]]) -> list[Any]:
        """All answers."""
        found = []
        for response in self.ask(*requests):
            assert not response.has_error(), response.error().message()
            (tensor,) = response.tensors
            array = tensor.as_numpy()
            assert array.shape[1:] == (1,)
            found += [json.loads(value) for value in array[:, 0]]
        return found


def test_configuration(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "msra", "extraction", **EXTRACTION)
    assert write_repository(bundle, tmp_path / "triton") == ["msra", "msra.graph"]
    asked, graph = (configuration(tmp_path / "triton" / name) for name in ("msra", "msra.graph"))
    assert (asked.name, asked.backend, graph.backend) == ("msra", "python", "onnxruntime")
    assert asked.HasField("dynamic_batching") and graph.HasField("dynamic_batching")
    optional = {tensor.name: tensor.optional for tensor in asked.input}
    assert not optional.pop("text") and {"schema", "schema_lang"} <= set(optional) and all(optional.values())
    assert [(tensor.name, list(tensor.dims)) for tensor in asked.output] == [("result", [1])]
    assert [(tensor.name, list(tensor.dims)) for tensor in graph.input] == [
        ("input_ids", [-1]), ("token_type_ids", [-1]), ("attention_mask", [-1]),
    ]  # fmt: skip
    assert {tensor.name for tensor in graph.output} == {"start_prob", "end_prob"}
    files = {path.name for path in (tmp_path / "triton" / "msra" / "1" / "task").iterdir()}
    assert {"task.json", "vocab.txt"} <= files and not any(name.endswith((".onnx", ".safetensors")) for name in files)


def test_extraction_with_schemas_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = make_bundle(tmp_path / "uie", "extraction", **EXTRACTION)
    client = Client(bundle, tmp_path / "triton", monkeypatch)
    texts = [WORDS[start:] * (1 + start) for start in range(9)]
    schemas: list[Any] = [["人物", {"地点": "时间"}], "公司", {"地点": ["人物"]}]
    requests = [{"text": [text], "schema": [schemas[index % 3]]} for index, text in enumerate(texts)]
    expected = [load(bundle)({"text": text, "schema": schemas[index % 3]}) for index, text in enumerate(texts)]
    assert same_answer(client.answers(*requests, {"text": texts[:2]}), [*expected, *load(bundle)(texts[:2])], 1e-5)
    assert max(client.server.batches) > 3  # stages of several requests were computed together


def test_classes_as_outputs_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = make_bundle(tmp_path / "single", "sequence_classification", max_length=32)
    client = Client(bundle, tmp_path / "triton", monkeypatch)
    texts = [WORDS[:4]] * 100  # more rows of one length than the graph takes at once
    (response,) = client.ask({"text": texts}, outputs=("label", "score"))
    label, score = (tensor.as_numpy() for tensor in response.tensors)
    expected = load(bundle)(WORDS[:4])
    assert label.tolist() == [[expected["label"].encode()]] * 100 and score.dtype == np.float32
    np.testing.assert_allclose(score[:, 0], expected["score"], atol=1e-5)
    assert max(client.server.batches) == client.config.max_batch_size


def test_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = make_bundle(tmp_path / "vectors", "embedding")
    client = Client(bundle, tmp_path / "triton", monkeypatch)
    texts = [WORDS, WORDS[5:], ""]
    assert same_answer(client.answers({"text": texts}), load(bundle)(texts), 1e-5)


@pytest.mark.parametrize("task", ["generation", "dialogue"])
def test_texts_are_written(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = make_writer(tmp_path / "writer", task)
    client = Client(bundle, tmp_path / "triton", monkeypatch)
    requests: list[dict[str, list[Any]]] = [
        {"text": [WORDS[:9]]},
        {"text": [WORDS], "decoding": [{"max_new_tokens": 5}]},
    ]
    expected = [load(bundle)({name: values[0] for name, values in request.items()}) for request in requests]
    assert same_answer(client.answers(*requests), expected, 1e-4)


def test_a_wrong_request_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = make_bundle(tmp_path / "uie", "extraction", **EXTRACTION)
    client = Client(bundle, tmp_path / "triton", monkeypatch)
    good: dict[str, list[Any]] = {"text": [WORDS]}
    wrong: list[dict[str, list[Any]]] = [
        {"text": [WORDS], "schema": ["[broken"]},
        {"text": [WORDS], "schema": ["名" * 60]},
        {"text": [WORDS, WORDS], "schema": ["人物"]},
        {"schema": ["人物"]},
        {"text": []},
    ]
    responses = client.ask(good, *wrong, good)
    assert [response.has_error() for response in responses] == [False, *[True] * len(wrong), False]
    messages = [response.error().message() for response in responses[1:-1]]
    assert [message.rpartition("[")[2] for message in messages[:3]] == [
        "bad-request]",
        "prompt-too-long]",
        "bad-request]",
    ]
    assert json.loads(responses[-1].tensors[0].as_numpy()[0, 0]) == load(bundle)(WORDS)


def test_openvino(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    from zoo_cli.export.to_openvino import to_openvino

    bundle = make_bundle(tmp_path / "single", "sequence_classification")
    (bundle / "openvino").mkdir()
    to_openvino(bundle / "onnx" / "fp32" / "model.onnx", bundle / "openvino" / "fp32")
    write_manifest(bundle)
    write_repository(bundle, tmp_path / "onnx")
    write_repository(bundle, tmp_path / "triton", "openvino")
    graph, same = (configuration(tmp_path / name / "single.graph") for name in ("triton", "onnx"))
    assert (graph.backend, same.backend) == ("openvino", "onnxruntime")
    assert list(graph.input) == list(same.input) and list(graph.output) == list(same.output)
    version = tmp_path / "triton" / "single.graph" / "1"
    assert sorted(path.name for path in version.iterdir()) == ["model.bin", "model.xml"]


def test_the_command_passes_a_bundle_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    make_bundle(run / "bundle", "sequence_classification")
    export_command(source=run, layout=Layout.triton, dry_run=True)
    assert not (run / "triton").exists()
    export_command(source=run, layout=Layout.triton)
    assert {path.name for path in (run / "triton").iterdir()} == {"run", "run.graph"}
    with pytest.raises(UsageError, match="already"):
        export_command(source=run, layout=Layout.triton)
    export_command(source=run, layout=Layout.triton, force=True, output_dir=tmp_path / "other")
    assert (tmp_path / "other" / "triton" / "run" / "config.pbtxt").is_file()


@pytest.mark.parametrize(
    ("override", "error", "code"),
    [
        ("serve.backend=paddle", UsageError, "no-triton"),
        ("serve.precision=int3", ArtifactError, "no-graph"),
        ("serve.backend=openvino", ArtifactError, "no-graph"),
        ("export.tolerance=1", UsageError, "no-recipe"),
    ],
)
def test_refusals(override: str, error: type[Exception], code: str, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "single", "sequence_classification", golden=False)
    with pytest.raises(error) as raised:
        export_command([override], source=bundle, layout=Layout.triton)
    assert getattr(raised.value, "code", "") == code
    assert not (tmp_path / "triton").exists()
