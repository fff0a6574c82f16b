"""Blocks that three or more families share: the standard encoder, masks and positions, embeddings, pooler, activations.

The encoder is that of "Attention Is All You Need" (Vaswani et al., 2017), https://arxiv.org/abs/1706.03762, with the
parameter names of `paddle.nn.TransformerEncoder`. In shape comments B is the batch, S the length, T the length with the
cached past, H the hidden size, A the heads, d the width of a head, I the feed-forward width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import paddle
import paddle.nn.functional as F
from paddle import nn

from zoo_cli.base.errors import UsageError
from zoo_cli.models import cpu
from zoo_cli.models.config import ModelConfig
from zoo_cli.models.outputs import Cache, ModelOutput, Tensor

HIDDEN = -1e4
"""Added to the score of a hidden key. Not minus infinity: a row without any visible key then attends by its scores."""


class Linear(nn.Linear):
    """`paddle.nn.Linear`, faster in training on CPUs; see `zoo_cli.models.cpu`."""

    def forward(self, x: Tensor) -> Tensor:
        learns = paddle.is_grad_enabled() and self.bias is not None and not self.bias.stop_gradient
        if learns and cpu.fits(x, self.weight, self.bias):
            return cpu.linear(x, self.weight, self.bias)
        return super().forward(x)


def _is_listened_to(layer: nn.Layer) -> bool:
    """Whether something wants to know what the layer reads or gives."""
    return bool(layer._forward_pre_hooks or layer._forward_post_hooks)


class LayerNorm(nn.LayerNorm):
    """`paddle.nn.LayerNorm` over the last axis, faster in training on CPUs; see `zoo_cli.models.cpu`.

    Args:
        size: of the last axis.
        epsilon: added to the variance.
    """

    def __init__(self, size: int, epsilon: float = 1e-5) -> None:
        super().__init__(size, epsilon=epsilon)
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        frozen = x.stop_gradient or self.weight.stop_gradient or self.bias.stop_gradient
        learns = paddle.is_grad_enabled() and not frozen
        if learns and cpu.fits(x, self.weight, self.bias):
            return cpu.layer_norm(x, self.weight, self.bias, self.epsilon)
        return super().forward(x)


class Dropout(nn.Dropout):
    """`paddle.nn.Dropout`, faster in training on CPUs; see `zoo_cli.models.cpu`.

    Processes that share a tensor draw what one process would draw for the whole of it.
    """

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Drop some of `x`, and add a `residual` of the same shape to the rest."""
        draws = self.training and 0 < self.p < 1
        if draws and cpu.fits(x) and (residual is None or cpu.fits(residual)):
            return cpu.dropout(x, self.p, residual)
        if draws and paddle.in_dynamic_mode() and x.dtype == paddle.float32 and cpu.is_here():
            dropped = x * cpu.dropout_mask(x.shape, self.p)
        else:
            dropped = super().forward(x)
        return dropped if residual is None else residual + dropped


def softmax(scores: Tensor) -> Tensor:
    """Softmax over the last axis, faster in training on CPUs; see `zoo_cli.models.cpu`."""
    return cpu.softmax(scores) if cpu.fits_training(scores) else F.softmax(scores)


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """The activation function of that name: PaddlePaddle's functions, and Hugging Face's names for some of them.

    Raises:
        UsageError: there is none (`unknown-activation`).
    """
    special: dict[str, Callable[[Tensor], Tensor]] = {
        "gelu_new": _tanh_gelu,
        "gelu_fast": _tanh_gelu,
        "gelu_pytorch_tanh": _tanh_gelu,
        "quick_gelu": lambda x: x * F.sigmoid(1.702 * x),
        "linear": lambda x: x,
        "gelu": _gelu,
    }
    plain = (
        "relu",
        "relu6",
        "tanh",
        "sigmoid",
        "silu",
        "swish",
        "mish",
        "elu",
        "selu",
        "leaky_relu",
        "softplus",
    )
    if name in special:
        return special[name]
    if name in plain:
        return getattr(F, name)
    raise UsageError(
        "unknown-activation",
        "there is no activation {name!r}",
        fix="choose one of: {names}",
        name=name,
        names=", ".join([*plain, *special]),
    )


