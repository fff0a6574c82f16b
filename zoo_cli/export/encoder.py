"""A model that reads features, as one graph: the task's inputs in, the task's outputs out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from zoo_cli.engine.predictor import Predictor
from zoo_cli.engine.setup import Assembly
from zoo_cli.export.parity import Comparison, compare, random_batch
from zoo_cli.export.receipt import Calls, timed_shapes
from zoo_cli.export.trace import save_paddle
from zoo_cli.runtime.backends import Backend
from zoo_cli.runtime.pipeline import Pipeline, Runner
from zoo_cli.tasks.base import Axes


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


class EncoderGraph:
    """What is exported of a model whose task asks for one forward pass of each feature.

    Args:
        assembly: the model and its task.

    Attributes:
        output_names: names of the graph's outputs, in order.
        axes: names of the axes of its inputs and outputs behind the batch.
    """

    def __init__(self, assembly: Assembly) -> None:
        self._model, self._task = assembly.model, assembly.task
        self._model.eval()
        self._inputs = self._task.input_axes()
        self._longest = min(getattr(self._task.options, "max_length", 512), self._model.config.longest_text)
        self.output_names = self._task.output_names
        sequences: dict[str, Axes] = dict.fromkeys(self._task.sequence_outputs, ("length",))
        self.axes = {**sequences, **self._task.axes, **self._inputs}

    def save(self, bundle: Path) -> None:
        """Write the Paddle graph below `paddle/`."""
        layer = _Positional(self._model, self._task.graph_inputs, self.output_names)
        save_paddle(layer, self._inputs, self._task.states, bundle / "paddle")

    def compare(self, backends: Mapping[str, Backend]) -> list[Comparison]:
        """Differences of back ends from the model, on many shapes."""
        vocab_size = self._model.config.vocab_size
        return list(compare(self._compute, backends, self._task, vocab_size, self._longest))

    def _compute(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        with paddle.no_grad():
            result = self._model(**{name: paddle.to_tensor(array) for name, array in inputs.items()})
        return [getattr(result, name).numpy() for name in self.output_names]

    def pipeline(self, backend: Backend | None = None) -> Pipeline:
        """What answers requests: a back end, or the model itself."""
        if backend is None:
            return Pipeline(self._task, Predictor(self._model, self._task))
        return Pipeline(self._task, Runner.of_backend(self._task, backend))

    def calls(self, backends: Mapping[str, Backend]) -> Calls:
        """What to measure the time of."""
        calls: Calls = {}
        for size, length in timed_shapes(self._longest):
            batch = random_batch(self._task, len(self._task.tokenizer), size, length, seed=0)
            calls |= {(name, size, length): partial(backend, batch) for name, backend in backends.items()}
        return calls
