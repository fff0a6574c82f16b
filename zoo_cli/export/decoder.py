"""A language model as one graph that reads some tokens behind a cache, see `zoo_cli.runtime.decoder`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F
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
from zoo_cli.models.layers import AttentionResult
from zoo_cli.models.outputs import Cache, Tensor
from zoo_cli.runtime.backends import Backend
from zoo_cli.runtime.decoder import OUTPUTS, DecoderFacts, GraphBatch
from zoo_cli.runtime.generation import GenerationRunner
from zoo_cli.runtime.pipeline import Pipeline
from zoo_cli.tasks.base import Axes

LENGTHS = (1, 7, 40, 70)
"""Tokens of the longest prompt; the last two make the cache grow beyond its first block."""
_STEPS = ROUNDS + 1
"""Tokens that are read behind a prompt."""


class _AttentionBehindCache(nn.Layer):
    """Self-attention that reads its cache where it lies: what a token gives to earlier tokens and what it gives to new
    ones are computed apart, so that keys and values need not be joined.

    Args:
        attention: a `zoo_cli.models.layers.MultiHeadAttention`, or GPT's.
    """

    def __init__(self, attention: nn.Layer) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, hidden: Tensor, bias: Tensor, past: Cache) -> AttentionResult:
        """As the attention itself; the result's cache has the new tokens only, [B, A, S, d]."""
        own = self.attention
        shape = [0, 0, own.num_heads, -1]
        parts = [project(hidden).reshape(shape).transpose([0, 2, 1, 3]) for project in own.projections]
        query, key, value = parts[0].split(3, axis=-1) if len(parts) == 1 else parts  # [B, A, S, d]
        query = query * own.scale
        earlier = paddle.matmul(query, past[0], transpose_y=True)  # [B, A, S, T]
        scores = paddle.concat([earlier, paddle.matmul(query, key, transpose_y=True)], axis=-1) + bias
        weights = F.softmax(scores)
        held = paddle.shape(past[0])[2]
        context = paddle.matmul(weights[:, :, :, :held], past[1]) + paddle.matmul(weights[:, :, :, held:], value)
        merged = context.transpose([0, 2, 1, 3]).reshape([0, 0, own.num_heads * own.head_dim])  # [B, S, A * d]
        return AttentionResult(own.out_proj(merged), (key, value), scores, weights)


class _Reader(nn.Layer):
    """The model with its inputs and outputs as lists, as a graph has them.

    Args:
        model: whose attention is that of `_AttentionBehindCache` as long as the context of `behind_cache` lasts.
        names: inputs of the tokens.
        parts: number of tensors of the cache.
    """

    def __init__(self, model: LanguageModel, names: Sequence[str], parts: int) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(names)
        self.parts = parts

    def forward(self, tensors: list[Tensor]) -> list[Tensor]:
        count = len(self.names)
        # Paddle's tracer rewrites this source, and its `zip` takes no `strict`.
        inputs = dict(zip(self.names, tensors[:count]))  # noqa: B905
        past, last = tensors[count:-1], tensors[-1]
        caches = [(past[part], past[part + 1]) for part in range(0, self.parts, 2)]
        output = self.model.backbone(**inputs, past_key_values=caches, use_cache=True)
        new = [part for pair in output.past_key_values for part in pair]
        hidden = output.last_hidden_state
        shape = paddle.shape(hidden)
        rows = paddle.arange(shape[0], dtype="int64") * shape[1].astype("int64")
        picked = hidden.flatten(0, 1).gather(rows + last)  # [B, H]
        return [self.model.score(picked), paddle.stack(new, axis=1)]


@contextmanager
def behind_cache(model: LanguageModel) -> Iterator[None]:
    """While entered, the model's layers read caches [B, A, T, d] in place, and return those of the new tokens."""
    layers = list(model.backbone.stack.layers)
    own = [layer.self_attn for layer in layers]
    model.backbone.cache_heads_axis = 1
    for layer, attention in zip(layers, own, strict=True):
        layer.self_attn = _AttentionBehindCache(attention)
    try:
        yield
    finally:
        for layer, attention in zip(layers, own, strict=True):
            layer.self_attn = attention
        del model.backbone.cache_heads_axis


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
            **dict.fromkeys(self._facts.past, (heads_, "past", width)),
            "last": (),
        }
        self.axes: dict[str, Axes] = {**self._inputs, "new": (layers, heads_, "length", width)}
        self._longest = min(assembly.task.options.max_length, config.longest_text - _STEPS)

    def save(self, bundle: Path) -> None:
        """Write the Paddle graph below `paddle/`, and `decoder.json`."""
        past = self._facts.past
        layer = _Reader(self._model, self._facts.inputs[: -len(past) - 1], len(past))
        with behind_cache(self._model):
            save_paddle(layer, self._inputs, set(past), bundle / "paddle")
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
