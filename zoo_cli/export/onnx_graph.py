"""What paddle2onnx leaves undone in a graph, in a few small passes over ONNX's own protobuf.

paddle2onnx writes each weight as a `Constant` node, often behind an `Identity`, and a weight that two layers share
twice. Quantisers look for initializers only and silently leave such a graph as large as it was. An embedding with a
padding row becomes a product of the table with a table of ones and zeros, which doubles it on disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, numpy_helper

from zoo_cli.tasks.base import Axes

_ELEMENTWISE: dict[str, np.ufunc] = {"Add": np.add, "Mul": np.multiply}


def hoist_constants(model: onnx.ModelProto) -> int:
    """Turn `Constant` nodes with a tensor into initializers; return how many."""
    graph = model.graph
    kept, hoisted = [], 0
    for node in graph.node:
        value = next((each for each in node.attribute if each.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            tensor = TensorProto()
            tensor.CopyFrom(value.t)
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
            hoisted += 1
        else:
            kept.append(node)
    _set_nodes(model, kept)
    return hoisted


def _rename_inputs(model: onnx.ModelProto, names: dict[str, str]) -> None:
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            while name in names:
                name = names[name]
            node.input[index] = name


def drop_identities(model: onnx.ModelProto) -> int:
    """Remove `Identity` nodes that do not produce an output of the graph; return how many."""
    outputs = {value.name for value in model.graph.output}
    names, kept = {}, []
    for node in model.graph.node:
        if node.op_type == "Identity" and node.output[0] not in outputs:
            names[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    dropped = len(model.graph.node) - len(kept)
    _set_nodes(model, kept)
    _rename_inputs(model, names)
    return dropped


def fold_constants(model: onnx.ModelProto) -> int:
    """Compute sums and products of two initializers now; return how many."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    kept, folded = [], 0
    for node in model.graph.node:
        if node.op_type in _ELEMENTWISE and all(name in constants for name in node.input):
            first, second = (numpy_helper.to_array(constants[name]) for name in node.input)
            value = _ELEMENTWISE[node.op_type](first, second).astype(first.dtype)
            constants[node.output[0]] = numpy_helper.from_array(value, node.output[0])
            model.graph.initializer.append(constants[node.output[0]])
            folded += 1
        else:
            kept.append(node)
    _set_nodes(model, kept)
    return folded


def drop_neutral(model: onnx.ModelProto) -> int:
    """Remove additions of a single 0 and multiplications with a single 1; return how many."""
    neutral = {
        (operation, tensor.name)
        for tensor in model.graph.initializer
        for operation, value in (("Add", 0), ("Mul", 1))
        if not tensor.dims and numpy_helper.to_array(tensor).item() == value
    }
    outputs = {value.name for value in model.graph.output}
    names, kept = {}, []
    for node in model.graph.node:
        used = [name for name in node.input if (node.op_type, name) not in neutral]
        if len(used) == 1 and len(node.input) == 2 and node.output[0] not in outputs:
            names[node.output[0]] = used[0]
        else:
            kept.append(node)
    dropped = len(model.graph.node) - len(kept)
    _set_nodes(model, kept)
    _rename_inputs(model, names)
    return dropped


