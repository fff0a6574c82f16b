"""From prompts and texts to model inputs: ``[CLS] prompt [SEP] text [SEP]``, in windows where the text is long.

Prompts and texts are tokenized once each and put together as ids, since the same text is read with many prompts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from zoo_cli.base.errors import DataError
from zoo_cli.tasks.features import cut, tokens_of
from zoo_cli.tokenizers.base import Encoding, Tokenizer

Window = tuple[int, int]
"""First token and the token after the last of a piece of a text."""

CACHED_PROMPTS = 4096
CACHED_TEXTS = 256


@dataclass(frozen=True, slots=True)
class Prompt:
    """A tokenized prompt.

    Args:
        text: the normalized prompt.
        encoding: all P tokens that stand before the text, special tokens included.
        own: where the prompt's own tokens are among them.
    """

    text: str
    encoding: Encoding
    own: slice

    @property
    def size(self) -> int:
        """Number of tokens before the text, P."""
        return len(self.encoding.ids)

    @property
    def offsets(self) -> np.ndarray:
        """Character offsets of the prompt's own tokens, int64 [p, 2]."""
        return self.encoding.offsets[self.own]


class PairEncoder:
    """Puts a prompt and a window of a text together as `Tokenizer.encode_batch` does with pairs.

    Args:
        tokenizer: the model's tokenizer.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        # One pair shows which special tokens go before, between and behind, and what types they have.
        pair = tokenizer.encode_batch(["1"], ["1"])[0]
        before, behind = tokens_of(pair, 0), tokens_of(pair, 1)
        self._head = cut(pair, slice(before.start))
        self._middle = cut(pair, slice(before.stop, behind.start))
        self._tail = cut(pair, slice(behind.stop, None))
        self._types = int(pair.type_ids[before.start]), int(pair.type_ids[behind.start])
        self.prompt = lru_cache(CACHED_PROMPTS)(self._encode_prompt)
        self.text = lru_cache(CACHED_TEXTS)(self._encode_text)

    def __reduce__(self) -> tuple[type[PairEncoder], tuple[Tokenizer]]:
        return PairEncoder, (self.tokenizer,)  # the caches stay behind when a task goes to another process

    def _encode_prompt(self, text: str) -> Prompt:
        """Tokenize a normalized prompt."""
        pieces = self.tokenizer.encode_batch([text], add_special_tokens=False)[0]
        before = len(self._head.ids)
        own = slice(before, before + len(pieces.ids))
        return Prompt(text, _join(self._head, _as_part(pieces, 0, self._types[0]), self._middle), own)

    def _encode_text(self, text: str) -> Encoding:
        """Tokenize one text; training asks for the same one with prompt after prompt."""
        return self.texts([text])[0]

    def texts(self, texts: Sequence[str]) -> list[Encoding]:
        """Tokenize texts without special tokens, as the second of a pair."""
        encodings = self.tokenizer.encode_batch(texts, add_special_tokens=False)
        return [_as_part(encoding, 1, self._types[1]) for encoding in encodings]

    def room(self, prompt: Prompt, max_length: int) -> int:
        """How many tokens of a text fit beside a prompt.

        Args:
            prompt: the prompt.
            max_length: most tokens of an input.

        Raises:
            DataError: less than an eighth of the input is left (`prompt-too-long`).
        """
        room = max_length - prompt.size - len(self._tail.ids)
        if room < max(1, max_length // 8):
            raise DataError(
                "prompt-too-long",
                "the prompt {prompt!r} takes {size} of {max_length} tokens and leaves no room for the text",
                fix="shorten the name in the schema, or raise max_length if the model takes longer inputs",
                prompt=prompt.text if len(prompt.text) <= 80 else prompt.text[:79] + "…",
                size=len(prompt.offsets),
                max_length=max_length,
            )
        return room

    def pair(self, prompt: Prompt, text: Encoding, window: Window) -> Encoding:
        """A prompt and a window of a text from `texts`, whose first token is at `prompt.size`."""
        piece = text if window == (0, len(text.ids)) else cut(text, slice(*window))
        return _join(prompt.encoding, piece, self._tail)


def _join(*parts: Encoding) -> Encoding:
    """Encodings one behind the other."""
    return Encoding(
        ids=np.concatenate([part.ids for part in parts]),
        type_ids=np.concatenate([part.type_ids for part in parts]),
        offsets=np.concatenate([part.offsets for part in parts]),
        special_tokens_mask=np.concatenate([part.special_tokens_mask for part in parts]),
        sequence_ids=np.concatenate([part.sequence_ids for part in parts]),
    )


def _as_part(encoding: Encoding, part: int, type_id: int) -> Encoding:
    """Tokens of a lone text as the first (0) or second (1) of a pair."""
    size = len(encoding.ids)
    types, parts = np.full(size, type_id, np.int64), np.full(size, part, np.int64)
    return Encoding(encoding.ids, types, encoding.offsets, encoding.special_tokens_mask, parts)


def overlapping_windows(length: int, room: int, overlap: int) -> list[Window]:
    """Windows of equal size over a text; each has `overlap` tokens in common with the next.

    Every span of at most `overlap` tokens lies whole in some window. Where half of `room` is less than `overlap`, that
    half is the overlap. No window is longer than it must be, since the model's work grows faster than the length.

    Args:
        length: number of tokens of the text.
        room: most tokens of a window.
        overlap: tokens that neighbours share.
    """
    if length <= room:
        return [(0, length)]
    overlap = min(overlap, room // 2)
    count = -(-(length - overlap) // (room - overlap))
    stride = -(-(length - overlap) // count)
    return [(start, min(start + stride + overlap, length)) for start in range(0, length - overlap, stride)]


def training_windows(length: int, room: int, spans: Iterable[Window]) -> list[Window]:
    """Windows side by side that cut no span, as long as no span is longer than a window.

    A border inside a span moves to the start of the span, as in PaddleNLP; a span that is longer than `room` is cut.

    Args:
        length: number of tokens of the text.
        room: most tokens of a window.
        spans: first and last token of each gold span.
    """
    known = sorted(spans)
    windows = []
    start = 0
    while start < length:
        end = border = min(start + room, length)
        if end < length:
            # From the right, so that a span pulled in by another one's border is seen too.
            for first, last in reversed(known):
                if start < first < border <= last:
                    border = first
        windows.append((start, border))
        start = border
    return windows


def covering_tokens(offsets: np.ndarray, start: int, end: int) -> Window | None:
    """First and last token that cover some of the characters `start` to `end`, or None if no token does.

    Args:
        offsets: character offsets of the tokens in the order of the text, int64 [S, 2].
        start: offset of the first character.
        end: offset after the last character.
    """
    first = int(np.searchsorted(offsets[:, 1], start, side="right"))
    last = int(np.searchsorted(offsets[:, 0], end, side="left")) - 1
    return (first, last) if first <= last else None


def prompt_offset(prompt: str, offset: int) -> int:
    """Offset in the prompt that a negative offset of PaddleNLP's training files stands for."""
    return offset + len(prompt) + 1
