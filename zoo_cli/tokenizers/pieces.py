"""Token arrays of whole batches: cutting them to length and putting special tokens around them, without a loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from zoo_cli.tokenizers.base import Encoding


@dataclass(slots=True)
class Pieces:
    """Tokens of B texts before special tokens are added, laid end to end; N tokens in all.

    Args:
        ids: token ids, int64 [N].
        offsets: character offsets (start, end) in the token's own text, int64 [N, 2].
        counts: number of tokens of each text, int64 [B].
    """

    ids: np.ndarray
    offsets: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, ids: Sequence[Sequence[int]], offsets: Sequence[np.ndarray]) -> Pieces:
        """Join the tokens of single texts; offsets [n, 2] each."""
        counts = np.fromiter(map(len, ids), np.int64, len(ids))
        flat = np.fromiter((token for text in ids for token in text), np.int64, int(counts.sum()))
        spans = np.concatenate([np.zeros((0, 2), np.int64), *offsets])
        return cls(flat, spans, counts)

    @classmethod
    def concatenate(cls, parts: Sequence[Pieces]) -> Pieces:
        """The texts of several batches, in order."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([np.zeros(0, np.int64), *(part.ids for part in parts)]),
            np.concatenate([np.zeros((0, 2), np.int64), *(part.offsets for part in parts)]),
            np.concatenate([np.zeros(0, np.int64), *(part.counts for part in parts)]),
        )


class Frame(NamedTuple):
    """Special tokens around one text (`middle` is empty) or between and around two."""

    prefix: list[int]
    middle: list[int]
    suffix: list[int]

    @property
    def size(self) -> int:
        return len(self.prefix) + len(self.middle) + len(self.suffix)


def ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """`arange(start, start + count)` for each pair, joined."""
    shift = starts - (np.cumsum(counts) - counts)
    return np.repeat(shift, counts) + np.arange(int(counts.sum()))


def longest_first(first: np.ndarray, second: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray]:
    """How many tokens to keep of each of two texts so that both fit into `room`.

    Tokens go one at a time from the longer text, from the second when both are equally long, as in PaddleNLP.

    Args:
        first, second: token counts, int64 [B].
        room: most tokens to keep of both together.

    Returns:
        Kept counts, int64 [B] each.
    """
    remove = np.clip(first + second - room, 0, first + second)
    uneven = np.minimum(remove, np.abs(first - second))
    rest = remove - uneven
    keep_first = first - np.where(first > second, uneven, 0) - rest // 2
    keep_second = second - np.where(first > second, 0, uneven) - (rest + 1) // 2
    return keep_first, keep_second


def assemble(
    first: Pieces, second: Pieces | None, frame: Frame, max_length: int | None
) -> tuple[list[Encoding], np.ndarray]:
    """Cut texts to length and put the special tokens around them.

    Args:
        first, second: tokens of the first and, for pairs, second texts.
        frame: special tokens.
        max_length: most tokens of an encoding, specials included.

    Returns:
        The encodings, and for each token of all of them in order its index in `first` followed by `second`, -1 for
        specials.
    """
    counts = first.counts
    other = second.counts if second is not None else np.zeros_like(counts)
    keep, keep_other = counts, other
    if max_length is not None:
        keep, keep_other = longest_first(counts, other, max_length - frame.size)
    lengths = keep + keep_other + frame.size
    ends = np.cumsum(lengths)
    starts = ends - lengths
    total = int(lengths.sum())

    source = np.full(total, -1, np.int64)
    ids = np.empty(total, np.int64)
    types = np.zeros(total, np.int64)
    offsets = np.zeros((total, 2), np.int64)
    specials = np.ones(total, np.int64)
    sequences = np.full(total, -1, np.int64)

    middle = starts + len(frame.prefix) + keep
    texts = [(first, starts + len(frame.prefix), keep, 0)]
    if second is not None:
        texts.append((second, middle + len(frame.middle), keep_other, 1))
    base = 0
    for pieces, begin, kept, sequence in texts:
        places = ranges(begin, kept)
        taken = ranges(np.cumsum(pieces.counts) - pieces.counts, kept)
        ids[places] = pieces.ids[taken]
        offsets[places] = pieces.offsets[taken]
        types[places] = sequence
        specials[places] = 0
        sequences[places] = sequence
        source[places] = taken + base
        base += len(pieces.ids)
    for tokens, begin, kind in (
        (frame.prefix, starts, 0),
        (frame.middle, middle, 0),
        (frame.suffix, ends - len(frame.suffix), int(second is not None)),
    ):
        for index, token in enumerate(tokens):
            ids[begin + index] = token
            types[begin + index] = kind

    encodings = [
        Encoding(ids[a:b], types[a:b], offsets[a:b], specials[a:b], sequences[a:b])
        for a, b in zip(starts.tolist(), ends.tolist(), strict=True)
    ]
    return encodings, source
