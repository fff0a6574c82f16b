"""Training on a CPU: passes that PaddlePaddle's own kernels take longer for than they must.

Gradients of biases become matrix products, queries, keys and values are made by one product, GELU computes its slope
together with its value, dropout draws a quarter of the random bits and adds the residual in the same pass, and all of
these run on every core, in loops that `zoo_cli.models.kernels` compiles.

Each function is for tensors of which `fits` is true. They give what PaddlePaddle gives up to rounding, dropout
excepted, whose numbers are others. As with every `PyLayer`, `paddle.grad` for some of the inputs only does not go
through them; `backward` does.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.autograd import PyLayer

from zoo_cli.models.outputs import Tensor

LARGE = 1 << 18
"""Numbers from which on a tensor is worth it: below, little is won, and the compiler takes a second to load."""
_ROW = 1 << 10
"""Numbers of a row where rows mean nothing."""
_STEPS = 1 << 16
"""Probabilities of dropout are multiples of one part in so many."""
_C_TYPES = {paddle.float32: (np.float32, ctypes.c_float), paddle.int64: (np.int64, ctypes.c_int64)}


def _kernels() -> ModuleType:
    """The compiled loops, imported when the first large tensor comes."""
    from zoo_cli.models import kernels

    return kernels


@cache
def _has_compiler() -> bool:
    return find_spec("numba") is not None


def fits(*tensors: Tensor) -> bool:
    """Whether these are whole float32 tensors in the memory of this process, outside of a static graph, of which the
    first is large."""
    return (
        paddle.in_dynamic_mode()
        and math.prod(tensors[0].shape) >= LARGE
        and _has_compiler()
        and all(
            tensor.dtype == paddle.float32
            and not tensor.is_dist()
            and tensor.place.is_cpu_place()
            and tensor.is_contiguous()
            for tensor in tensors
        )
    )


def fits_training(learnt: Tensor, *others: Tensor) -> bool:
    """Whether tensors `fits`, and a gradient of the first one is wanted."""
    return paddle.is_grad_enabled() and not learnt.stop_gradient and fits(learnt, *others)


def is_here() -> bool:
    """Whether PaddlePaddle computes on the CPU."""
    return bool(paddle.get_device() == "cpu")


def _array(tensor: Tensor) -> np.ndarray:
    """The memory of a tensor that `fits`, or of whole numbers, as a flat array; the tensor must outlive it."""
    size = math.prod(tensor.shape)  # `tensor.size` takes ten times as long
    kind, c_kind = _C_TYPES[tensor.dtype]
    return np.ndarray(size, kind, (c_kind * size).from_address(tensor.data_ptr()))


def _rows(tensor: Tensor) -> np.ndarray:
    """The memory of a tensor as rows of its last axis."""
    return _array(tensor).reshape(-1, tensor.shape[-1])


def _table(tensor: Tensor) -> np.ndarray:
    """The memory of a tensor as rows of some equal length, which the kernels share among threads."""
    numbers = _array(tensor)
    return numbers.reshape(-1, math.gcd(len(numbers), _ROW))


class _Linear(PyLayer):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, transposed: bool) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.transposed = transposed
        ctx.wanted = tuple(not tensor.stop_gradient for tensor in (x, weight, bias))
        result = paddle.matmul(x, weight, transpose_y=transposed)
        _kernels().add_row(_rows(result), _array(bias))
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


class _Heads(PyLayer):
    @staticmethod
    def forward(ctx: Any, x: Tensor, heads: int, scale: float, *projections: Tensor) -> tuple[Tensor, ...]:
        weight = paddle.concat(projections[::2], axis=1)  # [H, 3 * A * d]
        bias = paddle.concat(projections[1::2])
        batch, length, width = x.shape[0], x.shape[1], weight.shape[1] // 3
        ctx.save_for_backward(x, weight)
        ctx.scale = np.float32(scale)
        ctx.parts = (3, heads, width // heads)
        ctx.wanted = tuple(not tensor.stop_gradient for tensor in (x, *projections))
        rows = paddle.matmul(x, weight)  # [B, S, 3 * A * d]
        results = tuple(paddle.empty([batch, heads, length, width // heads]) for _ in range(3))
        _kernels().split_heads(
            _array(rows).reshape(batch, length, *ctx.parts),
            _array(bias).reshape(ctx.parts),
            ctx.scale,
            *(_array(result).reshape(result.shape) for result in results),
        )
        return results

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensor()
        rows = paddle.empty([*x.shape[:2], weight.shape[1]])
        grads = tuple(grad.contiguous() for grad in grads)
        _kernels().join_heads(
            *(_array(grad).reshape(grad.shape) for grad in grads),
            ctx.scale,
            _array(rows).reshape(*x.shape[:2], *ctx.parts),
        )
        flat, inner = rows.reshape([-1, rows.shape[-1]]), x.reshape([-1, x.shape[-1]])
        weights = paddle.matmul(inner, flat, transpose_x=True).split(3, axis=1)
        biases = paddle.matmul(paddle.ones([1, flat.shape[0]]), flat).reshape([-1]).split(3)
        own, *wanted = ctx.wanted
        learnt = [each for pair in zip(weights, biases, strict=True) for each in pair]
        return (
            paddle.matmul(rows, weight, transpose_y=True) if own else None,
            *(grad if wants else None for grad, wants in zip(learnt, wanted, strict=True)),
        )


def attention_inputs(x: Tensor, projections: Sequence[nn.Linear], heads: int, scale: float) -> tuple[Tensor, ...]:
    """Queries, keys and values [B, A, S, d] of `x` [B, S, H], in one product of matrices.

    Args:
        x: the tokens.
        projections: what makes queries, keys and values, each [H, A * d] with a bias.
        heads: A.
        scale: the queries are multiplied by it.
    """
    tensors = [tensor for each in projections for tensor in (each.weight, each.bias)]
    query, key, value = _Heads.apply(x, heads, scale, *tensors)
    return query, key, value


class _Gelu(PyLayer):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        result, slope = paddle.empty(x.shape), paddle.empty(x.shape)
        _kernels().gelu(*map(_table, (x, result, slope)))
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
        result, sums = paddle.empty(x.shape), paddle.empty([2, x.shape[-1]])
        _kernels().layer_norm_back(
            _rows(x), _rows(grad), _array(weight), np.float32(ctx.epsilon), _rows(result), _rows(sums)
        )
        return result, sums[0], sums[1]


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    """LayerNorm over the last axis of `x` [..., H], with `weight` and `bias` [H]."""
    result: Tensor = _LayerNorm.apply(x, weight, bias, epsilon)
    return result


class _Softmax(PyLayer):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        result = paddle.empty(x.shape)
        _kernels().softmax(_rows(x), _rows(result))
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (probabilities,) = ctx.saved_tensor()
        grad = grad.contiguous()
        result = paddle.empty(grad.shape)
        _kernels().softmax_back(_rows(probabilities), _rows(grad), _rows(result))
        return result


def softmax(x: Tensor) -> Tensor:
    """Softmax over the last axis."""
    result: Tensor = _Softmax.apply(x)
    return result


class _Divergence(PyLayer):
    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor) -> Tensor:
        losses, slope = paddle.empty(student.shape[:-1]), paddle.empty(student.shape)
        _kernels().divergence(_rows(student), _rows(teacher), _array(losses), _rows(slope))
        ctx.save_for_backward(slope)
        return losses

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensor()
        return slope * grad.unsqueeze(-1), None


def divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL divergence from the softmax of `teacher` [..., W], which does not learn, to that of `student`: [...]."""
    result: Tensor = _Divergence.apply(student, teacher)
    return result


