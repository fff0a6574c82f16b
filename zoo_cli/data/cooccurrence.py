"""What stands beside what, as vectors: a decomposition of how much more often than by chance two words are neighbours.

Where texts are few, counts do as well as prediction (Levy, Goldberg and Dagan, 2015, https://aclanthology.org/Q15-1016):
positive pointwise mutual information, with the smoothed context distribution of that paper, is decomposed into singular
vectors, which is deterministic, too.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from zoo_cli.base.errors import PlatformError

_SMOOTHING = 0.75  # of the context distribution (Levy et al.)


def singular_vectors(
    batches: Iterable[np.ndarray], size: int, dimensions: int, window: int = 5
) -> tuple[np.ndarray, np.ndarray]:
    """Left singular vectors of the mutual information of neighbours.

    Args:
        batches: numbers of words from 0 to below `size` in the order of the text, integers [N], with -1 for what is not
            to be counted.
        size: number of words, at least 3.
        dimensions: numbers of a vector; fewer where there are fewer words, none where all are as frequent as by chance.
        window: places to either side that count, nearer ones more.

    Returns:
        The vectors, float64 [size, D], and their singular values [D], the largest first.

    Raises:
        PlatformError: scipy is not installed (`missing-package`).
    """
    try:
        from scipy.sparse import coo_matrix, csr_matrix
        from scipy.sparse.linalg import svds
    except ImportError as error:
        raise PlatformError(
            "missing-package", "training word vectors needs the package scipy", fix="pip install scipy"
        ) from error
    together = csr_matrix((size, size), dtype=np.float64)
    for numbers in batches:
        for distance in range(1, window + 1):
            left, right = numbers[:-distance], numbers[distance:]
            both = (left >= 0) & (right >= 0)
            weights = np.full(int(both.sum()), 1.0 / distance)
            together += coo_matrix((weights, (left[both], right[both])), shape=(size, size)).tocsr()
    together = (together + together.T).tocoo()
    rows = np.bincount(together.row, together.data, size)
    contexts = rows**_SMOOTHING
    information = np.log(together.data * contexts.sum() / (rows[together.row] * contexts[together.col]))
    positive = information > 0
    if not positive.any():
        return np.zeros((size, 0)), np.zeros(0)
    table = csr_matrix((information[positive], (together.row[positive], together.col[positive])), shape=(size, size))
    rank = min(dimensions, size - 1)
    vectors, values, _ = svds(table, k=rank, v0=np.ones(size))  # a fixed start: the same texts, the same vectors
    order = np.argsort(-values)
    vectors, values = vectors[:, order], np.maximum(values[order], 0.0)
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(rank)])
    return vectors * np.where(signs == 0, 1.0, signs), values
