"""Figures of a corpus, whoever made it, in constant memory."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from zoo_cli.data.corpus.format import Corpus
from zoo_cli.data.corpus.marks import WordForms

_BLOCK = 1 << 20
_LONGEST = 1 << 20
"""Longer documents and sentences count as this long in percentiles."""

PERCENTILES = (5, 25, 50, 75, 95, 99)


@dataclass(frozen=True)
class Lengths:
    """Tokens of sentences or documents.

    Args:
        count: how many there are.
        mean: of their lengths.
        maximum: longest.
        percentiles: percent -> length that so many of them do not exceed.
    """

    count: int
    mean: float
    maximum: int
    percentiles: dict[str, int]


@dataclass(frozen=True)
class Statistics:
    """Figures of a corpus.

    Args:
        tokens: number of tokens.
        id_type: how ids are stored.
        sentences, documents: lengths.
        continuing: share of tokens that continue a word, unknown without a vocabulary.
        unknown: share of tokens that are the unknown token, likewise.
        distinct: number of different ids, likewise.
    """

    tokens: int
    id_type: str
    sentences: Lengths
    documents: Lengths
    continuing: float | None = None
    unknown: float | None = None
    distinct: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


class _Histogram:
    def __init__(self) -> None:
        self._counts = np.zeros(_LONGEST + 1, np.int64)
        self._sum = self._maximum = 0

    def add(self, lengths: np.ndarray) -> None:
        if len(lengths):
            self._counts += np.bincount(np.minimum(lengths, _LONGEST), minlength=_LONGEST + 1)
            self._sum += int(lengths.sum())
            self._maximum = max(self._maximum, int(lengths.max()))

    def lengths(self) -> Lengths:
        count = int(self._counts.sum())
        reached = np.cumsum(self._counts)
        percentiles = {
            str(percent): int(np.searchsorted(reached, count * percent / 100)) if count else 0
            for percent in PERCENTILES
        }
        return Lengths(count, round(self._sum / count, 2) if count else 0.0, self._maximum, percentiles)


def corpus_statistics(corpus: Corpus, forms: WordForms | None = None, unknown_id: int | None = None) -> Statistics:
    """Count.

    Args:
        corpus: the corpus.
        forms: of its vocabulary; with them all ids are read, without them only lengths.
        unknown_id: id of the unknown token.
    """
    sentences, documents = _Histogram(), _Histogram()
    for start in range(0, corpus.documents, _BLOCK):
        docs = corpus.docs[start : start + _BLOCK + 1]
        open_tokens = 0
        for first in range(int(docs[0]), int(docs[-1]), _BLOCK):
            stop = min(first + _BLOCK, int(docs[-1]))
            lens = corpus.lens[first:stop].astype(np.int64)
            sentences.add(lens)
            ends = np.append(0, np.cumsum(lens))
            inside = docs[(docs > first) & (docs <= stop)] - first
            lengths = np.diff(ends[np.append(0, inside)])
            if len(lengths):
                lengths[0] += open_tokens
                open_tokens = 0
            documents.add(lengths)
            open_tokens += int(ends[-1] - ends[inside[-1] if len(inside) else 0])
    figures = Statistics(len(corpus.ids), str(corpus.ids.dtype), sentences.lengths(), documents.lengths())
    if forms is None:
        return figures
    counts = np.zeros(max(len(forms), int(np.iinfo(np.uint16).max) + 1), np.int64)
    for start in range(0, len(corpus.ids), _BLOCK):
        found = np.bincount(corpus.ids[start : start + _BLOCK], minlength=len(counts))
        counts = found + (counts if len(found) == len(counts) else np.pad(counts, (0, len(found) - len(counts))))
    total = max(1, len(corpus.ids))
    return Statistics(
        figures.tokens,
        figures.id_type,
        figures.sentences,
        figures.documents,
        continuing=int(counts[: len(forms)][forms.continues].sum()) / total,
        unknown=None if unknown_id is None else int(counts[unknown_id]) / total,
        distinct=int((counts > 0).sum()),
    )
