"""Training on a CPU: passes that PaddlePaddle's own kernels take longer for than they must.

Gradients of biases become matrix products, dropout draws a quarter of the random bits and adds the residual in the same
pass, GELU computes its slope together with its value, and the backward pass of LayerNorm runs through numpy in pieces
that stay in the processor's cache, as all of these do. On one core, milliseconds for 2,048 tokens there and back,
PaddlePaddle 3.3.1 -> here: dropout and residual at width 256 8.0 -> 3.3, LayerNorm at 256 7.6 -> 3.8, GELU at 1,024
23 -> 17, a linear layer from 256 to 1,024 41 -> 31, a mask on 4 heads of 64 by 64 tokens 4.0 -> 0.8.

Each function is for tensors of which `fits` is true. They give what PaddlePaddle gives up to rounding, dropout
excepted, whose numbers are others. As with every `PyLayer`, `paddle.grad` for some of the inputs only does not go
through them; `backward` does.
"""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle.autograd import PyLayer

from zoo_cli.models.outputs import Tensor

_PIECE = 1 << 15
"""Numbers that are computed at a time: 128 kB of each array."""
_WIDE = 64
"""Rows of numpy that are shorter take longer than PaddlePaddle."""
_STEPS = 1 << 16
"""Probabilities of dropout are multiples of one part in so many."""


def fits(*tensors: Tensor) -> bool:
    """Whether these are whole float32 tensors in the memory of this process, outside of a static graph."""
    return paddle.in_dynamic_mode() and all(
        tensor.dtype == paddle.float32
        and not tensor.is_dist()
        and tensor.place.is_cpu_place()
        and tensor.is_contiguous()
        for tensor in tensors
    )


def is_here() -> bool:
    """Whether PaddlePaddle computes on the CPU."""
    return bool(paddle.get_device() == "cpu")


def _array(tensor: Tensor) -> np.ndarray:
    """The memory of a float32 tensor that `fits`, as a flat array; the tensor must outlive it."""
    size = math.prod(tensor.shape)  # `tensor.size` takes ten times as long
    return np.ndarray(size, np.float32, (ctypes.c_float * size).from_address(tensor.data_ptr()))


