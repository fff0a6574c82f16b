"""Documents in segments for ERNIE-Doc: masked tokens in each, and in which order the document's parts stand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import permutations

import numpy as np

from zoo_cli.data.corpus.draws import hashes, integers, uniforms
from zoo_cli.data.corpus.format import Corpus
from zoo_cli.data.corpus.inputs import IGNORED, MASKING, Arrays
from zoo_cli.data.corpus.marks import word_forms
from zoo_cli.data.corpus.masking import mask
from zoo_cli.data.corpus.samples import Samples
from zoo_cli.recipe.schema import PretrainSection
from zoo_cli.tokenizers.pieces import ranges
from zoo_cli.tokenizers.pretrained import PretrainedTokenizer

_PARTS, _CUTS, _ORDER = 9, 10, 11
"""What a random number is for, beside those of `zoo_cli.data.corpus.inputs`."""


class DocumentSamples(Samples):
    """Whole documents.

    Args:
        corpus: the corpus.
        documents: first and last document (exclusive).

    Attributes:
        tokens: number of tokens before each document of the corpus and of all, int64 [D + 1].
    """

    def __init__(self, corpus: Corpus, documents: tuple[int, int] | None = None) -> None:
        super().__init__(corpus, documents)
        ends = np.append(0, np.cumsum(corpus.lens, dtype=np.int64))
        self.tokens: np.ndarray = ends[corpus.docs]

    def __len__(self) -> int:
        return self.documents[1] - self.documents[0]

    def describe(self, sample: int) -> str:
        return f"{self.corpus.prefix}: document {self.documents[0] + sample}"

    def sizes(self, samples: np.ndarray) -> np.ndarray:
        """Tokens of some documents [B], int64 [B]."""
        documents = self.documents[0] + samples
        sizes: np.ndarray = self.tokens[documents + 1] - self.tokens[documents]
        return sizes


def order_classes(parts: int) -> int:
    """In how many ways up to so many parts can stand: the sum of the factorials up to `parts`."""
    return sum(math.factorial(count) for count in range(1, parts + 1))


class DocumentInputs:
    """Segments of documents: text, [SEP], padding, [CLS], always `max_length` tokens.

    A document is cut at the ends of random sentences into 1 to `reorder_parts` parts, whose number is drawn, and the
    parts are put into random order; which number and order is guessed at the document's end.

    Args:
        parts: the corpora's documents.
        tokenizer: that of the corpora.
        options: masking, `max_length` and `reorder_parts`.
    """

    def __init__(
        self, parts: Sequence[DocumentSamples], tokenizer: PretrainedTokenizer, options: PretrainSection
    ) -> None:
        self.parts = tuple(parts)
        self._options = options
        self._forms = word_forms(tokenizer, options.word_marks)
        self._cls, self._sep = tokenizer.cls_token_id, tokenizer.sep_token_id
        self._pad, self._mask = tokenizer.pad_token_id, tokenizer.mask_token_id
        self._vocabulary = np.unique(np.fromiter(tokenizer.vocab.values(), np.int64))

    @property
    def room(self) -> int:
        """Tokens of the text in a segment."""
        return self._options.max_length - 2

    def segments(self, corpus: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """How many segments documents [B] have, int64 [B]; those without tokens have none."""
        sizes = np.zeros(len(samples), np.int64)
        for number, part in enumerate(self.parts):
            own = corpus == number
            sizes[own] = part.sizes(samples[own])
        return -(-sizes // self.room)

    def load(self, corpus: np.ndarray, samples: np.ndarray, keys: np.ndarray, numbers: np.ndarray) -> Arrays:
        """Segments of documents.

        Args:
            corpus, samples, keys: number of the corpus, document and random key of each row [B].
            numbers: which segment of it, int64 [B].

        Returns:
            ``input_ids``, ``token_type_ids``, ``attention_mask`` and ``labels`` [B, S], the ids to guess or -100;
            ``orders`` [B], the order of the parts where a document ends, or -100.
        """
        shape = len(samples), self._options.max_length
        ids = np.full(shape, self._pad, np.int64)
        lengths, orders = np.zeros(shape[0], np.int64), np.full(shape[0], IGNORED, np.int64)
        for row in range(shape[0]):
            part = self.parts[corpus[row]]
            source, label, whole = self._tokens(part, int(samples[row]), keys[row], int(numbers[row]))
            ids[row, : len(source)] = part.corpus.ids[source]
            ids[row, len(source)] = self._sep
            lengths[row] = len(source)
            if (numbers[row] + 1) * self.room >= whole:
                orders[row] = label
        ids[:, -1] = self._cls
        column = np.arange(shape[1])
        maskable = column < lengths[:, None]
        plain = self._forms.plain[ids]
        seen, chosen = mask(
            plain,
            self._forms.continues[ids],
            maskable,
            lengths + 2,
            hashes(hashes(keys, MASKING), numbers),
            self._options.masking,
            self._mask,
            self._vocabulary,
        )
        real = (column <= lengths[:, None]) | (column == shape[1] - 1)
        return {
            "input_ids": seen,
            "token_type_ids": np.zeros(shape, np.int64),
            "attention_mask": real.astype(np.int64),
            "labels": np.where(chosen, plain, IGNORED),
            "orders": orders,
        }

    def _tokens(self, part: DocumentSamples, sample: int, key: np.ndarray, number: int) -> tuple[np.ndarray, int, int]:
        """Places in the corpus of the tokens of a segment, the class of the document's order, and its length."""
        document = part.documents[0] + sample
        begin, end = part.tokens[document : document + 2].tolist()
        first, last = part.corpus.docs[document : document + 2].tolist()
        borders = (
            np.cumsum(part.corpus.lens[first : last - 1], dtype=np.int64) if last - first > 1 else np.zeros(0, int)
        )
        borders = borders[(borders > 0) & (borders < end - begin)]  # ends of sentences inside of the document
        most = min(self._options.reorder_parts, len(borders) + 1)
        count = 1 + int(integers(hashes(key, _PARTS), 0, most))
        drawn = np.argsort(uniforms(hashes(key, _CUTS), np.arange(len(borders))), kind="stable")[: count - 1]
        cuts = np.concatenate([[0], np.sort(borders[drawn]), [end - begin]]).astype(np.int64)
        choices = list(permutations(range(count)))
        chosen = int(integers(hashes(key, _ORDER), 0, len(choices)))
        order = np.array(choices[chosen], np.int64)
        starts, sizes = cuts[:-1][order], np.diff(cuts)[order]
        # The stretch of the reordered document that the segment has, part by part.
        behind = np.cumsum(sizes)
        low, high = number * self.room, min((number + 1) * self.room, end - begin)
        inner = np.maximum(low - (behind - sizes), 0)
        counts = np.maximum(np.minimum(high, behind) - np.maximum(low, behind - sizes), 0)
        return begin + ranges(starts + inner, counts), order_classes(count - 1) + chosen, end - begin
