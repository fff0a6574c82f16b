"""Drawing a token from logits, reproducibly."""

from __future__ import annotations

from math import log

import numpy as np

from zoo_cli.decoding.numeric import at_least_kth, draw, nucleus
from zoo_cli.decoding.options import GenerationOptions


def uniform(seed: int, sequence: int, step: int) -> float:
    """The number in [0, 1) that decides one step of one sequence: a function of these three and nothing else."""
    key = np.array([seed, sequence], dtype=np.uint64)
    return float(np.random.Generator(np.random.Philox(key=key, counter=step)).random())


def sample(logits: np.ndarray, options: GenerationOptions, number: float) -> tuple[int, float]:
    """Draw a token after temperature, then top-k, then top-p (Holtzman et al. 2019), as PaddleNLP does.

    Tokens as probable as the k-th best are kept. `top_p` counts shares of the whole vocabulary, also after top-k; of
    equally probable tokens the smaller id comes first.

    Args:
        logits: float32 [V].
        options: `temperature`, `top_k` and `top_p` are read.
        number: in [0, 1), decides.

    Returns:
        The token and its log-probability before all of this.
    """
    shifted = logits - logits.max()
    weights = np.exp(shifted)
    total = float(weights.sum())
    if options.temperature != 1.0:
        np.exp(np.divide(shifted, np.float32(options.temperature), out=weights), out=weights)
    kept = at_least_kth(weights, options.top_k) if options.top_k else None
    if options.top_p < 1.0:
        limit = options.top_p * float(weights.sum())
        kept = nucleus(weights, limit) if kept is None else kept[nucleus(weights[kept], limit)]
    token = draw(weights, number) if kept is None else int(kept[draw(weights[kept], number)])
    return token, float(shifted[token]) - log(total)