def fold_scales(model: onnx.ModelProto) -> int:
    """Move a constant factor behind a linear layer, such as that of the queries, into its weights; return how many."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    producers = {name: node for node in model.graph.node for name in node.output}
    uses = [name for node in model.graph.node for name in node.input] + [value.name for value in model.graph.output]
    names, kept = {}, []
    for node in model.graph.node:
        linear = _linear_before(node, constants, producers, uses)
        if linear is None:
            kept.append(node)
            continue
        factor = numpy_helper.to_array(constants[node.input[1]])
        for part in linear:
            value = numpy_helper.to_array(constants[part.input[1]])
            tensor = numpy_helper.from_array((value * factor).reshape(value.shape), f"{part.input[1]}_{node.output[0]}")
            model.graph.initializer.append(tensor)
            part.input[1] = tensor.name
        names[node.output[0]] = node.input[0]
    folded = len(model.graph.node) - len(kept)
    _set_nodes(model, kept)
    _rename_inputs(model, names)
    return folded


def _linear_before(
    node: NodeProto, constants: dict[str, TensorProto], producers: dict[str, NodeProto], uses: list[str]
) -> tuple[NodeProto, NodeProto] | None:
    """The `MatMul` and the `Add` whose result only this product with a single constant reads."""
    if node.op_type != "Mul" or node.input[1] not in constants or np.prod(constants[node.input[1]].dims) != 1:
        return None
    bias = producers.get(node.input[0])
    if bias is None or bias.op_type != "Add" or bias.input[1] not in constants or uses.count(node.input[0]) != 1:
        return None
    product = producers.get(bias.input[0])
    if product is None or product.op_type != "MatMul" or uses.count(bias.input[0]) != 1:
        return None
    return (product, bias) if product.input[1] in constants else None


def share_initializers(model: onnx.ModelProto) -> int:
    """Keep one of several equal initializers, as for tied weights; return how many were dropped."""
    first: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    names, kept = {}, []
    for tensor in model.graph.initializer:
        data = numpy_helper.to_array(tensor)
        key = (tensor.data_type, tuple(tensor.dims), hashlib.sha256(data.tobytes()).digest())
        if key in first:
            names[tensor.name] = first[key]
        else:
            first[key] = tensor.name
            kept.append(tensor)
    dropped = len(names)
    if dropped:
        _set_initializers(model, kept)
        _rename_inputs(model, names)
    return dropped


def drop_unused_initializers(model: onnx.ModelProto) -> int:
    """Remove initializers that nothing reads; return how many."""
    used = {name for node in model.graph.node for name in node.input} | {value.name for value in model.graph.output}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    dropped = len(model.graph.initializer) - len(kept)
    _set_initializers(model, kept)
    return dropped


def _set_nodes(model: onnx.ModelProto, kept: Sequence[NodeProto]) -> None:
    copies = [NodeProto.FromString(node.SerializeToString()) for node in kept]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _set_initializers(model: onnx.ModelProto, kept: Sequence[TensorProto]) -> None:
    copies = [TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
    del model.graph.initializer[:]
    model.graph.initializer.extend(copies)


def name_outputs(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """Give the outputs the task's names; one that is an input, too, is called `next_...` and has that input's shape."""
    inputs = {value.name: value for value in model.graph.input}
    for value, name in zip(model.graph.output, names, strict=True):
        if name in inputs:
            value.type.CopyFrom(inputs[name].type)
    unique = [f"next_{name}" if name in inputs else name for name in names]
    renamed = {value.name: name for value, name in zip(model.graph.output, unique, strict=True)}
    for node in model.graph.node:
        for index, name in enumerate(node.output):
            node.output[index] = renamed.get(name, name)
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
    for value in model.graph.output:
        value.name = renamed[value.name]


def name_axes(model: onnx.ModelProto, axes: Mapping[str, Axes]) -> None:
    """Name the dynamic axes of inputs and outputs: `batch`, and behind it those of `axes` (see `tidy`)."""
    for value in [*model.graph.input, *model.graph.output]:
        names = ("batch", *axes.get(value.name, ()))
        for dimension, name in zip(value.type.tensor_type.shape.dim, names, strict=False):
            if isinstance(name, str):
                dimension.dim_param = name


def tidy(model: onnx.ModelProto, output_names: Sequence[str], axes: Mapping[str, Axes]) -> dict[str, int]:
    """Run all passes in place and check the result.

    Args:
        model: the graph.
        output_names: names of the outputs, in the graph's order.
        axes: input or output -> names of its axes behind the batch, e.g. ``("length",)``; numbers are passed over.

    Returns:
        What each pass did.
    """
    report = {
        "hoisted_constants": hoist_constants(model),
        "dropped_identities": drop_identities(model),
        "folded_constants": fold_constants(model),
        "dropped_neutral": drop_neutral(model),
        "folded_scales": fold_scales(model),
        "shared_initializers": share_initializers(model),
        "unused_initializers": drop_unused_initializers(model),
    }
    name_outputs(model, output_names)
    name_axes(model, axes)
    onnx.checker.check_model(model)
    return report
