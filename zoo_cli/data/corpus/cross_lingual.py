"""Batches for ERNIE-M: single texts, and pairs of a text and its translation, each masked in one of four ways.

A parallel corpus is a corpus whose documents are two sentences, a text and its translation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zoo_cli.base.errors import DataError, Location
from zoo_cli.data.corpus.draws import hashes, uniforms
from zoo_cli.data.corpus.format import Corpus
from zoo_cli.data.corpus.inputs import MASKING, Arrays, Located, SentenceInputs
from zoo_cli.data.corpus.masking import budgets, mask
from zoo_cli.data.corpus.samples import FIRST, STOP, TOKEN, SentenceSamples
from zoo_cli.recipe.schema import PretrainSection
from zoo_cli.tokenizers.pretrained import PretrainedTokenizer

MLM, TLM, CAMLM, BTMLM = range(4)
NAMES = ("mlm", "tlm", "camlm", "btmlm")
"""What a row is for: masked tokens of one text; of two that see each other; of two where a masked token sees the other
text only; and of one text with words of a translation that the model made up itself."""

_KIND = 8
"""What a random number is for, beside those of `zoo_cli.data.corpus.inputs`."""


class ParallelSamples(SentenceSamples):
    """The pairs of a parallel corpus.

    Args:
        corpus: the corpus; documents of one sentence, whose translation has no tokens, are left out with a warning.
        documents: first and last document (exclusive).
        max_tokens: of a pair, special tokens not counted; longer ones are cut when they are read.
        cache: see `SentenceSamples`.

    Raises:
        DataError: a document has more than two sentences (`not-parallel`), or there are no pairs.
    """

    def __init__(
        self, corpus: Corpus, documents: tuple[int, int] | None = None, *, max_tokens: int, cache: Path | None = None
    ) -> None:
        super().__init__(
            corpus, documents, max_tokens=max_tokens, short_seq_prob=0.0, min_sentences=2, seed=0, cache=cache
        )
        wrong = np.flatnonzero(self.table[:, STOP] - self.table[:, FIRST] != 2)
        if len(wrong):
            raise DataError(
                "not-parallel",
                "{place} are not a text and its translation",
                at=Location.of(corpus.prefix),
                fix="build the corpus with --format tsv",
                place=self.describe(int(wrong[0])),
            )


class CrossLingualInputs(SentenceInputs):
    """[CLS] text [SEP], or [CLS] text [SEP] [SEP] other text [SEP], masked.

    A share `back_translation` of the single texts, drawn for each row, stands before as many empty places as it has
    masked tokens (the paper does not say how many); of the pairs a share `cross_attention` is of the kind `CAMLM`.

    Args:
        parts: samples of corpora and parallel corpora.
        tokenizer: that of the corpora.
        options: masking, lengths and the two shares.
    """

    def __init__(
        self, parts: Sequence[SentenceSamples], tokenizer: PretrainedTokenizer, options: PretrainSection
    ) -> None:
        super().__init__(parts, tokenizer, options)
        # A kept or random token in a masked place would let the model see what the other text is to tell.
        self._all_masked = options.masking.model_copy(update={"style": "t5"})
        self._is_parallel = np.array([isinstance(part, ParallelSamples) for part in self.parts])

    def load(self, rows: Located) -> Arrays:
        """The batch of these rows.

        Returns:
            ``input_ids`` [B, S]; ``attention_mask`` bool [B, 1, S, S], whether a token (third axis) sees another one;
            ``masked_positions``, ``labels`` and ``kinds`` [n]: place (row * S + column), id and kind of each token to
            guess. With b rows of the kind `BTMLM`, which have m empty places: ``translated_ids`` [b, S] and
            ``translated_mask`` [b, 1, S, S], what the model translates, ``translated_places`` [m] there, and
            ``pseudo_places`` [m] where the words go in ``input_ids``.
        """
        parallel, drawn = self._is_parallel[rows.corpora], uniforms(hashes(rows.keys, _KIND), 0)
        options = self._options
        kinds = np.where(
            parallel,
            np.where(drawn < options.cross_attention, CAMLM, TLM),
            np.where(drawn < options.back_translation, BTMLM, MLM),
        )
        segments = self._segments(rows)
        translated = kinds == BTMLM
        own = budgets(segments.counts[0] + 2, options.masking)
        room = options.max_length - self._frame.size - segments.counts[0]
        segments.starts[1, translated] = segments.starts[0, translated]  # only holds places
        segments.counts[1, translated] = np.minimum(own, np.minimum(room, segments.counts[0]))[translated]

        ids, sides, lengths = self._assemble(segments)
        column = np.arange(ids.shape[1])
        real = column < lengths[:, None]
        empty = translated[:, None] & (sides == 1) & (ids != self._sep)
        text = real & (ids != self._cls) & (ids != self._sep) & ~empty
        plain, continues = self._forms.plain[ids], self._forms.continues[ids]
        ids, chosen = plain.copy(), np.zeros(ids.shape, bool)
        keys = hashes(hashes(rows.keys, MASKING), 0)
        whole = np.where(translated, segments.counts[0] + 2, lengths)
        for own_rows, masking in (
            (np.flatnonzero(kinds != CAMLM), options.masking),
            (np.flatnonzero(kinds == CAMLM), self._all_masked),
        ):
            if len(own_rows):
                ids[own_rows], chosen[own_rows] = mask(
                    plain[own_rows],
                    continues[own_rows],
                    text[own_rows],
                    whole[own_rows],
                    keys[own_rows],
                    masking,
                    self._mask,
                    self._vocabulary,
                )
        ids[empty] = self._mask
        visible = real[:, :, None] & real[:, None, :]
        crossing = kinds == CAMLM
        visible[crossing] &= across(sides[crossing], chosen[crossing])
        places = np.flatnonzero(chosen)
        arrays = {
            "input_ids": ids,
            "attention_mask": visible[:, None],
            "masked_positions": places,
            "labels": plain.reshape(-1)[places],
            "kinds": kinds[places // ids.shape[1]],
        }
        if translated.any():
            asked = real[translated][:, :, None] & real[translated][:, None, :]
            arrays |= {
                "translated_ids": np.where(empty, self._mask, plain)[translated],
                "translated_mask": (asked & across(sides[translated], empty[translated]))[:, None],
                "translated_places": np.flatnonzero(empty[translated]),
                "pseudo_places": np.flatnonzero(empty),
            }
        return arrays

    def tokens(self, batch: Arrays) -> int:
        return int(np.diagonal(batch["attention_mask"][:, 0], axis1=1, axis2=2).sum())

    def _pair(
        self, part: SentenceSamples, samples: np.ndarray, keys: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if not isinstance(part, ParallelSamples):
            return super()._pair(part, samples, keys)
        first, start = part.table[samples, FIRST], part.table[samples, TOKEN]
        counts = np.stack([part.corpus.lens[first], part.corpus.lens[first + 1]]).astype(np.int64)
        return np.stack([start, start + counts[0]]), counts, np.zeros(len(samples), np.int64)


def across(sides: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Which tokens see which where a hidden one is to be told from the other text alone.

    A token sees those of its own text that are not hidden, a hidden one those of the other text, and itself. So nothing
    of its own text reaches a hidden token, in whatever layer.

    Args:
        sides: text of each token, 0 or 1, [B, S].
        hidden: whether it is hidden, bool [B, S].

    Returns:
        bool [B, S, S]; axis 1 sees axis 2.
    """
    alike = sides[:, :, None] == sides[:, None, :]
    visible: np.ndarray = ~hidden[:, None, :] & (alike != hidden[:, :, None])
    return visible | np.eye(sides.shape[1], dtype=bool)
