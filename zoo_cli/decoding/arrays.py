"""Between PaddleNLP's padded arrays and the engine's single rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from zoo_cli.base.errors import DataError
from zoo_cli.decoding.engine import Prompt
from zoo_cli.decoding.search import Generated


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
