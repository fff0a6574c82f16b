"""Less memory for more time: activations of encoder layers are computed again in the backward pass.

Chen et al., Training Deep Nets with Sublinear Memory Cost, https://arxiv.org/abs/1604.06174
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import paddle
from paddle.distributed.fleet.utils import recompute

from zoo_cli.engine.layers import stacks


@contextmanager
def recomputing(model: paddle.nn.Layer, enabled: bool) -> Iterator[None]:
    """While entered, the layers of the model's encoders and decoders keep their inputs only.

    Dropout draws the same numbers again, so the gradients are those of an ordinary backward pass.
    """
    blocks = [block for stack in stacks(model).values() for block in stack] if enabled else []
    for block in blocks:
        block.forward = _recomputed(block, block.forward)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward  # uncovers the method of the class


def _recomputed(block: paddle.nn.Layer, forward: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        if not (block.training and paddle.is_grad_enabled()):
            return forward(*args, **kwargs)
        # Paddle's default, the re-entrant kind, loses gradients where the input of the model is integers.
        return recompute(forward, *args, use_reentrant=False, **kwargs)

    return run