class _CrossEntropy(PyLayer):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        losses, tops, totals = (paddle.empty(labels.shape) for _ in range(3))
        _kernels().cross_entropy(_rows(logits), *map(_array, (labels, losses, tops, totals)))
        ctx.save_for_backward(logits, labels, tops, totals)
        return losses

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        logits, labels, tops, totals = ctx.saved_tensor()
        grad = grad.contiguous()
        result = paddle.empty(logits.shape)
        _kernels().cross_entropy_back(_rows(logits), *map(_array, (labels, grad, tops, totals)), _rows(result))
        return result


def are_classes(labels: Tensor, count: int) -> bool:
    """Whether `labels` are int64 in this process's memory and all of them from 0 to below `count`."""
    if labels.dtype != paddle.int64 or labels.is_dist() or not labels.place.is_cpu_place():
        return False
    numbers = _array(labels)
    return bool(numbers.size and numbers.min() >= 0 and numbers.max() < count)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of each of `labels` [R], int64 and all of them classes of `logits` [R, C]."""
    result: Tensor = _CrossEntropy.apply(logits, labels)
    return result


def _draw(size: int, probability: float) -> tuple[np.ndarray, int, np.float32]:
    """Random bits, uint16 [size], below which number of them dropout drops, and the factor that makes up for it.

    The bits are a function of one draw of PaddlePaddle's generator, so that its seed and state determine them.
    """
    seed = int(paddle.randint(0, 2**31 - 1, [1]).item())
    bits = np.random.SFC64(seed).random_raw(-(-size // 4)).view(np.uint16)[:size]
    dropped = min(_STEPS - 1, round(probability * _STEPS))
    return bits, dropped, np.float32(_STEPS / (_STEPS - dropped))


def dropout_mask(shape: list[int], probability: float) -> Tensor:
    """What `dropout` multiplies a tensor of that shape by."""
    bits, dropped, factor = _draw(math.prod(shape), probability)
    return paddle.to_tensor(((bits >= dropped) * factor).reshape(shape))


class _Dropout(PyLayer):
    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor | None, probability: float) -> Tensor:
        ctx.drawn = _draw(math.prod(x.shape), probability)
        ctx.wanted = tuple(not tensor.stop_gradient for tensor in (x, residual) if tensor is not None)
        return _dropped(x, ctx.drawn, residual)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        own, *others = ctx.wanted
        dropped = _dropped(grad.contiguous(), ctx.drawn) if own else None
        return (dropped, *(grad if other else None for other in others))


def _dropped(x: Tensor, drawn: tuple[np.ndarray, int, np.float32], residual: Tensor | None = None) -> Tensor:
    bits, dropped, factor = drawn
    result = paddle.empty(x.shape)
    own, added, out = map(_table, (x, x if residual is None else residual, result))
    _kernels().drop(own, bits.reshape(own.shape), dropped, factor, added, residual is not None, out)
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
