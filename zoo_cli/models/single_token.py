"""The layers of a language model for one more token of each row.

The matrix products of one token are so short that the rest counts: with 6 layers of width 512 and one row, a step
through the modules takes 22 ms, of which the products are 8 to 12; this takes 17. So weights are looked up once for
all, hidden states are matrices [n, H], and nothing is transposed. Everything else is as in the layers themselves, which
read the prompts; a test holds both against each other. Of a model that processes share, each has its own heads and
neurons here.
"""

from __future__ import annotations

from collections.abc import Callable

import paddle
import paddle.nn.functional as F
from paddle import nn

from zoo_cli.models.cache import DecodingCache
from zoo_cli.models.layers import Linear
from zoo_cli.models.outputs import Tensor
from zoo_cli.models.parallel import divided_among, is_divided, local, local_linear

Step = Callable[[Tensor], Tensor]


class SingleTokenStack:
    """Layers as `zoo_cli.models.layers.Encoder` or GPT's decoder has them, and the final norm if there is one.

    Args:
        stack: with `layers` and `norm`, in evaluation mode. Its weights may change later on, but not be replaced.
    """

    def __init__(self, stack: nn.Layer) -> None:
        self._layers = [SingleTokenLayer(layer, index) for index, layer in enumerate(stack.layers)]
        self._norm = None if stack.norm is None else _norm(stack.norm)

    def __call__(self, hidden: Tensor, cache: DecodingCache) -> Tensor:
        """Hidden states [n, H] after the layers; `cache.open_step` has been called, and the cache grows."""
        for layer in self._layers:
            hidden = layer(hidden, cache)
        return hidden if self._norm is None else self._norm(hidden)


class SingleTokenLayer:
    """One layer.

    Args:
        layer: a `zoo_cli.models.layers.EncoderLayer`, or GPT's.
        index: its number in the cache.
    """

    def __init__(self, layer: nn.Layer, index: int) -> None:
        attention = layer.self_attn
        self._index = index
        self._heads = attention.num_heads // divided_among(attention.out_proj.weight)
        self._dim = attention.head_dim
        self._scale = attention.scale
        self._projections = [_linear(projection) for projection in attention.projections]
        self._out = _linear(attention.out_proj)
        self._linear1, self._linear2 = _linear(layer.linear1), _linear(layer.linear2)
        self._norm1, self._norm2 = _norm(layer.norm1), _norm(layer.norm2)
        self._activation = layer.activation
        self._pre_norm = layer.normalize_before

    def __call__(self, hidden: Tensor, cache: DecodingCache) -> Tensor:
        """[n, H] -> [n, H]."""
        if self._pre_norm:
            hidden = hidden + self._attend(self._norm1(hidden), cache)
            return hidden + self._linear2(self._activation(self._linear1(self._norm2(hidden))))
        hidden = self._norm1(hidden + self._attend(hidden, cache))
        return self._norm2(hidden + self._linear2(self._activation(self._linear1(hidden))))

    def _attend(self, hidden: Tensor, cache: DecodingCache) -> Tensor:
        count = hidden.shape[0]
        if len(self._projections) == 1:  # query, key and value of a head side by side
            mixed = self._projections[0](hidden).reshape([count, self._heads, 3 * self._dim])
            query, key, value = mixed.split(3, axis=-1)
        else:
            query, key, value = (project(hidden) for project in self._projections)  # [n, A * d]
        keys, values, bias = cache.write(self._index, key, value)  # [n, A, T, d], bias [n, A, 1, T]
        query = (query * self._scale).reshape([count, self._heads, 1, self._dim])
        scores = paddle.matmul(query, keys, transpose_y=True) + bias  # [n, A, 1, T]
        context = paddle.matmul(F.softmax(scores), values)  # [n, A, 1, d]
        return self._out(context.reshape([count, self._heads * self._dim]))


def _linear(layer: nn.Layer) -> Step:
    """The layer as a function: a plain one without its module, which saves 50 microseconds a call."""
    if is_divided(layer.weight):
        return local_linear(layer)
    if type(layer) not in (nn.Linear, Linear):
        return layer
    weight, bias = layer.weight, layer.bias
    return lambda hidden: paddle.matmul(hidden, weight) + bias


def _norm(layer: nn.LayerNorm) -> Step:
    weight, bias, epsilon = local(layer.weight), local(layer.bias), layer._epsilon
    shape = weight.shape
    return lambda hidden: F.layer_norm(hidden, shape, weight, bias, epsilon)
