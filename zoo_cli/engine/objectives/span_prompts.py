"""Spans that answer a prompt: UIE, Lu et al., 2022, https://arxiv.org/abs/2203.12277, in PaddleNLP's form.

The paper pretrains on pairs of text and structure that were found by matching a knowledge base with texts, and on
prompts that a text does not answer; here a prompt asks for one kind of the structure's spans.
"""

from __future__ import annotations

import paddle
import paddle.nn.functional as F

from zoo_cli.engine.objectives.pretraining import Pretraining, Tensors, Term, where_seen


class SpanPrompts(Pretraining):
    """Learns first and last tokens of answers on the batches of `zoo_cli.data.corpus.prompts`.

    The loss is the mean of both binary cross entropies, as in fine-tuning but for the padding, which does not count, so
    that a pair is the same whatever stands beside it in the batch.
    """

    models_language = False

    def terms(self, model: paddle.nn.Layer, batch: Tensors) -> list[Term]:
        inputs = dict(batch)
        labels = {side: inputs.pop(f"{side}_positions") for side in ("start", "end")}  # [B, S]
        seen = inputs["attention_mask"] == 1
        result = model(**inputs)
        terms = []
        for side, gold in labels.items():
            logits = getattr(result, f"{side}_logits")
            losses = F.binary_cross_entropy_with_logits(logits, gold.astype(logits.dtype), reduction="none")
            counts = seen.astype(losses.dtype)
            terms.append(Term(side, (losses * counts).sum() / counts.sum(), logits, where_seen(gold, seen), 0.5))
        return terms
