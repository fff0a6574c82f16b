"""Weights and tables in eight or four bits, activations in float: what helps where reading weights takes the time.

That is so when a text is written token by token: every step reads all weights for a handful of rows. ONNX Runtime has
two operators for it, which need no ranges of activations: `MatMulNBits` and `GatherBlockQuantized`. Each run of
`BLOCK` weights of a column has a scale and a zero point of its own.

ONNX Runtime's own quantiser (`matmul_nbits_quantizer`) finds only products with a constant factor. The largest one of a
language model is that with its transposed table of tokens, which it would leave in float; here the table is stored
once, for the lookup and for the scores.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

from zoo_cli.compress.onnx_int8 import CONTRIB, Product, find_products, tables
from zoo_cli.export.onnx_graph import drop_unused_initializers

BLOCK = 32
TABLE_BITS = 8
"""Of tables, whatever the products have: with four bits, the table of a model of two layers alone adds as much error as
all its products together."""
_DAMPING = 0.01
_INTEGER_ACCUMULATION = 4  # `accuracy_level`: activations are rounded to eight bits for the product itself


@dataclass(frozen=True)
class Encoded:
    """Weights as integers.

    Args:
        integers: uint8 [N, K], each below 2 to the power of the bits; K is filled up to whole blocks.
        scales: float32 [N, blocks].
        zeros: the integers that stand for 0, uint8 [N, blocks].
    """

    integers: np.ndarray
    scales: np.ndarray
    zeros: np.ndarray

    def decoded(self) -> np.ndarray:
        """The weights that the integers stand for, float32 [N, K]."""
        blocks = self.integers.reshape(*self.scales.shape, -1).astype(np.float32)
        return ((blocks - self.zeros[..., None]) * self.scales[..., None]).reshape(self.integers.shape)


def encode(rows: np.ndarray, bits: int, moments: np.ndarray | None = None) -> Encoded:
    """Round weights to the integers of their blocks.

    Args:
        rows: a transposed weight, float32 [N, K].
        bits: 8 or 4.
        moments: mean products of the inputs with one another, float64 [K, K]. With them the error of each rounding is
            made up for by the weights that are still to be rounded (GPTQ, Frantar et al., 2022,
            https://arxiv.org/abs/2210.17323); without them each weight becomes the nearest integer.
    """
    count, size = rows.shape
    padded = -(-size // BLOCK) * BLOCK
    rows = np.pad(rows, ((0, 0), (0, padded - size)))
    if moments is None:
        scales, zeros = _grid(rows.reshape(count, -1, BLOCK), bits)
        integers = _nearest(rows.reshape(count, -1, BLOCK), scales[..., None], zeros[..., None], bits)
        return Encoded(integers.reshape(rows.shape), scales, zeros)
    moments = np.pad(moments, (0, padded - size))
    # Inputs that are always 0 would make the matrix singular.
    damped = moments + np.eye(padded) * (_DAMPING * np.trace(moments) / size + 1e-12)
    factor = np.linalg.cholesky(np.linalg.inv(damped)).T
    left = rows.astype(np.float64)
    parts, scales_, zeros_ = [], [], []
    for start in range(0, padded, BLOCK):
        inside = slice(start, start + BLOCK)
        block, triangle = left[:, inside].copy(), factor[inside, inside]
        scale, zero = _grid(block[:, None], bits)
        integers = np.empty(block.shape, np.uint8)
        errors = np.empty_like(block)
        for column in range(BLOCK):
            integers[:, column] = _nearest(block[:, column], scale[:, 0], zero[:, 0], bits)
            rounded = (integers[:, column] - zero[:, 0].astype(np.float64)) * scale[:, 0]
            errors[:, column] = (block[:, column] - rounded) / triangle[column, column]
            block[:, column + 1 :] -= errors[:, column, None] * triangle[column, column + 1 :]
        left[:, start + BLOCK :] -= errors @ factor[inside, start + BLOCK :]
        parts.append(integers)
        scales_.append(scale)
        zeros_.append(zero)
    return Encoded(np.hstack(parts), np.hstack(scales_), np.hstack(zeros_))


def _grid(blocks: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Scale and zero point of each block [..., BLOCK] -> [...]; 0 is always an integer."""
    top = 2**bits - 1
    low, high = np.minimum(blocks.min(-1), 0), np.maximum(blocks.max(-1), 0)
    scales = ((high - low) / top).astype(np.float32)
    scales[scales == 0] = 1
    return scales, np.clip(np.rint(-low / scales), 0, top).astype(np.uint8)


def _nearest(values: np.ndarray, scales: np.ndarray, zeros: np.ndarray, bits: int) -> np.ndarray:
    return np.clip(np.rint(values / scales) + zeros, 0, 2**bits - 1).astype(np.uint8)


def _packed(values: np.ndarray, bits: int) -> np.ndarray:
    """Integers along the last axis, two in a byte where they have four bits."""
    if bits == 8:
        return values
    if values.shape[-1] % 2:
        values = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, 1)])
    return values[..., ::2] | (values[..., 1::2] << 4)


