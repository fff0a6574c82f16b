"""How the weights of a language model are divided among processes that compute each layer together. No paddle.

Megatron-LM, Shoeybi et al., 2019, https://arxiv.org/abs/1909.08053: what makes queries, keys and values, and the first
matrix of a feed-forward network, is divided by columns, so that each process has some heads and some neurons; what
follows is divided by rows, so that the processes' results are summed up. Word embeddings, which also score the next
token, are divided by tokens, if that comes out even. Everything else is small and the same everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from zoo_cli.models.config import ModelConfig

FAMILIES = ("gpt", "unified_transformer", "unimo")
"""Families whose layers can be divided: those whose published models are too large for one device."""

_COLUMNS = re.compile(r"\blayers\.\d+\.(self_attn\.(q|k|v|qkv)_proj|linear1)\.(weight|bias)$")
_ROWS = re.compile(r"\blayers\.\d+\.(self_attn\.out_proj|linear2)\.weight$")
_TOKENS = re.compile(r"\b(embeddings\.word_embeddings\.weight|lm_head\.decoder_bias)$")


def split_axis(name: str, shape: Collection[int], parts: int) -> int | None:
    """The axis along which a weight is divided into `parts`, or None where every process has all of it.

    Args:
        name: of the weight, as in weight files.
        shape: of the whole weight.
        parts: processes that compute each layer together.
    """
    if parts == 1:
        return None
    if _COLUMNS.search(name):
        return len(shape) - 1
    if _ROWS.search(name):
        return 0
    return 0 if _TOKENS.search(name) and next(iter(shape)) % parts == 0 else None


def share(size: int, parts: int, index: int) -> slice:
    """Which part of an axis of that size the process `index` has; the size is a multiple of `parts`."""
    return slice(size // parts * index, size // parts * (index + 1))


def indivisible(config: ModelConfig, parts: int) -> str | None:
    """Why the layers of a model cannot be divided into `parts`, or None where they can."""
    if parts == 1:
        return None
    if config.family not in FAMILIES:
        return f"layers of {config.family} are not divided, only those of {', '.join(FAMILIES)}"
    for index in range(config.num_hidden_layers):
        sizes = config.layer_sizes(index)
        for name, size in (("heads", sizes.num_heads), ("feed-forward neurons", sizes.intermediate_size)):
            if size % parts:
                return f"{parts} does not divide the {size} {name} of layer {index}"
    return None
