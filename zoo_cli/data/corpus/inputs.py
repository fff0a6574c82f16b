"""Batches of each pretraining objective, from sample numbers to arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from zoo_cli.data.corpus.draws import hashes, integers, uniforms
from zoo_cli.data.corpus.format import Corpus
from zoo_cli.data.corpus.marks import WordForms, word_forms
from zoo_cli.data.corpus.masking import mask
from zoo_cli.data.corpus.samples import FIRST, STOP, TARGET, TOKEN, Samples, SentenceSamples, TokenSamples
from zoo_cli.recipe.schema import PretrainSection
from zoo_cli.tokenizers.pieces import Frame, longest_first, ranges
from zoo_cli.tokenizers.pretrained import PretrainedTokenizer

Arrays = dict[str, np.ndarray]
IGNORED = -100
_SPLIT, _RELATION, _OTHER, _SKIPPED, _CUT, MASKING = range(6)
"""What a random number is for."""


@dataclass(frozen=True)
class Located:
    """Samples of a batch: corpus number, sample number and random key of each of B rows."""

    corpora: np.ndarray
    samples: np.ndarray
    keys: np.ndarray


class Inputs(ABC):
    """Makes batches of samples.

    Args:
        parts: the corpora's samples.
    """

    def __init__(self, parts: Sequence[Samples]) -> None:
        self.parts = tuple(parts)

    @abstractmethod
    def load(self, rows: Located) -> Arrays:
        """The batch of these rows, a pure function of them."""

    @abstractmethod
    def tokens(self, batch: Arrays) -> int:
        """Number of tokens in a batch, padding not counted."""


@dataclass
class Segments:
    """Up to two stretches of tokens of each of B rows.

    Args:
        corpora: number of each row's corpus, int64 [B].
        starts: first token of each stretch, int64 [2, B].
        counts: tokens of each stretch, int64 [2, B]; 0 where there is no second one.
        labels: relation of the two: 1 where the second one is random (`nsp`) or they are exchanged (`sop`), int64 [B].
    """

    corpora: np.ndarray
    starts: np.ndarray
    counts: np.ndarray
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


class SentenceInputs(Inputs):
    """[CLS] text [SEP], or [CLS] text [SEP] text [SEP], masked; special tokens are those of the tokenizer's pairs.

    Args:
        parts: the corpora's samples.
        tokenizer: that of the corpora, for its special tokens and vocabulary.
        options: objective, masking and lengths.
    """

    parts: tuple[SentenceSamples, ...]

    def __init__(
        self, parts: Sequence[SentenceSamples], tokenizer: PretrainedTokenizer, options: PretrainSection
    ) -> None:
        super().__init__(parts)
        self._options = options
        self._forms: WordForms = word_forms(tokenizer, options.word_marks)
        self._cls, self._sep = tokenizer.cls_token_id, tokenizer.sep_token_id
        self._frame = tokenizer.frame(pair=True)
        self._has_types = "token_type_ids" in tokenizer.model_input_names
        self._pad, self._mask = tokenizer.pad_token_id, tokenizer.mask_token_id
        self._vocabulary = np.unique(np.fromiter(tokenizer.vocab.values(), np.int64))

    def load(self, rows: Located) -> Arrays:
        """The batch of these rows.

        Returns:
            ``input_ids``, ``attention_mask`` and, where the tokenizer gives them, ``token_type_ids`` [B, S], where S is
            the longest row, and

            * for `mlm`: ``masked_positions`` and ``labels`` [n], place (row * S + column) and id of each token to
              guess; with a pair also ``next_sentence_label`` [B];
            * for `rtd`: ``raw_input_ids`` and ``generator_labels`` [B, S], the text and the ids to guess, -100 where
              there is nothing to guess;
            * for `distill`: nothing more;
            * for `two_views`: as `rtd` with 2 B rows, where rows i and i + B are two maskings of one text.
        """
        segments = self._segments(rows)
        ids, types, lengths = self._assemble(segments)
        column = np.arange(ids.shape[1])
        maskable = column < lengths[:, None]
        attention = maskable.astype(np.int64)
        maskable &= (ids != self._cls) & (ids != self._sep)
        plain, continues = self._forms.plain[ids], self._forms.continues[ids]

        def masked(view: int) -> tuple[np.ndarray, np.ndarray]:
            keys = hashes(hashes(rows.keys, MASKING), view)
            return mask(plain, continues, maskable, lengths, keys, self._options.masking, self._mask, self._vocabulary)

        seen, chosen = masked(0)
        arrays = {"input_ids": seen, "attention_mask": attention}
        if self._has_types:
            arrays["token_type_ids"] = types
        if self._options.objective == "mlm":
            places = np.flatnonzero(chosen)
            arrays |= {"masked_positions": places, "labels": plain.reshape(-1)[places]}
            if self._options.pair != "none":
                arrays["next_sentence_label"] = segments.labels
            return arrays
        if self._options.objective == "distill":
            return arrays
        arrays |= {"raw_input_ids": plain, "generator_labels": np.where(chosen, plain, IGNORED)}
        if self._options.objective == "two_views":
            seen, chosen = masked(1)
            other = {**arrays, "input_ids": seen, "generator_labels": np.where(chosen, plain, IGNORED)}
            arrays = {name: np.concatenate([array, other[name]]) for name, array in arrays.items()}
        return arrays

    def tokens(self, batch: Arrays) -> int:
        return int(batch["attention_mask"].sum())

    def _segments(self, rows: Located) -> Segments:
        """The tokens of each row, cut to its target length."""
        size = len(rows.samples)
        result = Segments(rows.corpora, np.zeros((2, size), np.int64), np.zeros((2, size), np.int64))
        result.labels = np.zeros(size, np.int64)
        room = np.zeros(size, np.int64)
        for number in np.unique(rows.corpora).tolist():
            these = np.flatnonzero(rows.corpora == number)
            part, samples, keys = self.parts[number], rows.samples[these], rows.keys[these]
            starts, counts, labels = self._pair(part, samples, keys)
            result.starts[:, these], result.counts[:, these], result.labels[these] = starts, counts, labels
            room[these] = part.table[samples, TARGET]
        _cut(result, room, rows.keys)
        return result

    def _pair(
        self, part: SentenceSamples, samples: np.ndarray, keys: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Starts and counts [2, B] and labels [B] of samples of one corpus, not cut yet."""
        table = part.table[samples]
        sentences = table[:, STOP] - table[:, FIRST]
        whole = _tokens_of(part.corpus, table[:, FIRST], sentences)
        start = table[:, TOKEN]
        labels = np.zeros(len(samples), np.int64)
        if self._options.pair == "none" and self._options.objective != "prefix":
            return np.stack([start, start]), np.stack([whole, np.zeros_like(whole)]), labels
        # A ends behind a random sentence, but the last one.
        ahead = 1 + integers(hashes(keys, _SPLIT), 0, np.maximum(sentences - 1, 1))
        size = np.where(sentences > 1, _tokens_of(part.corpus, table[:, FIRST], np.minimum(ahead, sentences)), whole)
        starts, counts = np.stack([start, start + size]), np.stack([size, whole - size])
        if self._options.pair == "none":
            return starts, counts, labels
        changed = uniforms(hashes(keys, _RELATION), 0) < 0.5
        if self._options.pair == "sop":
            swapped = changed & (sentences > 1)
            starts[:, swapped], counts[:, swapped] = starts[::-1, swapped], counts[::-1, swapped]
            return starts, counts, swapped.astype(np.int64)
        changed |= sentences < 2
        if changed.any():
            other = part.table[part.of_other_documents(samples[changed], hashes(keys[changed], _OTHER), 0)]
            available = other[:, STOP] - other[:, FIRST]
            skipped = integers(hashes(keys[changed], _SKIPPED), 0, available)
            before = _tokens_of(part.corpus, other[:, FIRST], skipped)
            starts[1, changed] = other[:, TOKEN] + before
            counts[1, changed] = _tokens_of(part.corpus, other[:, FIRST], available) - before
        return starts, counts, changed.astype(np.int64)

    def _assemble(self, segments: Segments) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ids as they stand in the corpora and types [B, S] with special tokens, and lengths [B]."""
        corpora = [part.corpus for part in self.parts]
        return assemble(corpora, segments, self._frame, self._pad)


def assemble(
    corpora: Sequence[Corpus], segments: Segments, frame: Frame, pad: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of one or two stretches of tokens with special tokens around them.

    Args:
        corpora: those that `segments` name.
        segments: the stretches; rows without a second one have nothing between.
        frame: special tokens before, between and behind.
        pad: id behind the end of a row.

    Returns:
        Ids [B, S]; 1 from the first token of the second stretch to the end of the row, else 0 [B, S]; lengths [B].
    """
    first, second = segments.counts
    between = len(frame.middle) * (second > 0)
    behind = len(frame.prefix) + first + between  # place of the second stretch
    lengths = behind + second + len(frame.suffix)
    shape = len(lengths), int(lengths.max())
    ids, types = np.full(shape, pad, np.int64), np.zeros(shape, np.int64)
    rows, column = np.arange(shape[0]), np.arange(shape[1])
    ids[:, : len(frame.prefix)] = frame.prefix
    for number, token in enumerate(frame.middle):
        own = rows[second > 0]
        ids[own, len(frame.prefix) + first[own] + number] = token
    for number, token in enumerate(frame.suffix):
        ids[rows, behind + second + number] = token
    types[(column >= behind[:, None]) & (column < lengths[:, None]) & (second > 0)[:, None]] = 1
    for starts, counts, place in zip(
        segments.starts, segments.counts, (np.full_like(first, len(frame.prefix)), behind), strict=True
    ):
        places = ranges(rows * shape[1] + place, counts)
        source, owner = ranges(starts, counts), np.repeat(segments.corpora, counts)
        for number in np.unique(owner).tolist():
            mine = owner == number
            ids.reshape(-1)[places[mine]] = corpora[number].ids[source[mine]]
    return ids, types, lengths


