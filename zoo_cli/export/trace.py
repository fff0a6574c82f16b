"""A model's forward pass as a static Paddle graph (PIR: `inference.json` and `inference.pdiparams`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import paddle
from paddle import nn
from paddle.static import InputSpec


class _Positional(nn.Layer):
    """The model with its inputs and outputs as lists, as a graph has them."""

    def __init__(self, model: nn.Layer, input_names: Sequence[str], output_names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.input_names = tuple(input_names)
        self.output_names = tuple(output_names)

    def forward(self, inputs: list[paddle.Tensor]) -> list[paddle.Tensor]:
        # Paddle's tracer rewrites this source, and its `zip` takes no `strict`.
        result = self.model(**dict(zip(self.input_names, inputs)))  # noqa: B905
        return [getattr(result, name) for name in self.output_names]


def save_paddle(
    model: nn.Layer,
    input_names: Sequence[str],
    output_names: Sequence[str],
    folder: Path,
    state_shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> None:
    """Trace a model with dynamic batch and length and write its graph.

    Args:
        model: takes int64 inputs [B, S], and its states, by name and returns an object with the output fields.
        input_names: inputs of the graph, in order.
        output_names: fields of the result that become outputs, in order.
        folder: gets `inference.json` and `inference.pdiparams`.
        state_shapes: float inputs -> shape without the batch axis, see `ModelConfig.state_shapes`.
    """
    model.eval()
    states = state_shapes or {}
    specification = [
        [
            InputSpec([None, *states[name]], "float32", name=name)
            if name in states
            else InputSpec([None, None], "int64", name=name)
            for name in input_names
        ]
    ]
    wrapped = _Positional(model, input_names, output_names)
    wrapped.eval()
    static = paddle.jit.to_static(wrapped, input_spec=specification, full_graph=True)
    paddle.jit.save(static, str(folder / "inference"))
