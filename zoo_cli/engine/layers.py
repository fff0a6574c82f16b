"""Where a parameter stands in a model, told by the structure of its layers and not by their names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import paddle
from paddle import nn


@dataclass(frozen=True)
class Place:
    """A trainable parameter and where it stands.

    Args:
        name: structured name, as in weight files.
        parameter: the tensor.
        decays: whether weight decay applies: not to biases, other vectors, and norms.
        depth: 0 below the first layer of its stack (embeddings), i + 1 in layer i, L + 1 above the last one (heads).
        top: L + 1 of that stack; 0 in a model without a stack.
    """

    name: str
    parameter: paddle.Tensor
    decays: bool
    depth: int
    top: int


def stacks(model: nn.Layer) -> dict[str, nn.LayerList]:
    """The encoders and decoders: lists of layers that are made of layers themselves, outermost ones only.

    Returns:
        Structured name -> list, e.g. ``"bert.encoder.layers"``.
    """
    found: dict[str, nn.LayerList] = {}
    for name, layer in model.named_sublayers():
        inside = any(name.startswith(f"{outer}.") for outer in found)
        if isinstance(layer, nn.LayerList) and not inside and any(list(block.children()) for block in layer):
            found[name] = layer
    return found


def _common(first: str, second: str) -> int:
    """Number of leading path parts that two names share."""
    parts = list(zip(first.split("."), second.split("."), strict=False))
    return next((index for index, (one, other) in enumerate(parts) if one != other), len(parts))


def places(model: nn.Layer) -> Iterator[Place]:
    """All trainable parameters in the order in which the model declares them; a tied one comes once.

    A parameter outside of every stack belongs to the stack with which its name shares most (ELECTRA's generator and
    discriminator have one each), and is below it if it was declared earlier.
    """
    lists = stacks(model)
    owners = {"": model, **dict(model.named_sublayers())}
    passed: set[str] = set()
    for name, parameter in model.named_parameters():
        owner = owners[name.rpartition(".")[0]]
        stack = max(lists, key=lambda path: _common(path, name), default=None)
        depth = top = 0
        if stack is not None:
            top = len(lists[stack]) + 1
            if name.startswith(f"{stack}."):
                passed.add(stack)
                depth = int(name[len(stack) + 1 :].split(".")[0]) + 1
            elif stack in passed:
                depth = top
        if not parameter.stop_gradient:
            yield Place(name, parameter, parameter.ndim > 1 and not isinstance(owner, nn.LayerNorm), depth, top)
