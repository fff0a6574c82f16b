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
    """Minimises the `loss` that the model returns when it is given labels."""

    def loss(self, model: paddle.nn.Layer, batch: Arrays, step: int) -> Losses:
        return Losses(model(**to_tensors(batch)).loss, label_count(batch))
