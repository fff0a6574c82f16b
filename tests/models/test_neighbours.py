"""Fresh weights that are a model of neighbours."""

from __future__ import annotations

import numpy as np
import pytest

from zoo_cli.base.environment import prepare_paddle

prepare_paddle("cpu")

import paddle  # noqa: E402

from zoo_cli import models  # noqa: E402
from zoo_cli.models.base import Model  # noqa: E402
from zoo_cli.models.layers import MultiHeadAttention  # noqa: E402
from zoo_cli.models.neighbours import start_from_neighbours  # noqa: E402

SIZES = {
    "vocab_size": 60,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}


def model(architecture: str = "BertModel", vectors: np.ndarray | None = None, **config: int) -> Model:
    paddle.seed(0)
    made = models.build(architecture, {**SIZES, **config})
    made.eval()
    if vectors is None:
        vectors = np.random.default_rng(1).normal(size=(50, 64)).astype(np.float32)
    start_from_neighbours(made, np.arange(5, 5 + len(vectors)), vectors, seed=3)
    return made


def test_tokens_look_at_near_tokens() -> None:
    made = model()
    captured = []
    attention = next(layer for layer in made.sublayers() if isinstance(layer, MultiHeadAttention))
    attention.register_forward_post_hook(lambda layer, inputs, result: captured.append(result.probabilities))
    ids = np.random.default_rng(2).integers(5, 55, (8, 32))
    made(paddle.to_tensor(ids))
    seen = captured[0].numpy().mean(axis=(0, 1))  # [S, S]
    distance = np.abs(np.arange(32)[:, None] - np.arange(32))
    own, near, far = (seen[(distance >= low) & (distance <= high)].mean() for low, high in ((0, 0), (1, 2), (15, 31)))
    assert own > near > 1.5 * far
    assert near > 1 / 32 > far


def test_embeddings_are_the_vectors_and_others_stay_as_they_were() -> None:
    vectors = np.random.default_rng(1).normal(size=(50, 64)).astype(np.float32)
    made, fresh = model(vectors=vectors), models.build("BertModel", SIZES)
    table = made.embeddings.word_embeddings.weight.numpy()
    spread = made.config.initializer_range
    np.testing.assert_array_equal(table[5:55], np.float32(spread) * vectors)
    assert 0 < np.abs(table[55:]).max() < 6 * spread
    positions = made.embeddings.position_embeddings.weight.numpy()
    assert positions.std() == pytest.approx(spread, rel=1e-3)
    alike = positions @ positions.T
    assert alike[0, 1] > alike[0, 5] > alike[0, 30]  # near positions are alike
    np.testing.assert_array_equal(
        made.encoder.layers[0].linear1.weight.shape, fresh.encoder.layers[0].linear1.weight.shape
    )
    assert made.encoder.layers[0].linear1.weight.numpy().std() == pytest.approx(spread, rel=0.2)


def test_values_pass_through() -> None:
    attention = next(layer for layer in model().sublayers() if isinstance(layer, MultiHeadAttention))
    kept = attention.v_proj.weight.numpy() @ attention.out_proj.weight.numpy()  # [H, H]
    assert np.trace(kept) / np.abs(kept - np.diag(np.diag(kept))).sum(axis=1).mean() > 5
    queries, keys = attention.q_proj.weight.numpy(), attention.k_proj.weight.numpy()
    np.testing.assert_array_equal(queries, keys)
    x = np.random.default_rng(0).normal(size=(200, 64)).astype(np.float32)
    own = ((x @ queries).reshape(200, 4, 16) ** 2).sum(axis=2) * attention.scale
    assert own.mean() == pytest.approx(4.0, rel=0.1)


@pytest.mark.parametrize("width", [16, 64, 100])
def test_vectors_of_other_widths(width: int) -> None:
    vectors = np.random.default_rng(1).normal(size=(50, width)).astype(np.float32)
    table = model(vectors=vectors).embeddings.word_embeddings.weight.numpy()
    common = min(width, 64)
    np.testing.assert_array_equal(table[5:55, :common], np.float32(0.02) * vectors[:, :common])
    assert table[5:55, common:].std() == pytest.approx(0.02, rel=0.2) if common < 64 else True


def test_no_vectors_and_the_same_seed() -> None:
    one, other = (model(vectors=np.zeros((0, 0), np.float32)) for _ in range(2))
    for left, right in zip(one.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(left.numpy(), right.numpy())
