"""A bundle as a model repository for Triton (https://github.com/triton-inference-server/server).

triton/
    NAME/config.pbtxt, NAME/1/model.py, NAME/1/task/      text in, answers out: `zoo_cli.runtime.triton`
    NAME.graph/config.pbtxt, NAME.graph/1/model.onnx      the graph, in Triton's ONNX Runtime or OpenVINO back end

The Python model asks the graph from inside of Triton ("business logic scripting"), so that the stages of a
conversation, such as the levels of an extraction schema, are the runtime's own; its batches and those of further
instances are put together again by Triton's dynamic batching.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from zoo_cli.base.errors import ArtifactError, Location, UsageError
from zoo_cli.base.files import atomic_folder, read_json, verify_manifest, write_text
from zoo_cli.runtime import tensors
from zoo_cli.runtime.backends import graphs
from zoo_cli.runtime.loading import default_name
from zoo_cli.runtime.triton import GRAPH, INPUTS, OUTPUTS, TASK_FOLDER
from zoo_cli.tasks.base import TASK_FILE

MAX_BATCH = 64
"""Texts in a request, and sequences that the graph reads at once."""
_ENGINES = {"onnx": "onnxruntime", "openvino": "openvino"}
_TYPES = {"BYTES": "TYPE_STRING", "FP32": "TYPE_FP32", "INT64": "TYPE_INT64"}
_WEIGHTS = {".safetensors", ".pdparams"}
_MODEL = '''"""Made by `zoo export --layout triton`."""

from zoo_cli.runtime.triton import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''


@dataclass(frozen=True)
class Tensor:
    """An input or output of a model.

    Args:
        name: of the tensor.
        type: Triton's name of the element type.
        sizes: of the axes behind the batch, -1 where they differ.
        optional: whether a request may leave it out.
    """

    name: str
    type: str
    sizes: tuple[int, ...]
    optional: bool = False

    def __str__(self) -> str:
        """As text in protobuf's format."""
        parts = [f"name: {_quoted(self.name)}", f"data_type: {self.type}"]
        # Triton wants an axis behind that of the batch.
        parts.append(f"dims: [ {', '.join(map(str, self.sizes)) or '1'} ]")
        if not self.sizes:
            parts.append("reshape: { shape: [ ] }")
        if self.optional:
            parts.append("optional: true")
        return "{ " + " ".join(parts) + " }"


def write_repository(
    bundle: Path, target: Path, backend: str | None = None, precision: str | None = None, force: bool = False
) -> list[str]:
    """Write a model repository.

    Args:
        bundle: folder with a graph for ONNX Runtime or OpenVINO.
        target: folder to write.
        backend: ``"onnx"`` or ``"openvino"``; by default the first of these that the bundle has.
        precision: of the graph; by default fp32 if there is one.
        force: replace a folder that is there.

    Returns:
        Names of the two models: the one that clients ask, and the one that runs the graph.

    Raises:
        ArtifactError: the bundle is damaged, or has no such graph (`no-graph`).
        UsageError: the folder is there (`folder-exists`), or Triton has no such back end (`no-triton`).
    """
    if target.exists() and not force:
        raise UsageError(
            "folder-exists", "there is such a folder already", at=Location.of(target), fix="replace it with --force"
        )
    verify_manifest(bundle)
    engine, graph = _graph(bundle, backend, precision)
    name = re.sub(r"[^\w.-]", "-", default_name(bundle))
    task = read_json(bundle / TASK_FILE)["task"]
    inputs, outputs = (_onnx_tensors if engine == "onnx" else _openvino_tensors)(graph)
    with atomic_folder(target) as partial:
        version = partial / f"{name}.graph" / "1"
        version.mkdir(parents=True)
        for path in (graph, graph.with_suffix(".bin")):
            if path.is_file():
                shutil.copyfile(path, version / path.name)
        write_text(
            partial / f"{name}.graph" / "config.pbtxt", _config(f"{name}.graph", _ENGINES[engine], inputs, outputs)
        )
        version = partial / name / "1"
        (version / TASK_FOLDER).mkdir(parents=True)
        for path in sorted(bundle.iterdir()):
            if path.is_file() and path.suffix not in _WEIGHTS:
                shutil.copyfile(path, version / TASK_FOLDER / path.name)
        write_text(version / "model.py", _MODEL)
        parameters = {GRAPH: f"{name}.graph"}
        parameters[INPUTS] = ",".join(tensor.name for tensor in inputs)
        parameters[OUTPUTS] = ",".join(tensor.name for tensor in outputs)
        config = _config(name, "python", _asked(task), _answered(task), parameters)
        write_text(partial / name / "config.pbtxt", config)
    return [name, f"{name}.graph"]


