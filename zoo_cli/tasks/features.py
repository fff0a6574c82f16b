"""From an encoding to what the model reads: its inputs, and windows over texts that are too long for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zoo_cli.base.errors import DataError, UsageError
from zoo_cli.tasks.base import Feature
from zoo_cli.tokenizers.base import Encoding, Tokenizer

IGNORE_INDEX = -100
"""Label of a token that does not count in the loss."""


def filler(tokenizer: Tokenizer) -> int:
    """Id that fills batches up: the pad token, or the end token where there is none (GPT)."""
    try:
        return tokenizer.pad_token_id
    except UsageError:
        return tokenizer.eos_token_id


def model_inputs(encoding: Encoding, inputs: Sequence[str]) -> Feature:
    """The named inputs of one encoding of S tokens, each int64 [S].

    Raises:
        UsageError: a name is none of ``input_ids``, ``token_type_ids``, ``attention_mask``, ``position_ids``.
    """
    feature = {}
    for name in inputs:
        if name == "input_ids":
            feature[name] = encoding.ids
        elif name == "token_type_ids":
            feature[name] = encoding.type_ids
        elif name == "attention_mask":
            feature[name] = np.ones(len(encoding.ids), np.int64)
        elif name == "position_ids":
            feature[name] = np.arange(len(encoding.ids), dtype=np.int64)
        else:
            raise UsageError("unknown-input", "the task cannot make the model input {name!r}", name=name)
    return feature


@dataclass(slots=True)
class Window:
    """A stretch of a long text between the special tokens of the whole.

    Args:
        encoding: special tokens and other text of the whole, with `stop - start` tokens of the long text.
        start: first token of the long text in this window, counted from the long text's first token.
        stop: after the last one.
        place: where token `start` is in `encoding`.
        core_start: first token that has at least as much context here as in any neighbouring window.
        core_stop: after the last one; the cores of all windows follow each other without gap or overlap.
    """

    encoding: Encoding
    start: int
    stop: int
    place: int
    core_start: int
    core_stop: int

    @property
    def core(self) -> slice:
        """Places of the core's tokens in `encoding`."""
        return slice(self.core_start - self.start + self.place, self.core_stop - self.start + self.place)


def cut(encoding: Encoding, *pieces: slice) -> Encoding:
    """The tokens of these slices of an encoding, one after another."""

    def take(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values[piece] for piece in pieces])

    return Encoding(
        ids=take(encoding.ids),
        type_ids=take(encoding.type_ids),
        offsets=take(encoding.offsets),
        special_tokens_mask=take(encoding.special_tokens_mask),
        sequence_ids=take(encoding.sequence_ids),
    )


def tokens_of(encoding: Encoding, part: int) -> slice:
    """Where the tokens of the first (0) or second (1) text are; empty at the end if it has none."""
    places = np.flatnonzero(encoding.sequence_ids == part)
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(len(encoding.ids), len(encoding.ids))


def cover(offsets: np.ndarray, start: int, end: int) -> tuple[int, int]:
    """The tokens or words that characters `start` to `end` touch, as (first, after last).

    Args:
        offsets: character offsets of tokens or words in rising order, int64 [T, 2].
        start: first character.
        end: after the last one.
    """
    first = int(np.searchsorted(offsets[:, 1], start, side="right"))
    return first, int(np.searchsorted(offsets[:, 0], end, side="left"))


def windows(encoding: Encoding, part: int, max_length: int, stride: int) -> list[Window]:
    """Cut a long text into windows, each with everything around it.

    Args:
        encoding: the whole, not truncated.
        part: 0 or 1, which of the texts is cut.
        max_length: most tokens of a window, with special tokens and the other text.
        stride: tokens from the start of one window to the start of the next; at most as many as fit.

    Returns:
        At least one window.

    Raises:
        DataError: special tokens and the other text leave no room (`no-room`).
    """
    place = tokens_of(encoding, part)
    length, total = place.stop - place.start, len(encoding.ids)
    if total <= max_length:
        return [Window(encoding, 0, length, place.start, 0, length)]
    room = max_length - (total - length)
    if room < 1:
        raise DataError(
            "no-room",
            "{around} tokens around the text leave no room for it in {max_length}",
            fix="raise max_length",
            around=total - length,
            max_length=max_length,
        )
    step = min(stride, room)
    count = 1 + max(0, -(-(length - room) // step))
    starts = [index * step for index in range(count)]
    stops = [min(start + room, length) for start in starts]
    # The middle of the stretch that two neighbours share; the left one keeps an odd token.
    edges = [0, *((stop + start + 1) // 2 for stop, start in zip(stops, starts[1:], strict=False)), length]
    return [
        Window(
            encoding=cut(
                encoding,
                slice(place.start),
                slice(place.start + start, place.start + stop),
                slice(place.stop, None),
            ),
            start=start,
            stop=stop,
            place=place.start,
            core_start=edges[index],
            core_stop=edges[index + 1],
        )
        for index, (start, stop) in enumerate(zip(starts, stops, strict=True))
    ]