def _gelu(x: Tensor) -> Tensor:
    return cpu.gelu(x) if cpu.fits_training(x) else F.gelu(x)


def _tanh_gelu(x: Tensor) -> Tensor:
    if paddle.in_dynamic_mode():
        return F.gelu(x, approximate=True)
    # paddle2onnx writes the exact GELU for that function
    return 0.5 * x * (1.0 + paddle.tanh((2 / math.pi) ** 0.5 * (x + 0.044715 * x**3)))


def key_padding_bias(input_ids: Tensor, pad_token_id: int) -> Tensor:
    """What hides padding from attention: -1e4 at the ids [B, S] that equal `pad_token_id`, else 0, as [B, 1, 1, S]."""
    return (input_ids == pad_token_id).astype(paddle.get_default_dtype()).unsqueeze([1, 2]) * HIDDEN


def attention_bias(
    attention_mask: Tensor | None,
    input_ids: Tensor | None,
    pad_token_id: int,
    past_key_values: Sequence[Cache] | None = None,
) -> Tensor:
    """What is added to attention scores: 0 where a key may be seen.

    Args:
        attention_mask: [B, T] with 1 at keys to see; or any shape that broadcasts to [B, A, S, T], either of integers
            or booleans (1 = see) or of floats that are added as they stand; None hides padding.
        input_ids: [B, S], needed without a mask.
        pad_token_id: id that is hidden without a mask; cached tokens are all visible.
        past_key_values: the cache.

    Raises:
        UsageError: there is neither a mask nor ids (`mask-needed`).
    """
    if attention_mask is None:
        if input_ids is None:
            raise UsageError("mask-needed", "inputs_embeds need an attention_mask, as padding cannot be seen in them")
        bias = key_padding_bias(input_ids, pad_token_id)  # [B, 1, 1, S]
        if past_key_values:
            past = past_key_values[0][0]
            seen = paddle.zeros([past.shape[0], 1, 1, past.shape[2]], dtype=bias.dtype)
            bias = paddle.concat([seen, bias], axis=-1)  # [B, 1, 1, T]
        return bias
    if attention_mask.ndim == 2:
        return (1.0 - attention_mask.astype(paddle.get_default_dtype())).unsqueeze([1, 2]) * HIDDEN
    return integer_mask_bias(attention_mask)


def integer_mask_bias(mask: Tensor) -> Tensor:
    """A mask of any shape as what is added to scores: (m - 1) * 1e9 for integers and booleans, floats unchanged."""
    if mask.dtype in (paddle.float32, paddle.float64, paddle.float16, paddle.bfloat16):
        return mask
    return (mask.astype(paddle.get_default_dtype()) - 1.0) * 1e9


def default_positions(tokens: Tensor, past_key_values: Sequence[Cache] | None = None) -> Tensor:
    """Positions [S] of `tokens` ([B, S] or [B, S, H]): they count on from the cached past."""
    length = paddle.shape(tokens)[1]
    start = paddle.shape(past_key_values[0][0])[2] if past_key_values else paddle.zeros([], dtype=length.dtype)
    return paddle.arange(start, start + length, dtype="int64")


class Embeddings(nn.Layer):
    """Word + position + token type embeddings, LayerNorm and dropout (BERT, TinyBERT, ELECTRA).

    Args:
        config: sizes, `norm_epsilon` and `hidden_dropout_prob`.
        type_vocab_size: rows of the token type table.
        size: width E of the tables; the hidden size unless given.
    """

    def __init__(self, config: ModelConfig, type_vocab_size: int, size: int | None = None) -> None:
        super().__init__()
        size = size or config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, size)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, size)
        self.token_type_embeddings = nn.Embedding(type_vocab_size, size)
        self.layer_norm = LayerNorm(size, epsilon=config.norm_epsilon)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: Sequence[Cache] | None = None,
    ) -> Tensor:
        """Embed ids [B, S], or add to given word embeddings [B, S, E]; the result is [B, S, E]."""
        words = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        if position_ids is None:
            position_ids = default_positions(words, past_key_values)
        if token_type_ids is None:
            token_type_ids = paddle.zeros(paddle.shape(words)[:2], dtype="int64")
        summed = words + self.position_embeddings(position_ids) + self.token_type_embeddings(token_type_ids)
        return self.dropout(self.layer_norm(summed))


