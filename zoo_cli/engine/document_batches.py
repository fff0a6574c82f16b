"""Batches for models that read a document in segments: each row of a batch goes on with the same row of the last one.

A batch has a row for each of several documents that are read side by side, its *slots*. Where a document ends, the next
one takes its slot, and the model's memory of that slot is cleared (PaddleNLP's trainers leave it, so that a document
begins with a memory of another one).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zoo_cli.base.errors import UsageError
from zoo_cli.data.dataset import FeatureStore
from zoo_cli.engine.batches import Batch, FeatureBatches, Pad
from zoo_cli.engine.distributed import World
from zoo_cli.recipe.schema import TrainSection

SLOTS, STARTS, COUNTS = "slots", "starts", "counts"
"""What a batch has beside the features, int64 [B]: each row's slot, whether a document starts in it, whether its labels
count."""


class DocumentBatches(FeatureBatches):
    """Segments of documents, `batch_size` documents side by side.

    A plan names row r of the N features as r, or as r + N where it is read without learning from it; 2 N is a slot that
    no document is left for.

    Args:
        features: the segments of one document after another.
        sizes: number of segments of each document.
        options: `batch_size`, `batch_tokens` and `seed` are read.
        pad: stacks features.
        sources: where each feature comes from.
        readings: 2 reads each document once before it is learnt from (ERNIE-Doc's retrospective feed).
        world: documents are read in one process only, as a document's segments must stay together.

    Raises:
        UsageError: there are several processes (`one-process`).
    """

    def __init__(
        self,
        features: FeatureStore,
        sizes: Sequence[int],
        options: TrainSection,
        pad: Pad,
        sources: Sequence[str] | None = None,
        readings: int = 1,
        world: World | None = None,
    ) -> None:
        if world is not None and world.size > 1:
            raise UsageError(
                "one-process", "long documents are learnt from in one process only", fix="leave out --nproc"
            )
        super().__init__(features, options, pad, sources)
        lengths = np.asarray([size for size in sizes if size], np.int64)
        self._ends = np.cumsum(lengths)
        self._starts = self._ends - lengths
        self._readings = readings

    def _slot_count(self) -> int:
        options = self._options
        if options.batch_tokens is None or not len(self._shapes):
            return options.batch_size
        return max(1, options.batch_tokens // int(self._shapes.prod(axis=1).max()))

    def plan(self, epoch: int) -> list[np.ndarray]:
        """The documents in random order, each in the first slot that is free."""
        total = len(self._features)
        order = np.random.default_rng([self._options.seed, epoch]).permutation(len(self._starts))
        documents = iter(order.tolist())
        waiting: list[list[int]] = [[] for _ in range(self._slot_count())]  # the next row last
        passes: list[np.ndarray] = []
        while True:
            for rows in waiting:
                if not rows and (document := next(documents, None)) is not None:
                    once = range(self._ends[document] - 1, self._starts[document] - 1, -1)
                    rows += once
                    rows += [row + total for _ in range(self._readings - 1) for row in once]
            if not any(waiting):
                return passes
            passes.append(np.array([rows.pop() if rows else 2 * total for rows in waiting], np.int64))

    def load(self, epoch: int, indices: np.ndarray) -> Batch:
        """The features of these rows, with `SLOTS`, `STARTS` and `COUNTS`."""
        total = len(self._features)
        slots = np.flatnonzero(indices < 2 * total)
        rows, counts = indices[slots] % total, indices[slots] < total
        arrays = self._pad(self._features.take(rows))
        starts = np.isin(rows, self._starts) & (counts if self._readings == 1 else ~counts)
        extra = {SLOTS: slots, STARTS: starts, COUNTS: counts}
        return Batch(
            {**arrays, **{name: array.astype(np.int64) for name, array in extra.items()}},
            int(arrays["attention_mask"].sum()),
        )

    def describe(self, indices: np.ndarray) -> list[str]:
        total = len(self._features)
        return super().describe(indices[indices < 2 * total] % total)
