"""`zoo_cli.export.onnx_graph`: passes change a graph's form, not what it computes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from zoo_cli.export import onnx_graph

RANDOM = np.random.default_rng(0)
WEIGHT = RANDOM.normal(size=(6, 4)).astype(np.float32)
BIAS = RANDOM.normal(size=4).astype(np.float32)
X = RANDOM.normal(size=(2, 3, 6)).astype(np.float32)


def model(
    nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], outputs: tuple[str, ...] = ("y",)
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, None, 6])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def run(graph: onnx.ModelProto) -> list[np.ndarray]:
    return ReferenceEvaluator(graph).run(None, {"x": X})


def kinds(graph: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in graph.graph.node]


def node(kind: str, inputs: str, output: str) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output])


LINEAR = [node("MatMul", "x w", "product"), node("Add", "product b", "sum")]
CONSTANTS = {"w": WEIGHT, "b": BIAS, "half": np.array(0.5, np.float32), "zero": np.array(0, np.float32)}


def test_scale_moves_into_the_weights() -> None:
    graph = model([*LINEAR, node("Mul", "sum half", "y0"), node("Tanh", "y0", "y")], CONSTANTS)
    expected = run(graph)
    assert onnx_graph.fold_scales(graph) == 1
    assert kinds(graph) == ["MatMul", "Add", "Tanh"]
    np.testing.assert_allclose(run(graph)[0], expected[0], atol=1e-6)


@pytest.mark.parametrize("reader", ["product", "sum"])
def test_scale_stays_where_others_read_the_unscaled(reader: str) -> None:
    nodes = [*LINEAR, node("Mul", "sum half", "y0"), node("Tanh", "y0", "y"), node("Tanh", reader, "z")]
    graph = model(nodes, CONSTANTS, ("y", "z"))
    assert onnx_graph.fold_scales(graph) == 0


def test_scale_of_shared_weights_is_folded_for_one_reader_only() -> None:
    other = [node("MatMul", "x w", "product2"), node("Add", "product2 b", "z")]
    graph = model([*LINEAR, *other, node("Mul", "sum half", "y0"), node("Tanh", "y0", "y")], CONSTANTS, ("y", "z"))
    expected = run(graph)
    assert onnx_graph.fold_scales(graph) == 1
    for found, value in zip(run(graph), expected, strict=True):
        np.testing.assert_allclose(found, value, atol=1e-6)


def test_neutral_operations_disappear_except_at_an_output() -> None:
    graph = model(
        [*LINEAR, node("Add", "sum zero", "y0"), node("Tanh", "y0", "y1"), node("Add", "y1 zero", "y")], CONSTANTS
    )
    expected = run(graph)
    assert onnx_graph.drop_neutral(graph) == 1
    assert kinds(graph) == ["MatMul", "Add", "Tanh", "Add"]
    np.testing.assert_array_equal(run(graph)[0], expected[0])


def test_a_zero_that_gives_a_scalar_an_axis_is_kept() -> None:
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        node("Add", "sum zeros", "y0"),
        node("Tanh", "y0", "y"),
    ]
    graph = model(nodes, {"zeros": np.zeros(1, np.float32)})
    assert onnx_graph.drop_neutral(graph) == 0


def test_padding_row_is_folded_into_the_table() -> None:
    mask = np.ones((6, 4), np.float32)
    mask[0] = 0
    graph = model([node("Mul", "w mask", "table"), node("MatMul", "x table", "y")], {"w": WEIGHT, "mask": mask})
    expected = run(graph)
    assert onnx_graph.fold_constants(graph) == 1
    assert onnx_graph.drop_unused_initializers(graph) == 2
    assert kinds(graph) == ["MatMul"]
    np.testing.assert_array_equal(run(graph)[0], expected[0])
