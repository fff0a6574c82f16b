"""Rules that change logits before a token is chosen, in PaddleNLP's order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from zoo_cli.decoding.options import GenerationOptions

LOWEST = float(np.finfo(np.float32).min)
"""Score of a forbidden token."""

TokenLogits = Mapping[int, float]
"""Token id -> logit that it always gets: how a model family bars its special tokens."""


def set_token_logits(logits: np.ndarray, token_logits: TokenLogits) -> None:
    """Overwrite the logits [n, V] of a family's barred tokens."""
    if token_logits:
        logits[:, list(token_logits)] = list(token_logits.values())


def apply_rules(
    scores: np.ndarray,
    history: np.ndarray,
    new_tokens: int,
    options: GenerationOptions,
    taken: Sequence[int] = (),
) -> None:
    """Apply minimum length, group diversity, repetition penalty, n-gram blocking and forced tokens, in this order.

    Args:
        scores: float32 [n, V], changed in place.
        history: int64 [n, length]: prompt and output of each row.
        new_tokens: how many tokens at the end of `history` are output.
        options: what to apply.
        taken: tokens that earlier beam groups chose at this step.
    """
    if options.eos_token_id is not None and new_tokens < options.min_new_tokens:
        scores[:, options.eos_token_id] = LOWEST
    if len(taken):
        tokens, counts = np.unique(np.asarray(taken), return_counts=True)
        scores[:, tokens] -= np.float32(options.diversity_rate) * counts.astype(np.float32)
    if options.repetition_penalty != 1.0:
        _penalise_repetition(scores, history, options.repetition_penalty)
    if options.no_repeat_ngram_size:
        _block_ngrams(scores, history, options.no_repeat_ngram_size)
    if options.forced_bos_token_id is not None and history.shape[1] == 1:
        _force(scores, options.forced_bos_token_id)
    if options.forced_eos_token_id is not None and new_tokens == options.max_new_tokens - 1:
        _force(scores, options.forced_eos_token_id)


def _penalise_repetition(scores: np.ndarray, history: np.ndarray, penalty: float) -> None:
    """Keskar et al. 2019 (CTRL), with negative scores multiplied so that they fall too."""
    seen = np.take_along_axis(scores, history, axis=1)
    with np.errstate(over="ignore"):  # a forbidden token may become -inf, which stays forbidden
        seen = np.where(seen < 0, seen * np.float32(penalty), seen / np.float32(penalty))
    np.put_along_axis(scores, history, seen, axis=1)


def _block_ngrams(scores: np.ndarray, history: np.ndarray, size: int) -> None:
    """Forbid every token that followed an earlier occurrence of the last ``size - 1`` tokens."""
    length = history.shape[1]
    if length < size:
        return
    ngrams = np.lib.stride_tricks.sliding_window_view(history, size, axis=1)  # [n, length - size + 1, size]
    prefix = history[:, None, length - size + 1 :]  # [n, 1, size - 1]
    rows, places = np.nonzero((ngrams[:, :, :-1] == prefix).all(axis=2))
    scores[rows, ngrams[rows, places, -1]] = LOWEST


def _force(scores: np.ndarray, token: int) -> None:
    scores[:] = LOWEST
    scores[:, token] = 0.0
