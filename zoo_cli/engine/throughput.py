"""How much of what the machine can compute a training uses."""

from __future__ import annotations

import time
from functools import cache

import paddle
from paddle import nn

from zoo_cli.engine.layers import stacks

_SIDE = {"cpu": 1024, "gpu": 8192}
_TRIES = 4


@cache
def measured_peak(precision: str) -> float:
    """Floating-point operations a second of this process in a product of two large square matrices, the best of a few.

    Args:
        precision: ``float32``, ``bfloat16`` or ``float16``; a CPU is measured in float32, the only one it trains in.
    """
    on_cpu = paddle.get_device() == "cpu"
    side = _SIDE["cpu" if on_cpu else "gpu"]
    with paddle.no_grad():
        matrix = paddle.ones([side, side], dtype="float32" if on_cpu else precision)
        seconds = []
        for _ in range(1 + _TRIES):
            started = time.perf_counter()
            paddle.matmul(matrix, matrix)[0, 0].item()  # waits for the device
            seconds.append(time.perf_counter() - started)
    return 2.0 * side**3 / min(seconds[1:])


def operations_of_token(model: nn.Layer) -> float:
    """Floating-point operations for one token of a training step: forward and backward passes of the linear layers in
    the model's encoders and decoders.

    Embeddings, heads and the products inside of the attention are left out, and so is what `recompute` repeats.
    """
    weights = sum(
        layer.weight.size
        for stack in stacks(model).values()
        for layer in stack.sublayers()
        if isinstance(layer, nn.Linear)
    )
    return 6.0 * weights
