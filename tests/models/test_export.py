"""Models that no task exports can be traced, too: one graph for any batch and length, equal in ONNX Runtime."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from tests.models.support import call, tiny
from zoo_cli import models
from zoo_cli.base.files import read_json
from zoo_cli.models.checkpoint import read_safetensors

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("paddle2onnx")

CONVERT = """
import sys, paddle2onnx
for stem in sys.argv[1:]:
    names = f"{stem}.json", f"{stem}.pdiparams", f"{stem}.onnx"
    paddle2onnx.export(*names, opset_version=17, optimize_tool="None", auto_upgrade_opset=False)
"""
ENCODER = ["input_ids", "token_type_ids", "attention_mask"]
CASES = {
    "ErnieHealthDiscriminator": ([*ENCODER, "candidate_ids"], ["rtd_logits", "mts_logits", "csp_logits"]),
}
SEGMENTS = Path(__file__).parents[1] / "golden" / "cases" / "ernie_doc_seqcls"
"""A document of two segments with the results of PaddleNLP."""


class Wrapper(paddle.nn.Layer):
    """A model with a list of inputs and a list of outputs."""

    def __init__(self, model: paddle.nn.Layer, inputs: list[str], outputs: list[str]) -> None:
        super().__init__()
        self.model = model
        self.inputs = inputs
        self.outputs = outputs

    def forward(self, tensors: list[paddle.Tensor]) -> list[paddle.Tensor]:
        output = self.model(**dict(zip(self.inputs, tensors)))  # noqa: B905 (strict is not traced)
        return [getattr(output, name) for name in self.outputs]


def model_of(architecture: str) -> Any:
    return tiny(architecture, num_labels=3, initializer_range=0.2)  # large scores would magnify rounding


def model_of_segments() -> Any:
    model = models.build("ErnieDocForSequenceClassification", read_json(SEGMENTS / "config.json"))
    models.load_weights(model, read_safetensors(SEGMENTS / "weights.safetensors"))
    return model


def specification(model: Any, name: str) -> paddle.static.InputSpec:
    """Shape and type of an input, batch and length open."""
    if name in model.config.state_shapes:
        return paddle.static.InputSpec([-1, *model.config.state_shapes[name]], "float32", name)
    return paddle.static.InputSpec([-1, -1, 6] if name == "candidate_ids" else [-1, -1], "int64", name)


def trace(model: Any, inputs: list[str], outputs: list[str], path: Path) -> None:
    wrapper = Wrapper(model, inputs, outputs)
    wrapper.eval()
    inputs_spec = [[specification(model, name) for name in inputs]]
    paddle.jit.save(paddle.jit.to_static(wrapper, input_spec=inputs_spec, full_graph=True), str(path))


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every model as an ONNX file, converted in another process, as paddle2onnx aborts the process where it fails."""
    folder = tmp_path_factory.mktemp("graphs")
    for architecture, (inputs, outputs) in CASES.items():
        trace(model_of(architecture), inputs, outputs, folder / architecture)
    trace(model_of_segments(), [*ENCODER, "memories"], ["logits", "memories"], folder / "segments")
    stems = [str(folder / name) for name in (*CASES, "segments")]
    subprocess.run([sys.executable, "-W", "ignore", "-c", CONVERT, *stems], check=True, capture_output=True)
    return folder


def session_of(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("architecture", CASES)
def test_onnx_equals_dygraph(architecture: str, graphs: Path) -> None:
    inputs, outputs = CASES[architecture]
    model = model_of(architecture)
    session = session_of(graphs / f"{architecture}.onnx")
    random = np.random.default_rng(0)
    for size, length in ((1, 1), (3, 9), (2, 17)):
        shape = (size, length)
        mask = np.ones(shape, np.int64)
        mask[..., length // 2 + 1 :] = 0
        arrays = {
            "input_ids": random.integers(0, 6, shape),
            "token_type_ids": random.integers(0, 2, shape),
            "attention_mask": mask,
            "candidate_ids": random.integers(0, 100, (*shape, 6)),
        }
        feed = {name: arrays[name] for name in inputs}
        expected = call(model, feed)
        for name, value in zip(outputs, session.run(None, feed), strict=True):
            np.testing.assert_allclose(value, getattr(expected, name).numpy(), atol=1e-5)


def test_onnx_reads_a_document_segment_by_segment(graphs: Path) -> None:
    inputs = read_safetensors(SEGMENTS / "inputs.safetensors")
    expected = read_safetensors(SEGMENTS / "outputs.safetensors")
    session = session_of(graphs / "segments.onnx")
    memories = np.stack([inputs["mem0_0"], inputs["mem0_1"]], axis=1)
    for number, call_name in enumerate(("seg1", "seg2")):
        ids, types, mask = (
            inputs[f"s{number}_{name}"].squeeze(-1).astype(np.int64)
            for name in ("input_ids", "token_type_ids", "attn_mask")
        )
        feed = {"input_ids": ids, "token_type_ids": types, "attention_mask": mask, "memories": memories}
        logits, memories = session.run(None, feed)
        np.testing.assert_allclose(logits, expected[f"{call_name}/0"], atol=1e-5)
        for layer in range(memories.shape[1]):
            np.testing.assert_allclose(memories[:, layer], expected[f"{call_name}/1.{layer}"], atol=1e-5)