class _Linear(PyLayer):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, transposed: bool) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.transposed = transposed
        ctx.wanted = tuple(not tensor.stop_gradient for tensor in (x, weight, bias))
        result = paddle.matmul(x, weight, transpose_y=transposed)
        width = bias.shape[0]
        if width < _WIDE:
            return result.add_(bias)
        own, rows = _array(bias), _array(result).reshape(-1, width)
        step = max(1, _PIECE // width)
        for start in range(0, len(rows), step):
            rows[start : start + step] += own
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensor()
        rows, inner = grad.reshape([-1, grad.shape[-1]]), x.reshape([-1, x.shape[-1]])
        left, right = (rows, inner) if ctx.transposed else (inner, rows)
        own, table, bias = ctx.wanted
        return (
            paddle.matmul(grad, weight, transpose_y=not ctx.transposed) if own else None,
            paddle.matmul(left, right, transpose_x=True) if table else None,
            paddle.matmul(paddle.ones([1, rows.shape[0]]), rows).reshape([-1]) if bias else None,
        )


def linear(x: Tensor, weight: Tensor, bias: Tensor, transposed: bool = False) -> Tensor:
    """``x @ weight + bias`` for `x` [..., I], with `weight` [I, O], or [O, I] where it is `transposed`."""
    result: Tensor = _Linear.apply(x, weight, bias, transposed)
    return result


class _Gelu(PyLayer):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        result, slope = paddle.empty(x.shape), paddle.erf(x * math.sqrt(0.5))
        arrays = [_array(tensor) for tensor in (x, result, slope)]
        density = np.empty(_PIECE, np.float32)
        with np.errstate(over="ignore"):
            for start in range(0, len(arrays[0]), _PIECE):
                value, out, share = (array[start : start + _PIECE] for array in arrays)
                share *= 0.5
                share += 0.5  # of the normal distribution below x
                np.multiply(value, share, out=out)
                dense = np.multiply(value, value, out=density[: len(value)])
                dense *= -0.5
                np.exp(dense, out=dense)
                dense *= 1 / math.sqrt(2 * math.pi)
                dense *= value
                share += dense
        ctx.save_for_backward(slope)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensor()
        return grad * slope


def gelu(x: Tensor) -> Tensor:
    """The exact GELU of a tensor of any shape."""
    result: Tensor = _Gelu.apply(x)
    return result


class _LayerNorm(PyLayer):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.epsilon = epsilon
        return F.layer_norm(x, x.shape[-1:], weight, bias, epsilon)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight, grad = (tensor.contiguous() for tensor in (*ctx.saved_tensor(), grad))
        width = x.shape[-1]
        result, d_weight, d_bias = paddle.empty(x.shape), paddle.zeros([width]), paddle.zeros([width])
        scale, sums, bias_sums = _array(weight), _array(d_weight), _array(d_bias)
        arrays = [_array(tensor).reshape(-1, width) for tensor in (x, grad, result)]
        mean, rows = np.full((width, 1), 1 / width, np.float32), max(1, _PIECE // width)
        scaled_mean = mean * scale[:, None]
        for start in range(0, len(arrays[0]), rows):
            value, g, out = (array[start : start + rows] for array in arrays)
            ones = np.ones((1, len(value)), np.float32)
            centred = value - value @ mean
            deviation = 1 / np.sqrt(np.multiply(centred, centred, out=out) @ mean + ctx.epsilon)
            np.multiply(g, centred, out=out)
            sums += (deviation.T @ out)[0]
            bias_sums += (ones @ g)[0]
            centred *= out @ scaled_mean * deviation**2
            np.multiply(g, scale, out=out)
            out -= centred
            out -= g @ scaled_mean
            out *= deviation
        return result, d_weight, d_bias


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    """LayerNorm over the last axis of `x` [..., H], with `weight` and `bias` [H]."""
    result: Tensor = _LayerNorm.apply(x, weight, bias, epsilon)
    return result


def _kept(size: int, probability: float) -> tuple[np.ndarray, np.float32]:
    """Which of so many numbers dropout keeps, bool [size], and the factor that makes up for the others.

    The bits are a function of one draw of PaddlePaddle's generator, so that its seed and state determine them.
    """
    seed = int(paddle.randint(0, 2**31 - 1, [1]).item())
    bits = np.random.SFC64(seed).random_raw(-(-size // 4)).view(np.uint16)[:size]
    dropped = min(_STEPS - 1, round(probability * _STEPS))
    return bits >= dropped, np.float32(_STEPS / (_STEPS - dropped))


def dropout_mask(shape: list[int], probability: float) -> Tensor:
    """What `dropout` multiplies a tensor of that shape by."""
    kept, factor = _kept(math.prod(shape), probability)
    return paddle.to_tensor((kept * factor).reshape(shape))


class _Dropout(PyLayer):
    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor | None, probability: float) -> Tensor:
        ctx.mask = kept, factor = _kept(math.prod(x.shape), probability)
        ctx.wanted = tuple(not tensor.stop_gradient for tensor in (x, residual) if tensor is not None)
        return _masked(x, kept, factor, residual)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        own, *others = ctx.wanted
        dropped = _masked(grad.contiguous(), *ctx.mask) if own else None
        return (dropped, *(grad if other else None for other in others))


def _masked(x: Tensor, kept: np.ndarray, factor: np.float32, residual: Tensor | None = None) -> Tensor:
    result = paddle.empty(x.shape)
    source, target, added = _array(x), _array(result), None if residual is None else _array(residual)
    factors = np.empty(_PIECE, np.float32)
    for start in range(0, len(source), _PIECE):
        piece = slice(start, start + _PIECE)
        out = target[piece]
        mask = factors[: len(out)]
        np.copyto(mask, kept[piece])
        mask *= factor
        np.multiply(source[piece], mask, out=out)
        if added is not None:
            out += added[piece]
    return result


def dropout(x: Tensor, probability: float, residual: Tensor | None = None) -> Tensor:
    """`x` of any shape with zeros in random places, and all else larger so that its mean stays.

    Args:
        x: of any shape.
        probability: of a zero.
        residual: of the same shape, is added to the result.
    """
    result: Tensor = _Dropout.apply(x, residual, probability)
    return result


class _Masked(PyLayer):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, bias: Tensor) -> Tensor:
        result = paddle.empty(scores.shape)
        sums, own, added = (_array(tensor).reshape(tensor.shape) for tensor in (result, scores, bias))
        np.add(own, added, out=sums)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def add_bias(scores: Tensor, bias: Tensor) -> Tensor:
    """``scores + bias`` [B, A, S, T]; `bias` does not learn and has any shape that broadcasts, e.g. [B, 1, 1, T]."""
    result: Tensor = _Masked.apply(scores, bias)
    return result