def _graph(bundle: Path, backend: str | None, precision: str | None) -> tuple[str, Path]:
    if backend not in (None, *_ENGINES):
        raise UsageError(
            "no-triton",
            "Triton does not run graphs of {backend}",
            fix="set serve.backend to one of: {names}",
            backend=backend,
            names=", ".join(_ENGINES),
        )
    for engine, numbers in graphs(bundle):
        if engine in _ENGINES and backend in (None, engine) and precision in (None, numbers):
            suffix = "onnx" if engine == "onnx" else "xml"
            return engine, bundle / engine / numbers / f"model.{suffix}"
    raise ArtifactError(
        "no-graph",
        "the bundle has no graph for {backend} of precision {precision}",
        at=Location.of(bundle),
        fix="`zoo export` writes them: export.backends=[onnx, openvino]",
        backend=backend or "ONNX Runtime or OpenVINO",
        precision=precision or "any",
    )


def _asked(task: str) -> list[Tensor]:
    """What clients send: one element for each text."""
    fields = tensors.input_names(task)
    required = tensors.required_inputs(task)
    return [Tensor(name, "TYPE_STRING", (1,), name not in required) for name in fields]


def _answered(task: str) -> list[Tensor]:
    return [Tensor(name, _TYPES[kind], (1,)) for name, kind in tensors.output_types(task).items()]


def _onnx_tensors(path: Path) -> tuple[list[Tensor], list[Tensor]]:
    """Inputs and outputs of an ONNX graph."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph

    def tensor(value: onnx.ValueInfoProto) -> Tensor:
        kind = onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)
        sizes = [axis.dim_value if axis.HasField("dim_value") else -1 for axis in value.type.tensor_type.shape.dim]
        return Tensor(value.name, {"FLOAT": "TYPE_FP32"}.get(kind, f"TYPE_{kind}"), tuple(sizes[1:]))

    return [tensor(value) for value in graph.input], [tensor(value) for value in graph.output]


def _openvino_tensors(path: Path) -> tuple[list[Tensor], list[Tensor]]:
    """Inputs and outputs of a graph in OpenVINO's format."""
    import openvino

    model = openvino.Core().read_model(path)
    types = {"f32": "TYPE_FP32", "i64": "TYPE_INT64"}

    def tensor(value: openvino.Output) -> Tensor:
        sizes = [axis.get_length() if axis.is_static else -1 for axis in value.get_partial_shape()]
        return Tensor(value.any_name, types[value.get_element_type().get_type_name()], tuple(sizes[1:]))

    return [tensor(value) for value in model.inputs], [tensor(value) for value in model.outputs]


def _config(
    name: str,
    backend: str,
    inputs: Iterable[Tensor],
    outputs: Iterable[Tensor],
    parameters: Mapping[str, str] | None = None,
) -> str:
    """A model's configuration in protobuf's text format."""
    lines = [f"name: {_quoted(name)}", f"backend: {_quoted(backend)}", f"max_batch_size: {MAX_BATCH}"]
    lines += [f"input {tensor}" for tensor in inputs]
    lines += [f"output {tensor}" for tensor in outputs]
    # Whatever waits goes together; nothing waits for a batch to fill up.
    lines += ["dynamic_batching { }", "instance_group { kind: KIND_CPU count: 1 }"]
    for key, value in (parameters or {}).items():
        lines.append(f"parameters {{ key: {_quoted(key)} value: {{ string_value: {_quoted(value)} }} }}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
