"""Batches of a model that reads the documents of corpora segment by segment; see `zoo_cli.engine.document_batches`."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from zoo_cli.base.errors import UsageError
from zoo_cli.data.corpus.blend import Blend
from zoo_cli.data.corpus.documents import DocumentInputs
from zoo_cli.engine.batches import Batch, ComputedPlan
from zoo_cli.engine.distributed import World
from zoo_cli.engine.document_batches import COUNTS, SLOTS, STARTS
from zoo_cli.recipe.schema import TrainSection


class _Epoch(NamedTuple):
    """The documents of an epoch in their order.

    Args:
        corpora, samples, keys: see `Blend.locate`, [D].
        ends: number of segments, all readings counted, up to the end of each document, int64 [D].
        slots: first segment of each slot, and the number of all, int64 [slots + 1].
    """

    corpora: np.ndarray
    samples: np.ndarray
    keys: np.ndarray
    ends: np.ndarray
    slots: np.ndarray


class SlotPlan(ComputedPlan):
    """For each forward pass of an epoch the number of the segment that each slot reads; -1 where it has none left.

    Args:
        slots: first segment of each slot, and the number of all, int64 [slots + 1].
    """

    def __init__(self, slots: np.ndarray) -> None:
        self._slots = slots

    def __len__(self) -> int:
        return int(np.diff(self._slots).max())

    def batch(self, number: int) -> np.ndarray:
        places = self._slots[:-1] + number
        return np.where(places < self._slots[1:], places, -1)


class SegmentBatches:
    """Segments of documents, `batch_size` documents side by side; implements `zoo_cli.engine.batches.Batches`.

    The documents of an epoch stand in random order, and each slot reads a stretch of them, all about equally long. A
    batch has rows for the slots that have something left.

    Args:
        blend: the documents.
        inputs: makes arrays of them.
        options: `batch_size`, or `batch_tokens` with the length of a segment.
        max_length: tokens of a segment.
        readings: 2 reads each document once before it is learnt from (ERNIE-Doc's retrospective feed).
        identity: hash of everything that the batches depend on.
        world: documents are read in one process only, as a document's segments must stay together.

    Raises:
        UsageError: there are several processes (`one-process`).
    """

    def __init__(
        self,
        blend: Blend,
        inputs: DocumentInputs,
        options: TrainSection,
        max_length: int,
        readings: int,
        identity: str,
        world: World,
    ) -> None:
        if world.size > 1:
            raise UsageError(
                "one-process", "long documents are learnt from in one process only", fix="leave out --nproc"
            )
        self._blend, self._inputs, self._readings, self._identity = blend, inputs, readings, identity
        tokens = options.batch_tokens
        self._slots = options.batch_size if tokens is None else max(1, tokens // max_length)
        self._epoch = lru_cache(2)(self._order)

    def _order(self, epoch: int) -> _Epoch:
        rows = self._blend.order(epoch, np.arange(len(self._blend)))
        corpora, samples, keys = self._blend.locate(epoch, rows)
        segments = self._inputs.segments(corpora, samples) * self._readings
        ends = np.cumsum(segments)
        total = int(ends[-1])
        # A slot begins with the first document that begins behind its share.
        shares = np.arange(self._slots + 1) * total // self._slots
        begins = np.append(ends - segments, total)
        return _Epoch(corpora, samples, keys, ends, begins[np.searchsorted(begins, shares)])

    def plan(self, epoch: int) -> SlotPlan:
        return SlotPlan(self._epoch(epoch).slots)

    def load(self, epoch: int, indices: np.ndarray) -> Batch:
        """The segments of these numbers, with the arrays that `zoo_cli.engine.document_batches` names."""
        order = self._epoch(epoch)
        slots = np.flatnonzero(indices >= 0)
        numbers = indices[slots]
        documents = np.searchsorted(order.ends, numbers, side="right")
        of = order.ends[documents] - np.where(documents > 0, order.ends[documents - 1], 0)
        inside = numbers - (order.ends[documents] - of)
        reading, segment = np.divmod(inside, of // self._readings)
        arrays = self._inputs.load(order.corpora[documents], order.samples[documents], order.keys[documents], segment)
        counts = reading == self._readings - 1
        extra = {SLOTS: slots, STARTS: inside == 0, COUNTS: counts}
        arrays |= {name: array.astype(np.int64) for name, array in extra.items()}
        return Batch(arrays, int(arrays["attention_mask"].sum()))

    def describe(self, indices: np.ndarray) -> list[str]:
        """Where segments come from in the first epoch; in later ones a number is another segment."""
        order = self._epoch(0)
        documents = np.searchsorted(order.ends, indices[indices >= 0], side="right")
        return [
            self._blend.parts[corpus].describe(sample)
            for corpus, sample in zip(order.corpora[documents].tolist(), order.samples[documents].tolist(), strict=True)
        ]

    def fingerprint(self) -> str:
        return self._identity
