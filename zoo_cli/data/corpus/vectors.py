"""Vectors of token ids from their neighbours in a corpus, for embeddings to start from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from zoo_cli.data.cooccurrence import singular_vectors
from zoo_cli.data.corpus.format import Corpus

_MOST_TOKENS = 1 << 24
"""Tokens that are counted: more hardly change the vectors of those that are frequent enough to have one."""
_LEAST = 5  # times that a token must occur
_AT_ONCE = 1 << 22


def token_vectors(
    parts: Sequence[tuple[Corpus, tuple[int, int]]], plain: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of the tokens that occur at least five times, of equal length and with a standard deviation of 1.

    The first singular vector is left out, since it tells little more than how frequent a token is, and the others count
    by the fourth root of their singular values, so that no few of them dominate.

    Args:
        parts: corpora with first and last document (exclusive) to count in.
        plain: the id that the model sees for each id of the corpora, int64 [V].
        width: numbers of a vector.

    Returns:
        Ids [N], ascending, and their vectors, float32 [N, D]; D is less than `width` where there are few tokens. Both
        are empty where there are too few.

    Raises:
        PlatformError: scipy is not installed (`missing-package`).
    """
    counts = sum(np.bincount(ids, minlength=len(plain)) for ids in _ids(parts, plain))
    ids = np.flatnonzero(np.asarray(counts) >= _LEAST)
    if len(ids) < 3:
        return ids[:0], np.zeros((0, 0), np.float32)
    numbers = np.full(len(plain), -1)
    numbers[ids] = np.arange(len(ids))
    vectors, values = singular_vectors((numbers[each] for each in _ids(parts, plain)), len(ids), width + 1)
    vectors = vectors[:, 1:] * values[1:] ** 0.25
    vectors -= vectors.mean(axis=0)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    known = norms[:, 0] > 0
    directions = vectors[known] / norms[known]
    return ids[known], (directions * np.sqrt(directions.shape[1])).astype(np.float32)


def _ids(parts: Sequence[tuple[Corpus, tuple[int, int]]], plain: np.ndarray) -> Iterator[np.ndarray]:
    """The ids that the model sees, the first ones of each part, as many of it as is its share."""
    spans = []
    for corpus, (first, last) in parts:
        begin, end = (int(corpus.lens[:sentences].sum(dtype=np.int64)) for sentences in corpus.docs[[first, last]])
        spans.append((begin, end, corpus))
    total = sum(end - begin for begin, end, _ in spans)
    share = min(1.0, _MOST_TOKENS / max(1, total))
    for begin, end, corpus in spans:
        stop = begin + int((end - begin) * share)
        for at in range(begin, stop, _AT_ONCE):
            yield plain[corpus.ids[at : min(at + _AT_ONCE, stop)]]
