"""Training on a CPU: passes that PaddlePaddle's own kernels take longer for than they must.

Gradients of biases become matrix products, dropout draws a quarter of the random bits, and the backward passes of
GELU and LayerNorm run through numpy in pieces that stay in the processor's cache. On one core, milliseconds for 2,048
tokens, PaddlePaddle 3.3.1 -> here: dropout at width 256 6.0 -> 2.1, LayerNorm backward at 256 9.0 -> 4.9, GELU backward
at 1,024 17 -> 13, backward of a linear layer from 256 to 1,024 30 -> 20.

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
    return np.ctypeslib.as_array((ctypes.c_float * tensor.size).from_address(tensor.data_ptr()))


class _Linear(PyLayer):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, transposed: bool) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.transposed = transposed
        ctx.wanted = tuple(not tensor.stop_gradient for tensor in (x, weight, bias))
        return paddle.matmul(x, weight, transpose_y=transposed).add_(bias)

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
        result = F.gelu(x)
        ctx.save_for_backward(x, result)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        inputs = [tensor.contiguous() for tensor in (*ctx.saved_tensor(), grad)]
        result = paddle.empty(inputs[0].shape)
        arrays = [*map(_array, inputs), _array(result)]
        for start in range(0, result.size, _PIECE):
            x, y, g, out = (array[start : start + _PIECE] for array in arrays)
            density = np.multiply(x, x)
            density *= -0.5
            np.exp(density, out=density)
            density *= x
            density *= 1 / math.sqrt(2 * math.pi)
            with np.errstate(all="ignore"):
                np.divide(y, x, out=out)  # the share of the normal distribution below x
            if not math.isfinite(out.sum()):
                out[x == 0] = 0.5
            out += density
            out *= g
        return result


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
        for start in range(0, len(arrays[0]), rows):
            value, g, out = (array[start : start + rows] for array in arrays)
            ones = np.ones((1, len(value)), np.float32)
            normal = value - value @ mean
            deviation = 1 / np.sqrt(np.multiply(normal, normal, out=out) @ mean + ctx.epsilon)
            normal *= deviation
            sums += (ones @ np.multiply(g, normal, out=out))[0]
            bias_sums += (ones @ g)[0]
            np.multiply(g, scale, out=out)
            along = np.multiply(out, normal) @ mean
            out -= out @ mean
            normal *= along
            out -= normal
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
    def forward(ctx: Any, x: Tensor, probability: float) -> Tensor:
        ctx.mask = _kept(x.size, probability)
        return _masked(x, *ctx.mask)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _masked(grad.contiguous(), *ctx.mask)


def _masked(x: Tensor, kept: np.ndarray, factor: np.float32) -> Tensor:
    result = paddle.empty(x.shape)
    source, target = _array(x), _array(result)
    for start in range(0, x.size, _PIECE):
        out = target[start : start + _PIECE]
        np.multiply(source[start : start + _PIECE], kept[start : start + _PIECE], out=out)
        out *= factor
    return result


def dropout(x: Tensor, probability: float) -> Tensor:
    """`x` of any shape with zeros in random places, and all else larger so that its mean stays."""
    result: Tensor = _Dropout.apply(x, probability)
    return result
