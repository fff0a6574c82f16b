"""Learning from labels: the loss is the model's own."""

from __future__ import annotations

import paddle

from zoo_cli.engine.batches import Arrays
from zoo_cli.engine.objectives.base import Losses, to_tensors

IGNORED = -100
"""Label of positions that do not count."""


def label_count(batch: Arrays) -> int:
    """How many labels the model's loss averages over.

    Args:
        batch: name -> array. Integer `labels` other than -100 count; where there are none (spans, scores, several
            classes at once) every row counts once.
    """
    labels = batch.get("labels")
    if labels is not None and labels.dtype.kind in "iu":
        return int((labels != IGNORED).sum())
    return len(next(iter(batch.values())))


class Supervised:
    """Minimises the `loss` that the model returns when it is given labels.

    Args:
        label_smoothing: share of the loss that treats all labels alike. It needs a model whose result has `logits` of
            the `labels` [n], all of which count.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self._smoothing = label_smoothing

    def loss(self, model: paddle.nn.Layer, batch: Arrays, step: int) -> Losses:
        result = model(**to_tensors(batch))
        loss = result.loss
        if self._smoothing:
            logits = result.logits.astype("float32")
            uniform = (paddle.logsumexp(logits, axis=-1) - logits.mean(axis=-1)).mean()
            loss = (1 - self._smoothing) * loss + self._smoothing * uniform
        return Losses(loss, label_count(batch))
