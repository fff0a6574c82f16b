"""A language model as one graph that reads some tokens behind a cache, see `zoo_cli.runtime.decoder`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from zoo_cli.base.errors import UsageError
from zoo_cli.decoding.engine import Prompt, StepModel
from zoo_cli.engine.generation import generation_runner
from zoo_cli.engine.setup import Assembly
from zoo_cli.export.parity import BATCHES, Comparison, largest_difference
from zoo_cli.export.receipt import ROUNDS, Calls, timed_shapes
from zoo_cli.export.trace import save_paddle
from zoo_cli.models.generation import RunningBatch
from zoo_cli.models.language_model import LanguageModel
from zoo_cli.models.outputs import Tensor
from zoo_cli.runtime.backends import Backend
from zoo_cli.runtime.decoder import OUTPUTS, DecoderFacts, GraphBatch
from zoo_cli.runtime.generation import GenerationRunner
from zoo_cli.runtime.pipeline import Pipeline
from zoo_cli.tasks.base import Axes

LENGTHS = (1, 7, 40, 70)
"""Tokens of the longest prompt; the last two make the cache grow beyond its first block."""
_STEPS = ROUNDS + 1
"""Tokens that are read behind a prompt."""


class _Reader(nn.Layer):
    """The model with its inputs and outputs as lists, as a graph has them."""

    def __init__(self, model: LanguageModel, names: Sequence[str], layers: int) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(names)
        self.layers = layers
        self.heads_last = model.backbone.cache_heads_axis == 2

    def heads_first(self, cache: Tensor) -> Tensor:
        """[B, A, T, d], or back again."""
        return cache.transpose([0, 2, 1, 3]) if self.heads_last else cache

    def forward(self, tensors: list[Tensor]) -> list[Tensor]:
        past, last = tensors[-2], tensors[-1]
        # Paddle's tracer rewrites this source, and its `zip` takes no `strict`.
        inputs = dict(zip(self.names, tensors[:-2]))  # noqa: B905
        caches = [
            (self.heads_first(past[:, 2 * layer]), self.heads_first(past[:, 2 * layer + 1]))
            for layer in range(self.layers)
        ]
        output = self.model.backbone(**inputs, past_key_values=caches, use_cache=True)
        held = paddle.shape(past)[3]
        new = [self.heads_first(part)[:, :, held:] for pair in output.past_key_values for part in pair]
        hidden = output.last_hidden_state
        shape = paddle.shape(hidden)
        rows = paddle.arange(shape[0], dtype="int64") * shape[1].astype("int64")
        picked = hidden.flatten(0, 1).gather(rows + last)  # [B, H]
        return [self.model.score(picked), paddle.stack(new, axis=1)]


class DecoderGraph:
    """What is exported of a model that writes texts.

    Args:
        assembly: the model, all of whose layers have the same heads, and its task.

    Attributes:
        output_names: names of the graph's outputs, in order.
        axes: names of the axes of its inputs and outputs behind the batch.

    Raises:
        UsageError: the layers differ in their heads (`pruned-decoder`).
    """

    output_names = OUTPUTS

    def __init__(self, assembly: Assembly) -> None:
        model = assembly.model
        assert isinstance(model, LanguageModel)
        model.eval()
        config = model.config
        count = config.num_hidden_layers
        heads, *others = {(each.num_heads, each.head_dim) for each in map(config.layer_sizes, range(count))}
        if others:
            raise UsageError("pruned-decoder", "a decoder whose layers differ in their heads cannot be exported")
        self._model, self._task = model, assembly.task
        self._facts = DecoderFacts(
            config.max_position_embeddings, dict(model.token_inputs), dict(config.token_logits), (2 * count, *heads)
        )
        layers, heads_, width = self._facts.cache
        self._inputs: dict[str, Axes] = {
            **dict.fromkeys(self._facts.inputs, ("length",)),
            "attention_mask": (1, "length", "past and length"),
            "past": (layers, heads_, "past", width),
            "last": (),
        }
        self.axes: dict[str, Axes] = {**self._inputs, "new": (layers, heads_, "length", width)}
        self._longest = min(assembly.task.options.max_length, config.longest_text - _STEPS)

    def save(self, bundle: Path) -> None:
        """Write the Paddle graph below `paddle/`, and `decoder.json`."""
        layer = _Reader(self._model, self._facts.inputs[:-2], self._model.config.num_hidden_layers)
        save_paddle(layer, self._inputs, {"past"}, bundle / "paddle")
        self._facts.save(bundle)

    def compare(self, backends: Mapping[str, Backend]) -> list[Comparison]:
        """Differences of back ends from the model, on random prompts and some tokens behind them."""
        found = []
        lengths = sorted({min(length, self._longest) for length in LENGTHS})
        for number, (batch, length) in enumerate((batch, length) for batch in BATCHES for length in lengths):
            generator = np.random.default_rng(number)
            sizes = np.maximum(1, length - np.arange(batch) * length // (2 * batch))
            prompts = [self._prompt(generator, size) for size in sizes]
            tokens = generator.integers(1, self._model.config.vocab_size, (_STEPS, batch))
            rows = generator.integers(0, batch, batch)  # some are repeated and some are dropped, as by beam search
            expected = _read(RunningBatch(self._model), prompts, tokens, rows)
            for name, backend in backends.items():
                logits = _read(GraphBatch(backend, self._facts), prompts, tokens, rows)
                found.append(Comparison(name, batch, length, largest_difference(expected, logits)))
        return found

    def _prompt(self, generator: np.random.Generator, length: int) -> Prompt:
        return {"input_ids": generator.integers(1, self._model.config.vocab_size, length)}

    def pipeline(self, backend: Backend | None = None) -> Pipeline:
        """What answers requests: a back end, or the model itself."""
        if backend is None:
            return Pipeline(self._task, generation_runner(self._model))
        return Pipeline(self._task, GenerationRunner(partial(GraphBatch, backend, self._facts)))

    def calls(self, backends: Mapping[str, Backend]) -> Calls:
        """What to measure the time of: reading prompts, and one more token behind them (length 1)."""
        calls: Calls = {}
        for size, length in timed_shapes(self._longest):
            prompts = [self._prompt(np.random.default_rng(0), length)] * size
            token = np.ones(size, np.int64)
            for name, backend in backends.items():
                behind = GraphBatch(backend, self._facts)
                behind.prefill(prompts)
                calls[name, size, length] = lambda backend=backend, prompts=prompts: (  # type: ignore[misc]
                    GraphBatch(backend, self._facts).prefill(prompts)
                )
                calls[name, size, 1] = partial(behind.step, token)
        return calls


def _read(model: StepModel, prompts: Sequence[Prompt], tokens: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    """Logits after the prompts, and after each token."""
    found = [model.prefill(prompts)]
    for step in tokens:
        model.select(rows)
        found.append(model.step(step))
    return found