def _tokens_of(corpus: Corpus, first: np.ndarray, sentences: np.ndarray) -> np.ndarray:
    """Number of tokens of so many sentences from a first one on, int64 [B]."""
    lens = corpus.lens[ranges(first, sentences)].astype(np.int64)
    ends = np.append(0, np.cumsum(lens))
    after = np.cumsum(sentences)
    tokens: np.ndarray = ends[after] - ends[after - sentences]
    return tokens


def _cut(segments: Segments, room: np.ndarray, keys: np.ndarray) -> None:
    """Shorten rows to `room` tokens, one at a time from the longer stretch, at its start or end by chance (BERT)."""
    kept = np.stack(longest_first(segments.counts[0], segments.counts[1], room))  # type: ignore[arg-type]
    for number in range(2):
        removed = segments.counts[number] - kept[number]
        row = np.repeat(np.arange(len(removed)), removed)
        drawn = uniforms(hashes(hashes(keys[row], _CUT), number), ranges(np.zeros_like(removed), removed))
        segments.starts[number] += np.bincount(row[drawn < 0.5], minlength=len(removed))
    segments.counts = kept


class TokenInputs(Inputs):
    """Equally many tokens in each row, each to guess the next one (GPT).

    Args:
        parts: the corpora's samples.
        end_token_id: of the token behind each document; what follows it is not to be guessed. None where there is none.
    """

    parts: tuple[TokenSamples, ...]

    def __init__(self, parts: Sequence[TokenSamples], end_token_id: int | None = None) -> None:
        super().__init__(parts)
        self._end = end_token_id

    def load(self, rows: Located) -> Arrays:
        """``input_ids``, ``labels`` (the next tokens) and ``loss_mask`` (0 behind an end token), int64 [B, S]."""
        length = self.parts[0].length
        tokens = np.empty((len(rows.samples), length + 1), np.int64)
        for number in np.unique(rows.corpora).tolist():
            these = rows.corpora == number
            part = self.parts[number]
            starts = part.start + rows.samples[these] * length
            tokens[these] = part.corpus.ids[starts[:, None] + np.arange(length + 1)]
        seen = np.ascontiguousarray(tokens[:, :-1])
        counts = np.ones_like(seen) if self._end is None else (seen != self._end).astype(np.int64)
        return {"input_ids": seen, "labels": np.ascontiguousarray(tokens[:, 1:]), "loss_mask": counts}

    def tokens(self, batch: Arrays) -> int:
        return int(batch["input_ids"].size)
