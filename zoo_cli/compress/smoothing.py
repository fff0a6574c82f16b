"""SmoothQuant: wide channels of an activation are made narrower, and their weights larger, before both are rounded.

Xiao et al., 2022, https://arxiv.org/abs/2211.10438. The factors go into the layer normalisation in front, so that the
graph computes the same and takes no longer. That needs an activation which products alone read, as in models that
normalise first (GPT, PLATO); behind the normalisation of BERT or ERNIE the sum reads it as well. PaddleSlim's
SmoothQuant changes those, too, and so gives wrong results without a word.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import ModelProto, numpy_helper

from zoo_cli.compress.onnx_int8 import Product, find_products

_MIGRATION = 0.5
_SMALLEST = 1e-5


def smoothable(model: ModelProto) -> dict[str, list[Product]]:
    """Activations whose channels can be scaled -> the products that read them."""
    products: dict[str, list[Product]] = {}
    for product in find_products(model).values():
        products.setdefault(product.activation, []).append(product)
    readers: dict[str, int] = {}
    for node in model.graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    outputs = {value.name for value in model.graph.output}
    return {
        node.output[0]: products[node.output[0]]
        for node in model.graph.node
        if node.op_type == "LayerNormalization"
        and node.output[0] not in outputs
        and len(products.get(node.output[0], ())) == readers.get(node.output[0])
        # A table of tokens would be changed for its lookups as well.
        and not any(product.transposition for product in products[node.output[0]])
    }


def smooth(model: ModelProto, widths: Mapping[str, np.ndarray]) -> ModelProto:
    """A copy of a graph that computes the same, with channels of more even width.

    Args:
        model: a graph as `zoo_cli.export.to_onnx` writes it.
        widths: the largest absolute value of each channel of the activations of `smoothable`, [K].
    """
    result = ModelProto()
    result.CopyFrom(model)
    constants = {tensor.name: tensor for tensor in result.graph.initializer}
    norms = {node.output[0]: node for node in result.graph.node}
    for activation, products in smoothable(result).items():
        weights = [numpy_helper.to_array(constants[product.weight]) for product in products]
        rows = np.max([np.abs(weight).max(axis=1) for weight in weights], axis=0)
        factors = (
            np.maximum(widths[activation], _SMALLEST) ** _MIGRATION / np.maximum(rows, _SMALLEST) ** (1 - _MIGRATION)
        ).astype(np.float32)
        for product, weight in zip(products, weights, strict=True):
            tensor = numpy_helper.from_array(weight * factors[:, None], product.weight)
            constants[product.weight].CopyFrom(tensor)
        node = norms[activation]
        for place, name in list(enumerate(node.input))[1:]:  # scale and bias, which another norm may share
            own = f"{name}_{activation}"
            result.graph.initializer.append(
                numpy_helper.from_array(numpy_helper.to_array(constants[name]) / factors, own)
            )
            node.input[place] = own
    return result
