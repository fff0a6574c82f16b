"""Loops over rows of numbers, compiled by numba for all of the processor's cores and vector units.

They are what `zoo_cli.models.cpu` computes with. All arrays are float32, contiguous and of two axes unless said
otherwise; what is called an output is written in full. Sums over rows are made of a fixed number of parts, so that
results do not depend on the number of threads. No loop may reorder its way around NaN: a loss that is none stays so.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import paddle

# Read when numba is imported; by default it would take all cores for each of several processes.
os.environ.setdefault("NUMBA_NUM_THREADS", os.environ.get("OMP_NUM_THREADS") or "1")
# TBB, which OpenVINO brings, would warn of each process that is started.
os.environ.setdefault("NUMBA_THREADING_LAYER_PRIORITY", "omp tbb workqueue")

import numba
from numba import prange, types
from numba.extending import intrinsic

# Loops and PaddlePaddle's products follow one another hundreds of times in a step. With GNU's OpenMP for the loops and
# Intel's for the products the threads of each wait actively while the others work: a step takes half as long again.
# Intel's library has GNU's functions, too; numba finds them there, when it starts its threads, if they are for all.
_OPENMP = Path(paddle.__file__).parent / "libs" / "libiomp5.so"
if _OPENMP.is_file():
    ctypes.CDLL(str(_OPENMP), mode=ctypes.RTLD_GLOBAL)

Function = TypeVar("Function", bound=Callable[..., Any])
# Nothing is left to the optimiser that changes a rounding, so that all processes compute the same, whether they compile
# the loops or read what another one compiled: sums are made in `_LANES` parts, which vector units hold, and products
# are added by `_fma`.
_OPTIONS: dict[str, Any] = {"error_model": "numpy"}
_LANES = 16
_PARTS = 16
_ROOT_HALF, _DENSITY = np.float32(0.7071067811865476), np.float32(0.3989422804014327)
_LOG2_E = np.float32(1.4426950408889634)
_LN_2, _LN_2_REST = np.float32(0.693145751953125), np.float32(1.4286068203094172e-6)
_LEAST = np.float32(-3e38)


def _compiled(function: Function) -> Function:
    """A loop that runs on all threads, compiled once for all processes where a folder can be written."""
    try:
        return numba.njit(parallel=True, cache=True, **_OPTIONS)(function)
    except RuntimeError:  # numba found no such folder
        return numba.njit(parallel=True, **_OPTIONS)(function)


def _emit_fma(context: Any, x: Any, y: Any, z: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float32(types.float32, types.float32, types.float32), emit


_fma = cast(Callable[[np.float32, np.float32, np.float32], np.float32], intrinsic(_emit_fma))
"""x * y + z, rounded once."""


@numba.njit(**_OPTIONS)
def _sum(x: np.ndarray, lanes: np.ndarray) -> np.float32:
    """Sum of `x` [W]; `lanes` [_LANES] is overwritten."""
    lanes[:] = np.float32(0)
    whole = x.shape[0] // (4 * _LANES) * 4 * _LANES
    for i in range(0, whole, 4 * _LANES):
        for k in range(i, i + _LANES):
            lanes[k - i] += (x[k] + x[k + _LANES]) + (x[k + 2 * _LANES] + x[k + 3 * _LANES])
    for i in range(whole, x.shape[0]):
        lanes[i % _LANES] += x[i]
    return _folded(lanes)


@numba.njit(**_OPTIONS)
def _dot(x: np.ndarray, y: np.ndarray, lanes: np.ndarray) -> np.float32:
    """Sum of the products of `x` and `y` [W]; `lanes` [_LANES] is overwritten."""
    lanes[:] = np.float32(0)
    whole = x.shape[0] // (4 * _LANES) * 4 * _LANES
    for i in range(0, whole, 4 * _LANES):
        for k in range(i, i + _LANES):
            a, b, c = k + _LANES, k + 2 * _LANES, k + 3 * _LANES
            lanes[k - i] += _fma(x[k], y[k], x[a] * y[a]) + _fma(x[b], y[b], x[c] * y[c])
    for i in range(whole, x.shape[0]):
        lanes[i % _LANES] += x[i] * y[i]
    return _folded(lanes)


@numba.njit(**_OPTIONS)
def _folded(lanes: np.ndarray) -> np.float32:
    """Sum of `lanes` [_LANES]."""
    total = np.float32(0)
    for k in range(_LANES):
        total += lanes[k]
    return total


@numba.njit(**_OPTIONS)
def _largest(x: np.ndarray, lanes: np.ndarray) -> np.float32:
    """The largest of `x` [W]; `lanes` [_LANES] is overwritten."""
    lanes[:] = _LEAST
    whole = x.shape[0] // (4 * _LANES) * 4 * _LANES
    for i in range(0, whole, 4 * _LANES):
        for k in range(i, i + _LANES):
            pair = max(x[k], x[k + _LANES])
            lanes[k - i] = max(lanes[k - i], pair, max(x[k + 2 * _LANES], x[k + 3 * _LANES]))
    for i in range(whole, x.shape[0]):
        lanes[i % _LANES] = max(lanes[i % _LANES], x[i])
    return lanes.max()


@numba.njit(inline="always", **_OPTIONS)
def _exp(x: np.float32) -> np.float32:
    """e^x to 1e-7 of it: a polynomial for the part of an octave (Cephes' `expf`), the exponent's bits for the rest.

    Unlike the C library's, it can be computed for many numbers at a time.
    """
    bounded = min(x, np.float32(88))
    octave = np.floor(_fma(bounded, _LOG2_E, np.float32(0.5)))
    rest = _fma(-octave, _LN_2_REST, _fma(-octave, _LN_2, bounded))
    power = _fma(np.float32(1.9875691500e-4), rest, np.float32(1.3981999507e-3))
    power = _fma(power, rest, np.float32(8.3334519073e-3))
    power = _fma(power, rest, np.float32(4.1665795894e-2))
    power = _fma(power, rest, np.float32(1.6666665459e-1))
    power = _fma(power, rest, np.float32(5.0000001201e-1))
    power = _fma(power, rest * rest, rest) + np.float32(1)
    scale = np.int32((np.int32(max(octave, np.float32(-126))) + np.int32(127)) << np.int32(23)).view(np.float32)
    return np.float32(0) if x < np.float32(-87) else power * scale


@_compiled
def add_row(rows: np.ndarray, row: np.ndarray) -> None:
    """Add `row` [W] to each of `rows` [R, W], which is also the output."""
    for r in prange(rows.shape[0]):
        for i in range(rows.shape[1]):
            rows[r, i] += row[i]


@_compiled
def gelu(x: np.ndarray, result: np.ndarray, slope: np.ndarray) -> None:
    """GELU of `x` [R, W] and its derivative.

    The error function is the fifth polynomial of Abramowitz and Stegun, 7.1.26, which is right to 1.5e-7.
    """
    for r in prange(x.shape[0]):
        for i in range(x.shape[1]):
            value = x[r, i]
            bell = _exp(np.float32(-0.5) * value * value)
            t = np.float32(1) / _fma(np.float32(0.3275911) * _ROOT_HALF, abs(value), np.float32(1))
            tail = _fma(t, np.float32(1.061405429), np.float32(-1.453152027))
            tail = _fma(t, tail, np.float32(1.421413741))
            tail = _fma(t, tail, np.float32(-0.284496736))
            tail = _fma(t, tail, np.float32(0.254829592))
            tail *= np.float32(0.5) * t * bell  # of the normal distribution
            share = tail if value < np.float32(0) else np.float32(1) - tail
            result[r, i] = value * share
            slope[r, i] = _fma(value * _DENSITY, bell, share)


@_compiled
def layer_norm_back(
    x: np.ndarray, grad: np.ndarray, weight: np.ndarray, epsilon: float, result: np.ndarray, sums: np.ndarray
) -> None:
    """Gradients of LayerNorm over rows.

    Args:
        x, grad: [R, W], the input and the gradient of the output.
        weight: [W].
        epsilon: added to the variance.
        result: output [R, W], gradient of the input.
        sums: output [2, W], gradients of weight and bias.
    """
    count, width = x.shape
    part = (count + _PARTS - 1) // _PARTS
    own = np.zeros((_PARTS, 2, width), np.float32)
    share = np.float32(1) / np.float32(width)
    for p in prange(_PARTS):
        lanes, centred = np.empty(_LANES, np.float32), np.empty(width, np.float32)
        for r in range(p * part, min((p + 1) * part, count)):
            value, g, out = x[r], grad[r], result[r]
            mean = _sum(value, lanes) * share
            for i in range(width):
                centred[i] = value[i] - mean
                out[i] = g[i] * weight[i]
            deviation = np.float32(1) / np.sqrt(_dot(centred, centred, lanes) * share + np.float32(epsilon))
            along = _sum(out, lanes) * share
            through = _dot(out, centred, lanes) * share * deviation * deviation
            for i in range(width):
                out[i] = (out[i] - _fma(centred[i], through, along)) * deviation
                own[p, 0, i] = _fma(g[i], centred[i] * deviation, own[p, 0, i])
                own[p, 1, i] += g[i]
    for k in range(2):
        for i in range(width):
            sums[k, i] = np.float32(0)
            for p in range(_PARTS):
                sums[k, i] += own[p, k, i]


@_compiled
def softmax(x: np.ndarray, result: np.ndarray) -> None:
    """Softmax of the rows of `x` [R, W]."""
    part = (x.shape[0] + _PARTS - 1) // _PARTS
    for p in prange(_PARTS):
        lanes = np.empty(_LANES, np.float32)
        for r in range(p * part, min((p + 1) * part, x.shape[0])):
            value, out = x[r], result[r]
            largest = _largest(value, lanes)
            for i in range(value.shape[0]):
                out[i] = _exp(value[i] - largest)
            share = np.float32(1) / _sum(out, lanes)
            for i in range(value.shape[0]):
                out[i] *= share


@_compiled
def softmax_back(probabilities: np.ndarray, grad: np.ndarray, result: np.ndarray) -> None:
    """Gradient of `softmax`'s input, from its output and the gradient of that, all [R, W]."""
    part = (grad.shape[0] + _PARTS - 1) // _PARTS
    for p in prange(_PARTS):
        lanes = np.empty(_LANES, np.float32)
        for r in range(p * part, min((p + 1) * part, grad.shape[0])):
            own, g, out = probabilities[r], grad[r], result[r]
            along = _dot(g, own, lanes)
            for i in range(g.shape[0]):
                out[i] = own[i] * (g[i] - along)


@_compiled
def divergence(student: np.ndarray, teacher: np.ndarray, losses: np.ndarray, slope: np.ndarray) -> None:
    """KL divergence from the softmax of a teacher's rows to that of a student's.

    Args:
        student, teacher: [R, W].
        losses: output [R].
        slope: output [R, W]: how each loss grows with the student's numbers.
    """
    count, width = student.shape
    part = (count + _PARTS - 1) // _PARTS
    for p in prange(_PARTS):
        lanes = np.empty(_LANES, np.float32)
        probable, distance = np.empty(width, np.float32), np.empty(width, np.float32)
        for r in range(p * part, min((p + 1) * part, count)):
            own, gold, out = student[r], teacher[r], slope[r]
            top, gold_top = _largest(own, lanes), _largest(gold, lanes)
            for i in range(width):
                below, above = own[i] - top, gold[i] - gold_top
                out[i], probable[i] = _exp(below), _exp(above)
                distance[i] = above - below
            total, gold_total = _sum(out, lanes), _sum(probable, lanes)
            share, gold_share = np.float32(1) / total, np.float32(1) / gold_total
            for i in range(width):
                probable[i] *= gold_share
                out[i] = _fma(out[i], share, -probable[i])
            losses[r] = _dot(probable, distance, lanes) + np.log(total) - np.log(gold_total)


@_compiled
def split_heads(
    rows: np.ndarray, bias: np.ndarray, scale: float, query: np.ndarray, key: np.ndarray, value: np.ndarray
) -> None:
    """Queries, keys and values of attention, with their bias and the queries multiplied by `scale`.

    Args:
        rows: [B, S, 3, A, d], products of the tokens with the weights of all three.
        bias: [3, A, d].
        scale: of the queries.
        query, key, value: outputs [B, A, S, d].
    """
    factor = np.float32(scale)
    for b in prange(rows.shape[0]):
        for a in range(rows.shape[3]):
            for s in range(rows.shape[1]):
                for i in range(rows.shape[4]):
                    query[b, a, s, i] = (rows[b, s, 0, a, i] + bias[0, a, i]) * factor
                    key[b, a, s, i] = rows[b, s, 1, a, i] + bias[1, a, i]
                    value[b, a, s, i] = rows[b, s, 2, a, i] + bias[2, a, i]


@_compiled
def join_heads(query: np.ndarray, key: np.ndarray, value: np.ndarray, scale: float, rows: np.ndarray) -> None:
    """The way back of `split_heads` for gradients: three of [B, A, S, d] to `rows` [B, S, 3, A, d], the output."""
    factor = np.float32(scale)
    for b in prange(rows.shape[0]):
        for s in range(rows.shape[1]):
            for a in range(rows.shape[3]):
                for i in range(rows.shape[4]):
                    rows[b, s, 0, a, i] = query[b, a, s, i] * factor
                    rows[b, s, 1, a, i] = key[b, a, s, i]
                    rows[b, s, 2, a, i] = value[b, a, s, i]


@_compiled
def drop(
    x: np.ndarray, bits: np.ndarray, dropped: int, factor: float, added: np.ndarray, adds: bool, result: np.ndarray
) -> None:
    """Dropout.

    Args:
        x: [R, W].
        bits: uint16 [R, W]; a number is dropped where they are less than `dropped`.
        factor: of the numbers that stay.
        added: [R, W], is added to the result if `adds`.
        result: output [R, W].
    """
    limit, scale = np.uint16(dropped), np.float32(factor)
    for r in prange(x.shape[0]):
        for i in range(x.shape[1]):
            value = x[r, i] * scale if bits[r, i] >= limit else np.float32(0)
            result[r, i] = value + added[r, i] if adds else value


@_compiled
def cross_entropy(x: np.ndarray, labels: np.ndarray, losses: np.ndarray, tops: np.ndarray, totals: np.ndarray) -> None:
    """Cross entropies of the rows of `x` [R, C] with `labels` int64 [R].

    Args:
        losses: output [R].
        tops, totals: outputs [R] that `cross_entropy_back` needs: the largest number of the row, and the sum of the
            exponentials of the distances to it.
    """
    part = (x.shape[0] + _PARTS - 1) // _PARTS
    for p in prange(_PARTS):
        lanes = np.empty(_LANES, np.float32)
        for r in range(p * part, min((p + 1) * part, x.shape[0])):
            value = x[r]
            largest = _largest(value, lanes)
            lanes[:] = np.float32(0)
            whole = value.shape[0] // _LANES
            for i in range(whole):
                for k in range(_LANES):
                    lanes[k] += _exp(value[_LANES * i + k] - largest)
            for i in range(_LANES * whole, value.shape[0]):
                lanes[0] += _exp(value[i] - largest)
            total = _folded(lanes)
            tops[r], totals[r] = largest, total
            losses[r] = np.log(total) + largest - value[labels[r]]


@_compiled
def cross_entropy_back(
    x: np.ndarray, labels: np.ndarray, grad: np.ndarray, tops: np.ndarray, totals: np.ndarray, result: np.ndarray
) -> None:
    """Gradient [R, C] of `cross_entropy`'s `x`, from that of the losses [R]."""
    for r in prange(x.shape[0]):
        share = grad[r] / totals[r]
        for i in range(x.shape[1]):
            result[r, i] = _exp(x[r, i] - tops[r]) * share
        result[r, labels[r]] -= grad[r]
