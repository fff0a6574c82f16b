"""PaddleNLP's way to call a tokenizer, for code that was written for it; see `UpstreamCalls.__call__`.

New code uses `encode_batch`, which is much faster and whose offsets are always the place of the token.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar

import numpy as np

from zoo_cli.base.errors import UsageError
from zoo_cli.tokenizers.base import Tokenizer
from zoo_cli.tokenizers.pieces import Frame, Pieces, longest_first

_log = logging.getLogger(__name__)

_STRATEGIES = ("longest_first", "only_first", "only_second", "do_not_truncate")
_PADDINGS = ("longest", "max_length", "do_not_pad")
_FILLERS: dict[str, Any] = {
    "token_type_ids": 0,
    "attention_mask": 0,
    "position_ids": 0,
    "special_tokens_mask": 1,
    "offset_mapping": (0, 0),
}

Features = dict[str, Any]


@dataclass(slots=True)
class _Text:
    """Ids and offsets of one text."""

    ids: list[int]
    offsets: list[tuple[int, int]]

    def cut(self, start: int, end: int) -> _Text:
        return _Text(self.ids[start:end], self.offsets[start:end])


@dataclass(frozen=True, slots=True)
class _Returned:
    """What a call gives back for each sequence."""

    types: bool
    second_type: bool
    mask: bool
    positions: bool
    length: bool
    specials: bool
    offsets: bool


class UpstreamCalls(Tokenizer):
    """The `__call__` of PaddleNLP's tokenizers, written once for all of them."""

    model_input_names: ClassVar[tuple[str, ...]] = ("input_ids", "token_type_ids")
    padding_side: ClassVar[str] = "right"

    @abstractmethod
    def encode_pieces(self, texts: Sequence[str]) -> Pieces: ...

    @abstractmethod
    def offsets(self, text: str) -> list[tuple[int, int]]: ...

    @abstractmethod
    def frame(self, pair: bool) -> Frame: ...

    def word_text(self, word: str) -> str:
        """Text by which a word of a text that is already split is tokenized."""
        return word

    def __call__(
        self,
        text: str | Sequence[str] | Sequence[Sequence[str]],
        text_pair: str | Sequence[str] | Sequence[Sequence[str]] | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        padding: bool | str = False,
        truncation: bool | str = False,
        return_position_ids: bool = False,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_length: bool = False,
        return_special_tokens_mask: bool = False,
        return_dict: bool = True,
        return_offsets_mapping: bool = False,
        add_special_tokens: bool = True,
        pad_to_multiple_of: int | None = None,
        return_tensors: str | None = None,
        max_seq_len: int | None = None,
        pad_to_max_seq_len: bool = False,
        truncation_strategy: str | None = None,
    ) -> Features | list[Features]:
        """Encode one text (or pair) or a list of them, as PaddleNLP 2.8.1 does.

        Args:
            text: a text, a list of texts, or with `is_split_into_words` a list of words or a list of such lists.
            text_pair: second text or texts, in the same form.
            max_length: most tokens of a sequence. It cuts even if `truncation` is false, unless there is padding.
            stride: for lists of pairs, step of a sliding window over the second text; the first is kept whole. One
                sequence a window, with `offset_mapping` and `overflow_to_sample`.
            is_split_into_words: tokenize each word by itself; offsets are then within the word.
            padding: true or `longest`, `max_length`, or false or `do_not_pad`.
            truncation: true or `longest_first`, `only_first`, `only_second`, or false or `do_not_truncate`. A text that
                is too short to be cut enough by `only_*` is left as it is, with a logged error.
            return_position_ids, return_token_type_ids, return_attention_mask, return_length,
                return_special_tokens_mask, return_offsets_mapping: add these fields; token types by default if the
                model takes them. The mask of specials covers padding too.
                The length of a single text counts its padding, those of a list do not.
            return_dict: false for a list of one dictionary a sequence instead of a dictionary of lists.
            add_special_tokens: put the model's special tokens around the texts.
            pad_to_multiple_of: pad to a multiple of this.
            return_tensors: `np` for int64 arrays.
            max_seq_len, pad_to_max_seq_len, truncation_strategy: older names of `max_length`, `padding='max_length'`
                and `truncation`.

        Raises:
            UsageError: padding is asked for and the tokenizer has no pad token, or an argument has no such value.
        """
        max_length = max_seq_len if max_length is None else max_length
        pad = _choice("padding", "max_length" if pad_to_max_seq_len else padding, _PADDINGS, "longest", "do_not_pad")
        cut = _choice("truncation", truncation_strategy or truncation, _STRATEGIES, "longest_first", "do_not_truncate")
        if truncation is False and truncation_strategy is None and max_length is not None and pad == "do_not_pad":
            cut = "longest_first"
        if return_tensors not in (None, "np"):
            raise UsageError(
                "return-tensors",
                "return_tensors is {value!r}",
                fix="use 'np' and make tensors of the arrays",
                value=return_tensors,
            )

        single = isinstance(text, str) or (is_split_into_words and (not text or isinstance(text[0], str)))
        texts: Sequence[Any] = [text] if single else text
        pairs: Sequence[Any] | None = text_pair if text_pair is None or not single else [text_pair]
        windows = stride > 0 and pairs is not None and not single
        if return_token_type_ids is None:
            return_token_type_ids = "token_type_ids" in self.model_input_names
        returned = _Returned(
            types=return_token_type_ids,
            second_type=add_special_tokens,
            mask=bool(return_attention_mask),
            positions=return_position_ids,
            length=return_length,
            specials=return_special_tokens_mask,
            offsets=return_offsets_mapping or windows,
        )
        frame = self.frame(pairs is not None) if add_special_tokens else Frame([], [], [])
        firsts = self._texts(texts, is_split_into_words, returned.offsets)
        seconds = self._texts(pairs, is_split_into_words, returned.offsets) if pairs is not None else None

        sequences: list[Features] = []
        for index, first in enumerate(firsts):
            second = seconds[index] if seconds is not None else None
            if windows and second is not None and max_length is not None:
                for window in _windows(second, max_length - len(first.ids) - frame.size, stride):
                    features = _sequence(first, window, frame, returned)
                    sequences.append({**features, "overflow_to_sample": index})
            else:
                if max_length is not None:
                    first, second = _truncate(first, second, max_length - frame.size, cut)
                sequences.append(_sequence(first, second, frame, returned))
        self._pad(sequences, pad, max_length, pad_to_multiple_of)

        if single and return_length:
            sequences[0]["length"] = sequences[0]["seq_len"] = len(sequences[0]["input_ids"])
        if single:
            return sequences[0] if return_tensors is None else _arrays(sequences[0])
        if not return_dict:
            return sequences
        batch: Features = {name: [features[name] for features in sequences] for name in (sequences or [{}])[0]}
        return batch if return_tensors is None else _arrays(batch)

    def _texts(self, texts: Sequence[Any], split: bool, with_offsets: bool) -> list[_Text]:
        """Ids, and if asked for upstream's offsets, of each text."""
        groups = [[self.word_text(word) for word in words] for words in texts] if split else [[text] for text in texts]
        pieces = self.encode_pieces(list(chain.from_iterable(groups)))
        ids, spans = pieces.ids.tolist(), pieces.offsets.tolist()
        counts = iter(pieces.counts.tolist())
        result, start = [], 0
        for group in groups:
            end = start + sum(next(counts) for _ in group)
            offsets = [(a, b) for a, b in spans[start:end]]
            if with_offsets and not split:
                upstream = self.offsets(group[0])
                offsets = upstream if len(upstream) == len(offsets) else offsets
            result.append(_Text(ids[start:end], offsets))
            start = end
        return result

    def _pad(self, sequences: list[Features], padding: str, max_length: int | None, multiple: int | None) -> None:
        if padding == "do_not_pad" or not sequences:
            return
        size = max(len(features["input_ids"]) for features in sequences)
        if padding == "max_length" and max_length is not None:
            size = max_length
        if multiple:
            size = -(-size // multiple) * multiple
        fillers = {"input_ids": self.pad_token_id, **_FILLERS}
        for features in sequences:
            missing = size - len(features["input_ids"])
            for name, filler in fillers.items():
                if missing > 0 and name in features:
                    extra = [filler] * missing
                    left = self.padding_side == "left"
                    features[name] = extra + features[name] if left else features[name] + extra


def _choice(name: str, value: bool | str, choices: Sequence[str], if_true: str, if_false: str) -> str:
    chosen = value if isinstance(value, str) else if_true if value else if_false
    if chosen not in choices:
        raise UsageError(
            "bad-choice",
            "{name} is {value!r}, not one of {choices}",
            name=name,
            value=value,
            choices=", ".join(choices),
        )
    return chosen


def _truncate(first: _Text, second: _Text | None, room: int, strategy: str) -> tuple[_Text, _Text | None]:
    sizes = len(first.ids), len(second.ids) if second is not None else 0
    remove = sum(sizes) - room
    if remove <= 0 or strategy == "do_not_truncate":
        return first, second
    if strategy == "longest_first":
        keep, keep_second = longest_first(np.array([sizes[0]]), np.array([sizes[1]]), room)
        return first.cut(0, int(keep[0])), second.cut(0, int(keep_second[0])) if second is not None else None
    chosen = 0 if strategy == "only_first" else 1
    if sizes[chosen] <= remove:
        _log.error("cannot remove %d tokens from a text of %d; the texts are left as they are", remove, sizes[chosen])
        return first, second
    if chosen == 0:
        return first.cut(0, sizes[0] - remove), second
    return first, second.cut(0, sizes[1] - remove) if second is not None else None


def _windows(text: _Text, size: int, stride: int) -> Iterator[_Text]:
    """Overlapping parts of a text that cover it, at least one."""
    if size <= 0:
        raise UsageError(
            "max-length", "the first text and the special tokens leave no room for a window", fix="raise max_length"
        )
    start = 0
    while True:
        yield text.cut(start, start + size)
        if start + size >= len(text.ids):
            return
        start += min(size, stride)


def _sequence(first: _Text, second: _Text | None, frame: Frame, returned: _Returned) -> Features:
    other = second if second is not None else _Text([], [])
    ids = [*frame.prefix, *first.ids, *frame.middle, *other.ids, *frame.suffix]
    size = len(ids)
    features: Features = {"input_ids": ids}
    if returned.types:
        # Without special tokens a second text has type 0 too, as in PaddleNLP.
        second_size = len(other.ids) + len(frame.suffix) if second is not None and returned.second_type else 0
        features["token_type_ids"] = [0] * (size - second_size) + [1] * second_size
    if returned.specials:
        parts = (len(frame.prefix), len(first.ids), len(frame.middle), len(other.ids), len(frame.suffix))
        features["special_tokens_mask"] = [1 - index % 2 for index, part in enumerate(parts) for _ in range(part)]
    if returned.offsets:
        none = (0, 0)
        features["offset_mapping"] = [
            *[none] * len(frame.prefix),
            *first.offsets,
            *[none] * len(frame.middle),
            *other.offsets,
            *[none] * len(frame.suffix),
        ]
    if returned.length:
        features["length"] = features["seq_len"] = size
    if returned.positions:
        features["position_ids"] = list(range(size))
    if returned.mask:
        features["attention_mask"] = [1] * size
    return features


def _arrays(features: Features) -> Features:
    try:
        return {name: np.array(value, np.int64) for name, value in features.items()}
    except ValueError as error:
        raise UsageError(
            "ragged-batch", "the sequences have different lengths", fix="pass padding=True to make arrays of them"
        ) from error
