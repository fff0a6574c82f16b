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

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from zoo_cli.export.onnx_graph import drop_unused_initializers
from zoo_cli.export.rewriting import rewritten

Ranges = Mapping[str, tuple[float, float]]
"""Name of an activation -> its lowest and highest value."""

INTEGER_PRODUCTS = {
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul",
    "QLinearMatMul",
    "QGemm",
    "MatMulNBits",
}
CONTRIB = "com.microsoft"
_SMALL_TABLE = 4096
"""Tables with fewer values stay in float."""


@dataclass(frozen=True)
class Product:
    """A matrix product with a constant weight.

    Args:
        node: the product.
        weight: name of the weight: [K, N], or [N, K] where it is tied.
        transposition: of a table of tokens [V, H] that also makes the vocabulary scores, what turns it around.
    """

    node: NodeProto
    weight: str
    transposition: NodeProto | None = None

    @property
    def activation(self) -> str:
        return self.node.input[0]


def find_products(model: ModelProto) -> dict[str, Product]:
    """The matrix products with a constant weight by the weight's name, in order.

    A weight that several products share, or that something else reads, is left out; but not a table of tokens that is
    both looked up in and multiplied with.
    """
    readers = _readers(model)
    found = {}
    for name in _matrices(model):
        nodes = readers.get(name, [])
        turns = [node for node in nodes if node.op_type == "Transpose" and len(readers.get(node.output[0], ())) == 1]
        others = [node for node in nodes if node not in turns]
        if not turns and len(others) == 1 and _multiplies(others[0], name):
            found[name] = Product(others[0], name)
        elif len(turns) == 1 and all(_looks_up(node, name) for node in others):
            (node,) = readers[turns[0].output[0]]
            if _multiplies(node, turns[0].output[0]):
                found[name] = Product(node, name, turns[0])
    places = {node.output[0]: place for place, node in enumerate(model.graph.node)}
    return dict(sorted(found.items(), key=lambda item: places[item[1].node.output[0]]))


def weight_products(model: ModelProto) -> dict[str, str]:
    """Name of the weight -> name of the activation, of `find_products`."""
    return {name: product.activation for name, product in find_products(model).items()}


def _matrices(model: ModelProto) -> list[str]:
    return [
        tensor.name
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2
    ]


def _readers(model: ModelProto) -> dict[str, list[NodeProto]]:
    """Name of a value -> the nodes that read it; an output of the graph counts as a reader."""
    found: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            found.setdefault(name, []).append(node)
    for value in model.graph.output:
        found.setdefault(value.name, []).append(NodeProto())
    return found


def _multiplies(node: NodeProto, name: str) -> bool:
    return node.op_type == "MatMul" and node.input[1] == name


def _looks_up(node: NodeProto, name: str) -> bool:
    axis = next((each.i for each in node.attribute if each.name == "axis"), 0)
    return node.op_type == "Gather" and node.input[0] == name and axis == 0


def tables(model: ModelProto) -> list[str]:
    """Constant tables [V, H] that are only looked up in."""
    readers = _readers(model)
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer}
    return [
        name
        for name in _matrices(model)
        if sizes[name] >= _SMALL_TABLE and name in readers and all(_looks_up(node, name) for node in readers[name])
    ]


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
    chosen = [product for name, product in find_products(model).items() if name in names]
    products = {product.node.output[0]: product for product in chosen}
    looked_up = {name for name in tables(model) if name in names} | {each.weight for each in chosen}
    values = {each.name: each for each in model.graph.initializer if each.name in looked_up}
    writer = _Writer(values, ranges, pairs)
    biases = _biases(graph) if ranges is not None and not pairs else {}
    nodes: list[NodeProto] = []
    skipped = {each.transposition.output[0] for each in chosen if each.transposition is not None}
    for node in graph.node:
        if node.output[0] in skipped:
            continue
        if node.output[0] in products:
            bias = biases.get(node.output[0])
            if bias is not None:
                skipped.add(bias.output[0])
            nodes += writer.product(products[node.output[0]], bias)
        elif node.op_type == "Gather" and node.input[0] in looked_up:
            nodes += writer.lookup(node)
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(writer.initializers)
    if ranges is not None and not pairs:
        result.opset_import.append(helper.make_opsetid(CONTRIB, 1))
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

    def product(self, product: Product, bias: NodeProto | None) -> list[NodeProto]:
        activation = product.activation
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
            return nodes + self._rounded(product, *quantized)
        bytes_, scale = self._weight(product.weight, axis=0 if product.transposition else 1)
        if product.transposition:
            columns = f"{product.weight}_columns"
            nodes.append(helper.make_node("Transpose", [bytes_], [columns], perm=[1, 0]))
            bytes_ = columns
        if self._ranges is None:
            return nodes + self._integer(product, bytes_, scale, *quantized)
        return [*nodes, self._fused(product, bias, bytes_, scale, *quantized)]

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

    def _integer(
        self, product: Product, bytes_: str, scale: str, integers: str, step: str, zero: str
    ) -> list[NodeProto]:
        name = product.node.output[0]
        inputs = [integers, bytes_, zero, self._constant("int8_zero", np.array(0, np.int8))]
        return [
            helper.make_node("MatMulInteger", inputs, [f"{name}_int32"], name=f"{product.weight}_product"),
            helper.make_node("Cast", [f"{name}_int32"], [f"{name}_sum"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [step, scale], [f"{name}_scale"]),
            helper.make_node("Mul", [f"{name}_sum", f"{name}_scale"], [name]),
        ]

    def _fused(
        self, product: Product, bias: NodeProto | None, bytes_: str, scale: str, integers: str, step: str, zero: str
    ) -> NodeProto:
        inputs = [integers, bytes_, step, scale, zero, self._constant("int8_zero", np.array(0, np.int8))]
        output = product.node.output[0]
        if bias is not None:
            inputs.append(bias.input[1])
            output = bias.output[0]
        name = f"{product.weight}_product"
        return helper.make_node("MatMulIntegerToFloat", inputs, [output], name=name, domain=CONTRIB)

    def _rounded(self, product: Product, integers: str, step: str, zero: str) -> list[NodeProto]:
        activation, weight, turn = product.activation, product.weight, product.transposition
        axis = 0 if turn else 1
        bytes_, scale = self._weight(weight, axis)
        zeros = self._constant(f"{weight}_zero", np.zeros(self._values[weight].dims[axis], np.int8))
        factor = f"{weight}_float"
        nodes = []
        if f"{activation}_rounded" not in self._done:
            self._done.add(f"{activation}_rounded")
            nodes.append(helper.make_node("DequantizeLinear", [integers, step, zero], [f"{activation}_rounded"]))
        nodes.append(helper.make_node("DequantizeLinear", [bytes_, scale, zeros], [factor], axis=axis))
        if turn:
            factor = f"{weight}_columns"
            nodes.append(helper.make_node("Transpose", [f"{weight}_float"], [factor], perm=[1, 0]))
        inputs, outputs = [f"{activation}_rounded", factor], [product.node.output[0]]
        return [*nodes, helper.make_node("MatMul", inputs, outputs, name=f"{weight}_product")]

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
    return sum(node.op_type in INTEGER_PRODUCTS for node in rewritten(path).graph.node)
