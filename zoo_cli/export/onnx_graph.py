"""What paddle2onnx leaves undone in a graph, in a few small passes over ONNX's own protobuf.

paddle2onnx writes each weight as a `Constant` node, often behind an `Identity`, and a weight that two layers share twice. ONNX
Runtime's quantiser looks for initializers only and silently leaves such a graph as large as it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import onnx
from onnx import TensorProto, numpy_helper


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
    del graph.node[:]
    graph.node.extend(kept)
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
    del model.graph.node[:]
    model.graph.node.extend(kept)
    _rename_inputs(model, names)
    return dropped


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


def _set_initializers(model: onnx.ModelProto, kept: Sequence[TensorProto]) -> None:
    copies = [TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
    del model.graph.initializer[:]
    model.graph.initializer.extend(copies)


def name_outputs(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """Give the outputs the task's names."""
    renamed = {value.name: name for value, name in zip(model.graph.output, names, strict=True)}
    for node in model.graph.node:
        for index, name in enumerate(node.output):
            node.output[index] = renamed.get(name, name)
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
    for value in model.graph.output:
        value.name = renamed[value.name]


def name_axes(model: onnx.ModelProto, sequence_outputs: frozenset[str]) -> None:
    """Name the dynamic axes `batch` and `length`, the same for all inputs, and those of the outputs accordingly."""
    for value in [*model.graph.input, *model.graph.output]:
        axes = value.type.tensor_type.shape.dim
        is_sequence = value.name in sequence_outputs or value in list(model.graph.input)
        for index, axis in enumerate(axes):
            if index == 0:
                axis.dim_param = "batch"
            elif index == 1 and is_sequence:
                axis.dim_param = "length"


def tidy(model: onnx.ModelProto, output_names: Sequence[str], sequence_outputs: frozenset[str]) -> dict[str, int]:
    """Run all passes in place and check the result; return what each did."""
    report = {
        "hoisted_constants": hoist_constants(model),
        "dropped_identities": drop_identities(model),
        "shared_initializers": share_initializers(model),
        "unused_initializers": drop_unused_initializers(model),
    }
    name_outputs(model, output_names)
    name_axes(model, sequence_outputs)
    onnx.checker.check_model(model)
    return report
