"""Prefix language models: a text that is read in both directions, and its continuation, written from left to right.

UniLM (Dong et al., 2019, https://arxiv.org/abs/1905.03197) learns both from plain text, and so does UNIMO (Li et al.,
2021, https://arxiv.org/abs/2012.15409). PLATO (Bao et al., 2020, https://arxiv.org/abs/1910.07931) begins with it,
before it learns from dialogues.
"""

from __future__ import annotations

from collections.abc import Sequence

import paddle

from zoo_cli.engine.batches import Arrays
from zoo_cli.engine.objectives.pretraining import Pretraining, Tensors, Term, label_count, where_seen
from zoo_cli.models.losses import cross_entropy


class PrefixLanguageModel(Pretraining):
    """Learns the continuation of a text from its beginning, and the masked tokens of the beginning from all of it."""

    def counts(self, batch: Arrays) -> Sequence[int]:
        labels, continues = batch["labels"], batch["continues"] == 1
        return label_count(labels[continues]), label_count(labels[~continues])

    def terms(self, model: paddle.nn.Layer, batch: Tensors) -> list[Term]:
        inputs = dict(batch)
        labels, continues = inputs.pop("labels"), inputs.pop("continues") == 1  # [n]
        logits = model(**inputs).logits  # [n, V]
        rest, gaps = where_seen(labels, continues), where_seen(labels, paddle.logical_not(continues))
        return [
            Term("lm", cross_entropy(logits, rest), logits, rest),
            Term("mlm", cross_entropy(logits, gaps), logits, gaps),
        ]