def weight_only_products(model: ModelProto) -> dict[str, Product]:
    """The products whose weights can be stored in blocks, see `find_products`; a table needs rows of whole blocks."""
    widths = {tensor.name: tensor.dims[1] for tensor in model.graph.initializer if len(tensor.dims) == 2}
    return {
        name: product
        for name, product in find_products(model).items()
        if product.transposition is None or widths[name] % BLOCK == 0
    }


def weight_only_tables(model: ModelProto) -> list[str]:
    """The tables whose rows are whole blocks."""
    widths = {tensor.name: tensor.dims[1] for tensor in model.graph.initializer if len(tensor.dims) == 2}
    return [name for name in tables(model) if widths[name] % BLOCK == 0]


def quantize_weights(
    model: ModelProto, names: Collection[str], bits: int, moments: Mapping[str, np.ndarray] | None = None
) -> ModelProto:
    """A copy of a graph with some of its weights and tables in integers.

    Args:
        model: a graph as `zoo_cli.export.to_onnx` writes it.
        names: of `weight_only_products` and `weight_only_tables`.
        bits: of the products, 8 or 4; tables get `TABLE_BITS`.
        moments: activation -> its moments, see `encode`. A table of tokens is rounded to the nearest integers even so:
            what makes up for errors of the scores would be wrong for the lookup.
    """
    result = ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    chosen = [product for name, product in weight_only_products(model).items() if name in names]
    products = {product.node.output[0]: product for product in chosen}
    looked_up = {name for name in weight_only_tables(model) if name in names}
    looked_up |= {product.weight for product in chosen if product.transposition is not None}
    turned = {product.transposition.output[0] for product in chosen if product.transposition is not None}
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    writer = _Writer(values, bits, moments or {})
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.output[0] in products:
            nodes += writer.product(products[node.output[0]])
        elif node.op_type == "Gather" and node.input[0] in looked_up:
            nodes.append(writer.lookup(node))
        elif node.output[0] not in turned:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(writer.initializers)
    result.opset_import.append(helper.make_opsetid(CONTRIB, 1))
    drop_unused_initializers(result)
    onnx.checker.check_model(result)
    return result


class _Writer:
    """Makes the nodes that read integers."""

    def __init__(self, values: Mapping[str, onnx.TensorProto], bits: int, moments: Mapping[str, np.ndarray]) -> None:
        self.initializers: list[onnx.TensorProto] = []
        self._values = values
        self._bits = bits
        self._moments = moments
        self._done: set[str] = set()

    def _constant(self, name: str, value: np.ndarray) -> str:
        if name not in self._done:
            self._done.add(name)
            self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def product(self, product: Product) -> list[NodeProto]:
        name = product.weight
        bits = TABLE_BITS if product.transposition is not None else self._bits
        value = numpy_helper.to_array(self._values[name])
        nodes = []
        if product.transposition is not None:
            count, size = value.shape
            integers, scales, zeros = self._table(name)
            blocks = size // BLOCK
            shape = self._constant(f"{name}_blocks", np.array([count, blocks, BLOCK], np.int64))
            flat = self._constant("all_in_one", np.array([-1], np.int64))
            nodes = [
                helper.make_node("Reshape", [integers, shape], [f"{name}_blocked"]),
                helper.make_node("Reshape", [scales, flat], [f"{name}_block_scales"]),
                helper.make_node("Reshape", [zeros, flat], [f"{name}_block_zeros"]),
            ]
            inputs = [f"{name}_blocked", f"{name}_block_scales", f"{name}_block_zeros"]
        else:
            size, count = value.shape
            found = encode(value.T, bits, self._moments.get(product.activation))
            inputs = [
                self._constant(f"{name}_int{bits}", _packed(found.integers.reshape(*found.scales.shape, BLOCK), bits)),
                self._constant(f"{name}_scales", found.scales.ravel()),
                self._constant(f"{name}_zeros", _packed(found.zeros, bits).ravel()),
            ]
        node = helper.make_node(
            "MatMulNBits",
            [product.activation, *inputs],
            list(product.node.output),
            name=f"{name}_product",
            domain=CONTRIB,
            K=size,
            N=count,
            bits=bits,
            block_size=BLOCK,
            accuracy_level=_INTEGER_ACCUMULATION,
        )
        return [*nodes, node]

    def _table(self, name: str) -> tuple[str, str, str]:
        names = f"{name}_int{TABLE_BITS}", f"{name}_scales", f"{name}_zeros"
        if names[0] not in self._done:
            found = encode(numpy_helper.to_array(self._values[name]), TABLE_BITS)
            for own, value in zip(names, (found.integers, found.scales, found.zeros), strict=True):
                self._constant(own, value)
        return names

    def lookup(self, node: NodeProto) -> NodeProto:
        integers, scales, zeros = self._table(node.input[0])
        return helper.make_node(
            "GatherBlockQuantized",
            [integers, node.input[1], scales, zeros],
            list(node.output),
            domain=CONTRIB,
            bits=TABLE_BITS,
            block_size=BLOCK,
            gather_axis=0,
            quantize_axis=1,
        )
