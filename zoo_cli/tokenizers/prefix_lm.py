"""Inputs of prefix language models (UNIMO, UnifiedTransformer): a prompt that all tokens see, then a causal answer."""

from __future__ import annotations

from typing import Any

import numpy as np

HIDDEN = -1e4
"""What the attention mask adds to the score of a token that must not be seen."""


def prefix_inputs(
    prompt: list[int],
    answer: list[int],
    positions: list[int],
    pad_token_id: int,
    pad_to: int | None,
    with_types: bool,
    with_positions: bool,
    with_mask: bool,
    with_length: bool,
) -> dict[str, Any]:
    """Arrays of a prompt and the answer after it, S tokens, padded on the left.

    Args:
        prompt, answer: token ids.
        positions: position of each of their tokens.
        pad_token_id: fills ids, types and positions alike, as in PaddleNLP.
        pad_to: length to pad to, or None.
        with_types, with_positions, with_mask, with_length: fields to add.

    Returns:
        `input_ids`, `token_type_ids` (0 and 1), `position_ids`, each int64 [S]; `attention_mask`, float32 [S, S], to be
        added to the scores; `seq_len` before padding.
    """
    size = len(prompt) + len(answer)
    padding = max(0, (pad_to or 0) - size)

    def padded(values: list[int]) -> np.ndarray:
        return np.array([pad_token_id] * padding + values, np.int64)

    inputs: dict[str, Any] = {"input_ids": padded(prompt + answer)}
    if with_types:
        inputs["token_type_ids"] = padded([0] * len(prompt) + [1] * len(answer))
    if with_positions:
        inputs["position_ids"] = padded(positions)
    if with_mask:
        mask = np.full((padding + size, padding + size), HIDDEN, np.float32)
        start = padding + len(prompt)
        mask[padding:, padding:start] = 0
        mask[start:, start:] = np.triu(np.full((len(answer), len(answer)), HIDDEN, np.float32), k=1)
        inputs["attention_mask"] = mask
    if with_length:
        inputs["seq_len"] = size
    return inputs
