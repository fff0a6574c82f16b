"""Models can be traced: one graph for any batch and length, equal in ONNX Runtime."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from tests.models.support import call, tiny

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
    "BertForSequenceClassification": (ENCODER, ["logits"]),
    "BertForMultipleChoice": (ENCODER, ["logits"]),
    "UIE": (["input_ids"], ["start_prob", "end_prob"]),
    "UTC": ([*ENCODER, "omask_positions", "cls_positions"], ["logits"]),
}


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
    return tiny(architecture, num_labels=3)


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every model as an ONNX file, converted in another process, as paddle2onnx aborts the process where it fails."""
    folder = tmp_path_factory.mktemp("graphs")
    for architecture, (inputs, outputs) in CASES.items():
        rank = 3 if "Choice" in architecture else 2
        specification = [
            paddle.static.InputSpec([-1] * (1 if name == "cls_positions" else rank), "int64", name) for name in inputs
        ]
        wrapper = Wrapper(model_of(architecture), inputs, outputs)
        wrapper.eval()
        traced = paddle.jit.to_static(wrapper, input_spec=[specification], full_graph=True)
        paddle.jit.save(traced, str(folder / architecture))
    stems = [str(folder / architecture) for architecture in CASES]
    subprocess.run([sys.executable, "-W", "ignore", "-c", CONVERT, *stems], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("architecture", CASES)
def test_onnx_equals_dygraph(architecture: str, graphs: Path) -> None:
    inputs, outputs = CASES[architecture]
    model = model_of(architecture)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    path = str(graphs / f"{architecture}.onnx")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    for size, length in ((1, 1), (3, 9), (2, 17)):
        shape = (size, 4, length) if "Choice" in architecture else (size, length)
        mask = np.ones(shape, np.int64)
        mask[..., length // 2 + 1 :] = 0
        arrays = {
            "input_ids": random.integers(0, 6, shape),
            "token_type_ids": random.integers(0, 2, shape),
            "attention_mask": mask,
            "omask_positions": random.integers(0, length, (size, 3)),
            "cls_positions": random.integers(0, length, (size,)),
        }
        feed = {name: arrays[name] for name in inputs}
        expected = call(model, feed)
        for name, value in zip(outputs, session.run(None, feed), strict=True):
            np.testing.assert_allclose(value, getattr(expected, name).numpy(), atol=1e-5)
