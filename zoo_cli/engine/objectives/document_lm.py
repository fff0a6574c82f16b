"""Masked language model of documents, and the order of their parts: ERNIE-Doc, Ding et al., 2020.

https://arxiv.org/abs/2012.15688. A document is read segment by segment, and masked tokens are guessed from the segment
and from what the model remembers. Parts of the document may stand in another order, which is guessed at its end. With
the retrospective feed each document is read once before, without learning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import paddle

from zoo_cli.engine.batches import Arrays
from zoo_cli.engine.document_batches import COUNTS, SLOTS, STARTS
from zoo_cli.engine.objectives.pretraining import Pretraining, Tensors, Term, label_count
from zoo_cli.engine.objectives.recurrent import Memories
from zoo_cli.engine.objectives.supervised import IGNORED
from zoo_cli.models.losses import cross_entropy


class DocumentLanguageModel(Memories, Pretraining):
    """Trains `zoo_cli.models.ernie_doc.modeling.ErnieDocForPretraining` on `zoo_cli.engine.segment_batches`."""

    def counts(self, batch: Arrays) -> Sequence[int]:
        learnt = batch[COUNTS] == 1
        return label_count(batch["labels"][learnt]), label_count(batch["orders"][learnt])

    def terms(self, model: paddle.nn.Layer, batch: Tensors) -> list[Term]:
        arrays = dict(batch)
        slots, starts, counts = (arrays.pop(name).numpy() for name in (SLOTS, STARTS, COUNTS))
        labels, orders = arrays.pop("labels"), arrays.pop("orders")  # [B, S], [B]
        self.begin(slots[starts == 1])
        only_read = np.flatnonzero(counts == 0)
        learnt = np.flatnonzero(counts)
        if not len(learnt):  # the gradient of nothing is zero, yet all parameters must have one
            learnt, only_read = only_read, learnt
            labels, orders = paddle.full_like(labels, IGNORED), paddle.full_like(orders, IGNORED)
        if len(only_read):
            with paddle.no_grad():
                self.read(model, _rows(arrays, only_read), slots[only_read])
        labels, orders = labels.numpy()[learnt].reshape(-1), orders.numpy()[learnt]
        places = np.flatnonzero(labels != IGNORED)
        if not len(places):  # one that does not count
            places = np.zeros(1, np.int64)
        inputs = {**_rows(arrays, learnt), "masked_positions": paddle.to_tensor(places)}
        result = self.read(model, inputs, slots[learnt])
        tokens, order = paddle.to_tensor(labels[places]), paddle.to_tensor(orders)
        words, kinds = result.prediction_logits, result.logits
        return [
            Term("mlm", cross_entropy(words, tokens), words, tokens),
            Term("order", cross_entropy(kinds, order), kinds, order),
        ]


def _rows(arrays: Mapping[str, paddle.Tensor], rows: np.ndarray) -> dict[str, paddle.Tensor]:
    chosen = paddle.to_tensor(rows)
    return {name: array.index_select(chosen) for name, array in arrays.items()}
