"""Eight-bit ONNX graphs: unsigned activations with one range a tensor, signed weights with one scale a column.

Only products with a constant weight become integer ones. Products of two activations, the attention mask, softmax and
layer normalisation stay in float: quantising all of them costs most of the accuracy. Activations are unsigned, since
processors multiply unsigned by signed bytes; signed ones take a path that is several times slower.

Ranges that are found in each call are written with ONNX's own operators, which ONNX Runtime fuses into one kernel when
it loads the graph. With given ranges it would fold constants first and then not fuse, so the kernel is written itself;
a graph for OpenVINO has pairs of rounding and its inverse around float products instead. `count_integer_products` looks
at what ONNX Runtime makes of a graph.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from zoo_cli.export.onnx_graph import drop_unused_initializers

Ranges = Mapping[str, tuple[float, float]]
"""Name of an activation -> its lowest and highest value."""

INTEGER_PRODUCTS = {"MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QLinearMatMul", "QGemm"}
_CONTRIB = "com.microsoft"
_SMALL_TABLE = 4096
"""Tables with fewer values stay in float."""


def weight_products(model: ModelProto) -> dict[str, str]:
    """The matrix products with a constant weight [K, N], in order: name of the weight -> name of the activation.

    A weight that several products share, or that something else reads, is left out.
    """
    weights = {
        tensor.name
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2
    }
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


def quantize(
    model: ModelProto, names: Collection[str], ranges: Ranges | None = None, pairs: bool = False
) -> ModelProto:
    """A copy of a graph with some of its weights and tables in eight bits.

    Args:
        model: a graph as `zoo_cli.export.to_onnx` writes it.
        names: of `weight_products` and `tables`.
        ranges: of the activations of all those products; None finds them in each call.
        pairs: write float products of rounded numbers (`QuantizeLinear`, `DequantizeLinear`), as OpenVINO takes them,
            instead of integer ones. For given ranges only.

    Raises:
        KeyError: an activation has no range.
    """
    result = ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    products = {weight: activation for weight, activation in weight_products(model).items() if weight in names}
    chosen_tables = [name for name in tables(model) if name in names]
    values = {
        each.name: each for each in model.graph.initializer if each.name in products or each.name in chosen_tables
    }
    writer = _Writer(values, ranges, pairs)
    biases = _biases(graph) if ranges is not None and not pairs else {}
    nodes: list[NodeProto] = []
    skipped: set[str] = set()
    for node in graph.node:
        if node.output[0] in skipped:
            continue
        if node.op_type == "MatMul" and node.input[1] in products:
            bias = biases.get(node.output[0])
            if bias is not None:
                skipped.add(bias.output[0])
            nodes += writer.product(node, bias)
        elif node.op_type == "Gather" and node.input[0] in chosen_tables:
            nodes += writer.lookup(node)
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(writer.initializers)
    if ranges is not None and not pairs:
        result.opset_import.append(helper.make_opsetid(_CONTRIB, 1))
    drop_unused_initializers(result)
    onnx.checker.check_model(result)
    return result


def _biases(graph: GraphProto) -> dict[str, NodeProto]:
    """Result of a product -> the addition of a constant vector that alone reads it."""
    vectors = {tensor.name for tensor in graph.initializer if len(tensor.dims) == 1}
    readers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {value.name for value in graph.output}
    return {
        name: nodes[0]
        for name, nodes in readers.items()
        if len(nodes) == 1 and name not in outputs and nodes[0].op_type == "Add" and nodes[0].input[1] in vectors
    }


class _Writer:
    """Makes the integer nodes that stand in for float ones."""

    def __init__(self, values: Mapping[str, TensorProto], ranges: Ranges | None, pairs: bool) -> None:
        self.initializers: list[TensorProto] = []
        self._pairs = pairs
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

    def product(self, node: NodeProto, bias: NodeProto | None) -> list[NodeProto]:
        activation = node.input[0]
        if self._ranges is None:
            quantized = [f"{activation}_{part}" for part in ("uint8", "step", "zero")]
            quantize = helper.make_node("DynamicQuantizeLinear", [activation], quantized)
        else:
            quantized = [f"{activation}_uint8", *self._parameters(activation)]
            quantize = helper.make_node("QuantizeLinear", [activation, *quantized[1:]], quantized[:1])
        nodes = []
        if quantized[0] not in self._done:  # queries, keys and values read the same activation
            self._done.add(quantized[0])
            nodes.append(quantize)
        if self._pairs:
            return nodes + self._rounded(node, *quantized)
        if self._ranges is None:
            return nodes + self._integer(node, *quantized)
        return [*nodes, self._fused(node, bias, *quantized)]

    def _parameters(self, activation: str) -> list[str]:
        """Step and zero point of a range."""
        assert self._ranges is not None
        low, high = self._ranges[activation]
        low, high = min(low, 0.0), max(high, 0.0)
        step = np.float32((high - low) / 255 or 1)
        zero = np.uint8(np.clip(np.rint(-low / step), 0, 255))
        return [
            self._constant(f"{activation}_step", np.array(step, np.float32)),
            self._constant(f"{activation}_zero", np.array(zero, np.uint8)),
        ]

    def _integer(self, node: NodeProto, integers: str, step: str, zero: str) -> list[NodeProto]:
        weight, name = node.input[1], node.output[0]
        bytes_, scale = self._weight(weight, axis=1)
        inputs = [integers, bytes_, zero, self._constant("int8_zero", np.array(0, np.int8))]
        return [
            helper.make_node("MatMulInteger", inputs, [f"{name}_int32"], name=f"{weight}_product"),
            helper.make_node("Cast", [f"{name}_int32"], [f"{name}_sum"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [step, scale], [f"{name}_scale"]),
            helper.make_node("Mul", [f"{name}_sum", f"{name}_scale"], [name]),
        ]

    def _fused(self, node: NodeProto, bias: NodeProto | None, integers: str, step: str, zero: str) -> NodeProto:
        bytes_, scale = self._weight(node.input[1], axis=1)
        inputs = [integers, bytes_, step, scale, zero, self._constant("int8_zero", np.array(0, np.int8))]
        output = node.output[0]
        if bias is not None:
            inputs.append(bias.input[1])
            output = bias.output[0]
        name = f"{node.input[1]}_product"
        return helper.make_node("MatMulIntegerToFloat", inputs, [output], name=name, domain=_CONTRIB)

    def _rounded(self, node: NodeProto, integers: str, step: str, zero: str) -> list[NodeProto]:
        (activation, weight), name = node.input, node.output[0]
        bytes_, scale = self._weight(weight, axis=1)
        zeros = self._constant(f"{weight}_zero", np.zeros(self._values[weight].dims[1], np.int8))
        nodes = []
        if f"{activation}_rounded" not in self._done:
            self._done.add(f"{activation}_rounded")
            nodes.append(helper.make_node("DequantizeLinear", [integers, step, zero], [f"{activation}_rounded"]))
        return [
            *nodes,
            helper.make_node("DequantizeLinear", [bytes_, scale, zeros], [f"{weight}_float"], axis=1),
            helper.make_node("MatMul", [f"{activation}_rounded", f"{weight}_float"], [name], name=f"{weight}_product"),
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
