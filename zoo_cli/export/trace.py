"""A forward pass as a static Paddle graph (PIR: `inference.json` and `inference.pdiparams`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import paddle
from paddle import nn
from paddle.static import InputSpec

from zoo_cli.tasks.base import Axes


def save_paddle(layer: nn.Layer, inputs: Mapping[str, Axes], floats: Collection[str], folder: Path) -> None:
    """Trace a layer with all named axes dynamic and write its graph.

    Args:
        layer: takes the list of inputs and returns the list of outputs.
        inputs: each input with its axes behind the batch, in order.
        floats: inputs that are float32 and not int64.
        folder: gets `inference.json` and `inference.pdiparams`.
    """
    specification = [
        InputSpec(
            [None, *(None if isinstance(axis, str) else axis for axis in axes)],
            "float32" if name in floats else "int64",
            name=name,
        )
        for name, axes in inputs.items()
    ]
    layer.eval()
    static = paddle.jit.to_static(layer, input_spec=[specification], full_graph=True)
    paddle.jit.save(static, str(folder / "inference"))