class Pooler(nn.Layer):
    """The first token through a dense layer and an activation (BERT, TinyBERT, ERNIE, ERNIE-M)."""

    def __init__(self, hidden_size: int, activation_name: str = "tanh") -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.activation = activation(activation_name)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, S, H] -> [B, H]."""
        return self.activation(self.dense(hidden[:, 0]))


class AttentionResult(NamedTuple):
    """What one attention layer computes.

    Args:
        hidden: [B, S, H].
        cache: keys and values of all tokens so far, each [B, A, T, d].
        scores: [B, A, S, T] before the softmax, masked.
        probabilities: [B, A, S, T] after it.
    """

    hidden: Tensor
    cache: Cache
    scores: Tensor
    probabilities: Tensor


class MultiHeadAttention(nn.Layer):
    """Self-attention with A heads of width d; A * d may differ from H (a pruned layer).

    Args:
        hidden_size: H.
        num_heads: A.
        head_dim: d; H / A unless given.
        dropout: probability of dropping an attention weight.
    """

    def __init__(self, hidden_size: int, num_heads: int, head_dim: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = head_dim or hidden_size // num_heads
        self.scale = self.head_dim**-0.5
        width = self.num_heads * self.head_dim
        self.q_proj = Linear(hidden_size, width)
        self.k_proj = Linear(hidden_size, width)
        self.v_proj = Linear(hidden_size, width)
        self.out_proj = Linear(width, hidden_size)
        self.dropout = Dropout(dropout)

    @property
    def projections(self) -> tuple[nn.Linear, ...]:
        """What makes queries, keys and values."""
        return self.q_proj, self.k_proj, self.v_proj

    def split_heads(self, projected: Tensor) -> Tensor:
        """[B, S, A * d] -> [B, A, S, d]."""
        return projected.reshape([0, 0, self.num_heads, self.head_dim]).transpose([0, 2, 1, 3])

    def _learns_at_once(self, hidden: Tensor) -> bool:
        """Whether queries, keys and values are made by one product of matrices."""
        layers = self.projections
        if not all(type(layer) is Linear and not _is_listened_to(layer) for layer in layers):
            return False
        tensors = [tensor for layer in layers for tensor in (layer.weight, layer.bias)]
        learn = paddle.is_grad_enabled() and not any(tensor is None or tensor.stop_gradient for tensor in tensors)
        return learn and cpu.fits(hidden, *tensors)

    def forward(self, hidden: Tensor, bias: Tensor | None = None, past: Cache | None = None) -> AttentionResult:
        """Attend from `hidden` [B, S, H] to itself and to the cached `past`; `bias` is added to the scores."""
        if self._learns_at_once(hidden):
            query, key, value = cpu.attention_inputs(hidden, self.projections, self.num_heads, self.scale)
        else:
            query = self.split_heads(self.q_proj(hidden) * self.scale)  # [B, A, S, d]
            key = self.split_heads(self.k_proj(hidden))
            value = self.split_heads(self.v_proj(hidden))
        if past is not None:
            key = paddle.concat([past[0], key], axis=2)  # [B, A, T, d]
            value = paddle.concat([past[1], value], axis=2)
        scores = paddle.matmul(query, key, transpose_y=True)  # [B, A, S, T]
        if bias is not None:
            bias = bias if bias.dtype == scores.dtype else bias.astype(scores.dtype)
            alone = bias.stop_gradient and cpu.fits_training(scores, bias)
            scores = cpu.add_bias(scores, bias) if alone else scores + bias
        probabilities = softmax(scores)
        context = paddle.matmul(self.dropout(probabilities), value)  # [B, A, S, d]
        merged = context.transpose([0, 2, 1, 3]).reshape([0, 0, self.num_heads * self.head_dim])  # [B, S, A * d]
        return AttentionResult(self.out_proj(merged), (key, value), scores, probabilities)


class EncoderLayer(nn.Layer):
    """Attention and a feed-forward network, each with a residual connection and a LayerNorm.

    Args:
        hidden_size, num_heads, intermediate_size, head_dim: sizes H, A, I, d.
        activation_name: of the feed-forward network.
        dropout: of both residual branches; `attention_dropout` of the attention weights.
        epsilon: of both norms.
        normalize_before: norm in front of each branch (pre-norm) rather than after the sum.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        intermediate_size: int,
        *,
        head_dim: int | None = None,
        activation_name: str = "gelu",
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        epsilon: float = 1e-5,
        normalize_before: bool = False,
    ) -> None:
        super().__init__()
        self.normalize_before = normalize_before
        self.self_attn = MultiHeadAttention(hidden_size, num_heads, head_dim, attention_dropout)
        self.linear1 = Linear(hidden_size, intermediate_size)
        self.linear2 = Linear(intermediate_size, hidden_size)
        self.norm1 = LayerNorm(hidden_size, epsilon=epsilon)
        self.norm2 = LayerNorm(hidden_size, epsilon=epsilon)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.activation = activation(activation_name)

    def forward(self, hidden: Tensor, bias: Tensor | None = None, past: Cache | None = None) -> AttentionResult:
        """One layer on `hidden` [B, S, H]; the result's `hidden` is the layer's output, the rest is its attention's."""
        attention = self.self_attn(self.norm1(hidden) if self.normalize_before else hidden, bias, past)
        hidden = self.dropout1(attention.hidden, hidden)
        if not self.normalize_before:
            hidden = self.norm1(hidden)
        inner = self.norm2(hidden) if self.normalize_before else hidden
        inner = self.activation(self.linear1(inner))  # [B, S, I]
        hidden = self.dropout2(self.linear2(inner), hidden)
        if not self.normalize_before:
            hidden = self.norm2(hidden)
        return AttentionResult(hidden, attention.cache, attention.scores, attention.probabilities)


