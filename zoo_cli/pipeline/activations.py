"""What a forward pass keeps for the backward pass, counted in bytes from a configuration. No paddle.

Counted are the tensors that the operators of `zoo_cli.models` save, not what a better compiler might get by with. The
peak is at the end of the forward pass, or, where layers are computed again, in the backward pass of the last one. Held
against paddle's own count of allocated bytes on a CPU, four layers of width 128 in float32, eight rows of 128 tokens
(`tests/pipeline/test_plan.py`, which allows 10 %): BERT 60 MiB measured; GPT 61; UnifiedTransformer 62; UNIMO 54; BERT
with recomputation 21. The lower precisions are counted by paddle's lists of what autocast runs in which type; no device
that has them was measured.
"""

from __future__ import annotations

from dataclasses import dataclass

from zoo_cli.models.config import LayerSizes, ModelConfig

FULL = 4
"""Bytes of a float32 number, as norms, softmax and losses have it in every precision."""


@dataclass(frozen=True)
class Batch:
    """The input of one forward pass on one device.

    Args:
        rows: sequences.
        length: tokens of each, padding included.
        scored: tokens that are scored against the whole vocabulary; 0 for a model without such a head.
    """

    rows: int
    length: int
    scored: int = 0

    @property
    def tokens(self) -> int:
        return self.rows * self.length


def activation_bytes(config: ModelConfig, batch: Batch, *, tensor: int, recompute: bool, precision: str) -> int:
    """Largest number of bytes that a forward and backward pass hold beside weights, gradients and optimiser state.

    Args:
        config: of the model.
        batch: what one device reads.
        tensor: devices that share each layer.
        recompute: whether layers keep their inputs only.
        precision: of matrix products: ``float32``, ``bfloat16`` or ``float16``.
    """
    half = FULL if precision == "float32" else 2
    hidden = batch.tokens * config.hidden_size
    sizes = [config.layer_sizes(index) for index in range(config.num_hidden_layers)]
    layers = [_layer(config, each, batch, tensor, half) for each in sizes]
    passing = max((_passing(config, each, batch, tensor) for each in sizes), default=0)
    around = _embeddings(config, batch) + (FULL + half) * hidden  # and the last norm
    head = _vocabulary(config, batch, tensor, half)
    if not recompute:
        return around + sum(layers) + max(passing, head)
    inputs = FULL * (hidden + _remembered(config, batch)) * len(layers)
    return around + inputs + max(max(layers, default=0) + passing, head)


def _layer(config: ModelConfig, sizes: LayerSizes, batch: Batch, tensor: int, half: int) -> int:
    """What one layer saves."""
    rows, tokens, hidden = batch.rows, batch.tokens, batch.tokens * config.hidden_size
    heads = rows * sizes.num_heads * batch.length
    width = tokens * sizes.num_heads * sizes.head_dim
    keys = batch.length
    products = 2 * hidden  # what the projections and the feed-forward network read
    shared = 4 * width  # queries, keys, values, and what the heads read
    if config.family == "ernie_doc":
        memory = config.memory_len  # type: ignore[attr-defined]
        keys += memory
        more = rows * memory * sizes.num_heads * sizes.head_dim
        positions = (2 * batch.length + memory) * sizes.num_heads * sizes.head_dim
        # Queries for content, place and type; keys and values of the memory; keys of places and types.
        shared += 2 * width + 2 * more + positions + width + more
        products += 2 * hidden + 2 * _remembered(config, batch)  # memory and text together, and types
    activation = getattr(config, "hidden_activation", config.hidden_act)
    shared += (1 if activation == "relu" else 2) * tokens * sizes.intermediate_size  # ReLU saves its result only
    saved = FULL * (2 * hidden + _remembered(config, batch))  # the norms' inputs
    saved += half * products + half * shared // tensor
    saved += (2 * hidden) if config.hidden_dropout_prob else 0  # a byte of the mask for each number
    dropped = getattr(config, "attention_dropout_prob", config.attention_probs_dropout_prob) > 0
    mask = 1 if tensor == 1 else FULL  # see `zoo_cli.models.parallel.WholeDropout`
    weights = FULL + (half + mask if dropped else (half if half != FULL else 0))
    return saved + heads * keys * weights // tensor


def _remembered(config: ModelConfig, batch: Batch) -> int:
    """Numbers that a layer of ERNIE-Doc keeps for the next segment."""
    return batch.rows * getattr(config, "memory_len", 0) * config.hidden_size


def _passing(config: ModelConfig, sizes: LayerSizes, batch: Batch, tensor: int) -> int:
    """What a layer holds for a moment: scores before the softmax, as they are and masked, and two hidden states."""
    scores = batch.rows * sizes.num_heads * batch.length * batch.length
    if config.family == "ernie_doc":  # scores by place, of all places there are, beside those by content and by type
        scores += batch.rows * sizes.num_heads * batch.length * (batch.length + config.memory_len)  # type: ignore[attr-defined]
    whole = scores if tensor > 1 and config.attention_probs_dropout_prob else 0  # a mask for all heads
    return FULL * (2 * scores // tensor + whole + 2 * batch.tokens * config.hidden_size)


def _embeddings(config: ModelConfig, batch: Batch) -> int:
    """What the embeddings save: the input of their norm, if they have one, and a dropout mask."""
    width = getattr(config, "embedding_size", config.hidden_size)
    normed = config.family not in ("gpt", "unified_transformer")
    return batch.tokens * width * (FULL * normed + (config.hidden_dropout_prob > 0))


def _vocabulary(config: ModelConfig, batch: Batch, tensor: int, half: int) -> int:
    """Scores of the vocabulary, their softmax, and what leads to them."""
    if not batch.scored:
        return 0
    scores = batch.scored * config.vocab_size // (tensor if config.vocab_size % tensor == 0 else 1)
    lowered = half if half != FULL else 0
    dense = 0 if config.family == "gpt" else 2 * (FULL + half) * batch.scored * config.hidden_size
    return scores * (2 * FULL + lowered) + dense
