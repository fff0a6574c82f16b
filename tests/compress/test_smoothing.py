"""Channels made more even: the graph computes the same, rounding costs less, and sums are left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from zoo_cli.base.errors import UsageError
from zoo_cli.compress.calibration import find_widths, observe
from zoo_cli.compress.onnx_int8 import quantize, weight_products
from zoo_cli.compress.routes import OnnxRoute
from zoo_cli.compress.smoothing import smooth, smoothable
from zoo_cli.recipe.schema import QuantizeSection

H = 32
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(4, 10, H)).astype(np.float32)


def model(residual: bool) -> onnx.ModelProto:
    """A layer normalisation with two wide channels, two products; with a sum that reads it as well, or not."""
    scale = np.ones(H, np.float32)
    scale[[3, 7]] = 60
    constants = {"scale": scale, "bias": RANDOM.normal(size=H).astype(np.float32)}
    constants |= {name: RANDOM.normal(size=(H, H)).astype(np.float32) for name in ("a", "b")}
    nodes = [
        helper.make_node("LayerNormalization", ["x", "scale", "bias"], ["normal"]),
        helper.make_node("MatMul", ["normal", "a"], ["y"]),
        helper.make_node("MatMul", ["normal", "b"], ["z0"]),
        helper.make_node("Add", ["z0", "normal" if residual else "x"], ["z"]),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "length", H])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "length", H]) for name in "yz"],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def run(graph: onnx.ModelProto) -> np.ndarray:
    return np.stack(onnxruntime.InferenceSession(graph.SerializeToString()).run(None, {"x": X}))


def rounded(graph: onnx.ModelProto) -> np.ndarray:
    products = weight_products(graph)
    seen = observe(graph, products.values(), [{"x": X}])
    return run(quantize(graph, list(products), {name: (each.low, each.high) for name, each in seen.items()}))


def test_the_same_with_less_error() -> None:
    plain = model(residual=False)
    (activation,) = smoothable(plain)
    result = smooth(plain, find_widths(plain, [activation], [{"x": X}]))
    expected = run(plain)
    np.testing.assert_allclose(run(result), expected, rtol=1e-4, atol=1e-3)
    widths = find_widths(result, [activation], [{"x": X}])[activation]
    before = find_widths(plain, [activation], [{"x": X}])[activation]
    assert widths.max() / widths.min() < 0.2 * before.max() / before.min()
    errors = [float(np.mean((rounded(graph) - expected) ** 2)) for graph in (plain, result)]
    assert errors[1] < 0.5 * errors[0]


def test_a_model_that_normalises_sums_is_refused(float_bundle: Path) -> None:
    options = QuantizeSection(method="static", calibration=["smooth"])
    with pytest.raises(UsageError) as caught:
        OnnxRoute(float_bundle, options, []).candidates()
    assert caught.value.code == "no-such-route"


def test_what_a_sum_reads_is_left_alone() -> None:
    graph = model(residual=True)
    assert smoothable(graph) == {}
    assert smooth(graph, {}) == graph