class Encoder(nn.Layer):
    """A stack of `EncoderLayer` as a configuration describes it.

    Args:
        config: sizes, activation, dropouts and `norm_epsilon`.
        normalize_before: pre-norm layers.
        final_norm: whether a LayerNorm ``norm`` follows the last layer.
    """

    def __init__(self, config: ModelConfig, normalize_before: bool = False, final_norm: bool = False) -> None:
        super().__init__()
        layers = []
        for index in range(config.num_hidden_layers):
            sizes = config.layer_sizes(index)
            layers.append(
                EncoderLayer(
                    config.hidden_size,
                    sizes.num_heads,
                    sizes.intermediate_size,
                    head_dim=sizes.head_dim,
                    activation_name=config.hidden_act,
                    dropout=config.hidden_dropout_prob,
                    attention_dropout=config.attention_probs_dropout_prob,
                    epsilon=config.norm_epsilon,
                    normalize_before=normalize_before,
                )
            )
        self.layers = nn.LayerList(layers)
        self.norm = LayerNorm(config.hidden_size, epsilon=config.norm_epsilon) if final_norm else None

    def forward(
        self,
        hidden: Tensor,
        bias: Tensor | None = None,
        past_key_values: Sequence[Cache] | None = None,
        use_cache: bool = False,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        output_attention_scores: bool = False,
    ) -> ModelOutput:
        """Run all layers on `hidden` [B, S, H]; the flags say which fields of the result are filled.

        Where there is a final norm, the last of `hidden_states` is the normed one.
        """
        states, caches, probabilities, scores = [hidden], [], [], []
        for index, layer in enumerate(self.layers):
            result = layer(hidden, bias, past_key_values[index] if past_key_values else None)
            hidden = result.hidden
            # Kept only where asked for, so that the rest is freed layer by layer.
            if output_hidden_states:
                states.append(hidden)
            if use_cache:
                caches.append(result.cache)
            if output_attentions:
                probabilities.append(result.probabilities)
            if output_attention_scores:
                scores.append(result.scores)
        if self.norm is not None:
            hidden = self.norm(hidden)
            states[-1] = hidden
        return ModelOutput(
            last_hidden_state=hidden,
            past_key_values=caches if use_cache else None,
            hidden_states=states if output_hidden_states else None,
            attentions=probabilities if output_attentions else None,
            attention_scores=scores if output_attention_scores else None,
        )
