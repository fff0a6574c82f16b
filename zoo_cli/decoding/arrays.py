"""Between padded arrays and the engine's single rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from zoo_cli.base.errors import DataError
from zoo_cli.decoding.engine import Prompt
from zoo_cli.decoding.search import Generated

_HIDDEN = -1e3
"""Masks of floats have less than this where a token is hidden, and 0 where it is seen."""


def split_prompts(batch: Mapping[str, np.ndarray], pad_token_id: int | None, hide_padding: bool = True) -> list[Prompt]:
    """Take a left-padded batch apart.

    Left padding is the run of pad tokens that a row starts with, or of zeros in a two-dimensional attention mask.

    Args:
        batch: ``input_ids`` [B, S] and any further inputs [B, S]; ``attention_mask`` may also be [B, 1 or S, S] or
            [B, 1, 1 or S, S].
        pad_token_id: None if nothing is padded.
        hide_padding: cut padding off, so that a prompt gives the same in every batch. False keeps it as ordinary tokens
            that are attended to, as PaddleNLP's GPT does.

    Raises:
        DataError: a row is padding from end to end (`empty-prompt`).
    """
    ids = np.asarray(batch["input_ids"])
    count, length = ids.shape
    mask = batch.get("attention_mask")
    starts = np.zeros(count, dtype=np.int64)
    if hide_padding and mask is not None and mask.ndim == 2:
        starts = _leading(np.asarray(mask) == 0)
    elif hide_padding and pad_token_id is not None:
        starts = _leading(ids == pad_token_id)
    if (starts == length).any():
        raise DataError(
            "empty-prompt", "row {row} of the batch has nothing but padding", row=int(np.argmax(starts == length))
        )
    prompts: list[Prompt] = []
    for row, start in enumerate(starts):
        prompt = {
            name: np.asarray(values)[row, start:]
            for name, values in batch.items()
            if values is not None and name != "attention_mask"
        }
        if mask is not None and mask.ndim > 2:
            full = np.broadcast_to(np.asarray(mask)[row].reshape(-1, length), (length, length))
            prompt["attention_mask"] = full[start:, start:]
        elif mask is not None and hide_padding and not np.asarray(mask)[row, start:].all():
            prompt["attention_mask"] = np.broadcast_to(np.asarray(mask)[row, start:], (length - start,) * 2)
        prompts.append(prompt)
    return prompts


def stack_prompts(
    prompts: Sequence[Prompt], token_inputs: Mapping[str, int]
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Prompts as one batch, padded on the right.

    Args:
        prompts: m prompts of up to S tokens.
        token_inputs: inputs beside ids and positions that each token has -> value where a prompt does not say.

    Returns:
        ``input_ids``, ``position_ids`` and `token_inputs`, each int64 [m, S]; who sees what, as booleans: [m, S], or
        [m, 1, S, S] where a prompt has its own mask; and the lengths, int64 [m].
    """
    lengths = np.array([len(prompt["input_ids"]) for prompt in prompts])
    shape = len(prompts), int(lengths.max())
    inputs = {
        "input_ids": np.zeros(shape, dtype=np.int64),
        "position_ids": np.zeros(shape, dtype=np.int64),
        **{name: np.full(shape, value) for name, value in token_inputs.items()},
    }
    for row, (prompt, length) in enumerate(zip(prompts, lengths, strict=True)):
        inputs["position_ids"][row, :length] = np.arange(length)
        for name, values in inputs.items():
            if name in prompt:
                values[row, :length] = prompt[name]
    inside = np.arange(shape[1]) < lengths[:, None]  # [m, S]
    if not any("attention_mask" in prompt for prompt in prompts):
        return inputs, inside, lengths
    mask = np.repeat(inside[:, None, None, :], shape[1], axis=2)
    for row, (prompt, length) in enumerate(zip(prompts, lengths, strict=True)):
        if "attention_mask" in prompt:
            own = prompt["attention_mask"]
            mask[row, 0, :length, :length] = own > _HIDDEN if own.dtype.kind == "f" else own != 0
    return inputs, mask, lengths


def join_results(results: Sequence[Sequence[Generated]], pad_token_id: int) -> tuple[np.ndarray, np.ndarray]:
    """The arrays that PaddleNLP's ``generate`` returns.

    Args:
        results: sequences of each request.
        pad_token_id: fills up shorter rows.

    Returns:
        Ids int64 [n, longest] and scores float32 [n, 1], n counting all sequences of all requests.
    """
    sequences = [sequence for of_request in results for sequence in of_request]
    ids = np.full((len(sequences), max((len(sequence.ids) for sequence in sequences), default=0)), pad_token_id)
    for row, sequence in zip(ids, sequences, strict=True):
        row[: len(sequence.ids)] = sequence.ids
    return ids.astype(np.int64), np.array([[sequence.score] for sequence in sequences], dtype=np.float32).reshape(-1, 1)


def _leading(flags: np.ndarray) -> np.ndarray:
    """How many true values each row [B, S] starts with."""
    return np.where(flags.all(axis=1), flags.shape[1], np.argmin(flags, axis=1))
