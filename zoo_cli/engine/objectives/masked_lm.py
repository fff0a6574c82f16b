"""Masked language models, which guess masked tokens and what two texts have to do with each other.

BERT (Devlin et al., 2018, https://arxiv.org/abs/1810.04805) guesses whether one text follows another. ERNIE 3.0 in
PaddleNLP's variant guesses in which order two texts stand, as ALBERT (Lan et al., 2019,
https://arxiv.org/abs/1909.11942), and has whole words and n-grams masked, as ERNIE 1.0 (Sun et al., 2019,
https://arxiv.org/abs/1904.09223); that is decided in `zoo_cli.data.corpus.masking`.
"""

from __future__ import annotations

from collections.abc import Sequence

import paddle

from zoo_cli.engine.batches import Arrays
from zoo_cli.engine.objectives.pretraining import Pretraining, Tensors, Term, label_count
from zoo_cli.models.losses import cross_entropy


class MaskedLanguageModel(Pretraining):
    """Learns masked tokens, and what two texts have to do with each other.

    Args:
        pair: name of the second loss, ``nsp`` or ``sop``; ``none`` where there is one text only.
    """

    def __init__(self, pair: str) -> None:
        self._pair = pair

    def counts(self, batch: Arrays) -> Sequence[int]:
        relations = batch.get("next_sentence_label")
        return () if relations is None else (label_count(batch["labels"]), label_count(relations))

    def terms(self, model: paddle.nn.Layer, batch: Tensors) -> list[Term]:
        inputs = dict(batch)
        labels = inputs.pop("labels")  # [n], of the masked positions
        relations = inputs.pop("next_sentence_label", None)  # [B]
        result = model(**inputs)
        if relations is None:
            return [Term("mlm", cross_entropy(result.logits, labels), result.logits, labels)]
        tokens, related = result.prediction_logits, result.seq_relationship_logits
        return [
            Term("mlm", cross_entropy(tokens, labels), tokens, labels),
            Term(self._pair, cross_entropy(related, relations), related, relations),
        ]
