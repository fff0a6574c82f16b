"""Masks, positions, attention and the encoder against their definitions in numpy."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models.support import batch, call, tiny
from zoo_cli.base.errors import UsageError
from zoo_cli.models.bert.config import BertConfig
from zoo_cli.models.layers import (
    Encoder,
    EncoderLayer,
    Linear,
    MultiHeadAttention,
    activation,
    attention_bias,
    default_positions,
    integer_mask_bias,
)
from zoo_cli.registry import family


def test_a_mask_of_ones_and_zeros_hides_by_ten_thousand() -> None:
    mask = np.array([[1, 1, 0], [0, 1, 1]])
    expected = np.where(mask, 0.0, -1e4)[:, None, None, :]
    for kind in ("int64", "int32", "bool", "float32"):
        bias = attention_bias(paddle.to_tensor(mask.astype(kind)), None, 0)
        np.testing.assert_array_equal(bias.numpy(), expected)


def test_without_a_mask_padding_is_hidden() -> None:
    ids = paddle.to_tensor([[4, 9, 9], [9, 5, 6]])
    bias = attention_bias(None, ids, pad_token_id=9)
    np.testing.assert_array_equal(bias.numpy()[:, 0, 0], [[0, -1e4, -1e4], [-1e4, 0, 0]])
    past = [(paddle.zeros([2, 4, 2, 8]), paddle.zeros([2, 4, 2, 8]))]
    bias = attention_bias(None, ids, 9, past)
    np.testing.assert_array_equal(bias.numpy()[:, 0, 0], [[0, 0, 0, -1e4, -1e4], [0, 0, -1e4, 0, 0]])
    with pytest.raises(UsageError, match="attention_mask"):
        attention_bias(None, None, 0)


def test_larger_masks_are_handed_on() -> None:
    floats = paddle.randn([2, 1, 3, 3])
    np.testing.assert_array_equal(attention_bias(floats, None, 0).numpy(), floats.numpy())
    integers = paddle.to_tensor([[[[1, 0]]]])
    np.testing.assert_array_equal(integer_mask_bias(integers).numpy(), [[[[0, -1e9]]]])
    np.testing.assert_array_equal(integer_mask_bias(integers.astype("bool")).numpy(), [[[[0, -1e9]]]])


def test_positions_count_on_from_the_cache() -> None:
    tokens = paddle.zeros([2, 3], dtype="int64")
    assert default_positions(tokens).tolist() == [0, 1, 2]
    past = [(paddle.zeros([2, 4, 5, 8]), paddle.zeros([2, 4, 5, 8]))]
    assert default_positions(tokens, past).tolist() == [5, 6, 7]


def test_activations() -> None:
    x = paddle.to_tensor([-1.5, 0.0, 0.7])
    tanh_form = 0.5 * x * (1 + paddle.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))
    np.testing.assert_allclose(activation("gelu_new")(x).numpy(), tanh_form.numpy(), atol=1e-6)
    np.testing.assert_allclose(
        activation("gelu")(x).numpy(), (x * 0.5 * (1 + paddle.erf(x / 2**0.5))).numpy(), atol=1e-6
    )
    np.testing.assert_allclose(
        activation("quick_gelu")(x).numpy(), (x / (1 + paddle.exp(-1.702 * x))).numpy(), atol=1e-6
    )
    for name in ("relu", "tanh", "silu", "swish", "sigmoid", "mish", "relu6", "linear"):
        assert activation(name)(x).shape == [3]
    with pytest.raises(UsageError, match="'sine'"):
        activation("sine")


def reference_attention(layer: MultiHeadAttention, x: np.ndarray, bias: np.ndarray) -> np.ndarray:
    def project(linear: paddle.nn.Linear) -> np.ndarray:
        flat = x @ linear.weight.numpy() + linear.bias.numpy()
        return flat.reshape(*x.shape[:2], layer.num_heads, layer.head_dim).transpose(0, 2, 1, 3)

    q, k, v = project(layer.q_proj), project(layer.k_proj), project(layer.v_proj)
    scores = q @ k.transpose(0, 1, 3, 2) / layer.head_dim**0.5 + bias
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    merged = (weights @ v).transpose(0, 2, 1, 3).reshape(*x.shape[:2], -1)
    return merged @ layer.out_proj.weight.numpy() + layer.out_proj.bias.numpy()


@settings(max_examples=20, deadline=None)
@given(
    batch_size=st.integers(1, 3),
    length=st.integers(1, 6),
    heads=st.integers(1, 5),
    head_dim=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_attention_with_any_sizes(batch_size: int, length: int, heads: int, head_dim: int, seed: int) -> None:
    paddle.seed(seed)
    layer = MultiHeadAttention(12, heads, head_dim)
    x = paddle.randn([batch_size, length, 12])
    bias = paddle.randn([batch_size, 1, length, length])
    result = layer(x, bias)
    np.testing.assert_allclose(result.hidden.numpy(), reference_attention(layer, x.numpy(), bias.numpy()), atol=1e-5)
    np.testing.assert_allclose(
        paddle.nn.functional.softmax(result.scores).numpy(), result.probabilities.numpy(), atol=1e-6
    )
    # Token by token with the cache sees what a causal mask shows.
    causal = paddle.to_tensor(np.where(np.tri(length), 0, -1e9).astype(np.float32))
    whole = layer(x, causal).hidden.numpy()
    past = None
    for position in range(length):
        step = layer(x[:, position : position + 1], None, past)
        past = step.cache
        np.testing.assert_allclose(step.hidden.numpy()[:, 0], whole[:, position], atol=1e-5)


def test_pre_norm_and_final_norm() -> None:
    config = BertConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)
    encoder = Encoder(config, normalize_before=True, final_norm=True)
    encoder.eval()
    x = paddle.randn([2, 5, 16])
    expected = x
    for layer in encoder.layers:
        expected = expected + layer.self_attn(layer.norm1(expected)).hidden
        expected = expected + layer.linear2(paddle.nn.functional.gelu(layer.linear1(layer.norm2(expected))))
    output = encoder(x, output_hidden_states=True)
    np.testing.assert_allclose(output.last_hidden_state.numpy(), encoder.norm(expected).numpy(), atol=1e-5)
    np.testing.assert_array_equal(output.hidden_states[-1].numpy(), output.last_hidden_state.numpy())
    assert len(output.hidden_states) == 3
    assert "norm.weight" in encoder.state_dict()


def test_pruned_layers_have_their_sizes() -> None:
    changes = {"head_dim": 8, "layer_num_heads": [3, 1], "layer_intermediate_sizes": [40, 20]}
    model = tiny("BertModel", **changes)
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    assert shapes["encoder.layers.0.self_attn.q_proj.weight"] == [32, 24]
    assert shapes["encoder.layers.1.self_attn.out_proj.weight"] == [8, 32]
    assert shapes["encoder.layers.1.linear1.weight"] == [32, 20]
    assert call(model, batch(family("bert"), [5, 3])).last_hidden_state.shape == [2, 5, 32]


def test_only_what_is_asked_for_is_kept() -> None:
    model = tiny("BertModel")
    arrays = batch(family("bert"), [5, 3])
    plain = call(model, arrays)
    assert [name for name, _ in plain.items()] == ["last_hidden_state", "pooler_output"]
    full = call(
        model,
        arrays,
        use_cache=True,
        output_hidden_states=True,
        output_attentions=True,
        output_attention_scores=True,
    )
    assert [len(field) for field in (full.hidden_states, full.attentions, full.attention_scores)] == [3, 2, 2]
    assert full.past_key_values[1][0].shape == [2, 4, 5, 8]
    np.testing.assert_array_equal(full.last_hidden_state.numpy(), plain.last_hidden_state.numpy())
    for scores, probabilities in zip(full.attention_scores, full.attentions, strict=True):
        assert (scores.numpy()[1, :, :, 3:] < -9e3).all()
        np.testing.assert_allclose(paddle.nn.functional.softmax(scores).numpy(), probabilities.numpy(), atol=1e-6)


def test_dropout_acts_in_training_only() -> None:
    layer = EncoderLayer(16, 2, 24, dropout=0.5, attention_dropout=0.5)
    x = paddle.randn([1, 4, 16])
    layer.train()
    assert not np.array_equal(layer(x).hidden.numpy(), layer(x).hidden.numpy())
    layer.eval()
    np.testing.assert_array_equal(layer(x).hidden.numpy(), layer(x).hidden.numpy())


def test_recomputed_layers_have_the_same_gradients() -> None:
    from paddle.distributed.fleet.utils import recompute

    layer = EncoderLayer(16, 2, 24, dropout=0.0, attention_dropout=0.0)
    x = paddle.randn([1, 4, 16])
    (layer(x).hidden ** 2).sum().backward()
    expected = layer.linear1.weight.grad.numpy()
    layer.clear_gradients()
    (recompute(layer, x, use_reentrant=False).hidden ** 2).sum().backward()
    np.testing.assert_allclose(layer.linear1.weight.grad.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 5), (2, 4, 5), (2, 3, 4, 5), (1, 5)])
def test_gradients_of_a_linear_layer(shape: tuple[int, ...]) -> None:
    draw = np.random.default_rng(0)
    layer, plain = Linear(5, 7), paddle.nn.Linear(5, 7)
    plain.set_state_dict(layer.state_dict())
    weights = paddle.to_tensor(draw.normal(size=(*shape[:-1], 7)).astype(np.float32))
    values = draw.normal(size=shape).astype(np.float32)
    grads = []
    for each in (layer, plain):
        x = paddle.to_tensor(values, stop_gradient=False)
        (each(x) * weights).sum().backward()
        grads.append([x.grad.numpy(), each.weight.grad.numpy(), each.bias.grad.numpy(), each(x).numpy()])
    for ours, theirs in zip(*grads, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_frozen_bias_gets_no_gradient() -> None:
    layer = Linear(5, 7)
    layer.bias.stop_gradient = True
    layer(paddle.ones([2, 5])).sum().backward()
    assert layer.bias.grad is None and layer.weight.grad is not None
