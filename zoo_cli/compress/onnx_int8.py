"""Eight-bit ONNX graphs: activations as unsigned integers with one range a tensor, weights signed with one scale a column.

Only products with a constant weight become integer ones. Products of two activations, the attention mask, softmax and
layer normalisation stay in float: quantising all of them costs most of the accuracy. Activations are unsigned, since
processors multiply unsigned by signed bytes; signed ones take a path that is several times slower.

The nodes are those that ONNX Runtime fuses into one kernel when it loads the graph; `count_integer_products` looks
whether it did.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from zoo_cli.export.onnx_graph import drop_unused_initializers

Ranges = Mapping[str, tuple[float, float]]
"""Name of an activation -> its lowest and highest value."""

INTEGER_PRODUCTS = {"MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QLinearMatMul", "QGemm"}
_SMALL_TABLE = 4096
"""Tables with fewer values stay in float."""


def weight_products(model: ModelProto) -> dict[str, str]:
    """The matrix products with a constant weight [K, N], in order: name of the weight -> name of the activation.

    A weight that several products share, or that something else reads, is left out.
    """
    weights = {tensor.name for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2}
    readers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            if name in weights:
                readers.setdefault(name, []).append(node)
    return {
        name: nodes[0].input[0]
        for name, nodes in readers.items()
        if len(nodes) == 1 and nodes[0].op_type == "MatMul" and nodes[0].input[1] == name
    }


def tables(model: ModelProto) -> list[str]:
    """Constant tables [V, H] that are only looked up in."""
    found = []
    for tensor in model.graph.initializer:
        readers = [node for node in model.graph.node if tensor.name in node.input]
        is_table = tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2
        if is_table and np.prod(tensor.dims) >= _SMALL_TABLE and readers:
            axes = [next((each.i for each in node.attribute if each.name == "axis"), 0) for node in readers]
            lookups = all(node.op_type == "Gather" and node.input[0] == tensor.name for node in readers)
            if lookups and not any(axes):
                found.append(tensor.name)
    return found


def quantize(model: ModelProto, names: Collection[str], ranges: Ranges | None = None) -> ModelProto:
    """A copy of a graph with some of its weights and tables in eight bits.

    Args:
        model: a graph as `zoo_cli.export.to_onnx` writes it.
        names: of `weight_products` and `tables`.
        ranges: of the activations of all those products; None finds them in each call.

    Raises:
        KeyError: an activation has no range.
    """
    result = ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    products = {weight: activation for weight, activation in weight_products(model).items() if weight in names}
    chosen_tables = [name for name in tables(model) if name in names]
    values = {each.name: each for each in model.graph.initializer if each.name in products or each.name in chosen_tables}
    writer = _Writer(values, ranges)
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in products:
            nodes += writer.product(node)
        elif node.op_type == "Gather" and node.input[0] in chosen_tables:
            nodes += writer.lookup(node)
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(writer.initializers)
    drop_unused_initializers(result)
    onnx.checker.check_model(result)
    return result


class _Writer:
    """Makes the integer nodes that stand in for float ones."""

    def __init__(self, values: Mapping[str, TensorProto], ranges: Ranges | None) -> None:
        self.initializers: list[TensorProto] = []
        self._values = values
        self._ranges = ranges
        self._done: set[str] = set()

    def _constant(self, name: str, value: np.ndarray) -> str:
        if name not in self._done:
            self._done.add(name)
            self.initializers.append(numpy_helper.from_array(value, name))
        return name

    def _weight(self, name: str, axis: int) -> tuple[str, str]:
        """Signed bytes and their scales, one for each slice along `axis`."""
        if f"{name}_scale" not in self._done:
            value = numpy_helper.to_array(self._values[name])
            scale = np.abs(value).max(axis=1 - axis) / 127
            scale = np.where(scale > 0, scale, 1).astype(np.float32)
            integers = np.rint(value / np.expand_dims(scale, 1 - axis)).astype(np.int8)
            self._constant(f"{name}_int8", integers)
            self._constant(f"{name}_scale", scale)
        return f"{name}_int8", f"{name}_scale"

    def product(self, node: NodeProto) -> list[NodeProto]:
        if self._ranges is None:
            return self._dynamic(node)
        return self._static(node, *self._ranges[node.input[0]])

    def _dynamic(self, node: NodeProto) -> list[NodeProto]:
        activation, weight = node.input
        integers, scale = self._weight(weight, axis=1)
        quantized = [f"{activation}_{part}" for part in ("uint8", "step", "zero")]
        nodes = []
        if quantized[0] not in self._done:
            self._done.add(quantized[0])
            nodes.append(helper.make_node("DynamicQuantizeLinear", [activation], quantized))
        name = node.output[0]
        zero = self._constant("int8_zero", np.array(0, np.int8))
        inputs = [quantized[0], integers, quantized[2], zero]
        return [
            *nodes,
            helper.make_node("MatMulInteger", inputs, [f"{name}_int32"], name=f"{weight}_product"),
            helper.make_node("Cast", [f"{name}_int32"], [f"{name}_sum"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [quantized[1], scale], [f"{name}_scale"]),
            helper.make_node("Mul", [f"{name}_sum", f"{name}_scale"], [name]),
        ]

    def _static(self, node: NodeProto, low: float, high: float) -> list[NodeProto]:
        activation, weight = node.input
        integers, scale = self._weight(weight, axis=1)
        low, high = min(low, 0.0), max(high, 0.0)
        step = np.float32((high - low) / 255 or 1)
        zero = np.uint8(np.clip(np.rint(-low / step), 0, 255))
        parameters = [
            self._constant(f"{activation}_step", np.array(step, np.float32)),
            self._constant(f"{activation}_zero", np.array(zero, np.uint8)),
        ]
        zeros = self._constant(f"{weight}_zero", np.zeros(self._values[weight].dims[1], np.int8))
        name = node.output[0]
        nodes = []
        if f"{activation}_uint8" not in self._done:
            self._done.add(f"{activation}_uint8")
            nodes.append(helper.make_node("QuantizeLinear", [activation, *parameters], [f"{activation}_uint8"]))
            nodes.append(
                helper.make_node("DequantizeLinear", [f"{activation}_uint8", *parameters], [f"{activation}_rounded"])
            )
        return [
            *nodes,
            helper.make_node("DequantizeLinear", [integers, scale, zeros], [f"{weight}_float"], axis=1),
            helper.make_node(
                "MatMul", [f"{activation}_rounded", f"{weight}_float"], [name], name=f"{weight}_product"
            ),
        ]

    def lookup(self, node: NodeProto) -> list[NodeProto]:
        table, ids = node.input
        integers, scale = self._weight(table, axis=0)
        column = self._constant(f"{table}_scales", numpy_helper.to_array(self._scale(scale))[:, None])
        name = node.output[0]
        return [
            helper.make_node("Gather", [integers, ids], [f"{name}_int8"]),
            helper.make_node("Cast", [f"{name}_int8"], [f"{name}_float"], to=TensorProto.FLOAT),
            helper.make_node("Gather", [column, ids], [f"{name}_scale"]),
            helper.make_node("Mul", [f"{name}_float", f"{name}_scale"], [name]),
        ]

    def _scale(self, name: str) -> TensorProto:
        return next(each for each in self.initializers if each.name == name)


def count_integer_products(path: Path) -> int:
    """Integer matrix products in the graph that ONNX Runtime really runs, after its own rewriting."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as scratch:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.optimized_model_filepath = str(Path(scratch) / "model.onnx")
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        rewritten = onnx.load(options.optimized_model_filepath)
    return sum(node.op_type in INTEGER_PRODUCTS for node in rewritten.graph.node)
