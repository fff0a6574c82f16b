"""Fresh weights that are a model of neighbours: where pretraining starts from that has no time for thousands of steps.

At random, an encoder first learns how frequent tokens are, and stays there until its attention happens upon near
tokens, and its embeddings upon what these tell. Both can be had at once: embeddings from counts (Levy and Goldberg,
2014, https://papers.nips.cc/paper/5477), and attention that looks like that of trained models, whose queries agree with
their keys, and whose values come out as they went in (Trockman and Kolter, 2023, https://arxiv.org/abs/2305.09828).
"""

from __future__ import annotations

import numpy as np
from paddle import nn

from zoo_cli.models.base import Model
from zoo_cli.models.layers import MultiHeadAttention

_OWN_SCORE = 4.0
"""Attention score of a token with itself; one that is quite different has a score near 0."""
_KEPT = 0.7
"""What values and their projection back are multiplied by."""
_SLOWEST = 200.0
"""The slowest sinusoid turns once in so many positions, times 2 pi: far ones need not be told apart."""


def start_from_neighbours(model: Model, ids: np.ndarray, vectors: np.ndarray, seed: int) -> None:
    """Give a model with fresh weights embeddings, positions and attention to start from.

    Args:
        model: any; attention other than `MultiHeadAttention` stays as it is.
        ids: tokens that have a vector [N].
        vectors: theirs [N, D], with a standard deviation of 1; the first E numbers become an embedding of width E, and
            of a wider one the first D.
        seed: of the rotations that are drawn.
    """
    draws = np.random.default_rng(seed)
    spread = model.config.initializer_range
    for layer in model.sublayers(include_self=True):
        words, positions = (getattr(layer, f"{kind}_embeddings", None) for kind in ("word", "position"))
        if isinstance(words, nn.Embedding) and len(ids):
            table = words.weight.numpy()  # [V, E]
            width = min(vectors.shape[1], table.shape[1])
            table[ids, :width] = spread * vectors[:, :width]
            words.weight.set_value(table)
        if isinstance(positions, nn.Embedding):
            count, width = positions.weight.shape
            positions.weight.set_value(spread * _sinusoids(count, width, draws))
        if isinstance(layer, MultiHeadAttention):
            _look_at_like(layer, draws)


def _sinusoids(count: int, width: int, draws: np.random.Generator) -> np.ndarray:
    """Sines and cosines of positions, rotated at random and with a standard deviation of 1, float32 [count, width]."""
    half = -(-width // 2)
    angles = np.arange(count)[:, None] / _SLOWEST ** (np.arange(half) / half)  # [count, width / 2]
    waves = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[:, :width] @ _orthonormal(width, width, draws)
    return (waves / waves.std()).astype(np.float32)


def _look_at_like(attention: MultiHeadAttention, draws: np.random.Generator) -> None:
    """Make tokens attend to tokens like themselves, and pass these on as they are."""
    size, heads = attention.head_dim, attention.num_heads
    inputs = attention.q_proj.weight.shape[0]
    # A normalised token has a square of H, d of which falls to each head.
    queries = np.concatenate([_orthonormal(inputs, size, draws) for _ in range(heads)], axis=1)  # [H, A * d]
    values = np.concatenate([_orthonormal(inputs, size, draws) for _ in range(heads)], axis=1)
    scale = (_OWN_SCORE / size**0.5) ** 0.5
    for layer, weights in (
        (attention.q_proj, queries * scale),
        (attention.k_proj, queries * scale),
        (attention.v_proj, values * _KEPT),
        (attention.out_proj, values.T * _KEPT),
    ):
        layer.weight.set_value(weights.astype(np.float32))


def _orthonormal(rows: int, columns: int, draws: np.random.Generator) -> np.ndarray:
    """Random orthonormal columns, float64 [rows, columns]."""
    basis, _ = np.linalg.qr(draws.normal(size=(rows, columns)))
    return basis
