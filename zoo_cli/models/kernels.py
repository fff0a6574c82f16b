"""Loops over rows of numbers, compiled by numba for all of the processor's cores and vector units.

They are what `zoo_cli.models.cpu` computes with. All arrays are float32, contiguous and of two axes unless said
otherwise; what is called an output is written in full. Sums over rows are made of a fixed number of parts, so that
results do not depend on the number of threads. No loop may reorder its way around NaN: a loss that is none stays so.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

# Read when numba is imported; by default it would take all cores for each of several processes.
os.environ.setdefault("NUMBA_NUM_THREADS", os.environ.get("OMP_NUM_THREADS") or "1")

import numba
from numba import prange

Function = TypeVar("Function", bound=Callable[..., Any])
# Sums may be reordered, so that they run in vector units, but NaN and infinity stay what they are.
_OPTIONS: dict[str, Any] = {"fastmath": {"reassoc", "contract", "nsz", "arcp"}, "error_model": "numpy"}
_PARTS = 16
_ROOT_HALF, _DENSITY = np.float32(0.7071067811865476), np.float32(0.3989422804014327)
_LOG2_E = np.float32(1.4426950408889634)
_LN_2, _LN_2_REST = np.float32(0.693145751953125), np.float32(1.4286068203094172e-6)
_LEAST = np.float32(-3e38)


def _compiled(function: Function) -> Function:
    """A loop that runs on all threads.

    It is compiled anew by each process: what numba reads back from its files was seen to round otherwise than what it
    has just compiled, and a resumed run would then end with other weights.
    """
    return numba.njit(parallel=True, **_OPTIONS)(function)


@numba.njit(inline="always", **_OPTIONS)
def _exp(x: np.float32) -> np.float32:
    """e^x to 1e-7 of it: a polynomial for the part of an octave (Cephes' `expf`), the exponent's bits for the rest.

    Unlike the C library's, it can be computed for many numbers at a time.
    """
    bounded = min(x, np.float32(88))
    octave = np.floor(bounded * _LOG2_E + np.float32(0.5))
    rest = bounded - octave * _LN_2 - octave * _LN_2_REST
    power = np.float32(1.9875691500e-4)
    power = power * rest + np.float32(1.3981999507e-3)
    power = power * rest + np.float32(8.3334519073e-3)
    power = power * rest + np.float32(4.1665795894e-2)
    power = power * rest + np.float32(1.6666665459e-1)
    power = power * rest + np.float32(5.0000001201e-1)
    power = power * rest * rest + rest + np.float32(1)
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
            t = np.float32(1) / (np.float32(1) + np.float32(0.3275911) * abs(value) * _ROOT_HALF)
            tail = np.float32(-1.453152027) + t * np.float32(1.061405429)
            tail = np.float32(1.421413741) + t * tail
            tail = np.float32(-0.284496736) + t * tail
            tail = np.float32(0.5) * t * (np.float32(0.254829592) + t * tail) * bell  # of the normal distribution
            share = tail if value < np.float32(0) else np.float32(1) - tail
            result[r, i] = value * share
            slope[r, i] = share + value * _DENSITY * bell


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
        for row in range(part):
            r = p * part + row
            if r >= count:
                break
            value, g, out = x[r], grad[r], result[r]
            mean = np.float32(0)
            for i in range(width):
                mean += value[i]
            mean *= share
            variance = np.float32(0)
            for i in range(width):
                variance += (value[i] - mean) * (value[i] - mean)
            deviation = np.float32(1) / np.sqrt(variance * share + np.float32(epsilon))
            along, through = np.float32(0), np.float32(0)
            for i in range(width):
                scaled = g[i] * weight[i]
                along += scaled
                through += scaled * (value[i] - mean)
            along *= share
            through *= share * deviation * deviation
            for i in range(width):
                centred = value[i] - mean
                out[i] = (g[i] * weight[i] - along - centred * through) * deviation
                own[p, 0, i] += g[i] * centred * deviation
                own[p, 1, i] += g[i]
    for k in range(2):
        for i in range(width):
            sums[k, i] = np.float32(0)
            for p in range(_PARTS):
                sums[k, i] += own[p, k, i]


@_compiled
def softmax(x: np.ndarray, result: np.ndarray) -> None:
    """Softmax of the rows of `x` [R, W]."""
    for r in prange(x.shape[0]):
        value, out = x[r], result[r]
        largest = _LEAST
        for i in range(value.shape[0]):
            largest = max(largest, value[i])
        total = np.float32(0)
        for i in range(value.shape[0]):
            out[i] = _exp(value[i] - largest)
            total += out[i]
        share = np.float32(1) / total
        for i in range(value.shape[0]):
            out[i] *= share


@_compiled
def softmax_back(probabilities: np.ndarray, grad: np.ndarray, result: np.ndarray) -> None:
    """Gradient of `softmax`'s input, from its output and the gradient of that, all [R, W]."""
    for r in prange(grad.shape[0]):
        own, g, out = probabilities[r], grad[r], result[r]
        along = np.float32(0)
        for i in range(g.shape[0]):
            along += g[i] * own[i]
        for i in range(g.shape[0]):
            out[i] = own[i] * (g[i] - along)


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
    for r in prange(x.shape[0]):
        value = x[r]
        # Eight at a time: a single running maximum would be computed number by number.
        most = np.full(8, _LEAST, np.float32)
        whole = value.shape[0] // 8
        for i in range(whole):
            for k in range(8):
                most[k] = max(most[k], value[8 * i + k])
        for i in range(8 * whole, value.shape[0]):
            most[0] = max(most[0], value[i])
        largest = most.max()
        total = np.float32(0)
        for i in range(value.shape[0]):
            total += _exp(value[i] - largest)
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
